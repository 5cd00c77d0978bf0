"""ONNX files: the same images as PyTorch gives, by tiles, in 8 bits, and without PyTorch."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
torch.set_num_threads(1)
library = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from lsdeblur import ConvergenceWarning, MissingDependencyError, psf, restore  # noqa: E402
from lsdeblur.deep import OnnxMethod, export, quantised  # noqa: E402
from lsdeblur.deep.networks import MODELS, DeblurCNN, Denoiser, Model, MultiScaleDeblur  # noqa: E402
from lsdeblur.tiling import tiled  # noqa: E402

SMALL: dict[str, dict[str, Any]] = {
    "Denoiser": {"widths": [8, 16], "blocks": [1, 1]},
    "DeblurCNN": {"width": 8, "blocks": 1, "attention": True},
    "MultiScaleDeblur": {"width": 8, "light": True, "channels": 3},
    "DeblurGAN": {"width": 8, "blocks": 2},
}


def made(name: str, **options: Any) -> Model:
    """A small network whose last convolution counts as much as the others."""
    torch.manual_seed(0)
    model = MODELS[name](**{**SMALL[name], **options}).eval()
    with torch.no_grad():
        model.net.tail.weight.mul_(5)
    return model


def picture(*shape: int) -> Any:
    """Smooth structures and edges in [0, 1]."""
    noise = np.random.default_rng(3).standard_normal(shape)
    for axis in (-2, -1):
        noise = sum(np.roll(noise, k, axis) for k in range(-4, 5)) / 9
    image = 0.5 + noise + 0.3 * (noise > 0)
    return np.clip(image, 0, 1).astype(np.float32)


@pytest.fixture(scope="module")
def denoiser(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(made("Denoiser"), tmp_path_factory.mktemp("onnx") / "denoiser.onnx")


@pytest.mark.parametrize("name", SMALL)
def test_a_file_gives_what_the_network_gives(name: str, tmp_path: Path) -> None:
    model = made(name)
    method = OnnxMethod(export(model, tmp_path / "m.onnx"), threads=1)
    about = method.about
    assert (about.model, about.options, about.needs) == (name, model.options, model.needs)
    assert (about.channels, about.step, about.halo) == (model.channels, model.step, model.halo)
    assert about.weights == model.n_parameters
    assert not about.integers
    g = picture(3, 45, 38)
    for image in (g, 300 * g.astype(np.float64)):
        options = {"noise_std": 0.02 * float(image.max())} if model.needs else {}
        with torch.no_grad():
            x = torch.tensor(image, dtype=torch.float32).reshape(-1, model.channels, 45, 38)
            expected = model(x, *(torch.full((len(x),), level) for level in options.values())).reshape(g.shape)
        image.flags.writeable = False
        found = restore(image, psf.gaussian(1.0), method=method, channel_axis=0, **options)
        np.testing.assert_allclose(found.image, expected.numpy(), atol=5e-6 * image.max())
        assert np.abs(found.image - image).max() > 0.01 * image.max()
        assert found.image.dtype == image.dtype
        assert found.noise_std == options.get("noise_std")
        assert f"{name} with {model.n_parameters:,} weights" in found.message


def test_any_number_of_images_at_once(denoiser: Path) -> None:
    model = made("Denoiser")
    images, levels = torch.from_numpy(picture(3, 1, 21, 50)), torch.tensor([0.01, 0.1, 0.05])
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(denoiser, options, providers=["CPUExecutionProvider"])
    found = session.run(["restored"], {"image": images.numpy(), "noise_std": levels.numpy()})[0]
    with torch.no_grad():
        np.testing.assert_allclose(found, model(images, levels).numpy(), atol=2e-6)


def test_the_noise_level_is_estimated_where_it_is_needed(denoiser: Path) -> None:
    g = picture(40, 52)
    method = OnnxMethod(denoiser, threads=1)
    assert restore(g, psf.gaussian(1.0), method=method).noise_std == restore(g, psf.gaussian(1.0)).noise_std


@pytest.mark.parametrize("name", ["Denoiser", "MultiScaleDeblur", "DeblurCNN", "DeblurGAN"])
def test_the_halo_is_as_wide_as_a_network_sees(name: str) -> None:
    """With weights that cannot cancel, gradients reach to the last `step` of the halo, and not beyond it."""
    model = made(name, **({} if name == "Denoiser" else {"channels": 1, "attention": False})).double()
    assert model.halo is not None
    assert model.halo % model.step == 0
    with torch.no_grad():
        for p in model.parameters():
            p.abs_()
    reach = 0
    for place in range(100, 100 + model.step):
        x = torch.rand(1, 1, 8, 208, dtype=torch.float64).requires_grad_()
        model(x, *[torch.ones(1, dtype=torch.float64) for _ in model.needs])[..., 3, place].sum().backward()
        seen = torch.nonzero(x.grad.abs().amax((0, 1, 2)))
        reach = max(reach, place - int(seen.min()), int(seen.max()) - place)
    assert model.halo - model.step < reach <= model.halo


def test_attention_and_transforms_see_the_whole_image() -> None:
    assert made("DeblurCNN", attention=True).halo is None
    assert MODELS["UnrolledWiener"](width=8).halo is None
    assert MODELS["PhysicsGuidedDeblur"](width=8, size=5).halo is None


@pytest.mark.parametrize("shape", [(97, 131), (128, 128), (40, 301)])
def test_tiles_give_the_same_image(denoiser: Path, shape: tuple[int, int]) -> None:
    g, h = picture(*shape), psf.gaussian(1.0)
    whole = restore(g, h, method=OnnxMethod(denoiser, threads=1), noise_std=0.05)
    parts = restore(g, h, method=OnnxMethod(denoiser, threads=1, tile=30), noise_std=0.05)
    np.testing.assert_allclose(parts.image, whole.image, atol=1e-6)
    assert "tiles" in parts.message
    assert "tiles" not in whole.message


def test_the_librarys_tiles_give_the_same_image(denoiser: Path) -> None:
    method = OnnxMethod(denoiser, threads=1)
    g, h = picture(96, 160), psf.gaussian(1.0)  # multiples of the step, as tile and overlap are
    by_tiles = tiled(method, tile=32, overlap=method.halo or 0)
    whole = restore(g, h, method=method, noise_std=0.05)
    np.testing.assert_allclose(restore(g, h, method=by_tiles, noise_std=0.05).image, whole.image, atol=1e-6)
    narrow = restore(g, h, method=tiled(method, tile=32, overlap=0), noise_std=0.05).image
    assert np.abs(narrow - whole.image).max() > 1e-3


def test_networks_that_see_the_whole_image_are_not_tiled(tmp_path: Path) -> None:
    path = export(made("DeblurCNN"), tmp_path / "m.onnx")
    g, h = picture(60, 60), psf.gaussian(1.0)
    whole, asked = (restore(g, h, method=OnnxMethod(path, threads=1, tile=tile)).image for tile in (1024, 16))
    assert np.array_equal(whole, asked)


def test_tiles_can_be_stopped(denoiser: Path) -> None:
    def stop(state: Any) -> None:
        if state.iteration == 2:
            raise StopIteration

    method = OnnxMethod(denoiser, threads=1, tile=32)
    result = restore(picture(64, 96), psf.gaussian(1.0), method=method, noise_std=0.05, callback=stop)
    assert not result.converged
    assert "2 of 6 tiles" in result.message
    assert np.isfinite(result.image[:32, :64]).all()
    assert np.isnan(result.image[32:]).all()


def test_planes_are_denoised_one_by_one(denoiser: Path) -> None:
    method = OnnxMethod(denoiser, threads=1)
    volume = picture(3, 33, 40).astype(np.float64)
    found = method.denoise(volume, 0.05)
    assert found.dtype == np.float64
    assert np.array_equal(found[1], method.denoise(volume[1], 0.05))


@pytest.fixture(scope="module")
def integers(denoiser: Path) -> Path:
    return quantised(denoiser, denoiser.with_name("integers.onnx"), [255 * picture(48, 64)], noise_std=[0.05], rng=0)


def test_eight_bits_restore_nearly_the_same(denoiser: Path, integers: Path) -> None:
    g = picture(67, 90)
    whole, small = (OnnxMethod(path, threads=1) for path in (denoiser, integers))
    expected, found = (method.denoise(g, 0.05) for method in (whole, small))
    added = np.sqrt(np.mean((expected - g) ** 2))
    error = np.sqrt(np.mean((found - expected) ** 2))
    assert 0 < error < 0.05 * added
    assert small.about.integers
    assert "8 bits" in restore(g, psf.gaussian(1.0), method=small).message


def test_eight_bits_serve_any_unit_and_tiles(integers: Path) -> None:
    g = picture(67, 90)
    found = OnnxMethod(integers, threads=1).denoise(g, 0.05)
    np.testing.assert_allclose(OnnxMethod(integers, threads=1).denoise(1024 * g, 51.2) / 1024, found, atol=1e-6)
    parts = OnnxMethod(integers, threads=1, tile=32).denoise(g, 0.05)
    np.testing.assert_allclose(parts, found, atol=1e-6)
    assert np.isfinite(OnnxMethod(integers, threads=1).denoise(0 * g, 0.05)).all()


def test_eight_bits_have_a_quarter_of_the_size(tmp_path: Path) -> None:
    path = export(MultiScaleDeblur(width=24), tmp_path / "m.onnx")
    quantised(path, tmp_path / "q.onnx", [picture(64, 64)])
    sizes = [(tmp_path / name).stat().st_size for name in ("q.onnx", "m.onnx")]
    assert sizes[0] < 0.4 * sizes[1]
    kept = {t.name: t.data_type for t in library.load(tmp_path / "q.onnx").graph.initializer}
    assert kept["net.head.weight"] == kept["net.tail.weight"] == library.TensorProto.FLOAT
    assert kept["net.mid.0.a.weight_quantized"] == library.TensorProto.INT8


def test_transforms_are_refused(tmp_path: Path) -> None:
    for name in ("PhysicsGuidedDeblur", "UnrolledWiener"):
        with pytest.raises(ValueError, match="Fourier transforms"):
            export(MODELS[name](width=8), tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


class Fickle(DeblurCNN):
    """Gives something else each time."""

    calls = 0

    def forward(self, image: Any) -> Any:
        self.calls += 1
        return image * self.calls


def test_a_file_that_differs_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="of the range on 37 x 46 pixels"):
        export(Fickle(width=8), tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())
    assert export(Fickle(width=8), tmp_path / "m.onnx", check=False).is_file()


def test_exporting_leaves_the_network_as_it_was(tmp_path: Path) -> None:
    model = made("Denoiser").train().double()
    export(model, tmp_path / "m.onnx")
    assert model.training
    assert all(p.dtype == torch.float64 and p.requires_grad for p in model.parameters())


def test_what_cannot_be_is_said(denoiser: Path, tmp_path: Path) -> None:
    method = OnnxMethod(denoiser, threads=1)
    g, h = picture(24, 24), psf.gaussian(1.0)
    with pytest.raises(FileNotFoundError, match="is not there"):
        OnnxMethod(tmp_path / "no.onnx")
    node = library.helper.make_node("Relu", ["x"], ["y"])
    ends = [library.helper.make_tensor_value_info(name, library.TensorProto.FLOAT, [1]) for name in "xy"]
    graph = library.helper.make_graph([node], "other", ends[:1], ends[1:])
    other = library.helper.make_model(graph, opset_imports=[library.helper.make_opsetid("", 17)], ir_version=8)
    library.save(other, tmp_path / "other.onnx")
    (tmp_path / "text.onnx").write_text("none")
    for name in ("other", "text"):
        with pytest.raises(ValueError, match="export"):
            OnnxMethod(tmp_path / f"{name}.onnx")
    with pytest.raises(ValueError, match="mask"):
        restore(g, h, method=method, mask=np.eye(24, dtype=bool))
    with pytest.raises(ValueError, match="2 spatial axes"):
        restore(np.ones((8, 8, 8)), np.ones((1, 1, 1)), method=method)
    colours = OnnxMethod(export(made("MultiScaleDeblur"), tmp_path / "m.onnx"), threads=1)
    with pytest.raises(ValueError, match="3 channels"):
        restore(g, h, method=colours)
    with pytest.raises(ValueError, match="no denoiser"):
        colours.denoise(g, 0.1)
    with pytest.raises(ValueError, match="is empty"):
        quantised(denoiser, tmp_path / "q.onnx", [])
    with pytest.raises(ValueError, match=r"shape \(3, rows, columns\)"):
        quantised(tmp_path / "m.onnx", tmp_path / "q.onnx", [g])
    assert not (tmp_path / "q.onnx").exists()


def test_a_missing_library_is_named(denoiser: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingDependencyError, match=r"needs onnxruntime.*pip install"):
        OnnxMethod(denoiser)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingDependencyError, match="needs onnx,"):
        export(Denoiser(widths=[8], blocks=[1]), tmp_path / "m.onnx")


WITHOUT = """
import sys
sys.modules["torch"] = None
import numpy as np
from lsdeblur import psf, restore  # noqa: E402
from lsdeblur.deep import OnnxMethod, PlugAndPlay  # noqa: E402
path, data, out = sys.argv[1:]
method = OnnxMethod(path, threads=1)
g, h = np.load(data), psf.motion(7, 30)
direct = restore(g, h, method=method, noise_std=0.02)
prior = restore(g, h, method=PlugAndPlay(method, iterations=2), noise_std=0.02, boundary="taper")
np.savez(out, direct=direct.image, prior=prior.image)
"""


def test_without_pytorch(denoiser: Path, tmp_path: Path) -> None:
    from lsdeblur.deep import PlugAndPlay

    g, h = picture(48, 56), psf.motion(7, 30)
    np.save(tmp_path / "g.npy", g)
    command = [sys.executable, "-c", WITHOUT, str(denoiser), str(tmp_path / "g.npy"), str(tmp_path / "out.npz")]
    run = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    found = np.load(tmp_path / "out.npz")
    model = made("Denoiser")
    model.save(tmp_path / "m.safetensors")
    with torch.no_grad():
        direct = model(torch.from_numpy(g)[None, None], torch.tensor([0.02]))[0, 0].numpy()
    method = PlugAndPlay(tmp_path / "m.safetensors", iterations=2)
    with pytest.warns(ConvergenceWarning, match="white noise"):  # it was never trained
        prior = restore(g, h, method=method, noise_std=0.02, boundary="taper").image
    np.testing.assert_allclose(found["direct"], direct, atol=1e-5)
    np.testing.assert_allclose(found["prior"], prior, atol=1e-4)
