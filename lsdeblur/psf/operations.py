"""Point-spread functions combined and cut."""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt

from lsdeblur._fft import irfftn, rfftn
from lsdeblur._validate import as_psf
from lsdeblur.psf._pixels import (
    Array,
)

__all__ = ["combine", "trim"]


def combine(*psfs: npt.ArrayLike) -> Array:
    """PSF of several blurs at once: the convolution `h = h1 * h2 * ...` of their PSFs.

    Parameters
    ----------
    psfs : arrays with the same number of axes, each with its centre at `s // 2`; each is normalised first.

    Returns
    -------
    Array of the full size, odd on every axis: the sum of the sizes, each rounded up to odd, less one per convolution.

    Raises
    ------
    TypeError, ValueError : no PSF is given, one is not a PSF, or their numbers of axes differ.

    Notes
    -----
    An even size gets a row of zeros at its end, which leaves the centre where it was. One FFT per PSF.

    Examples
    --------
    >>> from lsdeblur import psf
    >>> psf.combine(psf.box((1, 3)), psf.box((1, 3)))
    array([[0.11111111, 0.22222222, 0.33333333, 0.22222222, 0.11111111]])
    """
    if not psfs:
        raise TypeError("combine needs at least one PSF, but psfs is empty; delta() is the PSF of no blur")
    ndim = np.ndim(psfs[0])
    parts = [as_psf(p, ndim=ndim, name=f"psfs[{i}]")[0].astype(np.float64) for i, p in enumerate(psfs)]
    odd = [np.pad(p, [(0, 1 - s % 2) for s in p.shape]) for p in parts]
    shape = tuple(int(sum(s) - len(s) + 1) for s in zip(*(p.shape for p in odd), strict=True))
    spectra = [rfftn(np.pad(p, [(0, n - s) for n, s in zip(shape, p.shape, strict=True)]), ndim) for p in odd]
    h = irfftn(reduce(np.multiply, spectra), shape)
    h = np.maximum(h, 0.0) if min(p.min() for p in parts) >= 0 else h  # rounding, not a PSF's own negative values
    return h / h.sum()


def trim(psf: npt.NDArray[Any], *, ndim: int | None = None) -> npt.NDArray[Any]:
    """The PSF without the margins of zeros that surround it, its centre still at `s // 2`.

    Parameters
    ----------
    psf : array (..., (plane,) row, column); leading axes are cut alike.
    ndim : number of spatial axes, the last ones; by default all.

    Returns
    -------
    View of `psf`, of odd size on every axis where a margin was cut.

    Raises
    ------
    ValueError : `psf` has fewer than `ndim` axes.

    Examples
    --------
    >>> from lsdeblur import psf
    >>> psf.trim(np.array([[0, 0, 0, 0, 0], [0, 1, 2, 0, 0], [0, 0, 0, 0, 0]]))
    array([[1, 2, 0]])
    """
    ndim = psf.ndim if ndim is None else ndim
    if psf.ndim < ndim:
        raise ValueError(f"psf has the shape {psf.shape}, but ndim is {ndim}: it needs at least that many axes")
    window: list[Any] = [...]
    for axis in range(psf.ndim - ndim, psf.ndim):
        used = np.flatnonzero(psf.any(axis=tuple(i for i in range(psf.ndim) if i != axis)))
        center = psf.shape[axis] // 2
        reach = int(np.abs(used - center).max(initial=0))
        window.append(slice(center - reach, center + reach + 1))  # an even axis that is used up to its start stays even
    return psf[tuple(window)]
