"""How often the truth lies within the posterior's intervals: on scenes drawn from the model, and on photographs.

    python benchmarks/uncertainty.py [--images 4]

Shares of the pixels within one and two standard deviations (68 and 95 % are promised), lambda and noise level found by
`restore`; free boundary, 64 samples.
"""

from __future__ import annotations

import argparse
import warnings

import numpy as np
from _common import PSFS, SCENES, headline, machine, scene

from lsdeblur import LsdeblurWarning, restore, simulate
from lsdeblur.spectrum import penalty_symbol

SHAPE = (300, 320)


def model_scene(rng: np.random.Generator) -> np.ndarray:
    """A scene with the power spectrum that the default penalty stands for, of standard deviation 0.2."""
    P = penalty_symbol("laplacian+gradient", SHAPE)
    P[0, 0] = np.inf
    f = np.fft.irfft2(np.fft.rfft2(rng.standard_normal(SHAPE)) / np.sqrt(P), SHAPE)
    return 0.5 + 0.2 * f / f.std()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=4, help="how many photographs")
    args = parser.parse_args()
    warnings.simplefilter("ignore", LsdeblurWarning)
    print(f"{machine()}\n\n{'scene':12}{'psf':15}{'noise':>7}{'68 %':>8}{'95 %':>8}{'std / error':>13}")
    inside: list[float] = []
    scenes = {"model": model_scene(np.random.default_rng(0))}
    scenes |= {name: scene(name)[: SHAPE[0], : SHAPE[1]] for name in SCENES[: args.images]}
    for name, sharp in scenes.items():
        for blur, make in PSFS.items():
            for noise_std in (0.005, 0.02):
                h = make()
                g = simulate.add_noise(simulate.blur(sharp, h), noise_std=noise_std, rng=0)
                result = restore(g, h, uncertainty=64, rng=0)
                error = np.abs(result.image - simulate.valid_part(sharp, h))
                shares = [float(np.mean(error < k * result.std)) for k in (1, 2)]
                ratio = float(np.sqrt(np.mean(result.std**2) / np.mean(error**2)))
                if name == "model":
                    inside.append(shares[0])
                print(f"{name:12}{blur:15}{noise_std:7}{shares[0]:8.1%}{shares[1]:8.1%}{ratio:13.2f}", flush=True)
    figures = f"{min(inside):.0%} to {max(inside):.0%} (68 % promised)"
    headline("truth within one standard deviation, scenes of the model", figures)


if __name__ == "__main__":
    main()
