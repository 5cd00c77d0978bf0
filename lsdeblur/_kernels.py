"""Fused loops over half spectra: one pass over memory where NumPy would take several.

Each public function has two bodies that do the same: a loop that Numba compiles, and NumPy's vector operations. Arrays
of up to `SMALL` values take NumPy, so a program of small images never waits for Numba. Compiled loops are kept on disk
(beside this file, else in the user's cache or in ``NUMBA_CACHE_DIR``), or compiled anew by each process where nothing
can be written. They hold no lock, and threads share the rows of a large array.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from lsdeblur._validate import resolve_workers

__all__ = ["SMALL", "advance", "energy", "histogram", "levinson", "product", "restored"]

Array = npt.NDArray[Any]

SMALL = 1 << 18  # values: about the half spectrum of a picture of 700 x 700 pixels
_THREAD = 1 << 20  # values that are worth a thread of their own
_BLOCK = 1 << 15  # values handled at once by NumPy, so that temporaries stay in the processor's cache
_LARGEST = float(np.finfo(np.float32).max)


def energy(Q: Array, Y: Array, weights: Array, *, squared: bool = False, workers: int | None = None) -> float:
    """``sum w Q |Y|^2``, or with Q^2, for half spectra Q (real) and Y (complex), and w for the last axis' columns."""
    q, y, w = _rows(Q), _rows(Y), weights.astype(np.float64)
    return math.fsum(_by_rows(_energy_loop, _energy_numpy, q, workers, q, y, w, squared))


def _energy_numpy(start: int, stop: int, Q: Array, Y: Array, weights: Array, squared: bool) -> float:
    total = 0.0
    for rows in _blocks(start, stop, Q.shape[1]):
        q = np.square(Q[rows], dtype=np.float64) if squared else Q[rows]
        total += float(np.sum(_power(Y[rows]) * q * weights))
    return total


def _energy_loop(start, stop, Q, Y, weights, squared):  # type: ignore[no-untyped-def]
    total = 0.0
    for i in range(start, stop):
        for j in range(Q.shape[1]):
            q = np.float64(Q[i, j])
            power = np.float64(Y[i, j].real) ** 2 + np.float64(Y[i, j].imag) ** 2
            total += weights[j] * (q * q if squared else q) * power
    return total


def advance(Q: Array, Y: Array, P: Array, step: float, out: Array, *, workers: int | None = None) -> None:
    """``Y += step P`` and ``out = Q Y``, in place."""
    q, y, p, o = _rows(Q), _rows(Y, True), _rows(P), _rows(out, True)
    _by_rows(_advance_loop, _advance_numpy, q, workers, q, y, p, Q.dtype.type(step), o)


def _advance_numpy(start: int, stop: int, Q: Array, Y: Array, P: Array, step: Any, out: Array) -> None:
    for rows in _blocks(start, stop, Q.shape[1]):
        Y[rows] += step * P[rows]
        np.multiply(Q[rows], Y[rows], out=out[rows])


def _advance_loop(start, stop, Q, Y, P, step, out):  # type: ignore[no-untyped-def]
    for i in range(start, stop):
        for j in range(Q.shape[1]):
            y = Y[i, j] + step * P[i, j]
            Y[i, j] = y
            out[i, j] = Q[i, j] * y


def histogram(
    H: Array, P: Array, Y: Array, weights: Array, scale: float, shift: int, *, workers: int | None = None
) -> Array:
    """Sums over the frequencies of equal leading bits of ``s = |H|^2 / (P scale)``: of w, of w s, and of w |Y|^2.

    The bits are those of s as a float32 without the last `shift`, so bin 0 is s = 0 and the last bin s = infinity
    (P = 0), which adds nothing to w s. H, P: half spectra; Y (channels, *half spectrum), of which the energies are
    added; w: weights of the last axis' columns. Returns an array (3, bins) of float64.
    """
    h, p, w = _rows(H), _rows(P), weights.astype(np.float64)
    y = Y.reshape(len(Y), *p.shape)
    n = int(np.float32(np.inf).view(np.int32) >> shift) + 1
    return sum(_by_rows(_histogram_loop, _histogram_numpy, p, workers, h, p, y, w, scale, shift, n))


def _histogram_numpy(
    start: int, stop: int, H: Array, P: Array, Y: Array, weights: Array, scale: float, shift: int, n: int
) -> Array:
    sums = np.zeros((3, n))
    for rows in _blocks(start, stop, P.shape[1]):
        A, unit = _power(H[rows]), P[rows].astype(np.float64) * scale
        s = np.divide(A, unit, out=np.where(A > 0, np.inf, 0.0), where=unit > 0)
        index = np.where(s < np.inf, np.minimum(s, _LARGEST), s).astype(np.float32).view(np.int32) >> shift
        w = np.broadcast_to(weights, s.shape)
        terms = (w, w * np.where(s < np.inf, s, 0.0), w * sum(_power(y[rows]) for y in Y))
        for total, term in zip(sums, terms, strict=True):
            total += np.bincount(index.ravel(), term.ravel(), n)
    return sums


def _histogram_loop(start, stop, H, P, Y, weights, scale, shift, n):  # type: ignore[no-untyped-def]
    sums = np.zeros((n, 3))
    bits = np.empty(1, np.float32)
    number = bits.view(np.int32)
    for i in range(start, stop):
        for j in range(P.shape[1]):
            A = np.float64(H[i, j].real) ** 2 + np.float64(H[i, j].imag) ** 2
            unit = P[i, j] * scale
            s = A / unit if unit > 0 else (np.inf if A > 0 else 0.0)
            bits[0] = min(s, _LARGEST) if s < np.inf else s
            k = number[0] >> shift
            e = 0.0
            for c in range(Y.shape[0]):
                e += np.float64(Y[c, i, j].real) ** 2 + np.float64(Y[c, i, j].imag) ** 2
            sums[k, 0] += weights[j]
            sums[k, 1] += weights[j] * s if s < np.inf else 0.0
            sums[k, 2] += weights[j] * e
    return sums.T


def restored(Y: Array, H: Array, P: Array, lam: float, *, workers: int | None = None) -> Array:
    """``conj(H) Y / (|H|^2 + lam P)``: Y, which is overwritten, times Tikhonov's gain."""
    y, h, p = _rows(Y, True), _rows(H), _rows(P)
    _by_rows(_restored_loop, _restored_numpy, p, workers, y, h, p, P.dtype.type(lam))
    return Y


def _restored_numpy(start: int, stop: int, Y: Array, H: Array, P: Array, lam: Any) -> None:
    for rows in _blocks(start, stop, P.shape[1]):
        h = H[rows]
        Y[rows] *= h.conj() / (h.real**2 + h.imag**2 + lam * P[rows])


def _restored_loop(start, stop, Y, H, P, lam):  # type: ignore[no-untyped-def]
    for i in range(start, stop):
        for j in range(P.shape[1]):
            h = H[i, j]
            Y[i, j] *= h.conjugate() * (1 / (h.real**2 + h.imag**2 + lam * P[i, j]))


def product(Y: Array, G: Array, *, workers: int | None = None) -> Array:
    """``G Y``: Y, which is overwritten, times a gain of its shape."""
    y, g = _rows(Y), _rows(G)
    _by_rows(_product_loop, _product_numpy, g, workers, y, g)
    return Y


def _product_numpy(start: int, stop: int, Y: Array, G: Array) -> None:
    Y[start:stop] *= G[start:stop]


def _product_loop(start, stop, Y, G):  # type: ignore[no-untyped-def]
    for i in range(start, stop):
        for j in range(G.shape[1]):
            Y[i, j] *= G[i, j]


def levinson(lags: Array, *, workers: int | None = None) -> Array:
    """First columns of the inverses of Hermitian Toeplitz matrices ``T[i, j] = lags[i - j]``.

    `lags` (b, ...) holds many matrices at once. Source: Levinson (1946), doi:10.1002/sapm1946251261; Durbin's form.
    """
    rest, b = lags.shape[1:], len(lags)
    columns = np.ascontiguousarray(lags.reshape(b, -1).T, dtype=np.complex128)
    first = np.empty_like(columns)
    _by_rows(_levinson_loop, _levinson_numpy, columns, workers, columns, first, work=b * columns.size // 16)
    return first.T.reshape(b, *rest)


def _levinson_numpy(start: int, stop: int, lags: Array, first: Array) -> None:
    t, a = lags[start:stop].T.copy(), np.zeros((lags.shape[1], stop - start), lags.dtype)
    a[0] = 1
    error = t[0].real.copy()
    for m in range(1, len(t)):
        reflection = -np.einsum("jk,jk->k", t[m:0:-1], a[:m]) / error
        a[1 : m + 1] += reflection * np.conj(a[m - 1 :: -1] if m > 1 else a[:1])
        error *= 1 - (reflection.real**2 + reflection.imag**2)
    first[start:stop] = (a / error).T


def _levinson_loop(start, stop, lags, first):  # type: ignore[no-untyped-def]
    b = lags.shape[1]
    before = np.empty(b, lags.dtype)
    for k in range(start, stop):
        t, a = lags[k], first[k]
        a[:] = 0
        a[0] = 1
        error = t[0].real
        for m in range(1, b):
            reflection = 0j
            for j in range(m):
                reflection -= t[m - j] * a[j]
                before[j] = a[j]
            reflection /= error
            for j in range(m):
                a[m - j] += reflection * before[j].conjugate()
            error *= 1 - (reflection.real**2 + reflection.imag**2)
        for j in range(b):
            a[j] /= error


def _rows(a: Array, written: bool = False) -> Array:
    """An array as rows along its last axis; to be `written` it must be contiguous, so that they are a view of it."""
    assert a.flags.c_contiguous or not written
    return a.reshape(-1, a.shape[-1])


def _blocks(start: int, stop: int, width: int) -> Iterator[slice]:
    n = max(1, _BLOCK // width)
    return (slice(i, min(i + n, stop)) for i in range(start, stop, n))


def _power(a: Array) -> Array:
    return np.square(a.real, dtype=np.float64) + np.square(a.imag, dtype=np.float64)


def _by_rows(
    loop: Callable[..., Any], twin: Callable[..., Any], like: Array, workers: int | None, *args: Any, work: int = 0
) -> list[Any]:
    """``body(start, stop, *args)`` for parts of the rows of `like`, by the compiled loop or its NumPy twin."""
    n, work = len(like), max(like.size, work)
    if work <= SMALL:
        return [twin(0, n, *args)]
    body, threads = _compiled(loop), max(1, min(resolve_workers(workers), work // _THREAD, n))
    if threads == 1:
        return [body(0, n, *args)]
    ends = [n * i // threads for i in range(threads + 1)]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(lambda i: body(ends[i], ends[i + 1], *args), range(threads)))


@functools.cache
def _compiled(loop: Callable[..., Any]) -> Callable[..., Any]:
    import numba

    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": {"reassoc", "contract", "nsz"}}
    try:
        return numba.njit(loop, cache=True, **options)
    except RuntimeError:  # nowhere to keep it
        return numba.njit(loop, **options)
