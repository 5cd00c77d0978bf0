"""The command ``python -m lsdeblur.deep.train``."""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lsdeblur.deep import missing
from lsdeblur.deep.train import RECIPES, Batch, Config, Row, fit, made, trained_on
from lsdeblur.deep.weights import load_checkpoint

try:
    import click
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.progress import TimeRemainingColumn as Remaining
except ModuleNotFoundError as error:
    raise missing(error) from None

__all__ = ["command"]

_PLOT = "lsdeblur.plot"  # a later layer, known by its name only
_HELP = f"""Train a network on a folder of images.

RECIPE is one of {", ".join(RECIPES)}, or a .toml file with the names of lsdeblur.deep.train.Config. A run that was
stopped, in whatever way, goes on when the same command is given again.
"""


@click.command(help=_HELP)
@click.argument("recipe", metavar="RECIPE")
@click.option("--data", "folder", type=click.Path(exists=True, file_okay=False), help="Folder of images.")
@click.option("--out", type=click.Path(file_okay=False), help="Folder of the run. [default: run-RECIPE]")
@click.option("--steps", type=click.IntRange(1), help="Batches to train with.")
@click.option("--batch", type=click.IntRange(1), help="Images in a batch.")
@click.option("--seed", type=click.IntRange(0), help="Of the random numbers.")
@click.option("--workers", type=click.IntRange(0), help="Processes that make batches.")
@click.option("--light", is_flag=True, help="Depthwise separable convolutions: less than 40 % of the weights.")
def command(recipe: str, folder: str | None, out: str | None, light: bool, **changes: int | None) -> None:
    """Check what was given, train, and say what came of it."""
    given: dict[str, Any] = {name: value for name, value in changes.items() if value is not None}
    given |= {"data": folder} if folder else {}
    target = Path(out or f"run-{Path(recipe).stem}")
    try:
        rows, before, weights = _trained(_configured(recipe, light, given), target)
    except KeyboardInterrupt:
        reached = _reached(target)
        said = (
            "before its first step" if reached is None else f"after step {reached}; the same command goes on from there"
        )
        raise click.ClickException(f"stopped {said}") from None
    except (TypeError, ValueError, OSError, FloatingPointError) as error:
        raise click.ClickException(str(error)) from None
    last = rows[-1]
    scores = "" if last.psnr is None else f"; held-out images {before:.2f} -> {last.psnr:.2f} dB, SSIM {last.ssim:.3f}"
    click.echo(f"{target / 'model.safetensors'}: {weights:,} weights, {last.step} steps{scores}")


def _trained(config: Config, target: Path) -> tuple[list[Row], float, int]:
    """The log, the PSNR of the held-out images before restoration, and the number of weights."""
    model = made(config)
    dataset, held_out = trained_on(config)
    console = Console(stderr=True)
    reached = _reached(target)
    if reached is not None:
        console.print(f"going on after step {reached} of {target}")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), Remaining())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(config.model, total=config.steps)

        def show(row: Row) -> None:
            said = f"loss {row.loss:.4g}" + (f", {row.psnr:.2f} dB" if row.psnr is not None else "")
            bar.update(task, completed=row.step, description=f"{config.model}: {said}")

        rows = fit(model, dataset, config, held_out=held_out, out=target, callback=show)
    importlib.import_module(_PLOT).training(rows).savefig(target / "curve.png")
    return rows, _psnr(held_out), model.n_parameters


def _reached(target: Path) -> int | None:
    """The step of a run's last checkpoint."""
    path = target / "checkpoint.pt"
    return load_checkpoint(path).get("step") if path.exists() else None


def _psnr(items: Sequence[Batch]) -> float:
    errors = [max(float((item["image"] - item["sharp"]).square().mean()), 1e-12) for item in items]
    return -10 * sum(map(math.log10, errors)) / max(len(errors), 1)


def _configured(recipe: str, light: bool, changes: Mapping[str, Any]) -> Config:
    """A recipe by name, or a TOML file, with changes."""
    if Path(recipe).suffix == ".toml":
        config = Config.read(recipe, **changes)
    elif recipe in RECIPES:
        config = replace(RECIPES[recipe], **changes)
    else:
        raise ValueError(f"{recipe!r} is no recipe: give one of {', '.join(RECIPES)}, or the path of a .toml file")
    if not config.data:
        raise ValueError("there are no images to train on: give their folder by --data, or as data in the file")
    return replace(config, options={**config.options, "light": True}) if light else config
