"""Sharp images from files and arrays, and the parts and variations of them that networks are trained with.

Images are arrays (rows, columns, channels) here, grey or RGB: integers as they were read, or float32 in [0, 1].
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Source = str | os.PathLike[str] | Sequence[npt.ArrayLike]

_ROOM = 7  # pixels that the eight taps of the interpolation need around a turned crop
_SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}


def grey_or_rgb(channels: int) -> int:
    """`channels`, or ValueError where it is neither 1 nor 3."""
    if channels not in (1, 3):
        raise ValueError(f"channels must be 1 (grey) or 3 (RGB), not {channels!r}")
    return channels


def check_room(name: str, image: Array, least: int) -> None:
    """ValueError for an image that is less than `least` wide or high."""
    if min(image.shape[:2]) < least:
        raise ValueError(
            f"{name} has {image.shape[0]} x {image.shape[1]} pixels, but items are cut from {least} x {least}: "
            "leave it out, or take a smaller crop (kernel, rotation)"
        )


def images(source: Source, channels: int, least: int) -> list[Array]:
    """Images (rows, columns, channels), each at least `least` wide and high."""
    grey_or_rgb(channels)
    if isinstance(source, str | os.PathLike):
        named = {str(file): read(file, channels) for file in files(Path(source))}
    else:
        named = {f"images[{i}]": converted(np.asarray(a), channels, f"images[{i}]") for i, a in enumerate(source)}
    if not named:
        raise ValueError("images is an empty list: give arrays, or a folder of image files")
    for name, image in named.items():
        check_room(name, image, least)
    return list(named.values())


def files(folder: Path) -> list[Path]:
    """The image files of a folder and of those in it, sorted."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is no folder: give one with images, or a list of arrays")
    files = sorted(f for f in folder.rglob("*") if f.suffix.lower() in _SUFFIXES)
    if not files:
        raise ValueError(f"{folder} holds no images; files must end in {', '.join(sorted(_SUFFIXES))}")
    return files


def pairs(folder: Path, blurred: str) -> list[tuple[Path, Path]]:
    """Files of blurred and sharp images."""
    scenes = [d for d in [folder, *sorted(folder.glob("*"))] if (d / blurred).is_dir() and (d / "sharp").is_dir()]
    if not scenes:
        raise FileNotFoundError(
            f"{folder} and its folders hold no '{blurred}' beside 'sharp': give the folder of scenes"
        )
    pairs = []
    for scene in scenes:
        images, sharp = ({f.relative_to(d): f for f in files(d)} for d in (scene / blurred, scene / "sharp"))
        for alone in sorted(images.keys() ^ sharp.keys()):
            raise ValueError(
                f"{(images | sharp)[alone]} is in only one of '{blurred}' and 'sharp': a pair has one name; add the "
                "other or remove it"
            )
        pairs += [(images[name], sharp[name]) for name in images]
    return pairs


def read(file: Path, channels: int) -> Array:
    """8-bit image (rows, columns, channels)."""
    import cv2

    image = cv2.imread(os.fspath(file), cv2.IMREAD_GRAYSCALE if channels == 1 else cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError(f"{file} cannot be read as an image: it is damaged or of another format; replace or remove it")
    return image[..., None] if channels == 1 else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def converted(image: Array, channels: int, name: str) -> Array:
    """An array as image (rows, columns, channels) of the same type, but float32 for floats."""
    import cv2

    if image.ndim == 2:
        image = image[..., None]
    if image.ndim != 3 or image.shape[2] not in (1, 3):
        raise ValueError(f"{name} has shape {image.shape}; images are (rows, columns) or (rows, columns, 3)")
    if image.dtype not in (np.uint8, np.uint16):
        image = image.astype(np.float32)
        if not (image.min() >= 0 and image.max() <= 1):
            raise ValueError(f"{name} has values beyond [0, 1]: divide by its range, or give 8- or 16-bit integers")
    if image.shape[2] == channels:
        return image
    if channels == 3:
        return np.repeat(image, 3, axis=2)
    return cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)[..., None]


def floats(image: Array) -> Array:
    """A float32 copy, in units of the type's range."""
    scale = 1 / np.iinfo(image.dtype).max if image.dtype.kind == "u" else 1
    return np.multiply(image, np.float32(scale), dtype=np.float32, order="C")


def crop(image: Array, size: int, rng: np.random.Generator) -> Array:
    """A square at a random position; a view."""
    top, left = rng.integers(0, np.subtract(image.shape[:2], size) + 1)
    return image[top : top + size, left : left + size]


def turned(image: Array, rng: np.random.Generator) -> Array:
    """One of the eight ways to turn and mirror an image (rows, columns, channels)."""
    which = int(rng.integers(8))
    turned = np.rot90(image, which % 4)
    return turned[:, ::-1] if which >= 4 else turned


def room(size: int, angle: float) -> int:
    """Side of the square that holds one of `size` turned by an angle in degrees, and what interpolation needs."""
    turn = math.radians(abs(angle))
    return math.ceil(size * (math.cos(turn) + math.sin(turn))) + _ROOM if turn else size


def rotated(image: Array, angle: float, size: int) -> Array:
    """The middle `size` x `size` pixels of an image in [0, 1], turned by an angle in degrees about its centre."""
    import cv2

    rows, columns = image.shape[:2]
    matrix = cv2.getRotationMatrix2D(((columns - 1) / 2, (rows - 1) / 2), angle, 1.0)
    matrix[:, 2] += (size - columns) / 2, (size - rows) / 2
    turned = cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LANCZOS4)
    return turned.reshape(size, size, -1).clip(0, 1)


def jittered(image: Array, rng: np.random.Generator) -> Array:
    """RGB in [0, 1] with another hue, saturation and brightness."""
    import cv2

    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)  # hue in degrees
    hsv[..., 0] = (hsv[..., 0] + np.float32(rng.uniform(-10, 10))) % 360
    hsv[..., 1] = np.minimum(hsv[..., 1] * np.float32(rng.uniform(0.7, 1.3)), 1)
    hsv[..., 2] = hsv[..., 2] * np.float32(rng.uniform(0.7, 1))
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB).clip(0, 1)


def compressed(image: Array, quality: int) -> Array:
    """An image (rows, columns, channels) as JPEG leaves it."""
    import cv2

    pixels = np.rint(image.clip(0, 1) * 255).astype(np.uint8)
    _, code = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    read = np.asarray(cv2.imdecode(code, cv2.IMREAD_GRAYSCALE if image.shape[2] == 1 else cv2.IMREAD_COLOR))
    return floats(read.reshape(image.shape)[..., ::-1])
