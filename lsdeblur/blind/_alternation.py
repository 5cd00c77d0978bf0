"""Image and PSF in turn, at one scale: the two steps of blind estimation by sparse gradients.

The blurred image y is taken as periodic on a grid somewhat larger than its frame; beyond the frame it is what the last
image and PSF say.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lsdeblur import _fft
from lsdeblur.blind._psf_fit import descended, pruned
from lsdeblur.boundary import crop, extend
from lsdeblur.spectrum import frequencies, transfer_function

__all__ = ["alternated", "resized"]

Array = npt.NDArray[Any]

_GROWTH = 1.5  # of beta from one step to the next: slower steps keep more edges, faster ones lose a third of the images
_STIFF = 1e3  # the last beta
_STEEPEST = 0.6  # of the slopes: as long as the threshold is higher, beta changes nothing
_RIDGE = 1e-3  # of the edges' energy, beside the PSF's normal equations
_FAINT = 0.02  # of the PSF's maximum: below this its values are noise
_APART = 0.1  # of the largest connected part: what is smaller and lies apart is noise
_DENSE = 19  # pixels to a side, up to which the PSF's normal equations are quicker as a matrix
_DESCENT = 60  # steps of the PSF's quadratic programme, on its own small grid


def grid_of(shape: Sequence[int], size: int) -> tuple[int, ...]:
    """Shape of the periodic grid for a frame and a PSF of `size` pixels."""
    return tuple(_fft.good_size(n + size + 1) for n in shape)


def alternated(image: Array, h: Array, lams: Sequence[float]) -> Array:
    """A better PSF (s, s), from one image step and one PSF step for each of `lams`.

    image : float32 array (rows, columns); h : float64 array (s, s), the PSF so far.
    """
    shape, grid = image.shape, grid_of(image.shape, len(h))
    data = _continued(image, h, grid)
    P = _slope_symbol(grid, image.dtype)
    for lam in lams:
        H = transfer_function(h.astype(image.dtype), grid, workers=1)
        f, F = latent(data, H, P, lam)
        h = centred(pruned(_psf_step(slopes(f), slopes(data), h), _FAINT, _APART))
        model = _filtered(transfer_function(h.astype(image.dtype), grid, workers=1), F, grid)
        crop(model, shape)[...] = image
        data = model
    return h


def latent(data: Array, H: Array, P: Array, lam: float) -> tuple[Array, Array]:
    """An image of few edges and its half spectrum: ``min_f ||h * f - y||^2 + lam #{grad f != 0}``.

    Half-quadratic splitting: ``min_f ||h * f - y||^2 + beta ||grad f - g||^2`` and g = grad f where
    ``|grad f|^2 >= lam / beta``, 0 elsewhere, in turn, with growing beta. Xu, Lu, Xu and Jia 2011,
    doi:10.1145/2024156.2024208, eqs. (8) and (12); Pan, Hu, Su and Yang 2014, doi:10.1109/CVPR.2014.371.
    """
    grid, real = data.shape, data.dtype.type
    HY = _fft.rfftn(data, 2, 1)
    HY *= H.conj()
    power = H.real**2 + H.imag**2
    f, F, beta = data, HY, lam / _STEEPEST**2
    weight, steep = np.empty_like(power), np.empty(grid, bool)
    squares = np.empty((2, *grid), data.dtype)
    while beta < _STIFF:
        g = slopes(f)
        np.multiply(g, g, out=squares)
        squares[0] += squares[1]
        g *= np.greater_equal(squares[0], real(lam / beta), out=steep)
        F = _fft.rfftn(divergence(g), 2, 1)
        F *= real(beta)
        F += HY
        np.multiply(P, real(beta), out=weight)
        weight += power
        F *= np.divide(real(1), weight, out=weight)
        f = _fft.irfftn(F, grid, 1, overwrite=False)
        beta *= _GROWTH
    return f, F


def slopes(f: Array) -> Array:
    """Forward differences along rows and columns of a periodic image, (2, rows, columns)."""
    g = np.empty((2, *f.shape), f.dtype)
    np.subtract(f[1:], f[:-1], out=g[0, :-1])
    np.subtract(f[0], f[-1], out=g[0, -1])
    np.subtract(f[:, 1:], f[:, :-1], out=g[1, :, :-1])
    np.subtract(f[:, 0], f[:, -1], out=g[1, :, -1])
    return g


def divergence(g: Array) -> Array:
    """The adjoint of `slopes`."""
    d = -(g[0] + g[1])
    d[1:] += g[0, :-1]
    d[0] += g[0, -1]
    d[:, 1:] += g[1, :, :-1]
    d[:, 0] += g[1, :, -1]
    return d


def _slope_symbol(grid: Sequence[int], dtype: npt.DTypeLike) -> Array:
    """Power of `slopes` at each frequency."""
    return np.asarray(sum(2 - 2 * np.cos(w) for w in frequencies(grid))).astype(dtype)


def _continued(image: Array, h: Array, grid: tuple[int, ...]) -> Array:
    """Some image beyond the frame to begin with: a smooth one."""
    return extend(image[np.newaxis], grid, "taper", h[np.newaxis].astype(image.dtype), 1)[0]


def _filtered(H: Array, F: Array, grid: tuple[int, ...]) -> Array:
    return _fft.irfftn(H * F, grid, 1)


def _psf_step(edges: Array, target: Array, h: Array) -> Array:
    """``min_{h >= 0} ||h * edges - target||^2 + ridge ||h||^2`` on the support of `h`, from `h`.

    Only correlations at lags within the PSF are needed: two transforms of each slope, then a problem on its own grid.
    """
    E, T = _fft.rfftn(edges, 2, 1), _fft.rfftn(target, 2, 1)
    grid, s = edges.shape[1:], len(h)
    own = _fft.irfftn((E.real**2 + E.imag**2).sum(axis=0).astype(E.dtype), grid, 1)
    cross = _fft.irfftn((E.conj() * T).sum(axis=0), grid, 1)
    b = cross[_around(grid, s // 2)].astype(np.float64)
    spectrum = _toeplitz(own, s)
    ridge = _RIDGE * float(own[0, 0])
    curvature = float(np.abs(spectrum).max()) + ridge
    if s <= _DENSE:
        i, j = np.divmod(np.arange(s * s), s)
        A = own[i[:, np.newaxis] - i, j[:, np.newaxis] - j].astype(np.float64)

    def slope(k: Array) -> Array:
        if s <= _DENSE:
            return np.einsum("ij,j->i", A, k.ravel()).reshape(s, s) + ridge * k - b  # BLAS would start threads
        padded = np.zeros((2 * s, 2 * s))
        padded[:s, :s] = k
        return _fft.irfftn(spectrum * _fft.rfftn(padded, 2, 1), padded.shape, 1)[:s, :s] + ridge * k - b

    found = descended(h, slope, curvature, _DESCENT, lambda k: np.maximum(k, 0))
    return found if found.any() else h


def _around(grid: Sequence[int], reach: int) -> tuple[Array, ...]:
    """Index of the lags from -reach to reach along both axes."""
    lags = np.arange(-reach, reach + 1)
    return np.ix_(*(lags % n for n in grid))


def _toeplitz(own: Array, s: int) -> Array:
    """Half spectrum (2 s, s + 1) by which an (s, s) array is convolved with the autocorrelation `own`."""
    lags = np.zeros((2 * s, 2 * s))
    lags[_around(lags.shape, s - 1)] = own[_around(own.shape, s - 1)]
    return _fft.rfftn(lags, 2, 1)


def centred(h: Array) -> Array:
    """Moved by whole pixels so that its centroid lies in the centre pixel; what leaves the frame is lost."""
    from scipy.ndimage import center_of_mass

    moved = np.zeros_like(h)
    way = [round(n // 2 - c) for n, c in zip(h.shape, center_of_mass(h), strict=True)]
    to = tuple(slice(max(0, d), n + min(0, d)) for n, d in zip(h.shape, way, strict=True))
    origin = tuple(slice(max(0, -d), n + min(0, -d)) for n, d in zip(h.shape, way, strict=True))
    moved[to] = h[origin]
    return moved / moved.sum()


def resized(h: Array, s: int) -> Array:
    """The PSF on s x s pixels that cover the same field."""
    import cv2

    return centred(pruned(cv2.resize(h, (s, s), interpolation=cv2.INTER_CUBIC), 0.0, _APART))
