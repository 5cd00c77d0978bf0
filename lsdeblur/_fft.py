"""Fourier transforms: the only file that imports an FFT.

All transforms are real-to-complex over the last axes, unnormalised forward, and keep the precision of their input.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.fft

from lsdeblur._validate import resolve_workers

__all__ = ["fft", "good_size", "half_frequencies", "ifft", "irfftn", "rfft", "rfftn"]

_SMALL = 1 << 15  # below this many values starting threads costs more than they save (measured)


def good_size(n: int) -> int:
    """Smallest transform length >= n that factors into small primes."""
    return int(scipy.fft.next_fast_len(n, real=True))


def half_frequencies(grid: Sequence[int]) -> list[npt.NDArray[np.float64]]:
    """Angular frequencies in radians per pixel along each axis of the half spectrum."""
    sampled = [scipy.fft.fftfreq] * (len(grid) - 1) + [scipy.fft.rfftfreq]
    return [2 * np.pi * axis(n) for axis, n in zip(sampled, grid, strict=True)]


def rfftn(x: npt.NDArray[np.floating[Any]], ndim: int, workers: int | None = None) -> npt.NDArray[Any]:
    """Half spectrum over the last `ndim` axes, complex64 for float32 input and complex128 for float64."""
    return scipy.fft.rfftn(x, axes=tuple(range(-ndim, 0)), workers=_threads(x.size, workers))


def irfftn(spectrum: npt.NDArray[Any], shape: tuple[int, ...], workers: int | None = None) -> npt.NDArray[Any]:
    """Real array of spatial `shape` (the last axes) from its half spectrum; `spectrum` may be overwritten."""
    axes = tuple(range(-len(shape), 0))
    return scipy.fft.irfftn(spectrum, s=shape, axes=axes, overwrite_x=True, workers=_threads(spectrum.size, workers))


def fft(x: npt.NDArray[Any], n: int, workers: int | None = None) -> npt.NDArray[Any]:
    """Complex transform along axis 0, of zero-padded length n."""
    return scipy.fft.fft(x, n, axis=0, workers=_threads(x.size, workers))


def rfft(x: npt.NDArray[Any], workers: int | None = None) -> npt.NDArray[Any]:
    """Half spectrum along axis 0 of a real array."""
    return scipy.fft.rfft(x, axis=0, workers=_threads(x.size, workers))


def ifft(x: npt.NDArray[Any], workers: int | None = None) -> npt.NDArray[Any]:
    """Inverse of `fft`; `x` may be overwritten."""
    return scipy.fft.ifft(x, axis=0, overwrite_x=True, workers=_threads(x.size, workers))


def _threads(size: int, workers: int | None) -> int:
    return 1 if size < _SMALL else resolve_workers(workers)
