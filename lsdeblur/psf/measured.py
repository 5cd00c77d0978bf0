"""Point-spread functions measured on images of points."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from lsdeblur._validate import as_float_array, check_choice, check_size
from lsdeblur.psf._pixels import (
    Array,
    Size,
    _center,
    _finish,
    _log,
    _number,
    _window,
)

__all__ = ["from_image", "from_points"]


def from_image(
    image: npt.ArrayLike,
    *,
    size: Size = None,
    background: float | str | None = "auto",
    center: str = "centroid",
    psf_center: Sequence[float] | None = None,
) -> Array:
    """PSF from the picture of one point: a bead, a star, a pinhole.

    `h = max(image - background, 0)`, noise removed, centred, cropped and divided by its sum.

    Parameters
    ----------
    image : 2-D or 3-D array with one point in it.
    size : pixels per axis; by default 99.99 % of what is left after the background.
    background : "auto", the median of the outer tenth of the frame; a number; or None for no background.
    center : "centroid" or "peak": what becomes the centre.
    psf_center : index of the centre per axis, instead of `center`; a fraction is rounded.

    Returns
    -------
    Array of `size`.

    Raises
    ------
    TypeError, ValueError : a bad argument, `psf_center` outside the image, or an image without a point.

    Notes
    -----
    The centre is moved by whole pixels only, so no value is interpolated; what remains, up to half a pixel, shifts
    the restored image. `from_points` aligns to fractions of a pixel.
    Clipping noise at zero would leave a pedestal of 0.4 standard deviations on every pixel, often more energy than
    the PSF holds. So with "auto" the border's median absolute deviation gives the noise, and pixels whose mean over
    their 3 x 3 (x 3) neighbourhood is not above 3 standard deviations of such a mean are set to zero; then negative
    values are clipped. With a number or None negative values are clipped only. The frame should be several times
    wider than the PSF, or its wings count as background.

    Examples
    --------
    >>> from lsdeblur import psf
    >>> image = 10 + np.pad(psf.gaussian(1.5, size=21), ((0, 9), (4, 0)))
    >>> h = psf.from_image(image, size=21)
    >>> bool(np.allclose(h, psf.gaussian(1.5, size=21), atol=1e-5))
    True
    """
    a = as_float_array(image, "image", ndim=(2, 3)).astype(np.float64)
    check_choice(center, ("centroid", "peak"), "center")
    level, noise = _background(a, background)
    h = _significant(a - level, noise)
    if not h.any():
        raise ValueError("image holds no point: nothing stands above background; lower it, or choose another cut-out")
    if psf_center is not None:
        where = as_float_array(psf_center, "psf_center", ndim=(1,))
        if len(where) != a.ndim or np.any(np.rint(where) < 0) or np.any(np.rint(where) >= a.shape):
            raise ValueError(f"psf_center must be {a.ndim} indices within the shape {a.shape}, not {psf_center!r}")
    else:
        where = _centroid(h) if center == "centroid" else np.array(np.unravel_index(h.argmax(), h.shape))
    middle = tuple(int(i) for i in np.rint(where))
    full = tuple(2 * max(c, s - 1 - c) + 1 for c, s in zip(middle, h.shape, strict=True))
    h = _window(h, middle, full if size is None else check_size(size, a.ndim)) / h.sum()
    if not h.any():
        raise ValueError("size and the centre leave no light in the window; check psf_center, or enlarge size")
    return _finish(h, "from_image", fit=size is None)


def from_points(
    image: npt.ArrayLike, positions: npt.ArrayLike, *, size: Size = 25, background: float | str | None = "auto"
) -> Array:
    """PSF from many points in one image: their median, each aligned to a fraction of a pixel.

    Every point is resampled around its own centroid, its background subtracted and its sum set to 1; `h` is the
    median over the points, treated as in `from_image`.

    Parameters
    ----------
    image : 2-D or 3-D array.
    positions : array (n, ndim) of approximate centres, in pixels (plane,) row, column; right to about two pixels.
    size : pixels per axis of the window around each point, and of the result.
    background : as in `from_image`; "auto" is found in each window.

    Returns
    -------
    Array of `size`.

    Raises
    ------
    TypeError, ValueError : a bad argument, or no point that is bright enough with its window within the image.

    Notes
    -----
    Resampling is by quintic splines: safe for a PSF more than about 2.5 pixels wide. A different centroid for a
    lopsided PSF only shifts the result. Points whose window leaves the image are skipped; a few wrong points
    (neighbours, cosmic rays) do not disturb the median.

    References
    ----------
    Anderson and King, Publ. Astron. Soc. Pacific 112, 1360 (2000), doi:10.1086/316632 (a related method).

    Examples
    --------
    >>> from lsdeblur import psf
    >>> image = np.pad(psf.gaussian(2.0, size=31), 8) + np.roll(np.pad(psf.gaussian(2.0, size=31), 8), (3, -5), (0, 1))
    >>> psf.from_points(image[:, :47], [(23, 23)], size=15).shape
    (15, 15)
    """
    a = as_float_array(image, "image", ndim=(2, 3)).astype(np.float64)
    points = as_float_array(positions, "positions", ndim=(2,)).astype(np.float64)
    if points.shape[1] != a.ndim:
        raise ValueError(f"positions must have the shape (n, {a.ndim}), one column per axis, not {points.shape}")
    shape = check_size(size, a.ndim)
    aligned = [h for h in _aligned(a, points, shape, background) if h is not None]
    if not aligned:
        raise ValueError("positions name no bright point with its window within the image; reduce size or background")
    _log.debug("from_points: %d of %d points used", len(aligned), len(points))
    h = np.median(aligned, axis=0)
    level, noise = _background(h, "auto") if background == "auto" else (0.0, 0.0)
    h = _significant(h - level, noise)
    return _finish(h / h.sum(), "from_points")


def _background(a: Array, background: float | str | None) -> tuple[float, float]:
    """Level and noise; "auto" takes the median and the scaled median absolute deviation of the frame's outer tenth."""
    if background is None:
        return 0.0, 0.0
    if not isinstance(background, str):
        return _number(background, "background"), 0.0
    check_choice(background, ("auto",), "background")
    border = np.ones(a.shape, dtype=bool)
    width = max(1, min(a.shape) // 10)
    border[(slice(width, -width),) * a.ndim] = False
    level = float(np.median(a[border]))
    return level, 1.4826 * float(np.median(np.abs(a[border] - level)))


def _significant(a: Array, noise: float) -> Array:
    """`a` without its negative values and, where the noise is known, only the region of its peak."""
    from scipy.ndimage import label, uniform_filter

    if noise > 0:
        regions, _ = label(uniform_filter(a, 3, mode="nearest") > 3 * noise / 3 ** (a.ndim / 2))
        a = np.where(regions > 0, a, 0.0)
        a = np.where(regions == regions.flat[np.argmax(a)], a, 0.0)
    return np.maximum(a, 0.0)


def _aligned(a: Array, points: Array, shape: tuple[int, ...], background: float | str | None) -> Iterator[Array | None]:
    """Window around each point, its centroid in the middle and its light 1; None if it leaves `a` or is dark."""
    from scipy.ndimage import map_coordinates, spline_filter

    splines = spline_filter(a, order=5, mode="mirror")
    center = np.array(_center(shape))
    grid = np.moveaxis(np.indices(shape), 0, -1) - center
    for point in points:
        h = None
        for _ in range(4):  # the centroid of a shifted window settles at once; noise takes two or three rounds
            if np.any(point + grid[(0,) * a.ndim] < 0) or np.any(point + grid[(-1,) * a.ndim] > np.array(a.shape) - 1):
                h = None
                break
            cut = map_coordinates(splines, np.moveaxis(point + grid, -1, 0), order=5, mode="mirror", prefilter=False)
            level, noise = _background(cut, background)
            light = _significant(cut - level, noise)
            if not light.any():
                break
            h = (cut - level) / light.sum()
            point = point + _centroid(light) - center
        yield h


def _centroid(a: Array) -> Array:
    return np.tensordot(np.indices(a.shape), a, axes=a.ndim) / a.sum()
