"""Plug-and-play: any denoiser as the prior of a restoration, with the blur taken care of by exact least squares.

Half-quadratic splitting gives the scene a copy x. In turn, for noise levels s that fall from one iteration to the next,

    z = argmin ||M (h * z - g)||^2 / sigma^2 + ||z - x||^2 / (t s^2),        x = D(z, s)                     (1)

where D takes white noise of standard deviation s from an image. The first is Tikhonov's least squares around x with the
identity for a penalty, ``rho = sigma^2 / (t s^2)``: closed form, exact under a free boundary and with a mask
(`lsdeblur.free`).

*Why it is stable.* z holds noise of the power spectrum ``sigma^2 |H|^2 / (|H|^2 + rho)^2``, whatever the blur at most
``sigma^2 / (4 rho) = t s^2 / 4``. For t up to 4 no frequency holds more noise than the denoiser is told to remove; with
much more it leaves noise that grows from one iteration to the next. The network's best images came with t = 5, where
the noise exceeds the level by an eighth at most and at few frequencies; with 6 they were worse, with 8 it diverged.
Classic denoisers leave some of the noise that they are told of: for them t = 2, and no more than some 20 iterations.
Every iteration turns or mirrors the image in another of the eight ways before it is denoised, and back: what a network
makes up for one orientation does not build up.

Sources: D. Geman & C. Yang (1995), doi:10.1109/83.392335 (the splitting); S. Venkatakrishnan et al. (2013),
doi:10.1109/GlobalSIP.2013.6737048 (a denoiser as a prior); K. Zhang et al. (2022), doi:10.1109/TPAMI.2021.3088914,
eq. 6-7 (falling levels; there with a periodic boundary, known sigma and ``1 / t = 0.23``); M. Terris et al. (2024),
arXiv:2312.01831 (turning).
"""

from __future__ import annotations

import importlib
import math
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lsdeblur import _fft
from lsdeblur._gains import least_squares
from lsdeblur._kernels import product
from lsdeblur._methods import Problem, Solution
from lsdeblur._stage import Stage
from lsdeblur._validate import check_choice, check_positive, check_size
from lsdeblur.boundary import crop
from lsdeblur.deep._network import turned, turned_back
from lsdeblur.denoise import DENOISERS, applied
from lsdeblur.errors import ConvergenceWarning
from lsdeblur.iterative._start import Start

__all__ = ["CLASSIC", "STRENGTH", "PlugAndPlay", "pnp"]

Array = npt.NDArray[Any]
Denoise = Callable[[Array, float], Array]

STRENGTH, CLASSIC = 5.0, 2.0  # t of equation (1), and the largest, for networks and for other denoisers
_FIRST = 0.2  # the first level, of the image's range
_TOL, _MAX_ITER = 3e-5, 50  # of the free boundary
_DIVERGED = 2.0  # growth of the misfit of x that ends the iterations
_UNFIT = 2.0  # misfit of the last x over the noise; 0.6 to 1.25 in 108 runs with three denoisers, noise 0.0005 to 0.05


@dataclass(frozen=True, slots=True)
class PlugAndPlay:
    """A method of `restore` with a denoiser for a prior: ``restore(image, psf, method=PlugAndPlay("nlm"))``.

    Attributes
    ----------
    denoiser : str, path or callable
        "network": the shipped one (`lsdeblur.deep.denoiser`); a .safetensors or .onnx file of a `networks.Denoiser`, or
        one that is loaded, or its `OnnxMethod`; a name in `lsdeblur.denoise.DENOISERS`, such as "nlm"; or a function
        of an image (*spatial) and the standard deviation of its white noise. Channels are denoised one by one, and by
        networks the planes of a volume. Networks use their own number of threads, not `workers`.
    iterations : int >= 1
    first : float > 0 or None
        Noise level of the first iteration, in units of the image; the levels fall geometrically from there to the
        noise of the data. None: a fifth of the range of Tikhonov's restoration.
    strength : float or None, 0 < t <= 5
        t of equation (1): with less, z stays nearer to what the denoiser gave. At most 2 for the denoisers with a name;
        None: 2 for those and for functions, 5 for networks. A function that removes all of the noise bears 5, too.
    """

    denoiser: Any = "network"
    iterations: int = 8
    first: float | None = None
    strength: float | None = None

    def __post_init__(self) -> None:
        check_size(self.iterations, 1, "iterations")
        if self.first is not None:
            check_positive(self.first, "first")
        most = CLASSIC if isinstance(self.denoiser, str) and self.denoiser in DENOISERS else STRENGTH
        if self.strength is not None and check_positive(self.strength, "strength") > most:
            raise ValueError(
                f"strength={self.strength!r} must be at most {most:g} with this denoiser: with more it leaves "
                "noise that grows from one iteration to the next"
            )

    def __call__(self, problem: Problem, *, noise_std: float | None = None) -> Solution:
        """Restore a problem; `noise_std` replaces the noise level that is found in the data."""
        denoise, strength = resolved(self.denoiser)
        strength = strength if self.strength is None else self.strength
        start = Start.of(problem, noise_std)
        found, sigma = start.solution, start.noise_std
        if not sigma > 0:
            return replace(found, lam=None, selection=None, message=f"no noise: tikhonov, {found.message}")
        low, high = np.quantile(found.image, (0.001, 0.999))
        last = sigma / start.gain
        first = _FIRST * float(high - low) if self.first is None else self.first
        levels = np.geomspace(last, max(first, last), self.iterations)[::-1]
        stage = Stage.of(problem, _TOL, _MAX_ITER).coloured(found.noise_width, found.noise_floor)
        step = _DataStep(problem, stage)
        rhos = sigma**2 / (strength * levels**2)
        n_iter, scene, diverged = self._iterate(problem, step, denoise, start.scene, sigma, rhos, levels)
        message = (
            f"noise of {sigma:.3g} in the data; {n_iter} iterations for noise from {levels[0]:.3g} to "
            f"{levels[n_iter - 1]:.3g}{diverged}"
        )
        return Solution(
            np.ascontiguousarray(crop(scene, problem.shape)), noise_std=sigma, noise_width=found.noise_width,
            noise_floor=found.noise_floor, n_iter=n_iter, converged=n_iter == self.iterations and not diverged,
            message=message,
        )  # fmt: skip

    def _iterate(
        self,
        problem: Problem,
        step: _DataStep,
        denoise: Denoise,
        scene: Array,
        sigma: float,
        rhos: Array,
        levels: Array,
    ) -> tuple[int, Array, str]:
        """How many iterations, the scene, and what to say if they diverged: the scene is the one before then."""
        least = math.inf
        for k, (rho, level) in enumerate(zip(rhos.tolist(), levels.tolist(), strict=True), 1):
            z = step(scene, rho)
            new = np.stack([turned_back(applied(denoise, turned(f, k), level, "denoiser="), k) for f in z])
            misfit = step.misfit(new)
            if not misfit <= _DIVERGED * max(least, sigma):
                said = (
                    f"the denoiser drove the image away from the data in iteration {k} (misfit {misfit:.3g} after "
                    f"{least:.3g}), and the image before it is kept; it must be one for white noise of the level given"
                )
                warnings.warn(said, ConvergenceWarning, stacklevel=4)
                return max(k - 1, 1), z if k == 1 else scene, f"; {said}"
            least, scene = min(least, misfit), new
            if not problem.goes_on(k, len(levels), misfit):
                return k, scene, ""
        if misfit > _UNFIT * sigma:
            said = (
                f"the image that the denoiser gave leaves {misfit / sigma:.2g} times the noise in the data: it does "
                "not keep what is no noise; it must be one for white noise of the level given"
            )
            warnings.warn(said, ConvergenceWarning, stacklevel=4)
            return len(levels), scene, f"; {said}"
        return len(levels), scene, ""


class _DataStep:
    """The first half of equation (1) on the grid of a stage; `misfit` is that of the scene it was last asked for."""

    def __init__(self, problem: Problem, stage: Stage) -> None:
        self._stage, self._problem = stage, problem
        self._known = None if stage.free or stage.mask is not None else stage.extend(problem.image)
        self._left: tuple[Array, Array] | None = None  # a scene, and what it leaves of the data

    def misfit(self, scene: Array) -> float:
        """Root mean square of ``g - h * scene`` over the measured pixels."""
        left = crop(self._residual(scene), self._stage.shape)
        measured = left if self._stage.mask is None else left[:, ~self._stage.mask]
        return math.sqrt(float(np.mean(np.square(measured, dtype=np.float64))))

    def __call__(self, scene: Array, rho: float) -> Array:
        """The z for x = scene (channels, *grid)."""
        stage, left = self._stage, self._residual(scene)
        G, rest = least_squares(stage, stage.penalty("identity"), rho)
        Y = stage.settled(stage.transform(left if self._known is not None else stage.extend(left)), stage.systems(rest))
        for c, y in enumerate(Y.spectrum):
            product(y, G[c % len(G)], workers=stage.workers)
        return scene + _fft.irfftn(Y.spectrum, stage.grid, stage.workers)

    def _residual(self, scene: Array) -> Array:
        """On the grid where the data were extended to it, in the frame where only that counts."""
        if self._left is None or self._left[0] is not scene:
            F = self._stage.transform(scene)
            F *= self._stage.H
            blurred = _fft.irfftn(F, self._stage.grid, self._stage.workers)
            known = self._problem.image if self._known is None else self._known
            self._left = scene, known - (crop(blurred, self._stage.shape) if self._known is None else blurred)
        return self._left[1]


def pnp(
    problem: Problem,
    *,
    denoiser: Any = "network",
    noise_std: float | None = None,
    iterations: int = 8,
    first: float | None = None,
    strength: float | None = None,
) -> Solution:
    """Plug-and-play restoration: see `PlugAndPlay`, whose arguments these are.

    Parameters
    ----------
    problem : Problem
    denoiser, iterations, first, strength
        As in `PlugAndPlay`.
    noise_std : float > 0, optional
        Of the data, in place of the one that is found in them.

    Returns
    -------
    Solution

    Raises
    ------
    MissingDependencyError
        The shipped network without PyTorch.
    ValueError
        A number out of its range; an unknown denoiser; one that returns another shape.

    Notes
    -----
    An iteration costs the denoiser and, under a free boundary, some ten transforms.
    """
    return PlugAndPlay(denoiser, iterations, first, strength)(problem, noise_std=noise_std)


def resolved(denoiser: Any) -> tuple[Denoise, float]:
    """The function behind a name, a file, a network or a function, and the strength for it."""
    if isinstance(denoiser, str) and denoiser in DENOISERS:
        return DENOISERS[denoiser], CLASSIC
    if isinstance(denoiser, str | os.PathLike):
        return _network(denoiser).denoise, STRENGTH
    if hasattr(denoiser, "denoise"):
        return denoiser.denoise, STRENGTH
    if hasattr(denoiser, "needs"):
        raise TypeError(
            f"denoiser is a {type(denoiser).__name__}, which deblurs: pass a Denoiser, or take it as method="
        )
    if callable(denoiser):
        return denoiser, CLASSIC
    raise TypeError(f"denoiser must be a name, a file, a network or a function, not {type(denoiser).__name__}")


def _network(name: str | os.PathLike[str]) -> Any:
    """The shipped network, or one from a file."""
    from lsdeblur.deep import missing

    suffix = Path(name).suffix
    if name != "network" and suffix not in (".safetensors", ".onnx"):
        check_choice(name, ("network", *DENOISERS, "file.safetensors", "file.onnx"), "denoiser")
    if suffix == ".onnx":
        from lsdeblur.deep.onnx import OnnxMethod

        return OnnxMethod(name)
    try:
        module = importlib.import_module("lsdeblur.deep.denoiser")
    except ModuleNotFoundError as error:
        raise missing(error) from None
    return module.network() if name == "network" else module.Denoiser.load(name)
