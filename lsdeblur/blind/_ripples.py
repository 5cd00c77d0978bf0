"""First values of a blur's parameters, from the zeros that it leaves in a spectrum.

What a smooth spectrum (that of a scene without blur, and noise) leaves of the logarithm of the observed one is
compared with what each of some thousand blurs would leave: ``log(r K + 1 - r)`` for ``K = |H|^2`` and the share r of
the scene. K has a smooth fall, which a scene may have as well, and ripples, which it does not: both are fitted with
coefficients of their own, and only positive ones count. All that the scene's functions can imitate is projected away
first. The cepstrum, the Radon transform of the logarithm and the autocorrelation of the gradient see the same zeros,
but do not weigh the frequencies by what the noise leaves of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lsdeblur.blind._whittle import PIECE, Fit, Spectrum, columns_products

__all__ = ["Ripples"]

Array = npt.NDArray[np.float32]

_SAMPLES = 3000  # frequencies looked at
_GROWTH = 1.06  # from one length or radius to the next
_ANGLES = np.arange(0.0, 180.0, 2.0)
_LEAST = 1e-3  # of the observed power: no zero is deeper


@dataclass(frozen=True, slots=True, eq=False)
class Ripples:
    """Residual (n,) of the log spectrum and what is needed to compare blurs with it.

    wy, wx (n,) : radians per pixel; share (n, 1) : r; weights (n, 1) : square roots; known (n, p) : orthonormal,
    what the scene and the noise can imitate.
    """

    wy: Array
    wx: Array
    share: Array
    weights: Array
    known: Array
    residual: Array

    @classmethod
    def of(cls, spectrum: Spectrum, sharp: Fit) -> Ripples:
        """`sharp` is the fit without blur."""
        n = spectrum.power.size
        few = np.random.default_rng(1).choice(n, min(n, _SAMPLES), replace=False)
        weights = np.sqrt(spectrum.weights[few] / spectrum.weights.max())[:, np.newaxis].astype(np.float32)
        share = sharp.share[few, np.newaxis].astype(np.float32)
        X = np.hstack([spectrum.basis[few] * share, spectrum.tint[few] * (1 - share)]).astype(np.float32) * weights
        known = np.linalg.qr(X)[0]
        left = np.log(spectrum.power[few] / sharp.M[few]).astype(np.float32)
        left *= weights[:, 0]
        left -= np.einsum("np,p->n", known, np.einsum("np,n->p", known, left))
        wy, wx = (w[few].astype(np.float32) for w in (spectrum.wy, spectrum.wx))
        return cls(wy, wx, share, weights, known, left)

    def motions(self, longest: float, number: int) -> list[tuple[float, float]]:
        """The `number` best (length, angle): local maxima of what they explain. ``K = (sin x / x)^2``."""
        lengths = _geometric(3.0, longest)
        found = np.empty((len(_ANGLES), len(lengths)))
        for row, angle in zip(found, np.radians(_ANGLES), strict=True):
            along = np.cos(angle, dtype=np.float32) * self.wx - np.sin(angle, dtype=np.float32) * self.wy
            x = along[:, np.newaxis] * (lengths / 2)
            row[:] = self._explained(np.sinc(x / np.float32(math.pi)) ** 2, 1 / (1 + 2 * x * x))
        around = np.pad(np.pad(found, [(1, 1), (0, 0)], mode="wrap"), [(0, 0), (1, 1)], constant_values=-1)
        near = [around[i : i + found.shape[0], j : j + found.shape[1]] for i in range(3) for j in range(3)]
        peaks = np.argwhere(found == np.max(near, axis=0))
        best = sorted(peaks.tolist(), key=lambda peak: -found[tuple(peak)])[:number]
        return [(float(lengths[j]), float(_ANGLES[i])) for i, j in best]

    def disks(self, widest: float, number: int) -> list[tuple[float]]:
        """The `number` best radii. ``K = (2 J_1(v) / v)^2``."""
        from scipy.special import j1

        radii = _geometric(1.2, widest)
        v = np.hypot(self.wy, self.wx)[:, np.newaxis] * radii
        found = self._explained((2 * j1(v) / v) ** 2, 1 / (1 + np.float32(math.pi / 4) * v**3))
        around = np.pad(found, 1, constant_values=-1)
        peaks = np.flatnonzero((found >= around[:-2]) & (found >= around[2:]))
        return [(float(radii[i]),) for i in sorted(peaks, key=lambda i: -found[i])[:number]]

    def _explained(self, K: npt.NDArray[Any], fall: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Squares that blurs (columns) explain, with coefficients >= 0 for the ripples and the `fall` of K (n, m)."""
        ripple, smooth = (self._left(part) for part in (K / fall, fall))
        a, b, c = (np.einsum("ij,ij->j", *pair) + 1e-6 for pair in ((ripple,) * 2, (smooth,) * 2, (ripple, smooth)))
        p, q = (np.einsum("n,nj->j", self.residual, part) for part in (ripple, smooth))
        determinant = np.maximum(a * b - c * c, 1e-6)
        u, v = (b * p - c * q) / determinant, (a * q - c * p) / determinant
        alone = np.where(p > 0, p * p / a, 0.0)
        return np.where(v <= 0, alone, np.where(u > 0, u * p + v * q, 0.0))

    def _left(self, K: npt.NDArray[Any]) -> Array:
        """What a blur of power K would leave of the log spectrum beyond what the scene and the noise can imitate."""
        t = np.log(self.share * (K - 1) + 1 + np.float32(_LEAST))
        t *= self.weights
        shares = columns_products(self.known, t)
        for rows in (slice(i, i + PIECE) for i in range(0, len(t), PIECE)):  # BLAS would start threads for the whole
            t[rows] -= self.known[rows] @ shares
        return t


def _geometric(first: float, last: float) -> Array:
    steps = max(1, math.ceil(math.log(max(last / first, _GROWTH)) / math.log(_GROWTH)))
    return (first * _GROWTH ** np.arange(steps + 1)).astype(np.float32)
