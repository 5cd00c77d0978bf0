"""Where iterative methods start: Tikhonov's solution with automatic lambda, on the whole grid, and what it knows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lsdeblur import _fft, direct
from lsdeblur._gains import tikhonov_filter
from lsdeblur._kernels import product
from lsdeblur._methods import Problem, Solution
from lsdeblur._stage import Stage
from lsdeblur._validate import check_positive
from lsdeblur.noise import colour
from lsdeblur.spectrum import Penalty, hermitian_weights

__all__ = ["Start"]

Array = npt.NDArray[Any]
_TOL, _MAX_ITER = 3e-5, 50


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Start:
    """Tikhonov's solution with automatic lambda.

    Attributes
    ----------
    scene : array (channels, *grid)
        The scene, beyond the frame too.
    solution : Solution
        The same in the frame, with `lam`, `noise_width`, ...
    noise_std : float
        Standard deviation of the noise; NaN where neither it nor ``lam="auto"`` asked for one.
    determined : float
        Mean over the frequencies of ``H G N``: how far the data determine the scene there, for the gain G of Tikhonov's
        filter, times the noise power N. Of white noise that is the variance times the degrees of freedom per pixel.
    gain : float
        Sum of the PSF, the mean one of several.
    """

    scene: Array
    solution: Solution
    noise_std: float
    determined: float
    gain: float

    @classmethod
    def of(
        cls, problem: Problem, noise_std: float | None = None, *, lam: float | str = "auto",
        penalty: Penalty = "laplacian+gradient", tau: float = 0.1,
    ) -> Start:  # fmt: skip
        """For the problem's uniform PSF, one or one per channel; a known noise level replaces the one in the data."""
        known = None if noise_std is None else check_positive(noise_std, "noise_std")
        stage = Stage.of(problem, _TOL, _MAX_ITER)
        found = direct.tikhonov(problem, lam=lam, penalty=penalty, tau=tau, tol=_TOL, max_iter=_MAX_ITER)
        colours = {"noise_width": found.noise_width, "noise_floor": found.noise_floor}
        G, rest = tikhonov_filter(stage, lam=found.lam, penalty=penalty, tau=tau, **colours)
        forward = stage.settled(stage.transform(stage.extend(problem.image)), stage.systems(rest))
        for c, y in enumerate(forward.spectrum):
            product(y, G[c % len(G)], workers=problem.workers)
        scene = _fft.irfftn(forward.spectrum, stage.grid, problem.workers)
        sigma = found.noise_std if known is None else known
        sigma = math.nan if sigma is None else sigma
        dc = np.abs(stage.H.reshape(len(stage.H), -1)[:, 0])
        return cls(scene, found, sigma, sigma**2 * _determined(stage, G, found), float(np.mean(dc)))

    def data_penalty(self, slope: float) -> float:
        """Penalty parameter of the blurred scene's copy in a splitting, for scenes of mean gradient `slope`.

        The less noise, the smaller it must be; the fastest of those tried on 16 cases was about this.
        """
        return 0.1 * math.sqrt(max(self.noise_std / (slope * self.gain), 1e-4))


def _determined(stage: Stage, G: Array, found: Solution) -> float:
    """Mean of ``H G c`` for the noise's spectrum c, of mean 1; c = 1 for white noise."""
    weights = hermitian_weights(stage.grid)
    kept = np.mean((stage.H * G).real, axis=0, dtype=np.float64) * weights
    if not found.noise_width:
        return float(np.sum(kept)) / math.prod(stage.grid)
    c = colour(stage.grid, found.noise_width, found.noise_floor)
    return float(np.sum(kept * c) / np.sum(c * weights))
