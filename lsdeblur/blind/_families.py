"""Families of PSFs with a few parameters: what `parametric` fits."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lsdeblur import psf

__all__ = ["FAMILIES", "MAX_LENGTH", "Family"]

Array = npt.NDArray[Any]

#: pixels, of a motion: the zeros of longer ones lie too close together to be seen in tiles of 256 pixels
MAX_LENGTH = 64.0


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """PSFs ``psfs(*q)``, to be applied one after the other, of parameters q.

    `lowest` and `highest` bound q; ``units(q)`` are steps of each of q that change the PSF by about as much;
    ``describe(q)`` are the parameters under the names that `lsdeblur.psf` gives them.
    """

    psfs: Callable[..., tuple[Array, ...]]
    lowest: tuple[float, ...]
    highest: tuple[float, ...]
    units: Callable[[Array], Array]
    describe: Callable[[Array], Mapping[str, Any]]

    @property
    def bounds(self) -> tuple[Array, Array]:
        return np.array(self.lowest), np.array(self.highest)

    def psf(self, q: Array) -> Array:
        """One PSF, odd-sized, of sum 1."""
        parts = self.psfs(*q)
        return parts[0] if len(parts) == 1 else psf.combine(*parts)


def _turn(length: float) -> float:
    """Degrees that move the ends of a line by a pixel."""
    return math.degrees(2 / max(length, 2.0))


def _elliptical(q: Array) -> Mapping[str, Any]:
    """The long axis at `angle`, as `psf.gaussian` has it with sigma = (short, long)."""
    a, b, angle = (float(v) for v in q)
    return {"sigma": (min(a, b), max(a, b)), "angle": (angle if a <= b else angle + 90) % 180}


def _ellipse(rows: float, columns: float, angle: float) -> tuple[Array]:
    """`psf.gaussian` with two widths, by five nodes a pixel and axis: to 1e-4 for widths of 0.3 and more, in a tenth of
    the time."""
    t, weights = (v / 2 for v in np.polynomial.legendre.leggauss(5))
    turn, reach = math.radians(angle), math.ceil(4 * max(rows, columns))
    y = (np.arange(-reach, reach + 1)[:, np.newaxis] + t).ravel()
    along, across = np.array([math.cos(turn), -math.sin(turn)]), np.array([math.sin(turn), math.cos(turn)])
    x, v = (np.add.outer(u[1] * y, u[0] * y) for u in (along, across))
    density = np.exp(-0.5 * ((x / columns) ** 2 + (v / rows) ** 2))
    h = np.einsum("iajb,a,b->ij", density.reshape(2 * reach + 1, 5, 2 * reach + 1, 5), weights, weights)
    return (h / h.sum(),)


def _moffat(fwhm: float, beta: float) -> tuple[Array]:
    """As wide as holds 99.9 % of the energy, so that it fits into a tile; its wings go on beyond."""
    alpha = fwhm / (2 * math.sqrt(2 ** (1 / beta) - 1))
    radius = alpha * math.sqrt(10 ** (3 / (beta - 1)) - 1)
    return (psf.moffat(fwhm, beta, size=2 * math.ceil(min(max(radius, 3.0), 31.0)) + 1),)


FAMILIES: dict[str, Family] = {
    "delta": Family(lambda: (psf.delta(),), (), (), lambda q: np.zeros(0), lambda q: {}),
    "motion": Family(
        lambda length, angle: (psf.motion(length, angle),),
        (1.0, -math.inf),
        (1.2 * MAX_LENGTH, math.inf),
        lambda q: np.array([min(1.0, q[0] / 5), _turn(q[0])]),
        lambda q: {"length": float(q[0]), "angle": float(q[1]) % 180},
    ),
    "defocus": Family(
        lambda radius: (psf.disk(radius),),
        (0.5,),
        (MAX_LENGTH / 2,),
        lambda q: np.array([0.3]),
        lambda q: {"radius": float(q[0])},
    ),
    "gaussian": Family(
        lambda sigma: (psf.gaussian(sigma),),
        (0.05,),
        (MAX_LENGTH / 5,),
        lambda q: 0.1 + q / 10,
        lambda q: {"sigma": float(q[0])},
    ),
    "elliptical-gaussian": Family(
        _ellipse,
        (0.3, 0.3, -math.inf),
        (MAX_LENGTH / 5, MAX_LENGTH / 5, math.inf),
        lambda q: np.array([0.1 + q[0] / 10, 0.1 + q[1] / 10, 10.0]),
        _elliptical,
    ),
    "moffat": Family(
        _moffat,
        (0.3, 1.2),
        (MAX_LENGTH / 3, 12.0),
        lambda q: np.array([0.2 + q[0] / 10, 0.2 * q[1]]),
        lambda q: {"fwhm": float(q[0]), "beta": float(q[1])},
    ),
    "motion+defocus": Family(
        lambda length, angle, radius: (psf.motion(length, angle), psf.disk(radius)),
        (3.0, -math.inf, 1.5),
        (1.2 * MAX_LENGTH, math.inf, MAX_LENGTH / 2),
        lambda q: np.array([min(1.0, q[0] / 5), _turn(q[0]), 0.3]),
        lambda q: {"length": float(q[0]), "angle": float(q[1]) % 180, "radius": float(q[2])},
    ),
}
