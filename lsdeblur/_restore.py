"""`restore` and `plan`: the library's two entrances. They check the arguments, call a method and wrap the result."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lsdeblur._methods import Method, Problem, Solution, check_options, resolve
from lsdeblur._results import Restoration
from lsdeblur._stores import Source, is_from
from lsdeblur._validate import (
    as_psf,
    channels_back,
    channels_first,
    check_choice,
    check_fits,
    check_size,
    check_spacing,
    working_dtype,
)
from lsdeblur._version import __version__
from lsdeblur.boundary import BOUNDARIES
from lsdeblur.errors import LambdaAtBoundaryWarning, LsdeblurWarning
from lsdeblur.psf import PSFGrid, trim

if TYPE_CHECKING:
    from lsdeblur._stage import Plan

__all__ = ["plan", "restore"]

logger = logging.getLogger("lsdeblur")
_NO_PSF = (
    "psf is missing: method {!r} needs the blur; make one with lsdeblur.psf (gaussian, motion, disk, ...) "
    "or measure one with psf.from_image"
)


def restore(
    image: npt.ArrayLike,
    psf: npt.ArrayLike | PSFGrid | None = None,
    *,
    method: str | Method = "tikhonov",
    boundary: str = "free",
    channel_axis: int | None = None,
    spacing: float | Sequence[float] | None = None,
    mask: npt.ArrayLike | None = None,
    tile: int | Sequence[int] | str | None = "auto",
    halo: int | Sequence[int] | str = "auto",
    out: Any = None,
    callback: Callable[[Any], object] | None = None,
    workers: int | None = None,
    **options: Any,
) -> Restoration:
    """Restore a blurred, noisy image.

    The image is modelled as ``g = h * f + n``: the scene f convolved with the PSF h, plus noise n. The default
    method finds the f that minimises ``||h * f - g||^2 + lam <f, P f>``, with lam chosen from the data.

    Parameters
    ----------
    image : array, 2 or 3 spatial axes and optionally one of channels
        Blurred image of real numbers, in any scale. Never modified, rescaled or clipped. A memory map or Zarr array
        is read tile by tile. For a Dask array the result's image is one, too: nothing is computed, lambda included,
        before it is, and `lam` and `selection` of the result are None unless lambda is given.
    psf : array or psf.PSFGrid
        Point-spread function with as many axes as the image has spatial ones, its centre at pixel ``s // 2``,
        or one PSF per channel, channels first. It is used as it is: its sum is the gain of the instrument.
        See `lsdeblur.psf` for generators and measured PSFs. A `psf.PSFGrid` varies over the frame; it needs the method
        "tikhonov" and the free boundary, and serves all channels.
    method : str or callable
        "tikhonov", "wiener" or "inverse"; the iterative "tv" (total variation), "hyper-laplacian" and "constrained"
        (values within bounds), in `lsdeblur.iterative`; or a callable ``(Problem, **options) -> Solution``.
    boundary : str
        How the image is continued outside the frame: "free" (default: it is unknown, and only the observed pixels
        count), "taper", "periodic", "zero", "symmetric" or "edge" (`lsdeblur.boundary`).
    channel_axis : int, optional
        Axis of colours or channels, if the image has one. One lambda serves all channels.
    spacing : float or sequence of float, optional
        Pixel pitch per spatial axis in any unit; only its ratios matter. Anisotropic voxels change the penalty.
    mask : bool array of the image's spatial shape, optional
        True where a pixel was not measured (dead, saturated, hit by a cosmic ray, outside the field of view): it is
        unknown, may be NaN, and comes back restored. Needs the free boundary and a positive `lam`. Dead pixels and
        holes of up to 2000 connected pixels cost little. Larger regions (a circular field of view) take several
        times the iterations, nearly all of them for the pixels deep inside, which are an extrapolation.
    tile : int, sequence of int, "auto" or None
        Size of the tiles that a direct method with a free boundary divides the image into. "auto": the image as a
        whole up to 2^25 pixels, tiles of some 2048 x 2048 pixels beyond that and for a Zarr image or `out`. None: as a
        whole. One lambda serves all tiles; it is chosen from up to 2^23 pixels spread over the image. For other methods
        see `lsdeblur.tiling.tiled`.
    halo : int, sequence of int or "auto"
        Pixels around each tile that are solved with it and thrown away. "auto" asks the gain how far a pixel depends
        on others: the loss stays below 0.05 dB.
    out : numpy array, numpy.memmap or Zarr array, optional
        Where the restored image is written tile by tile, of the image's shape and the working dtype; it becomes the
        result's `image`. A memory map keeps a journal beside it (``<file>.lsdeblur``), a Zarr array in its attributes:
        the same call, after any interruption, restores only the tiles that are missing, and the result is the same
        bit for bit. Another call is refused.
    callback : callable, optional
        Called after each tile, or each iteration of an iterative method, with its progress (`iteration` of `total`, and
        the `objective` where one falls). `StopIteration` ends the run.
    workers : int, optional
        Threads; None means all processors. Tiles run on threads, each with single-threaded transforms.
    **options
        The method's own (`lsdeblur.direct`): for "tikhonov" `lam`, `penalty`, `tau`, `noise_std`, `noise_width`,
        `noise_floor`, `safety`, `effort`, `exact`; for "wiener" `nsr`, `noise_power`, `signal_power`, `noise_std`,
        `safety`; for "inverse" `threshold`; for "tv" `lam`, `bounds`, `noise_std`; for "hyper-laplacian" `exponent`,
        too; for "constrained" `bounds`, `lam`, `penalty`, `tau`; for all of them `tol` and `max_iter`.

    Returns
    -------
    Restoration
        The restored image with the evidence for it. float32 for uint8, uint16, float16 and float32 images,
        float64 for others.

    Raises
    ------
    TypeError
        Complex or non-numeric arrays; an option that the method does not have.
    ValueError
        Empty, NaN or infinite arrays; shapes that do not fit; a PSF that sums to zero or is larger than the image.
    ParameterChoiceError
        When the rule that was asked for has no answer (never with ``lam="auto"``).

    Notes
    -----
    A direct method costs one FFT and one inverse FFT of the padded image, one FFT for the PSF and, when lambda is
    chosen, one pass over the spectra and one inverse FFT for the noise level. "taper" adds FFTs of its gaps; "free" a
    few iterations of two, and one more such iteration and two passes when lambda is chosen. Memory: some ten images; by
    tiles, some twelve windows (core and halo) for each thread.

    Examples
    --------
    >>> import numpy as np
    >>> from lsdeblur import psf, restore, simulate
    >>> scene = np.zeros((64, 64))
    >>> scene[20:40, 25:45] = 1.0
    >>> blur = psf.gaussian(2.0)
    >>> blurred = simulate.add_noise(simulate.blur(scene, blur, boundary="zero"), noise_std=0.01, rng=0)
    >>> result = restore(blurred, blur, boundary="zero")
    >>> bool(np.abs(result.image - scene).mean() < np.abs(blurred - scene).mean())
    True
    >>> result.selection.criterion
    'evidence'
    """
    name, function = resolve(method)
    check_options(function, options, f"method {name!r}")
    call = {
        "boundary": boundary,
        "channel_axis": channel_axis,
        "spacing": spacing,
        "mask": mask,
        "tile": tile,
        "halo": halo,
        "workers": workers,
        **options,
    }
    if _by_tiles(image, method, boundary, channel_axis, mask, tile, halo, out, callback, options):
        solution = _tiled_solution(
            image, psf, name, function, channel_axis, spacing, workers, options,
            tile=tile, halo=halo, out=out, callback=callback,
        )  # fmt: skip
        return _restoration(solution, psf, name, call)
    problem = _problem(image, psf, name, boundary, channel_axis, spacing, mask, workers)
    problem = replace(problem, callback=callback)
    logger.debug("%s on %s %s, boundary %s", name, problem.image.shape, problem.image.dtype, boundary)
    solution = function(problem, **options)
    if not isinstance(solution, Solution):
        raise TypeError(f"method {name!r} returned {type(solution).__name__}: a method must return a lsdeblur.Solution")
    if solution.image.shape != problem.image.shape:
        raise ValueError(
            f"method {name!r} returned shape {solution.image.shape} for a problem of {problem.image.shape}"
        )
    std = None if solution.std is None else channels_back(solution.std, channel_axis)
    return _restoration(replace(solution, image=channels_back(solution.image, channel_axis), std=std), psf, name, call)


def _restoration(solution: Solution, psf: Any, name: str, options: dict[str, Any]) -> Restoration:
    """The result for the caller, whose axes the solution's image has."""
    logger.debug("%s: %s", name, solution.message)
    if solution.selection is not None and solution.selection.at_boundary:
        warnings.warn(f"{solution.message}; give a number if you know better", LambdaAtBoundaryWarning, stacklevel=3)
    return Restoration(
        image=solution.image,
        psf=psf if isinstance(psf, PSFGrid) else np.array(psf),
        method=name,
        lam=solution.lam,
        selection=solution.selection,
        noise_std=solution.noise_std,
        noise_width=solution.noise_width,
        noise_floor=solution.noise_floor,
        std=solution.std,
        converged=solution.converged,
        n_iter=solution.n_iter,
        message=solution.message,
        options=options,
        version=__version__,
    )


def _by_tiles(
    image: Any, method: str | Method, boundary: str, channel_axis: int | None, mask: Any, tile: Any, halo: Any,
    out: Any, callback: Any, options: dict[str, Any],
) -> bool:  # fmt: skip
    """Whether this call goes tile by tile: it asks for that, or "auto" finds a large image that allows it."""
    from lsdeblur._tiled import DIRECT, too_large

    foreign = is_from(image, "zarr") or is_from(image, "dask.array")
    asked = [
        name
        for name, given in {
            "tile": tile is not None and tile != "auto",
            "halo": not isinstance(halo, str) or halo != "auto",
            "out": out is not None,
            "callback": callback is not None and isinstance(method, str) and method in DIRECT,
        }.items()
        if given
    ]
    obstacles = {
        f"method {method!r}": not isinstance(method, str) or method not in DIRECT,
        f"boundary={boundary!r}": boundary != "free",
        "mask=": mask is not None,
    }
    against = [name for name, there in obstacles.items() if there]
    if asked and (against or tile is None):
        raise ValueError(
            f"{', '.join(asked)}: tiles are for the direct methods with a free boundary and without a mask, not for "
            f"{', '.join(against) or 'tile=None'}; leave {asked[0]} out, or see lsdeblur.tiling.tiled for other methods"
        )
    if against or tile is None:
        return False
    shape = [] if isinstance(image, list) else list(np.shape(image))
    if isinstance(channel_axis, int) and -len(shape) <= channel_axis < len(shape):
        del shape[channel_axis]
    return bool(asked) or foreign or (too_large(shape) and options.get("effort", "fast") == "fast")


def _tiled_solution(
    image: Any, psf: Any, name: str, function: Method, channel_axis: int | None,
    spacing: float | Sequence[float] | None, workers: int | None, options: dict[str, Any], **tiling: Any,
) -> Solution:  # fmt: skip
    """The checked arguments handed on; the image is not read as a whole."""
    from lsdeblur._dask import restore_lazily
    from lsdeblur._tiled import restore_tiled

    if psf is None:
        raise ValueError(_NO_PSF.format(name))
    lazy = is_from(image, "dask.array")
    array = image if lazy or is_from(image, "zarr") else np.asanyarray(image)
    axes = len(array.shape) - (channel_axis is not None)
    if axes not in (2, 3) or 0 in array.shape:
        channels_first(np.empty(array.shape, np.float32), channel_axis)  # says why
    source = Source(array, None if channel_axis is None else channel_axis % len(array.shape))
    h = _checked_psf(psf, source.shape, None if channel_axis is None else source.channels)
    common = (source, h.astype(source.dtype, copy=False), name, function, check_spacing(spacing, axes))
    if not lazy:
        return restore_tiled(*common, workers=_checked_workers(workers), options=options, **tiling)
    if tiling["out"] is not None or tiling["callback"] is not None:
        raise ValueError(
            "out= and callback= are for images that are restored at once: a Dask array is restored when it is "
            "computed; leave them out, and store the result (result.image.to_zarr(...))"
        )
    return restore_lazily(*common, tile=tiling["tile"], halo=tiling["halo"], options=options)


def plan(
    psf: npt.ArrayLike,
    shape: int | Sequence[int],
    *,
    method: str = "tikhonov",
    boundary: str = "free",
    spacing: float | Sequence[float] | None = None,
    dtype: npt.DTypeLike | None = None,
    workers: int | None = None,
    tol: float = 3e-5,
    max_iter: int = 50,
    **options: Any,
) -> Plan:
    """Everything of a direct restoration that does not depend on the image, to use again and again.

    ``plan(image)`` then costs one FFT and its inverse, and under a free boundary two more for each of a few
    iterations: for frames of a video, batches and channels with one PSF.

    Parameters
    ----------
    psf : array
        Point-spread function, its centre at pixel ``s // 2``.
    shape : sequence of int
        Spatial shape of the images.
    method : str
        "tikhonov" (options `lam` >= 0, required, `penalty`, `tau`, `noise_width`, `noise_floor`), "wiener" (`nsr`, or
        `noise_power` and `signal_power`) or "inverse" (`threshold`). Lambda is a number here: take it from a first
        `restore`.
    boundary, spacing, workers
        As in `restore`.
    dtype : dtype, optional
        Precision of the work and the result, float32 or float64; by default that of the PSF, which is float64 for
        those of `lsdeblur.psf`. Pass the images' own (``dtype=image.dtype``) to work as `restore` does.
    tol, max_iter
        When the iterations for a free boundary end, see `lsdeblur.direct.tikhonov`.

    Returns
    -------
    Plan
        A callable, ``plan(image) -> array``; leading axes of `image` share the gain. For hundreds of images make it
        within ``fft_backend("fftw", measure=True)``: FFTW then tries out its algorithms, once, and the plan keeps them.

    Examples
    --------
    >>> import numpy as np
    >>> import lsdeblur
    >>> h = lsdeblur.psf.motion(9, 30)
    >>> sharpen = lsdeblur.plan(h, (64, 64), lam=1e-3)
    >>> sharpen(np.ones((5, 64, 64))).shape
    (5, 64, 64)
    """
    from lsdeblur._stage import Stage  # methods are imported when they are used, also by restore()
    from lsdeblur.direct import make_plan

    if isinstance(psf, PSFGrid):
        raise TypeError("a plan needs a uniform PSF, not a PSFGrid: call restore(image, psf, lam=...) for each image")
    ndim = np.ndim(np.asarray(psf))
    sizes = check_size(shape, ndim, "shape")
    h = _checked_psf(psf, sizes, None)[0]
    h = h.astype(h.dtype if dtype is None else working_dtype(dtype), copy=False)
    check_choice(boundary, BOUNDARIES, "boundary")
    stage = Stage.make(
        h, sizes, boundary, check_spacing(spacing, ndim), workers=_checked_workers(workers), tol=tol, max_iter=max_iter
    )
    return make_plan(stage, method, **options)


def _problem(
    image: npt.ArrayLike, psf: npt.ArrayLike | PSFGrid | None, method: str, boundary: str, channel_axis: int | None,
    spacing: float | Sequence[float] | None,
    mask: npt.ArrayLike | None, workers: int | None,
) -> Problem:  # fmt: skip
    """The checked problem, channels first."""
    check_choice(boundary, BOUNDARIES, "boundary")
    if psf is None:
        raise ValueError(_NO_PSF.format(method))
    hidden = None
    if mask is not None:
        image, hidden = _without_masked(image, mask, channel_axis, boundary)
    g = channels_first(image, channel_axis).view()
    g.flags.writeable = False  # it may be the caller's own array
    shape = g.shape[1:]
    h: Any = psf
    if isinstance(psf, PSFGrid):
        _check_grid(psf, shape)
    else:
        h = _checked_psf(psf, shape, None if channel_axis is None else len(g)).astype(g.dtype, copy=False)
    return Problem(g, h, boundary, check_spacing(spacing, len(shape)), _checked_workers(workers), hidden)


def _without_masked(
    image: npt.ArrayLike, mask: npt.ArrayLike, channel_axis: int | None, boundary: str
) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_] | None]:
    """A copy of the image with the nearest measured value under the mask, and the mask if it hides anything."""
    from scipy.ndimage import distance_transform_edt

    if boundary != "free":
        raise ValueError(f"mask needs boundary='free', not {boundary!r}: only there are pixels unknown")
    a, hidden = np.array(image), np.asarray(mask)
    first = a if channel_axis is None else np.moveaxis(a, channel_axis, 0)
    shape = first.shape if channel_axis is None else first.shape[1:]
    if hidden.dtype != np.bool_ or hidden.shape != shape:
        raise ValueError(
            f"mask must be a bool array of the image's spatial shape {shape}, not {hidden.dtype} of {hidden.shape}"
        )
    if hidden.all():
        raise ValueError("mask hides every pixel: True marks those that were not measured")
    if not hidden.any():
        return a, None
    nearest = distance_transform_edt(hidden, return_distances=False, return_indices=True)
    first[..., hidden] = first[(..., *(index[hidden] for index in nearest))]
    return a, hidden


def _checked_psf(psf: npt.ArrayLike, shape: tuple[int, ...], channels: int | None) -> npt.NDArray[Any]:
    """The PSF (1 or channels, ...), without zero margins, that fits into a frame of `shape`."""
    h = trim(as_psf(psf, ndim=len(shape), channels=channels), ndim=len(shape))
    remedy = "crop it around its centre (psf.from_image(..., size=)), or check that image and psf are not swapped"
    check_fits(h.shape[1:], shape, "psf", "image", remedy)
    sums = h.sum(axis=tuple(range(1, h.ndim)), dtype=np.float64)
    odd = sums[(sums >= 2) | (sums <= 0.5)]
    if odd.size:
        warnings.warn(
            f"psf sums to {odd[0]:.4g}, and the restored image is divided by that; "
            "pass psf / psf.sum() to keep the brightness",
            LsdeblurWarning,
            stacklevel=4,
        )
    return h


def _check_grid(psf: PSFGrid, shape: tuple[int, ...]) -> None:
    """ValueError for PSFs that do not belong to a frame of `shape`."""
    if psf.ndim != len(shape):
        raise ValueError(
            f"psf varies along {psf.ndim} axes, but the image has {len(shape)} spatial ones; if it has a channel axis, "
            "name it with channel_axis="
        )
    check_fits(psf.size, shape, "psf", "image", "crop the PSFs around their centres")


def _checked_workers(workers: int | None) -> int | None:
    return None if workers is None else check_size(workers, 1, "workers")[0]
