"""Metrics against closed forms and scikit-image; what spoils an image moves them the right way."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import convolve, gaussian_filter, median_filter
from skimage import data
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from lsdeblur import Restoration, metrics

RNG = np.random.default_rng(0)
TRUTH = RNG.random((31, 24))
IMAGE = TRUTH + 0.1 * RNG.standard_normal(TRUTH.shape)


def test_psnr_of_a_constant_error() -> None:
    assert metrics.psnr(TRUTH + 0.01, TRUTH) == pytest.approx(40)
    assert metrics.psnr(TRUTH + 0.01, TRUTH, data_range=10) == pytest.approx(60)
    assert metrics.psnr(TRUTH, TRUTH) == math.inf


def test_psnr_is_that_of_scikit_image() -> None:
    assert metrics.psnr(IMAGE, TRUTH) == pytest.approx(peak_signal_noise_ratio(TRUTH, IMAGE, data_range=1))
    image, truth = (255 * np.clip(IMAGE, 0, 1)).astype(np.uint8), (255 * TRUTH).astype(np.uint8)
    assert metrics.psnr(image, truth) == pytest.approx(peak_signal_noise_ratio(truth, image))


def test_unsigned_differences_do_not_wrap() -> None:
    assert metrics.psnr(np.zeros((3, 3), np.uint8), np.full((3, 3), 255, np.uint8)) == pytest.approx(0)


def test_border_is_left_out() -> None:
    spoilt = TRUTH.copy()
    spoilt[:2], spoilt[-2:], spoilt[:, :2], spoilt[:, -2:] = 9, 9, 9, 9
    assert metrics.psnr(spoilt, TRUTH, border=2) == math.inf
    assert metrics.psnr(spoilt, TRUTH, border=1) < 20
    assert metrics.nmse(spoilt, TRUTH, border=2) == 0
    assert metrics.isnr(spoilt, IMAGE, TRUTH, border=2) == math.inf


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_border_leaves_channels_whole(axis: int) -> None:
    truth = np.stack([TRUTH] * 3, axis=axis)
    image = np.moveaxis(truth.copy(), axis, 0)
    image[0, 2:-2, 2:-2] += 0.3  # one channel of three is wrong inside, all of them on the border
    image[:, :2] = 9
    image = np.moveaxis(image, 0, axis)
    options = {"border": 2, "channel_axis": axis}
    assert metrics.psnr(image, truth, **options) == pytest.approx(-10 * math.log10(0.3**2 / 3))
    assert metrics.nmse(image, truth, **options) == pytest.approx(0.03 / np.mean(TRUTH[2:-2, 2:-2] ** 2))
    assert metrics.isnr(image, truth + 1, truth, **options) == pytest.approx(-10 * math.log10(0.03))
    assert metrics.ssim(truth, truth, **options) == pytest.approx(1)


def test_border_of_a_volume_has_six_sides() -> None:
    volume = np.zeros((5, 6, 7))
    volume[0], volume[-1] = 1, 1
    assert metrics.psnr(volume, 0 * volume, border=1) == math.inf


def test_ssim_is_that_of_scikit_image() -> None:
    expected = structural_similarity(
        TRUTH, IMAGE, data_range=1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    assert metrics.ssim(IMAGE, TRUTH) == pytest.approx(expected)
    colour, truth = np.stack([IMAGE, TRUTH], axis=0), np.stack([TRUTH, TRUTH], axis=0)
    assert metrics.ssim(colour, truth, channel_axis=0) == pytest.approx((expected + 1) / 2)


def test_relative_errors() -> None:
    assert metrics.nmse(1.5 * TRUTH, TRUTH) == pytest.approx(0.25)
    assert metrics.isnr(TRUTH + 0.1, TRUTH + 1, TRUTH) == pytest.approx(20)
    assert metrics.isnr(TRUTH, IMAGE, TRUTH) == math.inf


def test_a_restoration_stands_for_its_image() -> None:
    result = Restoration(IMAGE, None, "none")
    assert metrics.psnr(result, TRUTH) == metrics.psnr(IMAGE, TRUTH)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.psnr(TRUTH[1:], TRUTH), r"image has shape \(30, 24\) and truth \(31, 24\)"),
        (lambda: metrics.isnr(IMAGE, TRUTH[1:], TRUTH), r"blurred has shape \(30, 24\) and truth \(31, 24\)"),
        (lambda: metrics.psnr(IMAGE * np.nan, TRUTH), "image has 744 values that are NaN"),
        (lambda: metrics.nmse(IMAGE[..., None], TRUTH[..., None], channel_axis=3), "channel_axis=3 is no axis"),
        (lambda: metrics.psnr(9 * IMAGE, 9 * TRUTH), "give data_range="),
        (lambda: metrics.psnr(IMAGE, TRUTH, data_range=0), "data_range must be greater than 0"),
        (lambda: metrics.psnr(IMAGE, TRUTH, border=12), "border=12 leaves nothing"),
        (lambda: metrics.psnr(IMAGE, TRUTH, border=-1), "border must be a whole number"),
        (lambda: metrics.ssim(IMAGE[:9], TRUTH[:9]), "at least 11 pixels"),
        (lambda: metrics.nmse(IMAGE, 0 * TRUTH), "truth is zero everywhere"),
        (lambda: metrics.isnr(IMAGE, TRUTH, TRUTH), "nothing to improve"),
    ],
)
def test_errors(call, message) -> None:
    with pytest.raises(ValueError, match=message):
        call()


# Edges, ringing, texture.

SCENE = data.camera()[100:228, 180:308] / 255
STEP = np.repeat([[0.2, 0.8]], 48, axis=0).repeat(24, axis=1)


def blurred(scene: Any, sigma: float) -> Any:
    return gaussian_filter(scene, sigma)


def noisy(scene: Any, level: float) -> Any:
    return scene + level * np.random.default_rng(1).standard_normal(scene.shape)


STRUCTURE = [metrics.edge_preservation, metrics.ringing, metrics.texture_preservation]


@pytest.mark.parametrize("shape", [(64,), (31, 24), (12, 13, 14)])
def test_structure_of_a_perfect_image(shape: tuple[int, ...]) -> None:
    truth = np.random.default_rng(0).random(shape)
    assert metrics.edge_preservation(truth, truth) == pytest.approx(1)
    assert metrics.ringing(truth, truth) == 0
    assert metrics.texture_preservation(truth, truth) == pytest.approx(1)


def test_structure_in_another_scale() -> None:
    image = noisy(blurred(SCENE, 1), 0.02)
    for measure in STRUCTURE:  # of both
        assert measure(7 * image - 3, 7 * SCENE - 3) == pytest.approx(measure(image, SCENE))
    assert metrics.edge_preservation(7 * image - 3, SCENE) == pytest.approx(metrics.edge_preservation(image, SCENE))
    expected = 7 * metrics.texture_preservation(image, SCENE)
    assert metrics.texture_preservation(7 * image - 3, SCENE) == pytest.approx(expected)


@pytest.mark.parametrize("measure", [metrics.edge_preservation, metrics.texture_preservation])
def test_blur_takes_edges_and_texture(measure: Callable[..., float]) -> None:
    values = [measure(blurred(SCENE, sigma), SCENE) for sigma in (0, 0.5, 1, 2, 4)]
    assert values == sorted(values, reverse=True)
    assert values[0] - values[-1] > 0.8


def test_noise_hides_edges_and_spares_texture() -> None:
    values = [metrics.edge_preservation(noisy(SCENE, level), SCENE) for level in (0, 0.01, 0.03, 0.1)]
    assert values == sorted(values, reverse=True)
    assert values[-1] < 0.5
    assert metrics.texture_preservation(noisy(SCENE, 0.03), SCENE) == pytest.approx(1, abs=0.05)


def test_edge_preservation_is_the_correlation_of_laplacians() -> None:
    filtered = [convolve(x, [[0, 1, 0], [1, -4, 1], [0, 1, 0]])[1:-1, 1:-1].ravel() for x in (IMAGE, TRUTH)]
    assert metrics.edge_preservation(IMAGE, TRUTH) == pytest.approx(np.corrcoef(*filtered)[0, 1])


def test_flattened_texture() -> None:
    """Beside an edge that stays, so much of the texture as there is."""
    edge = np.repeat([[0.2, 0.8]], 100, axis=0).repeat(100, axis=1)
    texture = 0.05 * np.random.default_rng(5).standard_normal(edge.shape)
    for share in (0, 0.4, 1.5):
        found = metrics.texture_preservation(edge + share * texture, edge + texture)
        assert found == pytest.approx(share, abs=0.02)
    assert metrics.texture_preservation(median_filter(SCENE, 7), SCENE) < 0.5
    assert metrics.texture_preservation(0 * SCENE, SCENE) == 0
    assert metrics.edge_preservation(0 * SCENE + 0.1, SCENE) == 0


def test_ringing_needs_overshoot() -> None:
    assert metrics.ringing(blurred(STEP, 1.5), STEP) == 0  # cut at 6 pixels: it reaches no farther than 8
    assert metrics.ringing(blurred(STEP, 6), STEP, reach=30) == 0
    assert metrics.ringing(STEP.clip(0.3, 0.7), STEP) == 0


def test_ringing_of_a_limited_band() -> None:
    """Gibbs' overshoot beside a step, by 9 % of it; the fewer frequencies, the wider it is."""
    spectrum = np.fft.fft(np.tile(STEP, (1, 2)), axis=1)
    values = []
    for limit in (40, 20, 10):
        spectrum[:, limit:-limit] = 0
        values.append(metrics.ringing(np.fft.ifft(spectrum, axis=1).real[:, :48], STEP))
    assert 0 < values[0] < values[1] < values[2] < 0.09


def test_ringing_by_its_formula() -> None:
    """Of the 17 pixels near a step of 0.6 one overshoots by 0.06; farther away, it is no ringing."""
    near, far = STEP.copy(), STEP.copy()
    near[:, 30] += 0.06
    far[:, 36] += 0.06
    assert metrics.ringing(near, STEP) == pytest.approx(0.1 / math.sqrt(16))
    assert metrics.ringing(far, STEP) == 0


@pytest.mark.parametrize("measure", STRUCTURE)
def test_structure_with_channels_and_border(measure: Callable[..., float]) -> None:
    image = noisy(blurred(SCENE, 1), 0.02)
    spoilt = image.copy()
    spoilt[:3], spoilt[:, -3:] = 9, -9
    expected = measure(image[3:-3, 3:-3], SCENE[3:-3, 3:-3])
    assert measure(spoilt, SCENE, border=3) == pytest.approx(expected)
    pair = [np.stack([x] * 2, axis=1) for x in (spoilt, SCENE)]
    assert measure(*pair, border=3, channel_axis=1) == pytest.approx(expected)


# Without a truth.


@pytest.mark.parametrize(("shape", "lags"), [((400,), 8), ((40, 37), 5), ((14, 15, 16), 2)])
def test_whiteness_of_white_noise(shape: tuple[int, ...], lags: int) -> None:
    """Mean 1 and standard deviation sqrt(2 / K), within five standard errors of the mean of 40."""
    n = ((2 * lags + 1) ** len(shape) - 1) // 2
    noise = 3 + np.random.default_rng(2).standard_normal((40, *shape))
    assert metrics.whiteness(noise, lags=lags, channel_axis=0) == pytest.approx(1, abs=5 * math.sqrt(2 / n / 40))
    values = [metrics.whiteness(e, lags=lags) for e in noise]
    assert metrics.whiteness(noise, lags=lags, channel_axis=0) == pytest.approx(np.mean(values))
    assert 0.6 < np.std(values) / math.sqrt(2 / n) < 1.6


def test_whiteness_by_its_formula() -> None:
    e = np.array([1.0, -1.0, 1.0, -1.0, 2.0, -2.0])
    r = [np.sum(e[:-lag] * e[lag:]) / np.sum(e**2) for lag in (1, 2)]
    expected = (36 * r[0] ** 2 / 5 + 36 * r[1] ** 2 / 4) / 2
    assert metrics.whiteness(e, lags=2) == pytest.approx(expected)
    assert metrics.whiteness(5 * e + 1, lags=2) == pytest.approx(expected)


def test_correlation_by_its_formula_and_at_any_size() -> None:
    """Of a moving average of two pixels: 1/2 at one lag of 12, beside the chance of white noise."""
    e = np.array([1.0, -1.0, 1.0, -1.0, 2.0, -2.0])
    r = [np.sum(e[:-lag] * e[lag:]) / np.sum(e**2) for lag in (1, 2)]
    assert metrics.correlation(e, lags=2) == pytest.approx(math.sqrt((6 * r[0] ** 2 / 5 + 6 * r[1] ** 2 / 4) / 2))
    noise = np.random.default_rng(6).standard_normal((2, 300, 301))
    assert metrics.correlation(noise, channel_axis=0) == pytest.approx(1 / math.sqrt(300 * 301), rel=0.5)
    coloured = noise + np.roll(noise, 1, 2)
    for n in (60, 300):
        part = coloured[:, :n, :n]
        assert metrics.correlation(part, lags=2, channel_axis=0) == pytest.approx(0.5 / math.sqrt(12), rel=0.05)
    hidden = np.zeros((300, 301), bool)
    hidden[50:250, 50:250] = True
    spoilt = np.where(hidden, 100, coloured[0])
    assert metrics.correlation(spoilt, lags=2, mask=hidden) == pytest.approx(0.5 / math.sqrt(12), rel=0.05)


def test_whiteness_sees_colour_and_structure() -> None:
    noise = np.random.default_rng(3).standard_normal((60, 61))
    values = [metrics.whiteness(blurred(noise, sigma)) for sigma in (0, 0.4, 0.7, 1.5)]
    assert values == sorted(values)
    assert values[2] > 10 * values[0]
    assert metrics.whiteness(noise + blurred(noise, 4) * 10) > 10


def test_whiteness_of_what_was_measured() -> None:
    noise, hidden = np.random.default_rng(4).standard_normal((60, 61)), np.zeros((60, 61), bool)
    hidden[10:40, 20:50] = True
    expected = metrics.whiteness(noise, mask=hidden)
    assert metrics.whiteness(np.where(hidden, 100, noise), mask=hidden) == pytest.approx(expected)
    assert expected == pytest.approx(1, abs=5 * math.sqrt(2 / 60))


def test_sharpness_falls_with_blur_and_with_noise() -> None:
    for spoil, steps in ((blurred, (0, 0.5, 1, 2, 4)), (noisy, (0, 0.05, 0.1, 0.2))):
        values = [metrics.sharpness(spoil(SCENE, step)) for step in steps]
        assert values == sorted(values, reverse=True)
        assert values[-1] < 0.7 * values[0]


def test_sharpness_of_scaled_and_turned_images() -> None:
    expected = metrics.sharpness(SCENE)
    for same in (SCENE + 5, -SCENE, SCENE.T, SCENE[::-1], np.stack([SCENE] * 3)):
        assert metrics.sharpness(same) == pytest.approx(expected)
    assert metrics.sharpness(3 * SCENE) == pytest.approx(3 * expected)
    assert metrics.sharpness(np.stack([SCENE, 3 * SCENE], -1), channel_axis=-1) == pytest.approx(2 * expected)
    assert metrics.sharpness(np.full((16, 16), 0.3)) == 0


def test_sharpness_by_singular_values() -> None:
    """Of all patches as they are; of white noise hardly one in a thousand counts."""
    expected = []
    for i in range(0, 128, 8):
        for j in range(0, 128, 8):
            gradients = np.stack([x.ravel() for x in np.gradient(SCENE[i : i + 8, j : j + 8])], axis=1)
            s1, s2 = np.linalg.svd(gradients, compute_uv=False)
            coherence = (s1 - s2) / (s1 + s2)
            q = 0.001 ** (1 / 63)
            expected.append(s1 * coherence if coherence > math.sqrt((1 - q) / (1 + q)) else 0)
    assert metrics.sharpness(SCENE) == pytest.approx(np.mean(expected))


FLAT = np.full((20, 21), 0.3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.edge_preservation(IMAGE[:2], TRUTH[:2]), "edges need 3 pixels along every axis"),
        (lambda: metrics.edge_preservation(FLAT, FLAT), "truth has no edges"),
        (lambda: metrics.ringing(FLAT, FLAT), "truth is constant: without edges there is no ringing"),
        (lambda: metrics.ringing(IMAGE, TRUTH, reach=0), "reach must be a whole number of at least 1"),
        (lambda: metrics.texture_preservation(FLAT, FLAT), "truth has no texture"),
        (lambda: metrics.whiteness(IMAGE, lags=24), "lags=24 needs more than 24 pixels along every axis"),
        (lambda: metrics.whiteness(IMAGE, mask=IMAGE[1:] > 0), r"mask has shape \(30, 24\) and residual \(31, 24\)"),
        (lambda: metrics.whiteness(IMAGE, mask=IMAGE < 9), "residual is constant, or mask leaves nothing"),
        (lambda: metrics.whiteness(0 * IMAGE), "residual is constant"),
        (lambda: metrics.sharpness(IMAGE[:7]), "at least 8 rows and columns"),
        (lambda: metrics.sharpness(IMAGE, border=12), "border=12 leaves nothing"),
        (lambda: metrics.sharpness(IMAGE[0]), "image must have 2 or 3 axes"),
    ],
)
def test_errors_of_structure(call: Callable[[], float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
