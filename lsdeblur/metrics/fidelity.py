"""How close a restored image is to the truth, where the truth is known."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from lsdeblur._validate import check_positive
from lsdeblur.metrics._arrays import pair

__all__ = ["isnr", "nmse", "psnr", "ssim"]

_WINDOW = 11  # pixels of the Gaussian window, 3.5 standard deviations of 1.5 on either side of its centre


def psnr(
    image: npt.ArrayLike,
    truth: npt.ArrayLike,
    *,
    data_range: float | None = None,
    border: int = 0,
    channel_axis: int | None = None,
) -> float:
    """Peak signal-to-noise ratio in dB, ``10 log10(data_range^2 / mean((image - truth)^2))``.

    Parameters
    ----------
    image, truth : arrays of one shape, with 1 to 3 spatial axes and optionally one of channels
        A `Restoration` may stand for its image.
    data_range : float > 0, optional
        The range of possible values. None means the range of truth's integer type, or 1 for floats within [-1, 1].
    border : int >= 0
        Pixels to leave out at both ends of every spatial axis.
    channel_axis : int, optional
        Axis of colours or channels, which `border` leaves whole; the error is averaged over it.

    Returns
    -------
    float
        Infinity for equal images.

    Raises
    ------
    ValueError
        Different shapes; a border that leaves nothing; floats beyond [-1, 1] without `data_range`.

    Examples
    --------
    >>> import numpy as np
    >>> psnr(np.full((4, 4), 0.1), np.zeros((4, 4)))
    20.0
    """
    a, t = pair(image, truth, border, channel_axis)
    error = float(np.mean((a - t) ** 2))
    return 20 * math.log10(_range(truth, data_range)) - 10 * math.log10(error) if error > 0 else math.inf


def ssim(
    image: npt.ArrayLike,
    truth: npt.ArrayLike,
    *,
    data_range: float | None = None,
    border: int = 0,
    channel_axis: int | None = None,
) -> float:
    """Mean structural similarity, with the Gaussian window of width 1.5 of its authors; 1 for equal images.

    Parameters
    ----------
    image, truth, data_range, border
        As in `psnr`; at least 11 pixels along every spatial axis, without the border.
    channel_axis : int, optional
        Axis of colours or channels; their indices are averaged.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        As `psnr`; fewer than 11 pixels along a spatial axis.

    Notes
    -----
    Computed by `skimage.metrics.structural_similarity`.

    References
    ----------
    Wang, Bovik, Sheikh & Simoncelli (2004), IEEE Trans. Image Process. 13, 600-612,
    doi:10.1109/TIP.2003.819861, eq. 13.

    Examples
    --------
    >>> import numpy as np
    >>> ramp = np.add.outer(np.arange(16), np.arange(16)) / 30
    >>> ssim(ramp, ramp)
    1.0
    """
    from skimage.metrics import structural_similarity

    a, t = pair(image, truth, border, channel_axis)
    if min(t.shape[1:]) < _WINDOW:
        raise ValueError(
            f"ssim needs at least {_WINDOW} pixels along every spatial axis, but without the border {t.shape[1:]} are "
            "left: compare larger images, or use psnr"
        )
    return float(
        structural_similarity(
            a, t, data_range=_range(truth, data_range), gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
            channel_axis=0,
        )
    )  # fmt: skip


def nmse(image: npt.ArrayLike, truth: npt.ArrayLike, *, border: int = 0, channel_axis: int | None = None) -> float:
    """Normalised squared error, ``||image - truth||^2 / ||truth||^2``; parameters as in `psnr`.

    Raises
    ------
    ValueError
        Different shapes; a border that leaves nothing; a truth of zeros.

    Examples
    --------
    >>> import numpy as np
    >>> nmse(np.full((4, 4), 0.5), np.ones((4, 4)))
    0.25
    """
    a, t = pair(image, truth, border, channel_axis)
    power = float(np.sum(t**2))
    if power == 0:
        raise ValueError("truth is zero everywhere: a relative error has no meaning; use psnr with data_range=")
    return float(np.sum((a - t) ** 2)) / power


def isnr(
    restored: npt.ArrayLike,
    blurred: npt.ArrayLike,
    truth: npt.ArrayLike,
    *,
    border: int = 0,
    channel_axis: int | None = None,
) -> float:
    """Improvement in signal-to-noise ratio in dB, ``10 log10(||blurred - truth||^2 / ||restored - truth||^2)``.

    Needs no data range; `border` and `channel_axis` as in `psnr`. Infinity for a perfect restoration.

    Raises
    ------
    ValueError
        Different shapes; a border that leaves nothing; a blurred image that equals the truth.

    Examples
    --------
    >>> import numpy as np
    >>> isnr(np.full((4, 4), 0.9), np.full((4, 4), 0.0), np.ones((4, 4)))
    20.0
    """
    f, t = pair(restored, truth, border, channel_axis, "restored")
    g, _ = pair(blurred, truth, border, channel_axis, "blurred")
    before, after = float(np.sum((g - t) ** 2)), float(np.sum((f - t) ** 2))
    if before == 0:
        raise ValueError(
            "blurred equals truth: there is nothing to improve; check that the arguments are restored, blurred, truth"
        )
    return 10 * math.log10(before / after) if after > 0 else math.inf


def _range(truth: npt.ArrayLike, data_range: float | None) -> float:
    if data_range is not None:
        return check_positive(data_range, "data_range")
    t = np.asarray(truth)
    if t.dtype.kind in "iu":
        return float(np.iinfo(t.dtype).max) - float(np.iinfo(t.dtype).min)
    if float(np.max(np.abs(t), initial=0)) > 1:
        raise ValueError("truth has values beyond [-1, 1], so its range is unknown: give data_range=, for example 255")
    return 1.0
