"""What is written on the command line: PSFs, options, files. Nonsense is a usage error that says what is right."""

from __future__ import annotations

import ast
import glob
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

from lsdeblur import io, psf
from lsdeblur._files import check_target, replacing
from lsdeblur._methods import BLIND, METHODS, check_options, named, resolve
from lsdeblur._restore import restore
from lsdeblur._validate import check_choice, check_non_negative, meant
from lsdeblur.boundary import BOUNDARIES
from lsdeblur.selection import RULES

__all__ = [
    "GENERATORS",
    "PSF_ENDING",
    "RESTORED",
    "Named",
    "asked_method",
    "channel_option",
    "check_figure",
    "check_psf_file",
    "draw",
    "figure_option",
    "force",
    "json_option",
    "page_option",
    "pairs_option",
    "psf_file",
    "psf_from",
    "psf_option",
    "sources",
    "values",
]

#: what names of restored images end with
RESTORED = "_restored"
#: and files of PSFs that were found, beside several images
PSF_ENDING = "_psf.tif"
#: PSFs that numbers describe; `rotation` takes the shape of the image it restores
GENERATORS = ("airy", "box", "delta", "disk", "gaussian", "kolmogorov", "moffat", "motion", "rotation", "shake")

_SPEC_HELP = "motion:length=15,angle=30, gaussian:sigma=2, disk:radius=4, ...; a file such as psf.tif; or blind."
_OWN = {"image", "psf", "method", "channel_axis", "mask", "workers", "callback", "out", "options"}  # not by --option
_FIGURES = (".png", ".pdf", ".svg")
_OF_FILMS = {"neighbours", "codec"}  # of lsdeblur.video.restore_video


class Named(click.Choice):
    """One of these names; an error says which was meant."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The name as it is."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as error:
            return self.fail(error.message.removesuffix(".") + meant(value, self.choices), param, ctx)


psf_option = click.option("--psf", "spec", required=True, metavar="SPEC", help=f"The blur: {_SPEC_HELP}")
page_option = click.option("--page", metavar="PAGE", help="Page of a TIFF, array of an NPZ, HDU of a FITS file.")
channel_option = click.option("--channel-axis", type=int, help="Axis of channels in NPY, NPZ, Zarr and FITS files.")
force = click.option("--force", is_flag=True, help="Replace files that are there.")
figure_option = click.option("-o", "--output", type=click.Path(path_type=Path), help="Where to draw (PNG, PDF, SVG).")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, one object a line.")
pairs_option = click.option(
    "--option", "pairs", multiple=True, metavar="KEY=VALUE", help="Any other argument of lsdeblur.restore; repeatable."
)


def psf_file(spec: str) -> Path | None:
    """The file that SPEC names, if it names one."""
    kind, _, rest = spec.partition(":")
    if kind == "file":
        return Path(rest).expanduser()  # of file:~/psf.tif the shell makes nothing
    return Path(spec) if kind not in (*GENERATORS, "blind") and Path(spec).exists() else None


def psf_from(spec: str) -> Callable[[Sequence[int]], Any]:
    """The PSF that SPEC describes, as a function of the shape of the image; it returns None for "blind"."""
    if spec == "blind":
        return lambda shape: None
    if (path := psf_file(spec)) is not None:
        h = _of_file(path)
        return lambda shape: h
    kind, _, rest = spec.partition(":")
    if kind not in GENERATORS:
        if Path(spec).suffix.lower() in io.FORMATS:
            raise click.BadParameter(f"there is no file {spec!r}: check its name and folder", param_hint="--psf")
        raise click.BadParameter(
            f"{spec!r} is no PSF: give NAME:argument=value,... with one of {', '.join(GENERATORS)}; file:PATH; "
            f"or blind{meant(kind, (*GENERATORS, 'file', 'blind'))}",
            param_hint="--psf",
        )
    generator = getattr(psf, kind)
    positional, named = _call(spec, rest)
    signature = inspect.signature(generator)
    try:
        if unknown := [repr(name) for name in named if name not in signature.parameters]:
            raise TypeError(f"there is no argument {', '.join(unknown)}")
        signature.bind(*positional, **({"shape": ()} if kind == "rotation" else {}), **named)
    except TypeError as error:
        valid = ", ".join(signature.parameters)
        raise click.BadParameter(f"{spec!r}: {error}; {kind} takes {valid}", param_hint="--psf") from None
    if kind == "rotation":
        return lambda shape: generator(*positional, **{"shape": tuple(shape), **named})
    try:
        made = generator(*positional, **named)
    except (TypeError, ValueError) as error:
        raise click.BadParameter(f"{spec!r}: {error}", param_hint="--psf") from None
    return lambda shape: made


def values(pairs: Iterable[str]) -> dict[str, Any]:
    """KEY=VALUE as keyword arguments: values are numbers, True, None, tuples, or else text."""
    found = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key.isidentifier():
            raise click.BadParameter(f"{pair!r} is not KEY=VALUE, such as max_iter=50", param_hint="--option")
        try:
            found[key] = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            found[key] = text
    return found


def asked_method(
    method: str | None, blind: bool, options: Mapping[str, Any], *, films: bool = False
) -> tuple[str, dict[str, Any]]:
    """The method's name, and options that it and `restore` have. Without a PSF, the method restores after "blind".

    What can be known to be wrong before an image is read is a usage error.
    """
    options = dict(options)
    if blind and method not in BLIND:
        options |= {} if method is None else {"then": method}
        method = "blind"
    method = method or "tikhonov"
    if method == "blind":
        options.setdefault("then", inspect.signature(named(METHODS["blind"])).parameters["then"].default)
    own = set(inspect.signature(restore).parameters) - _OWN | (_OF_FILMS if films else set())
    given = {key: value for key, value in options.items() if key not in own}
    try:
        check_options(resolve(method)[1], given, f"method {method!r}", others=own)
        if method == "blind":
            further = {key: value for key, value in given.items() if key not in ("then", "size", "estimator")}
            check_options(resolve(options["then"])[1], further, f"method {options['then']!r}", others=own)
        if isinstance(lam := options.get("lam", "auto"), str):
            check_choice(lam, ("auto", *RULES), "lam")
        else:
            check_non_negative(lam, "lam")
        check_choice(options.get("boundary", "free"), BOUNDARIES, "boundary")
    except (TypeError, ValueError) as error:
        raise click.UsageError(str(error)) from None
    return method, options


def check_figure(path: Path | None, force: bool) -> None:
    """Refuse a figure that could not be written, before anything is computed; without a suffix it is a PNG."""
    if path is None:
        return
    if path.suffix.lower() not in ("", *_FIGURES):
        raise click.BadParameter(f"{str(path)!r} is no figure: give it one of the suffixes {', '.join(_FIGURES)}")
    check_target(path, overwrite=force)


def check_psf_file(path: Path) -> None:
    """Refuse a file that cannot hold a PSF."""
    try:
        kind = io.format_of(path, written=True)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    if kind == "png":
        raise click.BadParameter(
            f"a PSF is floats, and PNG holds integers: write .tif, .npy or .fits, not {str(path)!r}"
        )


def draw(figure: Any, path: Path, force: bool) -> None:
    """Write a Matplotlib figure."""
    with replacing(path, overwrite=force) as temporary:
        figure.savefig(temporary, format=path.suffix[1:].lower() or "png")


def sources(inputs: Iterable[str], aside: Iterable[Path | None] = ()) -> list[Path]:
    """The files that are meant by names, folders and patterns, each once.

    From folders and patterns only files of known suffixes are taken, none that an earlier run wrote, and none of those
    that serve as something else.
    """
    others = {path.resolve() for path in aside if path is not None}
    found: list[Path] = []
    for text in inputs:
        path = Path(text)
        if path.is_dir() and not _is_image(path):
            matches = [p for p in sorted(path.iterdir()) if _is_wanted(p, others)]
            missing = f"{text!r} holds no image that is not restored yet: give files, or a folder of them"
        elif path.exists():
            matches, missing = [path], ""
        else:
            matches = [p for p in map(Path, sorted(glob.glob(text, recursive=True))) if _is_wanted(p, others)]
            missing = f"{text!r} is not there, and no image matches it: check the name"
        if not matches:
            raise click.BadParameter(missing, param_hint="INPUT")
        found += [p for p in matches if p not in found]
    return found


def _is_image(path: Path) -> bool:
    return path.name.lower().endswith((*io.FORMATS, *io.FILMS))


def _is_wanted(path: Path, others: set[Path]) -> bool:
    written = path.name.partition(".")[0].endswith(RESTORED) or path.name.endswith(PSF_ENDING)
    return _is_image(path) and not (written or path.name.startswith(".") or path.resolve() in others)


def _call(spec: str, text: str) -> tuple[list[Any], dict[str, Any]]:
    """The arguments of a generator, as Python writes them, of literals only."""
    try:
        call = ast.parse(f"f({text})", mode="eval").body
        if not isinstance(call, ast.Call) or any(k.arg is None for k in call.keywords):
            raise ValueError
        positional = [ast.literal_eval(a) for a in call.args]
        return positional, {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}
    except (ValueError, SyntaxError):
        raise click.BadParameter(
            f"{spec!r} has arguments that are not name=number,...; write it like motion:length=15,angle=30",
            param_hint="--psf",
        ) from None


def _of_file(path: Path) -> Any:
    """A PSF in a grey image. Integers stand for shares of light, so they are divided by their sum; floats are kept."""
    try:
        picture = io.read(path)
        h = np.asarray(picture.image[...], dtype=float)
        if picture.channel_axis is not None:
            h = np.moveaxis(h, picture.channel_axis, 0)
            if np.any(h != h[0]):
                raise ValueError(f"{str(path)!r} has colours, and a PSF is grey: convert it, or take one channel")
            h = h[0]
        if picture.image.dtype.kind in "iu":
            if not h.any():
                raise ValueError(f"{str(path)!r} is black, so it is no PSF: check the file")
            h /= h.sum()
    except (ValueError, OSError, ImportError) as error:
        raise click.BadParameter(str(error), param_hint="--psf") from None
    return h
