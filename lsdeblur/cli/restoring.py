"""``lsdeblur restore``: files, folders, patterns and films, one after the other."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np

from lsdeblur import _restore, io
from lsdeblur._files import check_target, replacing
from lsdeblur._methods import METHODS, named
from lsdeblur._results import Restoration
from lsdeblur.boundary import BOUNDARIES
from lsdeblur.cli import arguments
from lsdeblur.cli.console import interactive, print_json, print_table, progress, reason, told

__all__ = ["Job", "Settings", "finite", "restore"]

_REPORT = "lsdeblur.report:write"
_METHODS_HELP = f"One of {', '.join(METHODS)}.  [default: tikhonov; wavelet after --psf blind]"


@dataclass(frozen=True, slots=True)
class Job:
    """One file to restore, what is written for it, and why that makes no sense, if it does not."""

    source: Path
    output: Path
    report: Path | None = None
    archive: Path | None = None
    problem: str = ""

    @property
    def is_film(self) -> bool:
        """Whether it goes frame by frame."""
        return self.source.name.lower().endswith(io.FILMS)

    @property
    def targets(self) -> list[Path]:
        """Every file that it writes."""
        return [path for path in (self.output, self.report, self.archive) if path is not None]


@dataclass(frozen=True, slots=True)
class Settings:
    """What holds for all files."""

    psf: Callable[[Any], Any]
    method: str
    options: dict[str, Any]
    mask: Any
    linear: bool
    as_float: bool
    page: str | None
    channel_axis: int | None
    workers: int | None
    force: bool


@click.command(epilog="\b\nlsdeblur restore photo.jpg --psf motion:length=15,angle=30 --linear")
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@arguments.psf_option
@click.option("-o", "--output", type=click.Path(), help="File, or folder.  [default: NAME_restored beside]")
@click.option("--method", type=click.Choice(list(METHODS)), metavar="METHOD", help=_METHODS_HELP)
@click.option("--lam", metavar="LAMBDA", help="Regularisation strength, or the rule that chooses it.  [default: auto]")
@click.option("--boundary", type=click.Choice(sorted(BOUNDARIES)), help="What lies beyond the frame.  [default: free]")
@arguments.pairs_option
@click.option("--linear", is_flag=True, help="Restore light: undo the sRGB curve before, and apply it again after.")
@click.option("--mask", type=click.Path(exists=True, path_type=Path), help="Image, not black where pixels are unknown.")
@click.option("--float", "as_float", is_flag=True, help="Write float32, not the type of the input; a PNG becomes TIFF.")
@arguments.page_option
@arguments.channel_option
@click.option("--report", type=click.Path(), help="HTML page of each restoration; a folder for several.")
@click.option("--save-result", "archive", type=click.Path(), help="Restoration as .npz; likewise.")
@click.option("--workers", type=click.IntRange(1), help="Threads.  [default: all processors]")
@arguments.force
@click.option("--dry-run", is_flag=True, help="Say what would be read and written, and do nothing.")
@arguments.json_option
def restore(
    inputs: tuple[str, ...], spec: str, output: str | None, method: str | None, lam: str | None,
    boundary: str | None, pairs: tuple[str, ...], mask: Path | None, report: str | None, archive: str | None,
    dry_run: bool, as_json: bool, **rest: Any,
) -> None:  # fmt: skip
    """Restore images: files, folders, 'patterns*.tif' and films.

    The result is written beside the input as NAME_restored with the same suffix, type and metadata; that of a JPEG as
    PNG, that of a film as AVI. Values are rounded and clipped to the type, never rescaled. From folders and patterns,
    files named *_restored are left out. Values that are NaN are restored like masked ones.
    """
    given = arguments.values(pairs)
    for key, value in {"lam": lam, "boundary": boundary}.items():
        if value is not None and key in given:
            raise click.UsageError(f"{key} is given by --{key} and by --option: give it once")
        given |= {} if value is None else arguments.values([f"{key}={value}"])
    with told("--psf"):
        psf = arguments.psf_from(spec)
    jobs = _jobs(arguments.sources(inputs), output, report, archive, rest["as_float"])
    films = any(job.is_film for job in jobs)
    name, options = arguments.asked_method(method, spec == "blind", given, films=films)
    barred = {"mask": mask, "report": report, "save-result": archive, "page": rest["page"]}
    barred |= {"channel-axis": rest["channel_axis"], "linear": rest["linear"] or None}
    barred |= {"float": rest["as_float"] or None}
    jobs = _checked(jobs, name, [f"--{key}" for key, value in barred.items() if value is not None])
    settings = Settings(psf=psf, method=name, options=options, mask=_mask_of(mask), **rest)
    records: list[dict[str, Any]] = []
    if not dry_run:
        _make_folders(jobs)
    try:
        with progress(len(jobs), quiet=dry_run or (as_json and interactive())) as begin:
            for job in jobs:
                callback = begin(job.source.name)
                records.append(_planned(job, settings.force) if dry_run else _attempt(job, settings, callback))
                if as_json:
                    print_json(records[-1])
    finally:  # an interrupt comes after the files that are finished
        if not as_json:
            _print(records)
    failed = [record for record in records if record["status"] == "failed"]
    if failed:
        click.echo(f"{len(failed)} of {len(records)} failed:", err=True)
        for record in failed:
            click.echo(f"  {record['input']}: {record['error']}", err=True)
        click.get_current_context().exit(1)


def _jobs(files: list[Path], output: str | None, report: str | None, archive: str | None, as_float: bool) -> list[Job]:
    """What is written where."""
    several = len(files) > 1
    return [
        Job(
            path,
            _beside(path, output, several, as_float),
            _target(path, report, ".html", several, "--report"),
            _target(path, archive, ".npz", several, "--save-result"),
        )
        for path in files
    ]


def _checked(jobs: list[Job], method: str, barred: list[str]) -> list[Job]:
    """The jobs with their problems. Where all have one, the command makes no sense, and nothing is begun."""
    counts = Counter(target for job in jobs for target in job.targets)
    checked = [replace(job, problem=_problem(job, counts, method, barred)) for job in jobs]
    if all(job.problem for job in checked):
        raise click.UsageError(checked[0].problem)
    return checked


def _problem(job: Job, counts: Counter[Path], method: str, barred: list[str]) -> str:
    for path in job.targets:
        if counts[path] > 1:
            return f"{counts[path]} results would be written to {str(path)!r}: restore them one by one, with --output"
    if job.is_film and method != "tikhonov":
        return f"films are restored by --method tikhonov with a given PSF, not by {method!r}"
    if job.is_film and barred:
        return f"{', '.join(barred)}: not there for films, which are restored frame by frame"
    return ""


def _beside(path: Path, option: str | None, several: bool, as_float: bool) -> Path:
    """The file that an image is written to, in its own format if that can be written and hold the values."""
    stem, suffix = _parted(path)
    if suffix.lower() in io.FILMS:
        suffix = ".avi"
    elif suffix.lower() in (".jpg", ".jpeg", ".png"):
        suffix = ".tif" if as_float else ".png"
    if option is None:
        return path.with_name(f"{stem}{arguments.RESTORED}{suffix}")
    output = Path(option)
    if _is_folder(option):
        return output / f"{stem}{arguments.RESTORED}{suffix}"
    if not several and output.suffix:
        return output
    if output.suffix.lower() in (*io.FORMATS, *io.FILMS):
        raise click.UsageError(f"--output {option!r} is one file for several images: give a folder")
    return output / f"{stem}{arguments.RESTORED}{suffix}"


def _target(path: Path, option: str | None, suffix: str, several: bool, name: str) -> Path | None:
    """The file of a report or an archive."""
    if option is None:
        return None
    folder, target = _is_folder(option), Path(option)
    if not (several or folder or not target.suffix):
        return target
    if target.suffix and not folder:
        raise click.UsageError(f"{name} {option!r} is one file for several images: give a folder")
    return target / f"{_parted(path)[0]}{suffix}"


def _is_folder(option: str) -> bool:
    """Whether a target is a folder: it is there as one, or is written as one; an array in a .zarr is no such folder."""
    path = Path(option)
    return path.suffix.lower() != ".zarr" and (path.is_dir() or option.endswith(("/", os.sep)))


def _parted(path: Path) -> tuple[str, str]:
    """Stem and suffix; that of a compressed file has two parts."""
    suffix = ".fits.gz" if path.name.lower().endswith(".fits.gz") else path.suffix
    return path.name[: len(path.name) - len(suffix)], suffix


def _mask_of(path: Path | None) -> Any:
    """True where the picture is not black."""
    if path is None:
        return None
    picture = io.read(path)
    hidden = np.asarray(picture.image[...]) != 0
    return hidden if picture.channel_axis is None else hidden.any(axis=picture.channel_axis)


def _planned(job: Job, force: bool) -> dict[str, Any]:
    """What is to be done, or why it cannot be, as far as names tell."""
    record = {"input": str(job.source), "output": str(job.output), "writes": [str(path) for path in job.targets]}
    try:
        problem = job.problem or _obstacle(job, force)
    except (ValueError, OSError) as error:
        problem = str(error)
    return record | ({"status": "failed", "error": problem} if problem else {"status": "planned"})


def _obstacle(job: Job, force: bool) -> str:
    if there := [str(path) for path in job.targets if path.exists() and not force]:
        return f"{', '.join(there)}: there already; --force replaces it"
    if job.is_film and not job.output.name.lower().endswith(io.FILMS):
        return f"{str(job.output)!r} is no film: give --output one of the suffixes {', '.join(io.FILMS)}"
    if not job.is_film:
        io.format_of(job.output, written=True)
    for path in job.targets:
        if path.exists():  # a folder may not be replaced
            check_target(path, overwrite=True)
    return ""


def _make_folders(jobs: list[Job]) -> None:
    for folder in {path.parent for job in jobs if not job.problem for path in job.targets}:
        folder.mkdir(parents=True, exist_ok=True)


def _attempt(job: Job, settings: Settings, callback: Callable[[Any], None]) -> dict[str, Any]:
    """Restore one file. Whatever goes wrong is its own failure: the others go on."""
    record = _planned(job, settings.force)
    start = time.perf_counter()
    with told(job.source.name) as warned:
        try:
            if record["status"] == "planned":
                found = _film(job, settings) if job.is_film else _image(job, settings, callback)
                record |= {"status": "restored", **found}
        except Exception as error:
            record |= {"status": "failed", "error": reason(error)}
    return record | {"seconds": round(time.perf_counter() - start, 3), "warnings": warned}


def _image(job: Job, settings: Settings, callback: Callable[[Any], None]) -> dict[str, Any]:
    picture = io.read(job.source, page=settings.page, channel_axis=settings.channel_axis)
    if job.output.exists() and isinstance(picture.image, np.memmap):
        picture = replace(picture, image=np.array(picture.image))  # Windows replaces no file that is mapped
    h = settings.psf(picture.shape)
    stacked = len(picture.shape) == 3 and (h is None or h.ndim == 2)
    if stacked and (job.report or job.archive):
        raise ValueError("--report and --save-result are for one image, not for a stack: choose a page with --page")
    results = _restored(picture, h, stacked, settings, callback)
    image = np.stack([r.image for r in results], axis=_plane_axis(picture)) if stacked else results[0].image
    if settings.linear:
        image = io.encoded(image, picture.white)
    dtype = np.float32 if settings.as_float else None
    io.write(job.output, image, like=picture, dtype=dtype, overwrite=settings.force)
    try:
        _keep(job, results[0], settings.force)
    except Exception as error:
        raise RuntimeError(f"{str(job.output)!r} is written, but no report or archive: {error}") from error
    fields = ("lam", "noise_std", "noise_width", "n_iter", "converged", "message")
    found = {key: _one([getattr(result, key) for result in results]) for key in fields}
    rules = [result.selection.criterion if result.selection else None for result in results]
    return {"method": settings.method, **found, "rule": _one(rules), "shape": list(image.shape)}


def _keep(job: Job, result: Restoration, force: bool) -> None:
    """The evidence beside the image."""
    if job.archive is not None:
        with replacing(job.archive, overwrite=force) as path:
            result.save(path)
    if job.report is not None:
        with replacing(job.report, overwrite=force) as path:
            named(_REPORT)(result, path, title=job.source.name)


def _restored(
    picture: io.Picture, h: Any, stacked: bool, settings: Settings, callback: Callable[[Any], None]
) -> list[Restoration]:
    """One restoration; of a stack one for each plane."""
    axis = picture.channel_axis
    image, mask = finite(picture.image[...], axis)
    if settings.mask is not None:
        if settings.mask.shape not in (picture.shape, picture.shape[1:] if stacked else picture.shape):
            raise ValueError(
                f"--mask has shape {settings.mask.shape} and the image {picture.shape}: give one of that shape, or for "
                "a stack one plane for all"
            )
        mask = settings.mask if mask is None else mask | settings.mask
    if settings.linear:
        image = io.linear(image, picture.white)
    call = {"method": settings.method, "workers": settings.workers, "callback": callback, **settings.options}
    if not stacked:
        return [_restore.restore(image, h, channel_axis=axis, mask=mask, **call)]
    first = _plane_axis(picture)
    planes = np.moveaxis(image, first, 0)
    masks = [None] * len(planes) if mask is None else mask if mask.ndim == 3 else [mask] * len(planes)
    if axis is not None:
        axis = axis % image.ndim - (axis % image.ndim > first)
    return [_restore.restore(a, h, channel_axis=axis, mask=m, **call) for a, m in zip(planes, masks, strict=True)]


def finite(image: Any, channel_axis: int | None) -> tuple[Any, Any]:
    """The image with zeros for what is NaN or infinite, and the mask of that; None where nothing is."""
    if image.dtype.kind != "f":
        return image, None
    unknown: Any = ~np.isfinite(image)
    if not unknown.any():
        return image, None
    mask = unknown if channel_axis is None else unknown.any(axis=channel_axis)
    return np.nan_to_num(image, nan=0.0, posinf=0.0, neginf=0.0), mask


def _plane_axis(picture: io.Picture) -> int:
    """The axis of the planes of a stack: the first that is not of channels."""
    axis = picture.channel_axis
    return 1 if axis is not None and axis % picture.image.ndim == 0 else 0


def _film(job: Job, settings: Settings) -> dict[str, Any]:
    from lsdeblur import video

    first = next(video.frames_of(job.source), np.empty((0, 0)))
    h = settings.psf(first.shape[:2])
    with replacing(job.output, overwrite=settings.force) as path:
        count = video.restore_video(job.source, path, h, workers=settings.workers, **settings.options)
    return {"method": settings.method, "lam": settings.options.get("lam"), "message": f"{count} frames"}


def _one(values: list[Any]) -> Any:
    return values[0] if len(values) == 1 else values


def _print(records: list[dict[str, Any]]) -> None:
    done = [record for record in records if record["status"] == "restored"]
    planned = [record for record in records if record["status"] == "planned"]
    if done:
        rows = [(r["input"], r["method"], r.get("lam"), r.get("noise_std"), r["seconds"], r["output"]) for r in done]
        print_table(("input", "method", "lambda", "noise", "seconds", "output"), rows)
    if planned:
        print_table(("would read", "would write"), [(r["input"], ", ".join(r["writes"])) for r in planned])
