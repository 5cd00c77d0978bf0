"""All that can be said about a restored image, in one table."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from lsdeblur._results import Restoration, in_memory
from lsdeblur.metrics import fidelity, structure, unreferenced
from lsdeblur.metrics._residual import psf_of, residual, unmeasured

__all__ = ["READING", "Evaluation", "evaluate"]

Array = npt.NDArray[Any]

#: name -> how to read it
READING = {
    "psnr": "dB; higher is closer to the truth",
    "ssim": "1: equal to the truth",
    "nmse": "squared error over the truth's square; 0: equal",
    "isnr": "dB gained on the blurred image",
    "edge_preservation": "correlation of the Laplacians; 1: all edges of the truth, and no noise",
    "ringing": "overshoot beside strong edges, relative to them; 0: none",
    "texture_preservation": "share of the truth's fine texture; 0: flattened, 1: all",
    "noise_std": "noise level that was given or found",
    "residual_rms": "of image - psf * restored, where all of it is observed",
    "residual_ratio": "residual_rms / noise_std; far above 1: too smooth, or a wrong PSF; far below: noise fitted",
    "residual_whiteness": "1: white; hundreds are usual, more for more pixels: to compare results of one image",
    "residual_correlation": "rms over lags of up to 5 pixels; 0: white; above 0.06: look closer, below: no proof",
    "sharpness_observed": "metric Q of the blurred image, in its units",
    "sharpness": "the same of the restored one; ripples and noise raise it, too",
}


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """What `evaluate` found: ``evaluation["psnr"]``, or `numbers` for all; printed, a table with how to read them.

    Attributes
    ----------
    numbers : mapping of str to float
        The measures that could be taken, by name.
    left_out : mapping of str to str
        Why others could not.
    """

    numbers: Mapping[str, float]
    left_out: Mapping[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> float:
        try:
            return self.numbers[name]
        except KeyError:
            why = self.left_out.get(name, f"it is none of {', '.join(READING)}, or there was no truth")
            raise KeyError(f"no {name!r}: {why}") from None

    def __repr__(self) -> str:
        lines = [f"{name:<20} {value:>10.4g}  {READING.get(name, '')}" for name, value in self.numbers.items()]
        return "\n".join([*lines, *(f"{name:<20} {'-':>10}  {why}" for name, why in self.left_out.items())])

    def _repr_html_(self) -> str:
        rows = [(name, f"{value:.4g}", READING.get(name, "")) for name, value in self.numbers.items()]
        rows += [(name, "-", why) for name, why in self.left_out.items()]
        cells = ("".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in rows)
        return f"<table>{''.join(f'<tr>{row}</tr>' for row in cells)}</table>"


def evaluate(
    result: Restoration | npt.ArrayLike,
    truth: npt.ArrayLike | None = None,
    *,
    data_range: float | None = None,
    border: int = 0,
    channel_axis: int | None = None,
) -> Evaluation:
    """Everything that can be said about a restored image, with its truth or without.

    Parameters
    ----------
    result : Restoration or array
        Of an array, what needs the blurred image or the PSF is not there.
    truth : array of the same shape, optional
        The sharp scene.
    data_range, border
        As in `metrics.psnr`, for what is compared with the truth, and the border for the sharpness.
    channel_axis : int, optional
        Axis of colours or channels; None means the one that `restore` was told.

    Returns
    -------
    Evaluation
        With a truth "psnr", "ssim", "nmse", "isnr", "edge_preservation", "ringing" and "texture_preservation"; of a
        Restoration "noise_std", "residual_rms", "residual_ratio", "residual_whiteness", "residual_correlation" and
        "sharpness_observed"; always "sharpness". Whatever lacks what it needs is left out, and `left_out` says why.

    Raises
    ------
    ValueError
        As `metrics.psnr`: shapes that differ, a border that leaves nothing, an unknown data range.

    Notes
    -----
    The residual ``image - psf * restored``, less Richardson-Lucy's background, is taken where the PSF lies within the
    frame, since what is beyond the frame is not known, and outside `mask` and `saturation`. Images on disk, Dask arrays
    and tensors are read into memory. After `Restoration.load` the blurred image is not there, and of several frames
    there is no single one.

    Examples
    --------
    >>> import numpy as np
    >>> from lsdeblur import evaluate, psf, restore, simulate
    >>> scene = np.kron(np.eye(4), np.ones((16, 16)))
    >>> h = psf.gaussian(1.5)
    >>> blurred = simulate.add_noise(simulate.blur(scene, h), noise_std=0.01, rng=0)
    >>> evaluation = evaluate(restore(blurred, h), simulate.valid_part(scene, h))
    >>> evaluation["isnr"] > 3 and 0.5 < evaluation["residual_ratio"] < 1.5
    True
    """
    restoration = result if isinstance(result, Restoration) else None
    if channel_axis is None and restoration is not None:
        channel_axis = restoration.options.get("channel_axis")
    image = np.asarray(result)
    frame: dict[str, Any] = {"border": border, "channel_axis": channel_axis}
    table = _Table()
    seen = _observed(restoration)
    if truth is not None:
        _beside_truth(table, image, np.asarray(truth), seen, data_range, frame)
    if restoration is not None:
        _of_residual(table, restoration, image, seen, channel_axis)
        if isinstance(seen, str):
            table.left_out["sharpness_observed"] = seen
        else:
            table.take("sharpness_observed", lambda: unreferenced.sharpness(seen, **frame))
    table.take("sharpness", lambda: unreferenced.sharpness(image, **frame))
    return Evaluation(table.numbers, table.left_out)


class _Table:
    """The numbers so far, and why others are not among them."""

    def __init__(self) -> None:
        self.numbers: dict[str, float] = {}
        self.left_out: dict[str, str] = {}

    def take(self, name: str, measure: Callable[[], float]) -> None:
        """A number, unless these images do not allow it."""
        try:
            self.numbers[name] = measure()
        except ValueError as error:
            self.left_out[name] = str(error)


def _observed(result: Restoration | None) -> Array | str:
    """The blurred image in memory, or why there is none."""
    if result is None:
        return "an array does not say which image was blurred: pass what restore() returned"
    if result.observed is None:
        return "the blurred image is not kept in files: evaluate before save()"
    if isinstance(result.observed, (list, tuple)):
        return "several frames were restored together: there is no single blurred image"
    return np.asarray(in_memory(result.observed))


def _beside_truth(
    table: _Table, image: Array, truth: Array, seen: Array | str, data_range: float | None, frame: dict[str, Any]
) -> None:
    table.numbers["psnr"] = fidelity.psnr(image, truth, data_range=data_range, **frame)  # its errors are the caller's
    table.take("ssim", lambda: fidelity.ssim(image, truth, data_range=data_range, **frame))
    table.take("nmse", lambda: fidelity.nmse(image, truth, **frame))
    if isinstance(seen, str):
        table.left_out["isnr"] = seen
    else:
        table.take("isnr", lambda: fidelity.isnr(image, seen, truth, **frame))
    for measure in (structure.edge_preservation, structure.ringing, structure.texture_preservation):
        table.take(measure.__name__, lambda measure=measure: measure(image, truth, **frame))  # type: ignore[misc]


def _of_residual(table: _Table, result: Restoration, image: Array, seen: Array | str, axis: int | None) -> None:
    if result.noise_std is not None:
        table.numbers["noise_std"] = result.noise_std
    try:
        left, hidden = _residual(result, image, seen, axis)
    except ValueError as error:
        table.left_out["residual_rms"] = str(error)
        return
    rms = table.numbers["residual_rms"] = math.sqrt(float(np.mean(left[:, ~hidden] ** 2, dtype=np.float64)))
    if result.noise_std:
        table.numbers["residual_ratio"] = rms / result.noise_std
    for measure in (unreferenced.whiteness, unreferenced.correlation):
        table.take(f"residual_{measure.__name__}", lambda measure=measure: measure(left, mask=hidden, channel_axis=0))  # type: ignore[misc]


def _residual(result: Restoration, image: Array, seen: Array | str, axis: int | None) -> tuple[Array, Array]:
    """Channels of the residual, and where they were not measured."""
    psf = psf_of(result)
    if isinstance(seen, str) or psf is None:
        raise ValueError(seen if isinstance(seen, str) else "there is no PSF to blur the restored image with")
    g, f = (np.moveaxis(a, axis, 0) if axis is not None else a[np.newaxis] for a in (seen, image))
    hidden = unmeasured(g, result.options.get("mask"), result.options.get("saturation"))
    return residual(result, g, f, psf, hidden)
