"""What ``lsdeblur restore`` reads and writes: a job for each file, checked before the first one is begun."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from lsdeblur import io
from lsdeblur._files import check_target
from lsdeblur.cli import arguments

__all__ = ["Job", "checked", "jobs_of", "make_folders", "planned"]


@dataclass(frozen=True, slots=True)
class Job:
    """One file to restore, what is written for it, and why that makes no sense, if it does not."""

    source: Path
    output: Path
    report: Path | None = None
    archive: Path | None = None
    kernel: Path | None = None
    problem: str = ""

    @property
    def is_film(self) -> bool:
        """Whether it goes frame by frame."""
        return self.source.name.lower().endswith(io.FILMS)

    @property
    def targets(self) -> list[Path]:
        """Every file that it writes."""
        return [path for path in (self.output, self.report, self.archive, self.kernel) if path is not None]


def jobs_of(
    files: list[Path], output: str | None, report: str | None, archive: str | None, kernel: str | None, as_float: bool
) -> list[Job]:
    """What is written where."""
    several = len(files) > 1
    jobs = [
        Job(
            path,
            _beside(path, output, several, as_float),
            _target(path, report, ".html", several, "--report"),
            _target(path, archive, ".npz", several, "--save-result"),
            _target(path, kernel, arguments.PSF_ENDING, several, "--save-psf"),
        )
        for path in files
    ]
    for job in jobs:
        if job.kernel is not None:
            arguments.check_psf_file(job.kernel)
        if as_float and job.output.suffix.lower() == ".png":
            raise click.UsageError(f"--float, and PNG holds integers: give --output a .tif, not {str(job.output)!r}")
    return jobs


def checked(jobs: list[Job], method: str, barred: list[str]) -> list[Job]:
    """The jobs with their problems. Where all have one, the command makes no sense, and nothing is begun."""
    counts = Counter(target for job in jobs for target in job.targets)
    found = [replace(job, problem=_problem(job, counts, method, barred)) for job in jobs]
    if all(job.problem for job in found):
        raise click.UsageError(found[0].problem)
    return found


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


def planned(job: Job, force: bool, skip_existing: bool) -> dict[str, Any]:
    """What is to be done, or why it cannot be, as far as names tell."""
    record = {"input": str(job.source), "output": str(job.output), "writes": [str(path) for path in job.targets]}
    if skip_existing and not job.problem and all(path.exists() for path in job.targets):
        return record | {"status": "skipped"}
    try:
        problem = job.problem or _obstacle(job, force)
    except (ValueError, OSError) as error:
        problem = str(error)
    return record | ({"status": "failed", "error": problem} if problem else {"status": "planned"})


def _obstacle(job: Job, force: bool) -> str:
    if there := [str(path) for path in job.targets if path.exists() and not force]:
        return f"{', '.join(there)}: there already; --force replaces it, --skip-existing goes on without"
    if job.is_film and not job.output.name.lower().endswith(io.FILMS):
        return f"{str(job.output)!r} is no film: give --output one of the suffixes {', '.join(io.FILMS)}"
    if not job.is_film:
        io.format_of(job.output, written=True)
    for path in job.targets:
        if path.exists():  # a folder may not be replaced
            check_target(path, overwrite=True)
    return ""


def make_folders(jobs: list[Job]) -> None:
    """Those of everything that is to be written."""
    for folder in {path.parent for job in jobs if not job.problem for path in job.targets}:
        folder.mkdir(parents=True, exist_ok=True)
