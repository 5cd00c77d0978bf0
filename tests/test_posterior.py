"""The uncertainty of least squares: closed forms, dense covariances, and intervals that hold what they promise."""

from __future__ import annotations

import numpy as np
import pytest
import reference
from reference import Array

from lsdeblur import plan, posterior_samples, psf, restore
from lsdeblur.boundary import grid_shape
from lsdeblur.posterior import Posterior
from lsdeblur.spectrum import penalty_symbol, transfer_function

PSF = reference.psf((3, 2))
LAM, SIGMA = 0.05, 0.3


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A narrow margin, for dense matrices on the grid."""
    monkeypatch.setattr("lsdeblur.boundary._MARGIN", 6)


def covariance(shape: tuple[int, ...], boundary: str, mask: Array | None = None) -> Array:
    """``sigma^2 (A^T A + lam P)^-1`` on the grid, as a dense matrix, of the frame's pixels."""
    grid = grid_shape(shape, PSF.shape, boundary)
    H, P = transfer_function(PSF, grid), penalty_symbol("laplacian+gradient", grid)
    unit = np.eye(int(np.prod(grid))).reshape(-1, *grid)
    A, R = (np.fft.irfft2(np.fft.rfft2(unit) * x, grid).reshape(len(unit), -1) for x in (H, P))
    seen = np.ones(grid, bool)
    if boundary == "free":
        seen[...] = False
        seen[: shape[0], : shape[1]] = True if mask is None else ~mask
    A = A.T[seen.ravel()]
    inside = np.zeros(grid, bool)
    inside[: shape[0], : shape[1]] = True
    return SIGMA**2 * np.linalg.inv(A.T @ A + LAM * R)[np.ix_(inside.ravel(), inside.ravel())]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_periodic_is_exact(dtype: type) -> None:
    g = reference.image((9, 10)).astype(dtype)
    result = restore(g, PSF, lam=LAM, noise_std=SIGMA, boundary="periodic", uncertainty=True)
    assert result.std is not None
    assert result.std.dtype == dtype
    np.testing.assert_allclose(result.std, np.sqrt(np.diag(covariance((9, 10), "periodic"))).reshape(9, 10), rtol=1e-5)
    assert "exact for the model" in result.message


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("masked", [False, True])
def test_free_has_the_dense_covariance(masked: bool) -> None:
    """Variances from n samples scatter by sqrt(2 / n), and so do covariances at the most."""
    shape, n = (7, 6), 600
    mask = np.zeros(shape, bool)
    mask[2:4, 3] = masked
    g = reference.image(shape)
    options = {"lam": LAM, "noise_std": SIGMA, "mask": mask if masked else None, "tol": 1e-8}
    scenes = posterior_samples(g, PSF, n, rng=0, **options)
    expected = covariance(shape, "free", mask)
    actual = np.cov(scenes.reshape(n, -1).T)
    spread = np.sqrt((np.outer(np.diag(expected), np.diag(expected)) + expected**2) / n)
    assert np.abs((actual - expected) / spread).max() < 5
    mean = restore(g, PSF, **options).image
    assert np.abs((scenes.mean(axis=0) - mean).ravel() / np.sqrt(np.diag(expected) / n)).max() < 5
    result = restore(g, PSF, **options, uncertainty=200, rng=1)
    assert result.std is not None
    np.testing.assert_allclose(result.std.ravel(), np.sqrt(np.diag(expected)), rtol=5 / (2 * 200) ** 0.5)
    assert "from 200 samples, within 5% (one sigma)" in result.message


@pytest.mark.parametrize("boundary", ["periodic", "free"])
@pytest.mark.parametrize("chosen", [False, True])
def test_intervals_cover_what_they_promise(boundary: str, chosen: bool) -> None:
    """A scene drawn from the model lies within one standard deviation for 68 % of the pixels, within two for 95 %."""
    h, shape = psf.gaussian(1.5), (150, 160)
    grid, rng = grid_shape(shape, h.shape, boundary), np.random.default_rng(0)
    P = penalty_symbol("laplacian+gradient", grid)
    P[0, 0] = np.inf
    F = np.fft.rfft2(rng.standard_normal(grid)) * SIGMA / np.sqrt(LAM * P)
    scene, clean = (np.fft.irfft2(X, grid)[: shape[0], : shape[1]] for X in (F, F * transfer_function(h, grid)))
    g = clean + SIGMA * rng.standard_normal(shape)
    known = {} if chosen else {"lam": LAM, "noise_std": SIGMA}
    result = restore(g, h, boundary=boundary, uncertainty=64, rng=2, **known)
    assert result.std is not None
    far = np.abs(result.image - scene) / result.std
    assert np.mean(far < 1) == pytest.approx(0.683, abs=0.03)
    assert np.mean(far < 2) == pytest.approx(0.954, abs=0.015)


def test_coloured_noise() -> None:
    """The noise that `restore` takes it for: samples of it have the level that was found."""
    g = reference.image((40, 44))
    result = restore(g, PSF, lam=LAM, noise_std=SIGMA, noise_width=0.8, boundary="periodic", uncertainty=True)
    white = restore(g, PSF, lam=LAM, noise_std=SIGMA, boundary="periodic", uncertainty=True)
    assert result.std is not None
    assert white.std is not None
    scenes = posterior_samples(g, PSF, 400, rng=0, lam=LAM, noise_std=SIGMA, noise_width=0.8, boundary="periodic")
    assert np.sqrt(scenes.var(axis=0).mean()) == pytest.approx(result.std[0, 0], rel=0.02)
    assert result.std[0, 0] != pytest.approx(white.std[0, 0], rel=0.05)


def test_channels_and_three_dimensions() -> None:
    g = np.stack([reference.image((12, 13)), 2 * reference.image((12, 13))], axis=-1)
    hs = np.stack([PSF, PSF[::-1]])
    result = restore(g, hs, channel_axis=-1, lam=LAM, noise_std=SIGMA, uncertainty=3, rng=0)
    assert result.std is not None
    assert result.std.shape == g.shape
    assert np.all(result.std > 0)
    assert posterior_samples(g, PSF, 2, channel_axis=-1, lam=LAM, noise_std=SIGMA).shape == (2, *g.shape)
    volume = reference.image((6, 7, 8))
    h = reference.psf((2, 3, 2))
    std = restore(volume, h, lam=LAM, noise_std=SIGMA, uncertainty=2).std
    assert std is not None
    assert std.shape == volume.shape


def test_the_same_numbers_again() -> None:
    g = reference.image((12, 13))
    options = {"lam": LAM, "noise_std": SIGMA}
    first, second = (posterior_samples(g, PSF, 2, rng=5, **options) for _ in "ab")
    np.testing.assert_array_equal(first, second)
    result = restore(g, PSF, uncertainty=4, rng=5, **options)
    again = restore(g, result.psf, **result.options)
    assert again.std is not None
    np.testing.assert_array_equal(result.std, again.std)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"method": "wiener"}, "uncertainty= is for method='tikhonov'"),
        ({"lam": LAM}, "give noise_std=, or leave lam to be chosen"),
        ({"lam": 0, "noise_std": 1.0}, "lam=0 is no model of a scene"),
        ({"tile": 10, "lam": LAM}, "uncertainty= and denoise_after= are not there for tiles"),
        ({"uncertainty": -3, "lam": LAM, "noise_std": 1.0}, "uncertainty must be"),
    ],
)
def test_what_it_needs(change: dict[str, object], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        restore(reference.image((30, 32)), PSF, **({"uncertainty": True} | change))


def test_the_plan_is_that_of_the_restoration() -> None:
    g = reference.image((20, 21))
    result = restore(g, PSF, lam=LAM, noise_std=SIGMA, uncertainty=2, rng=0)
    assert result.std is not None
    np.testing.assert_allclose(plan(PSF, g.shape, lam=LAM)(g), result.image, rtol=0, atol=1e-9)
    assert Posterior.__slots__
