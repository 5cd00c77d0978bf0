"""Noise: its level and its colour, from the image alone or with the help of the PSF."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lsdeblur import _fft
from lsdeblur._validate import as_psf, channels_first, check_non_negative
from lsdeblur.errors import ParameterChoiceError
from lsdeblur.spectrum import frequencies, hermitian_weights, transfer_function

__all__ = ["FLOOR", "colour", "estimate_gain", "estimate_noise_std", "find_colour", "hann"]

#: the least white part of coloured noise, relative to its power at frequency zero: rounding and read-out
FLOOR = 1e-4

_ERASED = 1e-2  # |H| / |H(0)| below which a scene's contribution (1e-4 of its power) is taken to be gone
_WIDTHS = np.array([0.3, 0.45, 0.6, 0.8, 1.0, 1.25])  # pixels
_FLOORS = (FLOOR, 0.01, 0.03, 0.1, 0.3)  # denoising leaves a tenth or so of the finest noise
_SEEN = 0.2  # share of frequencies that noise must rule for its colour to be told easily from the scene's
_GAIN = 0.03  # log-likelihood a frequency that a width must gain then: of white noise only some on pages of text does
_FLOOR_GAIN = 0.03  # and a floor besides: with one, white noise on a page of text gains up to 0.053
_HARD_GAIN = 0.15  # and where noise rules nowhere: white noise on a page of text gains up to 0.117
_EVIDENCE = 100.0  # and in all: on small frames white noise reaches some 50
_DECADES = np.logspace(-9, 6, 16)  # in which the ratio of scene and noise is looked for
_FAINT = 1e-4  # of the image's standard deviation: weaker noise is lost among what the model of the scene misses
_WEAK = 0.03  # of the largest |H|^2
_FEW = 15  # frequencies, whose mean power is known to a quarter
_SAMPLES = 6000  # frequencies looked at
_TILE = 16  # pixels to a side of the tiles in which photon noise is compared with the light
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


def estimate_gain(
    image: npt.ArrayLike, psf: npt.ArrayLike | None = None, *, read_noise: float = 0.0, channel_axis: int | None = None
) -> float:
    """Image units per photon, from the noise: photon noise has the variance ``gain * mean + read_noise^2``.

    Parameters
    ----------
    image : array, 2 or 3 spatial axes
        Blurred image with photon noise, proportional to light: a camera's offset subtracted.
    psf : array, optional
        Its PSF. Without it, the power of the finest diagonal wavelet coefficients (Haar's) is divided by the light,
        tile by tile of 16 pixels, and the median of the tiles is taken, darker ones having less weight: too high on
        sharp, textured images. With it, the power at the frequencies that the blur has erased (`estimate_noise_std`)
        is divided by the light, too, which is too high for bright points: the smaller of the two counts.
    read_noise : float >= 0
        Standard deviation of the noise that does not depend on the light, in units of the image.
    channel_axis : int, optional
        The channels of a colour image; one gain is found for all.

    Returns
    -------
    float
        0 where no noise can be seen.

    Raises
    ------
    ValueError
        An image without light: its mean is not positive.
    """
    channels, read = channels_first(image, channel_axis), check_non_negative(read_noise, "read_noise") ** 2
    if not channels.mean(dtype=np.float64) > 0:
        raise ValueError("image has no light, its mean is not positive: check what was subtracted from it")
    if psf is not None:
        window = hann(channels.shape[1:], channels.dtype) ** 2
        light = float(np.mean([np.vdot(g, window) for g in channels])) / float(window.sum(dtype=np.float64))
        try:
            power = estimate_noise_std(channels, psf, channel_axis=0) ** 2
        except ParameterChoiceError:
            power = math.nan
        erased = max(power - read, 0.0) / light if light > 0 else math.nan
        return float(np.fmin(erased, _gain_of_tiles(channels, read)))
    return _gain_of_tiles(channels, read)


def _gain_of_tiles(channels: npt.NDArray[Any], read: float) -> float:
    """Power of the finest Haar coefficients less `read`, over the light: the median of tiles, the dark ones less."""
    axes = [axis for axis in range(1, channels.ndim) if channels.shape[axis] > 1]
    detail = light = channels.astype(np.float64)
    for axis in axes:
        even, odd = (np.arange(i, channels.shape[axis] - 1 + i, 2) for i in (0, 1))
        detail = (detail.take(odd, axis) - detail.take(even, axis)) / math.sqrt(2)
        light = (light.take(odd, axis) + light.take(even, axis)) / 2
    n = (_TILE // 2) ** len(axes)
    power = detail**2 / (1 - 2 / (9 * n)) ** 3 - read  # the median of a mean of n squares is so much less than the mean
    for axis in axes:
        starts = np.arange(0, light.shape[axis], _TILE // 2)
        power, light = np.add.reduceat(power, starts, axis), np.add.reduceat(light, starts, axis)
    lit = light > 0
    power, light = power[lit], light[lit]
    order = np.argsort(power / light)
    below = np.cumsum(np.minimum(light, np.median(light))[order])
    middle = order[np.searchsorted(below, below[-1] / 2)]
    return max(float(power[middle] / light[middle]), 0.0)


def colour(
    grid: Sequence[int], width: float, floor: float = FLOOR, dtype: npt.DTypeLike = np.float64
) -> npt.NDArray[Any]:
    """Power spectrum of noise that a Gaussian of `width` pixels has smoothed, ``exp(-width^2 |w|^2) + floor``.

    On the half spectrum of `grid`, relative to that at frequency zero; the floor stands for rounding and read-out, or
    for what a denoiser has left.
    """
    c = np.ones((), dtype)
    for w in frequencies(grid):
        c = c * np.exp(-((width * w) ** 2)).astype(dtype)
    return c + np.asarray(floor, dtype)


class Colour(NamedTuple):
    """What `find_colour` finds: `width` and `floor` as in `colour`, and the `excess` of what the model leaves.

    The excess is the power at low frequencies that the blur has erased, relative to that of the noise of this colour;
    0 where there are too few of them. It is about 1 where PSF and noise are what they are taken to be. `unexplained`
    is the same relative to white noise.
    """

    width: float
    floor: float
    excess: float = 0.0
    unexplained: float = 0.0


def find_colour(image: npt.NDArray[Any], H: npt.NDArray[Any], P: npt.NDArray[Any]) -> Colour:
    """Width and floor of the noise's spectrum in an image, as in `colour`; width 0 for white noise.

    The likelihood of the windowed image's spectrum, ``W(S |H|^2 / P) + N c(w)`` for a scene of power S / P and noise
    of power N with the colour c of `colour`, is maximised over S / N, the width and the floor on a sample of
    frequencies; W is what the window makes of a spectrum (`_leaked`). A colour must gain 100 in log-likelihood over
    white noise to be believed, and 0.03 a frequency, or up to 0.15 where white noise would rule less than a fifth of
    them: where the scene hides the noise (a mild blur, little noise), its colour is unknown, and 0 is returned. A floor
    must gain 0.03 more. Noise below 1e-4 of the image's standard deviation passes for white. The scene's power is taken
    to be S / P; text, which has another, set these thresholds.

    Parameters
    ----------
    image : array (channels, *shape)
    H : complex array (1 or channels, *half spectrum of shape)
        Transfer functions on the image's own grid.
    P : array (*half spectrum of shape)
        Symbol of the penalty.

    References
    ----------
    Whittle (1953), Ark. Mat. 2, 423-434, doi:10.1007/BF02590998, for the likelihood; Sykulski et al. (2019), Biometrika
    106, 251-266, doi:10.1093/biomet/asy071, for the window's part in it.
    """
    grid = image.shape[1:]
    rng = np.random.default_rng(0)  # which frequencies are looked at must not change from call to call
    index = np.arange(P.size) if P.size <= _SAMPLES else rng.choice(P.size, _SAMPLES, replace=False)
    index = index[P.ravel()[index] > 0]

    def sample(a: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        return np.broadcast_to(a, P.shape).ravel()[index].astype(np.float32)  # sums of some thousands: enough

    window = hann(grid, image.dtype)
    E = np.concatenate([_power(_windowed(g, window).ravel()[index].astype(np.complex128)) for g in image])
    level = float(E.sum())
    if not level > 0:
        return Colour(0.0, FLOOR)
    r2 = np.tile(sum(sample(w**2) for w in frequencies(grid)), len(image))
    share = np.tile(sample(hermitian_weights(grid)), len(image))
    share /= share.sum()
    A = _power(H)
    scene = [_leaked(np.divide(a, P, out=np.zeros_like(P), where=P > 0), grid, index) for a in A]
    s = np.concatenate([scene[c % len(H)] for c in range(len(image))])
    scale = float(A.max()) / float(P.mean(dtype=np.float64))
    s, E = ((a / unit).astype(np.float32) for a, unit in ((s, scale), (E, level)))
    white, lam = _whittle(s, E, share)
    if level * float(share @ (lam / (s + lam) * E)) < _FAINT**2 * float(image.var(dtype=np.float64)) * math.prod(grid):
        return Colour(0.0, FLOOR)
    width, floor = _likeliest(s, E, share, r2, white, lam, _EVIDENCE / image.size)
    power = s * np.tile(P.ravel()[index] / P.max(), len(image))
    weak = power < _WEAK * power.max()
    unexplained = excess = _excess(s, E, share, r2, lam, weak)
    if width:
        c = np.exp(-(width**2) * r2) + floor
        excess = _excess(s / c, E / c, share, r2, _whittle(s / c, E / c, share)[1], weak)
    return Colour(width, floor, excess, unexplained)


def _likeliest(
    s: npt.NDArray[Any], E: npt.NDArray[Any], share: npt.NDArray[Any], r2: npt.NDArray[Any], white: float, lam: float,
    evidence: float,
) -> tuple[float, float]:  # fmt: skip
    """Width and floor of the likeliest colour, if it gains enough over white noise, which fits best with `lam`."""
    hidden = max(0.0, 1 - float(share @ (lam / (s + lam))) / _SEEN)
    values = np.empty((len(_FLOORS), len(_WIDTHS)))
    for i, j in np.ndindex(values.shape):
        if i == 1 and j == 0 and values[0].min() >= white:  # no width gains anything: white noise
            return 0.0, FLOOR
        c = np.exp(-(_WIDTHS[j] ** 2) * r2) + _FLOORS[i]
        values[i, j] = _whittle(s / c, E / c, share)[0] + share @ np.log(c)
    values[1:] += _FLOOR_GAIN
    i, j = np.unravel_index(np.argmin(values), values.shape)
    if white - values[i, j] < max(_GAIN + hidden * (_HARD_GAIN - _GAIN), evidence):
        return 0.0, FLOOR
    near = int(np.clip(j - 1, 0, len(_WIDTHS) - 3))
    widths, (width, _) = _WIDTHS[near : near + 3], _vertex(_WIDTHS[near : near + 3], values[i, near : near + 3])
    return float(np.clip(width, widths[0], widths[-1])), _FLOORS[i]


def _excess(
    s: npt.NDArray[Any], E: npt.NDArray[Any], share: npt.NDArray[Any], r2: npt.NDArray[Any], lam: float,
    weak: npt.NDArray[np.bool_],
) -> float:  # fmt: skip
    """The largest mean of ``q E``, relative to that of all, over the erased ones of an eighth of the frequencies.

    With ``q = lam / (s + lam)``. The three eighths of lowest frequency are looked at; erased are those
    that the blur leaves `weak` and noise rules.
    """
    q = lam / (s + lam)
    left, edges = q * E / float(share @ (q * E)), np.quantile(r2, np.arange(4) / 8)
    means = [0.0]
    for low, high in itertools.pairwise(edges):
        erased = weak & (q > 0.5) & (r2 >= low) & (r2 <= high)
        if np.count_nonzero(erased) >= _FEW:
            means.append(float(np.average(left[erased], weights=share[erased])))
    return max(means)


def _whittle(s: npt.NDArray[Any], E: npt.NDArray[Any], share: npt.NDArray[Any]) -> tuple[float, float]:
    """Least minus log-likelihood a frequency, for spectra ``N (1 + s / lam)`` with N fitted, and its lambda.

    `share` are the frequencies' weights, together 1. Where there is neither noise nor scene, as in an enlarged image,
    there may be two minima: all of the range from 1e-9 to 1e6 is searched.
    """

    def value(lam: npt.NDArray[Any], part: slice = slice(None)) -> npt.NDArray[Any]:
        column, weights = lam.astype(s.dtype)[:, np.newaxis], share[part]
        q = column / (s[part] + column)
        return np.log((q * E[part]) @ weights) - np.log(q) @ weights / weights.sum()

    few = slice(None, None, 4)  # frequencies suffice to find the right decade
    t = math.log(_DECADES[np.argmin(value(_DECADES, few))]) + math.log(10) * np.array([-0.5, 0.0, 0.5])
    best, least = _vertex(t, value(np.exp(t)))
    return least, math.exp(best)


def _vertex(t: npt.NDArray[Any], values: npt.NDArray[Any]) -> tuple[float, float]:
    """Where the parabola through three points is lowest, and its value; the lowest point where it is not between."""
    before, after = np.diff(values) / np.diff(t)
    bend = (after - before) / (t[2] - t[0])
    slope = before + bend * (t[1] - t[0])
    if bend > 0 and t[0] < t[1] - slope / (2 * bend) < t[2]:
        return float(t[1] - slope / (2 * bend)), float(values[1] - slope**2 / (4 * bend))
    return float(t[np.argmin(values)]), float(values.min())


def hann(shape: Sequence[int], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """A Hann window, which keeps an image's edges out of its spectrum."""
    window = np.ones((), dtype)
    for axis, n in enumerate(shape):
        hann = np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 2
        window = window * hann.astype(dtype).reshape(-1, *[1] * (len(shape) - 1 - axis))
    return window


def _windowed(image: npt.NDArray[Any], window: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Spectrum of the windowed image, scaled so that white noise keeps its power per pixel (times the pixels)."""
    mean, square = np.vdot(image, window) / window.sum(), np.vdot(window, window) / window.size
    centred = image - image.dtype.type(mean)
    centred *= window
    centred /= image.dtype.type(math.sqrt(square))
    return _fft.rfftn(centred, image.ndim)


def _leaked(power: npt.NDArray[Any], grid: Sequence[int], index: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """What the window of `_windowed` makes, on average, of a power spectrum at the frequencies `index` (flat).

    A Hann window mixes each frequency with its neighbours, powers 1/6, 2/3, 1/6 along every axis: the zeros of a
    transfer function fill up. `power` is given on the half spectrum of `grid` and even.
    """
    at = np.unravel_index(index, power.shape)
    total = np.zeros(len(index))
    for steps in itertools.product((-1, 0, 1), repeat=len(grid)):
        beside = [k + step for k, step in zip(at, steps, strict=True)]
        other = (beside[-1] < 0) | (beside[-1] > grid[-1] // 2)  # on the half that is not kept: its mirror image is
        mirrored = tuple(np.where(other, -k, k) % n for k, n in zip(beside, grid, strict=True))
        total += math.prod(2 / 3 if step == 0 else 1 / 6 for step in steps) * power[mirrored]
    return total


def _power(spectrum: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """``|spectrum|^2``."""
    return spectrum.real**2 + spectrum.imag**2


def _erased_power(image: npt.NDArray[Any], psf: npt.NDArray[Any]) -> float:
    """Noise power per pixel where |H| is nearly zero, from the windowed image."""
    Y = _windowed(image, hann(image.shape, image.dtype))
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
