"""Regularisation by stopping: conjugate gradients (CGLS) and Landweber's iteration on the plain least squares.

Both lower ``||M (h * f) - g||^2`` from an even scene, without a penalty: frequencies that the blur passes well come
first, and the number of iterations takes lambda's place.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from lsdeblur._methods import Problem, Solution
from lsdeblur._results import Selection
from lsdeblur._validate import check_choice, check_positive, check_size
from lsdeblur.errors import ConvergenceWarning, ParameterChoiceError
from lsdeblur.iterative._observed import Observed, Varied
from lsdeblur.noise import estimate_noise_std
from lsdeblur.psf import PSFGrid

__all__ = ["cgls", "landweber"]

Array = npt.NDArray[Any]

_STOPS = ("gcv", "discrepancy", "none")
_PATIENCE = 3  # iterations that GCV may rise before its minimum is believed


def cgls(
    problem: Problem,
    *,
    stop: str = "gcv",
    noise_std: float | None = None,
    safety: float = 1.0,
    tol: float = 1e-5,
    max_iter: int = 200,
) -> Solution:
    """Conjugate gradients on the normal equations ``A^T A f = A^T g``, stopped early; ``A f = M (h * f)``.

    The n-th iterate has the least residual of all scenes in the Krylov space ``span{A^T g, ..., (A^T A)^(n-1) A^T g}``.

    Parameters
    ----------
    problem : Problem
        Its PSF may be a `psf.PSFGrid`, with a free boundary.
    stop : str
        "discrepancy": when ``||A f - g||^2 <= safety n noise_std^2`` for n measured pixels. "gcv": at the minimum of
        ``n ||A f - g||^2 / (n - dof)^2``, with the degrees of freedom of a random probe to which the same steps are
        applied, ``dof = w^T A R w``. "none": after `max_iter`.
    noise_std : float > 0, optional
        Noise standard deviation, for "discrepancy"; estimated if it is not given.
    safety : float > 0
        Factor on the noise power.
    tol : float > 0
        The iteration also ends when one lowers the squared residual by less than this part of it.
    max_iter : int >= 1
        And after so many at the latest, with a `ConvergenceWarning` unless ``stop="none"``.

    Returns
    -------
    Solution
        `selection` holds the curves over the iterations, whose number stands where lambda's value would:
        squared residual, ``||f||^2`` and, with "gcv", degrees of freedom. All channels take the same number.

    Notes
    -----
    Four transforms of the padded image an iteration, eight with "gcv"; memory: some seven images, and five more.

    References
    ----------
    Hestenes & Stiefel (1952), doi:10.6028/jres.049.044, sec. 10; Hansen (1998), Rank-Deficient and Discrete Ill-Posed
    Problems, doi:10.1137/1.9780898719697, sec. 6.3, 7.2 and 7.4; the probe: Girard (1989), doi:10.1007/BF01395775. For
    conjugate gradients it neglects how the steps themselves depend on the data.
    """
    return _stopped(problem, None, stop, noise_std, safety, tol, max_iter)


def landweber(
    problem: Problem,
    *,
    relaxation: float = 1.0,
    stop: str = "gcv",
    noise_std: float | None = None,
    safety: float = 1.0,
    tol: float = 1e-5,
    max_iter: int = 2000,
) -> Solution:
    """Landweber's iteration, gradient descent with a fixed step: ``f <- f + (relaxation / max|H|^2) A^T (g - A f)``.

    On a periodic grid n iterations are the gain ``(1 - (1 - t |H|^2)^n) / H`` for the step t. Slow: `cgls` reaches the
    same residual in about the square root of the number.

    Parameters
    ----------
    problem : Problem
    relaxation : float, 0 < relaxation < 2
        The step relative to the inverse of the largest ``|H|^2``.
    stop, noise_std, safety, tol, max_iter
        As in `cgls`.

    Returns
    -------
    Solution
        As from `cgls`.

    References
    ----------
    Landweber (1951), Amer. J. Math. 73, 615-624, doi:10.2307/2372313; Hansen (1998), doi:10.1137/1.9780898719697,
    sec. 6.2.
    """
    if not 0 < check_positive(relaxation, "relaxation") < 2:
        raise ValueError(f"relaxation must be below 2, not {relaxation:g}: the iteration would diverge")
    return _stopped(problem, float(relaxation), stop, noise_std, safety, tol, max_iter)


@dataclass(slots=True, eq=False)
class Descent:
    """One channel's scene f, the residual r = g - A f, its gradient's direction p, and ``|A^T r|^2``."""

    seen: Observed | Varied
    f: Array
    r: Array
    p: Array
    gamma: float

    @classmethod
    def of(cls, seen: Observed | Varied, data: Array, level: float) -> Descent:
        """At an even scene of brightness `level`."""
        p = seen.adjoint(data)
        f = np.full_like(p, level)
        r = data - seen.blur(f) if level else data.copy()
        p = seen.adjoint(r) if level else p
        return cls(seen, f, r, p, _dot(p, p))

    def advance(self, step: float | None, like: tuple[float, float] | None = None) -> tuple[float, float]:
        """A step of conjugate gradients, or a fixed one, or one `like` another's; returns its length and the weight
        of the last direction in the next."""
        q = self.seen.blur(self.p)
        norm = _dot(q, q)
        length = like[0] if like else step if step is not None else self.gamma / norm if norm > 0 else 0.0
        self.f += self.p * length
        q *= length
        self.r -= q
        s = self.seen.adjoint(self.r)
        before, self.gamma = self.gamma, _dot(s, s)
        weight = like[1] if like else 0.0 if step is not None or before == 0 else self.gamma / before
        self.p *= weight
        self.p += s
        return length, weight


@dataclass(slots=True, eq=False)
class Trace:
    """What is seen of the iterations: squared residual, ``||f||^2`` and degrees of freedom."""

    n_obs: int
    residual: list[float] = field(default_factory=list)
    seminorm: list[float] = field(default_factory=list)
    dof: list[float] = field(default_factory=list)

    def look(self, channels: Sequence[Descent], probes: Sequence[Descent], signs: Sequence[Array]) -> None:
        self.residual.append(sum(_dot(c.r, c.r) for c in channels))
        self.seminorm.append(sum(_dot(c.f, c.f) for c in channels))
        left = sum(_dot(w, p.r) for w, p in zip(signs, probes, strict=True))
        self.dof.append(self.n_obs - left if probes else math.nan)

    def gcv(self) -> Array:
        return self.n_obs * np.array(self.residual) / (self.n_obs - np.array(self.dof)) ** 2

    def selection(self, rule: str, chosen: int, goal: float) -> Selection:
        residual, dof, n = np.array(self.residual), np.array(self.dof), len(self.residual)
        values = {"gcv": self.gcv, "discrepancy": lambda: residual - goal, "none": lambda: residual}[rule]()
        return Selection(
            rule, float(chosen), np.arange(1.0, n + 1), values, residual, np.array(self.seminorm), dof, self.n_obs
        )


def _stopped(
    problem: Problem, relaxation: float | None, stop: str, noise_std: float | None, safety: float, tol: float,
    max_iter: int,
) -> Solution:  # fmt: skip
    """Iterate until the rule is met; `relaxation` is None for conjugate gradients."""
    check_choice(stop, _STOPS, "stop")
    tol, limit = check_positive(tol, "tol"), check_size(max_iter, 1, "max_iter")[0]
    factor = check_positive(safety, "safety")
    noise_std = None if noise_std is None else check_positive(noise_std, "noise_std")
    if stop == "discrepancy" and noise_std is None:
        noise_std = _noise_std(problem)
    seen = Varied.all_of(problem) if isinstance(problem.psf, PSFGrid) else Observed.all_of(problem)
    n_obs = sum(s.n_measured for s in seen)
    run = _Run(stop, factor * n_obs * (noise_std or 0.0) ** 2, tol, limit, Trace(n_obs))
    steps = [None if relaxation is None else relaxation / s.largest for s in seen]
    images = run.iterate(problem, seen, steps)
    if not run.converged and len(run.trace.residual) == limit:
        warnings.warn(
            f"the rule stop={stop!r} was not met within {limit} iterations; raise max_iter",
            ConvergenceWarning,
            stacklevel=3,
        )
    message = f"{run.chosen} iterations, {run.reason}"
    selection = run.trace.selection(stop, run.chosen, run.goal)
    return Solution(
        np.stack(images), None, selection, noise_std, converged=run.converged, n_iter=run.chosen, message=message
    )


@dataclass(slots=True, eq=False)
class _Run:
    """The iterations of all channels together, and what ended them."""

    stop: str
    goal: float
    tol: float
    limit: int
    trace: Trace
    chosen: int = 0
    reason: str = ""
    converged: bool = False

    def iterate(self, problem: Problem, seen: Sequence[Any], steps: Sequence[float | None]) -> list[Array]:
        """The frames of the scenes at the iteration that is chosen."""
        by_gcv, rng = self.stop == "gcv", np.random.default_rng(0)  # the choice must not change from call to call
        channels = [Descent.of(s, s.data, s.mean) for s in seen]
        signs = [s.seen(rng.choice([-1, 1], s.data.shape).astype(s.data.dtype)) for s in seen] if by_gcv else []
        probes = [Descent.of(s, w, 0.0) for s, w in zip(seen, signs, strict=False)]
        best: list[Array] = []
        for n in range(1, self.limit + 1):
            taken = [c.advance(step) for c, step in zip(channels, steps, strict=True)]
            for p, like in zip(probes, taken, strict=False):
                p.advance(None, like)
            self.trace.look(channels, probes, signs)
            if not by_gcv or self.trace.gcv().argmin() == n - 1:
                self.chosen = n
            if by_gcv and self.chosen == n:
                best = [s.frame(c.f).copy() for s, c in zip(seen, channels, strict=True)]
            if self._ends(n):
                break
            if not problem.goes_on(n, self.limit, self.trace.residual[-1]):
                self.reason, self.converged = "where the callback ended them", False
                break
        return best if by_gcv else [s.frame(c.f) for s, c in zip(seen, channels, strict=True)]

    def _ends(self, n: int) -> bool:
        """Whether the n-th iteration is the last, and why."""
        now, before = self.trace.residual[-1], self.trace.residual[-2] if n > 1 else math.inf
        self.converged = True
        if self.stop == "none":
            self.reason = "as many as asked"
            return n == self.limit
        if self.stop == "gcv" and n >= self.chosen + _PATIENCE:
            self.reason = "where gcv is least"
        elif self.stop == "discrepancy" and now <= self.goal:
            self.reason = "when the residual was that of the noise"
        elif before - now <= self.tol * now:
            self.reason = f"when the residual fell by less than {self.tol:g} of it"
        else:
            self.reason, self.converged = "as many as allowed", False
        return self.converged or n == self.limit


def _noise_std(problem: Problem) -> float:
    """The noise where the blur has erased the scene, or else in the finest details."""
    image, psf = problem.image, problem.psf
    if not isinstance(psf, PSFGrid):
        try:
            return estimate_noise_std(image, psf if len(psf) == len(image) else psf[0], channel_axis=0)
        except ParameterChoiceError:
            pass
    return estimate_noise_std(image, channel_axis=0)


def _dot(a: Array, b: Array) -> float:
    return float(np.einsum("i,i->", a.ravel(), b.ravel(), dtype=np.float64))
