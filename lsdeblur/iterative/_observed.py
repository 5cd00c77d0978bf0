"""The observed image as iterative methods see it: a blurred scene on a periodic grid, some of its pixels measured.

A free boundary and a mask are the same thing here: pixels of the blurred scene that were not measured. For the other
boundaries the image is extended first, and every pixel counts as measured.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lsdeblur import _fft
from lsdeblur._methods import Problem
from lsdeblur.boundary import crop, extend, grid_shape
from lsdeblur.filters import power
from lsdeblur.psf import PSFGrid
from lsdeblur.spacevar import Blur
from lsdeblur.spectrum import transfer_function

__all__ = ["Observed", "Varied"]

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Observed:
    """One channel, ``g = M (h * f) + n``: the scene f lives on a periodic `grid`, M keeps the measured pixels.

    Attributes
    ----------
    data : array (*grid)
        g, and 0 where nothing was measured.
    measured : bool array (*grid) or None
        M; None where every pixel of the grid was measured.
    H : complex array (*half grid)
        The transfer function of h.
    shape : tuple of int
        The frame's, which lies at the grid's origin.
    """

    data: Array
    measured: Array | None
    H: Array
    shape: tuple[int, ...]
    workers: int | None = None

    @classmethod
    def all_of(cls, problem: Problem, margin: str | None = None) -> list[Observed]:
        """One for each channel of the problem; `margin` is the boundary whose grid is used, by default the problem's.

        Methods without a penalty need no more around a free boundary than "zero" has, the PSF's size less one.
        """
        if isinstance(problem.psf, PSFGrid):
            raise TypeError(
                "a PSFGrid needs method='tikhonov' or 'cgls': this one works with a uniform PSF, such as psf.at(...)"
            )
        shape, boundary = problem.shape, problem.boundary
        grid = grid_shape(shape, problem.psf.shape[1:], margin or boundary)
        H = transfer_function(problem.psf, grid, workers=problem.workers)
        if boundary == "free" or problem.mask is not None:
            measured = np.zeros(grid, bool)
            crop(measured, shape)[...] = True if problem.mask is None else ~problem.mask
            data = extend(problem.image, grid, "zero") * measured
        else:
            measured, data = None, extend(problem.image, grid, boundary, problem.psf, problem.workers)
        return [cls(g, measured, H[c % len(H)], shape, problem.workers) for c, g in enumerate(data)]

    @property
    def grid(self) -> tuple[int, ...]:
        return self.data.shape

    @property
    def n_measured(self) -> int:
        return math.prod(self.grid) if self.measured is None else int(np.count_nonzero(self.measured))

    @property
    def mean(self) -> float:
        """The brightness of an even scene with the data's sum."""
        return float(self.data.sum(dtype=np.float64)) / (self.n_measured * float(self.H[(0,) * self.H.ndim].real))

    @property
    def largest(self) -> float:
        """The largest ``|H|^2``, which bounds that of the blur of measured pixels."""
        return float(power(self.H).max())

    def blur(self, scene: Array) -> Array:
        """``M (h * f)``, 0 where nothing was measured."""
        return self.seen(self.filtered(self.H, scene))

    def adjoint(self, image: Array) -> Array:
        """Its adjoint: correlation with h, of the measured pixels."""
        return self.filtered(self.H.conj(), self.seen(image))

    def seen(self, image: Array) -> Array:
        """``M``: 0 in place of what was not measured."""
        return image if self.measured is None else image * self.measured

    def filtered(self, gain: Array, image: Array) -> Array:
        """An image (*grid) times a gain on its half spectrum."""
        F = _fft.rfftn(image, len(self.grid), self.workers)
        F *= gain
        return _fft.irfftn(F, self.grid, self.workers)

    def frame(self, scene: Array) -> Array:
        """The frame (*shape) of a scene, contiguous."""
        return np.ascontiguousarray(crop(scene, self.shape))


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Varied:
    """The same for a PSF that varies over the frame, with a free boundary; the scene exceeds it by the PSFs' reach.

    `data` and `measured` are on all pixels that the scene reaches; the frame begins at the scene's pixel `origin`.
    """

    data: Array
    measured: Array
    spread: Blur
    origin: tuple[int, ...]
    shape: tuple[int, ...]

    @classmethod
    def all_of(cls, problem: Problem) -> list[Varied]:
        """One for each channel of the problem."""
        if problem.boundary != "free":
            raise ValueError(
                f"a PSFGrid needs boundary='free', not {problem.boundary!r}: no other knows its PSFs outside"
            )
        shape, size = problem.shape, problem.psf.size
        origin = tuple(s - 1 - s // 2 for s in size)
        scene = [n + s - 1 for n, s in zip(shape, size, strict=True)]
        spread = Blur.of(problem.psf, scene, origin, problem.image.dtype, problem.workers)
        frame = spread.frame(origin, shape)
        measured = np.zeros([n + s - 1 for n, s in zip(scene, size, strict=True)], bool)
        measured[frame] = True if problem.mask is None else ~problem.mask
        data = np.zeros((len(problem.image), *measured.shape), problem.image.dtype)
        data[(slice(None), *frame)] = problem.image
        return [cls(g * measured, measured, spread, origin, shape) for g in data]

    @property
    def n_measured(self) -> int:
        return int(np.count_nonzero(self.measured))

    @property
    def mean(self) -> float:
        """The brightness of an even scene with the data's sum."""
        even = self.blur(np.ones(self.spread.shape, self.data.dtype))
        return float(self.data.sum(dtype=np.float64)) / float(even.sum(dtype=np.float64))

    @property
    def largest(self) -> float:
        """A bound on the largest eigenvalue of ``A^T A``: the largest row sum of the matrix, which is positive."""
        even = np.ones(self.spread.shape, self.data.dtype)
        return float(np.abs(self.adjoint(self.blur(even))).max())

    def blur(self, scene: Array) -> Array:
        """``M A f``, 0 where nothing was measured."""
        return self.seen(self.spread(scene))

    def adjoint(self, image: Array) -> Array:
        """Its adjoint."""
        return self.spread.adjoint(self.seen(image))

    def seen(self, image: Array) -> Array:
        """``M``: 0 in place of what was not measured."""
        return image * self.measured

    def frame(self, scene: Array) -> Array:
        """The frame (*shape) of a scene, contiguous."""
        return np.ascontiguousarray(scene[tuple(slice(o, o + n) for o, n in zip(self.origin, self.shape, strict=True))])
