"""Free boundaries against dense matrices on the torus: the frame's pixels are observed, all others are unknown."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import reference
from reference import Array, Shape
from skimage import data

from lsdeblur import ConvergenceWarning, boundary, filters, free, metrics, plan, psf, restore, simulate
from lsdeblur._kernels import levinson
from lsdeblur.boundary import crop, grid_shape
from lsdeblur.noise import colour
from lsdeblur.spectrum import penalty_symbol, transfer_function

LAM = 0.03
EXACT = 1e-8  # rounding errors times the condition numbers of the normal equations, up to 1e6
SETTLED: dict[str, Any] = {"boundary": "free", "tol": 1e-24, "max_iter": 1000}

#: frames and PSFs, odd and even, wide and tall, down to a single row or pixel
FRAMES: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
    *reference.GRIDS,
    ((1, 12), (1, 4)),
    ((11, 1), (3, 1)),
    ((1, 1), (1, 1)),
    ((2, 3), (2, 2)),
]


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Grids 2 instead of 24 pixels larger than frame and PSF together, so that dense matrices stay small."""
    monkeypatch.setattr(boundary, "_MARGIN", 2)


def observed_rows(h: Array, shape: Shape, grid: Shape) -> Array:
    """M K, the rows of the periodic blur that belong to the pixels of the frame at the grid's origin."""
    frame = np.ravel_multi_index(np.ix_(*(np.arange(n) for n in shape)), grid).ravel()
    return reference.convolution_matrix(h, grid)[frame]


def dense_tikhonov(h: Array, P: Array, lam: float, g: Array, grid: Shape) -> Array:
    """The minimiser of ``||M K f - g||^2 + lam <f, P f>`` over all f on the grid."""
    K = observed_rows(h, g.shape, grid)
    return np.linalg.solve(K.T @ K + lam * P, K.T @ g.ravel()).reshape(grid)


def restored(
    h: Array, g: Array, penalty: str | Array = "laplacian+gradient", lam: float = LAM, **options: Any
) -> Array:
    """The frame of the dense solution on the library's own grid."""
    grid = grid_shape(g.shape, h.shape, "free")
    return crop(dense_tikhonov(h, reference.penalty_matrix(penalty, grid, **options), lam, g, grid), g.shape)


def torus_matrix(kernel: Array) -> Array:
    """The matrix of the periodic convolution with a kernel whose origin is pixel 0."""
    at = np.indices(kernel.shape).reshape(kernel.ndim, -1)
    apart = [(a[:, np.newaxis] - a) % n for a, n in zip(at, kernel.shape, strict=True)]
    return kernel[tuple(apart)]


def symbol(grid: Shape, h: Array, lam: float = LAM) -> Array:
    """Q of Tikhonov's filter on the half spectrum."""
    return filters.tikhonov_rest(transfer_function(h, grid), penalty_symbol("laplacian+gradient", grid), lam)


def random_symbol(grid: Shape, seed: int = 0) -> Array:
    """A positive one of no particular form: that of a random image's autocorrelation."""
    return 0.1 + np.abs(np.fft.rfftn(reference.image(grid, seed) - 0.5)) ** 2


def kernel_of(Q: Array, grid: Shape) -> Array:
    return np.fft.irfftn(Q, grid, range(len(grid)))


def split(Q: Array, shape: Shape, grid: Shape) -> tuple[Array, Array]:
    """The dense matrix of Q and which of its rows are unknown."""
    unknown = np.ones(grid, bool)
    crop(unknown, shape)[...] = False
    return torus_matrix(kernel_of(Q, grid)), unknown.ravel()


# Restorations.


@pytest.mark.parametrize(("shape", "size"), FRAMES)
@pytest.mark.usefixtures("narrow")
def test_tikhonov_solves_the_normal_equations_of_what_was_observed(
    shape: tuple[int, ...], size: tuple[int, ...]
) -> None:
    g, h = reference.image(shape), reference.psf(size)
    actual = restore(g, h, lam=LAM, **SETTLED)
    assert actual.converged
    assert reference.relative_error(actual.image, restored(h, g)) < EXACT
    again = plan(h, shape, lam=LAM, **SETTLED)
    assert reference.relative_error(again(g), restored(h, g)) < EXACT


def test_with_the_margin_of_the_library() -> None:
    g, h = reference.image((5, 6)), reference.psf((2, 3))
    assert reference.relative_error(restore(g, h, lam=LAM, **SETTLED).image, restored(h, g)) < EXACT


@pytest.mark.parametrize("lam", [1e-5, 1.0, 100.0])
@pytest.mark.parametrize("penalty", ["identity", "gradient", "laplacian", "laplacian+gradient"])
@pytest.mark.usefixtures("narrow")
def test_penalties(penalty: str, lam: float) -> None:
    g, h = reference.image((7, 8)), reference.psf((3, 4))
    actual = restore(g, h, lam=lam, penalty=penalty, **SETTLED).image
    assert reference.relative_error(actual, restored(h, g, penalty, lam)) < EXACT


@pytest.mark.usefixtures("narrow")
def test_operator_and_function_as_penalty() -> None:
    g, h = reference.image((7, 8)), reference.psf((3, 4))
    operator = np.array([[0.3, -1.0, 0.2], [0.1, 0.5, -0.4]])
    actual = restore(g, h, lam=LAM, penalty=operator, **SETTLED).image
    assert reference.relative_error(actual, restored(h, g, operator)) < EXACT
    actual = restore(g, h, lam=LAM, penalty=lambda *w: sum(2 - 2 * np.cos(v) for v in w), **SETTLED).image
    assert reference.relative_error(actual, restored(h, g, "gradient")) < EXACT


@pytest.mark.usefixtures("narrow")
def test_spacing_and_tau() -> None:
    g, h = reference.image((7, 8)), reference.psf((3, 4))
    actual = restore(g, h, lam=LAM, spacing=(1.0, 2.5), tau=2.0, **SETTLED).image
    assert reference.relative_error(actual, restored(h, g, spacing=(1.0, 2.5), tau=2.0)) < EXACT


@pytest.mark.usefixtures("narrow")
def test_zero_margins_of_the_psf() -> None:
    g, h = reference.image((7, 8)), reference.psf((3, 4))
    actual = restore(g, np.pad(h, 1), lam=LAM, **SETTLED).image
    assert reference.relative_error(actual, restored(h, g)) < EXACT


@pytest.mark.parametrize("n_psfs", [1, 3])
@pytest.mark.usefixtures("narrow")
def test_channels(n_psfs: int) -> None:
    channels = np.stack([reference.image((7, 8), seed) for seed in range(3)])
    psfs = [reference.psf((3, 4), seed) for seed in range(n_psfs)]
    h = psfs[0] if n_psfs == 1 else np.stack(psfs)
    actual = restore(np.moveaxis(channels, 0, -1), h, lam=LAM, channel_axis=-1, **SETTLED).image
    for i, g in enumerate(channels):
        assert reference.relative_error(actual[..., i], restored(psfs[i % n_psfs], g)) < EXACT


@pytest.mark.parametrize(("shape", "size"), FRAMES)
@pytest.mark.usefixtures("narrow")
def test_wiener_with_a_constant_ratio(shape: tuple[int, ...], size: tuple[int, ...]) -> None:
    """The mean over the grid is not penalised."""
    g, h = reference.image(shape), reference.psf(size)
    grid = grid_shape(shape, size, "free")
    n = math.prod(grid)
    expected = crop(dense_tikhonov(h, np.eye(n) - 1 / n, LAM, g, grid), shape)
    actual = restore(g, h, method="wiener", nsr=LAM, **SETTLED).image
    assert reference.relative_error(actual, expected) < EXACT


@pytest.mark.parametrize("shape", [(7, 8), (8, 5)])
@pytest.mark.parametrize("coloured", [False, True])
@pytest.mark.usefixtures("narrow")
def test_wiener_with_power_spectra(shape: tuple[int, int], coloured: bool) -> None:
    """The best linear estimate from the frame's pixels, for a mean of which nothing is known beforehand.

    With C the covariance of the data, the mean m is that of generalised least squares, and
    ``f = m + S K' M' C^-1 (g - m)`` for a PSF of sum 1.
    """
    g, h = reference.image(shape), reference.psf((4, 3))
    signal = np.outer([0.2, 0.9, 0.2], [0.1, 0.4, 1.0, 0.4, 0.1])
    noise = np.array([[0.0, 0.02, 0.0], [0.03, 0.2, 0.03], [0.0, 0.02, 0.0]]) if coloured else np.array([[0.07]])
    grid = grid_shape(shape, h.shape, "free")
    frame = observed_rows(np.ones((1, 1)), shape, grid)  # M
    MK, S = observed_rows(h, shape, grid), reference.convolution_matrix(signal, grid)
    C = MK @ S @ MK.T + frame @ reference.convolution_matrix(noise, grid) @ frame.T
    weights = np.linalg.solve(C, np.ones(g.size))
    mean = weights @ g.ravel() / weights.sum()
    expected = mean + (S @ MK.T @ np.linalg.solve(C, g.ravel() - mean)).reshape(grid)
    actual = restore(g, h, method="wiener", noise_power=noise, signal_power=signal, **SETTLED).image
    assert reference.relative_error(actual, crop(expected, shape)) < EXACT


@pytest.mark.parametrize("options", [{"lam": LAM}, {"method": "wiener", "nsr": LAM}, {"lam": "gcv"}])
def test_float32_is_close_to_float64(options: dict[str, Any]) -> None:
    """Settled so far that it does not matter where the iterations end; single precision then costs this much."""
    scene = data.camera()[200:264, 200:263] / 255
    h = psf.motion(7, 20)
    g = simulate.add_noise(simulate.blur(scene, h), noise_std=0.01, rng=0)
    double = restore(g, h, boundary="free", tol=1e-10, **options)
    single = restore(g.astype(np.float32), h, boundary="free", tol=1e-10, **options)
    assert single.image.dtype == np.float32
    assert reference.relative_error(single.image, double.image) < 2e-3


def test_iterations_are_counted_and_limited() -> None:
    g, h = reference.image((20, 21)), psf.motion(9, 30)
    settled = restore(g, h, lam=1e-4)
    assert settled.converged
    assert settled.n_iter > 1
    assert restore(g, h, lam=1e-4, tol=1e-12).n_iter > settled.n_iter
    with pytest.warns(ConvergenceWarning, match="not settled after 1 iterations; raise lam, max_iter or tol"):
        stopped = restore(g, h, lam=1e-4, max_iter=1)
    assert not stopped.converged
    assert stopped.n_iter == 1


def test_without_a_gap_nothing_is_unknown() -> None:
    """On its own grid a frame is periodic: no iteration, and the filter's own residual and cost."""
    grid = (12, 9)
    g, h = reference.image(grid), reference.psf((3, 2))
    found = free.System.of(symbol(grid, h), grid, grid).solve(np.fft.rfftn(g))
    np.testing.assert_array_equal(found.spectrum, np.fft.rfftn(g))
    assert (found.n_iter, found.converged) == (0, True)


# The system of the unknown pixels.

#: frame and grid: gaps along every axis, along one, wider than half of the grid, of one pixel
GAPS: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
    ((7, 8), (12, 15)),
    ((6, 9), (9, 14)),
    ((3, 2), (10, 9)),
    ((8, 9), (9, 10)),
    ((3, 4, 5), (6, 5, 8)),
]
ONE_GAP: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
    ((7, 12), (12, 12)),
    ((11, 8), (11, 13)),
    ((9, 3), (9, 10)),
    ((4, 5, 6), (9, 5, 6)),
    ((4, 5, 6), (4, 9, 6)),
    ((4, 5, 6), (4, 5, 10)),
]


@pytest.mark.parametrize(("shape", "grid"), GAPS + ONE_GAP)
def test_extension_is_the_cheapest(shape: tuple[int, ...], grid: tuple[int, ...]) -> None:
    """``Q_uu u = -Q_ug g`` for any positive symbol, from any start; the frame stays as it is."""
    Q, start = random_symbol(grid), reference.image(grid, 3)
    dense, unknown = split(Q, shape, grid)
    expected = start.ravel().copy()
    rows = dense[unknown]
    expected[unknown] = -np.linalg.solve(rows[:, unknown], rows[:, ~unknown] @ expected[~unknown])
    found = free.System.of(Q, shape, grid).solve(np.fft.rfftn(start), tol=1e-26, max_iter=1000)
    data = np.fft.irfftn(found.spectrum, grid, axes=tuple(range(len(grid))))
    np.testing.assert_allclose(crop(data, shape), crop(start, shape), rtol=0, atol=1e-13)
    assert reference.relative_error(data.ravel(), expected) < EXACT
    assert found.objective == pytest.approx(expected @ dense @ expected, rel=EXACT)


@pytest.mark.parametrize(("shape", "grid"), GAPS + ONE_GAP)
def test_objective_and_residual(shape: tuple[int, ...], grid: tuple[int, ...]) -> None:
    """Those of the dense minimiser f of ``||M K f - g||^2 + lam <f, P f>``."""
    h = reference.psf((2, 3, 4)[: len(grid)])
    start = reference.image(grid)
    g, P = crop(start, shape), reference.penalty_matrix("laplacian+gradient", grid)
    f = dense_tikhonov(h, P, LAM, g, grid).ravel()
    residual = np.sum((observed_rows(h, shape, grid) @ f - g.ravel()) ** 2)
    found = free.System.of(symbol(grid, h), shape, grid).solve(np.fft.rfftn(start), tol=1e-24, max_iter=1000)
    assert found.residual == pytest.approx(residual, rel=EXACT)
    assert found.objective == pytest.approx(residual + LAM * f @ P @ f, rel=EXACT)


def filtered(system: free.System, x: Array) -> Array:
    return np.fft.irfftn(system.Q * np.fft.rfftn(x), system.grid, axes=tuple(range(x.ndim)))


def preconditioned(system: free.System, r: Array) -> Array:
    z = np.zeros_like(r)
    for piece in (*system.bands, *system.holes):
        piece.add(z, piece.solve(piece.part(r), None))
    return z


@pytest.mark.parametrize(("shape", "grid"), GAPS + ONE_GAP)
def test_the_operator_is_symmetric_and_positive(shape: tuple[int, ...], grid: tuple[int, ...]) -> None:
    """So is the preconditioner, on the unknown pixels: conjugate gradients need both."""
    system = free.System.of(random_symbol(grid), shape, grid)
    a, b = (reference.image(grid, seed) - 0.5 for seed in (1, 2))
    Qa, Qb = (filtered(system, x) for x in (a, b))
    assert np.vdot(a, Qb) == pytest.approx(np.vdot(Qa, b), rel=1e-12)
    assert system._energy(np.fft.rfftn(a)) == pytest.approx(np.vdot(a, Qa), rel=1e-12)
    assert system._energy(np.fft.rfftn(a), squared=True) == pytest.approx(np.vdot(Qa, Qa), rel=1e-12)
    assert np.vdot(a, Qa) > 0
    for x in (a, b):
        crop(x, shape)[...] = 0
    Ma, Mb = (preconditioned(system, x) for x in (a, b))
    assert np.all(crop(Ma, shape) == 0)
    assert np.vdot(a, Mb) == pytest.approx(np.vdot(Ma, b), rel=1e-11)
    assert np.vdot(a, Ma) > 0


@pytest.mark.parametrize(("shape", "grid"), ONE_GAP)
def test_a_single_band_is_inverted_exactly(shape: tuple[int, ...], grid: tuple[int, ...]) -> None:
    """So that one iteration solves it."""
    system, r = free.System.of(random_symbol(grid), shape, grid), reference.image(grid)
    crop(r, shape)[...] = 0
    back = filtered(system, preconditioned(system, r))
    crop(back, shape)[...] = 0
    np.testing.assert_allclose(back, r, rtol=0, atol=1e-10)
    assert system.solve(np.fft.rfftn(reference.image(grid, 4)), tol=1e-20).n_iter <= 2


# Toeplitz matrices.


def toeplitz(lags: Array) -> Array:
    """Hermitian Toeplitz matrices (..., b, b) of lags (b, ...)."""
    b = len(lags)
    both = np.concatenate([np.conj(lags[:0:-1]), lags])
    return np.moveaxis(both[np.arange(b)[:, np.newaxis] - np.arange(b) + b - 1], (0, 1), (-2, -1))


def random_lags(b: int, seed: int = 0) -> Array:
    """Of four complex matrices at once, positive definite since their spectra are positive."""
    spectra = 0.05 + np.random.default_rng(seed).random((2 * b + 1, 2, 2)) ** 4
    return np.fft.ifft(spectra, axis=0)[:b]


WIDTHS = [1, 2, 3, 4, 7, 16]


@pytest.mark.parametrize("b", WIDTHS)
def test_levinson(b: int) -> None:
    lags = random_lags(b)
    first = np.moveaxis(levinson(lags), 0, -1)
    np.testing.assert_allclose(first, np.linalg.inv(toeplitz(lags))[..., 0], rtol=0, atol=1e-11)


@pytest.mark.parametrize("b", WIDTHS)
def test_inverse_times(b: int) -> None:
    lags, v = random_lags(b), random_lags(b, 1) * (1 + 2j)
    actual = free.inverse_times(free.toeplitz_factors(levinson(lags)), v)
    expected = np.linalg.solve(toeplitz(lags), np.moveaxis(v, 0, -1)[..., np.newaxis])[..., 0]
    np.testing.assert_allclose(np.moveaxis(actual, 0, -1), expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("grid", [(7, 8), (8, 7), (9, 9), (6, 10), (5, 6, 7), (6, 5, 4), (4, 6, 6), (1, 6), (6, 1)])
def test_band_lags(grid: tuple[int, ...]) -> None:
    """The kernel's transform along the other axes, of every width up to the whole grid."""
    Q = random_symbol(grid)
    for axis, n in enumerate(grid):
        rows = np.moveaxis(kernel_of(Q, grid), axis, 0)
        expected = np.fft.rfftn(rows, axes=range(1, rows.ndim))
        for width in range(1, n + 1):
            actual = free.band_lags(Q, grid, axis, width)
            np.testing.assert_allclose(actual, expected[:width], rtol=0, atol=1e-11, err_msg=f"{axis} {width}")


def test_a_plan_has_one_system(monkeypatch: pytest.MonkeyPatch) -> None:
    made, make = [], free.System.of
    monkeypatch.setattr(free.System, "of", lambda *args: made.append(1) or make(*args))
    plan(reference.psf((3, 4)), (9, 8), lam=LAM)
    assert len(made) == 1


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (8, 8)])
def test_traces_of_small_frames_are_exact(shape: Shape) -> None:
    """Each pixel is a probe."""
    h = reference.psf((1, 2) if shape[0] == 1 else (3, 2))
    grid = grid_shape(shape, h.shape, "free")
    K, P = observed_rows(h, shape, grid), reference.penalty_matrix("laplacian+gradient", grid)
    system = free.System.of(symbol(grid, h), shape, grid)
    found = system.probed_traces(np.ones(shape, bool), [np.ones_like(system.Q)])
    expected = len(K) - np.trace(K @ np.linalg.solve(K.T @ K + LAM * P, K.T))
    assert found[0] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("exponent", [-90, 90])
@pytest.mark.parametrize("effort", ["fast", "accurate"])
def test_units_of_the_image_do_not_matter(exponent: int, effort: str) -> None:
    """Powers of two, down to what astronomers measure in W/m^2, in float32: every figure scales."""
    h, unit = psf.motion(9, 20), 2.0**exponent
    _, g = photograph(h, size=90)
    g = g.astype(np.float32)
    a, b = restore(g, h, effort=effort), restore(g * np.float32(unit), h, effort=effort)
    assert (b.n_iter, b.converged) == (a.n_iter, a.converged)
    assert b.lam == pytest.approx(a.lam, rel=1e-3)
    assert b.noise_std == pytest.approx(a.noise_std * unit, rel=1e-3)
    np.testing.assert_allclose(b.image / np.float32(unit), a.image, rtol=0, atol=1e-3)


# What it is for.


def photograph(h: Array, noise_std: float = 0.005, size: int = 160) -> tuple[Array, Array]:
    """A part of a photograph as a camera would see it, scene and blurred frame."""
    scene = data.camera()[150 : 150 + size, 120 : 120 + size + 10] / 255
    return simulate.valid_part(scene, h), simulate.add_noise(simulate.blur(scene, h), noise_std=noise_std, rng=0)


@pytest.mark.parametrize("angle", [0, 35])
def test_borders_are_as_good_as_the_rest(angle: float) -> None:
    """The other boundaries ring all over the image. At the border part of what a pixel spread lies outside the frame.

    A pixel at the very edge is seen with half of the weight of an inner one, so the error there may be about twice as
    large (it is 1.2 to 1.6 times in the mean over the band).
    """
    h = psf.motion(15, angle)
    truth, g = photograph(h)
    images = {b: restore(g, h, lam=1e-3, boundary=b).image for b in ("free", "taper", "periodic")}
    quality = {b: metrics.psnr(image, truth, data_range=1) for b, image in images.items()}
    assert quality["free"] > quality["taper"] + 4
    assert quality["free"] > quality["periodic"] + 15
    error = (images["free"] - truth) ** 2
    inner = error[10:-10, 10:-10]
    border = (error.sum() - inner.sum()) / (error.size - inner.size)
    assert border < 2 * inner.mean()


@pytest.mark.parametrize("effort", ["fast", "accurate"])
@pytest.mark.parametrize(("h", "noise_std"), [(psf.motion(15, 35), 0.005), (psf.gaussian(2), 0.02)])
def test_automatic_lambda_is_near_the_best(effort: str, h: Array, noise_std: float) -> None:
    truth, g = photograph(h, noise_std)
    best = max(metrics.psnr(restore(g, h, lam=10**x).image, truth, data_range=1) for x in np.arange(-5, 0.1, 0.5))
    result = restore(g, h, effort=effort)
    assert metrics.psnr(result.image, truth, data_range=1) > best - 0.5
    assert result.noise_std == pytest.approx(noise_std, rel=0.2)


# Masks.


def hidden(shape: Shape, kind: str) -> Array:
    mask = np.zeros(shape, bool)
    if kind != "region":
        mask.ravel()[:: 7 if kind == "scattered" else 11] = True
    if kind != "scattered":
        mask[tuple(slice(n // 3, n // 3 + max(n // 3, 1)) for n in shape)] = True
    return mask


@pytest.mark.parametrize("kind", ["scattered", "region", "both"])
@pytest.mark.parametrize(("shape", "size"), [((9, 8), (4, 3)), ((7, 12), (3, 5)), ((5, 6, 4), (2, 3, 2))])
@pytest.mark.usefixtures("narrow")
def test_masked_pixels_are_unknown(shape: tuple[int, ...], size: tuple[int, ...], kind: str) -> None:
    """Against the dense normal equations of the pixels that were measured; what lies under the mask may be NaN."""
    g, h, mask = reference.image(shape), reference.psf(size), hidden(shape, kind)
    grid = grid_shape(shape, size, "free")
    K = observed_rows(h, shape, grid)[~mask.ravel()]
    P = reference.penalty_matrix("laplacian+gradient", grid)
    expected = crop(np.linalg.solve(K.T @ K + LAM * P, K.T @ g[~mask]).reshape(grid), shape)
    spoilt = np.where(mask, np.nan, g)
    actual = restore(spoilt, h, lam=LAM, mask=mask, **SETTLED)
    assert reference.relative_error(actual.image, expected) < EXACT
    assert np.isnan(spoilt[mask]).all()


@pytest.mark.parametrize(("shape", "grid"), GAPS)
@pytest.mark.parametrize("cut", [False, True])
def test_regions_are_inverted_exactly(
    shape: tuple[int, ...], grid: tuple[int, ...], cut: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each form's factor solves Q on every region of that form; together they hold every masked pixel once."""
    monkeypatch.setattr(free, "_PANEL", 3)
    monkeypatch.setattr(free, "_TILE", 4)
    mask, Q = hidden(shape, "both"), random_symbol(grid)
    dense, _ = split(Q, shape, grid)
    r, z = reference.image(grid), np.zeros(grid)
    holes = free.Hole.all_of(Q, grid, mask, 4 if cut else 2000)
    unknown = np.zeros(grid, bool)
    crop(unknown, shape)[...] = mask
    pixels = np.concatenate([hole.index.ravel() for hole in holes])
    np.testing.assert_array_equal(np.sort(pixels), np.flatnonzero(unknown))
    for hole in holes:
        assert not cut or hole.index.shape[1] <= 4
        hole.add(z, hole.solve(hole.part(r), None))
        for region in hole.index:
            back = dense[np.ix_(region, region)] @ z.ravel()[region]
            np.testing.assert_allclose(back, r.ravel()[region], rtol=0, atol=1e-10)


def test_large_regions_are_cut_and_still_solved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(free, "_TILE", 4)
    shape, grid = (9, 8), (14, 13)
    Q, start, mask = random_symbol(grid), reference.image(grid), hidden(shape, "both")
    whole, cut = (free.System.of(Q, shape, grid, mask=mask, largest=n) for n in (2000, 4))
    a, b = (system.solve(np.fft.rfftn(start), tol=1e-26, max_iter=1000).spectrum for system in (whole, cut))
    assert reference.relative_error(a, b) < EXACT
    assert max(h.index.shape[1] for h in whole.holes) > 4 >= max(h.index.shape[1] for h in cut.holes)


def test_a_symbol_without_a_factor_has_its_mean_for_one() -> None:
    """Negative somewhere, as rounding may leave it."""
    grid = (6, 7)
    Q = random_symbol(grid)
    Q[0, 1:] = -50.0
    mask = np.zeros(grid, bool)
    mask[1:4, 1:5] = True
    (hole,) = free.Hole.all_of(Q, grid, mask)
    assert hole.factor is None
    r, z = reference.image(grid), np.zeros(grid)
    hole.add(z, hole.solve(hole.part(r), None))
    np.testing.assert_allclose(z[mask], r[mask] / kernel_of(Q, grid)[0, 0], rtol=1e-12)


@pytest.mark.parametrize("grid", [(9, 8), (1, 7), (5, 6, 7)])
def test_fill_is_smooth(grid: tuple[int, ...]) -> None:
    """A constant stays one; data are kept; with many sweeps each filled pixel is the mean of its neighbours."""
    y, unknown = reference.image(grid), np.random.default_rng(0).random(grid) < 0.4
    np.testing.assert_allclose(boundary.fill(np.where(unknown, 7.0, 2.5), unknown), 2.5, rtol=1e-12)
    filled = boundary.fill(np.stack([y, 2 * y]), unknown, sweeps=2000)
    np.testing.assert_array_equal(filled[0][~unknown], y[~unknown])
    np.testing.assert_allclose(filled[1], 2 * filled[0], rtol=1e-12)
    axes = range(len(grid))
    mean = sum(np.roll(filled[0], d, axis) for axis in axes for d in (1, -1)) / (2 * len(grid))
    np.testing.assert_allclose(filled[0][unknown], mean[unknown], rtol=0, atol=1e-9)
    assert boundary.fill(y, np.zeros(grid, bool)) is y


@pytest.mark.parametrize("width", [0.0, 0.7])
@pytest.mark.parametrize("kind", ["none", "both"])
@pytest.mark.usefixtures("narrow")
def test_curves_against_dense_matrices(kind: str, width: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """For two channels; with the noise's covariance N and ``T = (N + K pinv(P) K' / lam)^-1``, where K f is observed:

    ``J = <g, T g>``, residual ``<T g, N T g>``, dof ``n - tr N T``, and log det T^-1 with the mean projected out, which
    the penalty leaves free, by integration. What is settled to 1e-4 of J, and dof within 0.5 % of n by probes.
    """
    monkeypatch.setattr(free, "_PROBED", 1 << 14)
    shape, h, lams = (14, 13), reference.psf((3, 4)), 10.0 ** np.arange(-2, 0.1, 0.5)
    grid = grid_shape(shape, h.shape, "free")
    mask = hidden(shape, "both") if kind == "both" else None
    seen = np.ones(shape, bool) if mask is None else ~mask
    K, P = observed_rows(h, shape, grid)[seen.ravel()], reference.penalty_matrix("laplacian+gradient", grid)
    c = colour(grid, width, 0.05) if width else np.ones((grid[0], grid[1] // 2 + 1))
    H, symbol, rows = transfer_function(h, grid), penalty_symbol("laplacian+gradient", grid), np.flatnonzero(seen)
    rows = np.ravel_multi_index(np.unravel_index(rows, shape), grid)
    N = torus_matrix(np.fft.irfft2(c, grid))[np.ix_(rows, rows)]
    prior, n = K @ np.linalg.pinv(P, rcond=1e-10) @ K.T, len(K)
    centred = np.linalg.qr(np.eye(n) - 1 / n)[0][:, : n - 1]
    starts = np.stack([reference.image(grid, seed) for seed in (1, 2)])
    Y, colours = np.fft.rfftn(starts, axes=(1, 2)), c if width else None
    found, last = free.curves(
        filters.power(H)[np.newaxis], symbol, lams[::-1], Y, shape, grid, mask=mask, colour=colours
    )
    found, frames = found.completed(), crop(np.fft.irfftn(last, grid, axes=(1, 2)), shape)
    np.testing.assert_allclose(frames[:, seen], crop(starts, shape)[:, seen], rtol=0, atol=1e-13)
    np.testing.assert_allclose(found.lams, lams)
    assert (found.n_obs, found.n_seen) == (2 * n, 2 * n - 2)
    g, logdet = crop(starts, shape)[:, seen].T, np.zeros(len(lams))
    for i, lam in enumerate(lams):
        covariance = centred.T @ (N + prior / lam) @ centred
        T, logdet[i] = centred @ np.linalg.inv(covariance) @ centred.T, np.linalg.slogdet(covariance)[1]
        X = torus_matrix(np.fft.irfft2(c**2 * filters.power(H) / (filters.power(H) + lam * c * symbol) ** 2, grid))
        X = X[np.ix_(rows, rows)]
        assert found.residual[i] + lam * found.seminorm[i] == pytest.approx(np.trace(g.T @ T @ g), rel=1e-3)
        assert found.residual[i] == pytest.approx(np.trace(g.T @ T @ N @ T @ g), rel=1e-2)
        assert found.change is not None
        assert found.noise_change is not None
        assert found.change[i] == pytest.approx(np.trace(g.T @ T @ X @ T @ g), rel=1e-2)
        assert found.noise_change[i] == pytest.approx(2 * np.trace(X @ T), rel=0.05)
        assert found.dof[i] == pytest.approx(2 * (n - np.trace(N @ T)), abs=2 * 0.005 * n)
    np.testing.assert_allclose(found.logdet - found.logdet[0], 2 * (logdet - logdet[0]), rtol=0, atol=2 * 0.01 * n)


@pytest.mark.parametrize("kind", ["scattered", "region", "both"])
def test_accurate_lambda_with_a_mask_is_near_the_best(kind: str) -> None:
    h = psf.motion(15, 35)
    truth, g = photograph(h)
    mask = hidden(g.shape, kind)
    spoilt, seen = np.where(mask, np.nan, g), ~mask

    def quality(**options: Any) -> float:
        return float(metrics.psnr(restore(spoilt, h, mask=mask, **options).image[seen], truth[seen], data_range=1))

    result = restore(spoilt, h, mask=mask, effort="accurate")
    assert quality(lam=result.lam) > max(quality(lam=10**x) for x in np.arange(-4, -0.9, 0.5)) - 0.3
    assert result.noise_std == pytest.approx(0.005, rel=0.2)
    assert restore(spoilt, h, mask=mask, effort="accurate").lam == result.lam


@pytest.mark.parametrize("options", [{"lam": 0}, {"method": "wiener", "nsr": 0}])
def test_a_mask_without_regularisation(options: dict[str, Any]) -> None:
    g, mask = reference.image((9, 8)), hidden((9, 8), "region")
    with pytest.raises(ValueError, match=r"mask hides 6 pixels, and nothing determines them .* give a positive lam"):
        restore(g, reference.psf((3, 2)), mask=mask, **options)
    nothing_hidden = restore(g, reference.psf((3, 2)), mask=np.zeros((9, 8), bool), **options)
    np.testing.assert_array_equal(nothing_hidden.image, restore(g, reference.psf((3, 2)), **options).image)


def test_the_plain_inverse_extends_under_a_mask_too() -> None:
    """Without regularisation of its own, with Tikhonov's in its place: what lies under the mask does not matter."""
    g, mask, delta = reference.image((9, 8)), hidden((9, 8), "region"), np.ones((1, 1))
    images = [
        restore(np.where(mask, value, g), delta, method="inverse", mask=mask, tol=1e-20, max_iter=500).image
        for value in (0.0, 9.0)
    ]
    np.testing.assert_allclose(images[0], images[1], rtol=0, atol=1e-8)
    np.testing.assert_allclose(images[0][~mask], g[~mask], rtol=0, atol=1e-8)


def test_a_mask_serves_all_channels() -> None:
    g, h = np.stack([reference.image((9, 8), seed) for seed in range(3)], axis=-1), reference.psf((3, 2))
    mask = hidden((9, 8), "both")
    together = restore(g, h, lam=LAM, mask=mask, channel_axis=-1, **SETTLED)
    for i in range(3):
        alone = restore(g[..., i], h, lam=LAM, mask=mask, **SETTLED)
        np.testing.assert_allclose(together.image[..., i], alone.image, rtol=0, atol=1e-10)


def test_holes_in_a_picture_are_filled_by_the_scene() -> None:
    """A saturated region of 30 x 30 pixels, dead pixels: nearly the same image as without, in a few iterations."""
    scene, h = data.camera()[100:356, 150:420] / 255, psf.motion(15, 30)
    blurred = simulate.add_noise(simulate.blur(scene, h), noise_std=0.005, rng=0)
    truth = simulate.valid_part(scene, h)
    mask = np.random.default_rng(0).random(blurred.shape) < 0.03
    mask[100:130, 60:90] = True
    whole, holed = restore(blurred, h), restore(np.where(mask, 1.0, blurred), h, mask=mask)
    assert holed.n_iter <= 12
    assert holed.noise_std == pytest.approx(whole.noise_std, rel=0.1)
    seen = ~mask
    assert metrics.psnr(holed.image[seen], truth[seen]) > metrics.psnr(whole.image[seen], truth[seen]) - 0.3


@pytest.mark.parametrize(
    ("mask", "options", "message"),
    [
        (np.zeros((9, 8), bool), {"boundary": "taper"}, "mask needs boundary='free', not 'taper'"),
        (np.zeros((8, 8), bool), {}, r"mask must be a bool array of the image's spatial shape \(9, 8\)"),
        (np.zeros((9, 8)), {}, r"mask must be a bool array .* not float64"),
        (np.ones((9, 8), bool), {}, "mask hides every pixel"),
    ],
)
def test_masks_that_cannot_be(mask: Array, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        restore(reference.image((9, 8)), reference.psf((3, 2)), lam=LAM, mask=mask, **options)
