"""lsdeblur: restores blurred images by regularised least squares in the frequency domain.

    from lsdeblur import psf, restore
    result = restore(blurred, psf.motion(length=15, angle=30))
    result.image, result.lam, result.selection

==============  =====================================================================
`restore`       restore an image; returns a `Restoration` (with its `Selection`)
`plan`          a direct restoration for many images of one shape and PSF
`fft_backend`   choose the library of the Fourier transforms
`psf`           generators of point-spread functions, and measured ones
`simulate`      blur a scene and add noise
`boundary`      how an image is continued outside its frame
`spectrum`      transfer functions, penalties, the curves over lambda
`selection`     the rules that choose lambda
`noise`         the noise's level and colour
`filters`       the gains
`free`          the solver of free boundaries
`spacevar`      blur that varies over the frame: its model and its solver
`tiling`        tiles with a halo, and any method applied by tiles
`direct`        inverse, Wiener and Tikhonov with their options
`denoise`       denoising after least squares, by the noise that it leaves
`frames`        several frames of one scene, restored together
`blind`         the PSF from the image itself; a diagnosis of its blur
`deep`          learned restoration (needs PyTorch): a denoiser as the prior, networks, training
`posterior`     the uncertainty of least squares, and samples of the scene
`evaluate`      all that the metrics can say about a result, in a table
`metrics`       PSNR, SSIM, NMSE, ISNR; edges, ringing, texture; whiteness of a residual, sharpness
`video`         films, frame by frame
`io`            images in files: PNG, TIFF, FITS and others, with what belongs to them
`plot`          L-curves, comparisons, PSFs (loads matplotlib)
`compat`        scikit-image's deconvolution functions, their signatures and answers
`report`        one HTML page on a restoration, to judge it by and to keep
==============  =====================================================================
"""

import importlib
from typing import Any

from lsdeblur._fft import fft_backend
from lsdeblur._methods import METHODS, Problem, Solution
from lsdeblur._restore import plan, posterior_samples, restore
from lsdeblur._results import Diagnosis, PSFEstimate, Restoration, Selection
from lsdeblur._version import __version__
from lsdeblur.errors import (
    ConvergenceWarning,
    LambdaAtBoundaryWarning,
    LsdeblurWarning,
    MissingDependencyError,
    ParameterChoiceError,
    PSFMismatchWarning,
)

_MODULES = (
    "blind",
    "boundary",
    "compat",
    "deep",
    "denoise",
    "direct",
    "errors",
    "filters",
    "frames",
    "free",
    "io",
    "metrics",
    "noise",
    "plot",
    "posterior",
    "psf",
    "report",
    "selection",
    "simulate",
    "spacevar",
    "spectrum",
    "tiling",
    "video",
)

__all__ = [  # noqa: PLE0604
    "METHODS",
    "ConvergenceWarning",
    "Diagnosis",
    "LambdaAtBoundaryWarning",
    "LsdeblurWarning",
    "MissingDependencyError",
    "PSFMismatchWarning",
    "PSFEstimate",
    "ParameterChoiceError",
    "Plan",
    "Problem",
    "Restoration",
    "Selection",
    "Solution",
    "__version__",
    "diagnose",
    "estimate_psf",
    "evaluate",
    "fft_backend",
    "plan",
    "posterior_samples",
    "refine_psf",
    "restore",
    *_MODULES,
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"lsdeblur.{name}")
    if name in ("diagnose", "estimate_psf", "refine_psf"):
        return getattr(importlib.import_module("lsdeblur.blind"), name)
    if name == "evaluate":
        return importlib.import_module("lsdeblur.metrics").evaluate
    if name == "Plan":
        return importlib.import_module("lsdeblur._stage").Plan
    raise AttributeError(f"module 'lsdeblur' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
