"""Transfer functions, penalties and weights against direct sums and closed forms."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import reference
from reference import Array

from lsdeblur import spectrum
from lsdeblur.spectrum import Bins, Spectra, hermitian_weights, penalty_symbol, power_spectrum, transfer_function

GRIDS = [(7, 8), (8, 7), (9, 9), (6, 11), (1, 5), (4, 5, 6)]


def direct_transform(h: Array, grid: tuple[int, ...]) -> Array:
    """``sum_x h(x) exp(-i w x)`` over pixels x from the origin ``s // 2``, at every frequency of the half spectrum."""
    half = (*grid[:-1], grid[-1] // 2 + 1)
    H = np.zeros(half, complex)
    for k in np.ndindex(half):
        for x in np.ndindex(h.shape):
            turns = sum(ki * (xi - s // 2) / n for ki, xi, s, n in zip(k, x, h.shape, grid, strict=True))
            H[k] += h[x] * np.exp(-2j * np.pi * turns)
    return H


@pytest.mark.parametrize("grid", GRIDS)
def test_transfer_function_is_the_direct_sum(grid: tuple[int, ...]) -> None:
    h = reference.psf([min(n, s) for n, s in zip(grid, (3, 4, 5), strict=False)])
    np.testing.assert_allclose(transfer_function(h, grid), direct_transform(h, grid), rtol=0, atol=1e-14)


def separable(*size: int) -> Array:
    """A PSF that is a product of different, asymmetric functions of each axis."""
    h = np.ones(())
    for axis, n in enumerate(size):
        h = np.multiply.outer(h, np.exp(-0.3 * (np.arange(n) - n / (3 + axis)) ** 2))
    return h / h.sum()


@pytest.mark.parametrize("grid", [*GRIDS, (12, 13, 10), (13, 12, 9)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rank", [0, 1, 2, 9])
def test_transfer_function_by_factors_or_rows(
    grid: tuple[int, ...], dtype: type, rank: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both ways are the direct sum to rounding, for odd and even sizes up to the grid's."""
    rng = np.random.default_rng(rank)
    for size in (tuple(min(n, s) for n, s in zip(grid, (4, 5, 3), strict=False)), tuple(min(n, 6) for n in grid)):
        shifts = [rng.permutation(size[-1]) for _ in range(rank)]
        h = sum((separable(*size)[..., order] for order in shifts), np.zeros(size)).astype(dtype)
        expected, atol = direct_transform(h.astype(float), grid), 30 * max(rank, 1) * np.finfo(dtype).eps
        for large in (0, math.inf):
            monkeypatch.setattr(spectrum, "_LARGE", large)
            H = transfer_function(h, grid)
            assert H.dtype == np.result_type(dtype, np.complex64)
            np.testing.assert_allclose(H, expected, rtol=0, atol=atol)


def test_factors_of_a_psf() -> None:
    """One for a product, two for a sum of two products, None for many or for zero."""
    for dtype in (np.float32, np.float64):
        found = spectrum._factors(separable(15, 12).astype(dtype))
        assert found is not None
        assert [f.shape for f in found] == [(1, 15), (1, 12)]
    two = spectrum._factors(separable(9, 8) + separable(9, 8)[::-1, ::-1])
    assert two is not None
    assert len(two[0]) == 2
    assert spectrum._factors(np.random.default_rng(0).random((40, 40))) is None
    assert spectrum._factors(np.zeros((3, 3))) is None


@pytest.mark.parametrize("size", [(1, 1), (3, 3), (4, 4), (5, 2), (8, 7)])
def test_an_impulse_at_the_centre_changes_nothing(size: tuple[int, int]) -> None:
    h = np.zeros(size)
    h[tuple(s // 2 for s in size)] = 1
    np.testing.assert_allclose(transfer_function(h, (8, 7)), 1, rtol=0, atol=1e-15)


@pytest.mark.parametrize(("dtype", "expected"), [(np.float32, np.complex64), (np.float64, np.complex128)])
def test_transfer_function_keeps_precision_and_channels(dtype: type, expected: type) -> None:
    h = reference.psf((2, 3, 4), dtype=dtype)
    H = transfer_function(h, (8, 9))
    assert H.dtype == expected
    assert H.shape == (2, 8, 5)
    np.testing.assert_allclose(H[:, 0, 0], h.sum(axis=(1, 2)), rtol=1e-6)
    np.testing.assert_array_equal(H[1], transfer_function(h[1], (8, 9)))


def test_weights() -> None:
    """DC and, for an even size, the Nyquist column stand in the full spectrum once."""
    for n, expected in {1: [1], 2: [1, 1], 3: [1, 2], 6: [1, 2, 2, 1], 7: [1, 2, 2, 2]}.items():
        np.testing.assert_array_equal(hermitian_weights((5, n)), expected)


@pytest.mark.parametrize("grid", GRIDS)
def test_weights_count_every_frequency(grid: tuple[int, ...]) -> None:
    half = (*grid[:-1], grid[-1] // 2 + 1)
    assert np.sum(np.broadcast_to(hermitian_weights(grid), half)) == math.prod(grid)


@pytest.mark.parametrize("grid", GRIDS)
def test_frequencies(grid: tuple[int, ...]) -> None:
    expected = [2 * np.pi * np.fft.fftfreq(n) for n in grid[:-1]] + [2 * np.pi * np.fft.rfftfreq(grid[-1])]
    for axis, (w, e) in enumerate(zip(spectrum.frequencies(grid), expected, strict=True)):
        assert w.shape == tuple(len(e) if a == axis else 1 for a in range(len(grid)))
        np.testing.assert_allclose(w.ravel(), e, rtol=1e-15)


NYQUIST_2D = 8.0  # sum of 2 - 2 cos(pi) over two axes


@pytest.mark.parametrize(
    ("penalty", "highest"),
    [
        ("identity", 1.0),
        ("gradient", NYQUIST_2D),
        ("laplacian", NYQUIST_2D**2),
        ("laplacian+gradient", NYQUIST_2D**2 + 0.1 * NYQUIST_2D),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_symbols_at_the_ends_of_the_spectrum(penalty: str, highest: float, dtype: type) -> None:
    P = penalty_symbol(penalty, (8, 6), dtype=dtype)
    assert P.dtype == dtype
    assert P.shape == (8, 4)
    assert P[0, 0] == (1.0 if penalty == "identity" else 0.0)
    assert P[4, 3] == pytest.approx(highest)
    assert P.min() >= 0


def test_laplacian_with_spacing_in_closed_form() -> None:
    rows, columns = 2 * np.pi * 2 / 9, 2 * np.pi * 3 / 10
    expected = (2 - 2 * np.cos(rows)) / 2.0**2 + (2 - 2 * np.cos(columns)) / 1.5**2
    assert penalty_symbol("gradient", (9, 10), spacing=(2.0, 1.5))[2, 3] == pytest.approx(expected, rel=1e-14)


def test_operator_of_the_laplacian_is_the_named_penalty() -> None:
    operator = np.array([[0, -1, 0], [-1, 4, -1], [0, -1, 0]])
    np.testing.assert_allclose(
        penalty_symbol(operator, (8, 9)), penalty_symbol("laplacian", (8, 9)), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_power_spectra(dtype: type) -> None:
    covariance = [[0.1], [0.5], [0.1]]
    symbol = np.broadcast_to((0.5 + 0.2 * np.cos(2 * np.pi * np.fft.fftfreq(6)))[:, np.newaxis], (6, 4))
    powers = [covariance, lambda rows, columns: 0.5 + 0.2 * np.cos(rows)]
    for power in powers:
        actual = power_spectrum(power, (6, 7), "noise_power", dtype)
        assert np.asarray(actual).dtype == dtype
        np.testing.assert_allclose(np.broadcast_to(actual, (6, 4)), symbol, rtol=1e-6)
    assert power_spectrum(np.float32(0.25), (6, 7), "noise_power") == 0.25
    assert type(power_spectrum(np.float32(0.25), (6, 7), "noise_power")) is float


def test_a_covariance_that_is_none_is_clipped() -> None:
    """[1, 0.5, 1] has the transform 0.5 + 2 cos w, negative at high frequencies."""
    assert np.asarray(power_spectrum([[1.0, 0.5, 1.0]], (4, 8), "signal_power")).min() == 0


def test_curves_of_a_single_bin() -> None:
    """With one s the sums are single terms: q = lam / (s + lam) = 1/3 at lam = s / 2."""
    c = Bins(np.array([2.0]), np.array([10.0]), np.array([9.0]), n_free=3.0, scale=1.0).curves(1.0)
    assert c.residual == pytest.approx([1.0])  # 9 / 9
    assert c.seminorm == pytest.approx([2.0])  # 2 * 9 / 9
    assert c.slope == pytest.approx([-4 / 3])  # -2 * 2 * 9 / 27
    assert c.dof == pytest.approx([10 * 2 / 3 + 3])
    assert c.logdet == pytest.approx([10 * math.log(3)])
    assert (c.n_obs, c.n_seen) == (13, 10)


def test_slope_is_the_derivative_of_the_seminorm() -> None:
    rng = np.random.default_rng(0)
    bins = Bins(10 ** rng.uniform(-6, 2, 50), rng.random(50), rng.random(50), 0.0, 1.0)
    lam, step = 0.01, 1e-5
    c = bins.curves([lam * (1 - step), lam, lam * (1 + step)])
    assert (c.seminorm[2] - c.seminorm[0]) / (2 * lam * step) == pytest.approx(c.slope[1], rel=1e-8)
    # The residual falls as the seminorm rises: dR = -lam dE, as at the minimum of R + lam E.
    assert (c.residual[2] - c.residual[0]) / (2 * lam * step) == pytest.approx(-lam * c.slope[1], rel=1e-8)


def spectra(h: Array, shape: tuple[int, int], penalty: Any = "laplacian", channels: int = 1) -> Spectra:
    Y = np.fft.rfftn(reference.image((channels, *shape)), axes=(1, 2))
    return Spectra(transfer_function(h, shape), penalty_symbol(penalty, shape), Y, shape)


def test_energy_is_that_of_the_image() -> None:
    """Parseval: without a free frequency the bins hold the sum of the squared pixels."""
    g = reference.image((3, 9, 8))
    data = spectra(reference.psf((3, 2)), (9, 8), "identity", channels=3)
    for bins in (data.exact(), data.binned()):
        assert bins.energy.sum() == pytest.approx(np.sum(g**2), rel=1e-13)
        assert bins.count.sum() == g.size
        assert bins.n_free == 0


def test_a_frequency_without_penalty_is_free() -> None:
    """Two channels, and the Laplacian's null space is the mean: it is always restored, whatever lambda."""
    data = spectra(reference.psf((3, 2)), (9, 8), channels=2)
    for bins in (data.exact(), data.binned()):
        assert bins.n_free == 2
        assert bins.curves(1e12).dof[0] == pytest.approx(2)


def test_an_erased_frequency_is_all_residual() -> None:
    """A 4 x 4 box erases what a multiple of 1/4 of the sampling rate is; there nothing is restored."""
    shape = (8, 8)
    data = spectra(np.full((4, 4), 1 / 16), shape, "identity")
    H = data.H.copy()
    H[np.abs(H) < 1e-12] = 0  # the box's zeros, without rounding errors
    data = Spectra(H, data.P, data.Y, shape)
    erased = np.sum((np.abs(data.Y[0]) ** 2 * hermitian_weights(shape))[H == 0]) / 64
    kept = np.sum(np.broadcast_to(hermitian_weights(shape), H.shape)[H != 0])
    for bins in (data.exact(), data.binned()):
        c = bins.curves(1e-12)
        assert c.residual[0] == pytest.approx(erased, rel=1e-8)
        assert c.dof[0] == pytest.approx(kept, rel=1e-8)


def test_pooled() -> None:
    """Channels with PSFs of their own add up; the scale is the geometric mean."""
    parts = [spectra(reference.psf((3, 3), seed), (8, 9)).binned() for seed in (1, 2)]
    pooled, lams = Bins.pooled(parts), np.array([1e-3, 0.1])
    for name in ("residual", "seminorm", "slope", "dof", "logdet", "n_obs", "n_seen"):
        total = sum(getattr(p.curves(lams), name) for p in parts)
        np.testing.assert_allclose(getattr(pooled.curves(lams), name), total, rtol=1e-13)
    assert pooled.scale == pytest.approx(math.sqrt(parts[0].scale * parts[1].scale))


def test_lambdas_span_fifteen_decades() -> None:
    """18 a decade by default."""
    bins = spectra(3 * reference.psf((3, 2)), (9, 8)).binned()
    half_mean = np.mean(penalty_symbol("laplacian", (9, 8)))
    decades = 9 / half_mean * 10.0 ** np.arange(-9, 7)
    np.testing.assert_allclose(bins.lambdas(16), decades, rtol=1e-12)
    np.testing.assert_allclose(bins.lambdas()[::18], decades, rtol=1e-12)


@pytest.mark.parametrize("scale", [1e-20, 1e20])
def test_the_units_of_the_psf_do_not_matter(scale: float) -> None:
    """H c and lambda c^2 give the same curves (the seminorm over c^2), for every summary."""
    one, other = (spectra(c * reference.psf((5, 5)), (32, 31)).binned() for c in (1.0, scale))
    lams = one.lambdas(20)
    a, b = one.curves(lams), other.curves(lams * scale**2)
    np.testing.assert_allclose(b.dof, a.dof, rtol=2e-4)  # each is within 1e-4 of the exact curve (test_dense.py)
    np.testing.assert_allclose(b.residual, a.residual, rtol=4 / 32)  # each is within 2/32, whatever the image


@pytest.mark.parametrize("scale", [1e-25, 1e25])
def test_the_units_of_the_image_do_not_matter(scale: float) -> None:
    """Also in float32, whose squares would leave its range."""
    one = spectra(reference.psf((5, 5)), (32, 31))
    other = Spectra(one.H, one.P, (one.Y * scale).astype(np.complex64), one.grid)
    np.testing.assert_allclose(other.binned().energy, one.binned().energy * scale**2, rtol=1e-5)
