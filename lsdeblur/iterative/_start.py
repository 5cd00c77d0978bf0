"""Where iterative methods start: Tikhonov's solution with automatic lambda, on the whole grid, and what it knows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lsdeblur import _fft, direct
from lsdeblur._kernels import product
from lsdeblur._methods import Problem, Solution
from lsdeblur._stage import Stage
from lsdeblur._validate import check_positive
from lsdeblur.noise import colour
from lsdeblur.spectrum import hermitian_weights

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
        The same in the frame, with `lam`, `noise_std`, `noise_width`, ...
    freedom : float
        Degrees of freedom over the number of pixels, ``mean |H|^2 / (|H|^2 + lam P)``: how much of the scene the data
        determine.
    noise_std : float
        Standard deviation of the noise.
    gain : float
        Sum of the PSF, the mean one of several.
    """

    scene: Array
    solution: Solution
    freedom: float
    noise_std: float
    gain: float

    @classmethod
    def of(cls, problem: Problem, noise_std: float | None = None) -> Start:
        """For the problem's uniform PSF, one or one per channel; a known noise level replaces the one in the data."""
        known = None if noise_std is None else check_positive(noise_std, "noise_std")
        stage = Stage.of(problem, _TOL, _MAX_ITER)
        found = direct.tikhonov(problem, tol=_TOL, max_iter=_MAX_ITER)
        chosen = found.selection
        assert chosen is not None
        assert found.lam is not None
        freedom = float(np.interp(np.log(found.lam), np.log(chosen.lams), chosen.dof)) / chosen.n_obs
        options = {"lam": found.lam, "noise_width": found.noise_width, "noise_floor": found.noise_floor}
        gain, rest = direct._tikhonov_filter(stage, **options)
        forward = stage.forward(stage.transform(stage.extend(problem.image)), stage.systems(rest))
        for c, y in enumerate(forward.spectrum):
            product(y, gain[c % len(gain)], workers=problem.workers)
        scene = _fft.irfftn(forward.spectrum, stage.grid, problem.workers)
        assert found.noise_std is not None
        dc = stage.H.reshape(len(stage.H), -1)[:, 0]
        return cls(scene, found, freedom, found.noise_std if known is None else known, float(np.mean(np.abs(dc))))

    @property
    def noise_power(self) -> float:
        """Noise power per frequency near frequency zero; the variance where noise is white."""
        found = self.solution
        if not found.noise_width:
            return self.noise_std**2
        c, grid = colour(self.scene.shape[1:], found.noise_width, found.noise_floor), self.scene.shape[1:]
        return self.noise_std**2 * float(c.flat[0]) * math.prod(grid) / float(np.sum(c * hermitian_weights(grid)))

    def data_penalty(self, slope: float) -> float:
        """Penalty parameter of the blurred scene's copy in a splitting, for scenes of mean gradient `slope`.

        The less noise, the smaller it must be; the fastest of those tried on 16 cases was about this.
        """
        return 0.1 * math.sqrt(max(self.noise_std, 1e-4 * slope * self.gain) / (slope * self.gain))
