"""The forward model for users: blur a scene as a camera does, and add noise."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lsdeblur import _fft
from lsdeblur._validate import (
    as_float_array,
    as_psf,
    channels_back,
    channels_first,
    check_choice,
    check_finite,
    check_fits,
    check_positive,
)
from lsdeblur.psf import PSFGrid
from lsdeblur.spacevar import Blur
from lsdeblur.spectrum import transfer_function

__all__ = ["add_noise", "blur", "valid_part"]

Array = npt.NDArray[Any]

#: boundary -> mode of numpy.pad
_PAD_MODES = {"valid": None, "periodic": "wrap", "zero": "constant", "symmetric": "symmetric", "edge": "edge"}


def blur(
    image: npt.ArrayLike, psf: npt.ArrayLike | PSFGrid, *, boundary: str = "valid", channel_axis: int | None = None
) -> Array:
    """Convolve a scene with a PSF, ``g(x) = sum_y h(y) f(x - y)`` with y counted from the PSF's centre ``s // 2``.

    Parameters
    ----------
    image : array, 2 or 3 spatial axes and optionally one of channels
        The sharp scene.
    psf : array or psf.PSFGrid
        As many axes as the image has spatial ones, or one PSF per channel, channels first. A PSFGrid varies over the
        frame, ``g = sum_k h_k * (w_k f)``; its positions count from the first pixel of the *result*.
    boundary : str
        "valid" (default) keeps only the pixels that depend on nothing outside the scene, as a camera's frame does:
        the result is smaller by the PSF's size less one, and `valid_part` cuts the scene to match. "periodic", "zero",
        "symmetric" and "edge" make up the scene outside and keep the shape.
    channel_axis : int, optional
        Axis of colours or channels.

    Returns
    -------
    array
        float32 for uint8, uint16, float16 and float32 scenes, float64 for others.
    """
    check_choice(boundary, _PAD_MODES, "boundary")
    f, h = _scene_and_psf(image, psf, channel_axis)
    if boundary == "valid":
        _check_valid(h, f)
    else:
        pads = [(s - 1 - s // 2, s // 2) for s in h.shape[1:]]
        f = np.pad(f, [(0, 0), *pads], mode=_PAD_MODES[boundary])  # type: ignore[call-overload]
    g = _varying(f, psf) if isinstance(psf, PSFGrid) else _uniform(f, h.astype(f.dtype, copy=False))
    if f.min() >= 0 and h.min() >= 0:
        g = np.maximum(g, 0)  # rounding must not make light negative
    return np.ascontiguousarray(channels_back(g, channel_axis))


def _uniform(f: Array, h: Array) -> Array:
    """Valid convolution of channels f with one PSF or one for each."""
    full = f.shape[1:]
    grid = tuple(_fft.good_size(n) for n in full)  # wrap-around stays out of the valid part
    F = _fft.rfftn(np.pad(f, [(0, 0), *((0, n - m) for n, m in zip(grid, full, strict=True))]), len(grid))
    return _fft.irfftn(transfer_function(h, grid) * F, grid)[(slice(None), *_valid(full, h.shape[1:]))]


def _varying(f: Array, psf: PSFGrid) -> Array:
    """The same for PSFs that vary over the frame."""
    valid = _valid(f.shape[1:], psf.size)
    origin, shape = [v.start for v in valid], [v.stop - v.start for v in valid]
    spread = Blur.of(psf, f.shape[1:], origin, f.dtype)
    return np.stack([spread(channel)[spread.frame(origin, shape)] for channel in f])


def valid_part(image: npt.ArrayLike, psf: npt.ArrayLike | PSFGrid, *, channel_axis: int | None = None) -> Array:
    """The part of a scene that `blur` with ``boundary="valid"`` keeps: pixel by pixel what to compare with."""
    f, h = _scene_and_psf(image, psf, channel_axis)
    _check_valid(h, f)
    return channels_back(f[(slice(None), *_valid(f.shape[1:], h.shape[1:]))], channel_axis)


def add_noise(
    image: npt.ArrayLike,
    *,
    noise_std: float | None = None,
    bsnr: float | None = None,
    photons: float | None = None,
    rng: np.random.Generator | int | None = None,
) -> Array:
    """Add Gaussian noise, photon noise, or both (a sensor's shot noise and read noise).

    Parameters
    ----------
    image : array
        Noise-free blurred image.
    noise_std : float > 0, optional
        Standard deviation of white Gaussian noise, in units of the image.
    bsnr : float, optional
        Instead of `noise_std`, the blurred signal-to-noise ratio in dB, ``10 log10(var(image) / noise_std^2)``.
    photons : float > 0, optional
        Photons at the image's maximum: each pixel becomes ``Poisson(image * photons / max) * max / photons``.
        The image must not be negative.
    rng : numpy.random.Generator, int or None
        Source of the random numbers, or its seed.
    """
    rng = np.random.default_rng(rng)
    g = as_float_array(image, "image")
    if noise_std is None and bsnr is None and photons is None:
        raise ValueError("give noise_std=, bsnr= or photons=: how much noise?")
    if noise_std is not None and bsnr is not None:
        raise ValueError("give noise_std= or bsnr=, not both: each sets the Gaussian noise")
    if bsnr is not None:
        noise_std = float(np.std(g, dtype=np.float64)) * 10 ** (-check_finite(bsnr, "bsnr") / 20)
        if not noise_std > 0:
            raise ValueError("bsnr= needs an image that varies: a constant one has no signal; give noise_std=")
    out = g
    if photons is not None:
        if g.min() < 0 or not g.max() > 0:
            raise ValueError(
                "photons= needs an image without negative values and with some light; subtract its offset first"
            )
        scale = check_positive(photons, "photons") / float(g.max())
        out = (rng.poisson(g * scale) / scale).astype(g.dtype)
    if noise_std is not None:
        sigma = check_positive(noise_std, "noise_std")
        out = out + sigma * rng.standard_normal(g.shape, dtype=g.dtype)
    return out


def _scene_and_psf(image: npt.ArrayLike, psf: npt.ArrayLike | PSFGrid, channel_axis: int | None) -> tuple[Array, Array]:
    """Channels first; of a PSFGrid one PSF for each position."""
    f = channels_first(image, channel_axis)
    if isinstance(psf, PSFGrid):
        if psf.ndim != f.ndim - 1:
            raise ValueError(
                f"psf varies along {psf.ndim} axes, but the image has {f.ndim - 1} spatial ones; name a channel axis "
                "with channel_axis="
            )
        return f, psf.psfs
    return f, as_psf(psf, ndim=f.ndim - 1, channels=None if channel_axis is None else len(f))


def _check_valid(h: Array, f: Array) -> None:
    remedy = "no pixel depends on the scene alone; choose another boundary"
    check_fits(h.shape[1:], f.shape[1:], "psf", "image", remedy)


def _valid(shape: tuple[int, ...], size: tuple[int, ...]) -> tuple[slice, ...]:
    """Pixels of a frame of `shape` that a centred PSF of `size` computes from the frame alone."""
    return tuple(slice(s - 1 - s // 2, n - s // 2) for n, s in zip(shape, size, strict=True))
