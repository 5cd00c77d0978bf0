"""Fused passes over counts and scenes, for the maximum of a Poisson likelihood: compiled loops with NumPy twins.

Arrays are those of one channel on its periodic grid. What was not measured has a count of -1.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from lsdeblur._kernels import _blocks, _by_rows, _rows

__all__ = ["bend", "compare", "expected_deviance", "extrapolate", "update"]

Array = npt.NDArray[Any]

_AGAIN = 4  # passes that are done tens of times are worth compiled loops for images a quarter as large as others
_NEAR = np.float32(0.16)  # (d - m)^2 / (d + m)^2 up to which five terms of the series are right to 1e-6
_FALL = np.float32(1e-6)  # the least factor of an update
_TWO = np.float32(2)  # constants in single precision keep the loops in the arrays' own
_C3, _C5, _C7, _C9, _C11 = (np.float32(1 / n) for n in (3, 5, 7, 9, 11))


def compare(
    blurred: Array, counts: Array, shift: Array, least: float, residual: Array, *, workers: int | None = None
) -> float:
    """The deviance ``2 sum(d log(d / m) - d + m)`` of counts d from the model ``m = max(blurred + shift, least)``.

    `blurred` becomes the ratio ``d / m``, and `residual` the signed root of each pixel's deviance, about
    ``(d - m) / sqrt(m)``; both are 0 where nothing was measured. `shift` broadcasts to the others.
    """
    b, d, z = _rows(blurred, True), _rows(counts), _rows(residual, True)
    s = _rows(np.broadcast_to(shift, counts.shape))
    return math.fsum(
        _by_rows(_compare_loop, _compare_numpy, b, workers, b, d, s, counts.dtype.type(least), z, work=_AGAIN * d.size)
    )


def _compare_numpy(
    start: int, stop: int, blurred: Array, counts: Array, shift: Array, least: Any, residual: Array
) -> float:
    total = 0.0
    for rows in _blocks(start, stop, counts.shape[1]):
        d, m = np.maximum(counts[rows], 0), np.maximum(blurred[rows] + shift[rows], least)
        ratio = d / m
        x = ratio.astype(np.float64)
        terms = 2 * m * np.maximum(1 - x + x * np.log(np.where(x > 0, x, 1.0)), 0)
        terms[counts[rows] < 0] = 0
        total += float(terms.sum())
        blurred[rows] = ratio
        np.copysign(np.sqrt(terms), x - 1, out=residual[rows], casting="same_kind")
    return total


def _compare_loop(start, stop, blurred, counts, shift, least, residual):  # type: ignore[no-untyped-def]
    total = 0.0
    for i in range(start, stop):
        for j in range(counts.shape[1]):
            d = counts[i, j]
            if d < 0:
                blurred[i, j] = 0
                residual[i, j] = 0
                continue
            m = max(blurred[i, j] + shift[i, j], least)
            blurred[i, j] = d / m
            u = (d - m) / (d + m)
            v = u * u
            if v < _NEAR:  # log(d / m) = 2 artanh u as a series: faster, and nothing cancels
                tail = _C3 + v * (_C5 + v * (_C7 + v * (_C9 + v * _C11)))
                term = (d + m) * v * (_TWO + (_TWO + u + u) * u * tail)
            elif d > 0:
                x = np.float64(d) / m
                term = type(d)(2 * m * (1 - x + x * math.log(x)))
            else:
                term = m + m
            total += term
            residual[i, j] = math.sqrt(term) if u > 0 else -math.sqrt(term)
    return total


def update(
    scene: Array, correction: Array, weight: Array, step: Array, *, workers: int | None = None
) -> tuple[float, float]:
    """A step of expectation-maximisation: `correction` becomes ``x = scene correction / weight``.

    Rounding may not make the quotient negative, nor zero: a scene of 0 would stay so. The scene stays as it is where
    the weight is 0. `step` becomes ``x - scene``; returned are its products with what
    it was before and with itself.
    """
    arrays = _rows(scene), _rows(correction, True), _rows(weight), _rows(step, True)
    sums = np.sum(_by_rows(_update_loop, _update_numpy, arrays[0], workers, *arrays, work=_AGAIN * scene.size), axis=0)
    return float(sums[0]), float(sums[1])


def _update_numpy(
    start: int, stop: int, scene: Array, correction: Array, weight: Array, step: Array
) -> tuple[float, float]:
    across = along = 0.0
    for rows in _blocks(start, stop, scene.shape[1]):
        y, c, w, g = scene[rows], correction[rows], weight[rows], step[rows]
        x = np.where(w > 0, y * np.maximum(c / np.where(w > 0, w, 1), _FALL), y)
        c[...] = x
        x -= y
        across += float(np.sum(x * g, dtype=np.float64))
        along += float(np.sum(x * x, dtype=np.float64))
        g[...] = x
    return across, along


def _update_loop(start, stop, scene, correction, weight, step):  # type: ignore[no-untyped-def]
    across = along = 0.0
    for i in range(start, stop):
        for j in range(scene.shape[1]):
            y, w, x = scene[i, j], weight[i, j], scene[i, j]
            if w > 0:
                x = y * max(correction[i, j] / w, _FALL)
            correction[i, j] = x
            g = np.float64(x - y)
            across += g * step[i, j]
            along += g * g
            step[i, j] = x - y
    return across, along


def extrapolate(x: Array, before: Array, factor: float, out: Array, *, workers: int | None = None) -> None:
    """``out = x + factor (x - before) min(1, x / before)``: falling values fall in proportion.

    They stay positive and within reach: cut off at zero, as a plain extrapolation must be, they would be lost for good.
    """
    arrays = _rows(x), _rows(before), _rows(out, True)
    _by_rows(
        _extrapolate_loop, _extrapolate_numpy, arrays[0], workers, *arrays, x.dtype.type(factor), work=_AGAIN * x.size
    )


def _extrapolate_numpy(start: int, stop: int, x: Array, before: Array, out: Array, factor: Any) -> None:
    for rows in _blocks(start, stop, x.shape[1]):
        part, last = x[rows], before[rows]
        falling = part * (1 - factor * (1 - np.divide(part, last, out=np.ones_like(part), where=last > part)))
        out[rows] = np.where(last > part, falling, part + factor * (part - last))


def _extrapolate_loop(start, stop, x, before, out, factor):  # type: ignore[no-untyped-def]
    for i in range(start, stop):
        for j in range(x.shape[1]):
            part, last = x[i, j], before[i, j]
            out[i, j] = part * (1 - factor * (1 - part / last)) if last > part else part + factor * (part - last)


def bend(scene: Array, spacing: tuple[float, ...], epsilon: float) -> tuple[Array, Array]:
    """Minus the derivative of total variation ``sum |grad f|``, and ``|grad f|`` itself, on a periodic grid.

    ``|grad f|^2 = epsilon^2 + sum_i (d_i^2 + e_i^2) / 2`` with the differences d forwards and e backwards, so that no
    direction is preferred. The derivative lies within ``sqrt(n) + sqrt(2) n`` of 0 for n axes of spacing 1, the
    smallest there is.
    """
    ahead = [np.roll(scene, -1, axis) for axis in range(scene.ndim)]
    norm = np.full_like(scene, epsilon**2)
    for axis, (d, pitch) in enumerate(zip(ahead, spacing, strict=True)):
        d -= scene
        square = d * d
        square += np.roll(square, 1, axis)
        norm += square * scene.dtype.type(0.5 / pitch**2)
    np.sqrt(norm, out=norm)
    inverse, out = 1 / norm, np.zeros_like(scene)
    for axis, (d, pitch) in enumerate(zip(ahead, spacing, strict=True)):
        d *= inverse + np.roll(inverse, -1, axis)
        d *= scene.dtype.type(0.5 / pitch**2)
        out += d
        out -= np.roll(d, 1, axis)
    return out, norm


def expected_deviance(mean: Array) -> Array:
    """Expectation of ``2 (k log(k / m) - k + m)`` for a Poisson variable k of mean m: 1 for many counts, 0 for none.

    Interpolated in log m from sums over k; from 40 counts on ``1 + 1 / (6 m) + 1 / (6 m^2)``.
    """
    m = np.geomspace(1e-6, 40, 200)[:, np.newaxis]
    k = np.arange(1, 120)
    logs = np.log(k)
    probability = np.exp(k * np.log(m) - m - np.cumsum(logs))
    table = 2 * np.sum(probability * k * (logs - np.log(m)), axis=1)  # the expectation of m - k is 0
    few = np.interp(np.log(np.maximum(mean, 1e-6)), np.log(m[:, 0]), table)
    many = np.maximum(mean, 40)
    return np.where(mean < 40, few, 1 + 1 / (6 * many) + 1 / (6 * many**2))
