"""Exported networks as methods of `restore`, by onnxruntime alone: PyTorch need not be installed.

``restore(image, psf, method=OnnxMethod("model.onnx"))``; a denoiser's file is also a prior of any restoration with a
known blur: ``restore(image, psf, method=PlugAndPlay(OnnxMethod("denoiser.onnx").denoise))``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lsdeblur import tiling
from lsdeblur._methods import Problem, Solution
from lsdeblur._validate import check_positive, check_size
from lsdeblur.deep import missing

__all__ = ["About", "OnnxMethod", "session"]

Array = npt.NDArray[Any]
_FORMAT = "lsdeblur onnx 1"


@dataclass(frozen=True, slots=True)
class About:
    """What the metadata of a file say of its network.

    `model`, `options`, `needs`, `channels`, `step` and `halo` are those of `networks.Model`; `weights` is the number of
    its parameters, `integers` whether it computes in 8 bits: for images whose largest magnitude is 1 then.
    """

    model: str
    options: dict[str, Any]
    needs: tuple[str, ...]
    channels: int
    step: int
    halo: int | None
    weights: int
    integers: bool = False

    @classmethod
    def of(cls, model: Any) -> About:
        """Those of a `networks.Model`."""
        return cls(
            type(model).__name__, model.options, tuple(model.needs), model.channels, model.step, model.halo,
            model.n_parameters,
        )  # fmt: skip

    @classmethod
    def read(cls, texts: Mapping[str, str], source: object) -> About:
        """From the texts in a file; `source` is for the error."""
        if texts.get("format") != _FORMAT:
            raise ValueError(f"{source} does not say what network it holds: give a file of lsdeblur.deep.export")
        values = {name: json.loads(texts[name]) for name in cls.__slots__}
        return cls(**{**values, "needs": tuple(values["needs"])})

    def texts(self) -> dict[str, str]:
        """As they are written to a file."""
        return {"format": _FORMAT, **{name: json.dumps(value) for name, value in asdict(self).items()}}


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

    def __init__(self, path: str | os.PathLike[str], *, threads: int | None = None, tile: int = 1024) -> None:
        if not Path(path).is_file():
            raise FileNotFoundError(f"{path} is not there: give the file that lsdeblur.deep.export wrote")
        self.tile = check_size(tile, 1, "tile")[0]
        self._session = session(os.fspath(path), threads)
        self.about = About.read(self._session.get_modelmeta().custom_metadata_map, path)

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
            Of the image, for networks that need it; None: Tikhonov's estimate.
        """
        about, n = self.about, len(problem.image)
        if len(problem.shape) != 2:
            raise ValueError(f"{about.model} restores images of 2 spatial axes, not {len(problem.shape)}")
        if problem.mask is not None:
            raise ValueError(f"{about.model} knows nothing of a mask: use method='pnp', or fill the pixels first")
        if n % about.channels:
            raise ValueError(
                f"{about.model} was trained on images of {about.channels} channels, this one has {n}; give such a one, "
                "or the file of a network made with channels=1, which takes them one by one"
            )
        sigma = None if noise_std is None else check_positive(noise_std, "noise_std")
        if "noise_std" in about.needs and sigma is None:
            from lsdeblur.direct import tikhonov

            sigma = tikhonov(problem).noise_std
        images = problem.image.reshape(-1, about.channels, *problem.shape)
        image, done, total = self._restored(images, sigma, problem)
        message = f"{about.model} with {about.weights:,} weights" + (" of 8 bits" if about.integers else "")
        if sigma is not None:
            message += f", noise of {sigma:.3g}"
        if total > 1:
            message += f"; {done} of {total} tiles"
        return Solution(image.reshape(problem.image.shape), noise_std=sigma, converged=done == total, message=message)

    def denoise(self, image: Array, noise_std: float) -> Array:
        """An image (..., rows, columns) without white noise of standard deviation `noise_std`, plane by plane.

        For files of a `Denoiser`; ``PlugAndPlay(OnnxMethod(path).denoise)`` restores with it.
        """
        if self.about.needs != ("noise_std",) or self.about.channels != 1:
            raise ValueError(f"{self.about.model} is no denoiser of single planes: give the file of a Denoiser")
        planes = image.reshape(-1, 1, *image.shape[-2:])
        return self._restored(planes, check_positive(noise_std, "noise_std"))[0].reshape(image.shape)

    def _restored(
        self, images: Array, noise_std: float | None, problem: Problem | None = None
    ) -> tuple[Array, int, int]:
        """Images (n, channels, rows, columns) restored; how many tiles of how many are done, the others are NaN."""
        unit = float(np.abs(images).max()) if self.about.integers else 1.0
        unit = unit if unit > 0 else 1.0
        sigma = np.full(1, 0.0 if noise_std is None else noise_std / unit, np.float32)
        parts = self._parts(images.shape[-2:])
        out = np.full_like(images, np.nan)
        done = 0
        for part in parts:
            for k, image in enumerate(images):
                x = np.divide(image[(slice(None), *part.window)], unit, dtype=np.float32, casting="same_kind")
                given = {"image": x[None], "noise_std": sigma}
                inputs = {name: given[name] for name in ("image", *self.about.needs)}
                y = self._session.run(None, inputs)[0][0]
                np.multiply(y[(slice(None), *part.inner)], unit, out=out[(k, slice(None), *part.core)])
            done += 1
            if problem is not None and len(parts) > 1 and not problem.goes_on(done, len(parts)):
                break
        return out, done, len(parts)

    def _parts(self, shape: tuple[int, ...]) -> list[tiling.Tile]:
        """Tiles whose windows begin at multiples of `step`, as the network's coarser scales do; a slice's end may lie
        beyond the image, where the network pads."""
        step, halo = self.about.step, self.about.halo
        if halo is None or shape[0] * shape[1] <= 2 * self.tile**2:
            return tiling.tiles(shape, shape)
        return tiling.tiles([n + -n % step for n in shape], self.tile + -self.tile % step, halo)
