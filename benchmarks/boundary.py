"""Free boundaries: transforms until the restoration is settled, and what they are worth.

    python benchmarks/boundary.py [--images 5]

5 scikit-image pictures x 8 blurs x 3 noise levels, valid-convolution data, noise from seeds 0, 1, 2, ..., each at its
best lambda. Counted are the transforms (two an iteration, one rfftn and one irfftn of the padded grid) after which the
PSNR stays within 0.1 dB of the converged solution's, for the library's solver and for conjugate gradients on the image
with the circulant preconditioner ``1 / (|H|^2 + lam P)``, both from the same ramp. Beside them the loss of the
library's stop rule, and the gain over two cheaper boundaries, each with its own best lambda: classical edge tapering,
which blends the periodic frame with its own blur towards the edges, and the library's "taper", which adds a gap.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from itertools import count

import numpy as np
from _common import NOISE_LEVELS, SCENES, Case, best, headline, machine, scene

from lsdeblur import boundary, free, plan, psf, restore, simulate, spectrum

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
LAMBDAS = (1e-5, 10.0)  # searched for the best one


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
        self.start = np.fft.rfftn(boundary.extend(case.blurred, self.grid, "free"))

    def psnr(self, F: np.ndarray) -> float:
        return self.case.psnr(boundary.crop(np.fft.irfftn(F, self.grid, axes=(0, 1)), self.shape))

    def bands(self) -> tuple[list[float], float, float]:
        """PSNR after each iteration of the library's solver, of the converged one, and where its stop rule ends."""
        system = free.System.of(self.lamP / self.C, self.shape, self.grid)

        def restored(**stop: float) -> float:
            found = system.solve(self.start.copy(), **stop)
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
        F = np.conj(self.H) * self.start / self.C
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


def edge_tapered(g: np.ndarray, h: np.ndarray) -> np.ndarray:
    """The frame blended with its periodic blur towards its edges, so that a periodic filter finds no step there.

    ``alpha g + (1 - alpha) (h * g)`` with ``alpha = prod_d (1 - rho_d / rho_d(0))``, where rho_d is the autocorrelation
    (of period n_d - 1) of the PSF's sum over the other axes: what MATLAB's `edgetaper` documents.
    """
    alpha = np.ones(())
    for axis, n in enumerate(g.shape):
        profile = h.sum(axis=tuple(d for d in range(h.ndim) if d != axis))
        rho = np.fft.irfft(np.abs(np.fft.rfft(profile, n - 1)) ** 2, n - 1)
        alpha = np.multiply.outer(alpha, 1 - np.append(rho, rho[0]) / rho[0])
    blurred = np.fft.irfftn(spectrum.transfer_function(h, g.shape) * np.fft.rfftn(g), g.shape, axes=(0, 1))
    return alpha * g + (1 - alpha) * blurred


def best_psnr(case: Case, image: np.ndarray, boundary: str) -> float:
    """Of Tikhonov's restorations of `image` with any lambda."""
    return best(lambda lam: case.psnr(plan(case.psf, image.shape, lam=lam, boundary=boundary)(image)), *LAMBDAS)[1]


def measured(case: Case) -> dict[str, float]:
    """The figures of one case."""
    g, h = case.blurred, case.psf
    # The best lambda hardly depends on how well the extension is settled: the search stays loose.
    lam, _ = best(lambda lam: case.psnr(restore(g, h, lam=lam, tol=1e-3).image), *LAMBDAS)
    problem = Problem(case, lam)
    trace, final, stopped = problem.bands()
    return {
        "FFTs, this library": 2 * settled(trace, final),
        "FFTs, circulant CG": 2 * settled(problem.circulant(), final),
        "dB lost by the stop rule": final - stopped,
        "dB gained over edge tapering": final - best_psnr(case, edge_tapered(g, h), "periodic"),
        'dB gained over "taper"': final - best_psnr(case, g, "taper"),
    }


def cases(images: int) -> Iterator[Case]:
    seeds = count()
    for name in SCENES[:images]:
        for blur, make in PSFS.items():
            sharp, h = scene(name), make()
            clean, truth = simulate.blur(sharp, h), simulate.valid_part(sharp, h)
            for sigma in NOISE_LEVELS:
                noisy = simulate.add_noise(clean, noise_std=sigma, rng=next(seeds))
                yield Case(f"{name}, {blur}, {sigma}", noisy, h, truth, sigma)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5, help="how many pictures")
    args = parser.parse_args()
    print(machine())
    rows = []
    for case in cases(args.images):
        rows.append(measured(case))
        print(f"{case.name:32}", "  ".join(f"{x:7.3g}" for x in rows[-1].values()), flush=True)
    print(f"\n{len(rows)} cases{'':27}{'median':>8}{'mean':>8}{'p90':>8}{'max':>8}{'min':>8}")
    for label in rows[0]:
        column = np.array([row[label] for row in rows])
        known = np.where(np.isinf(column), 2 * LIMIT, column)
        figures = (np.median(known), known.mean(), np.percentile(known, 90), known.max(), known.min())
        missed = f"   not there after {2 * LIMIT}: {np.isinf(column).sum()}" if np.isinf(column).any() else ""
        print(f"{label:36}" + "".join(f"{x:8.2f}" for x in figures) + missed)
    ffts, gained = (
        np.array([row[label] for row in rows]) for label in ("FFTs, this library", 'dB gained over "taper"')
    )
    headline("FFTs to within 0.1 dB of the exact free boundary", f"{np.median(ffts):.0f} (median), {ffts.max():.0f}")
    headline("gained by a free boundary over a taper", f"{gained.mean():.2f} dB, least {gained.min():.2f}")


if __name__ == "__main__":
    main()
