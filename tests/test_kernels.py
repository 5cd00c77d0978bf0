"""Every compiled loop beside its NumPy twin and beside the formula written out."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reference import Array

from lsdeblur import _kernels

SHAPES = [(7, 5), (8, 1), (1, 9), (3, 4, 6)]
ROUNDING = {np.float32: 2e-6, np.float64: 1e-14}
Case = tuple[Array, Array, Array, Array]


@pytest.fixture(params=["loop", "twin", "threads"])
def body(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Small arrays through the compiled loops, by one thread or several, and through NumPy in several blocks."""
    monkeypatch.setattr(_kernels, "SMALL", 1 << 30 if request.param == "twin" else 0)
    monkeypatch.setattr(_kernels, "_THREAD", 8 if request.param == "threads" else 1 << 30)
    monkeypatch.setattr(_kernels, "_BLOCK", 10)
    return str(request.param)


def case(shape: tuple[int, ...], dtype: type) -> Case:
    """Positive Q, complex Y and P, and the weights of the columns."""
    rng = np.random.default_rng(0)
    Q = rng.uniform(0.1, 1, shape).astype(dtype)
    Y, P = ((rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(Q.dtype.char.upper()) for _ in "YP")
    return Q, Y, P, rng.integers(1, 3, shape[-1]).astype(float)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.usefixtures("body")
def test_energy(shape: tuple[int, ...], dtype: type) -> None:
    Q, Y, _, w = case(shape, dtype)
    for power, squared in ((Q, False), (Q * Q, True)):
        expected = np.sum(w * power.astype(float) * np.abs(Y.astype(complex)) ** 2)
        actual = _kernels.energy(Q, Y, w, squared=squared, workers=3)
        assert actual == pytest.approx(expected, rel=ROUNDING[dtype])
        assert type(actual) is float


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.usefixtures("body")
def test_advance(shape: tuple[int, ...], dtype: type) -> None:
    Q, Y, P, _ = case(shape, dtype)
    expected, out = Y + dtype(0.3) * P, np.empty_like(Y)
    before = P.copy()
    _kernels.advance(Q, Y, P, 0.3, out, workers=3)
    np.testing.assert_allclose(Y, expected, rtol=ROUNDING[dtype], atol=ROUNDING[dtype])
    np.testing.assert_allclose(out, Q * expected, rtol=ROUNDING[dtype], atol=ROUNDING[dtype])
    np.testing.assert_array_equal(P, before)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.usefixtures("body")
def test_restored(shape: tuple[int, ...], dtype: type) -> None:
    P, H, Y, _ = case(shape, dtype)
    expected = np.conj(H) * Y / (np.abs(H) ** 2 + dtype(0.2) * P)
    actual = _kernels.restored(Y, H, P, 0.2, workers=3)
    assert actual is Y
    np.testing.assert_allclose(actual, expected, rtol=3 * ROUNDING[dtype], atol=3 * ROUNDING[dtype])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.usefixtures("body")
def test_changes(shape: tuple[int, ...], dtype: type) -> None:
    """Restorations with lambda, half of it and twice that, without what the penalty leaves free or the blur erases."""
    P, H, Y, w = case(shape, dtype)
    P.flat[0], H.flat[-1] = 0, 0
    half, once, twice = (
        np.where(P > 0, np.conj(H) * Y / (np.abs(H) ** 2 + c * np.where(P > 0, P, 1)), 0) for c in (0.1, 0.2, 0.4)
    )
    expected = [np.sum(w * np.abs(F.astype(complex)) ** 2) for F in (once, half - once, twice - once)]
    actual = _kernels.changes(Y, H, P, 0.2, w, workers=3)
    np.testing.assert_allclose(actual, expected, rtol=1e-4 if dtype is np.float32 else 1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.usefixtures("body")
def test_residue(shape: tuple[int, ...], dtype: type) -> None:
    """What a filter leaves; several transfer functions share a penalty."""
    P, H, other, _ = case(shape, dtype)
    both = np.stack([H, other])
    expected = 0.2 * P / (np.abs(both) ** 2 + dtype(0.2) * P)
    for given, wanted in ((H, expected[0]), (both, expected)):
        actual = _kernels.residue(given, P, 0.2, workers=3)
        assert actual.dtype == dtype
        np.testing.assert_allclose(actual, wanted, rtol=3 * ROUNDING[dtype])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.usefixtures("body")
def test_a_symbol_in_tables_is_the_one_written_out(shape: tuple[int, ...], dtype: type) -> None:
    _, H, Y, w = case(shape, dtype)
    rng = np.random.default_rng(3)
    tables = rng.random((*shape[:-1], 1)), rng.random(shape[-1]), np.array([0.3, 0.2, 1.5])
    P = _kernels.Symbol(*(a.astype(dtype) for a in tables))
    L = P.rows.astype(float) + P.columns
    full = _kernels.written_out(P)
    assert full.dtype == dtype
    np.testing.assert_allclose(full, P.weights[0] + L * (P.weights[1] + P.weights[2] * L), rtol=ROUNDING[dtype])
    assert P.mean() == pytest.approx(full.mean(dtype=float), rel=ROUNDING[dtype])
    close = {"rtol": 3 * ROUNDING[dtype], "atol": 3 * ROUNDING[dtype]}
    np.testing.assert_allclose(_kernels.residue(H, P, 0.2, workers=3), _kernels.residue(H, full, 0.2), **close)
    actual, expected = (_kernels.restored(Y.copy(), H, symbol, 0.2, workers=3) for symbol in (P, full))
    np.testing.assert_allclose(actual, expected, **close)
    sums = [_kernels.histogram(H, symbol, Y[np.newaxis], w, 0.7, 18, workers=3).sum(axis=1) for symbol in (P, full)]
    np.testing.assert_allclose(*sums, rtol=1e-5 if dtype is np.float32 else 1e-12)  # a value may change its bin


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.usefixtures("body")
def test_product(shape: tuple[int, ...], dtype: type) -> None:
    _, Y, G, _ = case(shape, dtype)
    expected = G * Y
    actual = _kernels.product(Y, G, workers=3)
    assert actual is Y
    np.testing.assert_allclose(actual, expected, rtol=ROUNDING[dtype], atol=ROUNDING[dtype])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.usefixtures("body")
def test_histogram(shape: tuple[int, ...], dtype: type, channels: int) -> None:
    """Counts, means and energies of each bin, with zeros of H and of P, and of both."""
    P, H, _, w = case(shape, dtype)
    Y = np.stack([case(shape, dtype)[1] * k for k in range(1, channels + 1)])
    P.flat[0], H.flat[-1] = 0, 0
    if P.size > 2:
        P.flat[1] = H.flat[1] = 0
    actual = _kernels.histogram(H, P, Y, w, 0.7, 18, workers=3)
    A, E = np.abs(H.astype(complex)) ** 2, np.sum(np.abs(Y.astype(complex)) ** 2, axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        s = np.where(A > 0, A / (P.astype(float) * 0.7), 0)
    index = s.astype(np.float32).view(np.int32).ravel() >> 18
    weights = np.broadcast_to(w, s.shape)
    expected = np.zeros_like(actual)
    for row, term in zip(expected, (weights, weights * np.where(np.isinf(s), 0, s), weights * E), strict=True):
        np.add.at(row, index, term.ravel())
    assert expected[0, -1] == w[0]
    np.testing.assert_allclose(actual, expected, rtol=1e-6 if dtype is np.float32 else 1e-13)


@pytest.mark.parametrize("size", [(1, 4), (6, 5), (9, 2, 3)])
@pytest.mark.usefixtures("body")
def test_levinson(size: tuple[int, ...]) -> None:
    """Against the inverse of each matrix."""
    b, rng = size[0], np.random.default_rng(1)
    lags = (rng.standard_normal(size) + 1j * rng.standard_normal(size)) * 0.2 / b
    lags[0] = 1
    first = _kernels.levinson(lags, workers=3)
    i, j = np.indices((b, b))
    for k in np.ndindex(size[1:]):
        column = lags[(slice(None), *k)]
        T = np.where(i >= j, column[abs(i - j)], np.conj(column[abs(i - j)]))
        np.testing.assert_allclose(first[(slice(None), *k)], np.linalg.inv(T)[:, 0], atol=1e-13)


def test_several_threads_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_kernels, "SMALL", 0)
    monkeypatch.setattr(_kernels, "_THREAD", 100)
    Q, Y, _, w = case((40, 30), np.float64)
    expected = _kernels.energy(Q, Y, w)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: _kernels.energy(Q, Y, w, workers=2), range(64)))
    assert found == pytest.approx([expected] * 64, rel=1e-14)


@pytest.mark.parametrize("writable", [True, False])
def test_compiled_where_nothing_can_be_written(writable: bool, tmp_path: Path) -> None:
    """A program without a home, from a read-only installation, compiles for itself and says nothing."""
    program = """
import numba, numpy as np, lsdeblur._kernels as k
k.SMALL = 0
if {broken}:
    from numba.core import caching
    caching.CacheImpl._locator_classes = []
Q = np.ones((3, 4)); print(k.energy(Q, Q * (1 + 1j), np.ones(4)))
"""
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", program.format(broken=not writable)],
        capture_output=True, text=True, check=True, env={"PATH": "", "NUMBA_CACHE_DIR": str(tmp_path)},
    )  # fmt: skip
    assert run.stdout == "24.0\n"
    assert run.stderr == ""
    assert any(tmp_path.rglob("*.nbi")) == writable


def bodies() -> list[tuple[str, Callable[..., Any]]]:
    return [(name, f) for name, f in vars(_kernels).items() if name.endswith("_loop")]


def test_every_loop_has_a_twin() -> None:
    assert len(bodies()) >= 5
    for name, _ in bodies():
        assert callable(getattr(_kernels, name.replace("_loop", "_numpy")))
