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
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from lsdeblur._validate import resolve_workers

__all__ = [
    "SMALL",
    "Symbol",
    "advance",
    "changes",
    "energy",
    "histogram",
    "levinson",
    "product",
    "residue",
    "restored",
    "written_out",
]

Array = npt.NDArray[Any]

SMALL = 1 << 18  # values: about the half spectrum of a picture of 700 x 700 pixels
_THREAD = 1 << 20  # values that are worth a thread of their own
_BLOCK = 1 << 15  # values handled at once by NumPy, so that temporaries stay in the processor's cache
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True, eq=False)
class Symbol:
    """A penalty's symbol that is computed where it is needed: ``P = w0 + L (w1 + w2 L)`` with ``L = rows + columns``.

    `rows` (*grid[:-1], 1) and `columns` (half of the last axis) are the parts of the Laplacian's symbol, `weights` the
    three w, all of one dtype.
    """

    rows: Array
    columns: Array
    weights: Array

    def block(self, rows: slice) -> Array:
        """Some rows of the symbol, as an array of two axes."""
        L = self.rows.reshape(-1, 1)[rows] + self.columns
        w0, w1, w2 = self.weights
        return w0 + L * (w1 + w2 * L)

    def full(self) -> Array:
        """All of it."""
        P = np.empty((self.rows.size, self.columns.size), self.columns.dtype)
        for rows in _blocks(0, *P.shape):
            P[rows] = self.block(rows)
        return P.reshape(*self.rows.shape[:-1], -1)

    def mean(self) -> float:
        """Its mean, without computing it."""
        a, b, (w0, w1, w2) = (x.astype(np.float64) for x in (self.rows, self.columns, self.weights))
        square = np.mean(a * a) + 2 * np.mean(a) * np.mean(b) + np.mean(b * b)
        return float(w0 + w1 * (np.mean(a) + np.mean(b)) + w2 * square)


#: a penalty's symbol, as an array of all frequencies or in tables
AnySymbol: TypeAlias = Array | Symbol


def written_out(P: AnySymbol) -> Array:
    """The symbol as an array of all frequencies."""
    return P.full() if isinstance(P, Symbol) else P


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
    H: Array, P: AnySymbol, Y: Array, weights: Array, scale: float, shift: int, *, workers: int | None = None
) -> Array:
    """Sums over the frequencies of equal leading bits of ``s = |H|^2 / (P scale)``: of w, of w s, and of w |Y|^2.

    The bits are those of s as a float32 without the last `shift`, so bin 0 is s = 0 and the last bin s = infinity
    (P = 0), which adds nothing to w s. H, P: half spectra; Y (channels, *half spectrum), of which the energies are
    added; w: weights of the last axis' columns. Returns an array (3, bins) of float64.
    """
    h, w = _rows(H), weights.astype(np.float64)
    y = Y.reshape(len(Y), *h.shape)
    n = int(np.float32(np.inf).view(np.int32) >> shift) + 1
    return sum(_by_rows(_histogram_loop, _histogram_numpy, h, workers, h, _tables(P), y, w, scale, shift, n))


def _histogram_numpy(
    start: int, stop: int, H: Array, P: Tables, Y: Array, weights: Array, scale: float, shift: int, n: int
) -> Array:
    sums = np.zeros((3, n))
    for rows in _blocks(start, stop, H.shape[1]):
        A, unit = _power(H[rows]), _block(P, rows).astype(np.float64) * scale
        s = np.divide(A, unit, out=np.where(A > 0, np.inf, 0.0), where=unit > 0)
        index = np.where(s < np.inf, np.minimum(s, _LARGEST), s).astype(np.float32).view(np.int32) >> shift
        w = np.broadcast_to(weights, s.shape)
        terms = (w, w * np.where(s < np.inf, s, 0.0), w * sum(_power(y[rows]) for y in Y))
        for total, term in zip(sums, terms, strict=True):
            total += np.bincount(index.ravel(), term.ravel(), n)
    return sums


def _histogram_loop(start, stop, H, P, Y, weights, scale, shift, n):  # type: ignore[no-untyped-def]
    full, a, b, w = P
    m = H.shape[1]
    sums = np.zeros((2, n, 3))  # neighbours fall into the same bin: two sets, so that one sum need not wait for another
    bits = np.empty(m, np.float32)
    number = bits.view(np.int32)
    s, e = np.empty(m), np.empty(m)
    for i in range(start, stop):
        for j in range(m):
            L = a[i] + b[j] if full.size == 0 else a[0]
            p = w[0] + L * (w[1] + w[2] * L) if full.size == 0 else full[i, j]
            A = np.float64(H[i, j].real) ** 2 + np.float64(H[i, j].imag) ** 2
            unit = np.float64(p) * scale
            x = A / unit if unit > 0 else (np.inf if A > 0 else 0.0)
            bits[j] = min(x, _LARGEST) if x < np.inf else x
            s[j] = weights[j] * x if x < np.inf else 0.0
            e[j] = 0.0
        for c in range(Y.shape[0]):
            for j in range(m):
                e[j] += weights[j] * (np.float64(Y[c, i, j].real) ** 2 + np.float64(Y[c, i, j].imag) ** 2)
        for j in range(m):
            k = number[j] >> shift
            sums[j & 1, k, 0] += weights[j]
            sums[j & 1, k, 1] += s[j]
            sums[j & 1, k, 2] += e[j]
    return (sums[0] + sums[1]).T


def restored(Y: Array, H: Array, P: AnySymbol, lam: float, *, workers: int | None = None) -> Array:
    """``conj(H) Y / (|H|^2 + lam P)``: Y, which is overwritten, times Tikhonov's gain."""
    y, h = _rows(Y, True), _rows(H)
    _by_rows(_restored_loop, _restored_numpy, h, workers, y, h, _tables(P), H.real.dtype.type(lam))
    return Y


def _restored_numpy(start: int, stop: int, Y: Array, H: Array, P: Tables, lam: Any) -> None:
    for rows in _blocks(start, stop, H.shape[1]):
        h, y = H[rows], Y[rows]
        y *= h.conj()
        C = h.real**2 + h.imag**2 + lam * _block(P, rows)
        y.real /= C  # a division of complex by real numbers takes twice as long
        y.imag /= C


def _restored_loop(start, stop, Y, H, P, lam):  # type: ignore[no-untyped-def]
    full, a, b, w = P
    for i in range(start, stop):
        for j in range(H.shape[1]):
            L = a[i] + b[j] if full.size == 0 else a[0]
            p = w[0] + L * (w[1] + w[2] * L) if full.size == 0 else full[i, j]
            h = H[i, j]
            Y[i, j] *= h.conjugate() * (1 / (h.real**2 + h.imag**2 + lam * p))


def changes(
    Y: Array, H: Array, P: AnySymbol, lam: float, weights: Array, *, workers: int | None = None
) -> tuple[float, float, float]:
    """``sum w |F|^2`` of Tikhonov's ``F = conj(H) Y / (|H|^2 + lam P)``, and of what half of lam and twice lam change.

    Half spectra, and w for the last axis' columns; where P is 0, F does not count.
    """
    y, h, w = _rows(Y), _rows(H), weights.astype(np.float64)
    parts = _by_rows(_changes_loop, _changes_numpy, h, workers, y, h, _tables(P), w, float(lam))
    whole, less, more = (math.fsum(sums) for sums in zip(*parts, strict=True))
    return whole, less, more


def _changes_numpy(
    start: int, stop: int, Y: Array, H: Array, P: Tables, weights: Array, lam: float
) -> tuple[float, float, float]:
    sums = np.zeros(3)
    for rows in _blocks(start, stop, H.shape[1]):
        A, p = _power(H[rows]), lam * _block(P, rows).astype(np.float64)
        seen = (A > 0) & (p > 0)
        F = np.where(seen, weights * A * _power(Y[rows]), 0) / np.where(seen, A + p, 1) ** 2
        half, twice = (np.square((1 - c) * p / np.where(seen, A + c * p, 1)) for c in (0.5, 2))
        sums += [float(np.sum(F)), float(np.sum(F * half)), float(np.sum(F * twice))]
    return float(sums[0]), float(sums[1]), float(sums[2])


def _changes_loop(start, stop, Y, H, P, weights, lam):  # type: ignore[no-untyped-def]
    full, a, b, w = P
    whole = less = more = 0.0
    for i in range(start, stop):
        for j in range(H.shape[1]):
            L = a[i] + b[j] if full.size == 0 else a[0]
            p = lam * np.float64(w[0] + L * (w[1] + w[2] * L) if full.size == 0 else full[i, j])
            A = np.float64(H[i, j].real) ** 2 + np.float64(H[i, j].imag) ** 2
            if A > 0 and p > 0:
                y = np.float64(Y[i, j].real) ** 2 + np.float64(Y[i, j].imag) ** 2
                F = weights[j] * A * y / (A + p) ** 2
                whole += F
                less += F * (0.5 * p / (A + 0.5 * p)) ** 2
                more += F * (p / (A + 2 * p)) ** 2
    return whole, less, more


def residue(H: Array, P: AnySymbol, lam: float, *, workers: int | None = None) -> Array:
    """``lam P / (|H|^2 + lam P)``: what Tikhonov's filter leaves of the data. H (..., *half spectrum of P)."""
    Q = np.empty(H.shape, H.real.dtype)
    tables = _tables(P)
    for h, q in zip(H.reshape(-1, *_shape(P)), Q.reshape(-1, *_shape(P)), strict=True):
        h, q = _rows(h), _rows(q, True)
        _by_rows(_residue_loop, _residue_numpy, h, workers, q, h, tables, Q.dtype.type(lam))
    return Q


def _residue_numpy(start: int, stop: int, Q: Array, H: Array, P: Tables, lam: Any) -> None:
    for rows in _blocks(start, stop, H.shape[1]):
        h, p = H[rows], lam * _block(P, rows)
        np.divide(p, h.real**2 + h.imag**2 + p, out=Q[rows])


def _residue_loop(start, stop, Q, H, P, lam):  # type: ignore[no-untyped-def]
    full, a, b, w = P
    for i in range(start, stop):
        for j in range(H.shape[1]):
            L = a[i] + b[j] if full.size == 0 else a[0]
            p = lam * (w[0] + L * (w[1] + w[2] * L) if full.size == 0 else full[i, j])
            h = H[i, j]
            Q[i, j] = p / (h.real**2 + h.imag**2 + p)


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


#: an array of two axes, or rows, columns and weights of a `Symbol`; the others are empty or unused
Tables: TypeAlias = tuple[Array, Array, Array, Array]


def _tables(P: AnySymbol) -> Tables:
    if isinstance(P, Symbol):
        return np.empty((0, 0), P.columns.dtype), P.rows.ravel(), P.columns, P.weights
    none = np.zeros(3, P.dtype)
    return np.ascontiguousarray(_rows(P)), none, none, none


def _block(P: Tables, rows: slice) -> Array:
    full, *tables = P
    return full[rows] if full.size else Symbol(*tables).block(rows)


def _shape(P: AnySymbol) -> tuple[int, ...]:
    return (*P.rows.shape[:-1], P.columns.size) if isinstance(P, Symbol) else P.shape


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
