"""Richardson-Lucy: the greatest likelihood, borders, flux, positivity, the stops, and the passes it is made of."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import reference
from reference import Array

from lsdeblur import _kernels, noise, psf, restore
from lsdeblur.errors import ConvergenceWarning
from lsdeblur.iterative import _poisson

GRIDS = [((11, 12), (3, 4)), ((12, 9), (4, 3)), ((5, 6, 7), (2, 3, 2))]


def photons(shape: tuple[int, ...], h: Array, peak: float = 100.0, seed: int = 0) -> Array:
    """Counts of a camera's frame: two bright boxes on a darker ground, one of them cut by the frame."""
    f = np.full([n + s - 1 for n, s in zip(shape, h.shape, strict=True)], 0.1 * peak)
    f[tuple(slice(2, 6) for _ in shape)] = peak
    f[tuple(slice(n - 5, None) for n in f.shape)] = 0.5 * peak
    return np.random.default_rng(seed).poisson(reference.blur(f, h, "valid")).astype(float)


def deconvolve(g: Any, h: Any, **options: Any) -> Any:
    return restore(g, h, method="richardson-lucy", **options)


def iterated(g: Any, h: Any, n: int, **options: Any) -> Array:
    return deconvolve(g, h, stop="none", max_iter=n, **options).image


@pytest.mark.parametrize("background", [0.0, 7.0])
def test_the_optimum_is_that_of_a_generic_solver(background: float) -> None:
    """The likelihood of the frame alone, maximised over scenes that extend beyond it."""
    from scipy.optimize import minimize

    h = reference.psf((2, 3))
    g = photons((6, 7), h, 30.0) + background
    scene = (7, 9)
    A = np.stack([reference.blur(e.reshape(scene), h, "valid").ravel() for e in np.eye(63)], axis=1)
    d = g.ravel()

    def deviance(f: Array) -> tuple[float, Array]:
        m = A @ f + background + 1e-12
        return 2 * float(np.sum(d * np.log(np.where(d > 0, d, 1) / m) - d + m)), 2 * A.T @ (1 - d / m)

    options = {"maxiter": 20000, "maxfun": 50000, "ftol": 1e-15, "gtol": 1e-10}
    best = minimize(deviance, np.full(63, g.mean()), jac=True, bounds=[(0, None)] * 63, options=options).fun
    seen: list[float] = []
    iterated(g, h, 2000, background=background, callback=lambda state: seen.append(state.objective))
    assert seen[-1] == pytest.approx(best, rel=1e-4)
    assert seen[-1] > best * (1 - 1e-9)


@pytest.mark.parametrize("options", [{}, {"background": 5.0}, {"read_noise": 4.0, "gain": 1.0}, {"boundary": "edge"}])
@pytest.mark.parametrize("accelerated", [True, False])
def test_the_likelihood_never_falls(options: dict[str, Any], accelerated: bool) -> None:
    h, seen = reference.psf((3, 4)), []
    g = photons((20, 23), h)
    iterated(g, h, 300, accelerated=accelerated, callback=lambda state: seen.append(state.objective), **options)
    assert len(seen) == 300
    assert all(b <= a * (1 + 1e-12) for a, b in itertools.pairwise(seen))


def test_acceleration_saves_most_iterations() -> None:
    h = reference.psf((5, 6))
    g = photons((40, 41), h, 1000.0)
    reached: dict[bool, list[float]] = {True: [], False: []}
    for accelerated, seen in reached.items():
        iterated(g, h, 100, accelerated=accelerated, callback=lambda state, seen=seen: seen.append(state.objective))
    assert reached[True][25] < reached[False][-1]


@pytest.mark.parametrize(("shape", "size"), GRIDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_borders_and_masks_make_no_rim(shape: tuple[int, ...], size: tuple[int, ...], dtype: type) -> None:
    """A frame of an even scene is restored as an even scene, at its edges and under a mask, by any number of steps."""
    g = np.full(shape, 3, dtype)
    mask = np.random.default_rng(0).random(shape) < 0.2
    for n, options in itertools.product((1, 5, 20), ({}, {"mask": mask}, {"boundary": "symmetric"})):
        even = iterated(np.where(mask, np.nan, g) if "mask" in options else g, reference.psf(size), n, **options)
        assert even.dtype == dtype
        np.testing.assert_allclose(even, 3, rtol=2e-5 if dtype == np.float32 else 1e-12)


@pytest.mark.parametrize(("shape", "size"), GRIDS)
def test_an_object_within_the_frame_keeps_its_light(shape: tuple[int, ...], size: tuple[int, ...]) -> None:
    f = np.zeros([n + 3 * s for n, s in zip(shape, size, strict=True)])
    f[tuple(slice(2 * s, -2 * s) for s in size)] = 50
    h = reference.psf(size)
    g = np.random.default_rng(0).poisson(reference.blur(f, h, "zero")).astype(float)
    for n in (2, 10, 50):
        assert iterated(g, h, n, boundary="zero").sum() == pytest.approx(g.sum(), rel=1e-4)
        assert iterated(g, h, n).sum() == pytest.approx(g.sum(), rel=1e-3)


def test_positive_even_where_data_are_not() -> None:
    h = reference.psf((3, 4))
    g = photons((20, 23), h) - 12
    result = deconvolve(g, h)
    assert g.min() < 0 < result.image.min()
    assert "of the values, below zero, count as zero" in result.message
    np.testing.assert_array_equal(iterated(g, h, 9, gain=1), iterated(np.maximum(g, 0), h, 9, gain=1))


def test_a_point_is_found_where_it_was() -> None:
    """With an asymmetric PSF, on odd and even frames."""
    h = reference.psf((5, 4), seed=3)
    for shape in ((16, 17), (17, 16)):
        f = np.zeros(shape)
        f[8, 6] = 1000
        restored = iterated(reference.blur(f, h, "zero"), h, 500)
        assert restored[8, 6] == pytest.approx(1000, rel=0.01)
        assert np.sort(restored.ravel())[-2] < 10


def test_read_noise_is_a_shift_of_data_and_model() -> None:
    h = reference.psf((3, 4))
    g = photons((20, 23), h) + np.random.default_rng(1).normal(0, 3, (20, 23))
    shifted = iterated(g + 9 / 0.5, h, 15, background=9 / 0.5)
    np.testing.assert_allclose(iterated(g, h, 15, read_noise=3.0, gain=0.5), shifted, rtol=1e-10)
    array = np.broadcast_to(18.0, g.shape)
    np.testing.assert_allclose(iterated(g + 18, h, 15, background=array), shifted, rtol=1e-10)


@pytest.mark.parametrize("options", [{}, {"stop": "whiteness"}, {"stop": "discrepancy"}, {"tv": "auto"}])
def test_units_do_not_matter(options: dict[str, Any]) -> None:
    """The gain is found, the stop does not change, and the image scales."""
    h = reference.psf((3, 4))
    g = photons((40, 43), h, 2000.0)
    counts, scaled = deconvolve(g, h, **options), deconvolve(g / 256, h, **options)
    assert scaled.n_iter == counts.n_iter > 1
    np.testing.assert_allclose(256 * scaled.image, counts.image, rtol=1e-9)


@pytest.mark.parametrize("with_psf", [True, False])
@pytest.mark.parametrize(("peak", "gain", "read_noise"), [(3, 0.5, 0), (100, 0.01, 0), (100, 2.0, 5.0)])
def test_the_gain_is_found(with_psf: bool, peak: float, gain: float, read_noise: float) -> None:
    h = np.outer(*[np.exp(-(np.linspace(-3, 3, 13) ** 2) / 2)] * 2)
    h /= h.sum()
    g = gain * photons((200, 190), h, peak) + read_noise * np.random.default_rng(3).standard_normal((200, 190))
    found = noise.estimate_gain(g, h if with_psf else None, read_noise=read_noise)
    assert found == pytest.approx(gain, rel=0.06)


def test_the_discrepancy_stops_at_what_photons_make() -> None:
    """Right after the deviance has come below its expectation, computed from sums over Poisson's probabilities."""
    h, seen = reference.psf((5, 6)), []
    g = photons((50, 51), h, 20.0)
    result = deconvolve(g, h, gain=1, stop="discrepancy", callback=lambda state: seen.append(state.objective))
    assert result.converged
    scene = iterated(g, h, result.n_iter)
    np.testing.assert_array_equal(scene, result.image)
    m = reference.blur(scene, h, "valid").ravel()
    expected = np.mean(_poisson.expected_deviance(m)) * g.size
    assert seen[-1] > expected
    later: list[float] = []
    iterated(g, h, result.n_iter + 1, callback=lambda state: later.append(state.objective))
    assert later[-1] < 1.005 * expected


def test_total_variation_flattens() -> None:
    h = reference.psf((3, 4))
    g = photons((30, 31), h, 50.0)
    rough, smooth = iterated(g, h, 40), iterated(g, h, 40, tv=0.05)
    variation = [sum(np.abs(np.diff(f, axis=axis)).sum() for axis in (0, 1)) for f in (rough, smooth)]
    assert variation[1] < 0.6 * variation[0]


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (2.0, 1.0)])
@pytest.mark.parametrize("shape", [(5, 6), (3, 4, 5)])
def test_bend_is_the_derivative_of_total_variation(shape: tuple[int, ...], spacing: tuple[float, ...]) -> None:
    spacing = (*spacing, 1.0)[: len(shape)]
    f, step = reference.image(shape), 1e-6
    derivative = _poisson.bend(f, spacing, 0.1)[0]
    for index in itertools.islice(np.ndindex(shape), 0, None, 7):
        e = np.zeros(shape)
        e[index] = step
        slope = sum(sign * _poisson.bend(f + sign * e, spacing, 0.1)[1].sum() for sign in (1, -1)) / (2 * step)
        assert -derivative[index] == pytest.approx(slope, abs=1e-6)


def test_expected_deviance() -> None:
    """Beside averages over random counts."""
    rng = np.random.default_rng(0)
    for m in (0.01, 0.3, 2.0, 30.0, 300.0):
        k = rng.poisson(m, 400_000)
        sample = 2 * (k * np.log(np.where(k > 0, k, 1) / m) - k + m)
        assert _poisson.expected_deviance(np.array(m)) == pytest.approx(sample.mean(), abs=5 * sample.std() / 632)
    assert _poisson.expected_deviance(np.array(39.99)) == pytest.approx(
        _poisson.expected_deviance(np.array(40)), rel=1e-5
    )


@pytest.mark.parametrize("body", ["loop", "twin"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(7, 5), (3, 4, 6)])
def test_passes(body: str, dtype: type, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled loops and NumPy's blocks beside the formulas."""
    monkeypatch.setattr(_kernels, "SMALL", 1 << 30 if body == "twin" else 0)
    monkeypatch.setattr(_kernels, "_BLOCK", 10)
    rng, close = np.random.default_rng(0), {"rtol": 1e-5, "atol": 1e-5}
    blurred, shift = rng.uniform(1, 20, shape).astype(dtype), rng.uniform(0, 2, shape).astype(dtype)
    counts = rng.poisson(blurred + shift).astype(dtype)
    counts.ravel()[:3] = -1, 0, 100
    m, d, seen = (blurred + shift).astype(float), counts.astype(float), counts >= 0
    terms = np.where(seen, 2 * (d * np.log(np.where(d > 0, d, 1) / m) - d + m), 0)
    ratio, residual = blurred.copy(), np.empty_like(blurred)
    assert _poisson.compare(ratio, counts, shift, 1e-6, residual) == pytest.approx(terms.sum(), rel=1e-5)
    np.testing.assert_allclose(ratio, np.where(seen, d / m, 0), **close)
    np.testing.assert_allclose(residual, np.sign(d - m) * np.sqrt(np.maximum(terms, 0)), rtol=1e-4, atol=2e-3)
    scene, correction, weight = (rng.uniform(0.5, 1, shape).astype(dtype) for _ in range(3))
    weight.ravel()[1] = 0
    step, before = rng.uniform(0.5, 1, (2, *shape)).astype(dtype)
    x = np.where(weight > 0, scene * correction / np.where(weight > 0, weight, 1), scene)
    previous = step.copy()
    across, along = _poisson.update(scene, correction, weight, step)
    np.testing.assert_allclose(correction, x, **close)
    np.testing.assert_allclose(step, x - scene, **close)
    assert across == pytest.approx(np.sum((x - scene) * previous), rel=1e-3, abs=1e-4)
    assert along == pytest.approx(np.sum((x - scene) ** 2), rel=1e-4)
    out = np.empty_like(x)
    _poisson.extrapolate(x, before, 0.7, out)
    np.testing.assert_allclose(out, x + 0.7 * (x - before) * np.minimum(1, x / before), **close)


def test_the_callback_ends_the_run() -> None:
    def end(state: Any) -> None:
        if state.iteration == 3:
            raise StopIteration

    g = photons((20, 23), reference.psf((3, 4)))
    result = deconvolve(g, reference.psf((3, 4)), stop="none", callback=end)
    assert (result.n_iter, result.converged) == (3, False)


def test_too_few_iterations_warn() -> None:
    g = photons((20, 23), reference.psf((3, 4)), 1e6)
    with pytest.warns(ConvergenceWarning, match=r"stop='auto' was not met within 2 iterations; raise max_iter"):
        assert not deconvolve(g, reference.psf((3, 4)), max_iter=2).converged


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"psf": [[0.5, -0.1, 0.6]]}, r"psf has negative values, down to -0\.1.*np\.maximum\(psf, 0\)"),
        ({"background": 1e9}, "image is no brighter than background.*lower background="),
        ({"background": -1.0}, "background must not be negative: -1"),
        ({"background": [1.0, 2.0]}, r"background of shape \(2,\) does not broadcast to .* \(1, 20, 23\)"),
        ({"tv": 0.3}, r"tv must be below 0\.236 for 2 axes, not 0\.3"),
        ({"tv": "much"}, "tv must be one of 'auto', not 'much'"),
        ({"gain": "high"}, "gain must be one of 'auto', not 'high'"),
        ({"gain": 0}, "gain must be greater than 0"),
        ({"read_noise": 1e6}, "read_noise hides the photon noise.*give gain="),
        ({"stop": "late"}, "stop must be one of 'auto', 'discrepancy', 'whiteness', 'none', not 'late'"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], match: str) -> None:
    h = options.pop("psf", reference.psf((3, 4)))
    with pytest.raises(ValueError, match=match):
        deconvolve(photons((20, 23), reference.psf((3, 4))), h, **options)


def test_a_psf_that_varies_is_refused() -> None:
    with pytest.raises(TypeError, match="a PSFGrid needs method='tikhonov' or 'cgls'"):
        deconvolve(np.ones((40, 43)), psf.rotation(3, shape=(40, 43)))


def test_a_gain_needs_light() -> None:
    with pytest.raises(ValueError, match="image has no light, its mean is not positive"):
        noise.estimate_gain(np.zeros((8, 8)))
