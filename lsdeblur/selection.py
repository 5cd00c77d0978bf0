"""Rules that choose lambda. A rule sees only the curves (`spectrum.Curves`) and, where it needs it, the noise level.

Residual R, seminorm E, degrees of freedom D of n data values, noise standard deviation sigma, and where the problem was
solved exactly the squared norm V of the image's derivative by log lambda, T its expected value for sigma = 1:

============= ============================================ =======================================================
rule          lambda is                                    source
============= ============================================ =======================================================
"evidence"    minimum of m log(R + lam E) + logdet,        MacKay (1992), doi:10.1162/neco.1992.4.3.415, sec. 4,
              m = n less the frequencies P leaves free     with the noise level integrated out
"gcv"         minimum of n R / (n - D)^2                   Golub, Heath & Wahba (1979),
                                                           doi:10.1080/00401706.1979.10489751, eq. 1.4
"sure"        minimum of R / sigma^2 + 2 D - n             Stein (1981), doi:10.1214/aos/1176345632
"discrepancy" R = safety n sigma^2                         Morozov (1966)
"l-curve"     largest curvature of (log R, log E)          Hansen (1992), doi:10.1137/1034115; curvature as in
                                                           Hansen & O'Leary (1993), doi:10.1137/0914086
"image-error" V = T R / (n - D), the latter at GCV's       the error of Desbat & Girard (1995),
              minimum; in "auto" only                      doi:10.1137/0916080, and Eldar (2009),
                                                           doi:10.1109/TSP.2008.2008212, projected; see below
============= ============================================ =======================================================

Evidence, GCV and SURE assume white noise. An extremum at the end of the searched range is no answer.

On a periodic grid, with the data's spectrum Y, ``C = |H|^2 + lam P`` and ``q = lam P / C``, white noise and the model
(signal power ``sigma^2 / (lam P)``) make ``E q |Y|^2 = sigma^2`` at every frequency. Real images do not follow the
model, and each rule balances their deviations with weights w of its own, ``sum w (q |Y|^2 - sigma^2) = 0``:

============= ================= ===================================================================================
evidence      1 - q             the most likely lambda, if the model is true
GCV and SURE  q (1 - q)         least expected error of the blurred image, ``sum |H|^2 |F - F_true|^2``, of any image
image error   q^2 / P           least expected error of the image, ``sum |F - F_true|^2``, of any image
"image-error" q^2 (1 - q) / P   the same of what the data determine, of which 1 - q is the part at each frequency
============= ================= ===================================================================================

The error of the image itself has an unbiased estimate, too: its derivative by lambda does not divide by H. But the
frequencies that the blur erased add only noise to it, and the last row leaves them out. With log lambda the image F
changes by ``-q F``, so that the last row's sum is ``lam (V - sigma^2 T)``. V feels every error of the border and of the
noise's spectrum, hence the exact solution, and a larger lambda of GCV takes precedence in "auto".
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from lsdeblur._results import Selection
from lsdeblur._validate import check_choice, check_positive
from lsdeblur.errors import ParameterChoiceError
from lsdeblur.spectrum import Bins, Curves

__all__ = ["AUTO", "NEED_NOISE", "RULES", "auto", "choose", "least_error", "select"]

Array = npt.NDArray[np.float64]

#: the rules of which lam="auto" takes the larger answer (benchmarks/selection.py shows why)
AUTO = ("evidence", "gcv")
#: rules that need the noise level
NEED_NOISE = ("discrepancy", "sure")


def _evidence(c: Curves, noise_std: float, safety: float) -> Array:
    return c.n_seen * np.log(c.residual + c.lams * c.seminorm) + c.logdet


def _gcv(c: Curves, noise_std: float, safety: float) -> Array:
    return c.n_obs * c.residual / (c.n_obs - c.dof) ** 2


def _sure(c: Curves, noise_std: float, safety: float) -> Array:
    return c.residual / noise_std**2 + 2 * c.dof - c.n_obs


def _discrepancy(c: Curves, noise_std: float, safety: float) -> Array:
    return c.residual / (c.n_obs * noise_std**2) - safety


def _curvature(c: Curves, noise_std: float, safety: float) -> Array:
    """Signed curvature of the curve (x, y) = (log R, log E), positive at its corner.

    With ``R' = -lam E'`` the second derivatives of E cancel, and for the derivatives x', y' by log lambda
    ``kappa = x' y' (x' - y' - 1) / (x'^2 + y'^2)^(3/2)``.
    """
    x1, y1 = -(c.lams**2) * c.slope / c.residual, c.lams * c.slope / c.seminorm
    return x1 * y1 * (x1 - y1 - 1) / np.hypot(x1, y1) ** 3


def _image_error(c: Curves, noise_std: float, safety: float) -> Array:
    """``log(V / (T sigma^2))``, increasing through zero at the answer."""
    assert c.change is not None
    assert c.noise_change is not None
    x = np.log(c.lams)
    at = math.log(_minimum(c.lams, _gcv(c, noise_std, safety), "gcv"))
    variance = np.interp(at, x, np.log(c.residual / (c.n_obs - c.dof)))
    values = np.log(c.change / c.noise_change) - variance
    if not np.all(np.isfinite(values)):  # a trace by probes, or the noise, is lost in rounding
        raise ParameterChoiceError("image-error is not defined for these data: no noise can be seen; use another rule")
    return values


#: rule -> its criterion, a function of curves, noise_std and safety
RULES: dict[str, Callable[[Curves, float, float], Array]] = {
    "evidence": _evidence,
    "gcv": _gcv,
    "sure": _sure,
    "discrepancy": _discrepancy,
    "l-curve": _curvature,
}
_EXACT = {"image-error": _image_error}  # what needs an exact solution
_ROOTS = ("discrepancy", "image-error")  # rules whose answer is a zero


def choose(curves: Curves, rule: str, *, noise_std: float | None = None, safety: float = 1.0) -> Selection:
    """Lambda by one rule, with the values of every rule that these data allow.

    Parameters
    ----------
    curves : Curves
        At increasing lambdas, at least three.
    rule : str
        One of `RULES`.
    noise_std : float > 0, optional
        Noise standard deviation in units of the image; needed by "discrepancy" and "sure".
    safety : float > 0
        Factor on the noise power for "discrepancy"; above 1 it smooths more.

    Returns
    -------
    Selection

    Raises
    ------
    ParameterChoiceError
        When the rule has no answer: its extremum lies at the end of the range, or the residual never reaches the noise.
    """
    check_choice(rule, RULES, "lam")
    check_positive(safety, "safety")
    if noise_std is None and rule in NEED_NOISE:
        raise ValueError(f"lam={rule!r} needs the noise level: give noise_std=, in units of the image")
    criteria, choices, failures = _evaluate(curves, noise_std, safety)
    if rule in failures:
        raise ParameterChoiceError(failures[rule])
    return _selection(curves, rule, choices[rule], criteria, choices)


def auto(
    curves: Curves, *, noise_std: float | None = None, safety: float = 1.0, coloured: bool = False
) -> tuple[Selection, str]:
    """Lambda without a rule given, and a sentence that says how it came about.

    The larger of what evidence and GCV choose: both err towards too little smoothing where their assumptions fail, and
    that costs more than too much. From exact solutions the larger of GCV's and that of the image error, and with
    `coloured` noise, whose spectrum is never quite known, not less than that of evidence, for which the frequencies
    count least that the noise rules. If neither has an answer, the data prefer ever smaller lambdas (no noise can be
    seen) or ever larger ones (nothing else can): the end of the range is used, and `at_boundary` says so. The L-curve's
    corner would be a false one there. Where nothing varies, any lambda gives the same image.
    """
    criteria, choices, failures = _evaluate(curves, noise_std, safety)
    without: list[str] = []
    exact = ("image-error", "gcv", "evidence") if coloured else ("image-error", "gcv")
    for group in (exact, AUTO) if "image-error" in choices else (AUTO,):
        answers = {rule: choices[rule] for rule in group if rule in choices}
        without += [failures[rule] for rule in group if rule in failures]
        if answers:
            rule = max(answers, key=answers.__getitem__)
            others = [f"{name}: {lam:.3g}" for name, lam in answers.items() if name != rule]
            message = "; ".join([f"lambda {choices[rule]:.3g} by {rule}", *others, *without])
            return _selection(curves, rule, choices[rule], criteria, choices), message
    rule = AUTO[0]
    if not np.all(np.isfinite(criteria[rule])):
        message = "the image does not vary: every lambda gives the same result"
        return _selection(curves, rule, float(curves.lams[-1]), criteria, choices), message
    lam = float(curves.lams[int(np.argmin(criteria[rule]))])
    seen = "no noise" if lam == curves.lams[0] else "nothing but noise"
    message = f"lambda {lam:.3g} is the end of the range: {' and '.join(AUTO)} see {seen}"
    return _selection(curves, rule, lam, criteria, choices, at_boundary=True), message


def uphill(curves: Curves, rule: str, *, noise_std: float | None = None, safety: float = 1.0) -> int:
    """Which way a rule, or "auto", needs more lambdas: -1, 1, or 0 when its answer lies between those it has."""
    for name in ("gcv", "image-error") if rule == "auto" else (rule,):
        try:
            with np.errstate(divide="ignore", invalid="ignore"):
                values = (RULES | _EXACT)[name](curves, noise_std or 0.0, safety)
        except ParameterChoiceError:
            continue
        if name in _ROOTS:
            low, high = values[0] > 0, values[-1] <= 0
        else:
            i = int(np.argmax(values) if name == "l-curve" else np.argmin(values))
            low, high = i == 0, i == len(values) - 1
        if low or high:
            return -1 if low else 1
    return 0


def least_error(bins: Bins, curves: Curves, noise_power: float) -> Selection:
    """The strength of a penalty with the least expected error, for a known signal spectrum.

    For signal power S and white noise power N the expected squared error of ``conj(H) / (|H|^2 + lam P)`` is
    ``sum (lam^2 S + s N / P) / (s + lam)^2``; here for penalties that are 1 (or 0) at every frequency.

    Parameters
    ----------
    bins : Bins
        With the signal's power as `energy`.
    curves : Curves
        Of the data themselves, at the lambdas to search.
    noise_power : float
        Power of the noise per pixel, in units of the squared image.
    """
    signal, noise = bins.energy, noise_power * bins.s * bins.count
    values = np.array([np.sum((lam**2 * signal + noise) / (bins.s + lam) ** 2) for lam in curves.lams])
    try:
        lam, at_boundary = _minimum(curves.lams, values, "least-error"), False
    except ParameterChoiceError:
        lam, at_boundary = float(curves.lams[int(np.argmin(values))]), noise_power > 0
    return _selection(curves, "least-error", lam, {"least-error": values}, {"least-error": lam}, at_boundary)


def select(
    curves: Curves, rule: str, *, noise_std: float | None = None, safety: float = 1.0, coloured: bool = False
) -> tuple[Selection, str]:
    """Lambda by "auto" or by one rule, and a sentence that says how it came about."""
    check_positive(safety, "safety")
    if rule == "auto":
        return auto(curves, noise_std=noise_std, safety=safety, coloured=coloured)
    chosen = choose(curves, rule, noise_std=noise_std, safety=safety)
    return chosen, f"lambda {chosen.lam:.3g} by {rule}"


def _evaluate(
    curves: Curves, noise_std: float | None, safety: float
) -> tuple[dict[str, Array], dict[str, float], dict[str, str]]:
    """Values, lambda or reason of failure of every rule."""
    criteria: dict[str, Array] = {}
    choices: dict[str, float] = {}
    failures: dict[str, str] = {}
    for rule, criterion in (RULES if curves.change is None else RULES | _EXACT).items():
        if noise_std is None and rule in NEED_NOISE:
            continue
        try:
            with np.errstate(divide="ignore", invalid="ignore"):
                criteria[rule] = values = criterion(curves, noise_std or 0.0, safety)
            if rule in _ROOTS:
                choices[rule] = _root(curves.lams, values, rule)
            else:
                choices[rule] = _minimum(curves.lams, -values if rule == "l-curve" else values, rule)
        except ParameterChoiceError as error:
            failures[rule] = str(error)
    return criteria, choices, failures


def _selection(
    c: Curves, rule: str, lam: float, criteria: dict[str, Array], choices: dict[str, float], at_boundary: bool = False
) -> Selection:
    return Selection(
        rule, lam, c.lams, criteria[rule], c.residual, c.seminorm, c.dof, c.n_obs, at_boundary, choices, criteria
    )


def _minimum(lams: Array, values: Array, rule: str) -> float:
    """Lambda at the lowest value, refined by a parabola in log lambda; an end of the range is no answer."""
    if not np.all(np.isfinite(values)) or np.ptp(values) == 0:
        raise ParameterChoiceError(f"{rule} is not defined for these data (no residual or no variation); give a number")
    i = int(np.argmin(values))
    if rule == "l-curve" and values[i] >= 0:
        raise ParameterChoiceError(
            "l-curve has no corner for these data: its curvature is nowhere positive; use another rule"
        )
    if i in (0, len(lams) - 1):
        end = "lower" if i == 0 else "upper"
        raise ParameterChoiceError(
            f"{rule} has its extremum at the {end} end of the range, lambda = {lams[i]:.3g}: "
            "these data do not determine it by this rule; give a number, or another rule"
        )
    t = np.log(lams[i - 1 : i + 2])
    slopes = np.diff(values[i - 1 : i + 2]) / np.diff(t)
    middle = (t[:-1] + t[1:]) / 2
    bend = slopes[1] - slopes[0]
    return float(np.exp(middle[0] - slopes[0] * (middle[1] - middle[0]) / bend)) if bend > 0 else float(lams[i])


def _root(lams: Array, values: Array, rule: str) -> float:
    """Lambda where the increasing `values` cross zero, between two samples by a line in log lambda."""
    above = values > 0
    if above[0] or not above[-1]:
        side = "is above" if above[0] else "stays below"
        what = "the residual" if rule == "discrepancy" else "the image's change with lambda"
        raise ParameterChoiceError(
            f"{rule}: {what} {side} the noise at every lambda from {lams[0]:.3g} to {lams[-1]:.3g}; "
            "check noise_std= (in units of the image) and the PSF"
        )
    i = int(np.argmax(above))
    t, v = np.log(lams[i - 1 : i + 1]), values[i - 1 : i + 1]
    return float(np.exp(t[0] - v[0] * (t[1] - t[0]) / (v[1] - v[0])))
