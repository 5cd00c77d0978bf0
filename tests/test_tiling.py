"""Images restored tile by tile: beside the whole, on threads, into stores, interrupted and gone on with."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference
from reference import Array

import lsdeblur
from lsdeblur import _methods, _stores, _tiled, fft_backend, plan, psf, restore, tiling
from lsdeblur.errors import LsdeblurWarning

PSF = psf.gaussian(1.2)
LAM = 1e-2


def blurred(shape: tuple[int, ...] = (150, 170), seed: int = 0, h: Array = PSF) -> Array:
    rng = np.random.default_rng(seed)
    f = np.zeros(shape)
    for _ in range(40):
        f[tuple(slice(start := rng.integers(0, n - 4), start + 11) for n in shape)] += rng.random()
    return reference.blur(f, h, "edge") + 0.01 * rng.standard_normal(shape)


@pytest.mark.parametrize(
    ("method", "options"), [("tikhonov", {"lam": LAM}), ("wiener", {"nsr": LAM}), ("inverse", {"threshold": 0.1})]
)
def test_tiles_are_like_the_whole(method: str, options: dict[str, Any]) -> None:
    g = blurred()
    whole = restore(g, PSF, method=method, tile=None, tol=1e-12, **options)
    parts = restore(g, PSF, method=method, tile=(60, 64), halo=40, tol=1e-12, **options)
    assert np.abs(parts.image - whole.image).max() < 2e-2 * np.ptp(whole.image)
    assert parts.lam == whole.lam
    assert "9 tiles of (60, 64) with a halo of (40, 40)" in parts.message
    assert np.abs(g - whole.image).max() > 0.1


def test_seams_cannot_be_found() -> None:
    """With the automatic halo the steps across seams are no larger than elsewhere, compared with the whole."""
    g = blurred((300, 300))
    parts = restore(g, PSF, tile=100, lam=LAM)
    error = parts.image - restore(g, PSF, lam=LAM).image
    steps = np.abs(np.diff(parts.image, axis=0)).mean(axis=1)
    assert np.abs(error).max() < 0.02 * np.ptp(g)
    assert np.abs(np.diff(error, axis=0)).max() < 0.05 * np.median(steps) + 0.02 * np.ptp(g)


@pytest.mark.parametrize("method", ["tikhonov", "wiener"])
def test_one_lambda_for_all_tiles_near_that_of_the_whole(method: str) -> None:
    g = blurred((300, 310))
    whole, parts = restore(g, PSF, method=method), restore(g, PSF, method=method, tile=100)
    assert parts.lam == pytest.approx(whole.lam, rel=0.8)
    assert parts.selection is not None
    assert parts.selection.lam == parts.lam
    assert parts.noise_std == pytest.approx(0.01, rel=0.1)


@pytest.mark.parametrize("rule", ["gcv", "discrepancy", "sure", "l-curve"])
def test_rules(rule: str) -> None:
    assert restore(blurred((300, 310)), PSF, lam=rule, tile=150).selection.criterion == rule  # type: ignore[union-attr]


def test_correlated_noise_is_allowed_for() -> None:
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(0)
    noise = gaussian_filter(rng.standard_normal((400, 400)), 0.8, mode="wrap")
    g = blurred((400, 400), h=psf.gaussian(2.0)) + 0.05 * noise / noise.std()
    whole, parts = restore(g, psf.gaussian(2.0)), restore(g, psf.gaussian(2.0), tile=200)
    assert parts.noise_width == pytest.approx(whole.noise_width, abs=0.1)
    assert parts.noise_width > 0.5


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_channels_with_psfs_of_their_own(axis: int) -> None:
    g = np.stack([blurred(seed=i) for i in range(2)])
    hs = np.stack([np.pad(PSF, 1), psf.gaussian(1.3, size=PSF.shape[0] + 2)])
    for kernel in (PSF, hs):
        parts = restore(np.moveaxis(g, 0, axis), kernel, channel_axis=axis, tile=60, halo=30)
        assert parts.image.shape == np.moveaxis(g, 0, axis).shape
        for i, image in enumerate(np.moveaxis(parts.image, axis, 0)):
            one = restore(
                g[i], kernel if kernel.ndim == 2 else kernel[i], tile=60, halo=30, lam=parts.lam,
                noise_width=parts.noise_width, noise_floor=parts.noise_floor,
            )  # fmt: skip
            np.testing.assert_allclose(image, one.image, rtol=0, atol=1e-12)


def test_three_dimensions_and_dtypes() -> None:
    h = reference.psf((2, 3, 4))
    g = blurred((20, 30, 35), h=h)
    for dtype, working in ((np.uint16, np.float32), (np.float64, np.float64)):
        image = restore((1000 * (g - g.min())).astype(dtype), h, lam=LAM, tile=(10, 20, 20), halo=8).image
        assert image.shape == g.shape
        assert image.dtype == working
        assert np.all(np.isfinite(image))


def test_threads_and_backends_change_nothing() -> None:
    g = blurred()
    one, many = (restore(g, PSF, lam=LAM, tile=40, workers=n).image for n in (1, 4))
    np.testing.assert_array_equal(one, many)
    seen = []
    with fft_backend("scipy"):
        tiling.run(lambda i: seen.append(lsdeblur._fft.chosen_backend()), range(5), workers=2)  # type: ignore[attr-defined]
    assert seen == ["scipy"] * 5


def test_the_input_is_not_changed_and_calls_repeat() -> None:
    g = blurred()
    g.flags.writeable = False
    result = restore(g, PSF, tile=60)
    again = restore(g, result.psf, method=result.method, **result.options)
    np.testing.assert_array_equal(again.image, result.image)


def test_progress_and_an_early_end() -> None:
    seen: list[tuple[int, int]] = []

    def watch(state: _methods.Progress) -> None:
        seen.append((state.iteration, state.total))
        if len(seen) == 3:
            raise StopIteration

    g = blurred()
    result = restore(g, PSF, lam=LAM, tile=50, callback=watch, workers=1)
    assert seen == [(1, 12), (2, 12), (3, 12)]
    assert not result.converged
    assert "ended by the callback" in result.message
    whole = restore(g, PSF, lam=LAM, tile=50, workers=1)
    done = np.isfinite(result.image)
    assert 0.2 < done.mean() < 0.4
    np.testing.assert_array_equal(result.image[done], whole.image[done])


def test_a_failing_tile_ends_the_run() -> None:
    begun = []

    def work(i: int) -> None:
        begun.append(i)
        if i == 2:
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        tiling.run(work, range(100), workers=2)
    assert len(begun) < 10


def test_memory_does_not_grow_with_the_number_of_tiles() -> None:
    lock, now, most = threading.Lock(), 0, 0

    def work(i: int) -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        with lock:
            now -= 1

    tiling.run(work, range(200), workers=3)
    assert most <= 3


def test_auto() -> None:
    assert not _tiled.too_large((5792, 5792))
    assert _tiled.too_large((5800, 5800))
    assert _tiled.tile_size("auto", (9000, 9000)) == (2048, 2048)
    assert _tiled.tile_size("auto", (9000, 9000), (600, 3000)) == (1800, 3000)
    assert "tiles of" not in restore(blurred(), PSF, lam=LAM).message


def test_large_images_are_tiled_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_tiled, "_WHOLE", 10000)
    monkeypatch.setattr(_tiled, "_CORE", 10000)
    g = blurred()
    assert "4 tiles of (100, 100)" in restore(g, PSF, lam=LAM).message
    assert "tiles of" not in restore(g, PSF, lam=LAM, tile=None).message
    assert "tiles of" not in restore(g, PSF, lam=LAM, boundary="taper").message


def test_halo() -> None:
    """Of a response that falls by half every pixel, 4^-(d + 1) of the energy lies beyond d pixels: 4^-h / 3 in all."""
    halving = plan([[0.0, 2.0, -1.0]], (64, 65), method="inverse", threshold=0, boundary="periodic")
    assert _tiled.choose_halo(halving, (64, 60)) == (0, 3)
    assert _tiled.choose_halo(halving, (64, 6000)) == (0, 3)
    long = plan(psf.motion(31, 0), (64, 64), lam=1e-6, boundary="periodic")
    with pytest.warns(LsdeblurWarning, match="more than 16 pixels away along axis 1.* Give a larger tile= or halo="):
        _tiled.choose_halo(long, (10, 10))


def test_any_method_by_tiles() -> None:
    g = blurred()
    by_tiles = tiling.tiled("tikhonov", tile=60, overlap=40)
    result = restore(g, PSF, method=by_tiles, lam=LAM)
    assert result.method == "tiled-tikhonov"
    assert result.lam == LAM
    np.testing.assert_allclose(result.image, restore(g, PSF, tile=60, halo=40, lam=LAM).image, rtol=0, atol=1e-10)
    mask = np.zeros(g.shape, bool)
    mask[70:72, 50:53] = True
    masked = restore(np.where(mask, np.nan, g), PSF, method=by_tiles, lam=LAM, mask=mask).image
    assert np.abs(masked - restore(g, PSF, lam=LAM, mask=mask).image).max() < 1e-2
    with pytest.raises(TypeError, match="method 'tikhonov' has no option 'strength'"):
        restore(g, PSF, method=by_tiles, strength=1)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"tile": 0}, "tile must be 2 whole numbers of at least 1"),
        ({"tile": "huge"}, "tile must be 'auto', None, a whole number"),
        ({"halo": -1}, "halo must be 'auto' or 2 whole numbers of at least 0"),
        ({"tile": 50, "boundary": "taper"}, "tile: tiles are for the direct methods .* not for boundary='taper'"),
        ({"tile": 50, "mask": np.zeros((150, 170), bool)}, "not for mask="),
        ({"tile": None, "halo": 5}, "halo: .* not for tile=None"),
        ({"tile": 50, "effort": "accurate", "lam": "auto"}, "effort='accurate' solves the whole image"),
        ({"tile": 50, "exact": True}, "exact= is for PSFs that vary over the frame: with one PSF, tile=None solves it"),
        ({"tile": 50, "psf": None}, "psf is missing"),
        ({"out": [1]}, "out must be a NumPy array, numpy.memmap or Zarr array, not list"),
        ({"out": np.zeros((3, 3))}, r"out has shape \(3, 3\), but the image has \(150, 170\)"),
        ({"out": np.zeros((150, 170), "f4")}, "out is of dtype float32, but the restored image is float64"),
        ({"out": np.broadcast_to(0.0, (150, 170))}, "out is read-only"),
        ({"image": np.full((150, 170), np.nan), "tile": 50}, "image has .* values that are NaN"),
    ],
)
def test_what_tiles_cannot_do(change: dict[str, Any], match: str) -> None:
    call: dict[str, Any] = {"image": blurred(), "psf": PSF, "lam": LAM} | change
    with pytest.raises((ValueError, TypeError), match=match):
        restore(call.pop("image"), call.pop("psf"), **call)


class Store:
    """A kind of store on disk: how it is made and opened."""

    def __init__(self, kind: str, folder: Path) -> None:
        if kind == "zarr":
            pytest.importorskip("zarr")
        self.kind, self.path = kind, folder / f"out.{kind}"

    def make(self, shape: tuple[int, ...], dtype: Any = "f8") -> Any:
        if self.kind == "zarr":
            import zarr

            return zarr.create_array(self.path, shape=shape, dtype=dtype, chunks=(25, 25), fill_value=np.nan)
        return np.memmap(self.path, dtype, "w+", shape=shape)

    def open(self, mode: str = "r+") -> Any:
        if self.kind == "zarr":
            import zarr

            return zarr.open_array(self.path, mode=mode)
        return np.memmap(self.path, "f8", mode, shape=(150, 170))


@pytest.fixture(params=["memmap", "zarr"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return Store(request.param, tmp_path)


def test_into_a_store_and_from_one(store: Store, tmp_path: Path) -> None:
    g = blurred()
    source = Store(store.kind, tmp_path / "in")
    source.path.parent.mkdir()
    image = source.make(g.shape)
    image[...] = g
    out = store.make(g.shape)
    result = restore(image, PSF, tile=50, out=out)
    assert result.image is out
    np.testing.assert_array_equal(np.asarray(store.open()[:]), restore(g, PSF, tile=50).image)
    again = restore(image, PSF, tile=50, out=store.open())
    assert "12 of them were there" in again.message
    assert again.lam == result.lam


def test_interrupted_and_gone_on_with(store: Store) -> None:
    g = blurred()
    expected = restore(g, PSF, tile=50).image

    def stop(state: _methods.Progress) -> None:
        if state.iteration % 4 == 0:
            raise StopIteration

    out = store.make(g.shape)
    for _ in range(2):
        assert not restore(g, PSF, tile=50, out=out, callback=stop, workers=2).converged
        out = store.open()
    seen: list[int] = []
    result = restore(g, PSF, tile=50, out=out, callback=lambda state: seen.append(state.iteration))
    assert result.converged
    assert 1 <= len(seen) <= 4
    assert seen[-1] == 12
    np.testing.assert_array_equal(np.asarray(store.open()[:]), expected)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"psf": psf.gaussian(1.5)}, "differs in psf"),
        ({"lam": 1.0}, "differs in options"),
        ({"tile": 75}, "differs in tile"),
        ({"halo": 9}, "differs in halo"),
        ({"method": "inverse"}, "differs in method"),
        ({"image": blurred(seed=5)}, "differs in image"),
        ({"spacing": (1, 2)}, "differs in spacing"),
    ],
)
def test_other_arguments_are_refused(store: Store, change: dict[str, Any], match: str) -> None:
    g = blurred()
    out = store.make(g.shape)
    restore(g, PSF, tile=50, out=out)
    before = np.array(out[:])
    call = {"image": g, "psf": PSF, "tile": 50} | change
    with pytest.raises(ValueError, match=f"out holds tiles of another restoration, which {match}"):
        restore(call.pop("image"), call.pop("psf"), out=store.open(), **call)
    with fft_backend("scipy"), pytest.raises(ValueError, match="differs in fft_backend"):
        restore(g, PSF, tile=50, out=store.open())
    np.testing.assert_array_equal(store.open()[:], before)


def test_measured_plans_are_refused(store: Store) -> None:
    pytest.importorskip("pyfftw")
    out = store.make((150, 170))
    with fft_backend("fftw", measure=True), pytest.raises(ValueError, match="plans that FFTW measures differ"):
        restore(blurred(), PSF, tile=50, out=out)


def test_a_read_only_store(store: Store) -> None:
    store.make((150, 170))
    with pytest.raises(ValueError, match="out is read-only: open it with mode="):
        restore(blurred(), PSF, tile=50, out=store.open("r"))


def test_a_full_disk_is_told_before_a_map_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = Store("memmap", tmp_path).make((150, 170))

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(OSError, match="out cannot be written whole, No space left on device: free space"):
        restore(blurred(), PSF, tile=50, out=out)
    assert _stores.journal_of(out).read() == (None, set())  # type: ignore[union-attr]


def test_a_disk_that_fills_up_leaves_no_half_tile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store("zarr", tmp_path)
    import zarr

    out, put, left = store.make((150, 170)), zarr.storage.LocalStore.set, [30]

    async def limited(self: Any, key: str, value: Any) -> None:
        left[0] -= "/c/" in f"/{key}"
        if left[0] < 0:
            raise OSError(28, "No space left on device")
        await put(self, key, value)

    monkeypatch.setattr(zarr.storage.LocalStore, "set", limited)
    g = blurred()
    with pytest.raises(OSError, match="No space left"):
        restore(g, PSF, tile=50, out=out)
    monkeypatch.undo()
    done = _stores.journal_of(store.open()).read()[1]  # type: ignore[union-attr]
    assert 0 < len(done) < 12
    result = restore(g, PSF, tile=50, out=store.open())
    assert f"{len(done)} of them were there" in result.message
    np.testing.assert_array_equal(store.open()[:], restore(g, PSF, tile=50).image)


def test_tiles_that_share_a_chunk_are_refused(tmp_path: Path) -> None:
    out = Store("zarr", tmp_path).make((150, 170))
    with pytest.raises(ValueError, match=r"tile \(60, 60\) is no multiple of out's chunks \(25, 25\)"):
        restore(blurred(), PSF, tile=60, out=out)


def test_a_torn_line_of_a_journal_does_not_count(tmp_path: Path) -> None:
    journal = _stores.FileJournal(tmp_path / "journal", Store("memmap", tmp_path).make((4, 4)))
    assert journal.read() == (None, set())
    journal.start({"a": 1})
    journal.mark(3)
    with journal.path.open("a") as file:
        file.write("1")
    assert journal.read() == ({"a": 1}, {3})
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(journal.mark, range(10, 30)))
    assert journal.read() == ({"a": 1}, {3, *range(10, 30)})


KILLED = """
import sys, numpy as np
from lsdeblur import psf, restore
sys.path.insert(0, {tests!r})
kind, source, target = sys.argv[1:]
if kind == "zarr":
    import zarr
    out = zarr.open_array(target, mode="r+")
else:
    out = np.memmap(target, "f8", "r+", shape=(150, 170))
restore(np.load(source), psf.gaussian(1.2), tile=25, halo=30, out=out, workers=2,
    callback=lambda s: print(s.iteration, flush=True))
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_killed_at_any_moment(store: Store, tmp_path: Path) -> None:
    g = blurred()
    np.save(tmp_path / "g.npy", g)
    store.make(g.shape)
    script = tmp_path / "run.py"
    script.write_text(KILLED.format(tests=str(Path(__file__).parent)))
    for tiles_before in (1, 7, 15):
        command = [sys.executable, str(script), store.kind, str(tmp_path / "g.npy"), str(store.path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if int(line) >= tiles_before:
                    break
            process.kill()
        assert process.returncode == -signal.SIGKILL
    result = restore(g, PSF, tile=25, halo=30, out=store.open())
    assert "of them were there" in result.message
    np.testing.assert_array_equal(store.open()[:], restore(g, PSF, tile=25, halo=30).image)
