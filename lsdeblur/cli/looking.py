"""``lsdeblur lcurve``, ``diagnose`` and ``compare``: what there is to see before and beside a restoration."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click
import numpy as np

from lsdeblur import blind, io, metrics
from lsdeblur._methods import METHODS
from lsdeblur._restore import restore
from lsdeblur._validate import meant
from lsdeblur.boundary import BOUNDARIES
from lsdeblur.cli import arguments
from lsdeblur.cli.console import print_json, print_table, reason, told
from lsdeblur.cli.restoring import finite
from lsdeblur.selection import NEED_NOISE, RULES

__all__ = ["compare", "diagnose", "lcurve"]

_image = click.argument("image", type=click.Path(exists=True, path_type=Path))


@click.command(epilog="\b\nlsdeblur lcurve photo.png --psf disk:radius=4 -o curve.png")
@_image
@arguments.psf_option
@arguments.figure_option
@click.option("--boundary", type=arguments.Named(sorted(BOUNDARIES)), default="free", show_default=True)
@arguments.page_option
@arguments.channel_option
@arguments.force
@arguments.json_option
def lcurve(
    image: Path, spec: str, output: Path | None, boundary: str, page: str | None, channel_axis: int | None,
    force: bool, as_json: bool,
) -> None:  # fmt: skip
    """Print the lambda that every rule chooses, and draw the L-curve."""
    arguments.check_figure(output, force)
    picture, h = _read(image, spec, page, channel_axis)
    axis = picture.channel_axis
    values, mask = finite(picture.image[...], axis)
    with told(image.name):
        result = restore(values, h, channel_axis=axis, boundary=boundary, mask=mask)
    assert result.selection is not None  # "auto" always chooses
    if output is not None:
        from lsdeblur import plot

        arguments.draw(plot.l_curve(result.selection).figure, output, force)
    rules: dict[str, Any] = dict.fromkeys(RULES) | dict(result.selection.choices)
    if as_json:
        print_json({"input": str(image), "lam": result.lam, "rule": result.selection.criterion, "choices": rules})
        return
    notes = {rule: "needs the noise's level" if rule in NEED_NOISE else "no answer" for rule in RULES}
    notes |= dict.fromkeys(result.selection.choices, "") | {result.selection.criterion: "used"}
    print_table(("rule", "lambda", ""), [(rule, lam, notes.get(rule, "")) for rule, lam in rules.items()])
    click.echo(result.message)


@click.command(epilog="\b\nlsdeblur diagnose photos/")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@arguments.page_option
@arguments.channel_option
@arguments.json_option
def diagnose(images: tuple[str, ...], page: str | None, channel_axis: int | None, as_json: bool) -> None:
    """Say whether images are sharp, moved, out of focus or beyond repair."""
    records = []
    for path in arguments.sources(images):
        record: dict[str, Any] = {"input": str(path)}
        try:
            picture = io.read(path, page=page, channel_axis=channel_axis)
            with told(path.name):
                found = blind.diagnose(picture.image[...], channel_axis=picture.channel_axis)
            record |= {"kind": found.kind, "recoverable": found.recoverable, "snr_db": found.snr_db}
            record |= {"message": found.message, "numbers": dict(found.numbers)}
        except Exception as error:  # whatever it is, the other files are looked at
            record["error"] = reason(error)
        records.append(record)
        if as_json:
            print_json(record)
    if not as_json:
        rows = [(r["input"], r.get("kind", "failed"), r.get("message") or r["error"]) for r in records]
        print_table(("image", "blur", "why"), rows)
    if any("error" in record for record in records):
        click.get_current_context().exit(1)


@click.command(epilog="\b\nlsdeblur compare photo.png --psf disk:radius=4 --methods tikhonov,tv -o sheet.png")
@_image
@arguments.psf_option
@click.option("--methods", default="tikhonov,wiener,tv", show_default=True, help="Names, with commas between.")
@click.option("--truth", type=click.Path(exists=True, path_type=Path), help="The sharp image, of the same shape.")
@arguments.figure_option
@arguments.page_option
@arguments.channel_option
@arguments.force
@arguments.json_option
def compare(
    image: Path, spec: str, methods: str, truth: Path | None, output: Path | None, page: str | None,
    channel_axis: int | None, force: bool, as_json: bool,
) -> None:  # fmt: skip
    """Restore an image by several methods, and say what each took and gave."""
    names = [name.strip() for name in methods.split(",") if name.strip()]
    if not names:
        raise click.BadParameter(f"{methods!r} names no method; there are {', '.join(METHODS)}", param_hint="--methods")
    if unknown := [name for name in names if name not in METHODS]:
        raise click.BadParameter(
            f"{', '.join(unknown)}: no method; there are {', '.join(METHODS)}{meant(unknown[0], METHODS)}",
            param_hint="--methods",
        )
    arguments.check_figure(output, force)
    picture, h = _read(image, spec, page, channel_axis)
    axis = picture.channel_axis
    values, mask = finite(picture.image[...], axis)
    sharp = None if truth is None else _truth(truth, picture, page, channel_axis)
    shown: dict[str, Any] = {"observed": values}
    records = [_scores({"method": "(observed)"}, values, sharp if mask is None else None, picture)]
    for name in names:
        method, options = arguments.asked_method(name, h is None, {})
        start = time.perf_counter()
        with told(name):
            result = restore(values, h, method=method, channel_axis=axis, mask=mask, **options)
        seconds = time.perf_counter() - start
        record = {"method": name, "seconds": seconds, "lam": result.lam, "noise_std": result.noise_std}
        records.append(_scores(record, result.image, sharp, picture))
        shown[name] = result.image
    if output is not None:
        from lsdeblur import plot

        if axis is not None:
            shown = {name: np.moveaxis(each, axis, -1) for name, each in shown.items()}
        arguments.draw(plot.compare(shown), output, force)
    if as_json:
        for record in records:
            print_json(record)
        return
    columns = {"method": "method", "seconds": "seconds", "lam": "lambda", "noise_std": "noise"}
    columns |= {} if sharp is None else {"psnr": "PSNR", "ssim": "SSIM"}
    print_table(list(columns.values()), [[record.get(key) for key in columns] for record in records])


def _read(image: Path, spec: str, page: str | None, channel_axis: int | None) -> tuple[io.Picture, Any]:
    """The picture, and the PSF for it."""
    with told("--psf"):
        psf = arguments.psf_from(spec)
    picture = io.read(image, page=page, channel_axis=channel_axis)
    return picture, psf(picture.shape)


def _truth(path: Path, picture: io.Picture, page: str | None, channel_axis: int | None) -> Any:
    """The sharp image; page and axis of channels are meant for it, too, where it is of the same format."""
    if io.format_of(path) != picture.format:
        page = channel_axis = None
    found = io.read(path, page=page, channel_axis=channel_axis)
    if picture.channel_axis is None or found.channel_axis is None:
        return found.image[...]
    return np.moveaxis(found.image[...], found.channel_axis, picture.channel_axis)


def _scores(record: dict[str, Any], image: Any, sharp: Any, picture: io.Picture) -> dict[str, Any]:
    if sharp is None:
        return record
    options: dict[str, Any] = {"data_range": picture.white, "channel_axis": picture.channel_axis}
    return record | {"psnr": metrics.psnr(image, sharp, **options), "ssim": metrics.ssim(image, sharp, **options)}
