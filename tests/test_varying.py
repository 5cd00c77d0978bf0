"""Blur that varies over the frame: direct sums, dense matrices, and the closed form of PSFs that are all the same."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference
from reference import Array

from lsdeblur import Restoration, metrics, plan, psf, restore, simulate
from lsdeblur.boundary import grid_shape
from lsdeblur.errors import ConvergenceWarning, LsdeblurWarning
from lsdeblur.spacevar import Blur

SETTLED: dict[str, Any] = {"tol": 1e-26, "max_iter": 2000}
SHAPES = [(14, 17), (15, 16)]
SIZES = [(3, 4), (4, 3), (5, 5)]


def scattered(size: tuple[int, ...], shape: tuple[int, ...], n: int = 9) -> psf.PSFGrid:
    rng = np.random.default_rng(4)
    return psf.PSFGrid([reference.psf(size, seed=k) for k in range(n)], rng.random((n, len(shape))) * shape)


def regular(size: tuple[int, ...], shape: tuple[int, ...]) -> psf.PSFGrid:
    counts = (2, 3, 2)[: len(shape)]
    h = [reference.psf(size, seed=k) for k in range(math.prod(counts))]
    return psf.PSFGrid.regular(np.reshape(h, (*counts, *size)), shape=shape)


GRIDS = pytest.mark.parametrize("make", [scattered, regular])


def direct(f: Array, grid: psf.PSFGrid, origin: tuple[int, ...], shape: tuple[int, ...]) -> Array:
    """Every point of the scene, one by one, spread by the PSF of its place."""
    out = np.zeros([n + s for n, s in zip(f.shape, grid.size, strict=True)])
    for y in np.ndindex(f.shape):
        h = grid.at([i - o for i, o in zip(y, origin, strict=True)])
        out[tuple(slice(i, i + s) for i, s in zip(y, grid.size, strict=True))] += f[y] * h
    return out[tuple(slice(o + s // 2, o + s // 2 + n) for o, s, n in zip(origin, grid.size, shape, strict=True))]


@GRIDS
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_blur_is_the_direct_sum(make: Callable[..., psf.PSFGrid], size: tuple[int, int], dtype: type) -> None:
    f = reference.image((14, 17), dtype=dtype)
    shape = tuple(n - s + 1 for n, s in zip(f.shape, size, strict=True))
    grid = make(size, shape)
    g = simulate.blur(f, grid)
    assert g.dtype == dtype
    origin = tuple(s - 1 - s // 2 for s in grid.size)
    np.testing.assert_allclose(g, direct(f, grid, origin, shape), rtol=0, atol=2e-6 if dtype == np.float32 else 1e-14)
    np.testing.assert_array_equal(simulate.valid_part(f, grid), simulate.valid_part(f, np.ones(grid.size)))


def test_in_three_dimensions() -> None:
    f = reference.image((5, 6, 7))
    grid = regular((3, 2, 3), f.shape)
    np.testing.assert_allclose(simulate.blur(f, grid, boundary="zero"), direct(f, grid, (0, 0, 0), f.shape), atol=1e-14)


@GRIDS
@pytest.mark.parametrize("shape", SHAPES)
def test_adjoint(make: Callable[..., psf.PSFGrid], shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    blur = Blur.of(make((4, 3), shape), shape, (1, 2), np.float64)
    f, g = rng.standard_normal(shape), rng.standard_normal([n + s - 1 for n, s in zip(shape, (4, 3), strict=True)])
    assert np.vdot(blur(f), g) == pytest.approx(np.vdot(f, blur.adjoint(g)), rel=1e-12)


@GRIDS
def test_weights_are_a_partition_of_unity(make: Callable[..., psf.PSFGrid]) -> None:
    """Positive, of sum 1, also outside the frame, and 1 at the PSF's own position."""
    grid = make((3, 3), (20, 30))
    x = [np.arange(-9, 31), np.arange(-8, 42)]
    total = np.zeros((40, 50))
    for _, (first, w) in grid.boxes(x):
        assert np.all(w >= 0)
        total[tuple(slice(i, i + n) for i, n in zip(first, w.shape, strict=True))] += w
    np.testing.assert_allclose(total, 1, rtol=0, atol=1e-12)
    for h, position in zip(grid.psfs, grid.positions, strict=True):
        np.testing.assert_allclose(grid.at(position), h, rtol=0, atol=1e-8)


def test_scattered_weights_are_continuous() -> None:
    grid = scattered((3, 3), (20, 30), n=30)
    path = np.linspace((0, 0), (19, 29), 2001)
    values = np.array([grid.at(p) for p in path])
    assert np.abs(np.diff(values, axis=0)).max() < 0.01
    assert np.ptp(values, axis=0).max() > 0.05


def test_regular_grid_meets_linear_changes() -> None:
    """PSFs that change linearly between the middles of the parts of a frame are met exactly."""
    a, b = reference.psf((3, 3), 1), reference.psf((3, 3), 2)
    grid = psf.PSFGrid.regular(np.stack([a, b])[np.newaxis], shape=(10, 20))
    np.testing.assert_array_equal(grid.positions, [[4.5, 4.5], [4.5, 14.5]])
    np.testing.assert_allclose(grid.at((0, 7)), 0.75 * a + 0.25 * b, atol=1e-15)
    np.testing.assert_allclose(grid.at((9, 40)), b, atol=1e-15)


def test_psfs_of_different_sizes_share_their_centre() -> None:
    grid = psf.PSFGrid([psf.delta(), psf.box((3, 5)), np.array([[0.25, 0.75]])], [(0, 0), (0, 9), (9, 0)])
    assert grid.size == (3, 5)
    np.testing.assert_allclose(grid.psfs[2][1], [0, 0.25, 0.75, 0, 0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(41, 52), (48, 45)])
def test_same_psfs_are_a_uniform_blur(dtype: type, shape: tuple[int, int]) -> None:
    """Forward model and least-squares solution with a free boundary."""
    h = reference.psf((4, 5))
    grid = psf.PSFGrid([h] * 8, np.random.default_rng(1).random((8, 2)) * shape)
    f = reference.image((shape[0] + 3, shape[1] + 4), dtype=dtype)
    g = simulate.blur(f, grid)
    rounding = 1e-3 if dtype == np.float32 else 1e-6
    np.testing.assert_allclose(g, simulate.blur(f, h), rtol=0, atol=1e-6)
    options: dict[str, Any] = {"tol": 1e-9, "max_iter": 500} if dtype == np.float32 else SETTLED
    found = restore(g, grid, lam=0.1, **options)
    assert found.image.dtype == dtype
    np.testing.assert_allclose(found.image, restore(g.astype(float), h, lam=0.1, **SETTLED).image, atol=rounding)


@GRIDS
@pytest.mark.parametrize("masked", [False, True])
def test_least_squares_is_that_of_dense_matrices(make: Callable[..., psf.PSFGrid], masked: bool) -> None:
    """The scene is unknown on the whole padded grid, and only the measured pixels count."""
    shape, size, lam = (8, 7), (3, 2), 0.05
    psfs = make(size, shape)
    grid = grid_shape(shape, psfs.size, "free")
    origin = tuple((n - m) // 2 for n, m in zip(grid, shape, strict=True))
    points = np.eye(math.prod(grid)).reshape(-1, *grid)
    blur = Blur.of(psfs, grid, origin, np.float64)
    A = np.stack([blur(point)[blur.frame(origin, shape)].ravel() for point in points], axis=1)
    g, mask = reference.image(shape), np.zeros(shape, bool)
    mask[2:4, 3] = masked
    A, seen = A[~mask.ravel()], g[~mask]
    normal = A.T @ A + lam * reference.penalty_matrix("laplacian+gradient", grid)
    f = np.linalg.solve(normal, A.T @ seen).reshape(grid)
    expected = f[tuple(slice(o, o + n) for o, n in zip(origin, shape, strict=True))]
    found = restore(np.where(mask, np.nan, g), psfs, lam=lam, mask=mask if masked else None, **SETTLED)
    np.testing.assert_allclose(found.image, expected, rtol=0, atol=1e-6)


def turning() -> tuple[Array, Array, psf.PSFGrid]:
    """A scene with edges seen by a turning camera, with noise; the truth; the PSFs."""
    rng = np.random.default_rng(3)
    f = np.zeros((150, 160))
    for _ in range(40):
        f[tuple(slice(start := rng.integers(0, n - 20), start + rng.integers(5, 40)) for n in f.shape)] += rng.random()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LsdeblurWarning)
        h = psf.rotation(6.0, shape=f.shape)
    g = simulate.blur(f, h, boundary="symmetric")
    return simulate.add_noise(g, noise_std=0.01, rng=0), f, h


def test_least_squares_is_better_than_tiles_and_a_uniform_psf() -> None:
    g, f, h = turning()
    exact, fast, uniform = restore(g, h), restore(g, h, exact=False), restore(g, h.at((30, 40)))
    scores = [metrics.psnr(x, f, data_range=1) for x in (g, uniform.image, fast.image, exact.image)]
    assert scores[2] > scores[1]
    assert scores[3] > max(scores[:3]) + 2
    assert exact.n_iter > 1
    assert exact.converged
    assert exact.noise_std == pytest.approx(0.01, rel=0.25)
    assert "tile by tile" in fast.message
    best = max(metrics.psnr(restore(g, h, lam=exact.lam * c).image, f, data_range=1) for c in (0.3, 3))
    assert scores[3] > best - 0.3


def test_channels_share_lambda_and_are_restored_one_by_one() -> None:
    g, _, h = turning()
    both = np.stack([g[:70, :80], g[60:, 60:][:70, :80]], axis=-1)
    found = restore(both, h, channel_axis=-1, lam=0.01)
    for c in range(2):
        single = restore(np.ascontiguousarray(both[..., c]), h, lam=0.01)
        np.testing.assert_allclose(found.image[..., c], single.image, rtol=0, atol=1e-10)
    np.testing.assert_allclose(
        simulate.blur(both, h, channel_axis=2)[..., 1], simulate.blur(both[..., 1], h), atol=1e-12
    )
    assert restore(both, h, channel_axis=-1, exact=False).lam is not None
    np.testing.assert_array_equal(
        restore(both[..., 0], h, lam=0.01, workers=1).image, restore(both[..., 0], h, lam=0.01, workers=2).image
    )


def test_rules_that_need_the_noise() -> None:
    g, _, h = turning()
    given = restore(g, h, lam="discrepancy", noise_std=0.01, exact=False)
    assert given.selection is not None
    assert given.noise_std == 0.01
    assert restore(g, h, lam="sure", exact=False).noise_std == pytest.approx(0.01, rel=0.5)


# Models with a parameter for each pixel.


def test_rotation_draws_arcs() -> None:
    """At its place a PSF is the arc that the point draws: length, direction and sag."""
    h = psf.rotation(10.0, center=(0, 0), shape=(5, 201), tol=1.0)
    at = h.at((0, 200))  # moves along the column; the arc's length is 200 * 10 degrees
    reach = 200 * math.sin(math.radians(5))
    rows = np.arange(at.shape[0]) - at.shape[0] // 2
    columns = np.arange(at.shape[1]) - at.shape[1] // 2
    assert rows[at.any(axis=1)].max() == round(reach)
    assert (at.sum(axis=1) @ rows**2) == pytest.approx(200**2 * _variance_of_sine(math.radians(5)), rel=0.02)
    sag = 200 * (1 - math.sin(math.radians(5)) / math.radians(5))
    assert at.sum(axis=0) @ columns == pytest.approx(-sag, abs=0.1)


def _variance_of_sine(limit: float) -> float:
    """The mean of sin(t)^2 over -limit < t < limit."""
    return 0.5 - math.sin(2 * limit) / (4 * limit)


@pytest.mark.parametrize("name", ["motion", "disk", "rotation"])
def test_interpolation_keeps_the_bound(name: str) -> None:
    """Against the direct sum with the model's own PSF at every pixel, on a scene with the spectrum of a photograph."""
    shape, tol = (60, 70), 0.03
    y, x = np.indices(shape)
    if name == "motion":
        lengths, angles = 5 + 6 * y / 60, 20 + 20 * x / 70
        grid, model = psf.motion_field(lengths, angles, tol=tol), lambda p: psf.motion(lengths[p], angles[p])
    elif name == "disk":
        radii = 1 + 3 * x / 70
        grid, model = psf.defocus_map(radii, tol=tol), lambda p: psf.disk(radii[p])
    else:
        grid, model = psf.rotation(4.0, shape=shape, tol=tol), lambda p: arc(p, shape, 4.0)
    rng, w = np.random.default_rng(0), np.hypot(*np.meshgrid(np.fft.fftfreq(60), np.fft.fftfreq(70), indexing="ij"))
    w[0, 0] = np.inf
    f = np.fft.ifft2(np.fft.fft2(rng.standard_normal(shape)) / w).real
    out = np.zeros((100, 110))
    for p in np.ndindex(shape):
        h = model(p)
        out[tuple(slice(20 + i - s // 2, 20 + i - s // 2 + s) for i, s in zip(p, h.shape, strict=True))] += f[p] * h
    error = simulate.blur(f, grid, boundary="zero") - out[20:80, 20:90]
    assert 0 < np.sqrt(np.mean(error**2)) / f.std() < tol


def arc(p: tuple[int, ...], shape: tuple[int, int], angle: float) -> Array:
    """Share of a finely sampled arc on each pixel."""
    v, u = (i - (n - 1) / 2 for i, n in zip(p, shape, strict=True))
    t = math.radians(angle) * ((np.arange(2000) + 0.5) / 2000 - 0.5)
    h = np.zeros((21, 21))
    rows, columns = v * np.cos(t) - u * np.sin(t) - v, v * np.sin(t) + u * np.cos(t) - u
    np.add.at(h, (10 + np.rint(rows).astype(int), 10 + np.rint(columns).astype(int)), 1 / 2000)
    return h


def test_constant_maps_are_the_uniform_models() -> None:
    grid = psf.motion_field(np.full((50, 60), 7.0), np.full((50, 60), 30.0))
    np.testing.assert_allclose(grid.at((20.5, 31)), psf.motion(7, 30), atol=1e-15)
    np.testing.assert_allclose(psf.defocus_map(np.full((9, 1), 2.0)).at((4, 0)), psf.disk(2.0), atol=1e-15)


def test_a_jump_in_the_map_is_reported() -> None:
    radii = np.ones((40, 60))
    radii[:, 30:] = 6
    with pytest.warns(LsdeblurWarning, match="changes so fast that PSFs 8 pixels apart"):
        psf.defocus_map(radii)


# Arguments.


def test_result_keeps_the_psf(tmp_path: Path) -> None:
    g, h = reference.image((20, 21)), regular((3, 3), (20, 21))
    found = restore(g, h, lam=0.1)
    assert found.psf is h
    found.save(tmp_path / "result.npz")
    loaded = Restoration.load(tmp_path / "result.npz")
    again = psf.PSFGrid(**loaded.psf)  # type: ignore[arg-type]
    np.testing.assert_array_equal(restore(g, again, lam=0.1).image, found.image)


H = np.ones((3, 3)) / 9
PLACES = [(0, 0), (0, 5)]


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: psf.PSFGrid([], np.zeros((0, 2))), "psfs is empty"),
        (lambda: psf.PSFGrid([H], PLACES), "positions has 2 rows for 1 psfs"),
        (lambda: psf.PSFGrid([H, H], [(1, 1), (1, 1)]), "same position twice"),
        (lambda: psf.PSFGrid([H, H], PLACES, (np.array([0.0]), np.array([5.0, 0.0]))), "axes must increase"),
        (lambda: psf.PSFGrid([H, H], PLACES, (np.array([0.0]), np.array([0.0, 4.0]))), "products of axes"),
        (lambda: psf.PSFGrid([H, H], PLACES).at(3 * [0.0]), "position must be 2 numbers"),
        (lambda: psf.PSFGrid.regular(H[None], shape=(9, 9)), "a regular grid needs"),
        (lambda: psf.PSFGrid.regular(H[None, None]), "exactly one of shape and axes"),
        (lambda: psf.PSFGrid.regular(H[None, None], axes=([0, 1], [0])), "one each"),
        (lambda: psf.motion_field(np.zeros((4, 5)), np.zeros((4, 5))), "length_map must be at least 1"),
        (lambda: psf.motion_field(np.ones((4, 5)), np.ones((5, 4))), "length_map has shape"),
        (lambda: psf.defocus_map(-np.ones((4, 5))), "radius_map must not be negative"),
        (lambda: psf.rotation(91, shape=(9, 9)), "angle must be at most 90"),
        (lambda: psf.rotation(9, (1, 2, 3), shape=(9, 9)), "center must be a row and a column"),
        (lambda: simulate.blur(np.ones((9, 9, 3)), psf.PSFGrid([H], [(0, 0)])), "psf varies along 2 axes"),
        (lambda: restore(np.ones((9, 9, 3)), psf.PSFGrid([H], [(0, 0)])), "psf varies along 2 axes"),
        (lambda: restore(np.ones((2, 9)), psf.PSFGrid([H], [(0, 0)])), "psf .* is larger than the image"),
        (lambda: restore(np.ones((9, 9)), psf.PSFGrid([H], [(0, 0)]), boundary="zero"), "needs boundary='free'"),
        (lambda: restore(np.ones((9, 9)), psf.PSFGrid([H], [(0, 0)]), noise_width=1), "noise must be white"),
        (
            lambda: restore(np.ones((9, 9)), psf.PSFGrid([H], [(0, 0)]), mask=np.eye(9, dtype=bool), exact=False),
            "mask needs exact=True",
        ),
    ],
)
def test_errors(call: Callable[[], object], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        call()


@pytest.mark.parametrize("method", ["wiener", "inverse"])
def test_methods_without_varying_psfs_say_so(method: str) -> None:
    grid = psf.PSFGrid([H], [(0, 0)])
    with pytest.raises(TypeError, match="a PSFGrid needs method='tikhonov'"):
        restore(np.ones((9, 9)), grid, method=method)
    with pytest.raises(TypeError, match="a plan needs a uniform PSF"):
        plan(grid, (9, 9), lam=1)


def test_unfinished_iterations_warn() -> None:
    g, _, h = turning()
    with pytest.warns(ConvergenceWarning, match="not reached after 1 iterations"):
        found = restore(g, h, lam=1e-3, max_iter=1)
    assert not found.converged
