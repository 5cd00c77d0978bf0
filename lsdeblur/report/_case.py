"""What a report is about: the result and the observed image as arrays of one layout, whatever the caller holds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from lsdeblur._results import Restoration, in_memory
from lsdeblur._validate import check_same_shape, working_dtype
from lsdeblur.metrics._residual import method_of, psf_of, unmeasured
from lsdeblur.psf import PSFGrid

__all__ = ["Case", "case_of"]

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Case:
    """One restoration and its data.

    Attributes
    ----------
    result : Restoration
        With its image in memory, and the observed one.
    raw : array
        The observed image as the caller has it; of several frames the first.
    frames : int
        How many there are; 0 where the image was no list.
    observed, restored : arrays (channels, *spatial)
        As floats; where nothing was measured `observed` is 0.
    hidden : bool array (*spatial)
        True where nothing was measured: under the mask, saturated, or not finite.
    psf : array, PSFGrid or None
        Of several frames that of the first.
    """

    result: Restoration
    raw: Array
    frames: int
    observed: Array
    restored: Array
    hidden: Array
    psf: Any

    @property
    def shape(self) -> tuple[int, ...]:
        """Spatial shape."""
        return self.hidden.shape

    @property
    def method(self) -> str:
        """The method that restored the image: of "blind" the one that followed."""
        return method_of(self.result)

    @cached_property
    def middle_psf(self) -> Array | None:
        """One PSF (*size) to look at: that of the middle of the frame, of the first channel."""
        if self.psf is None:
            return None
        if isinstance(self.psf, PSFGrid):
            return self.psf.at([(n - 1) / 2 for n in self.shape])
        return np.asarray(self.psf[0] if self.psf.ndim > len(self.shape) else self.psf)


def case_of(result: Any, observed: Any) -> Case:
    """Check what `lsdeblur.report.write` was given, and lay it out."""
    if not isinstance(result, Restoration):
        raise TypeError(f"result must be a Restoration, as restore() returns it, not {type(result).__name__}")
    given = result.observed if observed is None else observed
    if given is None:
        raise ValueError("result has no observed image, for save() leaves it out: pass the blurred image as observed=")
    frames = len(given) if isinstance(given, (list, tuple)) else 0
    raw = np.asarray(in_memory(given[0] if frames else given))
    image = np.asarray(result)
    check_same_shape(raw, image, "observed", "the restored image")
    axis = result.options.get("channel_axis")
    g, f = (np.moveaxis(a, axis, 0) if axis is not None else a[np.newaxis] for a in (raw, image))
    psf, mask = psf_of(result), result.options.get("mask")
    if frames:
        psf, mask = psf[0], mask[0] if isinstance(mask, (list, tuple)) else mask
    hidden = unmeasured(g, mask, result.options.get("saturation"))
    g = g.astype(working_dtype(g.dtype))
    g[:, hidden] = 0
    result = replace(result, image=image, observed=given if frames else raw)
    return Case(result, raw, frames, g, f, hidden, psf)
