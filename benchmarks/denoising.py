"""The shipped denoiser on images with white noise: PSNR in dB, beside non-local means.

    python benchmarks/denoising.py [--data DIR] [--weights FILE] [--ways 1]

Images of scikit-image that it was not trained on, and those of DIR. Noise of 15, 25 and 50 of 255 is not clipped.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from _common import folder, headline, machine, scene
from skimage.io import imread

from lsdeblur import metrics
from lsdeblur.deep import denoiser
from lsdeblur.denoise import DENOISERS

LEVELS = (15, 25, 50)


def images(data: Path | None) -> Iterator[tuple[str, np.ndarray]]:
    if data is None:
        for name in ("camera", "astronaut", "coffee", "cat"):
            yield name, scene(name).astype(np.float32)
    for path in sorted(data.glob("*.png")) if data else ():
        yield path.name, imread(path).astype(np.float32) / 255


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=folder, help="folder with grey images (*.png) in place of those")
    parser.add_argument("--weights", type=Path, default=denoiser.SHIPPED, help="another network's file")
    parser.add_argument("--ways", type=int, default=1, help="mean over so many turned and mirrored copies, up to 8")
    args = parser.parse_args()
    net = denoiser.Denoiser.load(args.weights)
    print(machine(), f"\n{net.n_parameters:,} weights, {args.weights.stat().st_size / 1e6:.2f} MB")
    print(f"{'':16}" + "".join(f"{f'{level}':>8}{'nlm':>8}" for level in LEVELS))
    table, seconds, pixels = [], 0.0, 0
    for name, sharp in images(args.data):
        row = []
        for level in LEVELS:
            sigma = level / 255
            noisy = sharp + sigma * np.random.default_rng(level).standard_normal(sharp.shape, np.float32)
            began = time.perf_counter()
            clean = net.denoise(noisy, sigma, ways=args.ways)
            seconds, pixels = seconds + time.perf_counter() - began, pixels + sharp.size
            row += [metrics.psnr(x, sharp, data_range=1) for x in (clean, DENOISERS["nlm"](noisy, sigma))]
        table.append(row)
        print(f"{name:16}" + "".join(f"{value:8.2f}" for value in row), flush=True)
    print(f"{'mean':16}" + "".join(f"{value:8.2f}" for value in np.mean(table, axis=0)))
    print(f"{seconds / pixels * 1e6:.2f} s per megapixel")
    at_25 = 2 * LEVELS.index(25)
    network, means = np.mean(table, axis=0)[at_25 : at_25 + 2]
    headline("denoising, noise of 25 / 255", f"network {network:.2f} dB, non-local means {means:.2f} dB")


if __name__ == "__main__":
    main()
