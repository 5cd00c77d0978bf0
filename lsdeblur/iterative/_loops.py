"""Fused loops of the splitting methods over images and their half spectra, each with a NumPy twin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lsdeblur._kernels import _blocks, _by_rows, _rows

__all__ = ["fitted", "paired", "shrunk", "shrunk_adjoint"]

Array = npt.NDArray[Any]


def paired(W: Array, H: Array, inverse: Array, *, workers: int | None = None) -> Array:
    """``F = (W[0] + conj(H) W[1]) inverse`` and ``H F``, in place of the two half spectra of W."""
    h = _rows(H)
    _by_rows(_paired_loop, _paired_numpy, h, workers, _rows(W[0], True), _rows(W[1], True), h, _rows(inverse))
    return W


def _paired_numpy(start: int, stop: int, F: Array, B: Array, H: Array, inverse: Array) -> None:
    for rows in _blocks(start, stop, H.shape[1]):
        h, f = H[rows], F[rows]
        f += h.conj() * B[rows]
        f *= inverse[rows]
        np.multiply(h, f, out=B[rows])


def _paired_loop(start, stop, F, B, H, inverse):  # type: ignore[no-untyped-def]
    for i in range(start, stop):
        for j in range(H.shape[1]):
            h = H[i, j]
            f = (F[i, j] + h.conjugate() * B[i, j]) * inverse[i, j]
            F[i, j] = f
            B[i, j] = h * f


def fitted(
    b: Array, r: Array, g: Array, M: Array, mu: float, relax: float, out: Array, *, workers: int | None = None
) -> None:
    """``b += relax (r - u(b))``, then ``out = mu (2 u(b) - b)``, for ``u(b) = (M g + mu b) / (M + mu)``; all images.

    u minimises ``|M (u - g)|^2 + mu |u - b|^2``; M (bool) keeps the measured pixels, and g is 0 at the others.
    """
    images = (_rows(a, a is b or a is out) for a in (b, r, g, M))
    numbers = (b.dtype.type(mu), b.dtype.type(relax))
    _by_rows(_fitted_loop, _fitted_numpy, _rows(b), workers, *images, *numbers, _rows(out, True))


def _fitted_numpy(
    start: int, stop: int, b: Array, r: Array, g: Array, M: Array, mu: Any, relax: Any, out: Array
) -> None:
    for rows in _blocks(start, stop, b.shape[1]):
        x, weight = b[rows], M[rows] + mu
        x += relax * (r[rows] - (g[rows] + mu * x) / weight)
        out[rows] = mu * (2 * ((g[rows] + mu * x) / weight) - x)


def _fitted_loop(start, stop, b, r, g, M, mu, relax, out):  # type: ignore[no-untyped-def]
    one = mu / mu  # of the images' precision
    for i in range(start, stop):
        for j in range(b.shape[1]):
            weight = one / (one + mu) if M[i, j] else one / mu
            x = b[i, j]
            x += relax * (r[i, j] - (g[i, j] + mu * x) * weight)
            b[i, j] = x
            out[i, j] = mu * (2 * (g[i, j] + mu * x) * weight - x)


def shrunk(
    f: Array, a: Array, spacing: Sequence[float], ratios: Array, relax: float, out: Array, *,
    workers: int | None = None,
) -> None:  # fmt: skip
    """``a += relax (D f - v(a))``, then ``out = 2 v(a) - a``, for a shrinkage v of the vectors of a (ndim, *grid).

    D are the differences to the next pixel of a period, over `spacing`. A vector of length t becomes ``v = q(t) t``
    along itself, with ``ratios = (scale, q(0), q(1), ...)`` q at multiples of the scale; ``q = 1 - scale / t``
    (soft thresholding) where there is nothing but the scale. Beyond the table, ``1 - q`` falls as 1 / t^2.
    """
    box = (1,) * (3 - f.ndim) + f.shape
    inverse = np.array([0.0] * (3 - f.ndim) + [1 / d for d in spacing], f.dtype)
    arrays = (f.reshape(box), a.reshape(-1, *box), out.reshape(-1, *box))
    _by_rows(_shrunk_loop, _shrunk_numpy, _rows(f), workers, *arrays, inverse, ratios, f.dtype.type(relax))


def _shrunk_numpy(
    start: int, stop: int, f: Array, a: Array, out: Array, inverse: Array, ratios: Array, relax: Any
) -> None:
    for k, axis in enumerate(range(3 - len(a), 3)):
        out[k] = inverse[axis] * (np.roll(f, -1, axis) - f)
    a += relax * (out - _ratio(a, ratios) * a)
    np.multiply(2 * _ratio(a, ratios) - 1, a, out=out)


def _ratio(a: Array, ratios: Array) -> Array:
    """q of the vectors' lengths."""
    t = np.sqrt(np.einsum("k...,k...->...", a, a))
    scale, q = ratios[0], ratios[1:]
    if q.size == 0:
        return np.maximum(1 - scale / np.maximum(t, scale), 0)
    x = t / scale
    i = np.minimum(x, q.size - 2).astype(np.intp)
    last = q.dtype.type(q.size - 1)
    inside = q[i] + (x - i.astype(q.dtype)) * (q[i + 1] - q[i])
    return np.where(x < last, inside, 1 - (1 - q[-1]) * (last / np.maximum(x, last)) ** 2)


def _shrunk_loop(start, stop, f, a, out, inverse, ratios, relax):  # type: ignore[no-untyped-def]
    planes, rows, columns = f.shape
    n, scale, size = a.shape[0], ratios[0], ratios.size - 1
    one = inverse.dtype.type(1)
    for index in range(start, stop):
        p, i = index // rows, index % rows
        below, behind = (i + 1) % rows, (p + 1) % planes
        for j in range(columns):
            for turn in range(2):  # the shrinkage before the step, and after it
                square = 0 * one
                for k in range(n):
                    square += a[k, p, i, j] * a[k, p, i, j]
                t = np.sqrt(square)
                if size == 0:
                    q = one - scale / t if t > scale else 0 * one
                else:
                    x = t / scale
                    if x < size - 1:
                        c = int(x)
                        q = ratios[c + 1] + (x - c) * (ratios[c + 2] - ratios[c + 1])
                    else:
                        q = one - (one - ratios[size]) * ((size - 1) / x) ** 2
                q = inverse.dtype.type(q)
                if turn == 1:
                    for k in range(n):
                        out[k, p, i, j] = (2 * q - one) * a[k, p, i, j]
                    break
                here = f[p, i, j]
                right = f[p, i, j + 1] if j + 1 < columns else f[p, i, 0]
                a[n - 1, p, i, j] += relax * (inverse[2] * (right - here) - q * a[n - 1, p, i, j])
                a[n - 2, p, i, j] += relax * (inverse[1] * (f[p, below, j] - here) - q * a[n - 2, p, i, j])
                if n == 3:
                    a[0, p, i, j] += relax * (inverse[0] * (f[behind, i, j] - here) - q * a[0, p, i, j])


def shrunk_adjoint(w: Array, spacing: Sequence[float], mu: float, out: Array, *, workers: int | None = None) -> None:
    """``out = mu D^T w`` for the D of `shrunk`, w (ndim, *grid)."""
    box = (1,) * (3 - out.ndim) + out.shape
    weights = np.array([0.0] * (3 - out.ndim) + [mu / d for d in spacing], w.dtype)
    arrays = (w.reshape(-1, *box), out.reshape(box))
    _by_rows(_adjoint_loop, _adjoint_numpy, _rows(out), workers, *arrays, weights)


def _adjoint_numpy(start: int, stop: int, w: Array, out: Array, weights: Array) -> None:
    out[...] = 0
    for x, axis in zip(w, range(3 - len(w), 3), strict=True):
        out += weights[axis] * (np.roll(x, 1, axis) - x)


def _adjoint_loop(start, stop, w, out, weights):  # type: ignore[no-untyped-def]
    planes, rows, columns = out.shape
    n = w.shape[0]
    for index in range(start, stop):
        p, i = index // rows, index % rows
        above, before = (i - 1) % rows, (p - 1) % planes
        for j in range(columns):
            left = w[n - 1, p, i, j - 1] if j > 0 else w[n - 1, p, i, columns - 1]
            total = weights[2] * (left - w[n - 1, p, i, j]) + weights[1] * (w[n - 2, p, above, j] - w[n - 2, p, i, j])
            if n == 3:
                total += weights[0] * (w[0, before, i, j] - w[0, p, i, j])
            out[p, i, j] = total
