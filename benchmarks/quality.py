"""Quality on real-size blurred photographs beside scikit-image, whose filters get the best parameter in hindsight.

    python benchmarks/quality.py [--data DIR] [--method NAME ...]

Without DIR: pictures of scikit-image with a camera shake and 1 % noise. DIR holds blur_i.png, clean_i.png and
kernel_i.png (i = 1, 2, ...): the clean image is larger by the kernel's size less one, since the frame is cropped after
blurring. With `--method` only those of lsdeblur's methods run. Figures are PSNR in dB / SSIM over the whole frame, and
seconds per megapixel for lsdeblur's methods.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from _common import Case, automatic_methods, best, folder, headline, machine, scene
from skimage.io import imread
from skimage.restoration import richardson_lucy, unsupervised_wiener, wiener

import lsdeblur
from lsdeblur import METHODS, metrics, psf, restore, simulate


def read(path: Path) -> np.ndarray:
    image = imread(path).astype(float)
    return image[..., 0] if image.ndim == 3 else image


def generated() -> Iterator[Case]:
    for seed, name in enumerate(("astronaut", "camera", "coffee", "cat")):
        sharp, h = scene(name), psf.shake(27, rng=seed)
        g = simulate.add_noise(simulate.blur(sharp, h), noise_std=0.01, rng=seed)
        yield Case(name, g, h, simulate.valid_part(sharp, h), 0.01)


def load(data: Path) -> Iterator[Case]:
    for path in sorted(data.glob("blur_*.png")):
        kernel = read(path.with_name(path.name.replace("blur", "kernel")))
        kernel /= kernel.sum()
        clean = read(path.with_name(path.name.replace("blur", "clean"))) / 255
        yield Case(path.stem, read(path) / 255, kernel, simulate.valid_part(clean, kernel), 0.01)


def padded_kernel(kernel: np.ndarray) -> np.ndarray:
    """Odd-sized, as some peers expect, with the centre kept."""
    return np.pad(kernel, [(0, 1 - s % 2) for s in kernel.shape])


def peers(case: Case) -> Iterator[tuple[str, str, np.ndarray]]:
    """Name, parameter and result of scikit-image's filters, and of Tikhonov's with the best lambda."""
    g, h = case.blurred, padded_kernel(case.psf)
    balance, _ = best(lambda b: case.psnr(wiener(g, h, b, clip=False)), 1e-5, 1e3)
    count = max((1, 2, 3, 5, 7, 10, 15, 20, 30, 50), key=lambda n: case.psnr(richardson_lucy(g, h, n, clip=False)))
    lam, _ = best(lambda lam: case.psnr(lsdeblur.plan(case.psf, g.shape, lam=lam)(g)))
    yield "skimage wiener*", f"balance {balance:.3g}", wiener(g, h, balance, clip=False)
    yield "skimage unsupervised_wiener", "", unsupervised_wiener(g, h, clip=False, rng=0)[0]
    yield "skimage richardson_lucy*", f"{count} iterations", richardson_lucy(g, h, count, clip=False)
    yield "tikhonov*", f"lam {lam:.3g}", restore(g, case.psf, lam=lam).image


def methods(case: Case, names: Sequence[str]) -> Iterator[tuple[str, str, np.ndarray]]:
    """The same of the named methods, or of all and their peers; everything automatic."""
    yield "blurred", "", case.blurred
    if not names:
        yield from peers(case)
    for name in names or automatic_methods():
        began = time.perf_counter()
        result = restore(case.blurred, case.psf, method=name)
        parameter = "" if result.lam is None else f"lam {result.lam:.3g} "
        parameter += f"{(time.perf_counter() - began) / case.blurred.size * 1e6:.1f} s/MP"
        yield f"method={name!r}", parameter, result.image
        if name == "tikhonov":
            yield "denoise_after='nlm'", "", restore(case.blurred, case.psf, denoise_after="nlm").image
            yield "boundary='taper'", "", restore(case.blurred, case.psf, boundary="taper").image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=folder)
    parser.add_argument("--method", nargs="+", default=[], choices=sorted(METHODS))
    args = parser.parse_args()
    print(machine(), "\n* given the best possible parameter")
    scores: dict[str, list[tuple[float, float]]] = {}
    for case in load(args.data) if args.data else generated():
        print(f"\n{case.name} {case.blurred.shape}, PSF {case.psf.shape}")
        for name, parameter, image in methods(case, args.method):
            psnr, ssim = case.psnr(image), metrics.ssim(image, case.truth, data_range=1.0)
            scores.setdefault(name, []).append((psnr, ssim))
            print(f"  {name:32}{parameter:22}{psnr:8.2f} dB{ssim:8.3f}", flush=True)
    print(f"\nmean of {len(scores['blurred'])}")
    for name, pairs in scores.items():
        psnr, ssim = np.mean(pairs, axis=0)
        print(f"  {name:54}{psnr:8.2f} dB{ssim:8.3f}")
    for name, pairs in scores.items():
        psnr, ssim = np.mean(pairs, axis=0)
        headline(f"{len(pairs)} photographs, {' '.join(name.split())}", f"{psnr:.2f} dB, SSIM {ssim:.3f}")


if __name__ == "__main__":
    main()
