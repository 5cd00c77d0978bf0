"""PNG and JPEG: Pillow reads JPEG and 8-bit PNG, and checks that all is there; OpenCV reads PNG of 16 bits."""

from __future__ import annotations

import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lsdeblur.io._picture import Picture, Unreadable, opacity, oriented, white_of

__all__ = ["read", "write"]

Array = npt.NDArray[Any]

_ORIENTATION = 0x0112
_RESOLUTION = 0x011A, 0x011B  # x, y
_GREY_ALPHA = 4  # type of colour in a PNG header
_TAKEN = ("L", "LA", "I", "I;16", "RGB", "RGBA")  # Pillow's modes; it cuts colours of 16 bits to 8
_REFUSED = {
    "P": "has a palette: its values are numbers of colours, not light; convert it to RGB",
    "PA": "has a palette: its values are numbers of colours, not light; convert it to RGB",
    "1": "has one bit a pixel: thresholding erased what a restoration needs; use the grey original",
    "CMYK": "is CMYK, made for printing: convert it to RGB by its colour profile",
}


def read(path: Path, page: int | str | None, channel_axis: int | None) -> Picture:
    """A PNG or JPEG file; it has one page and says itself where its channels are."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # twice that size is refused
            with Image.open(path, formats=("PNG", "JPEG")) as picture:
                if picture.mode not in _TAKEN:
                    reason = _REFUSED.get(
                        picture.mode, f"is of Pillow's mode {picture.mode}: convert it to grey or RGB"
                    )
                    raise Unreadable(f"{str(path)!r} {reason}")
                picture.load()  # raises for a file that is cut short
                array = _sixteen_bits(path) if _is_deep(path) else np.asarray(picture)
                exif, info = picture.getexif(), dict(picture.info)
    except Image.DecompressionBombError as error:
        raise Unreadable(
            f"{str(path)!r} announces more pixels than Pillow takes ({error}): if it is meant to be so large, "
            "convert it to TIFF, or raise PIL.Image.MAX_IMAGE_PIXELS"
        ) from error
    upright = exif.get(_ORIENTATION, 1)
    array = oriented(array, upright)
    if _ORIENTATION in exif:
        exif[_ORIENTATION] = 1
    turned = upright >= 5
    if turned and all(tag in exif for tag in _RESOLUTION):
        exif[_RESOLUTION[0]], exif[_RESOLUTION[1]] = exif[_RESOLUTION[1]], exif[_RESOLUTION[0]]
    image, alpha = _apart(array)
    metadata = {"icc": info.get("icc_profile"), "exif": exif.tobytes() if exif else None}
    if "dpi" in info:
        x, y = map(float, info["dpi"])
        metadata["resolution"] = (y, x, "inch") if turned else (x, y, "inch")
    kept = {key: value for key, value in metadata.items() if value}
    axis = -1 if image.ndim == 3 else None
    kind = "png" if path.suffix.lower() == ".png" else "jpeg"
    return Picture(
        np.ascontiguousarray(image), axis, white_of(image.dtype), path, kind, alpha=alpha, metadata=kept,
        axes="YX" if axis is None else "YXS",
    )  # fmt: skip


def write(path: Path, image: Array, channel_axis: int | None, like: Picture | None) -> None:
    """A PNG file with the resolution, the colour profile and the camera's notes of `like`."""
    if image.dtype not in (np.uint8, np.uint16):
        raise ValueError(
            f"PNG holds integers of 8 or 16 bits, not {image.dtype}: write .tif or .npy, or name one by dtype= or like="
        )
    if image.ndim != 2 + (channel_axis is not None):
        raise ValueError(
            f"PNG holds one image (rows, columns), with channel_axis= one of colours, not shape {image.shape}: "
            "write .tif"
        )
    colours = image[..., np.newaxis] if channel_axis is None else np.moveaxis(image, channel_axis, -1)
    if colours.shape[2] not in (1, 3):
        raise ValueError(f"PNG holds grey or RGB, not {colours.shape[2]} channels: write .tif or .npy")
    alpha = opacity(colours, like)
    array = colours if alpha is None else np.concatenate([colours, alpha[..., np.newaxis]], axis=-1)
    metadata = {} if like is None else dict(like.metadata)
    path.write_bytes(_with_chunks(_encoded(np.ascontiguousarray(array)), metadata))


def _encoded(array: Array) -> bytes:
    """A PNG file of samples (rows, columns, 1 to 4)."""
    import cv2

    if array.shape[2] == 2:  # OpenCV has no grey with alpha, and Pillow none of 16 bits
        rows = array.astype(array.dtype.newbyteorder(">")).view(np.uint8).reshape(len(array), -1)
        above = np.vstack([np.zeros_like(rows[:1]), rows[:-1]])
        filtered = np.insert(rows - above, 0, 2, axis=1)  # filter 2: the difference from the row above, modulo 256
        header = struct.pack(">IIBBBBB", *array.shape[1::-1], 8 * array.itemsize, _GREY_ALPHA, 0, 0, 0)
        chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(filtered.tobytes())), (b"IEND", b"")]
        return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, content) for name, content in chunks)
    order = [0] if array.shape[2] == 1 else [2, 1, 0, 3][: array.shape[2]]
    done, content = cv2.imencode(".png", np.ascontiguousarray(array[..., order]))
    if not done:
        raise ValueError(f"OpenCV cannot encode an image of shape {array.shape} as PNG: write .tif")
    return content.tobytes()


def _is_deep(path: Path) -> bool:
    """Whether a PNG file has 16 bits, by its header."""
    with path.open("rb") as file:
        header = file.read(25)
    return header.startswith(b"\x89PNG") and header[24] == 16


def _sixteen_bits(path: Path) -> Array:
    import cv2

    content = np.fromfile(path, np.uint8)
    found = cv2.imdecode(content, cv2.IMREAD_UNCHANGED)  # imread knows no names beyond ASCII
    if found is None or found.dtype != np.uint16:
        raise ValueError("OpenCV cannot decode its 16 bits")
    if content[25] == _GREY_ALPHA:
        return found[..., [0, 3]]  # OpenCV makes colours of it
    return found if found.ndim == 2 else found[..., [2, 1, 0, 3][: found.shape[2]]]


def _apart(array: Array) -> tuple[Array, Array | None]:
    """Colours and opacity."""
    if array.ndim == 2 or array.shape[2] == 3:
        return array, None
    colours = array[..., 0] if array.shape[2] == 2 else array[..., :3]
    return colours, np.ascontiguousarray(array[..., -1])


def _with_chunks(png: bytes, metadata: dict[str, Any]) -> bytes:
    """A PNG file with its metadata, which PNG keeps between the header and the pixels."""
    chunks = []
    if icc := metadata.get("icc"):
        chunks.append((b"iCCP", b"ICC profile\0\0" + zlib.compress(icc)))
    if resolution := metadata.get("resolution"):
        x, y, unit = resolution
        per_metre = {"inch": 1 / 0.0254, "cm": 100.0}.get(unit)
        if per_metre:
            chunks.append((b"pHYs", struct.pack(">IIB", round(x * per_metre), round(y * per_metre), 1)))
    if exif := metadata.get("exif"):
        chunks.append((b"eXIf", exif.removeprefix(b"Exif\0\0")))
    start = 8 + 4 + 4 + 13 + 4  # signature; length, name, content and check sum of the header
    return png[:start] + b"".join(_chunk(name, content) for name, content in chunks) + png[start:]


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
