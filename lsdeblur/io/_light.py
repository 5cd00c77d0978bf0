"""The sRGB transfer curve: from the values of a photograph to light, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lsdeblur._validate import as_float_array, check_positive

__all__ = ["encoded", "linear"]

# Where the straight line and the power meet. The standard rounds it to 0.04045, which leaves a step of 1e-7 and makes
# the curve ambiguous there; with the crossing itself it is continuous and has an exact inverse.
_CROSSING = 0.0404482362771082
_SLOPE = 12.92


def linear(image: npt.ArrayLike, white: float | None = None) -> npt.NDArray[Any]:
    """Light from gamma-encoded values, by the sRGB curve.

    With ``v = image / white``, light is ``white * v / 12.92`` in the darkest twenty-fifth of the range, and ``white *
    ((v + 0.055) / 1.055)^2.4`` above it. A blur adds up light, so that the model ``h * f + n`` holds for light and not
    for the values that a camera or an editor wrote; the difference shows as rims beside highlights.

    Parameters
    ----------
    image : array
        Gamma-encoded values. Negative ones are mirrored, ``-linear(-v)``; those above white go on along the curve.
    white : float > 0, optional
        The value of white (`Picture.white`); by default the greatest of integers of 8 or 16 bits, and 1 for floats.

    Returns
    -------
    array
        In the working dtype, white at `white`. Noise that was equal everywhere now grows with the light.

    References
    ----------
    IEC 61966-2-1:1999.

    Examples
    --------
    >>> from lsdeblur import io
    >>> io.linear([0.0, 0.5, 1.0])
    array([0.        , 0.21404114, 1.        ])
    """
    v, white = _relative(image, white)
    size = np.abs(v)
    light = np.where(size <= _CROSSING, size / _SLOPE, ((size + 0.055) / 1.055) ** 2.4)
    return (np.copysign(light, v) * white).astype(v.dtype, copy=False)


def encoded(image: npt.ArrayLike, white: float | None = None) -> npt.NDArray[Any]:
    """Gamma-encoded values from light: the inverse of `linear`.

    Parameters
    ----------
    image : array
        Light, white at `white`.
    white : float > 0, optional
        As in `linear`: to be given for light that came from integers.

    Returns
    -------
    array
        In the working dtype.
    """
    v, white = _relative(image, white)
    size = np.abs(v)
    value = np.where(size <= _CROSSING / _SLOPE, size * _SLOPE, 1.055 * size ** (1 / 2.4) - 0.055)
    return (np.copysign(value, v) * white).astype(v.dtype, copy=False)


def _relative(image: npt.ArrayLike, white: float | None) -> tuple[npt.NDArray[Any], float]:
    """The image divided by white, and white."""
    if white is None:
        kind = np.asarray(image).dtype
        if kind.kind in "iu" and kind.itemsize > 2:
            raise ValueError(f"image has values of type {kind}, whose white is unknown: give white=, for example 255")
        white = float(np.iinfo(kind).max) if kind.kind in "iu" else 1.0
    return as_float_array(image, "image") / check_positive(white, "white"), white
