"""Metrics against closed forms and scikit-image."""

from __future__ import annotations

import math

import numpy as np
import pytest
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
