"""The classic filters on tensors: on any device, in batches, and differentiable by image, PSF and strength.

They compute what `lsdeblur.restore` computes with NumPy, by the same formulas (`lsdeblur.filters`) on the same grids
(`lsdeblur.boundary`): a layer of a network, or a restoration on a graphics card.

Conventions of all functions
----------------------------
image : tensor (..., *shape) of `ndim` spatial axes, 2 by default, or 3
    Leading axes count images and channels. Computed and returned in float32 (uint8, int16, float16, bfloat16 and
    float32 images) or float64 (others).
psf : tensor or array (*psf_shape) or (..., *psf_shape)
    Its centre is pixel ``s // 2``; its leading axes broadcast against the image's: for a batch (n, channels, rows,
    columns) PSFs are (n, 1, rows, columns). Zero margins are not trimmed, which would have to look at the numbers.
lam, nsr : float, or tensor that broadcasts against the leading axes
    For one strength per image of such a batch (n, 1). Tensors must be positive and are not checked.
boundary : str
    One of `lsdeblur.boundary.BOUNDARIES`; for "free" see `tikhonov`.

Nothing is kept for a derivative that nobody asked for, and images do not leave their device. A filter that is not
determined at a frequency (0/0, for lam = 0) gives NaN; the shapes of PSF and image are checked, their values are not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lsdeblur import filters, noise
from lsdeblur._fft import good_size
from lsdeblur._validate import check_choice, check_non_negative, check_positive
from lsdeblur.deep._grid import Frame, check_iterations, constant, frame_of, image_and_psf, transfer_function
from lsdeblur.deep._strip import settled
from lsdeblur.spectrum import Penalty, penalty_symbol, power_spectrum

__all__ = ["FILTERS", "Filtered", "blur", "filtered", "inverse", "tikhonov", "wiener"]

#: boundary of `blur` -> mode of numpy.pad that gives the index of each pixel outside
_PADS = {"periodic": "wrap", "symmetric": "symmetric", "edge": "edge"}

#: a gain G (..., *half grid) and, under a free boundary, the symbol of the system of what is unknown
Filter = tuple[Tensor, Tensor | None]


def blur(image: Tensor, psf: Any, *, boundary: str = "zero", ndim: int = 2) -> Tensor:
    """Convolve scenes with a PSF, ``g(x) = sum_y h(y) f(x - y)`` with y counted from the PSF's centre ``s // 2``.

    Parameters
    ----------
    image, psf, ndim
        As in all functions of this module.
    boundary : str
        What the scene is outside the frame: "zero", "periodic", "symmetric" or "edge"; the shape is kept. "valid"
        keeps only the pixels that depend on nothing outside (`lsdeblur.simulate.valid_part` is what to compare with).

    Returns
    -------
    tensor
        Linear in image and PSF, so the derivative by the image is the adjoint, correlation with the PSF.
    """
    check_choice(boundary, ("zero", "valid", *_PADS), "boundary")
    f, h = image_and_psf(image, psf, ndim)
    axes, size = tuple(range(-ndim, 0)), h.shape[-ndim:]
    before = [s - 1 - s // 2 for s in size]
    shape = list(f.shape[-ndim:])
    if boundary in _PADS:
        for axis, (b, s) in enumerate(zip(before, size, strict=True), start=-ndim):
            index = np.pad(np.arange(f.shape[axis]), (b, s // 2), mode=_PADS[boundary])  # type: ignore[call-overload]
            f = f.index_select(axis, torch.from_numpy(index).to(f.device))
    elif boundary == "valid":
        shape = [n - s + 1 for n, s in zip(shape, size, strict=True)]
    grid = tuple(good_size(n + s - 1) for n, s in zip(shape, size, strict=True))
    first = before if boundary != "zero" else [0] * ndim
    F = torch.fft.rfftn(f, s=grid, dim=axes)
    g = torch.fft.irfftn(F * transfer_function(h, grid), s=grid, dim=axes)
    return g[(..., *(slice(i, i + n) for i, n in zip(first, shape, strict=True)))]


def tikhonov(
    image: Tensor,
    psf: Any,
    lam: float | Tensor,
    *,
    penalty: Penalty = "laplacian+gradient",
    tau: float = 0.1,
    noise_width: float = 0.0,
    noise_floor: float = noise.FLOOR,
    boundary: str = "free",
    spacing: float | Sequence[float] | None = None,
    tol: float = 3e-5,
    max_iter: int = 50,
    ndim: int = 2,
) -> Tensor:
    """Tikhonov's least squares, the minimiser of ``||h * f - g||^2 + lam <f, P f>``: ``G = conj(H) / (|H|^2 + lam P)``.

    Parameters
    ----------
    image, psf, lam, boundary, ndim
        As in all functions of this module; lam >= 0.
    penalty, tau, noise_width, noise_floor, spacing
        As in `lsdeblur.direct.tikhonov`, numbers all. They are constants: no derivative by them.
    tol : float > 0
        Under a free boundary, iterations end when one lowers the cost of each image by less than this part of it; those
        of the derivative when one gains less than this part of all gained. For derivatives to 8 digits 1e-18.
    max_iter : int >= 1
        And after so many at the latest, with a `ConvergenceWarning`.

    Returns
    -------
    tensor (..., *shape)

    Raises
    ------
    TypeError
        `image` is no tensor, or complex.
    ValueError
        Shapes that do not fit, a negative or unknown option.

    Notes
    -----
    A free boundary costs two transforms of the grid for each of a few iterations, and the derivative as many again:
    it is that of the solution, not of the iterations (implicit differentiation, `lsdeblur.deep._strip`), and can be
    taken once. The inverses that precondition it are made on the processor, some milliseconds for each pair of PSF
    and lambda and for each call; only the symbol ``lam P / (|H|^2 + lam P)`` goes there, and after each iteration one
    number. "taper" needs none of this: a few transforms in all, for a little less quality at the borders.

    References
    ----------
    B. R. Hunt (1973), doi:10.1109/TC.1973.5009169; for a free boundary see `lsdeblur.free`.

    Examples
    --------
    >>> import torch
    >>> from lsdeblur import psf
    >>> from lsdeblur.deep import functional
    >>> g = torch.rand(4, 3, 32, 32)
    >>> strength = torch.full((4, 1), 1e-2, requires_grad=True)
    >>> f = functional.tikhonov(g, psf.gaussian(1.0), strength, boundary="periodic")
    >>> f.square().sum().backward()
    >>> f.shape, strength.grad.shape
    (torch.Size([4, 3, 32, 32]), torch.Size([4, 1]))
    """
    frame = frame_of(image, psf, boundary, spacing, ndim)
    made = tikhonov_filter(frame, lam=lam, penalty=penalty, tau=tau, noise_width=noise_width, noise_floor=noise_floor)
    return filtered(frame, made, tol, max_iter).image


def wiener(
    image: Tensor,
    psf: Any,
    nsr: float | Tensor | None = None,
    *,
    noise_power: Any = None,
    signal_power: Any = None,
    boundary: str = "free",
    tol: float = 3e-5,
    max_iter: int = 50,
    ndim: int = 2,
) -> Tensor:
    """Wiener filter, ``G = conj(H) S / (|H|^2 S + N)``; the image's mean is not damped.

    Parameters
    ----------
    image, psf, nsr, boundary, ndim
        As in all functions of this module; nsr >= 0 is the constant ratio N / S.
    noise_power, signal_power : float, array or callable
        Instead of `nsr`, together, as in `lsdeblur.direct.wiener`; constants.
    tol, max_iter
        For a free boundary, as in `tikhonov`.

    Returns
    -------
    tensor (..., *shape)
    """
    frame = frame_of(image, psf, boundary, None, ndim)
    made = wiener_filter(frame, nsr=nsr, noise_power=noise_power, signal_power=signal_power)
    return filtered(frame, made, tol, max_iter).image


def inverse(
    image: Tensor,
    psf: Any,
    threshold: float = 0.1,
    *,
    boundary: str = "free",
    tol: float = 3e-5,
    max_iter: int = 50,
    ndim: int = 2,
) -> Tensor:
    """Truncated inverse filter, ``G = 1 / H`` where ``|H| > threshold |H(0)|`` and 0 elsewhere.

    Parameters
    ----------
    image, psf, boundary, ndim
        As in all functions of this module.
    threshold : float >= 0
        Relative to the PSF's sum.
    tol, max_iter
        For a free boundary, as in `tikhonov`.

    Returns
    -------
    tensor (..., *shape)
    """
    frame = frame_of(image, psf, boundary, None, ndim)
    return filtered(frame, inverse_filter(frame, threshold=threshold), tol, max_iter).image


class Filtered(NamedTuple):
    """Filtered images (..., *shape), and how many iterations the free boundary took, and whether they were enough."""

    image: Tensor
    n_iter: int
    converged: bool


def filtered(frame: Frame, made: Filter, tol: float = 3e-5, max_iter: int = 50) -> Filtered:
    """A filter applied to the images of a frame."""
    limits = check_iterations(tol, max_iter)
    gain, rest = made
    Y, n_iter, converged = (
        (frame.spectrum(), 1, True) if rest is None else settled(frame.image, rest, frame.grid, *limits)
    )
    return Filtered(frame.backward(gain * Y), n_iter, converged)


def tikhonov_filter(
    frame: Frame,
    *,
    lam: float | Tensor,
    penalty: Penalty = "laplacian+gradient",
    tau: float = 0.1,
    noise_width: float = 0.0,
    noise_floor: float = noise.FLOOR,
) -> Filter:
    """`_gains.tikhonov_filter`; for noise of spectrum c, lam multiplies ``P c`` and the rest counts ``1 / c``."""
    width, floor = check_non_negative(noise_width, "noise_width"), check_positive(noise_floor, "noise_floor")
    P = frame.symbol(_penalty, frame.grid, penalty, tau, frame.spacing)
    c = frame.symbol(_colour, frame.grid, width, floor) if width else None
    return _least_squares(frame, P, frame.strength(lam, "lam"), c)


def wiener_filter(
    frame: Frame, *, nsr: float | Tensor | None = None, noise_power: Any = None, signal_power: Any = None
) -> Filter:
    """`_gains.wiener_filter`, for a constant ratio or for power spectra."""
    all_but_mean = constant(frame.image, _all_but_mean, frame.grid)
    powers = noise_power, signal_power
    if nsr is not None and all(power is None for power in powers):
        return _least_squares(frame, all_but_mean, frame.strength(nsr, "nsr"), None)
    if nsr is not None or any(power is None for power in powers):
        raise ValueError("wiener needs either nsr=, or noise_power= and signal_power= together")
    N, S = (
        frame.symbol(_power, frame.grid, p, n) for p, n in zip(powers, ("noise_power", "signal_power"), strict=True)
    )
    gain = torch.where(all_but_mean > 0, filters.wiener(frame.H, N, S), 1 / frame.H[frame.mean])
    return gain, N.max() * filters.wiener_rest(frame.H, N, S) * all_but_mean if frame.free else None


def inverse_filter(frame: Frame, *, threshold: float = 0.1) -> Filter:
    """`_gains.inverse_filter`, whose free boundary is Tikhonov's, at about the same strength."""
    check_non_negative(threshold, "threshold")
    dc: Any = frame.H[frame.mean].abs()
    gain = filters.inverse(frame.H, threshold * dc)
    if not frame.free or bool((gain != 0).all()):
        return gain, None
    P = frame.symbol(_penalty, frame.grid, "laplacian+gradient", 0.1, frame.spacing)
    return gain, filters.tikhonov_rest(frame.H, P, dc**2 * max(threshold, 1e-2) ** 2)


#: method -> its filter on a frame; the keyword-only arguments are those of the methods' plans
FILTERS: dict[str, Callable[..., Filter]] = {
    "inverse": inverse_filter,
    "wiener": wiener_filter,
    "tikhonov": tikhonov_filter,
}


def _least_squares(frame: Frame, P: Tensor, lam: Any, c: Tensor | None) -> Filter:
    weighted = P if c is None else P * c
    gain = filters.tikhonov(frame.H, weighted, lam)
    if not frame.free or (isinstance(lam, float) and lam == 0):
        return gain, None
    rest = filters.tikhonov_rest(frame.H, weighted, lam)
    return gain, rest if c is None else rest / c


# Constants on a grid, made by NumPy.


def _penalty(dtype: npt.DTypeLike, grid: Any, penalty: Penalty, tau: float, spacing: Any) -> npt.NDArray[Any]:
    return penalty_symbol(penalty, grid, tau=tau, spacing=spacing, dtype=dtype)


def _colour(dtype: npt.DTypeLike, grid: Any, width: float, floor: float) -> npt.NDArray[Any]:
    return noise.colour(grid, width, floor, dtype)


def _power(dtype: npt.DTypeLike, grid: Any, power: Any, name: str) -> npt.NDArray[Any]:
    return np.asarray(power_spectrum(power, grid, name, dtype, with_mean=False), dtype)


def _all_but_mean(grid: Sequence[int]) -> npt.NDArray[Any]:
    flat = np.ones((*grid[:-1], grid[-1] // 2 + 1), np.float32)
    flat[(0,) * flat.ndim] = 0
    return flat
