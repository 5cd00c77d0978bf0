"""Where the object is: background level, noise and support of an object on a uniform background.

A blur widens the object, so the pixels that differ from the background are not its support. They are the start of the
iterations in `nas_rif`, which sharpen the image and look again: `outline` finds the edge of a bright region where it
falls to a part of its own brightness, for a symmetric PSF and a sharp edge at the half of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from lsdeblur._validate import check_finite
from lsdeblur.blind._inverse_filter import Filtered, inverse_filter
from lsdeblur.errors import ParameterChoiceError

__all__ = ["as_background", "as_support", "found_support", "outline", "rim_of", "sharp_outline"]

Array = npt.NDArray[Any]

_RIM = 3  # pixels at every side of the frame that are taken for background
_NOISE = 4.0  # standard deviations of the noise that a pixel of the object differs by
_FAINT = 0.02  # and at least this part of the object's contrast
_UNEVEN = 0.05  # part of the contrast by which the background may vary beyond its noise
# Chosen on six objects with four PSFs each: parts of the local brightness for the blurred image and for the last of the
# filtered ones, the widths in pixels within which it is looked for, and the filters' size and iterations.
_PARTS, _WIDTHS = (0.4, 0.35), (9, 5)
_ROUNDS, _SIZE, _ITERATIONS = 6, 9, 40
_SHARP_PART = 0.3  # and for a restoration
_SMALL = 0.01  # share of the largest part's light that a part needs to count
_REMEDY = "give the object's as support= (a bool array, True inside it)"


def rim_of(image: Array, known: Array | None) -> tuple[float, float]:
    """Median of one channel's frame rim, and the spread of its values about it as a standard deviation.

    The spread is 1.4826 times the median distance from the median, which is the standard deviation of Gaussian noise.
    Pixels where `known` is False are left out.
    """
    rim = np.ones(image.shape, bool)
    rim[tuple(slice(_RIM, -_RIM) if n > 4 * _RIM else slice(1, -1) for n in image.shape)] = False
    if known is not None and (rim & known).any():
        rim &= known
    values = image[rim].astype(np.float64)
    level = float(np.median(values))
    return level, 1.4826 * float(np.median(np.abs(values - level)))


def as_background(background: Any, image: Array, known: Array | None) -> list[float]:
    """The background's level of every channel (channels, *shape): as given, or the median of the frame's rim."""
    if background is None:
        return [rim_of(g, known)[0] for g in image]
    levels = [check_finite(b, "background") for b in np.atleast_1d(background).tolist()]
    if len(levels) not in (1, len(image)):
        raise ValueError(f"background has {len(levels)} levels for {len(image)} channels: give one, or one for each")
    return levels * (len(image) // len(levels))


def as_support(support: npt.ArrayLike, shape: Sequence[int]) -> npt.NDArray[np.bool_]:
    """The caller's support, checked: a bool array of the image's spatial shape with pixels inside and outside."""
    inside = np.asarray(support)
    if inside.dtype != np.bool_ or inside.shape != tuple(shape):
        raise ValueError(
            f"support must be a bool array of the image's spatial shape {tuple(shape)}, not {inside.dtype} of "
            f"{inside.shape}"
        )
    if inside.all() or not inside.any():
        where = "the whole frame" if inside.all() else "no pixel"
        raise ValueError(f"support covers {where}: it must be True inside the object and False on the background")
    return inside


def outline(
    difference: Array, part: float, width: int, noise_std: float, known: Array | None = None
) -> npt.NDArray[np.bool_]:
    """The pixels whose distance from the background exceeds a part of the local maximum and four times the noise.

    Parameters
    ----------
    difference : array (*shape)
        Distances of the image from its background, non-negative.
    part : float, 0..1
        Of the largest distance within `width` pixels, smoothed by a Gaussian of a quarter of the width.
    width : int
    noise_std : float
        Of `difference`.
    known : bool array (*shape), optional
        False where a pixel was not measured.

    Returns
    -------
    bool array (*shape)
        Without holes, and without parts of less than 1 % of the largest part's light.

    Raises
    ------
    ParameterChoiceError
        Nothing stands out.
    """
    contrast = float(np.quantile(difference if known is None else difference[known], 0.99))
    peak = ndimage.gaussian_filter(ndimage.maximum_filter(difference, size=width), width / 4)
    inside = (difference > part * peak) & (difference > max(_NOISE * noise_std, _FAINT * contrast))
    inside = ndimage.binary_fill_holes(inside)
    labels, n = ndimage.label(inside)
    if n == 0:
        raise ParameterChoiceError(f"no object stands out from the background and its noise: {_REMEDY}")
    light = ndimage.sum(difference, labels, range(1, n + 1))
    return np.isin(labels, 1 + np.flatnonzero(light > _SMALL * light.max()))


def check_background(difference: Array, noise_std: float, known: Array | None) -> None:
    """ParameterChoiceError where the frame's rim is no uniform background.

    `noise_std` is the spread of the rim's values. If they are background and noise, neighbours differ as much as any
    two of them; of a scene they differ less.
    """
    contrast = float(np.quantile(difference if known is None else difference[known], 0.99))
    rim = np.ones(difference.shape, bool)
    rim[tuple(slice(1, -1) for _ in difference.shape)] = False
    if known is not None:
        rim &= known
    high = float(np.mean(difference[rim] > max(_NOISE * noise_std, 2 * _UNEVEN * contrast)))
    if noise_std > 0.25 * contrast or high > 0.02:
        raise ParameterChoiceError(
            "the object's support was not found: the rim of the frame is no uniform background, or the object "
            f"reaches it; {_REMEDY}, or crop the image so that background surrounds the object"
        )


def found_support(
    difference: Array, levels: Sequence[float], known: Array | None, boundary: str, workers: int | None = None
) -> npt.NDArray[np.bool_]:
    """The support of an object on a uniform background, from the differences (channels, *shape) to its levels.

    The outline in the blurred image is the first; then inverse filters for the outline so far sharpen the image, in
    which the next outline is found.

    Raises
    ------
    ParameterChoiceError
        The frame's rim is no uniform background, or nothing stands out from it.
    """
    spreads = [rim_of(d, known)[1] for d in difference]
    noise = float(np.sqrt(np.mean(np.square(spreads))))
    length = _lengths(difference)
    check_background(length, noise, known)
    inside = outline(length, _PARTS[0], _WIDTHS[0], noise, known)
    size = tuple(min(_SIZE, n - 1 + n % 2) for n in inside.shape)
    filtered = Filtered.of(difference, size, boundary, workers)
    start = None
    for i in range(1, _ROUNDS + 1):
        found = inverse_filter(filtered, inside, levels, known, gamma=1.0, max_iter=_ITERATIONS, tol=0, start=start)
        start, part = found.u, _PARTS[0] + (_PARTS[1] - _PARTS[0]) * min(1.0, i / (_ROUNDS - 1))
        gain = float(np.sqrt(np.sum(found.u**2)))
        inside = outline(_lengths(found.difference), part, _WIDTHS[1], noise * gain, known)
    return inside


def sharp_outline(restored: Array, difference: Array, known: Array | None) -> npt.NDArray[np.bool_]:
    """The outline in a restoration (channels, *shape) of the differences, for their noise."""
    noise = float(np.sqrt(np.mean([rim_of(d, known)[1] ** 2 for d in difference])))
    return outline(_lengths(restored), _SHARP_PART, _WIDTHS[1], noise, known)


def _lengths(difference: Array) -> Array:
    """Root mean square over the channels."""
    return np.sqrt(np.mean(np.square(difference, dtype=np.float64), axis=0))
