"""Arrays as pictures within the page: one grey scale, a bounded size, data URIs."""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Picture", "Tones", "coloured", "picture", "plane"]

Array = npt.NDArray[Any]

_CUT = (0.5, 99.5)  # per cent of the observed values that the grey scale spans
_HEAVY = 1_200_000  # bytes of a picture from which on it is compressed with loss
_QUALITY = 92


@dataclass(frozen=True, slots=True)
class Tones:
    """A linear grey scale: `low` is black, `high` is white."""

    low: float
    high: float

    @classmethod
    def of(cls, values: Array) -> Tones:
        """The span of most of the values."""
        low, high = (float(v) for v in np.percentile(values, _CUT)) if values.size else (0.0, 1.0)
        return cls(low, high if high > low else low + 1)

    def __call__(self, values: Array) -> Array:
        """Values in 0..1, those beyond the scale cut."""
        return np.clip((values - self.low) / (self.high - self.low), 0, 1)


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture as a data URI; one of its pixels shows `reduction` x `reduction` of the array's."""

    uri: str
    width: int
    height: int
    reduction: float = 1.0
    lossless: bool = True


def plane(channels: Array) -> Array:
    """What can be shown of (channels, *spatial): the middle plane of a volume; three channels are colours.

    Returns (rows, columns) or (rows, columns, 3); of other numbers of channels the first.
    """
    flat = channels[:, channels.shape[1] // 2] if channels.ndim == 4 else channels
    return np.moveaxis(flat, 0, -1) if len(flat) == 3 else flat[0]


def picture(shown: Array, tones: Tones, *, longest: int, hidden: Array | None = None, heavy: int = _HEAVY) -> Picture:
    """A plane on a grey scale, at most `longest` pixels long; transparent where `hidden` or not finite."""
    import cv2

    a: Array = tones(shown.astype(np.float64)).astype(np.float32)
    reduction = max(1.0, max(a.shape[:2]) / longest)
    size = tuple(max(1, round(n / reduction)) for n in a.shape[1::-1])
    finite = np.isfinite(a)
    blank: Array = ~np.asarray(finite.all(axis=2) if a.ndim == 3 else finite)
    if hidden is not None:
        blank |= hidden
    if blank.any():
        seen = np.where(blank, np.float32(0), np.float32(1))
        colours = np.where(blank[..., None], np.float32(0), a if a.ndim == 3 else np.repeat(a[..., None], 3, axis=2))
        share = cv2.resize(seen, size, interpolation=cv2.INTER_AREA)[..., None]
        colours = cv2.resize(colours, size, interpolation=cv2.INTER_AREA) / np.maximum(share, 1e-3)
        a = np.concatenate([colours, share], axis=2)
    elif reduction > 1:
        a = cv2.resize(a, size, interpolation=cv2.INTER_AREA)
    uri, lossless = _encoded(np.rint(np.clip(a, 0, 1) * 255).astype(np.uint8), heavy)
    return Picture(uri, size[0], size[1], reduction, lossless)


def coloured(values: Array, tones: Tones, colours: str, *, longest: int = 750, at_least: int = 1) -> Picture:
    """A plane in false colours, "viridis" or "magma", its pixels enlarged by a whole number to `at_least`."""
    import cv2

    table = {"viridis": cv2.COLORMAP_VIRIDIS, "magma": cv2.COLORMAP_MAGMA}[colours]
    grey = np.rint(tones(values.astype(np.float64)) * 255).astype(np.uint8)
    reduction = max(1.0, max(grey.shape) / longest)
    if reduction > 1:
        size = tuple(max(1, round(n / reduction)) for n in grey.shape[::-1])
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    factor = max(1, math.ceil(at_least / max(grey.shape)))
    grey = np.repeat(np.repeat(grey, factor, axis=0), factor, axis=1)
    uri, lossless = _encoded(cv2.applyColorMap(grey, table)[..., ::-1], _HEAVY)
    return Picture(uri, grey.shape[1], grey.shape[0], reduction, lossless)


def _encoded(pixels: Array, heavy: int) -> tuple[str, bool]:
    """Grey, RGB or RGBA bytes as a data URI: PNG, or WebP with loss where that would be heavy."""
    import cv2

    if pixels.ndim == 3:
        pixels = pixels[..., [2, 1, 0, 3][: pixels.shape[2]]]  # OpenCV's order
    data = np.ascontiguousarray(pixels)
    kind, code = "png", cv2.imencode(".png", data, [cv2.IMWRITE_PNG_COMPRESSION, 6])[1]
    lossless = len(code) <= heavy
    if not lossless:
        kind, code = "webp", cv2.imencode(".webp", data, [cv2.IMWRITE_WEBP_QUALITY, _QUALITY])[1]
    return f"data:image/{kind};base64,{base64.b64encode(code.tobytes()).decode()}", lossless
