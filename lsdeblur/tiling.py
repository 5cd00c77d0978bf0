"""Images of any size: tiles with a halo, the same work for every tile, on threads.

A tile's *core* is what is kept of it. Its *window*, what is solved, is the core with a halo on all sides, which is
thrown away. Windows are moved inwards at the frame's edges instead of being cut, so all of them have one shape: one
plan serves all tiles, and the frame's own edges stay edges of a window.
"""

from __future__ import annotations

import contextvars
import itertools
import math
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from lsdeblur._methods import Method, Problem, Progress, Solution, check_options, resolve
from lsdeblur._validate import check_size, resolve_workers

__all__ = ["Tile", "run", "tiled", "tiles", "window_shape"]

Array = npt.NDArray[Any]
Slices = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Tile:
    """One tile: `core` and `window` locate it in the image, `inner` the core in the window."""

    core: Slices
    window: Slices
    inner: Slices


def window_shape(shape: Sequence[int], tile: Sequence[int], halo: Sequence[int]) -> tuple[int, ...]:
    """Shape of every tile's window: core and two halos, or the whole axis where that is shorter."""
    return tuple(min(n, t + 2 * h) for n, t, h in zip(shape, tile, halo, strict=True))


def tiles(shape: Sequence[int], tile: int | Sequence[int], halo: int | Sequence[int] = 0) -> list[Tile]:
    """Tiles that cover every pixel of an image once, in C order.

    Parameters
    ----------
    shape : sequence of int
        Spatial shape of the image.
    tile : int or sequence of int
        Size of the cores; the last one of an axis may be smaller.
    halo : int or sequence of int >= 0
        Pixels around a core that its window has at least, except beyond the frame.

    Returns
    -------
    list of Tile

    Examples
    --------
    >>> [(t.core[0].start, t.core[0].stop, t.window[0].start, t.window[0].stop) for t in tiles((10,), 4, 1)]
    [(0, 4, 0, 6), (4, 8, 3, 9), (8, 10, 4, 10)]
    """
    ndim = len(shape)
    cores = check_size(tile, ndim, "tile")
    halos = tuple(h - 1 for h in check_size(np.add(halo, 1), ndim, "halo + 1"))
    windows = window_shape(shape, cores, halos)
    axes = [
        [_placed(start, n, t, h, w) for start in range(0, n, t)]
        for n, t, h, w in zip(shape, cores, halos, windows, strict=True)
    ]
    return [Tile(*(tuple(part) for part in zip(*parts, strict=True))) for parts in itertools.product(*axes)]


def _placed(start: int, n: int, tile: int, halo: int, window: int) -> tuple[slice, slice, slice]:
    """Core, window and inner along one axis of n pixels."""
    stop = min(start + tile, n)
    first = min(max(start - halo, 0), n - window)
    return slice(start, stop), slice(first, first + window), slice(start - first, stop - first)


def run(
    work: Callable[[Any], None],
    todo: Iterable[Any],
    *,
    workers: int | None = None,
    callback: Callable[[Progress], object] | None = None,
    done: int = 0,
    total: int | None = None,
) -> bool:
    """``work(x)`` for every x of `todo` (tiles, or their numbers) on threads; False if the callback ended it.

    No more tiles than threads are under way at a time, so memory does not grow with their number. Each runs in a copy
    of the caller's context: a chosen FFT backend holds. The callback is called in the caller's thread. When a tile
    fails, those under way are finished, no other is begun, and the error is raised.
    """
    todo = list(todo)
    count = itertools.count(done + 1)
    total = done + len(todo) if total is None else total
    threads = max(1, min(resolve_workers(workers), len(todo)))
    waiting: Iterator[Any] = iter(todo)
    with ThreadPoolExecutor(threads) as pool:

        def begin(n: int) -> set[Future[None]]:
            return {pool.submit(contextvars.copy_context().run, work, t) for t in itertools.islice(waiting, n)}

        pending = begin(threads)
        while pending:
            finished, pending = wait(pending, return_when=FIRST_COMPLETED)
            for future in finished:
                future.result()
                try:
                    if callback is not None:
                        callback(Progress(next(count), total))
                except StopIteration:
                    return False
            pending |= begin(len(finished))
    return True


def tiled(method: str | Method, *, tile: int | Sequence[int], overlap: int | Sequence[int]) -> Method:
    """Any method, applied tile by tile: for iterative methods on large images, or to save their memory.

    Parameters
    ----------
    method : str or callable
        A name in `METHODS`, or ``(Problem, **options) -> Solution``.
    tile : int or sequence of int
        Size of the part of each tile that is kept.
    overlap : int or sequence of int >= 0
        Pixels around it that are solved with it and thrown away: at least the PSF's size, for a motion blur several
        times that.

    Returns
    -------
    callable
        A method to pass to `restore`; its options are those of `method`.

    Notes
    -----
    Each tile is a problem of its own with the caller's boundary, so a strength that `method` chooses from the data
    differs from tile to tile, and shows: give it as a number. The direct methods choose one for all tiles with
    ``restore(..., tile=)``. Of what the tiles found, their common values are kept. Tiles run on threads.

    Examples
    --------
    >>> import numpy as np
    >>> from lsdeblur import psf, restore
    >>> by_tiles = tiled("inverse", tile=32, overlap=16)
    >>> restore(np.ones((80, 90)), psf.gaussian(1.0), method=by_tiles, threshold=0.1).image.shape
    (80, 90)
    """
    name, function = resolve(method)

    def by_tiles(problem: Problem, **options: Any) -> Solution:
        check_options(function, options, f"method {name!r}")
        return _by_tiles(function, problem, tiles(problem.shape, tile, overlap), options)

    by_tiles.__name__ = f"tiled-{name}"
    by_tiles.needs_psf = getattr(function, "needs_psf", True)  # type: ignore[attr-defined]
    return by_tiles


def _by_tiles(function: Method, problem: Problem, parts: list[Tile], options: dict[str, Any]) -> Solution:
    image = np.empty(problem.image.shape, problem.image.dtype)
    std = np.empty_like(image)
    found: list[Solution] = []
    lock = threading.Lock()

    def work(part: Tile) -> None:
        at, core, inner = ((slice(None), *place) for place in (part.window, part.core, part.inner))
        mask = None if problem.mask is None else problem.mask[part.window]
        window = replace(problem, image=problem.image[at], mask=mask, workers=1)
        solution = function(window, **options)
        image[core] = solution.image[inner]
        if solution.std is not None:
            std[core] = solution.std[inner]
        with lock:
            found.append(replace(solution, image=image[:0], std=None if solution.std is None else image[:0]))

    run(work, parts, workers=problem.workers)
    lams = {s.lam for s in found}
    levels = [s.noise_std**2 for s in found if s.noise_std is not None]
    return Solution(
        image,
        lam=lams.pop() if len(lams) == 1 else None,
        noise_std=math.sqrt(sum(sorted(levels)) / len(levels)) if levels else None,
        std=std if all(s.std is not None for s in found) else None,
        converged=all(s.converged for s in found),
        n_iter=max(s.n_iter for s in found),
        message=f"{len(found)} tiles; {found[0].message}",
    )
