"""compat beside scikit-image's own functions, called in the test, and where it differs from them on purpose."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import reference
from skimage import data, restoration
from skimage.restoration import uft

from lsdeblur import compat

NAMES = ["wiener", "unsupervised_wiener", "richardson_lucy"]
FLAT = [((16, 17), (3, 4)), ((17, 14), (4, 4)), ((31, 64), (6, 3)), ((15, 18), (5, 5))]
GRIDS = [*FLAT, ((19,), (4,)), ((8, 9, 10), (3, 2, 4))]
TOLERANCE = {np.dtype(np.float32): 1e-5, np.dtype(np.float64): 1e-11}


def assert_same(actual: Any, expected: Any) -> None:
    assert actual.dtype == expected.dtype
    assert actual.shape == expected.shape
    assert reference.relative_error(actual, expected) < TOLERANCE[expected.real.dtype]


def photograph(kind: str) -> tuple[Any, Any]:
    """scikit-image's own test: a part of the cameraman, blurred by 5 x 5 pixels, in its kinds of arrays."""
    scene, h = data.camera()[100:180, 200:290] / 255, np.ones((5, 5)) / 25
    grid = (scene.shape[0] + 4, scene.shape[1] + 4)
    blurred = np.fft.irfft2(np.fft.rfft2(scene, grid) * np.fft.rfft2(h, grid), grid)[2:-2, 2:-2]
    blurred += 0.05 * blurred.std() * np.random.default_rng(0).standard_normal(scene.shape)
    return (255 * blurred).clip(0, 255).astype(kind) if kind == "uint8" else blurred.astype(kind), h


@pytest.mark.parametrize("name", NAMES)
def test_signatures(name: str) -> None:
    ours, theirs = (inspect.signature(getattr(m, name)).parameters for m in (compat, restoration))
    assert [(p.name, p.default, p.kind) for p in ours.values()] == [
        (p.name, p.default, p.kind) for p in theirs.values()
    ]


@pytest.mark.parametrize("kind", ["float16", "float32", "float64", "uint8"])
def test_photograph(kind: str) -> None:
    g, h = photograph(kind)
    kept = g.copy()
    assert_same(compat.wiener(g, h, 0.05), restoration.wiener(g, h, 0.05))
    assert_same(compat.richardson_lucy(g, h, 8), restoration.richardson_lucy(g, h, 8))
    actual, chains = compat.unsupervised_wiener(g, h, rng=5)
    expected, theirs = restoration.unsupervised_wiener(g, h, rng=5)
    assert_same(actual, expected)
    for key in ("noise", "prior"):
        assert len(chains[key]) == len(theirs[key])
        np.testing.assert_allclose(chains[key], theirs[key], rtol=1e-4 if g.dtype.itemsize in (2, 4) else 1e-10)
    assert np.array_equal(g, kept)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("shape", "size"), GRIDS)
class TestArrays:
    def test_wiener(self, shape: tuple[int, ...], size: tuple[int, ...], dtype: Any) -> None:
        g, h = 3 * reference.image(shape, dtype=dtype), reference.psf(size)
        for options in ({}, {"clip": False}, {"is_real": False, "clip": False}, {"is_real": False}):
            assert_same(compat.wiener(g, h, 0.1, **options), restoration.wiener(g, h, 0.1, **options))

    def test_richardson_lucy(self, shape: tuple[int, ...], size: tuple[int, ...], dtype: Any) -> None:
        g, h = 2 * reference.image(shape, dtype=dtype), reference.psf(size)
        for options in ({}, {"clip": False}, {"clip": False, "filter_epsilon": 0.4}):
            actual, expected = (m.richardson_lucy(g, h, 7, **options) for m in (compat, restoration))
            assert expected.any()
            assert_same(actual, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("shape", "size"), FLAT)
def test_unsupervised_wiener(shape: tuple[int, int], size: tuple[int, int], dtype: Any) -> None:
    g, h = reference.image(shape, dtype=dtype), reference.psf(size)
    operator = np.array([[0.0, -1.0, 0.0], [-1.0, 4.5, -1.0], [0.0, -1.0, 0.0]])
    params = {"burnin": 3, "min_num_iter": 5, "max_num_iter": 12}
    for options in ({"reg": operator, "user_params": params}, {"clip": False}, {"user_params": {"threshold": 0.1}}):
        actual, chains = compat.unsupervised_wiener(g, h, rng=1, **options)
        expected, theirs = restoration.unsupervised_wiener(g, h, rng=1, **options)
        assert_same(actual, expected)
        assert len(chains["noise"]) == len(theirs["noise"])


def test_generator_and_callback_go_on_alike() -> None:
    g, h = reference.image((16, 18)), reference.psf((3, 3))
    samples: dict[Any, list[Any]] = {compat: [], restoration: []}
    ends = []
    for module, kept in samples.items():
        rng = np.random.default_rng(7)
        module.unsupervised_wiener(g, h, user_params={"callback": lambda x, kept=kept: kept.append(x.copy())}, rng=rng)
        ends.append(rng.random())
    assert ends[0] == ends[1]
    assert len(samples[compat]) == len(samples[restoration]) > 30
    np.testing.assert_allclose(samples[compat], samples[restoration], atol=1e-9)


def test_whole_spectra_of_square_images() -> None:
    g, h = reference.image((16, 16)), reference.psf((3, 4))
    ours, theirs = (m.unsupervised_wiener(g, h, is_real=False, rng=2)[0] for m in (compat, restoration))
    assert_same(ours, theirs)


@pytest.mark.parametrize("is_real", [True, False])
def test_transfer_functions(is_real: bool) -> None:
    """Those of symmetric PSFs, as in scikit-image's tests: they are real."""
    g, h = reference.image((15, 15)), np.ones((5, 5)) / 25
    H, R = uft.ir2tf(h, g.shape, is_real=is_real), uft.laplacian(2, g.shape, is_real=is_real)[0]
    actual = compat.wiener(g, H, 0.05, reg=R, is_real=is_real)
    assert_same(actual, restoration.wiener(g, H, 0.05, reg=R, is_real=is_real))
    assert_same(actual.real, restoration.wiener(g, h, 0.05))


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_what_scikit_image_tests(ndim: int) -> None:
    """Its test of wiener: an operator as it is beside a whole transfer function gives the image of the PSF."""
    g, h = reference.image((22,) * ndim), np.ones((5,) * ndim) / 5**ndim
    H, R = uft.ir2tf(h, g.shape, is_real=False), uft.laplacian(ndim, g.shape)[1]
    actual = compat.wiener(g, H, 0.05, reg=R, is_real=False)
    assert_same(actual, restoration.wiener(g, H, 0.05, reg=R, is_real=False))
    assert_same(np.real(actual), compat.wiener(g, h, 0.05))
    if ndim == 2:
        ours, theirs = (m.unsupervised_wiener(g, H, reg=R, is_real=False, rng=5)[0] for m in (compat, restoration))
        assert_same(ours, theirs)


@pytest.mark.parametrize("is_real", [True, False])
def test_transfer_functions_keep_their_imaginary_part(is_real: bool) -> None:
    """scikit-image drops it, and with it where an asymmetric PSF moves the image."""
    g, h = reference.image((14, 15)), reference.psf((4, 3))
    H, expected = uft.ir2tf(h, g.shape, is_real=is_real), restoration.wiener(g, h, 0.05)
    assert_same(compat.wiener(g, H, 0.05, is_real=is_real).real, expected)
    theirs = restoration.wiener(g, H, 0.05, is_real=is_real).real
    assert reference.relative_error(theirs, expected) > 0.05
    actual = compat.unsupervised_wiener(g, H, is_real=is_real, rng=0)[0]
    assert_same(actual, compat.unsupervised_wiener(g, h, is_real=is_real, rng=0)[0])


def test_operators_count_by_their_modulus() -> None:
    """A forward difference has ``|R|^2 = 2 - 2 cos w``; scikit-image penalises its real part, ``(cos w - 1)^2``."""
    g, h = reference.image((14, 15)), reference.psf((4, 3))
    w = 2 * np.pi * np.fft.rfftfreq(15)
    H, Y = uft.ir2tf(h, g.shape), np.fft.rfft2(g)
    for P, actual in (
        (2 - 2 * np.cos(w), compat.wiener(g, h, 0.05, reg=np.array([[1.0, -1.0]]), clip=False)),
        ((np.cos(w) - 1) ** 2, restoration.wiener(g, h, 0.05, reg=np.array([[1.0, -1.0]]), clip=False)),
    ):
        assert_same(actual, np.fft.irfft2(H.conj() / (np.abs(H) ** 2 + 0.05 * P) * Y, g.shape))


def test_a_psf_of_the_half_spectrum_s_shape_is_a_psf() -> None:
    g, h = reference.image((6, 10)), reference.psf((6, 6))
    assert_same(compat.wiener(g, h, 0.1), restoration.wiener(g, h, 0.1, is_real=False).real)


def test_norms_do_not_depend_on_the_shape() -> None:
    """33 x 64 pixels have a square half spectrum: scikit-image counts its columns once, one row more as they are."""
    h = reference.psf((3, 3))
    scene = reference.image((34, 64))
    options = {"rng": 0, "user_params": {"max_num_iter": 150, "threshold": 0}}
    levels = {
        (module, rows): float(np.mean(module.unsupervised_wiener(scene[:rows], h, **options)[1]["noise"][50:]))
        for module in (compat, restoration)
        for rows in (33, 34)
    }
    assert levels[compat, 34] == pytest.approx(levels[restoration, 34])
    assert levels[compat, 33] == pytest.approx(levels[compat, 34], rel=0.25)
    assert levels[restoration, 33] > 1.5 * levels[restoration, 34]


def test_faint_skies_in_single_precision() -> None:
    """Rounding makes a blurred sky zero or negative, and a quotient by it anything."""
    stars = np.zeros((60, 61))
    stars[15, 17], stars[40, 30] = 1, 0.5
    h = reference.psf((7, 5))
    g = np.fft.irfft2(np.fft.rfft2(stars) * uft.ir2tf(h, stars.shape), stars.shape)
    g = (g.clip(0) + 1e-9 * np.random.default_rng(0).random(g.shape)).astype(np.float32)
    exact = restoration.richardson_lucy(g.astype(np.float64), h, 30)
    assert reference.relative_error(compat.richardson_lucy(g, h, 30), exact) < 3e-7


def test_no_iteration_and_large_psfs() -> None:
    g = reference.image((6, 7))
    assert np.array_equal(compat.richardson_lucy(g, reference.psf((3, 3)), 0), np.full((6, 7), 0.5))
    h = reference.psf((14, 9))
    assert_same(compat.richardson_lucy(g, h, 5), restoration.richardson_lucy(g, h, 5))


G, H = reference.image((12, 13)), reference.psf((3, 4))
ERRORS: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: compat.wiener(G + 1j, H, 0.1), TypeError, "image is complex"),
    (lambda: compat.wiener(G * np.nan, H, 0.1), ValueError, "image has 156 values that are NaN"),
    (lambda: compat.wiener(G, H, -1), ValueError, "balance must not be negative"),
    (lambda: compat.wiener(G, H - H.mean(), 0.1), ValueError, "psf erases a frequency that reg does not"),
    (lambda: compat.wiener(H, G, 0.1), ValueError, r"psf \(12, 13\) is larger than the image \(3, 4\)"),
    (lambda: compat.wiener(G, H[0], 0.1), ValueError, r"psf must have 2 axes, but its shape \(4,\) has 1"),
    (lambda: compat.wiener(G, H, 0.1, reg=G + 1j), ValueError, r"reg is complex, .* shape \(12, 13\) is not \(12, 7\)"),
    (lambda: compat.wiener(G, G + 1j * np.inf, 0.1, is_real=False), ValueError, "psf has values that are NaN or infin"),
    (lambda: compat.unsupervised_wiener(G[0], H), ValueError, "image must have 2 axes"),
    (lambda: compat.unsupervised_wiener(G, 0 * H), ValueError, "psf erases a frequency that reg does not"),
    (lambda: compat.unsupervised_wiener(G, H, user_params={"burn": 3}), ValueError, "user_params has no 'burn': its"),
    (lambda: compat.unsupervised_wiener(G, H, user_params={"max_num_iter": 16}), ValueError, "raise it to 17 or more"),
    (lambda: compat.richardson_lucy(G, H[0]), ValueError, "psf must have 2 axes"),
    (lambda: compat.richardson_lucy(G, H, -1), ValueError, "num_iter must not be negative: -1"),
    (lambda: compat.richardson_lucy(G, H, filter_epsilon=np.nan), ValueError, "filter_epsilon must be finite"),
]


@pytest.mark.parametrize(("call", "error", "message"), ERRORS)
def test_errors(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
