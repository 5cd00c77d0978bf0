"""A network as a method of `restore`: what models of PyTorch and ONNX files share. PyTorch need not be installed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lsdeblur import tiling
from lsdeblur._methods import Problem, Solution
from lsdeblur._validate import check_positive
from lsdeblur.direct import tikhonov
from lsdeblur.noise import estimate_noise_std
from lsdeblur.psf import PSFGrid

__all__ = ["TILE", "About", "Run", "restored", "solution", "turned", "turned_back"]

Array = npt.NDArray[Any]
#: a float32 image (channels, rows, columns), and what else the network needs, by name, to the restored image
Run = Callable[[Array, Mapping[str, Array]], Array]

TILE = 1024  # pixels of the side of a tile; images of up to two of them are taken as a whole
_FORMAT = "lsdeblur onnx 1"


@dataclass(frozen=True, slots=True)
class About:
    """What there is to know of a network, in the metadata of an ONNX file.

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


def turned(image: Array, k: int) -> Array:
    """One of the eight ways to turn and mirror the last two axes."""
    way = np.rot90(image, k, (-2, -1))
    return np.ascontiguousarray(way[..., ::-1] if k % 8 >= 4 else way)


def turned_back(image: Array, k: int) -> Array:
    """The inverse of `turned`."""
    return np.rot90(image[..., ::-1] if k % 8 >= 4 else image, -k, (-2, -1))


def solution(about: About, run: Run, problem: Problem, noise_std: float | None, tile: int = TILE) -> Solution:
    """A problem of two spatial axes restored by a network; boundary, spacing and workers play no role.

    A network that needs the noise level and is given none gets Tikhonov's estimate, or without a PSF
    `noise.estimate_noise_std`.
    """
    _check(about, problem)
    sigma = None if noise_std is None else check_positive(noise_std, "noise_std")
    if "noise_std" in about.needs and sigma is None:
        blind = problem.psf is None
        sigma = estimate_noise_std(problem.image, channel_axis=0) if blind else tikhonov(problem).noise_std
    given = {"psf": problem.psf, "noise_std": None if sigma is None else np.full(1, sigma)}
    missing = [name for name in about.needs if given[name] is None]
    if missing:
        raise ValueError(f"{about.model} needs {' and '.join(missing)}: give {missing[0]}= to restore")
    images = problem.image.reshape(-1, about.channels, *problem.shape)
    needed = {name: np.asarray(given[name]) for name in about.needs}
    image, done, total = restored(about, run, images, needed, tile, problem)
    message = f"{about.model} with {about.weights:,} weights" + (" of 8 bits" if about.integers else "")
    if sigma is not None:
        message += f", noise of {sigma:.3g}"
    if total > 1:
        message += f"; {done} of {total} tiles"
    return Solution(image.reshape(problem.image.shape), noise_std=sigma, converged=done == total, message=message)


def _check(about: About, problem: Problem) -> None:
    if len(problem.shape) != 2:
        raise ValueError(f"{about.model} restores images of 2 spatial axes, not {len(problem.shape)}")
    if problem.mask is not None:
        raise ValueError(f"{about.model} knows nothing of a mask: use method='pnp', or fill the pixels first")
    n = len(problem.image)
    if n % about.channels:
        raise ValueError(
            f"{about.model} was trained on images of {about.channels} channels, this one has {n}; give such a one, or "
            "a network made with channels=1, which takes them one by one"
        )
    if "psf" in about.needs and isinstance(problem.psf, PSFGrid):
        raise TypeError(
            f"{about.model} needs a uniform PSF, not a PSFGrid: give psf.at(...) of it, or tiles of the image"
        )
    if "psf" in about.needs and problem.psf is not None and about.channels > 1 < len(problem.psf):
        raise ValueError(f"{about.model} takes one PSF for all channels, not {len(problem.psf)}: give one")


def restored(
    about: About, run: Run, images: Array, needed: Mapping[str, Array], tile: int = TILE,
    problem: Problem | None = None,
) -> tuple[Array, int, int]:  # fmt: skip
    """Images (n, channels, rows, columns), one by one and tile by tile; how many tiles of how many are done.

    Of what is `needed`, an array holds one for all images, or one for each. Tiles that were not begun
    when the problem's callback ended the run are NaN. The result is that of the whole images; networks that see all of
    them get them whole.
    """
    unit = float(np.abs(images).max()) if about.integers else 1.0
    unit = unit if unit > 0 else 1.0
    scaled = {name: np.asarray(a / unit if name == "noise_std" else a, np.float32) for name, a in needed.items()}
    parts = _parts(about, images.shape[-2:], tile)
    out = np.full_like(images, np.nan)
    for done, part in enumerate(parts, 1):
        for k, image in enumerate(images):
            x = np.divide(image[(slice(None), *part.window)], unit, dtype=np.float32, casting="same_kind")
            y = run(x, {name: a[k % len(a)][np.newaxis] for name, a in scaled.items()})
            np.multiply(y[(slice(None), *part.inner)], unit, out=out[(k, slice(None), *part.core)], casting="same_kind")
        if problem is not None and len(parts) > 1 and not problem.goes_on(done, len(parts)):
            return out, done, len(parts)
    return out, len(parts), len(parts)


def _parts(about: About, shape: Sequence[int], tile: int) -> list[tiling.Tile]:
    """Tiles whose windows begin at multiples of `step`, as the network's coarser scales do; a slice's end may lie
    beyond the image, where the network pads."""
    if about.halo is None or shape[0] * shape[1] <= 2 * tile**2:
        return tiling.tiles(shape, shape)
    return tiling.tiles([n + -n % about.step for n in shape], tile + -tile % about.step, about.halo)
