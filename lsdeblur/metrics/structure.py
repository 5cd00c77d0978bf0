"""What became of edges and texture, beside the truth: measures of their own where one number for all hides it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from lsdeblur._validate import check_size
from lsdeblur.metrics._arrays import pair

__all__ = ["edge_preservation", "ringing", "texture_preservation"]

Array = npt.NDArray[Any]

_STRONG = 0.5  # of the greatest contrast within reach: an edge that ringing is looked for at
_FINE = 2.0  # standard deviation in pixels of the Gaussian without which an image is its texture
_TEXTURED = (0.5, 0.9)  # quantiles of the local energy: below is nearly flat, above are edges


def edge_preservation(
    image: npt.ArrayLike, truth: npt.ArrayLike, *, border: int = 0, channel_axis: int | None = None
) -> float:
    """Edge preservation index: the correlation of the two images' Laplacians.

    ``sum (a - <a>) (t - <t>) / sqrt(sum (a - <a>)^2 sum (t - <t>)^2)`` for the Laplacians a of the image and t of the
    truth at every pixel that has all its neighbours.

    Parameters
    ----------
    image, truth : arrays of one shape, with 1 to 3 spatial axes and optionally one of channels
        At least 3 pixels along every spatial axis, without the border.
    border, channel_axis
        As in `psnr`; channels are taken together.

    Returns
    -------
    float in -1..1
        1 for the truth in any scale and with any offset; 0 where nothing is left of the edges. Blur and noise lower it,
        noise strongly: the Laplacian amplifies it.

    Raises
    ------
    ValueError
        As `psnr`; fewer than 3 pixels along an axis; a truth without edges.

    References
    ----------
    Sattar, Floreby, Salomonsson & Lovstrom (1997), IEEE Trans. Image Process. 6, 888-895, doi:10.1109/83.585243.

    Examples
    --------
    >>> import numpy as np
    >>> truth = np.eye(8)
    >>> edge_preservation(5 - 2 * truth, truth)
    -1.0
    """
    f, t = pair(image, truth, border, channel_axis)
    if min(t.shape[1:]) < 3:
        raise ValueError(f"edges need 3 pixels along every axis, but without the border {t.shape[1:]} are left")
    a, b = _laplacian(f), _laplacian(t)
    power = float(np.sum(b * b))
    if power <= _rounding(t):
        raise ValueError("truth has no edges, its Laplacian is the same everywhere: compare by psnr or nmse")
    own = float(np.sum(a * a))
    return float(np.sum(a * b)) / math.sqrt(own * power) if own > _rounding(f) else 0.0


def ringing(
    image: npt.ArrayLike,
    truth: npt.ArrayLike,
    *,
    reach: int = 8,
    border: int = 0,
    channel_axis: int | None = None,
) -> float:
    """Overshoot beside strong edges: what the image swings beyond the values that the truth has nearby.

    ``sqrt(sum e^2 / sum c^2)`` over the pixels near strong edges, where ``e = max(0, image - high, low - image)`` for
    the truth's greatest and least value, high and low, within `reach` pixels along every axis, and ``c = high - low``;
    near strong edges c is at least half of its maximum.

    Parameters
    ----------
    image, truth, border, channel_axis
        As in `edge_preservation`.
    reach : int >= 1
        Half of the window's size, in pixels.

    Returns
    -------
    float >= 0
        0 for the truth, and for the truth blurred by any PSF without negative values that reaches no farther. It keeps
        its value when both images are scaled or shifted together.

    Raises
    ------
    ValueError
        As `psnr`; `reach` below 1; a constant truth.

    Notes
    -----
    A measure of this library, made to be simple. It sees the part of the ripples that leaves the range of the values
    around, about half of those beside a step, and noise as well, with ``noise_std / c``: compare images of like noise.
    Overview of other measures: Liu, Klomp & Heynderickx (2010), doi:10.1109/TCSVT.2009.2035848.

    Examples
    --------
    >>> import numpy as np
    >>> step = np.repeat([0.0, 1.0], 10)
    >>> ringing(step, step)
    0.0
    >>> ringing(1.5 * step - 0.25, step)
    0.25
    """
    from scipy.ndimage import maximum_filter, minimum_filter

    f, t = pair(image, truth, border, channel_axis)
    width = 2 * check_size(reach, 1, "reach")[0] + 1
    window = (1,) + (width,) * (t.ndim - 1)
    high, low = maximum_filter(t, window), minimum_filter(t, window)
    contrast = high - low
    near = contrast >= _STRONG * contrast.max()
    if not contrast.max() > 0:
        raise ValueError("truth is constant: without edges there is no ringing; compare by psnr")
    excess = np.maximum(np.maximum(f - high, low - f), 0)[near]
    return math.sqrt(float(np.sum(excess**2)) / float(np.sum(contrast[near] ** 2)))


def texture_preservation(
    image: npt.ArrayLike, truth: npt.ArrayLike, *, border: int = 0, channel_axis: int | None = None
) -> float:
    """The share of the truth's texture that is in the image: the slope of its fine detail on the truth's.

    ``sum a t / sum t^2`` over the textured pixels, where a and t are image and truth less their means under a
    Gaussian of 2 pixels. Textured are pixels whose local energy, ``t^2`` under the same Gaussian, lies between its
    median and its 90th percentile in the channel: below the truth is nearly flat, above are its edges.

    Parameters
    ----------
    image, truth, border, channel_axis
        As in `edge_preservation`, of any size.

    Returns
    -------
    float
        1 for the truth, 0 where texture is flattened, above 1 where it is exaggerated, s for the truth times s; an
        offset does not count. Noise leaves the expected value as it is, since it does not resemble the texture.

    Raises
    ------
    ValueError
        As `psnr`; a truth without texture.

    Notes
    -----
    A measure of this library, in one number what the texture's transfer function by the cross-spectrum with a known
    target is for each frequency. Source of that: Kirk, Herzer, Artmann & Kunz (2014), Proc. SPIE 9023.

    Examples
    --------
    >>> import numpy as np
    >>> truth = np.random.default_rng(0).random((32, 32))
    >>> texture_preservation(0.7 * truth + 3, truth)
    0.7
    """
    from scipy.ndimage import gaussian_filter

    f, t = pair(image, truth, border, channel_axis)
    width = (0.0,) + (_FINE,) * (t.ndim - 1)
    noise_floor = _rounding(t) / t.size
    a, b = f - gaussian_filter(f, width), t - gaussian_filter(t, width)
    energy = gaussian_filter(b * b, width)
    low, high = np.quantile(energy, _TEXTURED, axis=tuple(range(1, t.ndim)), keepdims=True)
    textured = (energy >= low) & (energy <= high)
    power = float(np.mean(b[textured] ** 2))
    if not power > noise_floor:
        raise ValueError("truth has no texture, it is flat where it has no edges: compare by psnr or edge_preservation")
    return float(np.mean(a[textured] * b[textured])) / power


def _laplacian(image: Array) -> Array:
    """The Laplacian where all neighbours are there, less its mean in each channel."""
    middle = (slice(None),) + (slice(1, -1),) * (image.ndim - 1)
    out = np.zeros_like(image[middle])
    for axis in range(1, image.ndim):
        out += np.diff(image, 2, axis=axis)[(*middle[:axis], slice(None), *middle[axis + 1 :])]
    return out - np.mean(out, axis=tuple(range(1, out.ndim)), keepdims=True)


def _rounding(image: Array) -> float:
    """The sum of squares that rounding may leave where there is nothing."""
    return image.size * (16 * float(np.finfo(image.dtype).eps) * float(np.max(np.abs(image)))) ** 2
