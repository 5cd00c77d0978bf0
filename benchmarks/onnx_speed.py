"""What integers of 8 bits gain and cost: time, file size and quality of an exported network in float32 and in 8 bits.

    python benchmarks/onnx_speed.py [--denoiser FILE] [--data DIR] [--rounds 9] [--threads 1]

1. A `Denoiser` (the shipped one, or FILE) on the grey pictures in DIR (default: scikit-image's) with noise of 25 / 255.
   Calibrated on parts of other pictures, the ones that scikit-image has.
2. A `MultiScaleDeblur` without training: time and size only, and how far 8 bits change what it adds to an image.

The two take turns on one image of 512 x 512 pixels; the ratio is the median of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from _common import folder, headline, machine, scene
from skimage.io import imread

from lsdeblur import metrics
from lsdeblur._methods import Problem
from lsdeblur.deep import OnnxMethod, export, networks, quantised
from lsdeblur.deep.denoiser import SHIPPED

NOISE = 25 / 255
TESTED, CALIBRATION = ("camera", "astronaut", "coins"), ("coffee", "cat", "moon", "page")


def pictures(data: Path | None) -> list[np.ndarray]:
    if data is None:
        return [scene(name).astype(np.float32) for name in TESTED]
    found = [imread(path, as_gray=True) for path in sorted(data.glob("*.png"))]
    return [(image / (255 if image.max() > 1 else 1)).astype(np.float32) for image in found]


def parts() -> list[np.ndarray]:
    """For the calibration: parts of 128 x 128 pixels, two of each picture."""
    images = [scene(name) for name in CALIBRATION]
    return [image[k : k + 128, k : k + 128].astype(np.float32) for image in images for k in (0, 150)]


def run(method: OnnxMethod, image: np.ndarray) -> np.ndarray:
    level = NOISE if method.about.needs else None
    return method(Problem(image[None], None, "free", (1.0, 1.0)), noise_std=level).image[0]


def turns(methods: list[OnnxMethod], rounds: int) -> tuple[list[float], float]:
    """Median times in ms, and the median ratio of the first to the second."""
    image = np.resize(scene("camera"), (512, 512)).astype(np.float32)
    table = []
    for _ in range(rounds + 1):
        row = []
        for method in methods:
            start = time.perf_counter()
            run(method, image)
            row.append(1e3 * (time.perf_counter() - start))
        table.append(row)
    table = table[1:]
    return [statistics.median(column) for column in zip(*table, strict=True)], statistics.median(
        a / b for a, b in table
    )


def rows(name: str, files: list[Path], data: Path | None, args: argparse.Namespace) -> Iterator[str]:
    methods = [OnnxMethod(path, threads=args.threads) for path in files]
    times, ratio = turns(methods, args.rounds)
    rng = np.random.default_rng(0)
    scores: list[list[float]] = []
    for truth in pictures(data):
        noisy = truth + np.float32(NOISE) * rng.standard_normal(truth.shape, np.float32)
        whole, small = (run(method, noisy) for method in methods)
        if methods[0].about.model == "Denoiser":
            scores.append([metrics.psnr(image, truth, data_range=1.0) for image in (whole, small)])
        else:
            scores.append([np.inf, 10 * np.log10(np.var(whole - noisy) / np.mean((small - whole) ** 2))])
    for kind, path, ms, score in zip(("float32", "8 bits"), files, times, np.mean(scores, 0), strict=True):
        speed = 1.0 if kind == "float32" else ratio
        yield f"| {name} | {kind} | {path.stat().st_size / 1e6:.2f} | {ms:.0f} | {speed:.2f} | {score:.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--denoiser", type=Path, default=SHIPPED)
    parser.add_argument("--data", type=folder)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    models = {"Denoiser": networks.Denoiser.load(args.denoiser), "MultiScaleDeblur": networks.MultiScaleDeblur()}
    print(f"{machine()}; {args.threads} thread\n")
    print("| network | numbers | file, MB | ms | times faster | PSNR; untrained: change of what is added, dB |")
    print("|---|---|---|---|---|---|")
    with TemporaryDirectory() as place:
        for name, model in models.items():
            files = [Path(place) / f"{name}-{kind}.onnx" for kind in ("float", "integers")]
            export(model, files[0])
            quantised(files[0], files[1], parts(), rng=0)
            for row in rows(name, files, args.data, args):
                print(row, flush=True)
            whole, small = (path.stat().st_size / 1e6 for path in files)
            faster = row.split("|")[5].strip()
            headline(f"8 bits, {name}", f"{faster} times as fast, {whole:.1f} to {small:.1f} MB")


if __name__ == "__main__":
    main()
