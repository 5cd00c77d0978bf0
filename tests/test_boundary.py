"""Extensions of the frame in closed form, and scenes that each boundary restores exactly."""

from __future__ import annotations

import numpy as np
import pytest
import reference
from reference import Array

from lsdeblur import restore
from lsdeblur.boundary import BOUNDARIES, crop, extend, grid_shape

FRAMES = [((7, 8), (3, 4)), ((12, 9), (4, 5)), ((5, 6, 7), (3, 2, 4))]
ROUNDING = 1e-13  # of a few transforms in float64


def extended(g: Array, h: Array, boundary: str) -> Array:
    grid = grid_shape(g.shape[-h.ndim :], h.shape, boundary)
    return extend(g, grid, boundary, h)


@pytest.mark.parametrize(
    ("boundary", "grid"),
    [
        ("periodic", (22, 30)),
        ("zero", (25, 36)),
        ("symmetric", (44, 60)),
        ("edge", (60, 72)),
        ("taper", (60, 72)),
        ("free", (60, 72)),
    ],
)
def test_grid_shape(boundary: str, grid: tuple[int, int]) -> None:
    """22 + 4 - 1 = 25 = 5^2, 30 + 5 - 1 = 34 -> 36 = 4 * 9; 22 + 4 + 32 = 58 -> 60, 30 + 5 + 32 = 67 -> 72."""
    assert grid_shape((22, 30), (4, 5), boundary) == grid


def test_every_boundary_is_covered() -> None:
    assert set(BOUNDARIES) == {"periodic", "zero", "symmetric", "edge", "taper", "free"}


@pytest.mark.parametrize(("shape", "size"), FRAMES)
@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_frame_is_kept(shape: tuple[int, ...], size: tuple[int, ...], boundary: str, dtype: type) -> None:
    """Bit by bit, at the origin of the grid, for each of several channels."""
    g = reference.image((3, *shape), dtype=dtype)
    before = g.copy()
    out = extended(g, reference.psf(size, dtype=dtype), boundary)
    assert out.dtype == dtype
    assert out.shape == (3, *grid_shape(shape, size, boundary))
    np.testing.assert_array_equal(crop(out, shape), g)
    np.testing.assert_array_equal(g, before)


@pytest.mark.parametrize(("shape", "size"), FRAMES)
def test_zero_is_black_outside(shape: tuple[int, ...], size: tuple[int, ...]) -> None:
    g = reference.image(shape)
    out = extended(g, reference.psf(size), "zero")
    expected = np.pad(g, [(0, n - m) for n, m in zip(out.shape, g.shape, strict=True)])
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize(("shape", "size"), FRAMES)
@pytest.mark.parametrize("boundary", ["symmetric", "edge"])
def test_half_of_the_gap_belongs_to_either_side(shape: tuple[int, ...], size: tuple[int, ...], boundary: str) -> None:
    """numpy.pad with a half of the gap before the frame and the rest behind, and the frame moved to the origin."""
    g = reference.image(shape)
    out = extended(g, reference.psf(size), boundary)
    gaps = [n - m for n, m in zip(out.shape, shape, strict=True)]
    padded = np.pad(g, [(gap // 2, gap - gap // 2) for gap in gaps], mode=boundary)  # type: ignore[call-overload]
    np.testing.assert_array_equal(out, np.roll(padded, [-(gap // 2) for gap in gaps], range(g.ndim)))


def test_a_mirrored_scene_repeats_after_twice_its_length() -> None:
    g = reference.image((5, 6))
    half = np.concatenate([g, g[::-1]])
    np.testing.assert_array_equal(
        extended(g, reference.psf((2, 3)), "symmetric"), np.concatenate([half, half[:, ::-1]], axis=1)
    )


def ramp(g: Array, grid: tuple[int, ...]) -> Array:
    """Linear interpolation from the last pixel to the first one a period later, axis by axis."""
    for axis, (n, period) in enumerate(zip(g.shape, grid, strict=True)):
        g = np.apply_along_axis(
            lambda x, n=n, period=period: np.interp(np.arange(period), [*range(n), period], [*x, x[0]]), axis, g
        )
    return g


@pytest.mark.parametrize(("shape", "size"), FRAMES)
def test_free_starts_from_a_ramp(shape: tuple[int, ...], size: tuple[int, ...]) -> None:
    g = reference.image(shape)
    out = extended(g, reference.psf(size), "free")
    np.testing.assert_allclose(out, ramp(g, out.shape), rtol=0, atol=ROUNDING)


@pytest.mark.parametrize(("shape", "size"), [*FRAMES, ((75, 90), (5, 4))])  # the last is larger than its gaps' slabs
def test_taper_is_a_blurred_ramp(shape: tuple[int, ...], size: tuple[int, ...]) -> None:
    g, h = reference.image(shape), reference.psf(size)
    out = extended(g, h, "taper")
    expected = reference.blur(ramp(g, out.shape), h, "periodic")
    crop(expected, shape)[...] = g
    np.testing.assert_allclose(out, expected, rtol=0, atol=ROUNDING)
    assert out.min() >= g.min() - ROUNDING  # averages of averages of the frame's values
    assert out.max() <= g.max() + ROUNDING


@pytest.mark.parametrize("boundary", ["symmetric", "edge", "taper", "free"])
def test_a_constant_stays_constant(boundary: str) -> None:
    out = extended(np.full((7, 8), 3.25), reference.psf((3, 4)), boundary)
    np.testing.assert_allclose(out, 3.25, rtol=ROUNDING)


def test_periodic_returns_the_image_itself() -> None:
    g = reference.image((7, 8))
    assert extended(g, reference.psf((3, 4)), "periodic") is g


def test_crop_is_a_view() -> None:
    a = np.zeros((2, 9, 9))
    crop(a, (4, 5))[...] = 1
    assert a.sum() == 2 * 4 * 5
    assert np.all(a[:, :4, :5] == 1)


@pytest.mark.parametrize(("shape", "size"), [((12, 13), (3, 5)), ((8, 9, 7), (3, 3, 3))])
def test_symmetric_restores_a_mirrored_scene(shape: tuple[int, ...], size: tuple[int, ...]) -> None:
    """A mirrored scene stays mirrored under a PSF that is symmetric along every axis, so its frame tells all."""
    h = reference.invertible_psf(size)
    for axis in range(h.ndim):
        h = (h + np.flip(h, axis)) / 2
    f = reference.image(shape)
    g = reference.blur(f, h, "symmetric")
    np.testing.assert_allclose(restore(g, h, lam=0, boundary="symmetric").image, f, rtol=0, atol=100 * ROUNDING)


@pytest.mark.parametrize(("shape", "size"), [((16, 17), (3, 4)), ((17, 14), (4, 5)), ((13, 12, 11), (3, 2, 4))])
@pytest.mark.parametrize("boundary", ["periodic", "zero", "edge", "taper", "free"])
def test_a_scene_within_the_frame_is_restored_exactly(
    shape: tuple[int, ...], size: tuple[int, ...], boundary: str
) -> None:
    """An object on black whose blur ends before the frame does, whatever is assumed outside.

    Only a mirrored scene is excepted: its images in the mirror are not blurred by the same asymmetric PSF.
    """
    h = reference.invertible_psf(size)
    f = np.zeros(shape)
    inside = tuple(slice(s, n - s) for n, s in zip(shape, size, strict=True))
    f[inside] = reference.image(f[inside].shape)
    g = reference.blur(f, h, "zero")
    np.testing.assert_allclose(restore(g, h, lam=0, boundary=boundary).image, f, rtol=0, atol=100 * ROUNDING)


@pytest.mark.parametrize("boundary", ["edge", "taper", "free"])
def test_an_object_on_grey_is_restored_exactly(boundary: str) -> None:
    h = reference.invertible_psf((4, 3))
    f = np.full((16, 17), 2.5)
    f[5:11, 4:12] += reference.image((6, 8))
    g = reference.blur(f, h, "edge")
    np.testing.assert_allclose(restore(g, h, lam=0, boundary=boundary).image, f, rtol=0, atol=100 * ROUNDING)
