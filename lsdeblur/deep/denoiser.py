"""The shipped denoiser: a network trained on photographs of nature and people, and networks like it from files.

It was trained by ``python -m lsdeblur.deep.train denoiser``; `weights/denoiser.md` says on what, and how well it does.
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

SHIPPED = Path(__file__).parent / "weights" / "denoiser.safetensors"
_LARGEST = 2048 * 1024  # pixels that the network takes at once: some 1.5 GB
_TILE, _HALO = 1024, 96  # beyond that; farther than the halo no pixel reaches


@lru_cache(maxsize=4)
def network(path: str | os.PathLike[str] = SHIPPED) -> Denoiser:
    """The network in a file, loaded once."""
    return Denoiser.load(path)


def denoise(image: Array, noise_std: float) -> Array:
    """An image (rows, columns) without its white noise of standard deviation `noise_std`, by the shipped network."""
    return apply(network(), image, noise_std)


def apply(net: Denoiser, image: Array, noise_std: float) -> Array:
    """An image (rows, columns) of float32 or float64 denoised by a network in float32; large ones by tiles."""
    if image.size <= _LARGEST:
        return _whole(net, image, noise_std)
    out = np.empty_like(image)
    for tile in tiling.tiles(image.shape, _TILE, _HALO):
        out[tile.core] = _whole(net, image[tile.window], noise_std)[tile.inner]
    return out


def _whole(net: Denoiser, image: Array, noise_std: float) -> Array:
    device = next(net.parameters()).device
    with torch.inference_mode():
        x = torch.from_numpy(np.ascontiguousarray(image, np.float32)).to(device)[None, None]
        sigma = torch.full((1,), noise_std, dtype=torch.float32, device=device)
        return net(x, sigma)[0, 0].cpu().numpy().astype(image.dtype, copy=False)
