"""Integrals over pixels, windows and normalisation: what the generators share."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable, Sequence
from functools import reduce
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from lsdeblur._validate import as_float_array, check_positive
from lsdeblur.errors import LsdeblurWarning

Array = npt.NDArray[np.float64]
Size = int | Sequence[int] | None

_log = logging.getLogger("lsdeblur")
_LOST = 1e-4  # share of the energy that automatic sizing may cut
_CAP = 255  # largest automatic size per axis of a PSF with heavy tails


def _number(value: Any, name: str) -> float:
    return float(as_float_array(value, name, ndim=(0,)))


def _per_axis(value: float | Sequence[float], ndim: int) -> list[float]:
    return list(value) if isinstance(value, (Sequence, np.ndarray)) and not isinstance(value, str) else [value] * ndim


def _at_least_one(value: Any, name: str) -> float:
    number = check_positive(value, name)
    if number < 1:
        raise ValueError(f"{name} must be at least 1 pixel, not {number:g}: a shorter one is no blur, see delta()")
    return number


def _center(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(s // 2 for s in shape)


def _extent(half_width: float) -> int:
    """Odd number of pixels that covers [-half_width, half_width] around the middle of one."""
    return 2 * max(0, math.ceil(half_width - 0.5 - 1e-9)) + 1


def _offsets(size: int) -> Array:
    return np.arange(size, dtype=np.float64) - size // 2


def _edges(size: int) -> Array:
    return np.arange(size + 1, dtype=np.float64) - size // 2 - 0.5


def _outer(factors: Sequence[Array]) -> Array:
    product: Array = reduce(np.multiply.outer, factors)
    return product


def _tail_width(ndim: int) -> float:
    """Standard deviations beyond which an axis of a Gaussian holds the share of `_LOST` that is due to it."""
    from scipy.special import ndtri

    return -float(ndtri(_LOST / (2 * ndim)))


def _erf_steps(sigma: npt.ArrayLike, size: int) -> Array:
    """Integral of the 1-D Gaussian over each pixel: shape (..., size) for sigma of shape (...)."""
    from scipy.special import erf

    return np.diff(erf(_edges(size) / np.maximum(math.sqrt(2) * np.asarray(sigma), 1e-9)[..., None])) / 2


def _mixture(sigmas: Array, weights: Array, shape: tuple[int, ...]) -> Array:
    """Weighted sum of isotropic 2-D Gaussians, integrated over each pixel."""
    rows, columns = (_erf_steps(sigmas, s) for s in shape)
    return (weights[:, None] * rows).T @ columns


def _stable_law() -> tuple[Array, Array]:
    """Values and weights of the one-sided stable law of index 5/6, exact to 1e-13 but for s > 1e8 (share 4e-8).

    Kanter: S = (A(U) / E)^(1/5), U uniform on (0, pi), E exponential, A(u) = sin(5u/6)^5 sin(u/6) / sin(u)^6. The
    density of log S is thus the mean over u of 5 z exp(-z), z = A(u) s^-5; u = 2 atan(e^v) grades it at both ends.
    """
    step = 0.05
    v, s = np.arange(-37, 20, step), np.exp(np.arange(-1.4, 18.4, step))
    u = 2 * np.arctan(np.exp(v))
    z = s[:, None] ** -5 * (np.sin(u * 5 / 6) ** 5 * np.sin(u / 6) * np.cosh(v) ** 6)
    return s, 5 / math.pi * step**2 * (z * np.exp(-z)) @ (1 / np.cosh(v))


def _pixel_integrals(density: Callable[[Array, Array], Array], rows: Array, columns: Array, *, nodes: int) -> Array:
    """Gauss-Legendre integral of density(y, x) over the unit squares around the given rows and columns."""
    t, w = (v / 2 for v in np.polynomial.legendre.leggauss(nodes))
    x = columns[:, None] + t
    return np.array([sum(wi * (density(y + ti, x) @ w) for ti, wi in zip(t, w, strict=True)) for y in rows])


def _quarter_area(y: Array, x: Array, r: float) -> Array:
    """Area of the disk of radius r within [0, y] x [0, x], for 0 <= y, x <= r."""

    def below_arc(u: Array) -> Array:
        return (u * np.sqrt(r * r - u * u) + r * r * np.arcsin(u / r)) / 2

    flat = np.minimum(np.sqrt(r * r - y * y), x)  # the rectangle's top lies within the disk up to here
    return y * flat + below_arc(x) - below_arc(flat)


def _draw(path: Array, shape: tuple[int, ...]) -> Array:
    """Share of time on each pixel of a polygon (n, 2), centred at the origin, each side taking the same time."""
    h = np.zeros(shape)
    for start, stop in pairwise(path):
        cuts = [np.array([0.0, 1.0])]
        for a, b in zip(start, stop, strict=True):
            crossed = np.arange(math.floor(min(a, b) + 0.5) + 0.5, max(a, b))  # half-integers between a and b
            cuts.append((crossed - a) / (b - a))
        t = np.sort(np.concatenate(cuts))
        index = np.rint(start + (t[1:, None] + t[:-1, None]) / 2 * (stop - start)).astype(int) + _center(shape)
        share = np.diff(t)
        kept = np.all((index >= 0) & (index < shape), axis=1) & (share > 1e-12)  # shorter: rounding at a corner
        np.add.at(h, tuple(index[kept].T), share[kept])
    return h / (len(path) - 1)


def _window(a: Array, center: tuple[int, ...], shape: tuple[int, ...]) -> Array:
    """Part of `a` of the given shape with `center` at `s // 2`; zero where it reaches beyond `a`."""
    out = np.zeros(shape)
    first = [c - s // 2 for c, s in zip(center, shape, strict=True)]
    source = [slice(max(f, 0), max(f + s, 0)) for f, s in zip(first, shape, strict=True)]
    part = a[tuple(source)]
    target = [slice(s.start - f, s.start - f + n) for s, f, n in zip(source, first, part.shape, strict=True)]
    out[tuple(target)] = part
    return out


def _finish(h: Array, name: str, *, fit: bool = False) -> Array:
    """Normalise shares of the whole energy; `fit` first cuts to the odd size that holds all but `_LOST`, if it can."""
    if fit:
        shape = []
        for axis, s in enumerate(h.shape):
            along = h.sum(axis=tuple(i for i in range(h.ndim) if i != axis))
            held = np.cumsum(np.bincount(np.abs(_offsets(s)).astype(int), along))
            shape.append(2 * min(int(np.searchsorted(held, 1 - _LOST / h.ndim)), s // 2) + 1)
        h = _window(h, _center(h.shape), tuple(shape))
    h = np.maximum(h, 0.0)
    total = float(h.sum())
    if 1 - total > _LOST:
        _log.info("%s: %s pixels hold %.3f %% of the energy; the rest is cut", name, h.shape, 100 * total)
    if fit and 1 - total > 0.01:
        warnings.warn(
            f"{name} cut {100 * (1 - total):.1f} % of its energy at {h.shape} pixels, the largest automatic size; "
            "pass size= to choose the frame yourself",
            LsdeblurWarning,
            stacklevel=3,
        )
    return h / total
