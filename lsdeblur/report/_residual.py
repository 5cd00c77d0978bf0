"""What the restoration leaves of the data, ``g - h * f``: its size, its spectrum, and whether it looks like noise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lsdeblur import _fft
from lsdeblur.metrics._residual import residual
from lsdeblur.noise import colour, hann
from lsdeblur.psf import PSFGrid
from lsdeblur.report._case import Case
from lsdeblur.report._charts import Chart, number
from lsdeblur.report._pictures import Picture, Tones, picture, plane
from lsdeblur.spectrum import frequencies, hermitian_weights, penalty_symbol, transfer_function

__all__ = ["LARGEST", "Residual", "residual_of"]

Array = npt.NDArray[Any]

LARGEST = 2048  # pixels along an axis that are looked at: of larger images the middle
_SMALLEST = 16
_BANDS = 40


@dataclass(frozen=True, slots=True)
class Residual:
    """The residual where every pixel's blur lies within the frame.

    Attributes
    ----------
    shape : tuple of int
        Of that part of the frame, which is the middle of a large image.
    map : Picture
        Grey is zero; black and white are -span and +span.
    rms, mean : float
        Over the measured pixels.
    level : float
        Standard deviation of the noise that it is compared with: the result's, or else its own rms.
    neighbours : list of float
        Its correlation with the next pixel along every axis.
    peak : float
        Greatest power in a band of frequencies, relative to that of the noise there.
    peak_at : float
        The frequency in cycles per pixel.
    chart : Chart
    """

    shape: tuple[int, ...]
    map: Picture
    span: float
    rms: float
    mean: float
    level: float
    neighbours: list[float]
    count: int
    peak: float
    peak_at: float
    chart: Chart


def residual_of(case: Case) -> Residual | str:
    """The residual, or a sentence that says why there is none."""
    if case.psf is None:
        return f"The method {case.method!r} used no point-spread function, so there is no residual."
    try:
        r, hidden = residual(case.result, case.observed, case.restored, case.psf, case.hidden, largest=LARGEST)
    except ValueError as reason:
        return f"There is no residual: {reason}."
    if min(r.shape[1:]) < _SMALLEST and r.ndim == 3:
        return "There is no residual to look at: the point-spread function reaches over nearly the whole frame."
    seen = r[:, ~hidden]
    rms = math.sqrt(float(np.mean(np.square(seen, dtype=np.float64))))
    level = case.result.noise_std or rms
    f, power, noise, expected = _spectra(case, r, hidden, level)
    ratio = power / np.maximum(noise, np.finfo(float).tiny)
    top = int(np.argmax(ratio))
    span = 3 * rms or 1.0
    shown = picture(plane(r), Tones(-span, span), longest=750, hidden=plane(hidden[np.newaxis]))
    chart = _chart(f, power, noise, expected, case.result.noise_std is not None)
    return Residual(
        r.shape[1:], shown, span, rms, float(seen.mean(dtype=np.float64)), level, _neighbours(r, hidden), seen.size,
        float(ratio[top]), float(f[top]), chart,
    )  # fmt: skip


def _spectra(case: Case, r: Array, hidden: Array, level: float) -> tuple[Array, Array, Array, Array | None]:
    """Per band of frequencies: the frequency, the residual's power, the noise's, and what least squares should leave.

    Powers are variances per pixel: white noise of standard deviation sigma has sigma^2 in every band.
    """
    shape = r.shape[1:]
    window = hann(shape, np.float64) * ~hidden
    h = case.middle_psf
    assert h is not None
    grid = tuple(_fft.good_size(max(n, s)) for n, s in zip(shape, h.shape, strict=True))
    pads = [(0, n - m) for n, m in zip(grid, shape, strict=True)]
    power = np.mean([np.abs(_fft.rfftn(np.pad(c * window, pads), len(grid))) ** 2 for c in r.astype(float)], axis=0)
    power /= np.sum(window**2)
    radius = np.sqrt(sum((w / (2 * np.pi)) ** 2 for w in frequencies(grid)))
    weights = np.broadcast_to(hermitian_weights(grid), radius.shape)
    bands = max(4, min(_BANDS, min(shape) // 6))
    index = np.minimum((radius * 2 * bands).astype(int), bands).ravel()  # the last one, of the corners, is left out
    count = np.bincount(index, weights.ravel(), bands + 1)[:bands]

    def averaged(values: Array) -> Array:
        return np.bincount(index, (weights * values).ravel(), bands + 1)[:bands] / np.maximum(count, 1)

    c: Array = np.ones(radius.shape)
    if case.result.noise_width:
        c = colour(grid, case.result.noise_width, case.result.noise_floor)
        c = c / float(np.sum(weights * c) / np.sum(weights * np.ones_like(c)))
    left = _left(case, grid, h, c)
    noise = level**2 * averaged(c)
    return (
        (np.arange(bands) + 0.5) / (2 * bands),
        averaged(power),
        noise,
        left if left is None else level**2 * averaged(c * left),
    )


def _left(case: Case, grid: tuple[int, ...], h: Array, c: Array) -> Array | None:
    """``lam P c / (|H|^2 + lam P c)``: the share of the noise's power that Tikhonov or Wiener should leave."""
    options, lam = case.result.options, case.result.lam
    if case.method not in ("tikhonov", "wiener") or not lam or isinstance(case.psf, PSFGrid) or case.frames:
        return None
    if case.method == "wiener":
        P = np.ones(c.shape)
    else:
        spacing = options.get("spacing")
        spacing = None if spacing is None else np.broadcast_to(np.asarray(spacing, float), (len(grid),))
        spacing = None if spacing is None else [float(s) for s in spacing / spacing.min()]
        tau, penalty = options.get("tau", 0.1), options.get("penalty", "laplacian+gradient")
        P = penalty_symbol(penalty, grid, tau=tau, spacing=spacing)
    H = np.abs(transfer_function(h.astype(float), grid)) ** 2
    return np.asarray(lam * P * c / np.maximum(H + lam * P * c, np.finfo(float).tiny))


def _neighbours(r: Array, hidden: Array) -> list[float]:
    """Correlation of each pixel with the next along every axis, over measured pixels."""
    seen = np.broadcast_to(~hidden, r.shape)
    variance = float(np.mean(np.square(r, dtype=np.float64)[seen]))
    found = []
    for axis in range(1, r.ndim):
        n = r.shape[axis]
        a, b = (np.take(r, np.arange(k, n - 1 + k), axis=axis).astype(np.float64) for k in (0, 1))
        both = np.take(seen, np.arange(n - 1), axis=axis) & np.take(seen, np.arange(1, n), axis=axis)
        products = (a * b)[both]
        found.append(float(products.mean()) / variance if variance > 0 and products.size else 0.0)
    return found


def _chart(f: Array, power: Array, noise: Array, expected: Array | None, known: bool) -> Chart:
    tops = [power.max(), noise.max()]
    high = 2 * max(tops) or 1.0
    low = max(min(power[power > 0].min(initial=high), noise.min()) / 2, high * 1e-5)
    what = "the noise's" if known else "a constant"
    chart = Chart.of(
        "residual-spectrum",
        "Power spectrum of the residual",
        ("frequency (cycles per pixel)", 0.0, 0.5, False),
        ("power (variance per pixel)", low, high, True),
        description=f"The residual's radially averaged power beside {what}; at most {number(float(power.max()))}.",
    )
    chart.line(f, noise, "noise")
    if expected is not None:
        chart.line(f, np.maximum(expected, low / 10), "expected")
    chart.line(f, np.maximum(power, low / 10), "curve")
    return chart
