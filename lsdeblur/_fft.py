"""Fourier transforms: the only file that imports an FFT.

All transforms are unnormalised forward and keep the precision of their input. SciPy's always work and are the fastest
but in a few cases, where FFTW's or MKL's take over (`_fastest`); `fft_backend` chooses otherwise.
"""

from __future__ import annotations

import importlib
import logging
import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import scipy.fft

from lsdeblur._validate import check_choice, resolve_workers
from lsdeblur.errors import MissingDependencyError

__all__ = [
    "chosen_backend",
    "fft",
    "fft_backend",
    "framed",
    "good_size",
    "half_frequencies",
    "ifft",
    "irfftn",
    "rfft",
    "rfftn",
    "using",
]

Array = npt.NDArray[Any]

_SMALL = 1 << 17  # below this many values starting threads costs more than they save (measured)
_ROWS = 1 << 19  # values of the rows that are transformed at once where only a part of them is kept
_ALIGNMENT = 16  # bytes, what FFTW asks of an address to use vector instructions
_PLANS = 64  # FFTW's plans that a thread keeps, each with some thousand numbers at the most

_log = logging.getLogger("lsdeblur")
_forced: ContextVar[str] = ContextVar("lsdeblur_fft_backend", default="auto")


class Backend(Protocol):
    """A library's transforms; all but the last argument are as in the functions of the same names."""

    def rfftn(self, x: Array, ndim: int, threads: int) -> Array: ...
    def irfftn(self, spectrum: Array, shape: tuple[int, ...], threads: int, overwrite: bool) -> Array: ...
    def fft(self, x: Array, n: int, threads: int) -> Array: ...
    def ifft(self, x: Array, threads: int, overwrite: bool) -> Array: ...


class SciPy:
    """pocketfft in C++."""

    def rfftn(self, x: Array, ndim: int, threads: int) -> Array:
        return scipy.fft.rfftn(x, axes=tuple(range(-ndim, 0)), workers=threads)

    def irfftn(self, spectrum: Array, shape: tuple[int, ...], threads: int, overwrite: bool) -> Array:
        return scipy.fft.irfft(self._all_but_last(spectrum, shape, threads, overwrite), shape[-1], workers=threads)

    def framed(self, spectrum: Array, shape: tuple[int, ...], frame: tuple[int, ...], threads: int) -> Array:
        """The corner of shape `frame` of `irfftn`, some rows at a time: the rest is never in memory."""
        kept: tuple[Any, ...] = (..., *(slice(n) for n in frame[:-1]), slice(None))
        Y = self._all_but_last(spectrum, shape, threads, True)[kept]
        out = np.empty((*Y.shape[:-1], frame[-1]), Y.real.dtype)
        n = max(1, _ROWS // shape[-1])
        for plane in np.ndindex(Y.shape[:-2]):
            for rows in (slice(i, i + n) for i in range(0, frame[-2], n)):
                out[plane][rows] = scipy.fft.irfft(Y[plane][rows], shape[-1], workers=threads)[:, : frame[-1]]
        return out

    def _all_but_last(self, spectrum: Array, shape: tuple[int, ...], threads: int, overwrite: bool) -> Array:
        """Inverse along the leading axes, on their own: within irfftn it would not be done in place."""
        axes = tuple(range(-len(shape), -1))
        in_place = overwrite and spectrum.flags.writeable
        return scipy.fft.ifftn(spectrum, axes=axes, overwrite_x=in_place, workers=threads) if axes else spectrum

    def fft(self, x: Array, n: int, threads: int) -> Array:
        return scipy.fft.fft(x, n, axis=0, workers=threads)

    def ifft(self, x: Array, threads: int, overwrite: bool) -> Array:
        return scipy.fft.ifft(x, axis=0, overwrite_x=overwrite and x.flags.writeable, workers=threads)


class MKL:
    """Intel's library; its number of threads belongs to the calling thread."""

    def __init__(self) -> None:
        self._fft, self._service = importlib.import_module("mkl_fft"), importlib.import_module("mkl")

    @contextmanager
    def _on(self, threads: int) -> Iterator[Any]:
        previous = self._service.set_num_threads_local(threads)
        try:
            yield self._fft
        finally:
            self._service.set_num_threads_local(previous)

    def rfftn(self, x: Array, ndim: int, threads: int) -> Array:
        with self._on(threads) as library:  # which keeps the order of the axes in memory
            return library.rfftn(np.ascontiguousarray(x), axes=tuple(range(-ndim, 0)))

    def irfftn(self, spectrum: Array, shape: tuple[int, ...], threads: int, overwrite: bool) -> Array:
        with self._on(threads) as library:
            return library.irfftn(spectrum, s=shape, axes=tuple(range(-len(shape), 0)))

    def fft(self, x: Array, n: int, threads: int) -> Array:
        with self._on(threads) as library:
            return library.fft(x, n, axis=0)

    def ifft(self, x: Array, threads: int, overwrite: bool) -> Array:
        with self._on(threads) as library:
            return library.ifft(x, axis=0)


class FFTW:
    """FFTW; `effort` is "FFTW_ESTIMATE" or "FFTW_MEASURE".

    Each thread makes and keeps plans of its own, and between two uses a plan holds on to no data.
    """

    def __init__(self, effort: str = "FFTW_ESTIMATE") -> None:
        self._library = importlib.import_module("pyfftw")
        self._effort = effort
        self._own = threading.local()

    def rfftn(self, x: Array, ndim: int, threads: int) -> Array:
        y = np.empty((*x.shape[:-1], x.shape[-1] // 2 + 1), np.result_type(x, np.complex64))
        self._execute("FORWARD", np.ascontiguousarray(x), y, tuple(range(-ndim, 0)), threads)
        return y

    def irfftn(self, spectrum: Array, shape: tuple[int, ...], threads: int, overwrite: bool) -> Array:
        source = _contiguous(spectrum, overwrite)
        x = np.empty((*source.shape[: -len(shape)], *shape), source.real.dtype)
        self._execute("BACKWARD", source, x, tuple(range(-len(shape), 0)), threads)
        x *= x.dtype.type(1 / math.prod(shape))
        return x

    def fft(self, x: Array, n: int, threads: int) -> Array:
        y = np.empty((n, *x.shape[1:]), np.result_type(x, np.complex64))
        y[: len(x)] = x[:n]
        y[len(x) :] = 0
        self._execute("FORWARD", y, y, (0,), threads)
        return y

    def ifft(self, x: Array, threads: int, overwrite: bool) -> Array:
        y = _contiguous(x, overwrite)
        self._execute("BACKWARD", y, y, (0,), threads)
        y *= y.real.dtype.type(1 / len(y))
        return y

    def _execute(self, direction: str, source: Array, target: Array, axes: tuple[int, ...], threads: int) -> None:
        """Transform contiguous arrays; a complex source is destroyed where the target is real."""
        plans: OrderedDict[Any, Any] = self._own.__dict__.setdefault("plans", OrderedDict())
        layout = ((a.dtype, a.shape, a.strides, a.ctypes.data % _ALIGNMENT) for a in (source, target))
        key = (direction, source is target, axes, threads, *layout)
        if key not in plans:
            plans[key] = self._planned(direction, source, target, axes, threads)
            if len(plans) > _PLANS:
                plans.popitem(last=False)
        plans.move_to_end(key)
        plan, blank = plans[key]
        plan.update_arrays(source, target)
        plan.execute()
        plan.update_arrays(*blank)

    def _planned(
        self, direction: str, source: Array, target: Array, axes: tuple[int, ...], threads: int
    ) -> tuple[Any, tuple[Array, Array]]:
        """A plan for arrays like these, and blank ones for it to rest on; measuring destroys what it is done on."""
        first = _scratch(source)
        arrays = first, first if source is target else _scratch(target)
        flags = [self._effort] + ["FFTW_DESTROY_INPUT"] * (target.dtype.kind == "f")
        plan = self._library.FFTW(*arrays, axes=axes, direction="FFTW_" + direction, flags=flags, threads=threads)
        first = _lookalike(source)
        return plan, (first, first if source is target else _lookalike(target))


def _contiguous(x: Array, overwrite: bool) -> Array:
    """`x` as a contiguous complex array, a copy unless it may be overwritten."""
    dtype = np.result_type(x, np.complex64)
    return np.require(x, dtype, ["C", "W"]) if overwrite else np.array(x, dtype, order="C")


def _scratch(array: Array) -> Array:
    """An uninitialised array of the same form and alignment."""
    return np.lib.stride_tricks.as_strided(_aligned_like(array, array.nbytes), array.shape, array.strides)


def _lookalike(array: Array) -> Array:
    """The same, but all in the place of one value: for a plan to rest on, not to be read or written."""
    return np.lib.stride_tricks.as_strided(_aligned_like(array, array.itemsize), array.shape, array.strides)


def _aligned_like(array: Array, nbytes: int) -> Array:
    memory = np.empty(nbytes + _ALIGNMENT, np.uint8)
    start = (array.ctypes.data - memory.ctypes.data) % _ALIGNMENT
    return memory[start : start + nbytes].view(array.dtype)


_SCIPY = SciPy()
_MAKERS: dict[str, Callable[[], Backend]] = {
    "scipy": lambda: _SCIPY,
    "fftw": FFTW,
    "fftw-measured": lambda: FFTW("FFTW_MEASURE"),
    "mkl": MKL,
}
_REMEDIES = {"fftw": "pip install pyfftw", "mkl": "pip install mkl_fft mkl-service"}


@cache
def _installed(name: str) -> Backend | None:
    """The named backend, loaded on first use; None where its library is missing."""
    try:
        return _MAKERS[name]()
    except ImportError as error:
        _log.debug("fft: no %s: %s", name, error)
        return None


@contextmanager
def fft_backend(name: str, *, measure: bool = False) -> Iterator[None]:
    """Choose the library that computes the Fourier transforms within a ``with`` block.

    Parameters
    ----------
    name : {"auto", "fftw", "scipy", "mkl"}
        "auto", which holds outside of any block, takes the fastest installed one for each size and precision.
    measure : bool
        Let FFTW try out its algorithms on the first transform of every form, for some seconds where images are
        large. That pays for hundreds of transforms of one form, as when a plan is applied to a film.

    Raises
    ------
    MissingDependencyError
        The library is not installed.

    Notes
    -----
    Results differ by rounding and, where a boundary adds a margin, by the lengths that suit the library. The choice
    holds in the current thread or task only; a plan made within the block keeps it. What each transform uses is logged
    at level debug by ``logging.getLogger("lsdeblur")``.

    References
    ----------
    Frigo & Johnson (2005), Proc. IEEE 93, 216-231, doi:10.1109/JPROC.2004.840301 (FFTW and its measured plans).

    Examples
    --------
    >>> import numpy as np
    >>> from lsdeblur import fft_backend, psf, restore
    >>> with fft_backend("scipy"):
    ...     result = restore(np.eye(32), psf.gaussian(1.0), lam=0.1)
    """
    check_choice(name, ("auto", "fftw", "scipy", "mkl"), "name")
    if measure and name != "fftw":
        raise ValueError(f'measure=True is for name="fftw": {name!r} does not measure; leave it out')
    if name != "auto" and _installed(name) is None:
        raise MissingDependencyError(f"the FFT backend {name!r} is not installed; install it: {_REMEDIES[name]}")
    with using("fftw-measured" if measure else name):
        yield


@contextmanager
def using(backend: str) -> Iterator[None]:
    """What `chosen_backend` said, again within a ``with`` block."""
    token = _forced.set(backend)
    try:
        yield
    finally:
        _forced.reset(token)


def _fastest(dtype: np.dtype[Any], size: int, threads: int) -> tuple[str, int]:
    """Backend and threads for images of `size` values, as measured by benchmarks/transforms.py.

    FFTW gets one thread only: its threads spin while they wait for each other, and where other work keeps a processor
    busy that can cost ten times what they gain.
    """
    if dtype == np.float64 and 1 << 15 <= size <= 1 << 18 and threads <= 2:
        return "fftw", 1
    if dtype == np.float32 and (1 << 15 <= size < _SMALL or 1 << 21 <= size < 1 << 24):
        return "mkl", threads
    return "scipy", threads


def _choose(x: Array, size: int, workers: int | None) -> tuple[Backend, int]:
    """The backend that transforms `x`, which holds images of `size` values, and its number of threads."""
    name, threads = _forced.get(), _threads(x, workers)
    if name == "auto":
        name, threads = _fastest(x.real.dtype, size, threads)
    backend = _installed(name)
    if backend is None:
        name, threads, backend = "scipy", _threads(x, workers), _SCIPY
    _log.debug("fft: %s transforms %s %s on %d threads", name, x.dtype, x.shape, threads)
    return backend, threads


def _threads(x: Array, workers: int | None) -> int:
    return 1 if x.size < _SMALL else resolve_workers(workers)


def good_size(n: int) -> int:
    """Smallest transform length >= n of prime factors up to 5, or up to 11 for a chosen backend that has them all."""
    return int(scipy.fft.next_fast_len(n, real=_forced.get() in ("auto", "scipy")))


def half_frequencies(grid: Sequence[int]) -> list[npt.NDArray[np.float64]]:
    """Angular frequencies in radians per pixel along each axis of the half spectrum."""
    sampled = [scipy.fft.fftfreq] * (len(grid) - 1) + [scipy.fft.rfftfreq]
    return [2 * np.pi * axis(n) for axis, n in zip(sampled, grid, strict=True)]


def rfftn(x: npt.NDArray[np.floating[Any]], ndim: int, workers: int | None = None) -> Array:
    """Half spectrum over the last `ndim` axes, complex64 for float32 input and complex128 for float64."""
    backend, threads = _choose(x, math.prod(x.shape[-ndim:]), workers)
    return backend.rfftn(x, ndim, threads)


def irfftn(spectrum: Array, shape: tuple[int, ...], workers: int | None = None, *, overwrite: bool = True) -> Array:
    """Real array of spatial `shape` (the last axes) from its half spectrum, which may be overwritten unless told."""
    backend, threads = _choose(spectrum, math.prod(shape), workers)
    return backend.irfftn(spectrum, tuple(shape), threads, overwrite)


def framed(spectrum: Array, shape: tuple[int, ...], frame: tuple[int, ...], workers: int | None = None) -> Array:
    """The frame at the origin of `irfftn`, contiguous; the spectrum may be overwritten."""
    backend, threads = _choose(spectrum, math.prod(shape), workers)
    if isinstance(backend, SciPy) and len(frame) > 1 and frame != shape:
        return backend.framed(spectrum, shape, frame, threads)
    corner: tuple[Any, ...] = (..., *(slice(n) for n in frame))
    return np.ascontiguousarray(backend.irfftn(spectrum, shape, threads, True)[corner])


def fft(x: Array, n: int, workers: int | None = None) -> Array:
    """Complex transform along axis 0, of zero-padded length n."""
    backend, threads = _choose(x, 0, workers)
    return backend.fft(x, n, threads)


def rfft(x: Array, axis: int, workers: int | None = None) -> Array:
    """Half spectrum along one axis of a real array."""
    return scipy.fft.rfft(x, axis=axis, workers=_threads(x, workers))


def ifft(x: Array, workers: int | None = None, *, overwrite: bool = True) -> Array:
    """Inverse of `fft`; `x` may be overwritten unless told."""
    backend, threads = _choose(x, 0, workers)
    return backend.ifft(x, threads, overwrite)


def chosen_backend() -> str:
    """What `fft_backend` has chosen here, "auto" outside of it."""
    return _forced.get()
