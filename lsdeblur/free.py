"""Free boundaries: the data extended beyond the frame so that the plain periodic filter is exact inside it.

The observed image is ``g = M (h * f) + n``: the scene f goes on beyond the frame, and M keeps the observed pixels. The
minimiser of ``||M (h * f) - g||^2 + lam <f, P f>`` is found without f. For any extension y of g to the periodic grid
the best f is the ordinary gain, ``conj(H) Y / (|H|^2 + lam P)``, and the cost that remains is

    J = <Y, Q Y>,    Q = lam P / (|H|^2 + lam P)                                                            (1)

so the unknown strip u of y, all pixels outside the frame, solves ``Q_uu u = -Q_ug g``. The strip is one band across the
grid per axis. Q restricted to one band is a block of Toeplitz matrices in the frequencies along the band, inverted
exactly (Levinson's recursion; Gohberg & Semencul 1972). The sum of the bands' inverses preconditions conjugate
gradients (additive Schwarz), which then need a few iterations of two transforms of the grid each. Pixels inside the
frame that were not measured are more unknowns of the same system, with dense inverses for connected holes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lsdeblur import _fft
from lsdeblur.boundary import crop
from lsdeblur.spectrum import Curves, hermitian_weights

__all__ = ["Band", "Extension", "Hole", "System", "curves", "extend"]

Array = npt.NDArray[Any]

_DENSE = 2000  # pixels of a region inverted as one, by a dense factor: 16 MB in float32, some 0.1 s
_PANEL = 256  # columns of such a factor that are computed together
_PROBED = 1 << 16  # pixels that the probes for the degrees of freedom have together, at least
_TILE = 256  # pixels of the tiles that larger regions are cut into: a millisecond for each form


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Band:
    """Inverse of Q on the band of pixels beyond the frame's end along one axis.

    Attributes
    ----------
    axis, width : int
        The band's axis, and the number of unknown pixels along it.
    first : complex array (width, *half spectrum of the other axes)
        First columns of the inverses of Q's Toeplitz matrices, one matrix per frequency along the band; by the formula
        of Gohberg and Semencul they determine the inverses.
    """

    axis: int
    width: int
    first: Array

    @classmethod
    def of(cls, Q: Array, grid: Sequence[int], axis: int, width: int, dtype: npt.DTypeLike) -> Band:
        """From the symbol Q on the half spectrum; computed in float64 and kept in the complex `dtype`."""
        return cls(axis, width, levinson(band_lags(Q, grid, axis, width)).astype(dtype))

    def solve(self, r: Array, workers: int | None) -> Array:
        """The band's inverse applied to the band's part of `r` (*grid); returns that part, its axis first."""
        part = np.moveaxis(r, self.axis, 0)[-self.width :]
        rows = part.shape[1:]
        V = _fft.rfftn(part, part.ndim - 1, workers)
        return _fft.irfftn(inverse_times(self.first, V, workers), rows, workers)


def band_lags(Q: Array, grid: Sequence[int], axis: int, width: int) -> Array:
    """Entries of Q's Toeplitz blocks on a band: lags 0 .. width - 1 along `axis`, half spectrum along the other axes.

    Q (*half grid) is real and even, so its kernel along one axis is the conjugate of a transform of a real array.
    """
    last = len(grid) - 1
    if axis == last and last > 0:  # the half spectrum moves to another axis, for this one is needed whole
        others = tuple(range(last))
        mirrored = np.roll(np.flip(Q, others), 1, others)[..., (grid[-1] - 1) // 2 : 0 : -1]
        Q = np.concatenate([Q, mirrored], axis=-1)
        Q = Q[(..., slice(grid[-2] // 2 + 1), slice(None))]
    rows = np.moveaxis(Q, axis, 0).astype(np.float64)
    lags = np.conj(_fft.rfft(rows)) / grid[axis]
    beyond = np.conj(
        lags[(grid[axis] - 1) // 2 : 0 : -1]
    )  # lag -d of the periodic kernel, for bands over half the grid
    return np.concatenate([lags, beyond])[:width] if width > len(lags) else lags[:width]


def levinson(lags: Array) -> Array:
    """First columns of the inverses of Hermitian Toeplitz matrices ``T[i, j] = lags[i - j]``.

    `lags` (b, ...) holds many matrices at once. Source: Levinson (1946), doi:10.1002/sapm1946251261; Durbin's form.
    """
    a = np.zeros_like(lags)
    a[0] = 1
    error = lags[0].real.copy()
    for m in range(1, len(lags)):
        reflection = -np.einsum("j...,j...->...", lags[m:0:-1], a[:m]) / error
        a[1 : m + 1] += reflection * np.conj(a[m - 1 :: -1] if m > 1 else a[:1])
        error = error * (1 - (reflection.real**2 + reflection.imag**2))
    return a / error


def inverse_times(first: Array, v: Array, workers: int | None = None) -> Array:
    """``T^-1 v`` along axis 0, for the Toeplitz matrices whose inverses' first columns are `first` (b, ...).

    ``T^-1 = (L(x) L(x)^H - L(y) L(y)^H) / x[0]`` with lower triangular Toeplitz matrices L of x = first and of
    y = (0, conj x[b-1], ..., conj x[1]). Source: Gohberg & Semencul (1972), Mat. Issled. 7, 201-223.
    """
    b = len(first)
    n = _fft.good_size(2 * b - 1)
    V = _fft.fft(v, n, workers)

    def squared(column: Array) -> Array:
        L = _fft.fft(column, n, workers)
        return L * _fft.fft(_fft.ifft(np.conj(L) * V, workers)[:b], n, workers)

    return _fft.ifft(squared(first) - squared(_shifted(first)), workers)[:b] / first[:1].real


def _shifted(x: Array) -> Array:
    return np.concatenate([np.zeros_like(x[:1]), np.conj(x[:0:-1])])


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Hole:
    """Unmeasured pixels inside the frame in regions of one form, and the inverse of Q on such a region.

    `index` (regions, pixels) locates the pixels in the flattened grid. Q is a convolution, so all regions of one form
    share a `factor`, Cholesky's; it is None where rounding left Q without one, and the `mean` of Q stands in.
    """

    index: Array
    factor: Array | None
    mean: float

    @classmethod
    def all_of(cls, Q: Array, grid: Sequence[int], mask: Array, largest: int = _DENSE) -> tuple[Hole, ...]:
        """Connected regions of `mask` (*shape), cut along a lattice where they have more than `largest` pixels."""
        if not mask.any():
            return ()
        kernel = _fft.irfftn(Q.astype(np.complex128), tuple(grid))
        at, sizes = _regions(mask, largest)
        starts = np.cumsum(sizes) - sizes
        # On a lattice of twice the pitch a difference of flat positions belongs to one difference of coordinates.
        flat = np.ravel_multi_index(tuple(at.T), tuple(2 * n for n in grid))
        form = flat - np.repeat(flat[starts], sizes)
        holes = []
        for size in np.unique(sizes):
            members = starts[sizes == size, np.newaxis] + np.arange(size)
            firsts, which = np.unique(form[members], axis=0, return_index=True, return_inverse=True)[1:]
            for i, first in enumerate(firsts):
                index = np.ravel_multi_index(tuple(at[members[which.ravel() == i]].T), tuple(grid)).T
                holes.append(cls(index, _cholesky(kernel, at[members[first]], Q.dtype), float(kernel.flat[0])))
        return tuple(holes)

    def add_solution(self, r: Array, z: Array) -> None:
        """Add the inverse applied to the regions' parts of `r` (*grid) to `z`, both contiguous."""
        from scipy.linalg import cho_solve

        part = r.reshape(-1)[self.index]
        if self.factor is None:
            solution = part / r.dtype.type(self.mean)
        else:
            solution = cho_solve((self.factor, False), part.T, check_finite=False).T
        z.reshape(-1)[self.index] += solution


def _regions(mask: Array, largest: int) -> tuple[Array, Array]:
    """Pixels of `mask` (pixels, axes), region after region, and the regions' sizes."""
    from scipy.ndimage import label

    at = np.argwhere(mask)
    region = label(mask)[0][mask].astype(np.int64)
    large = np.bincount(region)[region] > largest
    edge = round(_TILE ** (1 / mask.ndim))
    tile = np.ravel_multi_index(tuple(at.T // edge), tuple(n // edge + 1 for n in mask.shape)) + 1
    part = region * (tile.max() + 1) + np.where(large, tile, 0)
    order = np.argsort(part, kind="stable")
    return at[order], np.unique(part, return_counts=True)[1]


def _cholesky(kernel: Array, at: Array, dtype: npt.DTypeLike) -> Array | None:
    """Upper Cholesky factor of a convolution's matrix on the pixels `at` (pixels, axes), if it has one.

    LAPACK's routine takes its threads through hundreds of short steps and, measured on two busy cores, 2 s for 1600
    pixels; panel by panel, with one large product each, it is 0.05 s.
    """
    at = at - at.min(axis=0)
    lags = kernel[np.ix_(*(np.arange(-m, m + 1) for m in at.max(axis=0)))]
    flat = np.ravel_multi_index(tuple(at.T), lags.shape)
    L = lags.take(flat[:, np.newaxis] - flat + lags.size // 2)
    try:
        for start in range(0, len(L), _PANEL):
            panel, below = slice(start, start + _PANEL), slice(start + _PANEL, None)
            L[start:, panel] -= L[start:, :start] @ L[panel, :start].T
            L[panel, panel] = np.linalg.cholesky(L[panel, panel])
            L[below, panel] = L[below, panel] @ np.linalg.inv(L[panel, panel]).T
    except np.linalg.LinAlgError:
        return None
    return L.astype(dtype).T


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Extension:
    """An image extended to the grid, and what equation (1) says of it.

    `data` (*grid) with its half `spectrum`; `objective` is J, `residual` the squared norm ``||M (h * f) - g||^2`` of
    the f that it gives.
    """

    data: Array
    spectrum: Array
    objective: float
    residual: float
    n_iter: int
    converged: bool


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class System:
    """The equations ``Q_uu u = -Q_ug g`` of the strip outside a frame of `shape` on a `grid`, preconditioned."""

    Q: Array
    shape: tuple[int, ...]
    grid: tuple[int, ...]
    bands: tuple[Band, ...]
    holes: tuple[Hole, ...] = ()
    mask: Array | None = None
    workers: int | None = None

    @classmethod
    def of(
        cls,
        Q: Array,
        shape: Sequence[int],
        grid: Sequence[int],
        workers: int | None = None,
        mask: Array | None = None,
        largest: int = _DENSE,
    ) -> System:
        """For the symbol Q on the half spectrum, in the precision in which to work.

        `mask` (*shape) is True where a pixel inside the frame was not measured: it is unknown like those outside. Its
        regions of up to `largest` pixels get an inverse of their own, larger ones are cut.
        """
        dtype = np.result_type(Q.dtype, np.complex64)
        gaps = [(axis, n - m) for axis, (n, m) in enumerate(zip(grid, shape, strict=True)) if n > m]
        bands = tuple(Band.of(Q, grid, axis, gap, dtype) for axis, gap in gaps)
        holes = () if mask is None else Hole.all_of(Q, grid, mask, largest)
        return cls(Q, tuple(shape), tuple(grid), bands, holes, mask, workers)

    def solve(self, start: Array, *, tol: float = 3e-5, max_iter: int = 50) -> Extension:
        """Conjugate gradients from an extension `start` (*grid), until a step lowers J by less than ``tol * J``.

        Each iteration costs two transforms of the grid and two of every band.
        """
        ndim = len(self.grid)
        y, Y = start.copy(), _fft.rfftn(start, ndim, self.workers)
        full = self._filtered(Y)
        J, p, rz = self._energy(Y), np.zeros_like(y), 1.0
        converged, n_iter = not (self.bands or self.holes), 0
        while not converged and n_iter < max_iter:
            n_iter += 1
            z = self._precondition(full)
            previous, rz = rz, -_inner(full, z)
            p *= rz / previous if n_iter > 1 else 0.0
            p += z
            P = _fft.rfftn(p, ndim, self.workers)
            curvature = self._energy(P)
            if not (rz > 0 and curvature > 0):  # only rounding is left, of the residual or of a lambda too small for it
                converged = abs(rz) <= tol * J
                break
            step = rz / curvature
            y += step * p
            Y += step * P
            full += step * self._filtered(P)
            J -= step * rz
            converged = step * rz <= tol * J
        frame = crop(full, self.shape)
        if self.mask is not None:
            frame = np.where(self.mask, 0, frame)
        return Extension(y, Y, J, _inner(frame, frame), n_iter, converged)

    def probed_traces(self, seen: Array, symbols: Sequence[Array]) -> Array:
        """``tr(X S)`` for symbols X, where ``<v, S v>`` is the cost J of data v on the pixels `seen` (*shape).

        For random signs v, ``<v, X S v>`` has that mean (Hutchinson). S v is Q times v's extension. With zeros for the
        unknown pixels in its place the mean is ``n mean(X Q)``, known, and the fluctuations are nearly the same: only
        the difference is left to chance. The probes are the same at every call, so their error varies as smoothly with
        lambda as the traces do; for X = 1 it is a few parts in a thousand at the most. Each probe costs one solution.
        Source: Hutchinson (1990), doi:10.1080/03610919008812866; for GCV Girard (1989), doi:10.1007/BF01395775.
        """
        rng, n = np.random.default_rng(0), int(np.count_nonzero(seen))
        n_probes = -(-_PROBED // n)
        XQ = [X * self.Q for X in symbols]
        traces = n * np.array([self._sum(x) for x in XQ])
        for _ in range(n_probes):
            probe = np.zeros(self.grid, self.Q.dtype)
            crop(probe, self.shape)[seen] = rng.choice([-1.0, 1.0], n)
            E = _fft.rfftn(probe, len(self.grid), self.workers)
            gained = (np.conj(E) * (self.solve(probe).spectrum - E)).real
            traces += [self._sum(x * gained) / n_probes for x in XQ]
        return traces

    def energies(self, x: Extension, symbols: Sequence[Array]) -> Array:
        """``<S g, X S g>`` for symbols X, of the data g that were extended to x."""
        power = (x.spectrum.real**2 + x.spectrum.imag**2) * self.Q**2
        return np.array([self._sum(X * power) for X in symbols])

    def _filtered(self, Y: Array) -> Array:
        return _fft.irfftn(self.Q * Y, self.grid, self.workers)

    def _energy(self, Y: Array) -> float:
        """``<y, Q y>`` by Parseval's equation."""
        return self._sum((Y.real**2 + Y.imag**2) * self.Q)

    def _sum(self, values: Array) -> float:
        """Over all frequencies of values on the half spectrum, divided by their number."""
        columns = values.reshape(-1, values.shape[-1]).sum(axis=0, dtype=np.float64)
        return float(hermitian_weights(self.grid) @ columns) / math.prod(self.grid)

    def _precondition(self, full: Array) -> Array:
        """The inverses of bands and holes applied to the residual, ``-full`` where nothing was measured, and summed."""
        r = -full
        frame = crop(r, self.shape)
        frame[...] = 0 if self.mask is None else np.where(self.mask, frame, 0)
        z = np.zeros_like(r)
        for hole in self.holes:
            hole.add_solution(r, z)
        for band in self.bands:
            np.moveaxis(z, band.axis, 0)[-band.width :] += band.solve(r, self.workers)
        return z


def _inner(a: Array, b: Array) -> float:
    return float(np.sum(a * b, dtype=np.float64))


def extend(
    Q: Array,
    data: Array,
    shape: Sequence[int],
    *,
    mask: Array | None = None,
    tol: float = 3e-5,
    max_iter: int = 50,
    workers: int | None = None,
) -> list[Extension]:
    """Each channel of `data` (channels, *grid), whose frame of `shape` was observed, extended for the symbol Q.

    Q (1 or channels, *half grid) of one PSF or of one a channel; `mask` (*shape) where a pixel was not measured.
    """
    grid = data.shape[1:]
    largest = _DENSE if max_iter > 1 else _TILE  # a large factor costs more than one iteration is worth
    systems = [System.of(q, shape, grid, workers, mask, largest) for q in Q]
    return [systems[c % len(systems)].solve(y, tol=tol, max_iter=max_iter) for c, y in enumerate(data)]


def curves(
    power: Array,
    P: Array,
    lams: Sequence[float],
    data: Array,
    shape: Sequence[int],
    workers: int | None = None,
    mask: Array | None = None,
    colour: Array | None = None,
) -> tuple[Curves, Array]:
    """The exact problem's curves at a few `lams`, solved in the order given, and the last extension.

    For noise of spectrum c (`colour`, 1 for white noise) the measured pixels have, apart from a factor, the covariance
    ``S^-1 = M (c + |H|^2 / (lam P)) M^T``, and ``S g = Q y`` with ``Q = lam P / C``, ``C = |H|^2 + lam P c``:

        J = <g, S g>,    residual = <S g, c S g>,    seminorm = (J - residual) / lam,    n - dof = tr(c S)

    The image's derivative by log lambda on the grid is ``c conj(H) / C`` times Q y: `change` is its squared norm,
    ``<S g, X S g>``, and `noise_change` what the model expects of it for noise of variance 1, ``tr(X S)``, with
    ``X = c^2 |H|^2 / C^2``. The traces come from probes (`System.probed_traces`). Slope and log-determinant are left at
    zero: what the rules need of them follows from the others at several lambdas (`spectrum.Curves.completed`).
    """
    seen = np.ones(tuple(shape), bool) if mask is None else ~mask
    n = len(data) * int(np.count_nonzero(seen))
    c = np.ones_like(P) if colour is None else colour
    rows = []
    for lam in lams:
        C = power + lam * P * c
        systems = [System.of(q, shape, data.shape[1:], workers, mask) for q in lam * P / C]
        symbols = [(c, x) for x in c * c * power / (C * C)]
        found = [systems[i % len(systems)].solve(y) for i, y in enumerate(data)]
        data = np.stack([x.data for x in found])
        energies = [systems[i % len(systems)].energies(x, symbols[i % len(systems)]) for i, x in enumerate(found)]
        traces = [system.probed_traces(seen, s) for system, s in zip(systems, symbols, strict=True)]
        objective, (residual, change) = sum(x.objective for x in found), np.sum(energies, axis=0)
        left, noise_change = len(data) / len(systems) * np.sum(traces, axis=0)
        rows.append((lam, residual, (objective - residual) / lam, n - left, change, noise_change))
    lam, residual, seminorm, dof, change, noise_change = np.array(sorted(rows)).T
    none = np.zeros_like(lam)
    return Curves(lam, residual, seminorm, none, dof, none, n, n - len(data), change, noise_change), data
