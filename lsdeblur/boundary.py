"""How an image is continued outside its frame: extension of the data to a periodic grid, and the crop back.

The frame lies at the origin of the grid; the rest of each axis is a *gap* that joins the frame's end to its
beginning, since the grid is periodic. Every extension works on the last axes, so leading axes count channels.

============= ==================================================================================================
"free"        the default: the pixels outside are unknown, and only the observed ones count (module `free`)
"taper"       a ramp from one edge to the opposite one, blurred like the rest; the cheapest that suits most images
"periodic"    the image repeats; right for simulated periodic data, and for nothing that a camera sees
"zero"        black outside; for objects that lie wholly inside the frame
"symmetric"   mirrored at the edges; exact for a mirrored scene only if the PSF is symmetric along every axis
"edge"        the values at the edges continue
============= ==================================================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lsdeblur import _fft
from lsdeblur._validate import check_choice

__all__ = ["BOUNDARIES", "crop", "extend", "fill", "grid_shape"]

Array = npt.NDArray[Any]

#: name -> what the *blurred* image is taken to be outside the frame
BOUNDARIES: dict[str, str] = {
    "periodic": "repeats",
    "zero": "is black",
    "symmetric": "is mirrored at the frame's edge",
    "edge": "continues with the values at the frame's edge",
    "taper": "goes smoothly from one edge to the opposite one, blurred like the rest",
    "free": "is unknown: only the observed pixels count",
}

_MARGIN = 32  # pixels beyond the PSF's size: the penalty would glue opposite edges together without them


def grid_shape(shape: Sequence[int], psf_shape: Sequence[int], boundary: str) -> tuple[int, ...]:
    """Shape of the periodic grid on which the frame is restored.

    "periodic" keeps the frame, "symmetric" doubles every axis (a mirrored scene repeats after twice its length),
    "zero" adds the PSF's size less one, "edge", "taper" and "free" add the PSF's size and 32 pixels; these four are
    rounded up to good transform lengths.
    """
    check_choice(boundary, BOUNDARIES, "boundary")
    if boundary == "periodic":
        return tuple(shape)
    if boundary == "symmetric":
        return tuple(2 * n for n in shape)
    extra = -1 if boundary == "zero" else _MARGIN
    return tuple(_fft.good_size(n + s + extra) for n, s in zip(shape, psf_shape, strict=True))


def extend(
    image: Array, grid: Sequence[int], boundary: str, psf: Array | None = None, workers: int | None = None
) -> Array:
    """The image on the periodic grid, its frame at the origin.

    Parameters
    ----------
    image : array (..., *spatial)
        Observed image; kept as it is inside the frame.
    grid : sequence of int
        Spatial shape from `grid_shape`.
    boundary : str
        One of `BOUNDARIES`.
    psf : array (..., *psf_shape), optional
        The PSF, of which the leading axes broadcast against those of the image; needed by "taper".
    workers : int or None
        Threads for the transforms of "taper".

    Returns
    -------
    array (..., *grid)
        "zero": zeros in the gap. "symmetric", "edge": mirrored or repeated edge values, half of the gap from
        either side. "taper": a linear ramp across the gap, axis by axis, convolved with the PSF; so the gap is
        as smooth as a blurred scene, and the filter finds no edge there that no scene could have made. "free": the
        ramp alone, from which `free.System` starts (with a mask, from `fill`).
    """
    check_choice(boundary, BOUNDARIES, "boundary")
    first = image.ndim - len(grid)
    if tuple(grid) == image.shape[first:]:
        return image
    if boundary == "zero":
        out = np.zeros((*image.shape[:first], *grid), image.dtype)
        crop(out, image.shape[first:])[...] = image
        return out
    if boundary in ("symmetric", "edge"):
        for axis, size in enumerate(grid, start=first):
            image = _repeat(image, axis, size, boundary)
        return image
    if boundary == "taper" and psf is None:
        raise ValueError("boundary='taper' needs psf=, by which the ramp is blurred")
    shape = image.shape[first:]
    out = np.empty((*image.shape[:first], *grid), image.dtype)
    crop(out, shape)[...] = image
    for axis in range(len(grid)):
        _bridge(out, shape, axis)
    if boundary == "taper" and psf is not None:
        gaps = [axis for axis, n in enumerate(shape) if grid[axis] > n]
        for axis, gap in [(axis, _blurred(out, shape, axis, psf, workers)) for axis in gaps]:
            np.moveaxis(out, axis - len(grid), 0)[shape[axis] :] = gap
    return out


def crop(array: Array, shape: Sequence[int]) -> Array:
    """The frame of spatial `shape` at the origin of the grid, as a view."""
    frame: tuple[Any, ...] = (..., *(slice(n) for n in shape))
    return array[frame]


def _repeat(image: Array, axis: int, size: int, boundary: str) -> Array:
    n = image.shape[axis]
    gap = np.arange(size - n)
    after = gap < (gap.size + 1) // 2  # the near half continues the end, the far half precedes the beginning
    if boundary == "symmetric":
        index = np.where(after, n - 1 - gap, gap.size - 1 - gap)
    else:
        index = np.where(after, n - 1, 0)
    return np.take(image, np.concatenate([np.arange(n), index]), axis=axis)


def _bridge(out: Array, shape: Sequence[int], axis: int) -> None:
    """Fill the gap of one spatial axis by a ramp, where `out` is known on the frame along this and later axes."""
    known: tuple[Any, ...] = (..., *[slice(None)] * (axis + 1), *(slice(m) for m in shape[axis + 1 :]))
    rows, n = np.moveaxis(out[known], axis - len(shape), 0), shape[axis]
    gap = len(rows) - n
    t = (np.arange(1, gap + 1) / (gap + 1)).astype(out.dtype).reshape(-1, *[1] * (rows.ndim - 1))
    rows[n:] = rows[n - 1] + t * (rows[0] - rows[n - 1])


def _blurred(data: Array, shape: Sequence[int], axis: int, psf: Array, workers: int | None) -> Array:
    """The gap of one spatial axis, which comes first, of periodic data blurred by a PSF of sum 1.

    It depends on a slab of ``gap + s - 1`` pixels along the axis, for a PSF of size s: a periodic convolution of the
    slab is wrong in its first ``s - 1 - s // 2`` and last ``s // 2`` pixels only, which are not in the gap.
    """
    ndim, size, n = len(shape), psf.shape[-len(shape) :], shape[axis]
    along, before = axis - ndim, size[axis] - 1 - size[axis] // 2
    period = data.shape[along]
    length = min(_fft.good_size(period - n + size[axis] - 1), period)
    slab = data.take(np.arange(n - before, n - before + length) % period, axis=along)
    grid, axes = slab.shape[-ndim:], tuple(range(-ndim, 0))
    kernel = np.zeros((*psf.shape[:-ndim], *grid), data.dtype)
    crop(kernel, size)[...] = psf / psf.sum(axis=axes, keepdims=True)
    kernel = np.roll(kernel, [-(m // 2) for m in size], axes)
    spectrum = _fft.rfftn(kernel, ndim, workers) * _fft.rfftn(slab, ndim, workers)
    return np.moveaxis(_fft.irfftn(spectrum, grid, workers), along, 0)[before : before + period - n]


def fill(data: Array, unknown: Array, sweeps: int = 16) -> Array:
    """`data` (..., *grid) with the pixels that are `unknown` (*grid) filled smoothly, the grid taken as periodic.

    Each is about the mean of its neighbours, as a membrane spanned over the gaps: first on grids of half the size, a
    few `sweeps` on each. Far from data the default penalty prefers just that. Cost: like a few transforms.
    """
    if not unknown.any() or unknown.all():
        return data
    axes = tuple(range(-unknown.ndim, 0))
    out = np.where(unknown, np.zeros_like(data[..., :1]), data)
    weight = _halved(~unknown, axes, data.dtype)
    coarse = fill(_halved(out, axes, data.dtype) / np.maximum(weight, 1), weight == 0, sweeps)
    for axis in axes:
        coarse = np.repeat(coarse, 2, axis=axis).take(np.arange(unknown.shape[axis]), axis=axis)
    flat = np.flatnonzero(unknown)
    at = np.unravel_index(flat, unknown.shape)
    beside = [
        np.ravel_multi_index((*at[:axis], at[axis] + step, *at[axis + 1 :]), unknown.shape, mode="wrap")
        for axis in range(unknown.ndim)
        for step in (-1, 1)
    ]
    rows = out.reshape(-1, unknown.size)
    rows[:, flat] = coarse.reshape(-1, unknown.size)[:, flat]
    for _ in range(sweeps):
        rows[:, flat] = sum(rows[:, b] for b in beside) / data.dtype.type(len(beside))
    return out


def _halved(a: Array, axes: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
    """Sums over cells of two pixels along each axis, the last cell of one where the size is odd."""
    for axis in axes:
        a = np.add.reduceat(a, np.arange(0, a.shape[axis], 2), axis=axis, dtype=dtype)
    return a
