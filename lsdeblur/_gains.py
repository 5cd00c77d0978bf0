"""Gains of the direct methods on a stage, and the plans made of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from lsdeblur import filters
from lsdeblur._kernels import AnySymbol, residue, written_out
from lsdeblur._methods import check_options
from lsdeblur._stage import Plan, Stage
from lsdeblur._validate import check_choice, check_non_negative, check_positive
from lsdeblur.noise import FLOOR
from lsdeblur.spectrum import Penalty, power_spectrum

__all__ = [
    "all_but_mean",
    "inverse_filter",
    "least_squares",
    "left_of_data",
    "make_plan",
    "mean_index",
    "rest_of_system",
    "tikhonov_filter",
    "weighted_symbol",
    "wiener_filter",
]

Array = npt.NDArray[Any]
_BOTH = "the PSF's transfer function and lam times the penalty"
#: a gain G and, under a free boundary, what it leaves of the data, 1 - H G
Filter = tuple[Array, Array | None]


def make_plan(stage: Stage, method: str, **options: Any) -> Plan:
    """A plan of the method `method` ("inverse", "wiener" or "tikhonov"); the options are those of its gain."""
    gain = _FILTERS[check_choice(method, _FILTERS, "method")]
    check_options(gain, options, f"plan(method={method!r})")
    G, rest = gain(stage, **options)
    return Plan(stage, G, next(iter(stage.systems(rest)), None))


def all_but_mean(stage: Stage) -> Array:
    """The symbol of a penalty on everything but the mean: 1, and 0 at frequency zero."""
    P = written_out(stage.penalty("identity"))
    P[mean_index(stage)] = 0
    return P


def mean_index(stage: Stage) -> tuple[Any, ...]:
    """Index of frequency zero."""
    return (..., *(0,) * len(stage.grid))


def least_squares(stage: Stage, P: AnySymbol, lam: float) -> Filter:
    """Tikhonov's filter. For noise of spectrum c the data weigh 1 / c: lam multiplies P c; the rest counts 1 / c."""
    with np.errstate(divide="ignore", invalid="ignore"):
        gain = filters.tikhonov(stage.H, written_out(weighted_symbol(stage, P)), lam)
    return defined(gain, _BOTH), rest_of_system(stage, P, lam)


def weighted_symbol(stage: Stage, P: AnySymbol) -> AnySymbol:
    """``P c`` for noise of spectrum c."""
    return P if stage.colour is None else written_out(P) * stage.colour


def left_of_data(stage: Stage, P: AnySymbol, lam: float) -> Array:
    """What Tikhonov's filter leaves of the data."""
    with np.errstate(divide="ignore", invalid="ignore"):
        left = residue(stage.H, weighted_symbol(stage, P), lam, workers=stage.workers)
    return left if np.isfinite(left.sum()) else defined(left, _BOTH)


def rest_of_system(stage: Stage, P: AnySymbol, lam: float) -> Array | None:
    """The same divided by c; None where nothing is unknown."""
    if not stage.free:
        return None
    left = left_of_data(stage, P, lam)
    return left if stage.colour is None else left / stage.colour


def inverse_filter(stage: Stage, *, threshold: float = 0.1) -> Filter:
    """The truncated inverse filter of `lsdeblur.direct.inverse`."""
    dc = np.abs(stage.H[mean_index(stage)]).reshape(-1, *[1] * len(stage.grid))
    gain = filters.inverse(stage.H, check_non_negative(threshold, "threshold") * dc).reshape(stage.H.shape)
    if not stage.free or (gain.all() and stage.mask is None):
        return gain, None
    # This filter has no penalty of its own to extend the data by: Tikhonov's stands in, at about the same strength.
    lam = float(np.mean(dc**2)) * max(threshold, 1e-2) ** 2
    return gain, residue(stage.H, stage.penalty("laplacian+gradient"), lam, workers=stage.workers)


def wiener_filter(
    stage: Stage, *, nsr: float | None = None, noise_power: Any = None, signal_power: Any = None
) -> Filter:
    """The filter of `lsdeblur.direct.wiener` for a constant ratio, or for power spectra."""
    if nsr is not None and (noise_power is not None or signal_power is not None):
        raise ValueError("give either nsr= or noise_power= and signal_power=, not both")
    if nsr is not None:
        return least_squares(stage, all_but_mean(stage), check_non_negative(nsr, "nsr"))
    if noise_power is None or signal_power is None:
        raise ValueError("wiener needs noise_power= and signal_power= together, or nsr= alone")
    dtype = stage.H.real.dtype
    N = power_spectrum(noise_power, stage.grid, "noise_power", dtype, with_mean=False)
    S = power_spectrum(signal_power, stage.grid, "signal_power", dtype, with_mean=False)
    with np.errstate(divide="ignore", invalid="ignore"):
        gain = filters.wiener(stage.H, N, S)
        rest = np.max(N) * filters.wiener_rest(stage.H, N, S) if stage.free else None
    gain[mean_index(stage)] = 1 / stage.H[mean_index(stage)]
    if rest is not None:
        rest[mean_index(stage)] = 0
    return defined(gain, "noise_power and signal_power |H|^2"), rest


def tikhonov_filter(
    stage: Stage,
    *,
    lam: float | None = None,
    penalty: Penalty = "laplacian+gradient",
    tau: float = 0.1,
    noise_width: float = 0.0,
    noise_floor: float = FLOOR,
) -> Filter:
    """The filter of `lsdeblur.direct.tikhonov` for a lambda that is a number."""
    if lam is None:
        raise TypeError("a tikhonov plan needs lam=, a number: for example the .lam of a first restore(...)")
    width, floor = check_non_negative(noise_width, "noise_width"), check_positive(noise_floor, "noise_floor")
    stage = stage.coloured(width, floor)
    return least_squares(stage, stage.penalty(penalty, tau), check_non_negative(lam, "lam"))


def defined(gain: Array, what: str) -> Array:
    """The gain, if it is finite everywhere: 0/0 means that nothing determines those frequencies."""
    bad = gain.size - int(np.count_nonzero(np.isfinite(gain)))
    if bad:
        raise ValueError(
            f"{what} are both zero at {bad} frequencies, so nothing determines the image there; "
            "use a positive lam, or a penalty that vanishes only at frequency zero"
        )
    return gain


#: method -> its filter on a stage; the keyword-only arguments are the options of `plan`
_FILTERS: dict[str, Callable[..., Filter]] = {
    "inverse": inverse_filter,
    "wiener": wiener_filter,
    "tikhonov": tikhonov_filter,
}
