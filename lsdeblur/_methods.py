"""What a method receives and returns, and the table of methods.

A method is a callable ``(problem, **options) -> Solution``. Its options are its keyword-only arguments.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lsdeblur._results import PSFEstimate, Selection
from lsdeblur._validate import check_choice, meant

__all__ = [
    "BLIND",
    "METHODS",
    "TENSORS",
    "Method",
    "Problem",
    "Progress",
    "Solution",
    "check_options",
    "named",
    "resolve",
]

#: name -> "module:callable", imported when it is chosen
METHODS: dict[str, str] = {
    "inverse": "lsdeblur.direct:inverse",
    "wiener": "lsdeblur.direct:wiener",
    "tikhonov": "lsdeblur.direct:tikhonov",
    "cgls": "lsdeblur.iterative.cgls:cgls",
    "landweber": "lsdeblur.iterative.cgls:landweber",
    "richardson-lucy": "lsdeblur.iterative.richardson_lucy:richardson_lucy",
    "constrained": "lsdeblur.iterative.constrained:constrained",
    "hyper-laplacian": "lsdeblur.iterative.hyper_laplacian:hyper_laplacian",
    "tv": "lsdeblur.iterative.total_variation:total_variation",
    "wavelet": "lsdeblur.iterative.wavelet:wavelet",
    "nas-rif": "lsdeblur.blind.nas_rif:nas_rif",
    "blind": "lsdeblur.blind.restoration:blind",
    "pnp": "lsdeblur.deep.plug_and_play:pnp",
}

#: what `restore` hands torch tensors to
TENSORS = "lsdeblur.deep.tensors:solve"

#: methods that find the PSF, or do without: for them `psf` may be missing, and `Problem.psf` is None then
BLIND: frozenset[str] = frozenset({"blind", "nas-rif"})


@dataclass(frozen=True, slots=True)
class Progress:
    """What a callback gets: `iteration` (or tile) of at most `total` is done; the `objective` where one falls."""

    iteration: int
    total: int
    objective: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """A validated restoration problem, as every method receives it.

    Attributes
    ----------
    image : float32 or float64 array (channels, *spatial)
        The blurred image; one channel where the caller's image has no channel axis. Never modified.
    psf : array (1 or channels, *psf_shape), psf.PSFGrid, or None for blind methods
        The PSF in the image's dtype, its centre at ``s // 2`` of every spatial axis; or PSFs that vary over the frame.
    boundary : str
        What is assumed outside the frame.
    spacing : tuple of float
        Relative pixel pitch of every spatial axis.
    workers : int or None
        Threads; None means all processors.
    mask : bool array (*spatial) or None
        True where the image was not measured; there it holds the nearest measured value.
    callback : callable or None
        What iterative methods call by `goes_on`.
    """

    image: npt.NDArray[np.floating[Any]]
    psf: Any
    boundary: str
    spacing: tuple[float, ...]
    workers: int | None = None
    mask: npt.NDArray[np.bool_] | None = None
    callback: Callable[[Progress], object] | None = None

    def goes_on(self, iteration: int, total: int, objective: float | None = None) -> bool:
        """Tell the callback of an iteration that is done; False if it raised StopIteration to end the run."""
        try:
            if self.callback is not None:
                self.callback(Progress(iteration, total, objective))
        except StopIteration:
            return False
        return True

    @property
    def shape(self) -> tuple[int, ...]:
        """Spatial shape of the image."""
        return self.image.shape[1:]


@dataclass(frozen=True, slots=True, eq=False)
class Solution:
    """What a method returns; what it does not use is None. The fields mean what they mean in `Restoration`."""

    image: npt.NDArray[np.floating[Any]]  # (channels, *spatial)
    lam: float | None = None
    selection: Selection | None = None
    noise_std: float | None = None
    noise_width: float = 0.0
    noise_floor: float = 1e-4
    std: npt.NDArray[np.floating[Any]] | None = None
    sensitivity: tuple[float, float] | None = None
    converged: bool = True
    n_iter: int = 1
    message: str = ""
    psf: npt.NDArray[np.floating[Any]] | None = None  # the one it found, (*psf_shape); None: it used the problem's
    psf_estimate: PSFEstimate | None = None


Method = Callable[..., Solution]


def resolve(method: str | Method) -> tuple[str, Method]:
    """Name and callable of a method: a line of METHODS, imported now, or the caller's own callable."""
    if callable(method):
        return getattr(method, "__name__", type(method).__name__), method
    if str(method).endswith((".safetensors", ".pt", ".onnx")):
        raise ValueError(
            f"method={method!r} is a file: pass what it holds, lsdeblur.deep.load({method!r}), or the OnnxMethod of an "
            "ONNX file"
        )
    return method, named(METHODS[check_choice(method, METHODS, "method")])


def named(line: str) -> Any:
    """What a line "module:name" stands for, imported now."""
    module, _, name = line.partition(":")
    return getattr(importlib.import_module(module), name)


def check_options(
    function: Callable[..., Any], options: Mapping[str, Any], owner: str, others: Iterable[str] = ()
) -> None:
    """TypeError naming the valid options when one in `options` is no keyword argument of `function` after its first.

    `others` are the caller's own arguments, which may be what was meant as well.
    """
    parameters = inspect.signature(function).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return
    valid = [p.name for i, p in enumerate(parameters) if i > 0 and p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)]
    unknown = [name for name in options if name not in valid]
    if unknown:
        said = f"its options are {', '.join(map(repr, valid))}" if valid else "it has no options"
        hint = "".join(meant(name, [*valid, *others]) for name in unknown)
        raise TypeError(f"{owner} has no option {', '.join(map(repr, unknown))}; {said}{hint}")
