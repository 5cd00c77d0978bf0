"""
A wide field of galaxies
========================

Is one PSF enough for a wide field, whose stars are round in the middle and stretched in the corners? No: the PSF of
the middle gains 1.6 dB over the whole frame, a grid of 3 x 3 PSFs 3.0 dB, and 5 x 5 gain 3.4 dB. More than that bring
nothing (0.04 dB). The mean of all PSFs is the worst choice: it even harms the middle, which was good.
"""

import sys
from pathlib import Path

import numpy as np
from skimage import data

from lsdeblur import metrics, plot, psf, restore, simulate

out = Path(sys.argv[1] if len(sys.argv) > 1 else "demo-output")
out.mkdir(parents=True, exist_ok=True)
N = 300  # pixels to a side


# %%
# A telescope's corrector is made for the middle of the field; away from it, stars are stretched towards the middle.
def star(at) -> np.ndarray:
    """The image of a star at (row, column)."""
    y, x = np.subtract(at, N / 2)
    sigma = (1.4 + 2.2 * np.hypot(y, x) / (N / 2**0.5), 1.4)
    return psf.gaussian(sigma, angle=np.degrees(np.arctan2(-y, x)) - 90, size=31)


def grid(n: int) -> psf.PSFGrid:
    """The PSFs at n x n positions."""
    axes = [np.linspace(0, N - 1, n)] * 2
    return psf.PSFGrid.regular([[star((row, column)) for column in axes[1]] for row in axes[0]], axes=axes)


lens = grid(9)
scene = data.hubble_deep_field()[200 : 230 + N, 300 : 330 + N].mean(axis=-1) / 255
blurred = simulate.add_noise(simulate.blur(scene, lens), noise_std=0.004, rng=0)
truth = simulate.valid_part(scene, lens)

# %%
# Uniform PSFs beside grids of 3 x 3, 5 x 5 and all 9 x 9 positions; in the whole, in its middle and in its corners.
middle, corner = slice(100, 200), (slice(None, 60), slice(-60, None))
results = {
    "blurred": blurred,
    "PSF of the middle": restore(blurred, star((N / 2, N / 2))).image,
    "mean PSF": restore(blurred, lens.psfs.mean(axis=0)).image,
    "3 x 3 PSFs": restore(blurred, grid(3)).image,
    "5 x 5 PSFs": restore(blurred, grid(5)).image,
    "9 x 9 PSFs": restore(blurred, lens).image,
}
scores = {}
print(f"{'PSNR in dB':20}{'whole':>8}{'middle':>8}{'corners':>8}")
for name, image in results.items():
    corners = [np.concatenate([a[v, h] for v in corner for h in corner]) for a in (image, truth)]
    parts = ((image, truth), (image[middle, middle], truth[middle, middle]), corners)
    scores[name] = [metrics.psnr(a, t, data_range=1.0) for a, t in parts]
    print(f"{name:20}" + "".join(f"{score:8.2f}" for score in scores[name]))

# %%
# The upper left corner in detail, in the square root of the brightness, and the PSFs of the field.
shown = ("blurred", "PSF of the middle", "3 x 3 PSFs", "9 x 9 PSFs")
images = {f"{name}\n{scores[name][0]:.1f} dB": np.sqrt(results[name].clip(0, 1)) for name in shown}
plot.compare({**images, "truth": np.sqrt(truth)}, inset=(0, 0, 80, 80)).savefig(out / "astronomy.png", dpi=150)
plot.show_psf(grid(5)).savefig(out / "astronomy-psf.png", dpi=150)
print(f"figures: {out / 'astronomy.png'}, {out / 'astronomy-psf.png'}")
