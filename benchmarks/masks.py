"""Masks: transforms until the restoration is settled, its cost, and what it is worth beside filling the gaps first.

    python benchmarks/masks.py [--images 5]

5 scikit-image pictures x 3 blurs x 3 masks, valid-convolution data with noise of 0.005 from seeds 0, 1, 2, ...; under
the mask NaN. The masks: 5 % of the pixels at random (seed 0), a square hole of 40 x 40 pixels, and all that lies
outside the circle inscribed in the frame's shorter side. Lambda is chosen automatically in every restoration.

Counted are the transforms (two an iteration; looked at after 0 to 8 iterations, then 10, 12, 16, 24, 32, 48) after
which the PSNR over the measured pixels stays within 0.1 dB of the converged solution's; "all" counts until that holds
over the whole frame. Outside a circular field of view that takes long and means little: far from the data the picture
there is an extrapolation. Beside them the transforms until the solver stops by itself, and the time of an automatic
restoration over that of the same data without a mask.

PSNR in dB over the measured pixels (in brackets: over the whole frame), for the restoration with `mask=`, for the
same data with nothing masked, and for a frame whose gaps were filled first and count as measured:
skimage.restoration.inpaint_biharmonic for pixels and the hole; for the field of view, where it would have to solve for
tens of thousands of pixels at once and extrapolate, the nearest measured value.
"""

from __future__ import annotations

import argparse
import math
from itertools import count

import numpy as np
from _common import SCENES, headline, machine, scene, timed
from scipy.ndimage import distance_transform_edt
from skimage.restoration import inpaint_biharmonic

from lsdeblur import boundary, free, metrics, psf, restore, simulate, spectrum

PSFS = {
    "motion 15@30": lambda: psf.motion(15, 30),
    "disk 5": lambda: psf.disk(5.0),
    "gaussian 2": lambda: psf.gaussian(2.0),
}
NOISE_STD = 0.005
ITERATIONS = (*range(9), 10, 12, 16, 24, 32, 48)  # after which the PSNR is looked at


def masks(shape: tuple[int, int]) -> dict[str, np.ndarray]:
    hole = np.zeros(shape, bool)
    hole[tuple(slice(n // 3, n // 3 + 40) for n in shape)] = True
    y, x = (np.abs(np.arange(n) - (n - 1) / 2) for n in shape)
    beyond = np.hypot(y[:, np.newaxis], x) > min(shape) / 2
    return {"5 % of pixels": np.random.default_rng(0).random(shape) < 0.05, "hole 40 x 40": hole, "circle": beyond}


def filled(g: np.ndarray, mask: np.ndarray, kind: str) -> np.ndarray:
    if kind != "circle":
        return inpaint_biharmonic(np.where(mask, 0, g), mask)
    return g[tuple(distance_transform_edt(mask, return_distances=False, return_indices=True))]


def transforms(g: np.ndarray, h: np.ndarray, mask: np.ndarray, lam: float, truth: np.ndarray) -> list[float]:
    """FFTs until the PSNR is settled over the measured pixels and over all, and until the solver stops."""
    grid = boundary.grid_shape(g.shape, h.shape, "free")
    H = spectrum.transfer_function(h, grid)
    P = lam * spectrum.penalty_symbol("laplacian+gradient", grid)
    C = np.abs(H) ** 2 + P
    unknown = np.ones(grid, bool)
    boundary.crop(unknown, g.shape)[...] = mask
    start = np.fft.rfftn(boundary.fill(boundary.extend(np.where(mask, 0, g), grid, "zero"), unknown))
    system = free.System.of(P / C, g.shape, grid, mask=mask)

    def psnrs(**stop: float) -> tuple[float, float]:
        F = np.conj(H) * system.solve(start.copy(), **stop).spectrum / C
        error = (boundary.crop(np.fft.irfftn(F, grid, axes=(0, 1)), g.shape) - truth) ** 2
        return tuple(-10 * math.log10(e.mean()) for e in (error[~mask], error))

    final, trace = np.array(psnrs(tol=1e-12, max_iter=300)), []
    for i in ITERATIONS:
        trace.append(psnrs(tol=0, max_iter=i))
        if len(trace) > 5 and np.ptp([*trace[-4:], final], axis=0).max() < 0.01:
            break
    return [*(2 * x for x in settled(np.array(trace), final)), 2 * system.solve(start.copy()).n_iter]


def settled(trace: np.ndarray, final: np.ndarray) -> list[float]:
    """Iterations after which each column of `trace` stays within 0.1 dB of `final`; infinity if it never does."""
    late = np.abs(trace - final) > 0.1
    steps = (*ITERATIONS[: len(trace)], math.inf)
    return [steps[len(column) - int(np.argmax(column[::-1])) if column.any() else 0] for column in late.T]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5, help="how many pictures")
    args = parser.parse_args()
    print(machine())
    print(f"{'':40}{'FFTs':>6}{'all':>6}{'stop':>6}{'time':>6}{'mask=':>15}{'nothing hidden':>16}{'filled first':>15}")
    seeds, rows = count(), {}
    for name in SCENES[: args.images]:
        for blur, make in PSFS.items():
            sharp, h = scene(name), make()
            truth = simulate.valid_part(sharp, h)
            g = simulate.add_noise(simulate.blur(sharp, h), noise_std=NOISE_STD, rng=next(seeds))
            whole, alone = timed(g, h)
            for kind, mask in masks(g.shape).items():
                holed, duration = timed(np.where(mask, np.nan, g), h, mask=mask)
                images = (holed.image, whole.image, restore(filled(g, mask, kind), h).image)
                seen = [metrics.psnr(x[~mask], truth[~mask], data_range=1.0) for x in images]
                all_of = [metrics.psnr(x, truth, data_range=1.0) for x in images]
                row = [*transforms(g, h, mask, holed.lam, truth), duration / alone]
                rows.setdefault(kind, []).append([*row, *seen, *all_of])
                line = "".join(f"{x:6.0f}" for x in row[:3]) + f"{row[3]:6.1f}"
                line += "".join(f"{a:8.2f} ({b:5.2f})" for a, b in zip(seen, all_of, strict=True))
                print(f"{name + ', ' + blur + ', ' + kind:40}{line}", flush=True)
    rows["all"] = [row for part in rows.values() for row in part]
    print(f"\n{'':16}{'FFTs: median':>14}{'max':>6}{'all: median':>13}{'max':>6}{'stop: median':>14}{'max':>6}", end="")
    print(f"{'time: median':>14}{'max':>6}{'less than unmasked':>20}{'more than filled':>18} dB (median)")
    for kind, part in rows.items():
        fft, everywhere, stop, cost, masked, unmasked, first = np.array(part).T[:7]
        print(
            f"{kind:16}{np.median(fft):14.0f}{fft.max():6.0f}{np.median(everywhere):13.0f}{everywhere.max():6.0f}",
            end="",
        )
        print(f"{np.median(stop):14.0f}{stop.max():6.0f}{np.median(cost):14.1f}{cost.max():6.1f}", end="")
        print(f"{np.median(unmasked - masked):20.2f}{np.median(masked - first):18.2f}")
    gain = f"{np.median(masked - first):.1f} dB (median) for {np.median(cost):.1f} times the time"
    headline("gained by masking dead pixels over filling them", gain)


if __name__ == "__main__":
    main()
