"""The pixels beyond a free boundary on tensors: the system of `lsdeblur.free`, and its derivative.

The strip u of unknown pixels of the extended image y solves ``Q_uu u = -Q_ug g``. With the derivative Y' of a function
by y, and w on the strip with ``Q_uu w = Y'_u``, the derivatives by the data and by the symbol are

    g' = (Y' - Q w)_g,        Q' = -Re(conj(W) Y) / n  at each of the n frequencies                          (1)

(implicit differentiation: one more solution of the same system, however many iterations the first one took). All
images of a batch are solved together, each with steps of its own, until the last one has settled.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lsdeblur import free
from lsdeblur.deep._grid import constant, extend
from lsdeblur.errors import ConvergenceWarning
from lsdeblur.spectrum import hermitian_weights

__all__ = ["settled"]


def settled(image: Tensor, Q: Tensor, grid: tuple[int, ...], tol: float, max_iter: int) -> tuple[Tensor, int, bool]:
    """Half spectrum of the images (..., *shape) extended to the solution of the system with symbol Q.

    Q (..., *half grid) is real; its leading axes broadcast against the images'. With it come the number of iterations
    and whether all images settled.
    """
    return _Settled.apply(image, Q, grid, tol, max_iter)


class _Settled(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, image: Tensor, Q: Tensor, grid: tuple[int, ...], tol: float, max_iter: int
    ) -> tuple[Tensor, int, bool]:
        system = System.of(Q, image.shape[-len(grid) :], grid)
        first = torch.fft.rfftn(extend(image, grid, "free", Q), dim=system.axes)
        first = first.expand(torch.broadcast_shapes(first.shape, Q.shape)).contiguous()
        Y, n_iter, converged = system.solve(first, system.energy(first), None, tol, max_iter)
        ctx.save_for_backward(Y, Q)
        ctx.system, ctx.image_shape, ctx.limits = system, image.shape, (tol, max_iter)
        return Y, n_iter, converged

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: None) -> tuple[Tensor | None, ...]:
        Y, Q = ctx.saved_tensors
        system: System = ctx.system
        grid, n = system.grid, math.prod(system.grid)
        whole = F.pad(grad, (0, grid[-1] - grad.shape[-1]))
        by_pixel = torch.fft.ifftn(whole, dim=system.axes, norm="forward").real  # the adjoint of rfftn
        W = system.solve(torch.zeros_like(Y), None, by_pixel, *ctx.limits)[0]
        by_image = by_Q = None
        if ctx.needs_input_grad[0]:
            whole = by_pixel - torch.fft.irfftn(Q * W, s=grid, dim=system.axes)
            by_image = whole[(..., *(slice(m) for m in system.shape))].sum_to_size(ctx.image_shape)
        if ctx.needs_input_grad[1]:
            by_Q = ((W.conj() * Y).real * (-system.weights / n)).sum_to_size(Q.shape)
        return by_image, by_Q, None, None, None


class Band(NamedTuple):
    """`free.Band` on tensors: the inverse of Q on the band beyond the frame's end along one of the last axes."""

    axis: int
    start: int
    width: int
    factors: tuple[Tensor, Tensor]
    ndim: int

    def view(self, a: Tensor) -> Tensor:
        """The band of an array (..., *grid)."""
        return a.narrow(self.axis, self.start, self.width)

    def solve(self, part: Tensor) -> Tensor:
        """The band's inverse applied to values on it (`free.inverse_times`)."""
        along = -self.ndim
        rows = part.movedim(self.axis, along)
        others = tuple(range(1 - self.ndim, 0))
        n = self.factors[0].shape[along]
        V = torch.fft.fft(torch.fft.rfftn(rows, dim=others), n, dim=along)
        plus, minus = (
            L * torch.fft.fft(torch.fft.ifft(L.conj() * V, dim=along).narrow(along, 0, self.width), n, dim=along)
            for L in self.factors
        )
        half = torch.fft.ifft(plus - minus, dim=along).narrow(along, 0, self.width)
        return torch.fft.irfftn(half, s=rows.shape[1 - self.ndim :], dim=others).movedim(along, self.axis)


class System(NamedTuple):
    """The equations of the strip outside a frame of `shape` on a `grid`, for one symbol Q or a batch of them."""

    Q: Tensor
    shape: tuple[int, ...]
    grid: tuple[int, ...]
    bands: tuple[Band, ...]
    weights: Tensor

    @classmethod
    def of(cls, Q: Tensor, shape: Sequence[int], grid: tuple[int, ...]) -> System:
        """Only the symbol goes to the host, where its bands' inverses are made: they precondition, no more."""
        known = Q.detach().cpu().numpy()
        bands = [
            Band(axis, m, n - m, _factors(known, Q, grid, axis, n - m), len(grid))
            for axis, (n, m) in enumerate(zip(grid, shape, strict=True), start=-len(grid))
            if n > m
        ]
        weights = constant(Q, hermitian_weights, grid)
        return cls(Q.detach(), tuple(shape), grid, tuple(bands), weights)

    @property
    def axes(self) -> tuple[int, ...]:
        """The spatial axes."""
        return tuple(range(-len(self.grid), 0))

    def energy(self, Y: Tensor) -> Tensor:
        """``<y, Q y>`` for each image, by Parseval's equation."""
        power = Y.real**2 + Y.imag**2
        return (power * self.Q * self.weights).sum(self.axes) / math.prod(self.grid)

    def solve(
        self, X: Tensor, objective: Tensor | None, b: Tensor | None, tol: float, max_iter: int
    ) -> tuple[Tensor, int, bool]:
        """Conjugate gradients from the half spectrum X, for ``(Q x)_u = b_u`` (0 where b is None).

        An image has settled when a step lowers its cost ``<x, Q x> - 2 <b, x>`` by less than `tol` times the
        `objective`, what is left of the cost, or without one by less than `tol` times all that was gained. X is
        overwritten.
        """
        lead = X.shape[: -len(self.grid)]
        p = torch.zeros((*lead, *self.grid), dtype=self.Q.dtype, device=X.device)
        rz, gained = (torch.zeros(lead, dtype=self.Q.dtype, device=X.device) for _ in range(2))
        done, converged = (torch.zeros(lead, dtype=torch.bool, device=X.device) for _ in range(2))
        n_iter = 0
        while n_iter < max_iter and not bool(done.all()):
            n_iter += 1
            full = torch.fft.irfftn(self.Q * X, s=self.grid, dim=self.axes)
            full = -full if b is None else b - full
            residuals = [band.view(full) for band in self.bands]
            steps = [band.solve(r) for band, r in zip(self.bands, residuals, strict=True)]
            products = [(r * z).sum(self.axes) for r, z in zip(residuals, steps, strict=True)]
            previous, rz = rz, torch.stack(products).sum(0)
            p *= self._each(torch.where(done | (previous == 0), 0.0, rz / previous))
            for band, z in zip(self.bands, steps, strict=True):
                band.view(p).add_(z)
            P = torch.fft.rfftn(p, dim=self.axes)
            curvature = self.energy(P)
            goes_on = (rz > 0) & (curvature > 0)  # else only rounding is left
            step = torch.where(goes_on & ~done, rz / curvature, 0.0)
            X += self._each(step) * P
            gained += step * rz
            left = gained if objective is None else objective - gained
            enough = torch.where(goes_on, step * rz, rz.abs()) <= tol * left
            converged |= enough & ~done
            done |= enough | ~goes_on
        if not bool(converged.all()):
            _warn(n_iter)
        return X, n_iter, bool(converged.all())

    def _each(self, numbers: Tensor) -> Tensor:
        """A number for each image, ready to multiply its pixels."""
        return numbers[(..., *[None] * len(self.grid))]


def _factors(known: Any, Q: Tensor, grid: tuple[int, ...], axis: int, width: int) -> tuple[Tensor, Tensor]:
    """Factors of the inverses on one band, (..., n, *half spectrum of the other axes)."""
    lead, half = known.shape[: -len(grid)], known.shape[-len(grid) :]
    dtype = np.result_type(known.dtype, np.complex64)
    threads = torch.get_num_threads()
    made = [free.Band.of(q, grid, axis + len(grid), width, dtype, threads).factors for q in known.reshape(-1, *half)]
    both = [np.stack([pair[i] for pair in made]).reshape(*lead, *made[0][i].shape) for i in (0, 1)]
    x, y = (torch.from_numpy(a).to(Q.device) for a in both)
    return x, y


def _warn(n_iter: int) -> None:
    warnings.warn(
        f"the free boundary was not settled after {n_iter} iterations; raise lam, max_iter or tol, or work in float64",
        ConvergenceWarning,
        stacklevel=3,
    )
