"""``lsdeblur restore``: files, folders, patterns and films, one after the other."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
from click.core import ParameterSource

from lsdeblur import _restore, io
from lsdeblur._files import replacing
from lsdeblur._methods import METHODS, named
from lsdeblur._results import Restoration
from lsdeblur.boundary import BOUNDARIES
from lsdeblur.cli import arguments
from lsdeblur.cli.console import interactive, print_json, print_table, progress, reason, told
from lsdeblur.cli.jobs import Job, checked, jobs_of, make_folders, planned

__all__ = ["Settings", "finite", "restore"]

_REPORT = "lsdeblur.report:write"
#: options that say where, whether and how fast, not what is computed
_ASIDE = {"output", "report", "archive", "kernel", "force", "skip_existing", "dry_run", "as_json", "workers"}
_METHODS_HELP = f"One of {', '.join(METHODS)}.  [default: tikhonov; wavelet after --psf blind]"


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
    skip_existing: bool
    given: list[str]  # the options as they were written, for the report


@click.command(epilog="\b\nlsdeblur restore photo.jpg --psf motion:length=15,angle=30 --linear")
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@arguments.psf_option
@click.option("-o", "--output", type=click.Path(), help="File, or folder.  [default: NAME_restored beside]")
@click.option("--method", type=arguments.Named(list(METHODS)), metavar="METHOD", help=_METHODS_HELP)
@click.option("--lam", metavar="LAMBDA", help="Regularisation strength, or the rule that chooses it.  [default: auto]")
@click.option(
    "--boundary", type=arguments.Named(sorted(BOUNDARIES)), help="What lies beyond the frame.  [default: free]"
)
@arguments.pairs_option
@click.option("--linear", is_flag=True, help="Restore light: undo the sRGB curve before, and apply it again after.")
@click.option("--mask", type=click.Path(exists=True, path_type=Path), help="Image, not black where pixels are unknown.")
@click.option(
    "--float", "as_float", is_flag=True, help="Write float32, not the type of the input; beside a PNG or JPEG, as TIFF."
)
@arguments.page_option
@arguments.channel_option
@click.option("--report", type=click.Path(), help="HTML page of each restoration; a folder for several.")
@click.option("--save-result", "archive", type=click.Path(), help="Restoration as .npz; likewise.")
@click.option("--save-psf", "kernel", type=click.Path(), help="The PSF that --psf blind finds, as .tif; likewise.")
@click.option("--workers", type=click.IntRange(1), help="Threads.  [default: all processors]")
@arguments.force
@click.option("--skip-existing", is_flag=True, help="Leave out inputs whose results are there already.")
@click.option("--dry-run", is_flag=True, help="Say what would be read and written, by the names alone; do nothing.")
@arguments.json_option
def restore(
    inputs: tuple[str, ...], spec: str, output: str | None, method: str | None, lam: str | None,
    boundary: str | None, pairs: tuple[str, ...], mask: Path | None, report: str | None, archive: str | None,
    kernel: str | None, dry_run: bool, as_json: bool, **rest: Any,
) -> None:  # fmt: skip
    """Restore images: files, folders, 'patterns*.tif' and films.

    The result is written beside the input as NAME_restored with the same suffix, type and metadata; that of a JPEG as
    PNG, that of a film as AVI. Values are rounded and clipped to the type, never rescaled. From folders and patterns,
    files named *_restored or *_psf.tif are left out, and those of --psf and --mask. Values that are NaN are restored
    like masked ones.
    """
    if rest["force"] and rest["skip_existing"]:
        raise click.UsageError("--force replaces what is there, and --skip-existing leaves it: give one of them")
    given = arguments.values(pairs)
    for key, value in {"lam": lam, "boundary": boundary}.items():
        if value is not None and key in given:
            raise click.UsageError(f"{key} is given by --{key} and by --option: give it once")
        given |= {} if value is None else arguments.values([f"{key}={value}"])
    with told("--psf"):
        psf = arguments.psf_from(spec)
    files = arguments.sources(inputs, aside=(arguments.psf_file(spec), mask))
    jobs = jobs_of(files, output, report, archive, kernel, rest["as_float"])
    films = any(job.is_film for job in jobs)
    name, options = arguments.asked_method(method, spec == "blind", given, films=films)
    if kernel is not None and "blind" not in (spec, name):
        raise click.UsageError("--save-psf is for --psf blind: lsdeblur psf make writes a PSF that is known")
    barred = {"mask": mask, "report": report, "save-result": archive, "page": rest["page"]}
    barred |= {"channel-axis": rest["channel_axis"], "linear": rest["linear"] or None}
    barred |= {"float": rest["as_float"] or None}
    if isinstance(rule := options.get("lam"), str):
        barred[f"lam {rule}"] = rule
    jobs = checked(jobs, name, [f"--{key}" for key, value in barred.items() if value is not None])
    settings = Settings(psf=psf, method=name, options=options, mask=_mask_of(mask), given=_given(), **rest)
    records: list[dict[str, Any]] = []
    if not dry_run:
        make_folders(jobs)
    try:
        with progress(len(jobs), quiet=dry_run or (as_json and interactive())) as begin:
            for job in jobs:
                callback = begin(job.source.name)
                record = planned(job, settings.force, settings.skip_existing)
                records.append(record if dry_run else _attempt(job, record, settings, callback))
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


def _given() -> list[str]:
    """The options on the command line that say what is computed."""
    context = click.get_current_context()
    words: list[str] = []
    for option in context.command.params:
        name = str(option.name)
        asked = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if isinstance(option, click.Option) and asked and name not in _ASIDE:
            flag, value = max(option.opts, key=len), context.params[name]
            each = value if option.multiple else [value]
            words += [flag] if option.is_flag else [word for one in each for word in (flag, str(one))]
    return words


def _mask_of(path: Path | None) -> Any:
    """True where the picture is not black."""
    if path is None:
        return None
    picture = io.read(path)
    hidden = np.asarray(picture.image[...]) != 0
    return hidden if picture.channel_axis is None else hidden.any(axis=picture.channel_axis)


def _attempt(job: Job, record: dict[str, Any], settings: Settings, callback: Callable[[Any], None]) -> dict[str, Any]:
    """Restore one file, if its record says so. Whatever goes wrong is its own failure: the others go on."""
    start = time.perf_counter()
    with told(job.source.name) as warned:
        try:
            if record["status"] == "planned":
                found, result = _film(job, settings) if job.is_film else _image(job, settings, callback)
                record["seconds"] = round(time.perf_counter() - start, 3)
                if result is not None:
                    _keep(job, result, settings)
                record |= {"status": "restored", **found}
        except Exception as error:
            record |= {"status": "failed", "error": reason(error)}
    return {"seconds": round(time.perf_counter() - start, 3), **record, "warnings": warned}


def _image(job: Job, settings: Settings, callback: Callable[[Any], None]) -> tuple[dict[str, Any], Restoration]:
    """What is told of an image that is restored and written, and its evidence (of a stack, that of the first plane)."""
    picture = io.read(job.source, page=settings.page, channel_axis=settings.channel_axis)
    if job.output.exists() and isinstance(picture.image, np.memmap):
        picture = replace(picture, image=np.array(picture.image))  # Windows replaces no file that is mapped
    h = settings.psf(picture.shape)
    stacked = len(picture.shape) == 3 and (h is None or h.ndim == 2)
    if stacked and (job.report or job.archive or job.kernel):
        raise ValueError(
            "--report, --save-result and --save-psf are for one image, not for a stack: choose a page with --page"
        )
    results = _restored(picture, h, stacked, settings, callback)
    image = np.stack([r.image for r in results], axis=_plane_axis(picture)) if stacked else results[0].image
    if settings.linear:
        image = io.encoded(image, picture.white)
    dtype = np.float32 if settings.as_float else None
    io.write(job.output, image, like=picture, dtype=dtype, overwrite=settings.force)
    fields = ("lam", "noise_std", "noise_width", "n_iter", "converged", "message")
    found = {key: _one([getattr(result, key) for result in results]) for key in fields}
    rules = [result.selection.criterion if result.selection else None for result in results]
    found |= {"method": settings.method, "rule": _one(rules), "shape": list(image.shape)}
    if settings.method == "blind":
        found["then"] = settings.options["then"]
    if h is None or settings.method == "blind":
        found["psf_shape"] = _one([list(np.shape(result.psf)) for result in results])
        found["psf_message"] = _one([_of_psf(result) for result in results])
    return found, results[0]


def _keep(job: Job, result: Restoration, settings: Settings) -> None:
    """The evidence beside the image."""
    try:
        if job.kernel is not None:
            io.write(job.kernel, result.psf, overwrite=settings.force)
        if job.archive is not None:
            with replacing(job.archive, overwrite=settings.force) as path:
                result.save(path)
        if job.report is not None:
            command = shlex.join(["lsdeblur", "restore", str(job.source), *settings.given])
            with replacing(job.report, overwrite=settings.force) as path:
                named(_REPORT)(result, path, title=job.source.name, command=command)
    except Exception as error:
        raise RuntimeError(f"{str(job.output)!r} is written, but not all of the evidence: {error}") from error


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


def _film(job: Job, settings: Settings) -> tuple[dict[str, Any], None]:
    from lsdeblur import video

    first = next(video.frames_of(job.source), np.empty((0, 0)))
    h = settings.psf(first.shape[:2])
    with replacing(job.output, overwrite=settings.force) as path:
        count = video.restore_video(job.source, path, h, workers=settings.workers, **settings.options)
    return {"method": settings.method, "lam": settings.options.get("lam"), "message": f"{count} frames"}, None


def _one(values: list[Any]) -> Any:
    return values[0] if len(values) == 1 else values


def _print(records: list[dict[str, Any]]) -> None:
    done = [record for record in records if record["status"] == "restored"]
    planned = [record for record in records if record["status"] == "planned"]
    if done:
        rows = [(r["input"], _name(r), _lambda(r), r.get("noise_std"), r["seconds"], r["output"]) for r in done]
        print_table(("input", "method", "lambda", "noise", "seconds", "output"), rows)
    for record in done:
        doubtful = np.any(record.get("noise_width") or 0) or not np.all(record.get("converged", True))
        lines = [_psf_found(record) if "psf_shape" in record else "", _further(record) if doubtful else ""]
        for line in filter(None, lines):
            click.echo(f"{record['input']}: {line}")
    if any("psf_shape" in record for record in done):
        click.echo(
            "That tells of agreement between candidates, not of correctness: look at the PSF (--save-psf, --report)."
        )
    if skipped := sum(record["status"] == "skipped" for record in records):
        click.echo(f"{skipped} of {len(records)} skipped: their results are there already")
    if planned:
        print_table(("would read", "would write"), [(r["input"], ", ".join(r["writes"])) for r in planned])


def _further(record: dict[str, Any]) -> str:
    """The message, of a stack those of its planes, without what it says of the PSF that was found."""
    pairs = np.broadcast(record["message"], record.get("psf_message", ""))
    return "; ".join(dict.fromkeys(str(m).removeprefix(f"PSF {of_psf}; ") for m, of_psf in pairs if m != of_psf))


def _name(record: dict[str, Any]) -> str:
    return f"{record['method']}, then {record['then']}" if "then" in record else str(record["method"])


def _lambda(record: dict[str, Any]) -> Any:
    """Lambda; the wavelets' is a factor of strengths that are told in the message, and says nothing alone."""
    return None if record.get("then", record["method"]) == "wavelet" else record.get("lam")


def _of_psf(result: Restoration) -> str:
    """How a PSF was found; "nas-rif", which finds the image first, tells of it in its own message."""
    estimate = result.psf_estimate
    return result.message if estimate is None else f"by {estimate.method}: {estimate.message}"


def _psf_found(record: dict[str, Any]) -> str:
    """Size, method and message of a PSF that was found; of a stack, those of each plane."""
    shapes, messages = record["psf_shape"], record["psf_message"]
    if isinstance(messages, str):
        shapes, messages = [shapes], [messages]
    return "; ".join(
        f"PSF of {' x '.join(map(str, shape))} pixels, {message}"
        for shape, message in zip(shapes, messages, strict=True)
    )
