"""Half spectra on a periodic grid: transfer functions, penalties, and the curves that choose lambda.

With the penalty's symbol P and ``s = |H|^2 / P``, everything that a rule for lambda needs is a sum over frequencies
of a function of s and lambda, weighted by 1 or by the data's energy ``|Y|^2``. So the data are summarised once,
in bins of s (`Spectra.binned`), and then any number of lambdas costs almost nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from lsdeblur import _fft
from lsdeblur._kernels import AnySymbol, Symbol, histogram, written_out
from lsdeblur._validate import as_float_array, check_choice, check_fits, check_positive

__all__ = [
    "PENALTIES",
    "Bins",
    "Curves",
    "Penalty",
    "Spectra",
    "decibels",
    "frequencies",
    "hermitian_weights",
    "penalty_symbol",
    "power_spectrum",
    "transfer_function",
]

Array = npt.NDArray[Any]
#: a name, a small array (an operator's impulse response) or a function of the frequencies
Penalty: TypeAlias = str | npt.ArrayLike | Callable[..., npt.ArrayLike]

#: name -> weights of 1, L and L^2 in P for the Laplacian's symbol L (which is also that of |grad|^2), with a given tau
PENALTIES: dict[str, Callable[[float], tuple[float, float, float]]] = {
    "identity": lambda tau: (1, 0, 0),
    "gradient": lambda tau: (0, 1, 0),
    "laplacian": lambda tau: (0, 0, 1),
    "laplacian+gradient": lambda tau: (0, tau, 1),
}

_MANTISSA_BITS = 4  # 2^4 = 16 bins an octave of s: within a bin s varies by at most 6 %
_SHIFT = 23 - _MANTISSA_BITS
_FACTORS = 24  # of a PSF, at the most: their products take less time than transforms of its rows (measured)
_LARGE = 1 << 21  # values of the grid from which on they do
_BLOCK = 1 << 14  # values handled at once, so that temporaries stay in the processor's cache


def frequencies(grid: Sequence[int]) -> tuple[Array, ...]:
    """Angular frequencies of the half spectrum, in radians per pixel: one array an axis, ready to broadcast."""
    return tuple(np.meshgrid(*_fft.half_frequencies(grid), indexing="ij", sparse=True))


def hermitian_weights(grid: Sequence[int]) -> Array:
    """How often each column of the half spectrum stands in the full one: 2, but 1 for DC and an even size's Nyquist."""
    weights = np.full(grid[-1] // 2 + 1, 2.0)
    weights[0] = 1.0
    if grid[-1] % 2 == 0:
        weights[-1] = 1.0
    return weights


def transfer_function(psf: npt.ArrayLike, grid: Sequence[int], *, workers: int | None = None) -> Array:
    """Transfer function of a PSF on the half spectrum of a periodic grid, ``H(w) = sum_x h(x) exp(-i w x)``.

    Parameters
    ----------
    psf : array (..., *psf_shape)
        Its origin is pixel ``s // 2`` of each of the last ``len(grid)`` axes; not larger than the grid.
    grid : sequence of int
        Spatial shape of the grid.
    workers : int, optional
        Threads; None means all processors.

    Returns
    -------
    array (..., *half grid), complex64 for a float32 PSF, complex128 otherwise
        At frequency zero it is the PSF's sum.

    Notes
    -----
    Large grids cost about one complex multiplication per frequency and factor of the PSF (a Gaussian or a box has
    one, a motion blur some ten), small ones half a transform of the grid.
    """
    h = as_float_array(psf, "psf")
    grid, ndim = tuple(grid), len(grid)
    if h.ndim < ndim:
        raise ValueError(f"psf has {h.ndim} axes, but the grid has {ndim}: they must be the same, or channels first")
    size = h.shape[-ndim:]
    check_fits(size, grid, "psf", "grid", "crop it, or choose a larger grid")
    parts = [_transformed(part, grid, workers) for part in h.reshape(-1, *size)]
    H = parts[0] if len(parts) == 1 else np.stack(parts)
    return H.reshape(*h.shape[:-ndim], *grid[:-1], grid[-1] // 2 + 1)


def decibels(psf: npt.ArrayLike) -> Array:
    """``20 log10 |H / H(0)|``, at least -60, of a 2-D PSF on an odd grid with frequency zero in the middle."""
    h = as_float_array(psf, "psf", ndim=(2,))
    rows, columns = (max(257, 2 * s) | 1 for s in h.shape)
    half = np.abs(transfer_function(h, (rows, columns)))
    half /= half[0, 0]
    mirrored = np.roll(half[::-1, :0:-1], 1, axis=0)  # H(-w) for the negative frequencies of the last axis
    full = np.roll(np.concatenate([half, mirrored], axis=1), (rows // 2, columns // 2), (0, 1))
    return np.asarray(20 * np.log10(np.maximum(full, 1e-3)))


def _transformed(h: Array, grid: tuple[int, ...], workers: int | None) -> Array:
    """Half spectrum of one PSF from transforms of its rows, or of its factors where they are few: never of all zeros.

    With ``h[x, y] = sum_r u_r[x] v_r[y]``, ``H[k, l] = sum_r U_r[k] V_r[l]``: a Gaussian or a box has one term.
    """
    if h.ndim == 1:
        return _each(h[np.newaxis], grid, workers)[0]
    factors = _factors(h) if math.prod(grid) >= _LARGE else None
    if factors is None:
        rows = _each(h, grid[1:], workers)
        return _fft.fft(_wrapped(rows, grid[0]), grid[0], workers)
    U = _fft.fft(_wrapped(factors[0].T, grid[0]), grid[0], 1)
    V = _each(factors[1], grid[1:], workers)
    dtype = np.result_type(h, np.complex64)
    return np.tensordot(U.astype(dtype), V.astype(dtype), 1)


def _each(parts: Array, grid: tuple[int, ...], workers: int | None) -> Array:
    """`_transformed` of all parts along axis 0."""
    if len(grid) == 1:
        return _fft.rfftn(_wrapped(parts.T, *grid).T, 1, workers)
    return np.stack([_transformed(part, grid, workers) for part in parts])


def _factors(h: Array) -> tuple[Array, Array] | None:
    """Factors u (r, s) and v (r, *others) of a PSF (s, *others); None where they are many, or the PSF is zero.

    Each step takes away the row and the column of the largest value, until ``sum |rest| <= 4 eps sum |h|``, which
    bounds the error of the transfer function. Source: Bebendorf (2000), Numer. Math. 86, 565-589,
    doi:10.1007/PL00005410 (cross approximation, here with full pivoting).
    """
    rest = h.reshape(len(h), -1).astype(np.float64)
    enough = 4 * float(np.finfo(h.dtype).eps) * float(np.abs(rest).sum())
    u: list[Array] = []
    v: list[Array] = []
    while np.abs(rest).sum() > enough:
        if len(u) == _FACTORS:
            return None
        i, j = divmod(int(np.argmax(np.abs(rest))), rest.shape[1])
        u.append(rest[:, j].copy())
        v.append(rest[i] / rest[i, j])
        rest -= u[-1][:, np.newaxis] * v[-1]
    return (np.stack(u), np.stack(v).reshape(-1, *h.shape[1:])) if u else None


def _wrapped(x: Array, n: int) -> Array:
    """Axis 0 padded to n, its middle moved to index 0."""
    out = np.zeros((n, *x.shape[1:]), x.dtype)
    before = len(x) // 2
    out[: len(x) - before], out[n - before :] = x[before:], x[:before]
    return out


def power_spectrum(
    power: Any, grid: Sequence[int], name: str, dtype: npt.DTypeLike = np.float64, *, with_mean: bool = True
) -> Array | float:
    """A power spectrum on the half spectrum from a number, an autocovariance or a function of the frequencies.

    An autocovariance is an array with lag zero at ``s // 2``: its transform, clipped at 0, fits any grid. A function
    gets one broadcastable array of frequencies (radians per pixel) an axis and returns values >= 0; without
    `with_mean` its value at frequency zero does not count, so that it may be a power law.
    """
    if callable(power):
        with np.errstate(divide="ignore" if not with_mean else "warn"):
            values = np.asarray(power(*frequencies(grid)))
        half = (*grid[:-1], grid[-1] // 2 + 1)
        try:
            values = np.broadcast_to(values, half)
        except ValueError:
            raise ValueError(
                f"{name} returned shape {values.shape}, which does not broadcast to the half spectrum {half}"
            ) from None
        if not with_mean:
            values = values.copy()
            values[(0,) * values.ndim] = 1
        if np.iscomplexobj(values) or not np.all(np.isfinite(values)) or np.any(values < 0):
            raise ValueError(f"{name} must return real, finite values >= 0 at every frequency: it is a power spectrum")
        return values.astype(dtype)
    if np.ndim(power) == 0:
        return check_positive(power, name)
    covariance = as_float_array(power, name, ndim=[len(grid)])
    check_fits(covariance.shape, grid, name, "grid", "crop it around its middle")
    return np.maximum(transfer_function(covariance, grid).real, 0).astype(dtype)


def penalty_symbol(
    penalty: Penalty,
    grid: Sequence[int],
    *,
    tau: float = 0.1,
    spacing: Sequence[float] | None = None,
    dtype: npt.DTypeLike = np.float64,
) -> Array:
    """Symbol P >= 0 of a quadratic penalty ``<f, P f>`` on the half spectrum.

    With ``L(w) = sum_d (2 - 2 cos w_d) / spacing_d^2``, the symbol of the negative Laplacian and of ``|grad|^2``:

    ====================== ==================================
    "identity"             ``1``
    "gradient"             ``L``
    "laplacian"            ``L^2``
    "laplacian+gradient"   ``L^2 + tau L``
    an array r             ``|R|^2``, R its transfer function
    a function             ``function(w_0, w_1, ...)``
    ====================== ==================================

    Parameters
    ----------
    penalty : str, array or callable
        A name of the table; an operator's impulse response with its origin at ``s // 2``; or a function of the
        frequencies in radians per pixel (one broadcastable array an axis) that returns P itself.
    grid : sequence of int
        Spatial shape of the grid.
    tau : float > 0
        Weight of the gradient in "laplacian+gradient", in pixels^-2.
    spacing : sequence of float, optional
        Pixel pitch per axis, relative to the smallest; for the named penalties.
    dtype : dtype
        float32 or float64.

    Returns
    -------
    array (*half grid)

    Raises
    ------
    ValueError
        An unknown name; a symbol that is negative, not finite, zero everywhere or of another shape.
    """
    return written_out(symbol(penalty, grid, tau=tau, spacing=spacing, dtype=dtype))


def symbol(
    penalty: Penalty,
    grid: Sequence[int],
    *,
    tau: float = 0.1,
    spacing: Sequence[float] | None = None,
    dtype: npt.DTypeLike = np.float64,
) -> AnySymbol:
    """`penalty_symbol`, a named penalty in tables of its axes."""
    if not isinstance(penalty, str):
        if callable(penalty):
            P = np.asarray(power_spectrum(penalty, grid, "penalty", dtype))
        else:
            operator = as_float_array(penalty, "penalty", ndim=[len(grid)])
            check_fits(operator.shape, grid, "penalty", "grid", "crop it around its middle")
            R = transfer_function(operator, grid)
            P = (R.real**2 + R.imag**2).astype(dtype)
        if not P.any():
            raise ValueError("penalty is zero at every frequency: it penalises nothing; use a named one, or lam=0")
        return P
    check_choice(penalty, PENALTIES, "penalty")
    along = zip(frequencies(grid), spacing or (1.0,) * len(grid), strict=True)
    *others, last = (((2 - 2 * np.cos(w)) / d**2).astype(dtype) for w, d in along)
    rows = np.asarray(sum(others, np.zeros((1,) * len(grid), dtype)))
    return Symbol(rows, last.ravel(), np.array(PENALTIES[penalty](check_positive(tau, "tau")), dtype))


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """What a rule for lambda sees: sums over all frequencies at each lambda (arrays of one length).

    residual ``||h*f - g||^2``, seminorm ``<f, P f>``, its derivative `slope` by lambda, dof ``sum(H G)`` and
    logdet ``-sum log(lam P / (|H|^2 + lam P))`` over the `n_seen` of `n_obs` frequencies that P does not leave free.
    From exact solutions (`lsdeblur.free`) only: `change`, the squared norm of the image's derivative by log lambda, and
    `noise_change`, its expected value for noise of variance 1 if lambda is right.
    """

    lams: Array
    residual: Array
    seminorm: Array
    slope: Array
    dof: Array
    logdet: Array
    n_obs: float
    n_seen: float
    change: Array | None = None
    noise_change: Array | None = None

    def joined(self, other: Curves) -> Curves:
        """Both curves' lambdas together, in order."""
        names = [f.name for f in fields(self) if isinstance(getattr(self, f.name), np.ndarray)]
        order = np.argsort(np.concatenate([self.lams, other.lams]))
        both = {name: np.concatenate([getattr(self, name), getattr(other, name)])[order] for name in names}
        return Curves(**both, n_obs=self.n_obs, n_seen=self.n_seen)

    def completed(self) -> Curves:
        """The same with the slope, and the log-determinant apart from a constant, by splines in log lambda.

        ``d logdet / d log lam = -(dof - (n_obs - n_seen))``, since logdet is that of ``I + K / lam`` for some K. No
        rule depends on the constant.
        """
        from scipy.interpolate import CubicSpline

        x = np.log(self.lams)
        logdet = -CubicSpline(x, self.dof - (self.n_obs - self.n_seen)).antiderivative()(x)
        return replace(self, slope=CubicSpline(x, self.seminorm)(x, 1) / self.lams, logdet=logdet)


@dataclass(frozen=True, slots=True, eq=False)
class Bins:
    """Frequencies with nearly the same ``s = |H|^2 / P``, together: all that the curves depend on.

    `count` frequencies of the full spectrum at each `s` (finite, 0 where the blur erases), with `energy` of the
    data, in units of squared pixel values; `n_free` frequencies besides where P is 0. `scale` is a typical
    ``|H(0)|^2 / P``, the unit in which lambda is searched.
    """

    s: Array
    count: Array
    energy: Array
    n_free: float
    scale: float

    def lambdas(self, n: int = 271) -> Array:
        """The lambdas searched by default: 15 decades, from 1e-9 to 1e6 times `scale`."""
        return self.scale * np.logspace(-9, 6, n)

    def curves(self, lams: npt.ArrayLike) -> Curves:
        """All curves at `lams` > 0.

        With ``q = lam / (s + lam)``: residual ``sum q^2 E``, seminorm ``sum s q^2 E / lam^2``, slope
        ``-2 sum s q^3 E / lam^3``, dof ``sum (1 - q) + n_free``, logdet ``sum log(1 + s / lam)``.
        """
        grid = np.atleast_1d(np.asarray(lams, dtype=np.float64))
        residual, seminorm, slope, dof, logdet = np.empty((5, grid.size))
        n = max(1, _BLOCK // max(1, self.s.size))
        for rows in (slice(i, i + n) for i in range(0, grid.size, n)):
            lam = grid[rows]
            q = lam[:, np.newaxis] / (self.s + lam[:, np.newaxis])
            q2 = q * q
            residual[rows] = q2 @ self.energy
            seminorm[rows] = q2 @ (self.s * self.energy) / lam**2
            slope[rows] = -2 * ((q2 * q) @ (self.s * self.energy)) / lam**3
            dof[rows] = (1 - q) @ self.count + self.n_free
            logdet[rows] = -np.log(q) @ self.count
        seen = float(self.count.sum())
        return Curves(grid, residual, seminorm, slope, dof, logdet, n_obs=seen + self.n_free, n_seen=seen)

    @classmethod
    def pooled(cls, parts: Sequence[Bins]) -> Bins:
        """The sum of several summaries, for example of channels with PSFs of their own, or of tiles."""
        if len(parts) == 1:
            return parts[0]
        s, count, energy = (np.concatenate([getattr(p, f) for p in parts]) for f in ("s", "count", "energy"))
        scale = math.exp(float(np.mean([math.log(p.scale) for p in parts])))
        return cls(s, count, energy, sum(p.n_free for p in parts), scale)


@dataclass(frozen=True, slots=True, eq=False)
class Spectra:
    """Transfer function, penalty and data of one restoration, on the half spectrum of `grid`.

    H : complex array (*half grid); P : symbol of the penalty; Y : complex array (channels, *half grid).
    """

    H: Array
    P: AnySymbol
    Y: Array
    grid: tuple[int, ...]
    workers: int | None = None

    def exact(self) -> Bins:
        """Every frequency in a bin of its own: the reference for `binned`, and right for tiny images."""
        scale = self._scale()
        A = _power(self.H)
        with np.errstate(divide="ignore", invalid="ignore"):
            s = np.where(A > 0, A / written_out(self.P) / scale, 0).ravel()
        weights = np.broadcast_to(hermitian_weights(self.grid), A.shape)
        count = (len(self.Y) * weights).ravel()
        energy = (weights * sum(_power(y) for y in self.Y) / math.prod(self.grid)).ravel()
        free = np.isinf(s)
        kept = self._varying(energy[~free], float(energy.sum()))
        return Bins(s[~free] * scale, count[~free], kept, float(count[free].sum()), scale)

    def binned(self) -> Bins:
        """Frequencies gathered by s, 16 bins an octave, in one pass over the spectra.

        A bin's number is the leading bits of ``s / scale`` as a float32: its exponent and 4 bits of its mantissa. So
        s = 0 and s = infinity (P = 0) have bins of their own, and no logarithm is taken. Each bin keeps the mean of
        its s.
        """
        scale, weights = self._scale(), hermitian_weights(self.grid)
        count, weighted, energy = histogram(self.H, self.P, self.Y, weights, scale, _SHIFT, workers=self.workers)
        count, weighted, energy = len(self.Y) * count, len(self.Y) * weighted, energy / math.prod(self.grid)
        used = np.flatnonzero(count[:-1])
        kept = self._varying(energy[used], float(energy.sum()))
        return Bins(weighted[used] / count[used] * scale, count[used], kept, float(count[-1]), scale)

    def _varying(self, energy: Array, total: float) -> Array:
        """`energy`, or zeros where it is no more than the rounding errors of data with `total` energy."""
        rounding = (4 * float(np.finfo(self.Y.dtype).eps)) ** 2
        return energy if energy.sum() > rounding * total else np.zeros_like(energy)

    def _scale(self) -> float:
        """``|H(0)|^2`` over the mean of P; 1 where P is zero everywhere."""
        mean = self.P.mean() if isinstance(self.P, Symbol) else float(np.mean(self.P, dtype=np.float64))
        return abs(complex(self.H[(0,) * self.H.ndim])) ** 2 / mean if mean > 0 else 1.0


def _power(spectrum: Array) -> Array:
    """``|spectrum|^2`` in float64: the square of a float32 may be none."""
    return spectrum.real.astype(np.float64) ** 2 + spectrum.imag.astype(np.float64) ** 2
