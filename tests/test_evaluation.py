"""evaluate(): every number is the metric's own, and what lacks its ground is left out with the reason."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference
from scenes import leaves

import lsdeblur
from lsdeblur import Restoration, evaluate, metrics, psf, restore, simulate
from lsdeblur.report._case import case_of
from lsdeblur.report._residual import Residual, residual_of

WITH_TRUTH = {"psnr", "ssim", "nmse", "isnr", "edge_preservation", "ringing", "texture_preservation"}
OF_RESIDUAL = {"noise_std", "residual_rms", "residual_ratio", "residual_whiteness", "residual_correlation"}
SHARPNESS = {"sharpness", "sharpness_observed"}

SCENE = leaves((90, 97))
H = reference.psf((5, 4))
TRUTH = simulate.valid_part(SCENE, H)
BLURRED = simulate.add_noise(simulate.blur(SCENE, H), noise_std=0.02, rng=0)
RESULT = restore(BLURRED, H)


def valid_residual(blurred: Any, image: Any, h: Any) -> Any:
    """Where the PSF lies within the frame, by the library's own camera."""
    rows, columns = h.shape
    inside = blurred[rows - 1 - rows // 2 : blurred.shape[0] - rows // 2]
    return inside[:, columns - 1 - columns // 2 : blurred.shape[1] - columns // 2] - simulate.blur(image, h)


def test_all_there_is() -> None:
    found = evaluate(RESULT, TRUTH)
    assert set(found.numbers) == WITH_TRUTH | OF_RESIDUAL | SHARPNESS
    assert not found.left_out
    for name in ("psnr", "ssim", "nmse", "edge_preservation", "ringing", "texture_preservation"):
        assert found[name] == getattr(metrics, name)(RESULT.image, TRUTH)
    assert found["isnr"] == metrics.isnr(RESULT.image, BLURRED, TRUTH)
    assert found["sharpness"] == metrics.sharpness(RESULT.image)
    assert found["sharpness_observed"] == metrics.sharpness(BLURRED)


def test_residual() -> None:
    residual = valid_residual(BLURRED, RESULT.image, H)
    found = evaluate(RESULT)
    assert set(found.numbers) == OF_RESIDUAL | SHARPNESS
    assert found["residual_rms"] == pytest.approx(math.sqrt(np.mean(residual**2)))
    assert found["residual_ratio"] == pytest.approx(found["residual_rms"] / RESULT.noise_std)
    assert found["residual_whiteness"] == pytest.approx(metrics.whiteness(residual))
    assert found["residual_correlation"] == pytest.approx(metrics.correlation(residual))


def test_residual_of_the_scene_is_the_noise() -> None:
    """Of the true scene with the true PSF: as large as the noise, and white."""
    blurred = simulate.add_noise(simulate.blur(SCENE, H, boundary="zero"), noise_std=0.02, rng=1)
    found = evaluate(Restoration(SCENE, H, "none", noise_std=0.02, observed=blurred))
    assert found["residual_ratio"] == pytest.approx(1, abs=5 / math.sqrt(2 * SCENE.size))
    assert found["residual_whiteness"] == pytest.approx(1, abs=5 * math.sqrt(2 / 60))


def test_what_is_wrong_shows() -> None:
    """A motion in another direction, too large a lambda, too small a one."""
    h, other = psf.motion(11, 30), psf.motion(11, 70)
    blurred = simulate.add_noise(simulate.blur(SCENE, h), noise_std=0.02, rng=0)
    lam = restore(blurred, h).lam
    assert lam is not None
    calls = [(h, lam), (other, lam), (h, 100 * lam), (h, lam / 1000)]
    results = [restore(blurred, p, lam=strength, noise_std=0.02) for p, strength in calls]
    right, *others = (evaluate(r, simulate.valid_part(SCENE, h)) for r in results)
    assert all(right["psnr"] > other["psnr"] for other in others)
    assert all(right["residual_whiteness"] < other["residual_whiteness"] for other in others)
    assert others[2]["residual_ratio"] < right["residual_ratio"] < others[1]["residual_ratio"]


@pytest.mark.parametrize("axis", [0, -1])
def test_channels_come_from_the_restoration(axis: int) -> None:
    scene = np.stack([SCENE, SCENE[::-1], 1 - SCENE], axis=axis)
    h = np.stack([H, np.flip(H), H])
    blurred = simulate.add_noise(simulate.blur(scene, h, channel_axis=axis), noise_std=0.02, rng=0)
    result, truth = restore(blurred, h, channel_axis=axis), simulate.valid_part(scene, h, channel_axis=axis)
    found = evaluate(result, truth)
    assert not found.left_out
    assert found["ssim"] == metrics.ssim(result.image, truth, channel_axis=axis)
    parts = [valid_residual(np.take(blurred, i, axis), np.take(result.image, i, axis), h[i]) for i in range(3)]
    assert found["residual_rms"] == pytest.approx(math.sqrt(np.mean(np.square(parts))))
    assert found["residual_whiteness"] == pytest.approx(np.mean([metrics.whiteness(part) for part in parts]))
    assert evaluate(result.image, truth, channel_axis=axis)["ssim"] == found["ssim"]


def test_volumes() -> None:
    scene, h = np.stack([SCENE[:40, :41]] * 14), reference.psf((2, 3, 4))
    blurred = simulate.add_noise(simulate.blur(scene, h), noise_std=0.02, rng=0)
    found = evaluate(restore(blurred, h, lam=0.01, noise_std=0.02), simulate.valid_part(scene, h))
    assert set(found.numbers) == WITH_TRUTH | OF_RESIDUAL | SHARPNESS


def test_pixels_without_a_measurement_do_not_count() -> None:
    mask = np.zeros(BLURRED.shape, bool)
    mask[20:24, 30:36] = True
    result = restore(np.where(mask, np.nan, BLURRED), H, mask=mask, lam=0.01, noise_std=0.02)
    found = evaluate(result, TRUTH)
    measured = ~mask[2:-2, 1:-2]
    assert found["residual_rms"] == pytest.approx(
        math.sqrt(np.mean(valid_residual(BLURRED, result.image, H)[measured] ** 2))
    )
    assert set(found.left_out) == {"isnr", "sharpness_observed"}
    assert "blurred has 24 values that are NaN" in found.left_out["isnr"]


def test_clipped_pixels_do_not_count() -> None:
    clipped = BLURRED.copy()
    clipped[40:43, 50:53] = 3
    result = restore(clipped, H, saturation=2.0, lam=0.01, noise_std=0.02)
    assert evaluate(result)["residual_rms"] < 0.03
    without = dataclasses.replace(result, options={})
    assert evaluate(without)["residual_rms"] > 0.05


def test_blur_that_varies() -> None:
    grid = psf.PSFGrid([psf.gaussian(1.0, size=7), psf.gaussian(2.0, size=7)], [[0, 0], [0, 90]])
    model = simulate.blur(SCENE, grid, boundary="zero")
    blurred = simulate.add_noise(model, noise_std=0.02, rng=1)
    found = evaluate(Restoration(SCENE, grid, "none", noise_std=0.02, observed=blurred))
    assert found["residual_ratio"] == pytest.approx(1, abs=5 / math.sqrt(2 * SCENE.size))
    residual = (blurred - model)[3:-3, 3:-3]
    assert found["residual_rms"] == pytest.approx(math.sqrt(np.mean(residual**2)))


def in_a_background(case: str) -> tuple[Restoration, Any, Any]:
    """The true scene with its blurred image over a background, and the residual there; what is hidden in it."""
    rng = np.random.default_rng(5)
    scene, h, axis, hidden, options = 100 * SCENE, H, None, np.zeros(SCENE.shape, bool), {}
    background: Any = 100.0
    if case == "channels":
        scene, axis = np.stack([scene, scene[::-1]], axis=-1), -1
        background = np.array([100.0, 50.0])[:, None, None]
    elif case == "volume":
        scene, h = np.stack([scene[:40, :41]] * 20), reference.psf((3, 3, 4))
        hidden = np.zeros(scene.shape, bool)
    elif case == "grid":
        h = psf.PSFGrid([psf.gaussian(1.0, size=7), psf.gaussian(2.0, size=7)], [[0, 0], [0, 90]])
    level = np.moveaxis(np.broadcast_to(background, scene.shape if axis is None else (2, *SCENE.shape)), 0, axis or 0)
    noise = rng.standard_normal(scene.shape)
    blurred = simulate.blur(scene, h, boundary="zero", channel_axis=axis) + level + noise
    if case == "mask":
        hidden[20:24, 30:36] = True
        blurred[hidden], options = np.nan, {"mask": hidden}
    elif case == "saturation":
        hidden[40:43, 50:53] = True
        blurred[hidden], options = 900.0, {"saturation": 800.0}
    options |= {"background": background, "channel_axis": axis}
    return Restoration(scene, h, "richardson-lucy", options=options, observed=blurred), noise, hidden


@pytest.mark.parametrize("case", ["plain", "mask", "saturation", "grid", "channels", "volume"])
def test_one_residual_for_the_table_and_the_report(case: str) -> None:
    result, noise, hidden = in_a_background(case)
    size = result.psf.size if case == "grid" else result.psf.shape
    inner = tuple(slice(s - 1 - s // 2, n - s // 2) for s, n in zip(size, hidden.shape, strict=True))
    expected = math.sqrt(np.mean(noise[inner][~hidden[inner]] ** 2))
    assert evaluate(result)["residual_rms"] == pytest.approx(expected)
    reported = residual_of(case_of(result, None))
    assert isinstance(reported, Residual)
    assert reported.rms == pytest.approx(expected)


def test_the_background_of_richardson_lucy_is_no_residual() -> None:
    blurred = simulate.blur(100 * SCENE, H) + 100 + np.random.default_rng(0).standard_normal(TRUTH.shape)
    found = evaluate(restore(blurred, H, method="richardson-lucy", background=100.0))
    assert found["residual_rms"] < 5
    blind = Restoration(TRUTH, H, "blind", options={"then": "richardson-lucy", "background": 100.0}, observed=blurred)
    plain = dataclasses.replace(blind, method="richardson-lucy")
    assert evaluate(blind)["residual_rms"] == evaluate(plain)["residual_rms"]
    # the background of this method is one of the scene, and in its image
    nas_rif = dataclasses.replace(plain, method="nas-rif")
    assert evaluate(nas_rif)["residual_rms"] > evaluate(plain)["residual_rms"] + 50


def test_left_out(tmp_path: Path) -> None:
    RESULT.save(tmp_path / "result.npz")
    loaded = evaluate(Restoration.load(tmp_path / "result.npz"), TRUTH)
    assert set(loaded.left_out) == {"isnr", "residual_rms", "sharpness_observed"}
    assert "not kept in files" in loaded.left_out["isnr"]
    assert loaded["psnr"] == evaluate(RESULT, TRUTH)["psnr"]

    array = evaluate(RESULT.image, TRUTH)
    assert set(array.left_out) == {"isnr"}
    assert set(array.numbers) == WITH_TRUTH - {"isnr"} | {"sharpness"}

    blind = evaluate(dataclasses.replace(RESULT, psf=None))
    assert blind.left_out == {"residual_rms": "there is no PSF to blur the restored image with"}

    hidden = dataclasses.replace(RESULT, options={"mask": np.ones(TRUTH.shape, bool)})
    assert "no pixel was measured" in evaluate(hidden).left_out["residual_rms"]

    frames = restore([BLURRED, BLURRED], [H, H], lam=0.01, noise_std=0.02)
    assert "several frames" in evaluate(frames, TRUTH).left_out["isnr"]

    broken = evaluate(dataclasses.replace(RESULT, image=np.where(RESULT.image > 0.9, np.nan, RESULT.image)))
    assert "values that are not finite" in broken.left_out["residual_rms"]

    wide = evaluate(dataclasses.replace(RESULT, psf=psf.gaussian(30.0, size=91)))
    assert "reaches over the whole frame" in wide.left_out["residual_rms"]

    few = Restoration(TRUTH[:9, :9], H, "none", observed=BLURRED[:9, :9])
    assert "more than 5 pixels along every axis" in evaluate(few).left_out["residual_whiteness"]

    small = evaluate(TRUTH[:9, :9], TRUTH[:9, :9])
    assert "at least 11 pixels" in small.left_out["ssim"]
    assert small["psnr"] == math.inf


@pytest.mark.parametrize(
    ("library", "made"),
    [
        ("zarr", lambda zarr: zarr.array(BLURRED, chunks=(50, 50))),
        ("dask.array", lambda dask: dask.from_array(BLURRED, chunks=50)),
        ("torch", lambda torch: torch.from_numpy(BLURRED)),
    ],
)
def test_arrays_of_other_libraries(library: str, made: Callable[[Any], Any]) -> None:
    blurred = made(pytest.importorskip(library))
    found, expected = (
        evaluate(restore(g, H, lam=0.01, noise_std=0.02, boundary="free"), TRUTH) for g in (blurred, BLURRED)
    )
    assert not found.left_out
    assert found.numbers == pytest.approx(expected.numbers, rel=1e-3)


def test_integers_and_other_scales() -> None:
    blurred, truth = (np.rint(255 * x).clip(0, 255).astype(np.uint8) for x in (BLURRED, TRUTH))
    result = restore(blurred, H)
    found = evaluate(result, truth)
    assert not found.left_out
    assert found["psnr"] == metrics.psnr(result.image, truth)
    assert evaluate(255 * TRUTH + 1, 255 * TRUTH, data_range=100)["psnr"] == pytest.approx(40)


def test_border_is_for_the_truth() -> None:
    found, inner = evaluate(RESULT, TRUTH, border=9), evaluate(RESULT, TRUTH)
    assert found["psnr"] == metrics.psnr(RESULT.image, TRUTH, border=9)
    assert found["sharpness"] == metrics.sharpness(RESULT.image, border=9)
    assert found["residual_rms"] == inner["residual_rms"]


def test_as_text() -> None:
    found = evaluate(RESULT.image, TRUTH)
    lines = str(found).splitlines()
    assert len(lines) == len(found.numbers) + len(found.left_out)
    assert lines[0].split()[:2] == ["psnr", f"{found['psnr']:.4g}"]
    assert lines[-1].startswith("isnr ")
    html = metrics.Evaluation({"psnr": 30.0}, {"isnr": "a < b"})._repr_html_()
    assert html.count("<tr>") == 2
    assert "<td>30</td>" in html
    assert "a &lt; b" in html


def test_the_package_has_it() -> None:
    assert lsdeblur.evaluate is metrics.evaluate
    assert "evaluate" in dir(lsdeblur)


ERRORS: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: evaluate(RESULT, TRUTH[1:]), ValueError, r"image has shape \(86, 94\) and truth \(85, 94\)"),
    (lambda: evaluate(RESULT, TRUTH, border=43), ValueError, "border=43 leaves nothing"),
    (lambda: evaluate(RESULT, 255 * TRUTH), ValueError, "give data_range="),
    (lambda: evaluate(RESULT)["psnr"], KeyError, "no 'psnr': .*or there was no truth"),
    (lambda: evaluate(RESULT.image, TRUTH)["isnr"], KeyError, "no 'isnr': an array does not say which image"),
]


@pytest.mark.parametrize(("call", "error", "message"), ERRORS)
def test_errors(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
