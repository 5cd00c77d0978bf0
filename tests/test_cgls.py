"""CGLS and Landweber: closed forms, Krylov spaces, the stops, and blur that varies."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import reference
from reference import Array

from lsdeblur import Problem, psf, restore, simulate
from lsdeblur.errors import ConvergenceWarning
from lsdeblur.iterative._observed import Observed, Varied

PSF = reference.psf((3, 4))


def frame(shape: tuple[int, int] = (40, 43), noise_std: float = 0.02, h: Array = PSF) -> Array:
    """A scene with edges, larger than the frame, blurred, with noise."""
    f = np.full([n + s - 1 for n, s in zip(shape, h.shape, strict=True)], 0.2)
    f[5:20, 8:30] = 1
    f[25:, 15:22] = 0.6
    return reference.blur(f, h, "valid") + noise_std * np.random.default_rng(0).standard_normal(shape)


@pytest.mark.parametrize("boundary", ["free", "periodic", "zero"])
@pytest.mark.parametrize("n", [1, 2, 5])
def test_the_residual_is_the_least_of_the_krylov_space(boundary: str, n: int) -> None:
    """From a basis of it that is written down."""
    g = frame((11, 12))
    result = restore(g, PSF, method="cgls", boundary=boundary, stop="none", max_iter=n)
    (seen,) = Observed.all_of(Problem(g[np.newaxis], PSF[np.newaxis], boundary, (1.0, 1.0)))
    start = np.full(seen.grid, seen.mean)
    r = seen.data - seen.blur(start)
    basis = [seen.adjoint(r)]
    for _ in range(n - 1):
        v = seen.adjoint(seen.blur(basis[-1]))
        basis.append(v / np.linalg.norm(v))
    K = np.stack([seen.blur(v).ravel() for v in basis], axis=1)
    weights, *_ = np.linalg.lstsq(K, r.ravel(), rcond=None)
    assert result.selection.residual[-1] == pytest.approx(np.sum((r.ravel() - K @ weights) ** 2), rel=1e-8)
    expected = seen.frame(start + sum(w * v for w, v in zip(weights, basis, strict=True)))
    np.testing.assert_allclose(result.image, expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize("shape", [(20, 23), (21, 22)])
@pytest.mark.parametrize("relaxation", [0.5, 1.0, 1.9])
def test_landweber_is_a_gain_on_a_periodic_grid(shape: tuple[int, int], relaxation: float) -> None:
    """``(1 - (1 - t |H|^2)^n) / H``, and the probe's degrees of freedom are near their sum."""
    g, n = frame(shape), 7
    h = np.zeros(shape)
    h[:3, :4] = PSF
    H = np.fft.fft2(np.roll(h, (-1, -2), (0, 1)))
    kept = 1 - (1 - relaxation * np.abs(H) ** 2 / np.max(np.abs(H)) ** 2) ** n
    G = kept / H
    G[0, 0] = 1  # the mean is there from the beginning
    options = {"method": "landweber", "boundary": "periodic", "relaxation": relaxation, "max_iter": n}
    result = restore(g, PSF, stop="none", **options)
    np.testing.assert_allclose(result.image, np.fft.ifft2(G * np.fft.fft2(g)).real, rtol=0, atol=1e-12)
    with pytest.warns(ConvergenceWarning):
        dof = restore(g, PSF, stop="gcv", **options).selection.dof
    assert dof[-1] == pytest.approx(kept.sum(), rel=0.1)


def test_cgls_needs_the_root_of_landwebers_number() -> None:
    g = frame()
    slow = restore(g, PSF, method="landweber", stop="none", max_iter=400).selection.residual[-1]
    assert restore(g, PSF, method="cgls", stop="none", max_iter=40).selection.residual[-1] < slow


@pytest.mark.parametrize("method", ["cgls", "landweber"])
def test_the_discrepancy(method: str) -> None:
    g = frame(noise_std=0.1)
    result = restore(g, PSF, method=method, stop="discrepancy", noise_std=0.1)
    residual = result.selection.residual
    assert residual[-1] <= g.size * 0.1**2 < residual[-2]
    assert result.n_iter == len(residual) == result.selection.lam
    assert result.selection.values[-1] == pytest.approx(residual[-1] - g.size * 0.1**2)
    sooner = restore(g, PSF, method=method, stop="discrepancy", noise_std=0.1, safety=1.5)
    assert sooner.n_iter < result.n_iter
    found = restore(g, PSF, method=method, stop="discrepancy")
    assert found.noise_std == pytest.approx(0.1, rel=0.15)


def test_gcv_is_near_the_best_number() -> None:
    h = psf.gaussian(1.5)
    f = np.full((90, 93), 0.2)
    f[20:50, 30:60], f[60:80, 10:25] = 1, 0.6
    g = simulate.add_noise(simulate.blur(f, h), noise_std=0.01, rng=0)
    truth = simulate.valid_part(f, h)
    errors = [np.sum((restore(g, h, method="cgls", stop="none", max_iter=n).image - truth) ** 2) for n in range(1, 60)]
    result = restore(g, h, method="cgls")
    assert result.selection.values.argmin() + 1 == result.n_iter == result.selection.lam
    assert errors[result.n_iter - 1] < 1.1 * min(errors)
    np.testing.assert_array_equal(result.image, restore(g, h, method="cgls", stop="none", max_iter=result.n_iter).image)


@pytest.mark.parametrize("method", ["cgls", "landweber"])
@pytest.mark.parametrize("stop", ["gcv", "discrepancy"])
def test_units_do_not_matter(method: str, stop: str) -> None:
    g = frame()
    one, scaled = (restore(c * g, PSF, method=method, stop=stop) for c in (1, 256))
    assert one.n_iter == scaled.n_iter
    np.testing.assert_allclose(scaled.image, 256 * one.image, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_even_frame_stays_even_under_a_mask(dtype: type) -> None:
    mask = np.random.default_rng(0).random((20, 23)) < 0.2
    g = np.where(mask, np.nan, 3).astype(dtype)
    image = restore(g, PSF, method="cgls", mask=mask, stop="none", max_iter=5).image
    assert image.dtype == dtype
    np.testing.assert_allclose(image, 3, rtol=1e-5)


@pytest.mark.parametrize("masked", [False, True])
def test_blur_that_varies_and_its_adjoint(masked: bool) -> None:
    """And with equal PSFs it is the uniform one."""
    rng, shape = np.random.default_rng(0), (20, 23)
    mask = rng.random(shape) < 0.1 if masked else None
    grid = psf.PSFGrid.regular(np.stack([PSF] * 4).reshape(2, 2, 3, 4), shape=shape)
    problem = Problem(rng.random((2, *shape)), grid, "free", (1.0, 1.0), mask=mask)
    for seen, image in zip(Varied.all_of(problem), problem.image, strict=True):
        f, g = rng.random(seen.spread.shape), rng.random(seen.data.shape)
        assert np.vdot(seen.blur(f), g) == pytest.approx(np.vdot(f, seen.adjoint(g)), rel=1e-12)
        there = np.ones(shape, bool) if mask is None else ~mask
        inside = seen.spread.frame(seen.origin, shape)
        np.testing.assert_array_equal(seen.data[inside][there], image[there])
        assert seen.n_measured == np.count_nonzero(there)
        expected = reference.blur(f, PSF, "valid")
        np.testing.assert_allclose(seen.blur(f)[inside][there], expected[there], rtol=0, atol=1e-12)
        assert np.linalg.norm(seen.blur(f)) ** 2 <= seen.largest * np.linalg.norm(f) ** 2
    g = frame(shape)
    options: dict[str, Any] = {"method": "cgls", "stop": "none", "max_iter": 4, "mask": mask}
    uniform, varied = restore(g, PSF, **options).image, restore(g, grid, **options).image
    np.testing.assert_allclose(varied, uniform, rtol=0, atol=0.02)  # their scenes differ in size beyond the frame


def test_a_turned_picture_is_sharpened() -> None:
    h = psf.rotation(4, shape=(80, 82))
    size = [n + s - 1 for n, s in zip((80, 82), h.size, strict=True)]
    f = np.kron(np.random.default_rng(0).random((25, 25)), np.ones((5, 5)))[: size[0], : size[1]]
    g = simulate.add_noise(simulate.blur(f, h), noise_std=0.01, rng=1)
    truth = simulate.valid_part(f, h)
    result = restore(g, h, method="cgls")
    assert np.sum((result.image - truth) ** 2) < 0.5 * np.sum((g - truth) ** 2)


def test_the_end_by_callback_and_by_the_limit() -> None:
    def end(state: Any) -> None:
        if state.iteration == 3:
            raise StopIteration

    result = restore(frame(), PSF, method="cgls", stop="none", callback=end)
    assert (result.n_iter, result.converged) == (3, False)
    with pytest.warns(ConvergenceWarning, match="stop='discrepancy' was not met within 2 iterations; raise max_iter"):
        assert not restore(frame(), PSF, method="landweber", stop="discrepancy", max_iter=2).converged


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match=r"relaxation must be below 2, not 2.*diverge"):
        restore(frame(), PSF, method="landweber", relaxation=2)
    with pytest.raises(ValueError, match="stop must be one of 'gcv', 'discrepancy', 'none', not 'late'"):
        restore(frame(), PSF, method="cgls", stop="late")
    with pytest.raises(ValueError, match="a PSFGrid needs boundary='free', not 'zero'"):
        restore(frame(), psf.rotation(3, shape=(40, 43)), method="cgls", boundary="zero")
