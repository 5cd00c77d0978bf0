"""What networks fail at that were trained on ordinary kernels, and what the classic methods make of it.

    python benchmarks/failure_cases.py [--n 12] [--data DIR] [--model FILE]

Crops of scikit-image's pictures, or of the images in a folder: ordinary blur (3 to 25 pixels, noise up to 1 %) and the
three sets of `lsdeblur.deep.evaluation.failure_cases`. For each the mean PSNR and SSIM, the smallest gain in dB
of an image, and the median time: with the PSF known, with one that is estimated first, and by a model of yours. Needs
torch.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable

import numpy as np
from _common import folder, headline, machine, scene

from lsdeblur import LsdeblurWarning, deep, estimate_psf, restore

SCENES = ("astronaut", "camera", "coffee", "cat")
Method = Callable[[np.ndarray, np.ndarray, float], np.ndarray]


def known(**options: object) -> Method:
    return lambda image, psf, noise_std: restore(image, psf, **options).image


def estimated(how: str, **options: object) -> Method:
    return lambda image, psf, noise_std: restore(image, estimate_psf(image, method=how).psf, **options).image


def denoised_first(image: np.ndarray, psf: np.ndarray, noise_std: float) -> np.ndarray:
    from skimage.restoration import denoise_nl_means

    smooth = denoise_nl_means(image, sigma=noise_std, h=0.8 * noise_std, patch_size=5, patch_distance=7)
    return restore(smooth, psf).image


METHODS: dict[str, Method] = {
    "tikhonov": known(),
    "tikhonov, denoise_after": known(denoise_after="nlm"),
    "denoised, then tikhonov": denoised_first,
    "tv": known(method="tv"),
    "wavelet": known(method="wavelet"),
    "gradient-prior, then tikhonov": estimated("gradient-prior"),
    "gradient-prior, then tv": estimated("gradient-prior", method="tv"),
    "parametric, then tikhonov": estimated("parametric"),
    "parametric, then tv": estimated("parametric", method="tv"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=12, help="items of each case")
    parser.add_argument("--data", type=folder, help="a folder of images of 204 x 204 pixels or more")
    parser.add_argument("--model", help="a trained model (safetensors)")
    arguments = parser.parse_args()
    images = arguments.data or [scene(name) for name in SCENES]
    ordinary = deep.data.Synthetic(images, crop=160, rotation=0, length=arguments.n)
    sets = {"ordinary": ordinary} | deep.evaluation.failure_cases(images, n=arguments.n, crop=160)
    methods = METHODS | ({"the model": deep.load(arguments.model)} if arguments.model else {})
    print(f"{machine()}\n")
    warnings.simplefilter("ignore", LsdeblurWarning)  # doubtful PSFs are what this is about
    for name, items in sets.items():
        print(f"{name:32}{'PSNR':>8}{'SSIM':>8}{'least gain':>12}{'ms':>8}")
        for label, method in methods.items():
            found = deep.evaluate(method, items, budget_ms=1000, n=arguments.n, repeats=1)
            psnr, ssim, ms = found.rows
            if label == "tikhonov":
                print(f"{'  blurred':32}{psnr.before:8.2f}{ssim.before:8.3f}")
            if label == next(iter(METHODS)):
                headline(f"networks' hard cases, {name}", f"{label}: {psnr.after - psnr.before:+.2f} dB")
            least = min(score.psnr - score.psnr_before for score in found.scores)
            print(f"  {label:30}{psnr.after:8.2f}{ssim.after:8.3f}{least:12.2f}{ms.after:8.0f}", flush=True)


if __name__ == "__main__":
    main()
