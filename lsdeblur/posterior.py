"""The Gaussian posterior of Tikhonov's least squares: how uncertain every pixel is, and samples of the scene.

The minimiser of ``||M (h * f) - g||^2 + lam <f, P f>`` is the posterior's mean for noise of power spectrum ``kappa c``
(c is 1 for white noise) and a scene of power spectrum ``kappa / (lam P)``, of which the mean is unknown. On a periodic
grid of which every pixel is measured, the posterior covariance is a convolution with the power spectrum

    V = kappa c / (|H|^2 + lam P c)                                                                         (1)

so all pixels have one variance, the mean of V over all frequencies. Where pixels are unknown (a free boundary, a mask),
the error of restoring simulated data is a sample of the posterior, since the restoration is linear in the data: with a
scene f drawn from the model and data g of it, ``f - restored(g)`` has the posterior's covariance whatever was observed.
Source: Papandreou & Yuille (2010), NIPS 23, 1858-1866 (perturb and solve).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from lsdeblur import _fft
from lsdeblur._gains import make_plan
from lsdeblur._kernels import written_out
from lsdeblur._methods import Problem, Solution
from lsdeblur._stage import Plan, Stage
from lsdeblur.boundary import crop
from lsdeblur.filters import power
from lsdeblur.psf import PSFGrid
from lsdeblur.spectrum import hermitian_weights

__all__ = ["Posterior", "deviation", "samples"]

Array = npt.NDArray[Any]
_PENALTY: dict[str, Any] = {"penalty": "laplacian+gradient"}  # that of "tikhonov"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Posterior:
    """The posterior of one PSF's images.

    Attributes
    ----------
    plan : Plan
        The restoration.
    scene, noise : real arrays (*half grid)
        Roots of the power spectra of scenes and noise; the former is 0 where the model leaves the scene free.
    variance : float
        The mean of equation (1) over all frequencies.
    """

    plan: Plan
    scene: Array
    noise: Array
    variance: float

    @classmethod
    def all_of(cls, problem: Problem, solution: Solution, options: Mapping[str, Any]) -> list[Posterior]:
        """One for each PSF of a problem that "tikhonov" solved with these options."""
        if isinstance(problem.psf, PSFGrid):
            raise ValueError("the uncertainty is known for uniform PSFs only: leave out uncertainty= with a PSFGrid")
        if solution.lam is None or solution.noise_std is None:
            raise ValueError("the uncertainty depends on the noise level: give noise_std=, or leave lam to be chosen")
        if solution.lam == 0:
            raise ValueError("lam=0 is no model of a scene, so nothing limits the uncertainty: give a positive lam")
        return [cls._of(problem, h, solution, solution.noise_std**2, options) for h in problem.psf]

    @classmethod
    def _of(cls, problem: Problem, h: Array, solution: Solution, noise: float, options: Mapping[str, Any]) -> Posterior:
        fixed = {name: options.get(name, default) for name, default in {"tol": 3e-5, "max_iter": 50}.items()}
        stage = Stage.make(h, problem.shape, problem.boundary, problem.spacing, workers=problem.workers, **fixed)
        model = {name: options[name] for name in ("penalty", "tau") if name in options}
        colour = {"noise_width": solution.noise_width, "noise_floor": solution.noise_floor}
        plan = make_plan(replace(stage, mask=problem.mask), "tikhonov", lam=solution.lam, **model, **colour)
        coloured = stage.coloured(**{name.removeprefix("noise_"): value for name, value in colour.items()})
        c = np.ones((), stage.H.real.dtype) if coloured.colour is None else coloured.colour
        weights = np.broadcast_to(hermitian_weights(stage.grid), stage.H.shape)
        kappa = noise / float(np.average(np.broadcast_to(c, stage.H.shape), weights=weights))
        P = (solution.lam or 0.0) * written_out(stage.penalty(**_PENALTY | model))
        with np.errstate(divide="ignore"):
            scene = np.where(P > 0, np.sqrt(kappa / P), 0).astype(c.dtype)
            variance = float(np.average(kappa * c / (power(stage.H) + P * c), weights=weights))
        return cls(plan, scene, np.broadcast_to(np.sqrt(kappa * c).astype(c.dtype), stage.H.shape), variance)

    @property
    def known(self) -> bool:
        """Whether equation (1) holds: every pixel of the grid is taken to be measured."""
        return self.plan.system is None

    def error(self, rng: np.random.Generator) -> Array:
        """A sample (*shape) of the posterior, less its mean."""
        stage = self.plan.stage
        scene, noise = (self._drawn(root, rng) for root in (self.scene, self.noise))
        data = stage.H * scene + noise
        if self.known:
            return crop(_fft.irfftn(scene - self.plan.gain * data, stage.grid, stage.workers), stage.shape)
        frame, truth = (_fft.framed(x, stage.grid, stage.shape, stage.workers) for x in (data, scene))
        return truth - self.plan(frame)

    def _drawn(self, root: Array, rng: np.random.Generator) -> Array:
        """Half spectrum of a random image with a power spectrum."""
        grid = self.plan.stage.grid
        white = rng.standard_normal(grid, dtype=root.dtype)
        return _fft.rfftn(white, len(grid), self.plan.stage.workers) * root


def deviation(problem: Problem, solution: Solution, options: Mapping[str, Any], n: int, rng: Any) -> tuple[Array, str]:
    """Posterior standard deviation (channels, *shape), and a sentence about it; from `n` samples where it takes any."""
    rng = np.random.default_rng(rng)
    posteriors = Posterior.all_of(problem, solution, options)
    std = np.empty_like(problem.image)
    for c, out in enumerate(std[: len(posteriors)]):
        posterior = posteriors[c]
        if posterior.known:
            out[...] = posterior.variance**0.5
        else:
            total = sum(np.square(posterior.error(rng), dtype=np.float64) for _ in range(n))
            np.sqrt(total / n, out=out, casting="same_kind")
    std[len(posteriors) :] = std[0]
    if posteriors[0].known:
        return std, "; the standard deviation is exact for the model"
    return std, f"; the standard deviation is from {n} samples, within {(2 * n) ** -0.5:.0%} (one sigma)"


def samples(problem: Problem, solution: Solution, options: Mapping[str, Any], n: int, rng: Any) -> Array:
    """`n` scenes (n, channels, *shape) from the posterior."""
    rng = np.random.default_rng(rng)
    posteriors = Posterior.all_of(problem, solution, options)
    out = np.empty((n, *solution.image.shape), solution.image.dtype)
    for drawn in out:
        for c, scene in enumerate(drawn):
            np.add(solution.image[c], posteriors[c % len(posteriors)].error(rng), out=scene)
    return out
