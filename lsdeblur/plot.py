"""Figures: the curves that chose lambda, images side by side, PSFs. Each function returns what it drew on.

Colours are Okabe and Ito's, which people with any colour vision tell apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from lsdeblur._results import Selection
from lsdeblur._validate import as_float_array, check_size
from lsdeblur.spectrum import transfer_function

__all__ = ["compare", "l_curve", "selection_curves", "show_psf"]

Array = npt.NDArray[Any]

_COLOURS = {
    "evidence": "#0072B2",
    "gcv": "#D55E00",
    "l-curve": "#009E73",
    "discrepancy": "#CC79A7",
    "sure": "#56B4E9",
    "least-error": "#E69F00",
}
_MARKERS = {"evidence": "s", "gcv": "D", "l-curve": "^", "discrepancy": "v", "sure": "P", "least-error": "X"}
_LABELS = {
    "evidence": "evidence: $-2\\log L$ per value",
    "gcv": "GCV: $nR/(n-D)^2$",
    "l-curve": "L-curve: curvature",
    "discrepancy": "discrepancy: $R/n\\sigma^2 - 1$",
    "sure": "SURE per value",
    "least-error": "expected squared error",
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
        With the choice of every rule that has one marked, and that of the rule that was used ringed.
    """
    ax = ax or plt.subplots(figsize=(5.2, 4.2), layout="constrained")[1]
    x, y = np.sqrt(selection.residual), np.sqrt(selection.seminorm)
    ax.loglog(x, y, color="0.35", lw=1.5, zorder=1)
    t = np.log(selection.lams)

    def point(lam: float) -> tuple[float, float]:
        return tuple(float(np.exp(np.interp(np.log(lam), t, np.log(v)))) for v in (x, y))  # type: ignore[return-value]

    for rule, lam in selection.choices.items():
        style = {"color": _COLOURS[rule], "marker": _MARKERS[rule], "ls": "none", "ms": 6, "zorder": 3}
        ax.plot(*point(lam), label=f"{rule}: {lam:.2g}", **style)  # type: ignore[arg-type]
    ring = {"ls": "none", "marker": "o", "ms": 14, "mfc": "none", "mec": "black", "mew": 1.3, "zorder": 4}
    ax.plot(*point(selection.lam), label=f"used: {selection.lam:.2g}", **ring)  # type: ignore[arg-type]
    for decade in range(int(np.ceil(t[0] / np.log(10))), int(np.floor(t[-1] / np.log(10))) + 1, 2):
        at = point(10.0**decade)
        ax.plot(*at, marker=".", ms=4, color="0.35", zorder=2)
        ax.annotate(f"$10^{{{decade}}}$", at, (4, 4), textcoords="offset points", fontsize=7, color="0.35")
    ax.set_xlabel(r"residual norm  $\|h * f - g\|$")
    ax.set_ylabel(r"seminorm  $\langle f, P f\rangle^{1/2}$")
    ax.legend(title=r"$\lambda$ by", frameon=False, fontsize=8, title_fontsize=8)
    ax.grid(which="major", color="0.9", lw=0.5)
    return ax


def selection_curves(selection: Selection, fig: Figure | None = None) -> Figure:
    """Every rule's criterion over lambda, one panel each, with its choice and the lambda that was used.

    Evidence, GCV, SURE and the expected error are minimised, the L-curve's curvature is maximised, the discrepancy
    is zero at its answer. Evidence and SURE are shown per data value, less their minimum.
    """
    rules = list(selection.criteria)
    fig = fig or plt.figure(figsize=(5.6, 0.9 + 1.35 * len(rules)), layout="constrained")
    axes = fig.subplots(len(rules), 1, sharex=True, squeeze=False)[:, 0]
    for ax, rule in zip(axes, rules, strict=True):
        values = selection.criteria[rule]
        if rule in ("evidence", "sure"):
            values = (values - np.nanmin(values)) / selection.n_obs
        ax.plot(selection.lams, values, color=_COLOURS[rule], lw=1.5)
        ax.axvline(selection.lam, color="black", lw=0.8, ls="--", label=f"used: {selection.lam:.2g}")
        if rule in selection.choices:
            lam = selection.choices[rule]
            height = np.interp(np.log(lam), np.log(selection.lams), values)
            ax.plot(lam, height, marker=_MARKERS[rule], color=_COLOURS[rule], ls="none", label=f"chosen: {lam:.2g}")
        else:
            ax.plot([], [], ls="none", label="no answer")
        _focus(ax, rule, values)
        ax.set_title(_LABELS[rule], fontsize=9, loc="left")
        ax.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    axes[-1].set_xscale("log")
    axes[-1].set_xlabel(r"$\lambda$")
    return fig


def compare(
    images: Mapping[str, npt.ArrayLike] | Sequence[npt.ArrayLike],
    *,
    inset: Sequence[int] | None = None,
    fig: Figure | None = None,
) -> Figure:
    """Images side by side on one grey scale, with the same detail enlarged below each.

    Parameters
    ----------
    images : mapping of title to image, or sequence of images
        Images (rows, columns) or (rows, columns, 3), of similar size; a `Restoration` may stand for its image. The
        grey scale is that of the last one, cut at its 0.1 and 99.9 per cent.
    inset : (row, column, height, width), optional
        The detail; by default a fifth of the last image at its centre.
    fig : matplotlib Figure, optional
        Where to draw; a new one otherwise.
    """
    titled = dict(images) if isinstance(images, Mapping) else {f"image {i + 1}": a for i, a in enumerate(images)}
    arrays = {title: as_float_array(a, title, ndim=(2, 3)) for title, a in titled.items()}
    if not arrays:
        raise ValueError("images is empty: give at least one")
    for title, a in arrays.items():
        if a.ndim == 3 and a.shape[2] not in (3, 4):
            raise ValueError(f"{title} has shape {a.shape}: compare shows grey or RGB images; pick one plane")
    last = list(arrays.values())[-1]
    h, w = last.shape[:2]
    row, column, height, width = inset or (2 * h // 5, 2 * w // 5, max(h // 5, 1), max(w // 5, 1))
    low, high = (float(v) for v in np.percentile(last, (0.1, 99.9)))
    high = high if high > low else low + 1
    size = 3.4 * len(arrays)
    fig = fig or plt.figure(figsize=(size, size / len(arrays) * (h / w + height / width)), layout="constrained")
    axes = fig.subplots(2, len(arrays), squeeze=False, height_ratios=(h / w, height / width))
    for (title, a), (whole, detail) in zip(arrays.items(), axes.T, strict=True):
        shown = np.clip((a - low) / (high - low), 0, 1)
        for ax, part in ((whole, shown), (detail, shown[row : row + height, column : column + width])):
            ax.imshow(part, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            ax.set_xticks([])
            ax.set_yticks([])
        whole.set_title(title, fontsize=10)
        whole.add_patch(Rectangle((column - 0.5, row - 0.5), width, height, fill=False, ec="#E69F00", lw=1.2))
        for spine in detail.spines.values():
            spine.set(color="#E69F00", lw=1.2)
    return fig


def show_psf(psf: npt.ArrayLike, fig: Figure | None = None) -> Figure:
    """A PSF (2-D) and the modulus of its transfer function, with the frequencies it erases dark.

    The transfer function is shown in dB relative to frequency zero, down to -60; frequencies in cycles per pixel.
    """
    h = as_float_array(psf, "psf", ndim=(2,))
    fig = fig or plt.figure(figsize=(8.2, 3.6), layout="constrained")
    left, right = fig.subplots(1, 2)
    edges = [e for s in h.shape[::-1] for e in (-(s // 2) - 0.5, s - s // 2 - 0.5)]
    shown = left.imshow(h, cmap="viridis", extent=(edges[0], edges[1], edges[3], edges[2]), interpolation="nearest")
    left.set(title="PSF", xlabel="column from the centre (pixels)", ylabel="row from the centre (pixels)")
    fig.colorbar(shown, ax=left, label="share of the light per pixel", shrink=0.85)
    grid = check_size([max(257, 2 * s + 1 - s % 2) | 1 for s in h.shape], 2)
    half = np.abs(transfer_function(h, grid))
    half /= half[0, 0]
    full = np.concatenate([half, np.roll(half[::-1, :0:-1], 1, axis=0)], axis=1)
    decibels = 20 * np.log10(np.maximum(_centred(full), 1e-3))
    shown = right.imshow(
        decibels, cmap="magma", vmin=-60, vmax=0, extent=(-0.5, 0.5, 0.5, -0.5), interpolation="nearest"
    )
    right.set(title="transfer function", xlabel="columns (cycles/pixel)", ylabel="rows (cycles/pixel)")
    fig.colorbar(shown, ax=right, label=r"$|H(\omega)/H(0)|$ (dB)", shrink=0.85)
    return fig


def _centred(spectrum: Array) -> Array:
    """Frequency zero in the middle of an odd-sized spectrum."""
    return np.roll(spectrum, [n // 2 for n in spectrum.shape], (0, 1))


def _focus(ax: Axes, rule: str, values: Array) -> None:
    """Limits that show the region around the answer: criteria grow by orders of magnitude away from it."""
    finite = values[np.isfinite(values)]
    if rule in ("gcv", "least-error") and finite.size and finite.min() > 0:
        ax.set_yscale("log")
        ax.set_ylim(finite.min() * 0.7, min(finite.max(), finite.min() * 30))
    elif rule == "discrepancy":
        ax.axhline(0, color="0.6", lw=0.6)
        ax.set_ylim(-1.1, 3)
    elif rule == "l-curve":
        ax.axhline(0, color="0.6", lw=0.6)
        ax.set_ylim(-0.5 * abs(finite.max()), 1.2 * abs(finite.max()))
    elif finite.size:
        ax.set_ylim(-0.1, min(finite.max(), 3.0))
