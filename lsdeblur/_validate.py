"""Checks and conversions of arguments: each error names the argument, the fact and the remedy."""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "as_float_array",
    "as_psf",
    "channels_back",
    "channels_first",
    "check_choice",
    "check_finite",
    "check_fits",
    "check_non_negative",
    "check_positive",
    "check_same_shape",
    "check_size",
    "check_spacing",
    "resolve_workers",
    "working_dtype",
]

FloatArray = npt.NDArray[np.floating[Any]]


def working_dtype(dtype: npt.DTypeLike) -> np.dtype[np.floating[Any]]:
    """float32 for what float32 holds (uint8, uint16, float16, float32), float64 for all other real types."""
    if np.dtype(dtype).kind not in "buif":
        raise TypeError(f"dtype must be a real type such as float32 or float64, not {np.dtype(dtype)}")
    return np.dtype(np.float32) if np.result_type(dtype, np.float32) == np.float32 else np.dtype(np.float64)


def as_float_array(array: Any, name: str, *, ndim: Iterable[int] | None = None) -> FloatArray:
    """A finite, non-empty array of floats in the working dtype, a copy only where the dtype changes.

    Raises TypeError for what is not a real array and ValueError for NaN, Inf, emptiness or a wrong number of axes.
    """
    if isinstance(array, np.ma.MaskedArray) and np.ma.is_masked(array):
        raise ValueError(
            f"{name} is a masked array, and its mask would be lost: fill the gaps and pass {name}.filled(...)"
        )
    try:
        a = np.asarray(array)
    except ValueError as error:
        raise ValueError(f"{name} is no array: {error}") from None
    if np.iscomplexobj(a):
        raise TypeError(
            f"{name} is complex ({a.dtype}); restoration is defined for real arrays: pass {name}.real or its magnitude"
        )
    if a.dtype.kind not in "buif":
        hint = {"U": ": read a file first, lsdeblur.io.read(path).image", "O": ": pass the array that it holds"}
        raise TypeError(f"{name} must be an array of real numbers, not of dtype {a.dtype}{hint.get(a.dtype.kind, '')}")
    if ndim is not None and a.ndim not in (allowed := tuple(ndim)):
        wanted = " or ".join(map(str, allowed))
        raise ValueError(f"{name} must have {wanted} axes, but its shape {a.shape} has {a.ndim}")
    if a.size == 0:
        raise ValueError(f"{name} is empty: its shape is {a.shape}")
    a = a.astype(working_dtype(a.dtype), copy=False)
    # One reduction finds any NaN or Inf: they survive a sum. Overflow of finite values is told apart by isfinite.
    with np.errstate(over="ignore", invalid="ignore"):
        total = a.sum()
    if not math.isfinite(total):
        bad = a.size - int(np.count_nonzero(np.isfinite(a)))
        if bad:
            raise ValueError(
                f"{name} has {bad} values that are NaN or infinite; replace them, or name them to restore() with mask="
            )
    return a


def as_psf(psf: Any, *, ndim: int, channels: int | None = None, name: str = "psf") -> FloatArray:
    """A point-spread function as floats of shape (1, ...) or (channels, ...); the leading axis counts channels.

    Raises TypeError or ValueError for what cannot be a PSF: not finite, all zero or with a sum near zero, or with
    axes that do not fit `ndim` spatial axes (one more is allowed for one PSF per channel).
    """
    h = as_float_array(psf, name)
    per_channel = channels is not None and h.ndim == ndim + 1
    if h.ndim != ndim and not per_channel:
        hint = f" (or {ndim + 1}, one PSF per channel first)"
        if channels is None:
            hint = "; if the image has a colour or channel axis, name it with channel_axis="
        raise ValueError(
            f"{name} has {h.ndim} axes, but the image has {ndim} spatial axes: {name} must have {ndim}{hint}"
        )
    if per_channel and h.shape[0] != channels:
        raise ValueError(
            f"{name} holds {h.shape[0]} PSFs, but the image has {channels} channels; pass one PSF, or one per channel "
            "along the first axis"
        )
    h = h if per_channel else h[np.newaxis]
    axes = tuple(range(1, h.ndim))
    sums, magnitudes = h.sum(axis=axes, dtype=np.float64), np.abs(h).sum(axis=axes, dtype=np.float64)
    if np.any(np.abs(sums) <= 1e-6 * magnitudes):
        raise ValueError(
            f"{name} sums to zero: it would erase the image's brightness; check that it is the PSF "
            "and not its derivative or a background-subtracted empty patch"
        )
    if np.any(sums < 0):
        raise ValueError(f"{name} has a negative sum: it would turn light into dark; check its sign and background")
    return h


def check_choice(value: Any, choices: Iterable[str], name: str) -> str:
    """`value` if it is one of `choices`; otherwise ValueError with the choices in the message."""
    options = tuple(choices)
    if not isinstance(value, str) or value not in options:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, options))}, not {value!r}{meant(value, options)}")
    return value


def meant(value: Any, names: Iterable[str]) -> str:
    """What ends an error about a name that is not there: the one of `names` that looks like it, if there is one."""
    import difflib  # only an error needs it

    near = difflib.get_close_matches(str(value), list(names), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def check_finite(value: Any, name: str) -> float:
    """`value` as a finite Python float."""
    if isinstance(value, (bool, str)):
        raise TypeError(f"{name} must be a number, not {value!r}")
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number, not {value!r}") from None
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite, not {number}")
    return number


def check_positive(value: Any, name: str) -> float:
    """`value` as a Python float > 0."""
    number = check_finite(value, name)
    if number <= 0:
        raise ValueError(f"{name} must be greater than 0, not {number:g}")
    return number


def check_non_negative(value: Any, name: str) -> float:
    """`value` as a Python float >= 0."""
    number = check_finite(value, name)
    if number < 0:
        raise ValueError(f"{name} must not be negative: {number:g}")
    return number


def channels_first(
    image: Any, channel_axis: int | None, *, ndim: Iterable[int] = (2, 3), name: str = "image"
) -> FloatArray:
    """The image as floats of shape (channels, *spatial), a view where it can be; one channel without `channel_axis`.

    `ndim` are the numbers of spatial axes allowed. ValueError for others, and for an axis that is not there.
    """
    if channel_axis is None:
        return as_float_array(image, name, ndim=ndim)[np.newaxis]
    g = as_float_array(image, name, ndim=[n + 1 for n in ndim])
    try:
        return np.moveaxis(g, operator.index(channel_axis), 0)
    except (np.exceptions.AxisError, TypeError):
        raise ValueError(f"channel_axis={channel_axis!r} is no axis of an {name} of shape {g.shape}") from None


def channels_back(image: FloatArray, channel_axis: int | None) -> FloatArray:
    """The inverse of `channels_first`."""
    return image[0] if channel_axis is None else np.moveaxis(image, 0, channel_axis)


def check_fits(size: Sequence[int], shape: Sequence[int], name: str, frame: str, remedy: str) -> None:
    """ValueError when an array of `size` is longer than `shape` along an axis."""
    if any(s > n for s, n in zip(size, shape, strict=True)):
        raise ValueError(f"{name} {tuple(size)} is larger than the {frame} {tuple(shape)}: {remedy}")


def check_size(size: Any, ndim: int, name: str = "size") -> tuple[int, ...]:
    """One whole number >= 1 per axis; a single number serves every axis."""
    try:
        sizes = (operator.index(size),) * ndim
    except TypeError:
        try:
            sizes = tuple(operator.index(s) for s in size)
        except TypeError:
            raise TypeError(f"{name} must be a whole number or one per axis, not {size!r}") from None
    if len(sizes) != ndim or min(sizes) < 1:
        wanted = "a whole number" if ndim == 1 else f"{ndim} whole numbers"
        raise ValueError(f"{name} must be {wanted} of at least 1, not {size!r}")
    return sizes


def check_spacing(spacing: float | Sequence[float] | None, ndim: int) -> tuple[float, ...]:
    """Pixel pitch per axis, relative to the smallest: only its ratios change the penalty. None means equal."""
    if spacing is None:
        return (1.0,) * ndim
    try:
        values = np.atleast_1d(np.asarray(spacing, dtype=float))
    except (TypeError, ValueError):
        values = np.array(np.nan)
    if values.shape not in ((1,), (ndim,)) or not np.all(np.isfinite(values)) or np.any(values <= 0):
        raise ValueError(f"spacing must be {ndim} positive numbers, one per spatial axis, not {spacing!r}")
    values = np.broadcast_to(values, (ndim,))
    return tuple(float(v) for v in values / values.min())


def check_same_shape(a: npt.NDArray[Any], b: npt.NDArray[Any], name_a: str, name_b: str) -> None:
    """ValueError when two arrays that must be compared pixel by pixel differ in shape."""
    if a.shape != b.shape:
        raise ValueError(f"{name_a} has shape {a.shape} and {name_b} {b.shape}; crop or resample one of them first")


def resolve_workers(workers: int | None) -> int:
    """Number of threads: `workers`, or all processors this process may use."""
    if workers is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return workers
