"""What networks are trained with: sharp images made noisy or blurred at random, and photographed pairs.

An item is a dictionary of float32 tensors in units of the range (0 is black, 1 is white), a function of the seed and
its number alone. So a `torch.utils.data.DataLoader` gives the same items with any number of workers, and a training
that was interrupted goes on with the item at which it stopped.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from lsdeblur._validate import check_non_negative, check_size

__all__ = ["Noisy", "held_out"]

Array = npt.NDArray[Any]
Item = dict[str, Tensor]
Source = str | os.PathLike[str] | Sequence[npt.ArrayLike]

_SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}


class _Items(Dataset[Item]):
    """A data set whose item i is `self.item(i, rng)`, with random numbers of its own for each item."""

    def __init__(self, length: int, seed: int) -> None:
        self.length = check_size(length, 1, "length")[0]
        self.seed = seed
        np.random.default_rng([seed, 0])  # a bad seed is an error here, not in a worker

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Item:
        if not 0 <= index < self.length:
            raise IndexError(f"item {index} of {self.length}: items are numbered from 0")
        arrays = self.item(index, np.random.default_rng([self.seed, index]))
        return {name: torch.from_numpy(np.ascontiguousarray(a, np.float32)) for name, a in arrays.items()}

    def item(self, index: int, rng: np.random.Generator) -> dict[str, Array]:
        """Arrays by their names; images with their channels first."""
        raise NotImplementedError


class Noisy(_Items):
    """Crops of sharp images with white Gaussian noise of a random level: what denoisers are trained with.

    Crops are turned by multiples of 90 degrees and mirrored; ``image = sharp + noise_std n`` is not clipped.

    Parameters
    ----------
    images : folder, or list of images
        Image files anywhere in the folder; or arrays (rows, columns) or (rows, columns, 3) with RGB colours, of 8- or
        16-bit integers or of floats in [0, 1]. They stay in memory, files as 8-bit integers.
    crop : int
        Rows and columns of an item.
    noise : (float, float)
        Least and greatest standard deviation of the noise, in units of the range; each between is as likely.
    channels : 1 or 3
        Grey or RGB; the images are converted.
    length : int
        Number of items.
    seed : int >= 0
        Another seed gives other items.

    Returns
    -------
    Items {"image": (channels, crop, crop), "sharp": the same, "noise_std": ()}.

    Raises
    ------
    ValueError
        A folder without images, an image smaller than the crop or in other units, a bad argument.
    FileNotFoundError
        No such folder.

    Notes
    -----
    0.2 ms for an item of 64 x 64 pixels on one core.

    Examples
    --------
    >>> import numpy as np
    >>> items = Noisy([np.zeros((70, 80), np.uint8)], noise=(0.1, 0.1))
    >>> items[7]["image"].shape, f"{items[7]['image'].std():.2f}"
    (torch.Size([1, 64, 64]), '0.10')
    """

    def __init__(
        self, images: Source, *, crop: int = 64, noise: tuple[float, float] = (0.0, 50 / 255), channels: int = 1,
        length: int = 100_000, seed: int = 0,
    ) -> None:  # fmt: skip
        super().__init__(length, seed)
        self.crop = check_size(crop, 1, "crop")[0]
        self.noise = _interval(noise, "noise")
        self.images = _images(images, channels, self.crop)

    def item(self, index: int, rng: np.random.Generator) -> dict[str, Array]:
        whole = self.images[rng.integers(len(self.images))]
        sharp = _floats(_turned(_crop(whole, self.crop, rng), rng)).transpose(2, 0, 1)
        std = np.array(rng.uniform(*self.noise), np.float32)
        noise = rng.standard_normal(sharp.shape, dtype=np.float32)
        noise *= std
        noise += sharp
        return {"image": noise, "sharp": sharp, "noise_std": std}


def held_out(dataset: _Items, n: int, *, seed: int = 1_000_003) -> list[Item]:
    """n items to validate with: of another seed, spread evenly over the data set, the same at every call.

    They come from the same pictures as the items trained with; give a data set of other pictures to see what a network
    does with those.
    """
    other = copy.copy(dataset)
    other.seed = seed
    count = check_size(n, 1, "n")[0]
    if count > len(dataset):
        raise ValueError(
            f"n={count} items are more than the {len(dataset)} of the data set: take fewer, or a longer one"
        )
    return [other[i * len(dataset) // count] for i in range(count)]


def _interval(limits: tuple[float, float], name: str) -> tuple[float, float]:
    low, high = (check_non_negative(limit, name) for limit in limits)
    if low > high:
        raise ValueError(f"{name}=({low:g}, {high:g}) is empty: give the smaller limit first")
    return low, high


def _images(source: Source, channels: int, least: int) -> list[Array]:
    """Images (rows, columns, channels), each at least `least` wide and high."""
    if channels not in (1, 3):
        raise ValueError(f"channels must be 1 (grey) or 3 (RGB), not {channels!r}")
    if isinstance(source, str | os.PathLike):
        files = _files(Path(source))
        named = {str(file): _read(file, channels) for file in files}
    else:
        named = {f"images[{i}]": _converted(np.asarray(a), channels, f"images[{i}]") for i, a in enumerate(source)}
    if not named:
        raise ValueError("images is an empty list: give arrays, or a folder of image files")
    for name, image in named.items():
        if min(image.shape[:2]) < least:
            raise ValueError(
                f"{name} has {image.shape[0]} x {image.shape[1]} pixels, but an item is made of {least} x {least}: "
                "leave it out, or take a smaller crop or smaller kernels"
            )
    return list(named.values())


def _files(folder: Path) -> list[Path]:
    """The image files of a folder and of those in it, sorted."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is no folder: give one with images, or a list of arrays")
    files = sorted(f for f in folder.rglob("*") if f.suffix.lower() in _SUFFIXES)
    if not files:
        raise ValueError(f"{folder} holds no images; files must end in {', '.join(sorted(_SUFFIXES))}")
    return files


def _read(file: Path, channels: int) -> Array:
    """8-bit image (rows, columns, channels)."""
    import cv2

    image = cv2.imread(os.fspath(file), cv2.IMREAD_GRAYSCALE if channels == 1 else cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError(f"{file} cannot be read as an image: it is damaged or of another format; replace or remove it")
    return image[..., None] if channels == 1 else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _converted(image: Array, channels: int, name: str) -> Array:
    """An array as image (rows, columns, channels) of the same type, but float32 for floats."""
    import cv2

    if image.ndim == 2:
        image = image[..., None]
    if image.ndim != 3 or image.shape[2] not in (1, 3):
        raise ValueError(f"{name} has shape {image.shape}; images are (rows, columns) or (rows, columns, 3)")
    if image.dtype not in (np.uint8, np.uint16):
        image = image.astype(np.float32)
        if not (image.min() >= 0 and image.max() <= 1):
            raise ValueError(f"{name} has values beyond [0, 1]: divide by its range, or give 8- or 16-bit integers")
    if image.shape[2] == channels:
        return image
    if channels == 3:
        return np.repeat(image, 3, axis=2)
    return cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)[..., None]


def _floats(image: Array) -> Array:
    """A float32 copy, in units of the type's range."""
    scale = 1 / np.iinfo(image.dtype).max if image.dtype.kind == "u" else 1
    return np.multiply(image, np.float32(scale), dtype=np.float32, order="C")


def _crop(image: Array, size: int, rng: np.random.Generator) -> Array:
    top, left = rng.integers(0, np.subtract(image.shape[:2], size) + 1)
    return image[top : top + size, left : left + size]


def _turned(image: Array, rng: np.random.Generator) -> Array:
    """One of the eight ways to turn and mirror an image (rows, columns, channels)."""
    which = int(rng.integers(8))
    turned = np.rot90(image, which % 4)
    return turned[:, ::-1] if which >= 4 else turned
