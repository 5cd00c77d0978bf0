"""Photographs restored in linear light and in their gamma-encoded values: what `lsdeblur.io.linear` gains.

    python benchmarks/linear_light.py

Pictures of scikit-image taken for sRGB, blurred in light by a disk of radius 5; the noise is added to the encoded
values, which are rounded to 8 bits. PSNR of the encoded values in dB, everything automatic.
"""

from __future__ import annotations

import argparse
import warnings

import numpy as np
from _common import headline, machine, scene

from lsdeblur import LsdeblurWarning, io, metrics, psf, restore, simulate

SCENES = ("astronaut", "coffee", "camera", "cat")
LEVELS = (0.2, 1.0)  # grey levels of noise


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    warnings.simplefilter("ignore", LsdeblurWarning)  # encoded values do not fit the model: that is the point
    h = psf.disk(5)
    print(f"{machine()}\n{'':12}{'noise':>7}{'blurred':>9}{'encoded':>9}{'light':>9}{'gain':>7}")
    for level in LEVELS:
        gains = []
        for name in SCENES:
            sharp = scene(name)
            light = simulate.blur(io.linear(sharp), h)
            noise = level * np.random.default_rng(0).standard_normal(light.shape)
            stored = np.clip(np.rint(255 * io.encoded(np.clip(light, 0, 1)) + noise), 0, 255) / 255
            restored = restore(stored, h).image, io.encoded(np.clip(restore(io.linear(stored), h).image, 0, 1))
            truth = simulate.valid_part(sharp, h)
            scores = [metrics.psnr(np.clip(image, 0, 1), truth) for image in (stored, *restored)]
            gains.append(scores[2] - scores[1])
            print(
                f"{name:12}{level:7}" + "".join(f"{score:9.2f}" for score in scores) + f"{gains[-1]:7.2f}", flush=True
            )
        figures = f"{min(gains):+.1f} to {max(gains):+.1f} dB"
        headline(f"linear light in place of encoded values, noise of {level} grey levels", figures)


if __name__ == "__main__":
    main()
