"""Figures: the curves that chose lambda, images side by side, PSFs. Each function returns what it drew on.

Colours are Okabe and Ito's, which people with any colour vision tell apart. Figures belong to pyplot; in a notebook,
end the cell with a semicolon, or it shows a returned figure twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from lsdeblur._results import Selection
from lsdeblur._validate import as_float_array, as_psf, check_spacing
from lsdeblur.psf import PSFGrid
from lsdeblur.spectrum import decibels

__all__ = ["compare", "l_curve", "selection_curves", "show_psf", "training"]

Array = npt.NDArray[Any]

_COLOURS = {
    "evidence": "#0072B2",
    "gcv": "#D55E00",
    "l-curve": "#009E73",
    "discrepancy": "#CC79A7",
    "sure": "#56B4E9",
    "least-error": "#E69F00",
    "image-error": "0.5",
}
_FRAME = _COLOURS["least-error"]  # of details, where no rule is drawn
_GREY = "0.45"  # of curves: legible on white and on black
_WIDTH, _NARROWEST, _WIDEST = 10.2, 1.7, 3.4  # inches: of a figure of images, and of one image in it
_SEEN = 0.98  # share of a PSF's light that is within the picture at least
_ACROSS = 5  # PSFs of a field that are shown along each axis
_MARKERS = {
    "evidence": "s",
    "gcv": "D",
    "l-curve": "^",
    "discrepancy": "v",
    "sure": "P",
    "least-error": "X",
    "image-error": "*",
}
_LABELS = {
    "evidence": "evidence: $-2\\log L$ per value",
    "gcv": "GCV: $nR/(n-D)^2$",
    "l-curve": "L-curve: curvature",
    "discrepancy": "discrepancy: $R/n\\sigma^2 -$ safety",
    "sure": "SURE per value",
    "least-error": "expected squared error",
    "image-error": "image error: $\\log V/T\\sigma^2$",
}


def l_curve(selection: Selection, ax: Axes | None = None) -> Axes:
    """The L-curve: size of the solution against size of the residual, both axes logarithmic.

    Parameters
    ----------
    selection : Selection
        Of a `Restoration` whose lambda was chosen.
    ax : matplotlib Axes, optional
        Where to draw; a new figure otherwise.

    Returns
    -------
    Axes
        With the choice of every rule that has one marked, and that of the rule that was used ringed. With
        ``effort="accurate"`` the points that were solved are marked, and the curve between them is approximate.

    Raises
    ------
    TypeError
        When there is no selection because lambda was given.
    ValueError
        When residual or seminorm are zero, as they are for an image that does not vary.

    References
    ----------
    Hansen (1992), SIAM Review 34, 561-580, doi:10.1137/1034115.
    """
    _check(selection)
    whole = selection.approximate or selection
    x, y = np.sqrt(whole.residual), np.sqrt(whole.seminorm)
    if not (x.min() > 0 and y.min() > 0):
        raise ValueError("selection has residuals or seminorms of zero, so it has no L-curve: the image does not vary")
    ax = plt.subplots(figsize=(5.2, 4.2), layout="constrained")[1] if ax is None else ax
    label = "" if whole is selection else "approximate between the solved points"
    ink, paper = ax.xaxis.label.get_color(), ax.get_facecolor()  # of the caller's style, dark ones too
    ax.loglog(x, y, color=_GREY, lw=1.5, ls="--" if label else "-", label=label, zorder=2)
    t = np.log(whole.lams)
    if label:
        solved = np.sqrt(selection.residual), np.sqrt(selection.seminorm)
        ax.plot(*solved, color=_GREY, marker="o", ms=4, mfc=paper, ls="none", label="solved", zorder=2.5)

    def point(lam: float) -> tuple[float, float]:
        return _on_curve(whole if lam < selection.lams[0] or lam > selection.lams[-1] else selection, lam)

    for rule, lam in selection.choices.items():
        style = {"color": _COLOURS[rule], "marker": _MARKERS[rule], "ls": "none", "ms": 7, "mec": paper, "mew": 0.5}
        ax.plot(*point(lam), label=f"{rule}: {lam:.2g}", zorder=3, **style)  # type: ignore[arg-type]
    ring = {"ls": "none", "marker": "o", "ms": 14, "mfc": "none", "mec": ink, "mew": 1.3, "zorder": 4}
    ax.plot(*point(selection.lam), label=f"used: {selection.lam:.2g}", **ring)  # type: ignore[arg-type]
    marked = np.log10([selection.lam, *selection.choices.values()])
    for decade in range(int(np.ceil(t[0] / np.log(10))), int(np.floor(t[-1] / np.log(10))) + 1, 2):
        if np.abs(marked - decade).min() < 0.5:
            continue  # its label would touch a marker
        at = point(10.0**decade)
        ax.plot(*at, marker=".", ms=4, color=_GREY, zorder=2)
        ax.annotate(f"$10^{{{decade}}}$", at, (4, 4), textcoords="offset points", fontsize=8, color=_GREY)
    ax.set_xlabel(r"residual norm  $\|h * f - g\|$  (units of the image)")
    ax.set_ylabel(r"seminorm  $\langle f, P f\rangle^{1/2}$")
    ax.legend(title=r"$\lambda$ by", frameon=False, fontsize=8, title_fontsize=8)
    ax.margins(0.08)  # room for the labels of the curve's ends
    _grid(ax)
    return ax


def selection_curves(selection: Selection, fig: Figure | None = None) -> Figure:
    """Every rule's criterion over lambda, one panel each, with its choice and the lambda that was used.

    Evidence, GCV, SURE and the expected error are minimised, the L-curve's curvature is maximised, the discrepancy
    is zero at its answer. Evidence and SURE are shown per data value, less their minimum.

    Parameters
    ----------
    selection : Selection
        Of a `Restoration` whose lambda was chosen.
    fig : matplotlib Figure, optional
        Where to draw; a new one otherwise.

    Returns
    -------
    Figure
        The panel of the rule that was used says so; a rule without an answer has no mark.

    Raises
    ------
    TypeError
        When there is no selection because lambda was given.
    """
    _check(selection)
    rules = list(selection.criteria)
    fig = fig or plt.figure(figsize=(5.6, 0.9 + 1.35 * len(rules)), layout="constrained")
    axes = fig.subplots(len(rules), 1, sharex=True, squeeze=False)[:, 0]
    for ax, rule in zip(axes, rules, strict=True):
        _panel(ax, selection, rule)
    axes[-1].set_xscale("log")
    axes[-1].xaxis.set_minor_locator(LogLocator(subs=(2, 5)))
    axes[-1].tick_params(axis="x", which="minor", labelsize=7)
    axes[-1].set_xlabel(r"$\lambda$")
    return fig


def compare(
    images: Mapping[str, npt.ArrayLike] | Sequence[npt.ArrayLike],
    *,
    inset: Sequence[int] | None = None,
    spacing: Sequence[float] | None = None,
    fig: Figure | None = None,
) -> Figure:
    """Images side by side on one grey scale, with the same detail enlarged below each.

    Parameters
    ----------
    images : mapping of title to image, or sequence of images
        Images (rows, columns) or (rows, columns, 3), or volumes (planes, rows, columns) of one shape; a `Restoration`
        may stand for its image. The grey scale is that of the last one, cut at its 0.1 and 99.9 per cent.
    inset : (row, column, height, width), optional
        The detail, in pixels; by default a fifth of the last image at its centre. Not for volumes.
    spacing : sequence of float, optional
        Pixel pitch of every spatial axis, for true proportions.
    fig : matplotlib Figure, optional
        Where to draw; a new one otherwise.

    Returns
    -------
    Figure
        With the whole images in the first row of axes and the details in the second; of volumes the middle plane, and
        below it the section across the planes through its middle row. No pixel is interpolated.

    Raises
    ------
    ValueError
        No images; images that are neither grey nor RGB; volumes of different shapes, or with an inset; a detail that
        does not lie within all images.
    """
    titled = dict(images) if isinstance(images, Mapping) else {f"image {i + 1}": a for i, a in enumerate(images)}
    arrays = {title: as_float_array(a, title, ndim=(2, 3)) for title, a in titled.items()}
    volumes = _check_images(arrays, inset)
    last = list(arrays.values())[-1]
    pitch = check_spacing(spacing, 3 if volumes else 2)
    at = None if volumes else _detail(inset, arrays)
    pairs = [
        _sections(a) if at is None else (a, a[at[0] : at[0] + at[2], at[1] : at[1] + at[3]]) for a in arrays.values()
    ]
    aspects = pitch[-2] / pitch[-1], pitch[0] / pitch[-1]
    heights = [p.shape[0] / p.shape[1] * aspect for p, aspect in zip(pairs[-1], aspects, strict=True)]
    low, high = (float(v) for v in np.percentile(last, (0.1, 99.9)))
    high = high if high > low else low + 1
    wide = min(_WIDEST, max(_NARROWEST, _WIDTH / len(arrays)))
    lines = max(title.count("\n") + 1 for title in arrays)
    fig = fig or plt.figure(figsize=(wide * len(arrays), wide * sum(heights) + 0.1 + 0.2 * lines), layout="constrained")
    axes = fig.subplots(2, len(arrays), squeeze=False, height_ratios=heights)
    for title, pair, column in zip(arrays, pairs, axes.T, strict=True):
        for ax, part, aspect in zip(column, pair, aspects, strict=True):
            shown = np.clip((part - low) / (high - low), 0, 1)
            ax.imshow(shown, cmap="gray", vmin=0, vmax=1, interpolation="nearest", aspect=aspect)
            ax.set(xticks=[], yticks=[])
        column[0].set_title(title, fontsize=10 if wide > 2 else 9)
        if at is not None:
            corner = at[1] - 0.5, at[0] - 0.5
            column[0].add_patch(Rectangle(corner, at[3], at[2], fill=False, ec=_FRAME, lw=1.2))
            column[1].spines[:].set(color=_FRAME, lw=1.2)
    if volumes:
        axes[0, 0].set_ylabel("middle plane", fontsize=9)
        axes[1, 0].set_ylabel("across planes", fontsize=9)
    return fig


def show_psf(psf: npt.ArrayLike | PSFGrid, fig: Figure | None = None) -> Figure:
    """A PSF and the modulus of its transfer function, ``20 log10 |H / H(0)|``, with the frequencies it erases dark.

    Parameters
    ----------
    psf : array (rows, columns) or (planes, rows, columns), or psf.PSFGrid of two axes
        Its centre is pixel ``s // 2``. Show the channels of a PSF one at a time.
    fig : matplotlib Figure, optional
        Where to draw; a new one otherwise.

    Returns
    -------
    Figure
        On the left the PSF over pixels from its centre, without far wings that hold 2 % of the light; on the right its
        transfer function over cycles per pixel, in dB down to -60. Of a volume two sections through the centre, and
        those of the transfer function. Of a PSFGrid the PSFs at up to 5 x 5 positions between its outermost ones, side
        by side on one scale, whose colours go by the square root so that wide PSFs show.

    Raises
    ------
    ValueError
        A PSF that has neither 2 nor 3 axes, or sums to zero; a PSFGrid of three axes.
    """
    if isinstance(psf, PSFGrid):
        return _show_field(psf, fig)
    given = as_float_array(psf, "psf", ndim=(2, 3))
    h = as_psf(given, ndim=given.ndim)[0]
    middle = [s // 2 for s in h.shape]
    if h.ndim == 2:
        sections = [(h, h, "rows")]
    else:  # at frequency zero of an axis the transfer function is that of the sum over it
        sections = [(h[middle[0]], h.sum(axis=0), "rows"), (h[:, middle[1]], h.sum(axis=1), "planes")]
    fig = fig or plt.figure(figsize=(7.2, 4.7 * len(sections)), layout="constrained")
    axes = fig.subplots(len(sections), 2, squeeze=False)
    for (left, right), (section, summed, vertical) in zip(axes, sections, strict=True):
        _show_section(left, section, vertical, float(h.max()), "pixel" if h.ndim == 2 else "voxel")
        shown = right.imshow(
            decibels(summed), cmap="magma", vmin=-60, vmax=0, extent=(-0.5, 0.5, 0.5, -0.5), interpolation="nearest"
        )
        right.set(title="transfer function", xlabel="columns (cycles/pixel)", ylabel=f"{vertical} (cycles/pixel)")
        fig.colorbar(shown, ax=right, location="bottom", label="$|H / H(0)|$ (dB)", shrink=0.9)
    return fig


def training(rows: Sequence[Any], fig: Figure | None = None) -> Figure:
    """The course of a training: the loss, and the quality of restored images that were held out.

    Parameters
    ----------
    rows : sequence of deep.train.Row
        The log that `lsdeblur.deep.train.fit` returns.
    fig : matplotlib Figure, optional
        Where to draw; a new figure otherwise.
    """
    if not rows:
        raise ValueError("rows is empty: the training wrote no log")
    fig = plt.figure(figsize=(9, 3.4), layout="constrained") if fig is None else fig
    left, right = fig.subplots(1, 2)
    left.semilogy([r.step for r in rows], [r.loss for r in rows], color=_GREY)
    left.set_ylabel("loss")
    validated = [r for r in rows if r.psnr is not None]
    right.plot([r.step for r in validated], [r.psnr for r in validated], marker=".", color=_GREY)
    right.set_ylabel("PSNR of held-out images (dB)")
    for ax in (left, right):
        ax.set_xlabel("step")
        _grid(ax)
    return fig


def _grid(ax: Axes) -> None:
    ax.grid(which="major", color=_GREY, alpha=0.25, lw=0.5)
    ax.set_axisbelow(True)


def _check(selection: Any) -> None:
    if not isinstance(selection, Selection):
        raise TypeError(
            f"selection must be a Selection, not {type(selection).__name__}: it is the field of that name of a "
            "Restoration, None when lambda was given or the method has none; tikhonov with lam='auto' has one"
        )


def _on_curve(selection: Selection, lam: float) -> tuple[float, float]:
    """Residual norm and seminorm at a lambda, on a line between two of the samples in their logarithms."""
    t, size = np.log(selection.lams), (selection.residual, selection.seminorm)
    x, y = (float(np.exp(np.interp(np.log(lam), t, np.log(v)) / 2)) for v in size)
    return x, y


def _panel(ax: Axes, selection: Selection, rule: str) -> None:
    """One rule's criterion, its choice and the lambda that was used."""
    used = rule == selection.criterion
    values = np.where(np.isfinite(selection.criteria[rule]), selection.criteria[rule], np.nan)
    if rule in ("evidence", "sure"):
        values = (values - np.fmin.reduce(values)) / selection.n_obs
    marker = "." if selection.approximate else None
    ax.plot(selection.lams, values, color=_COLOURS[rule], lw=2.2 if used else 1.2, marker=marker)
    ax.axvline(selection.lam, color=ax.xaxis.label.get_color(), lw=0.8, ls="--", label=f"used: {selection.lam:.2g}")
    if rule in selection.choices:
        lam = selection.choices[rule]
        height = np.interp(np.log(lam), np.log(selection.lams), values)
        (mark,) = ax.plot(lam, height, marker=_MARKERS[rule], color=_COLOURS[rule], ls="none", zorder=3)
        mark.set(label=f"chosen: {lam:.2g}", clip_on=False)
    else:
        ax.plot([], [], ls="none", label="no answer")
    _focus(ax, rule, values[np.isfinite(values)])
    ax.set_title(_LABELS[rule] + ("  (used)" if used else ""), fontsize=9, loc="left")
    ax.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))


def _focus(ax: Axes, rule: str, values: Array) -> None:
    """Limits that show the region around the answer: criteria grow by orders of magnitude away from it."""
    if rule in ("discrepancy", "l-curve", "image-error"):
        ax.axhline(0, color="0.6", lw=0.6)
    if not values.size:
        ax.set_yticks([])
        ax.text(0.5, 0.5, "not defined for these data", ha="center", va="center", transform=ax.transAxes, fontsize=8)
    elif rule in ("gcv", "least-error") and values.min() > 0:
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 3)))
        ax.yaxis.set_major_formatter(StrMethodFormatter("{x:.0e}"))
        ax.yaxis.set_minor_formatter(NullFormatter())
        ax.set_ylim(values.min() * 0.7, min(1.4 * values.max(), values.min() * 30))
    elif rule == "discrepancy":
        ax.set_ylim(-1.1, 3)
    elif rule == "l-curve":
        peak = abs(values.max()) or 1.0
        ax.set_ylim(-0.5 * peak, 1.2 * peak)
    elif rule != "image-error":
        top = min(values.max(), 3.0) or 1.0
        ax.set_ylim(-0.06 * top, top)


def _check_images(arrays: Mapping[str, Array], inset: Any) -> bool:
    """Whether they are volumes: three axes, of which the last is not one of colours."""
    if not arrays:
        raise ValueError("images is empty: give at least one")
    volumes = {a.shape for a in arrays.values() if a.ndim == 3 and a.shape[2] > 4}
    for title, a in arrays.items():
        if a.ndim == 3 and a.shape[2] in (1, 2, 4):
            raise ValueError(
                f"{title} has shape {a.shape}: compare shows grey or RGB images and volumes; pick one plane"
            )
        if volumes and {a.shape} != volumes:
            raise ValueError(f"{title} has shape {a.shape}, another image {max(volumes)}: volumes must be of one shape")
    if volumes and inset is not None:
        raise ValueError("inset is for images: of volumes their sections are shown; leave it out, or pick one plane")
    return bool(volumes)


def _sections(volume: Array) -> tuple[Array, Array]:
    """The middle plane, and the section across the planes through its middle row."""
    return volume[volume.shape[0] // 2], volume[:, volume.shape[1] // 2]


def _detail(inset: Sequence[int] | None, arrays: Mapping[str, Array]) -> tuple[int, int, int, int]:
    """The detail's row, column, height and width, within every image."""
    if inset is None:
        h, w = list(arrays.values())[-1].shape[:2]
        inset = (2 * h // 5, 2 * w // 5, max(h // 5, 1), max(w // 5, 1))
    if len(inset) != 4:
        raise ValueError(f"inset must be (row, column, height, width), not {inset!r}")
    row, column, height, width = (int(v) for v in inset)
    for title, a in arrays.items():
        h, w = a.shape[:2]
        if not (0 <= row < row + height <= h and 0 <= column < column + width <= w):
            raise ValueError(
                f"inset (row {row}, column {column}, height {height}, width {width}) does not lie within {title}, "
                f"which has {h} rows and {w} columns"
            )
    return row, column, height, width


def _show_section(ax: Axes, h: Array, vertical: str, brightest: float, unit: str) -> None:
    """A PSF, or a section through one, in a square around its centre."""
    (top, bottom), (west, east) = ((-(s // 2) - 0.5, s - s // 2 - 0.5) for s in h.shape)
    style = {"cmap": "viridis", "vmin": min(0.0, float(h.min())), "vmax": brightest, "interpolation": "nearest"}
    shown: Any = ax.imshow(h, extent=(west, east, bottom, top), **style)  # type: ignore[arg-type]
    ax.set_facecolor(shown.cmap(shown.norm(0.0)))  # beyond its array a PSF is zero
    reach = _reach(h) + 0.5
    ax.set(title="PSF", xlabel="columns from the centre (pixels)", ylabel=f"{vertical} from the centre (pixels)")
    ax.set(xlim=(-reach, reach), ylim=(reach, -reach))
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(7, integer=True))
    bar = ax.figure.colorbar(shown, ax=ax, location="bottom", label=f"share of the light per {unit}", shrink=0.9)
    bar.locator = MaxNLocator(5)


def _reach(h: Array) -> int:
    """Pixels on either side of the centre that hold nearly all of the light, and each of a hundredth of the peak.

    Far wings would make the rest a dot.
    """
    away = np.max([np.abs(at - s // 2) for at, s in zip(np.indices(h.shape), h.shape, strict=True)], axis=0)
    within = np.cumsum(np.bincount(away.ravel(), np.abs(h).ravel()))
    bright = int(away[np.abs(h) >= 0.01 * np.abs(h).max()].max())
    return min(max(bright, int(np.searchsorted(within, _SEEN * within[-1]))) + 1, max(h.shape) // 2)


def _show_field(grid: PSFGrid, fig: Figure | None) -> Figure:
    """PSFs of a field as one picture, each where it holds."""
    if grid.ndim != 2:
        raise ValueError(
            f"psf varies along {grid.ndim} axes: a PSFGrid of two can be shown; show one PSF of it, psf.at(...)"
        )
    rows, columns = (np.linspace(p.min(), p.max(), min(_ACROSS, len(np.unique(p)))) for p in grid.positions.T)
    field = np.block([[np.pad(grid.at((y, x)), 1) for x in columns] for y in rows])
    high, wide = (s + 2 for s in grid.size)
    scale = 6.0 / max(field.shape)
    size = (max(2.4, scale * field.shape[1]) + 0.9, max(1.2, scale * field.shape[0]) + 1.4)
    fig = fig or plt.figure(figsize=size, layout="constrained")
    ax = fig.subplots()
    norm = PowerNorm(0.5, vmin=0, vmax=float(field.max()))  # a sharp PSF would leave the wide ones dark
    shown = ax.imshow(field, cmap="viridis", norm=norm, interpolation="nearest")
    for k in range(1, max(len(rows), len(columns))):
        for draw, pitch, count in ((ax.axhline, high, len(rows)), (ax.axvline, wide, len(columns))):
            if k < count:
                draw(k * pitch - 0.5, color="0.6", lw=0.6)
    ax.set_xticks((np.arange(len(columns)) + 0.5) * wide - 0.5, [f"{x:.0f}" for x in columns])
    ax.set_yticks((np.arange(len(rows)) + 0.5) * high - 0.5, [f"{y:.0f}" for y in rows])
    ax.set(title=f"PSFs of {grid.size[0]} x {grid.size[1]} pixels", xlabel="column (pixels)", ylabel="row (pixels)")
    bar = fig.colorbar(shown, ax=ax, location="bottom", label="share of the light per pixel", shrink=0.9)
    bar.locator = MaxNLocator(5)
    return fig
