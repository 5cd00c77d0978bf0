"""Dask arrays in, lazy Dask arrays out; the same pixels as tiles of an array in memory, on threads or processes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from reference import Array

from lsdeblur import psf, restore

da = pytest.importorskip("dask.array")

PSF = psf.gaussian(1.2)


def blurred(shape: tuple[int, ...] = (150, 170)) -> Array:
    return np.random.default_rng(0).standard_normal(shape).cumsum(0).cumsum(1)[::1, ::1] / 30


@pytest.mark.parametrize("chunks", [(50, 50), (7, 170), (150, 170)])
@pytest.mark.parametrize("options", [{"lam": 0.01}, {}, {"method": "wiener"}, {"method": "inverse", "threshold": 0.2}])
def test_the_same_as_in_memory(chunks: tuple[int, int], options: dict[str, Any]) -> None:
    g = blurred()
    lazy = restore(da.from_array(g, chunks=chunks), PSF, tile=60, halo=20, **options)
    assert isinstance(lazy.image, da.Array)
    assert lazy.image.chunks == ((60, 60, 30), (60, 60, 50))
    assert lazy.lam == options.get("lam")
    np.testing.assert_array_equal(
        lazy.image.compute(scheduler="threads"), restore(g, PSF, tile=60, halo=20, **options).image
    )


def test_nothing_is_computed_before_it_is_asked_for() -> None:
    read = []

    def block(block_info: Any = None) -> Array:
        read.append(1)
        return np.ones((50, 50), np.float32)

    image = da.map_blocks(block, chunks=((50,) * 4, (50,) * 4), dtype=np.float32, meta=np.empty((0, 0), np.float32))
    result = restore(image, PSF, tile=100, halo=10)
    assert not read
    corner = result.image[:10, :10]
    assert corner.dtype == np.float32
    assert corner.compute(scheduler="synchronous").shape == (10, 10)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_channels(axis: int) -> None:
    g = np.moveaxis(np.stack([blurred(), blurred()[::-1]]), 0, axis)
    lazy = restore(da.from_array(g), PSF, channel_axis=axis, tile=80, halo=20)
    expected = restore(g, PSF, channel_axis=axis, tile=80, halo=20).image
    np.testing.assert_array_equal(lazy.image.compute(scheduler="threads"), expected)


def test_automatic_tiles_and_halo() -> None:
    g = blurred()
    for options in ({}, {"lam": 0.01}):
        image = restore(da.from_array(g, chunks=50), PSF, **options).image
        assert np.abs(image.compute() - restore(g, PSF, **options).image).max() < 0.2 * np.ptp(g)


def test_what_it_cannot_do() -> None:
    image = da.from_array(blurred())
    with pytest.raises(ValueError, match="out= and callback= are for images that are restored at once"):
        restore(image, PSF, lam=0.01, callback=print)
    with pytest.raises(ValueError, match=r"image has \d+ values that are NaN"):
        restore(image * np.nan, PSF, lam=0.01, tile=50).image.compute()


@pytest.mark.filterwarnings("ignore")
def test_two_processes_of_a_cluster() -> None:
    distributed = pytest.importorskip("distributed")
    g = blurred()
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        distributed.Client(cluster),
    ):
        image = restore(da.from_array(g, chunks=(40, 50)), PSF, tile=60, halo=20).image.compute()
    np.testing.assert_array_equal(image, restore(g, PSF, tile=60, halo=20).image)
