"""A PSF of any form from one image, by the sparseness of gradients: camera shake above all."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from lsdeblur._methods import Problem, Progress
from lsdeblur._results import PSFEstimate
from lsdeblur.blind._alternation import alternated, resized
from lsdeblur.blind._psf_fit import similarity
from lsdeblur.blind._whittle import SMALLEST, Spectrum, unlikeliness

__all__ = ["cost", "gradient_prior"]

Array = npt.NDArray[Any]

_SIZES = (9, 13, 19, 27, 39, 55, 79, 111)  # pixels, tried by "auto"
_LAMS = (8e-3, 2.5e-2, 8e-2)  # for an image of standard deviation `_CONTRAST`
_CONTRAST = 0.2236
_LOWEST = 8.0  # lambda falls to this part of itself,
_FALL = 1.1  # by this factor a round
_ROUNDS = 3  # at each scale
_STEP = math.sqrt(0.5)  # from one scale to the next
_HALFWAY = 0.5  # scale at which candidates are compared first
_FINALISTS = 3
_LARGEST = 0.3  # of the smaller side: a PSF of more leaves too little of the scene
_PRICE = 8.0  # of a pixel of the PSF, in pixels of the image
_POLISH = (1e-3, 3e-4)  # lambdas of the last rounds
_MARGIN = 3
_RIM = 0.02  # share of the light on the outermost pixels; PSFs that were found whole had half of that at the most
_WINDOW = 512  # pixels to a side of the part that is looked at


def gradient_prior(
    image: npt.NDArray[np.floating[Any]],
    *,
    size: int | str = "auto",
    callback: Callable[[Progress], object] | None = None,
) -> PSFEstimate:
    """Find a PSF of any form.

    A sharp image has few gradients that are not zero. So image and PSF are found in turn, from coarse to fine scales,

        f = argmin ||h * f - y||^2 + lam #{grad f != 0},    h = argmin_{h >= 0} ||h * grad f - grad y||^2,

    for several strengths lam and sizes of the PSF. Which of these end well depends on the scene; the PSF is chosen
    whose transfer function explains best the power spectrum of y (`lsdeblur.blind._whittle`, a likelihood that knows
    nothing of the sparseness by which the candidates were found), at half scale first and then among the best in full.

    Parameters
    ----------
    image : array (rows, columns)
        At least 32 pixels to a side; 200 and more with some edges in all directions for a good PSF. Of a large image
        the 512 x 512 pixels with the most edges are used.
    size : int or "auto"
        Pixels to a side of the square that holds the PSF, odd and at least 3; "auto" tries 9 to 111, up to
        0.3 of the smaller side. A square that is twice as wide as the blur does no harm, one much wider does.
    callback : callable, optional
        Called after each candidate; `StopIteration` ends the search with the best so far.

    Returns
    -------
    PSFEstimate
        `confidence` is the correlation (0..1) of the chosen PSF with the nearest of the other two finalists: where it
        is below 0.55, the image hardly determines the PSF. `scores` are those of the candidates, `history` has an entry
        for each scale, "psf" and "shape" (of the image there).

    Raises
    ------
    TypeError, ValueError
        `size` is no odd number from 3 to the image's smaller side, or the image has fewer than 32 pixels to a side.

    Notes
    -----
    Scale and brightness of the image do not matter. It should be linear in light, uniformly blurred, and not saturated.
    Some 2.5 seconds for 256 x 256 pixels on one processor, 15 for 512 x 512 and more.

    References
    ----------
    Xu, Zheng and Jia 2013, doi:10.1109/CVPR.2013.147 (the penalty and the scales); Cho and Lee 2009,
    doi:10.1145/1618452.1618491, eq. (8) (the PSF from gradients); Levin, Weiss, Durand and Freeman 2011,
    doi:10.1109/TPAMI.2011.148 (why the power spectrum and not the cost of f should judge).

    Examples
    --------
    >>> import numpy as np
    >>> from lsdeblur import blind, psf, simulate
    >>> rng = np.random.default_rng(0)
    >>> scene = np.kron(rng.random((20, 20)), np.ones((9, 9)))
    >>> blurred = simulate.blur(scene, psf.motion(7, 20), boundary="valid")
    >>> found = blind.estimate_psf(blurred, size=9)
    >>> found.psf.shape
    (9, 9)
    """
    image = _standardised(image)
    problem = Problem(image[np.newaxis], None, "free", (1.0, 1.0), callback=callback)
    runs = [Run.begin(s, lam) for s in _sizes(size, image.shape) for lam in _LAMS]
    total = len(runs) + _FINALISTS
    begun, first = _compared(runs, image, _HALFWAY, problem, (0, total))
    finalists = begun[: _FINALISTS if first else 1]
    finalists, last = _compared(finalists, image, 1.0, problem if first else None, (len(runs), total))
    best, *others = _polished(finalists, image)
    confidence = max((similarity(best.psf, run.psf) for run in others), default=0.5)
    rim = 1 - float(best.psf[1:-1, 1:-1].sum() / best.psf.sum())
    wider = f"; {rim:.0%} of its light lies on its rim: it may be wider, give size=" if rim > _RIM else ""
    return PSFEstimate(
        best.psf,
        "gradient-prior",
        confidence,
        f"a PSF of {len(best.psf)} x {len(best.psf)} pixels, the best of {len(begun)} candidates; "
        f"its correlation with the nearest of the other finalists is {confidence:.2f}{wider}",
        converged=first and last,
        n_iter=best.rounds,
        scores={f"{run.size} pixels, lambda {run.lam:g}": run.score for run in begun},
        history=tuple(best.history),
    )


def _compared(
    runs: Sequence[Run], image: Array, scale: float, problem: Problem | None, count: tuple[int, int]
) -> tuple[list[Run], bool]:
    """Those that were brought to a scale, the likeliest first, and False if the callback ended that."""
    part = reduced(image, scale)
    spectrum, goes_on = Spectrum.of(part), True
    for i, run in enumerate(runs, start=1):
        run.advance(image, scale)
        run.score += cost(spectrum, run.psf, part.size)
        goes_on = problem is None or problem.goes_on(count[0] + i, count[1], run.score)
        if not goes_on:
            break
    return sorted(runs[:i], key=lambda run: run.score), goes_on


def _polished(runs: Sequence[Run], image: Array) -> list[Run]:
    """In full, with smaller and smaller lambdas where that makes the PSF likelier; the likeliest first."""
    spectrum = Spectrum.of(image)
    for run in runs:
        run.score = cost(spectrum, run.psf, image.size)
        h = run.psf
        for lam in _POLISH:
            h = alternated(image, trimmed(h), [lam] * _ROUNDS)
            if (value := cost(spectrum, h, image.size)) < run.score:
                run.psf, run.score = h, value
                run.history.append({"psf": h, "shape": image.shape})
                run.rounds += _ROUNDS
    return sorted(runs, key=lambda run: run.score)


def cost(spectrum: Spectrum, h: Array, pixels: int) -> float:
    """How unlikely a PSF is by the image's spectrum, and a price for its effective pixels, exp(entropy)."""
    lit = h[h > 0]
    return unlikeliness(spectrum, h) + _PRICE * math.exp(-float((lit * np.log(lit)).sum())) / pixels


def trimmed(h: Array) -> Array:
    """Without empty borders but three pixels; a square of odd size."""
    middle = len(h) // 2
    reach = int(np.abs(np.argwhere(h > 0) - middle).max()) + _MARGIN
    return h[middle - reach : middle + reach + 1, middle - reach : middle + reach + 1] if reach < middle else h


def _sizes(size: int | str, shape: tuple[int, ...]) -> list[int]:
    if size == "auto":
        return [s for s in _SIZES if s <= _LARGEST * min(shape)]
    if not isinstance(size, (int, np.integer)):
        raise TypeError(f"size must be an odd number of pixels or 'auto', not {size!r}")
    s = int(size)
    if s % 2 == 0 or not 3 <= s <= min(shape):
        raise ValueError(
            f"size must be an odd number of pixels from 3 to the image's smaller side ({min(shape)}), not {size!r}"
        )
    return [s]


def _standardised(image: Array) -> Array:
    """The busiest window of an image, float32, of mean 0 and standard deviation `_CONTRAST`."""
    if min(image.shape) < SMALLEST:
        raise ValueError(
            f"image is {image.shape[0]} x {image.shape[1]} pixels: fewer than {SMALLEST} to a side do not show a PSF; "
            "give a larger part"
        )
    part = image[_busiest(image)]
    part = (part - part.mean(dtype=np.float64)).astype(np.float32)
    return part * np.float32(_CONTRAST / max(float(part.std(dtype=np.float64)), 1e-30))


def _busiest(image: Array) -> tuple[slice, ...]:
    """The window with the largest sum of absolute slopes."""
    size = [min(n, _WINDOW) for n in image.shape]
    if tuple(size) == image.shape:
        return (slice(None), slice(None))
    slopes = np.abs(np.diff(image, axis=0)[:, :-1]) + np.abs(np.diff(image, axis=1)[:-1])
    sums = np.pad(slopes.astype(np.float64).cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    places = (np.arange(0, n - s, _WINDOW // 16) for n, s in zip(image.shape, size, strict=True))
    rows, columns = (np.append(p, n - s) for p, n, s in zip(places, image.shape, size, strict=True))
    low, left = np.ix_(rows, columns)
    high, right = low + size[0] - 1, left + size[1] - 1
    busy = sums[high, right] - sums[low, right] - sums[high, left] + sums[low, left]
    i, j = np.unravel_index(np.argmax(busy), busy.shape)
    return (slice(rows[i], rows[i] + size[0]), slice(columns[j], columns[j] + size[1]))


@dataclass(slots=True)
class Run:
    """A candidate: its PSF's size in full and strength, the scales still to come, and where it has got to."""

    size: int
    lam: float
    scales: list[tuple[int, float]]
    psf: Array
    rounds: int = 0
    score: float = 0.0
    history: list[Mapping[str, Any]] = field(default_factory=list)

    @classmethod
    def begin(cls, size: int, lam: float) -> Run:
        """Two equal pixels side by side, at the scale where the PSF has 3 pixels."""
        scales, z = [(size, 1.0)], 1.0
        while scales[-1][0] > 3:
            z *= _STEP
            scales.append((max(3, round(size * z) // 2 * 2 + 1), z))
        h = np.zeros((3, 3))
        h[1, :2] = 0.5
        return cls(size, lam, scales[::-1], h)

    def advance(self, image: Array, until: float) -> None:
        """Through the scales up to `until`."""
        while self.scales and self.scales[0][1] <= until + 1e-9:
            s, z = self.scales.pop(0)
            lams = [self.lam * max(_FALL ** -(self.rounds + i), 1 / _LOWEST) for i in range(_ROUNDS)]
            part = reduced(image, z)
            self.psf = alternated(part, self.psf if len(self.psf) == s else resized(self.psf, s), lams)
            self.rounds += _ROUNDS
            self.history.append({"psf": self.psf, "shape": part.shape})


def reduced(image: Array, z: float) -> Array:
    """The image at scale z <= 1, by areas."""
    if z == 1:
        return image
    import cv2

    rows, columns = (max(8, round(n * z)) for n in image.shape)
    return cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA)
