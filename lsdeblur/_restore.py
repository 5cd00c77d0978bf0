"""`restore` and `plan`: the library's two entrances. They check the arguments, call a method and wrap the result."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lsdeblur._inputs import NO_PSF, checked_psf, checked_workers, problem_of, problems_of, with_room, with_saturated
from lsdeblur._methods import TENSORS, Method, Problem, Solution, check_options, named, resolve
from lsdeblur._results import Restoration
from lsdeblur._stores import Source, is_from
from lsdeblur._validate import (
    channels_back,
    channels_first,
    check_choice,
    check_size,
    check_spacing,
    working_dtype,
)
from lsdeblur._version import __version__
from lsdeblur.boundary import BOUNDARIES
from lsdeblur.errors import LambdaAtBoundaryWarning
from lsdeblur.psf import PSFGrid

if TYPE_CHECKING:
    from lsdeblur._stage import Plan

__all__ = ["plan", "posterior_samples", "restore"]

logger = logging.getLogger("lsdeblur")


def restore(
    image: npt.ArrayLike,
    psf: npt.ArrayLike | PSFGrid | None = None,
    *,
    method: str | Method = "tikhonov",
    boundary: str = "free",
    channel_axis: int | None = None,
    spacing: float | Sequence[float] | None = None,
    mask: npt.ArrayLike | None = None,
    saturation: float | None = None,
    tile: int | Sequence[int] | str | None = "auto",
    halo: int | Sequence[int] | str = "auto",
    out: Any = None,
    callback: Callable[[Any], object] | None = None,
    workers: int | None = None,
    uncertainty: bool | int = False,
    rng: int | np.random.Generator | None = None,
    denoise_after: Any = None,
    **options: Any,
) -> Restoration:
    """Restore a blurred, noisy image.

    The image is modelled as ``g = h * f + n``: the scene f convolved with the PSF h, plus noise n. The default
    method finds the f that minimises ``||h * f - g||^2 + lam <f, P f>``, with lam chosen from the data.

    Parameters
    ----------
    image : array, 2 or 3 spatial axes and optionally one of channels, or list of arrays
        Blurred image of real numbers, in any scale. Never modified, rescaled or clipped. A memory map or Zarr array
        is read tile by tile. For a Dask array the result's image is one, too: nothing is computed, lambda included,
        before it is, and `lam` and `selection` of the result are None unless lambda is given. For a torch tensor and a
        direct method the result's image is a tensor on its device, without derivatives (`lsdeblur.deep.functional` has
        them): with a given strength it is restored there, one that is to be chosen takes the host's NumPy. A list of
        arrays are frames of one scene, restored together by "tikhonov" (`lsdeblur.frames`); `psf` is then a list, too,
        or one for all, and so is `mask`.
    psf : array or psf.PSFGrid
        Point-spread function with as many axes as the image has spatial ones, its centre at pixel ``s // 2``,
        or one PSF per channel, channels first. It is used as it is: its sum is the gain of the instrument.
        See `lsdeblur.psf` for generators and measured PSFs. A `psf.PSFGrid` varies over the frame; it needs the method
        "tikhonov", "cgls" or "landweber" and the free boundary, and serves all channels.
    method : str or callable
        "tikhonov", "wiener" or "inverse"; "richardson-lucy" for photon noise; "tv" (total variation),
        "hyper-laplacian" and "wavelet" for scenes with edges; "constrained" (values within bounds);
        "cgls" or "landweber", which are stopped early (`lsdeblur.iterative`); "pnp" for a denoiser as the prior
        (`lsdeblur.deep`); or a callable ``(Problem, **options) -> Solution``, such as a trained network (with an
        attribute ``needs_psf = False`` it may do without). "blind" finds the PSF itself
        (`lsdeblur.blind.restoration`); "nas-rif" needs none for an object on a uniform background.
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
    saturation : float, optional
        Pixels of this value and above (in any channel), in units of the image, were clipped, and are masked, too. For
        highlights of some pixels: what comes back under large clipped areas is a guess.
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
        the `objective` where one falls); not by a direct method on the whole image. `StopIteration` ends the run; tiles
        that were not begun are NaN then.
    workers : int, optional
        Threads; None means all processors. Tiles run on threads, each with single-threaded transforms.
    uncertainty : bool or int >= 2
        With "tikhonov", the posterior standard deviation of each pixel as the result's `std` (`lsdeblur.posterior`;
        with a given `lam`, give `noise_std`, too):
        exact where every pixel of the grid is taken to be measured, from so many samples (True: 64) under a free
        boundary or with a mask, each at the cost of a restoration with lambda given.
    rng : int, numpy.random.Generator or None
        For those samples.
    denoise_after : str or callable, optional
        With "tikhonov": a name in `lsdeblur.denoise.DENOISERS`, such as "nlm" (non-local means) or "tv", or a function
        of an image and its noise level, applied to the restored image with the level that the filter is known to leave.
        A lambda that is chosen is lowered to 0.3 of itself then (`lsdeblur.denoise`).
    **options
        The method's own (`lsdeblur.direct`): for "tikhonov" `lam`, `penalty`, `tau`, `noise_std`, `noise_width`,
        `noise_floor`, `safety`, `effort`, `exact`; for "wiener" `nsr`, `noise_power`, `signal_power`, `noise_std`,
        `safety`; for "inverse" `threshold`; for "richardson-lucy" (`lsdeblur.iterative.richardson_lucy`)
        `background`, `gain`, `read_noise`, `tv`, `stop`, `safety`, `accelerated`; for "tv" and "wavelet" `lam`,
        `bounds`, `noise_std`; for "hyper-laplacian" `exponent`, too; for "constrained" `bounds`, `lam`, `penalty`,
        `tau`; for "cgls" and "landweber" (`lsdeblur.iterative.cgls`) `stop`, `noise_std`, `safety`; for "nas-rif"
        `support`, `background`, `size`, `gamma`; for all of them `tol` and `max_iter`; for "pnp"
        (`lsdeblur.deep.plug_and_play`) `denoiser`, `iterations`, `first`, `strength`, `noise_std`. For "blind"
        `estimator`, `size`, `then` (the method that restores) and those of that method.

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
    asked: dict[str, Any] = {"tile": tile != "auto", "halo": halo != "auto", "out": out is not None}
    asked |= {"callback": callback, "uncertainty": uncertainty, "denoise_after": denoise_after}
    shell = {"boundary": boundary, "spacing": spacing, "workers": workers}
    frames = image if isinstance(image, (list, tuple)) and all(hasattr(g, "__array__") for g in image) else ()
    if is_from(frames[0] if frames else image, "torch"):
        asked |= {"mask": mask is not None, "saturation": saturation is not None}
        return _restore_tensor(image, psf, method, channel_axis, asked, shell, options)
    hidden = mask if saturation is None else with_saturated(image, mask, saturation, channel_axis)
    if frames:
        return _restore_frames(frames, psf, method, channel_axis, hidden, asked, shell, options)
    name, function = resolve(method)
    check_options(function, options, f"method {name!r}", others=restore.__kwdefaults__ or ())
    call = {
        **shell,
        "channel_axis": channel_axis,
        "mask": mask,
        "saturation": saturation,
        "tile": tile,
        "halo": halo,
        **({"uncertainty": uncertainty, "rng": rng} if uncertainty else {}),
        **options,
    }
    if denoise_after is not None:
        call["denoise_after"] = denoise_after
        if name != "tikhonov" or uncertainty:
            raise ValueError("denoise_after= is for method='tikhonov' without uncertainty=: what it leaves is known")
    if uncertainty and name != "tikhonov":
        raise ValueError(f"uncertainty= is for method='tikhonov', whose posterior is known, not for {name!r}")
    if _by_tiles(image, method, boundary, channel_axis, hidden, tile, halo, out, callback, options):
        if uncertainty or denoise_after is not None:
            raise ValueError("uncertainty= and denoise_after= are not there for tiles: give tile=None, or a part")
        solution = _tiled_solution(
            image, psf, name, function, channel_axis, spacing, workers, options,
            tile=tile, halo=halo, out=out, callback=callback,
        )  # fmt: skip
        return _restoration(solution, image, psf, name, call)
    needed = getattr(function, "needs_psf", True)
    problem = problem_of(image, psf, name, boundary, channel_axis, spacing, hidden, workers, callback, needed)
    solution = _solved(problem, name, function, options)
    if denoise_after is not None:
        from lsdeblur.denoise import denoised

        solution = denoised(problem, solution, options, denoise_after)
    if uncertainty:
        from lsdeblur import posterior

        n = 64 if uncertainty is True else _count(uncertainty)
        spread, how = posterior.deviation(problem, solution, options, n, rng)
        solution = replace(solution, std=spread, message=solution.message + how)
    std = None if solution.std is None else channels_back(solution.std, channel_axis)
    solution = replace(solution, image=channels_back(solution.image, channel_axis), std=std)
    return _restoration(solution, image, psf, name, call)


def _solved(given: Problem, name: str, function: Method, options: dict[str, Any]) -> Solution:
    """The method's solution, in the dtype of the problem."""
    from lsdeblur._tiled import DIRECT

    problem = given if name in DIRECT else with_room(given)  # those square no values but in float64
    logger.debug("%s on %s %s, boundary %s", name, problem.image.shape, problem.image.dtype, problem.boundary)
    solution = function(problem, **options)
    if not isinstance(solution, Solution):
        raise TypeError(f"method {name!r} returned {type(solution).__name__}: a method must return a lsdeblur.Solution")
    if solution.image.shape != problem.image.shape:
        raise ValueError(
            f"method {name!r} returned shape {solution.image.shape} for a problem of {problem.image.shape}"
        )
    return solution if problem is given else replace(solution, image=solution.image.astype(given.image.dtype))


def _count(n: Any) -> int:
    if not isinstance(n, (int, np.integer)) or n < 2:
        raise ValueError(f"uncertainty must be True or a whole number of samples, at least 2, not {n!r}")
    return int(n)


def _restore_tensor(
    image: Any, psf: Any, method: Any, channel_axis: int | None, asked: dict[str, Any], shell: dict[str, Any],
    options: dict[str, Any],
) -> Restoration:  # fmt: skip
    """A torch tensor, on its device."""
    given = [name for name, there in asked.items() if there]
    shell = {"channel_axis": channel_axis, **shell}
    solution, h = named(TENSORS)(image, psf, method, given, options=options, **shell)
    return _restoration(solution, image, h, method, {**shell, **options})


def _restore_frames(
    images: Sequence[Any], psfs: Any, method: Any, channel_axis: int | None, masks: Any, asked: dict[str, Any],
    shell: dict[str, Any], options: dict[str, Any],
) -> Restoration:  # fmt: skip
    """One scene from a list of frames, with a list of PSFs, or one for all, and likewise of masks."""
    from lsdeblur import frames

    if method != "tikhonov":
        raise ValueError(f"several frames are restored together by method='tikhonov' only, not by {method!r}")
    if given := [name for name, there in asked.items() if there]:
        raise ValueError(f"several frames are restored together without {', '.join(given)}: leave {given[0]} out")
    check_options(frames.tikhonov, options, "several frames", others=restore.__kwdefaults__ or ())
    problems = problems_of(images, psfs, masks, channel_axis=channel_axis, **shell)
    solution = frames.tikhonov(problems, **options)
    solution = replace(solution, image=channels_back(solution.image, channel_axis))
    call = {"channel_axis": channel_axis, "mask": masks, **shell, **options}
    own = [np.broadcast_to(p.psf, (len(p.image), *p.psf.shape[1:])) for p in problems]  # one for each channel
    kernels = np.stack([h[0] if channel_axis is None else h for h in own])
    return _restoration(solution, images, kernels, "tikhonov", call)


def posterior_samples(
    image: npt.ArrayLike, psf: npt.ArrayLike, n: int, *, rng: int | np.random.Generator | None = None, **options: Any
) -> npt.NDArray[Any]:
    """Scenes that the data leave possible: samples of the posterior of Tikhonov's least squares.

    Parameters
    ----------
    image, psf, **options
        As for `restore` with ``method="tikhonov"``.
    n : int >= 1
        How many.
    rng : int, numpy.random.Generator or None

    Returns
    -------
    array (n, *image.shape)
        Their mean tends to ``restore(...).image``; whatever is computed from them (a distance, an area, a flux) shows
        by its spread how well the data determine it, for the model's scenes.

    Notes
    -----
    Each costs a restoration with lambda given. The model is that of `lsdeblur.posterior`: noise of the level found, and
    a scene with the power spectrum ``sigma^2 / (lam P)``, which photographs follow on average only.

    Examples
    --------
    >>> import numpy as np
    >>> from lsdeblur import posterior_samples, psf
    >>> g = np.random.default_rng(0).standard_normal((32, 32))
    >>> posterior_samples(g, psf.gaussian(1.0), 3, lam=0.1, noise_std=0.5, rng=0).shape
    (3, 32, 32)
    """
    from lsdeblur import posterior
    from lsdeblur.direct import tikhonov

    shell: dict[str, Any] = dict.fromkeys(("channel_axis", "spacing", "mask", "workers")) | {"boundary": "free"}
    shell |= {key: options.pop(key) for key in list(options) if key in shell}
    check_options(tikhonov, options, "posterior_samples")
    problem = problem_of(image, psf, "tikhonov", **shell)
    solution = tikhonov(problem, **options)
    axis = shell["channel_axis"]
    drawn = posterior.samples(problem, solution, options, check_size(n, 1, "n")[0], rng)
    return np.stack([channels_back(scene, axis) for scene in drawn])


def _restoration(solution: Solution, image: Any, psf: Any, name: str, options: dict[str, Any]) -> Restoration:
    """The result for the caller, whose axes the solution's image has."""
    logger.debug("%s: %s", name, solution.message)
    if solution.selection is not None and solution.selection.at_boundary:
        warnings.warn(f"{solution.message}; give a number if you know better", LambdaAtBoundaryWarning, stacklevel=3)
    return Restoration(
        image=solution.image,
        psf=_used(psf, solution),
        method=name,
        lam=solution.lam,
        selection=solution.selection,
        noise_std=solution.noise_std,
        noise_width=solution.noise_width,
        noise_floor=solution.noise_floor,
        std=solution.std,
        sensitivity=solution.sensitivity,
        converged=solution.converged,
        n_iter=solution.n_iter,
        message=solution.message,
        options=options,
        version=__version__,
        psf_estimate=solution.psf_estimate,
        observed=image,
    )


def _used(psf: Any, solution: Solution) -> Any:
    """The PSF that the method found, or else the caller's."""
    if solution.psf is not None:
        return solution.psf
    return psf if psf is None or isinstance(psf, PSFGrid) else np.array(psf)


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
        raise ValueError(NO_PSF.format(name))
    lazy = is_from(image, "dask.array")
    array = image if lazy or is_from(image, "zarr") else np.asanyarray(image)
    axes = len(array.shape) - (channel_axis is not None)
    if axes not in (2, 3) or 0 in array.shape:
        channels_first(np.empty(array.shape, np.float32), channel_axis)  # says why
    source = Source(array, None if channel_axis is None else channel_axis % len(array.shape))
    h = checked_psf(psf, source.shape, None if channel_axis is None else source.channels)
    common = (source, h.astype(source.dtype, copy=False), name, function, check_spacing(spacing, axes))
    if not lazy:
        return restore_tiled(*common, workers=checked_workers(workers), options=options, **tiling)
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
    from lsdeblur._gains import make_plan
    from lsdeblur._stage import Stage  # methods are imported when they are used, also by restore()

    if isinstance(psf, PSFGrid):
        raise TypeError("a plan needs a uniform PSF, not a PSFGrid: call restore(image, psf, lam=...) for each image")
    ndim = np.ndim(np.asarray(psf))
    sizes = check_size(shape, ndim, "shape")
    h = checked_psf(psf, sizes, None)[0]
    h = h.astype(h.dtype if dtype is None else working_dtype(dtype), copy=False)
    check_choice(boundary, BOUNDARIES, "boundary")
    stage = Stage.make(
        h, sizes, boundary, check_spacing(spacing, ndim), workers=checked_workers(workers), tol=tol, max_iter=max_iter
    )
    return make_plan(stage, method, **options)
