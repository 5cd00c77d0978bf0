"""Denoising after a linear restoration, with the strength of the noise that it is known to leave.

A gain G on data with noise of power spectrum ``kappa c`` leaves noise of the variance

    sigma_out^2 = kappa mean(c |G|^2)                                                                       (1)

over all frequencies, whatever the scene. A linear filter must weigh noise against blur at every frequency; a denoiser
that looks for structure tells them apart better, so the filter may leave more noise: lambda is taken at `SHARE` of what
is best without. On 16 scenes and blurs with noise from 0.001 to 0.02 that gave 0.0 to 2 dB, 0.9 on average.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from lsdeblur._gains import make_plan
from lsdeblur._methods import Problem, Solution
from lsdeblur._stage import Stage
from lsdeblur._validate import check_choice
from lsdeblur.direct import tikhonov
from lsdeblur.errors import MissingDependencyError
from lsdeblur.filters import power
from lsdeblur.psf import PSFGrid
from lsdeblur.spectrum import hermitian_weights

__all__ = ["DENOISERS", "SHARE", "Denoiser", "applied", "denoised", "noise_left"]

Array = npt.NDArray[Any]
#: a name, or a function of an image and its noise's standard deviation
Denoiser: TypeAlias = str | Callable[[Array, float], Array]

SHARE = 0.3  # of the lambda that is chosen for the restoration alone


def _non_local_means(image: Array, sigma: float) -> Array:
    """Buades, Coll & Morel (2005), doi:10.1109/CVPR.2005.38, by scikit-image."""
    from skimage.restoration import denoise_nl_means

    reach = 7 if image.ndim == 2 else 3
    return denoise_nl_means(image, patch_size=5, patch_distance=reach, h=0.7 * sigma, sigma=sigma, fast_mode=True)


def _total_variation(image: Array, sigma: float) -> Array:
    """Chambolle (2004), doi:10.1023/B:JMIV.0000011325.36760.1e, by scikit-image."""
    from skimage.restoration import denoise_tv_chambolle

    return denoise_tv_chambolle(image, weight=0.4 * sigma)


def _opencv(image: Array, sigma: float) -> Array:
    """Non-local means by OpenCV, in 16-bit integers over the image's own range."""
    import cv2

    if image.ndim != 2:
        raise ValueError(f"'opencv-nlm' denoises images of 2 axes, not of {image.ndim}: take 'nlm'")
    low, scale = float(image.min()), 65535 / max(float(np.ptp(image)), 1e-30)
    if sigma * scale < 4:
        raise ValueError(
            f"the image's range is {65535 / (sigma * scale):.2g} times its noise, too much for the 16 bits that "
            "'opencv-nlm' works in: take 'nlm', or mask the brightest pixels"
        )
    levels = np.rint((image - low) * scale).astype(np.uint16)
    strength = [0.8 * sigma * scale]  # of the mean absolute difference of patches
    return cv2.fastNlMeansDenoising(levels, strength, None, 5, 21, cv2.NORM_L1) / image.dtype.type(scale) + low


def _bm3d(image: Array, sigma: float) -> Array:
    """Dabov et al. (2007), doi:10.1109/TIP.2007.901238, by the package bm3d, which has a licence of its own."""
    try:
        from bm3d import bm3d
    except ImportError:
        raise MissingDependencyError("'bm3d' needs that package: pip install bm3d (its licence is not free)") from None
    if image.ndim != 2:
        raise ValueError(f"'bm3d' denoises images of 2 axes, not of {image.ndim}: take 'nlm'")
    return bm3d(image, sigma)


#: name -> function of an image (*shape) and its noise level
DENOISERS: dict[str, Callable[[Array, float], Array]] = {
    "nlm": _non_local_means,
    "tv": _total_variation,
    "opencv-nlm": _opencv,
    "bm3d": _bm3d,
}


def noise_left(problem: Problem, solution: Solution, options: Mapping[str, Any]) -> list[float]:
    """Equation (1)'s sigma_out for each PSF, on a periodic grid of the frame's size."""
    if solution.noise_std is None:
        raise ValueError("denoise_after= depends on the noise level: give noise_std=, or leave lam to be chosen")
    colour = {"noise_width": solution.noise_width, "noise_floor": solution.noise_floor}
    model = {name: options[name] for name in ("penalty", "tau") if name in options}
    levels = []
    for h in problem.psf:
        stage = Stage.make(h, problem.shape, "periodic", problem.spacing, workers=problem.workers, tol=1, max_iter=1)
        gain = make_plan(stage, "tikhonov", lam=solution.lam, **model, **colour).gain
        shaped = stage.coloured(solution.noise_width, solution.noise_floor).colour
        c = np.ones((1,) * gain.ndim) if shaped is None else shaped
        weights = np.broadcast_to(hermitian_weights(stage.grid), gain.shape)
        passed = np.average(power(gain) * c, weights=weights) / np.average(
            np.broadcast_to(c, gain.shape), weights=weights
        )
        levels.append(solution.noise_std * math.sqrt(float(passed)))
    return levels


def denoised(problem: Problem, solution: Solution, options: Mapping[str, Any], denoiser: Denoiser) -> Solution:
    """A solution of "tikhonov" with these options, made sharper if its lambda was chosen, and denoised."""
    if isinstance(problem.psf, PSFGrid):
        raise ValueError("denoise_after= needs a uniform PSF: the noise left by one that varies is not known")
    function = denoiser if callable(denoiser) else DENOISERS[check_choice(denoiser, DENOISERS, "denoise_after")]
    name = denoiser if isinstance(denoiser, str) else getattr(denoiser, "__name__", "a function")
    if solution.selection is not None and solution.lam is not None:
        colour = {"noise_width": solution.noise_width, "noise_floor": solution.noise_floor}
        sharper = tikhonov(
            problem, **{**options, **colour, "lam": SHARE * solution.lam, "noise_std": solution.noise_std}
        )
        solution = replace(
            solution, image=sharper.image, lam=sharper.lam, sensitivity=sharper.sensitivity,
            message=f"{solution.message}; {SHARE:g} of that, since {name} denoises after",
        )  # fmt: skip
    levels = noise_left(problem, solution, options)
    image = np.stack(
        [applied(function, g, levels[c % len(levels)], "denoise_after=") for c, g in enumerate(solution.image)]
    )
    left = ", ".join(f"{level:.3g}" for level in levels)
    message = f"{solution.message}; noise left by the filter {left}"
    return replace(solution, image=image, sensitivity=None, message=message)


def applied(function: Callable[[Array, float], Array], image: Array, sigma: float, name: str) -> Array:
    """The denoised image in its own precision, if that is an image of the same shape; `name` is for the error."""
    found = np.asarray(function(image, sigma))
    if found.shape != image.shape or found.dtype.kind not in "fiu":
        raise ValueError(
            f"{name} returned an array of shape {found.shape} and dtype {found.dtype} for an image of shape "
            f"{image.shape}: it must return real numbers of that shape"
        )
    return found.astype(image.dtype, copy=False)
