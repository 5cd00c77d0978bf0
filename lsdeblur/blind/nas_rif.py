"""NAS-RIF: blind restoration of an object on a uniform background, by a recursive inverse filter.

The method (non-negativity and support constraints recursive inverse filtering) needs no PSF. It looks for a finite
filter u that makes the image ``u * g`` non-negative inside the object's support and equal to the background outside of
it. Three things follow from the cost, and limit it:

* Everything hangs on the support. One pixel too large costs two thirds of the gain, two pixels all of it, a
  bounding rectangle most of it: to a filter that does nothing a generous support has nothing to object. Too small a
  one cuts the object. The support is known up to a shift only, like the PSF.
* There is no noise term. What keeps the noise down is that the background, where it must vanish, is full of it. So the
  filter is a compromise, and frames with little background are noisy.
* A filter of finite size cannot undo zeros of the transfer function: `refine` and `estimate`, which fit the PSF itself,
  and a restoration with that PSF do better than the filter's own image.

Source: D. Kundur & D. Hatzinakos (1998), A novel blind deconvolution scheme for image restoration using recursive
filtering, IEEE Trans. Signal Process. 46, 375-390, doi:10.1109/78.655423; the same (1996), Blind image deconvolution,
IEEE Signal Process. Mag. 13 (3), 43-64, doi:10.1109/79.489268.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from lsdeblur import _fft
from lsdeblur._methods import Problem, Progress, Solution
from lsdeblur._results import PSFEstimate
from lsdeblur._validate import check_non_negative, check_positive, check_size
from lsdeblur.blind._inverse_filter import Filtered, Inverse, delta, inverse_filter
from lsdeblur.blind._psf_fit import evidence, fitted_psf, padded, pruned, similarity
from lsdeblur.blind._support import as_background, as_support, found_support, sharp_outline
from lsdeblur.boundary import extend, grid_shape
from lsdeblur.errors import ConvergenceWarning, LsdeblurWarning, ParameterChoiceError
from lsdeblur.iterative.total_variation import total_variation
from lsdeblur.spectrum import transfer_function

__all__ = ["estimate", "nas_rif", "refine"]

Array = npt.NDArray[Any]

_SIZE = 15  # pixels of the filter along an axis
_TOL = 1e-2
_SHARPEN = 150  # iterations at the most for the PSF by which the support is found
# Nats a frequency by which evidence tells PSFs and supports apart: so much the misfit of the scene's model can feign.
_CLEAR = 0.05
_RIDGE = 0.05  # beside |H|^2, of the guess's inverse


def nas_rif(
    problem: Problem,
    *,
    support: npt.ArrayLike | None = None,
    background: float | Sequence[float] | None = None,
    size: int | Sequence[int] | None = None,
    gamma: float = 1.0,
    tol: float = _TOL,
    max_iter: int = 300,
) -> Solution:
    """NAS-RIF: the image ``f = b + u * (g - b)`` for the filter u that is least in

    ``J(u) = 1/E [ sum_S min(f, 0)^2 + sum_not S (f - b)^2 ] + gamma (sum u - 1)^2``,  ``E = sum (g - b)^2``,

    with the object's support S and the background's level b. Inside of S the negative values of f, outside all of
    ``f - b`` are set to zero at the end.

    Parameters
    ----------
    problem : Problem
        Its PSF is not used and may be None: then one is found. With the boundaries "free", "taper" and
        "zero" the background goes on beyond the frame.
    support : bool array (*spatial), optional
        True inside the object. By default it is found: what exceeds 0.4 to 0.3 of the object's local brightness, in
        the image, in six filtered ones, each sharper than the one before, and in a restoration by total variation with
        the PSF fitted to the last of them. That costs 0.1 to 1 dB against the exact support.
    background : float or sequence of float (channels), optional
        Level around the object, in units of the image; by default the median of the frame's rim.
    size : int or sequence of int, optional
        Of the filter, odd along every axis; 15 by default, less in small frames. Larger filters undo more, and need
        more iterations.
    gamma : float > 0
        Weight of the filter's sum. On a black background it only keeps u from vanishing: the minimum for another gamma
        is a multiple of the same filter, which is scaled to sum 1 at the end. The speed depends on it.
    tol : float >= 0
        Iterations end when ten of them lower J by less than this part of it.
    max_iter : int >= 1
        And after so many at the latest, with a `ConvergenceWarning`.

    Returns
    -------
    Solution
        `psf`, where the problem has none, is what blurs the restored image into the observed one: non-negative, of
        sum 1, fitted to the gradients, of the filter's size.

    Raises
    ------
    ValueError
        A support that is no bool array of the frame's shape, or covers all or nothing of it; an even size.
    ParameterChoiceError
        The support was not given, and not found: no uniform background around the object.

    Notes
    -----
    An iteration costs two forward and two inverse real FFTs and some passes over the image. Masked pixels take no part
    in J. See the module for the method's limits.

    References
    ----------
    Kundur & Hatzinakos (1998), doi:10.1109/78.655423: eq. 5 is J without E, for a black or a grey background b; here
    the filter acts on ``g - b``, so that the background's own level does not enter.
    """
    gamma, tol = check_positive(gamma, "gamma"), check_non_negative(tol, "tol")
    limit = check_size(max_iter, 1, "max_iter")[0]
    scene = _Scene.of(problem, background)
    inside, how = scene.support(support)
    filtered = Filtered.of(scene.difference, filter_size(size, problem.shape), problem.boundary, problem.workers)
    found = inverse_filter(
        filtered, inside, scene.levels, scene.known, gamma=gamma, tol=tol, max_iter=limit, goes_on=problem.goes_on
    )
    if not (found.converged or found.stopped):
        warnings.warn(
            f"the iterations still lowered the cost by {tol:g} of it in ten after {limit}; raise max_iter or tol",
            ConvergenceWarning,
            stacklevel=3,
        )
    d = scene.projected(found.difference, inside)
    image = d + np.asarray(scene.levels, d.dtype).reshape(-1, *[1] * len(problem.shape))
    message = (
        f"{how}; background {', '.join(f'{b:.3g}' for b in scene.levels)}; {found.n_iter} iterations to "
        f"{found.cost:.2g} of the blurred image's cost, {_ending(found)}"
    )
    h = scene.fitted(d, delta(filtered.size)).astype(d.dtype) if problem.psf is None else None
    return Solution(image, converged=found.converged, n_iter=found.n_iter, message=message, psf=h)


def _ending(found: Inverse) -> str:
    return "converged" if found.converged else "ended by the caller" if found.stopped else "not converged"


def filter_size(size: int | Sequence[int] | None, shape: Sequence[int]) -> tuple[int, ...]:
    """Odd sizes along every axis, checked; the default is 15 pixels, or what fits the frame."""
    if size is None:
        return tuple(min(_SIZE, n - 1 + n % 2) for n in shape)
    sizes = check_size(size, len(shape))
    if any(s % 2 == 0 or s > n for s, n in zip(sizes, shape, strict=True)):
        raise ValueError(f"size={size!r} must be odd and not larger than the image's {tuple(shape)}: it has a centre")
    return sizes


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class _Scene:
    """An object on a uniform background: `difference` (channels, *shape) of the image from the background's `levels`;
    `known` is False where a pixel was not measured."""

    difference: Array
    levels: list[float]
    known: npt.NDArray[np.bool_] | None
    boundary: str
    workers: int | None

    @classmethod
    def of(cls, problem: Problem, background: Any) -> _Scene:
        known = None if problem.mask is None else ~problem.mask
        levels = as_background(background, problem.image, known)
        base = np.asarray(levels, problem.image.dtype).reshape(-1, *[1] * len(problem.shape))
        return cls(problem.image - base, levels, known, problem.boundary, problem.workers)

    def support(self, given: npt.ArrayLike | None) -> tuple[npt.NDArray[np.bool_], str]:
        """The object's, as given or found, and a word about it."""
        if given is not None:
            return as_support(given, self.difference.shape[1:]), "support given"
        shape = self.difference.shape[1:]
        inside = found_support(self.difference, self.levels, self.known, self.boundary, self.workers)
        filtered = Filtered.of(self.difference, filter_size(None, shape), self.boundary, self.workers)
        found = inverse_filter(filtered, inside, self.levels, self.known, gamma=1.0, max_iter=_SHARPEN, tol=_TOL)
        h = self.fitted(self.projected(found.difference, inside), delta(filtered.size))
        inside = sharp_outline(self.restored(h), self.difference, self.known)
        return inside, f"support found, {np.mean(inside):.1%} of the frame"

    def restored(self, h: Array) -> Array:
        """The differences (channels, *shape) by total variation with the PSF h."""
        g, boundary = self.difference, "zero" if self.known is None else "free"
        hidden = None if self.known is None else ~self.known
        posed = Problem(g, h[np.newaxis].astype(g.dtype), boundary, (1.0,) * h.ndim, self.workers, hidden)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LsdeblurWarning)  # an image on the way, with a PSF that is not right yet
            return total_variation(posed, tol=1e-2, max_iter=60).image

    def projected(self, difference: Array, inside: Array) -> Array:
        """The nearest differences that keep the constraints: ``f >= 0`` inside, 0 outside."""
        black = -np.asarray(self.levels, difference.dtype).reshape(-1, *[1] * inside.ndim)
        return np.where(inside, np.maximum(difference, np.minimum(black, 0)), difference.dtype.type(0))

    def fitted(self, difference: Array, h0: Array) -> Array:
        """The PSF of the size of `h0` that blurs a restored difference into the observed one, means of the channels."""
        grid = grid_shape(difference.shape[1:], h0.shape, "zero")
        x, g = (extend(d.mean(axis=0), grid, "zero") for d in (difference, self.difference))
        seen = None if self.known is None else ~extend(~self.known, grid, "zero")
        return pruned(fitted_psf(x, g, h0, measured=seen, workers=self.workers))


def refine(
    image: npt.NDArray[np.floating[Any]],
    psf: npt.NDArray[np.floating[Any]],
    *,
    support: npt.ArrayLike | None = None,
    background: float | None = None,
    size: int | Sequence[int] | None = None,
    max_iter: int = 60,
    rounds: int = 4,
    workers: int | None = None,
    callback: Callable[[Progress], object] | None = None,
) -> PSFEstimate:
    """A better PSF from an approximate one, for an object on a uniform background.

    From the guess's regularised inverse, `max_iter` iterations of NAS-RIF give an image. It is projected on the support
    and on positive values, and the PSF is fitted to the gradients by least squares, non-negative and of sum 1. Rounds
    of total-variation restoration, projection and fit follow. This is done for several supports: the one given, that
    narrowed by one and two pixels, and the one found in the image; or the one found, and that narrowed by one. The PSF
    with the greatest likelihood of the image (the evidence of Tikhonov's model) is taken, if it gains 0.05 nats a
    frequency on the guess's: less may come from what the model of the scene misses.

    Parameters
    ----------
    image : array (*spatial)
    psf : array
        The guess, its centre at ``s // 2``. The result may be larger by two pixels at every side.
    support, background, size
        As in `nas_rif`.
    max_iter : int >= 1
        Iterations of NAS-RIF.
    rounds : int >= 1
    workers : int, optional
    callback : callable, optional
        Called after every fit; `StopIteration` ends the run with the best PSF so far.

    Returns
    -------
    PSFEstimate
        `scores` has the evidence (lower is better) of the guess ("psf") and of the PSF from each support. `confidence`
        is the similarity, 0..1, of the best PSF and the one from the next best support.

    Raises
    ------
    ValueError, ParameterChoiceError
        As in `nas_rif`.

    Notes
    -----
    Evidence sees the moduli of the transfer function, not its phases; the phases come from the support. Of supports
    that are too large, the better ones have the better evidence, which is how they are noticed: where another gains
    0.05 nats a frequency on the one given, `message` says so.
    """
    box = tuple(2 * (s // 2) + 5 for s in psf.shape)
    search = _Search.of(image, padded(psf, box), background, size, max_iter, rounds, workers, callback)
    found = search.run(support)
    best = min(found, key=found.__getitem__) if found else "psf"
    guess = search.score(search.h0)
    scores = {"psf": guess, **found}
    if best == "psf" or guess - found[best] < search.clear:
        message = "no support gave a PSF with which the image is clearly likelier than with the one given: it is kept"
        return PSFEstimate(
            psf, "nas-rif", 0.0, message, converged=False, n_iter=search.n_iter, scores=scores, history=search.history()
        )
    return search.estimate(best, scores)


def estimate(
    image: npt.NDArray[np.floating[Any]],
    *,
    size: int | Sequence[int] | None = None,
    support: npt.ArrayLike | None = None,
    background: float | None = None,
    max_iter: int = 60,
    rounds: int = 4,
    workers: int | None = None,
    callback: Callable[[Progress], object] | None = None,
) -> PSFEstimate:
    """The PSF of an object on a uniform background, as `refine` from a guess of no blur at all.

    Parameters
    ----------
    image : array (*spatial)
    size : int or sequence of int, optional
        Of the PSF and of the filter, odd; 15 by default, less in small frames.
    support, background, max_iter, rounds, workers, callback
        As in `refine`.

    Returns
    -------
    PSFEstimate
        As from `refine`. `converged` is False where no blur at all explains the image as well.
    """
    sizes = filter_size(size, image.shape)
    search = _Search.of(image, delta(sizes), background, sizes, max_iter, rounds, workers, callback)
    found = search.run(support)
    if not found:
        message = "ended by the caller before any PSF was fitted"
        return PSFEstimate(search.h0, "nas-rif", 0.0, message, converged=False, n_iter=0)
    return search.estimate(min(found, key=found.__getitem__), {"no blur": search.score(search.h0), **found})


class _Search:
    """PSFs from several supports, and their evidence."""

    def __init__(self, problem: Problem, scene: _Scene, h0: Array, filtered: Filtered, max_iter: int, rounds: int):
        self.problem, self.scene, self.h0, self.filtered = problem, scene, h0, filtered
        self.max_iter, self.rounds = max_iter, rounds
        self.found: dict[str, Array] = {}
        self.steps: list[dict[str, Any]] = []
        self.ended = False
        grid = grid_shape(problem.shape, h0.shape, "zero")
        self.clear = _CLEAR * math.prod(grid) / 2
        self.on_grid = extend(scene.difference[0], grid, "zero")  # a period: the object and h0's reach of background

    @classmethod
    def of(
        cls, image: Array, h0: Array, background: float | None, size: Any, max_iter: int, rounds: int,
        workers: int | None, callback: Any,
    ) -> _Search:  # fmt: skip
        problem = Problem(image[np.newaxis], None, "free", (1.0,) * image.ndim, workers, None, callback)
        scene = _Scene.of(problem, background)
        filtered = Filtered.of(scene.difference, filter_size(size, image.shape), "zero", workers)
        return cls(
            problem, scene, h0, filtered, check_size(max_iter, 1, "max_iter")[0], check_size(rounds, 1, "rounds")[0]
        )

    @property
    def n_iter(self) -> int:
        return len(self.steps)

    def history(self) -> tuple[dict[str, Any], ...]:
        return tuple(self.steps)

    def score(self, h: Array) -> float:
        return evidence(self.on_grid, h, "periodic", self.problem.workers)

    def run(self, given: npt.ArrayLike | None) -> dict[str, float]:
        """The evidence of the PSF from each support: the one given, the one found, and narrower ones."""
        supports: dict[str, Array] = {}
        if given is not None:
            inside = supports["support given"] = self.scene.support(given)[0]
            for n in (1, 2):
                supports[f"support given, {n} px narrower"] = ndimage.binary_erosion(inside, iterations=n)
        try:
            inside = supports["support found"] = self.scene.support(None)[0]
        except ParameterChoiceError:
            if given is None:
                raise
        if given is None:
            supports["support found, 1 px narrower"] = ndimage.binary_erosion(inside)
        return self._fit(supports)

    def _fit(self, supports: dict[str, Array]) -> dict[str, float]:
        scores = {}
        for name, inside in supports.items():
            if inside.any() and not inside.all() and not self.ended:
                self.found[name] = h = self._psf_from(inside, name)
                scores[name] = self.score(h)
        return scores

    def _psf_from(self, inside: Array, name: str) -> Array:
        """NAS-RIF from the guess's inverse and a first PSF, then total variation and PSF in turn."""
        scene, h = self.scene, self.h0
        start = self._inverse_of_guess()
        image = inverse_filter(
            self.filtered, inside, scene.levels, scene.known, gamma=1.0, max_iter=self.max_iter, tol=0, start=start
        ).difference
        for step in range(self.rounds + 1):
            d = scene.projected(image, inside)
            h = scene.fitted(d, h)
            self.steps.append({"psf": h, "shape": self.problem.shape, "support": name})
            self.ended = not self.problem.goes_on(len(self.steps), 4 * (self.rounds + 1))
            if self.ended or step == self.rounds:
                break
            image = scene.restored(h)
        return h

    def _inverse_of_guess(self) -> Array:
        """Tikhonov's inverse of the guess, of the filter's size and of sum 1."""
        grid = grid_shape(self.filtered.size, self.h0.shape, "symmetric")
        H = transfer_function(self.h0, grid)
        gain = H.conj() / (H.real**2 + H.imag**2 + _RIDGE)
        lags = np.ix_(*[np.arange(s) - s // 2 for s in self.filtered.size])
        u = _fft.irfftn(gain, grid)[lags]
        return u / u.sum()

    def estimate(self, best: str, scores: dict[str, float]) -> PSFEstimate:
        """The result with the PSF of the named support."""
        h, others = self.found[best], [n for n in self.found if n != best]
        second = min(others, key=scores.__getitem__) if others else None
        confidence = 0.0 if second is None else min(1.0, similarity(h, self.found[second]))
        message = f"the PSF from the {best} has the best evidence of {len(self.found)}"
        worse = scores.get("support given", scores[best]) - scores[best]
        if worse > self.clear:
            message += ": the support given is too large, or not the object's"
        if self.ended:
            message += "; ended by the caller"
        reference = next(iter(scores.values()))
        converged = not self.ended and scores[best] < reference
        return PSFEstimate(
            h, "nas-rif", confidence, message, converged=converged, n_iter=self.n_iter, scores=scores,
            history=self.history(),
        )  # fmt: skip
