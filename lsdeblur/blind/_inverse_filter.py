"""The filter of NAS-RIF: the cost of a finite inverse filter for an object on a uniform background, and its minimum.

With the difference d = g - b of the image g from its background's level b and the filter u, the estimate of the object
is ``f = b + u * d``. Over the pixels of the frame, those of the support S and the others,

    J(u) = 1/E [ sum_S min(f, 0)^2 + sum_not S (f - b)^2 ] + gamma (sum u - 1)^2,     E = sum d^2.

J is convex and has a continuous gradient. Along a line it is a parabola in the pixels outside and pieces of parabolas
inside, so Newton's method on its derivative finds the minimum of a line without another transform.

Source: D. Kundur & D. Hatzinakos (1998), IEEE Trans. Signal Process. 46, 375-390, doi:10.1109/78.655423 (the cost and
conjugate gradients for it; there without 1/E and b, which make it independent of the units and of the background).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lsdeblur import _fft
from lsdeblur.boundary import crop, extend, grid_shape
from lsdeblur.spectrum import transfer_function

__all__ = ["Filtered", "Inverse", "delta", "inverse_filter"]

Array = npt.NDArray[Any]

_NEWTON = 30  # steps of a line search at the most; three to five find the piece with the minimum
_SPAN = 10  # iterations over which a decrease of the cost is looked at


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Filtered:
    """The linear map from a filter u (*size) to ``u * d`` in the frame, and its adjoint.

    Attributes
    ----------
    spectra : complex array (channels, *half grid)
        Of d, extended beyond the frame.
    grid, shape, size : tuple of int
        Of the periodic grid, the frame and the filter.
    """

    spectra: Array
    grid: tuple[int, ...]
    shape: tuple[int, ...]
    size: tuple[int, ...]
    workers: int | None

    @classmethod
    def of(cls, difference: Array, size: Sequence[int], boundary: str, workers: int | None) -> Filtered:
        """Of differences (channels, *shape). With "free", "taper" and "zero" the background goes on beyond the frame:
        an object that it surrounds is known there, too."""
        shape = difference.shape[1:]
        boundary = "zero" if boundary in ("free", "taper") else boundary
        grid = grid_shape(shape, size, boundary)
        spectra = _fft.rfftn(extend(difference, grid, boundary), len(grid), workers)
        return cls(spectra, grid, shape, tuple(size), workers)

    def __call__(self, u: Array) -> Array:
        U = transfer_function(u.astype(self.spectra.real.dtype), self.grid, workers=self.workers)
        return np.ascontiguousarray(crop(_fft.irfftn(U * self.spectra, self.grid, self.workers), self.shape))

    def adjoint(self, residual: Array) -> Array:
        """Correlation of a residual (channels, *shape) with d at the filter's lags (*size), summed over channels."""
        R = _fft.rfftn(extend(residual, self.grid, "zero"), len(self.grid), self.workers)
        C = np.einsum("c...,c...->...", self.spectra.conj(), R)
        lags = np.ix_(*[np.arange(s) - s // 2 for s in self.size])
        return _fft.irfftn(C, self.grid, self.workers)[lags].astype(np.float64)


class Inverse(NamedTuple):
    """A filter that was found: `u` (*size) of sum 1, ``u * d`` (channels, *shape), and how the iterations ended.

    `n_iter` were done, `converged` whether the tolerance was reached, `stopped` whether the caller ended them, and
    `cost` is J relative to that of the blurred image.
    """

    u: Array
    difference: Array
    n_iter: int
    converged: bool
    stopped: bool
    cost: float


def delta(size: Sequence[int]) -> Array:
    """The filter that changes nothing."""
    u = np.zeros(size)
    u[tuple(s // 2 for s in size)] = 1
    return u


def inverse_filter(
    filtered: Filtered, inside: npt.NDArray[np.bool_], levels: Sequence[float], known: npt.NDArray[np.bool_] | None, *,
    gamma: float, max_iter: int, tol: float, start: Array | None = None,
    goes_on: Callable[[int, int, float], bool] = lambda *_: True,
) -> Inverse:  # fmt: skip
    """Minimise J by conjugate gradients (Polak and Ribiere, restarted where they do not descend).

    Parameters
    ----------
    filtered : Filtered
    inside : bool array (*shape)
        The support.
    levels : sequence of float (channels)
        The background's.
    known : bool array (*shape) or None
        False where a pixel was not measured: it takes no part.
    gamma, max_iter, tol
        As in `nas_rif`.
    start : array (*size), optional
        A filter of sum 1; by default the delta.
    goes_on : callable
        As `Problem.goes_on`.
    """
    u = delta(filtered.size) if start is None else start
    seen = np.ones(inside.shape, bool) if known is None else known
    black = [np.asarray(-b, filtered.spectra.real.dtype) for b in levels]  # of differences, the value of f = 0
    within, outside = inside & seen, ~inside & seen
    d = filtered(delta(filtered.size))
    energy = float(np.vdot(d, d)) or 1.0
    f = filtered(u) if start is not None else d
    old = direction = None
    costs: list[float] = []
    converged = stopped = False
    iteration = 0
    while True:
        residual = np.stack(
            [np.where(within, np.minimum(x - k, 0), x * outside) for x, k in zip(f, black, strict=True)]
        )
        excess = float(u.sum()) - 1
        costs.append(float(np.vdot(residual, residual)) / energy + gamma * excess**2)
        if iteration:
            stopped = not goes_on(iteration, max_iter, costs[-1])
        converged = costs[-1] == 0 or (iteration >= _SPAN and costs[-1 - _SPAN] - costs[-1] <= tol * costs[-1])
        if stopped or converged or iteration == max_iter:
            break
        gradient = filtered.adjoint(residual) / energy + gamma * excess
        if not gradient.any():
            converged = True
            break
        if old is None or direction is None:
            direction = -gradient
        else:
            direction = max(0.0, float(np.vdot(gradient, gradient - old) / np.vdot(old, old))) * direction - gradient
            direction = direction if np.vdot(direction, gradient) < 0 else -gradient
        old, slope = gradient, filtered(direction)
        t = _line(f, slope, black, within, outside, energy, gamma, excess, float(direction.sum()))
        u, f, iteration = u + t * direction, f + f.dtype.type(t) * slope, iteration + 1
    scale = 1 / float(u.sum())
    return Inverse(u * scale, f * f.dtype.type(scale), iteration, converged, stopped, costs[-1] / (costs[0] or 1.0))


def _line(
    f: Array, slope: Array, black: Sequence[Any], within: Array, outside: Array, energy: float, gamma: float,
    excess: float, total: float,
) -> float:  # fmt: skip
    """The t >= 0 at which J of ``f + t slope`` is least; `total` is the sum of the filter's direction."""
    linear = quadratic = 0.0
    pieces = []
    for x, y, k in zip(f, slope, black, strict=True):
        a, b = x[outside].astype(np.float64), y[outside].astype(np.float64)
        linear, quadratic = linear + float(a @ b), quadratic + float(b @ b)
        pieces.append((x[within].astype(np.float64) - float(k), y[within].astype(np.float64)))
    linear, quadratic = linear / energy + gamma * excess * total, quadratic / energy + gamma * total**2
    t = 0.0
    for _ in range(_NEWTON):
        first, second = linear + t * quadratic, quadratic
        for a, b in pieces:
            v = a + t * b
            negative = v < 0
            w = b[negative]
            first, second = first + float(v[negative] @ w) / energy, second + float(w @ w) / energy
        if second <= 0:
            break
        step = first / second
        t -= step
        if abs(step) <= 1e-9 * abs(t) or not math.isfinite(t):
            break
    return t if math.isfinite(t) else 0.0
