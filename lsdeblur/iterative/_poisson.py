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


def compare(
    blurred: Array, counts: Array, shift: Array, least: float, residual: Array, *, workers: int | None = None
) -> float:
    """The deviance ``2 sum(d log(d / m) - d + m)`` of counts d from the model ``m = max(blurred + shift, least)``.

    `blurred` becomes the ratio ``d / m``, and `residual` the signed root of each pixel's deviance, about
    ``(d - m) / sqrt(m)``; both are 0 where nothing was measured. `shift` broadcasts to the others.
    """
    b, d, z = _rows(blurred, True), _rows(counts), _rows(residual, True)
    s = _rows(np.broadcast_to(shift, counts.shape))
    return math.fsum(_by_rows(_compare_loop, _compare_numpy, b, workers, b, d, s, counts.dtype.type(least), z))


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
            ratio = d / m
            blurred[i, j] = ratio
            x = np.float64(ratio) - 1
            if -0.2 < x < 0.2:  # a series: no logarithm, and no cancellation
                t = 1 / 15 + x * (-1 / 21 + x * (1 / 28 + x * (-1 / 36 + x / 45)))
                term = m * x * x * (1 + x * (-1 / 3 + x * (1 / 6 + x * (-1 / 10 + x * t))))
            elif d > 0:
                term = 2 * m * ((1 + x) * math.log(1 + x) - x)
            else:
                term = 2 * np.float64(m)
            total += term
            residual[i, j] = math.sqrt(term) if x > 0 else -math.sqrt(term)
    return total


def update(
    scene: Array, correction: Array, weight: Array, step: Array, *, workers: int | None = None
) -> tuple[float, float]:
    """A step of expectation-maximisation: `correction` becomes ``x = scene max(correction, 0) / weight``.

    The scene stays as it is where the weight is 0. `step` becomes ``x - scene``; returned are its products with what
    it was before and with itself.
    """
    arrays = _rows(scene), _rows(correction, True), _rows(weight), _rows(step, True)
    sums = np.sum(_by_rows(_update_loop, _update_numpy, arrays[0], workers, *arrays), axis=0)
    return float(sums[0]), float(sums[1])


def _update_numpy(
    start: int, stop: int, scene: Array, correction: Array, weight: Array, step: Array
) -> tuple[float, float]:
    across = along = 0.0
    for rows in _blocks(start, stop, scene.shape[1]):
        y, c, w, g = scene[rows], correction[rows], weight[rows], step[rows]
        x = np.where(w > 0, y * np.maximum(c, 0) / np.where(w > 0, w, 1), y)
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
                x = y * max(correction[i, j], type(y)(0)) / w
            correction[i, j] = x
            g = np.float64(x - y)
            across += g * step[i, j]
            along += g * g
            step[i, j] = x - y
    return across, along


def extrapolate(x: Array, before: Array, factor: float, out: Array, *, workers: int | None = None) -> None:
    """``out = max(x + factor (x - before), 0)``."""
    arrays = _rows(x), _rows(before), _rows(out, True)
    _by_rows(_extrapolate_loop, _extrapolate_numpy, arrays[0], workers, *arrays, x.dtype.type(factor))


def _extrapolate_numpy(start: int, stop: int, x: Array, before: Array, out: Array, factor: Any) -> None:
    for rows in _blocks(start, stop, x.shape[1]):
        np.maximum(x[rows] + factor * (x[rows] - before[rows]), 0, out=out[rows])


def _extrapolate_loop(start, stop, x, before, out, factor):  # type: ignore[no-untyped-def]
    for i in range(start, stop):
        for j in range(x.shape[1]):
            y = x[i, j] + factor * (x[i, j] - before[i, j])
            out[i, j] = y if y > 0 else 0


def bend(scene: Array, spacing: tuple[float, ...], epsilon: float) -> tuple[Array, Array]:
    """``div(grad f / |grad f|)`` and ``|grad f| = sqrt(epsilon^2 + sum_i (d_i f)^2)``, forward differences, periodic.

    The divergence lies within ``n + sqrt(n)`` of 0 for n axes of spacing 1, the smallest there is.
    """
    gradient = [np.roll(scene, -1, axis) for axis in range(scene.ndim)]
    norm = np.full_like(scene, epsilon**2)
    for d, pitch in zip(gradient, spacing, strict=True):
        d -= scene
        if pitch != 1:
            d /= pitch
        norm += d * d
    np.sqrt(norm, out=norm)
    out = np.zeros_like(scene)
    for axis, (d, pitch) in enumerate(zip(gradient, spacing, strict=True)):
        d /= norm
        d -= np.roll(d, 1, axis)
        if pitch != 1:
            d /= pitch
        out += d
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
