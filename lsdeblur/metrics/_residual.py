"""What a restoration leaves of its data, ``g - h * f``, laid out one way whatever the caller holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from lsdeblur._results import Restoration, in_memory
from lsdeblur.psf import PSFGrid
from lsdeblur.simulate import blur

__all__ = ["method_of", "psf_of", "residual", "unmeasured"]

Array = npt.NDArray[Any]


def method_of(result: Restoration) -> str:
    """The method that restored the image: of "blind" the one that followed."""
    return str(result.options.get("then", "wavelet")) if result.method == "blind" else result.method


def psf_of(result: Restoration) -> Any:
    """An array, a PSFGrid or None; of several frames an array with one more axis, the first."""
    if isinstance(result.psf, Mapping):  # as `Restoration.load` gives it
        return PSFGrid(**result.psf)
    return result.psf if result.psf is None or isinstance(result.psf, PSFGrid) else np.asarray(in_memory(result.psf))


def unmeasured(observed: Array, mask: Any, saturation: float | None) -> Array:
    """True (*spatial) where `observed` (channels, *spatial) is masked, or clipped or not finite in any channel."""
    hidden = ~np.isfinite(observed).all(axis=0)
    if mask is not None:
        hidden |= np.asarray(in_memory(mask), bool)
    if saturation is not None:
        hidden |= (observed >= saturation).any(axis=0)
    return np.asarray(hidden)


def residual(
    result: Restoration, observed: Array, restored: Array, psf: Any, hidden: Array, *, largest: int | None = None
) -> tuple[Array, Array]:
    """The residual where the frame holds all that it needs, with zeros where `hidden`, and `hidden` there.

    Parameters
    ----------
    result : Restoration
        For its options: Richardson-Lucy's model has a background.
    observed, restored : arrays (channels, *spatial)
    psf : array or PSFGrid
    hidden : bool array (*spatial)
        As `unmeasured` finds it.
    largest : int, optional
        Of longer axes only so many pixels in their middle are looked at.

    Raises
    ------
    ValueError
        There is none, and why.
    """
    shape = hidden.shape
    size = psf.size if isinstance(psf, PSFGrid) else psf.shape[-len(shape) :]
    first = [0 if largest is None else max(0, (n - largest) // 2) for n in shape]
    stops = [n if largest is None else min(n, o + largest) for o, n in zip(first, shape, strict=True)]
    starts = [o + s - 1 - s // 2 for o, s in zip(first, size, strict=True)]
    part = tuple(slice(a, b - s // 2) for a, b, s in zip(starts, stops, size, strict=True))
    f = restored[(slice(None), *map(slice, first, stops))]
    if not np.isfinite(f).all():
        raise ValueError("the restored image holds values that are not finite")
    if any(p.stop <= p.start for p in part):
        raise ValueError("the point-spread function reaches over the whole frame")
    if hidden[part].all():
        raise ValueError("no pixel was measured whose point-spread function lies within the frame")
    model = blur(f, _moved(psf, starts) if isinstance(psf, PSFGrid) else psf, channel_axis=0)
    if method_of(result) == "richardson-lucy":
        background = np.asarray(in_memory(result.options.get("background", 0.0)))
        model = model + np.broadcast_to(background, observed.shape)[(slice(None), *part)]
    left = np.asarray(observed[(slice(None), *part)] - model)
    left[:, hidden[part]] = 0
    return left, hidden[part]


def _moved(psf: PSFGrid, origin: Sequence[int]) -> PSFGrid:
    """The same PSFs, their positions counted from pixel `origin`."""
    axes = None if psf.axes is None else tuple(a - o for a, o in zip(psf.axes, origin, strict=True))
    return replace(psf, positions=psf.positions - np.asarray(origin), axes=axes)
