"""The blur's family and parameters from one image."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import reference
from scenes import leaves

from lsdeblur import PSFEstimate, blind, psf, simulate
from lsdeblur.blind import _whittle
from lsdeblur.blind._families import FAMILIES
from lsdeblur.blind._ripples import Ripples
from lsdeblur.blind._whittle import Fit, Spectrum, fitted
from lsdeblur.noise import hann
from lsdeblur.spectrum import transfer_function

SIMPLE = ("motion", "defocus", "gaussian")


def photograph(h: Any, shape: tuple[int, int] = (281, 300), noise_std: float = 0.003, seed: int = 0) -> Any:
    blurred = simulate.blur(leaves(shape, seed), h)
    return simulate.add_noise(blurred, noise_std=noise_std, rng=seed)


def estimate(image: Any, **options: Any) -> PSFEstimate:
    return blind.estimate_psf(image, method="parametric", **options)


def test_what_a_window_makes_of_a_blurs_power() -> None:
    """``E |FFT(w (h * n))|^2`` for white noise n, from all pairs of pixels: the blur's zeros fill up."""
    grid, h = (12, 15), reference.psf((3, 4))
    spectrum = Spectrum.of(np.random.default_rng(0).random((grid[0] + 1, grid[1] + 1)))
    assert spectrum.grid == grid
    w = hann(grid, np.float64).ravel()
    at = np.indices(grid).reshape(2, -1)
    lag = at[:, :, None] - at[:, None, :]
    correlation = np.zeros((2 * grid[0], 2 * grid[1]))
    for y, x in np.ndindex(h.shape):
        for v, u in np.ndindex(h.shape):
            correlation[y - v, x - u] += h[y, x] * h[v, u]
    covariance = w[:, None] * w * correlation[lag[0], lag[1]]
    ky, kx = np.unravel_index(spectrum.used, (grid[0], grid[1] // 2 + 1))
    waves = np.exp(-2j * np.pi * (np.outer(ky, at[0]) / grid[0] + np.outer(kx, at[1]) / grid[1]))
    expected = np.einsum("fi,ij,fj->f", waves, covariance, waves.conj()).real / (w @ w)
    np.testing.assert_allclose(spectrum.blurred([h]), expected, rtol=1e-10)


def drawn(radius: float, seed: int) -> tuple[Spectrum, Fit]:
    """A spectrum whose powers are drawn from the model itself, and the model."""
    spectrum = Spectrum.of(photograph(psf.delta(), (140, 150)))
    truth = spectrum.mean.copy()
    truth[4] = 0.3  # an oriented scene
    truth[-3:-1] = -3.0, 0.3  # noise that something has smoothed
    K = spectrum.blurred([psf.disk(radius)])
    model = Fit.of(spectrum, np.array([radius]), truth, K)
    power = model.M * np.random.default_rng(seed).gamma(16, 1 / 16, model.M.size)
    fields = {name: getattr(spectrum, name) for name in Spectrum.__slots__}
    return Spectrum(**{**fields, "power": power}), model


def test_parameters_of_the_model_are_found_again() -> None:
    spectrum, model = drawn(4.2, 0)
    fit = fitted(spectrum, FAMILIES["defocus"], [3.6])
    assert fit.q[0] == pytest.approx(4.2, abs=0.06)  # three standard deviations of such draws
    assert fit.value < Fit.of(spectrum, model.q, model.coefficients, model.K).value
    np.testing.assert_allclose(fit.coefficients[[1, 4]], [-1.0, 0.3], atol=0.1)
    np.testing.assert_allclose(fit.coefficients[-3:-1], [-3.0, 0.3], atol=0.15)


def test_a_fit_is_a_minimum() -> None:
    """In each coefficient and in the radius, to either side."""
    spectrum, _ = drawn(4.2, 1)
    fit = fitted(spectrum, FAMILIES["defocus"], [4.0])
    for i in range(fit.coefficients.size):
        for step in (-0.05, 0.05):
            moved = fit.coefficients.copy()
            moved[i] += step
            assert Fit.of(spectrum, fit.q, moved, fit.K).value > fit.value
    for radius in (fit.q[0] - 0.02, fit.q[0] + 0.02):
        assert Fit.of(spectrum, fit.q, fit.coefficients, spectrum.blurred([psf.disk(radius)])).value > fit.value


@pytest.mark.parametrize(("length", "angle"), [(9.0, 70.0), (25.0, 152.0)])
def test_ripples_show_a_motion(length: float, angle: float) -> None:
    """One of the few first values is the right one, to the grid's steps."""
    spectrum = Spectrum.of(photograph(psf.motion(length, angle)))
    found = Ripples.of(spectrum, fitted(spectrum, FAMILIES["delta"])).motions(60, 4)
    assert any(abs(a / length - 1) < 0.06 and abs(b - angle) <= 3 for a, b in found)


def test_ripples_show_a_disk() -> None:
    spectrum = Spectrum.of(photograph(psf.disk(4.4)))
    ((radius,),) = Ripples.of(spectrum, fitted(spectrum, FAMILIES["delta"])).disks(30, 1)
    assert radius == pytest.approx(4.4, rel=0.06)


CASES = [
    ("delta", {}, psf.delta(), {}),
    ("motion", {"length": 17.3, "angle": 37.0}, psf.motion(17.3, 37), {"length": 0.2, "angle": 0.5}),
    ("motion", {"length": 6.5, "angle": 118.0}, psf.motion(6.5, 118), {"length": 0.2, "angle": 2.0}),
    ("defocus", {"radius": 4.3}, psf.disk(4.3), {"radius": 0.1}),
    ("gaussian", {"sigma": 2.1}, psf.gaussian(2.1), {"sigma": 0.1}),
    (
        "motion+defocus",
        {"length": 14.0, "angle": 65.0, "radius": 3.0},
        psf.combine(psf.motion(14, 65), psf.disk(3)),
        {"length": 0.4, "angle": 1.5, "radius": 0.1},
    ),
    (
        "elliptical-gaussian",
        {"sigma": (1.2, 3.2), "angle": 30.0},
        psf.gaussian((1.2, 3.2), angle=30),
        {"sigma": 0.2, "angle": 3.0},
    ),
]


@pytest.mark.parametrize(("family", "parameters", "h", "tolerances"), CASES, ids=lambda v: v if type(v) is str else "")
def test_family_and_parameters(family: str, parameters: Any, h: Any, tolerances: Any) -> None:
    """Among all families, in a frame of which only the valid part was observed."""
    found = estimate(photograph(h))
    assert found.parameters["family"] == family
    for name, tolerance in tolerances.items():
        np.testing.assert_allclose(found.parameters[name], parameters[name], rtol=0, atol=tolerance)
    assert found.scores["delta"] == 0
    assert min(found.scores, key=found.scores.__getitem__) == family
    scores = np.array(list(found.scores.values()))
    assert found.confidence == pytest.approx(1 / np.exp(scores.min() - scores).sum())
    assert found.psf.dtype == np.float64
    assert found.psf.min() >= 0
    assert found.psf.sum() == pytest.approx(1)
    assert all(s % 2 for s in found.psf.shape)


def test_moffat_alone() -> None:
    """Its core is found; its wings are hard to tell from a scene's own spectrum."""
    found = estimate(photograph(psf.moffat(4.0, 3.0, size=41), noise_std=0.001), families=["moffat"])
    assert found.parameters["family"] == "moffat"
    assert found.parameters["fwhm"] == pytest.approx(4.0, rel=0.15)


@pytest.mark.parametrize(("shape", "turns"), [((201, 226), ("T", "mirror")), ((193, 145), ("mirror", "rot90"))])
def test_turned_and_mirrored_images(shape: tuple[int, int], turns: tuple[str, ...]) -> None:
    image = photograph(psf.motion(12, 25), shape)
    changes = {"T": (image.T, 65), "mirror": (image[:, ::-1], 155), "rot90": (np.rot90(image), 115)}
    for changed, angle in (changes[turn] for turn in turns):
        found = estimate(changed, families=["motion"])
        assert found.parameters["family"] == "motion"
        assert found.parameters["length"] == pytest.approx(12, abs=0.3)
        assert found.parameters["angle"] == pytest.approx(angle, abs=1)


def test_units_precision_and_layout_of_the_image_do_not_matter() -> None:
    image = photograph(psf.disk(3.3), (150, 161))
    kept = image.copy()
    first = estimate(image, families=["defocus"])
    np.testing.assert_array_equal(image, kept)
    again = estimate(np.asfortranarray(image), families=["defocus"])
    assert again.parameters == first.parameters
    assert again.scores == first.scores
    for changed in (1024 * image, 3 - 250 * image, image.astype(np.float32)):
        other = estimate(changed, families=["defocus"])
        assert other.parameters["family"] == "defocus"
        assert other.parameters["radius"] == pytest.approx(first.parameters["radius"], abs=1e-3)


def test_more_noise_makes_less_certain() -> None:
    margins = []
    for noise_std in (0.001, 0.03):
        scores = estimate(photograph(psf.disk(3), (200, 200), noise_std), families=["defocus"]).scores
        margins.append(-scores["defocus"])
    assert margins[0] > margins[1] > 0


def test_the_families_asked_for() -> None:
    image = photograph(psf.gaussian(1.5), (120, 130))
    found = estimate(image, families=["gaussian", "delta", "gaussian"])
    assert set(found.scores) == {"delta", "gaussian"}
    with pytest.raises(ValueError, match=r"families.*'box'"):
        estimate(image, families=["box"])
    with pytest.raises(ValueError, match="families is empty: name some of delta, motion"):
        estimate(image, families=[])
    with pytest.raises(ValueError, match=r"image is 31 x 90 pixels.*give a larger part"):
        estimate(image[:31, :90])
    with pytest.raises(TypeError, match=r"no option 'size'; its options are 'families'"):
        estimate(image, size=9)


def test_a_callback_may_end_the_search() -> None:
    steps: list[tuple[int, int]] = []

    def stop(state: Any) -> None:
        steps.append((state.iteration, state.total))
        if state.iteration == 2:
            raise StopIteration

    found = estimate(photograph(psf.disk(3), (100, 120)), families=SIMPLE, callback=stop)
    assert steps == [(1, 3), (2, 3)]
    assert not found.converged
    assert set(found.scores) == {"delta", "motion", "defocus"}


def test_an_image_without_noise_and_one_of_noise_alone() -> None:
    clean = estimate(simulate.blur(leaves((150, 160)), psf.disk(3.5)), families=SIMPLE)
    assert clean.parameters["radius"] == pytest.approx(3.5, abs=0.1)
    noise = estimate(np.random.default_rng(0).standard_normal((150, 160)), families=SIMPLE)
    assert noise.parameters == {"family": "delta"}
    assert math.isfinite(noise.confidence)


def test_psf_larger_than_the_grid_has_its_transform_at_the_grids_frequencies() -> None:
    h = np.random.default_rng(0).random((13, 16))
    grid = (10, 7)
    H = transfer_function(_whittle._wrapped(h, grid), grid)
    rows, columns = np.arange(13) - 6, np.arange(16) - 8
    k, m = np.arange(10) / 10, np.arange(4) / 7
    direct = np.exp(-2j * np.pi * np.outer(k, rows)) @ h @ np.exp(-2j * np.pi * np.outer(columns, m))
    np.testing.assert_allclose(H, direct, atol=1e-12)


def test_small_images_are_no_smaller_than_the_trial_psfs() -> None:
    scene = np.kron(np.random.default_rng(2).random((12, 14)), np.ones((6, 6)))
    blurred = simulate.add_noise(simulate.blur(scene, psf.motion(9, 20)), noise_std=0.005, rng=0)[:57, :71]
    assert blind.estimate_psf(blurred, method="parametric").parameters["family"].startswith("motion")
