"""The direct methods on images of any size: one lambda and one plan for all tiles.

Each tile is solved with a free boundary on all its sides, and its halo is thrown away (`lsdeblur.tiling`). Lambda comes
from a Welch estimate: sample tiles under a Hann window are to a method what the channels of one periodic image are.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from lsdeblur import _fft
from lsdeblur._methods import Method, Problem, Solution, check_options
from lsdeblur._stage import Plan, Stage
from lsdeblur._stores import Journal, Source, check_out, checksum, described, journal_of
from lsdeblur._validate import check_size
from lsdeblur._version import __version__
from lsdeblur.direct import make_plan
from lsdeblur.errors import LsdeblurWarning, ParameterChoiceError
from lsdeblur.noise import estimate_noise_std, hann
from lsdeblur.selection import NEED_NOISE
from lsdeblur.tiling import Progress, Tile, run, tiles, window_shape

__all__ = ["DIRECT", "Tiling", "choose_halo", "restore_tiled", "sampled", "tile_size", "too_large"]

Array = npt.NDArray[Any]
logger = logging.getLogger("lsdeblur")

#: methods with a plan, and their options that `plan` takes
DIRECT: dict[str, tuple[str, ...]] = {
    "inverse": ("threshold",),
    "wiener": ("nsr", "noise_power", "signal_power"),
    "tikhonov": ("lam", "penalty", "tau", "noise_width", "noise_floor"),
}
_WHOLE = 1 << 25  # pixels up to which "auto" restores an image as a whole: 5800 x 5800, some 1.3 GB in float32
_CORE = 1 << 22  # pixels of a tile's core: 2048 x 2048
_PROBE = 1 << 20  # pixels of the grid on which the gain's response is looked at: 1024 x 1024
_TAIL = 1e-3  # of the response's energy that may lie beyond the halo along an axis: see `choose_halo`
_SAMPLE = 1 << 23  # pixels from which lambda is chosen: 32 windows of 512 x 512


@dataclass(frozen=True, slots=True, eq=False)
class Tiling:
    """What stays the same over the tiles of a restoration but for its strength: PSFs (1 or channels, ...) and geometry.

    `method` is a name in `DIRECT`; `tile` the shape of the cores.
    """

    psf: Array
    shape: tuple[int, ...]
    method: str
    spacing: tuple[float, ...]
    tile: tuple[int, ...]
    tol: float = 3e-5
    max_iter: int = 50

    def plans(self, halo: Sequence[int], options: dict[str, Any]) -> list[Plan]:
        """One plan for each PSF, of single-threaded transforms."""
        window = window_shape(self.shape, self.tile, halo)
        return [make_plan(self._stage(h, window, "free"), self.method, **options) for h in self.psf]

    def halo(self, options: dict[str, Any]) -> tuple[int, ...]:
        """The halo that these options need, for the PSF that needs most."""
        edge = round(_PROBE ** (1 / len(self.shape)))
        probe = [_fft.good_size(max(edge, 2 * s)) for s in self.psf.shape[1:]]
        gains = [make_plan(self._stage(h, probe, "periodic"), self.method, **options) for h in self.psf]
        return tuple(int(h) for h in np.max([choose_halo(gain) for gain in gains], axis=0))

    def _stage(self, h: Array, shape: Sequence[int], boundary: str) -> Stage:
        return Stage.make(h, shape, boundary, self.spacing, workers=1, tol=self.tol, max_iter=self.max_iter)


def choose_halo(plan: Plan, tail: float = _TAIL) -> tuple[int, ...]:
    """Pixels per axis around a tile beyond which no more than `tail` of the energy of the gain's response lies.

    Measured on photographs with motion, shake, defocus and Gaussian blurs, what is lost by tiles with such a halo is
    below 0.05 dB. A response that reaches across the whole grid of `plan` is cut at half of it, with a warning.
    """
    grid = plan.stage.grid
    response = np.square(_fft.irfftn(plan.gain.copy(), grid, plan.stage.workers), dtype=np.float64)
    axes = set(range(len(grid)))
    halo = []
    for axis, n in enumerate(grid):
        along = response.sum(axis=tuple(axes - {axis}))
        distance = np.minimum(np.arange(n), n - np.arange(n))
        within = np.cumsum(np.bincount(distance, along)) / along.sum()
        halo.append(int(np.argmax(within >= 1 - tail)))
        if halo[-1] >= 0.45 * n:
            warnings.warn(
                f"the restored pixels depend on others {halo[-1]} pixels away and more along axis {axis}: the blur "
                "is too large, or the regularisation too weak, for tiles of this memory; seams may show. Give a "
                "larger halo=, or tile=None",
                LsdeblurWarning,
                stacklevel=2,
            )
    return tuple(halo)


def too_large(shape: Sequence[int]) -> bool:
    """Whether "auto" divides an image of this spatial shape into tiles."""
    return math.prod(shape) > _WHOLE


def tile_size(tile: Any, shape: Sequence[int], chunks: Sequence[int] | None = None) -> tuple[int, ...]:
    """Shape of the cores: as given, or some 4 million pixels, whole chunks of the store that is written."""
    ndim = len(shape)
    if not isinstance(tile, str):
        sizes = check_size(tile, ndim, "tile")
        if chunks and any(t % c and t < n for t, c, n in zip(sizes, chunks, shape, strict=True)):
            raise ValueError(
                f"tile {sizes} is no multiple of out's chunks {tuple(chunks)}: two tiles would write one chunk; "
                "choose a multiple, or tile='auto'"
            )
        return sizes
    if tile != "auto":
        raise ValueError(f"tile must be 'auto', None, a whole number or one per axis, not {tile!r}")
    edge = round(_CORE ** (1 / ndim))
    return tuple(max(1, edge // c) * c for c in chunks or (1,) * ndim)


def sampled(problem: Problem, method: Method, options: dict[str, Any], read: Callable[[Any], Array]) -> Solution:
    """What `method` finds in windows spread over an image: strength, noise and how they were chosen.

    The pooled spectra of windowed parts are Welch's estimate of the image's own: a method that is handed the parts as
    channels of one periodic image chooses lambda from them.
    Source: Welch (1967), IEEE Trans. Audio Electroacoust. 15, 70-73, doi:10.1109/TAU.1967.1161901.

    `problem` has all but the image (its `image` has the spatial shape only); ``read(window)`` gives a part.
    """
    shape, psf = problem.shape, problem.psf
    edge = round((1 << 18) ** (1 / len(shape)))
    size = tuple(min(n, _fft.good_size(max(edge, 4 * s))) for n, s in zip(shape, psf.shape[1:], strict=True))
    windows = tiles(shape, size)
    most = max(1, _SAMPLE // (math.prod(size) * len(problem.image)))
    chosen = [windows[i * len(windows) // most] for i in range(most)] if len(windows) > most else windows
    parts = [read(t.window) for t in chosen]
    stack = np.stack(parts, axis=1)  # (channels, windows, *size)
    if options.get("lam", "auto") == "auto" and options.get("noise_width", "auto") == "auto" and "nsr" not in options:
        options = options | _colour(replace(problem, image=parts[len(parts) // 2]), method, options)
    flat = stack.reshape(-1, *size)
    rule = options.get("lam", options.get("nsr"))
    if rule in NEED_NOISE and options.get("noise_std") is None:
        options = options | {"noise_std": _noise_level(flat, psf)}
    window = hann(size, flat.dtype)
    energy = np.mean(np.square(window, dtype=np.float64)) ** 0.5
    for part in flat:
        part -= np.sum(part * window, dtype=np.float64) / np.sum(window, dtype=np.float64)
        part *= window / flat.dtype.type(energy)
    kernels = psf if len(psf) == 1 else np.repeat(psf, stack.shape[1], axis=0)
    return method(replace(problem, image=flat, psf=kernels, boundary="periodic"), **options)


def _colour(problem: Problem, method: Method, options: dict[str, Any]) -> dict[str, Any]:
    """The noise's colour from one part of the image, as options of Tikhonov's method; other methods have none."""
    if method.__name__ != "tikhonov":
        return {}
    kept = {name: options[name] for name in ("penalty", "tau", "noise_floor") if name in options}
    found = method(problem, **kept)
    return {"noise_width": found.noise_width, "noise_floor": found.noise_floor}


def _noise_level(parts: Array, psf: Array) -> float:
    try:
        return estimate_noise_std(parts, psf[0], channel_axis=0)
    except ParameterChoiceError:
        return estimate_noise_std(parts, channel_axis=0)


def restore_tiled(
    source: Source, psf: Array, name: str, method: Method, spacing: tuple[float, ...], *, tile: Any, halo: Any,
    out: Any, workers: int | None, callback: Callable[[Progress], object] | None, options: dict[str, Any],
) -> Solution:  # fmt: skip
    """Tile by tile; the solution's image has its axes as the caller's."""
    if options.get("effort", "fast") != "fast":
        raise ValueError("effort='accurate' solves the whole image at several lambdas: leave out tile= and out=")
    check_options(method, options, f"method {name!r}")
    shape, journal = source.shape, None
    if out is not None:
        check_out(out, source.array.shape, source.dtype)
        journal = journal_of(out)
    chunks = None if out is None else getattr(out, "shards", None) or getattr(out, "chunks", None)
    size = tile_size(tile, shape, source.spatial(chunks) if chunks else None)
    fixed = {key: options[key] for key in ("tol", "max_iter") if key in options}
    tiling = Tiling(psf, shape, name, spacing, tuple(map(min, size, shape)), **fixed)
    found, halos, done = _begun(journal, source, tiling, method, options, halo, workers)
    parts = tiles(shape, tiling.tile, halos)
    if out is None:
        out = np.full(source.array.shape, np.nan, source.dtype)  # what is left where the callback ends it
    work = _Work(source, out, tiling.plans(halos, _gain_options(name, options, found)), parts, journal)
    todo = [i for i in range(len(parts)) if i not in done]
    logger.debug("%d tiles of %s, halo %s, %d done before", len(parts), tiling.tile, halos, len(done))
    whole = run(work, todo, workers=workers, callback=callback, done=len(done), total=len(parts))
    resumed = f"; {len(done)} of them were there" if done else ""
    ended = "" if whole else "; ended by the callback before all were done"
    message = f"{found.message}; {len(parts)} tiles of {tiling.tile} with a halo of {halos}{resumed}{ended}"
    return replace(found, image=out, n_iter=len(parts), converged=whole, message=message)


@dataclass(frozen=True, slots=True, eq=False)
class _Work:
    """Restores one tile by its number and writes its core."""

    source: Source
    out: Any
    plans: list[Plan]
    parts: list[Tile]
    journal: Journal | None

    def __call__(self, i: int) -> None:
        part = self.parts[i]
        core = restored_core(self.source.read(part.window), self.plans, part)
        self.out[self.source.index(part.core)] = self.source.layout(core)
        if self.journal is not None:
            self.journal.mark(i)


def restored_core(window: Array, plans: Sequence[Plan], part: Tile) -> Array:
    """The core (channels, ...) of a tile from the pixels of its window (channels, ...)."""
    return np.stack([plans[c % len(plans)](g)[part.inner] for c, g in enumerate(window)])


def _begun(
    journal: Journal | None, source: Source, tiling: Tiling, method: Method, options: dict[str, Any], halo: Any,
    workers: int | None,
) -> tuple[Solution, tuple[int, ...], set[int]]:  # fmt: skip
    """Strength, halo and the tiles that are written: chosen now, or as the store remembers them."""
    if journal is None:
        return *_decided(source, tiling, method, options, halo, workers), set()
    call = _call(source, tiling, options, halo)
    record, done = journal.read()
    none = np.empty(0, source.dtype)
    if record is not None:
        changed = sorted(key for key in call if record["call"].get(key) != call[key])
        if changed:
            raise ValueError(
                f"out holds tiles of another restoration, which differs in {', '.join(changed)}: "
                "use the arguments of then, or a new out"
            )
        found = record["found"]
        return Solution(none, **found["solution"]), tuple(found["halo"]), done
    solution, halos = _decided(source, tiling, method, options, halo, workers)
    names = ("lam", "noise_std", "noise_width", "noise_floor", "message")
    kept = {name: getattr(solution, name) for name in names}
    journal.start({"call": call, "found": {"solution": kept, "halo": list(halos)}})
    return solution, halos, set()


def _decided(
    source: Source, tiling: Tiling, method: Method, options: dict[str, Any], halo: Any, workers: int | None
) -> tuple[Solution, tuple[int, ...]]:
    strength = {"tikhonov": "lam", "wiener": "nsr"}.get(tiling.method)
    blank = np.broadcast_to(np.zeros((), source.dtype), (source.channels, *source.shape))
    problem = Problem(blank, tiling.psf, "free", tiling.spacing, workers)
    given = strength is None or not isinstance(options.get(strength, "auto"), str) or "noise_power" in options
    if given:
        lam = None if strength is None or strength not in options else float(options[strength])
        colour = {key: options[key] for key in ("noise_width", "noise_floor") if key in options}
        if isinstance(colour.get("noise_width"), str):
            del colour["noise_width"]
        solution = Solution(blank, lam=lam, noise_std=options.get("noise_std"), message="strength was given", **colour)
    else:
        solution = sampled(problem, method, options, source.read)
    if isinstance(halo, str) and halo == "auto":
        return solution, tiling.halo(_gain_options(tiling.method, options, solution))
    return solution, tuple(h - 1 for h in check_size(np.add(halo, 1), len(tiling.shape), "halo + 1"))


def _gain_options(name: str, options: dict[str, Any], found: Solution) -> dict[str, Any]:
    """The options of the method's plan with the strength that was found."""
    kept = {key: options[key] for key in DIRECT[name] if key in options}
    if name == "tikhonov":
        kept |= {"lam": found.lam, "noise_width": found.noise_width, "noise_floor": found.noise_floor}
    elif name == "wiener" and found.lam is not None:
        kept["nsr"] = found.lam
    return kept


def _call(source: Source, tiling: Tiling, options: dict[str, Any], halo: Any) -> dict[str, Any]:
    """What decides about every pixel of the result, as JSON; of the image its first, middle and last tile."""
    parts = tiles(tiling.shape, tuple(min(512, t) for t in tiling.tile))
    looked = [source.read(parts[i].core) for i in (0, len(parts) // 2, -1)]
    return {
        "version": __version__,
        "image": [list(source.array.shape), str(source.array.dtype), source.channel_axis, checksum(looked)],
        "psf": described(tiling.psf),
        "method": tiling.method,
        "options": described(options),
        "spacing": described(tiling.spacing),
        "tile": list(tiling.tile),
        "halo": described(halo),
        "fft_backend": _fft.chosen_backend(),
    }
