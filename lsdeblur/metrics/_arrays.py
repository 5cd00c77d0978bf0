"""Images as the metrics take them: in float64, channels first, without their border."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from lsdeblur._validate import channels_first, check_same_shape, check_size

__all__ = ["inner", "pair"]

Array = npt.NDArray[Any]


def inner(
    image: npt.ArrayLike, border: int, channel_axis: int | None, name: str, ndim: Iterable[int] = (1, 2, 3)
) -> Array:
    """The image within its border, of shape (channels, *spatial)."""
    a = channels_first(image, channel_axis, ndim=ndim, name=name)
    width = 0 if border == 0 else check_size(border, 1, "border")[0]
    kept = (slice(None), *(slice(width, n - width) for n in a.shape[1:]))
    if a[kept].size == 0:
        raise ValueError(f"border={border} leaves nothing of images of shape {a.shape[1:]}: make it smaller")
    return a[kept].astype(np.float64)


def pair(
    image: npt.ArrayLike, truth: npt.ArrayLike, border: int, channel_axis: int | None, name: str = "image"
) -> tuple[Array, Array]:
    """Two images to compare."""
    check_same_shape(np.asarray(image), np.asarray(truth), name, "truth")
    return inner(image, border, channel_axis, name), inner(truth, border, channel_axis, "truth")
