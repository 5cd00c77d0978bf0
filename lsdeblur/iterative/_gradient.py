"""Sparse gradients: what total variation and its non-convex kin share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from lsdeblur._kernels import written_out
from lsdeblur._methods import Problem, Solution
from lsdeblur._validate import check_choice, check_positive, check_size
from lsdeblur.iterative._loops import shrunk, shrunk_adjoint
from lsdeblur.iterative._observed import Observed
from lsdeblur.iterative._splitting import RELAX, Bounds, Box, Channel, check_bounds, run
from lsdeblur.iterative._start import Start
from lsdeblur.spectrum import symbol

__all__ = ["Gradient", "gradient_lengths", "power_shrinkage", "sparse_gradients"]

Array = npt.NDArray[Any]

#: Mean gradients that are shrunk to 0 in an iteration. Of convex problems that is the fastest of 1..8 (measured); the
#: others settle only with far less and without over-relaxation.
_THRESHOLD, _THRESHOLD_NOT_CONVEX = 4.0, 0.05
#: Of the rule for lam: the median of the best for total variation over 106 cases with white noise, 0.53 to 1.11 in nine
#: tenths of them.
_SHARE = 0.9
_STEP, _REACH = 1 / 64, 64  # of the table of a shrinkage, in units of its own scale


class Gradient:
    """``lam sum |D f|^p`` of the gradient vectors' lengths: the copy ``v = D f`` is shrunk along itself."""

    def __init__(
        self, grid: Sequence[int], spacing: Sequence[float], lam: float, p: float, mu: float, dtype: Any,
        workers: int | None = None,
    ) -> None:  # fmt: skip
        self._mu, self._spacing, self._workers = mu, spacing, workers
        self._ratios = power_shrinkage(lam / mu, p).astype(dtype)
        self._threshold = lam / mu if p == 1 else 0.0
        self.symbol = written_out(symbol("gradient", grid, spacing=spacing, dtype=dtype)) * np.asarray(mu, dtype)
        self._a = np.zeros((len(grid), *grid), dtype)
        self._w = np.empty_like(self._a)
        self._sum = np.empty(grid, dtype)

    def begin(self, scene: Array) -> Array:
        """With a dual along the gradient of `scene`, as long as the threshold: a is longer than ``v = D f`` by that."""
        shrunk(scene, self._a, self._spacing, self._ratios, 1.0, self._w, workers=self._workers)  # from 0: a = D f
        if self._threshold:
            t = np.sqrt(np.einsum("k...,k...->...", self._a, self._a))
            t = np.maximum(t, t.dtype.type(self._threshold))
            self._a *= 1 + t.dtype.type(self._threshold) / t
        return self.step(scene, 0.0)

    def step(self, scene: Array, relax: float) -> Array:
        shrunk(scene, self._a, self._spacing, self._ratios, relax, self._w, workers=self._workers)
        shrunk_adjoint(self._w, self._spacing, self._mu, self._sum, workers=self._workers)
        return self._sum


def power_shrinkage(weight: float, p: float) -> Array:
    """The minimiser ``x = q(t) t`` of ``1/2 (x - t)^2 + weight x^p`` over x >= 0, for the table `ratios` of `shrunk`.

    In units of ``weight^(1 / (2 - p))`` the weight is 1. Where x is not 0 it is the larger root of
    ``x - t + p x^(p - 1)``, by Newton's method from t, above which there is none; it counts where it beats x = 0.
    For p = 1 the scale alone: soft thresholding.
    Source: D. Krishnan & R. Fergus (2009), Adv. Neural Inf. Process. Syst. 22, sec. 2.1 (there one table for each
    weight).
    """
    if p == 1:
        return np.array([weight])
    t = np.arange(round(_REACH / _STEP) + 1) * _STEP
    lowest = (p * (1 - p)) ** (1 / (2 - p))  # where the derivative has its minimum
    x = np.maximum(t, lowest)
    for _ in range(60):
        x = np.maximum(x - (x - t + p * x ** (p - 1)) / np.maximum(1 - p * (1 - p) * x ** (p - 2), 1e-9), lowest)
    better = (0.5 * (x - t) ** 2 + x**p < 0.5 * t**2) & (x <= t)
    q = np.divide(x, t, out=np.zeros_like(t), where=better)
    return np.concatenate([[_STEP * weight ** (1 / (2 - p))], q])


def gradient_lengths(image: Array, spacing: Sequence[float], *, periodic: bool = False) -> Array:
    """Lengths of the gradient vectors of an image (channels, *shape): forward differences over `spacing`.

    Those across the end of an axis are left out unless the image is a period.
    """
    total: Array = np.zeros_like(image)
    for axis, d in enumerate(spacing, 1):
        total += np.square((np.roll(image, -1, axis) - image) / image.dtype.type(d))
    ends = [slice(n if periodic else max(1, n - 1)) for n in image.shape[1:]]
    return np.sqrt(total[(slice(None), *ends)])


def sparse_gradients(
    problem: Problem, p: float, lam: float | str, bounds: Bounds, noise_std: float | None, tol: float, max_iter: int
) -> Solution:
    """Minimise ``1/2 ||M (h * f) - g||^2 + lam sum |D f|^p``; for "auto" lam from the noise and Tikhonov's solution.

    If the gradient vectors were independent with density ``exp(-a |v|^p)``, the most likely a would be d / p over
    their mean ``|v|^p`` (d axes). The data determine only a share of them, the degrees of freedom over the number of
    pixels; as in MacKay's rule for Gaussian priors, a counts that share alone, and
    ``lam = 0.9 sigma^2 a`` (0.9 is measured).
    Source: D. J. C. MacKay (1992), Neural Comput. 4, 415-447, doi:10.1162/neco.1992.4.3.415 (there for p = 2).
    """
    low, high = check_bounds(bounds)
    check_positive(tol, "tol")
    limit = check_size(max_iter, 1, "max_iter")[0]
    if isinstance(lam, str):
        check_choice(lam, ("auto",), "lam")
    else:
        lam = check_positive(lam, "lam")
    start = Start.of(problem, noise_std)
    found, sigma = start.solution, start.noise_std
    lengths = gradient_lengths(found.image, problem.spacing, periodic=problem.boundary == "periodic")
    slope, mean = (float(np.mean(lengths**q, dtype=np.float64)) for q in (1.0, p))
    message = "lam was given"
    if isinstance(lam, str):
        if not (slope > 0 and sigma > 0):
            return replace(
                found, lam=None, selection=None, message=f"no gradient or no noise: tikhonov, {found.message}"
            )
        lam = _SHARE * len(problem.shape) / p * start.determined / mean
        message = (
            f"lam {lam:.3g} from noise of {sigma:.3g} and the gradients of tikhonov's solution with {found.message}"
        )
    scenes, slope, n_iter = start.scene, slope or 1.0, 0
    for exponent, strength in {1.0: lam * p * mean / slope, p: lam}.items():  # from the convex problem to the other
        threshold, relax = (_THRESHOLD, RELAX) if exponent == 1 else (_THRESHOLD_NOT_CONVEX, 1.0)
        mu = strength * (threshold * slope) ** (exponent - 2)
        channels = []
        for seen, scene in zip(Observed.all_of(problem), scenes, strict=True):
            splits = [Gradient(seen.grid, problem.spacing, strength, exponent, mu, scene.dtype, problem.workers)]
            boxes = [Box(low, high, mu)] if bounds is not None else []
            channels.append(Channel(seen, scene, [*splits, *boxes], mu=start.data_penalty(slope), relax=relax))
        n_iter, converged = run(problem, channels, tol * slope, limit, n_iter)
        scenes = np.stack([channel.scene for channel in channels])
        if not converged:
            break
    image = np.stack([channel.seen.frame(channel.scene) for channel in channels])
    if bounds is not None:
        np.clip(image, low, high, out=image)
    ending = f"; {n_iter} iterations" + ("" if converged else ", not converged")
    return Solution(
        image, lam=lam, noise_std=sigma, noise_width=found.noise_width, noise_floor=found.noise_floor,
        n_iter=n_iter, converged=converged, message=message + ending,
    )  # fmt: skip
