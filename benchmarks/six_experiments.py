"""The six experiments by which deblurring methods are compared in papers: ISNR in dB of every automatic method.

    python benchmarks/six_experiments.py [--data DIR] [--method NAME ...]

Images of scikit-image, and those of DIR (the papers take "cameraman", 256 x 256). The blur is circular and known, the
noise white; its level no method is told. Columns (variances for values of 0..255):

    1  1 / (1 + x^2 + y^2), |x|, |y| <= 7, variance 2        4  [1 4 6 4 1]^T [1 4 6 4 1] / 256, variance 49
    2  the same, variance 8                                  5  Gaussian, std 1.6, 25 x 25, variance 4
    3  9 x 9 uniform, variance of the blurred image / 10^4   6  Gaussian, std 0.4, 25 x 25, variance 64

Source: K. Dabov, A. Foi, V. Katkovnik & K. Egiazarian (2008), Proc. SPIE 6812, 681207, doi:10.1117/12.766355, table 1.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from _common import automatic_methods, folder, headline, machine, scene
from skimage.color import rgb2gray
from skimage.io import imread

from lsdeblur import METHODS, metrics, psf, restore, simulate

SCENES = ("camera", "coins", "moon")
SEED = 0


def experiments() -> Iterator[tuple[np.ndarray, float | None]]:
    """Kernel and noise variance; None for a blurred signal-to-noise ratio of 40 dB."""
    x = np.arange(-7, 8)
    lorentz = 1 / (1 + x**2 + x[:, np.newaxis] ** 2)
    binomial = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1])
    yield lorentz, 2
    yield lorentz, 8
    yield np.ones((9, 9)), None
    yield binomial, 49
    yield psf.gaussian(1.6, size=25), 4
    yield psf.gaussian(0.4, size=25), 64


def images(data: Path | None) -> Iterator[tuple[str, np.ndarray]]:
    """Name and grey values 0..255."""
    for name in SCENES:
        yield name, 255 * scene(name)
    for path in sorted(data.glob("*.png")) if data else ():
        image = imread(path).astype(float)
        yield path.name, 255 * rgb2gray(image / 255) if image.ndim == 3 else image


def observed(truth: np.ndarray, kernel: np.ndarray, variance: float | None) -> np.ndarray:
    blurred = simulate.blur(truth, kernel, boundary="periodic")
    sigma = (blurred.var() / 1e4 if variance is None else variance) ** 0.5
    return blurred + sigma * np.random.default_rng(SEED).standard_normal(truth.shape)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=folder, help="folder with more images (*.png)")
    parser.add_argument("--method", nargs="+", default=sorted(automatic_methods()), choices=sorted(METHODS))
    args = parser.parse_args()
    print(machine())
    for name, truth in images(args.data):
        print(f"\n{name} {truth.shape}\n  {'ISNR, dB':16}" + "".join(f"{i:8}" for i in range(1, 7)))
        cases = [(observed(truth, h / h.sum(), variance), h / h.sum()) for h, variance in experiments()]
        ways = {method: {"method": method} for method in args.method}
        table = {}
        for way, options in (ways | {"tikhonov, nlm": {"denoise_after": "nlm"}}).items():
            gains = [metrics.isnr(restore(g, h, boundary="periodic", **options).image, g, truth) for g, h in cases]
            table[way] = np.mean(gains)
            print(f"  {way:16}" + "".join(f"{gain:8.2f}" for gain in gains), flush=True)
        order = sorted(table, key=lambda way: -table[way])
        headline(
            f"mean gain of six experiments, {name}", ", ".join(f"{way} {table[way]:.1f}" for way in order[:4]) + " dB"
        )


if __name__ == "__main__":
    main()
