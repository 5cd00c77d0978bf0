"""What kind of blur an image has, and whether it can be taken back."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from lsdeblur._results import Diagnosis, PSFEstimate
from lsdeblur.blind._families import FAMILIES, MAX_LENGTH
from lsdeblur.blind._whittle import SMALLEST, Spectrum, fitted
from lsdeblur.blind.parametric import parametric
from lsdeblur.noise import estimate_noise_std

__all__ = ["diagnosed"]

Array = npt.NDArray[np.floating[Any]]

_FAMILIES = ("motion", "defocus", "gaussian", "motion+defocus")
_KINDS = {"delta": "sharp", "motion": "motion", "defocus": "defocus", "gaussian": "defocus", "motion+defocus": "mixed"}
_SHARP = 0.75  # pixels: PSFs whose standard deviation is smaller along every direction are no blur to speak of
_STEEPEST = (
    3.6  # exponent of a sharp scene's spectrum: 12 of 13 have up to 3.5 (bricks: 4.2), most shaken ones 3.6 to 4.6
)
_LEAST_SNR = 5.0  # dB
_FEW_LEVELS = 8  # grey values
_CLIPPED = 0.5  # share of pixels


def diagnosed(image: Array) -> Diagnosis:
    """Say what kind of blur an image has and whether it can be taken back.

    "sharp": no blur, or one whose standard deviation is below 0.75 pixels in every direction; "motion": along a line;
    "defocus": equal in all directions, a disk *or a Gaussian*; "mixed": both; "not-recoverable": a signal-to-noise
    ratio below 5 dB, fewer than 8 grey values, half of the pixels clipped, fewer than 32 pixels to a side, or a blur
    wider than a quarter of the frame or 64 pixels. The shake of a camera is no straight line: it is called "motion" or
    "mixed", whichever comes closer; and "mixed", too, is a blur that no family explains, but that shows in a spectrum
    steeper than a scene's.

    Parameters
    ----------
    image : array (rows, columns)

    Returns
    -------
    Diagnosis
        Its `numbers`: "noise_std" (units of the image), "snr_db" (variance of the image less the noise's, over the
        noise's), "width" (standard deviation of the PSF along its widest direction, pixels), the parameters of the PSF,
        "exponent" (the spectrum falls like ``|w|^-exponent`` near one radian per pixel), "confidence" (as of
        `lsdeblur.blind.parametric`), "clipped" (share of the pixels at the least or the greatest value), "levels" (grey
        values, up to a thousand), and "score: family" for each family, lower is better.

    Notes
    -----
    The noise is that of `lsdeblur.noise.estimate_noise_std`: too high on sharp, fine texture. Some 1 second for 512 x
    512 pixels.
    """
    noise = estimate_noise_std(image)
    variance = max(float(image.var(dtype=np.float64)) - noise**2, 0.0)
    snr_db = 10 * math.log10(max(variance, 1e-30) / noise**2) if noise > 0 else math.inf
    numbers = {"noise_std": noise, "snr_db": snr_db, "clipped": _clipped(image), "levels": float(_levels(image))}
    unfit = _unfit(image, numbers)
    if unfit:
        return Diagnosis("not-recoverable", False, unfit, snr_db, numbers)
    found = parametric(image, families=_FAMILIES)
    parameters = {name: value for name, value in found.parameters.items() if name != "family"}
    width = _width(found.psf)
    numbers |= {"width": width, "exponent": _exponent(image), "confidence": found.confidence, **parameters}
    numbers |= {f"score: {name}": score for name, score in found.scores.items()}
    kind = "sharp" if width < _SHARP else _KINDS[found.parameters["family"]]
    if kind == "sharp" and numbers["exponent"] > _STEEPEST:
        fact = (
            f"the spectrum falls like |w|^-{numbers['exponent']:.1f}, steeper than a sharp scene's, but no simple blur"
        )
        remedy = "explains it: the shake of a camera, or a smooth scene; try method='blind' (--psf blind)"
        return Diagnosis("mixed", True, f"{fact} {remedy}", snr_db, numbers)
    return Diagnosis(*_finding(kind, found, width, image.shape), snr_db, numbers)


def _unfit(image: Array, numbers: dict[str, float]) -> str:
    """Why nothing can be found in the image, and what to do; empty where it can."""
    if min(image.shape) < SMALLEST:
        return f"{image.shape[0]} x {image.shape[1]} pixels: fewer than {SMALLEST} to a side; give a larger part"
    if numbers["snr_db"] < _LEAST_SNR:
        return (
            f"signal-to-noise ratio of {numbers['snr_db']:.1f} dB, below {_LEAST_SNR:g}: the noise hides the blur; "
            "average several exposures, or bin the pixels"
        )
    if numbers["levels"] < _FEW_LEVELS:
        return (
            f"{numbers['levels']:.0f} grey values: too dark, too flat or made of two tones; expose longer, or use "
            "the raw data"
        )
    if numbers["clipped"] > _CLIPPED:
        return (
            f"{100 * numbers['clipped']:.0f} % of the pixels are at the least or the greatest value: what was clipped "
            "there is lost; expose differently, or give a part without them"
        )
    return ""


def _finding(kind: str, found: PSFEstimate, width: float, shape: tuple[int, ...]) -> tuple[str, bool, str]:
    """Kind, whether it is recoverable, and the sentence that says so."""
    widest = min(MAX_LENGTH, min(shape) / 4)
    if kind == "sharp":
        fact = f"sharp: no simple blur, {width:.2f} pixels (standard deviation); nothing to restore but the noise"
        return kind, True, f"{fact}, unless a camera's shake left fine edges in it: estimate_psf would find that"
    extent = max(found.psf.shape) if found.parameters["family"] != "gaussian" else 4 * width
    if extent > widest:
        fact = f"{found.message}: blur of {extent:.0f} pixels, more than the {widest:.0f} that this frame shows"
        return "not-recoverable", False, f"{fact}; reduce the image, or give a larger part"
    remedy = "method='blind' (--psf blind) with estimator='parametric'"
    if kind == "mixed":
        remedy += ", or 'gradient-prior' for a camera's shake"
    return kind, True, f"{found.message}: try {remedy}"


def _exponent(image: Array) -> float:
    """Of the spectrum without the noise; the gradient's, ``log S = c_1 log |w| / 1.5``, is smaller by 2."""
    return 2 - float(fitted(Spectrum.of(image), FAMILIES["delta"]).coefficients[1]) / 1.5


def _width(psf: npt.NDArray[np.float64]) -> float:
    """Standard deviation along the widest direction, in pixels."""
    at = np.stack([i.ravel() - s // 2 for i, s in zip(np.indices(psf.shape), psf.shape, strict=True)])
    return math.sqrt(max(float(np.linalg.eigvalsh(np.cov(at, aweights=psf.ravel(), ddof=0))[-1]), 0.0))


def _levels(image: Array) -> int:
    """Distinct values, looked for in a thousand or so pixels spread over the image."""
    return int(np.unique(image.ravel()[:: max(1, image.size // 1000)]).size)


def _clipped(image: Array) -> float:
    """Share of the pixels at the least or the greatest value, those that occur once not counted."""
    counts = [int(np.count_nonzero(image == end)) for end in (image.min(), image.max())]
    return sum(count for count in counts if count > 1) / image.size
