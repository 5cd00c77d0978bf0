"""The penalty ``|Laplacian|^2 + tau |gradient|^2``: how much its share of the gradient matters.

    python benchmarks/penalty.py [--images 4]

Free boundary, lambda automatic. PSNR lost in dB against the best share of the case: the mean, and the most.
"""

from __future__ import annotations

import argparse
import warnings

import numpy as np
from _common import PSFS, SCENES, headline, machine, scene

from lsdeblur import LsdeblurWarning, metrics, restore, simulate

SHARES = (0.0, 0.03, 0.1, 0.3, 1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=4, help="how many pictures")
    args = parser.parse_args()
    warnings.simplefilter("ignore", LsdeblurWarning)
    rows = []
    for name in SCENES[: args.images]:
        for make in PSFS.values():
            for noise_std in (0.002, 0.01, 0.03):
                sharp, h = scene(name), make()
                g = simulate.add_noise(simulate.blur(sharp, h), noise_std=noise_std, rng=0)
                images = [
                    restore(g, h, tau=tau).image if tau else restore(g, h, penalty="laplacian").image for tau in SHARES
                ]
                rows.append([metrics.psnr(image, simulate.valid_part(sharp, h)) for image in images])
    lost = np.max(rows, axis=1, keepdims=True) - rows
    print(f"{machine()}\n{len(rows)} cases\n{'tau':>6}{'mean':>8}{'most':>8}")
    for tau, mean, most in zip(SHARES, lost.mean(0), lost.max(0), strict=True):
        print(f"{tau:6}{mean:8.2f}{most:8.2f}")
        headline(f"lost by tau = {tau:g} against the best of the case", f"{mean:.2f} dB, {most:.2f} at the most")


if __name__ == "__main__":
    main()
