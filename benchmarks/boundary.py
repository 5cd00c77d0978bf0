"""Free boundaries: transforms until the restoration is settled, and what they are worth.

    python benchmarks/boundary.py [--images 5]

5 scikit-image pictures x 8 blurs x 3 noise levels, valid-convolution data, noise from seeds 0, 1, 2, ..., each at its
best lambda. Counted are the transforms (two an iteration, one rfftn and one irfftn of the padded grid) after which the
PSNR stays within 0.1 dB of the converged solution's, for the library's solver and for conjugate gradients on the image
with the circulant preconditioner ``1 / (|H|^2 + lam P)``, both from the same ramp. Beside them the loss of the
library's stop rule, and the gain over a tapered boundary with its own best lambda.
"""

from __future__ import annotations

import argparse
import math
from itertools import count

import numpy as np
from _common import NOISE_LEVELS, SCENES, Case, best, machine, scene

import lsdeblur
from lsdeblur import boundary, free, psf, restore, simulate, spectrum

PSFS = {
    "motion 15@30": lambda: psf.motion(15, 30),
    "motion 31@45": lambda: psf.motion(31, 45),
    "motion 41@10": lambda: psf.motion(41, 10),
    "gaussian 1.5": lambda: psf.gaussian(1.5),
    "gaussian 3": lambda: psf.gaussian(3.0),
    "box 9": lambda: psf.box(9),
    "disk 7": lambda: psf.disk(7),
    "shake 27": lambda: psf.shake(27, rng=3),
}
ITERATIONS = 30  # of the library's solver
LIMIT = 100  # iterations of the circulant one


def settled(trace: list[float], final: float) -> float:
    """Iterations after which the PSNR stays within 0.1 dB of `final`; infinity if it never does."""
    for i in range(len(trace), 0, -1):
        if abs(trace[i - 1] - final) > 0.1:
            return float(i) if i < len(trace) else math.inf
    return 0.0


class Problem:
    """One case at one lambda, on the padded grid."""

    def __init__(self, case: Case, lam: float) -> None:
        self.case, self.shape = case, case.blurred.shape
        self.grid = boundary.grid_shape(self.shape, case.psf.shape, "free")
        self.H = spectrum.transfer_function(case.psf, self.grid)
        P = spectrum.penalty_symbol("laplacian+gradient", self.grid)
        self.C = np.abs(self.H) ** 2 + lam * P
        self.lamP = lam * P
        self.start = boundary.extend(case.blurred, self.grid, "free")

    def psnr(self, F: np.ndarray) -> float:
        return self.case.psnr(boundary.crop(np.fft.irfftn(F, self.grid, axes=(0, 1)), self.shape))

    def bands(self) -> tuple[list[float], float, float]:
        """PSNR after each iteration of the library's solver, of the converged one, and where its stop rule ends."""
        system = free.System.of(self.lamP / self.C, self.shape, self.grid)

        def restored(**stop: float) -> float:
            found = system.solve(self.start, **stop)
            return self.psnr(np.conj(self.H) * found.spectrum / self.C)

        final = restored(tol=1e-12, max_iter=200)
        trace = []
        for i in range(ITERATIONS + 1):
            trace.append(restored(tol=0, max_iter=i))
            if len(trace) > 5 and np.ptp([*trace[-4:], final]) < 0.01:
                break
        return trace, final, restored()

    def circulant(self) -> list[float]:
        """PSNR after each iteration of circulant-preconditioned conjugate gradients on the image."""
        weights = spectrum.hermitian_weights(self.grid)

        def inner(a: np.ndarray, b: np.ndarray) -> float:
            return float(np.sum(weights * (a.real * b.real + a.imag * b.imag)))

        def masked(F: np.ndarray) -> np.ndarray:
            g = np.fft.irfftn(self.H * F, self.grid, axes=(0, 1))
            seen = np.zeros(self.grid)
            boundary.crop(seen, self.shape)[...] = boundary.crop(g, self.shape)
            return np.conj(self.H) * np.fft.rfftn(seen)

        observed = np.zeros(self.grid)
        boundary.crop(observed, self.shape)[...] = self.case.blurred
        F = np.conj(self.H) * np.fft.rfftn(self.start) / self.C
        r = np.conj(self.H) * np.fft.rfftn(observed) - masked(F) - self.lamP * F
        z = r / self.C
        p, rz = z, inner(r, z)
        trace = [self.psnr(F)]
        for _ in range(LIMIT):
            Ap = masked(p) + self.lamP * p
            step = rz / inner(p, Ap)
            F, r = F + step * p, r - step * Ap
            z = r / self.C
            previous, rz = rz, inner(r, z)
            p = z + rz / previous * p
            trace.append(self.psnr(F))
        return trace


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5, help="how many pictures")
    args = parser.parse_args()
    print(machine())
    seeds, rows = count(), []
    for name in SCENES[: args.images]:
        for blur, make in PSFS.items():
            sharp, h = scene(name), make()
            clean, truth = simulate.blur(sharp, h), simulate.valid_part(sharp, h)
            for sigma in NOISE_LEVELS:
                noisy = simulate.add_noise(clean, noise_std=sigma, rng=next(seeds))
                case = Case(f"{name}, {blur}, {sigma}", noisy, h, truth, sigma)
                # The best lambda hardly depends on how well the extension is settled: the search stays loose.
                lam, _ = best(lambda x, c=case: c.psnr(restore(c.blurred, c.psf, lam=x, tol=1e-3).image), 1e-5, 1.0)
                taper = best(
                    lambda x, c=case: c.psnr(lsdeblur.plan(c.psf, c.blurred.shape, lam=x, boundary="taper")(c.blurred)),
                    1e-5,
                    1.0,
                )[1]
                problem = Problem(case, lam)
                trace, final, stopped = problem.bands()
                rows.append(
                    (2 * settled(trace, final), 2 * settled(problem.circulant(), final), final - stopped, final - taper)
                )
                print(
                    f"{case.name:32} lam {lam:.1e}  {final:.2f} dB", "  ".join(f"{x:.3g}" for x in rows[-1]), flush=True
                )
    table = np.array(rows).T
    print(f"\n{table.shape[1]} cases{'':27}{'median':>8}{'mean':>8}{'p90':>8}{'max':>8}{'min':>8}")
    labels = ("FFTs, this library", "FFTs, circulant CG", "dB lost by the stop rule", "dB gained over taper")
    for label, row in zip(labels, table, strict=True):
        known = np.where(np.isinf(row), 2 * LIMIT, row)
        figures = (np.median(known), known.mean(), np.percentile(known, 90), known.max(), known.min())
        missed = f"   not there after {2 * LIMIT}: {np.isinf(row).sum()}" if np.isinf(row).any() else ""
        print(f"{label:36}" + "".join(f"{x:8.2f}" for x in figures) + missed)


if __name__ == "__main__":
    main()
