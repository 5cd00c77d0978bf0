"""Splitting: sparse or bounded restorations as linear solves in the frequency domain and pointwise proximal steps.

The scene f minimises ``1/2 ||M (h * f) - g||^2 + 1/2 <f, P f> + sum_i phi_i(K_i f)``. The blurred scene and every
``K_i f`` get a copy of their own, ``u = h * f`` and ``v_i = K_i f`` with penalty parameters mu_u, mu_i; with u split
off, too, the mask M never meets the convolution, and the step in f is a division of spectra on the periodic grid.
In terms of ``a = v + dual``, of which ``v = prox(a)``, an iteration of ADMM with over-relaxation (rho) is

    f = (mu_u |H|^2 + P + sum mu_i |K_i|^2)^-1 sum_i mu_i K_i^T (2 v_i - a_i),    a_i += rho (K_i f - v_i),

where u is one of the v. It costs two forward and two inverse real transforms: of the two sums, to f and h * f. Where
every pixel was measured, u needs no copy and an iteration costs one of each.

Source: M. S. C. Almeida & M. A. T. Figueiredo (2013), IEEE Trans. Image Process. 22, 3074-3086,
doi:10.1109/TIP.2013.2258354 (mask decoupling, sec. IV); M. V. Afonso, J. M. Bioucas-Dias & M. A. T. Figueiredo (2011),
IEEE Trans. Image Process. 20, 681-695, doi:10.1109/TIP.2010.2076294; over-relaxation: J. Eckstein & D. P. Bertsekas
(1992), Math. Program. 55, 293-318, doi:10.1007/BF01581204.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from lsdeblur import _fft
from lsdeblur._methods import Problem
from lsdeblur._validate import check_finite
from lsdeblur.errors import ConvergenceWarning
from lsdeblur.filters import power
from lsdeblur.iterative._loops import fitted, paired
from lsdeblur.iterative._observed import Observed

__all__ = ["RELAX", "Bounds", "Box", "Channel", "Split", "check_bounds", "run"]

Array = npt.NDArray[Any]
#: lowest and highest value, None for none
Bounds: TypeAlias = tuple[float | None, float | None] | None

RELAX = 1.8  # rho, between 0 and 2 for convex problems


class Split(Protocol):
    """A copy ``v = K f`` with its proximal step; it holds ``a``, its state."""

    @property
    def symbol(self) -> Array | float:
        """``mu |K|^2`` on the half grid."""
        ...

    def begin(self, scene: Array) -> Array:
        """``mu K^T (2 v - a)`` for a first a near ``K f``."""
        ...

    def step(self, scene: Array, relax: float) -> Array:
        """``a += rho (K f - v)``, then ``mu K^T (2 v - a)``."""
        ...


class Box:
    """Bounds: the copy ``v = f`` is clipped."""

    def __init__(self, low: float, high: float, mu: float) -> None:
        self._low, self._high, self.symbol = low, high, mu

    def begin(self, scene: Array) -> Array:
        self._a = scene.copy()
        return self._sum()

    def step(self, scene: Array, relax: float) -> Array:
        self._a += relax * (scene - np.clip(self._a, self._low, self._high))
        return self._sum()

    def _sum(self) -> Array:
        return self.symbol * (2 * np.clip(self._a, self._low, self._high) - self._a)


def check_bounds(bounds: Bounds) -> tuple[float, float]:
    """Lowest and highest value, infinite where there is none."""
    if bounds is None:
        return -np.inf, np.inf
    try:
        low, high = (
            default if x is None else check_finite(x, "bounds")
            for x, default in zip(bounds, (-np.inf, np.inf), strict=True)
        )
    except (TypeError, ValueError) as error:
        raise type(error)(f"bounds={bounds!r} must be a pair (low, high), with None for no bound: {error}") from None
    if not low < high:
        raise ValueError(f"bounds={bounds!r}: the lower one must be less than the upper one")
    return low, high


class Channel:
    """The state of one channel: the scene, the blurred scene's copy, and those of the splits."""

    def __init__(
        self, seen: Observed, scene: Array, splits: Sequence[Split], *, mu: float, quadratic: Array | float = 0.0,
        relax: float = RELAX,
    ) -> None:  # fmt: skip
        """Start from `scene` (*grid); `mu` is the penalty mu_u of the blurred scene's copy, `quadratic` is P."""
        self.seen, self.scene, self.splits, self._relax = seen, scene, splits, relax
        dtype = scene.dtype
        self._mu = mu = 1.0 if seen.measured is None else mu
        self._inverse = (1 / (dtype.type(mu) * power(seen.H) + quadratic + sum(s.symbol for s in splits))).astype(
            dtype, copy=False
        )
        self._sums = np.empty((2, *scene.shape) if seen.measured is not None else (1, *scene.shape), dtype)
        self._sums[0] = sum(s.begin(scene) for s in splits)
        if seen.measured is None:
            self._data = seen.H.conj() * _fft.rfftn(seen.data, scene.ndim, seen.workers)
        else:
            blurred = seen.filtered(seen.H, scene)
            self._state = blurred + seen.seen(blurred - seen.data) / dtype.type(mu)  # optimal if the scene is
            self._fit(blurred, 0.0)

    def _fit(self, blurred: Array, relax: float) -> None:
        seen = self.seen
        assert seen.measured is not None
        fitted(self._state, blurred, seen.data, seen.measured, self._mu, relax, self._sums[1], workers=seen.workers)

    def step(self) -> float:
        """One iteration; the root mean square change inside the frame."""
        seen, before = self.seen, self.scene
        W = _fft.rfftn(self._sums, before.ndim, seen.workers)
        if seen.measured is None:
            W[0] += self._data
            W *= self._inverse
            self.scene = _fft.irfftn(W, seen.grid, seen.workers)[0]
        else:
            paired(W, seen.H, self._inverse, workers=seen.workers)
            self.scene, blurred = _fft.irfftn(W, seen.grid, seen.workers)
            self._fit(blurred, self._relax)
        self._sums[0] = sum(s.step(self.scene, self._relax) for s in self.splits)
        change = seen.frame(before) - seen.frame(self.scene)
        return float(np.sqrt(np.mean(np.square(change), dtype=np.float64)))


def run(problem: Problem, channels: Sequence[Channel], least: float, max_iter: int, done: int = 0) -> tuple[int, bool]:
    """Iterate all channels until none changes by `least` or more; how many iterations, and whether it came so far.

    Of the `max_iter` iterations some may have been `done` before.
    """
    change = np.inf
    for iteration in range(done + 1, max_iter + 1):
        change = max(channel.step() for channel in channels)
        if not problem.goes_on(iteration, max_iter):
            return iteration, False
        if change < least:
            return iteration, True
    warnings.warn(
        f"the iterations still changed the image by {change:.2g} after {max_iter} of them; raise max_iter or tol",
        ConvergenceWarning,
        stacklevel=4,
    )
    return max_iter, False
