"""`lsdeblur.compat` beside the functions of scikit-image that it stands in for: time, taking turns, and difference.

    python benchmarks/compat.py [--rounds 9]

scikit-image's camera man, blurred by a Gaussian, of 512 x 512 pixels and repeated to 1024 x 1024. Richardson-Lucy does
10 iterations; both samplers draw the same random numbers. A ratio above 1 says that compat is faster.
"""

from __future__ import annotations

import argparse

import numpy as np
from _common import headline, machine, medians, scene
from skimage import restoration

from lsdeblur import compat, psf, simulate

CALLS = {
    "wiener": lambda module, g, h: module.wiener(g, h, 0.05),
    "richardson_lucy": lambda module, g, h: module.richardson_lucy(g, h, 10),
    "unsupervised_wiener": lambda module, g, h: module.unsupervised_wiener(g, h, rng=0)[0],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    print(machine())
    print("\n| image | dtype | PSF | function | time ratio | largest difference |\n|---|---|---|---|---|---|")
    ratios: dict[str, list[float]] = {name: [] for name in CALLS}
    for repeats in (1, 2):
        sharp = np.tile(scene("camera"), (repeats, repeats))
        for dtype in (np.float32, np.float64):
            for size in (5, 21):
                h = psf.gaussian(size / 6, size=size)
                g = simulate.add_noise(simulate.blur(sharp, h, boundary="zero"), noise_std=0.01, rng=0).astype(dtype)
                for name, call in CALLS.items():
                    # Arguments are bound now, not when the loop has gone on.
                    runs = {m.__name__: lambda m=m, c=call, g=g, h=h: c(m, g, h) for m in (restoration, compat)}
                    images = [run() for run in runs.values()]
                    theirs, ours = medians(runs, rounds).values()
                    error = np.max(np.abs(images[1] - images[0]))
                    shape = "x".join(map(str, g.shape))
                    print(
                        f"| {shape} | {g.dtype} | {size}x{size} | {name} | {theirs / ours:.1f} | {error:.0e} |",
                        flush=True,
                    )
                    ratios[name].append(theirs / ours)
    for name, found in ratios.items():
        figures = f"{np.median(found):.1f} times (median), {min(found):.1f} to {max(found):.1f}"
        headline(f"compat.{name} faster than scikit-image's", figures)


if __name__ == "__main__":
    main()
