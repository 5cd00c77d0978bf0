"""What can be said without the truth: whether a residual is white noise, and how sharp an image looks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from lsdeblur import _fft
from lsdeblur._validate import channels_first, check_same_shape, check_size
from lsdeblur.metrics._arrays import inner

__all__ = ["correlation", "sharpness", "whiteness"]

Array = npt.NDArray[Any]

_PATCH = 8  # pixels, as in the measure's source
_SIGNIFICANCE = 0.001  # share of patches of white noise that are taken for structured


def whiteness(
    residual: npt.ArrayLike,
    *,
    lags: int = 5,
    mask: npt.ArrayLike | None = None,
    channel_axis: int | None = None,
) -> float:
    """Portmanteau test of a residual: the mean over the lags of its squared correlations, 1 on average for white noise.

    ``1 / K sum_l n^2 r(l)^2 / n(l)`` over the K lags l of up to `lags` pixels along every axis, l and -l counted once,
    without lag 0; ``r(l) = sum_x e(x) e(x + l) / sum_x e(x)^2`` for the residual e less its mean, with n pixels, of
    which n(l) have a partner.

    Parameters
    ----------
    residual : array, 1 to 3 spatial axes and optionally one of channels
        ``g - h * f``, where it was measured.
    lags : int >= 1
        Greatest lag; every axis has more pixels.
    mask : bool array of the spatial shape, optional
        True where nothing was measured.
    channel_axis : int, optional
        Axis of channels, over which it is averaged.

    Returns
    -------
    float >= 0
        About 1 for white noise, with a standard deviation of ``sqrt(2 / K)`` (0.18 for the 60 lags of a 2-D image). A
        correlation that is there adds to it in proportion to the number of pixels, so compare like sizes, or take
        `correlation`.

    Raises
    ------
    ValueError
        Too few pixels; a constant residual; a mask of another shape.

    Notes
    -----
    A regularised solution leaves less of low frequencies than of high ones, so that its residual is not quite white
    even if all is right. What speaks of a wrong PSF or lambda is a value many times that of similar restorations.

    References
    ----------
    Box & Pierce (1970), J. Am. Stat. Assoc. 65, 1509-1526, doi:10.1080/01621459.1970.10481180, here with lags along
    several axes. The unweighted sum of the squared correlations: Almeida & Figueiredo (2013),
    doi:10.1109/TIP.2013.2257810.

    Examples
    --------
    >>> import numpy as np
    >>> noise = np.random.default_rng(0).standard_normal((64, 64))
    >>> bool(0.5 < whiteness(noise) < 1.5), bool(whiteness(noise + np.roll(noise, 1, 1)) > 10)
    (True, True)
    """
    e = channels_first(residual, channel_axis, ndim=(1, 2, 3), name="residual").astype(np.float64)
    reach, shape = check_size(lags, 1, "lags")[0], e.shape[1:]
    if min(shape) <= reach:
        raise ValueError(f"lags={lags} needs more than {lags} pixels along every axis, but residual has {shape}")
    known = np.ones(shape, bool)
    if mask is not None:
        check_same_shape(np.asarray(mask), known, "mask", "residual")
        known = ~np.asarray(mask, bool)
    n = np.rint(_autocorrelation(known.astype(np.float64), reach))
    values = []
    for channel in e:
        deviation = np.where(known, channel - np.mean(channel[known]), 0) if known.any() else np.zeros(shape)
        power = float(np.sum(deviation**2))
        if not power > 0:
            raise ValueError("residual is constant, or mask leaves nothing of it: there is no noise to judge")
        r = _autocorrelation(deviation, reach) / power
        counted = n > 0
        counted[(reach,) * len(shape)] = False  # lag 0
        values.append(float(np.mean(n.max() ** 2 * r[counted] ** 2 / n[counted])))
    return math.fsum(values) / len(values)


def correlation(
    residual: npt.ArrayLike,
    *,
    lags: int = 5,
    mask: npt.ArrayLike | None = None,
    channel_axis: int | None = None,
) -> float:
    """Root mean square over the lags of a residual's correlations, which does not depend on its size.

    ``sqrt(W / n)`` for the `whiteness` W of n pixels. Of white noise ``1 / sqrt(n)`` is left of it by chance.

    Parameters
    ----------
    residual, lags, mask, channel_axis
        As in `whiteness`.

    Returns
    -------
    float in 0..1, about
        0 for white noise of many pixels.

    Raises
    ------
    ValueError
        As `whiteness`.

    Examples
    --------
    >>> import numpy as np
    >>> noise = np.random.default_rng(0).standard_normal((512, 512))
    >>> coloured = noise + np.roll(noise, 1, 1)  # of correlation 1/2 at one of 60 lags
    >>> round(correlation(coloured), 2), round(correlation(coloured[:128, :128]), 2)
    (0.06, 0.06)
    """
    power = whiteness(residual, lags=lags, mask=mask, channel_axis=channel_axis)
    shape = channels_first(residual, channel_axis, ndim=(1, 2, 3), name="residual").shape[1:]
    pixels = math.prod(shape) if mask is None else np.count_nonzero(~np.asarray(mask, bool))
    return math.sqrt(power / pixels)


def _autocorrelation(x: Array, reach: int) -> Array:
    """``sum_x e(x) e(x + l)`` for lags of up to `reach`, lag 0 in the middle."""
    grid = tuple(_fft.good_size(n + reach) for n in x.shape)
    X = _fft.rfftn(np.pad(x, [(0, m - n) for n, m in zip(x.shape, grid, strict=True)]), x.ndim)
    both = _fft.irfftn((X * X.conj()), grid)
    return both[np.ix_(*(np.arange(-reach, reach + 1) % m for m in grid))]


def sharpness(image: npt.ArrayLike, *, border: int = 0, channel_axis: int | None = None) -> float:
    """Metric Q: the strength of oriented structure, which blur and noise both take away.

    ``1 / M sum s1 (s1 - s2) / (s1 + s2)`` over those of the image's M patches of 8 x 8 pixels that have a direction,
    ``(s1 - s2) / (s1 + s2) > sqrt((1 - q) / (1 + q))`` with ``q = 0.001^(1/63)``; s1 and s2 are the singular values of
    a patch's gradients, one row for each pixel.

    Parameters
    ----------
    image : array, 2 or 3 spatial axes and optionally one of channels
        Volumes are taken plane by plane. At least 8 rows and columns, without the border.
    border, channel_axis
        As in `psnr`; it is averaged over channels.

    Returns
    -------
    float >= 0
        In units of the image: s times the image is s times as sharp, an offset does not count. To compare versions of
        one scene, such as before and after; ringing at edges may pass for sharpness.

    Raises
    ------
    ValueError
        Fewer than 8 rows or columns; a border that leaves nothing.

    References
    ----------
    Zhu & Milanfar (2010), IEEE Trans. Image Process. 19, 3116-3132, doi:10.1109/TIP.2010.2052820.

    Examples
    --------
    >>> import numpy as np
    >>> ramp = np.tile(np.arange(16.0), (16, 1))  # in each patch 64 gradients of length 1 in one direction
    >>> sharpness(ramp)
    8.0
    """
    f = inner(image, border, channel_axis, "image", (2, 3))
    rows, columns = (n // _PATCH for n in f.shape[-2:])
    if not rows or not columns:
        raise ValueError(
            f"sharpness needs at least {_PATCH} rows and columns, but without the border {f.shape[-2:]} are left"
        )
    f = f[..., : rows * _PATCH, : columns * _PATCH]
    patches = f.reshape(-1, rows, _PATCH, columns, _PATCH).swapaxes(2, 3)
    down, across = np.gradient(patches, axis=(-2, -1))
    aa, bb, ab = (np.sum(x * y, axis=(-2, -1)) for x, y in ((down, down), (across, across), (down, across)))
    spread = np.hypot((aa - bb) / 2, ab)
    s1, s2 = (np.sqrt(np.maximum((aa + bb) / 2 + sign * spread, 0)) for sign in (1, -1))
    coherence = np.divide(s1 - s2, s1 + s2, out=np.zeros_like(s1), where=s1 > 0)
    q = _SIGNIFICANCE ** (1 / (_PATCH**2 - 1))
    return float(np.mean(np.where(coherence > math.sqrt((1 - q) / (1 + q)), s1 * coherence, 0)))
