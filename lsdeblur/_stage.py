"""A PSF on a periodic grid, and a gain on it: what the direct methods compute with.

A `Stage` takes images to spectra and back, a `Plan` is a stage with a gain.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from lsdeblur import _fft, free
from lsdeblur._kernels import AnySymbol, product
from lsdeblur._methods import Problem
from lsdeblur._validate import as_float_array, check_positive, check_size
from lsdeblur.boundary import crop, extend, fill, grid_shape
from lsdeblur.errors import ConvergenceWarning
from lsdeblur.noise import colour
from lsdeblur.psf import PSFGrid
from lsdeblur.spectrum import Penalty, symbol, transfer_function

__all__ = ["Forward", "Plan", "Stage"]

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Forward:
    """Half spectrum (channels, *half grid) of extended data, and how the extension was reached.

    `residual` is the squared norm of what the filter leaves of the measured pixels, where it is known already.
    """

    spectrum: Array
    n_iter: int = 1
    converged: bool = True
    residual: float | None = None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Stage:
    """A PSF on a periodic grid: what a direct method needs besides its gain.

    `psf` (..., *psf_shape) has the transfer function `H` (..., *half grid) on the grid;
    `shape` the frame's and `grid` the grid's spatial shape;
    `spacing` the pixel pitch per axis, relative to the smallest; `tol` and `max_iter` are for a free boundary;
    `colour` (*half grid) is the noise's spectrum, None for white noise; `mask` (*shape) is True where the image was not
    measured.
    """

    psf: Array
    H: Array
    shape: tuple[int, ...]
    grid: tuple[int, ...]
    boundary: str
    spacing: tuple[float, ...]
    workers: int | None = None
    tol: float = 3e-5
    max_iter: int = 50
    colour: Array | None = None
    mask: Array | None = None

    @classmethod
    def of(cls, problem: Problem, tol: float, max_iter: int) -> Stage:
        p = problem
        if isinstance(p.psf, PSFGrid):
            raise TypeError("a PSFGrid needs method='tikhonov': this one works with a uniform PSF, such as psf.at(...)")
        stage = cls.make(p.psf, p.shape, p.boundary, p.spacing, workers=p.workers, tol=tol, max_iter=max_iter)
        return replace(stage, mask=p.mask)

    @classmethod
    def make(
        cls, psf: Array, shape: Sequence[int], boundary: str, spacing: tuple[float, ...], *,
        workers: int | None, tol: float, max_iter: int,
    ) -> Stage:  # fmt: skip
        """For a PSF (..., *psf_shape) and frames of spatial `shape`."""
        grid = grid_shape(shape, psf.shape[-len(shape) :], boundary)
        H = transfer_function(psf, grid, workers=workers)
        check_positive(tol, "tol")
        limit = check_size(max_iter, 1, "max_iter")[0]
        return cls(psf, H, tuple(shape), grid, boundary, spacing, workers, tol, limit)

    def extend(self, image: Array) -> Array:
        """The image (..., *shape) on the grid; under a free boundary a first guess."""
        if self.mask is None:
            return extend(image, self.grid, self.boundary, self.psf, self.workers)
        unknown = np.ones(self.grid, bool)
        crop(unknown, self.shape)[...] = self.mask
        return fill(extend(image, self.grid, "zero"), unknown)

    def transform(self, data: Array) -> Array:
        """Half spectrum of extended data (..., *grid)."""
        return _fft.rfftn(data, len(self.grid), self.workers)

    def systems(self, rest: Array | None, near: Sequence[free.System] = ()) -> tuple[free.System, ...]:
        """The equations of the unknown pixels, one for each PSF, for a filter that leaves `rest` of the data.

        None are needed where it leaves nothing. The inverses of systems `near`, for a lambda of the same order, are
        used again.
        """
        if rest is None or not np.any(rest):
            self._check_determined()
            return ()
        half = rest.shape[-len(self.grid) :]
        Q = np.broadcast_to(rest, (self.H.size // math.prod(half), *half))
        if near:
            return tuple(system.at(q) for system, q in zip(near, Q, strict=True))
        return tuple(free.System.of(q, self.shape, self.grid, self.workers, self.mask) for q in Q)

    def settled(self, Y: Array, systems: Sequence[free.System], max_iter: int | None = None) -> Forward:
        """The extension with half spectrum Y (channels, *half grid) brought nearer to the solution of its system.

        Y is overwritten.
        """
        if not systems:
            return Forward(Y)
        limit = self.max_iter if max_iter is None else max_iter
        found = [systems[c % len(systems)].solve(y, tol=self.tol, max_iter=limit) for c, y in enumerate(Y)]
        return Forward(
            Y,
            max(x.n_iter for x in found),
            all(x.converged for x in found),
            sum(x.residual for x in found),
        )

    def forward(self, Y: Array, systems: Sequence[free.System]) -> Forward:
        """The same to the end, with a warning if it was not reached."""
        found = self.settled(Y, systems)
        if not found.converged:
            warnings.warn(
                f"the free boundary was not settled after {found.n_iter} iterations; raise lam, max_iter or tol, "
                "or work in float64",
                ConvergenceWarning,
                stacklevel=2,
            )
        return found

    def _check_determined(self) -> None:
        if self.mask is not None:
            raise ValueError(
                f"mask hides {np.count_nonzero(self.mask)} pixels, and nothing determines them without regularisation; "
                "give a positive lam (nsr for 'wiener'), or fill them and leave out the mask"
            )

    def backward(self, spectrum: Array) -> Array:
        """The frame (..., *shape) of a half spectrum, which may be overwritten."""
        return _fft.framed(spectrum, self.grid, self.shape, self.workers)

    @property
    def free(self) -> bool:
        """Whether the pixels beyond the frame are unknowns."""
        return self.boundary == "free"

    @property
    def noisy_share(self) -> float:
        """Share of the grid's values that carry noise of their own: gaps are smooth, but a mirrored gap is as noisy."""
        measured = math.prod(self.shape) if self.mask is None else np.count_nonzero(~self.mask)
        return 1.0 if self.boundary == "symmetric" else measured / math.prod(self.grid)

    def coloured(self, width: float, floor: float) -> Stage:
        """The same for noise that a Gaussian of `width` pixels has smoothed down to `floor`; 0 for white noise."""
        return replace(self, colour=colour(self.grid, width, floor, self.H.real.dtype) if width else None)

    def penalty(self, penalty: Penalty, tau: float = 0.1) -> AnySymbol:
        """The penalty's symbol on the half grid."""
        return symbol(penalty, self.grid, tau=tau, spacing=self.spacing, dtype=self.H.real.dtype)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Plan:
    """A direct restoration with everything fixed but the image: ``plan(image)`` costs one FFT and its inverse.

    `gain` (..., *half grid) is what multiplies the spectrum, on the grid of `stage`. Under a free boundary `system`
    holds the equations of the pixels beyond the frame, and an image costs two transforms more for each iteration. Made
    within `fft_backend`, a plan keeps that `backend`; otherwise ("auto") the one where it is called holds.
    """

    stage: Stage
    gain: Array
    system: free.System | None = None
    backend: str = field(default_factory=_fft.chosen_backend)

    def __call__(self, image: npt.ArrayLike) -> Array:
        """Restore `image` (..., *shape) in the plan's precision; leading axes (channels, frames) share the gain."""
        g = as_float_array(image, "image").astype(self.gain.real.dtype, copy=False)
        shape = self.stage.shape
        if g.shape[-len(shape) :] != shape:
            raise ValueError(
                f"image has shape {g.shape}, but this plan is for images of shape {shape}: make another plan"
            )
        with _fft.using(_fft.chosen_backend() if self.backend == "auto" else self.backend):
            frames = [self._restored(frame) for frame in g.reshape(-1, *shape)]
        return (frames[0] if len(frames) == 1 else np.stack(frames)).reshape(g.shape)

    def _restored(self, frame: Array) -> Array:
        Y = self.stage.transform(self.stage.extend(frame))
        if self.system is not None:
            Y = self.system.solve(Y, tol=self.stage.tol, max_iter=self.stage.max_iter).spectrum
        return self.stage.backward(product(Y, self.gain, workers=self.stage.workers))

    def reach(self, tol: float = 1e-2) -> tuple[int, ...]:
        """Distance per axis, in pixels, beyond which the gain's impulse response never exceeds `tol` times its peak.

        It tells how far a restored pixel depends on its surroundings.
        """
        grid = self.stage.grid
        response = np.abs(_fft.irfftn(self.gain.copy(), grid, self.stage.workers))
        far = np.argwhere(response > check_positive(tol, "tol") * response.max())
        return tuple(int(np.minimum(x, n - x).max()) for x, n in zip(far.T, grid, strict=True))
