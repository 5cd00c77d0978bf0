"""How much the automatic lambda loses on noise that cameras and editors make, beside the L-curve on the same data.

    python benchmarks/noise_kinds.py [--scenes astronaut cat coins] [--kinds demosaiced rows ...] [--each]

White noise is added to a blurred scene (valid convolution), and each kind then treats the image as a camera or a
program would. A loss is the PSNR of the best lambda in hindsight for white noise's gain under a free boundary, less
that of the restoration found; it may be negative where the noise's colour is allowed for.
"""

from __future__ import annotations

import argparse
import io
import math
import warnings
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator

import cv2
import imageio.v3 as iio
import numpy as np
from _common import PSFS, Case, best, headline, machine, summary
from scipy import ndimage
from skimage import data, restoration
from skimage.color import gray2rgb, rgb2gray

import lsdeblur
from lsdeblur import ParameterChoiceError, plan, restore, simulate

NOISE_LEVELS = (0.005, 0.02)
MARGIN = 6  # pixels that interpolation may have taken from beyond the frame
RULES = ("auto", "l-curve")

#: blurred scene (rows, columns, 3), noise level, random numbers -> observed image in grey
Treatment = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]


def noisy(clean: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    grey = rgb2gray(clean)
    return grey + sigma * rng.standard_normal(grey.shape)


def demosaiced(clean: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Colours seen through a Bayer pattern with noise, interpolated bilinearly."""
    rows, columns = np.indices(clean.shape[:2]) % 2
    sites = np.stack([(rows == 0) & (columns == 0), rows != columns, (rows == 1) & (columns == 1)], axis=-1)
    mosaic = np.where(sites, clean + sigma * rng.standard_normal(clean.shape[:2])[..., np.newaxis], 0)
    sparse, dense = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 4, np.array([[0, 1, 0], [1, 4, 1], [0, 1, 0]]) / 4
    kernels = (sparse, dense, sparse)
    return np.stack([ndimage.convolve(mosaic[..., i], k, mode="mirror") for i, k in enumerate(kernels)], axis=-1)


def jpeg(quality: int) -> Treatment:
    def treat(clean: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
        return iio.imread(
            io.BytesIO(iio.imwrite("<bytes>", rounded(clean, sigma, rng), extension=".jpg", quality=quality))
        )

    return treat


def rounded(clean: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    return np.clip(np.rint(255 * noisy(clean, sigma, rng)), 0, 255).astype(np.uint8)


def photons(clean: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Photon noise of standard deviation sigma at half the brightness."""
    return rng.poisson(np.clip(rgb2gray(clean), 0, 1) / (2 * sigma**2)) * 2 * sigma**2


def rows(clean: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """An offset of its own for every row, besides white noise."""
    image = noisy(clean, sigma, rng)
    return image + 0.005 * rng.standard_normal((len(image), 1))


def streaks(clean: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Noise that the read-out of the rows has smoothed, along them alone."""
    noise = ndimage.gaussian_filter1d(rng.standard_normal(clean.shape[:2]), 1.0, axis=1, mode="wrap")
    return rgb2gray(clean) + sigma * noise / noise.std()


def enlarged(clean: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Every second pixel of every second row measured, the others interpolated by cubic splines."""
    at = np.indices(clean.shape[:2]) / 2
    return ndimage.map_coordinates(noisy(clean[::2, ::2], sigma, rng), at, mode="mirror")


def non_local_means(clean: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    image = noisy(clean, sigma, rng)
    return restoration.denoise_nl_means(image, patch_size=5, patch_distance=5, h=0.6 * sigma, sigma=sigma)


def wavelets(clean: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    return restoration.denoise_wavelet(noisy(clean, sigma, rng), sigma=sigma, rescale_sigma=False)


def bilateral(clean: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    return cv2.bilateralFilter(noisy(clean, sigma, rng).astype(np.float32), 5, 2 * sigma, 1.0).astype(float)


TREATMENTS: dict[str, Treatment] = {
    "white": noisy,
    "photons": photons,
    "8 bits": rounded,
    "demosaiced, grey": lambda *a: rgb2gray(demosaiced(*a)),
    "demosaiced, green": lambda *a: demosaiced(*a)[..., 1],
    "jpeg 95": jpeg(95),
    "jpeg 90": jpeg(90),
    "jpeg 75": jpeg(75),
    "rows": rows,
    "streaks": streaks,
    "enlarged": enlarged,
    "non-local means": non_local_means,
    "wavelets": wavelets,
    "bilateral": bilateral,
}


def shifted(image: np.ndarray, order: int) -> np.ndarray:
    return ndimage.shift(image, (0.5, 0.3), order=order)


def turned(image: np.ndarray, order: int) -> np.ndarray:
    return ndimage.rotate(image, 2, reshape=False, order=order)


def sharpened(image: np.ndarray, order: int) -> np.ndarray:
    """By an unsharp mask."""
    return 2 * image - ndimage.gaussian_filter(image, 1.0)


#: what moves pixels, and so the PSF as well; a shift leaves the truth where it is, for the moved PSF puts it back
RESAMPLED = {
    "sharpened": (sharpened, 1),
    "shifted, linear": (shifted, 1),
    "shifted, cubic": (shifted, 3),
    "turned, linear": (turned, 1),
    "turned, cubic": (turned, 3),
}


def make(kind: str, sharp: np.ndarray, h: np.ndarray, sigma: float, rng: np.random.Generator, name: str) -> Case:
    clean = simulate.blur(sharp, h, channel_axis=-1)
    truth = simulate.valid_part(sharp, h, channel_axis=-1)
    truth = truth[..., 1] if "green" in kind else rgb2gray(truth)
    if kind in TREATMENTS:
        image = TREATMENTS[kind](clean, sigma, rng)
        return Case(name, image / 255 if image.dtype == np.uint8 else image, h, truth, sigma)
    move, order = RESAMPLED[kind]
    margin = MARGIN
    if move is turned:
        truth = move(truth, 3)
        margin += math.ceil(max(truth.shape) / 2 * math.sin(math.radians(2)))
    inner = (slice(margin, -margin),) * 2
    image = move(noisy(clean, sigma, rng), order)
    return Case(name, image[inner], move(np.pad(h, MARGIN), order), truth[inner], sigma)


def cases(kind: str, scenes: list[str]) -> Iterator[Case]:
    """Every scene, blur and noise level; the random numbers depend on the case's name alone."""
    for scene in scenes:
        image = getattr(data, scene)() / 255
        for blur, psf in PSFS.items():
            for sigma in NOISE_LEVELS:
                name = f"{kind}, {scene}, {blur}, {sigma}"
                rng = np.random.default_rng(zlib.crc32(name.encode()))
                yield make(kind, image if image.ndim == 3 else gray2rgb(image), psf(), sigma, rng, name)


def losses(case: Case) -> dict[str, float]:
    """dB lost by every rule; NaN where it has no answer."""
    g, h = case.blurred, case.psf
    _, top = best(lambda lam: case.psnr(plan(h, g.shape, lam=lam, tol=1e-3)(g)), 1e-5, 100.0)
    lost = {}
    for rule in RULES:
        try:
            lost[rule] = top - case.psnr(restore(g, h, lam=rule).image)
        except ParameterChoiceError:
            lost[rule] = float("nan")
    return lost


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", nargs="*", default=["astronaut", "cat", "coins"])
    parser.add_argument("--kinds", nargs="*", default=[*TREATMENTS, *RESAMPLED], choices=[*TREATMENTS, *RESAMPLED])
    parser.add_argument("--each", action="store_true", help="print every case")
    args = parser.parse_args()
    warnings.simplefilter("ignore", lsdeblur.LambdaAtBoundaryWarning)
    print(machine())
    everything: list[float] = []
    print(f"\n{'noise':20}{'rule':10}{'median':>8}{'mean':>8}{'p90':>8}{'max':>8}{'no answer':>11}")
    for kind in args.kinds:
        table: dict[str, list[float]] = defaultdict(list)
        for case in cases(kind, args.scenes):
            for rule, loss in (row := losses(case)).items():
                table[rule].append(loss)
            if args.each:
                print(f"{case.name:44}", "  ".join(f"{rule} {loss:.2f}" for rule, loss in row.items()), flush=True)
        for rule, values in table.items():
            print(f"{kind:20}{rule:10}{summary(values)}", flush=True)
        everything += table["auto"]
    lost = np.array(everything)
    figures = f"{np.median(lost):.2f} dB at the median, {np.percentile(lost, 90):.2f} at nine tenths, {lost.max():.1f}"
    headline(f"lost by the automatic lambda, {len(args.kinds)} kinds of noise", figures)


if __name__ == "__main__":
    main()
