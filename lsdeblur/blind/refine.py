"""A better PSF from an approximate one, for ordinary scenes: first its shape as a whole, then its pixels.

A PSF that is guessed is wrong in few ways: its length, angle, radius, its softness. Those are found first, as the
affine map and the softening or sharpening of the guess with which the image is likeliest, and only then single pixels
are fitted, by least squares on the image and the PSF in turn. From the guess itself that alternation goes astray: a PSF
that is 2 pixels too long leaves ripples in the image, and they fit the same PSF.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from lsdeblur._kernels import written_out
from lsdeblur._methods import Problem, Progress
from lsdeblur._results import PSFEstimate
from lsdeblur._validate import check_size
from lsdeblur.blind._kernel import fitted_psf, padded, pruned
from lsdeblur.errors import LsdeblurWarning
from lsdeblur.filters import power
from lsdeblur.iterative.total_variation import total_variation
from lsdeblur.noise import _leaked, _whittle, _windowed, hann
from lsdeblur.spectrum import hermitian_weights, symbol, transfer_function

__all__ = ["Likelihood", "alternating", "warped"]

Array = npt.NDArray[Any]

_PART = 512  # pixels a side of the central part that is looked at
_SAMPLES = 16384  # frequencies
_SPREAD = np.array([0.12, 0.12, 0.12, 0.12, 0.6])  # prior standard deviations of the map's logarithm and the softness
_PULL = 0.01  # their weight, in nats a frequency: what the model of the scene misses does not average out
_STEPS = np.array([0.08, 0.08, 0.08, 0.08, 0.4])  # the first simplex
_EVALUATIONS = 250
# Nats a frequency that the likelihood must gain: right PSFs gain up to 0.05, where the scene's spectrum is not that of
# the model (28 cases: 7 PSFs, 4 scenes; one of them 0.06); PSFs wrong in length, angle or radius 0.08 to 0.4.
_GAIN = 0.05
_LIGHT = 0.3  # of the automatic strength of total variation
_NEAR, _FIT = 0.01, 15  # pull to the warped PSF, and iterations of the fit


def alternating(
    image: npt.NDArray[np.floating[Any]],
    psf: npt.NDArray[np.floating[Any]],
    *,
    rounds: int = 3,
    workers: int | None = None,
    callback: Callable[[Progress], object] | None = None,
) -> PSFEstimate:
    """A better PSF from one that is nearly right, for scenes of any kind.

    1. The guess h is warped: ``h_p(x) = h(exp(-M) x)``, then convolved with a Gaussian of s pixels, or for s < 0
       sharpened, ``h_p - s^2/2 Laplacian h_p``; p = (M, s) minimises ``-log L(h_p) / n + 0.01 sum (p / p_0)^2`` with
       the likelihood L of `Likelihood` and p_0 = 0.12 for the four elements of M, 0.6 for s (Nelder and Mead).
    2. `rounds` times: the image by light total variation (0.3 of the automatic strength, free boundary), then the PSF
       by least squares on the gradients at the pixels whose neighbourhood was observed, non-negative, of sum 1, and
       drawn to that of step 1 (`lsdeblur.blind._kernel`).

    Parameters
    ----------
    image : array (rows, columns)
        Its central part of at most 512 pixels a side is used.
    psf : array (rows, columns)
        The guess, its centre at ``s // 2``: up to some 20 % wrong in its size, 10 degrees in its angle. The result is
        larger by an eighth, at least two pixels, at every side.
    rounds : int >= 1
    workers : int, optional
    callback : callable, optional
        Called after step 1 and each round of step 2; `StopIteration` ends the run with the PSF so far.

    Returns
    -------
    PSFEstimate
        `scores` has minus the log-likelihood in nats a frequency, for the guess ("psf"), the "warped" and the
        "alternated" PSF. Where the warped one does not gain 0.05 on the guess, the guess is kept: so much the misfit of
        the scene's model can feign. The alternated PSF is taken unless it loses half of the gain. `confidence` is
        gain / (gain + 0.05). `parameters` has M as "map" (rows, columns) and s as "softness".

    Notes
    -----
    The likelihood sees the moduli of the transfer function: what cannot be seen in them, a PSF's place or its mirror
    image, stays as it was. Isotropic softness resembles a smoother scene, so a Gaussian's width is told less
    surely than a length or an angle, and small errors of it are left.

    References
    ----------
    P. Whittle (1953), Ark. Mat. 2, 423-434, doi:10.1007/BF02590998 (the likelihood); R. Molina, A. K. Katsaggelos &
    J. Mateos (1999), IEEE Trans. Image Process. 8, 231-246, doi:10.1109/83.743857 (the evidence for parameters of a
    restoration); J. A. Nelder & R. Mead (1965), Comput. J. 7, 308-313, doi:10.1093/comjnl/7.4.308.
    """
    count = check_size(rounds, 1, "rounds")[0]
    g = image[tuple(slice((n - min(n, _PART)) // 2, (n + min(n, _PART)) // 2) for n in image.shape)]
    problem = Problem(g[np.newaxis], None, "free", (1.0, 1.0), workers, None, callback)
    margins = [min(max(2, s // 8), (n - 2 * (s // 2) - 1) // 2) for s, n in zip(psf.shape, g.shape, strict=True)]
    h0 = padded(psf / psf.sum(), [2 * (s // 2 + m) + 1 for s, m in zip(psf.shape, margins, strict=True)])
    likelihood = Likelihood(g, workers)
    p = _likeliest(likelihood, h0)
    warp = warped(h0, p)
    scores = {"psf": likelihood(h0), "warped": likelihood(warp)}
    gain = scores["psf"] - scores["warped"]
    history: list[dict[str, Any]] = [{"psf": warp, "shape": g.shape, "objective": scores["warped"]}]
    if gain < _GAIN:
        message = (
            f"no PSF of this form is clearly likelier than the one given ({gain:.3f} nats a frequency): it is kept"
        )
        return PSFEstimate(psf, "alternating", 0.0, message, False, 1, scores=scores, history=tuple(history))
    h, goes_on = warp, problem.goes_on(1, count + 1, scores["warped"])
    lam: float | str = "auto"
    while goes_on and len(history) <= count:
        scene, lam = _light(problem, h, lam)
        h = _fitted(scene, g, h, warp, workers)
        history.append({"psf": h, "shape": g.shape, "objective": likelihood(h)})
        goes_on = problem.goes_on(len(history), count + 1, history[-1]["objective"])
    if len(history) > 1:
        scores["alternated"] = history[-1]["objective"]
    best = h if scores["psf"] - history[-1]["objective"] > gain / 2 else warp
    how = "warped" if best is warp else "warped and fitted"
    ending = "" if goes_on else "; ended by the caller"
    message = f"{gain:.2f} nats a frequency likelier than the PSF given, {how}{ending}"
    parameters = {"map": p[:4].reshape(2, 2), "softness": float(p[4])}
    return PSFEstimate(
        best, "alternating", gain / (gain + _GAIN), message, goes_on, len(history), parameters, scores, tuple(history)
    )


class Likelihood:
    """Minus the log-likelihood of an image for a PSF, in nats a frequency; lower is better.

    The windowed image's spectrum is taken for independent Gaussian values of power ``W(S |H|^2 / P) + N``, with
    Tikhonov's penalty P, what the window makes of a spectrum W, and the levels S and N chosen for each PSF. Up to
    16384 frequencies are looked at.
    """

    def __init__(self, image: Array, workers: int | None = None) -> None:
        self._grid, self._workers, self._dtype = image.shape, workers, image.dtype
        self._P = written_out(symbol("laplacian+gradient", image.shape, dtype=image.dtype))
        rng = np.random.default_rng(0)  # the same frequencies in every call
        index = np.flatnonzero(self._P)
        self._index = index if index.size <= _SAMPLES else np.sort(rng.choice(index, _SAMPLES, replace=False))
        E = power(_windowed(image, hann(image.shape, image.dtype)).ravel()[self._index]).astype(np.float64)
        self._E = E / E.mean()
        weights = np.broadcast_to(hermitian_weights(image.shape), self._P.shape).ravel()[self._index]
        self._share = weights / weights.sum()

    def __call__(self, h: Array) -> float:
        H = transfer_function(h.astype(self._dtype), self._grid, workers=self._workers)
        scene = np.divide(power(H), self._P, out=np.zeros_like(self._P), where=self._P > 0)
        s = _leaked(scene, self._grid, self._index)
        return float(_whittle(s / s.mean(), self._E, self._share)[0])


def warped(h: Array, p: npt.ArrayLike) -> Array:
    """``h(exp(-M) x)`` about the centre, softened by a Gaussian of s pixels or for s < 0 sharpened; of sum 1.

    Parameters
    ----------
    h : array (rows, columns)
    p : the four elements of M (rows, columns), and s. Zeros leave h as it is.
    """
    parameters = np.asarray(p, float)
    if parameters[:4].any():
        A = _exponential(-parameters[:4].reshape(2, 2))
        center = np.array([n // 2 for n in h.shape])
        h = np.maximum(ndimage.affine_transform(h, A, center - A @ center, order=3), 0)
    s = parameters[4]
    if s > 0:
        h = ndimage.gaussian_filter(h, s, mode="constant")
    elif s < 0:
        h = np.maximum(h - s**2 / 2 * ndimage.laplace(h, mode="constant"), 0)
    total = h.sum()
    return h / total if total > 0 else np.full(h.shape, 1 / h.size)


def _exponential(M: Array) -> Array:
    """``exp(M)`` of a small matrix, by its series: SciPy's takes as long as the likelihood."""
    A = term = np.eye(len(M))
    for n in range(1, 30):
        term = term @ M / n
        A = A + term
    return A


def _likeliest(likelihood: Likelihood, h: Array) -> npt.NDArray[np.float64]:
    """The parameters of `warped` with the least minus log-likelihood and pull."""
    from scipy.optimize import minimize

    simplex = np.vstack([np.zeros(5), np.diag(_STEPS)])
    options = {"initial_simplex": simplex, "maxfev": _EVALUATIONS, "xatol": 3e-3, "fatol": 1e-5}

    def objective(p: Array) -> float:
        return likelihood(warped(h, p)) + _PULL * float(np.sum((p / _SPREAD) ** 2))

    return np.asarray(minimize(objective, np.zeros(5), method="Nelder-Mead", options=options).x)


def _light(problem: Problem, h: Array, lam: float | str) -> tuple[Array, float | str]:
    """The image by light total variation, and its strength: 0.3 of the automatic one, found where `lam` is "auto"."""
    posed = Problem(problem.image, h[np.newaxis].astype(problem.image.dtype), "free", problem.spacing, problem.workers)
    options: dict[str, Any] = {"tol": 1e-2, "max_iter": 60}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LsdeblurWarning)  # an image on the way, with a PSF that is not right yet
        if isinstance(lam, str):
            found = total_variation(posed, **options)
            if found.lam is None:  # no noise: nothing to smooth
                return found.image[0], lam
            lam = _LIGHT * found.lam
        return total_variation(posed, lam=lam, **options).image[0], lam


def _fitted(scene: Array, g: Array, h: Array, h0: Array, workers: int | None) -> Array:
    """The PSF that blurs the scene into g where nothing from beyond the frame takes part, near h0."""
    observed = np.zeros(g.shape, bool)
    observed[tuple(slice(s // 2 + 1, -(s // 2) - 1) for s in h.shape)] = True
    if not observed.any():
        return h
    return pruned(fitted_psf(scene, g, h, prior=h0, measured=observed, mu=_NEAR, max_iter=_FIT, workers=workers))
