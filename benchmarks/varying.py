"""Blur that varies over the frame: restored with uniform PSFs, tile by tile, and by least squares.

    python benchmarks/varying.py [--restoretools DIR] [--cpcr DIR] [--out DIR]

The camera's rotation is simulated by turning the picture, not by the library's own model. --restoretools: the folder
with star_cluster.mat (the Hubble problem of Nagy & O'Leary 1998), relative errors with 1, 4 and 25 PSFs, with the best
lambda in hindsight and the automatic one. --cpcr: the folder with nonuniform_blurry.png,
nonuniform_gt.png and nonuniform_motion.mat. --out: where the pictures go. Times are the better of two runs.
"""

from __future__ import annotations

import argparse
import math
import warnings
from pathlib import Path

import numpy as np
from _common import folder, headline, machine, scene, timed
from scipy.io import loadmat
from scipy.ndimage import map_coordinates, spline_filter
from skimage.io import imread, imsave

from lsdeblur import metrics, psf, restore

MARGIN = 32  # pixels around the frame that the camera saw during the exposure, too


def turned(sharp: np.ndarray, angle: float, n: int = 81) -> np.ndarray:
    """The mean of n pictures turned by up to `angle` degrees in all, without the margin."""
    coefficients, middle = spline_filter(sharp), [(m - 1) / 2 for m in sharp.shape]
    v, u = (x - c for x, c in zip(np.indices(sharp.shape), middle, strict=True))
    total = np.zeros(sharp.shape)
    for t in math.radians(angle) * ((np.arange(n) + 0.5) / n - 0.5):
        at = [middle[0] + v * np.cos(t) - u * np.sin(t), middle[1] + v * np.sin(t) + u * np.cos(t)]
        total += map_coordinates(coefficients, at, prefilter=False, mode="nearest")
    return (total / n)[MARGIN:-MARGIN, MARGIN:-MARGIN]


def compare(g: np.ndarray, truth: np.ndarray, h: psf.PSFGrid, singles: list[np.ndarray], **options: object) -> dict:
    """PSNR in dB of every way, and its time relative to a uniform restoration; prints a line for each."""

    def score(image: np.ndarray) -> float:
        return metrics.psnr(image, truth, data_range=1.0)

    print(f"  blurred {score(g):.2f} dB; {h}")
    uniform = [timed(g, single, **options) for single in singles]
    one, unit = max(uniform, key=lambda found: score(found[0].image))
    fast, slow = timed(g, h, exact=False, **options), timed(g, h, **options)
    mean = restore(g, h, lam=restore(g, h.psfs.mean(axis=0), **options).lam, **options)
    tried = [restore(g, h, lam=slow[0].lam * c, **options) for c in (0.25, 0.5, 0.7, 1.4, 2, 4)]
    top = max([slow[0], *tried], key=lambda found: score(found.image))
    rows = {"best uniform PSF": (one, unit), "tile by tile": fast, "least squares": slow}
    for name, (found, seconds) in rows.items():
        print(f"  {name:20}{score(found.image):7.2f} dB  lambda {found.lam:8.2g}  time {seconds / unit:6.1f}", end="")
        print(f"  iterations {found.n_iter}" if name == "least squares" else "")
    print(f"  least squares, lambda in hindsight {score(top.image):.2f} dB, {top.lam:.2g}; ", end="")
    print(f"lambda by the mean PSF {score(mean.image):.2f} dB, {mean.lam:.2g}", flush=True)
    return {"blurred": g, "truth": truth, **{name.replace(" ", "-"): found.image for name, (found, _) in rows.items()}}


def stars(path: Path) -> None:
    """Relative error ``|f - truth| / |truth|`` with 1, 4 and 25 PSFs; the PSFs' centre is at row 29, column 30."""
    data = loadmat(path / "star_cluster.mat")
    g, truth = data["b"], data["x_true"]
    print("star cluster, relative error with the best lambda: number of PSFs, error, lambda, automatic lambda's error")
    for name in ("PSF1", "PSF4", "PSF25"):
        cells = np.atleast_2d(data[name]) if data[name].dtype == object else None
        h = data[name][None, None] if cells is None else np.array([[np.asarray(h) for h in row] for row in cells])
        grid = psf.PSFGrid.regular(np.roll(h, 1, axis=-2), shape=g.shape)

        def error(image: np.ndarray) -> float:
            return float(np.linalg.norm(image - truth) / np.linalg.norm(truth))

        def fitted(lam: float, grid: psf.PSFGrid = grid) -> np.ndarray:
            return restore(g, grid, lam=lam, penalty="identity", max_iter=200).image

        lam = min(np.geomspace(1e-5, 1e-3, 7), key=lambda lam: error(fitted(lam)))
        print(
            f"  {name:6}{error(fitted(lam)):8.4f}{lam:10.2g}{error(restore(g, grid, penalty='identity').image):10.4f}",
            flush=True,
        )


def photograph(path: Path) -> dict:
    g, truth = (imread(path / f"nonuniform_{kind}.png") / 255 for kind in ("blurry", "gt"))
    lengths, angles = np.moveaxis(loadmat(path / "nonuniform_motion.mat")["mfmap"], -1, 0)
    h = psf.motion_field(lengths, 90 - angles)  # theirs are counted from the vertical
    places = [h.at((i * (g.shape[0] - 1) / 4, j * (g.shape[1] - 1) / 4)) for i in (1, 2, 3) for j in (1, 2, 3)]
    print("photograph with a field of motion (PSNR of three channels)")
    return compare(g, truth, h, [*places, h.psfs.mean(axis=0)], channel_axis=-1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--restoretools", type=folder)
    parser.add_argument("--cpcr", type=folder)
    parser.add_argument("--out", type=folder)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    print(machine())
    pictures = {}
    for name, angle, noise_std in (("astronaut", 3.0, 0.01), ("camera", 3.0, 0.01), ("astronaut", 3.0, 0.002)):
        sharp = scene(name)
        clean = turned(sharp, angle)
        g = (clean + noise_std * np.random.default_rng(0).standard_normal(clean.shape)).astype(np.float32)
        h = psf.rotation(angle, shape=g.shape)
        singles = [h.at(((g.shape[0] - 1) * i / 4, (g.shape[1] - 1) * j / 4)) for i in (0, 1, 2) for j in (1, 2, 3)]
        print(f"{name}, turned by {angle:g} degrees, noise {noise_std:g}")
        found = compare(g, sharp[MARGIN:-MARGIN, MARGIN:-MARGIN], h, [*singles, h.psfs.mean(axis=0)])
        pictures |= {f"{name}-{noise_std:g}-{kind}": image for kind, image in found.items()}
        uniform, least = (
            metrics.psnr(found[kind], found["truth"], data_range=1.0) for kind in ("best-uniform-PSF", "least-squares")
        )
        what = f"gained over the best uniform PSF, {name} turned by {angle:g} degrees, noise {noise_std:g}"
        headline(what, f"{least - uniform:.1f} dB")
    if args.restoretools:
        stars(args.restoretools)
    if args.cpcr:
        pictures |= {f"motion-field-{kind}": image for kind, image in photograph(args.cpcr).items()}
    for name, image in pictures.items() if args.out else ():
        imsave(args.out / f"{name}.png", np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8), check_contrast=False)


if __name__ == "__main__":
    main()
