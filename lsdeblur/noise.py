"""Noise: its level and its colour, from the image alone or with the help of the PSF."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lsdeblur import _fft
from lsdeblur._validate import as_psf, channels_first
from lsdeblur.errors import ParameterChoiceError
from lsdeblur.spectrum import frequencies, hermitian_weights, transfer_function

__all__ = ["colour", "correlation_width", "estimate_noise_std"]

_ERASED = 1e-2  # |H| / |H(0)| below which a scene's contribution (1e-4 of its power) is taken to be gone
_WIDTHS = np.array([0.0, 0.3, 0.45, 0.6, 0.8, 1.0, 1.25])  # pixels
_SEEN = 0.2  # share of frequencies that noise must rule for its colour to be told easily from the scene's
_GAIN = 0.03  # log-likelihood a frequency that a colour must gain then: white noise on pictures reaches 0.025
_HARD_GAIN = 0.25  # and where noise rules less: white noise on a page of text reaches 0.12
_EVIDENCE = 100.0  # and in all: on small frames white noise reaches some 50
_SAMPLES = 6000  # frequencies looked at
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


def colour(grid: Sequence[int], width: float, dtype: npt.DTypeLike = np.float64) -> npt.NDArray[Any]:
    """Power spectrum of noise that a Gaussian of `width` pixels has smoothed, ``exp(-width^2 |w|^2) + 1e-4``.

    On the half spectrum of `grid`, relative to that at frequency zero; the constant stands for rounding and read-out.
    """
    c = np.ones((), dtype)
    for w in frequencies(grid):
        c = c * np.exp(-((width * w) ** 2)).astype(dtype)
    return c + np.asarray(1e-4, dtype)


def correlation_width(image: npt.NDArray[Any], H: npt.NDArray[Any], P: npt.NDArray[Any]) -> float:
    """Width in pixels of the Gaussian that would have smoothed white noise to the noise of an image; 0 for white.

    The likelihood of the windowed image's spectrum, ``S |H|^2 / P + N c(w)`` for a scene of power S / P and noise of
    power N with the colour c of `colour`, is maximised over S / N and the width on a sample of frequencies. A colour
    must gain 100 in log-likelihood over white noise to be believed, and 0.03 a frequency, or 0.25 where white noise
    would rule less than a fifth of them: where the scene hides the noise (a mild blur, little noise), its colour is
    unknown, and 0 is returned. The scene's power is taken to be S / P; text, which has another, set these thresholds.

    Parameters
    ----------
    image : array (channels, *shape)
    H : complex array (1 or channels, *half spectrum of shape)
        Transfer functions on the image's own grid.
    P : array (*half spectrum of shape)
        Symbol of the penalty.

    References
    ----------
    Whittle (1953), Ark. Mat. 2, 423-434, doi:10.1007/BF02590998, for the likelihood.
    """
    grid = image.shape[1:]
    rng = np.random.default_rng(0)  # which frequencies are looked at must not change from call to call
    index = np.arange(P.size) if P.size <= _SAMPLES else rng.choice(P.size, _SAMPLES, replace=False)
    index = index[P.ravel()[index] > 0]

    def sample(a: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        return np.broadcast_to(a, P.shape).ravel()[index].astype(np.float64)

    window = _hann(grid, image.dtype)
    E = np.concatenate([sample(np.abs(_windowed(g, window))) ** 2 for g in image])
    if not E.sum() > 0:
        return 0.0
    r2 = np.tile(sum(sample(w**2) for w in frequencies(grid)), len(image))
    count = np.tile(sample(hermitian_weights(grid)), len(image))
    s = np.concatenate([sample(np.abs(H[c % len(H)])) ** 2 / sample(P) for c in range(len(image))])
    scale = float(np.abs(H).max()) ** 2 / float(P.mean(dtype=np.float64))
    _, lam = _whittle(s, E, count, scale * np.logspace(-9, 6, 31))
    white, lam = _whittle(s, E, count, lam * np.logspace(-0.5, 0.5, 13))
    seen = np.average(lam / (s + lam), weights=count) > _SEEN
    values = [white]
    for width in _WIDTHS[1:]:
        c = np.exp(-(width**2) * r2) + 1e-4
        _, lam = _whittle(s / c, E / c, count, lam * np.logspace(-1.5, 1.5, 7))
        value, lam = _whittle(s / c, E / c, count, lam * np.logspace(-0.4, 0.4, 5))
        values.append(value + float(np.average(np.log(c), weights=count)))
    i = int(np.argmin(values))
    if white - values[i] < max(_GAIN if seen else _HARD_GAIN, _EVIDENCE / image.size):
        return 0.0
    near = slice(max(i - 1, 0), max(i - 1, 0) + 3) if i + 2 <= len(_WIDTHS) else slice(i - 2, i + 1)
    bend, slope, _ = np.polyfit(_WIDTHS[near], values[near], 2)
    best = -slope / (2 * bend) if bend > 0 else _WIDTHS[i]
    return float(np.clip(best, _WIDTHS[near][0], _WIDTHS[near][-1]))


def _whittle(
    s: npt.NDArray[Any], E: npt.NDArray[Any], count: npt.NDArray[Any], lams: npt.NDArray[Any]
) -> tuple[float, float]:
    """Least minus log-likelihood a frequency, for spectra ``N (1 + s / lam)`` with N fitted, and its lambda."""
    values = []
    for lam in lams:
        q = lam / (s + lam)
        values.append(float(np.log(np.average(q * E, weights=count)) - np.average(np.log(q), weights=count)))
    i = int(np.argmin(values))
    return values[i], float(lams[i])


def _hann(shape: Sequence[int], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """A Hann window, which keeps an image's edges out of its spectrum."""
    window = np.ones((), dtype)
    for axis, n in enumerate(shape):
        hann = np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 2
        window = window * hann.astype(dtype).reshape(-1, *[1] * (len(shape) - 1 - axis))
    return window


def _windowed(image: npt.NDArray[Any], window: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Spectrum of the windowed image, scaled so that white noise keeps its power per pixel (times the pixels)."""
    mean = np.sum(image * window, dtype=np.float64) / np.sum(window, dtype=np.float64)
    scale = math.sqrt(float(np.mean(np.square(window, dtype=np.float64))))
    return _fft.rfftn((image - image.dtype.type(mean)) * (window / image.dtype.type(scale)), image.ndim)


def _erased_power(image: npt.NDArray[Any], psf: npt.NDArray[Any]) -> float:
    """Noise power per pixel where |H| is nearly zero, from the windowed image."""
    Y = _windowed(image, _hann(image.shape, image.dtype))
    H = np.abs(transfer_function(psf, image.shape))
    erased = _ERASED * H[(0,) * H.ndim] > H
    erased &= np.broadcast_to(hermitian_weights(image.shape) == 2, H.shape)  # the real-valued columns vary more
    if np.count_nonzero(erased) < _ENOUGH:
        raise ParameterChoiceError(
            f"the blur erases only {np.count_nonzero(erased)} frequencies ({_ENOUGH} are needed), so the noise cannot "
            "be read from them; call estimate_noise_std without psf="
        )
    power = Y.real[erased].astype(np.float64) ** 2 + Y.imag[erased].astype(np.float64) ** 2
    return float(np.median(power)) / (math.log(2) * image.size)
