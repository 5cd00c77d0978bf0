"""A detail of the image, restored at many lambdas: what another choice would have given."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from lsdeblur._restore import restore
from lsdeblur.errors import LsdeblurWarning
from lsdeblur.psf import PSFGrid
from lsdeblur.report._case import Case
from lsdeblur.report._charts import number
from lsdeblur.report._pictures import Picture, Tones, picture, plane

__all__ = ["Strip", "strip_of", "without_denoising"]

Array = npt.NDArray[Any]
Window = tuple[slice, ...]

_SIDE = 256  # pixels of the detail
_CONTEXT = 64  # pixels around it that are restored with it, at the least
_STEPS = 15
_RANGE = 1e3  # factor from the lambda that was used to the ends
_HEAVY = 70_000  # bytes of one picture
#: method -> its option that is shown; those that restore a detail in a fraction of a second
_OPTION = {"tikhonov": "lam", "wiener": "nsr"}
_KEPT = ("penalty", "tau", "boundary", "spacing", "tol", "max_iter")


@dataclass(frozen=True, slots=True)
class Strip:
    """A detail as observed, and restored at each of `lams`; `used` is the index of the lambda that was used."""

    row: int
    column: int
    context: int
    observed: Picture
    lams: list[float]
    labels: list[str]
    pictures: list[Picture]
    used: int


def strip_of(case: Case, tones: Tones) -> Strip | str:
    """The strip, or a sentence that says why there is none."""
    result = case.result
    if case.method not in _OPTION:
        return (
            "Other strengths are shown for tikhonov and wiener only, which restore a detail in a fraction of a second."
        )
    if not result.lam or not math.isfinite(result.lam) or result.lam <= 0:
        return "Other strengths are not shown: none, or zero, was used."
    if result.options.get("denoise_after") is not None:
        return (
            "Other strengths are not shown: the image was denoised after the filter, which takes long for each of them."
        )
    if case.psf is None or case.frames or len(case.shape) == 3:
        return "Other strengths are shown for one image of two spatial axes only."
    inner, outer = _windows(case)
    lams = [result.lam * _RANGE ** (2 * k / (_STEPS - 1) - 1) for k in range(_STEPS)]
    psf = case.psf
    if isinstance(psf, PSFGrid):
        psf = psf.at([(w.start + w.stop - 1) / 2 for w in outer])
    scenes = [_restored(case, psf, outer, lam) for lam in lams]  # not finite where rounding leaves too little: blank
    part = (slice(None), *(slice(i.start - o.start, i.stop - o.start) for i, o in zip(inner, outer, strict=True)))

    def shown(channels: Array, hidden: Array | None = None) -> Picture:
        return picture(plane(channels), tones, longest=2 * _SIDE, hidden=hidden, heavy=_HEAVY)

    hidden = case.hidden[inner]
    return Strip(
        inner[0].start,
        inner[1].start,
        max(i.start - o.start + o.stop - i.stop for i, o in zip(inner, outer, strict=True)) // 2,
        shown(case.observed[(slice(None), *inner)], hidden),
        lams,
        [number(lam) for lam in lams],
        [shown(scene[part]) for scene in scenes],
        _STEPS // 2,
    )


def without_denoising(case: Case) -> Case:
    """The restoration without `denoise_after`, at the lambda that was chosen before it was lowered for the denoiser."""
    result, options = case.result, dict(case.result.options)
    lam = result.selection.lam if result.selection else result.lam
    if options.pop("denoise_after", None) is None or case.psf is None or case.method != "tikhonov" or not lam:
        return case
    filtered = _restored(case, case.psf, tuple(slice(0, n) for n in case.shape), lam)
    return replace(case, restored=filtered, result=replace(result, lam=lam, options=options))


def _restored(case: Case, psf: Any, window: Window, lam: float) -> Array:
    """A window of the image, (channels, *window), by the filter alone at one lambda."""
    options = {key: value for key, value in case.result.options.items() if key in _KEPT and value is not None}
    if case.method == "tikhonov" and not isinstance(case.psf, PSFGrid):
        options |= {"noise_width": case.result.noise_width, "noise_floor": case.result.noise_floor}
    hidden = case.hidden[window]
    mask = hidden if hidden.any() and not hidden.all() else None
    image = case.observed[(slice(None), *window)]
    strength: dict[str, Any] = {_OPTION[case.method]: lam}
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", LsdeblurWarning)  # the whole image has been judged already
        found = restore(image, psf, method=case.method, channel_axis=0, mask=mask, **options, **strength)
    return np.asarray(found)


def _windows(case: Case) -> tuple[Window, Window]:
    """The detail, where the restored image has the most gradients, and the same with what it depends on."""
    import cv2

    shown = plane(case.restored)
    grey = np.nan_to_num((shown.mean(axis=2) if shown.ndim == 3 else shown).astype(np.float64))
    rows, columns = np.gradient(cv2.GaussianBlur(grey, (0, 0), 1.0)) if min(grey.shape) > 1 else (grey, grey)
    strength = np.hypot(rows, columns)
    strength = np.minimum(strength, np.percentile(strength, 95))  # many edges rather than one
    strength[case.hidden] = 0
    size = [min(_SIDE, n) for n in grey.shape]
    total = cv2.integral(strength)
    h, w = size
    energy = total[h:, w:] - total[:-h, w:] - total[h:, :-w] + total[:-h, :-w]
    first = [int(i) for i in np.unravel_index(int(np.argmax(energy)), energy.shape)]
    reach = [max(_CONTEXT, s) for s in (case.psf.size if isinstance(case.psf, PSFGrid) else case.psf.shape)][-2:]
    inner: list[slice] = []
    outer: list[slice] = []
    for start, n, context, full in zip(first, size, reach, grey.shape, strict=True):
        inner.append(slice(start, start + n))
        outer.append(slice(max(0, start - context), min(full, start + n + context)))
    return tuple(inner), tuple(outer)
