"""The FFT's backends agree with direct sums, keep their inputs and share no plans; the policy can be overruled."""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from reference import Array

import lsdeblur
from lsdeblur import _fft, fft_backend, psf

NAMES = [name for name in ("scipy", "fftw", "fftw-measured", "mkl") if _fft._installed(name)]
SHAPES = [(8,), (9,), (6, 8), (7, 9), (5, 8), (8, 5), (1, 6), (6, 1), (4, 5, 6), (3, 4, 7)]
DTYPES = [np.float32, np.float64]


def direct(x: Array, ndim: int) -> Array:
    """Full spectrum over the last axes by matrices of exponentials."""
    for axis in range(-ndim, 0):
        n = x.shape[axis]
        W = np.exp(-2j * np.pi * np.outer(np.arange(n), np.arange(n)) / n)
        x = np.moveaxis(np.tensordot(W, x, (1, axis)), 0, axis)
    return x


def data(shape: tuple[int, ...], dtype: type, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


@pytest.fixture(params=NAMES)
def backend(request: pytest.FixtureRequest) -> _fft.Backend:
    found = _fft._installed(request.param)
    assert found is not None
    return found


@pytest.mark.parametrize("batch", [(), (3,)])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("threads", [1, 2])
def test_real_transforms(
    backend: _fft.Backend, shape: tuple[int, ...], batch: tuple[int, ...], dtype: type, threads: int
) -> None:
    x = data((*batch, *shape), dtype)
    before, ndim, eps = x.copy(), len(shape), np.finfo(dtype).eps
    Y = backend.rfftn(x, ndim, threads)
    np.testing.assert_allclose(Y, direct(x, ndim)[..., : shape[-1] // 2 + 1], rtol=0, atol=200 * eps)
    kept = Y.copy()
    back = backend.irfftn(Y, shape, threads, False)
    assert (Y.dtype, back.dtype) == (np.result_type(dtype, np.complex64), dtype)
    np.testing.assert_allclose(back, x, rtol=0, atol=20 * eps)
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(Y, kept)
    np.testing.assert_array_equal(backend.irfftn(Y, shape, threads, True), back)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("batch", [(), (3,)])
@pytest.mark.parametrize(("shape", "frame"), [((8,), (5,)), ((6, 9), (5, 7)), ((6, 9), (6, 4)), ((4, 5, 6), (3, 5, 5))])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_frame_of_it(
    name: str,
    batch: tuple[int, ...],
    shape: tuple[int, ...],
    frame: tuple[int, ...],
    dtype: type,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_fft, "_ROWS", 20)
    Y = _fft.rfftn(data((*batch, *shape), dtype), len(shape))
    expected = _fft.irfftn(Y, shape, overwrite=False)[(..., *(slice(n) for n in frame))]
    with _fft.using(name):
        actual = _fft.framed(Y, shape, frame)
    assert actual.flags.c_contiguous
    assert actual.dtype == dtype
    np.testing.assert_allclose(actual, expected, rtol=0, atol=20 * np.finfo(dtype).eps)


@pytest.mark.parametrize("shape", [(378, 578), (60, 242), (51, 286), (344, 338), (240, 240), (2, 2, 242)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_inputs_are_kept_whatever_their_factors(backend: _fft.Backend, shape: tuple[int, ...], dtype: type) -> None:
    """FFTW works in its input, where it may, for lengths with large prime factors only."""
    x = data(shape, dtype)
    before = x.copy()
    Y = backend.rfftn(x, len(shape), 1)
    kept = Y.copy()
    back = backend.irfftn(Y, shape, 1, False)
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(Y, kept)
    np.testing.assert_allclose(back, x, rtol=0, atol=20 * np.finfo(dtype).eps)


@pytest.mark.parametrize(("length", "n"), [(5, 5), (5, 8), (4, 9), (1, 3)])
@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_complex_transforms(backend: _fft.Backend, length: int, n: int, dtype: type) -> None:
    x = (data((length, 3, 2), float) + 1j * data((length, 3, 2), float, 1)).astype(dtype)
    before, eps = x.copy(), np.finfo(dtype).eps
    Y = backend.fft(x, n, 1)
    padded = np.concatenate([x, np.zeros((n - length, 3, 2))])
    expected = np.moveaxis(direct(np.moveaxis(padded, 0, -1), 1), -1, 0)
    np.testing.assert_allclose(Y, expected, rtol=0, atol=100 * eps)
    kept = Y.copy()
    back = backend.ifft(Y, 1, False)
    assert Y.dtype == back.dtype == dtype
    np.testing.assert_allclose(back, padded, rtol=0, atol=20 * eps)
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(Y, kept)
    np.testing.assert_array_equal(backend.ifft(Y, 1, True), back)


def test_any_layout(backend: _fft.Backend) -> None:
    """Views with strides, arrays that begin at odd addresses, read-only ones."""
    base = data((13, 17), np.float32)
    misaligned = np.empty(base.nbytes + 4, np.uint8)[4:].view(np.float32).reshape(base.shape)
    misaligned[...] = base
    fixed = base.copy()
    fixed.flags.writeable = False
    layers = np.lib.stride_tricks.as_strided(base, (1, 13, 17), (4, *base.strides))  # an axis of one pixel: any stride
    for x in (base[::2, 1:], base.T, base[::-1], misaligned, fixed, base[np.newaxis], layers):
        before = x.copy()
        Y = backend.rfftn(x, 2, 1)
        assert Y.flags.c_contiguous
        np.testing.assert_allclose(Y, np.fft.rfft2(x), rtol=0, atol=1e-4)
        Y.flags.writeable = False
        np.testing.assert_allclose(backend.irfftn(Y, x.shape[-2:], 1, True), x, rtol=0, atol=1e-5)
        np.testing.assert_array_equal(x, before)


def test_threads_share_no_plans(backend: _fft.Backend) -> None:
    """Eight threads, shapes mixed so that they meet; every result is that of one thread alone."""
    inputs = [data(shape, dtype) for shape in [(16, 30), (31, 16), (2, 15, 18), (64, 64)] for dtype in DTYPES]

    def turn(i: int) -> Array:
        x = inputs[i % len(inputs)]
        return backend.irfftn(backend.rfftn(x, 2, 1), x.shape[-2:], 1, True)

    expected = [turn(i) for i in range(len(inputs))]
    start = threading.Barrier(8)

    def hammer(first: int) -> None:
        start.wait()
        for i in range(first, first + 100):
            np.testing.assert_allclose(turn(i), expected[i % len(inputs)], rtol=0, atol=1e-5)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(hammer, range(8)))


def test_plans_are_few_and_hold_no_data() -> None:
    fftw = _fft.FFTW()
    for n in range(2, 2 + _fft._PLANS):
        fftw.irfftn(fftw.rfftn(data((n, 4), float), 2, 1), (n, 4), 1, True)
    assert len(fftw._own.plans) == _fft._PLANS
    x = data((6, 8), float)
    Y = fftw.rfftn(x, 2, 1)
    y = fftw.irfftn(Y, x.shape, 1, True)
    kept = [weakref.ref(array) for array in (x, Y, y)]
    del x, Y, y
    assert [array() for array in kept] == [None] * 3


def used(caplog: pytest.LogCaptureFixture, x: Array, workers: int = 1) -> str:
    caplog.clear()
    with caplog.at_level(logging.DEBUG, "lsdeblur"):
        _fft.rfftn(x, 2, workers)
    return caplog.messages[-1].split()[1]


def test_the_choice_is_logged_and_local(caplog: pytest.LogCaptureFixture) -> None:
    x = np.zeros((8, 8))
    assert used(caplog, x) == "scipy"
    with fft_backend("fftw"):
        assert used(caplog, x) == "fftw"
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(used, caplog, x).result() == "scipy"
        with fft_backend("auto"):
            assert used(caplog, x) == "scipy"
        with fft_backend("fftw", measure=True):
            assert used(caplog, x) == "fftw-measured"
        assert used(caplog, x) == "fftw"
    assert used(caplog, x) == "scipy"


def test_the_choice_belongs_to_a_task(caplog: pytest.LogCaptureFixture) -> None:
    async def task(name: str) -> str:
        with fft_backend(name):
            await asyncio.sleep(0)
            return used(caplog, np.zeros((8, 8)))

    async def both() -> list[str]:
        return list(await asyncio.gather(task("fftw"), task("scipy")))

    assert asyncio.run(both()) == ["fftw", "scipy"]


def test_the_policy(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """FFTW for one image of float64 that fits the cache, on one thread; SciPy where what is faster is missing."""
    assert used(caplog, np.zeros((512, 512))) == "fftw"
    assert used(caplog, np.zeros((512, 512)), 2) == "fftw"
    assert "on 1 threads" in caplog.messages[-1]
    assert used(caplog, np.zeros((512, 512)), 8) == "scipy"
    assert used(caplog, np.zeros((512, 512), np.float32)) == "scipy"
    assert used(caplog, np.zeros((4, 1024, 512))) == "scipy"
    monkeypatch.setattr(_fft, "_installed", lambda name: None)
    assert used(caplog, np.zeros((512, 512)), 2) == "scipy"
    assert "on 2 threads" in caplog.messages[-1]


def test_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        pytest.raises(ValueError, match="name must be one of 'auto', 'fftw', 'scipy', 'mkl', not 'numpy'"),
        fft_backend("numpy"),
    ):
        pass
    with pytest.raises(ValueError, match='measure=True is for name="fftw"'), fft_backend("scipy", measure=True):
        pass
    monkeypatch.setattr(_fft, "_installed", lambda name: None)
    with pytest.raises(lsdeblur.MissingDependencyError, match="pip install mkl_fft mkl-service"), fft_backend("mkl"):
        pass


def test_a_missing_library_is_noted(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setitem(_fft._MAKERS, "mkl", lambda: __import__("no_such_library"))
    _fft._installed.cache_clear()
    with caplog.at_level(logging.DEBUG, "lsdeblur"):
        assert _fft._installed("mkl") is None
    _fft._installed.cache_clear()
    assert "no_such_library" in caplog.text


def test_good_sizes() -> None:
    """No prime above 5, or above 11 where the chosen library is as fast with those; the same for all workers."""
    assert [_fft.good_size(n) for n in (1, 7, 11, 121, 1501, 2003)] == [1, 8, 12, 125, 1536, 2025]
    with fft_backend("fftw"):
        assert [_fft.good_size(n) for n in (1, 7, 11, 121, 1501, 2003)] == [1, 7, 11, 121, 1512, 2016]
    with fft_backend("scipy"):
        assert _fft.good_size(7) == 8
    assert all(_fft.good_size(n) >= n for n in range(1, 300))


def test_restorations_agree() -> None:
    image, h = data((40, 37), float), psf.motion(7, 30)
    results = []
    for name in ("auto", "scipy", "fftw"):
        with fft_backend(name):
            results.append(lsdeblur.restore(image, h, lam=0.1, boundary="periodic").image)
    for result in results[1:]:
        np.testing.assert_allclose(result, results[0], rtol=0, atol=1e-12)
    assert math.isfinite(float(results[0].sum()))


def test_a_plan_keeps_the_library_it_was_made_with(caplog: pytest.LogCaptureFixture) -> None:
    image, h = data((40, 37), float), psf.motion(7, 30)
    with fft_backend("fftw", measure=True):
        kept = lsdeblur.plan(h, image.shape, lam=0.1, boundary="periodic")
    free = lsdeblur.plan(h, image.shape, lam=0.1, boundary="periodic")
    for plan, expected in ((kept, {"fftw-measured"}), (free, {"scipy"})):
        caplog.clear()
        with fft_backend("scipy"), caplog.at_level(logging.DEBUG, "lsdeblur"):
            plan(image)
            assert _fft.chosen_backend() == "scipy"
        assert {record.args[0] for record in caplog.records if isinstance(record.args, tuple)} == expected
