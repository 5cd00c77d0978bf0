"""`restore` for torch tensors: the direct methods on the tensor's own device.

Where the strength is given (or there is none, "inverse"), `functional` filters on the device and the image never
leaves it. A strength that is to be chosen is chosen by NumPy's method on a copy of the image in the host's memory. That
takes the solution itself, for the noise level and the residual that come with a choice: so the whole restoration is the
host's, exactly that of an array, and only its image goes back to the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lsdeblur._inputs import NO_PSF, checked_psf, checked_workers, problem_of
from lsdeblur._methods import Method, Solution, check_options, resolve
from lsdeblur._tiled import gain_options, given_strength
from lsdeblur._validate import check_choice
from lsdeblur.boundary import BOUNDARIES
from lsdeblur.deep._grid import frame_of, working
from lsdeblur.deep.functional import FILTERS, filtered
from lsdeblur.psf import PSFGrid

__all__ = ["solve"]

_AS_ARRAY = "pass image.numpy() (from a graphics card image.cpu().numpy())"


@torch.no_grad()
def solve(
    image: Tensor, psf: Any, method: str | Method, asked: Sequence[str], *, boundary: str, channel_axis: int | None,
    spacing: float | Sequence[float] | None, workers: int | None, options: dict[str, Any],
) -> tuple[Solution, npt.NDArray[Any]]:  # fmt: skip
    """The solution of a direct method, whose image is a tensor with the image's axes, and the PSF as an array.

    Parameters
    ----------
    image, psf, boundary, channel_axis, spacing, workers
        As in `restore`; `psf` may be a tensor, too.
    method : str
        "tikhonov", "wiener" or "inverse".
    asked : sequence of str
        Arguments of `restore` that were given and that tensors do not have: an error.
    options : dict
        The method's.

    Raises
    ------
    TypeError
        Other methods, several frames, a PSF that varies over the frame.
    ValueError
        Arguments that only arrays have; whatever `restore` raises for arrays.
    """
    name, function = _direct(image, method, asked)
    if isinstance(psf, PSFGrid):
        raise TypeError(f"a PSFGrid needs an image that is an array: {_AS_ARRAY}, or give one PSF")
    if psf is None:
        raise ValueError(NO_PSF.format(name))
    check_options(function, options, f"method {name!r}")
    check_choice(boundary, BOUNDARIES, "boundary")
    g, kernel = _channels_first(image, channel_axis), _host(psf)
    channels = None if channel_axis is None else len(g)
    numbers = {key: _number(value) if isinstance(value, Tensor) else value for key, value in options.items()}
    solution = given_strength(name, numbers)
    if solution is None:
        copy, axis = (_host(g[0]), None) if channels is None else (_host(g), 0)
        problem = problem_of(copy, kernel, name, boundary, axis, spacing, None, workers)
        solution = function(problem, **numbers)
        restored = torch.as_tensor(solution.image).to(g.device)
    else:
        checked_workers(workers)
        _check_finite(g)
        frame = frame_of(g, checked_psf(kernel, tuple(g.shape[1:]), channels), boundary, spacing, g.ndim - 1)
        limits = {key: numbers[key] for key in ("tol", "max_iter") if key in numbers}
        made = FILTERS[name](frame, **gain_options(name, numbers, solution))
        restored, n_iter, converged = filtered(frame, made, **limits)
        _check_determined(restored, name)
        message = f"{solution.message}; filtered on {g.device}"
        solution = replace(solution, n_iter=n_iter, converged=converged, message=message)
    out: Any = restored[0] if channel_axis is None else restored.movedim(0, channel_axis)
    return replace(solution, image=out), kernel


def _direct(image: Any, method: str | Method, asked: Sequence[str]) -> tuple[str, Method]:
    """Name and function of a method that takes tensors."""
    if not isinstance(image, Tensor):
        raise TypeError("several frames must be arrays, not torch tensors: pass [image.numpy(), ...]")
    name, function = resolve(method)
    if not isinstance(method, str) or method not in FILTERS:
        raise TypeError(
            f"method {name!r} does not take torch tensors, only {', '.join(map(repr, FILTERS))} do: {_AS_ARRAY}"
        )
    if asked:
        raise ValueError(f"{', '.join(asked)}: only for images that are arrays; leave {asked[0]} out, or {_AS_ARRAY}")
    return name, function


def _channels_first(image: Tensor, channel_axis: int | None) -> Tensor:
    """The image (channels, *spatial) in its working dtype, detached."""
    g = working(image.detach())
    axes = g.ndim - (channel_axis is not None)
    if axes not in (2, 3) or g.numel() == 0:
        raise ValueError(
            f"image has shape {tuple(g.shape)}: it must have 2 or 3 spatial axes, and an axis of channels only with "
            "channel_axis=; for batches see lsdeblur.deep.functional"
        )
    if channel_axis is None:
        return g[None]
    try:
        return g.movedim(channel_axis, 0)
    except (IndexError, TypeError):
        raise ValueError(f"channel_axis={channel_axis!r} is no axis of an image of shape {tuple(g.shape)}") from None


def _host(array: Any) -> npt.NDArray[Any]:
    """A tensor, or what can become an array, as an array in the host's memory."""
    return working(array.detach()).cpu().numpy() if isinstance(array, Tensor) else np.array(array)


def _number(option: Tensor) -> Any:
    """An option that was given as a tensor, as a number or an array."""
    return option.item() if option.ndim == 0 else _host(option)


def _check_finite(g: Tensor) -> None:
    """ValueError for NaN and Inf; one number is read."""
    bad = int(torch.count_nonzero(~torch.isfinite(g)))
    if bad:
        raise ValueError(f"image has {bad} values that are NaN or infinite; replace them, or {_AS_ARRAY} with mask=")


def _check_determined(restored: Tensor, name: str) -> None:
    """ValueError where the filter divided zero by zero; one number is read."""
    if not bool(torch.isfinite(restored.sum())):
        raise ValueError(
            f"method {name!r} divides zero by zero at some frequencies, so nothing determines the image there; "
            "use a positive strength, or a penalty that vanishes only at frequency zero"
        )
