"""What networks are trained with: sharp images made noisy or blurred at random, and photographed pairs.

An item is a dictionary of float32 tensors in units of the range (0 is black, 1 is white), a function of the seed and
its number alone. So a `torch.utils.data.DataLoader` gives the same items with any number of workers, and a training
that was interrupted goes on with the item at which it stopped.
"""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from lsdeblur import psf, simulate
from lsdeblur._validate import check_choice, check_non_negative, check_size
from lsdeblur.deep import _pictures as pictures
from lsdeblur.deep._pictures import Array, Source

__all__ = ["KERNELS", "Noisy", "Paired", "Synthetic", "held_out"]

Item = dict[str, Tensor]

#: The kinds of random kernels.
KERNELS = ("gaussian", "motion", "defocus", "shake", "mixed")


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
        return {name: torch.from_numpy(np.asarray(a, np.float32, order="C")) for name, a in arrays.items()}

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
        self.images = pictures.images(images, channels, self.crop)

    def item(self, index: int, rng: np.random.Generator) -> dict[str, Array]:
        whole = self.images[rng.integers(len(self.images))]
        sharp = pictures.floats(pictures.turned(pictures.crop(whole, self.crop, rng), rng)).transpose(2, 0, 1)
        std = np.array(rng.uniform(*self.noise), np.float32)
        noise = rng.standard_normal(sharp.shape, dtype=np.float32)
        noise *= std
        noise += sharp
        return {"image": noise, "sharp": sharp, "noise_std": std}


class Synthetic(_Items):
    """Crops of sharp images, blurred by random kernels as by a camera, with noise: ``image = h * f + noise_std n``.

    A part of the picture larger than the item is blurred and only what depends on nothing outside is kept, so
    borders are as in real frames. The kinds of kernels, of an extent drawn evenly from `sizes`:

    * "gaussian": two widths, the greater an eighth of the extent, and an angle;
    * "motion": a straight line of a random angle;  "defocus": a disk;
    * "shake": a random path, from jagged to sweeping;
    * "mixed": a motion convolved with a disk.

    Parameters
    ----------
    images : folder, or list of images
        As for `Noisy`.
    crop : int
        Rows and columns of an item.
    kernels : names of `KERNELS`
        Each is as likely.
    sizes : (float, float)
        Least and greatest extent of a kernel in pixels, at least 2.
    noise : (float, float)
        Least and greatest standard deviation of the noise, in units of the range.
    jitter : bool
        Change hue (up to 10 degrees), saturation (30 %) and brightness (darker by up to 30 %) of colours.
    rotation : float
        Half of the items are turned by up to so many degrees, from 0 to 45, by Lanczos interpolation, with nothing
        made up at the borders; the others are not interpolated. All are turned by multiples of 90 degrees and mirrored.
    channels : 1 or 3
        Grey or RGB; the images are converted.
    saturation : float
        Probability that an item is overexposed: with a level from 0.6 to 1, the image is ``min(h * f / level + n, 1)``,
        clipped at 0 too, and the sharp one ``min(f / level, 1)``. Else noise is not clipped.
    jpeg : float
        Probability that the blurred, noisy image is clipped to 8 bits and compressed as JPEG of quality 70 to 95.
    length, seed : as for `Noisy`.

    Returns
    -------
    Items {"image": (channels, crop, crop), "sharp": the same, "psf": (k, k), "noise_std": ()}; k is the same odd number
    for all, the kernel has the sum 1 and its centre at k // 2.

    Raises
    ------
    ValueError, FileNotFoundError
        As `Noisy`; images must be larger than the crop by the greatest kernel, and by the rotation.

    Notes
    -----
    1 to 2 ms for an item of 96 x 96 pixels on one core, 10 ms with the random path of a shake.

    References
    ----------
    Kernels as random paths: Boracchi and Foi, IEEE Trans. Image Process. 21, 3502 (2012),
    doi:10.1109/TIP.2012.2192126; training pairs from them: Kupyn et al. (2018), doi:10.1109/CVPR.2018.00854.

    Examples
    --------
    >>> import numpy as np
    >>> item = Synthetic([np.full((200, 200), 0.5)], kernels=("motion",), noise=(0, 0))[0]
    >>> {name: tuple(value.shape) for name, value in item.items()}
    {'image': (1, 96, 96), 'sharp': (1, 96, 96), 'psf': (25, 25), 'noise_std': ()}
    """

    def __init__(
        self, images: Source, *, crop: int = 96, kernels: Sequence[str] = KERNELS,
        sizes: tuple[float, float] = (3, 25), noise: tuple[float, float] = (0.001, 0.01), jitter: bool = True,
        rotation: float = 15.0, channels: int = 1, saturation: float = 0.0, jpeg: float = 0.0,
        length: int = 100_000, seed: int = 0,
    ) -> None:  # fmt: skip
        super().__init__(length, seed)
        self.crop = check_size(crop, 1, "crop")[0]
        self.kernels = [check_choice(name, KERNELS, "kernels") for name in kernels]
        if not self.kernels:
            raise ValueError(f"kernels is empty: name some of {', '.join(KERNELS)}")
        self.sizes = _interval(sizes, "sizes", least=2)
        self.noise = _interval(noise, "noise")
        self.jitter = jitter
        self.rotation = _up_to(rotation, 45, "rotation")
        self.saturation, self.jpeg = _up_to(saturation, 1, "saturation"), _up_to(jpeg, 1, "jpeg")
        self.psf_size = _odd(self.sizes[1])
        self.images = pictures.images(images, channels, pictures.room(self.crop + self.psf_size - 1, self.rotation))

    def item(self, index: int, rng: np.random.Generator) -> dict[str, Array]:
        h = _kernel(self.kernels[rng.integers(len(self.kernels))], rng.uniform(*self.sizes), rng)
        h = np.pad(h, [((self.psf_size - s) // 2,) * 2 for s in h.shape])
        scene = self._scene(self.images[rng.integers(len(self.images))], rng)
        overexposed = rng.random() < self.saturation
        if overexposed:
            scene /= np.float32(rng.uniform(0.6, 1))
        std = np.array(rng.uniform(*self.noise), np.float32)
        image, sharp = simulate.blur(scene, h, channel_axis=2), simulate.valid_part(scene, h, channel_axis=2)
        image += std * rng.standard_normal(image.shape, dtype=np.float32)
        if overexposed:
            image, sharp = image.clip(0, 1), sharp.clip(0, 1)
        if rng.random() < self.jpeg:
            image = pictures.compressed(image, int(rng.integers(70, 96)))
        return {"image": image.transpose(2, 0, 1), "sharp": sharp.transpose(2, 0, 1), "psf": h, "noise_std": std}

    def _scene(self, image: Array, rng: np.random.Generator) -> Array:
        """A part of a sharp image, larger than the item by the kernel's reach."""
        size = self.crop + self.psf_size - 1
        angle = rng.uniform(-self.rotation, self.rotation) if rng.integers(2) else 0.0
        part = pictures.floats(pictures.crop(image, pictures.room(size, angle), rng))
        if angle:
            part = pictures.rotated(part, angle, size)
        part = np.ascontiguousarray(pictures.turned(part, rng))
        return pictures.jittered(part, rng) if self.jitter and part.shape[2] == 3 else part


class Paired(_Items):
    """Photographed pairs: blurred images, and the sharp ones of the same names.

    Parameters
    ----------
    folder : path
        With folders "blur" and "sharp" in it, or in each of its scenes (the layout of the GoPro data).
    crop : int or None
        Rows and columns of an item, cut out at random, turned by multiples of 90 degrees and mirrored; None gives the
        images as they are, which must be of one size to make batches of them.
    blurred : str
        Name of the folders of blurred images; "blur_gamma" for the GoPro images that were averaged as light is.
    channels : 1 or 3
        Grey or RGB; the images are converted.
    length : int, optional
        Number of items, the pairs over and over; by default each pair once.
    seed : as for `Noisy`.

    Returns
    -------
    Items {"image": (channels, rows, columns), "sharp": the same}.

    Raises
    ------
    FileNotFoundError
        No such folder, or none with the two in it.
    ValueError
        An image without its pair; with an item, images of different sizes or smaller than the crop.

    Notes
    -----
    Files are read when they are needed. A pair of 1280 x 720 takes some 50 ms.

    References
    ----------
    Nah, Kim and Lee (2017), Deep multi-scale convolutional neural network for dynamic scene deblurring,
    doi:10.1109/CVPR.2017.35.
    """

    def __init__(
        self, folder: str | os.PathLike[str], *, crop: int | None = 256, blurred: str = "blur", channels: int = 3,
        length: int | None = None, seed: int = 0,
    ) -> None:  # fmt: skip
        self.pairs = pictures.pairs(Path(folder), blurred)
        super().__init__(len(self.pairs) if length is None else length, seed)
        self.crop = None if crop is None else check_size(crop, 1, "crop")[0]
        self.channels = pictures.grey_or_rgb(channels)

    def item(self, index: int, rng: np.random.Generator) -> dict[str, Array]:
        files = self.pairs[index % len(self.pairs)]
        image, sharp = (pictures.read(file, self.channels) for file in files)
        if image.shape != sharp.shape:
            raise ValueError(
                f"{files[0]} has {image.shape[0]} x {image.shape[1]} pixels, but its sharp image {sharp.shape[0]} x "
                f"{sharp.shape[1]}: a pair shows the same pixels; crop one of them or leave both out"
            )
        both = np.concatenate([image, sharp], axis=2)
        if self.crop is not None:
            pictures.check_room(str(files[0]), both, self.crop)
            both = pictures.turned(pictures.crop(both, self.crop, rng), rng)
        both = pictures.floats(both).transpose(2, 0, 1)
        return {"image": both[: self.channels], "sharp": both[self.channels :]}


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
    return [other[i] for i in spread(len(dataset), count)]


def spread(length: int, count: int) -> list[int]:
    """The numbers of `count` items, spread evenly over `length`."""
    return [i * length // count for i in range(count)]


def _interval(limits: tuple[float, float], name: str, *, least: float = 0) -> tuple[float, float]:
    low, high = (check_non_negative(limit, name) for limit in limits)
    if not least <= low <= high:
        raise ValueError(f"{name} must be a lower limit, at least {least}, and an upper one, not ({low:g}, {high:g})")
    return low, high


def _up_to(value: float, most: float, name: str) -> float:
    number = check_non_negative(value, name)
    if number > most:
        raise ValueError(f"{name} must be at most {most}, not {number:g}")
    return number


def _odd(extent: float) -> int:
    """Pixels that an extent covers, centred on one of them."""
    return 2 * math.ceil((extent - 1) / 2) + 1


def _kernel(name: str, extent: float, rng: np.random.Generator) -> Array:
    """A random kernel of a kind, no wider than its extent rounded up to an odd number."""
    match name:
        case "gaussian":
            widths = [extent / 8 * rng.uniform(0.5, 1), extent / 8]
            return psf.gaussian(widths, angle=rng.uniform(0, 180), size=_odd(extent))
        case "motion":
            return psf.motion(extent, rng.uniform(0, 180))
        case "defocus":
            return psf.disk(extent / 2)
        case "shake":
            return psf.shake(2 * int((extent - 1) / 2) + 1, inertia=rng.uniform(0.6, 0.99), rng=rng)
        case _:  # mixed; two odd sizes that together are no larger
            length = max(1.0, rng.uniform(0.3, 0.7) * (extent - 1))
            return psf.combine(psf.motion(length, rng.uniform(0, 180)), psf.disk(max(extent - 1 - length, 0) / 2))
