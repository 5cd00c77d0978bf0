"""Slow, obvious oracles for small problems: dense matrices and direct sums. Nothing here uses the library or an FFT.

A PSF's or an operator's origin is pixel ``s // 2`` of every axis; images are matrices' vectors in C order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Shape = Sequence[int]

#: odd and even, wide and tall, 2-D and 3-D, each with an asymmetric PSF of odd, even and mixed size
GRIDS: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
    ((7, 8), (3, 4)),
    ((8, 8), (4, 4)),
    ((9, 7), (5, 3)),
    ((6, 11), (2, 5)),
    ((4, 5, 6), (2, 3, 4)),
]


def image(shape: Shape, seed: int = 0, dtype: npt.DTypeLike = np.float64) -> Array:
    """A random image with values between 0 and 1."""
    return np.random.default_rng(seed).random(shape).astype(dtype)


def psf(shape: Shape, seed: int = 1, dtype: npt.DTypeLike = np.float64) -> Array:
    """A random positive PSF of sum 1 without any symmetry, which catches a flipped convolution."""
    h = 0.1 + np.random.default_rng(seed).random(shape)
    return (h / h.sum()).astype(dtype)


def invertible_psf(shape: Shape, seed: int = 1) -> Array:
    """An asymmetric PSF of sum 1 with ``|H| >= 0.4`` at every frequency: 0.7 of it is its origin."""
    h = 0.3 * psf(shape, seed)
    h[tuple(s // 2 for s in shape)] += 0.7
    return h


def relative_error(actual: Array, expected: Array) -> float:
    """Largest difference over the largest magnitude of what is expected."""
    return float(np.max(np.abs(actual - expected)) / np.max(np.abs(expected)))


# Direct sums.


def _outside(index: Array, n: int, boundary: str) -> Array:
    """Where on an axis of n pixels the scene at `index` is found; -1 where it is black."""
    match boundary:
        case "periodic":
            return index % n
        case "edge":
            return index.clip(0, n - 1)
        case "symmetric":
            folded = index % (2 * n)
            return np.where(folded < n, folded, 2 * n - 1 - folded)
        case "zero":
            return np.where((index >= 0) & (index < n), index, -1)
    raise AssertionError(boundary)


def blur(f: Array, h: Array, boundary: str) -> Array:
    """``g(x) = sum_y h(y) f(x - y)``, y from the PSF's origin; "valid" keeps the x that need nothing from outside."""
    if boundary == "valid":
        g = blur(f, h, "zero")
        return g[tuple(slice(s - 1 - s // 2, n - s // 2) for n, s in zip(f.shape, h.shape, strict=True))]
    g = np.zeros(f.shape)
    for y in np.ndindex(h.shape):
        at = [_outside(np.arange(n) - (i - s // 2), n, boundary) for n, s, i in zip(f.shape, h.shape, y, strict=True)]
        black = np.logical_or.reduce(np.meshgrid(*(a < 0 for a in at), indexing="ij"))
        g += h[y] * np.where(black, 0, f[np.ix_(*at)])
    return g


# Dense matrices on a periodic grid.


def convolution_matrix(h: Array, shape: Shape) -> Array:
    """The matrix of the periodic convolution with a centred PSF, or of any operator given by its impulse response."""
    matrix = np.zeros((np.prod(shape), np.prod(shape)))
    for x in np.ndindex(*shape):
        for y in np.ndindex(h.shape):
            source = [(xi - (yi - s // 2)) % n for xi, yi, s, n in zip(x, y, h.shape, shape, strict=True)]
            matrix[np.ravel_multi_index(x, shape), np.ravel_multi_index(source, shape)] += h[y]
    return matrix


def neighbour_matrix(shape: Shape, axis: int, step: int) -> Array:
    """``(S f)(x) = f(x + step e_axis)``, periodic."""
    indices = np.arange(np.prod(shape)).reshape(shape)
    return np.eye(indices.size)[np.roll(indices, -step, axis).ravel()]


def laplacian_matrix(shape: Shape, spacing: Sequence[float]) -> Array:
    """The negative Laplacian: 5 points in 2-D, 7 in 3-D, each axis over the square of its spacing."""
    eye = np.eye(np.prod(shape))
    return sum(
        (2 * eye - neighbour_matrix(shape, axis, 1) - neighbour_matrix(shape, axis, -1)) / d**2
        for axis, d in enumerate(spacing)
    )


def gradient_matrix(shape: Shape, spacing: Sequence[float]) -> Array:
    """Forward differences along every axis, over its spacing, one below the other."""
    eye = np.eye(np.prod(shape))
    return np.concatenate([(neighbour_matrix(shape, axis, 1) - eye) / d for axis, d in enumerate(spacing)])


def penalty_matrix(penalty: str | Array, shape: Shape, *, tau: float = 0.1, spacing: Any = None) -> Array:
    """The matrix P of ``<f, P f>`` for a penalty's name or an operator's impulse response."""
    if not isinstance(penalty, str):
        operator = convolution_matrix(penalty, shape)
        return operator.T @ operator
    spacing = spacing or (1.0,) * len(shape)
    laplacian, gradient = laplacian_matrix(shape, spacing), gradient_matrix(shape, spacing)
    match penalty:
        case "identity":
            return np.eye(len(laplacian))
        case "gradient":
            return gradient.T @ gradient
        case "laplacian":
            return laplacian.T @ laplacian
        case "laplacian+gradient":
            return laplacian.T @ laplacian + tau * gradient.T @ gradient
    raise AssertionError(penalty)


def tikhonov(K: Array, P: Array, lam: float, g: Array) -> Array:
    """The minimiser of ``||K f - g||^2 + lam <f, P f>`` by the normal equations."""
    return np.linalg.solve(K.T @ K + lam * P, K.T @ g.ravel()).reshape(g.shape)


def wiener(K: Array, noise: Array, signal: Array, g: Array) -> Array:
    """The linear estimate of least expected error for covariances N and S: ``S K' (K S K' + N)^-1 g``."""
    return (signal @ K.T @ np.linalg.solve(K @ signal @ K.T + noise, g.ravel())).reshape(g.shape)


def truncated_inverse(K: Array, threshold: float, g: Array) -> Array:
    """The pseudo-inverse that keeps singular values above `threshold` times their largest one for a positive PSF."""
    return (np.linalg.pinv(K, rcond=threshold) @ g.ravel()).reshape(g.shape)


def curves(K: Array, P: Array, lam: float, g: Array) -> dict[str, float]:
    """What `lsdeblur.spectrum.Curves` holds, at one lambda, from matrices.

    For `logdet` the null space of P (the constants, where it has one) is projected out.
    """
    y, normal = g.ravel(), K.T @ K + lam * P
    f = np.linalg.solve(normal, K.T @ y)
    eigenvalues, vectors = np.linalg.eigh(P)
    seen = vectors[:, eigenvalues > 1e-10 * eigenvalues[-1]]
    logdets = [np.linalg.slogdet(seen.T @ matrix @ seen)[1] for matrix in (normal, lam * P)]
    return {
        "residual": float(np.sum((K @ f - y) ** 2)),
        "seminorm": float(f @ P @ f),
        "slope": float(-2 * f @ P @ np.linalg.solve(normal, P @ f)),  # d f / d lam = -normal^-1 P f
        "dof": float(np.trace(K @ np.linalg.solve(normal, K.T))),
        "logdet": float(logdets[0] - logdets[1]),
        "n_obs": float(y.size),
        "n_seen": float(seen.shape[1]),
    }
