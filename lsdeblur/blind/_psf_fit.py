"""The PSF from an image and a restoration of it, and how well a PSF explains an image.

For a restored scene x and the image g, the PSF is the least-squares solution on their gradients, with the constraints
that make it one,

    min over h >= 0, sum h = 1 of   1/2 sum_d || M (h * D_d x - D_d g) ||^2 + mu c_0 / 2 ||h - h_0||^2,

D_d the forward difference along axis d, M the pairs of neighbours that were both measured, and c_0 the sum of
``|D x|^2``, so that mu has no unit. It is solved by FISTA with restarts and projections on the simplex.

Sources: A. Beck & M. Teboulle (2009), SIAM J. Imaging Sci. 2, 183-202, doi:10.1137/080716542 (FISTA); B. O'Donoghue &
E. Candes (2015), Found. Comput. Math. 15, 715-732, doi:10.1007/s10208-013-9150-3 (restarts); J. Duchi et al. (2008),
Proc. ICML, 272-279, doi:10.1145/1390156.1390191, fig. 1 (projection on the simplex).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from lsdeblur import _fft, direct
from lsdeblur._methods import Problem
from lsdeblur.errors import LsdeblurWarning
from lsdeblur.spectrum import transfer_function

__all__ = ["descended", "evidence", "fitted_psf", "padded", "pruned", "similarity", "simplex"]

Array = npt.NDArray[Any]

_POWER = 12  # power iterations for the largest eigenvalue; what they may miss:
_MARGIN = 1.05
_FAINT, _SPECK = 0.01, 0.05  # of the largest value, and of the largest connected part's light


def fitted_psf(
    scene: Array, data: Array, start: Array, *, prior: Array | None = None, mu: float = 0.0,
    measured: Array | None = None, max_iter: int = 60, workers: int | None = None,
) -> Array:  # fmt: skip
    """The PSF (the shape of `start`, its centre at ``s // 2``) that blurs `scene` into `data`, on a periodic grid.

    Parameters
    ----------
    scene, data : arrays (*grid)
    start, prior : arrays of one shape
        Where the iterations start, and h_0, to which `mu` draws them; by default the start.
    measured : bool array (*grid), optional
        M: False where `data` were not measured.
    mu : float >= 0
    max_iter : int
    """
    h0 = start if prior is None else prior
    grid, ndim = scene.shape, scene.ndim
    X = [_fft.rfftn(np.roll(scene, -1, axis) - scene, ndim, workers) for axis in range(ndim)]
    pairs = [None if measured is None else measured & np.roll(measured, -1, axis) for axis in range(ndim)]
    lags = np.ix_(*[np.arange(s) - s // 2 for s in start.shape])

    def seen(x: Array, pair: Array | None) -> Array:
        return x if pair is None else x * pair

    def adjoint(residuals: Sequence[Array]) -> Array:
        C = sum(x.conj() * _fft.rfftn(r, ndim, workers) for x, r in zip(X, residuals, strict=True))
        return _fft.irfftn(np.asarray(C), grid, workers)[lags].astype(np.float64)

    def normal(h: Array) -> Array:
        H = transfer_function(h.astype(scene.dtype), grid, workers=workers)
        if measured is None:
            return _fft.irfftn(H * P, grid, workers)[lags].astype(np.float64)
        return adjoint([seen(_fft.irfftn(H * x, grid, workers), pair) for x, pair in zip(X, pairs, strict=True)])

    P = np.asarray(sum(x.real**2 + x.imag**2 for x in X))
    target = adjoint([seen(np.roll(data, -1, axis) - data, pairs[axis]) for axis in range(ndim)])
    own = sum(float(np.sum(np.square(np.roll(scene, -1, axis) - scene), dtype=np.float64)) for axis in range(ndim))
    if own == 0:
        return start
    largest = 0.0
    v = np.full(start.shape, start.size**-0.5)
    for _ in range(_POWER):
        v = normal(v)
        largest = float(np.linalg.norm(v))
        v /= largest
    pull = mu * own

    def slope(h: Array) -> Array:
        return normal(h) - target + pull * (h - h0)

    return descended(start.astype(np.float64), slope, _MARGIN * largest + pull, max_iter, simplex)


def descended(
    h: Array, slope: Callable[[Array], Array], curvature: float, steps: int, project: Callable[[Array], Array]
) -> Array:
    """Accelerated projected descent of a quadratic from h, begun anew where the momentum leads uphill."""
    ahead, t = h, 1.0
    for _ in range(steps):
        new = project(ahead - slope(ahead) / curvature)
        if float(((ahead - new) * (new - h)).sum()) > 0:
            t = 1.0
        following = (1 + math.sqrt(1 + 4 * t * t)) / 2
        ahead = new + ((t - 1) / following) * (new - h)
        h, t = new, following
    return h


def simplex(v: Array) -> Array:
    """The nearest array of non-negative values with sum 1."""
    falling = np.sort(v, axis=None)[::-1]
    shifts = (np.cumsum(falling) - 1) / np.arange(1, v.size + 1)
    return np.maximum(v - shifts[falling > shifts][-1], 0)


def pruned(h: Array, faint: float = _FAINT, apart: float = _SPECK) -> Array:
    """Without what is under `faint` of the maximum, and connected parts under `apart` of the largest one's light."""
    h = np.where(h >= faint * h.max(), h, 0)
    labels, n = ndimage.label(h > 0, np.ones((3,) * h.ndim))
    light = ndimage.sum(h, labels, range(1, n + 1))
    h = np.where(np.isin(labels, 1 + np.flatnonzero(light >= apart * np.max(light))), h, 0)
    return h / h.sum()


def padded(h: Array, size: Sequence[int]) -> Array:
    """`h` with zeros around it, or cut, its centre at ``size // 2``."""
    wide = np.pad(h, [(s, s) for s in size])
    return wide[tuple(slice(s + n // 2 - s // 2, 2 * s + n // 2 - s // 2) for n, s in zip(h.shape, size, strict=True))]


def evidence(image: Array, h: Array, boundary: str, workers: int | None = None) -> float:
    """Minus the log-likelihood of an image (*shape) with the PSF h, up to a constant; lower is better.

    The marginal likelihood of Tikhonov's model, with the power of the scene and of the noise chosen for each PSF
    (`lsdeblur.selection`). It sees the moduli of the transfer function only. Compare PSFs of one size.
    """
    problem = Problem(image[np.newaxis], h[np.newaxis].astype(image.dtype), boundary, (1.0,) * image.ndim, workers)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LsdeblurWarning)  # a wrong PSF is a candidate here, no mistake of the caller
        selection = direct.tikhonov(problem, noise_width=0).selection
    assert selection is not None
    return float(np.min(selection.criteria["evidence"]))


def similarity(a: Array, b: Array) -> float:
    """Normalised cross-correlation of two PSFs at the best shift by whole pixels, 0..1."""
    grid = tuple(_fft.good_size(s + t) for s, t in zip(a.shape, b.shape, strict=True))
    A, B = transfer_function(a, grid), transfer_function(b, grid)
    return float(_fft.irfftn(A * B.conj(), grid).max() / np.sqrt(np.vdot(a, a) * np.vdot(b, b)))
