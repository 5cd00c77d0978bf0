"""A report on a restoration: one HTML file to judge it by, and to keep as evidence.

The page holds all it needs and loads nothing: both images under a slider, the PSF, how lambda was chosen and what other
lambdas would have given, the residual and its spectrum, what speaks for and against the result, and the call that
repeats it. It can be read without JavaScript, and printed.
"""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from lsdeblur._files import replacing
from lsdeblur._results import Restoration
from lsdeblur._version import __version__
from lsdeblur.report._blur import blur_of
from lsdeblur.report._case import Case, case_of
from lsdeblur.report._charts import number
from lsdeblur.report._curves import Curves, curves_of
from lsdeblur.report._pictures import Tones, coloured, picture, plane
from lsdeblur.report._residual import residual_of
from lsdeblur.report._strip import Strip, strip_of, without_denoising
from lsdeblur.report._text import call_of, checks_of, images_of, measures_of, summary_of

__all__ = ["write"]

_LONGEST = 1500  # pixels of the pictures under the slider


def write(
    result: Restoration, path: str | os.PathLike[str], *, observed: Any = None, title: str | None = None,
    command: str | None = None,
) -> Path:  # fmt: skip
    """Write a report on a restoration as one HTML file; one that is there is replaced.

    Parameters
    ----------
    result : Restoration
        What `lsdeblur.restore` returned, or `Restoration.load`.
    path : str or path
        The file to write; its folder must exist. A file that is there is replaced, at once or not at all.
    observed : array, or list of arrays, optional
        The blurred image, where the result does not hold it: after `Restoration.load`. Of several frames of one scene
        the first is shown.
    title : str, optional
        The page's title.
    command : str, optional
        The command line that made the result: shown beside the call, as what repeats all of it.

    Returns
    -------
    Path
        Of the file.

    Raises
    ------
    TypeError
        `result` is no Restoration.
    ValueError
        The observed image is missing, or its shape is not that of the restored one.
    FileNotFoundError
        The file's folder does not exist.

    Notes
    -----
    Both images are shown on one grey scale, which spans 99 % of the observed values. Three channels are shown as red,
    green and blue, of other numbers of channels the first; of a volume the middle plane; images of more than 1500
    pixels are reduced for display. Of images beyond 2048 pixels the residual is that of the middle, and the measures of
    `lsdeblur.evaluate` are left out. A detail is
    restored at 15 lambdas where the method is "tikhonov" or "wiener". A megapixel takes some seconds; a page has up to
    some 5 MB.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from lsdeblur import psf, report, restore
    >>> g = np.random.default_rng(0).random((40, 50))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     report.write(restore(g, psf.gaussian(1.0), lam=0.1), f"{folder}/report.html").name
    'report.html'
    """
    target = Path(path)
    if not target.parent.is_dir():
        raise FileNotFoundError(
            f"path={os.fspath(path)!r} lies in a folder that does not exist: make {os.fspath(target.parent)!r} first"
        )
    page = _page(case_of(result, observed), "Report on a restoration" if title is None else str(title), command)
    with replacing(target, overwrite=True) as part:
        part.write_text(page, encoding="utf-8")
    return target


def _page(case: Case, title: str, command: str | None) -> str:
    """The page's text."""
    result = case.result
    shown, hidden = plane(case.observed), plane(case.hidden[np.newaxis])
    tones = Tones(0.0, 255.0) if case.raw.dtype == np.uint8 else Tones.of(shown[~hidden])
    strip, residual = strip_of(case, tones), residual_of(case)
    filtered = without_denoising(case)
    stops = [] if isinstance(strip, str) else strip.lams
    curves = None if result.selection is None else curves_of(result.selection, stops)
    rendered: str = _template().render(
        title=title,
        result=result,
        case=case,
        summary=summary_of(result),
        checks=checks_of(case, residual if filtered is case else residual_of(filtered)),
        measures=measures_of(case),
        images=images_of(case),
        tones=tones,
        before=picture(shown, tones, longest=_LONGEST, hidden=hidden),
        after=picture(plane(case.restored), tones, longest=_LONGEST),
        masked=bool(hidden.any()),
        curves=curves,
        strip=strip,
        data=_interactive(case, curves, strip),
        residual=residual,
        blur=blur_of(case),
        std=_uncertainty(case),
        call=call_of(result, case),
        command=command,
        versions={
            "lsdeblur": result.version or __version__,
            "NumPy": np.__version__,
            "Python": platform.python_version(),
        },
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )
    return rendered


@cache
def _template() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("lsdeblur.report", ""), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["number"] = number
    return environment.get_template("page.html")


def _interactive(case: Case, curves: Curves | None, strip: Strip | str) -> dict[str, Any] | None:
    """What the page's script needs to follow a lambda; None where there is nothing to choose."""
    detail = strip if isinstance(strip, Strip) else None
    if curves is None and detail is None:
        return None
    steps = detail.lams if detail else curves.lams if curves else []
    used = case.result.selection.lam if curves and case.result.selection else case.result.lam
    return {
        "used": used,
        "symbol": curves.symbol if curves else "λ",
        "steps": steps,
        "labels": detail.labels if detail else curves.labels if curves else [],
        "pictures": [p.uri for p in detail.pictures] if detail else [],
        "lams": curves.lams if curves else [],
        "readings": list(zip(curves.labels, curves.readings, strict=True)) if curves else [],
        "charts": {c.key: {"along": c.along, "points": c.points} for c in curves.charts} if curves else {},
    }


def _uncertainty(case: Case) -> dict[str, Any] | None:
    """The posterior standard deviation as a picture, with its scale."""
    if case.result.std is None:
        return None
    std, axis = np.asarray(case.result.std), case.result.options.get("channel_axis")
    channels = np.moveaxis(std, axis, 0) if axis is not None else std[np.newaxis]
    shown = plane(channels)
    flat = shown.mean(axis=2) if shown.ndim == 3 else shown
    tones = Tones.of(flat[np.isfinite(flat)])
    return {
        "picture": coloured(np.nan_to_num(flat), tones, "viridis"),
        "tones": tones,
        "median": float(np.median(flat)),
    }
