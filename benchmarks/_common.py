"""What the benchmarks share: scenes, blurs, valid-convolution data, the best parameter in hindsight, tables."""

from __future__ import annotations

import platform
import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import count
from pathlib import Path

import numpy as np
import skimage
from scipy.ndimage import gaussian_filter
from skimage import data
from skimage.color import rgb2gray

import lsdeblur
from lsdeblur import METHODS, Restoration, metrics, psf, restore, simulate
from lsdeblur._methods import BLIND

SCENES = ("astronaut", "camera", "coffee", "cat", "coins", "moon", "page")
NOISE_LEVELS = (0.001, 0.005, 0.02)
PSFS = {
    "motion 15@30": lambda: psf.motion(15, 30),
    "gaussian 2": lambda: psf.gaussian(2.0),
    "disk 5": lambda: psf.disk(5.0),
    "shake 27": lambda: psf.shake(27, rng=3),
}


@dataclass(frozen=True)
class Case:
    name: str
    blurred: np.ndarray
    psf: np.ndarray
    truth: np.ndarray
    noise_std: float

    def psnr(self, image: np.ndarray) -> float:
        return metrics.psnr(image, self.truth, data_range=1.0)


def scene(name: str) -> np.ndarray:
    """A scikit-image picture in grey, 0..1."""
    image = getattr(data, name)()
    image = image[0] if isinstance(image, tuple) else image  # the left one of a pair
    return rgb2gray(image) if image.ndim == 3 else image / 255.0


def cases(correlation: float = 0.0, images: int | None = None) -> Iterator[Case]:
    """Every scene, or the first `images`, with every blur and noise level; the frame is what a camera would keep.

    The noise is drawn anew for every case, from seeds 0, 1, 2, ...; `correlation` is the width in pixels of a Gaussian
    that smooths it (its standard deviation is kept).
    """
    seeds = count()
    for name in SCENES[:images]:
        sharp = scene(name)
        for blur_name, make in PSFS.items():
            h = make()
            clean = simulate.blur(sharp, h, boundary="valid")
            for sigma in NOISE_LEVELS:
                noise = np.random.default_rng(next(seeds)).standard_normal(clean.shape)
                if correlation:
                    noise = gaussian_filter(noise, correlation, mode="wrap")
                    noise /= noise.std()
                truth = simulate.valid_part(sharp, h)
                yield Case(f"{name}, {blur_name}, {sigma}", clean + sigma * noise, h, truth, sigma)


def automatic_methods() -> list[str]:
    """The methods that restore with a PSF and nothing else given; "pnp" where PyTorch is installed."""
    return [name for name in METHODS if name not in BLIND and (name != "pnp" or find_spec("torch"))]


def best(score: Callable[[float], float], low: float = 1e-7, high: float = 10.0) -> tuple[float, float]:
    """The parameter with the highest score, and that score: four a decade, then finer around the top."""
    grid = np.geomspace(low, high, 1 + 4 * round(np.log10(high / low)))
    top = max(grid, key=score)
    fine = max(top * np.geomspace(0.5, 2, 11), key=score)
    return float(fine), score(fine)


def summary(losses: Sequence[float]) -> str:
    """Median, mean, 90th percentile and maximum of losses in dB; NaN (no answer) is counted apart."""
    values = np.asarray(losses, float)
    found = values[np.isfinite(values)]
    p90 = np.percentile(found, 90)
    return f"{np.median(found):8.2f}{found.mean():8.2f}{p90:8.2f}{found.max():8.2f}{values.size - found.size:11d}"


def medians(runs: dict[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    """Seconds of each, taking turns."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    names, shuffled = list(runs), random.Random(0)
    for _ in range(rounds):
        shuffled.shuffle(names)  # what runs before leaves threads spinning and memory in some state
        for name in names:
            start = time.perf_counter()
            runs[name]()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def timed(*args: object, **options: object) -> tuple[Restoration, float]:
    """A restoration and its time, the better of two."""
    times = []
    for _ in range(2):
        begin = time.perf_counter()
        found = restore(*args, **options)
        times.append(time.perf_counter() - begin)
    return found, min(times)


def headline(what: str, figure: str) -> None:
    """The figure of a benchmark that `every.py` puts into its table."""
    print(f"=> {what}: {figure}", flush=True)


def machine() -> str:
    versions = f"lsdeblur {lsdeblur.__version__}, numpy {np.__version__}, scikit-image {skimage.__version__}"
    return f"{versions}, Python {platform.python_version()}, {platform.machine()}"


def folder(path: str) -> Path:
    """argparse type: an existing folder."""
    if not (found := Path(path)).is_dir():
        raise ValueError(path)
    return found
