"""Noise: its level, from the image alone or with the help of the PSF."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from lsdeblur import _fft
from lsdeblur._validate import as_psf, channels_first
from lsdeblur.errors import ParameterChoiceError
from lsdeblur.spectrum import hermitian_weights, transfer_function

__all__ = ["estimate_noise_std"]

_ERASED = 1e-2  # |H| / |H(0)| below which a scene's contribution (1e-4 of its power) is taken to be gone
_ENOUGH = 200  # erased frequencies needed: the median of so many is known to 10 %


def estimate_noise_std(
    image: npt.ArrayLike, psf: npt.ArrayLike | None = None, *, channel_axis: int | None = None
) -> float:
    """Standard deviation of the noise in a blurred image, in the image's units.

    Parameters
    ----------
    image : array, 2 or 3 spatial axes
        Blurred, noisy image.
    psf : array, optional
        Its PSF. Without it, the median absolute deviation of the finest diagonal wavelet coefficients is used
        (`skimage.restoration.estimate_sigma`; Donoho & Johnstone 1994, doi:10.1093/biomet/81.3.425, sec. 4):
        right for white noise when the blur is strong enough to leave no detail of a pixel's size, too high on
        sharp, textured images, too low on correlated noise (resampled, demosaiced, denoised or JPEG images), and
        some 10 % too low on images of few pixels, whose mirrored edges count as well.

        With it, the power of the windowed image at the frequencies that the blur has erased
        (``|H| < 0.01 |H(0)|``): the median of ``|Y|^2``, an exponential variable, divided by log 2. Only noise is
        left there, so the scene's texture does not matter; right when the PSF is right and the noise is white.
        A wrong PSF, or noise that is weak at high frequencies, misleads it.
    channel_axis : int, optional
        The channels of a colour image; their noise powers are averaged.

    Returns
    -------
    float

    Raises
    ------
    ParameterChoiceError
        With `psf`: when the blur erases too few frequencies to tell (small or sharp-edged PSFs).
    """
    channels = channels_first(image, channel_axis)
    if psf is None:
        from skimage.restoration import estimate_sigma

        longest = int(np.argmax(channels.shape[1:])) + 1  # a short last axis would be taken for colours
        powers = [estimate_sigma(c) ** 2 for c in np.moveaxis(channels, longest, -1)]
        return math.sqrt(float(np.mean(powers)))
    h = as_psf(psf, ndim=channels.ndim - 1, channels=None if channel_axis is None else len(channels))
    psfs = np.broadcast_to(h, (len(channels), *h.shape[1:]))
    return math.sqrt(float(np.mean([_erased_power(c, h) for c, h in zip(channels, psfs, strict=True)])))


def _erased_power(image: npt.NDArray[Any], psf: npt.NDArray[Any]) -> float:
    """Noise power per pixel where |H| is nearly zero, from the image under a Hann window (which keeps edges out)."""
    window = np.ones((), image.dtype)
    for axis, n in enumerate(image.shape):
        hann = np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 2
        window = window * hann.astype(image.dtype).reshape(-1, *[1] * (image.ndim - 1 - axis))
    Y = _fft.rfftn((image - image.mean()) * window, image.ndim)
    H = np.abs(transfer_function(psf, image.shape))
    erased = _ERASED * H[(0,) * H.ndim] > H
    erased &= np.broadcast_to(hermitian_weights(image.shape) == 2, H.shape)  # the real-valued columns vary more
    if np.count_nonzero(erased) < _ENOUGH:
        raise ParameterChoiceError(
            f"the blur erases only {np.count_nonzero(erased)} frequencies ({_ENOUGH} are needed), so the noise cannot "
            "be read from them; call estimate_noise_std without psf="
        )
    power = Y.real[erased] ** 2 + Y.imag[erased] ** 2
    return float(np.median(power)) / (math.log(2) * float(np.sum(window.astype(np.float64) ** 2)))
