"""A better PSF from an approximate one, for ordinary scenes: first its shape as a whole, then its pixels.

A PSF that is guessed is wrong in few ways: its length, angle, radius, its softness. Those are found first, as the
affine map and the softening or sharpening of the guess with which the image's power spectrum is likeliest
(`lsdeblur.blind._whittle`), and only then single pixels are fitted, by least squares on the image and the PSF in turn,
as long as the spectrum becomes likelier. From the guess itself that alternation goes astray: a PSF that is 2 pixels too
long leaves ripples in the image, and they fit the same PSF.

What was tried and is worse: a scene of the fixed spectrum of Tikhonov's penalty (right PSFs gain up to 0.05 nats a
frequency by what that misses, as much as PSFs that are a pixel too long, and lost up to 5 dB; here it is 0.009); the
map alone (a thin line has no width by which to tell all of it); pixels fitted without asking the spectrum (after the
second round it is often less likely, and the restoration worse); lighter total variation (the noise that it leaves fits
a sharper PSF).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from lsdeblur._methods import Problem, Progress
from lsdeblur._results import PSFEstimate
from lsdeblur._validate import check_size
from lsdeblur.blind._families import Family
from lsdeblur.blind._psf_fit import fitted_psf, padded, pruned
from lsdeblur.blind._whittle import Fit, Spectrum, fitted, unlikeliness
from lsdeblur.errors import LsdeblurWarning
from lsdeblur.iterative.total_variation import total_variation

__all__ = ["alternating", "warped"]

Array = npt.NDArray[Any]

_PART, _TILE = 512, 256  # pixels a side of the central part that is looked at, and of the spectrum's tiles
_FITTED = 256  # and, with the PSF's own size, of the part by which its pixels are fitted
_SMALLEST = 16
_STEP, _SOFTEN = 0.5, 0.25  # pixels at the PSF's edge, and squared pixels, that change it by about as much
_ASIDE = 0.15  # of size (15 %) and angle (9 degrees)
_MOST, _SHARPEST, _SOFTEST = 0.4, 1.0, 4.0  # of the map's logarithm; squared pixels
_SIZE, _TURN = np.array([1.0, 0, 0, 1, 0]), np.array([0, -1.0, 1, 0, 0])
_KINDS = {  # of warps: what each may change, as combinations of the parameters of `warped`
    "softness": np.eye(5)[4:],
    "size": np.array([_SIZE]),
    "angle": np.array([_TURN]),
    "size and angle": np.array([_SIZE, _TURN]),
    "map": np.eye(5)[:4],
    "map and softness": np.eye(5),
}
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

    1. The guess h is warped: ``h_p(x) = h(exp(-M) x)``, its variance raised by v; p = (M, v) is found together with
       the scene's and the noise's spectrum (`lsdeblur.blind._whittle`), for six kinds of warps: of v, the size, the
       angle, size and angle, all of M, and all of p. Each has the score ``V + (k + 1) / 2 log n``: V is minus the log
       of the greatest posterior density less that of the guess, k the number of parameters and n that of independent
       values in the spectrum (Schwarz 1978, doi:10.1214/aos/1176344136, sec. 1), and one more is paid for leaving the
       guess, whose score is 0.
    2. From the PSF of the lowest score, up to `rounds` times and as long as the score falls: the image by total
       variation (free boundary), then the PSF by least squares on the gradients at the
       pixels whose neighbourhood was observed, non-negative, of sum 1, and drawn to that of step 1
       (`lsdeblur.blind._psf_fit`). "pixels" is the score of the best.

    Parameters
    ----------
    image : array (rows, columns)
        At least 16 pixels to a side; its central part of at most 512 pixels a side is used.
    psf : array (rows, columns)
        The guess, its centre at ``s // 2``: up to some 20 % wrong in its size, 10 degrees in its angle; smaller than
        the image and than 256 pixels. The result is larger by an eighth, at least two pixels, at every side.
    rounds : int >= 1
    workers : int, optional
    callback : callable, optional
        Called after step 1 and each round of step 2; `StopIteration` ends the run with the best PSF so far.

    Returns
    -------
    PSFEstimate
        `scores` are those above; the PSF of the lowest is taken, which may be the guess ("psf"). `confidence` is the
        probability that it is not, ``1 - 1 / sum exp(-score)``. `parameters` has M as "map" (rows, columns) and v,
        squared pixels, as "softness". `converged` is False where the guess is kept or the caller ended the run.

    Raises
    ------
    ValueError
        An image of fewer than 16 pixels to a side, or a PSF as large as the image or 256 pixels.

    Notes
    -----
    The spectrum shows the moduli of the transfer function: what cannot be seen in them, a PSF's place or its mirror
    image, stays as it was. A scene's own softness resembles that of a PSF, so small errors of a Gaussian's width, or of
    the softness of another PSF, are left. Measured on 4 scenes (benchmarks/refine.py): right PSFs were kept in all of
    40 cases; motions and disks that were a pixel, 5 degrees or an eighth wrong came back to within 0.04 to 0.8 dB of
    what the true one restores (means), of 1.7 to 6 dB lost. Of 16 PSFs from "gradient-prior", which its own criterion
    finds likeliest already, 13 were kept; three gained 0.05 to 0.9 dB. Some 3 seconds of a processor for 512 x 512
    pixels, half of one for step 1.

    References
    ----------
    P. Whittle (1953), Ark. Mat. 2, 423-434, doi:10.1007/BF02590998 (the likelihood); R. Molina, A. K. Katsaggelos &
    J. Mateos (1999), IEEE Trans. Image Process. 8, 231-246, doi:10.1109/83.743857 (the evidence for parameters of a
    restoration).
    """
    count = check_size(rounds, 1, "rounds")[0]
    g = _central(image, (_PART, _PART))
    _check_sizes(g.shape, psf.shape)
    h0 = _with_margins(psf / psf.sum(), g.shape)
    spectrum = Spectrum.of(g)
    n = float(spectrum.weights.sum())
    fits = _fits(spectrum, h0)
    guess = fits["psf"][0].value
    price = {name: (fit.q.size + (name != "psf")) / 2 * math.log(n) for name, (fit, _) in fits.items()}
    scores = {name: fit.value - guess + price[name] for name, (fit, _) in fits.items()}
    kind = min(scores, key=scores.__getitem__)
    p = fits[kind][1]
    start = h = h0 if kind == "psf" else warped(h0, p)
    part = _central(g, tuple(_FITTED + s for s in h.shape))
    problem = Problem(part[np.newaxis], None, "free", (1.0, 1.0), workers, None, callback)
    history: list[dict[str, Any]] = [{"psf": h, "shape": part.shape, "objective": scores[kind]}]
    lam: float | str = "auto"
    goes_on = problem.goes_on(1, count + 1, scores[kind])
    while goes_on and len(history) <= count and history[-1] is min(history, key=_objective):
        scene, lam = _restored(problem, h, lam)
        h = _fitted(scene, part, h, start, workers)
        score = n * unlikeliness(spectrum, h) - guess + (price[kind] or math.log(n) / 2)
        scores["pixels"] = min(score, scores.get("pixels", score))
        history.append({"psf": h, "shape": part.shape, "objective": score})
        goes_on = problem.goes_on(len(history), count + 1, score)
    return _chosen(psf, kind, p, scores, history, goes_on)


def _central(image: Array, size: tuple[int, ...]) -> Array:
    """The central part of at most this size."""
    return image[
        tuple(slice((n - min(n, m)) // 2, (n + min(n, m)) // 2) for n, m in zip(image.shape, size, strict=True))
    ]


def _check_sizes(shape: tuple[int, ...], size: tuple[int, ...]) -> None:
    if min(shape) < _SMALLEST:
        raise ValueError(
            f"image is {shape[0]} x {shape[1]} pixels: fewer than {_SMALLEST} to a side do not show a PSF; give a "
            "larger part, or use the PSF as it is"
        )
    if any(s >= min(n, _TILE) for s, n in zip(size, shape, strict=True)):
        raise ValueError(
            f"psf is {size[0]} x {size[1]} pixels: it must be smaller than the image ({shape[0]} x {shape[1]}) and "
            f"than {_TILE}; crop it around its centre, or give a larger image"
        )


def _chosen(
    psf: Array, kind: str, p: Array, scores: dict[str, float], history: list[dict[str, Any]], goes_on: bool
) -> PSFEstimate:
    """The PSF of the lowest score: the one given, its warp of this kind, or that with its pixels fitted."""
    best = min(scores, key=scores.__getitem__)
    ending = "" if goes_on else "; ended by the caller"
    if best == "psf":
        message = f"nothing is clearly likelier than the PSF given: it is kept{ending}"
        return PSFEstimate(psf, "alternating", 0.0, message, False, len(history), scores=scores, history=tuple(history))
    changed = [name for name in (kind, best) if name != "psf"]
    message = (
        f"{-scores[best]:.1f} likelier in the logarithm than the PSF given, by {' and '.join(dict.fromkeys(changed))}"
    )
    confidence = 1 - 1 / sum(math.exp(min(-score, 700.0)) for score in scores.values())
    parameters = {"map": p[:4].reshape(2, 2), "softness": float(p[4])}
    h = history[0]["psf"] if best == kind else min(history[1:], key=_objective)["psf"]
    return PSFEstimate(
        h, "alternating", confidence, message + ending, goes_on, len(history), parameters, scores, tuple(history)
    )


def _with_margins(h: Array, shape: tuple[int, ...]) -> Array:
    """Room for a larger PSF: an eighth, at least two pixels, at every side, if the image is so large."""
    margins = [
        min(max(2, s // 8), (min(n, _TILE) - 2 - 2 * (s // 2)) // 2) for s, n in zip(h.shape, shape, strict=True)
    ]
    return padded(h, [2 * (s // 2 + m) + 1 for s, m in zip(h.shape, margins, strict=True)])


def _objective(step: dict[str, Any]) -> float:
    return float(step["objective"])


def warped(h: Array, p: npt.ArrayLike) -> Array:
    """``h(exp(-M) x)`` about the centre, its variance raised by v squared pixels along every axis; of sum 1.

    v > 0 softens, by the heat equation in explicit steps of 1/4 at the most; v < 0 sharpens, ``h - |v|/2 Laplacian h``
    without what is negative.

    Parameters
    ----------
    h : array (rows, columns)
    p : the four elements of M (rows, columns), and v. Zeros leave h as it is.
    """
    parameters = np.asarray(p, float)
    if parameters[:4].any():
        A = _exponential(-parameters[:4].reshape(2, 2))
        center = np.array([n // 2 for n in h.shape])
        h = np.maximum(ndimage.affine_transform(h, A, center - A @ center, order=3), 0)
    v = parameters[4]
    steps = max(1, math.ceil(4 * v))
    for _ in range(steps):
        h = h + v / (2 * steps) * ndimage.laplace(h, mode="constant")
    h = np.maximum(h, 0)
    total = h.sum()
    return h / total if total > 0 else np.full(h.shape, 1 / h.size)


def _exponential(M: Array) -> Array:
    """``exp(M)`` of a small matrix, by its series: SciPy's takes as long as the likelihood."""
    A = term = np.eye(len(M))
    for n in range(1, 30):
        term = term @ M / n
        A = A + term
    return A


def _fits(spectrum: Spectrum, h: Array) -> dict[str, tuple[Fit, Array]]:
    """For h as it is and for each kind of warp: scene, noise and warp together, and the parameters of `warped`.

    Each kind starts from the best of those it contains, and those of one parameter from both sides as well.
    """
    given = Family(lambda: (h,), (), (), lambda q: np.zeros(0), lambda q: {})
    fits = {"psf": (fitted(spectrum, given), np.zeros(5))}
    for name, basis in _KINDS.items():
        family, inverse = _warps(h, basis), np.linalg.pinv(basis)
        within = [(fit, p @ inverse) for fit, p in fits.values() if np.allclose(p @ inverse @ basis, p)]
        start, q = min(within, key=lambda pair: pair[0].value)
        starts = [q, q - _ASIDE, q + _ASIDE] if name in ("size", "angle") else [q]
        fit = min((fitted(spectrum, family, q, start) for q in starts), key=lambda fit: fit.value)
        fits[name] = fit, fit.q @ basis
    return fits


def _warps(h: Array, basis: Array) -> Family:
    """The PSFs ``warped(h, q @ basis)``."""
    soft = basis[:, 4] != 0
    units = np.where(soft, _SOFTEN, _STEP / max(max(h.shape) // 2, 1))
    lowest, highest = np.where(soft, -_SHARPEST, -_MOST), np.where(soft, _SOFTEST, _MOST)
    return Family(
        lambda *q: (warped(h, np.array(q) @ basis),), tuple(lowest), tuple(highest), lambda q: units, lambda q: {}
    )


def _restored(problem: Problem, h: Array, lam: float | str) -> tuple[Array, float | str]:
    """The image by total variation, and its strength: the automatic one, found where `lam` is "auto"."""
    posed = Problem(problem.image, h[np.newaxis].astype(problem.image.dtype), "free", problem.spacing, problem.workers)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LsdeblurWarning)  # an image on the way, with a PSF that is not right yet
        found = total_variation(posed, lam=lam, tol=1e-2, max_iter=60)
    return found.image[0], lam if found.lam is None else found.lam  # None without noise: nothing to smooth


def _fitted(scene: Array, g: Array, h: Array, h0: Array, workers: int | None) -> Array:
    """The PSF that blurs the scene into g where nothing from beyond the frame takes part, near h0."""
    observed = np.zeros(g.shape, bool)
    observed[tuple(slice(s // 2 + 1, -(s // 2) - 1) for s in h.shape)] = True
    if not observed.any():
        return h
    return pruned(fitted_psf(scene, g, h, prior=h0, measured=observed, mu=_NEAR, max_iter=_FIT, workers=workers))
