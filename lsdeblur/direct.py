"""Direct methods: one gain times the spectrum. Inverse filter, Wiener filter and Tikhonov's least squares."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from lsdeblur import filters, free, selection, spacevar
from lsdeblur._gains import (
    all_but_mean,
    inverse_filter,
    least_squares,
    left_of_data,
    mean_index,
    rest_of_system,
    weighted_symbol,
    wiener_filter,
)
from lsdeblur._kernels import AnySymbol, changes, restored, written_out
from lsdeblur._methods import Problem, Solution
from lsdeblur._results import Selection
from lsdeblur._stage import Forward, Stage
from lsdeblur._validate import check_choice, check_non_negative, check_positive
from lsdeblur.errors import ParameterChoiceError, PSFMismatchWarning
from lsdeblur.noise import FLOOR, Colour, estimate_noise_std, find_colour
from lsdeblur.psf import PSFGrid
from lsdeblur.spectrum import (
    Bins,
    Curves,
    Penalty,
    Spectra,
    hermitian_weights,
    symbol,
    transfer_function,
)

__all__ = ["inverse", "tikhonov", "wiener"]

Array = npt.NDArray[Any]
_PIXELS = 1 << 18  # that the noise's colour is read from: 512 x 512
# Power at low frequencies that the PSF erases, relative to the noise's: right PSFs leave 1.8 of white noise at the most
# (84 cases), 3 of correlated noise in 1 of 50. Four times white noise are correlated noise, or a wrong PSF.
_WHITE, _CORRELATED, _UNEXPLAINED = 2.5, 3.0, 4.0
_NEAR = 3.0  # ratio of lambdas up to which the inverses of one precondition the other's system
_CALM = ("periodic", "taper")  # boundaries beyond which the residual is that of the frame, or small


def inverse(problem: Problem, *, threshold: float = 0.1, tol: float = 3e-5, max_iter: int = 50) -> Solution:
    """Truncated inverse filter, ``G = 1 / H`` where ``|H| > threshold |H(0)|`` and 0 elsewhere.

    Parameters
    ----------
    problem : Problem
    threshold : float >= 0
        Relative to the PSF's sum. 0 asks for the plain inverse, which amplifies noise without bound.
    tol, max_iter
        For a free boundary, as in `tikhonov`.

    Returns
    -------
    Solution

    Raises
    ------
    ValueError
        A negative threshold.
    """
    stage = Stage.of(problem, tol, max_iter)
    message = f"inverted where |H| > {threshold:g} |H(0)|"
    gain, rest = inverse_filter(stage, threshold=threshold)
    return _solution(
        stage, gain, stage.forward(stage.transform(stage.extend(problem.image)), stage.systems(rest)), message=message
    )


def wiener(
    problem: Problem,
    *,
    nsr: float | str = "auto",
    noise_power: Any = None,
    signal_power: Any = None,
    noise_std: float | None = None,
    safety: float = 1.0,
    tol: float = 3e-5,
    max_iter: int = 50,
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
        Noise standard deviation, for the rules "discrepancy" and "sure" (estimated where they need it); the other
        rules do without it, and it is only reported.
    safety : float > 0
        Factor on the noise power for "discrepancy".
    tol, max_iter
        For a free boundary, as in `tikhonov`.

    Returns
    -------
    Solution

    Raises
    ------
    ValueError
        Spectra given singly or together with `nsr`; negative or undefined ones.
    ParameterChoiceError
        The rule that was asked for has no answer.
    """
    noise_std = None if noise_std is None else check_positive(noise_std, "noise_std")
    stage = Stage.of(problem, tol, max_iter)
    if noise_power is None and signal_power is None:
        if isinstance(nsr, str) and nsr == "auto":
            return _wiener_auto(problem, stage, noise_std)
        return _regularised(problem, stage, all_but_mean(stage), nsr, "nsr", noise_std, safety)
    if not isinstance(nsr, str) or nsr != "auto":
        raise ValueError("give either nsr= or noise_power= and signal_power=, not both")
    gain, rest = wiener_filter(stage, noise_power=noise_power, signal_power=signal_power)
    forward = stage.forward(stage.transform(stage.extend(problem.image)), stage.systems(rest))
    return _solution(stage, gain, forward, noise_std=noise_std, message="noise and signal power were given")


def tikhonov(
    problem: Problem,
    *,
    lam: float | str = "auto",
    penalty: Penalty = "laplacian+gradient",
    tau: float = 0.1,
    noise_std: float | None = None,
    safety: float = 1.0,
    noise_width: float | str = "auto",
    noise_floor: float = FLOOR,
    effort: str = "fast",
    exact: bool = True,
    tol: float = 3e-5,
    max_iter: int = 50,
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
        Noise standard deviation, for the rules "discrepancy" and "sure" (estimated where they need it); the other
        rules do without it, and it is only reported.
    safety : float > 0
        Factor on the noise power for "discrepancy".
    noise_width : float >= 0 or "auto"
        Width in pixels of the Gaussian that correlates the noise; 0 for white noise. "auto" looks for it with
        ``lam="auto"`` (`noise.find_colour`) and takes the noise for white otherwise. With the noise's spectrum
        c (`noise.colour`) the residual is weighted by ``1 / c``, so lam multiplies ``P c``.
    noise_floor : float > 0
        For a given width, the part of the noise's power that is white all the same; "auto" looks for it, too.
    effort : str
        How lambda is chosen under a free boundary. "fast": from the spectra of the extended image, after one
        iteration. "accurate": from the exact curves, solved at three or more lambdas for the image and for random
        probes with a fixed seed, some three times the cost; "auto" then looks for the lambda with the least expected
        error of the image (`lsdeblur.selection`).
    exact : bool
        For PSFs that vary over the frame (`psf.PSFGrid`): the least-squares solution, by conjugate gradients
        (`lsdeblur.spacevar`); False takes the tile-by-tile restoration from which they start. Lambda is chosen from the
        spectra of the tiles; the noise is taken for white, and `effort` plays no role. The gradients end at ten times
        `tol`.
    tol : float > 0
        Under a free boundary, iterations end when one lowers the cost ``||h * f - g||^2 + lam <f, P f>`` by less than
        this part of it.
    max_iter : int >= 1
        And after so many at the latest, with a `ConvergenceWarning`.

    Returns
    -------
    Solution

    Raises
    ------
    ValueError
        A negative or unknown `lam`, a penalty that cannot be one, or 0/0 because `lam` is 0 where the PSF erases.
    ParameterChoiceError
        The rule that was asked for has no answer.
    """
    check_choice(effort, ("fast", "accurate"), "effort")
    floor, width, seen = check_positive(noise_floor, "noise_floor"), 0.0, ""
    if isinstance(problem.psf, PSFGrid):
        if noise_width not in ("auto", 0):
            raise ValueError(f"noise_width={noise_width!r} needs a uniform PSF: with a PSFGrid the noise must be white")
        options: dict[str, Any] = {"lam": lam, "penalty": penalty, "tau": tau, "noise_std": noise_std, "safety": safety}
        return spacevar.tikhonov(problem, **options, exact=exact, tol=tol, max_iter=max_iter)
    stage = Stage.of(problem, tol, max_iter)
    P = stage.penalty(penalty, tau)
    if isinstance(noise_width, str):
        check_choice(noise_width, ("auto",), "noise_width")
        if isinstance(lam, str) and lam == "auto":
            found = _colour(problem, stage, P, penalty, tau)
            width, floor, seen = found.width, found.floor, _said(found)
    else:
        width = check_non_negative(noise_width, "noise_width")
    solution = _regularised(problem, stage.coloured(width, floor), P, lam, "lam", noise_std, safety, effort)
    return replace(solution, noise_width=width, noise_floor=floor, message=solution.message + seen)


def _regularised(
    problem: Problem, stage: Stage, P: AnySymbol, strength: Any, name: str, noise_std: float | None, safety: float,
    effort: str = "fast",
) -> Solution:  # fmt: skip
    """Least squares with penalty P and a strength that is given, or chosen from the curves of the same data."""
    noise_std = None if noise_std is None else check_positive(noise_std, "noise_std")
    if isinstance(strength, str):
        check_choice(strength, ("auto", *selection.RULES), name)
    else:
        strength = check_non_negative(strength, name)
    Y = stage.transform(stage.extend(problem.image))
    systems: tuple[free.System, ...] = ()
    chosen, message, source = None, f"{name} was given", ""
    if isinstance(strength, str):
        if noise_std is None and strength in selection.NEED_NOISE:
            noise_std, source = _noise_level(problem)
        chosen, message, Y, systems = _choose(stage, P, Y, strength, noise_std, safety, effort)
    lam = chosen.lam if chosen else strength
    forward = stage.forward(Y, stage.systems(rest_of_system(stage, P, lam), systems))
    if chosen and noise_std is None:
        noise_std = _residual_noise(stage, P, forward, chosen)
    fields = {"selection": chosen, "noise_std": noise_std, "message": message + source}
    return _minimiser(stage, P, lam, forward, **fields)


def _choose(
    stage: Stage, P: AnySymbol, Y: Array, rule: str, noise_std: float | None, safety: float, effort: str = "fast"
) -> tuple[Selection, str, Array, tuple[free.System, ...]]:
    """Lambda by a rule from the half spectrum of extended data; a sentence about it; the spectrum, better extended.

    Under a free boundary the first guess of the extension gives a first lambda, one iteration at that lambda a better
    extension, and its spectra the final lambda: the second differs little from that of the converged extension. The
    systems of the first lambda come along where they still serve.
    """
    thinned = None if noise_std is None else noise_std * stage.noisy_share**0.5

    def by(rule: str, n: int = 271) -> tuple[Selection, str]:
        bins = _bins(stage, P, Y)
        return selection.select(bins.curves(bins.lambdas(n)), rule, noise_std=thinned, safety=safety)

    if not stage.free:
        return *by(rule), Y, ()
    first, _ = by("auto", 91)
    systems = stage.systems(rest_of_system(stage, P, first.lam))
    Y = stage.settled(Y, systems, max_iter=1).spectrum
    chosen, message = by(rule)
    if effort != "fast":
        options: dict[str, Any] = {"noise_std": noise_std, "safety": safety}
        exact, Y = _bracketed(stage, P, chosen.lam, Y, rule, options)
        better, message = selection.select(exact, rule, coloured=stage.colour is not None, **options)
        chosen = replace(better, approximate=chosen)
    near = 1 / _NEAR < chosen.lam / first.lam < _NEAR
    return chosen, message, Y, systems if near else ()


def _bracketed(
    stage: Stage, P: AnySymbol, lam: float, Y: Array, rule: str, options: dict[str, Any]
) -> tuple[Curves, Array]:
    """The exact problem's curves half a decade apart around `lam`, as far as the rule needs them."""

    def solved(lams: list[float], Y: Array) -> tuple[Curves, Array]:
        return free.curves(power, full, lams, Y, stage.shape, stage.grid, stage.workers, stage.mask, stage.colour)

    power, full = filters.power(stage.H), written_out(P)
    exact, Y = solved([lam, 10**0.5 * lam, 10**-0.5 * lam], Y)
    for _ in range(6):
        step = selection.uphill(exact.completed(), rule, **options)
        if step == 0:
            break
        beyond, Y = solved([(exact.lams[0] if step < 0 else exact.lams[-1]) * 10 ** (0.5 * step)], Y)
        exact = exact.joined(beyond)
    return exact.completed(), Y


def _wiener_auto(problem: Problem, stage: Stage, noise_std: float | None) -> Solution:
    """Wiener's filter with the constant ratio of least expected error, for spectra fitted to the data."""
    P, flat = stage.penalty("laplacian+gradient"), all_but_mean(stage)
    Y = stage.transform(stage.extend(problem.image))
    fitted, message, Y, systems = _choose(stage, P, Y, "auto", None, 1.0)
    forward = stage.forward(Y, stage.systems(rest_of_system(stage, P, fitted.lam), systems))
    estimated = _residual_noise(stage, P, forward, fitted)
    noise_std = estimated if noise_std is None else noise_std
    known = written_out(P)
    known[mean_index(stage)] = np.inf  # the mean takes no part
    amplitude = estimated * np.sqrt(math.prod(stage.grid) * stage.noisy_share / fitted.lam / known)
    Y = forward.spectrum
    signal, observed = (_bins(stage, flat, y) for y in (np.broadcast_to(amplitude, Y.shape).astype(Y.dtype), Y))
    chosen = selection.least_error(signal, observed.curves(observed.lambdas()), noise_std**2 * stage.noisy_share)
    message = f"nsr {chosen.lam:.3g} has the least expected error for the spectra fitted with {message}"
    forward = stage.forward(Y, stage.systems(rest_of_system(stage, flat, chosen.lam)))
    return _minimiser(stage, flat, chosen.lam, forward, selection=chosen, noise_std=noise_std, message=message)


def _solution(stage: Stage, gain: Array, forward: Forward, **fields: Any) -> Solution:
    image = stage.backward(gain * forward.spectrum)
    return Solution(image, n_iter=forward.n_iter, converged=forward.converged, **fields)


def _minimiser(stage: Stage, P: AnySymbol, lam: float, forward: Forward, **fields: Any) -> Solution:
    """The same for Tikhonov's gain, which is applied without being kept; the spectrum is overwritten."""
    weighted, weights = weighted_symbol(stage, P), hermitian_weights(stage.grid)
    sums = []
    with np.errstate(divide="ignore", invalid="ignore"):
        for c, y in enumerate(forward.spectrum):
            H = stage.H[c % len(stage.H)]
            sums.append(changes(y, H, weighted, lam, weights, workers=stage.workers))
            restored(y, H, weighted, lam, workers=stage.workers)
    image = stage.backward(forward.spectrum)
    if not np.isfinite(image.sum()):
        least_squares(stage, P, lam)  # says why
    whole, *changed = (sum(parts) for parts in zip(*sums, strict=True))
    less, more = (math.sqrt(part / whole) if whole > 0 else 0.0 for part in changed)
    fields |= {"lam": lam, "sensitivity": (less, more), "n_iter": forward.n_iter, "converged": forward.converged}
    return Solution(image, **fields)


def _residual_noise(stage: Stage, P: AnySymbol, forward: Forward, chosen: Selection) -> float:
    """Noise level from the residual inside the frame; from all of it where a boundary makes nothing rough up.

    ``sqrt(R / (n - D))`` with the residual R of the n measured pixels and their part D of the degrees of freedom.
    Source: Wahba (1983), J. R. Stat. Soc. B 45, 133-150, doi:10.1111/j.2517-6161.1983.tb01239.x.
    """
    measured = math.prod(stage.shape) if stage.mask is None else np.count_nonzero(~stage.mask)
    residual = forward.residual
    if residual is None and stage.colour is None and stage.boundary in _CALM:
        residual = float(np.interp(math.log(chosen.lam), np.log(chosen.lams), chosen.residual))
    if residual is None or stage.colour is not None:
        left = stage.backward(left_of_data(stage, P, chosen.lam) * forward.spectrum)
        left = left if stage.mask is None else left[:, ~stage.mask]
        residual = float(np.einsum("ij,ij->", *[left.reshape(len(left), -1)] * 2, dtype=np.float64))
    dof = float(np.interp(math.log(chosen.lam), np.log(chosen.lams), chosen.dof))
    return math.sqrt(residual / (len(forward.spectrum) * measured) / max(1 - dof / chosen.n_obs, 1e-12))


def _bins(stage: Stage, P: AnySymbol, Y: Array) -> Bins:
    """The spectra's summary over all channels (the leading axis of Y), both divided by the noise's amplitude."""
    H = stage.H
    if stage.colour is not None:
        H, Y = (a / np.sqrt(stage.colour) for a in (H, Y))
    pairs = [(H[0], Y)] if len(H) == 1 else list(zip(H, Y[:, np.newaxis], strict=True))
    return Bins.pooled([Spectra(h, P, y, stage.grid, stage.workers).binned() for h, y in pairs])


def _colour(problem: Problem, stage: Stage, P: AnySymbol, penalty: Penalty, tau: float) -> Colour:
    """Width over which the noise is correlated, and its floor, from the middle of the image on a grid of its own.

    Filling holes by anything that is not a blurred scene would look like noise where H has its zeros.
    """
    image = problem.image
    if stage.mask is not None:
        _, _, Y, systems = _choose(stage, P, stage.transform(stage.extend(image)), "auto", None, 1.0)
        image = stage.backward(stage.settled(Y, systems, max_iter=20).spectrum)
    enough = round(_PIXELS ** (1 / len(stage.shape)))
    sizes = [min(n, max(enough, 4 * m)) for n, m in zip(stage.shape, problem.psf.shape[1:], strict=True)]
    middle: tuple[Any, ...] = (
        ...,
        *(slice((n - m) // 2, (n + m) // 2) for n, m in zip(stage.shape, sizes, strict=True)),
    )
    image = image[middle]
    same = tuple(sizes) == stage.grid
    H = stage.H if same else transfer_function(problem.psf, sizes, workers=stage.workers)
    P = P if same else symbol(penalty, sizes, tau=tau, spacing=stage.spacing, dtype=stage.H.real.dtype)
    return find_colour(image, H, written_out(P))


def _said(found: Colour) -> str:
    """A sentence about the noise; a warning of a PSF that does not explain the image."""
    if found.excess > (_CORRELATED if found.width else _WHITE):
        warnings.warn(
            f"the PSF does not explain the image: at low frequencies that it erases there is {found.excess:.1f} times "
            "the power of the noise; its length, angle or radius is wrong, or it varies over the frame, or the image "
            "was clipped (saturation=), enlarged, denoised or strongly compressed",
            PSFMismatchWarning,
            stacklevel=4,
        )
    if not found.width:
        return ""
    rest = f", but for {found.floor:.0%} of its power" if found.floor > FLOOR else ""
    doubt = " (or the PSF is wrong, which looks like that)" if found.unexplained > _UNEXPLAINED else ""
    return f"; noise looks correlated over {found.width:.2g} pixels{rest}{doubt}"


def _noise_level(problem: Problem) -> tuple[float, str]:
    """From the frequencies that the blur erased, or from wavelets where it erased too few; and which it was."""
    psf = problem.psf if len(problem.psf) > 1 else problem.psf[0]
    try:
        return estimate_noise_std(problem.image, psf, channel_axis=0), "; noise read where the blur erased the scene"
    except ParameterChoiceError:
        level = estimate_noise_std(problem.image, channel_axis=0)
        return level, "; noise estimated from wavelets, texture counts as noise"
