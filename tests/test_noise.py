"""Estimates of the noise's level and colour on scenes with known ones."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from reference import Array
from scipy.ndimage import gaussian_filter
from skimage import data

from lsdeblur import ParameterChoiceError, PSFMismatchWarning, metrics, plan, psf, restore, simulate
from lsdeblur.noise import _leaked, colour, estimate_noise_std, hann

LEVELS = [1.0, 4.0, 12.0]  # of 255
BLUR = psf.gaussian(2.0)


@pytest.fixture(scope="module")
def blurred() -> Array:
    return simulate.blur(data.camera()[100:356, 150:420].astype(float), BLUR)


@pytest.mark.parametrize("sigma", LEVELS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_where_the_blur_has_erased(blurred: Array, sigma: float, dtype: type) -> None:
    g = simulate.add_noise(blurred.astype(dtype), noise_std=sigma, rng=0)
    assert estimate_noise_std(g, BLUR) == pytest.approx(sigma, rel=0.1)


@pytest.mark.parametrize("sigma", LEVELS)
def test_from_wavelets(blurred: Array, sigma: float) -> None:
    """Right too where the blur leaves no detail of a pixel's size."""
    g = simulate.add_noise(blurred, noise_std=sigma, rng=0)
    assert estimate_noise_std(g) == pytest.approx(sigma, rel=0.1)


@pytest.mark.parametrize("with_psf", [True, False])
@pytest.mark.parametrize("shape", [(129, 128), (33, 34, 35)])
def test_noise_alone(with_psf: bool, shape: tuple[int, ...]) -> None:
    """Without any scene only the estimators' own spread is left.

    The median of m exponential variables has the relative spread 1 / (sqrt(m) log 2), its root half of that; the
    erased frequencies are more than half of all, and the window leaves about half of them independent.
    The median absolute deviation of m normal ones has 1.17 / sqrt(m), here for a part 2^-d of the coefficients. Where
    the wavelet reaches beyond an edge, 2 of n / 2 coefficients along every axis, it sees mirrored noise.
    """
    g = 0.7 * np.random.default_rng(0).standard_normal(shape)
    d = len(shape)
    h = psf.gaussian(2.0, ndim=d) if with_psf else None
    spread = 0.5 / math.log(2) / math.sqrt(g.size / 4) if with_psf else 1.17 / math.sqrt(g.size / 2**d)
    edges = 0 if with_psf else sum(4 / n for n in shape)
    assert estimate_noise_std(g, h) == pytest.approx(0.7, rel=4 * spread + edges)


@pytest.mark.parametrize("axis", [0, 2, -1])
@pytest.mark.parametrize("with_psf", [True, False])
def test_channels_average_their_powers(blurred: Array, axis: int, with_psf: bool) -> None:
    sigmas = [2.0, 4.0, 6.0]
    channels = [simulate.add_noise(blurred, noise_std=s, rng=i) for i, s in enumerate(sigmas)]
    h = BLUR if with_psf else None
    each = [estimate_noise_std(c, h) for c in channels]
    together = estimate_noise_std(np.stack(channels, axis), h, channel_axis=axis)
    assert together == pytest.approx(math.sqrt(np.mean(np.square(each))), rel=1e-12)
    assert together == pytest.approx(math.sqrt(np.mean(np.square(sigmas))), rel=0.1)


def test_one_psf_per_channel(blurred: Array) -> None:
    wide = simulate.blur(blurred, psf.gaussian(1.0, size=BLUR.shape), boundary="symmetric")
    channels = [simulate.add_noise(c, noise_std=3.0, rng=i) for i, c in enumerate((blurred, wide))]
    psfs = np.stack([BLUR, psf.gaussian(math.sqrt(5), size=BLUR.shape)])
    assert estimate_noise_std(np.stack(channels), psfs, channel_axis=0) == pytest.approx(3.0, rel=0.1)


def test_a_blur_that_erases_too_little(blurred: Array) -> None:
    with pytest.raises(ParameterChoiceError, match=r"erases only 0 frequencies .200 are needed.*without psf="):
        estimate_noise_std(blurred, psf.gaussian(0.5))


def test_images_a_few_pixels_wide() -> None:
    """A last axis of 3 or 4 pixels is no channel axis, and nothing is asked about it."""
    g = 0.5 * np.random.default_rng(0).standard_normal((20_000, 4))
    assert estimate_noise_std(g) == pytest.approx(0.5, rel=0.1)


def correlated(
    width: float, sigma: float, psf_sigma: float = 2.0, floor: float = 0.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A blurred picture with noise that a Gaussian of `width` pixels has smoothed, its PSF and the truth.

    White noise with the part `floor` of the smoothed noise's power at frequency zero is added.
    """
    scene, blur = data.camera() / 255, psf.gaussian(psf_sigma)
    clean = simulate.blur(scene, blur)
    noise = np.random.default_rng(1).standard_normal(clean.shape)
    smooth = gaussian_filter(noise, width, mode="wrap") if width else noise
    smooth = smooth + math.sqrt(floor) * np.random.default_rng(2).standard_normal(clean.shape)
    return clean + sigma * smooth / smooth.std(), blur, simulate.valid_part(scene, blur)


@pytest.mark.parametrize("width", [0.8, 1.0])
def test_the_width_of_correlated_noise(width: float) -> None:
    """scipy samples its Gaussian kernel, which at these widths is narrower than its name by up to 0.05 pixels."""
    blurred, blur, _ = correlated(width, 0.005)
    found = restore(blurred, blur)
    assert found.noise_width == pytest.approx(width, abs=0.06)
    assert "correlated over" in found.message


@pytest.mark.parametrize("floor", [0.01, 0.03, 0.1])
def test_the_floor_of_correlated_noise(floor: float) -> None:
    """Power that smoothing leaves at the highest frequencies, as denoisers do."""
    blurred, blur, truth = correlated(0.8, 0.01, floor=floor)
    found = restore(blurred, blur)
    assert found.noise_floor == floor
    assert found.noise_width == pytest.approx(0.8, abs=0.06)
    assert f"but for {floor:.0%}" in found.message
    without = restore(blurred, blur, noise_width=found.noise_width)
    assert metrics.psnr(found, truth, data_range=1) > metrics.psnr(without, truth, data_range=1)


@pytest.mark.parametrize("scene", ["camera", "coins", "page"])
def test_the_zeros_of_a_long_motion_blur_are_no_noise(scene: str) -> None:
    """The window fills the zeros of H with the scene: little white noise must not look like more at low frequencies."""
    blur = psf.motion(41, 10)
    blurred = simulate.add_noise(simulate.blur(getattr(data, scene)() / 255, blur), noise_std=0.001, rng=0)
    assert restore(blurred, blur).noise_width == 0


@pytest.mark.parametrize("grid", [(8, 9), (7, 10), (4, 5, 6)])
def test_what_a_window_makes_of_a_spectrum(grid: tuple[int, ...]) -> None:
    """The mean over the phases of a periodic process, whose spectrum a window convolves with its own."""
    power = np.abs(np.fft.fftn(np.random.default_rng(0).standard_normal(grid))) ** 2
    window = np.abs(np.fft.fftn(hann(grid, float))) ** 2
    window /= window.sum()
    expected = np.zeros(grid)
    for shift in np.ndindex(grid):
        expected += window[shift] * np.roll(power, shift, range(len(grid)))
    half = (..., slice(grid[-1] // 2 + 1))
    found = _leaked(power[half], grid, np.arange(power[half].size))
    np.testing.assert_allclose(found, expected[half].ravel(), rtol=1e-10)


@pytest.mark.parametrize("boundary", ["free", "taper", "periodic"])
@pytest.mark.parametrize("sigma", [0.001, 0.02])
def test_white_noise_is_white(sigma: float, boundary: str) -> None:
    blurred, blur, _ = correlated(0, sigma)
    assert restore(blurred, blur, boundary=boundary).noise_width == 0


def test_a_scene_that_hides_the_noise_tells_nothing_of_its_colour() -> None:
    blurred, blur, _ = correlated(0.8, 0.0002, psf_sigma=0.4)
    assert restore(blurred, blur).noise_width == 0


def test_knowing_the_colour_makes_a_better_image() -> None:
    """White noise's rule fails badly here; the right spectrum must beat even the best lambda for white noise."""
    blurred, blur, truth = correlated(0.8, 0.01)
    quality = {
        width: metrics.psnr(restore(blurred, blur, noise_width=width), truth, data_range=1) for width in ("auto", 0)
    }
    best_white = max(
        metrics.psnr(restore(blurred, blur, lam=lam), truth, data_range=1) for lam in np.logspace(-4, 2, 25)
    )
    assert quality["auto"] > quality[0] + 3
    assert quality["auto"] > best_white - 0.05


@pytest.mark.parametrize("floor", [0, 0.1])
def test_a_given_colour_repeats_the_result(floor: float) -> None:
    blurred, blur, _ = correlated(0.8, 0.01, floor=floor)
    first = restore(blurred, blur)
    fixed = {"lam": first.lam, "noise_width": first.noise_width, "noise_floor": first.noise_floor, "tol": 1e-12}
    again = restore(blurred, blur, **fixed)
    sharpen = plan(blur, blurred.shape, **fixed)
    np.testing.assert_allclose(sharpen(blurred), again.image, rtol=0, atol=1e-6)
    np.testing.assert_allclose(first.image, again.image, rtol=0, atol=0.02)


def test_the_colour_of_noise() -> None:
    c = colour((8, 9), 0.7)
    w0, w1 = 2 * np.pi * np.fft.fftfreq(8)[:, None], 2 * np.pi * np.fft.rfftfreq(9)[None]
    np.testing.assert_allclose(c, np.exp(-0.49 * (w0**2 + w1**2)) + 1e-4, rtol=1e-12)
    np.testing.assert_allclose(colour((8, 9), 0.7, 0.1) - c, 0.1 - 1e-4, rtol=1e-9)


@pytest.mark.parametrize(
    ("right", "wrong"), [("motion", {"length": 18}), ("motion", {"angle": 45}), ("disk", {"radius": 6})]
)
def test_a_wrong_psf_is_told(right: str, wrong: dict[str, float]) -> None:
    """It leaves much of the scene at low frequencies that it says to be erased; the right one leaves noise."""
    given: dict[str, float] = {"motion": {"length": 15, "angle": 30}, "disk": {"radius": 5}}[right]
    make = getattr(psf, right)
    g = simulate.add_noise(simulate.blur(data.camera() / 255.0, make(**given)), noise_std=0.005, rng=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "PSF" not in restore(g, make(**given)).message
    with warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always")
        message = restore(g, make(**(given | wrong))).message
    warned = [str(w.message) for w in raised if w.category is PSFMismatchWarning]
    assert any("does not explain the image" in text for text in warned) or "or the PSF is wrong" in message


def test_a_psf_that_is_too_large_warns() -> None:
    g = simulate.add_noise(simulate.blur(data.camera()[:300, :300] / 255.0, psf.disk(5)), noise_std=0.005, rng=0)
    with pytest.warns(PSFMismatchWarning, match="the PSF does not explain the image: .* the power of the noise"):
        restore(g, psf.disk(7))
