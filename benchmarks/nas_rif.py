"""NAS-RIF on objects on a uniform background: what the support, the noise and the background do to it.

    python benchmarks/nas_rif.py [--data DIR] [--part restore refine] [--scenes NAME ...]

Objects: a drawn satellite, a horse, a coin, a face, letters and a logo, the last five from scikit-image or OpenCV;
`--data DIR` adds the objects of satellite.mat and Text.mat (their `x_true`, every fourth and second pixel). Blurs:
Gaussian 1.2, motion of 5 pixels, disk of radius 2.2, a random asymmetric one. The first part prints the mean gain in dB
over the blurred image, at the best shift (a blind restoration's place is not determined), for several supports: exact,
found, too large, the bounding rectangle. "masked" is the blurred image set to the background outside the exact support.
The second refines PSFs that are wrong by a cross-correlation of 0.72 with the true one, and prints that of the result.
Noise: ratio of the blurred image's standard deviation to the noise's, in dB. Seeds are fixed.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from _common import folder, headline, machine
from scipy.fft import fft2, fftfreq, ifft2
from scipy.ndimage import binary_dilation, binary_fill_holes, binary_opening
from scipy.optimize import minimize
from skimage import data, draw, transform
from skimage.color import rgb2gray

from lsdeblur import psf, restore, simulate
from lsdeblur.blind import estimate_psf, refine_psf
from lsdeblur.errors import LsdeblurWarning, ParameterChoiceError

Array = np.ndarray
NOISES = (None, 50.0, 40.0, 30.0)
MARGIN = 16


def satellite() -> tuple[Array, Array]:
    f = np.zeros((56, 84))
    f[26:30, 4:80] = 0.5
    for n, column in enumerate(range(4, 30, 6)):
        f[14:42, column : column + 5] = 0.35 + 0.05 * (n % 3)
        f[14:42, 80 - column : 85 - column] = 0.45
    for center, radius, value in [((28, 42), 11, 0.8), ((24, 46), 4, 1.0), ((5, 60), 4, 0.7)]:
        f[draw.disk(center, radius)] = value
    rows, columns = draw.line(28, 42, 3, 60)
    f[rows, columns] = f[rows, columns - 1] = 0.9
    return f, f > 0


def horse() -> tuple[Array, Array]:
    inside = transform.resize((~data.horse()).astype(float), (64, 78), anti_aliasing=True) > 0.5
    y, x = np.indices(inside.shape)
    return 0.55 + 0.35 * np.sin(x / 7) * np.cos(y / 9), inside


def coin() -> tuple[Array, Array]:
    f = data.coins()[100:170, 245:315] / 255
    return f, binary_opening(binary_fill_holes(f > 0.42), iterations=2)


def face() -> tuple[Array, Array]:
    f = rgb2gray(data.astronaut())[60:200:2, 160:290:2]
    y, x = np.indices(f.shape)
    return np.maximum(f, 0.05), ((y - 35) / 33) ** 2 + ((x - 32) / 28) ** 2 < 1


def letters() -> tuple[Array, Array]:
    import cv2

    f = np.zeros((60, 100), np.uint8)
    cv2.putText(f, "lsq", (4, 42), cv2.FONT_HERSHEY_SIMPLEX, 1.6, 255, 3, cv2.LINE_8)
    return f / 255, f > 0


def logo() -> tuple[Array, Array]:
    f = transform.resize(rgb2gray(data.logo()[..., :3]), (64, 64), anti_aliasing=True)
    y, x = np.indices(f.shape)
    return np.clip(f, 0.05, 1), (y - 31.5) ** 2 + (x - 31.5) ** 2 < 29**2


OBJECTS = {f.__name__: f for f in (satellite, horse, coin, face, letters, logo)}


def measured(path: Path) -> Iterator[tuple[str, Array, Array]]:
    from scipy.io import loadmat

    for name, step in {"satellite.mat": 4, "Text.mat": 2}.items():
        f = np.asarray(loadmat(path / name)["x_true"], float)[::step, ::step]
        f = np.clip(f / f.max(), 0, 1)
        inside = f > 0.02
        rows, columns = (np.flatnonzero(inside.any(axis)) for axis in (1, 0))
        window = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        yield name, f[window], inside[window]


def blurs() -> dict[str, Array]:
    h = np.random.default_rng(5).random((5, 5)) ** 3
    return {
        "gaussian": psf.gaussian(1.2, size=7),
        "motion": psf.motion(5, 30),
        "disk": psf.disk(2.2),
        "random": h / h.sum(),
    }


def observed(f: Array, inside: Array, h: Array, level: float, noise: float | None) -> tuple[Array, Array, Array]:
    """Scene, support and blurred image, with a margin of background."""
    scene = np.pad(np.where(inside, f, level), MARGIN, constant_values=level)
    g = level + simulate.blur(scene - level, h, boundary="zero")
    if noise is not None:
        g = g + g.std() * 10 ** (-noise / 20) * np.random.default_rng(0).standard_normal(g.shape)
    return scene, np.pad(inside, MARGIN), g


def psnr(image: Array, truth: Array) -> float:
    """At the best shift, by fractions of a pixel."""
    w = [fftfreq(n) for n in image.shape]
    A = fft2(image)
    product = fft2(truth) * A.conj()
    product[0, 0] = 0

    def shifted(s: Array) -> Array:
        return np.exp(-2j * np.pi * (w[0][:, None] * s[0] + w[1][None] * s[1]))

    peak = np.unravel_index(np.argmax(ifft2(product).real), image.shape)
    start = [p - n if p > n // 2 else p for p, n in zip(peak, image.shape, strict=True)]
    best = minimize(lambda s: -np.sum((product * shifted(s).conj()).real), start, method="Nelder-Mead",
                    options={"xatol": 0.02, "fatol": 1e-9 * np.abs(product).sum()}).x  # fmt: skip
    return float(-10 * np.log10(np.mean((ifft2(A * shifted(best)).real - truth) ** 2)))


def likeness(a: Array, b: Array) -> float:
    """Normalised cross-correlation of two PSFs at the best shift by eighths of a pixel."""
    n, fine = 64, 8
    C = np.zeros((n * fine, n * fine), complex)
    small = np.fft.fftshift(fft2(a, (n, n)) * fft2(b, (n, n)).conj())
    C[(fine - 1) * n // 2 : (fine + 1) * n // 2, (fine - 1) * n // 2 : (fine + 1) * n // 2] = small
    peak = ifft2(np.fft.ifftshift(C)).real.max() * fine**2
    return float(peak / np.sqrt(np.sum(a**2) * np.sum(b**2)))


def rectangle(inside: Array) -> Array:
    out = np.zeros_like(inside)
    rows, columns = np.nonzero(inside)
    out[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] = True
    return out


def supports(inside: Array) -> dict[str, Array | None]:
    wider = {f"{n} px wider": binary_dilation(inside, iterations=n) for n in (1, 2, 4)}
    return {"exact": inside, "found": None, **wider, "rectangle": rectangle(inside)}


def restorations(scenes: list[tuple[str, Array, Array]], level: float, noise: float | None) -> None:
    rows: dict[str, list[tuple[float, float]]] = {}
    refused = 0
    start = time.perf_counter()
    for _, f, inside in scenes:
        for h in blurs().values():
            truth, S, g = observed(f, inside, h, level, noise)
            base = psnr(g, truth)
            rows.setdefault("masked", []).append((psnr(np.where(S, np.maximum(g, 0), level), truth) - base, 0))
            for name, support in supports(S).items():
                try:
                    result = restore(g, method="nas-rif", support=support, workers=1)
                except ParameterChoiceError:
                    refused += 1
                    continue
                rows.setdefault(name, []).append((psnr(result.image, truth) - base, result.n_iter))
    said = "no noise" if noise is None else f"{noise:.0f} dB"
    print(f"\nbackground {level}, {said}: gain in dB mean / least, iterations ({time.perf_counter() - start:.0f} s)")
    for name, values in rows.items():
        gains, n_iter = np.transpose(values)
        print(f"  {name:12}{gains.mean():8.2f}{gains.min():8.2f}{n_iter.mean():8.0f}")
        if name == "exact":
            headline(f"NAS-RIF with the true support, background {level}, {said}", f"gains {gains.mean():.1f} dB")
    print(f"  refused: {refused}", flush=True)


def wrong_psf(h: Array, rng: np.random.Generator, wanted: float, size: int = 11) -> Array:
    """A mixture of h and another blur that resembles h by so much only."""
    true = np.zeros((size, size))
    a, b = (size // 2 - n // 2 for n in h.shape)
    true[a : a + h.shape[0], b : b + h.shape[1]] = h
    other = true
    while likeness(other, true) > wanted:
        other = rng.random((size, size)) ** 3 * psf.gaussian(rng.uniform(1, 3), size=size)
        other /= other.sum()
        if rng.random() < 0.5:
            other = psf.motion(rng.uniform(5, 9), rng.uniform(0, 180), size=size)
    low, high = 0.0, 1.0
    for _ in range(20):
        middle = (low + high) / 2
        near = likeness((1 - middle) * true + middle * other, true) > wanted
        low, high = (middle, high) if near else (low, middle)
    return (1 - high) * true + high * other


def refinements(scenes: list[tuple[str, Array, Array]], noise: float | None, start: float) -> None:
    rng = np.random.default_rng(3)
    rows: dict[str, list[tuple[float, bool, bool]]] = {}
    for _, f, inside in scenes:
        for h in blurs().values():
            _, S, g = observed(f, inside, h, 0.0, noise)
            guess = wrong_psf(h, rng, start) if start < 1 else psf.combine(h, psf.delta())
            given = supports(S)
            for name in ("exact", "found", "1 px wider", "2 px wider", "4 px wider", "rectangle"):
                found = refine_psf(g, guess, method="nas-rif", support=given[name], workers=1)
                after = likeness(found.psf, h)
                rows.setdefault(name, []).append((after, after < start - 0.01, "too large" in found.message))
            found = estimate_psf(g, method="nas-rif", workers=1)
            rows.setdefault("from nothing", []).append((likeness(found.psf, h), False, False))
    said = "no noise" if noise is None else f"{noise:.0f} dB"
    print(f"\nPSF refined from similarity {start}, {said}: mean / least after, worse than the guess, support doubted")
    for name, values in rows.items():
        after, worse, doubted = np.transpose(values)
        count = len(values)
        print(f"  {name:14}{after.mean():8.3f}{after.min():8.3f}{worse.sum():6.0f} of {count}{doubted.sum():6.0f}",
              flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=folder)
    parser.add_argument("--part", nargs="+", default=["restore", "refine"], choices=["restore", "refine"])
    parser.add_argument("--scenes", nargs="+", default=list(OBJECTS), choices=list(OBJECTS))
    parser.add_argument("--noise", nargs="+", type=float, default=NOISES, help="in dB; by default also none")
    parser.add_argument("--similarity", nargs="+", type=float, default=[0.72, 1.0], help="of the PSFs to refine")
    args = parser.parse_args()
    print(machine())
    warnings.simplefilter("ignore", LsdeblurWarning)
    scenes = [(name, *OBJECTS[name]()) for name in args.scenes] + list(measured(args.data) if args.data else [])
    if "restore" in args.part:
        for level in (0.0, 0.4):
            for noise in args.noise:
                restorations(scenes, level, noise)
    if "refine" in args.part:
        for noise in args.noise:
            for start in args.similarity:
                refinements(scenes, noise, start)


if __name__ == "__main__":
    main()
