"""Denoising after a restoration: the level that the filter leaves, and what it gains."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from reference import Array
from scipy.ndimage import gaussian_filter
from skimage import data

from lsdeblur import Problem, metrics, plan, psf, restore, simulate
from lsdeblur.denoise import SHARE, noise_left
from lsdeblur.direct import tikhonov

BLUR = psf.motion(11, 20)


@pytest.fixture(scope="module")
def scene() -> Array:
    return data.coffee()[100:300, 150:360, 1] / 255.0


def test_the_noise_that_is_left() -> None:
    """White and coloured: the standard deviation of restored noise."""
    rng, shape = np.random.default_rng(0), (200, 210)
    for width in (0.0, 0.8):
        noise = rng.standard_normal(shape)
        noise = gaussian_filter(noise, width, mode="wrap") if width else noise
        noise /= noise.std() / 0.1
        options = {"lam": 0.01, "noise_std": 0.1, "noise_width": width}
        problem = Problem(noise[np.newaxis], BLUR[np.newaxis], "periodic", (1.0, 1.0))
        left = noise_left(problem, tikhonov(problem, **options), options)
        fixed = {"lam": 0.01, "noise_width": width, "boundary": "periodic"}
        assert left == [pytest.approx(plan(BLUR, shape, **fixed)(noise).std(), rel=0.03)]


@pytest.mark.parametrize("kind", ["nlm", "tv"])
def test_it_gains(scene: Array, kind: str) -> None:
    g = simulate.add_noise(simulate.blur(scene, BLUR), noise_std=0.005, rng=0)
    truth, alone = simulate.valid_part(scene, BLUR), restore(g, BLUR)
    before = g.copy()
    result = restore(g, BLUR, denoise_after=kind)
    assert alone.lam is not None
    assert result.lam == pytest.approx(SHARE * alone.lam)
    gain = metrics.psnr(result.image, truth, data_range=1.0) - metrics.psnr(alone.image, truth, data_range=1.0)
    assert gain > 0.4
    assert f"since {kind} denoises after" in result.message
    np.testing.assert_array_equal(g, before)
    np.testing.assert_array_equal(restore(g, BLUR, **result.options).image, result.image)


def test_a_function_gets_the_level(scene: Array) -> None:
    seen: list[float] = []

    def keep(image: Array, sigma: float) -> Array:
        seen.append(sigma)
        return image

    g = np.stack([scene, scene / 2], -1).astype(np.float32)
    own = np.stack([BLUR, BLUR[::-1]])
    result = restore(g, own, channel_axis=-1, lam=0.01, noise_std=0.02, denoise_after=keep)
    assert result.image.dtype == np.float32
    np.testing.assert_array_equal(result.image, restore(g, own, channel_axis=-1, lam=0.01).image)
    assert len(seen) == 2
    assert all(0.01 < s < 0.2 for s in seen)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"denoise_after": "median"}, "denoise_after must be"),
        ({"denoise_after": "nlm", "lam": 0.1}, "give noise_std=, or leave lam to be chosen"),
        ({"denoise_after": "nlm", "method": "wiener"}, "denoise_after= is for method='tikhonov'"),
        ({"denoise_after": "nlm", "tile": 50}, "are not there for tiles"),
    ],
)
def test_what_it_needs(scene: Array, options: dict[str, Any], match: str) -> None:
    g = simulate.add_noise(simulate.blur(scene, BLUR), noise_std=0.005, rng=0)
    with pytest.raises(ValueError, match=match):
        restore(g, BLUR, **options)


def test_a_function_must_return_an_image(scene: Array) -> None:
    g = simulate.add_noise(simulate.blur(scene, BLUR), noise_std=0.005, rng=0)
    for wrong in (lambda f, s: f[5:], lambda f, s: None, lambda f, s: f + 1j):
        with pytest.raises(ValueError, match="denoise_after= returned an array of shape"):
            restore(g, BLUR, denoise_after=wrong)


def test_a_range_that_sixteen_bits_cannot_hold_is_said() -> None:
    from lsdeblur.denoise import DENOISERS

    image = np.random.default_rng(0).standard_normal((32, 32)) + 100
    assert np.std(DENOISERS["opencv-nlm"](image, 1.0)) < 0.5
    image[5, 5] = 1e7
    with pytest.raises(ValueError, match="too much for the 16 bits"):
        DENOISERS["opencv-nlm"](image, 1.0)
