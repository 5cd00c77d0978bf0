"""Blind restoration: finding and refining the PSF of an image, and saying whether that can work.

=================  ============================================================================
`estimate_psf`     the PSF from one image: "gradient-prior" (camera shake and any other form),
                   "parametric" (motion, defocus, Gaussian, Moffat), "nas-rif"
`refine_psf`       a better PSF from an approximate one: "alternating", "nas-rif"
`diagnose`         sharp, motion, defocus, mixed, or not recoverable, with numbers
=================  ============================================================================

``restore(image, method="blind")`` estimates the PSF, or refines the one it is given, and restores. Which options
there are, say the modules `gradient_prior`, `parametric`, `nas_rif`, `refine`, `diagnosis` and `restoration`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from lsdeblur._methods import Progress, check_options
from lsdeblur._results import Diagnosis, PSFEstimate
from lsdeblur._validate import as_psf, channels_first, check_choice, check_fits

__all__ = ["Diagnosis", "PSFEstimate", "diagnose", "estimate_psf", "refine_psf"]

_MODULES = ("diagnosis", "gradient_prior", "nas_rif", "parametric", "refine", "restoration")

#: name -> "module:callable(image, *, callback=None, **options) -> PSFEstimate" of an image (*spatial) of floats
ESTIMATORS: dict[str, str] = {
    "gradient-prior": "lsdeblur.blind.gradient_prior:gradient_prior",
    "parametric": "lsdeblur.blind.parametric:parametric",
    "nas-rif": "lsdeblur.blind.nas_rif:estimate",
}

#: name -> "module:callable(image, psf, *, callback=None, **options) -> PSFEstimate"
REFINERS: dict[str, str] = {
    "alternating": "lsdeblur.blind.refine:alternating",
    "nas-rif": "lsdeblur.blind.nas_rif:refine",
}


def estimate_psf(
    image: npt.ArrayLike,
    *,
    method: str = "gradient-prior",
    channel_axis: int | None = None,
    callback: Callable[[Progress], object] | None = None,
    **options: Any,
) -> PSFEstimate:
    """Find the PSF of a blurred image.

    Parameters
    ----------
    image : array (rows, columns), optionally with an axis of channels
        Blurred image of real numbers, in any scale.
    method : str
        "gradient-prior": any form, for camera shake (`lsdeblur.blind.gradient_prior`); "parametric": the best-fitting
        model of motion, defocus, Gaussian or Moffat (`lsdeblur.blind.parametric`); "nas-rif": for an object on a
        uniform background (`lsdeblur.blind.nas_rif`).
    channel_axis : int, optional
        Axis of colours or channels: the PSF is found in their luminance.
    callback : callable, optional
        Called with the progress after each step; `StopIteration` ends the run.
    **options
        The method's own: see its function.

    Returns
    -------
    PSFEstimate

    Raises
    ------
    TypeError
        Complex or non-numeric arrays; an option that the method does not have.
    ValueError
        Empty, NaN or infinite images, other than two spatial axes, or a constant image.
    """
    return _call(ESTIMATORS, method, luminance(image, channel_axis), callback=callback, **options)


def refine_psf(
    image: npt.ArrayLike,
    psf: npt.ArrayLike,
    *,
    method: str = "alternating",
    channel_axis: int | None = None,
    callback: Callable[[Progress], object] | None = None,
    **options: Any,
) -> PSFEstimate:
    """Improve an approximate PSF by the image that it blurred.

    Parameters
    ----------
    image, channel_axis, callback
        As for `estimate_psf`.
    psf : array (rows, columns)
        The initial guess, its centre at pixel ``s // 2``.
    method : str
        "alternating": the size, angle and softness of the guess, then its pixels, for ordinary scenes
        (`lsdeblur.blind.refine`); "nas-rif": for an object on a uniform background (`lsdeblur.blind.nas_rif`).
    **options
        The method's own: see its function.

    Returns
    -------
    PSFEstimate
        Never worse than `psf` by the criterion that the method optimises: where nothing better is found, it holds
        `psf` itself, `converged` is False, and `message` says so.
    """
    g = luminance(image, channel_axis)
    h = as_psf(psf, ndim=g.ndim)[0].astype(float)
    check_fits(h.shape, g.shape, "psf", "image", "crop it around its centre, or check that they are not swapped")
    return _call(REFINERS, method, g, h, callback=callback, **options)


def diagnose(image: npt.ArrayLike, *, channel_axis: int | None = None) -> Diagnosis:
    """Say what kind of blur an image has and whether it can be taken back: see `lsdeblur.blind.diagnosis`."""
    from lsdeblur.blind.diagnosis import diagnosed

    return diagnosed(luminance(image, channel_axis))


def luminance(image: npt.ArrayLike, channel_axis: int | None) -> npt.NDArray[np.floating[Any]]:
    """One checked image of two axes: of three channels their Rec. 709 luminance, of other numbers their mean."""
    if channel_axis is None and np.ndim(image) == 3:
        raise ValueError(
            f"image has 3 axes, {np.shape(image)}, and a PSF is found in a plane of two: name that of the colours with "
            "channel_axis="
        )
    channels = channels_first(image, channel_axis, ndim=(2,))
    weights = np.array([0.2126, 0.7152, 0.0722]) if len(channels) == 3 else np.full(len(channels), 1 / len(channels))
    g = np.tensordot(weights.astype(channels.dtype), channels, 1) if len(channels) > 1 else channels[0]
    if np.ptp(g) == 0:
        raise ValueError("image is constant: a blur leaves no trace in it; give a part with edges")
    return g


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"lsdeblur.blind.{name}")
    raise AttributeError(f"module 'lsdeblur.blind' has no attribute {name!r}")


def _call(table: dict[str, str], method: str, *arrays: Any, callback: Any, **options: Any) -> PSFEstimate:
    module, _, name = table[check_choice(method, table, "method")].partition(":")
    function = getattr(importlib.import_module(module), name)
    check_options(function, options, f"method {method!r}")
    return function(*arrays, callback=callback, **options)
