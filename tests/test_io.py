"""Files: what is read is what was stored, what is written keeps type and metadata, and damage has a clear name."""

from __future__ import annotations

import importlib.util
import io as streams
import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps

from lsdeblur import MissingDependencyError, io

Array = Any
ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
TEXTS = {"zarr": "dask", "astropy.io": "astro"}


def pixels(shape: tuple[int, ...], dtype: str) -> Array:
    rng = np.random.default_rng(0)
    if np.dtype(dtype).kind == "f":
        return rng.normal(size=shape).astype(dtype)
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, shape, dtype, endpoint=True)


def opened(path: Path) -> Image.Image:
    """What Pillow makes of a file."""
    with Image.open(path) as picture:
        picture.load()
    return picture


@pytest.mark.parametrize(
    ("name", "dtype", "shape", "axis"),
    [
        ("a.png", "u1", (9, 7), None),
        ("a.png", "u2", (9, 7), None),
        ("a.png", "u1", (9, 7, 3), -1),
        ("a.png", "u2", (9, 7, 3), -1),
        ("a.tif", "u1", (9, 7, 3), -1),
        ("a.TIFF", "u2", (9, 7), None),
        ("a.tif", "f4", (9, 7, 3), -1),
        ("a.tif", "u2", (9, 7, 4), -1),
        ("a.tif", "f8", (9, 7), None),
        ("a.tif", "i4", (5, 9, 7), None),
        ("a.tif", "f2", (5, 9, 7), 0),
        ("a.npy", "f4", (9, 7, 5), None),
        ("a.npz", "u2", (9, 7, 5), 2),
        ("a.zarr", "u2", (9, 7), None),
        ("a.fits", "f4", (9, 7), None),
        ("a.fits.gz", "u2", (3, 9, 7), 0),
    ],
)
def test_values_come_back_as_they_were(
    tmp_path: Path, name: str, dtype: str, shape: tuple[int, ...], axis: Any
) -> None:
    image = pixels(shape, dtype)
    io.write(tmp_path / name, image, channel_axis=axis)
    picture = io.read(tmp_path / name, channel_axis=axis)
    assert picture.image.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(picture.image[...], image)
    assert picture.channel_axis == axis
    assert picture.shape == (shape if axis is None else tuple(np.delete(shape, axis)))
    assert picture.white == (np.iinfo(dtype).max if dtype[0] in "ui" else 1.0)
    assert picture.format in repr(picture)
    assert [path.name for path in tmp_path.iterdir()] == [name], "nothing else is left there"


def test_files_agree_with_other_programs(tmp_path: Path) -> None:
    """What is written is not only what is read again: Pillow and tifffile see the same values."""
    grey, colours = pixels((9, 7), "u2"), pixels((9, 7, 3), "u1")
    io.write(tmp_path / "grey.png", grey)
    np.testing.assert_array_equal(np.asarray(opened(tmp_path / "grey.png")), grey)
    io.write(tmp_path / "colours.png", np.moveaxis(colours, -1, 0), channel_axis=0)
    np.testing.assert_array_equal(np.asarray(opened(tmp_path / "colours.png")), colours)
    io.write(tmp_path / "colours.tif", colours, channel_axis=2)
    np.testing.assert_array_equal(np.asarray(opened(tmp_path / "colours.tif")), colours)
    deep = pixels((9, 21), "u2")
    (tmp_path / "deep.png").write_bytes(png(7, 9, 16, 2, b"".join(b"\0" + row.astype(">u2").tobytes() for row in deep)))
    np.testing.assert_array_equal(io.read(tmp_path / "deep.png").image, deep.reshape(9, 7, 3))


# ---------------------------------------------------------------------------------------------- alpha and metadata


@pytest.mark.parametrize(("name", "dtype", "channels"), [
    ("a.png", "u1", 2), ("a.png", "u1", 4), ("a.png", "u2", 4), ("a.tif", "u1", 2), ("a.tif", "u2", 4),
])  # fmt: skip
def test_alpha_is_kept_and_not_part_of_the_image(tmp_path: Path, name: str, dtype: str, channels: int) -> None:
    stored, path = pixels((9, 7, channels), dtype), tmp_path / name
    if name.endswith(".tif"):
        photometric = "minisblack" if channels == 2 else "rgb"
        tifffile.imwrite(path, stored, photometric=photometric, planarconfig="contig", extrasamples=["unassalpha"])
    else:
        rows = b"".join(b"\0" + row.astype(f">{dtype}").tobytes() for row in stored)
        path.write_bytes(png(7, 9, 8 * np.dtype(dtype).itemsize, {2: 4, 4: 6}[channels], rows))
    picture = io.read(path)
    np.testing.assert_array_equal(picture.alpha, stored[..., -1])
    np.testing.assert_array_equal(picture.image, stored[..., 0] if channels == 2 else stored[..., :3])
    io.write(tmp_path / f"again-{name}", picture.image * 0.5, like=picture)
    again = io.read(tmp_path / f"again-{name}")
    np.testing.assert_array_equal(again.alpha, stored[..., -1])
    half = np.rint(picture.image * 0.5)
    np.testing.assert_array_equal(again.image[..., 0] if again.image.ndim > half.ndim else again.image, half)


def test_grey_with_alpha_stays_grey_in_png(tmp_path: Path) -> None:
    for dtype in ("u1", "u2"):
        stored, path = pixels((9, 7, 2), dtype), tmp_path / f"{dtype}.png"
        rows = b"".join(b"\0" + row.astype(f">{dtype}").tobytes() for row in stored)
        path.write_bytes(png(7, 9, 8 * np.dtype(dtype).itemsize, 4, rows))
        picture = io.read(path)
        assert picture.channel_axis is None
        np.testing.assert_array_equal(picture.image, stored[..., 0])
        np.testing.assert_array_equal(picture.alpha, stored[..., 1])
        io.write(tmp_path / f"{dtype}-again.png", picture.image, like=picture)
        assert (tmp_path / f"{dtype}-again.png").read_bytes()[24:26] == bytes([8 * np.dtype(dtype).itemsize, 4])
        again = io.read(tmp_path / f"{dtype}-again.png")
        np.testing.assert_array_equal(again.image, stored[..., 0])
        np.testing.assert_array_equal(again.alpha, stored[..., 1])
    np.testing.assert_array_equal(np.asarray(opened(tmp_path / "u1-again.png")), pixels((9, 7, 2), "u1"))


def test_samples_of_tiff_keep_their_meaning(tmp_path: Path) -> None:
    for name, photometric, extra in (("a", "rgb", ["unspecified"]), ("b", "minisblack", ["unspecified"] * 3)):
        stored = pixels((9, 7, 4), "u1")
        tifffile.imwrite(tmp_path / f"{name}.tif", stored, photometric=photometric, extrasamples=extra, planarconfig=1)
        picture = io.read(tmp_path / f"{name}.tif")
        np.testing.assert_array_equal(picture.image, stored)
        assert picture.alpha is None
        io.write(tmp_path / f"{name}2.tif", picture.image, like=picture)
        with tifffile.TiffFile(tmp_path / f"{name}2.tif") as again:
            page = again.pages[0]
            assert (page.photometric.name.lower(), len(page.extrasamples)) == (photometric, len(extra))
    stack = pixels((2, 9, 7, 4), "u1")
    tifffile.imwrite(tmp_path / "c.tif", stack, photometric="rgb", extrasamples=["assocalpha"])
    picture = io.read(tmp_path / "c.tif")
    assert picture.image.shape == (2, 9, 7, 3)
    io.write(tmp_path / "c2.tif", picture.image, like=picture)
    with tifffile.TiffFile(tmp_path / "c2.tif") as again:
        np.testing.assert_array_equal(again.asarray(), stack)
        assert [value.name for value in again.pages[0].extrasamples] == ["ASSOCALPHA"]


def test_alpha_is_scaled_where_the_type_changes(tmp_path: Path) -> None:
    Image.fromarray(pixels((9, 7, 4), "u1")).save(tmp_path / "a.png")
    picture = io.read(tmp_path / "a.png")
    io.write(tmp_path / "b.tif", picture.image, like=picture, dtype=np.float32)
    again = io.read(tmp_path / "b.tif")
    assert again.image.dtype == np.float32
    assert again.image.max() > 1, "values are not rescaled"
    np.testing.assert_allclose(again.alpha, pixels((9, 7, 4), "u1")[..., 3] / np.float32(255))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_orientation_is_applied_and_reset(tmp_path: Path, suffix: str, orientation: int) -> None:
    original = Image.fromarray(np.kron(pixels((3, 2, 3), "u1"), np.ones((8, 8, 1), "u1")))
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = orientation, "a description"
    path = tmp_path / f"a{suffix}"
    original.save(path, exif=exif)
    upright = np.asarray(ImageOps.exif_transpose(opened(path)))
    picture = io.read(path)
    np.testing.assert_array_equal(picture.image, upright)
    target = tmp_path / ("b.tif" if suffix == ".tif" else "b.png")
    io.write(target, picture.image, like=picture)
    np.testing.assert_array_equal(np.asarray(ImageOps.exif_transpose(opened(target))), upright)
    if suffix != ".tif":
        assert opened(target).getexif()[0x010E] == "a description"


@pytest.mark.parametrize(("source", "target"), [("a.png", "b.png"), ("a.jpg", "b.png"), ("a.jpg", "b.tif"),
                                                ("a.tif", "b.tif"), ("a.tif", "b.png")])  # fmt: skip
def test_colour_profile_and_resolution_are_kept(tmp_path: Path, source: str, target: str) -> None:
    original = Image.fromarray(pixels((16, 8, 3), "u1"))
    original.save(tmp_path / source, icc_profile=ICC, dpi=(300, 200))
    picture = io.read(tmp_path / source)
    io.write(tmp_path / target, picture.image, like=picture)
    again = opened(tmp_path / target)
    assert again.info["icc_profile"] == ICC
    assert again.info["dpi"] == pytest.approx((300, 200), abs=0.01)


@pytest.mark.parametrize("orientation", [3, 6])
@pytest.mark.parametrize(("source", "target"), [("a.png", "b.png"), ("a.jpg", "b.png"), ("a.tif", "b.tif")])
def test_resolution_turns_with_the_image(tmp_path: Path, source: str, target: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x011A], exif[0x011B] = orientation, 300.0, 200.0
    original = Image.fromarray(pixels((16, 8, 3), "u1"))
    original.save(tmp_path / source, exif=exif, dpi=(300, 200))
    picture = io.read(tmp_path / source)
    io.write(tmp_path / target, picture.image, like=picture)
    again, expected = opened(tmp_path / target), (200, 300) if orientation == 6 else (300, 200)
    assert again.size == ((16, 8) if orientation == 6 else (8, 16))
    assert again.info["dpi"] == pytest.approx(expected, abs=0.01)
    assert (again.getexif()[0x011A], again.getexif()[0x011B]) == pytest.approx(expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_page_is_turned(tmp_path: Path, orientation: int) -> None:
    stack = pixels((3, 9, 7, 4), "u1")
    for name, pages, options in (
        ("grey", stack[..., 0], {"photometric": "minisblack"}),
        ("alpha", stack, {"photometric": "rgb", "extrasamples": ["unassalpha"]}),
    ):
        path = tmp_path / f"{name}.tif"
        tifffile.imwrite(path, pages, extratags=[(274, "H", 1, orientation, True)], **options)
        exif = Image.Exif()
        exif[0x0112] = orientation
        upright = []
        for page in pages:
            Image.fromarray(page).save(tmp_path / "page.png", exif=exif)
            upright.append(np.asarray(ImageOps.exif_transpose(opened(tmp_path / "page.png"))))
        picture = io.read(path)
        parts = [picture.image] if picture.alpha is None else [picture.image, picture.alpha[..., np.newaxis]]
        np.testing.assert_array_equal(np.concatenate(parts, axis=-1), upright)
        io.write(tmp_path / "again.tif", picture.image, like=picture, overwrite=True)
        np.testing.assert_array_equal(tifffile.imread(tmp_path / "again.tif"), upright)
        assert io.read(tmp_path / "again.tif").image.shape == picture.image.shape


def test_resolution_in_centimetres_and_without_unit(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", pixels((9, 7), "u1"), resolution=(100, 50), resolutionunit="centimeter")
    picture = io.read(tmp_path / "a.tif")
    io.write(tmp_path / "b.png", picture.image, like=picture)
    assert opened(tmp_path / "b.png").info["dpi"] == pytest.approx((254, 127), abs=0.02)
    tifffile.imwrite(tmp_path / "c.tif", pixels((9, 7), "u1"), resolution=(5, 5), resolutionunit="none")
    picture = io.read(tmp_path / "c.tif")
    io.write(tmp_path / "d.png", picture.image, like=picture)
    assert "dpi" not in opened(tmp_path / "d.png").info
    io.write(tmp_path / "d.tif", picture.image, like=picture)
    assert io.read(tmp_path / "d.tif").metadata["resolution"] == (5, 5, "none")


# ------------------------------------------------------------------------------------------------------------- TIFF


def test_stacks_and_their_pages(tmp_path: Path) -> None:
    stack = pixels((4, 9, 7), "u2")
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack", bigtiff=True, tile=(16, 16))
    picture = io.read(tmp_path / "a.tif")
    np.testing.assert_array_equal(picture.image, stack)
    assert picture.channel_axis is None
    np.testing.assert_array_equal(io.read(tmp_path / "a.tif", page=2).image, stack[2])
    np.testing.assert_array_equal(io.read(tmp_path / "a.tif", page="3").image, stack[3])
    assert io.read(tmp_path / "a.tif", channel_axis=0).channel_axis == 0
    for page in (4, "second", -1):
        with pytest.raises(ValueError, match=r"is not there: .* has 4 pages, 0 to 3"):
            io.read(tmp_path / "a.tif", page=page)


def test_ome_metadata_survive(tmp_path: Path) -> None:
    stack = pixels((2, 5, 9, 7), "u2")
    about = {"axes": "CZYX", "PhysicalSizeX": 0.1, "PhysicalSizeXUnit": "µm", "Channel": {"Name": ["DAPI", "GFP"]}}
    tifffile.imwrite(tmp_path / "a.ome.tif", stack, photometric="minisblack", ome=True, metadata=about)
    picture = io.read(tmp_path / "a.ome.tif")
    assert picture.axes == "CZYX"
    assert picture.channel_axis == 0
    io.write(tmp_path / "b.ome.tif", picture.image / 2, like=picture)
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as old, tifffile.TiffFile(tmp_path / "b.ome.tif") as new:
        assert new.ome_metadata == old.ome_metadata
        assert new.series[0].axes == "CZYX"
        np.testing.assert_array_equal(new.series[0].asarray(), np.rint(stack / 2))
    io.write(tmp_path / "c.tif", picture.image[0], like=picture, channel_axis=None)
    with tifffile.TiffFile(tmp_path / "c.tif") as part:
        assert not part.is_ome, "a description of another shape would be wrong"


def test_descriptions_follow_the_type(tmp_path: Path) -> None:
    about = {"axes": "ZYX", "PhysicalSizeX": 0.1, "SignificantBits": 12}
    tifffile.imwrite(tmp_path / "a.ome.tif", pixels((5, 9, 7), "u2"), ome=True, metadata=about)
    picture = io.read(tmp_path / "a.ome.tif")
    for dtype, name in (("f4", "float"), ("f8", "double"), ("u1", "uint8")):
        io.write(tmp_path / "b.ome.tif", picture.image / 300, like=picture, dtype=dtype, overwrite=True)
        with tifffile.TiffFile(tmp_path / "b.ome.tif") as file:
            pixel = file.ome_metadata[file.ome_metadata.index("<Pixels") :].partition(">")[0]
            assert f'Type="{name}"' in pixel
            assert 'PhysicalSizeX="0.1"' in pixel
            assert "SignificantBits" not in pixel
            assert file.series[0].dtype == np.dtype(dtype)
    io.write(tmp_path / "c.ome.tif", picture.image, like=picture, dtype="f2")
    with tifffile.TiffFile(tmp_path / "c.ome.tif") as file:
        assert not file.is_ome, "OME has no such type"
    tifffile.imwrite(tmp_path / "d.tif", pixels((3, 9, 7), "u1"), photometric="rgb", planarconfig="separate")
    picture = io.read(tmp_path / "d.tif")
    io.write(tmp_path / "e.tif", picture.image, like=picture)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "e.tif"), picture.image)


def test_planar_colours_and_inverted_grey(tmp_path: Path) -> None:
    colours = pixels((9, 7, 3), "u1")
    tifffile.imwrite(tmp_path / "a.tif", np.moveaxis(colours, -1, 0), photometric="rgb", planarconfig="separate")
    picture = io.read(tmp_path / "a.tif")
    assert (picture.channel_axis, picture.axes) == (-1, "YXS")
    np.testing.assert_array_equal(picture.image, colours)
    tifffile.imwrite(tmp_path / "b.tif", colours[..., 0], photometric="miniswhite")
    picture = io.read(tmp_path / "b.tif")
    io.write(tmp_path / "c.tif", picture.image, like=picture)
    with tifffile.TiffFile(tmp_path / "c.tif") as again:
        assert again.pages[0].photometric.name == "MINISWHITE"


def test_tiff_that_has_no_single_image(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for shape in ((9, 7), (4, 5)):
            file.write(pixels(shape, "u1"))
    with pytest.raises(
        ValueError, match=r"2 images of different shapes \(\(9, 7\), \(4, 5\)\): choose one by page=, 0 to 1"
    ):
        io.read(tmp_path / "a.tif")
    assert io.read(tmp_path / "a.tif", page=1).image.shape == (4, 5)
    tifffile.imwrite(
        tmp_path / "b.tif", pixels((2, 3, 9, 7), "u1"), photometric="minisblack", metadata={"axes": "TZYX"}
    )
    with pytest.raises(ValueError, match=r"axes TZYX of sizes .*choose a page"):
        io.read(tmp_path / "b.tif")


def test_compression_that_needs_a_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = pixels((9, 7), "u2")
    Image.fromarray(image).save(tmp_path / "a.tif", compression="tiff_lzw")
    if importlib.util.find_spec("imagecodecs"):
        picture = io.read(tmp_path / "a.tif")
        np.testing.assert_array_equal(picture.image, image)
        io.write(tmp_path / "b.tif", picture.image, like=picture)
        np.testing.assert_array_equal(io.read(tmp_path / "b.tif").image, image)

        def missing(*_: Any, **__: Any) -> None:
            raise ValueError("<COMPRESSION.LZW: 5> requires the 'imagecodecs' package")

        monkeypatch.setattr(tifffile.TiffPageSeries, "asarray", missing)
    with pytest.raises(MissingDependencyError, match=r"compressed by LZW.*pip install 'lsdeblur\[tiff\]'"):
        io.read(tmp_path / "a.tif")


# ------------------------------------------------------------------------------------------------- arrays and FITS


def test_archives_of_several_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", first=pixels((9, 7), "u1"), second=pixels((4, 5), "f4"))
    with pytest.raises(ValueError, match="holds 'first', 'second': choose one by page="):
        io.read(tmp_path / "a.npz")
    with pytest.raises(ValueError, match="holds no array 'third', but 'first', 'second'"):
        io.read(tmp_path / "a.npz", page="third")
    picture = io.read(tmp_path / "a.npz", page="second")
    io.write(tmp_path / "b.npz", picture.image, like=picture)
    assert np.load(tmp_path / "b.npz").files == ["second"]


def test_zarr_keeps_attributes_and_chunks(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(tmp_path / "g.zarr", mode="w")
    array = group.create_array("plane", shape=(9, 7), dtype="u2", chunks=(4, 4))
    array[...], array.attrs["microscope"] = pixels((9, 7), "u2"), "confocal"
    with pytest.raises(ValueError, match=r"group of arrays \('plane'\): choose one by page="):
        io.read(tmp_path / "g.zarr")
    picture = io.read(tmp_path / "g.zarr", page="plane")
    io.write(tmp_path / "b.zarr", np.full((9, 7), 70000.0), like=picture)
    io.write(tmp_path / "b.zarr", np.full((9, 7), 70001.0), like=picture, overwrite=True)
    again = zarr.open_array(tmp_path / "b.zarr", mode="r")
    assert (again.chunks, again.attrs["microscope"], again.dtype) == ((4, 4), "confocal", np.uint16)
    assert (again[...] == 65535).all()


def test_zarr_keeps_shards_and_names(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    options = {"chunks": (4, 4), "shards": (8, 8), "dimension_names": ("y", "x")}
    zarr.create_array(tmp_path / "a.zarr", shape=(16, 8), dtype="u2", **options)[...] = pixels((16, 8), "u2")
    picture = io.read(tmp_path / "a.zarr")
    io.write(tmp_path / "b.zarr", picture.image[...], like=picture)
    again = zarr.open_array(tmp_path / "b.zarr", mode="r")
    assert (again.chunks, again.shards, again.metadata.dimension_names) == ((4, 4), (8, 8), ("y", "x"))
    np.testing.assert_array_equal(again[...], pixels((16, 8), "u2"))
    zarr.create_array(tmp_path / "v2.zarr", shape=(9, 7), dtype="u2", chunks=(4, 4), zarr_format=2)[...] = 3
    old = io.read(tmp_path / "v2.zarr")
    io.write(tmp_path / "c.zarr", old.image[...], like=old)
    assert zarr.open_array(tmp_path / "c.zarr", mode="r").chunks == (4, 4)


def test_other_arrays_of_a_group_are_kept(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(tmp_path / "exp.zarr", mode="w")
    group.create_array("raw", data=pixels((9, 7), "u2"))
    with pytest.raises(IsADirectoryError, match=r"is a folder, and of folders only a single Zarr array"):
        io.write(tmp_path / "exp.zarr", pixels((9, 7), "u2"), overwrite=True)
    np.testing.assert_array_equal(io.read(tmp_path / "exp.zarr", page="raw").image[...], pixels((9, 7), "u2"))


def test_fits_sums_are_those_of_the_new_values(tmp_path: Path) -> None:
    fits = pytest.importorskip("astropy.io.fits")
    hdu = fits.PrimaryHDU(pixels((9, 7), "i2"))
    hdu.header["BLANK"] = -32768
    hdu.writeto(tmp_path / "a.fits", checksum=True)
    picture = io.read(tmp_path / "a.fits")
    io.write(tmp_path / "b.fits", picture.image + 1.5, like=picture, dtype="f4")
    with fits.open(tmp_path / "b.fits", checksum=True) as again:
        assert {"CHECKSUM", "DATASUM"} <= set(again[0].header)
        assert "BLANK" not in again[0].header
        assert again[0].verify_checksum() == again[0].verify_datasum() == 1
    io.write(tmp_path / "c.fits", pixels((9, 7), "f4"))
    assert "CHECKSUM" not in fits.getheader(tmp_path / "c.fits")


def test_fits_keeps_its_header(tmp_path: Path) -> None:
    fits = pytest.importorskip("astropy.io.fits")
    header = fits.Header({"OBJECT": "M 31", "EXPTIME": 30.0, "CRPIX1": 3.5})
    table = fits.BinTableHDU.from_columns([fits.Column("x", "E", array=np.arange(3.0))], name="STARS")
    science = fits.ImageHDU(pixels((9, 7), "f4"), header, name="SCI")
    scaled = fits.ImageHDU(np.arange(20, dtype="i2").reshape(4, 5), name="RAW")
    scaled.scale("int16", bscale=0.5, bzero=3)
    fits.HDUList([fits.PrimaryHDU(), table, science, scaled]).writeto(tmp_path / "a.fits")
    picture = io.read(tmp_path / "a.fits")
    np.testing.assert_array_equal(picture.image, pixels((9, 7), "f4"))
    io.write(tmp_path / "b.fits", picture.image + 1, like=picture)
    with fits.open(tmp_path / "b.fits") as again:
        assert [again[0].header[key] for key in header] == list(header.values())
        np.testing.assert_array_equal(again[0].data, pixels((9, 7), "f4") + 1)
    raw = io.read(tmp_path / "a.fits", page="RAW")
    np.testing.assert_array_equal(raw.image, np.arange(20.0).reshape(4, 5))
    io.write(tmp_path / "c.fits", raw.image, like=raw)
    np.testing.assert_array_equal(io.read(tmp_path / "c.fits").image, raw.image)
    with pytest.raises(ValueError, match=r"HDU 1 of .* holds no image"):
        io.read(tmp_path / "a.fits", page=1)
    with pytest.raises(ValueError, match=r"page 'SKY' is not there: .* has HDUs PRIMARY, STARS, SCI, RAW"):
        io.read(tmp_path / "a.fits", page="SKY")
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(tmp_path / "d.fits")
    with pytest.raises(ValueError, match="holds no image: none of its 2 HDUs"):
        io.read(tmp_path / "d.fits")


@pytest.mark.parametrize(("name", "library"), [("a.zarr", "zarr"), ("a.fits", "astropy.io")])
def test_missing_libraries_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, library: str) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingDependencyError, match=rf"pip install 'lsdeblur\[{TEXTS[library]}\]'"):
        io.write(tmp_path / name, pixels((9, 7), "f4"))
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------------------------------------------------- writing


def test_integers_are_rounded_and_clipped_never_rescaled(tmp_path: Path) -> None:
    io.write(tmp_path / "a.png", pixels((1, 4), "u1"))
    io.write(tmp_path / "b.png", [[-3.0, 0.4, 254.6, 300.0]], like=io.read(tmp_path / "a.png"))
    np.testing.assert_array_equal(io.read(tmp_path / "b.png").image, [[0, 0, 255, 255]])
    io.write(tmp_path / "c.tif", np.array([[-3.0, 0.4, 2.0**31, np.inf]], "f4"), dtype="f8")
    np.testing.assert_array_equal(io.read(tmp_path / "c.tif").image, np.array([[-3.0, 0.4, 2.0**31, np.inf]], "f4"))
    io.write(tmp_path / "d.npy", np.array([[-1e12, 2.0**31 - 1]], "f8"), dtype="i4")
    np.testing.assert_array_equal(io.read(tmp_path / "d.npy").image, [[-(2**31), 2**31 - 1]])
    io.write(tmp_path / "e.npy", np.array([[1e30, -1e30]]), dtype="i8")
    assert io.read(tmp_path / "e.npy").image.tolist() == [[2**63 - 1024, -(2**63)]], "the greatest that float64 holds"
    io.write(tmp_path / "f.npy", np.array([[0, 200]], "u1"), dtype="i2")
    io.write(tmp_path / "g.npy", np.array([[-5, 70000]], "i4"), dtype="u2")
    assert io.read(tmp_path / "f.npy").image.tolist() == [[0, 200]]
    assert io.read(tmp_path / "g.npy").image.tolist() == [[0, 65535]]
    io.write(tmp_path / "h.npy", np.array([[-1.0, 60000.0]], "f2"), dtype="u2")
    assert io.read(tmp_path / "h.npy").image.tolist() == [[0, 60000]]
    io.write(tmp_path / "i.npy", np.array([[1.0, np.inf]]), dtype="f4")
    assert io.read(tmp_path / "i.npy").image.tolist() == [[1, np.inf]]
    beyond = (([[1e300, np.nan]], "f4", r"1e\+300, and float32"), ([[70000]], "f2", r"7e\+04, and float16"))
    for image, dtype, text in beyond:
        with pytest.raises(ValueError, match=rf"image has values up to {text}.*store it as float64, or divide"):
            io.write(tmp_path / "j.npy", image, dtype=dtype)
    with pytest.raises(ValueError, match="NaN or infinite values, which uint8 cannot hold"):
        io.write(tmp_path / "e.png", [[np.nan]], dtype="u1")
    with pytest.raises(ValueError, match="complex128, to be stored as complex128: only real numbers"):
        io.write(tmp_path / "e.npy", [[1j]])


@pytest.mark.parametrize(
    ("name", "image", "axis", "text"),
    [
        ("a.png", pixels((9, 7), "f4"), None, "PNG holds integers of 8 or 16 bits, not float32"),
        ("a.png", pixels((4, 9, 7), "u1"), None, r"PNG holds one image .*not shape \(4, 9, 7\): write .tif"),
        ("a.png", pixels((9, 7, 5), "u1"), -1, "grey or RGB, not 5 channels"),
        ("a.tif", np.ones((9, 7), bool), None, "integers and floats of up to 64 bits, not bool"),
        ("a.fits", np.ones((9, 7), np.float16), None, "FITS holds .* not float16"),
        ("a.jpg", pixels((9, 7), "u1"), None, "compressed with losses: write .png or .tif"),
        ("a.xyz", pixels((9, 7), "u1"), None, "suffix that lsdeblur does not know: convert it to one of .png, "),
    ],
)
def test_what_a_format_cannot_hold(tmp_path: Path, name: str, image: Array, axis: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        io.write(tmp_path / name, image, channel_axis=axis)
    assert not list(tmp_path.iterdir())


def test_like_is_a_picture(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"like must be what lsdeblur.io.read returned, not str: read the file first"):
        io.write(tmp_path / "a.png", pixels((9, 7), "u1"), like="photo.png")  # type: ignore[arg-type]


def test_an_encoder_that_gives_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import cv2

    monkeypatch.setattr(cv2, "imencode", lambda *_: (False, None))
    with pytest.raises(ValueError, match="OpenCV cannot encode"):
        io.write(tmp_path / "a.png", pixels((9, 7), "u1"))


def interrupted(path: Path) -> None:
    with io.replacing(path, overwrite=True) as temporary:
        temporary.write_bytes(b"half")
        raise KeyboardInterrupt


def test_a_decoder_that_gives_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import cv2

    io.write(tmp_path / "a.png", pixels((9, 7), "u2"))
    monkeypatch.setattr(cv2, "imdecode", lambda *_: None)
    with pytest.raises(ValueError, match="cannot be read as PNG: OpenCV cannot decode its 16 bits"):
        io.read(tmp_path / "a.png")


def test_files_are_replaced_as_a_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, old, new = tmp_path / "a.tif", pixels((9, 7), "u1"), pixels((8, 6), "u1")
    io.write(path, old)
    with pytest.raises(FileExistsError, match=r"is there already: .*overwrite=True, --force"):
        io.write(path, new)

    def half_written(target: Path, *_: Any, **__: Any) -> None:
        Path(target).write_bytes(b"II*\0")
        raise OSError("no space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(tifffile, "imwrite", half_written)
        with pytest.raises(OSError, match="no space left"):
            io.write(path, new, overwrite=True)
    np.testing.assert_array_equal(io.read(path).image, old)
    with pytest.raises(KeyboardInterrupt):
        interrupted(path)
    assert [p.name for p in tmp_path.iterdir()] == ["a.tif"]
    io.write(path, new, overwrite=True)
    np.testing.assert_array_equal(io.read(path).image, new)
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*make it first"):
        io.write(tmp_path / "nowhere" / "a.tif", new)


# ---------------------------------------------------------------------------------------- damaged and foreign files


def png(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def tiff(**changes: Any) -> bytes:
    stream = streams.BytesIO()
    tifffile.imwrite(stream, pixels((40, 40), "u1"), **changes)
    return stream.getvalue()


def enlarged(content: bytes, size: int = 100_000) -> bytes:
    """The same TIFF file with a header that claims so many rows and columns."""
    stream = streams.BytesIO(content)
    with tifffile.TiffFile(stream, mode="r+") as file:
        tags = file.pages[0].tags
        tags["ImageWidth"].overwrite(size, dtype="I")
        tags["ImageLength"].overwrite(size, dtype="I")
    return stream.getvalue()


def test_headers_that_claim_too_much(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(100_000, 100_000, 8, 0, b"\0" * 100))
    with pytest.raises(ValueError, match=r"announces more pixels than Pillow takes .*convert it to TIFF"):
        io.read(tmp_path / "a.png")
    (tmp_path / "a.tif").write_bytes(enlarged(tiff()))
    with pytest.raises(ValueError, match="announces 10,000,000,000 bytes of pixels, but the file has"):
        io.read(tmp_path / "a.tif")
    (tmp_path / "b.tif").write_bytes(enlarged(tiff(compression="zlib")))
    with pytest.raises(ValueError, match=r"announces 10 GB of pixels in a file of .*damaged or forged"):
        io.read(tmp_path / "b.tif")
    np.savez_compressed(tmp_path / "a.npz", image=np.zeros((1, 1)))
    content = bytearray((tmp_path / "a.npz").read_bytes())
    at = content.index(b"PK\x01\x02")  # the archive's own list of its contents
    content[at + 24 : at + 28] = struct.pack("<I", 2**31)
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"announces 2.15 GB of pixels"):
        io.read(tmp_path / "a.npz")


@pytest.mark.parametrize("name", ["a.png", "deep.png", "a.jpg", "a.tif", "a.npy", "a.npz", "a.fits"])
@pytest.mark.parametrize("damage", ["cut", "foreign", "empty"])
def test_damaged_files(tmp_path: Path, name: str, damage: str) -> None:
    path = tmp_path / name
    if name == "a.jpg":
        Image.fromarray(pixels((99, 77), "u1")).save(path)
    else:
        dtype = "u2" if name.startswith("deep") else "u1"
        shape = (99, 77, 3) if name.startswith("deep") else (99, 77)
        io.write(path, pixels(shape, dtype), channel_axis=-1 if len(shape) == 3 else None)
    whole = path.read_bytes()
    path.write_bytes({"cut": whole[: len(whole) // 2], "foreign": b"no image at all " * 500, "empty": b""}[damage])
    with pytest.raises(ValueError, match=r"cannot be read as|cut short"):
        io.read(path)


def test_an_archive_is_no_array(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", pixels((9, 7), "u1"))
    (tmp_path / "a.npz").rename(tmp_path / "a.npy")
    with pytest.raises(ValueError, match=r"archive of arrays: give it the suffix .npz"):
        io.read(tmp_path / "a.npy")


@pytest.mark.parametrize(
    ("mode", "suffix", "text"),
    [
        ("P", ".png", "has a palette"),
        ("1", ".png", "has one bit a pixel"),
        ("CMYK", ".jpg", "is CMYK"),
        ("P", ".tif", "has a palette"),
        ("1", ".tif", "has one bit a pixel"),
        ("CMYK", ".tif", "is CMYK"),
        ("F", ".tif", None),
    ],
)
def test_pixels_that_are_no_light(tmp_path: Path, mode: str, suffix: str, text: str | None) -> None:
    Image.fromarray(pixels((16, 8, 3), "u1")).convert("L").convert(mode).save(tmp_path / f"a{suffix}")
    if text is None:
        assert io.read(tmp_path / f"a{suffix}").image.dtype == np.float32
    else:
        with pytest.raises(ValueError, match=text):
            io.read(tmp_path / f"a{suffix}")


def test_arguments_that_a_file_has_no_use_for(tmp_path: Path) -> None:
    io.write(tmp_path / "a.png", pixels((9, 7, 3), "u1"), channel_axis=-1)
    io.write(tmp_path / "grey.png", pixels((9, 7), "u1"))
    io.write(tmp_path / "a.npy", pixels((9, 7), "u1"))
    for name in ("a.png", "a.npy"):
        with pytest.raises(ValueError, match=r"page='7': .* holds one image; leave page= out"):
            io.read(tmp_path / name, page="7")
    for axis in (0, 5, -2):
        with pytest.raises(ValueError, match=rf"channel_axis={axis}: .*has its channels on axis 2, as it says itself"):
            io.read(tmp_path / "a.png", channel_axis=axis)
    with pytest.raises(ValueError, match=r"channel_axis=0: .*grey.png' has no channels"):
        io.read(tmp_path / "grey.png", channel_axis=0)
    assert io.read(tmp_path / "a.png", channel_axis=2).channel_axis == -1, "what it says itself"
    tifffile.imwrite(tmp_path / "c.tif", pixels((2, 9, 7), "u1"), photometric="minisblack", metadata={"axes": "CYX"})
    with pytest.raises(ValueError, match=r"channel_axis=2: .*has its channels on axis 0"):
        io.read(tmp_path / "c.tif", channel_axis=2)
    pytest.importorskip("zarr")
    io.write(tmp_path / "a.zarr", pixels((9, 7), "u1"))
    with pytest.raises(ValueError, match=r"page='x': .*is one array, not a group of them; leave page= out"):
        io.read(tmp_path / "a.zarr", page="x")


def test_names_that_are_no_images(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no file .*check its name"):
        io.read(tmp_path / "a.png")
    with pytest.raises(ValueError, match="is a folder, not an image"):
        io.read(tmp_path)
    (tmp_path / "b.png").mkdir()
    with pytest.raises(ValueError, match="is a folder, not an image"):
        io.read(tmp_path / "b.png")
    with pytest.raises(ValueError, match=r"is a film: restore it by lsdeblur.video"):
        io.read(tmp_path / "a.avi")
    np.save(tmp_path / "c.npy", pixels((9, 7), "f4") * 1j)
    with pytest.raises(ValueError, match="holds complex64, not real numbers"):
        io.read(tmp_path / "c.npy")
    np.savez(tmp_path / "d.npz", np.zeros((0, 7)))
    with pytest.raises(ValueError, match=r"holds no pixels: its shape is \(0, 7\)"):
        io.read(tmp_path / "d.npz")
    np.save(tmp_path / "e.npy", pixels((9, 7), "f4"))
    with pytest.raises(ValueError, match="channel_axis=2 is not there"):
        io.read(tmp_path / "e.npy", channel_axis=2)


# ----------------------------------------------------------------------------------------------------- linear light


def test_the_curve_is_that_of_the_standard() -> None:
    """Values of IEC 61966-2-1, by its formula with its rounded constants."""
    v = np.linspace(0, 1, 256)
    standard = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in v]
    np.testing.assert_allclose(io.linear(v), standard, atol=1e-12)
    assert io.linear(np.array([0.5])) == pytest.approx(0.2140411)
    values = np.array([0, 100, 255], np.uint8)
    np.testing.assert_array_equal(io.linear(values), io.linear(values, white=255))
    with pytest.raises(ValueError, match=r"image has values of type int32, whose white is unknown: give white="):
        io.linear(values.astype(np.int32))
    np.testing.assert_allclose(io.linear(255 * v, white=255), 255 * np.array(standard), atol=1e-10)


@given(st.lists(st.floats(-2, 3), min_size=1), st.sampled_from([1.0, 255.0, 65535.0]))
def test_the_curve_has_an_exact_inverse(values: list[float], white: float) -> None:
    v = np.array(values)
    np.testing.assert_allclose(io.encoded(io.linear(v, white), white), v, rtol=1e-12, atol=1e-15 * white)
    np.testing.assert_allclose(io.linear(io.encoded(v, white), white), v, rtol=1e-12, atol=1e-15 * white)


@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_every_integer_comes_back(dtype: str) -> None:
    image = np.arange(np.iinfo(dtype).max + 1, dtype=dtype)[np.newaxis]
    light = io.linear(image, float(image.max()))
    assert light.dtype == np.float32
    np.testing.assert_array_equal(np.rint(io.encoded(light, float(image.max()))), image)
    assert (np.diff(light) > 0).all()


def test_around_the_crossing() -> None:
    v = 0.0404482362771082 * (1 + np.linspace(-1e-6, 1e-6, 2001))
    np.testing.assert_allclose(io.encoded(io.linear(v)), v, rtol=1e-13)
    with pytest.raises(ValueError, match="white must be"):
        io.linear(v, 0.0)
