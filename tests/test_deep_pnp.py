"""Plug-and-play: the data step against dense least squares, why it is stable, any denoiser, and the shipped one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lsdeblur
from lsdeblur import filters, metrics, psf, restore, simulate
from lsdeblur._inputs import problem_of
from lsdeblur._stage import Stage
from lsdeblur.deep.plug_and_play import STRENGTH, PlugAndPlay, _DataStep
from lsdeblur.denoise import DENOISERS
from lsdeblur.iterative._observed import Observed

Array = np.ndarray


def scene(n: int = 96) -> Array:
    from skimage import data

    return data.camera()[150 : 150 + n, 180 : 180 + n] / 255.0


def blurred(f: Array, h: Array, sigma: float, seed: int = 0) -> tuple[Array, Array]:
    """A frame whose surroundings are blurred into it, and the scene there."""
    return simulate.add_noise(simulate.blur(f, h, boundary="valid"), noise_std=sigma, rng=seed), simulate.valid_part(
        f, h
    )


def test_valid_blur_is_what_the_helper_expects() -> None:
    g, t = blurred(scene(40), psf.motion(5, 20), 0.0 + 1e-9)
    assert g.shape == t.shape


@pytest.mark.parametrize(
    ("boundary", "masked"), [("free", False), ("free", True), ("periodic", False), ("zero", False)]
)
def test_the_data_step_is_the_least_squares_solution(boundary: str, masked: bool) -> None:
    rng = np.random.default_rng(0)
    g, h = rng.random((2, 9, 7)), psf.motion(3, 30) * 0.8
    mask = rng.random((9, 7)) < 0.2 if masked else None
    problem = problem_of(g, h, "pnp", boundary, 0, None, mask, 1)
    stage = Stage.of(problem, 1e-13, 500)
    x = rng.random((2, *stage.grid))
    step = _DataStep(problem, stage)
    z = step(x, 0.05)
    for channel, seen in enumerate(Observed.all_of(problem)):
        units = np.eye(x[0].size).reshape(-1, *stage.grid)
        A = np.stack([seen.blur(e).ravel() for e in units], axis=1)
        left = A.T @ (seen.data.ravel() - A @ x[channel].ravel())
        exact = x[channel].ravel() + np.linalg.solve(A.T @ A + 0.05 * np.eye(len(left)), left)
        np.testing.assert_allclose(z[channel].ravel(), exact, atol=1e-5)
    measured = g - np.stack([seen.frame(seen.blur(f)) for seen, f in zip(Observed.all_of(problem), z, strict=True)])
    kept = measured if mask is None else measured[:, ~mask]
    if boundary != "zero":  # there the frame's surroundings count, too
        assert step.misfit(z) == pytest.approx(np.sqrt(np.mean(kept**2)))


def test_no_frequency_of_z_holds_more_noise_than_the_denoiser_is_told() -> None:
    """Up to t = 4; with the default an eighth more at most."""
    sigma, level = 0.02, 0.07
    H = np.concatenate([[0.0], np.geomspace(1e-6, 3, 2000)]).astype(complex)
    for t, most in ((4.0, 1.0), (STRENGTH, 1.25)):
        noise = sigma**2 * filters.power(filters.tikhonov(H, 1.0, sigma**2 / (t * level**2)))
        assert 0.99 * most * level**2 < noise.max() <= most * level**2  # it is reached


def test_a_denoiser_sees_one_channel_and_falling_levels() -> None:
    seen: list[tuple[tuple[int, ...], float]] = []

    def denoiser(image: Array, noise_std: float) -> Array:
        seen.append((image.shape, noise_std))
        return image

    g = np.stack([blurred(scene(48), psf.gaussian(1.0), 0.02, seed)[0] for seed in (0, 1)])
    result = restore(g, psf.gaussian(1.0), method=PlugAndPlay(denoiser, iterations=3, first=0.2), channel_axis=0)
    levels = [level for _, level in seen]
    assert len(seen) == 6
    assert {len(shape) for shape, _ in seen} == {2}
    assert levels[0] == levels[1] == pytest.approx(0.2)
    assert levels[-1] == pytest.approx(result.noise_std)
    assert levels[2] == pytest.approx(np.sqrt(0.2 * levels[-1]))
    assert result.n_iter == 3
    assert result.converged


def test_every_orientation_is_seen_and_taken_back() -> None:
    seen = []

    def denoiser(image: Array, noise_std: float) -> Array:
        seen.append(image)
        return image

    g, _ = blurred(scene(40)[:, :33], psf.gaussian(1.0), 0.02)
    plain = PlugAndPlay(lambda image, noise_std: image, iterations=8, strength=1e-9)  # z is x: nothing else changes it
    result = restore(g, psf.gaussian(1.0), method=PlugAndPlay(denoiser, iterations=8, strength=1e-9))
    np.testing.assert_array_equal(result.image, restore(g, psf.gaussian(1.0), method=plain).image)
    corners = {(round(float(x[0, 0]), 4), round(float(x[0, 1]), 4)) for x in seen}
    assert len(corners) == 8


@pytest.mark.parametrize("denoiser", ["nlm", "tv", "opencv-nlm"])
def test_known_denoisers_sharpen(denoiser: str) -> None:
    h = psf.disk(2.5)
    g, t = blurred(scene(), h, 0.01)
    result = restore(g, h, method="pnp", denoiser=denoiser, iterations=5)
    assert metrics.psnr(result, t) > metrics.psnr(g, t) + 3
    np.testing.assert_array_equal(result.image, restore(g, h, method=PlugAndPlay(DENOISERS[denoiser], 5)).image)


def test_a_denoiser_that_is_none_is_stopped() -> None:
    h = psf.gaussian(1.0)
    g, t = blurred(scene(), h, 0.01)
    calls = iter(range(100))

    def mad(image: Array, noise_std: float) -> Array:
        return DENOISERS["tv"](image, noise_std) if next(calls) < 3 else 5 * image

    with pytest.warns(lsdeblur.ConvergenceWarning, match="away from the data in iteration 4"):
        result = restore(g, h, method=PlugAndPlay(mad))
    assert not result.converged
    assert result.n_iter == 3
    assert metrics.psnr(result, t) > metrics.psnr(g, t)
    for wrong in (lambda image, noise_std: 1.1 * image + 0.1, lambda image, noise_std: 0 * image):
        with pytest.warns(lsdeblur.ConvergenceWarning, match="times the noise in the data"):
            assert not restore(g, h, method=PlugAndPlay(wrong)).converged
    with pytest.raises(ValueError, match=r"denoiser= returned an array of shape \(3,\)"):
        restore(g, h, method=PlugAndPlay(lambda image, noise_std: np.zeros(3)))


def test_a_callback_ends_the_run() -> None:
    h = psf.gaussian(1.0)
    g, _ = blurred(scene(48), h, 0.01)
    reports: list[Any] = []

    def callback(progress: Any) -> None:
        reports.append(progress)
        if progress.iteration == 2:
            raise StopIteration

    result = restore(g, h, method="pnp", denoiser="tv", callback=callback)
    assert result.n_iter == 2
    assert not result.converged
    assert reports[1].total == 8
    assert reports[1].objective < 0.1


def test_pixels_that_were_not_measured_play_no_role() -> None:
    h = psf.gaussian(1.0)
    g, t = blurred(scene(64), h, 0.01)
    mask = np.random.default_rng(1).random(g.shape) < 0.1
    spoilt = np.where(mask, np.nan, g)
    result = restore(spoilt, h, method="pnp", denoiser="nlm", mask=mask)
    assert metrics.psnr(result, t) > metrics.psnr(g, t) + 1


@pytest.mark.parametrize("boundary", ["free", "taper", "periodic", "zero", "symmetric", "edge"])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_inputs_are_untouched_and_the_unit_does_not_matter(boundary: str, dtype: Any) -> None:
    h = psf.motion(4, 20)
    g = (255 * blurred(scene(48), h, 0.01)[0]).clip(0, 255).astype(dtype)
    before = g.copy()
    g.flags.writeable = False
    result = restore(g, h, method="pnp", denoiser="tv", iterations=3, boundary=boundary)
    np.testing.assert_array_equal(g, before)
    assert result.image.dtype == (np.float64 if dtype == np.float64 else np.float32)
    assert np.isfinite(result.image).all()
    scaled = restore(g.astype(np.float64) / 4, h, method="pnp", denoiser="tv", iterations=3, boundary=boundary)
    np.testing.assert_allclose(scaled.image * 4, result.image, atol=0.5)


def test_turning_the_image_turns_the_result() -> None:
    from scipy.ndimage import gaussian_filter

    method = PlugAndPlay(lambda image, noise_std: gaussian_filter(image, 5 * noise_std, mode="wrap"))
    h = psf.motion(5, 30)
    g = blurred(scene(60), h, 0.01)[0]
    result = restore(g, h, method=method, boundary="periodic").image
    turned = restore(g[::-1].T, h[::-1].T, method=method, boundary="periodic").image
    np.testing.assert_allclose(turned, result[::-1].T, atol=1e-5)


def test_volumes() -> None:
    f = np.zeros((20, 24, 24), np.float32)
    f[6:14, 8:16, 8:16] = 1
    h = psf.gaussian(1.0, ndim=3)
    g = simulate.add_noise(simulate.blur(f, h, boundary="zero"), noise_std=0.05, rng=0).astype(np.float32)
    result = restore(g, h, method="pnp", denoiser="tv", iterations=3)
    assert metrics.psnr(result, f) > metrics.psnr(g, f) + 2
    assert result.image.dtype == np.float32


def test_arguments_are_checked() -> None:
    g, h = scene(40), psf.gaussian(1.0)
    for options, said in (
        ({"strength": 6}, "at most 5"),
        ({"strength": 3, "denoiser": "nlm"}, "at most 2"),
        ({"iterations": 0}, "iterations"),
        ({"first": -1.0}, "first"),
        ({"denoiser": "bm4d"}, "denoiser"),
    ):
        with pytest.raises(ValueError, match=said):
            restore(g, h, method="pnp", **options)


def test_an_image_without_noise_or_structure() -> None:
    result = restore(np.full((40, 40), 3.0), psf.gaussian(1.0), method="pnp", denoiser="tv")
    np.testing.assert_allclose(result.image, 3.0)


def test_without_torch_everything_else_works() -> None:
    """In an interpreter where torch cannot be imported: what is missing is said, another denoiser needs none."""
    program = """
import sys
class NoTorch:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, NoTorch)
import numpy as np, lsdeblur
from lsdeblur.deep import PlugAndPlay
g, h = np.random.default_rng(0).random((40, 40)), lsdeblur.psf.gaussian(1.0)
uses = [lambda: lsdeblur.restore(g, h, method="pnp"), lambda: lsdeblur.deep.networks, lambda: lsdeblur.deep.load("x")]
for use in uses:
    try:
        use()
    except lsdeblur.MissingDependencyError as error:
        assert "pip install 'lsdeblur[deep]'" in str(error), error
    else:
        raise SystemExit("no error")
lsdeblur.restore(g, h, method=PlugAndPlay("tv", iterations=2))
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).resolve().parents[1])


def test_the_shipped_network_is_loaded_without_the_compiler_of_pytorch() -> None:
    pytest.importorskip("torch")
    program = (
        "import sys; from lsdeblur.deep import denoiser; denoiser.network(); assert 'torch._dynamo' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).resolve().parents[1])


def test_the_shipped_denoiser() -> None:
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    from lsdeblur.deep import denoiser, weights

    assert denoiser.SHIPPED.stat().st_size <= 4e6
    assert weights.card(denoiser.SHIPPED)["data"]
    f = scene(160).astype(np.float32)
    for sigma in (0.02, 0.1):
        g = f + sigma * np.random.default_rng(0).standard_normal(f.shape, np.float32)
        clean = denoiser.denoise(g, sigma)
        assert clean.dtype == np.float32
        assert metrics.psnr(clean, f) > metrics.psnr(DENOISERS["nlm"](g, sigma), f) + 0.5
        np.testing.assert_allclose(denoiser.denoise(1000 * g, 1000 * sigma), 1000 * clean, atol=0.05)


def test_the_shipped_network_beats_every_other_method() -> None:
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    h = psf.motion(9, 30)
    g, t = (a.astype(np.float32) for a in blurred(scene(180), h, 0.01))
    found = {method: metrics.psnr(restore(g, h, method=method), t) for method in ("tikhonov", "tv", "wavelet", "pnp")}
    assert found["pnp"] > max(found["tikhonov"], found["tv"], found["wavelet"]) + 0.7
    result = restore(100 * g, h, method="pnp")
    np.testing.assert_allclose(result.image, 100 * restore(g, h, method="pnp").image, atol=0.1)
    colour = np.stack([g, 1 - g], axis=2)
    assert metrics.psnr(restore(colour, h, method="pnp", channel_axis=2).image[..., 0], t) > found["pnp"] - 0.5


@pytest.mark.parametrize(
    "options", [{"iterations": 1}, {"iterations": 40}, {"first": 1e-3}, {"first": 5.0}, {"strength": 1.0}]
)
def test_no_setting_diverges(options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    for sigma in (0.001, 0.03):
        g, t = (a.astype(np.float32) for a in blurred(scene(80), psf.disk(3), sigma))
        result = restore(g, psf.disk(3), method="pnp", **options)
        assert metrics.psnr(result, t) > metrics.psnr(g, t)
