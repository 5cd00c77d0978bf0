"""Refinement for ordinary scenes, and the fit of a PSF to an image and its restoration."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import reference
from reference import Array
from scipy import linalg, ndimage

from lsdeblur import psf, restore, simulate
from lsdeblur.blind import refine_psf
from lsdeblur.blind._psf_fit import evidence, fitted_psf, padded, pruned, similarity, simplex
from lsdeblur.blind._whittle import Spectrum, unlikeliness
from lsdeblur.blind.refine import warped

BLUR = psf.motion(9, 25)
WRONG = psf.motion(11.5, 25)


@cache
def picture(shape: tuple[int, int] = (100, 98), seed: int = 0) -> Array:
    """Overlapping bright and dark rectangles and disks of all sizes."""
    rng = np.random.default_rng(seed)
    f = np.full(shape, 0.5)
    y, x = np.indices(shape)
    for n in range(150):
        a, b, r = rng.uniform(0, shape[0]), rng.uniform(0, shape[1]), 30 * rng.random() ** 2 + 1
        inside = (y - a) ** 2 + (x - b) ** 2 < r**2 if n % 2 else np.maximum(abs(y - a), abs(x - b) * 1.5) < r
        f = np.where(inside, rng.random(), f)
    return f


def observed(h: Array, noise_std: float = 0.004) -> tuple[Array, Array]:
    """A camera's frame of the picture, and what is to be found in it."""
    f = picture()
    g = simulate.add_noise(simulate.blur(f, h, boundary="valid"), noise_std=noise_std, rng=1)
    return g, simulate.valid_part(f, h)


def error(image: Array, truth: Array) -> float:
    inner = (slice(8, -8), slice(8, -8))
    return float(np.sqrt(np.mean((image - truth)[inner] ** 2)))


def test_simplex_is_the_nearest_point() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        v = rng.standard_normal((3, 4))
        p = simplex(v)
        assert p.min() >= 0
        assert p.sum() == pytest.approx(1)
        for _ in range(20):
            q = rng.dirichlet(np.ones(12)).reshape(3, 4)
            assert np.sum((v - p) ** 2) <= np.sum((v - q) ** 2)
    np.testing.assert_allclose(simplex(p), p, rtol=0, atol=1e-15)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("size", [(3, 4), (5, 3), (2, 3, 3)])
def test_a_psf_is_fitted_exactly(size: tuple[int, ...], masked: bool) -> None:
    """From a scene and its blurred image, whatever the masked pixels hold."""
    h = reference.psf(size)
    f = reference.image((24, 23) if len(size) == 2 else (9, 10, 11))
    g = reference.blur(f, h, "periodic")
    measured = None
    if masked:
        measured = np.random.default_rng(2).random(f.shape) > 0.2
        g = np.where(measured, g, 7.0)
    start = np.full(size, 1 / h.size)
    np.testing.assert_allclose(fitted_psf(f, g, start, measured=measured, max_iter=400), h, rtol=0, atol=1e-4)
    kept = fitted_psf(f, g, start, measured=measured, mu=1e6)
    np.testing.assert_allclose(kept, start, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(fitted_psf(np.ones_like(f), g, start), start)


def test_what_is_pruned() -> None:
    h = np.zeros((9, 9))
    h[2:5, 2:5] = 1.0
    h[2, 5] = 0.005  # faint
    h[7, 7] = 0.3  # a speck of 3 % of the light
    expected = np.zeros((9, 9))
    expected[2:5, 2:5] = 1 / 9
    np.testing.assert_allclose(pruned(h), expected)


def test_padding_keeps_the_centre() -> None:
    for size in ((3, 4), (5, 2)):
        h = reference.psf(size)
        wide = padded(h, (9, 8))
        assert wide.shape == (9, 8)
        g = reference.image((20, 21))
        np.testing.assert_allclose(
            reference.blur(g, wide, "periodic"), reference.blur(g, h, "periodic"), rtol=0, atol=1e-12
        )
        np.testing.assert_array_equal(padded(wide, size), h)


def test_similarity() -> None:
    h = reference.psf((5, 4))
    assert similarity(h, np.pad(h, ((3, 0), (0, 2)))) == pytest.approx(1)
    assert similarity(psf.motion(9, 0), psf.motion(9, 90)) < 0.5


def test_a_warp_maps_and_keeps_the_sum() -> None:
    h = padded(reference.psf((5, 7)), (15, 15))
    np.testing.assert_allclose(warped(h, np.zeros(5)), h / h.sum())
    wide = padded(psf.gaussian(2.0, size=25), (41, 41))
    rows, columns = np.indices(wide.shape) - 20
    stretched = warped(wide, [np.log(1.5), 0, 0, 0, 0])
    assert np.sum(stretched * rows**2) == pytest.approx(1.5**2 * np.sum(wide * rows**2), rel=0.02)
    assert np.sum(stretched * columns**2) == pytest.approx(np.sum(wide * columns**2), rel=0.02)
    turn = np.radians(20)  # rows go down: counter-clockwise on the screen
    turned = warped(psf.motion(15, 0, size=25), [0, -turn, turn, 0, 0])
    assert similarity(turned, psf.motion(15, 20)) > similarity(turned, psf.motion(15, -20)) + 0.3
    softer, sharper = warped(wide, [0, 0, 0, 0, 1.7]), warped(wide, [0, 0, 0, 0, -1.0])
    variance = np.sum(wide * rows**2)
    assert np.sum(softer * rows**2) == pytest.approx(variance + 1.7, rel=0.001)
    assert np.sum(sharper * rows**2) == pytest.approx(variance - 1, rel=0.02)
    for h in (stretched, turned, softer, sharper):
        assert h.min() >= 0
        assert h.sum() == pytest.approx(1)


def test_the_true_psf_is_the_likeliest() -> None:
    g, _ = observed(BLUR)
    spectrum = Spectrum.of(g)
    others = [WRONG, psf.motion(7, 25), psf.motion(9, 40), psf.gaussian(2.0), psf.delta()]
    assert all(unlikeliness(spectrum, BLUR) < unlikeliness(spectrum, other) for other in others)
    box = (15, 15)
    assert evidence(g, padded(BLUR, box), "free", 1) < evidence(g, padded(WRONG, box), "free", 1)


def test_most_of_the_loss_comes_back() -> None:
    g, truth = observed(BLUR)
    before = g.copy()
    found = refine_psf(g, WRONG, workers=1)
    true, wrong, refined = (error(restore(g, h, lam=1e-3).image, truth) for h in (BLUR, WRONG, found.psf))
    assert found.converged
    assert refined - true < 0.4 * (wrong - true)
    assert found.psf.dtype == np.float64
    assert all(s % 2 for s in found.psf.shape)
    assert found.psf.min() >= 0
    assert found.psf.sum() == pytest.approx(1)
    assert found.scores["psf"] == 0
    assert found.scores["size"] < -10  # the length is what is wrong
    assert found.scores["softness"] > found.scores["size"]
    assert found.parameters["map"].shape == (2, 2)
    assert found.confidence > 0.99
    assert 2 <= len(found.history) == found.n_iter <= 4
    objectives = [step["objective"] for step in found.history]
    assert np.all(np.diff(objectives[:-1]) < 0)  # on as long as it falls
    best = found.history[int(np.argmin(objectives))]["psf"]
    np.testing.assert_array_equal(found.psf, best)
    np.testing.assert_array_equal(g, before)


def test_a_right_psf_is_kept() -> None:
    """Also where it is even-sized, and not normalised."""
    for h in (BLUR, 3 * np.pad(psf.disk(3.0), ((1, 0), (1, 0)))):
        g, _ = observed(h / h.sum())
        found = refine_psf(g, h, workers=1)
        assert not found.converged
        np.testing.assert_array_equal(found.psf, h)
        assert "it is kept" in found.message
        assert min(found.scores, key=lambda name: found.scores[name]) == "psf"


@pytest.mark.parametrize(
    ("guess", "turn", "growth"),
    [(psf.motion(9, 40), -15.0, 1.0), (psf.motion(7, 25), 0.0, 9 / 7), (psf.motion(10.5, 25), 0.0, 9 / 10.5)],
)
def test_the_map_says_what_was_wrong(guess: Array, turn: float, growth: float) -> None:
    """How a line's end moves under exp(M): rows go down, so counter-clockwise on the screen is negative."""
    g, _ = observed(BLUR)
    found = refine_psf(g, guess, rounds=1, workers=1)
    angle = np.radians(25 - turn)
    end = linalg.expm(found.parameters["map"]) @ [-np.sin(angle), np.cos(angle)]
    assert np.degrees(np.arctan2(-end[0], end[1])) == pytest.approx(25, abs=3)
    assert np.hypot(*end) == pytest.approx(growth, rel=0.08)


def test_scale_and_brightness_do_not_matter() -> None:
    g, _ = observed(BLUR)
    found, again = (refine_psf(image, WRONG, rounds=1, workers=1) for image in (g, 256 * g + 1000))
    assert again.scores == pytest.approx(found.scores, abs=1e-2)
    np.testing.assert_allclose(again.history[0]["psf"], found.history[0]["psf"], rtol=0, atol=1e-4)


def test_refining_can_be_ended_and_repeated() -> None:
    g, _ = observed(BLUR)
    seen: list[Any] = []

    def stop(state: Any) -> None:
        seen.append(state)
        if state.iteration == 2:
            raise StopIteration

    ended = refine_psf(g, WRONG, workers=1, callback=stop)
    assert (ended.converged, ended.n_iter, [s.total for s in seen]) == (False, 2, [4, 4])
    assert "ended by the caller" in ended.message
    again = refine_psf(g, WRONG, rounds=1, workers=1)
    np.testing.assert_array_equal(ended.history[1]["psf"], again.history[1]["psf"])
    single = refine_psf(g.astype(np.float32), WRONG, rounds=1, workers=1)
    assert similarity(single.psf, again.psf) > 0.999
    assert single.psf.dtype == np.float64


def test_bad_arguments() -> None:
    g, _ = observed(BLUR)
    with pytest.raises(ValueError, match="rounds"):
        refine_psf(g, WRONG, rounds=0)
    with pytest.raises(ValueError, match="psf"):
        refine_psf(g[:6, :6], WRONG)
    with pytest.raises(ValueError, match="fewer than 16 to a side"):
        refine_psf(g[:15], BLUR)
    with pytest.raises(ValueError, match="smaller than the image"):
        refine_psf(g[:20, :20], np.ones((20, 5)))
    with pytest.raises(TypeError, match="'alternating' has no option 'support'; its options are"):
        refine_psf(g, WRONG, support=None)
    small = ndimage.zoom(g, 0.2)
    assert refine_psf(small, np.pad(WRONG, 2), rounds=1, workers=1).psf.sum() == pytest.approx(1)
