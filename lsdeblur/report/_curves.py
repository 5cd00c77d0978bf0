"""How lambda was chosen, as charts: the L-curve, and the criterion of every rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lsdeblur._results import Selection
from lsdeblur.report._charts import Chart, number

__all__ = ["Curves", "curves_of"]

Array = npt.NDArray[np.float64]

_REACH = 1e4  # factor around the lambdas of interest that is drawn
_POINTS = 160
_SHAPES = {  # paths around (0, 0), told apart without colour
    "evidence": "M-4-4H4V4H-4Z",
    "gcv": "M0-5.5 5.5 0 0 5.5-5.5 0Z",
    "l-curve": "M0-5.5 5 4H-5Z",
    "discrepancy": "M0 5.5 5-4H-5Z",
    "sure": "M-1.5-5h3v3.5h3.5v3h-3.5v3.5h-3v-3.5h-3.5v-3h3.5Z",
    "least-error": "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0-10 0Z",
    "image-error": "M0-6 1.5-1.5 6 0 1.5 1.5 0 6-1.5 1.5-6 0-1.5-1.5Z",
}
_RING = "M-8 0a8 8 0 1 0 16 0a8 8 0 1 0-16 0Z"
_DOT = "M-2.5 0a2.5 2.5 0 1 0 5 0a2.5 2.5 0 1 0-5 0Z"
_NAMES = {
    "evidence": ("Evidence", "−2 log L per value, above its minimum"),
    "gcv": ("Generalised cross-validation", "n R / (n − D)²"),
    "l-curve": ("Curvature of the L-curve", "largest at its corner"),
    "discrepancy": ("Discrepancy", "R / n σ² − safety"),
    "sure": ("SURE", "risk per value, above its minimum"),
    "least-error": ("Least expected error", "expected squared error"),
    "image-error": ("Image error", "log V / T σ²"),
}


@dataclass(frozen=True, slots=True)
class Curves:
    """The charts of a selection, the lambdas their cursors stand at, as numbers and text, and what is to be read there.

    `rules` are (path of the mark, name, lambda as text, whether it was used) of every rule with an answer or a curve.
    """

    charts: list[Chart]
    lams: list[float]
    labels: list[str]
    readings: list[str]
    rules: list[tuple[str, str, str, bool]]
    symbol: str


def curves_of(selection: Selection, stops: Sequence[float] = ()) -> Curves:
    """Everything that the page shows of a selection; the cursors stand at `stops`, too."""
    whole = selection.approximate or selection
    iterations = not selection.criteria  # methods that regularise by stopping have their number in lambda's place
    keep = _of_interest(whole, selection)
    lams = np.union1d(np.asarray(whole.lams, np.float64)[keep], [selection.lam, *stops])
    lams = lams[(lams >= whole.lams[0]) & (lams <= whole.lams[-1])]

    def at_lams(values: Array) -> Array:
        return np.interp(np.log(lams), np.log(whole.lams), np.broadcast_to(values, np.shape(whole.lams)))

    residual, seminorm = (np.sqrt(np.maximum(at_lams(v), 0)) for v in (whole.residual, whole.seminorm))
    charts = []
    if len(lams) > 2 and min(residual.min(), seminorm.min()) > 0 and np.ptp(residual) > 0 and np.ptp(seminorm) > 0:
        charts.append(_l_curve(selection, lams, residual, seminorm, iterations))
    criteria = selection.criteria or {selection.criterion: selection.values}
    for rule in criteria:
        source = whole if rule in whole.criteria else selection
        at = keep if source is whole else np.arange(len(selection.lams))
        values = np.asarray((source.criteria or criteria)[rule], np.float64)[at]
        if np.isfinite(values).sum() > 1:
            charts.append(_criterion(selection, rule, np.asarray(source.lams)[at], values, lams, iterations))
    size = "size of the solution" if iterations else "seminorm"
    columns = {"residual": residual, size: seminorm, "degrees of freedom": at_lams(whole.dof)}
    there = {name: values for name, values in columns.items() if np.isfinite(values).all()}
    readings = [", ".join(f"{name} {number(v[i])}" for name, v in there.items()) for i in range(len(lams))]
    rules = [
        (
            _SHAPES.get(rule, _DOT),
            _NAMES.get(rule, (rule, ""))[0],
            _answer(selection, rule),
            rule == selection.criterion,
        )
        for rule in criteria
    ]
    symbol = "iterations" if iterations else "λ"
    return Curves(charts, [float(v) for v in lams], [_text(selection, v) for v in lams], readings, rules, symbol)


def _text(selection: Selection, value: float) -> str:
    """A lambda, or a number of iterations, for reading."""
    return number(value) if selection.criteria else f"{value:.0f}"


def _answer(selection: Selection, rule: str) -> str:
    answer = selection.choices.get(rule, selection.lam if rule == selection.criterion else None)
    return "no answer" if answer is None else _text(selection, answer)


def _of_interest(whole: Selection, selection: Selection) -> npt.NDArray[np.intp]:
    """Indices of the lambdas that are drawn: around the choices, and not more than can be told apart."""
    marked = [selection.lam, *selection.choices.values()]
    low, high = min(marked) / _REACH, max(marked) * _REACH
    inside = np.flatnonzero((whole.lams >= low) & (whole.lams <= high))
    if len(inside) < 3:
        inside = np.arange(len(whole.lams))
    return inside[np.unique(np.linspace(0, len(inside) - 1, min(len(inside), _POINTS)).round().astype(int))]


def _on(lams: Array, values: Array, lam: float) -> float:
    """The value at one lambda, on a line between two samples; logarithmic in lambda."""
    return float(np.interp(np.log(lam), np.log(lams), values))


def _l_curve(selection: Selection, lams: Array, residual: Array, seminorm: Array, iterations: bool) -> Chart:
    """Size of the solution over size of the residual, both logarithmic."""
    size = "‖f‖" if iterations else "seminorm √⟨f, P f⟩"
    unit = "iterations" if iterations else "λ"
    ends = [_text(selection, v) for v in (lams[0], lams[-1])]
    grow = 1.15
    chart = Chart.of(
        "l-curve-plane",
        "Residual and solution" if iterations else "L-curve",
        ("residual ‖h∗f − g‖", residual.min() / grow, residual.max() * grow, True),
        (size, seminorm.min() / grow, seminorm.max() * grow, True),
        height=440,
        along="xy",
        description=f"Size of the solution over that of the residual, from {unit} = {ends[0]} to {ends[1]}.",
    )
    chart.line(residual, seminorm, "curve dashed" if selection.approximate else "curve")
    if selection.approximate:
        for r, e in zip(selection.residual, selection.seminorm, strict=True):
            chart.mark(_DOT, r**0.5, e**0.5, "solved", "solved exactly")
    chart.follow(residual, seminorm)
    logs = np.log(residual), np.log(seminorm)
    for rule, lam in selection.choices.items():
        x, y = (float(np.exp(_on(lams, v, lam))) for v in logs)
        chart.mark(_SHAPES.get(rule, _DOT), x, y, "choice", f"{_NAMES.get(rule, (rule,))[0]}: {number(lam)}")
    x, y = (float(np.exp(_on(lams, v, selection.lam))) for v in logs)
    chart.mark(_RING, x, y, "used", f"used: {_text(selection, selection.lam)}")
    return chart


def _criterion(selection: Selection, rule: str, lams: Array, values: Array, cursor: Array, iterations: bool) -> Chart:
    """One rule's criterion over lambda, its answer and the lambda that was used."""
    name, quantity = _NAMES.get(rule, (rule, rule))
    if rule in ("evidence", "sure") and not iterations:
        values = (values - np.nanmin(np.where(np.isfinite(values), values, np.nan))) / selection.n_obs
    low, high, log = _limits(rule, values[np.isfinite(values)])
    label = "iterations" if iterations else "λ"
    chart = Chart.of(
        rule, name, (label, float(cursor[0]), float(cursor[-1]), not iterations), ("", low, high, log),
        height=200, description=f"{quantity}, over {label}.",
    )  # fmt: skip
    if rule in ("discrepancy", "l-curve", "image-error"):
        chart.line([cursor[0], cursor[-1]], [0, 0], "zero")
    chart.line([selection.lam] * 2, [low, high], "used")
    chart.line(lams, values, "curve")
    answer = selection.choices.get(rule, selection.lam if rule == selection.criterion else None)
    if answer is not None:
        chart.mark(
            _SHAPES.get(rule, _DOT), answer, _on(lams, values, answer), "choice", f"{name}: {_text(selection, answer)}"
        )
    chart.follow(cursor, np.interp(np.log(cursor), np.log(lams), values, left=np.nan, right=np.nan))
    return chart


def _limits(rule: str, values: Array) -> tuple[float, float, bool]:
    """The region around the answer: criteria grow by orders of magnitude away from it."""
    low, high = float(values.min()), float(values.max())
    if rule in ("gcv", "least-error") and low > 0:
        return low * 0.8, max(min(1.2 * high, low * 30), 1.5 * low), True
    if rule == "discrepancy":
        return -1.1, 3.0, False
    if rule == "l-curve":
        peak = abs(high) or 1.0
        return -0.5 * peak, 1.2 * peak, False
    if rule in ("evidence", "sure"):
        top = min(high, 3.0) or 1.0
        return -0.06 * top, top, False
    edge = 0.08 * (high - low) or 1.0
    return low - edge, high + edge, False
