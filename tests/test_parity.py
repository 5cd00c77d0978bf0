"""The same answers as scikit-image, and where its conventions differ.

`skimage.restoration.wiener(image, psf, balance, clip=False)` is Tikhonov's filter on a periodic grid with the penalty
"laplacian" and ``lam = balance``. Its PSF's origin is ``floor(s / 2)``, as here. Four things differ:

* it clips to [-1, 1] by default;
* of an operator given as `reg` it uses the real part of the transfer function, ``(Re R)^2`` and not ``|R|^2``: the
  same only when the operator is symmetric about its centre;
* a PSF with the shape of the half spectrum, (N1, ..., Nd // 2 + 1), is taken for a transfer function;
* it does not accept an operator or a PSF with a spacing or channels of its own.
"""

from __future__ import annotations

import numpy as np
import pytest
import reference
from skimage import restoration

from lsdeblur import restore

GRIDS = [((16, 16), (3, 3)), ((16, 17), (4, 4)), ((15, 18), (5, 2)), ((17, 15), (1, 6)), ((8, 9, 10), (3, 2, 4))]


@pytest.mark.parametrize(("shape", "size"), GRIDS)
@pytest.mark.parametrize("balance", [1e-3, 0.5])
def test_wiener_of_scikit_image(shape: tuple[int, ...], size: tuple[int, ...], balance: float) -> None:
    g, h = reference.image(shape), reference.psf(size)
    expected = restoration.wiener(g, h, balance, clip=False)
    actual = restore(g, h, lam=balance, penalty="laplacian", boundary="periodic").image
    assert reference.relative_error(actual, expected) < 1e-11


def test_single_precision() -> None:
    g, h = reference.image((32, 31), dtype=np.float32), reference.psf((4, 3), dtype=np.float32)
    expected = restoration.wiener(g, h, 0.1, clip=False)
    actual = restore(g, h, lam=0.1, penalty="laplacian", boundary="periodic").image
    assert actual.dtype == expected.dtype == np.float32
    assert reference.relative_error(actual, expected) < 1e-5


def test_symmetric_operator() -> None:
    g, h = reference.image((16, 15)), reference.psf((4, 3))
    operator = np.array([[-1.0, -2.0, -1.0], [-2.0, 13.0, -2.0], [-1.0, -2.0, -1.0]])
    expected = restoration.wiener(g, h, 0.05, reg=operator, clip=False)
    actual = restore(g, h, lam=0.05, penalty=operator, boundary="periodic").image
    assert reference.relative_error(actual, expected) < 1e-11


def test_asymmetric_operator_needs_its_real_part() -> None:
    """A forward difference [1, -1] with its origin at -1 has ``R = exp(i w) - 1`` there, of which cos w - 1 is used."""
    g, h = reference.image((16, 15)), reference.psf((4, 3))
    operator = np.array([[1.0, -1.0]])
    expected = restoration.wiener(g, h, 0.05, reg=operator, clip=False)
    ours = restore(g, h, lam=0.05, penalty=operator, boundary="periodic").image
    theirs = restore(g, h, lam=0.05, penalty=lambda rows, columns: (np.cos(columns) - 1) ** 2, boundary="periodic")
    assert reference.relative_error(theirs.image, expected) < 1e-11
    assert reference.relative_error(ours, expected) > 0.1


def test_clipping_is_the_default_there() -> None:
    g, h = 5 * reference.image((16, 15)), reference.psf((4, 3))
    expected = restore(g, h, lam=0.1, penalty="laplacian", boundary="periodic").image
    assert reference.relative_error(restoration.wiener(g, h, 0.1), expected.clip(-1, 1)) < 1e-11


def test_psf_with_the_shape_of_the_half_spectrum_is_misread_there() -> None:
    shape = (6, 10)
    g, h = reference.image(shape), reference.psf((6, 6))
    misread = np.fft.irfft2(h / (h**2 + 0.1 * _laplacian(shape) ** 2) * np.fft.rfft2(g), shape)
    assert reference.relative_error(restoration.wiener(g, h, 0.1, clip=False), misread) < 1e-11
    expected = reference.tikhonov(
        reference.convolution_matrix(h, shape), reference.penalty_matrix("laplacian", shape), 0.1, g
    )
    actual = restore(g, h, lam=0.1, penalty="laplacian", boundary="periodic").image
    assert reference.relative_error(actual, expected) < 1e-11


def _laplacian(shape: tuple[int, int]) -> reference.Array:
    rows, columns = (2 - 2 * np.cos(2 * np.pi * f) for f in (np.fft.fftfreq(shape[0]), np.fft.rfftfreq(shape[1])))
    return np.add.outer(rows, columns)
