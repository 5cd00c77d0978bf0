"""The forward model against direct sums, and the statistics of its noise."""

from __future__ import annotations

import math

import numpy as np
import pytest
import reference

from lsdeblur.simulate import add_noise, blur, valid_part

BOUNDARIES = ["valid", "periodic", "zero", "symmetric", "edge"]
ROUNDING = {np.dtype("f4"): 1e-6, np.dtype("f8"): 1e-14}
#: odd, even and mixed PSFs, also longer than the scene along an axis
FRAMES = [((7, 8), (3, 3)), ((8, 7), (4, 2)), ((9, 9), (5, 4)), ((6, 11), (1, 6)), ((5, 6, 7), (2, 3, 4))]


@pytest.mark.parametrize(("shape", "size"), FRAMES)
@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_blur_is_the_direct_sum(shape: tuple[int, ...], size: tuple[int, ...], boundary: str, dtype: type) -> None:
    f, h = reference.image(shape, dtype=dtype), reference.psf(size)
    expected = reference.blur(f, h, boundary)
    actual = blur(f, h, boundary=boundary)
    assert actual.dtype == dtype
    np.testing.assert_allclose(actual, expected, rtol=0, atol=ROUNDING[actual.dtype])


@pytest.mark.parametrize("boundary", BOUNDARIES[1:])
def test_psf_larger_than_the_scene(boundary: str) -> None:
    """Outside has no end: it repeats, is mirrored again and again, or goes on."""
    f, h = reference.image((4, 5)), reference.psf((11, 14))
    np.testing.assert_allclose(blur(f, h, boundary=boundary), reference.blur(f, h, boundary), rtol=0, atol=1e-14)


def test_a_point_becomes_the_psf() -> None:
    """As it is, not flipped, its pixel s // 2 at the point."""
    h, f = reference.psf((3, 4)), np.zeros((9, 9))
    f[4, 5] = 2
    expected = np.zeros((9, 9))
    expected[4 - 1 : 4 + 2, 5 - 2 : 5 + 2] = 2 * h
    np.testing.assert_allclose(blur(f, h, boundary="zero"), expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize(("shape", "size"), FRAMES)
def test_valid_part_is_aligned(shape: tuple[int, ...], size: tuple[int, ...]) -> None:
    """An impulse at the PSF's centre leaves the scene where it is."""
    f, h = reference.image(shape), np.zeros(size)
    h[tuple(s // 2 for s in size)] = 1
    part = valid_part(f, h)
    assert part.shape == tuple(n - s + 1 for n, s in zip(shape, size, strict=True))
    np.testing.assert_allclose(blur(f, h), part, rtol=0, atol=1e-14)


def test_valid_part_is_that_of_the_periodic_blur() -> None:
    """Where the frame alone decides, every boundary gives the same."""
    f, h = reference.image((9, 10)), reference.psf((4, 3))
    for boundary in BOUNDARIES[1:]:
        np.testing.assert_allclose(valid_part(blur(f, h, boundary=boundary), h), blur(f, h), rtol=0, atol=1e-14)


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("boundary", ["valid", "symmetric"])
def test_channels(axis: int, boundary: str) -> None:
    """Each with the one PSF, or with its own."""
    scenes, psfs = reference.image((3, 7, 8)), reference.psf((3, 2, 3))
    f = np.moveaxis(scenes, 0, axis)
    for h, each in ((psfs[0], [psfs[0]] * 3), (psfs, psfs)):
        expected = np.stack([reference.blur(s, p, boundary) for s, p in zip(scenes, each, strict=True)], axis)
        np.testing.assert_allclose(blur(f, h, boundary=boundary, channel_axis=axis), expected, rtol=0, atol=1e-14)
    expected = np.stack([valid_part(s, psfs[0]) for s in scenes], axis)
    np.testing.assert_array_equal(valid_part(f, psfs, channel_axis=axis), expected)


@pytest.mark.parametrize(
    ("dtype", "expected"), [(np.uint8, "f4"), (np.uint16, "f4"), (np.float16, "f4"), (np.int32, "f8"), (bool, "f4")]
)
def test_dtypes(dtype: type, expected: str) -> None:
    f = (10 * reference.image((6, 7))).astype(dtype)
    g = blur(f, reference.psf((3, 2)))
    assert g.dtype == expected
    np.testing.assert_allclose(g, reference.blur(f.astype(float), reference.psf((3, 2)), "valid"), atol=1e-5)
    assert add_noise(f, noise_std=1.0, rng=0).dtype == expected


N = 200_000  # values; means and variances are known to a few of their own standard deviations, here four


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gaussian_noise(dtype: type) -> None:
    """Zero mean, and sigma to sigma / sqrt(2 N)."""
    g = np.full((N // 500, 500), 7, dtype)
    noise = add_noise(g, noise_std=0.3, rng=0) - g
    assert noise.dtype == dtype
    assert abs(noise.mean()) < 4 * 0.3 / math.sqrt(N)
    assert noise.std() == pytest.approx(0.3, rel=4 / math.sqrt(2 * N))
    neighbours = np.mean(noise[:, 1:] * noise[:, :-1]) / 0.3**2
    assert abs(neighbours) < 4 / math.sqrt(N)


@pytest.mark.parametrize("bsnr", [10.0, 30.0])
def test_bsnr(bsnr: float) -> None:
    g = np.add.outer(np.arange(N // 500), np.zeros(500)) * 0.1
    noise = add_noise(g, bsnr=bsnr, rng=1) - g
    assert 10 * math.log10(g.var() / noise.var()) == pytest.approx(bsnr, abs=20 / math.log(10) * 4 / math.sqrt(2 * N))


def test_photon_noise() -> None:
    """Mean and variance of the counts are equal; the variance of the sample variance is (mu + 2 mu^2) / N."""
    g, photons = np.full(N + 1, 2.0), 40.0
    g[-1] = 8.0  # the maximum has 40 photons, so the rest has 10
    counts = add_noise(g, photons=photons, rng=2)[:-1] * photons / 8
    np.testing.assert_allclose(counts, np.round(counts), atol=1e-9)
    assert counts.mean() == pytest.approx(10, abs=4 * math.sqrt(10 / N))
    assert counts.var() == pytest.approx(10, abs=4 * math.sqrt((10 + 200) / N))


def test_shot_and_read_noise_add_up() -> None:
    """Variances: 5^2 / 100 of the photons and 0.3^2, with the spread of the mixture's variance below that of 2 mu^2."""
    g = np.full(N, 5.0)
    out = add_noise(g, photons=100, noise_std=0.3, rng=3)
    variance = 25 / 100 + 0.3**2
    assert out.mean() == pytest.approx(5, abs=4 * math.sqrt(variance / N))
    assert out.var() == pytest.approx(variance, rel=4 * math.sqrt(2.1 / N))


@pytest.mark.parametrize("options", [{"noise_std": 0.1}, {"bsnr": 20.0}, {"photons": 100.0}])
def test_noise_is_reproducible(options: dict[str, float]) -> None:
    g = reference.image((9, 8))
    before = g.copy()
    first = add_noise(g, rng=5, **options)
    np.testing.assert_array_equal(first, add_noise(g, rng=np.random.default_rng(5), **options))
    assert np.any(first != add_noise(g, rng=6, **options))
    assert np.any(add_noise(g, **options) != add_noise(g, **options))
    np.testing.assert_array_equal(g, before)
