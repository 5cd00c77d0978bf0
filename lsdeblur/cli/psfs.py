"""``lsdeblur psf``: make one, look at its numbers, find one in a blurred image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np

from lsdeblur import io
from lsdeblur._files import check_target
from lsdeblur.cli import arguments
from lsdeblur.cli.console import print_json, print_table, told
from lsdeblur.psf import PSFGrid

__all__ = ["psf"]

_output = click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="TIFF, NPY or FITS file.")


@click.group()
def psf() -> None:
    """Make, show and estimate point-spread functions."""


@psf.command(epilog="\b\nlsdeblur psf make motion:length=15,angle=30 -o psf.tif")
@click.argument("spec")
@_output
@arguments.force
def make(spec: str, output: Path, force: bool) -> None:
    """Write the PSF that SPEC describes, as floats that sum to 1."""
    arguments.check_psf_file(output)
    h = _uniform(spec)
    io.write(output, h, overwrite=force)
    click.echo(f"{output}: {' x '.join(map(str, h.shape))} pixels")


@psf.command(epilog="\b\nlsdeblur psf show psf.tif --plot psf.png")
@click.argument("spec", metavar="FILE_OR_SPEC")
@click.option(
    "-o", "--plot", "figure", type=click.Path(path_type=Path), help="Draw it and its transfer function (PNG, PDF)."
)
@arguments.force
@arguments.json_option
def show(spec: str, figure: Path | None, force: bool, as_json: bool) -> None:
    """Print size, sum, centroid and width of a PSF.

    The centroid is given from the centre pixel, rows downwards. Widths are standard deviations along the longest
    direction and across it, in pixels; the angle of the longest direction is counter-clockwise on the screen.
    """
    arguments.check_figure(figure, force)
    h = _uniform(spec)
    numbers = _numbers(h)
    if figure is not None:
        from lsdeblur import plot

        arguments.draw(plot.show_psf(h), figure, force)
    if as_json:
        print_json(numbers)
    else:
        print_table(("what", "value"), list(numbers.items()))


@psf.command(epilog="\b\nlsdeblur psf estimate photo.jpg -o psf.tif --method parametric")
@click.argument("image", type=click.Path(exists=True, path_type=Path))
@_output
@click.option("--method", default="gradient-prior", show_default=True, help="Or parametric, or nas-rif.")
@click.option("--linear", is_flag=True, help="Undo the sRGB curve first, as restore --linear does.")
@arguments.pairs_option
@arguments.page_option
@arguments.channel_option
@arguments.force
@arguments.json_option
def estimate(
    image: Path, output: Path, method: str, linear: bool, pairs: tuple[str, ...], page: str | None,
    channel_axis: int | None, force: bool, as_json: bool,
) -> None:  # fmt: skip
    """Find the PSF of a blurred image, and write it."""
    from lsdeblur.blind import estimate_psf

    arguments.check_psf_file(output)
    check_target(output, overwrite=force)
    picture = io.read(image, page=page, channel_axis=channel_axis)
    values = io.linear(picture.image[...], picture.white) if linear else picture.image[...]
    with told(image.name):
        found = estimate_psf(values, method=method, channel_axis=picture.channel_axis, **arguments.values(pairs))
    io.write(output, found.psf, overwrite=force)
    if as_json:
        print_json(
            {
                "input": str(image),
                "output": str(output),
                "method": found.method,
                "confidence": found.confidence,
                "message": found.message,
                "parameters": dict(found.parameters),
                **_numbers(found.psf),
            }
        )
    else:
        size = " x ".join(map(str, found.psf.shape))
        click.echo(f"{output}: {size} pixels, confidence {found.confidence:.2f} of 1; {found.message}")


def _uniform(spec: str) -> Any:
    with told("PSF"):
        h = arguments.psf_from(spec)((256, 256))
    if h is None or isinstance(h, PSFGrid):
        raise click.BadParameter(f"{spec!r} is not one PSF that could be shown or kept: name its generator or its file")
    return np.asarray(h, float)


def _numbers(h: Any) -> dict[str, Any]:
    at = np.stack([index - n // 2 for index, n in zip(np.indices(h.shape), h.shape, strict=True)]).astype(float)
    weights = np.clip(h, 0, None) / np.clip(h, 0, None).sum()
    axes = tuple(range(1, at.ndim))
    centroid = (at * weights).sum(axis=axes)
    away = at - centroid.reshape(-1, *(1,) * h.ndim)
    covariance = (away * weights).reshape(h.ndim, -1) @ away.reshape(h.ndim, -1).T
    variances, directions = np.linalg.eigh(covariance)
    numbers = {
        "size": " x ".join(map(str, h.shape)),
        "sum": float(h.sum()),
        "largest": float(h.max()),
        "centroid": [round(float(c), 4) + 0.0 for c in centroid],
        "widths": [round(float(np.sqrt(max(v, 0))), 4) for v in variances[::-1]],
    }
    if h.ndim == 2:
        row, column = directions[:, -1]
        numbers["angle"] = round(float(np.degrees(np.arctan2(-row, column)) % 180), 2)
    return numbers
