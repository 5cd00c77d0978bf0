"""The direct methods, and the curves over lambda, against dense matrices built from direct sums."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import reference
from reference import GRIDS, Array

from lsdeblur import plan, restore
from lsdeblur._kernels import written_out
from lsdeblur._stage import Stage
from lsdeblur.spectrum import Spectra, penalty_symbol

EXACT = 1e-11  # rounding errors of 1e-16, times the condition number (below 1e4 here), times the number of operations
LAM = 0.03
OPERATOR = np.array([[0.3, -1.0, 0.2], [0.1, 0.5, -0.4]])  # asymmetric, even and odd, without a null space


def spectra(h: Array, P: Array, *images: Array) -> Spectra:
    """What the library computes on the frame's own grid, for images as channels."""
    shape = images[0].shape
    stage = Stage.make(h, shape, "periodic", (1.0,) * len(shape), workers=None, tol=1e-4, max_iter=50)
    return Spectra(stage.H, P, stage.transform(np.stack(images)), shape)


@pytest.mark.parametrize(("shape", "size"), GRIDS)
@pytest.mark.parametrize("penalty", ["identity", "gradient", "laplacian", "laplacian+gradient"])
def test_tikhonov_solves_the_normal_equations(shape: tuple[int, ...], size: tuple[int, ...], penalty: str) -> None:
    g, h = reference.image(shape), reference.psf(size)
    expected = reference.tikhonov(
        reference.convolution_matrix(h, shape), reference.penalty_matrix(penalty, shape), LAM, g
    )
    actual = restore(g, h, lam=LAM, penalty=penalty, boundary="periodic").image
    assert reference.relative_error(actual, expected) < EXACT


@pytest.mark.parametrize("spacing", [(1.0, 2.5), (3.0, 1.5), (2.0, 2.0)])
@pytest.mark.parametrize("penalty", ["gradient", "laplacian", "laplacian+gradient"])
@pytest.mark.parametrize("tau", [0.1, 2.0])
def test_spacing_and_tau(spacing: tuple[float, float], penalty: str, tau: float) -> None:
    """Only the ratios of the spacing count: lambda is in units of its smallest value."""
    shape = (7, 8)
    g, h = reference.image(shape), reference.psf((3, 4))
    P = reference.penalty_matrix(penalty, shape, tau=tau, spacing=[d / min(spacing) for d in spacing])
    expected = reference.tikhonov(reference.convolution_matrix(h, shape), P, LAM, g)
    actual = restore(g, h, lam=LAM, penalty=penalty, tau=tau, spacing=spacing, boundary="periodic").image
    assert reference.relative_error(actual, expected) < EXACT


@pytest.mark.parametrize("shape", [(7, 8), (8, 7), (6, 6)])
def test_operator_as_penalty(shape: tuple[int, int]) -> None:
    g, h = reference.image(shape), reference.psf((3, 2))
    P = reference.penalty_matrix(OPERATOR, shape)
    expected = reference.tikhonov(reference.convolution_matrix(h, shape), P, LAM, g)
    actual = restore(g, h, lam=LAM, penalty=OPERATOR, boundary="periodic").image
    assert reference.relative_error(actual, expected) < EXACT


def test_function_as_penalty() -> None:
    """A function of the frequencies returns the symbol itself: here that of second differences along the rows."""
    shape = (7, 8)
    g, h = reference.image(shape), reference.psf((3, 4))
    D = reference.gradient_matrix(shape, (1.0, 1.0))[g.size :]
    expected = reference.tikhonov(reference.convolution_matrix(h, shape), D.T @ D, LAM, g)
    actual = restore(g, h, lam=LAM, penalty=lambda rows, columns: 2 - 2 * np.cos(columns), boundary="periodic").image
    assert reference.relative_error(actual, expected) < EXACT


@pytest.mark.parametrize(("shape", "size"), GRIDS)
@pytest.mark.parametrize("penalty", ["identity", "laplacian+gradient"])
def test_exact_curves(shape: tuple[int, ...], size: tuple[int, ...], penalty: str) -> None:
    g, h = reference.image(shape), reference.psf(size)
    K, P = reference.convolution_matrix(h, shape), reference.penalty_matrix(penalty, shape)
    lams = np.array([0.01, 0.1, 3.0])
    actual = dataclasses.asdict(spectra(h, penalty_symbol(penalty, shape), g).exact().curves(lams))
    for i, lam in enumerate(lams):
        for name, expected in reference.curves(K, P, lam, g).items():
            value = actual[name] if np.isscalar(actual[name]) else actual[name][i]
            assert value == pytest.approx(expected, rel=EXACT), name


def test_curves_sum_over_channels() -> None:
    shape = (6, 7)
    images, h = [reference.image(shape, seed) for seed in range(3)], reference.psf((3, 2))
    K, P = reference.convolution_matrix(h, shape), reference.penalty_matrix("gradient", shape)
    dense = [reference.curves(K, P, LAM, g) for g in images]
    actual = dataclasses.asdict(spectra(h, penalty_symbol("gradient", shape), *images).exact().curves(LAM))
    for name, value in actual.items():
        if name != "lams" and value is not None:
            assert value == pytest.approx(sum(d[name] for d in dense), rel=EXACT), name


@pytest.mark.parametrize(("shape", "size"), [((64, 63), (5, 4)), ((63, 64), (4, 7)), ((12, 13, 14), (3, 2, 4))])
def test_binned_curves(shape: tuple[int, ...], size: tuple[int, ...]) -> None:
    """Within a bin s varies by a factor of at most 1 + 1/32, and every curve is a sum of functions of s.

    A sum over all frequencies alike (dof, logdet) is taken at the mean s of each bin, so its error is of second
    order: with the bin's relative variance of at most (1/64)^2, half of it times s^2 phi'' / phi, which is at most
    1/2 for ``s / (s + lam)``, and at most 1/2 for ``log(1 + s / lam)`` as well.
    The energy in a bin may lie at any s, so the error is of first order, log(1 + 1/32) times the largest
    ``|d log phi / d log s|``: 2 for the residual and the slope, 1 for the seminorm. That bounds any image. For white
    noise such errors are independent, so the sum's is smaller by the root of the number of values that share in it.
    """
    step = np.log1p(1 / 32)
    second = 0.5 * (1 / 64) ** 2 * 0.5
    h = reference.psf(size)
    data = spectra(h, penalty_symbol("laplacian+gradient", shape), np.random.default_rng(5).standard_normal(shape))
    exact, binned = data.exact(), data.binned()
    lams = exact.lambdas(40)
    a, b = exact.curves(lams), binned.curves(lams)

    assert len(binned.s) < len(exact.s) / 2
    assert (b.n_obs, b.n_seen, b.dof.shape) == (a.n_obs, a.n_seen, lams.shape)
    for name in ("dof", "logdet"):
        np.testing.assert_allclose(getattr(b, name), getattr(a, name), rtol=second)
    q = lams[:, np.newaxis] / (exact.s + lams[:, np.newaxis])
    terms = {"residual": (q**2, 2), "seminorm": (exact.s * q**2, 1), "slope": (exact.s * q**3, 2)}
    for name, (weights, steepness) in terms.items():
        parts = weights * exact.energy
        effective = parts.sum(axis=1) ** 2 / np.sum(parts**2, axis=1)
        error = np.abs(getattr(b, name) / getattr(a, name) - 1)
        assert np.all(error < np.expm1(steepness * step)), name
        assert np.all(error < 4 * steepness * step / np.sqrt(effective) + 4 * second), name


def test_binned_curves_of_any_image() -> None:
    """All of the energy at one frequency: the bound of first order holds, whatever the image."""
    shape = (64, 63)
    rows, columns = np.indices(shape)
    wave = np.cos(2 * np.pi * (5 * rows / 64 + 11 * columns / 63))
    data = spectra(reference.psf((5, 4)), penalty_symbol("laplacian", shape), wave)
    lams = data.exact().lambdas(40)
    exact, binned = data.exact().curves(lams), data.binned().curves(lams)
    for name, steepness in {"residual": 2, "seminorm": 1, "slope": 2}.items():
        error = np.abs(getattr(binned, name) / getattr(exact, name) - 1)
        assert np.all(error < np.expm1(steepness * np.log1p(1 / 32))), name


@pytest.mark.parametrize(
    "options",
    [
        {"method": "tikhonov", "lam": LAM},
        {"method": "tikhonov", "lam": LAM, "penalty": OPERATOR},
        {"method": "tikhonov", "lam": LAM, "penalty": lambda *w: sum(w) ** 2},
        {"method": "wiener", "nsr": LAM},
        {"method": "wiener", "noise_power": 0.01, "signal_power": OPERATOR @ OPERATOR.T},
        {"method": "wiener", "noise_power": lambda *w: 0.01, "signal_power": 1.0},
        {"method": "inverse", "threshold": 0.1},
    ],
)
def test_float32_stays_float32(options: dict[str, Any]) -> None:
    """Also inside: half of the memory and of the time depend on it. float64 PSFs and options do not promote."""
    g, h = reference.image((12, 11), dtype=np.float32), reference.psf((3, 4))
    plan32, plan64 = (plan(h, g.shape, dtype=dtype, boundary="zero", **options) for dtype in (np.float32, np.float64))
    stage = plan32.stage
    assert stage.H.dtype == plan32.gain.dtype == stage.transform(stage.extend(g)).dtype == np.complex64
    assert written_out(stage.penalty("laplacian+gradient")).dtype == np.float32
    assert restore(g, h, boundary="zero", **options).image.dtype == plan32(g).dtype == np.float32
    assert plan64.gain.dtype == np.complex128
    # One rounding error of the data is amplified by no more than the gain, some more are made by the transforms.
    tolerance = 10 * np.finfo(np.float32).eps * np.abs(plan64.gain).max()
    np.testing.assert_allclose(plan32(g), plan64(g), rtol=0, atol=tolerance * np.abs(plan64(g)).max())


@pytest.mark.parametrize("chosen", ["auto", "gcv"])
@pytest.mark.parametrize(("method", "name"), [("tikhonov", "lam"), ("wiener", "nsr")])
def test_float32_chooses_as_float64(method: str, name: str, chosen: str) -> None:
    """The same strength but for single precision, and float32 all the way.

    Where spectra differ by 1e-7, values near the edge of a bin change sides: some of 2000, each a part of 1e-3 of the
    sums and moved by a step of 3 %.
    """
    scene = np.add.outer(np.sin(np.arange(64) / 5), np.cos(np.arange(63) / 7) > 0)
    h = reference.psf((5, 4))
    noise = 0.02 * np.random.default_rng(0).standard_normal(scene.shape)
    g = (reference.blur(scene, h, "periodic") + noise).astype(np.float32)
    single, double = (
        restore(g.astype(dtype), h, method=method, boundary="periodic", **{name: chosen}) for dtype in ("f4", "f8")
    )
    assert (single.image.dtype, double.image.dtype) == (np.float32, np.float64)
    assert isinstance(single.lam, float)
    assert single.lam == pytest.approx(double.lam, rel=1e-4)


@pytest.mark.parametrize("shape", [(7, 8), (8, 8), (9, 7)])
def test_wiener_with_power_spectra(shape: tuple[int, int]) -> None:
    """The linear estimate of least error for Gaussian vectors with circulant covariances; the mean is not damped."""
    g, h = reference.image(shape), reference.psf((4, 3))
    signal = np.outer([0.2, 0.9, 0.2], [0.1, 0.4, 1.0, 0.4, 0.1])  # autocovariances: symmetric, lag zero in the middle
    noise = np.array([[0.0, 0.02, 0.0], [0.03, 0.2, 0.03], [0.0, 0.02, 0.0]])
    K, N, S = (reference.convolution_matrix(a, shape) for a in (h, noise, signal))
    damped = reference.wiener(K, N, S, g)
    expected = damped - damped.mean() + g.mean() / h.sum()
    options = {"method": "wiener", "noise_power": noise, "signal_power": signal, "boundary": "periodic"}
    assert reference.relative_error(restore(g, h, **options).image, expected) < EXACT

    white = reference.wiener(K, 0.07 * np.eye(g.size), S, g)
    expected = white - white.mean() + g.mean() / h.sum()
    for power in (0.07, [[0.07]], lambda rows, columns: 0.07):
        actual = restore(g, h, **(options | {"noise_power": power})).image
        assert reference.relative_error(actual, expected) < EXACT


@pytest.mark.parametrize(("shape", "size"), GRIDS)
def test_wiener_with_a_constant_ratio(shape: tuple[int, ...], size: tuple[int, ...]) -> None:
    g, h = reference.image(shape), reference.psf(size)
    eye = np.eye(g.size)
    damped = reference.wiener(reference.convolution_matrix(h, shape), LAM * eye, eye, g)
    expected = damped - damped.mean() + g.mean()
    actual = restore(g, h, method="wiener", nsr=LAM, boundary="periodic").image
    assert reference.relative_error(actual, expected) < EXACT


@pytest.mark.parametrize(("shape", "size"), GRIDS)
@pytest.mark.parametrize("threshold", [0.1, 0.3])
def test_inverse_is_a_truncated_pseudo_inverse(shape: tuple[int, ...], size: tuple[int, ...], threshold: float) -> None:
    """The threshold is relative to |H(0)|, which is the largest singular value when the PSF is positive."""
    g, h = reference.image(shape), 1.5 * reference.psf(size)
    K = reference.convolution_matrix(h, shape)
    assert np.linalg.matrix_rank(K, tol=threshold * 1.5) < g.size  # something is truncated
    expected = reference.truncated_inverse(K, threshold, g)
    actual = restore(g, h, method="inverse", threshold=threshold, boundary="periodic").image
    assert reference.relative_error(actual, expected) < EXACT


def test_the_threshold_of_the_inverse_is_each_channels_own() -> None:
    """PSFs of different sums: relative to its own |H(0)| each is truncated alike."""
    g, h = reference.image((7, 8)), reference.psf((3, 4))
    options = {"method": "inverse", "threshold": 0.3, "boundary": "periodic"}
    both = restore(np.stack([g, g]), np.stack([0.6 * h, 1.8 * h]), channel_axis=0, **options).image
    np.testing.assert_allclose(0.6 * both[0], restore(g, h, **options).image, rtol=0, atol=EXACT)
    np.testing.assert_allclose(1.8 * both[1], 0.6 * both[0], rtol=0, atol=EXACT)


@pytest.mark.parametrize("penalty", ["identity", "laplacian+gradient"])
@pytest.mark.parametrize("boundary", ["periodic", "taper"])
def test_selection_holds_the_curves_of_the_restored_image(penalty: str, boundary: str) -> None:
    """Residual and seminorm that a selection reports, against those of the image, within the bins' accuracy."""
    shape = (40, 33)
    h = reference.psf((4, 5))
    scene = np.zeros(shape)
    scene[10:22, 8:25] = 1
    g = reference.blur(scene, h, "periodic") + 0.02 * np.random.default_rng(1).standard_normal(shape)
    result = restore(g, h, lam="gcv", penalty=penalty, boundary=boundary)
    chosen = result.selection
    assert chosen is not None
    assert chosen.lam == result.lam
    assert np.all(np.diff(chosen.residual) > 0)
    assert np.all(np.diff(chosen.seminorm) < 0)
    assert np.all(np.diff(chosen.dof) < 0)
    if boundary == "periodic":
        f = result.image.ravel()
        P = reference.penalty_matrix(penalty, shape)
        residual = np.sum((reference.blur(result.image, h, "periodic") - g) ** 2)
        at = np.log(result.lam)
        bins = 2 / 32 + 0.01  # first order in the bins' width, and the interpolation in lambda
        assert np.interp(at, np.log(chosen.lams), chosen.residual) == pytest.approx(residual, rel=bins)
        assert np.interp(at, np.log(chosen.lams), chosen.seminorm) == pytest.approx(f @ P @ f, rel=bins)
