"""Formats of arrays: NPY, NPZ, Zarr and FITS. Where their channels are, the caller says."""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lsdeblur.errors import MissingDependencyError
from lsdeblur.io._picture import Picture, Unreadable, check_expansion, white_of

__all__ = ["read_fits", "read_npy", "read_npz", "read_zarr", "write_fits", "write_npy", "write_npz", "write_zarr"]

Array = npt.NDArray[Any]


def read_npy(path: Path, page: int | str | None, channel_axis: int | None) -> Picture:
    """An array as a read-only memory map."""
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(array, np.ndarray):
        raise ValueError("it holds an archive of arrays: give it the suffix .npz")
    return _picture(path, array, channel_axis, "npy")


def read_npz(path: Path, page: int | str | None, channel_axis: int | None) -> Picture:
    """The array named `page`, or the only one."""
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            check_expansion(path, entry.file_size, path.stat().st_size)
    with np.load(path, allow_pickle=False) as arrays:
        names = list(arrays)
        name = names[0] if page is None and len(names) == 1 else str(page)
        if name not in names:
            asked = "" if page is None else f"no array {name!r}, but "
            raise Unreadable(f"{str(path)!r} holds {asked}{', '.join(map(repr, names))}: choose one by page=")
        return _picture(path, arrays[name], channel_axis, "npz", name=name)


def read_zarr(path: Path, page: int | str | None, channel_axis: int | None) -> Picture:
    """A Zarr array, whose chunks are read when they are used."""
    zarr = _zarr()
    found = zarr.open(str(path), mode="r")
    if page is not None and isinstance(found, zarr.Array):
        raise Unreadable(f"page={page!r}: {str(path)!r} is one array, not a group of them; leave page= out")
    if page is not None and str(page) in found:
        found = found[str(page)]
    if not isinstance(found, zarr.Array):
        names = ", ".join(repr(name) for name, _ in found.arrays())
        raise Unreadable(f"{str(path)!r} is a group of arrays ({names or 'none'}): choose one by page=")
    metadata = {"attributes": found.attrs.asdict(), "chunks": found.chunks, "shards": found.shards}
    metadata["dimension_names"] = getattr(found.metadata, "dimension_names", None)  # of version 3
    return _picture(path, found, channel_axis, "zarr", **metadata)


def read_fits(path: Path, page: int | str | None, channel_axis: int | None) -> Picture:
    """The HDU `page` of a FITS file, or the first that holds an image, with its header."""
    fits = _fits()
    if path.stat().st_size == 0:
        raise ValueError("it is empty")
    with warnings.catch_warnings(), path.open("rb") as file, fits.open(file, memmap=False) as hdus:
        warnings.filterwarnings("error", message="File may have been truncated")
        announced = sum(int(hdu.size) for hdu in hdus)
        check_expansion(path, announced, path.stat().st_size)
        if page is None:
            images = [hdu for hdu in hdus if hdu.is_image and len(hdu.shape) > 1]
            if not images:
                raise Unreadable(f"{str(path)!r} holds no image: none of its {len(hdus)} HDUs has two axes")
            hdu = images[0]
        else:
            key = int(page) if str(page).isdecimal() else page
            if key not in hdus and not (isinstance(key, int) and key < len(hdus)):
                raise Unreadable(
                    f"page {page!r} is not there: {str(path)!r} has HDUs {', '.join(h.name for h in hdus)}"
                )
            hdu = hdus[key]
            if not hdu.is_image or hdu.data is None:
                raise Unreadable(f"HDU {page!r} of {str(path)!r} holds no image: choose another by page=")
        array = np.array(hdu.data)  # scaled; its header no longer says that it was
        header = hdu.header.copy()
    return _picture(path, array.astype(array.dtype.newbyteorder("=")), channel_axis, "fits", header=header)


def write_npy(path: Path, image: Array, channel_axis: int | None, like: Picture | None) -> None:
    """An array."""
    with path.open("wb") as file:
        np.save(file, image, allow_pickle=False)


def write_npz(path: Path, image: Array, channel_axis: int | None, like: Picture | None) -> None:
    """A compressed archive of one array, of the name it had, or "image"."""
    name = "image" if like is None else like.metadata.get("name", "image")
    with path.open("wb") as file:
        np.savez_compressed(file, **{name: image})  # type: ignore[arg-type]


def write_zarr(path: Path, image: Array, channel_axis: int | None, like: Picture | None) -> None:
    """An array with the attributes, the chunks and shards, and the names of dimensions of `like`."""
    metadata = {} if like is None else like.metadata
    options = {}
    if len(metadata.get("chunks", ())) == image.ndim:
        options = {key: metadata[key] for key in ("chunks", "shards", "dimension_names")}
    stored = _zarr().create_array(str(path), shape=image.shape, dtype=image.dtype, **options)
    stored[...] = image
    stored.attrs.update(metadata.get("attributes", {}))


def write_fits(path: Path, image: Array, channel_axis: int | None, like: Picture | None) -> None:
    """One image with the header of `like`."""
    header = None if like is None else like.metadata.get("header")
    if image.dtype.kind == "b" or image.dtype == np.float16:
        raise ValueError(f"FITS holds integers and floats of 32 and 64 bits, not {image.dtype}: convert it first")
    summed = header is not None and bool({"CHECKSUM", "DATASUM"} & set(header))
    if header is not None:
        header = header.copy()
        for key in ("CHECKSUM", "DATASUM", *(["BLANK"] if image.dtype.kind == "f" else [])):  # of the old values
            header.remove(key, ignore_missing=True)
    _fits().PrimaryHDU(image, header=header).writeto(path, output_verify="silentfix+ignore", checksum=summed)


def _picture(path: Path, array: Any, channel_axis: int | None, kind: str, **metadata: Any) -> Picture:
    if array.dtype.kind not in "buif":
        raise Unreadable(
            f"{str(path)!r} holds {array.dtype}, not real numbers: store the real part, or the magnitude, of an image"
        )
    if channel_axis is not None and not -array.ndim <= channel_axis < array.ndim:
        raise Unreadable(f"channel_axis={channel_axis} is not there: {str(path)!r} has shape {array.shape}")
    return Picture(array, channel_axis, white_of(array.dtype), path, kind, metadata=metadata)


def _zarr() -> Any:
    try:
        import zarr
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            "a .zarr file needs zarr, which is not installed; install it: pip install 'lsdeblur[dask]'"
        ) from error
    return zarr


def _fits() -> Any:
    try:
        from astropy.io import fits
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            "a FITS file needs astropy, which is not installed; install it: pip install 'lsdeblur[astro]'"
        ) from error
    return fits
