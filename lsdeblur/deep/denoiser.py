"""The shipped denoiser: a network trained on photographs of nature and people, and networks like it from files.

It was trained by ``python -m lsdeblur.deep.train denoiser``; `shipped/denoiser.md` says on what, and how well it does.
It takes images of any unit: a times the image and the noise give a times the result.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from lsdeblur import tiling
from lsdeblur.deep.networks import Denoiser

__all__ = ["SHIPPED", "apply", "denoise", "network"]

Array = npt.NDArray[Any]

SHIPPED = Path(__file__).parent / "shipped" / "denoiser.safetensors"
_LARGEST = 2048 * 1024  # pixels that the network takes at once: some 1.5 GB
_TILE = 1024  # of the parts of larger ones


@lru_cache(maxsize=4)
def network(path: str | os.PathLike[str] = SHIPPED) -> Denoiser:
    """The network in a file, loaded once."""
    return Denoiser.load(path)


def denoise(image: Array, noise_std: float) -> Array:
    """An image (rows, columns) without its white noise of standard deviation `noise_std`, by the shipped network."""
    return apply(network(), image, noise_std)


def apply(net: Denoiser, image: Array, noise_std: float) -> Array:
    """An image (rows, columns) of float32 or float64 denoised in float32; large ones by tiles, volumes by planes."""
    if image.ndim == 3:
        return np.stack([apply(net, plane, noise_std) for plane in image])
    if image.size <= _LARGEST:
        return _whole(net, image, noise_std)
    # Windows begin at multiples of the network's step if the image ends at one.
    wide = np.pad(image, [(0, -n % net.step) for n in image.shape], mode="edge")
    out = np.empty_like(wide)
    for tile in tiling.tiles(wide.shape, _TILE, net.halo or 0):
        out[tile.core] = _whole(net, wide[tile.window], noise_std)[tile.inner]
    return out[: image.shape[0], : image.shape[1]]


def _whole(net: Denoiser, image: Array, noise_std: float) -> Array:
    device = next(net.parameters()).device
    with torch.inference_mode():
        x = torch.from_numpy(np.array(image, np.float32)).to(device)[None, None]
        sigma = torch.full((1,), noise_std, dtype=torch.float32, device=device)
        return net(x, sigma)[0, 0].cpu().numpy().astype(image.dtype, copy=False)
