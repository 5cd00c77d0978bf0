"""What a restoration returns: frozen records of arrays and numbers, without drawing or computing."""

from __future__ import annotations

import json
import os
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from html import escape
from typing import Any

import numpy as np
import numpy.typing as npt

from lsdeblur._files import replacing
from lsdeblur.errors import LsdeblurWarning

__all__ = ["Diagnosis", "PSFEstimate", "Restoration", "Selection"]

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """How lambda was chosen: the curves over the lambdas searched, ready to plot.

    Attributes
    ----------
    criterion : str
        The rule that chose: "evidence", "gcv", "l-curve", "discrepancy", "sure", "image-error" (``effort="accurate"``)
        or "least-error" (Wiener's "auto"); for methods that regularise by stopping their rule, with the number of
        iterations in lambda's place and ``||f||^2`` for the seminorm.
    lam : float
        The lambda it chose.
    lams : array (n,)
        The lambdas searched, increasing.
    values : array (n,)
        The criterion at each of `lams`: minimised by "evidence", "gcv" and "sure", maximised by "l-curve"
        (the curvature), zero at the answer for "discrepancy" and "image-error".
    residual : array (n,)
        Squared norm of the residual, ``||h * f - g||^2``, over the grid that was used.
    seminorm : array (n,)
        ``<f, P f>``, the penalty of the restored image.
    dof : array (n,)
        Effective degrees of freedom, ``sum(H G)``.
    n_obs : float
        Number of data values the sums run over.
    at_boundary : bool
        Whether `lam` lies at the end of `lams`: the data did not determine it.
    choices : mapping of str to float
        The lambda of every rule that has an answer for these data.
    criteria : mapping of str to array (n,)
        The values of all those rules.
    approximate : Selection or None
        With ``effort="accurate"``, where `lams` are the few lambdas at which the free boundary was solved: the
        choice before, from the whole curves of the extended image, which hold approximately between those lambdas.
    """

    criterion: str
    lam: float
    lams: Array
    values: Array
    residual: Array
    seminorm: Array
    dof: Array
    n_obs: float
    at_boundary: bool = False
    choices: Mapping[str, float] = field(default_factory=dict)
    criteria: Mapping[str, Array] = field(default_factory=dict)
    approximate: Selection | None = None

    def __repr__(self) -> str:
        end = ", at the end of the range" if self.at_boundary else ""
        return f"Selection({self.criterion!r}, lam={self.lam:.3g}{end}, {len(self.lams)} lambdas)"


@dataclass(frozen=True, slots=True, eq=False)
class Restoration:
    """A restored image with the evidence for it.

    ``np.asarray(result)`` and ``plt.imshow(result)`` use the image.

    Attributes
    ----------
    image : array
        The restored image, of the shape of the blurred one and in the working dtype; of a torch tensor one on its
        device, which `save` and ``np.asarray`` copy to the host.
    psf : array, psf.PSFGrid or None
        The PSF that was used. `load` gives a PSFGrid as the mapping of its fields: ``psf.PSFGrid(**result.psf)``.
    method : str
        The method's name.
    lam : float or None
        The regularisation strength that was used (for Wiener with a scalar `nsr`, that `nsr`).
    selection : Selection or None
        How it was chosen; None where it was given.
    noise_std : float or None
        Noise standard deviation in units of the image: as given, or estimated from the residual.
    noise_width : float
        Width in pixels of the Gaussian that correlates the noise, as given or found; 0 for white noise.
    noise_floor : float
        Beside correlated noise, power of its white part relative to the correlated part's at frequency zero.
    std : array or None
        Posterior standard deviation of each pixel, where the method gives one.
    sensitivity : pair of float, or None
        How much half of lambda, and twice lambda, would change the image: rms, relative to the image without its mean.
        For least squares with one PSF.
    converged : bool
        Whether an iterative method reached its tolerance; True for direct methods.
    n_iter : int
        Iterations used; 1 for direct methods.
    message : str
        What was decided and why, in a sentence.
    options : mapping
        The arguments besides image, psf and method with which the call can be repeated.
    version : str
        The version of lsdeblur that made it.
    psf_estimate : PSFEstimate or None
        Of ``method="blind"``: the evidence for the PSF that was found.
    observed : array, or list of arrays
        The caller's own blurred image, not a copy; `save` leaves it out, so that it is None after `load`.
    """

    image: Array
    psf: Any
    method: str
    lam: float | None = None
    selection: Selection | None = None
    noise_std: float | None = None
    noise_width: float = 0.0
    noise_floor: float = 1e-4
    std: Array | None = None
    sensitivity: tuple[float, float] | None = None
    converged: bool = True
    n_iter: int = 1
    message: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    version: str = ""
    psf_estimate: PSFEstimate | None = None
    observed: Any = None

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> Array:
        image = in_memory(self.image)
        if copy is False and dtype is not None and np.dtype(dtype) != image.dtype:
            raise ValueError(f"the image is {self.image.dtype}: it cannot become {np.dtype(dtype)} without a copy")
        return np.array(image, dtype=dtype, copy=True) if copy else np.asarray(image, dtype=dtype)

    def __repr__(self) -> str:
        parts = [repr(self.method), f"shape={tuple(self.image.shape)}", f"dtype={self.image.dtype}"]
        if self.lam is not None:
            rule = f" by {self.selection.criterion}" if self.selection else ""
            parts.append(f"lam={self.lam:.3g}{rule}")
        if self.noise_std is not None:
            parts.append(f"noise_std={self.noise_std:.3g}")
        if not self.converged:
            parts.append("not converged")
        return f"Restoration({', '.join(parts)})"

    def _repr_html_(self) -> str:
        rows = {"method": self.method, "image": f"{_times(self.image.shape)}, {self.image.dtype}"}
        if self.lam is not None:
            rows["lambda"] = f"{self.lam:.3g}" + (f", chosen by {self.selection.criterion}" if self.selection else "")
        if self.noise_std is not None:
            width = f", correlated over {self.noise_width:.2g} pixels" if self.noise_width else ""
            rows["noise_std"] = f"{self.noise_std:.3g}{width}"
        if self.psf_estimate is not None:
            rows["psf"] = f"{_times(self.psf_estimate.psf.shape)}, confidence {self.psf_estimate.confidence:.2f}"
        rows["message"] = self.message
        if not self.converged:
            rows["warning"] = f"not converged after {self.n_iter} iterations"
        elif self.selection is not None and self.selection.at_boundary:
            rows["warning"] = "lambda lies at the end of the range that was searched"
        return _table("Restoration", rows)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything except `observed` to one compressed ``.npz`` file, which `load` reads back.

        A file that is there is replaced, as a whole or not at all. Arrays are stored exactly. An option that is a
        function or another object is stored by its text, with a `LsdeblurWarning`: to repeat the call, pass it again.
        """
        arrays: dict[str, Array] = {}
        foreign: list[str] = []
        record = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "observed"}
        arrays["record"] = np.array(json.dumps(_pack(record, "", arrays, foreign)))
        if foreign:
            warnings.warn(
                f"{', '.join(foreign)} cannot be stored in a file: only the name is", LsdeblurWarning, stacklevel=2
            )
        # An open file keeps savez from appending a suffix of its own.
        with replacing(path, overwrite=True) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Restoration:
        """Read what `save` wrote; a file that is something else raises ValueError."""
        try:
            with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
                record = _unpack(json.loads(str(arrays["record"])), arrays)
                estimate = record.get("psf_estimate")
                record["psf_estimate"] = None if estimate is None else PSFEstimate(**estimate)
                return cls(**{**record, "selection": _selection(record["selection"])})
        except (ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f"{os.fspath(path)!r} does not hold a Restoration written by save(): {error}") from error


@dataclass(frozen=True, slots=True, eq=False)
class PSFEstimate:
    """A PSF that was found in a blurred image, with the evidence for it.

    ``np.asarray(estimate)`` gives the PSF, so an estimate can be passed wherever a PSF can.

    Attributes
    ----------
    psf : float64 array
        Non-negative, of sum 1, odd-sized, its centre at pixel ``s // 2`` of every axis.
    method : str
        The method's name.
    confidence : float in 0..1
        How far the method trusts it; each method says what it measures.
    message : str
        What was found, and what speaks against it, in a sentence.
    converged : bool
        Whether iterations reached their end and the result may be used. Of a refinement, False where nothing better
        than the initial PSF was found and that is what `psf` holds.
    n_iter : int
        Iterations used.
    parameters : mapping
        Of a parametric estimate: "family" and the parameters of the model in `lsdeblur.psf`.
    scores : mapping of str to float
        The criterion of each candidate (family, size or run), lower is better.
    history : tuple of mappings
        One for each scale or iteration, in their order, ready to plot: "psf", "shape" of the image there, "objective".
    """

    psf: Array
    method: str
    confidence: float
    message: str = ""
    converged: bool = True
    n_iter: int = 1
    parameters: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)
    history: tuple[Mapping[str, Any], ...] = ()

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> Array:
        if copy is False and dtype is not None and np.dtype(dtype) != self.psf.dtype:
            raise ValueError(f"the psf is {self.psf.dtype}: it cannot become {np.dtype(dtype)} without a copy")
        return np.array(self.psf, dtype=dtype, copy=True) if copy else np.asarray(self.psf, dtype=dtype)

    def __repr__(self) -> str:
        pairs = self.parameters.items()
        found = "".join(f", {n}={v:.4g}" if isinstance(v, float) else f", {n}={v!r}" for n, v in pairs)
        end = "" if self.converged else ", not converged"
        shape = "x".join(map(str, self.psf.shape))
        return f"PSFEstimate({self.method!r}, {shape}{found}, confidence={self.confidence:.2f}{end})"

    def _repr_html_(self) -> str:
        rows = {"method": self.method, "psf": _times(self.psf.shape), "confidence": f"{self.confidence:.2f}"}
        rows |= {name: f"{v:.4g}" if isinstance(v, float) else str(v) for name, v in self.parameters.items()}
        rows["message"] = self.message
        if not self.converged:
            rows["warning"] = f"not converged after {self.n_iter} iterations"
        return _table("PSF estimate", rows)


@dataclass(frozen=True, slots=True, eq=False)
class Diagnosis:
    """What kind of blur an image has, and whether it can be taken back.

    Attributes
    ----------
    kind : str
        "sharp", "motion", "defocus", "mixed" or "not-recoverable".
    recoverable : bool
        Whether a restoration can be expected to help.
    message : str
        The finding and its reason, in a sentence.
    snr_db : float
        Signal-to-noise ratio of the image, in dB.
    numbers : mapping of str to float
        The measurements behind it.
    """

    kind: str
    recoverable: bool
    message: str
    snr_db: float
    numbers: Mapping[str, float] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Diagnosis({self.kind!r}: {self.message})"

    def _repr_html_(self) -> str:
        rows = {"kind": self.kind, "recoverable": "yes" if self.recoverable else "no", "message": self.message}
        return _table("Diagnosis", rows | {"snr_db": f"{self.snr_db:.1f}"})


def _times(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def _table(title: str, rows: Mapping[str, str]) -> str:
    """What notebooks show: names and values, escaped; empty ones are left out."""
    left = 'style="text-align: left"'
    body = "".join(
        f'<tr><th scope="row" {left}>{escape(name)}</th><td {left}>{escape(text)}</td></tr>'
        for name, text in rows.items()
        if text
    )
    return f"<table><caption {left}>{escape(title)}</caption><tbody>{body}</tbody></table>"


def in_memory(array: Any) -> Any:
    """A torch tensor as an array in the host's memory; others as they are. (This layer knows no other library.)"""
    return array.detach().cpu().numpy() if hasattr(array, "detach") else array


def _selection(record: dict[str, Any] | None) -> Selection | None:
    if record is None:
        return None
    return Selection(**{**record, "approximate": _selection(record.get("approximate"))})


def _pack(value: Any, name: str, arrays: dict[str, Array], foreign: list[str]) -> Any:
    """`value` as JSON: its arrays move to `arrays`, tuples and arrays are marked by a one-key object.

    What is neither data nor text becomes text, and its name and text are added to `foreign`.
    """
    if is_dataclass(value) and not isinstance(value, type):  # a Selection or a PSFGrid
        value = {f.name: getattr(value, f.name) for f in fields(value)}
    value = in_memory(value)
    if isinstance(value, np.ndarray):
        arrays[f"array{len(arrays)}"] = value
        return {"__array__": f"array{len(arrays) - 1}"}
    if isinstance(value, Mapping):
        return {str(key): _pack(item, str(key), arrays, foreign) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        items = [_pack(item, name, arrays, foreign) for item in value]
        return {"__tuple__": items} if isinstance(value, tuple) else items
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    text = f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', repr(value))}"
    foreign.append(f"{name} = {text}")
    return text


def _unpack(value: Any, arrays: Mapping[str, Array]) -> Any:
    if isinstance(value, dict):
        if value.keys() == {"__array__"}:
            return arrays[value["__array__"]]
        if value.keys() == {"__tuple__"}:
            return tuple(_unpack(item, arrays) for item in value["__tuple__"])
        return {key: _unpack(item, arrays) for key, item in value.items()}
    return [_unpack(item, arrays) for item in value] if isinstance(value, list) else value
