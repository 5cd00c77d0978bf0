"""Charts as numbers: axes, ticks and paths that the page draws as SVG."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from lsdeblur.report._pictures import Picture

__all__ = ["Axis", "Chart", "number", "path"]

Array = npt.NDArray[Any]

_LEFT, _RIGHT, _TOP, _BOTTOM = 68, 14, 10, 44  # margins around the frame
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: float, digits: int = 3) -> str:
    """A number for reading: 0.00938, 1250, 3.2 × 10⁻⁷."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else str(value)
    if 1e-4 <= abs(value) < 1e6:
        places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
        text = f"{value:.{places}f}"
        return text.replace("-", "−")
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    return f"{mantissa} × 10{str(int(exponent)).translate(_RAISED)}".replace("-", "−")


def _plain(value: float) -> str:
    text = f"{value:.6g}"
    return number(value, 1).replace(" × ", "·") if "e" in text else text.replace("-", "−")


def _power(exponent: float) -> str:
    return "10" + str(round(exponent)).translate(_RAISED)


@dataclass(frozen=True, slots=True)
class Axis:
    """A linear or logarithmic scale from `low` at pixel `start` to `high` at pixel `end`, and its label."""

    label: str
    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, values: npt.ArrayLike) -> Array:
        a = np.asarray(values, np.float64)
        with np.errstate(all="ignore"):
            if self.log:
                share = np.log(a / self.low) / math.log(self.high / self.low)
            else:
                share = (a - self.low) / (self.high - self.low)
        return np.asarray(self.start + (self.end - self.start) * share)

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Pixel and text of each."""
        values = self._decades() if self.log else self._steps()
        exponents = [math.log10(v) for v in values] if self.log else []
        powers = self.log and all(abs(e - round(e)) < 1e-9 for e in exponents) and max(map(abs, exponents)) > 2.5
        texts = [_power(e) for e in exponents] if powers else [_plain(v) for v in values]
        return [(round(float(self(v)), 1), text) for v, text in zip(values, texts, strict=True)]

    def _decades(self) -> list[float]:
        first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
        step = max(1, math.ceil((last - first + 1) / 6))
        if last - first >= 2:
            return [10.0**d for d in range(first, last + 1, step)]
        fine = [m * 10.0**d for d in range(first - 1, last + 1) for m in (1, 2, 5)]
        within = [v for v in fine if self.low <= v <= self.high]
        return within if len(within) > 1 else self._steps()

    def _steps(self) -> list[float]:
        low, high = sorted((self.low, self.high))  # rows grow downwards
        rough = (high - low) / 5
        unit = 10.0 ** math.floor(math.log10(rough))
        step = next(m * unit for m in (1, 2, 5, 10) if m * unit >= rough * 0.999)
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        return [k * step for k in range(first, last + 1)]


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart: axes, lines as (path, class), marks as (shape, x, y, class, label), an image behind them.

    `points` are where the page's cursor may stand, one (x, y) for each lambda, None where the curve leaves the frame;
    `along` says whether the nearest is looked for in both directions ("xy") or in one ("x").
    """

    key: str
    title: str
    x: Axis
    y: Axis
    width: int = 440
    height: int = 300
    lines: list[tuple[str, str]] = field(default_factory=list)
    marks: list[tuple[str, float, float, str, str]] = field(default_factory=list)
    image: Picture | None = None
    points: list[Any] = field(default_factory=list)
    along: str = "x"
    description: str = ""

    @classmethod
    def of(
        cls, key: str, title: str, x: tuple[str, float, float, bool], y: tuple[str, float, float, bool], *,
        width: int = 440, height: int = 300, **more: Any,
    ) -> Chart:  # fmt: skip
        """A chart whose axes, (label, low, high, logarithmic), fill its size."""
        across = Axis(*x[:3], _LEFT, width - _RIGHT, x[3])
        up = Axis(*y[:3], height - _BOTTOM, _TOP, y[3])
        return cls(key, title, across, up, width, height, **more)

    def line(self, x: npt.ArrayLike, y: npt.ArrayLike, kind: str) -> None:
        """Add a curve."""
        self.lines.append((path(self.x(x), self.y(y)), kind))

    def mark(self, shape: str, x: float, y: float, kind: str, label: str) -> None:
        """Add a mark, where it lies within the frame."""
        at = float(self.x(x)), float(self.y(y))
        if self.holds(*at):
            self.marks.append((shape, round(at[0], 1), round(at[1], 1), kind, label))

    def follow(self, x: Array, y: Array) -> None:
        """Let the cursor stand on these points."""
        for px, py in zip(self.x(x), self.y(y), strict=True):
            inside = self.holds(px, py)
            self.points.append([round(float(px), 1), round(float(py), 1) if inside else None])

    def holds(self, x: float, y: float) -> bool:
        """Whether a pixel lies within the frame."""
        return self.x.start - 1 <= x <= self.x.end + 1 and self.y.end - 1 <= y <= self.y.start + 1


def path(x: Array, y: Array) -> str:
    """SVG path through points; it breaks where one is not finite."""
    parts, pen = [], "M"
    for px, py in zip(np.ravel(x), np.clip(np.ravel(y), -1e4, 1e4), strict=True):
        if not (math.isfinite(px) and math.isfinite(py)):
            pen = "M"
            continue
        parts.append(f"{pen}{px:.1f} {py:.1f}")
        pen = "L"
    return "".join(parts)
