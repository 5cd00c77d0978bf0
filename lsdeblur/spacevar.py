"""Spatially varying blur: the forward model, its adjoint, and the least-squares solution.

A `psf.PSFGrid` spreads every point of the scene by the PSF of its place, ``A f = sum_k h_k * (w_k f)``, and the frame
keeps the measured pixels, ``g = M A f + n``. Each convolution runs on the box where its weight is not zero. There are
two answers:

* *Tile by tile*: where a weight is not zero, and somewhat beyond, the blur is taken for uniform, the tile is restored
  with a free boundary on all its sides (`lsdeblur.free`), and the tiles are added up with the weights.
* *Exact*: the minimiser of ``||M A f - g||^2 + lam <f, P f>`` by conjugate gradients, the scene beyond the frame being
  unknown, preconditioned by `Preconditioner`.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from lsdeblur import _fft, filters, free, selection
from lsdeblur._kernels import restored
from lsdeblur._methods import Problem, Solution
from lsdeblur._results import Selection
from lsdeblur._validate import check_choice, check_positive, check_size
from lsdeblur.boundary import extend, grid_shape
from lsdeblur.errors import ConvergenceWarning
from lsdeblur.noise import estimate_noise_std
from lsdeblur.psf import PSFGrid
from lsdeblur.spectrum import Bins, Penalty, Spectra, penalty_symbol, transfer_function

__all__ = ["Blur", "Tiles", "tikhonov"]

Array = npt.NDArray[Any]

_BATCH = 1 << 21  # values transformed at once
_PITCH = 32  # pixels between the tiles' middles, at the least
_START = 2  # iterations for each tile's surroundings: more gain nothing where the PSF itself is approximate (measured)
_LOOSER = 10.0  # than the tolerance of a free boundary, which is solved in few, long steps: some 0.05 dB (measured)
_NEAR = 3.0  # ratio of lambdas up to which the inverses of one precondition the other's system


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Blur:
    """The blur by a PSFGrid of scenes of one shape, and its adjoint.

    `H` (n, *half grid) are the transfer functions, their origin at the PSFs' first pixel, on a grid for a box of pixels
    and the PSF's reach; `weights` (n, *box) the weights in the boxes that begin at the scene's pixels `starts` (n,
    axes). `size` is the PSFs'.
    """

    H: Array
    weights: Array
    starts: Array
    shape: tuple[int, ...]
    size: tuple[int, ...]
    grid: tuple[int, ...]
    workers: int | None = None

    @classmethod
    def of(
        cls, psf: PSFGrid, shape: Sequence[int], origin: Sequence[int], dtype: npt.DTypeLike,
        workers: int | None = None,
    ) -> Blur:  # fmt: skip
        """For scenes of `shape` whose pixel `origin` is the first one of the frame."""
        boxes = list(psf.boxes([np.arange(n) - o for n, o in zip(shape, origin, strict=True)]))
        box = np.max([w.shape for _, (_, w) in boxes], axis=0)
        starts = np.minimum([first for _, (first, _) in boxes], np.array(shape) - box)
        weights = np.zeros((len(boxes), *box), dtype)
        for out, start, (_, (first, w)) in zip(weights, starts, boxes, strict=True):
            out[_window(np.subtract(first, start), w.shape)] = w
        grid = tuple(_fft.good_size(int(b) + s - 1) for b, s in zip(box, psf.size, strict=True))
        h = psf.psfs[[k for k, _ in boxes]].astype(dtype)
        H = _fft.rfftn(_padded(h, grid), len(grid), workers)
        return cls(H, weights, starts, tuple(shape), psf.size, grid, workers)

    def __call__(self, scene: Array) -> Array:
        """``A f`` of a scene (*shape), on all pixels that it reaches, `size` - 1 more than the scene an axis."""
        box, out = self.weights.shape[1:], np.zeros(self._reached, self.weights.dtype)
        spread = [b + s - 1 for b, s in zip(box, self.size, strict=True)]
        for part in self.batches():
            pieces = np.stack([scene[_window(start, box)] for start in self.starts[part]])
            pieces *= self.weights[part]
            F = _fft.rfftn(_padded(pieces, self.grid), len(self.grid), self.workers)
            F *= self.H[part]
            for start, piece in zip(self.starts[part], _fft.irfftn(F, self.grid, self.workers), strict=True):
                out[_window(start, spread)] += piece[_window([0] * len(spread), spread)]
        return out

    def adjoint(self, image: Array) -> Array:
        """``A^T g`` of an image on all pixels that a scene reaches."""
        box, out = self.weights.shape[1:], np.zeros(self.shape, self.weights.dtype)
        spread = [b + s - 1 for b, s in zip(box, self.size, strict=True)]
        inside = (slice(None), *_window([0] * len(box), box))
        for part in self.batches():
            pieces = np.stack([image[_window(start, spread)] for start in self.starts[part]])
            G = _fft.rfftn(_padded(pieces, self.grid), len(self.grid), self.workers)
            G *= np.conj(self.H[part])
            pieces = _fft.irfftn(G, self.grid, self.workers)[inside] * self.weights[part]
            for start, piece in zip(self.starts[part], pieces, strict=True):
                out[_window(start, box)] += piece
        return out

    def frame(self, origin: Sequence[int], shape: Sequence[int]) -> tuple[slice, ...]:
        """Where among the pixels reached a frame lies whose first pixel is the scene's pixel `origin`."""
        return _window([o + s // 2 for o, s in zip(origin, self.size, strict=True)], shape)

    @property
    def _reached(self) -> tuple[int, ...]:
        return tuple(n + s - 1 for n, s in zip(self.shape, self.size, strict=True))

    def batches(self) -> Iterator[slice]:
        """Parts of the PSFs that are handled at once."""
        n = max(1, _BATCH // math.prod(self.grid))
        return (slice(i, i + n) for i in range(0, len(self.starts), n))


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Tile:
    """A part of the frame that is restored as if its blur were uniform.

    `H` and `P` are the transfer function and the penalty on the tile's periodic `grid`, `window` is where the tile lies
    in the frame, and `place` gives for every pixel of the tile's box of weights its indices on the grid.
    """

    H: Array
    P: Array
    grid: tuple[int, ...]
    window: tuple[slice, ...]
    place: tuple[Array, ...]

    def spectrum(self, image: Array, workers: int | None) -> Array:
        """Half spectrum of the tile of one channel, extended by a ramp."""
        return _fft.rfftn(extend(image[self.window], self.grid, "free"), len(self.grid), workers)

    def system(self, lam: float, workers: int | None, near: free.System | None = None) -> free.System:
        """The equations of the pixels around the tile; `near` lends the inverses of another lambda."""
        Q = filters.tikhonov_rest(self.H, self.P, lam)
        if near is not None:
            return near.at(Q)
        return free.System.of(Q, [w.stop - w.start for w in self.window], self.grid, workers)

    def bins(self, Y: Array, workers: int | None) -> Bins:
        """The data's energy over ``|H|^2 / P``."""
        return Spectra(self.H, self.P, Y[np.newaxis], self.grid, workers).binned()


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Tiles:
    """Tiles over a frame, each with the PSF of its middle: the fast restoration, and a preconditioner.

    `blur` is the forward model by the tiles' PSFs, which are those of a regular grid 32 pixels apart or a PSF's size;
    its weights join the tiles. `P` is the penalty's symbol on its grid.
    """

    blur: Blur
    P: Array
    tiles: tuple[Tile, ...]

    @classmethod
    def of(
        cls, psf: PSFGrid, shape: Sequence[int], grid: Sequence[int], origin: Sequence[int],
        penalty: Callable[[Sequence[int]], Array], dtype: npt.DTypeLike, workers: int | None,
    ) -> Tiles:  # fmt: skip
        """For frames of `shape` whose first pixel is pixel `origin` of the scene's `grid`."""
        coarse = _at_pitch(psf, shape)
        blur = Blur.of(coarse, grid, origin, dtype, workers)
        tiles = []
        for start, h in zip(blur.starts - np.array(origin), coarse.psfs.astype(dtype), strict=True):
            stop = start + blur.weights.shape[1:]
            first = np.maximum(start - psf.size, 0)
            window = tuple(
                slice(int(a), int(min(b + s, n))) for a, b, s, n in zip(first, stop, psf.size, shape, strict=True)
            )
            own = grid_shape([w.stop - w.start for w in window], psf.size, "free")
            place = np.ix_(*(np.arange(a - f, b - f) % n for a, b, f, n in zip(start, stop, first, own, strict=True)))
            tiles.append(Tile(transfer_function(h, own, workers=workers), penalty(own), own, window, place))
        return cls(blur, penalty(blur.grid), tuple(tiles))

    def choose(
        self, image: Array, rule: str, noise_std: float | None, safety: float
    ) -> tuple[Selection, str, list[list[Array]], list[free.System] | None]:
        """Lambda from the spectra of all tiles together, extended better by one iteration, as without tiles.

        Returns the choice, a sentence about it, the tiles' spectra for every channel, and their systems if they serve.
        """
        workers = self.blur.workers
        spectra = [[tile.spectrum(g, workers) for tile in self.tiles] for g in image]
        observed = sum(math.prod(w.stop - w.start for w in tile.window) for tile in self.tiles)
        share = observed / sum(math.prod(tile.grid) for tile in self.tiles)

        def by(rule: str, n: int) -> tuple[Selection, str]:
            bins = _together([t.bins(y, workers) for Y in spectra for t, y in zip(self.tiles, Y, strict=True)])
            known = None if noise_std is None else noise_std * share**0.5
            return selection.select(bins.curves(bins.lambdas(n)), rule, noise_std=known, safety=safety)

        first = by("auto", 91)[0].lam
        systems = [tile.system(first, workers) for tile in self.tiles]
        for Y in spectra:
            for system, y in zip(systems, Y, strict=True):
                system.solve(y, max_iter=1)
        chosen, message = by(rule, 271)
        return chosen, message, spectra, systems if 1 / _NEAR < chosen.lam / first < _NEAR else None

    def restored(
        self, spectra: Sequence[Array], lam: float, systems: Sequence[free.System] | None, tol: float
    ) -> Array:
        """The scene from the tiles' spectra, which are overwritten, restored one by one and added up."""
        scene, workers = np.zeros(self.blur.shape, self.blur.weights.dtype), self.blur.workers
        parts = zip(self.tiles, spectra, self.blur.weights, self.blur.starts, strict=True)
        for i, (tile, Y, weights, start) in enumerate(parts):
            system = tile.system(lam, workers, None if systems is None else systems[i])
            restored(system.solve(Y, tol=tol, max_iter=_START).spectrum, tile.H, tile.P, lam, workers=workers)
            scene[_window(start, weights.shape)] += weights * _fft.irfftn(Y, tile.grid, workers)[tile.place]
        return scene

    def preconditioner(self, lam: float) -> Callable[[Array], Array]:
        """``sum_k v_k C_k (v_k r)``: in every tile the inverse of ``|H_k|^2 + lam P``, between roots v of the weights.

        Symmetric and positive. The tile's own end and the frame's are taken for no end at all.
        """
        blur = self.blur
        C, roots = 1 / (filters.power(blur.H) + lam * self.P), np.sqrt(blur.weights)
        box = roots.shape[1:]

        def apply(r: Array) -> Array:
            out = np.zeros_like(r)
            for part in blur.batches():
                pieces = np.stack([r[_window(start, box)] for start in blur.starts[part]]) * roots[part]
                R = _fft.rfftn(_padded(pieces, blur.grid), len(blur.grid), blur.workers)
                R *= C[part]
                pieces = _fft.irfftn(R, blur.grid, blur.workers)[(slice(None), *_window([0] * len(box), box))]
                pieces *= roots[part]
                for start, piece in zip(blur.starts[part], pieces, strict=True):
                    out[_window(start, box)] += piece
            return out

        return apply


def tikhonov(
    problem: Problem, *, lam: float | str, penalty: Penalty, tau: float, noise_std: float | None, safety: float,
    exact: bool, tol: float, max_iter: int,
) -> Solution:  # fmt: skip
    """`direct.tikhonov` for a PSFGrid; the options are its, all of them given."""
    _check(problem, exact)
    psf, image, shape, workers = problem.psf, problem.image, problem.shape, problem.workers
    grid = grid_shape(shape, psf.size, "free")
    origin = tuple((n - m) // 2 for n, m in zip(grid, shape, strict=True))

    def symbol(size: Sequence[int]) -> Array:
        return penalty_symbol(penalty, size, tau=tau, spacing=problem.spacing, dtype=image.dtype)

    tiles = Tiles.of(psf, shape, grid, origin, symbol, image.dtype, workers)
    systems, chosen, message = None, None, "lam was given"
    if isinstance(lam, str):
        check_choice(lam, ("auto", *selection.RULES), "lam")
        if noise_std is None and lam in selection.NEED_NOISE:
            noise_std = estimate_noise_std(image, channel_axis=0)
        chosen, message, spectra, systems = tiles.choose(image, lam, noise_std, safety)
        lam = chosen.lam
    else:
        lam = check_positive(lam, "lam")
        spectra = [[tile.spectrum(g, workers) for tile in tiles.tiles] for g in image]
    limit = check_size(max_iter, 1, "max_iter")[0]
    scenes = [tiles.restored(Y, lam, systems, tol) for Y in spectra]
    equations = Equations.of(psf, problem, grid, origin, symbol(grid), lam)
    n_iter, converged = 1, True
    if exact:
        inverse = tiles.preconditioner(lam)
        found = [equations.solve(g, f, inverse, _LOOSER * tol, limit) for g, f in zip(image, scenes, strict=True)]
        n_iter, converged = max(n for n, _ in found), all(done for _, done in found)
        if not converged:
            warnings.warn(
                f"the least-squares solution was not reached after {n_iter} iterations; raise lam, max_iter or tol",
                ConvergenceWarning,
                stacklevel=2,
            )
    if chosen is not None and noise_std is None:
        residual = sum(equations.residual(g, f) for g, f in zip(image, scenes, strict=True))
        dof = float(np.interp(math.log(lam), np.log(chosen.lams), chosen.dof)) / chosen.n_obs
        noise_std = math.sqrt(residual / (len(image) * equations.n_seen) / max(1 - dof, 1e-12))
    restored_image = np.stack([f[_window(origin, shape)] for f in scenes])
    how = "" if exact else "; tile by tile"
    return Solution(restored_image, lam, chosen, noise_std, converged=converged, n_iter=n_iter, message=message + how)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Equations:
    """The normal equations ``(A^T M A + lam P) f = A^T M g`` of scenes on a periodic grid."""

    blur: Blur
    P: Array
    lam: float
    frame: tuple[slice, ...]
    hidden: Array | None

    @classmethod
    def of(
        cls, psf: PSFGrid, problem: Problem, grid: Sequence[int], origin: Sequence[int], P: Array, lam: float
    ) -> Equations:
        """For the frame whose first pixel is pixel `origin` of the `grid`; P is the penalty's symbol there."""
        blur = Blur.of(psf, grid, origin, problem.image.dtype, problem.workers)
        return cls(blur, P, lam, blur.frame(origin, problem.shape), problem.mask)

    @property
    def n_seen(self) -> int:
        """Number of measured pixels."""
        pixels = math.prod(w.stop - w.start for w in self.frame)
        return pixels - (0 if self.hidden is None else int(np.count_nonzero(self.hidden)))

    def left(self, image: Array | float, scene: Array) -> Array:
        """``M (g - A f)``, on all pixels that the scene reaches."""
        reached = self.blur(scene)
        out = np.zeros_like(reached)
        out[self.frame] = image - reached[self.frame]
        if self.hidden is not None:
            out[self.frame][self.hidden] = 0
        return out

    def residual(self, image: Array, scene: Array) -> float:
        """``||M (A f - g)||^2``."""
        return float(np.sum(np.square(self.left(image, scene), dtype=np.float64)))

    def smooth(self, scene: Array) -> Array:
        """``lam P f``."""
        F = _fft.rfftn(scene, scene.ndim, self.blur.workers)
        F *= self.P
        F *= self.lam
        return _fft.irfftn(F, scene.shape, self.blur.workers)

    def solve(
        self, image: Array, scene: Array, inverse: Callable[[Array], Array], tol: float, max_iter: int
    ) -> tuple[int, bool]:
        """Conjugate gradients from `scene`, which is overwritten, until a step lowers the cost by less than tol of it.

        Returns the number of iterations, and whether that was reached. Each costs the forward model, its adjoint, the
        preconditioner and two transforms of the grid.
        """
        left, smooth = self.left(image, scene), self.smooth(scene)
        J, rz = _dot(left, left) + _dot(scene, smooth), 1.0
        r = self.blur.adjoint(left) - smooth
        p, tol = np.zeros_like(r), max(tol, 0.1 * float(np.finfo(r.dtype).eps))  # below it rounding takes over
        for n_iter in range(1, max_iter + 1):
            z = inverse(r)
            previous, rz = rz, _dot(r, z)
            p *= rz / previous if n_iter > 1 else 0.0
            p += z
            normal = self.smooth(p) - self.blur.adjoint(self.left(0.0, p))
            curvature = _dot(p, normal)
            if not (rz > 0 and curvature > 0):  # only rounding is left
                return n_iter, abs(rz) <= tol * J
            step = rz / curvature
            scene += step * p
            r -= step * normal
            J -= step * rz
            if step * rz <= tol * J:
                return n_iter, True
        return max_iter, False


def _check(problem: Problem, exact: bool) -> None:
    if problem.boundary != "free":
        raise ValueError(f"a PSFGrid needs boundary='free', not {problem.boundary!r}: no other knows its PSFs outside")
    if problem.mask is not None and not exact:
        raise ValueError("mask needs exact=True with a PSFGrid: the tiles alone take every pixel for measured")


def _at_pitch(psf: PSFGrid, shape: Sequence[int]) -> PSFGrid:
    """The PSFs in the middles of tiles."""
    if len(psf.psfs) == 1:
        return psf
    counts = [max(2, 1 + round(n / max(_PITCH, s))) for n, s in zip(shape, psf.size, strict=True)]
    axes = [np.linspace(0, n - 1, c) for n, c in zip(shape, counts, strict=True)]
    h = np.stack([psf.at(p) for p in np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes))])
    return PSFGrid.regular(h.reshape(*counts, *h.shape[1:]), axes=axes)


def _together(parts: Sequence[Bins]) -> Bins:
    """The bins of all tiles, those with nearly the same s added up: 32 an octave."""
    bins = Bins.pooled(parts)
    erased = bins.s == 0
    octave = np.log2(np.where(erased, np.finfo(float).tiny, bins.s))
    which = np.unique(np.rint(32 * octave), return_inverse=True)[1]
    count, weighted, energy = (np.bincount(which, v) for v in (bins.count, bins.count * bins.s, bins.energy))
    return replace(bins, s=weighted / count, count=count, energy=energy)


def _dot(a: Array, b: Array) -> float:
    return float(np.einsum("i,i->", a.ravel(), b.ravel(), dtype=np.float64))


def _window(first: Sequence[int], shape: Sequence[int]) -> tuple[slice, ...]:
    return tuple(slice(int(f), int(f) + n) for f, n in zip(first, shape, strict=True))


def _padded(parts: Array, grid: Sequence[int]) -> Array:
    """Arrays (n, *shape) with zeros behind, on the grid."""
    out = np.zeros((len(parts), *grid), parts.dtype)
    out[(slice(None), *_window([0] * len(grid), parts.shape[1:]))] = parts
    return out
