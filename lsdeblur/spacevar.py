"""Spatially varying blur: the forward model, its adjoint, and the least-squares solution.

A `psf.PSFGrid` spreads every point of the scene by the PSF of its place, ``A f = sum_k h_k * (w_k f)``, and the frame
keeps the measured pixels, ``g = M A f + n``. Each convolution runs on the box where its weight is not zero. Two answers:

* *Tile by tile*: where a weight is not zero, and somewhat beyond, the blur is taken for uniform, the tile is restored
  with a free boundary on all its sides (`lsdeblur.free`), and the tiles are added up with the weights.
* *Exact*: the minimiser of ``||M A f - g||^2 + lam <f, P f>`` by conjugate gradients, the scene beyond the frame being
  unknown, preconditioned by `Preconditioner`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lsdeblur import _fft
from lsdeblur.filters import power
from lsdeblur.psf import PSFGrid

__all__ = ["Blur"]

Array = npt.NDArray[Any]

_BATCH = 1 << 21  # values transformed at once


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Blur:
    """The blur by a PSFGrid of scenes of one shape, and its adjoint.

    `H` (n, *half grid) are the transfer functions, their origin at the PSFs' first pixel, on a grid for a box of pixels
    and the PSF's reach; `weights` (n, *box) the weights in the boxes that begin at the scene's pixels `starts` (n,
    axes). `size` is the PSFs'.
    """

    H: Array
    weights: Array
    starts: Array
    shape: tuple[int, ...]
    size: tuple[int, ...]
    grid: tuple[int, ...]
    workers: int | None = None

    @classmethod
    def of(
        cls, psf: PSFGrid, shape: Sequence[int], origin: Sequence[int], dtype: npt.DTypeLike,
        workers: int | None = None,
    ) -> Blur:  # fmt: skip
        """For scenes of `shape` whose pixel `origin` is the first one of the frame."""
        boxes = list(psf.boxes([np.arange(n) - o for n, o in zip(shape, origin, strict=True)]))
        box = np.max([w.shape for _, (_, w) in boxes], axis=0)
        starts = np.minimum([first for _, (first, _) in boxes], np.array(shape) - box)
        weights = np.zeros((len(boxes), *box), dtype)
        for out, start, (_, (first, w)) in zip(weights, starts, boxes, strict=True):
            out[_window(np.subtract(first, start), w.shape)] = w
        grid = tuple(_fft.good_size(int(b) + s - 1) for b, s in zip(box, psf.size, strict=True))
        h = psf.psfs[[k for k, _ in boxes]].astype(dtype)
        H = _fft.rfftn(_padded(h, grid), len(grid), workers)
        return cls(H, weights, starts, tuple(shape), psf.size, grid, workers)

    def __call__(self, scene: Array) -> Array:
        """``A f`` of a scene (*shape), on all pixels that it reaches: `size` - 1 more than the scene along every axis."""
        box, out = self.weights.shape[1:], np.zeros(self._reached, self.weights.dtype)
        spread = [b + s - 1 for b, s in zip(box, self.size, strict=True)]
        for part in self._batches():
            pieces = np.stack([scene[_window(start, box)] for start in self.starts[part]])
            pieces *= self.weights[part]
            F = _fft.rfftn(_padded(pieces, self.grid), len(self.grid), self.workers)
            F *= self.H[part]
            for start, piece in zip(self.starts[part], _fft.irfftn(F, self.grid, self.workers), strict=True):
                out[_window(start, spread)] += piece[_window([0] * len(spread), spread)]
        return out

    def adjoint(self, image: Array) -> Array:
        """``A^T g`` of an image on all pixels that a scene reaches."""
        box, out = self.weights.shape[1:], np.zeros(self.shape, self.weights.dtype)
        spread = [b + s - 1 for b, s in zip(box, self.size, strict=True)]
        inside = (slice(None), *_window([0] * len(box), box))
        for part in self._batches():
            pieces = np.stack([image[_window(start, spread)] for start in self.starts[part]])
            G = _fft.rfftn(_padded(pieces, self.grid), len(self.grid), self.workers)
            G *= np.conj(self.H[part])
            pieces = _fft.irfftn(G, self.grid, self.workers)[inside] * self.weights[part]
            for start, piece in zip(self.starts[part], pieces, strict=True):
                out[_window(start, box)] += piece
        return out

    def frame(self, origin: Sequence[int], shape: Sequence[int]) -> tuple[slice, ...]:
        """Where among the pixels reached a frame lies whose first pixel is the scene's pixel `origin`."""
        return _window([o + s // 2 for o, s in zip(origin, self.size, strict=True)], shape)

    @property
    def _reached(self) -> tuple[int, ...]:
        return tuple(n + s - 1 for n, s in zip(self.shape, self.size, strict=True))

    def _batches(self) -> Iterator[slice]:
        n = max(1, _BATCH // math.prod(self.grid))
        return (slice(i, i + n) for i in range(0, len(self.starts), n))


def _window(first: Sequence[int], shape: Sequence[int]) -> tuple[slice, ...]:
    return tuple(slice(int(f), int(f) + n) for f, n in zip(first, shape, strict=True))


def _padded(parts: Array, grid: Sequence[int]) -> Array:
    """Arrays (n, *shape) with zeros behind, on the grid."""
    out = np.zeros((len(parts), *grid), parts.dtype)
    out[(slice(None), *_window([0] * len(grid), parts.shape[1:]))] = parts
    return out
