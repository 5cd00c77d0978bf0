"""Arguments as the caller gave them, checked and made into problems."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from lsdeblur._methods import BLIND, Problem
from lsdeblur._validate import (
    as_psf,
    channels_first,
    check_choice,
    check_finite,
    check_fits,
    check_size,
    check_spacing,
)
from lsdeblur.boundary import BOUNDARIES
from lsdeblur.errors import LsdeblurWarning
from lsdeblur.psf import PSFGrid, trim

__all__ = ["NO_PSF", "checked_psf", "checked_workers", "problem_of", "problems_of", "with_room", "with_saturated"]

_ROOM = 1e12  # largest value, and its inverse, of float32 images whose squares that type holds, noise included
_CLIPPED = 0.05  # share of the pixels from which on clipped areas are probably large
NO_PSF = (
    "psf is missing: method {!r} needs the blur; make one with lsdeblur.psf (gaussian, motion, disk, ...), "
    "measure one with psf.from_image, or use method='blind', which estimates it"
)


def problem_of(
    image: npt.ArrayLike, psf: npt.ArrayLike | PSFGrid | None, method: str, boundary: str, channel_axis: int | None,
    spacing: float | Sequence[float] | None,
    mask: npt.ArrayLike | None, workers: int | None, callback: Any = None, needs_psf: bool = True,
) -> Problem:  # fmt: skip
    """The checked problem, channels first; a method of the caller's may do without a PSF."""
    check_choice(boundary, BOUNDARIES, "boundary")
    if psf is None and needs_psf and method not in BLIND:
        raise ValueError(NO_PSF.format(method))
    hidden = None
    if mask is not None:
        image, hidden = _without_masked(image, mask, channel_axis, boundary)
    g = channels_first(image, channel_axis).view()
    g.flags.writeable = False  # it may be the caller's own array
    shape = g.shape[1:]
    h: Any = psf
    if isinstance(psf, PSFGrid):
        _check_grid(psf, shape)
    elif psf is not None:
        h = checked_psf(psf, shape, None if channel_axis is None else len(g)).astype(g.dtype, copy=False)
    return Problem(g, h, boundary, check_spacing(spacing, len(shape)), checked_workers(workers), hidden, callback)


def with_room(problem: Problem) -> Problem:
    """The problem in float64 where float32 has no room for the squares of its image's values and of their noise."""
    g = problem.image
    peak = max(float(g.max()), -float(g.min()))
    if g.dtype != np.float32 or peak == 0 or 1 / _ROOM < peak < _ROOM:
        return problem
    h = problem.psf.astype(np.float64) if isinstance(problem.psf, np.ndarray) else problem.psf
    return replace(problem, image=g.astype(np.float64), psf=h)


def problems_of(
    images: Sequence[Any], psfs: Any, masks: Any, *, boundary: str, channel_axis: int | None, spacing: Any,
    workers: int | None,
) -> list[Problem]:  # fmt: skip
    """Frames of one scene: problems of one shape and dtype, with PSFs of one size."""
    stacked = np.ndim(images[0]) + 1  # axes of a stack of all PSFs, as a result keeps it
    lists = {}
    for name, given in {"psf": psfs, "mask": masks}.items():
        several = name == "psf" and isinstance(given, np.ndarray) and given.ndim == stacked
        lists[name] = list(given) if several or isinstance(given, (list, tuple)) else [given] * len(images)
        if len(lists[name]) != len(images):
            raise ValueError(f"{name} has {len(lists[name])} items for {len(images)} frames: give one for each frame")
    problems = [
        problem_of(image, h, "tikhonov", boundary, channel_axis, spacing, hidden, workers)
        for image, h, hidden in zip(images, lists["psf"], lists["mask"], strict=True)
    ]
    if any(isinstance(p.psf, PSFGrid) for p in problems):
        raise ValueError("several frames need uniform PSFs: a PSFGrid serves one frame only")
    if len({p.image.shape for p in problems}) > 1:
        raise ValueError(f"the frames have shapes {[np.shape(image) for image in images]}: crop them to the same part")
    size = np.max([p.psf.shape[1:] for p in problems], axis=0)
    dtype = np.result_type(*(p.image for p in problems))
    return [
        replace(p, image=p.image.astype(dtype, copy=False), psf=_centred(p.psf, size).astype(dtype)) for p in problems
    ]


def _centred(h: npt.NDArray[Any], size: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """PSFs (n, *shape) with zeros around them, their centres at ``size // 2``."""
    before = size // 2 - np.array(h.shape[1:]) // 2
    after = size - before - h.shape[1:]
    return np.pad(h, [(0, 0), *zip(before, after, strict=True)])


def with_saturated(image: Any, mask: Any, level: float, channel_axis: int | None) -> Any:
    """The mask, or the frames' masks, with the pixels at or above a level; None where none are masked."""
    if isinstance(image, (list, tuple)) and image and hasattr(image[0], "__array__"):
        masks = mask if isinstance(mask, (list, tuple)) else [mask] * len(image)
        return [with_saturated(g, m, level, channel_axis) for g, m in zip(image, masks, strict=True)]
    clipped: Any = np.asarray(image) >= check_finite(level, "saturation")
    clipped = clipped if channel_axis is None else clipped.any(axis=channel_axis)
    share = float(np.mean(clipped))
    if share > 0.5:
        raise ValueError(
            f"saturation={level!r} masks {share:.0%} of the pixels: it is the value at which they were clipped, in "
            "units of the image (255 for 8 bits, 1.0 for 0..1)"
        )
    if share > _CLIPPED:
        warnings.warn(
            f"saturation={level!r} masks {share:.0%} of the pixels: what comes back under large areas is a guess",
            LsdeblurWarning,
            stacklevel=3,
        )
    hidden = clipped if mask is None else clipped | np.asarray(mask, bool)
    return hidden if hidden.any() else None


def _without_masked(
    image: npt.ArrayLike, mask: npt.ArrayLike, channel_axis: int | None, boundary: str
) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_] | None]:
    """A copy of the image with the nearest measured value under the mask, and the mask if it hides anything."""
    from scipy.ndimage import distance_transform_edt

    if boundary != "free":
        raise ValueError(f"mask needs boundary='free', not {boundary!r}: only there are pixels unknown")
    a, hidden = np.array(image), np.asarray(mask)
    first = a if channel_axis is None else np.moveaxis(a, channel_axis, 0)
    shape = first.shape if channel_axis is None else first.shape[1:]
    if hidden.dtype != np.bool_ or hidden.shape != shape:
        raise ValueError(
            f"mask must be a bool array of the image's spatial shape {shape}, not {hidden.dtype} of {hidden.shape}; "
            "of numbers, give mask > 0"
        )
    if hidden.all():
        raise ValueError("mask hides every pixel: True marks those that were not measured")
    if not hidden.any():
        return a, None
    nearest = distance_transform_edt(hidden, return_distances=False, return_indices=True)
    first[..., hidden] = first[(..., *(index[hidden] for index in nearest))]
    return a, hidden


def checked_psf(psf: npt.ArrayLike, shape: tuple[int, ...], channels: int | None) -> npt.NDArray[Any]:
    """The PSF (1 or channels, ...), without zero margins, that fits into a frame of `shape`."""
    h = trim(as_psf(psf, ndim=len(shape), channels=channels), ndim=len(shape))
    remedy = "crop it around its centre (psf.from_image(..., size=)), or check that image and psf are not swapped"
    check_fits(h.shape[1:], shape, "psf", "image", remedy)
    sums = h.sum(axis=tuple(range(1, h.ndim)), dtype=np.float64)
    odd = sums[(sums >= 2) | (sums <= 0.5)]
    if odd.size:
        warnings.warn(
            f"psf sums to {odd[0]:.4g}, and the restored image is divided by that; "
            "pass psf / psf.sum() to keep the brightness",
            LsdeblurWarning,
            stacklevel=4,
        )
    return h


def _check_grid(psf: PSFGrid, shape: tuple[int, ...]) -> None:
    """ValueError for PSFs that do not belong to a frame of `shape`."""
    if psf.ndim != len(shape):
        raise ValueError(
            f"psf varies along {psf.ndim} axes, but the image has {len(shape)} spatial ones; if it has a channel axis, "
            "name it with channel_axis="
        )
    check_fits(psf.size, shape, "psf", "image", "crop the PSFs around their centres")


def checked_workers(workers: int | None) -> int | None:
    """None, or a number of threads."""
    return None if workers is None else check_size(workers, 1, "workers")[0]
