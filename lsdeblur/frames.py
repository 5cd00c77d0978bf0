"""Several frames of one scene, each with a blur of its own: one least-squares restoration from all of them.

It minimises ``sum_i ||M_i (h_i * f) - g_i||^2 + lam <f, P f>``. For extended data y_i on a periodic grid, with
``C = sum_i |H_i|^2 + lam P``, the best scene and what it leaves of the data are

    F = sum_i conj(H_i) Y_i / C,    R_i = Y_i - H_i F                                                       (1)

and the solution has nothing left in the pixels that were not measured. These equations are solved by conjugate
gradients, preconditioned by the sum of the inverses on the bands beyond the frame, as in `lsdeblur.free`; here a band's
matrices, one for each frequency along it, couple the frames: what lies beyond the frame is one scene. They
are kept whole: for n frames and PSFs of s pixels ``(n (s + 32))^2`` values a frequency.

For choosing lambda, every frequency has as many data values as there are frames. The one along H is that of a single
image with the transfer function ``(sum_i |H_i|^2)^(1/2)``, the others are noise alone.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lsdeblur import _fft, selection
from lsdeblur._kernels import written_out
from lsdeblur._methods import Problem, Solution
from lsdeblur._results import Selection
from lsdeblur._stage import Stage
from lsdeblur._validate import check_choice, check_non_negative, check_positive
from lsdeblur.errors import ConvergenceWarning, LsdeblurWarning
from lsdeblur.filters import power
from lsdeblur.free import Hole, whole_along
from lsdeblur.noise import estimate_noise_std
from lsdeblur.spectrum import Bins, Penalty, Spectra, hermitian_weights

__all__ = ["tikhonov"]

Array = npt.NDArray[Any]
_ODD = 1.7  # times its own noise, or what is left of another frame
_NEAR = 3.0  # ratio of lambdas up to which the inverses of one precondition the other's system


def tikhonov(
    problems: Sequence[Problem],
    *,
    lam: float | str = "auto",
    penalty: Penalty = "laplacian+gradient",
    tau: float = 0.1,
    noise_std: float | None = None,
    safety: float = 1.0,
    tol: float = 3e-5,
    max_iter: int = 50,
) -> Solution:
    """Tikhonov's least squares for frames of one shape, with PSFs of one size; the noise is white and equal in all.

    A scene that moved between the frames moves in the PSFs: a shifted PSF shifts its frame. The options are those of
    `lsdeblur.direct.tikhonov`.

    Parameters
    ----------
    problems : sequence of Problem
        The frames.

    Returns
    -------
    Solution

    Raises
    ------
    ValueError
        A negative or unknown `lam`, or a penalty that cannot be one.
    ParameterChoiceError
        The rule that was asked for has no answer.
    """
    stages = [Stage.of(problem, tol, max_iter) for problem in problems]
    P = written_out(stages[0].penalty(penalty, tau))
    spectra = [stage.transform(stage.extend(p.image)) for stage, p in zip(stages, problems, strict=True)]
    channels = [Frames.of(stages, [Y[c] for Y in spectra], c, P) for c in range(len(problems[0].image))]
    chosen, message, near = None, "lam was given", []
    if isinstance(lam, str):
        check_choice(lam, ("auto", *selection.RULES), "lam")
        options = {"noise_std": None if noise_std is None else check_positive(noise_std, "noise_std"), "safety": safety}
        if stages[0].free:
            first, _ = _chosen(channels, "auto", noise_std=None, safety=1.0)
            near = [frames.pieces(first.lam) for frames in channels]
            for frames, pieces in zip(channels, near, strict=True):
                frames.settle(first.lam, pieces, tol, 1)
        chosen, message = _chosen(channels, lam, **options)
        lam = chosen.lam
        if stages[0].free and not 1 / _NEAR < lam / first.lam < _NEAR:
            near = []
    lam = check_non_negative(lam, "lam")
    n_iter, converged, image = 1, True, np.empty_like(problems[0].image)
    each = np.zeros(len(problems))
    for c, (frames, out) in enumerate(zip(channels, image, strict=True)):
        steps, settled = frames.settle(lam, near[c] if near else frames.pieces(lam), tol, max_iter)
        n_iter, converged = max(n_iter, steps), converged and settled
        each += frames.left(lam)
        out[...] = stages[0].backward(frames.scene(frames.Y, lam))
    if chosen:
        _check_frames(problems, stages, each)
    if not converged:
        warnings.warn(
            f"the free boundaries were not settled after {n_iter} iterations; raise lam, max_iter or tol, or work in "
            "float64",
            ConvergenceWarning,
            stacklevel=2,
        )
    if chosen and noise_std is None:
        dof = float(np.interp(math.log(lam), np.log(chosen.lams), chosen.dof)) / chosen.n_obs
        noise_std = math.sqrt(each.sum() / len(image) / sum(map(_measured, stages)) / max(1 - dof, 1e-12))
    message = f"{len(problems)} frames; {message}"
    return Solution(image, lam, chosen, noise_std, converged=converged, n_iter=n_iter, message=message)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Frames:
    """One channel of all frames: transfer functions H and half spectra Y of extended data (n, *half grid).

    Y is improved in place.
    """

    stages: Sequence[Stage]
    H: Array
    Y: Array
    P: Array

    @classmethod
    def of(cls, stages: Sequence[Stage], spectra: Sequence[Array], channel: int, P: Array) -> Frames:
        return cls(stages, np.stack([stage.H[channel % len(stage.H)] for stage in stages]), np.stack(spectra), P)

    def scene(self, Y: Array, lam: float) -> Array:
        """F of equation (1)."""
        total = np.sum(self.H.conj() * Y, axis=0)
        total /= power(self.H).sum(axis=0) + lam * self.P
        return total

    def rest(self, Y: Array, lam: float) -> Array:
        """All R of equation (1)."""
        return Y - self.H * self.scene(Y, lam)

    def left(self, lam: float) -> Array:
        """``||h_i * f - y_i||^2`` of each frame, in which the unknown pixels have no part once they are settled."""
        return np.array([self._dot(r, r) for r in self.rest(self.Y, lam)[:, np.newaxis]])

    def settle(self, lam: float, pieces: Sequence[Band | Holes], tol: float, max_iter: int) -> tuple[int, bool]:
        """Conjugate gradients for the unknown pixels, until a step lowers the cost by less than `tol` of it."""
        if not pieces:
            return 1, True
        grid, workers = self.stages[0].grid, self.stages[0].workers
        R = self.rest(self.Y, lam)
        J, p, rz = self._dot(self.Y, R), np.zeros((len(self.Y), *grid), self.P.dtype), 1.0
        for n_iter in range(1, max_iter + 1):
            full = _fft.irfftn(R, grid, workers, overwrite=False)
            residuals = [-piece.part(full) for piece in pieces]
            steps = [piece.solve(r, workers) for piece, r in zip(pieces, residuals, strict=True)]
            products = [np.multiply(r, z, dtype=np.float64).sum() for r, z in zip(residuals, steps, strict=True)]
            previous, rz = rz, float(sum(products))
            p *= rz / previous if n_iter > 1 else 0.0
            for piece, z in zip(pieces, steps, strict=True):
                piece.add(p, z)
            D = _fft.rfftn(p, len(grid), workers)
            SD = self.rest(D, lam)
            curvature = self._dot(D, SD)
            if not (rz > 0 and curvature > 0):  # only rounding is left
                return n_iter, abs(rz) <= tol * J
            step = rz / curvature
            np.add(self.Y, step * D, out=self.Y, casting="same_kind")
            R += self.P.dtype.type(step) * SD
            J -= step * rz
            if step * rz <= tol * J:
                return n_iter, True
        return max_iter, False

    def pieces(self, lam: float) -> list[Band | Holes]:
        """The parts of the preconditioner; none where nothing is unknown."""
        if not self.stages[0].free:
            return []
        stage, C = self.stages[0], power(self.H).sum(axis=0) + lam * self.P
        gaps = [(axis, n - m) for axis, (n, m) in enumerate(zip(stage.grid, stage.shape, strict=True)) if n > m]
        pieces: list[Band | Holes] = [Band.of(self.H, C, stage.grid, axis, gap) for axis, gap in gaps]
        for i, (h, frame) in enumerate(zip(self.H, self.stages, strict=True)):
            if frame.mask is not None:
                pieces += [Holes(i, hole) for hole in Hole.all_of(1 - power(h) / C, stage.grid, frame.mask)]
        return pieces

    def bins(self) -> Bins:
        """The data's summary for the curves over lambda."""
        grid, workers = self.stages[0].grid, self.stages[0].workers
        whole = np.sqrt(power(self.H).sum(axis=0))
        along = np.sum(self.H.conj() * self.Y, axis=0)
        np.divide(along, whole, out=along, where=whole > 0)
        signal = Spectra(whole.astype(along.dtype), self.P, along[np.newaxis], grid, workers).binned()
        energy = self._dot(self.Y, self.Y) - self._dot(along[np.newaxis], along[np.newaxis])
        others = (len(self.H) - 1.0) * math.prod(grid)
        return Bins.pooled([signal, Bins(np.zeros(1), np.array([others]), np.array([energy]), 0.0, signal.scale)])

    def _dot(self, a: Array, b: Array) -> float:
        """``sum_i <a_i, b_i>`` of images with these half spectra, by Parseval's equation."""
        grid = self.stages[0].grid
        columns = (a.real * b.real + a.imag * b.imag).reshape(-1, a.shape[-1]).sum(axis=0, dtype=np.float64)
        return float(hermitian_weights(grid) @ columns) / math.prod(grid)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Band:
    """The inverse of the equations on the pixels of all n frames beyond the frame's end along one axis.

    `inverse` (frequencies along the band, n width, n width), in the order pixel, frame.
    """

    axis: int
    width: int
    inverse: Array

    @classmethod
    def of(cls, H: Array, C: Array, grid: Sequence[int], axis: int, width: int) -> Band:
        """For the transfer functions H (n, *half grid) and ``C = sum_i |H_i|^2 + lam P``; computed in float64."""
        n = len(H)
        R = np.array(
            [[_kernel((i == j) - H[i] * H[j].conj() / C, grid, axis)[:width] for j in range(n)] for i in range(n)]
        )
        inverse = toeplitz_inverse(np.moveaxis(R.reshape(n, n, width, -1), (2, 3), (0, 1)))
        return cls(axis, width, inverse.astype(np.result_type(C, np.complex64)))

    def part(self, a: Array) -> Array:
        """The band of arrays (n, *grid): (n, width, *others), as a view."""
        return np.moveaxis(a, self.axis + 1, 1)[:, -self.width :]

    def solve(self, part: Array, workers: int | None) -> Array:
        """The inverse applied to such a part."""
        V = _fft.rfftn(np.ascontiguousarray(part), part.ndim - 2, workers)
        columns = np.moveaxis(V, (0, 1), (-1, -2)).reshape(len(self.inverse), -1, 1)
        V = np.moveaxis((self.inverse @ columns).reshape(*V.shape[2:], V.shape[1], V.shape[0]), (-1, -2), (0, 1))
        return _fft.irfftn(np.ascontiguousarray(V), part.shape[2:], workers)

    def add(self, a: Array, part: Array) -> None:
        """Add `part` to arrays (n, *grid) on the band."""
        self.part(a)[...] += part


def toeplitz_inverse(R: Array) -> Array:
    """Inverses (f, b n, b n) of f Hermitian Toeplitz matrices of b x b blocks of n x n, ``T[i, j] = R[i - j]``.

    `R` (b, f, n, n) holds the lags from 0; those below are the adjoints. Levinson's recursion with matrices gives the
    first and the last column X and Z of blocks, and with a shift S by one block

        T^-1 - S T^-1 S^H = X X_0^-1 X^H - (S Z) Z_b^-1 (S Z)^H.

    Sources: Whittle (1963), doi:10.1093/biomet/50.1-2.129; Gohberg & Semencul (1972), Mat. Issled. 7, 201-223.
    """
    b, f, n = R.shape[:3]
    A = np.broadcast_to(np.eye(n, dtype=R.dtype), (1, f, n, n))
    B, zero = A, np.zeros((1, f, n, n), R.dtype)
    forward, backward = R[0], R[0]  # what T times A has in its first block, T times B in its last
    for m in range(1, b):
        over = np.matmul(R[m:0:-1], A).sum(axis=0)
        A, B = np.concatenate([A, zero]), np.concatenate([zero, B])
        gain, back = np.linalg.solve(backward, over), np.linalg.solve(forward, _adjoint(over))
        A, B = A - B @ gain, B - A @ back
        forward, backward = forward - _adjoint(over) @ gain, backward - over @ back
    X, Z = A @ np.linalg.inv(forward), B @ np.linalg.inv(backward)
    Z = np.concatenate([zero, Z[:-1]])
    X, Z = (np.moveaxis(x, 0, 1).reshape(f, b * n, n) for x in (X, Z))
    # X_0 is the inverse of `forward`, and Z_b that of `backward`
    inverse = X @ forward @ _adjoint(X) - Z @ backward @ _adjoint(Z)
    for i in range(n, b * n, n):
        inverse[:, i : i + n, n:] += inverse[:, i - n : i, :-n]
    return inverse


def _adjoint(a: Array) -> Array:
    """Conjugate transposes of the last two axes."""
    return np.conj(np.swapaxes(a, -1, -2))


def _kernel(S: Array, grid: Sequence[int], axis: int) -> Array:
    """Kernel (n, *frequencies of the other axes) along one axis of a symbol on the half spectrum, Hermitian as a whole.

    Of the other axes' frequencies the last axis that remains keeps half.
    """
    return _fft.ifft(np.moveaxis(whole_along(S, grid, axis, np.complex128), axis, 0))


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Holes:
    """Regions inside one frame that were not measured, as `free.Hole`."""

    frame: int
    hole: Hole

    def part(self, a: Array) -> Array:
        """Their pixels of arrays (n, *grid)."""
        return self.hole.part(a[self.frame])

    def solve(self, part: Array, workers: int | None) -> Array:
        """The inverse applied to such a part."""
        return self.hole.solve(part, workers)

    def add(self, a: Array, part: Array) -> None:
        """Add `part` there."""
        self.hole.add(a[self.frame], part)


def _chosen(channels: Sequence[Frames], rule: str, **options: Any) -> tuple[Selection, str]:
    bins = Bins.pooled([frames.bins() for frames in channels])
    return selection.select(bins.curves(bins.lambdas()), rule, **options)


def _check_frames(problems: Sequence[Problem], stages: Sequence[Stage], left: Array) -> None:
    """Warn of frames that are not the same scene with equal noise, by what the scene leaves of each of them."""
    level = np.sqrt(left / len(problems[0].image) / [_measured(stage) for stage in stages])
    own = np.array([estimate_noise_std(p.image, channel_axis=0) for p in problems])
    odd = np.flatnonzero((level > _ODD * np.maximum(own, np.finfo(np.float32).eps * level.max())) & (level > 0))
    if odd.size or level.max() > _ODD * level.min() > 0:
        i = int(odd[0]) if odd.size else int(np.argmax(level))
        warnings.warn(
            f"frame {i} does not fit: {level[i]:.3g} is left of it (rms), {level.min():.3g} of the best, and its own "
            f"noise is about {own[i]:.3g}; its PSF, position, exposure or noise level is not what the others say",
            LsdeblurWarning,
            stacklevel=4,
        )


def _measured(stage: Stage) -> int:
    """Number of a frame's measured pixels, or of the grid's where all of them count."""
    if not stage.free:
        return math.prod(stage.grid)
    return math.prod(stage.shape) if stage.mask is None else int(np.count_nonzero(~stage.mask))
