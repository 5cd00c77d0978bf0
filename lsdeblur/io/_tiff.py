"""TIFF by tifffile: pages as stacks, tiles, BigTIFF, OME and ImageJ."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lsdeblur.errors import MissingDependencyError
from lsdeblur.io._picture import Picture, Unreadable, check_expansion, opacity, oriented, white_of

__all__ = ["read", "write"]

Array = npt.NDArray[Any]

_ORIENTATION, _ICC = 274, 34675  # tags
_OME_TYPES = {name: name for name in ("int8", "int16", "int32", "uint8", "uint16", "uint32")}
_OME_TYPES |= {"float32": "float", "float64": "double"}
_ALPHA = {1: "assocalpha", 2: "unassalpha"}
_REFUSED = {
    3: "has a palette: its values are numbers of colours, not light; convert it to RGB",
    5: "is CMYK, made for printing: convert it to RGB by its colour profile",
    32803: "is the raw mosaic of a sensor: develop it to RGB first",
}


def read(path: Path, page: int | str | None, channel_axis: int | None) -> Picture:
    """All pages of a TIFF file as one array, or one of them; most files know where their channels are."""
    import tifffile

    with tifffile.TiffFile(path) as file:
        source = _chosen(path, file, page)
        first = source.keyframe
        _check(path, source, first)
        try:
            array = np.asarray(source.asarray())
        except ValueError as error:
            if "imagecodecs" in str(error):
                raise MissingDependencyError(
                    f"{str(path)!r} is compressed by {first.compression.name}, which needs imagecodecs; install it: "
                    "pip install 'lsdeblur[tiff]'"
                ) from error
            raise
        axes = source.axes
        upright = int(first.tags.valueof(_ORIENTATION, default=1))
        metadata = _metadata(first, whole=page is None, turned=upright >= 5)
        extra = [int(value) for value in first.extrasamples]
    array, axes, channel_axis = _arranged(path, array, axes, channel_axis)
    if "YX" in axes:
        rows = axes.index("Y"), axes.index("X")
        array = np.moveaxis(oriented(np.moveaxis(array, rows, (0, 1)), upright), (0, 1), rows)
    alpha = None
    if axes.endswith("S") and extra and extra[-1] in _ALPHA:
        alpha = np.ascontiguousarray(array[..., -1])
        metadata["alpha"] = _ALPHA[extra[-1]]
        array = array[..., :-1]
    if axes.endswith("S") and array.shape[-1] == 1:
        array, axes, channel_axis = array[..., 0], axes[:-1], None
    return Picture(
        np.ascontiguousarray(array), channel_axis, white_of(array.dtype), path, "tiff", axes, alpha, metadata
    )


def write(path: Path, image: Array, channel_axis: int | None, like: Picture | None) -> None:
    """An uncompressed TIFF file with the resolution, the colour profile and the description of `like`."""
    import tifffile

    if image.dtype.kind == "b" or image.dtype.itemsize > 8:
        raise ValueError(f"TIFF holds integers and floats of up to 64 bits, not {image.dtype}: convert it first")
    metadata = {} if like is None else dict(like.metadata)
    array, options = _samples(image, channel_axis, like)
    if "resolution" in metadata:
        x, y, unit = metadata["resolution"]
        options |= {"resolution": (x, y), "resolutionunit": {"inch": "inch", "cm": "centimeter"}.get(unit, "none")}
    if "icc" in metadata:
        options["iccprofile"] = metadata["icc"]
    if "description" in metadata and like is not None and like.image.shape == image.shape:
        text = _described(metadata["description"], array, like.image.dtype)
        options |= {} if text is None else {"description": text.encode()}
    if array.dtype.name not in _OME_TYPES:
        options["ome"] = False  # which tifffile makes of every name that ends with .ome.tif
    tifffile.imwrite(path, np.ascontiguousarray(array), metadata=None, **options)


def _samples(image: Array, channel_axis: int | None, like: Picture | None) -> tuple[Array, dict[str, Any]]:
    """The array with its colours and its opacity last, and how TIFF names them; other channels stay pages."""
    metadata = {} if like is None else like.metadata
    colours = image[..., np.newaxis] if channel_axis is None else np.moveaxis(image, channel_axis, -1)
    alpha = opacity(colours, like)
    if alpha is None and (channel_axis is None or channel_axis % image.ndim != image.ndim - 1):
        return image, {"photometric": "miniswhite" if metadata.get("inverted") else "minisblack"}
    extra = [] if alpha is None else [metadata.get("alpha", "unassalpha")]
    rgb = colours.shape[-1] == 3 or bool(metadata.get("rgb"))
    extra = ["unspecified"] * (colours.shape[-1] - (3 if rgb else 1)) + extra
    array = colours if alpha is None else np.concatenate([colours, alpha[..., np.newaxis]], axis=-1)
    return array, {"photometric": "rgb" if rgb else "minisblack", "planarconfig": "contig", "extrasamples": extra}


def _described(text: str, array: Array, before: np.dtype[Any]) -> str | None:
    """A description that holds for the array as it is stored; None for one that does not."""
    if text.startswith('{"shape"'):  # as tifffile writes it
        return text if json.loads(text)["shape"] == list(array.shape) else None
    if "<OME" not in text or array.dtype == before:
        return text
    if array.dtype.name not in _OME_TYPES:
        return None
    text = re.sub(r'(<Pixels\b[^>]*?) SignificantBits="[^"]*"', r"\1", text)
    return re.sub(r'(<Pixels\b[^>]*? Type=")[^"]*', rf"\g<1>{_OME_TYPES[array.dtype.name]}", text)


def _chosen(path: Path, file: Any, page: int | str | None) -> Any:
    """The series of all pages, or one page."""
    n = len(file.pages)
    if page is None:
        if len(file.series) != 1:
            shapes = ", ".join(str(tuple(series.shape)) for series in file.series[:4])
            raise Unreadable(
                f"{str(path)!r} holds {len(file.series)} images of different shapes ({shapes}): choose one by page=, "
                f"0 to {n - 1}"
            )
        return file.series[0]
    if not str(page).isdecimal() or int(page) >= n:
        raise Unreadable(f"page {page!r} is not there: {str(path)!r} has {n} pages, 0 to {n - 1}")
    return file.pages[int(page)].aspage()


def _check(path: Path, source: Any, first: Any) -> None:
    """Refuse what is no light, and what cannot be there."""
    photometric = int(first.photometric)
    if photometric in _REFUSED:
        raise Unreadable(f"{str(path)!r} {_REFUSED[photometric]}")
    if np.max(first.bitspersample) == 1:
        raise Unreadable(
            f"{str(path)!r} has one bit a pixel: thresholding erased what a restoration needs; use the grey original"
        )
    stored = path.stat().st_size
    announced = int(np.prod(source.shape, dtype=object)) * first.dtype.itemsize if first.dtype else 0
    if first.compression == 1 and announced * np.max(first.bitspersample) > stored * 8 * first.dtype.itemsize:
        raise Unreadable(
            f"{str(path)!r} announces {announced:,} bytes of pixels, but the file has {stored:,}: it is cut short, or "
            "its header is damaged; copy it again"
        )
    check_expansion(path, announced, stored)


def _arranged(path: Path, array: Array, axes: str, channel_axis: int | None) -> tuple[Array, str, int | None]:
    """Samples of pixels last; 2 or 3 other axes and at most one of channels, which the caller may name."""
    if channel_axis is not None and not {"S", "C"} & set(axes) and -len(axes) <= channel_axis < len(axes):
        i = channel_axis % len(axes)
        axes = axes[:i] + "C" + axes[i + 1 :]
    if {"S", "C"} <= set(axes) or len([a for a in axes if a not in "SC"]) not in (2, 3):
        raise Unreadable(
            f"{str(path)!r} has axes {axes} of sizes {array.shape}, and 2 or 3 beside one of channels can be restored: "
            "choose a page by page=, or save its parts one by one"
        )
    if "S" in axes:
        array = np.moveaxis(array, axes.index("S"), -1)
        axes = axes.replace("S", "") + "S"
        return array, axes, -1
    return array, axes, axes.index("C") if "C" in axes else None


def _metadata(first: Any, whole: bool, turned: bool) -> dict[str, Any]:
    """What is kept of the tags; after a quarter turn rows and columns change places."""
    found: dict[str, Any] = {}
    if "XResolution" in first.tags and "YResolution" in first.tags:
        x, y = (num / den if den else 0.0 for num, den in (first.tags[f"{a}Resolution"].value for a in "XY"))
        unit = int(first.tags.valueof("ResolutionUnit", default=2))
        x, y = (y, x) if turned else (x, y)
        if x > 0 and y > 0 and (x, y, unit) != (1, 1, 1):  # what stands for nothing known
            found["resolution"] = (x, y, {2: "inch", 3: "cm"}.get(unit, "none"))
    if icc := first.tags.valueof(_ICC):
        found["icc"] = bytes(icc)
    if whole and (text := first.description) and not (turned and "<OME" in text):
        found["description"] = text
    if int(first.photometric) == 0:
        found["inverted"] = True
    if int(first.photometric) == 2:
        found["rgb"] = True
    return found
