"""The blur of an image as one of a few families: motion, defocus, Gaussian, Moffat, or motion with defocus."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lsdeblur._methods import Problem, Progress
from lsdeblur._results import PSFEstimate
from lsdeblur._validate import check_choice
from lsdeblur.blind._families import FAMILIES, MAX_LENGTH, Family
from lsdeblur.blind._ripples import Ripples
from lsdeblur.blind._whittle import SMALLEST, Fit, Spectrum, fitted

__all__ = ["parametric"]

_KEPT = 3  # of the first values, refined
_DIRECTIONS = (0.0, 45.0, 90.0, 135.0)


def parametric(
    image: npt.NDArray[np.floating[Any]],
    *,
    families: Sequence[str] = ("motion", "defocus", "gaussian", "elliptical-gaussian", "moffat", "motion+defocus"),
    callback: Callable[[Progress], object] | None = None,
) -> PSFEstimate:
    """Find the family of a blur and its parameters from one image.

    For every family the spectrum of the image's gradient is compared with ``S |H|^2 + N L``
    (`lsdeblur.blind._whittle`): the smooth spectrum S of the scene, the noise N and the parameters of the PSF are the
    likeliest ones together. A blur is known from its zeros, and from a fall of the spectrum that is steeper than a
    scene's. Only differences and windows within the frame are used: nothing is assumed beyond it.

    The family with the lowest score is chosen, ``score = V + k / 2 log n``: V is minus the log of the greatest
    posterior density less that without blur, k the number of the family's parameters and n that of independent values
    in the spectrum (Schwarz 1978, doi:10.1214/aos/1176344136, sec. 1). No blur, "delta", has the score 0.

    Parameters
    ----------
    image : array (rows, columns)
        At least 32 pixels to a side, 256 for the accuracy below.
    families : sequence of str
        Candidates: "motion" (length, angle), "defocus" (radius), "gaussian" (sigma), "elliptical-gaussian" (two sigmas,
        angle), "moffat" (fwhm, beta), "motion+defocus" (length, angle, radius), each as in `lsdeblur.psf`. "delta" is
        always one.
    callback : callable, optional
        Called after each family; `StopIteration` ends the search with those that were fitted.

    Returns
    -------
    PSFEstimate
        `parameters` are those of the chosen family, `scores` those of all. `confidence` is the probability of the
        family among the candidates, ``exp(-score) / sum exp(-score)``: it does not know of other blurs.

    Raises
    ------
    ValueError
        An image of fewer than 32 pixels to a side; an unknown family; no family.

    Notes
    -----
    Lengths up to a quarter of the smaller side, at most 64 pixels, are looked for: reduce the image for wider blurs.
    The width of a Gaussian leaves out what sharp photographs have by themselves, a third of a pixel. Measured on six
    other scenes than the constants were chosen on, 30 cases each (benchmarks/blind_parametric.py --cases 30): the
    family was right for all motions, disks and Gaussians; length and angle were right to 1 pixel and 2 degrees, and
    radii to 5 %, in all; widths to 5 % in 67 % (52 to 63 % in other draws of 25 to 48 cases), to 10 % in most, 20 %
    on bricks: a scene's own fall looks much like a Gaussian's, and its own softness, up to a pixel, adds to the blur's.
    Of sharp scenes, a third were taken for Gaussians of 0.7 pixels or less; Moffats nearly always for Gaussians.

    PSFs that are equal cannot be told apart: a motion by 6 pixels at 4 degrees does not leave its row. Some 1.4 seconds
    of a processor at 512 x 512 pixels.

    Examples
    --------
    >>> import numpy as np
    >>> from lsdeblur import blind, psf, simulate
    >>> scene = np.random.default_rng(0).random((200, 220)).cumsum(0).cumsum(1)
    >>> scene = (scene / scene.max() * 40) % 1 // 0.5
    >>> blurred = simulate.add_noise(simulate.blur(scene, psf.motion(11, 30)), noise_std=0.005, rng=0)
    >>> found = blind.estimate_psf(blurred, method="parametric", families=["motion", "defocus"])
    >>> found.parameters["family"], round(found.parameters["length"]), round(found.parameters["angle"])
    ('motion', 11, 30)
    """
    names = [check_choice(name, FAMILIES, "families") for name in families if name != "delta"]
    if not names:
        raise ValueError(f"families is empty: name some of {', '.join(FAMILIES)}")
    if min(image.shape) < SMALLEST:
        raise ValueError(
            f"image is {image.shape[0]} x {image.shape[1]} pixels: the spectrum of fewer than {SMALLEST} to a side "
            "does not show a blur; give a larger part"
        )
    problem = Problem(image[np.newaxis], None, "free", (1.0, 1.0), callback=callback)
    spectrum = Spectrum.of(image)
    fits = {"delta": fitted(spectrum, FAMILIES["delta"])}
    ripples = Ripples.of(spectrum, fits["delta"])
    converged = True
    for i, name in enumerate(sorted(set(names), key=list(FAMILIES).index)):
        fits[name] = _best(spectrum, FAMILIES[name], _starts(name, spectrum, ripples, fits))
        if name == "motion":
            sides = [fitted(spectrum, FAMILIES[name], q, fits[name]) for q in _beside_axis(*fits[name].q)]
            fits[name] = min([fits[name], *sides], key=_value)
        if not problem.goes_on(i + 1, len(names), min(fit.value for fit in fits.values())):
            converged = len(fits) == len(set(names)) + 1
            break
    sharp = FAMILIES["delta"]  # no worse than a blur of no width: there may be two scenes that explain the noise
    fits["delta"] = min([fits["delta"], *(fitted(spectrum, sharp, (), fit) for fit in fits.values())], key=_value)
    return _chosen(fits, spectrum, converged)


def _best(spectrum: Spectrum, family: Family, starts: Sequence[Sequence[float]]) -> Fit:
    """The best of several fits: each start with its PSF held, then the first and the most likely ones set free.

    The first is what the ripples show most clearly; a few iterations may not yet make it the most likely one.
    """
    first, *others = [fitted(spectrum, family, q, max_iter=6) for q in starts]
    kept = [first, *sorted(others, key=_value)[: _KEPT - 1]]
    best = min((fitted(spectrum, family, fit.q, fit, max_iter=8) for fit in kept), key=_value)
    return fitted(spectrum, family, best.q, best)


def _value(fit: Fit) -> float:
    return fit.value


def _starts(name: str, spectrum: Spectrum, ripples: Ripples, fits: dict[str, Fit]) -> Sequence[Sequence[float]]:
    """First values of a family's parameters; those of several parameters go on from the simpler families."""
    longest = min(MAX_LENGTH, min(spectrum.grid) / 4)
    if name == "motion":
        return ripples.motions(longest, 8)
    if name == "defocus":
        return [*ripples.disks(longest / 2, 4), (0.8,)]
    if name == "gaussian":
        return [(1.6,), (0.4,), (0.8,), (3.2,)]
    width = float(fits["gaussian"].q[0]) if "gaussian" in fits else 1.5
    if name == "elliptical-gaussian":
        return [(0.7 * width, 1.4 * width, angle) for angle in _DIRECTIONS]
    if name == "moffat":
        return [(1.5 * width, 2.0), (2.2 * width, 4.0)]
    return [*_both(ripples.motions(longest, 2), spectrum, fits, longest)]


def _beside_axis(length: float, angle: float) -> Iterator[tuple[float, float]]:
    """The same motion on both sides of an axis it does not leave by a pixel: no derivative shows the angle there."""
    axis, turn = 90.0 * round(angle / 90), math.degrees(1.3 / length)  # half a pixel at the ends, and a little more
    if abs(angle - axis) < turn:
        yield length, axis - turn
        yield length, axis + turn


def _both(
    lines: Sequence[tuple[float, float]], spectrum: Spectrum, fits: dict[str, Fit], longest: float
) -> Iterator[tuple[float, ...]]:
    """First values for motion and defocus together: each as found alone, with what shows of the other beside it."""
    if "motion" in fits:
        line = tuple(fits["motion"].q)
        yield (*line, 0.5)
        yield from ((*line, r) for (r,) in Ripples.of(spectrum, fits["motion"]).disks(longest / 2, 2))
    if "defocus" in fits:
        radius = float(fits["defocus"].q[0])
        yield (1.0, 0.0, radius)
        lines = Ripples.of(spectrum, fits["defocus"]).motions(longest, 3)
        yield from ((*line, radius) for line in lines)
    else:
        yield from ((*line, radius) for line in lines for radius in (1.5, 4.0))


def _chosen(fits: dict[str, Fit], spectrum: Spectrum, converged: bool) -> PSFEstimate:
    sharp, n = fits["delta"].value, float(spectrum.weights.sum())
    scores = {name: fit.value - sharp + fit.q.size / 2 * math.log(n) for name, fit in fits.items()}
    (name, least), *others = sorted(scores.items(), key=lambda item: item[1])
    family, fit = FAMILIES[name], fits[name]
    parameters = {"family": name, **family.describe(fit.q)}
    told = ", ".join(f"{key} {_text(value)}" for key, value in family.describe(fit.q).items())
    message = f"{name}{': ' if told else ''}{told}"
    if others:
        message += f"; next: {others[0][0]}, {others[0][1] - least:.1f} less likely in the logarithm"
    confidence = 1 / sum(math.exp(min(least - score, 0.0)) for score in scores.values())
    return PSFEstimate(
        family.psf(fit.q), "parametric", confidence, message, converged, len(fits), parameters, scores
    )  # fmt: skip


def _text(value: Any) -> str:
    return " x ".join(f"{v:.3g}" for v in np.atleast_1d(value))
