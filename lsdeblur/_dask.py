"""Lazy arrays: the tiled restoration of a Dask array as another one, on threads, processes or a cluster.

Nothing is computed before the result is. Its graph holds the sample of the image that lambda comes from, one plan, and
each tile's window and core; chunks smaller than a window lend it what it needs.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from lsdeblur._methods import Method, Solution
from lsdeblur._stage import Plan
from lsdeblur._stores import Source
from lsdeblur._tiled import (
    Tiling,
    check_halo,
    found_from,
    gain_options,
    given_strength,
    restored_core,
    sample_windows,
    tile_size,
    widest_halo,
)
from lsdeblur.tiling import Tile, tiles

__all__ = ["restore_lazily"]

Array = npt.NDArray[Any]


def restore_lazily(
    source: Source, psf: Array, name: str, method: Method, spacing: tuple[float, ...], *, tile: Any,
    halo: Any, options: dict[str, Any],
) -> Solution:  # fmt: skip
    """The solution, whose image is a Dask array with chunks like the tiles; a lambda to be chosen is not known yet.

    The graph needs a halo before lambda is known: then "auto" is the widest that it takes elsewhere.
    """
    import dask
    import dask.array as da

    fixed = {key: options[key] for key in ("tol", "max_iter") if key in options}
    size = tuple(map(min, tile_size(tile, source.shape), source.shape))
    tiling = Tiling(psf, source.shape, name, spacing, size, **fixed)
    given = given_strength(name, options)
    if isinstance(halo, str) and halo == "auto":
        ndim = len(source.shape)
        halo = (widest_halo(ndim),) * ndim if given is None else tiling.halo(gain_options(name, options, given))
    halo = check_halo(halo, len(source.shape))
    found: Any = given
    if given is None:
        parts = [_pixels(source, window) for window in sample_windows(source, psf)]
        found = dask.delayed(partial(_found, source.channel_axis, tiling, method, options), pure=True)(parts)
    plans = dask.delayed(partial(_plans, tiling, options, halo), pure=True)(found)
    image = np.empty(tuple(-(-n // t) for n, t in zip(source.shape, size, strict=True)), object)
    for index, part in zip(np.ndindex(image.shape), tiles(source.shape, size, halo), strict=True):
        core = dask.delayed(partial(_core, source.channel_axis, part), pure=True)(_pixels(source, part.window), plans)
        shape = source.layout_shape(tuple(s.stop - s.start for s in part.core))
        image[index] = da.from_delayed(core, shape, source.dtype)
    if source.channel_axis is not None:
        image = np.expand_dims(image, source.channel_axis)
    message = f"{image.size} tiles of {size} with a halo of {halo}, restored when they are computed"
    base = given or Solution(np.empty(0, source.dtype), message="strength is chosen when the image is computed")
    return replace(base, image=da.block(image.tolist()), n_iter=image.size, message=f"{base.message}; {message}")


def _pixels(source: Source, window: tuple[slice, ...]) -> Any:
    """A window of the Dask array as one object to be computed."""
    part = source.array[source.index(window)].rechunk(-1)
    return part.to_delayed().ravel()[0]


def _found(
    channel_axis: int | None, tiling: Tiling, method: Method, options: dict[str, Any], parts: list[Array]
) -> Solution:
    pixels = [_read(part, channel_axis) for part in parts]
    return replace(found_from(pixels, tiling, method, options), image=np.empty(0))


def _plans(tiling: Tiling, options: dict[str, Any], halo: tuple[int, ...], found: Solution) -> list[Plan]:
    return tiling.plans(halo, gain_options(tiling.method, options, found))


def _core(channel_axis: int | None, part: Tile, window: Array, plans: list[Plan]) -> Array:
    return Source(window, channel_axis).layout(restored_core(_read(window, channel_axis), plans, part))


def _read(window: Array, channel_axis: int | None) -> Array:
    source = Source(window, channel_axis)
    return source.read((slice(None),) * len(source.shape))
