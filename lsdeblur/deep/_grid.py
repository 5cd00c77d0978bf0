"""Images on periodic grids, on tensors: what `boundary`, `spectrum` and `_stage` are for NumPy's arrays.

Leading axes count images and channels and broadcast: those of the image, of the PSF and of lambda against each other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from lsdeblur import boundary as boundaries
from lsdeblur._validate import check_choice, check_fits, check_non_negative, check_size, check_spacing

__all__ = ["Frame", "constant", "extend", "frame_of", "transfer_function", "working"]


def working(image: Tensor) -> Tensor:
    """A real tensor in its working dtype: float32 for what float32 holds, float64 for others."""
    if not isinstance(image, Tensor):
        raise TypeError(f"image must be a torch tensor, not {type(image).__name__}: pass torch.as_tensor(image)")
    if image.is_complex():
        raise TypeError(f"image is complex ({image.dtype}); restoration is defined for real images: pass image.real")
    single = image.dtype == torch.float32 or image.dtype.itemsize <= 2
    return image.to(torch.float32 if single else torch.float64)


def constant(like: Tensor, make: Callable[..., npt.ArrayLike], *args: Any) -> Tensor:
    """What ``make(*args)`` computes with NumPy, as a tensor of the dtype and on the device of `like`.

    The last few are kept, where the arguments are names and numbers; a function may change.
    """
    plain = all(isinstance(a, (str, int, float, tuple, type)) for a in args)
    return (_constant if plain else _constant.__wrapped__)(like.dtype, like.device, make, *args)


@lru_cache(maxsize=8)
def _constant(dtype: torch.dtype, device: torch.device, make: Callable[..., npt.ArrayLike], *args: Any) -> Tensor:
    with torch.inference_mode(False):  # such a tensor could not take part in a later derivative
        return torch.from_numpy(np.ascontiguousarray(make(*args))).to(dtype).to(device)


def transfer_function(psf: Tensor, grid: Sequence[int]) -> Tensor:
    """Half spectrum (..., *half grid) of a PSF (..., *psf_shape) with its centre at pixel ``s // 2``."""
    axes = tuple(range(-len(grid), 0))
    size = psf.shape[-len(grid) :]
    gaps = [gap for n, s in zip(reversed(grid), reversed(size), strict=True) for gap in (0, n - s)]
    return torch.fft.rfftn(torch.roll(F.pad(psf, gaps), [-(s // 2) for s in size], axes), dim=axes)


def extend(image: Tensor, grid: Sequence[int], boundary: str, H: Tensor) -> Tensor:
    """`boundary.extend`: the image (..., *shape) on the grid, its frame at the origin."""
    ndim = len(grid)
    shape = image.shape[-ndim:]
    if tuple(grid) == tuple(shape):
        return image
    if boundary == "zero":
        return F.pad(image, [gap for n, m in zip(reversed(grid), reversed(shape), strict=True) for gap in (0, n - m)])
    for axis, (n, m) in enumerate(zip(grid, shape, strict=True), start=-ndim):
        if boundary in ("symmetric", "edge"):
            index = boundaries.extend(np.arange(m), (n,), boundary)
            image = image.index_select(axis, torch.from_numpy(index).to(image.device))
        elif n > m:
            image = _bridged(image, axis, n - m)
    if boundary != "taper":
        return image
    first: Any = (..., *[slice(1)] * ndim)
    axes = tuple(range(-ndim, 0))
    # The ramps are blurred by a PSF of sum 1.
    blurred = torch.fft.irfftn(H / H[first] * torch.fft.rfftn(image, dim=axes), s=tuple(grid), dim=axes)
    outside = torch.ones(tuple(grid), dtype=torch.bool, device=image.device)
    outside[tuple(slice(m) for m in shape)] = False
    return torch.where(outside, blurred, image)


def _bridged(image: Tensor, axis: int, gap: int) -> Tensor:
    """A ramp of `gap` pixels from the last to the first along an axis, behind the image."""
    t = torch.arange(1, gap + 1, dtype=image.dtype, device=image.device) / (gap + 1)
    first, last = image.narrow(axis, 0, 1), image.narrow(axis, image.shape[axis] - 1, 1)
    return torch.cat([image, last + t.reshape(-1, *[1] * (-axis - 1)) * (first - last)], axis)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Frame:
    """Images and a PSF with its transfer function `H` (..., *half grid), checked and in one dtype on one device."""

    image: Tensor
    H: Tensor
    shape: tuple[int, ...]
    grid: tuple[int, ...]
    boundary: str
    spacing: tuple[float, ...]

    @property
    def axes(self) -> tuple[int, ...]:
        """The spatial axes."""
        return tuple(range(-len(self.grid), 0))

    @property
    def mean(self) -> Any:
        """Index of frequency zero, whose axes stay."""
        return (..., *[slice(1)] * len(self.grid))

    @property
    def free(self) -> bool:
        """Whether the pixels beyond the frame are unknowns."""
        return self.boundary == "free"

    def strength(self, value: Any, name: str) -> Any:
        """A number >= 0, or a tensor of them for the leading axes, ready to multiply a symbol."""
        if not isinstance(value, Tensor):
            return check_non_negative(value, name)
        return value.to(self.image)[(..., *[None] * len(self.grid))]

    def symbol(self, make: Callable[..., npt.ArrayLike], *args: Any) -> Tensor:
        """The constant ``make(dtype, *args)``, with NumPy's dtype."""
        return constant(self.image, make, np.float32 if self.image.dtype == torch.float32 else np.float64, *args)

    def spectrum(self) -> Tensor:
        """Half spectrum of the extended images."""
        return torch.fft.rfftn(extend(self.image, self.grid, self.boundary, self.H), dim=self.axes)

    def backward(self, spectrum: Tensor) -> Tensor:
        """The frame (..., *shape) of a half spectrum."""
        whole = torch.fft.irfftn(spectrum, s=self.grid, dim=self.axes)
        return whole[(..., *(slice(m) for m in self.shape))]


def frame_of(image: Tensor, psf: Any, boundary: str, spacing: Any, ndim: int) -> Frame:
    """The arguments of a filter, checked; the PSF comes to the image's dtype and device."""
    check_choice(boundary, boundaries.BOUNDARIES, "boundary")
    g, h = image_and_psf(image, psf, ndim)
    shape, size = tuple(g.shape[-ndim:]), tuple(h.shape[-ndim:])
    grid = boundaries.grid_shape(shape, size, boundary)
    return Frame(g, transfer_function(h, grid), shape, grid, boundary, check_spacing(spacing, ndim))


def image_and_psf(image: Tensor, psf: Any, ndim: int) -> tuple[Tensor, Tensor]:
    """Both in the working dtype and on the image's device, with at least `ndim` axes, the PSF not larger."""
    if ndim not in (2, 3):
        raise ValueError(f"ndim must be 2 or 3, the number of spatial axes, not {ndim!r}")
    g = working(image)
    h = (psf if isinstance(psf, Tensor) else torch.from_numpy(np.array(psf))).to(g)
    for name, a in {"image": g, "psf": h}.items():
        if a.ndim < ndim or math.prod(a.shape) == 0:
            raise ValueError(
                f"{name} has shape {tuple(a.shape)}: it must not be empty and have {ndim} spatial axes last"
            )
    shape, size = tuple(g.shape[-ndim:]), tuple(h.shape[-ndim:])
    check_fits(size, shape, "psf", "image", "crop it around its centre; for volumes pass ndim=3")
    try:
        torch.broadcast_shapes(g.shape[:-ndim], h.shape[:-ndim])
    except RuntimeError:
        raise ValueError(
            f"the leading axes of psf {tuple(h.shape)} and image {tuple(g.shape)} do not broadcast; "
            "give one PSF, or one for each image or channel with axes of length 1 between"
        ) from None
    return g, h


def check_iterations(tol: float, max_iter: int) -> tuple[float, int]:
    """When iterations end."""
    if not tol > 0:
        raise ValueError(f"tol must be greater than 0, not {tol!r}")
    return float(tol), check_size(max_iter, 1, "max_iter")[0]
