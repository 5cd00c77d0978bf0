"""Exported networks as methods of `restore`, by onnxruntime alone: PyTorch need not be installed.

``restore(image, psf, method=OnnxMethod("model.onnx"))``; a denoiser's file is also a prior of any restoration with a
known blur: ``restore(image, psf, method=PlugAndPlay("denoiser.onnx"))``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lsdeblur._methods import Problem, Solution
from lsdeblur._validate import check_positive, check_size
from lsdeblur.deep import missing
from lsdeblur.deep._network import TILE, About, restored, solution

__all__ = ["OnnxMethod", "session"]

Array = npt.NDArray[Any]


def session(source: str | bytes, threads: int | None = None) -> Any:
    """A session of onnxruntime on the processor, of a file or what it contains."""
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise missing(error) from None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors; it writes to the terminal
    if threads is not None:
        options.intra_op_num_threads = check_size(threads, 1, "threads")[0]
    try:
        return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the classes of onnxruntime's errors have no public name
        name = "what was exported" if isinstance(source, bytes) else source
        raise ValueError(f"onnxruntime cannot run {name} ({error}): give a file of lsdeblur.deep.export") from None


class OnnxMethod:
    """A method of `restore` that runs a network from a file of `lsdeblur.deep.export` or `quantised`.

    Parameters
    ----------
    path : path
        An ONNX file.
    threads : int, optional
        Of onnxruntime, for all calls; None means all processors (`workers` of `restore` plays no role).
    tile : int
        Images of more than 2 tile^2 pixels are restored by tiles of that size with a halo as wide as the network sees:
        the result is the same as for the whole image. Networks with attention see all of it, and are not tiled.

    Attributes
    ----------
    about : About
    halo : int or None
        How many pixels away a pixel still counts at most; what `overlap` of `lsdeblur.tiling.tiled` should be.

    Raises
    ------
    FileNotFoundError, ValueError
        There is no such file; it is none that `export` wrote.
    MissingDependencyError
        Without onnxruntime.

    Notes
    -----
    Networks know nothing of boundaries and masks. The network computes in float32, or in 8 bits; the result has the
    image's dtype. Images may come in any unit.

    Examples
    --------
    >>> from lsdeblur import restore
    >>> from lsdeblur.deep import OnnxMethod
    >>> restore(blurred, psf, method=OnnxMethod("model.onnx"))  # doctest: +SKIP
    """

    def __init__(self, path: str | os.PathLike[str], *, threads: int | None = None, tile: int = TILE) -> None:
        if not Path(path).is_file():
            raise FileNotFoundError(f"{path} is not there: give the file that lsdeblur.deep.export wrote")
        self.tile = check_size(tile, 1, "tile")[0]
        self._session = session(os.fspath(path), threads)
        self.about = About.read(self._session.get_modelmeta().custom_metadata_map, path)

    @property
    def needs_psf(self) -> bool:
        """Whether `restore` must be given a PSF."""
        return "psf" in self.about.needs

    @property
    def halo(self) -> int | None:
        """How many pixels away a pixel still counts at most; None: all over the image."""
        return self.about.halo

    def __call__(self, problem: Problem, *, noise_std: float | None = None) -> Solution:
        """Restore a problem of two spatial axes.

        Parameters
        ----------
        problem : Problem
        noise_std : float > 0, optional
            Of the image, for networks that need it; None: it is estimated.
        """
        return solution(self.about, self._run, problem, noise_std, self.tile)

    def denoise(self, image: Array, noise_std: float) -> Array:
        """An image (..., rows, columns) without white noise of standard deviation `noise_std`, plane by plane.

        For files of a `Denoiser`; ``PlugAndPlay(OnnxMethod(path))`` restores with it.
        """
        if self.about.needs != ("noise_std",) or self.about.channels != 1:
            raise ValueError(f"{self.about.model} is no denoiser of single planes: give the file of a Denoiser")
        planes, level = image.reshape(-1, 1, *image.shape[-2:]), np.full(1, check_positive(noise_std, "noise_std"))
        return restored(self.about, self._run, planes, {"noise_std": level}, self.tile)[0].reshape(image.shape)

    def _run(self, image: Array, needed: Mapping[str, Array]) -> Array:
        return self._session.run(None, {"image": image[np.newaxis], **needed})[0][0]
