"""What is read from a file, and what every format needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Picture", "Unreadable", "as_stored", "check_expansion", "opacity", "oriented", "white_of"]

Array = npt.NDArray[Any]

_LARGE = 1 << 28  # bytes that any header may announce
_EXPANSION = 1100  # what deflate can make of a byte at the most is 1032


class Unreadable(ValueError):
    """A file that is refused with a message of its own."""


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """An image as it is in a file, with what belongs to it.

    Attributes
    ----------
    image : array
        The values as in the file, without alpha, upright; of a Zarr file its array, of an NPY file a memory map.
    channel_axis : int or None
        Axis of colours or channels.
    white : float
        Full scale: the largest value of an integer type, 1 for floats.
    path : Path
    format : str
        "png", "jpeg", "tiff", "npy", "npz", "zarr" or "fits".
    axes : str
        One letter an axis as TIFF has them ("ZYX", "CYX", "QYX" for pages of unknown kind); "" where unknown.
    alpha : array or None
        Opacity of each pixel, in the image's type.
    metadata : mapping
        What `write` puts back: "resolution" (x, y, unit), "icc" and "exif" (bytes), and what only one format has.
    """

    image: Array
    channel_axis: int | None
    white: float
    path: Path
    format: str
    axes: str = ""
    alpha: Array | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, ...]:
        """Spatial shape."""
        shape = list(self.image.shape)
        if self.channel_axis is not None:
            del shape[self.channel_axis]
        return tuple(shape)

    def __repr__(self) -> str:
        return f"Picture({self.path.name!r}, {self.format}, shape={tuple(self.image.shape)}, dtype={self.image.dtype})"


def white_of(dtype: npt.DTypeLike) -> float:
    """Full scale of a type."""
    dtype = np.dtype(dtype)
    return float(np.iinfo(dtype).max) if dtype.kind in "iu" else 1.0


def as_stored(image: Array, dtype: npt.DTypeLike | None) -> Array:
    """The image in the file's type: rounded and clipped to the range of integers, not rescaled."""
    dtype = image.dtype if dtype is None else np.dtype(dtype)
    if image.dtype.kind not in "buif" or dtype.kind not in "buif":
        raise ValueError(f"image is of dtype {image.dtype}, to be stored as {dtype}: only real numbers can be written")
    if np.can_cast(image.dtype, dtype):
        return image.astype(dtype, copy=False)
    if dtype.kind == "f":
        return _narrowed(image, dtype)
    low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    if image.dtype.kind != "f":
        own = np.iinfo(image.dtype)
        return np.clip(image, max(low, own.min), min(high, own.max)).astype(dtype)
    if not np.isfinite(image).all():
        raise ValueError(f"image has NaN or infinite values, which {dtype} cannot hold: write floats to .tif or .npy")
    wide = image.dtype.itemsize >= 2 * dtype.itemsize  # such floats hold the limits of the integers
    rounded = np.rint(image if wide else image.astype(np.float64))
    return np.clip(rounded, low, float(high) if dtype.itemsize < 8 else np.nextafter(float(high), 0)).astype(dtype)


def _narrowed(image: Array, dtype: np.dtype[Any]) -> Array:
    """The image in a smaller type of floats, unless it has values beyond that."""
    with np.errstate(over="ignore"):
        stored = image.astype(dtype)
    if np.isinf(stored).sum() != np.isinf(image).sum():
        raise ValueError(
            f"image has values up to {np.abs(image[np.isfinite(image)]).max():.3g}, and {dtype} holds them up to "
            f"{np.finfo(dtype).max:.3g}: store it as float64, or divide it first"
        )
    return stored


def oriented(image: Array, orientation: int) -> Array:
    """The image (rows, columns, ...) upright, from the number 1 to 8 that EXIF and TIFF give it."""
    if orientation >= 5:
        image = image.swapaxes(0, 1)  # 5: mirrored along the diagonal
    turned = {2: (1,), 3: (0, 1), 4: (0,), 6: (1,), 7: (0, 1), 8: (0,)}.get(orientation, ())
    return np.flip(image, turned) if turned else image


def check_expansion(path: Path, nbytes: int, stored: int) -> None:
    """Refuse a file whose header announces more pixels than its bytes can hold."""
    if nbytes > _LARGE and nbytes > _EXPANSION * stored:
        raise Unreadable(
            f"{str(path)!r} announces {nbytes / 1e9:.3g} GB of pixels in a file of {stored:,} bytes, more than any "
            "compression gives: its header is damaged or forged; export it again"
        )


def opacity(image: Array, like: Picture | None) -> Array | None:
    """The alpha channel of `like` for an image (..., rows, columns, colours), in its type."""
    alpha = None if like is None else like.alpha
    if alpha is None or alpha.shape != image.shape[:-1]:
        return None
    if image.dtype == alpha.dtype:
        return alpha
    return as_stored(alpha * (white_of(image.dtype) / white_of(alpha.dtype)), image.dtype)
