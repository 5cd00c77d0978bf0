"""The likelihood of a blurred image's power spectrum, with the scene's spectrum and the noise's fitted to it.

The gradient of the image ``h * f + n`` has at frequency w the expected power ``M = S K + N L``: S is that of the
scene's gradient, ``K = |H|^2``, N that of the noise and ``L = 4 - 2 cos w_0 - 2 cos w_1``. In photographs S is near a
power of ``|w|`` (Field 1987, doi:10.1364/JOSAA.4.002379), but each has directions of its own. So

    log S = c_0 + c_1 x + c_2 x^2 - c_3 |w|^2 + sum_k (a_k + b_k x) cos 2k phi + (a'_k + b'_k x) sin 2k phi,
    log N = d_0 - d_1 |w|^2 + d_2 |w|^4 / 10,

``x = log |w| / 1.5``, with k up to 4 (b up to 2) and normal priors on the coefficients; c_3 is the softness that sharp
photographs have, too. That is freedom for a scene's oriented edges, and too little for the zeros that a blur leaves.
The periodogram I is compared with M by ``sum log M + I / M``, minus the log-likelihood of Whittle (1953),
doi:10.1007/BF02590998.

What was tried and is worse: the evidence and GCV of a restoration, whose penalty stands for a spectrum that no scene
has (they find motions, but Gaussians 0.6 to 1.6 times as wide as they are); white noise (blurs in JPEG and demosaiced
pictures, whose noise falls off, are not seen); the periodogram without evening out the contrast (a single strong edge
rules it, and its scatter is up to 1.8 times as large); frequencies below 0.15 (Gaussians come out 2 % narrower); a
prior that fixes the exponent (Gaussians on scenes with another one are 14 % off); no softness of the scene's own (a
page of text is then a Gaussian blur of 0.8 pixels, and its motions have defocus besides).

What was tried for the width of Gaussians, which is right to 5 % in some 60 % of cases (13 scenes, 5 to 8 draws each,
sigma of 0.8 to 4 pixels), and does not help: the widths of isolated strong edges (profiles along the gradient that fit
a Gaussian to 3 or 6 %; low quantiles less 0.3 to 0.7 pixels for the scene) alone reach 40 to 59 %, as bricks, grass and
text have no such edges, a coin's rim is 13 % too narrow and the moon's edges 40 % too wide; averaged with the
spectrum's they gain and lose a few cases at a time, never on both the scenes of the constants and the others. The ratio
of an edge's gradient before and after blurring it again (Zhuo & Sim 2011, doi:10.1016/j.patcog.2011.03.009, sec. 3) is
off by tens of percent in texture. The kurtosis of the deconvolved gradient, the noise's share taken off, peaks at 0.5
to 1.4 times the width. A spectrum of its own for each of nine parts of the image shows that the errors are those of the
whole scene: no quantile of the nine is better than the whole on both sets of scenes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lsdeblur import _fft
from lsdeblur.blind._families import Family
from lsdeblur.noise import hann
from lsdeblur.spectrum import frequencies, hermitian_weights, transfer_function

__all__ = ["PIECE", "SMALLEST", "Fit", "Spectrum", "columns_products", "fitted", "unlikeliness"]

Array = npt.NDArray[Any]

_TILE = 256  # pixels to a side: the zeros of a motion by 64 pixels are 4 frequencies apart, twice the window's lobe
_TILES = 64  # at the most, spread over the image
_SAMPLES = 8000  # frequencies looked at
_LOW = 0.15  # radians per pixel
_LOCAL = 24.0  # pixels over which contrast is evened out
_FAINT = 0.03  # of the gradient's mean power: what is weaker is not brought up to the rest
_CORRELATED = 16  # frequencies that count as one value: neighbours under the window, and what the model of S misses
_SOFT = (0.1, 0.15)  # squared pixels: variance, and its spread, of the softness that sharp photographs have
_TINT = ((0.1, 0.4), (0.0, 0.2))  # d_1, squared pixels: the variance of what correlates the noise; and d_2
#: pixels to a side of an image, below which its spectrum does not show a blur
SMALLEST = 32
#: rows of a product at a time
PIECE = 128
_SETTLED = 0.01  # of the value: no more is gained
_FAR = 2  # iterations by least squares of the logarithm: from afar the ratio itself overshoots
_HELD = 6  # iterations before the blur moves: from a scene that fits no blur it would run away


@dataclass(frozen=True, slots=True, eq=False)
class Spectrum:
    """Power of an image's gradient at a sample of n frequencies, and what the model needs there.

    Attributes
    ----------
    grid : the tile's shape; used (n,): the sample in its flattened half spectrum.
    wy, wx (n,) : radians per pixel.
    power (n,) : I, the mean of all tiles in units of its own mean.
    noise (n,) : L.
    weights (n,) : how many independent values each frequency stands for.
    lags (*grid) : the window's autocorrelation, 1 at lag 0.
    basis (n, p), tint (n, 3) : the functions whose sums are log S and log N.
    mean, precision (p + 3,) : the normal priors of their coefficients.
    """

    grid: tuple[int, int]
    used: Array
    wy: Array
    wx: Array
    power: Array
    noise: Array
    weights: Array
    lags: Array
    basis: Array
    tint: Array
    mean: Array
    precision: Array

    @classmethod
    def of(cls, image: Array) -> Spectrum:
        """From an image (rows, columns) of at least 3 x 3 pixels: its border is never crossed, whatever lies beyond."""
        slopes = np.stack([image[1:, :-1] - image[:-1, :-1], image[:-1, 1:] - image[:-1, :-1]])
        slopes *= _evening(slopes)
        rows, columns = (min(_TILE, n) for n in slopes.shape[1:])
        grid = (rows, columns)
        window = hann(grid, image.dtype)
        mean = np.zeros((rows, columns // 2 + 1))
        for part in _tiles(slopes.shape[1:], grid):
            Y = _fft.rfftn(slopes[(slice(None), *part)] * window, 2, 1)
            mean += (Y.real**2 + Y.imag**2).sum(axis=0)
        wy, wx = (w.ravel() for w in np.broadcast_arrays(*frequencies(grid)))
        lowest = max(_LOW, 5 * math.pi / min(grid))  # beyond the window's main lobe
        seen = np.flatnonzero(np.hypot(wy, wx) > lowest)
        few = min(_SAMPLES, seen.size)  # the same in every call
        used = np.sort(np.random.default_rng(0).choice(seen, few, replace=False))
        weights = np.broadcast_to(hermitian_weights(grid), mean.shape).ravel()[used]
        weights = weights * (seen.size / _CORRELATED / weights.sum())
        wy, wx, power = wy[used], wx[used], mean.ravel()[used]
        power = np.maximum(power / power.mean(), 1e-12)
        noise = 4 - 2 * np.cos(wy) - 2 * np.cos(wx)
        basis, priors = _scene(wy, wx)
        tint = np.stack([np.ones_like(wy), -(wy**2 + wx**2), (wy**2 + wx**2) ** 2 / 10], axis=1)
        priors = [*priors, (math.log(float(np.median(power / noise))) - 2, 30.0), *_TINT]
        center, spread = np.array(priors).T
        return cls(grid, used, wy, wx, power, noise, weights, _lags(window), basis, tint, center, spread**-2.0)

    def blurred(self, psfs: Sequence[Array]) -> Array:
        """``|H|^2`` of PSFs one after the other, as the window shows it: its zeros fill up from both sides."""
        K = np.ones(())
        for h in psfs:
            H = transfer_function(_wrapped(h, self.grid), self.grid, workers=1)
            K = K * (H.real**2 + H.imag**2)
        correlation = _fft.irfftn(K.astype(np.complex128), self.grid, 1)
        return np.maximum(_fft.rfftn(correlation * self.lags, 2, 1).real.ravel()[self.used], 1e-9)


def _wrapped(h: Array, grid: tuple[int, ...]) -> Array:
    """A PSF larger than the grid, summed over its period: at the grid's frequencies the transform is the same."""
    if all(s <= n for s, n in zip(h.shape, grid, strict=True)):
        return h
    out = np.zeros(grid, h.dtype)
    places = np.ix_(*((np.arange(s) - s // 2 + n // 2) % n for s, n in zip(h.shape, grid, strict=True)))
    np.add.at(out, places, h)
    return out


def _evening(slopes: Array) -> Array:
    """Weights that even out the gradient's power over the image, so that no single edge makes up its spectrum."""
    from scipy.ndimage import gaussian_filter

    energy = gaussian_filter((slopes**2).sum(axis=0), _LOCAL, mode="nearest", truncate=2.5)
    floor = energy.dtype.type(_FAINT * float(energy.mean(dtype=np.float64)))
    return 1 / np.sqrt(np.maximum(energy, 0) + max(floor, np.finfo(energy.dtype).tiny))


def _tiles(shape: Sequence[int], size: Sequence[int]) -> list[tuple[slice, ...]]:
    """Tiles that overlap by half, or fewer where they would be too many."""
    counts = [math.ceil(2 * (n - s) / s) + 1 for n, s in zip(shape, size, strict=True)]
    fewer = min(1.0, math.sqrt(_TILES / math.prod(counts)))
    firsts = [
        np.unique(np.linspace(0, n - s, max(1, round(c * fewer))).astype(int))
        for n, s, c in zip(shape, size, counts, strict=True)
    ]
    return [tuple(slice(i, i + s) for i, s in zip(first, size, strict=True)) for first in itertools.product(*firsts)]


def _lags(window: Array) -> Array:
    """Autocorrelation of the window on a periodic grid of its own size, 1 at lag 0."""
    double = tuple(2 * n for n in window.shape)
    W = _fft.rfftn(np.pad(window.astype(np.float64), [(0, n) for n in window.shape]), 2, 1)
    full = _fft.irfftn(W * W.conj(), double, 1)
    kept = [np.where(np.arange(n) <= n // 2, np.arange(n), np.arange(n) + n) for n in window.shape]
    return full[np.ix_(*kept)] / full[0, 0]


def _scene(wy: Array, wx: Array) -> tuple[Array, list[tuple[float, float]]]:
    """Functions (n, p) whose sum is log S, with mean and standard deviation of each coefficient."""
    x, phi = np.log(np.hypot(wy, wx)) / 1.5, np.arctan2(wy, wx)
    functions = [np.ones_like(x), x, x * x, -(wy**2 + wx**2)]
    priors = [(0.0, 30.0), (-1.0, 1.5), (-0.3, 0.2), _SOFT]
    for k, spread in ((1, 0.5), (2, 0.5), (3, 0.3), (4, 0.3)):
        for wave in (np.cos(2 * k * phi), np.sin(2 * k * phi)):
            functions.append(wave)
            priors.append((0.0, spread))
            if k <= 2:
                functions.append(wave * x)
                priors.append((0.0, spread / 2))
    return np.stack(functions, axis=1), priors


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """Scene, noise and blur together: the parameters q of the family, the `coefficients` (p + 3,) of log S and log N.

    `value` is minus the logarithm of the posterior density, K (n,) the blur's power, M (n,) the model's, and `share`
    (n,) that of the scene in it.
    """

    value: float
    q: Array
    coefficients: Array
    K: Array
    M: Array
    share: Array

    @classmethod
    def of(cls, spectrum: Spectrum, q: Array, coefficients: Array, K: Array) -> Fit:
        p = spectrum.basis.shape[1]
        scene = np.exp(np.clip(np.einsum("np,p->n", spectrum.basis, coefficients[:p]), -50, 50)) * K
        M = scene + np.exp(np.clip(np.einsum("np,p->n", spectrum.tint, coefficients[p:]), -50, 50)) * spectrum.noise
        value = spectrum.weights @ (np.log(M) + spectrum.power / M)
        value += spectrum.precision @ (coefficients - spectrum.mean) ** 2 / 2
        return cls(float(value), q, coefficients, K, M, scene / M)


def fitted(
    spectrum: Spectrum, family: Family, q: npt.ArrayLike = (), start: Fit | None = None, max_iter: int = 30
) -> Fit:
    """The likeliest scene, noise and parameters near `q`, by damped Fisher scoring (Levenberg-Marquardt).

    Parameters
    ----------
    start : Fit, optional
        Goes on from its scene and noise. Otherwise these are fitted first, for up to six iterations, to the blur `q`.
    max_iter : int
        Iterations.
    """
    low, high = family.bounds
    at = np.clip(np.array(q, dtype=np.float64), low, high)
    coefficients = spectrum.mean if start is None else start.coefficients
    fit, damping = Fit.of(spectrum, at, coefficients, spectrum.blurred(family.psfs(*at))), 1e-2
    moving = bool(at.size) and start is not None
    for iteration in range(max_iter):
        far = start is None and iteration < _FAR
        moving = moving or (bool(at.size) and iteration >= _HELD)
        units = family.units(fit.q) if moving else np.zeros(0)
        share = fit.share[:, np.newaxis]
        X = np.hstack([spectrum.basis * share, spectrum.tint * (1 - share)])
        X = np.column_stack([X, *(fit.share / fit.K * d for d in _derivatives(spectrum, family, fit, units))])
        ratio = spectrum.power / fit.M
        better, damping = _improved(spectrum, family, fit, X, np.log(ratio) if far else ratio - 1, units, damping)
        settled = not far and (better is None or fit.value - better.value < _SETTLED)
        fit = better or fit
        if settled and (moving or not at.size):
            break
        if far or (settled and not moving):
            damping, moving = 1e-3, settled
    return fit


def unlikeliness(spectrum: Spectrum, h: Array) -> float:
    """Minus the logarithm of the greatest posterior density for a given PSF, per independent value of the spectrum."""
    given = Family(lambda: (h,), (), (), lambda q: np.zeros(0), lambda q: {})
    return fitted(spectrum, given).value / float(spectrum.weights.sum())


def columns_products(A: Array, B: Array) -> Array:
    """``A^T B`` (p, q) of tall arrays (n, p) and (n, q), in pieces too small for BLAS to share them out to threads.

    Its threads wait by spinning: on a busy machine the small products here took ten times as long with them.
    """
    whole = len(A) - len(A) % PIECE
    a, b = (M[:whole].reshape(-1, PIECE, M.shape[1]) for M in (A, B))
    return np.asarray(np.matmul(a.transpose(0, 2, 1), b).sum(axis=0) + A[whole:].T @ B[whole:])


def _derivatives(spectrum: Spectrum, family: Family, fit: Fit, units: Array) -> list[Array]:
    """Of K by each of q, from differences over a fiftieth of its unit; away from an upper bound."""
    columns = []
    for j, unit in enumerate(units):
        step = unit / 50 if fit.q[j] + unit / 50 < family.highest[j] else -unit / 50
        q = fit.q.copy()
        q[j] += step
        columns.append((spectrum.blurred(family.psfs(*q)) - fit.K) / step)
    return columns


def _improved(
    spectrum: Spectrum, family: Family, fit: Fit, X: Array, left: Array, units: Array, damping: float
) -> tuple[Fit | None, float]:
    """A step that lowers the value, with as much damping as that needs, or None.

    X (n, p + 3 + parameters) : d log M; left (n,) : the ratio of I to M less 1, or its logarithm.
    """
    n = fit.coefficients.size
    weighted = X * spectrum.weights[:, np.newaxis]
    F, slope = columns_products(X, weighted), np.einsum("np,n->p", weighted, left)
    F[np.arange(n), np.arange(n)] += spectrum.precision
    slope[:n] -= spectrum.precision * (fit.coefficients - spectrum.mean)
    diagonal = np.diag(np.diag(F) + 1e-6)
    for _ in range(6):
        step = np.linalg.solve(F + damping * diagonal, slope)
        q, K = fit.q, fit.K
        if units.size:
            dq = step[n:] / max(1.0, float(np.abs(step[n:] / units).max()) / 2)  # two units at the most
            q = np.clip(q + dq, *family.bounds)
            K = spectrum.blurred(family.psfs(*q))
        new = Fit.of(spectrum, q, fit.coefficients + np.clip(step[:n], -3, 3), K)
        if new.value < fit.value:
            return new, damping / 10
        damping = max(10 * damping, 1e-3)
    return None, damping
