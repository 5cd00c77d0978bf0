"""What the page says in words: the facts, what speaks for and against the result, and how to repeat it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lsdeblur._methods import METHODS
from lsdeblur._restore import restore
from lsdeblur._results import Restoration
from lsdeblur.metrics.evaluation import READING, evaluate
from lsdeblur.psf import PSFGrid
from lsdeblur.report._blur import spread
from lsdeblur.report._case import Case
from lsdeblur.report._charts import number
from lsdeblur.report._residual import LARGEST, Residual

__all__ = ["Check", "call_of", "checks_of", "images_of", "measures_of", "summary_of"]

_EXCESS = 2.0  # power of the residual in a band, relative to the noise: from here on it is not noise alone
#: method -> why its residual holds more than noise where the blur is right
_REASONS = {
    "wiener": "A constant noise-to-signal ratio damps low frequencies, where scenes are strong.",
    "cgls": "Stopping early leaves some of the scene behind.",
    "landweber": "Stopping early leaves some of the scene behind.",
    "richardson-lucy": "Stopping early leaves some of the scene behind, or the blur is wrong.",
}
_BLUR = 1.0  # pixels, standard deviation along the longest axis: less is hardly a blur
_CLOSE = 1.5  # factor between residual and noise level, either way


@dataclass(frozen=True, slots=True)
class Check:
    """A finding; `verdict` is "passed", "look" (at this) or "note"."""

    verdict: str
    text: str


def summary_of(result: Restoration) -> list[tuple[str, str, str]]:
    """Name, value and remark of what matters most."""
    rows = [("Method", result.method, "" if result.method in METHODS else "of the caller's")]
    if result.lam is not None:
        how = "given" if result.selection is None else f"chosen by {result.selection.criterion}"
        how += ", a noise-to-signal ratio" if result.method == "wiener" else ""
        rows.append(("λ", number(result.lam), how if _given(result) or result.selection else "set by the method"))
    if result.noise_std is not None:
        told = "given" if result.options.get("noise_std") is not None else "estimated"
        seen = f", correlated over {number(result.noise_width, 2)} px" if result.noise_width else ""
        rows.append(("Noise", number(result.noise_std), f"standard deviation, {told}{seen}"))
    if not result.converged or result.n_iter > 1:
        rows.append(("Iterations", str(result.n_iter), "converged" if result.converged else "not converged"))
    if result.sensitivity is not None:
        less, more = (f"{100 * v:.2g}" for v in result.sensitivity)
        rows.append(("Sensitivity", f"{less} / {more} %", "change of the image with ½ λ / 2 λ"))
    return rows


def _given(result: Restoration) -> bool:
    return any(isinstance(result.options.get(key), (int, float)) for key in ("lam", "nsr"))


def images_of(case: Case) -> list[tuple[str, str, str, str]]:
    """Name, shape, dtype and range of both images."""
    rows = []
    seen = ~case.hidden
    name = f"observed, first of {case.frames} frames" if case.frames else "observed"
    for what, a, dtype in ((name, case.observed, case.raw.dtype), ("restored", case.restored, case.restored.dtype)):
        values = a[:, seen]
        values = values[np.isfinite(values)]
        extent = f"{number(float(values.min()), 4)} … {number(float(values.max()), 4)}" if values.size else "–"
        rows.append((what, _times(case.raw.shape), str(dtype), extent))
    return rows


def measures_of(case: Case) -> list[tuple[str, str, str]]:
    """Name, value and reading of what `evaluate` says beyond the rest of the page; of large images nothing."""
    if max(case.shape) > LARGEST:
        return []
    shown = ("noise_std", "residual_rms", "residual_ratio")
    numbers = evaluate(case.result).numbers
    return [(name, number(value), READING[name]) for name, value in numbers.items() if name not in shown]


def _times(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))


def checks_of(case: Case, residual: Residual | str) -> list[Check]:
    """What can be said for and against the result from its own numbers; `residual` is that without denoising."""
    result, checks = case.result, []
    if result.selection is not None:
        checks += _about_lambda(result)
    if not result.converged:
        checks.append(Check("look", f"Not converged after {result.n_iter} iterations: the image is not final."))
    elif result.n_iter > 1:
        checks.append(Check("passed", f"Converged after {result.n_iter} iterations."))
    if isinstance(residual, Residual):
        checks += _about_residual(result, residual)
    if not np.isfinite(case.restored).all():
        checks.append(Check("look", "The restored image holds values that are not finite: it is not complete."))
    seen = case.observed[:, ~case.hidden]
    if seen.size:
        beyond = float(np.mean((case.restored < seen.min()) | (case.restored > seen.max())))
        text = f"{100 * beyond:.2g} % of the restored values lie beyond the range of the observed ones."
        checks.append(Check("note", text + (" Deblurring raises contrast; ringing does so, too." if beyond else "")))
    if case.hidden.any():
        share = float(case.hidden.mean())
        checks.append(
            Check("note", f"{100 * share:.2g} % of the pixels were not measured and are made up from others.")
        )
    if result.method in ("blind", "nas-rif"):
        sure = f" (confidence {result.psf_estimate.confidence:.2f})" if result.psf_estimate else ""
        text = f"The blur was found in this image itself{sure}, which the residual cannot prove: is it a plausible one?"
        checks.insert(0, Check("look", text))
        if case.middle_psf is not None and (width := spread(case.middle_psf)) < _BLUR:
            text = f"The PSF found is hardly a blur ({number(width, 2)} pixels): a sharp image, or a blur not found."
            checks.insert(1, Check("look", text))
    elif isinstance(case.psf, np.ndarray) and not _symmetric(case.psf):
        text = "A blur turned by 180 degrees leaves the same residual, and garbage: only the picture tells."
        checks.append(Check("note", text))
    return checks


def _symmetric(psf: np.ndarray[Any, Any]) -> bool:
    """Whether turning it about its centre changes less than a tenth of its light."""
    wide = np.pad(psf, [(0, 1 - s % 2) for s in psf.shape])
    return bool(np.abs(wide - np.flip(wide)).sum() <= 0.1 * np.abs(wide).sum())


def _about_lambda(result: Restoration) -> list[Check]:
    chosen = result.selection
    assert chosen is not None
    if chosen.at_boundary:
        found = Check(
            "look", f"λ lies at the end of the range searched, {number(chosen.lam)}: these data do not set it."
        )
    elif not chosen.criteria:
        found = Check("passed", f"The rule {chosen.criterion} stopped within the {len(chosen.lams)} iterations tried.")
    else:
        low, high = number(float(chosen.lams[0]), 2), number(float(chosen.lams[-1]), 2)
        found = Check("passed", f"λ lies within the range searched, {low} … {high}.")
    trusted = {r: v for r, v in chosen.choices.items() if r in ("evidence", "gcv", "sure", "image-error")}
    if len(trusted) < 2:
        return [found]
    factor = max(trusted.values()) / min(trusted.values())
    names = ", ".join(trusted)
    text = f"The rules {names} differ by a factor of {number(factor, 2)}"
    if factor < 10:
        return [found, Check("passed", text + ".")]
    return [found, Check("look", text + ": correlated noise or a wrong blur sets them apart.")]


def _about_residual(result: Restoration, residual: Residual) -> list[Check]:
    """Of a denoised image it is the residual without the denoiser, which takes faint detail of the scene."""
    checks = []
    denoised = result.options.get("denoise_after") is not None
    its = "Without the denoising, the residual's" if denoised else "The residual's"
    if result.noise_std:
        ratio = residual.rms / result.noise_std
        text = f"{its} rms is {number(residual.rms)}, {number(ratio, 2)} times the noise level."
        low = ratio <= 1 / _CLOSE and not denoised  # a lambda that was given is a low one
        more = " The restoration follows the noise, or its level is too high." if low else ""
        more = " More than noise is left: blur or noise level may be wrong." if ratio >= _CLOSE else more
        checks.append(Check("look" if more else "passed", text + more))
    beside = "the noise" if result.noise_std else "its own mean"
    where = f"at {number(residual.peak_at, 2)} cycles per pixel"
    text = f"{its} spectrum reaches {number(residual.peak, 2)} times {beside}, {where}"
    if residual.peak < _EXCESS:
        checks.append(Check("passed", f"{text}: no band holds twice the power of noise."))
    elif result.method == "pnp":  # no alarm: at low noise it is so with the right blur
        checks.append(Check("note", f"{text}, more than noise. A denoiser takes faint detail of the scene with it."))
    else:
        cause = "The restoration is too smooth" if result.lam is None else "λ is too large"
        reason = _REASONS.get(result.method, f"{cause}, or the blur is wrong.")
        checks.append(Check("look", f"{text}, more than noise. {reason}"))
    return checks


def call_of(result: Restoration, case: Case) -> str:
    """Python code that repeats the restoration; arrays and other objects are named and left to be filled in."""
    needed: list[str] = []
    several = case.frames > 0
    image = "[blurred_1, ...]" if several else "blurred"
    note = f"# {_times(case.raw.shape)}, {case.raw.dtype}"
    needed.append(f"blurred_1 = ...  {note}, and {case.frames - 1} more" if several else f"blurred = ...  {note}")
    arguments = [image]
    if case.psf is not None and result.method not in ("blind", "nas-rif"):
        kind = repr(case.psf) if isinstance(case.psf, PSFGrid) else _times(case.psf.shape)
        needed.append(
            f"{'psf_1' if several else 'psf'} = ...  # {kind}, result.psf{'[0], and the others' if several else ''}"
        )
        arguments.append("[psf_1, ...]" if several else "psf")
    if result.method not in METHODS:
        name = result.method if result.method.isidentifier() else "method"
        needed.append(f"{name} = ...  # the caller's own method")
        arguments.append(f"method={name}")
    elif result.method != "tikhonov":
        arguments.append(f"method={result.method!r}")
    arguments += _options(result.options, needed)
    inside = ", ".join(arguments)
    if len(inside) > 70:
        inside = "\n    " + ",\n    ".join(arguments) + ",\n"
    lines = ["from lsdeblur import restore", "", *needed, "", f"result = restore({inside})"]
    return "\n".join(lines)


def _options(options: Mapping[str, Any], needed: list[str]) -> list[str]:
    """The options that are not restore's defaults, as ``name=value``."""
    defaults = {p.name: p.default for p in inspect.signature(restore).parameters.values()}
    found = []
    for name, given in options.items():
        value = _native(given)
        default = defaults.get(name, inspect.Parameter.empty)
        if (value is None and default is None) or (_plain(value) and value == default):
            continue
        if _plain(value):
            found.append(f"{name}={value!r}")
            continue
        shape = f"{_times(np.shape(value))}, {value.dtype}" if hasattr(value, "dtype") else type(value).__name__
        needed.append(f"{name} = ...  # {shape}")
        found.append(f"{name}={name}")
    return found


def _native(value: Any) -> Any:
    """NumPy's numbers, and arrays of no axes, as Python's."""
    if isinstance(value, (list, tuple)):
        return type(value)(map(_native, value))
    return value.item() if isinstance(value, (np.generic, np.ndarray)) and value.ndim == 0 else value


def _plain(value: Any) -> bool:
    """Whether its repr is Python that gives it back."""
    if isinstance(value, (list, tuple)):
        return all(map(_plain, value))
    if isinstance(value, float):
        return bool(np.isfinite(value))
    return value is None or isinstance(value, (bool, int, str))
