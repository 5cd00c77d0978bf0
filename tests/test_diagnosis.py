"""What kind of blur an image has."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scenes import leaves

import lsdeblur
from lsdeblur import Diagnosis, psf, simulate


def photograph(h: Any, noise_std: float = 0.003, shape: tuple[int, int] = (181, 193)) -> Any:
    return simulate.add_noise(simulate.blur(leaves(shape), h), noise_std=noise_std, rng=0)


@pytest.mark.parametrize(
    ("kind", "h", "width"),
    [
        ("sharp", psf.delta(), None),
        ("sharp", psf.gaussian(0.5), None),
        ("motion", psf.motion(13, 30), 13 / math.sqrt(12)),
        ("defocus", psf.disk(3.5), math.sqrt(3.5**2 / 4 + 1 / 12)),
        ("defocus", psf.gaussian(1.8), None),
        ("mixed", psf.combine(psf.motion(14, 65), psf.disk(3)), None),
    ],
)
def test_kinds(kind: str, h: Any, width: float | None) -> None:
    """And the width, the standard deviation along the widest direction, where the family is one of sharp ends."""
    image = photograph(h)
    kept = image.copy()
    found = lsdeblur.diagnose(image)
    np.testing.assert_array_equal(image, kept)
    assert (found.kind, found.recoverable) == (kind, True)
    if h.shape[0] > 9:  # no detail of a pixel's size is left, which would count as noise
        assert found.numbers["noise_std"] == pytest.approx(0.003, rel=0.2)
    assert found.numbers["snr_db"] == found.snr_db > 20
    assert ("method='blind'" in found.message) == (kind != "sharp")
    assert found.numbers["score: delta"] == 0
    if width is not None:
        assert found.numbers["width"] == pytest.approx(width, rel=0.03)
    if kind == "motion":
        assert found.numbers["length"] == pytest.approx(13, abs=0.3)


@pytest.mark.parametrize("noise_std", [0.001, 0.05])
def test_sharp_at_any_noise(noise_std: float) -> None:
    found = lsdeblur.diagnose(photograph(psf.delta(), noise_std))
    assert found.kind == "sharp"
    assert found.numbers["width"] < 0.75


def test_channels_and_precision() -> None:
    image = photograph(psf.motion(13, 30), shape=(121, 129))
    colours = np.stack([image, 0.5 * image, 0.2 + 0.1 * image], axis=-1)
    for changed in (colours.astype(np.float32), np.rint(255 * colours.clip(0, 1)).astype(np.uint8)):
        found = lsdeblur.diagnose(changed, channel_axis=-1)
        assert found.kind == "motion"
        assert found.numbers["angle"] == pytest.approx(30, abs=1)


def refused(image: Any) -> Diagnosis:
    found = lsdeblur.diagnose(image)
    assert (found.kind, found.recoverable) == ("not-recoverable", False)
    return found


def test_what_cannot_be_recovered() -> None:
    image = photograph(psf.disk(3.5))
    assert "dB, below 5: the noise hides the blur" in refused(photograph(psf.disk(3.5), 1.0)).message
    assert "fewer than 32 to a side" in refused(image[:31]).message
    assert "grey values: too dark" in refused(np.floor(5 * image)).message
    half = float(np.quantile(image, 0.45))
    clipped = refused(np.minimum(image, half))
    assert "the least or the greatest value" in clipped.message
    assert clipped.numbers["clipped"] == pytest.approx(0.55, abs=0.02)


def test_a_blur_wider_than_the_frame_shows() -> None:
    """A quarter of 64 pixels."""
    image = photograph(psf.disk(9), 0.0005, (86, 90))[:68, :70]
    assert "more than the 1" in refused(image).message


def test_an_image_without_noise() -> None:
    found = lsdeblur.diagnose(simulate.blur(leaves((121, 129)), psf.motion(11, 75)))
    assert found.kind == "motion"


def test_nothing_to_see() -> None:
    with pytest.raises(ValueError, match=r"image is constant.*give a part with edges"):
        lsdeblur.diagnose(np.ones((60, 70)))
