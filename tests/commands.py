"""What the tests of the command line share: running it, reading what it prints, an image to restore."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from click.testing import CliRunner, Result

from lsdeblur import psf, simulate
from lsdeblur.cli.group import command

SPEC = "motion:length=5,angle=30"
BLUR = psf.motion(5, 30)
OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130


def run(*args: Any, **options: Any) -> Result:
    """The command with these arguments; what it raises, beside its exit, is raised here."""
    result = CliRunner().invoke(command, [str(arg) for arg in args], **options)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def records(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def squares() -> np.ndarray[Any, Any]:
    """Squares, blurred, with some noise, in 8 bits."""
    scene = np.full((60, 76), 60.0)
    scene[12:34, 20:50], scene[30:52, 40:66] = 180.0, 110.0
    noisy = simulate.add_noise(simulate.blur(scene, BLUR), noise_std=1.5, rng=0)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def names(folder: Path) -> set[str]:
    """Every file in a folder and those below."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
