"""Images in files: read with what belongs to them, and written back with the bit depth and the metadata they had.

==============  =====================================================================================================
`read`          a `Picture`: the array as in the file, its channel axis, the value of white, alpha, metadata
`write`         an image into a file, with the type and the metadata of the picture it was made from
`linear`        light from the values of a photograph, which are gamma-encoded; `encoded` goes back
`replacing`     a name to write to that becomes the file at the end, or vanishes
==============  =====================================================================================================

====================  =================================  ==========================================================
suffix                read                               written
====================  =================================  ==========================================================
.png                  8 and 16 bits, grey or RGB, alpha  the same
.jpg .jpeg            grey or RGB                        no: it would lose what was restored
.tif .tiff            integers and floats, stacks,       the same, uncompressed; resolution, ICC profile and
                      tiles, BigTIFF, OME, ImageJ        description are kept
.npy .npz             arrays (a .npy as memory map)      the same
.zarr                 an array, read when it is used     the same, with its attributes and chunks
.fits .fit .fts       an image with its header           the same
====================  =================================  ==========================================================

Zarr needs ``pip install 'lsdeblur[dask]'``, FITS ``pip install 'lsdeblur[astro]'``, TIFF files that LZW or JPEG
compresses ``pip install 'lsdeblur[tiff]'``. Films: `lsdeblur.video`.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lsdeblur._files import replacing
from lsdeblur._methods import named
from lsdeblur.errors import MissingDependencyError
from lsdeblur.io._light import encoded, linear
from lsdeblur.io._picture import Picture, Unreadable, as_stored

__all__ = ["FILMS", "FORMATS", "Picture", "encoded", "format_of", "linear", "read", "replacing", "write"]

#: suffix -> format
FORMATS: dict[str, str] = {
    ".png": "png",
    ".jpg": "jpeg",
    ".jpeg": "jpeg",
    ".tif": "tiff",
    ".tiff": "tiff",
    ".npy": "npy",
    ".npz": "npz",
    ".zarr": "zarr",
    ".fits": "fits",
    ".fit": "fits",
    ".fts": "fits",
    ".fits.gz": "fits",
}
#: suffixes of films, which `lsdeblur.video` restores
FILMS = (".avi", ".mp4", ".m4v", ".mov", ".mkv", ".webm")

#: formats of which one file can hold several images
_PAGED = ("tiff", "npz", "zarr", "fits")

_READERS = {
    "png": "lsdeblur.io._photographs:read",
    "jpeg": "lsdeblur.io._photographs:read",
    "tiff": "lsdeblur.io._tiff:read",
    "npy": "lsdeblur.io._arrays:read_npy",
    "npz": "lsdeblur.io._arrays:read_npz",
    "zarr": "lsdeblur.io._arrays:read_zarr",
    "fits": "lsdeblur.io._arrays:read_fits",
}
_WRITERS = {
    "png": "lsdeblur.io._photographs:write",
    "tiff": "lsdeblur.io._tiff:write",
    "npy": "lsdeblur.io._arrays:write_npy",
    "npz": "lsdeblur.io._arrays:write_npz",
    "zarr": "lsdeblur.io._arrays:write_zarr",
    "fits": "lsdeblur.io._arrays:write_fits",
}


def read(path: str | os.PathLike[str], *, page: int | str | None = None, channel_axis: int | None = None) -> Picture:
    """Read an image.

    Parameters
    ----------
    path : path
        Its suffix says the format.
    page : int or str, optional
        One page of a TIFF file, one array of an NPZ file (name), one HDU of a FITS file (number or name). By default
        all pages of a TIFF file as a stack, the only array, or the first HDU that holds an image.
    channel_axis : int, optional
        Axis of channels in formats that do not say it: NPY, NPZ, Zarr, FITS, TIFF of pages of unknown kind. Where the
        file says another one, that is an error.

    Returns
    -------
    Picture
        Values are as in the file. The orientation that a camera noted (EXIF) is applied, and reset in the metadata.
        An alpha channel is kept apart.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        A folder, an unknown suffix, a damaged or truncated file, one that announces far more pixels than it can hold;
        pixels that are no measurements of light (palettes, one bit) or no grey and no RGB (CMYK).
    MissingDependencyError
        The format needs a library that is not installed.
    """
    path = Path(path)
    kind = format_of(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no file {str(path)!r}: check its name and folder")
    if path.is_dir() and kind != "zarr":
        raise ValueError(f"{str(path)!r} is a folder, not an image: name a file in it")
    if page is not None and kind not in _PAGED:
        raise ValueError(f"page={page!r}: {str(path)!r} is {kind.upper()}, which holds one image; leave page= out")
    try:
        picture: Picture = named(_READERS[kind])(path, page, channel_axis)
    except (MissingDependencyError, Unreadable, PermissionError, MemoryError):
        raise
    except Exception as error:  # what decoders raise on damaged files is of every type
        raise ValueError(
            f"{str(path)!r} cannot be read as {kind.upper()}: {error or type(error).__name__}. It is damaged, cut "
            "short or of another format: copy or export it again"
        ) from error
    own, axes = picture.channel_axis, picture.image.ndim
    if channel_axis is not None and (own is None or channel_axis not in (own % axes, own % axes - axes)):
        says = "has no channels" if own is None else f"has its channels on axis {own % axes}"
        raise ValueError(f"channel_axis={channel_axis}: {str(path)!r} {says}, as it says itself; leave it out")
    if not picture.image.size:
        raise ValueError(f"{str(path)!r} holds no pixels: its shape is {picture.image.shape}")
    return picture


def write(
    path: str | os.PathLike[str],
    image: npt.ArrayLike,
    *,
    like: Picture | None = None,
    dtype: npt.DTypeLike | None = None,
    channel_axis: int | None = None,
    overwrite: bool = False,
) -> None:
    """Write an image: as a whole or not at all.

    Parameters
    ----------
    path : path
        Its suffix says the format.
    image : array
        Never rescaled. For a file of integers it is rounded and clipped to their range.
    like : Picture, optional
        The picture it was made from, whose type, channel axis, alpha channel and metadata are kept as far as the
        format has a place for them.
    dtype : dtype, optional
        Type in the file; by default that of `like`, or of `image`.
    channel_axis : int, optional
        Axis of channels; by default that of `like`.
    overwrite : bool
        Whether a file of this name may be replaced, or a Zarr array; no other folder ever is.

    Raises
    ------
    FileNotFoundError
        There is no such folder.
    FileExistsError
        The file is there, and `overwrite` is False.
    ValueError
        An unknown suffix; an image or type that the format cannot hold; NaN in a file of integers, or values beyond
        those of a smaller float; JPEG, which would lose what was restored.
    MissingDependencyError
        The format needs a library that is not installed.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from lsdeblur import io
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     io.write(f"{folder}/a.png", np.full((4, 5), 200, np.uint8))
    ...     picture = io.read(f"{folder}/a.png")
    ...     io.write(f"{folder}/b.png", picture.image * 1.5, like=picture)
    ...     int(io.read(f"{folder}/b.png").image.max())
    255
    """
    path = Path(path)
    if like is not None and not isinstance(like, Picture):
        raise TypeError(f"like must be what lsdeblur.io.read returned, not {type(like).__name__}: read the file first")
    kind = format_of(path, written=True)
    wanted = dtype if dtype is not None else like.image.dtype if like is not None else None
    array = as_stored(np.asarray(image), wanted)
    axis = channel_axis if channel_axis is not None or like is None else like.channel_axis
    with replacing(path, overwrite=overwrite) as temporary:
        named(_WRITERS[kind])(temporary, array, axis, like)


def format_of(path: str | os.PathLike[str], *, written: bool = False) -> str:
    """The format that a file's suffix stands for; ValueError for one that is not known, or not `written`."""
    name = Path(path).name.lower()
    for suffix in sorted(FORMATS, key=len, reverse=True):
        if name.endswith(suffix):
            if written and FORMATS[suffix] not in _WRITERS:
                raise ValueError(f"{str(path)!r} would be compressed with losses: write .png or .tif instead")
            return FORMATS[suffix]
    if name.endswith(FILMS):
        raise ValueError(f"{str(path)!r} is a film: restore it by lsdeblur.video.restore_video")
    suffixes = ", ".join(FORMATS)
    raise ValueError(
        f"{str(path)!r} is a folder, not an image: name a file in it"
        if Path(path).is_dir()
        else f"{str(path)!r} has a suffix that lsdeblur does not know: convert it to one of {suffixes}"
    )
