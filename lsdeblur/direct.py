"""Direct methods: one gain times the spectrum. Inverse filter, Wiener filter and Tikhonov's least squares.

A `Stage` is a PSF on a grid: it takes images to spectra and back. A `Plan` is a stage with a gain.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lsdeblur import _fft, filters, selection
from lsdeblur._methods import Problem, Solution, check_options
from lsdeblur._validate import as_float_array, check_choice, check_non_negative, check_positive
from lsdeblur.boundary import crop, extend, grid_shape
from lsdeblur.errors import ParameterChoiceError
from lsdeblur.noise import estimate_noise_std
from lsdeblur.spectrum import Bins, Penalty, Spectra, penalty_symbol, power_spectrum, transfer_function

__all__ = ["Plan", "Stage", "inverse", "make_plan", "tikhonov", "wiener"]

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """A PSF on a periodic grid: what a direct method needs besides its gain.

    `H` (..., *half grid) is the transfer function; `shape` the frame's and `grid` the grid's spatial shape;
    `spacing` the pixel pitch per axis, relative to the smallest.
    """

    H: Array
    shape: tuple[int, ...]
    grid: tuple[int, ...]
    boundary: str
    spacing: tuple[float, ...]
    workers: int | None = None

    @classmethod
    def of(cls, problem: Problem) -> Stage:
        return cls.make(problem.psf, problem.shape, problem.boundary, problem.spacing, problem.workers)

    @classmethod
    def make(
        cls, psf: Array, shape: Sequence[int], boundary: str, spacing: tuple[float, ...], workers: int | None = None
    ) -> Stage:
        """For a PSF (..., *psf_shape) and frames of spatial `shape`."""
        grid = grid_shape(shape, psf.shape[-len(shape) :], boundary)
        return cls(transfer_function(psf, grid, workers=workers), tuple(shape), grid, boundary, spacing, workers)

    def forward(self, image: Array) -> Array:
        """Half spectrum of the image (..., *shape), extended to the grid."""
        extended = extend(image, self.grid, self.boundary, self.H, self.workers)
        return _fft.rfftn(extended, len(self.grid), self.workers)

    def backward(self, spectrum: Array) -> Array:
        """The frame (..., *shape) of a half spectrum, which may be overwritten."""
        return np.ascontiguousarray(crop(_fft.irfftn(spectrum, self.grid, self.workers), self.shape))

    @property
    def noisy_share(self) -> float:
        """Share of the grid's values that carry noise of their own: gaps are smooth, but a mirrored gap is as noisy."""
        return 1.0 if self.boundary == "symmetric" else math.prod(self.shape) / math.prod(self.grid)

    def penalty(self, penalty: Penalty, tau: float = 0.1) -> Array:
        """The penalty's symbol on the half grid."""
        return penalty_symbol(penalty, self.grid, tau=tau, spacing=self.spacing, dtype=self.H.real.dtype)


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """A direct restoration with everything fixed but the image: ``plan(image)`` costs one FFT and its inverse.

    `gain` (..., *half grid) is what multiplies the spectrum, on the grid of `stage`.
    """

    stage: Stage
    gain: Array

    def __call__(self, image: npt.ArrayLike) -> Array:
        """Restore `image` (..., *shape) in the plan's precision; leading axes (channels, frames) share the gain."""
        g = as_float_array(image, "image").astype(self.gain.real.dtype, copy=False)
        shape = self.stage.shape
        if g.shape[-len(shape) :] != shape:
            raise ValueError(
                f"image has shape {g.shape}, but this plan is for images of shape {shape}: make another plan"
            )
        return self.stage.backward(self.gain * self.stage.forward(g))

    def reach(self, tol: float = 1e-2) -> tuple[int, ...]:
        """Distance per axis, in pixels, beyond which the gain's impulse response never exceeds `tol` times its peak.

        It tells how far a restored pixel depends on its surroundings.
        """
        grid = self.stage.grid
        response = np.abs(_fft.irfftn(self.gain.copy(), grid, self.stage.workers))
        far = np.argwhere(response > check_positive(tol, "tol") * response.max())
        return tuple(int(np.minimum(x, n - x).max()) for x, n in zip(far.T, grid, strict=True))


def make_plan(stage: Stage, method: str, **options: Any) -> Plan:
    """A plan of the method `method` ("inverse", "wiener" or "tikhonov"); the options are those of its gain."""
    gain = _GAINS[check_choice(method, _GAINS, "method")]
    check_options(gain, options, f"plan(method={method!r})")
    return Plan(stage, gain(stage, **options))


def inverse(problem: Problem, *, threshold: float = 0.1) -> Solution:
    """Truncated inverse filter, ``G = 1 / H`` where ``|H| > threshold |H(0)|`` and 0 elsewhere.

    Parameters
    ----------
    problem : Problem
    threshold : float >= 0
        Relative to the PSF's sum. 0 asks for the plain inverse, which amplifies noise without bound.
    """
    plan = make_plan(Stage.of(problem), "inverse", threshold=threshold)
    return Solution(plan(problem.image), message=f"inverted where |H| > {threshold:g} |H(0)|")


def wiener(
    problem: Problem,
    *,
    nsr: float | str = "auto",
    noise_power: Any = None,
    signal_power: Any = None,
    noise_std: float | None = None,
    safety: float = 1.0,
) -> Solution:
    """Wiener filter, ``G = conj(H) S / (|H|^2 S + N)``; the image's mean is not damped.

    Parameters
    ----------
    problem : Problem
    nsr : float >= 0, "auto", or a rule's name
        Constant noise-to-signal power ratio N / S. "auto" takes the one with the least expected error for the noise
        level and the spectrum ``S = sigma^2 / (lam P)`` that `tikhonov` finds in the same data. A rule's name
        chooses as for `lam` in `tikhonov`, with penalty 1 (a poor model of images, for which GCV and evidence
        regularise too little).
    noise_power, signal_power : float, array or callable, optional
        Power spectra N and S, together, instead of `nsr`: a number (white), an autocovariance with lag zero at
        ``s // 2``, or a function of the frequencies in radians per pixel. Both in the same units: white noise of
        standard deviation sigma has ``N = sigma^2``, which is also its autocovariance at lag zero.
    noise_std : float > 0, optional
        Noise standard deviation, for the rules "discrepancy" and "sure"; estimated where they need it.
    safety : float > 0
        Factor on the noise power for "discrepancy".
    """
    stage = Stage.of(problem)
    if noise_power is None and signal_power is None:
        if isinstance(nsr, str) and nsr == "auto":
            return _wiener_auto(problem, stage, noise_std)
        return _regularised(problem, stage, _all_but_mean(stage), nsr, "nsr", noise_std, safety)
    if nsr != "auto":
        raise ValueError("give either nsr= or noise_power= and signal_power=, not both")
    plan = make_plan(stage, "wiener", noise_power=noise_power, signal_power=signal_power)
    return Solution(plan(problem.image), noise_std=noise_std, message="noise and signal power were given")


def tikhonov(
    problem: Problem,
    *,
    lam: float | str = "auto",
    penalty: Penalty = "laplacian+gradient",
    tau: float = 0.1,
    noise_std: float | None = None,
    safety: float = 1.0,
) -> Solution:
    """Tikhonov's least squares, the minimiser of ``||h * f - g||^2 + lam <f, P f>``: ``G = conj(H) / (|H|^2 + lam P)``.

    Parameters
    ----------
    problem : Problem
    lam : float >= 0, "auto", or a rule's name
        Regularisation strength, or how it is chosen: "evidence", "gcv", "l-curve", "discrepancy", "sure"
        (`lsdeblur.selection`). One lambda serves all channels.
    penalty : str, array or callable
        Symbol P of the penalty: "laplacian+gradient", "laplacian", "gradient", "identity", an operator's impulse
        response, or a function of the frequencies (`lsdeblur.spectrum.penalty_symbol`).
    tau : float > 0
        Weight of the gradient in "laplacian+gradient".
    noise_std : float > 0, optional
        Noise standard deviation, for the rules "discrepancy" and "sure"; estimated where they need it.
    safety : float > 0
        Factor on the noise power for "discrepancy".
    """
    stage = Stage.of(problem)
    return _regularised(problem, stage, stage.penalty(penalty, tau), lam, "lam", noise_std, safety)


def _regularised(
    problem: Problem, stage: Stage, P: Array, strength: Any, name: str, noise_std: float | None, safety: float
) -> Solution:
    """Least squares with penalty P and a strength that is given, or chosen from the curves of the same spectra."""
    noise_std = None if noise_std is None else check_positive(noise_std, "noise_std")
    if isinstance(strength, str):
        check_choice(strength, ("auto", *selection.RULES), name)
    else:
        strength = check_non_negative(strength, name)
    Y = stage.forward(problem.image)
    if not isinstance(strength, str):
        image = stage.backward(_least_squares(stage, P, strength) * Y)
        return Solution(image, lam=strength, noise_std=noise_std, message=f"{name} was given")
    if noise_std is None and strength in selection.NEED_NOISE:
        noise_std = _noise_level(problem)
    bins = _bins(stage, P, Y)
    thinned = None if noise_std is None else noise_std * stage.noisy_share**0.5
    chosen, message = selection.select(bins.curves(bins.lambdas()), strength, noise_std=thinned, safety=safety)
    noise_std = noise_std or _residual_noise(stage, P, Y, chosen.lam, bins)
    image = stage.backward(_least_squares(stage, P, chosen.lam) * Y)
    return Solution(image, lam=chosen.lam, selection=chosen, noise_std=noise_std, message=message)


def _wiener_auto(problem: Problem, stage: Stage, noise_std: float | None) -> Solution:
    """Wiener's filter with the constant ratio of least expected error, for spectra fitted to the data."""
    Y = stage.forward(problem.image)
    P, flat = stage.penalty("laplacian+gradient"), _all_but_mean(stage)
    bins = _bins(stage, P, Y)
    fitted, message = selection.select(bins.curves(bins.lambdas()), "auto")
    estimated = _residual_noise(stage, P, Y, fitted.lam, bins)
    noise_std = estimated if noise_std is None else check_positive(noise_std, "noise_std")
    P[_mean(stage)] = np.inf  # the mean takes no part
    amplitude = estimated * np.sqrt(math.prod(stage.grid) * stage.noisy_share / fitted.lam / P)
    signal, data = (_bins(stage, flat, y) for y in (np.broadcast_to(amplitude, Y.shape), Y))
    chosen = selection.least_error(signal, data.curves(data.lambdas()), noise_std**2 * stage.noisy_share)
    image = stage.backward(_least_squares(stage, flat, chosen.lam) * Y)
    message = f"nsr {chosen.lam:.3g} has the least expected error for the spectra fitted with {message}"
    return Solution(image, lam=chosen.lam, selection=chosen, noise_std=noise_std, message=message)


def _residual_noise(stage: Stage, P: Array, Y: Array, lam: float, bins: Bins) -> float:
    """Noise level from the residual inside the frame, where the boundary made nothing up.

    ``sqrt(R / (n - D))`` with the residual R of the frame's n pixels and their part D of the degrees of freedom.
    Source: Wahba (1983), J. R. Stat. Soc. B 45, 133-150, doi:10.1111/j.2517-6161.1983.tb01239.x.
    """
    residual = stage.backward((1 - stage.H * _least_squares(stage, P, lam)) * Y)
    curves = bins.curves(lam)
    kept = 1 - float(curves.dof[0]) / curves.n_obs
    return math.sqrt(float(np.mean(residual**2, dtype=np.float64)) / max(kept, 1e-12))


def _bins(stage: Stage, P: Array, Y: Array) -> Bins:
    """The spectra's summary over all channels (the leading axis of Y)."""
    if len(stage.H) == 1:
        return Spectra(stage.H[0], P, Y, stage.grid).binned()
    parts = [Spectra(H, P, y[np.newaxis], stage.grid).binned() for H, y in zip(stage.H, Y, strict=True)]
    return Bins.pooled(parts)


def _noise_level(problem: Problem) -> float:
    """From the frequencies that the blur erased; from wavelets where it erased too few."""
    psf = problem.psf if len(problem.psf) > 1 else problem.psf[0]
    try:
        return estimate_noise_std(problem.image, psf, channel_axis=0)
    except ParameterChoiceError:
        return estimate_noise_std(problem.image, channel_axis=0)


def _all_but_mean(stage: Stage) -> Array:
    """The symbol of a penalty on everything but the mean: 1, and 0 at frequency zero."""
    P = stage.penalty("identity")
    P[_mean(stage)] = 0
    return P


def _mean(stage: Stage) -> tuple[Any, ...]:
    """Index of frequency zero."""
    return (..., *(0,) * len(stage.grid))


def _least_squares(stage: Stage, P: Array, lam: float) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        gain = filters.tikhonov(stage.H, P, lam)
    return _defined(gain, "the PSF's transfer function and lam times the penalty")


def _inverse_gain(stage: Stage, *, threshold: float = 0.1) -> Array:
    dc = float(np.abs(stage.H[_mean(stage)]).max())
    return filters.inverse(stage.H, check_non_negative(threshold, "threshold") * dc)


def _wiener_gain(stage: Stage, *, nsr: float | None = None, noise_power: Any = None, signal_power: Any = None) -> Array:
    if nsr is not None and (noise_power is not None or signal_power is not None):
        raise ValueError("give either nsr= or noise_power= and signal_power=, not both")
    if nsr is not None:
        return _least_squares(stage, _all_but_mean(stage), check_non_negative(nsr, "nsr"))
    if noise_power is None or signal_power is None:
        raise ValueError("wiener needs noise_power= and signal_power= together, or nsr= alone")
    dtype = stage.H.real.dtype
    N = power_spectrum(noise_power, stage.grid, "noise_power", dtype)
    S = power_spectrum(signal_power, stage.grid, "signal_power", dtype)
    with np.errstate(divide="ignore", invalid="ignore"):
        gain = filters.wiener(stage.H, N, S)
    gain[_mean(stage)] = 1 / stage.H[_mean(stage)]
    return _defined(gain, "noise_power and signal_power |H|^2")


def _tikhonov_gain(
    stage: Stage, *, lam: float | None = None, penalty: Penalty = "laplacian+gradient", tau: float = 0.1
) -> Array:
    if lam is None:
        raise TypeError("a tikhonov plan needs lam=, a number: for example the .lam of a first restore(...)")
    return _least_squares(stage, stage.penalty(penalty, tau), check_non_negative(lam, "lam"))


def _defined(gain: Array, what: str) -> Array:
    """The gain, if it is finite everywhere: 0/0 means that nothing determines those frequencies."""
    bad = gain.size - int(np.count_nonzero(np.isfinite(gain)))
    if bad:
        raise ValueError(
            f"{what} are both zero at {bad} frequencies, so nothing determines the image there; "
            "use a positive lam, or a penalty that vanishes only at frequency zero"
        )
    return gain


#: method -> its gain on a stage; the keyword-only arguments are the options of `plan`
_GAINS: dict[str, Callable[..., Array]] = {"inverse": _inverse_gain, "wiener": _wiener_gain, "tikhonov": _tikhonov_gain}
