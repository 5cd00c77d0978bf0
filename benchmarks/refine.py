"""Refinement of a PSF that is slightly wrong, on ordinary scenes: what it costs, and how much of that comes back.

    python benchmarks/refine.py [--scenes NAME ...] [--noise STD ...] [--method wavelet]

The central part of scikit-image's pictures (valid convolution, white noise), restored with the true PSF, with a wrong
one, and with the wrong and the true one refined by `refine_psf(..., method="alternating")`. PSNR in dB at the best
shift of up to 1.5 pixels, without the outer 12: a PSF's place is not determined. "kept" counts PSFs returned as given.
"""

from __future__ import annotations

import argparse
import time
import warnings

import numpy as np
from _common import SCENES, headline, machine, scene
from scipy.ndimage import shift
from scipy.optimize import minimize

from lsdeblur import psf, restore, simulate
from lsdeblur.blind import refine_psf
from lsdeblur.errors import LsdeblurWarning

SIZE, BORDER = 176, 12


def pairs() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """True and wrong PSFs."""
    motion, shake = psf.motion(11, 30), psf.shake(15, rng=3)
    return {
        "length 11, taken for 13": (motion, psf.motion(13, 30)),
        "length 11, taken for 10": (motion, psf.motion(10, 30)),
        "angle 30, taken for 35": (motion, psf.motion(11, 35)),
        "radius 3.5, taken for 4": (psf.disk(3.5), psf.disk(4.0)),
        "sigma 1.6, taken for 1.9": (psf.gaussian(1.6), psf.gaussian(1.9)),
        "centre off by 0.4": (motion, psf.combine(motion, np.array([[0.0, 0.6, 0.4]]))),
        "shake, taken too soft": (shake, psf.combine(shake, psf.gaussian(0.6))),
        "shake, taken too sharp": (psf.combine(shake, psf.gaussian(0.6)), shake),
    }


def psnr(image: np.ndarray, truth: np.ndarray) -> float:
    inner = (slice(BORDER, -BORDER),) * 2

    def error(s: np.ndarray) -> float:
        moved = shift(image, np.clip(s, -1.5, 1.5), order=3, mode="nearest")
        return float(np.mean((moved - truth)[inner] ** 2))

    simplex = [[0, 0], [0.4, 0], [0, 0.4]]
    best = minimize(error, [0, 0], method="Nelder-Mead", options={"initial_simplex": simplex, "xatol": 0.03}).fun
    return -10 * np.log10(min(best, error(np.zeros(2))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", nargs="+", default=list(SCENES), choices=SCENES)
    parser.add_argument("--noise", nargs="+", type=float, default=[0.005, 0.01])
    parser.add_argument("--method", default="tikhonov")
    args = parser.parse_args()
    warnings.simplefilter("ignore", LsdeblurWarning)
    print(machine(), f"\nmethod={args.method!r}\n{'':28}{'true':>7}{'wrong':>7}{'refined':>9}{'kept':>6}"
          f"{'least gain':>12}{'true, refined':>15}{'kept':>6}{'most lost':>11}{'seconds':>9}")  # fmt: skip
    for noise in args.noise:
        regained = []
        print(f"noise {noise}")
        for name, (h, wrong) in pairs().items():
            rows, seconds = [], []
            for seed, picture in enumerate(args.scenes):
                full = scene(picture)
                corner = [(n - SIZE) // 2 for n in full.shape]
                f = full[corner[0] : corner[0] + SIZE, corner[1] : corner[1] + SIZE]
                g = simulate.add_noise(simulate.blur(f, h, boundary="valid"), noise_std=noise, rng=seed)
                truth = simulate.valid_part(f, h)
                start = time.perf_counter()
                refined = [refine_psf(g, k, workers=1) for k in (wrong, h)]
                seconds.append((time.perf_counter() - start) / 2)
                used = [h, wrong, *(r.psf for r in refined)]
                scores = [psnr(restore(g, k, method=args.method, workers=1).image, truth) for k in used]
                rows.append([*scores, *(not r.converged for r in refined)])
            table = np.array(rows, float)
            true, bad, better, again, kept, kept_true = table.mean(0)
            least, lost = np.min(table[:, 2] - table[:, 1]), np.max(table[:, 0] - table[:, 3])
            print(f"  {name:26}{true:7.2f}{bad:7.2f}{better:9.2f}{kept:6.0%}{least:12.2f}{again:15.2f}{kept_true:6.0%}"
                  f"{lost:11.2f}{np.mean(seconds):9.1f}", flush=True)  # fmt: skip
            regained.append((bad, better, true))
        bad, better, true = np.mean(regained, axis=0)
        headline(
            f"slightly wrong PSFs, noise {noise}", f"cost {true - bad:.1f} dB; refined ones {true - better:.1f} dB"
        )


if __name__ == "__main__":
    main()
