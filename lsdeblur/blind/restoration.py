"""Blind restoration in one call: the PSF from the image, then the image from the PSF."""

from __future__ import annotations

import warnings
from dataclasses import fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from lsdeblur._methods import BLIND, METHODS, Problem, Solution, check_options, resolve
from lsdeblur._results import PSFEstimate
from lsdeblur._validate import check_choice
from lsdeblur.blind import ESTIMATORS, diagnose, estimate_psf, luminance, refine_psf
from lsdeblur.blind._whittle import Spectrum, unlikeliness
from lsdeblur.blind.gradient_prior import cost
from lsdeblur.errors import LsdeblurWarning
from lsdeblur.psf import PSFGrid

__all__ = ["blind"]

_DOUBTFUL = 0.55  # confidence
_SHARP = 1.0  # pixels, standard deviation of a PSF along its longest axis


def blind(
    problem: Problem, *, estimator: str = "auto", size: int | str = "auto", then: str = "wavelet", **options: Any
) -> Solution:
    """Estimate the PSF, then restore with it.

    Parameters
    ----------
    problem : Problem
        Two spatial axes. Without a PSF it is estimated, in the luminance; a PSF is taken for a first guess and refined
        (`lsdeblur.blind.refine`).
    estimator : str
        "gradient-prior", "parametric" or "nas-rif" (`lsdeblur.blind.estimate_psf`); "auto" asks the first two and takes
        the PSF by which the image's power spectrum is likelier: the parametric one where it fits, because it has fewer
        ways to be wrong, and any form otherwise.
    size : int or "auto"
        Pixels to a side of a PSF of any form, odd.
    then : str
        The method that restores, a name in `lsdeblur.METHODS` that needs a PSF.
    **options
        Those of that method.

    Returns
    -------
    Solution
        That of the method, with the PSF and the evidence for it.

    Warns
    -----
    LsdeblurWarning
        When the image looks sharp or beyond repair (`lsdeblur.blind.diagnose`), or the PSF is doubtful.

    Raises
    ------
    ValueError
        Other than two spatial axes; a method that needs no PSF; an unknown estimator.
    """
    if len(problem.shape) != 2:
        raise ValueError(
            f"method 'blind' estimates a PSF of two axes, but the image has {len(problem.shape)} spatial ones: "
            "name colours with channel_axis=; for a volume, measure the PSF (psf.from_image)"
        )
    check_choice(then, sorted(set(METHODS) - BLIND), "then")
    check_choice(estimator, ("auto", *ESTIMATORS), "estimator")
    if isinstance(problem.psf, PSFGrid):
        raise TypeError("method 'blind' finds one PSF: give none, or a single one as a first guess, not a PSFGrid")
    _, method = resolve(then)
    others = ("size", "estimator", "then", *(f.name for f in fields(Problem)))
    check_options(method, options, f"method 'blind' has size=, estimator= and then=; then={then!r}", others)
    g = luminance(problem.image, 0)
    if problem.psf is None:
        found = _estimate(g, estimator, size, problem.callback)
    else:
        found = refine_psf(g, problem.psf.mean(axis=0), callback=problem.callback)
    h = found.psf.astype(problem.image.dtype)
    solution = method(replace(problem, psf=h[np.newaxis]), **options)
    message = f"PSF by {found.method}: {found.message}; then {then}: {solution.message}"
    return replace(solution, psf=found.psf, psf_estimate=found, message=message)


def _estimate(g: npt.NDArray[Any], estimator: str, size: int | str, callback: Any) -> PSFEstimate:
    """The PSF, with warnings where it may be useless."""
    options: dict[str, dict[str, Any]] = {"gradient-prior": {"size": size}}
    names = ("gradient-prior", "parametric") if estimator == "auto" else (estimator,)
    found = [estimate_psf(g, method=name, callback=callback, **options.get(name, {})) for name in names]
    best = found[0] if len(found) == 1 else _likelier(g, *found)
    verdict = diagnose(g)
    if not verdict.recoverable:
        warnings.warn(f"{verdict.message}; it is restored all the same", LsdeblurWarning, stacklevel=2)
    elif (wide := _width(best.psf)) < _SHARP:
        warnings.warn(
            f"the PSF found is hardly a blur ({wide:.2g} pixels, standard deviation), and the diagnosis of the image: "
            f"{verdict.message}; it is restored all the same",
            LsdeblurWarning,
            stacklevel=2,
        )
    if best.confidence < _DOUBTFUL:
        warnings.warn(
            f"the PSF is doubtful (confidence {best.confidence:.2f}): {best.message}; look at result.psf, give a part "
            "of the image with more edges, or measure the PSF",
            LsdeblurWarning,
            stacklevel=2,
        )
    return best


def _width(h: npt.NDArray[Any]) -> float:
    """Standard deviation in pixels along the PSF's longest axis."""
    at = np.indices(h.shape).reshape(2, -1)
    return float(np.sqrt(max(np.linalg.eigvalsh(np.cov(at, aweights=h.ravel(), ddof=0))[-1], 0)))


def _likelier(g: npt.NDArray[Any], free: PSFEstimate, parametric: PSFEstimate) -> PSFEstimate:
    """By the image's spectrum; each pixel of a free form has its price, a family's few parameters have none."""
    spectrum = Spectrum.of(g)
    return parametric if unlikeliness(spectrum, parametric.psf) < cost(spectrum, free.psf, g.size) else free
