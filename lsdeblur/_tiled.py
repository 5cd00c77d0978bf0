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
from lsdeblur._gains import make_plan
from lsdeblur._methods import Method, Problem, Progress, Solution, check_options
from lsdeblur._stage import Plan, Stage
from lsdeblur._stores import Journal, Source, check_out, checksum, described, journal_of
from lsdeblur._validate import check_choice, check_size
from lsdeblur._version import __version__
from lsdeblur.errors import LsdeblurWarning, ParameterChoiceError
from lsdeblur.noise import estimate_noise_std, hann
from lsdeblur.selection import NEED_NOISE
from lsdeblur.tiling import Tile, run, tiles, window_shape

__all__ = [
    "DIRECT",
    "Tiling",
    "check_halo",
    "choose_halo",
    "found_from",
    "gain_options",
    "given_strength",
    "restore_tiled",
    "restored_core",
    "sample_windows",
    "tile_size",
    "too_large",
    "widest_halo",
]

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
_LOST = 1.25e-3  # mean part of the response's energy that tiles may cut off: see `choose_halo`
_SEAM = 1e-2  # and at a seam
_WINDOW = 1 << 18  # of one of the windows that lambda is chosen from: 512 x 512
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
        return tuple(int(h) for h in np.max([choose_halo(gain, self.tile) for gain in gains], axis=0))

    def _stage(self, h: Array, shape: Sequence[int], boundary: str) -> Stage:
        return Stage.make(h, shape, boundary, self.spacing, workers=1, tol=self.tol, max_iter=self.max_iter)


def choose_halo(plan: Plan, tile: Sequence[int]) -> tuple[int, ...]:
    """Pixels per axis to solve around tiles of shape `tile`, from the response of a gain on a periodic grid.

    A pixel d pixels away from a cut is wrong by what it takes from beyond, ``T(d)``, the part of the response's energy
    farther than d along the axis. With halo h the mean over a tile of n pixels is about ``sum_{d >= h} T(d) / n``.
    Measured with photographs and blurs by motion, shake, defocus and a Gaussian (PSNR 27 to 36 dB), the loss is 1 to 40
    times that in decibels, less for the blurs that reach far. So h is the least with a mean of 0.00125, which loses
    0.05 dB at the most, with ``T(h) <= 0.01``, so that seams do not show; and a quarter of the grid for the blurs that
    never reach that, where a mean above 0.0125 warns.
    """
    grid = plan.stage.grid
    response = np.square(_fft.irfftn(plan.gain.copy(), grid, plan.stage.workers), dtype=np.float64)
    halo = []
    for axis, (n, core) in enumerate(zip(grid, tile, strict=True)):
        along = response.sum(axis=tuple(set(range(len(grid))) - {axis}))
        at = np.bincount(np.minimum(np.arange(n), n - np.arange(n)), along) / along.sum()
        beyond = np.cumsum(at[::-1])[::-1] - at
        lost = np.cumsum(beyond[::-1])[::-1] / core
        halo.append(min(int(np.argmax((lost <= _LOST) & (beyond <= _SEAM))), n // 4))
        if lost[halo[-1]] > 10 * _LOST:
            warnings.warn(
                f"restored pixels depend on others more than {halo[-1]} pixels away along axis {axis}, the halo that "
                f"memory allows for tiles of {core}: the blur is too large, or the regularisation too weak; seams may "
                "show. Give a larger tile= or halo=, or tile=None",
                LsdeblurWarning,
                stacklevel=2,
            )
    return tuple(halo)


def widest_halo(ndim: int) -> int:
    """The largest halo that "auto" takes with small PSFs."""
    return round(_PROBE ** (1 / ndim)) // 4


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


def sample_windows(source: Source, psf: Array) -> list[tuple[slice, ...]]:
    """Windows of one size, spread evenly over an image, from which its lambda is chosen; a small one's cover it."""
    shape = source.shape
    edge = round(_WINDOW ** (1 / len(shape)))
    size = tuple(min(n, _fft.good_size(max(edge, 4 * s))) for n, s in zip(shape, psf.shape[1:], strict=True))
    parts = tiles(shape, size)
    most = max(1, _SAMPLE // (math.prod(size) * source.channels))
    chosen = [parts[i * len(parts) // most] for i in range(most)] if len(parts) > most else parts
    return [part.window for part in chosen]


def found_from(parts: Sequence[Array], tiling: Tiling, method: Method, options: dict[str, Any]) -> Solution:
    """What `method` finds in windows (channels, *size) of an image: strength, noise and how they were chosen.

    The pooled spectra of windowed parts are Welch's estimate of the image's own: a method that is handed the parts as
    channels of one periodic image chooses lambda from them.
    Source: Welch (1967), IEEE Trans. Audio Electroacoust. 15, 70-73, doi:10.1109/TAU.1967.1161901.
    """
    psf, size = tiling.psf, parts[0].shape[1:]
    if tiling.method == "tikhonov" and {options.get(key, "auto") for key in ("lam", "noise_width")} == {"auto"}:
        kept = {name: options[name] for name in ("penalty", "tau", "noise_floor") if name in options}
        middle = method(Problem(parts[len(parts) // 2], psf, "free", tiling.spacing, 1), **kept)
        options = options | {"noise_width": middle.noise_width, "noise_floor": middle.noise_floor}
    flat = np.stack(parts, axis=1).reshape(-1, *size)  # (channels windows, *size)
    if options.get("lam", options.get("nsr")) in NEED_NOISE and options.get("noise_std") is None:
        options = options | {"noise_std": _noise_level(flat, psf)}
    window = hann(size, flat.dtype)
    scale = flat.dtype.type(np.mean(np.square(window, dtype=np.float64)) ** 0.5)
    for part in flat:
        part -= np.sum(part * window, dtype=np.float64) / np.sum(window, dtype=np.float64)
        part *= window / scale
    kernels = psf if len(psf) == 1 else np.repeat(psf, len(parts), axis=0)
    return method(Problem(flat, kernels, "periodic", tiling.spacing, None), **options)


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
    if "exact" in options:
        raise ValueError("exact= is for PSFs that vary over the frame: with one PSF, tile=None solves it exactly")
    check_options(method, options, f"method {name!r}")
    shape, journal = source.shape, None
    if out is not None:
        check_out(out, source.array.shape, source.dtype)
        journal = journal_of(out)
    chunks = None if out is None else getattr(out, "shards", None) or getattr(out, "chunks", None)
    size = tile_size(tile, shape, source.spatial(chunks) if chunks else None)
    fixed = {key: options[key] for key in ("tol", "max_iter") if key in options}
    tiling = Tiling(psf, shape, name, spacing, tuple(map(min, size, shape)), **fixed)
    found, halos, done = _begun(journal, source, tiling, method, options, halo)
    parts = tiles(shape, tiling.tile, halos)
    if out is None:
        out = np.full(source.array.shape, np.nan, source.dtype)  # what is left where the callback ends it
    work = _Work(source, out, tiling.plans(halos, gain_options(name, options, found)), parts, journal)
    todo = [i for i in range(len(parts)) if i not in done]
    logger.debug("%d tiles of %s, halo %s, %d done before", len(parts), tiling.tile, halos, len(done))
    whole = run(work, todo, workers=workers, callback=callback, done=len(done), total=len(parts))
    resumed = f"; {len(done)} of them were there" if done else ""
    ended = "" if whole else "; ended by the callback before all were done"
    message = f"{found.message}; {len(parts)} tiles of {tiling.tile} with a halo of {halos}{resumed}{ended}"
    return replace(found, image=out, sensitivity=None, n_iter=len(parts), converged=whole, message=message)


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
    journal: Journal | None, source: Source, tiling: Tiling, method: Method, options: dict[str, Any], halo: Any
) -> tuple[Solution, tuple[int, ...], set[int]]:  # fmt: skip
    """Strength, halo and the tiles that are written: chosen now, or as the store remembers them."""
    if journal is None:
        return *_decided(source, tiling, method, options, halo), set()
    if _fft.chosen_backend() == "fftw-measured":
        raise ValueError(
            "out= can be gone on with bit for bit, but plans that FFTW measures differ from run to run: use "
            "fft_backend('fftw') without measure=True"
        )
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
    solution, halos = _decided(source, tiling, method, options, halo)
    names = ("lam", "noise_std", "noise_width", "noise_floor", "message")
    kept = {name: getattr(solution, name) for name in names}
    journal.start({"call": call, "found": {"solution": kept, "halo": list(halos)}})
    return solution, halos, set()


def _decided(
    source: Source, tiling: Tiling, method: Method, options: dict[str, Any], halo: Any
) -> tuple[Solution, tuple[int, ...]]:
    solution = given_strength(tiling.method, options)
    if solution is None:
        parts = [source.read(window) for window in sample_windows(source, tiling.psf)]
        solution = found_from(parts, tiling, method, options)
    if isinstance(halo, str) and halo == "auto":
        return solution, tiling.halo(gain_options(tiling.method, options, solution))
    return solution, check_halo(halo, len(tiling.shape))


def check_halo(halo: Any, ndim: int) -> tuple[int, ...]:
    """A whole number >= 0 for each axis."""
    try:
        return tuple(n - 1 for n in check_size(np.add(halo, 1), ndim, "halo"))
    except (TypeError, ValueError):
        raise ValueError(f"halo must be 'auto' or {ndim} whole numbers of at least 0, not {halo!r}") from None


def given_strength(name: str, options: dict[str, Any]) -> Solution | None:
    """What the options say of strength and noise; None where the strength is to be chosen."""
    check_choice(options.get("effort", "fast"), ("fast", "accurate"), "effort")
    strength = {"tikhonov": "lam", "wiener": "nsr"}.get(name)
    if strength and isinstance(options.get(strength, "auto"), str) and options.get("noise_power") is None:
        return None
    kept = {key: options[key] for key in ("noise_width", "noise_floor", "noise_std") if key in options}
    if isinstance(kept.get("noise_width"), str):
        del kept["noise_width"]
    lam = float(options[strength]) if strength in options else None
    return Solution(np.empty(0), lam=lam, message=f"{strength or 'threshold'} was given", **kept)


def gain_options(name: str, options: dict[str, Any], found: Solution) -> dict[str, Any]:
    """The options of the method's plan with the strength that was found."""
    kept = {key: options[key] for key in DIRECT[name] if key in options}
    if name == "tikhonov":
        kept |= {"lam": found.lam, "noise_width": found.noise_width, "noise_floor": found.noise_floor}
    elif name == "wiener" and found.lam is not None:
        kept["nsr"] = found.lam
    return kept


def _call(source: Source, tiling: Tiling, options: dict[str, Any], halo: Any) -> dict[str, Any]:
    """What decides about every pixel of the result, as JSON; of the image its first, middle and last tile."""
    parts = tiles(tiling.shape, tuple(min(512, n) for n in tiling.shape))
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
