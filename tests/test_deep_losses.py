"""Losses: closed forms, agreement with the metrics, gradients that lead to the truth."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor  # noqa: E402

from lsdeblur import metrics  # noqa: E402
from lsdeblur.deep import losses  # noqa: E402


def images(shape: tuple[int, ...] = (2, 3, 24, 19), seed: int = 0, dtype: Any = torch.float64) -> Tensor:
    """Smooth images in [0, 1]."""
    from scipy.ndimage import gaussian_filter

    noise = np.random.default_rng(seed).random(shape)
    smooth = gaussian_filter(noise, (0, 0, 1, 1))
    return torch.from_numpy((smooth - smooth.min()) / np.ptp(smooth)).to(dtype)


@pytest.fixture(scope="module")
def vgg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file like torchvision's, of random weights, up to the second layer of the second block."""
    torch.manual_seed(0)
    features = torch.nn.Sequential(*losses._vgg19("conv2_2"))
    path = tmp_path_factory.mktemp("vgg") / "vgg19.pth"
    torch.save(features.state_dict(prefix="features.") | {"classifier.0.weight": torch.zeros(3)}, path)
    return path


@pytest.mark.parametrize("name", losses.LOSSES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_zero_at_the_truth_and_above_elsewhere(name: str, dtype: Any) -> None:
    loss, sharp = losses.LOSSES[name], images(dtype=dtype)
    assert abs(float(loss(sharp, sharp))) < 1e-6
    value = loss(sharp + 0.1 * images(seed=1, dtype=dtype), sharp)
    assert value.shape == ()
    assert value.dtype == dtype
    assert float(value) > 1e-4


@pytest.mark.parametrize("name", losses.LOSSES)
def test_gradients_are_those_of_the_values(name: str) -> None:
    restored = images((1, 2, 12, 13), seed=1).requires_grad_()
    sharp = images((1, 2, 12, 13))
    assert torch.autograd.gradcheck(lambda x: losses.LOSSES[name](x, sharp), restored)


def test_gradients_at_the_truth_are_finite() -> None:
    sharp = images()
    for loss in losses.LOSSES.values():
        restored = sharp.clone().requires_grad_()
        loss(restored, sharp).backward()
        assert bool(restored.grad.isfinite().all())


def test_closed_forms() -> None:
    """A shift of brightness by d; a ramp of slope s; a single wave of amplitude a."""
    sharp = images((1, 1, 16, 20))
    assert float(losses.l1(sharp - 0.25, sharp)) == pytest.approx(0.25)
    assert float(losses.l2(sharp - 0.25, sharp)) == pytest.approx(0.0625)
    assert float(losses.gradient(sharp - 0.25, sharp)) == pytest.approx(0, abs=1e-12)
    ramp = torch.arange(20.0, dtype=torch.float64).expand(1, 1, 16, 20)
    assert float(losses.gradient(sharp + 0.3 * ramp, sharp)) == pytest.approx(0.3)
    wave = 0.2 * torch.cos(2 * math.pi * 3 / 20 * ramp)  # two coefficients of 0.1 sqrt(16 20), one in the half spectrum
    assert float(losses.frequency(sharp + wave, sharp)) == pytest.approx(0.1 * math.sqrt(320) / (16 * 11))


def test_frequency_of_noise() -> None:
    noise = 0.01 * torch.from_numpy(np.random.default_rng(0).standard_normal((4, 1, 64, 64)))
    zero = torch.zeros_like(noise)
    assert float(losses.frequency(noise, zero)) == pytest.approx(0.01 * math.sqrt(math.pi) / 2, rel=0.02)
    assert float(losses.l1(noise, zero)) == pytest.approx(0.01 * math.sqrt(2 / math.pi), rel=0.02)


def test_circular_shifts_do_not_change_the_frequency_loss() -> None:
    a, b = images(), images(seed=1)
    shifted = [x.roll((5, 3), (-2, -1)) for x in (a, b)]
    assert float(losses.frequency(*shifted)) == pytest.approx(float(losses.frequency(a, b)), rel=1e-12)


@pytest.mark.parametrize("shape", [(1, 1, 11, 11), (1, 1, 40, 33), (2, 3, 24, 19)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-10)])
def test_ssim_is_that_of_the_metrics(shape: tuple[int, ...], dtype: Any, tolerance: float) -> None:
    sharp = images(shape, dtype=dtype)
    restored = sharp + 0.6 * (images(shape, seed=1, dtype=dtype) - 0.5)
    pairs = zip(restored.double().numpy(), sharp.double().numpy(), strict=True)
    expected = np.mean([metrics.ssim(a, b, data_range=1.0, channel_axis=0) for a, b in pairs])
    assert 0.3 < expected < 0.97
    assert float(losses.similarity(restored, sharp)) == pytest.approx(expected, abs=tolerance)
    assert float(losses.ssim(restored, sharp)) == pytest.approx(1 - expected, abs=tolerance)


@pytest.mark.parametrize("name", losses.LOSSES)
def test_descent_leads_to_the_truth(name: str) -> None:
    """From a blurred image; the brightness is left out, which the gradient does not see."""
    sharp = images((1, 1, 16, 16))
    start = torch.nn.functional.avg_pool2d(sharp, 3, 1, 1, count_include_pad=False)
    restored = start.clone().requires_grad_()
    optimiser = torch.optim.Adam([restored], lr=0.003)
    for _ in range(150):
        optimiser.zero_grad()
        losses.LOSSES[name](restored, sharp).backward()
        optimiser.step()

    def error(x: Tensor) -> float:
        d = (x - sharp)[..., 5:-5, 5:-5] if name == "ssim" else x - sharp
        return float((d - d.mean()).square().mean())

    assert error(restored.detach()) < 0.1 * error(start)


def test_adversarial_losses() -> None:
    """At the labels nobody pays; elsewhere by hand."""
    one, zero = torch.ones(2, 1, 3, 3), torch.zeros(2, 1, 3, 3)
    assert float(losses.adversarial(one)) == float(losses.discrimination(one, zero)) == 0
    assert float(losses.adversarial(zero)) == 0.5
    assert float(losses.discrimination(zero, one)) == 1
    assert float(losses.discrimination(one / 2, one / 2)) == 0.25
    assert float(losses.adversarial(3 * one, kind="hinge")) == -3
    assert float(losses.discrimination(one, -one, kind="hinge")) == 0
    assert float(losses.discrimination(3 * one, -3 * one, kind="hinge")) == 0
    assert float(losses.discrimination(zero, one / 2, kind="hinge")) == 2.5
    with pytest.raises(ValueError, match="kind must be one of 'least-squares', 'hinge'"):
        losses.adversarial(one, kind="wgan")


def test_perceptual(vgg: Path, tmp_path: Path) -> None:
    """Zero at the truth, relative, the same from both kinds of files, with gradients for the image alone."""
    from safetensors.torch import save_file

    loss = losses.Perceptual(vgg, layer="conv2_1")
    sharp, restored = (images((2, 3, 16, 20), seed, torch.float32) for seed in (0, 1))
    moving = restored.clone().requires_grad_()
    loss(moving, sharp).backward()
    value = loss(restored, sharp)
    assert float(loss(sharp, sharp)) == 0
    assert 0.01 < float(value) < 3
    assert float(moving.grad.abs().sum()) > 0
    assert not any(p.requires_grad for p in loss.parameters())
    grey = sharp[:, :1]
    assert torch.equal(loss(grey * 0.9, grey), loss(grey.repeat(1, 3, 1, 1) * 0.9, grey.repeat(1, 3, 1, 1)))
    save_file({k: v for k, v in losses._state(vgg).items() if "features" in k}, tmp_path / "vgg.safetensors")
    again = losses.Perceptual(tmp_path / "vgg.safetensors", layer="conv2_1")
    assert torch.equal(again(restored, sharp), value)
    assert losses.Perceptual(vgg, layer="conv1_1")(sharp.double() / 2, sharp.double()).dtype == torch.float64


def test_perceptual_features_by_hand(vgg: Path) -> None:
    """The first layer, on images brought to the mean and deviation of ImageNet."""
    sharp, restored = (images((1, 3, 16, 20), seed, torch.float32) for seed in (0, 1))
    state = losses._state(vgg)
    phi = [
        torch.conv2d((x - loss_mean) / loss_std, state["features.0.weight"], state["features.0.bias"], padding=1)
        for x in (restored, sharp)
        for loss_mean in [torch.tensor([0.485, 0.456, 0.406]).reshape(3, 1, 1)]
        for loss_std in [torch.tensor([0.229, 0.224, 0.225]).reshape(3, 1, 1)]
    ]
    expected = (phi[0] - phi[1]).abs().mean() / phi[1].abs().mean()
    assert float(losses.Perceptual(vgg, layer="conv1_1")(restored, sharp)) == pytest.approx(float(expected), rel=1e-5)


def test_layers_are_numbered_as_in_torchvision() -> None:
    """The convolutions of its vgg19().features."""
    modules = losses._vgg19("conv5_4")
    convolutions = [i for i, m in enumerate(modules) if isinstance(m, torch.nn.Conv2d)]
    assert convolutions == [0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34]
    assert [modules[i].out_channels for i in convolutions] == [64] * 2 + [128] * 2 + [256] * 4 + [512] * 8
    assert len(losses._vgg19("conv3_3")) == 15


def test_files_that_are_not_vgg(vgg: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"not those of VGG19: features.10.weight of shape \(256, 128, 3, 3\)"):
        losses.Perceptual(vgg)
    with pytest.raises(FileNotFoundError, match=r"nothing.pth"):
        losses.Perceptual(tmp_path / "nothing.pth")
    with pytest.raises(ValueError, match="layer must be one of 'conv1_1'"):
        losses.Perceptual(vgg, layer="relu1_1")


def test_weighted_sums(vgg: Path) -> None:
    sharp, restored = (images((2, 1, 24, 20), seed, torch.float32) for seed in (0, 1))
    both = losses.weighted({"ssim": 0.3, "l2": 2, "l1": 0})(restored, sharp)
    assert float(both) == pytest.approx(float(0.3 * losses.ssim(restored, sharp) + 2 * losses.l2(restored, sharp)))
    expected = sum(w * losses.LOSSES[name](restored, sharp) for name, w in losses.WITHOUT_VGG.items())
    assert float(losses.weighted()(restored, sharp)) == pytest.approx(float(expected))
    with pytest.raises(ValueError, match="a loss must be one of 'l1', 'l2', 'ssim', 'frequency', 'gradient', 'percept"):
        losses.weighted({"mse": 1.0})
    with pytest.raises(ValueError, match="the weight of l1 must not be negative"):
        losses.weighted({"l1": -1.0})
    for nothing in ({}, {"l1": 0.0}):
        with pytest.raises(ValueError, match="leave nothing to train by"):
            losses.weighted(nothing)
    with pytest.raises(ValueError, match=r"'perceptual' needs the weights of VGG19.*never downloaded"):
        losses.weighted(losses.DEFAULT)
    with pytest.raises(ValueError, match="not those of VGG19"):  # the default with vgg= is perceptual, from its file
        losses.weighted(vgg=vgg)


def test_the_default_with_vgg(tmp_path: Path) -> None:
    torch.manual_seed(0)
    path = tmp_path / "vgg19.pth"
    torch.save(torch.nn.Sequential(*losses._vgg19("conv3_3")).state_dict(prefix="features."), path)
    sharp, restored = (images((1, 1, 16, 20), seed, torch.float32) for seed in (0, 1))
    expected = (losses.l1(restored, sharp) + losses.Perceptual(path)(restored, sharp)) / 2
    assert float(losses.weighted(vgg=path)(restored, sharp)) == pytest.approx(float(expected))


@pytest.mark.parametrize("name", losses.LOSSES)
def test_different_shapes(name: str) -> None:
    """Nothing is broadcast."""
    with pytest.raises(ValueError, match=r"restored has shape \(2, 3, 24, 19\) and sharp \(2, 1, 24, 19\)"):
        losses.LOSSES[name](images(), images()[:, :1])


def test_ssim_of_small_images() -> None:
    with pytest.raises(ValueError, match="SSIM needs images of 11 x 11 pixels or more, not 10 x 30"):
        losses.ssim(images((1, 1, 10, 30)), images((1, 1, 10, 30)))
