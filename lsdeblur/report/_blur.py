"""The point-spread function and its transfer function, as figures with axes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lsdeblur.psf import PSFGrid
from lsdeblur.report._case import Case
from lsdeblur.report._charts import Chart, number
from lsdeblur.report._pictures import Picture, Tones, coloured
from lsdeblur.spectrum import decibels

__all__ = ["Blur", "blur_of", "spread"]

Array = npt.NDArray[Any]

_SHEET = 5  # PSFs along each side of a contact sheet, at the most


@dataclass(frozen=True, slots=True)
class Blur:
    """The figures; `sheet` holds pictures of PSFs that vary, with their positions, in rows of `columns`."""

    charts: list[Chart]
    size: str
    peak: str
    total: str
    spread: str
    sheet: list[tuple[Picture, str]]
    columns: int
    count: int


def blur_of(case: Case) -> Blur | None:
    """Figures of the PSF, of its middle plane in a volume; None without one."""
    h = case.middle_psf
    if h is None:
        return None
    flat = h[h.shape[0] // 2] if h.ndim == 3 else h
    sheet, columns, count = _sheet(case.psf) if isinstance(case.psf, PSFGrid) else ([], 0, 1)
    return Blur(
        [_kernel(flat), _transfer(flat)],
        " × ".join(map(str, h.shape)),
        number(float(flat.max())),
        number(float(h.sum())),
        number(spread(h)),
        sheet,
        columns,
        count,
    )


def spread(h: Array) -> float:
    """Standard deviation in pixels about the centroid, along the widest axis."""
    weights = np.maximum(h, 0).ravel()
    at = np.indices(h.shape).reshape(h.ndim, -1)
    covariance = np.atleast_2d(np.cov(at, aweights=weights, ddof=0))
    return math.sqrt(max(float(np.linalg.eigvalsh(covariance)[-1]), 0.0))


def _kernel(h: Array) -> Chart:
    """The PSF in a square frame about its centre."""
    reach = max(h.shape) // 2 + 0.5
    side = int(2 * reach)
    square = np.zeros((side, side))
    first = [side // 2 - s // 2 for s in h.shape]
    rows, columns = (slice(max(0, o), min(side, o + s)) for o, s in zip(first, h.shape, strict=True))
    square[rows, columns] = h[: rows.stop - rows.start, : columns.stop - columns.start]
    low, high = min(0.0, float(h.min())), float(h.max())
    return Chart.of(
        "psf",
        "Point-spread function",
        ("columns from the centre (pixels)", -reach, reach, False),
        ("rows from the centre (pixels)", reach, -reach, False),
        width=366, height=344, image=coloured(square, Tones(low, high), "viridis", at_least=290),
        description=f"A picture of {h.shape[0]} x {h.shape[1]} pixels; its largest value is {number(high)}.",
    )  # fmt: skip


def _transfer(h: Array) -> Chart:
    return Chart.of(
        "transfer",
        "Transfer function",
        ("columns (cycles per pixel)", -0.5, 0.5, False),
        ("rows (cycles per pixel)", 0.5, -0.5, False),
        width=366, height=344, image=coloured(decibels(h.astype(np.float64)), Tones(-60, 0), "magma", at_least=290),
        description="A picture of its modulus in decibels; frequency zero is in the middle.",
    )  # fmt: skip


def _sheet(grid: PSFGrid) -> tuple[list[tuple[Picture, str]], int, int]:
    """Up to 25 of the PSFs, in rows where they lie on a regular grid."""
    counts = tuple(map(len, grid.axes)) if grid.axes is not None and grid.ndim == 2 else None
    if counts:
        picked = [np.unique(np.linspace(0, n - 1, min(n, _SHEET)).round().astype(int)) for n in counts]
        index = [int(r * counts[1] + c) for r in picked[0] for c in picked[1]]
        columns = len(picked[1])
    else:
        index = np.unique(
            np.linspace(0, len(grid.psfs) - 1, min(len(grid.psfs), _SHEET**2)).round().astype(int)
        ).tolist()
        columns = min(_SHEET, len(index))
    pictures = []
    for i in index:
        h = grid.psfs[i]
        flat = h[h.shape[0] // 2] if h.ndim == 3 else h
        where = ", ".join(f"{p:.0f}" for p in grid.positions[i])
        pictures.append(
            (coloured(flat, Tones(0.0, float(flat.max())), "viridis", longest=96, at_least=64), f"({where})")
        )
    return pictures, columns, len(grid.psfs)
