"""Identities of the spectra, boundaries and curves for any shape, PSF and image."""

from __future__ import annotations

import math

import numpy as np
import reference
from hypothesis import assume, given
from hypothesis import strategies as st
from reference import Array

from lsdeblur import plan, simulate
from lsdeblur.boundary import BOUNDARIES, crop, extend, grid_shape
from lsdeblur.spectrum import Spectra, frequencies, hermitian_weights, penalty_symbol, transfer_function

shapes = st.lists(st.integers(1, 12), min_size=2, max_size=3).map(tuple)
seeds = st.integers(0, 2**32 - 1)
penalties = st.sampled_from(["identity", "gradient", "laplacian", "laplacian+gradient"])


@st.composite
def problems(draw: st.DrawFn) -> tuple[Array, Array]:
    """An image and a PSF that is not larger; both may be of any shape, odd or even."""
    shape = draw(shapes)
    size = tuple(draw(st.integers(1, min(n, 5))) for n in shape)
    return reference.image(shape, draw(seeds)) - 0.5, reference.psf(size, draw(seeds))


@given(shapes, seeds)
def test_parseval(shape: tuple[int, ...], seed: int) -> None:
    f = reference.image(shape, seed)
    energy = np.sum(hermitian_weights(shape) * np.abs(np.fft.rfftn(f)) ** 2) / f.size
    assert math.isclose(energy, np.sum(f**2), rel_tol=1e-12)


@given(problems(), st.data())
def test_a_shifted_psf_turns_the_phase(problem: tuple[Array, Array], data: st.DataObject) -> None:
    """Zeros before and behind move the origin s // 2: by half of what is added, rounded for the new size."""
    g, h = problem
    margins = [
        (before := data.draw(st.integers(0, n - s)), data.draw(st.integers(0, n - s - before)))
        for n, s in zip(g.shape, h.shape, strict=True)
    ]
    padded = np.pad(h, margins)
    moved = [before + s // 2 - n // 2 for (before, _), s, n in zip(margins, h.shape, padded.shape, strict=True)]
    phase = sum(w * d for w, d in zip(frequencies(g.shape), moved, strict=True))
    expected = transfer_function(h, g.shape) * np.exp(-1j * phase)
    np.testing.assert_allclose(transfer_function(padded, g.shape), expected, rtol=0, atol=1e-13)


@given(problems())
def test_convolution_theorem(problem: tuple[Array, Array]) -> None:
    f, h = problem
    product = np.fft.irfftn(transfer_function(h, f.shape) * np.fft.rfftn(f), f.shape, range(f.ndim))
    np.testing.assert_allclose(product, reference.blur(f, h, "periodic"), rtol=0, atol=1e-13)


@given(problems(), st.sampled_from(["periodic", "zero"]))
def test_blur_has_an_adjoint(problem: tuple[Array, Array], boundary: str) -> None:
    """<h * f, g> = <f, h' * g> with the reflected PSF, made odd first so that its centre stays."""
    f, h = problem
    h = np.pad(h, [(0, 1 - s % 2) for s in h.shape])
    g = np.cos(np.arange(f.size)).reshape(f.shape)
    left = np.vdot(simulate.blur(f, h, boundary=boundary), g)
    right = np.vdot(f, simulate.blur(g, np.flip(h), boundary=boundary))
    assert math.isclose(left, right, rel_tol=0, abs_tol=1e-12 * f.size)


@given(problems(), st.sampled_from(sorted(BOUNDARIES)))
def test_crop_undoes_extend(problem: tuple[Array, Array], boundary: str) -> None:
    g, h = problem
    grid = grid_shape(g.shape, h.shape, boundary)
    out = extend(g, grid, boundary, h)
    assert out.shape == grid
    assert all(n >= m for n, m in zip(grid, g.shape, strict=True))
    np.testing.assert_array_equal(crop(out, g.shape), g)


@given(shapes, penalties, st.floats(0.01, 100))
def test_symbols_are_those_of_real_operators(shape: tuple[int, ...], penalty: str, tau: float) -> None:
    """Not negative, and even in frequency: the same at w and -w, as a real image needs it."""
    P = penalty_symbol(penalty, shape, tau=tau)
    assert P.min() >= 0
    first = P[..., 0]  # the column of frequency zero holds both w and -w of the other axes
    mirrored = np.roll(np.flip(first), 1, range(first.ndim))
    np.testing.assert_allclose(first, mirrored, rtol=1e-12, atol=1e-12)


@given(problems(), penalties)
def test_curves_are_monotone(problem: tuple[Array, Array], penalty: str) -> None:
    """With lambda the residual rises, the penalty and the degrees of freedom fall, and R + lam E rises."""
    g, h = problem
    shape = g.shape
    assume(g.size > 1)  # a single pixel has no frequency but zero
    Y = np.fft.rfftn(g)[np.newaxis]
    data = Spectra(transfer_function(h, shape), penalty_symbol(penalty, shape), Y, shape)
    lams = np.logspace(-6, 4, 50)
    for bins in (data.exact(), data.binned()):
        c = bins.curves(lams)
        rounding = 1e-12 * np.sum(g**2)
        assert np.all(np.diff(c.residual) >= -rounding)
        assert np.all(np.diff(c.residual + lams * c.seminorm) >= -rounding)
        assert np.all(np.diff(c.seminorm) <= 1e-12 * c.seminorm[0])
        assert np.all(np.diff(c.dof) <= 1e-12 * g.size)
        assert np.all(np.diff(c.logdet) <= 1e-12 * c.logdet[0])
        assert np.all(c.slope <= 0)
        assert np.all((c.dof >= 0) & (c.dof <= g.size * (1 + 1e-12)))
        assert c.n_obs == g.size


@given(problems(), st.sampled_from(sorted(BOUNDARIES)), st.floats(-5, 5), st.floats(1e-3, 10))
def test_restoration_is_linear(problem: tuple[Array, Array], boundary: str, factor: float, lam: float) -> None:
    a, h = problem
    b = np.sin(np.arange(a.size)).reshape(a.shape)
    restored = plan(h, a.shape, lam=lam, boundary=boundary, tol=1e-24, max_iter=200)
    gain = np.abs(restored.gain).max()
    np.testing.assert_allclose(
        restored(a + factor * b), restored(a) + factor * restored(b), rtol=0, atol=1e-11 * max(gain, 1)
    )


@given(problems(), penalties, st.floats(1e-3, 10))
def test_a_restoration_is_a_minimum(problem: tuple[Array, Array], penalty: str, lam: float) -> None:
    """Any change of the image raises ||h * f - g||^2 + lam <f, P f>."""
    g, h = problem
    f = plan(h, g.shape, lam=lam, penalty=penalty, boundary="periodic")(g)
    P, weights = penalty_symbol(penalty, g.shape), hermitian_weights(g.shape)

    def objective(image: Array) -> float:
        energy = np.abs(np.fft.rfftn(image)) ** 2
        fit = np.sum((simulate.blur(image, h, boundary="periodic") - g) ** 2)
        return float(fit + lam * np.sum(weights * P * energy) / g.size)

    lowest = objective(f)
    change = np.sin(1 + np.arange(g.size)).reshape(g.shape)
    for step in (1e-3, -1e-3, 1.0):
        assert objective(f + step * change) >= lowest * (1 - 1e-12)
