"""Models of point-spread functions, integrated over pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from lsdeblur._validate import check_non_negative, check_positive, check_size
from lsdeblur.psf._pixels import (
    _CAP,
    Array,
    Size,
    _at_least_one,
    _center,
    _draw,
    _edges,
    _erf_steps,
    _extent,
    _finish,
    _mixture,
    _number,
    _offsets,
    _outer,
    _per_axis,
    _pixel_integrals,
    _quarter_area,
    _stable_law,
    _tail_width,
)

__all__ = ["airy", "box", "delta", "disk", "gaussian", "kolmogorov", "moffat", "motion", "shake"]


def delta(ndim: int = 2, *, size: Size = None) -> Array:
    """PSF of no blur at all: `h = 1` at the centre and 0 elsewhere.

    Parameters
    ----------
    ndim : number of axes, at least 1.
    size : pixels per axis; one pixel by default.

    Returns
    -------
    Array of `size`.

    Raises
    ------
    TypeError, ValueError : `ndim` or `size` is not made of whole numbers of at least 1.

    Examples
    --------
    >>> from lsdeblur import psf
    >>> psf.delta(1, size=4)
    array([0., 0., 1., 0.])
    """
    (ndim,) = check_size(ndim, 1, "ndim")
    h = np.zeros(check_size(1 if size is None else size, ndim))
    h[_center(h.shape)] = 1.0
    return h


def box(width: float | Sequence[float]) -> Array:
    """Uniform moving average of any real width.

    Per axis, `h[n] = |[n - 1/2, n + 1/2] & [-w/2, w/2]| / w`: the share of the interval of width `w` on pixel `n`.

    Parameters
    ----------
    width : pixels, at least 1; one number for a square in 2-D, or one per axis (their number sets `ndim`).

    Returns
    -------
    Array with an odd number of pixels per axis.

    Raises
    ------
    TypeError, ValueError : `width` is not made of numbers of at least 1.

    Notes
    -----
    The two end pixels of an even width get half the weight, so that the centre stays on a pixel.

    Examples
    --------
    >>> from lsdeblur import psf
    >>> psf.box((3, 2))
    array([[0.08333333, 0.16666667, 0.08333333],
           [0.08333333, 0.16666667, 0.08333333],
           [0.08333333, 0.16666667, 0.08333333]])
    """
    halves = [_at_least_one(w, "width") / 2 for w in _per_axis(width, 2)]
    if not halves:
        raise ValueError("width is empty; pass one number, or one per axis")
    return _finish(_outer([np.diff(np.clip(_edges(_extent(w)), -w, w)) for w in halves]), "box")


def gaussian(sigma: float | Sequence[float], *, angle: float = 0.0, size: Size = None, ndim: int = 2) -> Array:
    """Gaussian PSF, integrated over each pixel.

    `h[n]` is the integral over pixel `n` of `exp(-x' C^-1 x / 2) / sqrt(det(2 pi C))`, where `x` is the position and
    `C = R diag(sigma^2) R'`, with `R` the rotation by `angle`.

    Parameters
    ----------
    sigma : standard deviation in pixels, >= 0; one number, or one per axis in the order (plane,) row, column.
    angle : degrees by which the axes of a 2-D `sigma` are turned, counter-clockwise on screen: with
        `sigma=(1, 4)` the long axis lies along a row at 0 and rises to the right at 30.
    size : pixels per axis; by default 99.99 % of the energy.
    ndim : 2 or 3, for a single `sigma`; otherwise the length of `sigma` counts.

    Returns
    -------
    Array of `size`.

    Raises
    ------
    TypeError, ValueError : an argument is not a number or out of range; `angle` in 3-D, or with a sigma below 0.1.

    Notes
    -----
    Integration adds the pixel's variance of 1/12 per axis, as a camera does, and keeps narrow PSFs right (s < 0.5),
    where sampling misses the peak. Widths add in squares but for that pixel, counted twice: `combine(gaussian(a),
    gaussian(b))` is closely `gaussian(sqrt(a^2 + b^2 + 1/12))`. A *sampled* Gaussian of standard deviation `t`, such
    as `scipy.ndimage.gaussian_filter` applies, is closely `gaussian(sqrt(t^2 - 1/12))`.
    Along the axes `h` is a product of differences of `erf`; turned, it is a Gauss-Legendre sum exact to rounding.

    Examples
    --------
    >>> from lsdeblur import psf
    >>> psf.gaussian(1.0, size=3).round(3)
    array([[0.078, 0.123, 0.078],
           [0.123, 0.195, 0.123],
           [0.078, 0.123, 0.078]])
    """
    (ndim,) = check_size(ndim, 1, "ndim")
    sigmas = np.array([check_non_negative(s, "sigma") for s in _per_axis(sigma, ndim)])
    ndim = len(sigmas)
    if ndim not in (2, 3):
        raise ValueError(f"gaussian has 2 or 3 axes, not {ndim}: check ndim or the number of values in sigma")
    turn = math.radians(_number(angle, "angle"))
    if ndim == 3 and turn:
        raise ValueError("angle turns a 2-D Gaussian only, but sigma describes 3 axes; leave angle at 0")
    covariance = np.diag(sigmas**2)
    if ndim == 2:
        rotation = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
        covariance = rotation @ covariance @ rotation.T
    spread = np.sqrt(np.diag(covariance))
    shape = tuple(_extent(s * _tail_width(ndim)) for s in spread) if size is None else check_size(size, ndim)
    if ndim == 3 or abs(covariance[0, 1]) <= 1e-14 * covariance.trace():
        return _finish(_outer([_erf_steps(s, n) for s, n in zip(spread, shape, strict=True)]), "gaussian")
    if sigmas.min() < 0.1:
        raise ValueError(
            f"sigma must be at least 0.1 when angle turns it, not {sigmas.min():g}; for a line use motion()"
        )
    (a, b), (_, c) = np.linalg.inv(covariance)

    def density(y: Array, x: Array) -> Array:
        return np.exp(-0.5 * (a * y * y + 2 * b * y * x + c * x * x)) / (2 * math.pi * sigmas.prod())

    nodes = 6 + math.ceil(4 / sigmas.min())
    return _finish(_pixel_integrals(density, *map(_offsets, shape), nodes=nodes), "gaussian")


def motion(length: float, angle: float = 0.0, *, size: Size = None) -> Array:
    """Uniform motion along a straight line: the exact share of the path on each pixel.

    `h[n] = |segment & pixel n| / length`, for the segment of `length` centred on the middle of the centre pixel.
    Its transfer function is, with `u` the unit vector along the motion and `f` in cycles per pixel,
    `H(f) = sum_m sinc(length (f + m).u) sinc(f_row + m_row) sinc(f_col + m_col)`, over all whole `m`.

    Parameters
    ----------
    length : pixels, at least 1; need not be whole.
    angle : degrees, counter-clockwise on screen: `motion(15, 30)` rises to the right.
    size : pixels per axis; by default the whole path.

    Returns
    -------
    Array of `size`.

    Raises
    ------
    TypeError, ValueError : an argument is not a number, or `length` is below 1.

    Notes
    -----
    The path is split where it crosses from pixel to pixel, so the weights are exact and continuous in `length` and
    `angle`. A path of length 1 does not leave its pixel: `motion(1, angle)` is `delta()` for every angle. Along a row
    an odd length gives that many equal weights; other lengths share the rest between the two end pixels.

    Examples
    --------
    >>> from lsdeblur import psf
    >>> psf.motion(4)
    array([[0.125, 0.25 , 0.25 , 0.25 , 0.125]])
    """
    half = _at_least_one(length, "length") / 2
    turn = math.radians(_number(angle, "angle"))
    end = half * np.round([-math.sin(turn), math.cos(turn)], 15)  # rounded: 90 degrees is a column, exactly
    shape = tuple(_extent(abs(e)) for e in end) if size is None else check_size(size, 2)
    return _finish(_draw(np.array([-end, end]), shape), "motion")


def disk(radius: float, *, size: Size = None) -> Array:
    """Defocus: the exact area of each pixel covered by a uniform disk.

    `h[n] = |disk & pixel n| / (pi radius^2)`, the image of a point by an ideal lens out of focus.

    Parameters
    ----------
    radius : pixels, >= 0; up to 0.5 the disk stays within a pixel and the result is `delta()`.
    size : pixels per axis; by default the whole disk.

    Returns
    -------
    Array of `size`.

    Raises
    ------
    TypeError, ValueError : `radius` is not a number >= 0.

    Notes
    -----
    The area over `[0, x] x [0, y]` has a closed form; a pixel is its second difference. The transfer function is
    `2 J1(v) / v` with `v = 2 pi radius |f|`, times the pixel's, folded.

    Examples
    --------
    >>> from lsdeblur import psf
    >>> (psf.disk(1) * np.pi).round(3)
    array([[0.079, 0.457, 0.079],
           [0.457, 1.   , 0.457],
           [0.079, 0.457, 0.079]])
    """
    r = check_non_negative(radius, "radius")
    shape = (_extent(r),) * 2 if size is None else check_size(size, 2)
    if r <= 0.5:
        return delta(size=shape)
    y, x = (np.clip(_edges(s), -r, r) for s in shape)
    area = np.sign(y)[:, None] * np.sign(x) * _quarter_area(np.abs(y)[:, None], np.abs(x), r)
    return _finish(np.diff(np.diff(area, axis=0), axis=1) / (math.pi * r * r), "disk")


def airy(
    wavelength: float,
    pixel_size: float,
    *,
    na: float | None = None,
    f_number: float | None = None,
    size: Size = None,
) -> Array:
    """Diffraction-limited PSF of a circular pupil in incoherent light, integrated over each pixel.

    `p(r) = kappa^2 / (4 pi) (2 J1(v) / v)^2` with `v = kappa r`, `r` in pixels, `J1` the Bessel function and
    `kappa = 2 pi na pixel_size / wavelength`, or `kappa = pi pixel_size / (wavelength f_number)`.

    Parameters
    ----------
    wavelength, pixel_size : lengths > 0 in the same unit. With `na` the pixel is measured in the object (the
        camera's pixel divided by the magnification); with `f_number` on the sensor.
    na : numerical aperture, > 0; the first dark ring has the radius 0.61 wavelength / na.
    f_number : focal ratio, > 0; the first dark ring has the radius 1.22 wavelength f_number.
    size : pixels per axis; by default 99.99 % of the energy, or 255.

    Returns
    -------
    Array of `size`.

    Raises
    ------
    TypeError, ValueError : an argument is not a number > 0, or not exactly one of `na` and `f_number` is given.

    Notes
    -----
    Outside the radius `r` lies the share `J0(v)^2 + J1(v)^2`, about `2 / (pi v)`: automatic sizing nearly always ends
    at 255 pixels. The optics pass `kappa / pi` cycles per pixel; above 0.5 the camera undersamples, and the lost
    frequencies fold back (`kappa` > pi / 2). The integral is a Gauss-Legendre sum, exact to rounding; its cost grows
    as `(6 + kappa)^2` per pixel: if it takes seconds, check the units and the magnification.

    References
    ----------
    Born and Wolf, Principles of Optics, section 8.5.2, eq. (14), doi:10.1017/9781108769914.

    Examples
    --------
    >>> from lsdeblur import psf
    >>> h = psf.airy(0.5, 0.1, na=0.61, size=21)  # micrometres; first dark ring at 5 pixels
    >>> bool(h[10, 15] < 1e-2 * h[10, 10])
    True
    """
    if (na is None) == (f_number is None):
        raise ValueError("pass exactly one of na and f_number: they describe the same aperture")
    aperture = 2 * check_positive(na, "na") if na is not None else 1 / check_positive(f_number, "f_number")
    kappa = math.pi * aperture * check_positive(pixel_size, "pixel_size") / check_positive(wavelength, "wavelength")
    from scipy.special import j1

    def density(y: Array, x: Array) -> Array:
        v = np.maximum(kappa * np.hypot(y, x), 1e-9)
        return kappa**2 / math.pi * (j1(v) / v) ** 2

    shape = (_CAP, _CAP) if size is None else check_size(size, 2)
    y, x = (np.abs(_offsets(s)).astype(int) for s in shape)
    quarter = _pixel_integrals(density, np.arange(y.max() + 1.0), np.arange(x.max() + 1.0), nodes=6 + math.ceil(kappa))
    return _finish(quarter[np.ix_(y, x)], "airy", fit=size is None)


def moffat(fwhm: float, beta: float = 2.5, *, size: Size = None) -> Array:
    """Moffat PSF, the usual fit to stars seen from the ground, integrated over each pixel.

    `p(r) = (beta - 1) / (pi alpha^2) (1 + r^2 / alpha^2)^-beta` with `fwhm = 2 alpha sqrt(2^(1 / beta) - 1)`.

    Parameters
    ----------
    fwhm : full width at half maximum of `p` in pixels, > 0.
    beta : exponent of the wings, > 1; 2.5 to 4.765 for turbulence, large values approach a Gaussian.
    size : pixels per axis; by default 99.99 % of the energy, or 255.

    Returns
    -------
    Array of `size`.

    Raises
    ------
    TypeError, ValueError : `fwhm` is not a number > 0, or `beta` not a number > 1.

    Notes
    -----
    `p` is a mixture of Gaussians of variance `alpha^2 / (2 t)`, `t` having the gamma distribution of shape `beta - 1`.
    A trapezoidal sum over `log t` converges exponentially and makes the pixels exact. Outside the radius `r` lies the
    share `(1 + r^2 / alpha^2)^(1 - beta)`.

    References
    ----------
    Moffat, Astronomy and Astrophysics 3, 455 (1969), bibcode 1969A&A.....3..455M.

    Examples
    --------
    >>> from lsdeblur import psf
    >>> h = psf.moffat(4.0, 3.0)
    >>> h.shape[0] % 2, bool(0.45 < h[h.shape[0] // 2 + 2, h.shape[1] // 2] / h.max() < 0.55)
    (1, True)
    """
    width, beta = check_positive(fwhm, "fwhm"), check_positive(beta, "beta")
    if beta <= 1:
        raise ValueError(f"beta must be greater than 1, not {beta:g}: slower wings hold infinite energy")
    alpha = width / (2 * math.sqrt(math.expm1(math.log(2) / beta)))
    step = 0.3 / math.sqrt(beta)
    # A Gaussian with t < e^-37 is so wide that its share of a pixel, about t, is lost in rounding.
    log_t = np.arange(max(-37, -36 / (beta - 1)), math.log(beta + 40 + 10 * math.sqrt(beta)), step)
    weights = step * np.exp((beta - 1) * log_t - np.exp(log_t) - math.lgamma(beta - 1))
    shape = (_CAP, _CAP) if size is None else check_size(size, 2)
    return _finish(_mixture(alpha * np.exp(-log_t / 2) / math.sqrt(2), weights, shape), "moffat", fit=size is None)


def kolmogorov(r0: float, wavelength: float, pixel_scale: float, *, size: Size = None) -> Array:
    """Long exposure through Kolmogorov turbulence, integrated over each pixel.

    The transfer function is `exp(-3.44 (wavelength f / r0)^(5/3))`, `f` in cycles per radian on the sky.

    Parameters
    ----------
    r0 : Fried's parameter at `wavelength`, in metres, > 0.
    wavelength : metres, > 0.
    pixel_scale : arcseconds per pixel, > 0 (1 radian is 206265 arcseconds).
    size : pixels per axis; by default 99.99 % of the energy, or 255.

    Returns
    -------
    Array of `size`.

    Raises
    ------
    TypeError, ValueError : an argument is not a number > 0.

    Notes
    -----
    The full width at half maximum is 0.976 wavelength / r0. The telescope's aperture is not included: `combine` with
    `airy`. The exponential of a power below 2 is a mixture of Gaussians, `E exp(-S k^2) = exp(-k^(5/3))` for the
    one-sided stable law `S` of index 5/6, whose density Kanter gave as an integral; so all pixels are positive and
    exact, and no halo wraps around as it does when the transfer function is sampled.

    References
    ----------
    Fried, J. Opt. Soc. Am. 56, 1372 (1966), doi:10.1364/JOSA.56.001372.
    Kanter, Annals of Probability 3, 697 (1975), doi:10.1214/aop/1176996309.

    Examples
    --------
    >>> from lsdeblur import psf
    >>> h = psf.kolmogorov(r0=0.1, wavelength=500e-9, pixel_scale=0.25)  # seeing of 1.0 arcsecond, 4 pixels
    >>> bool(0.45 < h[h.shape[0] // 2 + 2, h.shape[1] // 2] / h.max() < 0.55)
    True
    """
    radians = math.radians(check_positive(pixel_scale, "pixel_scale") / 3600)
    scale = check_positive(wavelength, "wavelength") / check_positive(r0, "r0") / radians  # lambda / r0 in pixels
    s, weights = _stable_law()
    # exp(-S k^2) with k^(5/3) = 3.44 (scale f)^(5/3) is the transfer function exp(-2 pi^2 sigma^2 f^2) of a Gaussian.
    sigmas = scale * 3.44**0.6 * np.sqrt(s / 2) / math.pi
    shape = (_CAP, _CAP) if size is None else check_size(size, 2)
    return _finish(_mixture(sigmas, weights, shape), "kolmogorov", fit=size is None)


def shake(size: int | Sequence[int], *, inertia: float = 0.95, rng: int | np.random.Generator | None = None) -> Array:
    """Random camera shake: the exact share of a random smooth path on each pixel.

    The velocity follows `v[k+1] = inertia v[k] + e[k]` with Gaussian `e`, for 256 steps of equal time; the path is
    scaled to fill the frame, and `h[n]` is the share of time it spends on pixel `n`.

    Parameters
    ----------
    size : pixels per axis of the result.
    inertia : from 0 (a random walk) to below 1 (sweeping curves).
    rng : seed or generator.

    Returns
    -------
    Array of `size`, its centroid within the centre pixel.

    Raises
    ------
    TypeError, ValueError : `size` is not made of whole numbers >= 1, or `inertia` is not a number in [0, 1).

    References
    ----------
    Boracchi and Foi, IEEE Trans. Image Process. 21, 3502 (2012), doi:10.1109/TIP.2012.2192126 (a related model).

    Examples
    --------
    >>> from lsdeblur import psf
    >>> psf.shake((15, 21), rng=0).shape
    (15, 21)
    """
    rng = np.random.default_rng(rng)
    shape = check_size(size, 2)
    inertia = check_non_negative(inertia, "inertia")
    if inertia >= 1:
        raise ValueError(f"inertia must be below 1, not {inertia:g}: a velocity that only grows leaves a straight line")
    velocity = rng.standard_normal((256, 2))
    for k in range(1, len(velocity)):
        velocity[k] += inertia * velocity[k - 1]
    path = np.vstack([np.zeros(2), velocity.cumsum(axis=0)])
    path -= (path[1:] + path[:-1]).mean(axis=0) / 2  # the centroid in time
    room = (np.array(shape) - 1) // 2
    return _finish(_draw(path * (room / np.abs(path).max(axis=0)).min(), shape), "shake")
