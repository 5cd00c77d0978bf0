"""Richardson-Lucy under photon noise beside scikit-image's: likelihood and time, quality, borders, flux, photometry.

    python benchmarks/poisson.py                    # scikit-image's pictures, a volume of beads, a field of stars
    python benchmarks/poisson.py --microscopy DIR   # DeconvolutionSampleVerticalGrid1AU-crop.tif, psf_measured_45.tif

Both work in float32 on one thread. scikit-image gets odd PSFs of sum 1 and images of peak 1, and its best number of
iterations in hindsight; ours stops by itself. Frames are cut out of larger scenes, as cameras do.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from _common import Case, folder, headline, machine, scene
from skimage.io import imread
from skimage.restoration import richardson_lucy

from lsdeblur import psf, restore, simulate

PEAKS = (50, 500, 5000)
PICTURES = {"camera": psf.gaussian(2.0), "astronaut": psf.disk(5.0), "coins": psf.motion(15, 30)}
COUNTS = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 80, 120, 200)


def peer(case: Case, count: int) -> np.ndarray:
    """scikit-image's, in counts."""
    peak = case.blurred.max()
    h = np.pad(case.psf, [(0, 1 - s % 2) for s in case.psf.shape])
    return peak * richardson_lucy(case.blurred / peak, h, count, clip=False, filter_epsilon=1e-7)


def ours(case: Case, **options: object) -> np.ndarray:
    return restore(case.blurred, case.psf, method="richardson-lucy", workers=1, **options).image


def photographed(name: str, sharp: np.ndarray, h: np.ndarray, seed: int) -> Case:
    """A frame of photons from a scene in photons."""
    sharp, h = sharp.astype(np.float32), h.astype(np.float32)
    clean = simulate.blur(sharp, h)
    counts = np.random.default_rng(seed).poisson(clean).astype(np.float32)
    return Case(name, counts, h, simulate.valid_part(sharp, h), 0.0)


def beads(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Balls of three voxels' radius and brightness 0.3 to 1 on a dark ground of 0.02."""
    volume = np.full(shape, 0.02)
    axes = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij", sparse=True)
    for _ in range(30):
        centre = [rng.uniform(0, n) for n in shape]
        distance = sum((a - c) ** 2 for a, c in zip(axes, centre, strict=True))
        volume = np.maximum(volume, rng.uniform(0.3, 1) * np.clip(3.5 - np.sqrt(distance), 0, 1))
    return volume


def cases() -> Iterator[Case]:
    for peak in PEAKS:
        for seed, (name, h) in enumerate(PICTURES.items()):
            yield photographed(f"{name}, {peak}", peak * scene(name), h, seed)
        volume = beads((64, 108, 108), np.random.default_rng(5))
        yield photographed(f"beads, {peak}", peak * volume, psf.gaussian((3.0, 1.5, 1.5)), 7)


def psnr(case: Case, image: np.ndarray, where: np.ndarray | slice = np.s_[...]) -> float:
    error = np.mean(np.square(image - case.truth, dtype=np.float64)[where])
    return 10 * np.log10(float(case.truth.max()) ** 2 / error)


def deviance(case: Case, image: np.ndarray) -> float:
    """Mean Poisson deviance where the restored frame alone determines the model: no border takes part."""
    m = np.maximum(simulate.blur(image.astype(np.float64), case.psf.astype(np.float64)), 1e-9)
    d = simulate.valid_part(case.blurred, case.psf).astype(np.float64)
    return float(2 * np.mean(d * np.log(np.where(d > 0, d, 1) / m) - d + m))


def seconds(run: Callable[[], object]) -> float:
    run()
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        run()
        times.append(time.perf_counter() - begin)
    return min(times)


def to_likelihood() -> None:
    print("\nThe same likelihood (deviance per pixel, away from the borders) in how much time; one thread")
    print(f"{'case':18}{'scikit-image':>32}{'ours':>24}{'times faster':>15}")
    ratios = []
    for case in cases():
        for count in (10, 50):
            goal, low, high = deviance(case, peer(case, count)), 1, 2 * count
            while low < high:  # the likelihood rises with every iteration
                middle = (low + high) // 2
                reached = deviance(case, fixed(case, middle)) <= goal
                low, high = (low, middle) if reached else (middle + 1, high)
            fewest = low
            slow, fast = seconds(lambda: peer(case, count)), seconds(lambda: fixed(case, fewest))  # noqa: B023
            here = deviance(case, fixed(case, fewest))
            reached = f"{count:4d} iterations {goal:8.4f} {slow:6.2f}s", f"{fewest:4d} {here:8.4f} {fast:6.2f}s"
            print(f"{case.name:18}{reached[0]:>32}{reached[1]:>24}{slow / fast:15.1f}", flush=True)
            ratios.append(slow / fast)
    headline("faster than scikit-image's Richardson-Lucy to the same likelihood",
             f"{np.median(ratios):.1f} times (median), {min(ratios):.1f} to {max(ratios):.1f}")  # fmt: skip


def fixed(case: Case, count: int) -> np.ndarray:
    return ours(case, gain=1.0, stop="none", max_iter=count)


def quality() -> None:
    print("\nPSNR in dB: frame / strip of the PSF's size along the border. * best iteration in hindsight; s: seconds")
    print(f"{'case':18}{'blurred':>8}{'scikit-image*':>24}{'ours':>24}{'tv=auto':>24}")
    gains = []
    for case in cases():
        inner = tuple(slice(s, -s) for s in case.psf.shape)
        strip = np.ones(case.truth.shape, bool)
        strip[inner] = False
        count = max(COUNTS, key=lambda n: psnr(case, peer(case, n)))
        runs = [lambda: peer(case, count), lambda: ours(case), lambda: ours(case, tv="auto")]  # noqa: B023
        texts, found = [], []
        for run in runs:
            image = run()
            found.append(psnr(case, image))
            texts.append(f"{psnr(case, image):6.2f} /{psnr(case, image, strip):6.2f} {seconds(run):6.2f}s")
        print(f"{case.name:18}{psnr(case, case.blurred):8.2f}", *(f"{t:>23}" for t in texts), flush=True)
        gains.append(found[2] - found[0])
    figures = f"{np.mean(gains):.1f} dB, least {min(gains):.1f}"
    headline("Richardson-Lucy with tv='auto' over scikit-image's best iteration", figures)


def stars() -> None:
    """Stars on a sky of 20 photons: the flux within 6 pixels beside the true one, and beside the photons' own noise."""
    rng, shape, sky = np.random.default_rng(2), (400, 400), 20.0
    places = np.stack(np.meshgrid(np.arange(30, 400, 48), np.arange(30, 400, 48)), -1).reshape(-1, 2)
    places += rng.integers(-8, 9, places.shape)
    fluxes, field = 10 ** rng.uniform(4, 6, len(places)), np.zeros(shape)
    field[tuple(places.T)] = fluxes
    h = psf.moffat(3.0, 3.0, size=41)
    counts = rng.poisson(np.maximum(simulate.blur(field, h, boundary="zero"), 0) + sky).astype(np.float32)
    result = restore(counts, h, method="richardson-lucy", background=sky, workers=1)
    rows, columns = np.indices(shape)
    apertures = [np.hypot(rows - row, columns - column) <= 6 for row, column in places]
    error = np.abs([float(result.image[a].sum(dtype=float)) for a in apertures] - fluxes)
    noise = np.sqrt(fluxes + sky * apertures[0].sum())
    bright = fluxes > 5e4
    print(f"\n{len(places)} stars of 1e4 to 1e6 photons, Moffat PSF, sky {sky:g}: {result.message}")
    print(f"  flux error: median {np.median(error / fluxes):.2%}, largest {np.max(error / fluxes):.2%}", end="; ")
    print(f"of {bright.sum()} stars above 5e4 photons {np.max((error / fluxes)[bright]):.2%}", end="; ")
    print(f"in standard deviations of the photons {np.median(error / noise):.2f}, {np.max(error / noise):.2f}")
    print(f"  least value of the image {result.image.min():.1e}")


def flux() -> None:
    """Light of a scene that lies within the frame, restored and in the data."""
    print("\nLight restored, relative to the data's, of beads of which nothing leaves the frame")
    for peak in PEAKS:
        volume = np.pad(beads((28, 60, 60), np.random.default_rng(5)) - 0.02, 20) * peak
        h = psf.gaussian((3.0, 1.5, 1.5))
        clean = np.maximum(simulate.blur(volume, h, boundary="zero"), 0)
        counts = np.random.default_rng(peak).poisson(clean).astype(np.float32)
        result = restore(counts, h, method="richardson-lucy", workers=1)
        error = float(result.image.sum(dtype=float) / counts.sum(dtype=float)) - 1
        print(f"  peak {peak:5}: {error:+.1e}, least value {result.image.min():.1e}, {result.message}")


def microscopy(path: Path) -> None:
    """A confocal stack of fluorescent lines with a measured PSF: how well two close lines are told apart."""
    stack = imread(path / "DeconvolutionSampleVerticalGrid1AU-crop.tif").astype(np.float32)
    measured = imread(path / "psf_measured_45.tif").astype(np.float32)
    peak = np.unravel_index(measured.argmax(), measured.shape)
    h = psf.from_image(measured, size=(21, 45, 45), psf_center=peak).astype(np.float32)
    offset, rounding = float(stack.min()), 12**-0.5
    print(f"lines {stack.shape}, values {stack.min():g} to {stack.max():g}; PSF {measured.shape}, peak at {peak}")
    common = {"method": "richardson-lucy", "spacing": (0.125, 0.022, 0.022)}
    runs = {
        "automatic": {},
        "read_noise of rounding": {"read_noise": rounding},
        "and background 0.3": {"read_noise": rounding, "background": 0.3},
        "and tv=auto": {"read_noise": rounding, "tv": "auto"},
    }
    print(f"{'':24}{'contrast of the pair':>22}{'valley/line':>13}{'width, pixels':>15}{'planes':>8}")
    lines("blurred", stack - offset)
    for name, options in runs.items():
        begin = time.perf_counter()
        result = restore(stack - offset, h, **common, **options)
        lines(name, result.image, f"  {time.perf_counter() - begin:.1f} s, {result.message}")


def lines(name: str, stack: np.ndarray, note: str = "") -> None:
    """Contrast between the two close lines, of the valley beside the first line, and that line's widths."""
    profile = stack[8:13].mean(axis=(0, 1), dtype=np.float64)
    left, right = 60 + int(np.argmax(profile[60:76])), 76 + int(np.argmax(profile[76:95]))
    low, high = profile[left : right + 1].min(), min(profile[left], profile[right])
    first, depth = profile[35:50], stack[:, :, 36:48].mean(axis=(1, 2), dtype=np.float64)
    widths = [int(np.count_nonzero(p > p.max() / 2)) for p in (first, depth)]
    contrast, valley = (high - low) / (high + low), profile[48:60].min() / first.max()
    print(f"{name:24}{contrast:22.2f}{valley:13.2f}{widths[0]:15}{widths[1]:8}{note}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--microscopy", type=folder)
    args = parser.parse_args()
    print(machine())
    if args.microscopy is not None:
        microscopy(args.microscopy)
        return
    stars()
    flux()
    quality()
    to_likelihood()


if __name__ == "__main__":
    main()
