"""Evaluation: figures as by the metrics, a verdict that follows from them, failure cases that are as they say."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from reference import Array  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from lsdeblur import metrics, restore  # noqa: E402
from lsdeblur.deep import data  # noqa: E402
from lsdeblur.deep.evaluation import Evaluation, Score, evaluate, failure_cases  # noqa: E402


def picture(shape: tuple[int, ...] = (190, 200), seed: int = 0) -> Array:
    """Smooth patches with edges, in [0, 1]."""
    from scipy.ndimage import gaussian_filter

    noise = np.random.default_rng(seed).standard_normal(shape)
    smooth = gaussian_filter(noise, (5, 5, 0)[: len(shape)])
    return (0.3 + 0.4 * (smooth > 0) + 0.2 * (smooth > np.std(smooth))).astype(np.float32)


def items(n: int = 4, **options: Any) -> list[data.Item]:
    settings = {"crop": 48, "sizes": (5, 9), "rotation": 0, "length": n}
    return list(data.Synthetic([picture((100, 110, 3))], **(settings | options)))


class Sharpen(nn.Module):
    """Image plus a multiple of what a 3 x 3 mean takes away: no good restoration, but one with a twin in NumPy."""

    needs = ("psf", "noise_std")

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.strength = nn.Parameter(torch.tensor(0.5))
        self.seen: list[tuple[Any, ...]] = []

    def forward(self, image: Tensor, psf: Tensor, noise_std: Tensor) -> Tensor:
        self.seen.append((image.shape, psf.shape, noise_std.shape, self.training, torch.is_grad_enabled()))
        low = nn.functional.avg_pool2d(nn.functional.pad(image, (1, 1, 1, 1), mode="replicate"), 3, 1)
        return image + self.strength * (image - low)


def sharpened(image: Array, psf: Array | None, noise_std: float | None) -> Array:
    from scipy.ndimage import uniform_filter

    assert psf is not None
    assert noise_std is not None
    assert image.ndim == psf.ndim == 2
    return image + 0.5 * (image - uniform_filter(image, 3, mode="nearest"))


@pytest.mark.parametrize(("channels", "batch"), [(1, (3, 1)), (3, (1, 3))])
def test_modules_and_functions_are_measured_alike(channels: int, batch: tuple[int, int]) -> None:
    """By the metrics of the library; a module is called as it asks, in evaluation mode and without gradients."""
    model = Sharpen(channels).train()
    sample = items(3, channels=3)
    a, b = (evaluate(m, sample, budget_ms=1e6, levels=(0, 0), repeats=1) for m in (model, sharpened))
    assert model.training
    assert model.seen == [((*batch, 48, 48), (1, 9, 9), (batch[0],), False, False)] * 4  # one to warm up
    for item, x, y in zip(sample, a.scores, b.scores, strict=True):
        np.testing.assert_allclose(x[:4], y[:4], rtol=1e-5)
        image, sharp, psf = (item[name].numpy() for name in ("image", "sharp", "psf"))
        restored = np.stack([sharpened(channel, psf, 0.0) for channel in image])
        for array, psnr, ssim in ((image, y.psnr_before, y.ssim_before), (restored, y.psnr, y.ssim)):
            assert psnr == pytest.approx(metrics.psnr(array, sharp, data_range=1.0, channel_axis=0), rel=1e-5)
            assert ssim == pytest.approx(metrics.ssim(array, sharp, data_range=1.0, channel_axis=0), abs=1e-6)


def test_the_classic_restoration_beside_it() -> None:
    sample = items(3, noise=(0.002, 0.002), kernels=("motion", "defocus"))
    found = evaluate(lambda image, psf, noise_std: restore(image, psf, workers=1), sample, budget_ms=1e6, repeats=1)
    assert found.rows[0].after > found.rows[0].before + 2
    assert found.rows[1].after > found.rows[1].before


def test_time_is_the_median_after_a_warm_up() -> None:
    waits = iter([0.2, *([0.01, 0.1, 0.01] * 2)])

    def slow(image: Array, psf: Array | None, noise_std: float | None) -> Array:
        time.sleep(next(waits))
        return image

    found = evaluate(slow, items(2), budget_ms=90, levels=(0, 0))
    assert 10 <= found.rows[2].after < 90
    assert found.rows[2].passed
    assert found.ms_per_megapixel == pytest.approx(found.rows[2].after / (48 * 48 / 1e6), rel=0.5)


def score(psnr: float, ssim: float, ms: float) -> Score:
    return Score(20.0, psnr, 0.5, ssim, ms, 0.25)


@pytest.mark.parametrize(
    ("psnr", "ssim", "ms", "verdicts"),
    [
        (28.1, 0.86, 100, (True, True, True)),
        (28.0, 0.86, 100, (False, True, True)),
        (28.1, 0.85, 100, (True, False, True)),
        (28.1, 0.86, 101, (True, True, False)),
        (math.nan, math.nan, 100, (False, False, True)),
    ],
)
def test_the_verdict(psnr: float, ssim: float, ms: float, verdicts: tuple[bool, ...]) -> None:
    """Means above the levels, strictly; the median time within the budget."""
    around = [score(psnr - 1, ssim - 0.1, ms - 50), score(psnr + 1, ssim + 0.1, ms + 500), score(psnr, ssim, ms)]
    found = Evaluation(tuple(around), (28.0, 0.85), 100.0)
    if not math.isnan(psnr):
        assert found.rows[0].after == pytest.approx(psnr)
        assert found.rows[0].worst == pytest.approx(psnr - 1)
    exact = Evaluation((score(psnr, ssim, ms),), (28.0, 0.85), 100.0)
    assert tuple(row.passed for row in exact.rows) == verdicts
    assert exact.passed == all(verdicts)
    assert found.rows[2].after == ms
    assert found.rows[2].worst == ms + 500


def test_the_table() -> None:
    found = Evaluation((score(28.456, 0.8, 42.0), score(30.0, 0.84, 52.0)), (28.0, 0.85), 50.0)
    assert str(found).splitlines() == [
        "              before     after     worst     asked",
        "PSNR (dB)      20.00     29.23     28.46   > 28.00  passed",
        "SSIM           0.500     0.820     0.800   > 0.850  failed",
        "time (ms)                 47.0      52.0   <= 50.0  passed",
        "2 images, 188 ms per megapixel: failed",
    ]


def test_items_are_spread_over_the_data_set() -> None:
    asked = []

    class Numbers(list):
        def __getitem__(self, i: int) -> data.Item:
            asked.append(i)
            return {"image": torch.full((1, 12, 12), 0.5), "sharp": torch.zeros(1, 12, 12)}

    found = evaluate(nn.Identity(), Numbers(range(100)), budget_ms=1, n=4, repeats=1)
    assert asked == [0, 25, 50, 75]
    assert [s.psnr for s in found.scores] == [pytest.approx(6.0206, abs=1e-3)] * 4
    asked.clear()
    evaluate(nn.Identity(), Numbers(range(3)), budget_ms=1, repeats=1)
    assert asked == [0, 1, 2]


@pytest.mark.parametrize(("value", "psnr"), [(0.0, math.inf), (math.nan, math.nan), (math.inf, -math.inf)])
def test_perfect_and_broken_models(value: float, psnr: float) -> None:
    """Nothing fails at them but the verdict."""
    sample = [{"image": torch.full((1, 12, 12), 0.5), "sharp": torch.zeros(1, 12, 12)}]
    found = evaluate(lambda image, psf, noise_std: np.full_like(image, value), sample, budget_ms=1e6)
    np.testing.assert_equal(found.scores[0].psnr, psnr)
    assert found.passed == (value == 0)
    assert ("failed" in str(found)) == (value != 0)


def test_what_cannot_be_evaluated() -> None:
    sample = items(1)
    with pytest.raises(ValueError, match="dataset is empty"):
        evaluate(nn.Identity(), [], budget_ms=1)
    with pytest.raises(ValueError, match="budget_ms must be greater than 0"):
        evaluate(nn.Identity(), sample, budget_ms=0)
    with pytest.raises(ValueError, match="needs 'psf', but the items hold image, sharp only"):
        evaluate(Sharpen(1), [{name: sample[0][name] for name in ("image", "sharp")}], budget_ms=1)
    with pytest.raises(ValueError, match=r"of shape \(1, 24, 24\) from one of \(1, 48, 48\)"):
        evaluate(nn.AvgPool2d(2), sample, budget_ms=1)


@pytest.mark.parametrize("channels", [1, 3])
def test_failure_cases(channels: int) -> None:
    images = [picture((180, 190, 3))]
    cases = failure_cases(images, n=4, channels=channels)
    again = failure_cases(images, n=4, channels=channels)
    assert list(cases) == ["noisy", "mixed", "large"]
    for name, case in cases.items():
        assert len(case) == 4
        for item, other in zip(case, again[name], strict=True):
            assert item["image"].shape == item["sharp"].shape == (channels, 128, 128)
            assert item["image"].dtype == torch.float32
            assert torch.equal(item["image"], other["image"])
    for item in cases["noisy"]:
        noisy, std = float(item["image"].var()), float(item["noise_std"])
        assert 0 - 0.5 < 10 * math.log10((noisy - std**2) / std**2) < 5 + 0.5
    for item in cases["large"]:
        h = item["psf"].numpy()
        wide = max(np.ptp(np.nonzero(h.sum(axis=axis))[0]) + 1 for axis in (0, 1))
        assert 18 <= wide <= 45  # an oblique motion of 27 pixels spans 20 rows and columns
        assert float(item["noise_std"]) <= 0.01
    assert {item["psf"].shape for item in cases["mixed"]} == {(25, 25)}
