"""Networks: any size and unit, what `light` saves, files that hold numbers only, and methods of `restore`."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import signal

torch = pytest.importorskip("torch")
torch.set_num_threads(1)

from lsdeblur import psf, restore  # noqa: E402
from lsdeblur.deep import PlugAndPlay, _network, load  # noqa: E402
from lsdeblur.deep.networks import (  # noqa: E402
    MODELS,
    Denoiser,
    Model,
    MultiScaleDeblur,
    PatchDiscriminator,
    UnrolledWiener,
    zero_phase,
)
from lsdeblur.deep.weights import card, save  # noqa: E402

SMALL: dict[str, dict[str, Any]] = {
    "Denoiser": {"widths": [8, 16], "blocks": [1, 1]},
    "DeblurCNN": {"width": 8, "blocks": 1},
    "MultiScaleDeblur": {"width": 8},
    "DeblurGAN": {"width": 8, "blocks": 2},
    "PhysicsGuidedDeblur": {"width": 8, "size": 5},
    "UnrolledWiener": {"width": 8, "stages": 2},
}


def made(name: str, **options: Any) -> Model:
    torch.manual_seed(0)
    model = MODELS[name](**{**SMALL[name], **options}).eval()
    with torch.no_grad():
        for p in model.parameters():  # also what begins at nearly nothing counts
            if p.ndim == 4:
                p.mul_(1.5)
    return model


def given(model: Model, images: Any, unit: float = 1.0) -> list[Any]:
    n = len(images)
    h = torch.from_numpy(psf.motion(5, 30).astype(np.float32))
    values = {"psf": h.expand(n, *h.shape), "noise_std": torch.linspace(0.01, 0.05, n) * unit}
    return [values[name] for name in model.needs]


@pytest.fixture
def images() -> Any:
    return torch.rand(2, 1, 37, 46, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("h", [psf.gaussian((1.2, 2.5), angle=30, size=15), psf.gaussian(1), psf.motion(7, 60)])
@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_the_psf_of_zero_phase_is_near_a_symmetric_one(h: Any, noise: float) -> None:
    reach, size = 14, 15
    wide = np.pad(h, [((size - n) // 2,) * 2 for n in h.shape])
    lags = signal.correlate2d(wide, wide)  # of a white gradient
    lags /= lags[reach, reach]
    lags[reach - 1 : reach + 2, reach - 1 : reach + 2] += noise * np.array([[0, -1, 0], [-1, 4, -1], [0, -1, 0]])
    found = zero_phase(torch.from_numpy(lags / lags[reach, reach])[None], size)[0].numpy()
    assert np.corrcoef(found.ravel(), wide.ravel())[0, 1] > 0.9


def test_a_flat_image_has_no_psf_and_its_gradient_is_finite() -> None:
    model = made("PhysicsGuidedDeblur")
    flat = torch.full((1, 1, 24, 24), 0.5, requires_grad=True)
    model(flat).sum().backward()
    assert flat.grad is not None
    assert bool(flat.grad.isfinite().all())


@pytest.mark.parametrize("name", MODELS)
def test_any_size_and_any_unit(name: str, images: Any) -> None:
    model = made(name)
    with torch.no_grad():
        restored = model(images, *given(model, images))
        scaled = model(300 * images, *given(model, images, 300))
    assert restored.shape == images.shape
    assert not torch.allclose(restored, images, atol=1e-3)
    torch.testing.assert_close(scaled / 300, restored, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_images_of_a_batch_do_not_meet(name: str, images: Any) -> None:
    model = made(name)
    with torch.no_grad():
        together = model(images, *given(model, images))
        alone = model(images[1:], *(value[1:] for value in given(model, images)))
    torch.testing.assert_close(together[1:], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_every_weight_is_trained(name: str, images: Any) -> None:
    model = made(name)
    model(images, *given(model, images)).square().mean().backward()
    still = [key for key, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    # a rectifier behind a single pooled number may be closed for these images
    assert not [key for key in still if "mix" not in key and "weigh" not in key]


@pytest.mark.parametrize("name", [name for name in MODELS if name != "Denoiser"])
def test_light_has_less_than_forty_percent_of_the_weights(name: str) -> None:
    assert MODELS[name](light=True).n_parameters <= 0.4 * MODELS[name]().n_parameters


@pytest.mark.parametrize("name", [name for name in MODELS if name != "Denoiser"])
@pytest.mark.parametrize("options", [{"light": True}, {"attention": True}, {"channels": 3}])
def test_options_work(name: str, options: dict[str, Any], images: Any) -> None:
    model = made(name, **options)
    images = images.repeat(1, model.channels, 1, 1)
    with torch.no_grad():
        assert model(images, *given(model, images)).shape == images.shape


def test_a_mean_over_all_ways_turns_with_the_image() -> None:
    torch.manual_seed(0)
    net = Denoiser(widths=[8, 8], blocks=[1, 1]).eval()
    g = np.random.default_rng(0).random((24, 20), np.float32)
    found = net.denoise(g, 0.1, ways=8)
    assert found.dtype == g.dtype
    np.testing.assert_allclose(net.denoise(np.rot90(g).copy(), 0.1, ways=8), np.rot90(found), atol=1e-6)
    np.testing.assert_allclose(net.denoise(g[:, ::-1].copy(), 0.1, ways=8), found[:, ::-1], atol=1e-6)
    two = (net.denoise(g, 0.1) + net.denoise(g[::-1, ::-1].copy(), 0.1)[::-1, ::-1]) / 2
    np.testing.assert_allclose(net.denoise(g, 0.1, ways=2), two, atol=1e-7)
    with pytest.raises(ValueError, match="ways must be at most 8, not 9"):
        net.denoise(g, 0.1, ways=9)


def test_the_denoiser_sees_no_farther_than_its_halo() -> None:
    net = Denoiser().double()
    assert net.halo == 96
    x = torch.rand(1, 1, 8, 256, dtype=torch.float64).requires_grad_()
    net(x, torch.tensor([0.1], dtype=torch.float64))[..., :2].sum().backward()
    assert x.grad[..., 98:].abs().max() == 0


def test_tiles_are_parts_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    net = Denoiser(widths=[8, 16, 16], blocks=[1, 1, 1]).eval()
    g = np.random.default_rng(0).random((203, 149)).astype(np.float32)
    whole, restored = net.denoise(g, 0.1), restore(g, method=net, noise_std=0.1)
    np.testing.assert_array_equal(restored.image, whole)
    parts = _network._parts
    monkeypatch.setattr(_network, "_parts", lambda about, shape, tile: parts(about, shape, 64))
    np.testing.assert_allclose(net.denoise(g, 0.1), whole, atol=1e-5)
    reports: list[Any] = []
    np.testing.assert_allclose(restore(g, method=net, noise_std=0.1, callback=reports.append).image, whole, atol=1e-5)
    assert reports[-1].iteration == reports[-1].total == 12


def test_discriminator_gives_a_number_for_each_patch(images: Any) -> None:
    assert PatchDiscriminator()(images).shape[:2] == (2, 1)


def test_a_file_gives_the_network_back(tmp_path: Path, images: Any) -> None:
    model = made("UnrolledWiener")
    model.save(tmp_path / "m.safetensors", data="none")
    again = UnrolledWiener.load(tmp_path / "m.safetensors")
    assert again.options == model.options
    assert not again.training
    assert card(tmp_path / "m.safetensors")["data"] == "none"
    with torch.no_grad():
        assert torch.equal(again(images, *given(model, images)), model(images, *given(model, images)))
    assert [path.name for path in tmp_path.iterdir()] == ["m.safetensors"]  # nothing of the writing is left


def test_half_precision_halves_the_file(tmp_path: Path) -> None:
    model = made("Denoiser")
    save(model, tmp_path / "whole.safetensors")
    save(model, tmp_path / "half.safetensors", dtype=torch.float16)
    sizes = [(tmp_path / f"{name}.safetensors").stat().st_size for name in ("whole", "half")]
    assert sizes[1] < 0.6 * sizes[0]
    assert next(load(tmp_path / "half.safetensors").parameters()).dtype == torch.float32


class Evil:
    def __reduce__(self) -> Any:
        return (Path("/nonexistent/evil").write_text, ("",))


def test_a_pickle_with_code_is_refused(tmp_path: Path) -> None:
    (tmp_path / "evil.pt").write_bytes(pickle.dumps(Evil()))
    torch.save({"weights": Evil()}, tmp_path / "evil2.pt")
    for name in ("evil.pt", "evil2.pt"):
        with pytest.raises(ValueError, match="is not loaded"):
            load(tmp_path / name)


def test_files_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "m.safetensors"
    with pytest.raises(FileNotFoundError, match="is no file"):
        load(file)
    file.write_bytes(b"\xff" * 100)
    with pytest.raises(ValueError, match="no safetensors file"):
        load(file)
    model = made("MultiScaleDeblur")
    model.save(file)
    with pytest.raises(ValueError, match="holds a MultiScaleDeblur, not a Denoiser"):
        Denoiser.load(file)
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ValueError, match="no safetensors file"):
        load(file)
    checkpoint = {"model": "MultiScaleDeblur", "options": model.options, "averaged": {}}
    torch.save(checkpoint, tmp_path / "m.pt")
    with pytest.raises(ValueError, match="tensors differ"):
        load(tmp_path / "m.pt")
    for content in (b"", b"junk", (tmp_path / "m.pt").read_bytes()[:-200]):
        (tmp_path / "damaged.pt").write_bytes(content)
        with pytest.raises(ValueError, match="damaged"):
            load(tmp_path / "damaged.pt")
    torch.save({"state_dict": {}}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match="no checkpoint of lsdeblur"):
        load(tmp_path / "other.pt")


def test_a_false_size_takes_no_memory(tmp_path: Path) -> None:
    """A file that claims a network of 10^13 weights is refused before any is allocated."""
    from safetensors.torch import save_file

    metadata = {"format": "lsdeblur network 1", "model": "DeblurCNN", "options": json.dumps({"width": 1_000_000})}
    save_file({"x": torch.zeros(1)}, tmp_path / "m.safetensors", metadata)
    with pytest.raises(ValueError, match="does not fit"):
        load(tmp_path / "m.safetensors")


def test_a_model_is_a_method_of_restore() -> None:
    g = np.random.default_rng(0).random((40, 33, 3)).astype(np.float32)
    h = psf.gaussian(1.0)
    for name in ("MultiScaleDeblur", "UnrolledWiener", "Denoiser"):
        result = restore(g, h, method=made(name), channel_axis=2)
        assert result.image.shape == g.shape
        assert result.image.dtype == np.float32
        assert result.method == name
        assert "weights" in result.message
    alone = restore(g[..., 1], h, method=made("MultiScaleDeblur")).image
    together = restore(g, h, method=made("MultiScaleDeblur"), channel_axis=2).image[..., 1]
    np.testing.assert_allclose(together, alone, atol=1e-4)


def test_a_network_that_needs_no_psf_gets_none() -> None:
    g = np.random.default_rng(0).random((40, 33)).astype(np.float32)
    model = made("MultiScaleDeblur")
    np.testing.assert_array_equal(restore(g, method=model).image, restore(g, psf.gaussian(1.0), method=model).image)
    assert restore(g, method=made("Denoiser")).noise_std > 0.1
    with pytest.raises(ValueError, match="psf"):
        restore(g, method=made("UnrolledWiener"))


def test_what_a_model_cannot_do_is_said() -> None:
    g, h = np.ones((20, 20), np.float32), psf.gaussian(1.0)
    with pytest.raises(ValueError, match=r"lsdeblur.deep.load\('m.safetensors'\)"):
        restore(g, h, method="m.safetensors")
    with pytest.raises(TypeError, match="MultiScaleDeblur, which deblurs"):
        restore(g, h, method=PlugAndPlay(made("MultiScaleDeblur")))
    with pytest.raises(ValueError, match="3 channels"):
        restore(g, h, method=made("DeblurCNN", channels=3))
    with pytest.raises(ValueError, match="mask"):
        restore(g, h, method=made("DeblurCNN"), mask=np.eye(20, dtype=bool))
    with pytest.raises(ValueError, match="2 spatial axes"):
        restore(np.ones((8, 8, 8)), np.ones((1, 1, 1)), method=made("DeblurCNN"))
    with pytest.raises(ValueError, match="one PSF for all channels"):
        restore(np.ones((20, 20, 3)), np.stack([h] * 3), method=made("UnrolledWiener", channels=3), channel_axis=2)
    with pytest.raises(TypeError, match="PSFGrid"):
        restore(g, psf.motion_field(np.full((20, 20), 3.0), np.zeros((20, 20))), method=made("UnrolledWiener"))


def test_a_network_in_double_precision_is_a_method_too() -> None:
    g = np.random.default_rng(0).random((24, 20))
    result = restore(g, method=made("MultiScaleDeblur").double())
    assert result.image.dtype == np.float64


def test_a_noise_level_that_is_given_is_used() -> None:
    g = np.random.default_rng(0).random((24, 24)).astype(np.float32)
    model = MultiScaleDeblur(width=8)
    assert restore(g, psf.gaussian(1.0), method=model).noise_std is None
    assert restore(g, psf.gaussian(1.0), method=made("Denoiser"), noise_std=0.2).noise_std == 0.2
