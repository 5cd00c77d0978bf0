"""Splitting methods: their solutions beside known optima, closed forms and other solvers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import reference
from reference import Array
from scipy.optimize import lsq_linear, minimize

from lsdeblur import Problem, _kernels, psf, restore, simulate
from lsdeblur.errors import ConvergenceWarning, LsdeblurWarning
from lsdeblur.iterative import _loops
from lsdeblur.iterative._gradient import Gradient, gradient_lengths, power_shrinkage
from lsdeblur.iterative._observed import Observed
from lsdeblur.iterative._splitting import Channel, run
from lsdeblur.iterative.wavelet import Wavelets, analysis, independent, powers, synthesis
from lsdeblur.spectrum import penalty_symbol, symbol

TIGHT = {"tol": 1e-4, "max_iter": 5000}
SHAPES = [(7, 6), (8, 9), (3, 4, 5)]


@pytest.fixture(params=["loop", "twin", "threads"])
def body(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(_kernels, "SMALL", 1 << 30 if request.param == "twin" else 0)
    monkeypatch.setattr(_kernels, "_THREAD", 8 if request.param == "threads" else 1 << 30)
    monkeypatch.setattr(_kernels, "_BLOCK", 10)
    return str(request.param)


def differences(f: Array, spacing: tuple[float, ...]) -> Array:
    return np.stack([(np.roll(f, -1, k) - f) / d for k, d in enumerate(spacing)])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("p", [1.0, 0.5])
@pytest.mark.usefixtures("body")
def test_shrinking_the_gradient(shape: tuple[int, ...], dtype: type, p: float) -> None:
    """Both passes beside the formulas: the second is the adjoint of the differences."""
    rng = np.random.default_rng(0)
    spacing = (1.0, 2.0, 1.5)[: len(shape)]
    f, a = rng.standard_normal(shape).astype(dtype), rng.standard_normal((len(shape), *shape)).astype(dtype)
    ratios = power_shrinkage(0.7, p).astype(dtype)

    def v(a: Array) -> Array:
        t = np.linalg.norm(a.astype(float), axis=0)
        q = np.interp(t, ratios[0] * np.arange(ratios.size - 1), ratios[1:]) if p < 1 else np.maximum(1 - 0.7 / t, 0)
        return q * a

    expected = a + 1.8 * (differences(f, spacing) - v(a))
    w = np.empty_like(a)
    _loops.shrunk(f, a, spacing, ratios, 1.8, w, workers=3)
    rounding = {np.float32: 1e-5, np.float64: 1e-12}[dtype]
    np.testing.assert_allclose(a, expected, rtol=0, atol=rounding)
    np.testing.assert_allclose(w, 2 * v(a) - a, rtol=0, atol=rounding)
    out = np.empty_like(f)
    _loops.shrunk_adjoint(w, spacing, 0.3, out, workers=3)
    g = rng.standard_normal(shape)
    assert np.vdot(out, g) == pytest.approx(0.3 * np.vdot(w, differences(g, spacing)), rel=100 * rounding)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.usefixtures("body")
def test_the_steps_in_scene_and_blurred_scene(shape: tuple[int, ...], dtype: type) -> None:
    rng = np.random.default_rng(0)
    b, r, g = (rng.standard_normal(shape).astype(dtype) for _ in range(3))
    M = rng.random(shape) < 0.6
    g *= M

    def u(b: Array) -> Array:
        return np.where(M, (g + 0.1 * b) / 1.1, b)

    expected, out = b + 1.8 * (r - u(b)), np.empty_like(b)
    _loops.fitted(b, r, g, M, 0.1, 1.8, out, workers=3)
    np.testing.assert_allclose(b, expected, rtol=0, atol=1e-5 if dtype == np.float32 else 1e-13)
    np.testing.assert_allclose(out, 0.1 * (2 * u(b) - b), rtol=0, atol=1e-5 if dtype == np.float32 else 1e-13)
    W, H = (rng.standard_normal((2, *n)) + 1j * rng.standard_normal((2, *n)) for n in (shape, shape))
    W, H, inverse = W.astype(np.result_type(dtype, np.complex64)), H[0], rng.random(shape).astype(dtype)
    H = H.astype(W.dtype)
    F = (W[0] + H.conj() * W[1]) * inverse
    _loops.paired(W, H, inverse, workers=3)
    np.testing.assert_allclose(W, [F, H * F], rtol=0, atol=1e-5 if dtype == np.float32 else 1e-13)


@pytest.mark.parametrize("p", [0.5, 2 / 3, 0.8])
@pytest.mark.parametrize("weight", [0.01, 3.0])
def test_power_shrinkage_minimises(p: float, weight: float) -> None:
    """``1/2 (x - t)^2 + weight x^p`` is nowhere smaller than at q t."""
    ratios = power_shrinkage(weight, p)
    scale = ratios[0] * 64
    for t in scale * np.array([0.3, 1.0, 1.6, 2.0, 5.0, 40.0]):
        x = np.interp(t, ratios[0] * np.arange(ratios.size - 1), ratios[1:]) * t
        trial = np.linspace(0, t, 200001)
        cost = 0.5 * (trial - t) ** 2 + weight * trial**p
        assert 0.5 * (x - t) ** 2 + weight * x**p <= cost.min() + 1e-6 * scale**2
    assert power_shrinkage(weight, 1.0).tolist() == [weight]


def test_the_split_of_the_gradient_at_its_fixed_point() -> None:
    """Where ``v = D f``, and the dual fits, a step changes nothing."""
    f = np.zeros((9, 8))
    f[3:6, 2:7] = 5.0
    split = Gradient(f.shape, (1.0, 1.0), 0.3, 1.0, 0.6, f.dtype)
    first = split.begin(f).copy()
    np.testing.assert_allclose(split.step(f, 1.8), first, rtol=0, atol=1e-12)
    D = symbol("gradient", f.shape)
    np.testing.assert_allclose(split.symbol, 0.6 * D.full(), rtol=1e-12)  # type: ignore[union-attr]


def test_gradient_lengths() -> None:
    f = 3 * np.arange(5.0)[:, np.newaxis] + 8 * np.arange(4.0)
    lengths = gradient_lengths(f[np.newaxis], (1.0, 2.0))
    assert lengths.shape == (1, 4, 3)
    np.testing.assert_allclose(lengths, 5.0)
    assert gradient_lengths(f[np.newaxis], (1.0, 2.0), periodic=True).shape == (1, 5, 4)


def observation(shape: tuple[int, ...] = (7, 8), boundary: str = "free") -> tuple[Array, Array, Observed]:
    """A scene's blurred image, PSF, and what is observed of it."""
    rng = np.random.default_rng(0)
    h = reference.psf((2, 3))
    g = reference.blur(rng.random(shape), h, "periodic") + 0.02 * rng.standard_normal(shape)
    (seen,) = Observed.all_of(Problem(g[np.newaxis], h[np.newaxis], boundary, (1.0, 1.0)))
    return g, h, seen


def minimum(seen: Observed, penalty: Callable[[Array], tuple[float, Array]], bounds: Any = None) -> Array:
    """Frame of the best scene."""
    return seen.frame(best_scene(seen, penalty, bounds))


def best_scene(seen: Observed, penalty: Callable[[Array], tuple[float, Array]], bounds: Any = None) -> Array:
    """The minimum of ``1/2 ||M (h * f) - g||^2`` plus a penalty given with its gradient, by L-BFGS."""

    def objective(x: Array) -> tuple[float, Array]:
        f = x.reshape(seen.grid)
        rest = seen.blur(f) - seen.data
        value, gradient = penalty(f)
        return 0.5 * float(np.vdot(rest, rest)) + value, (seen.adjoint(rest) + gradient).ravel()

    options = {"maxiter": 20000, "maxfun": 20000, "ftol": 1e-15, "gtol": 1e-8}
    limits = None if bounds is None else [bounds] * seen.data.size
    found = minimize(objective, seen.data.ravel(), jac=True, method="L-BFGS-B", bounds=limits, options=options)
    return found.x.reshape(seen.grid)


@pytest.mark.parametrize("boundary", ["periodic", "free"])
def test_total_variation_is_the_minimum(boundary: str) -> None:
    """Of the objective with ``sqrt(|grad|^2 + epsilon^2)``."""
    g, h, seen = observation(boundary=boundary)
    lam, epsilon = 0.02, 5e-4

    def penalty(f: Array) -> tuple[float, Array]:
        d = differences(f, (1.0, 1.0))
        t = np.sqrt((d**2).sum(axis=0) + epsilon**2)
        return lam * float(t.sum()), lam * sum(np.roll(w, 1, k) - w for k, w in enumerate(d / t))

    result = restore(g, h, method="tv", lam=lam, boundary=boundary, **TIGHT)
    assert result.converged
    np.testing.assert_allclose(result.image, minimum(seen, penalty), rtol=0, atol=1e-2)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_wavelets_are_a_tight_frame(shape: tuple[int, ...], dtype: type) -> None:
    """The adjoint undoes the transform, in the image's precision."""
    rng = np.random.default_rng(0)
    f = rng.standard_normal(shape).astype(dtype)
    bands = list(analysis(f, 3))
    assert [band.dtype for band in bands] == [f.dtype] * (3 * (2 ** len(shape) - 1) + 1)
    rounding = 1e-5 if dtype == np.float32 else 1e-13
    np.testing.assert_allclose(synthesis(bands, 3), f, rtol=0, atol=rounding)
    others = [rng.standard_normal(shape).astype(dtype) for _ in bands]
    inner = sum(float(np.vdot(w, band)) for w, band in zip(others, bands, strict=True))
    assert np.vdot(synthesis(others, 3), f) == pytest.approx(inner, abs=100 * rounding)


@pytest.mark.parametrize("shape", [(16, 24), (8, 16, 8)])
def test_powers_of_the_wavelets(shape: tuple[int, ...]) -> None:
    """The transform of a point, band by band, and the energies that count independent coefficients."""
    point = np.zeros(shape)
    point[(0,) * len(shape)] = 1.0
    *details, _ = analysis(point, 3)
    energies = []
    for band, P in zip(details, powers(shape, 3), strict=True):
        np.testing.assert_allclose(np.abs(np.fft.rfftn(band)) ** 2, P, rtol=0, atol=1e-14)
        energies.append(np.sum(band**2))
    np.testing.assert_allclose(energies, independent(len(shape), 3), rtol=1e-12)


def test_the_split_of_the_wavelets_at_its_fixed_point() -> None:
    """Where ``v = W f``, and the duals fit, a step changes nothing."""
    f = np.zeros((16, 24))
    f[3:9, 2:7] = 5.0
    lam, mu = np.linspace(0.01, 0.02, 9), np.linspace(0.5, 1.0, 9)
    split = Wavelets(f.shape, lam, mu, 3, f.dtype)
    first = split.begin(f).copy()
    np.testing.assert_allclose(split.step(f, 1.8), first, rtol=0, atol=1e-12)


@pytest.mark.parametrize("boundary", ["periodic", "free"])
def test_sparse_wavelets_are_the_minimum(boundary: str) -> None:
    """The objective beside that at the optimum for ``sqrt(x^2 + epsilon^2)`` in place of ``|x|``."""
    g, h, seen = observation(boundary=boundary)
    lam, epsilon = np.linspace(0.01, 0.03, 9), 5e-4

    def penalty(f: Array) -> tuple[float, Array]:
        *details, left = analysis(f, 3)
        roots = [np.sqrt(w**2 + epsilon**2) for w in details]
        value = sum(a * float(t.sum()) for a, t in zip(lam, roots, strict=True))
        slopes = [a * w / t for a, w, t in zip(lam, details, roots, strict=True)]
        return value, synthesis([*slopes, 0 * left], 3)

    def exact(f: Array) -> float:
        rest = seen.blur(f) - seen.data
        *details, _ = analysis(f, 3)
        l1 = sum(a * float(np.abs(w).sum()) for a, w in zip(lam, details, strict=True))
        return 0.5 * float(np.vdot(rest, rest)) + l1

    channel = Channel(seen, seen.data.copy(), [Wavelets(seen.grid, lam, lam / 0.1, 3, seen.data.dtype)], mu=0.1)
    run(Problem(g[np.newaxis], h[np.newaxis], boundary, (1.0, 1.0)), [channel], 1e-7, 20000)
    smoothed = exact(best_scene(seen, penalty))
    gap = epsilon * float(lam.sum()) * seen.data.size  # by which smoothing changes the objective at most
    assert smoothed - gap <= exact(channel.scene) <= smoothed


def test_wavelets_in_three_dimensions() -> None:
    """Boxes come back better than from a linear filter, and of stripes, which have no detail along an axis, all."""
    rng = np.random.default_rng(0)
    f = np.zeros((26, 28, 30))
    for _ in range(8):
        i, j, k = rng.integers(0, 18, 3)
        f[i : i + 8, j : j + 10, k : k + 9] += rng.random()
    h = psf.gaussian(1.0, size=7, ndim=3)
    g = simulate.add_noise(simulate.blur(f, h, boundary="valid"), noise_std=0.01, rng=0)
    truth = simulate.valid_part(f, h)
    errors = [np.mean((restore(g, h, method=m).image - truth) ** 2) for m in ("tikhonov", "wavelet")]
    assert errors[1] < 0.7 * errors[0]
    stripes = np.tile(np.repeat([0.0, 1.0, 0.3], 8), (21, 1))
    noise = 0.01 * rng.standard_normal(24)
    image = restore(stripes + noise, psf.gaussian(1.0), method="wavelet", boundary="periodic").image
    np.testing.assert_allclose(image, image[:1] + 0 * image, rtol=0, atol=1e-6)


def test_strengths_of_wavelets_are_told() -> None:
    g, h, _ = piecewise()
    one, double = (restore(g, h, method="wavelet", lam=lam) for lam in ("auto", 2.0))
    assert (one.lam, double.lam) == (1.0, 2.0)
    strengths = [[float(s) for s in r.message.split(" from")[0].split(" ", 1)[1].split(", ")] for r in (one, double)]
    np.testing.assert_allclose(strengths[1], 2 * np.array(strengths[0]), rtol=0.02)
    assert np.abs(np.diff(double.image)).mean() < np.abs(np.diff(one.image)).mean()


@pytest.mark.parametrize("bounds", [(0.4, None), (0.3, 0.6)])
@pytest.mark.parametrize("boundary", ["periodic", "free"])
def test_constrained_is_the_minimum(bounds: tuple[float, float | None], boundary: str) -> None:
    g, h, seen = observation(boundary=boundary)
    lam, P = 3e-3, penalty_symbol("laplacian+gradient", seen.grid)

    def penalty(f: Array) -> tuple[float, Array]:
        rough = lam * seen.filtered(P, f)
        return 0.5 * float(np.vdot(f, rough)), rough

    expected = minimum(seen, penalty, bounds)
    result = restore(g, h, method="constrained", lam=lam, bounds=bounds, boundary=boundary, tol=1e-7, max_iter=20000)
    assert np.count_nonzero(expected == bounds[0]) > 3
    np.testing.assert_allclose(result.image, expected, rtol=0, atol=1e-3)


def test_constrained_beside_a_dense_solver() -> None:
    """`scipy.optimize.lsq_linear` with the penalty as further equations."""
    g, h, seen = observation(boundary="periodic")
    lam, units = 3e-3, np.eye(g.size).reshape(-1, *g.shape)
    root = lam**0.5 * np.sqrt(penalty_symbol("laplacian+gradient", seen.grid))
    system = np.stack([np.concatenate([seen.blur(e).ravel(), seen.filtered(root, e).ravel()]) for e in units], axis=1)
    data = np.concatenate([g.ravel(), np.zeros(g.size)])
    expected = lsq_linear(system, data, bounds=(0.4, np.inf), method="bvls").x.reshape(g.shape)
    image = restore(g, h, method="constrained", lam=lam, bounds=(0.4, None), boundary="periodic", **TIGHT).image
    np.testing.assert_allclose(image, expected, rtol=0, atol=1e-3)


def test_total_variation_of_a_disk() -> None:
    """A disk of radius R on a wide ground falls by 2 lam / R without blur; here up to the square grid's error."""
    y, x = np.mgrid[:128, :128] - 64
    disk = (np.hypot(x, y) < 24).astype(float)
    image = restore(disk, [[1.0]], method="tv", lam=1.2, boundary="periodic", tol=1e-5, max_iter=5000).image
    inside, outside = image[np.hypot(x, y) < 20].mean(), image[np.hypot(x, y) > 28].mean()
    assert inside == pytest.approx(1 - 2 * 1.2 / 24, abs=0.01)
    assert outside == pytest.approx(1.2 * 2 * np.pi * 24 / (128**2 - np.pi * 24**2), abs=0.004)


def test_bounds_that_do_not_bind_change_nothing() -> None:
    g, h, _ = observation((20, 21))
    free = restore(g, h)
    bound = restore(g, h, method="constrained", bounds=(-100, 100), **TIGHT)
    assert bound.lam == free.lam
    np.testing.assert_allclose(bound.image, free.image, rtol=0, atol=3e-3)


def piecewise(
    shape: tuple[int, int] = (70, 75), noise_std: float = 0.01, dtype: type = np.float64
) -> tuple[Array, Array, Array]:
    """Blurred image, PSF and truth of patches with sharp edges."""
    rng = np.random.default_rng(1)
    f = np.zeros((70, 75))
    for _ in range(12):
        i, j = rng.integers(0, 55, 2)
        f[i : i + 17, j : j + 14] += rng.random()
    h = psf.motion(7, 30)
    g = simulate.add_noise(simulate.blur(f, h, boundary="valid"), noise_std=noise_std, rng=0)
    return g, h, simulate.valid_part(f, h)


SPARSE = ["tv", "hyper-laplacian", "wavelet"]


@pytest.mark.parametrize("method", SPARSE)
def test_sharp_edges_come_back_better_than_from_a_linear_filter(method: str) -> None:
    g, h, truth = piecewise()
    errors = [np.mean((restore(g, h, method=m).image - truth) ** 2) for m in ("tikhonov", method)]
    assert errors[1] < 0.5 * errors[0]


@pytest.mark.parametrize("method", [*SPARSE, "constrained"])
@pytest.mark.parametrize("factor", [1e-3, 255.0])
def test_scales_with_the_image(method: str, factor: float) -> None:
    g, h, _ = piecewise()
    rounding = 0.03 if method == "hyper-laplacian" else 1e-6  # which minimum is found may turn on the last digit
    one, scaled = restore(g, h, method=method), restore(factor * g, h, method=method)
    np.testing.assert_allclose(scaled.image, factor * one.image, rtol=0, atol=rounding * factor)
    with pytest.warns(LsdeblurWarning, match="psf sums to 5"):
        gain = restore(g, 5 * h, method=method)
    np.testing.assert_allclose(5 * gain.image, one.image, rtol=0, atol=rounding)


@pytest.mark.parametrize("method", SPARSE)
def test_float32_is_float64_rounded(method: str) -> None:
    g, h, truth = piecewise()
    double, single = restore(g, h, method=method), restore(g.astype(np.float32), h, method=method)
    assert single.image.dtype == np.float32
    assert np.sqrt(np.mean((single.image - double.image) ** 2)) < 0.1 * np.sqrt(np.mean((double.image - truth) ** 2))


def test_lambda_of_more_noise_is_greater() -> None:
    found = [restore(*piecewise(noise_std=s)[:2], method="tv") for s in (0.005, 0.02)]
    assert found[0].lam is not None
    assert found[1].lam is not None
    assert found[1].lam > 3 * found[0].lam
    assert "lam" in found[0].message
    given = restore(*piecewise()[:2], method="tv", noise_std=0.02)
    assert given.noise_std == 0.02


@pytest.mark.parametrize("method", [*SPARSE, "constrained"])
def test_a_constant_image_stays(method: str) -> None:
    image = restore(np.full((20, 21), 3.0), psf.gaussian(1.0), method=method).image
    np.testing.assert_allclose(image, 3.0, rtol=1e-6)


@pytest.mark.parametrize("method", [*SPARSE, "constrained"])
def test_a_callback_sees_and_ends_the_iterations(method: str) -> None:
    g, h, _ = piecewise()
    seen: list[int] = []

    def until_three(state: Any) -> None:
        seen.append(state.iteration)
        if state.iteration == 3:
            raise StopIteration

    result = restore(g, h, method=method, callback=until_three)
    assert seen == [1, 2, 3]
    assert (result.n_iter, result.converged) == (3, False)
    with pytest.warns(ConvergenceWarning, match="raise max_iter or tol"):
        assert not restore(g, h, method=method, max_iter=2).converged


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"lam": 0}, ValueError, "lam"),
        ({"lam": "gcv"}, ValueError, "lam must be one of 'auto', not 'gcv'"),
        ({"noise_std": -1}, ValueError, "noise_std"),
        ({"tol": 0}, ValueError, "tol"),
        ({"max_iter": 0}, ValueError, "max_iter"),
        ({"bounds": (1, 0)}, ValueError, "lower one must be less"),
        ({"bounds": (1,)}, ValueError, "must be a pair"),
        ({"bounds": 3}, TypeError, "must be a pair"),
        ({"method": "hyper-laplacian", "exponent": 1.5}, ValueError, "exponent=1.5 must be at most 1"),
        ({"method": "constrained", "lam": -1}, ValueError, "lam"),
    ],
)
def test_bad_options(options: dict[str, Any], error: type[Exception], match: str) -> None:
    g, h, _ = piecewise()
    with pytest.raises(error, match=match):
        restore(g, h, **({"method": "tv"} | options))
