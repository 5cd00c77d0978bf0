"""
Cells in three dimensions
=========================

Can a microscope's blur along its axis be taken back, with a PSF measured on beads? Beads of 400 photons give the PSF
to 3 per cent. With it Richardson-Lucy gains 5.6 dB in the volume, Tikhonov's least squares 4.0 dB, and 3.4 dB if it
is not told that planes lie three times as far apart as pixels. Plane by plane, as if light stayed in its plane, gains
0.9 dB.
"""

import sys
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from lsdeblur import metrics, plot, psf, restore, simulate

out = Path(sys.argv[1] if len(sys.argv) > 1 else "demo-output")
out.mkdir(parents=True, exist_ok=True)
rng = np.random.default_rng(0)
SPACING = (0.3, 0.1, 0.1)  # micrometres: planes lie further apart than pixels


# %%
# A microscope's image of a point: a core, and behind it the halo of spherical aberration. Light from a plane reaches
# its neighbours. No formula of the library makes such a PSF, so it is measured on fluorescent beads.
def point(shape: tuple, at: np.ndarray) -> np.ndarray:
    """What the microscope makes of a point whose centroid is `at`, in voxels."""
    z, y, x = (g - c for g, c in zip(np.indices(shape), at, strict=True))
    core = np.exp(-(((z + 0.41) / 1.4) ** 2) / 2 - (y**2 + x**2) / 1.5**2 / 2)
    return core + 0.08 * np.exp(-(((z - 1.09) / 2.2) ** 2) / 2 - (y**2 + x**2) / 2.6**2 / 2)


SIZE = (17, 21, 21)
true_psf = point(SIZE, np.array(SIZE) // 2)
true_psf /= true_psf.sum()
at = np.array([(12, y, x) for y in range(15, 111, 26) for x in range(15, 111, 26)]) + rng.uniform(-0.5, 0.5, (16, 3))
beads = sum(point((25, 110, 110), p) for p in at)
beads = rng.poisson(400 * beads / beads.max() + 5)  # photons, over a background of 5
measured = psf.from_points(beads, at, size=SIZE)
print(f"PSF from {len(at)} beads: off by {np.linalg.norm(measured - true_psf) / np.linalg.norm(true_psf):.1%}")

# %%
# Cells: membranes, a faint inside and bright grains, in 300 photons at the brightest voxel.
cells = np.zeros((46, 116, 116))
z, y, x = np.indices(cells.shape, sparse=True)
for _ in range(8):
    c, r = rng.uniform((10, 20, 20), (36, 96, 96)), rng.uniform(10, 18)
    d = np.sqrt((3 * (z - c[0])) ** 2 + (y - c[1]) ** 2 + (x - c[2]) ** 2)
    cells += np.exp(-(((d - r) / 1.5) ** 2)) + 0.15 * (d < r)
cells[tuple(rng.integers((0, 0, 0), cells.shape, (150, 3)).T)] += 6
cells = gaussian_filter(cells, (0.4, 0.7, 0.7))
blurred = simulate.add_noise(simulate.blur(cells, true_psf), photons=300, rng=1)
truth = simulate.valid_part(cells, true_psf)

# %%
# Without `spacing` the penalty takes neighbouring planes for as alike as neighbouring pixels.
ways = {
    "blurred": blurred,
    "plane by plane": np.stack([restore(plane, measured.sum(axis=0)).image for plane in blurred]),
    "Tikhonov": restore(blurred, measured, spacing=SPACING).image,
    "Tikhonov, without spacing": restore(blurred, measured).image,
    "Richardson-Lucy": restore(blurred, measured, method="richardson-lucy").image,
    "Richardson-Lucy, true PSF": restore(blurred, true_psf, method="richardson-lucy").image,
}
scores = {name: metrics.psnr(a, truth, data_range=float(truth.max())) for name, a in ways.items()}
for name, a in ways.items():
    print(f"{name:28}{scores[name]:7.2f} dB, relative error {metrics.nmse(a, truth) ** 0.5:.2f}")

# %%
# The middle plane, and below it a section along the optical axis, in true proportions.
shown = {f"{name}\n{scores[name]:.1f} dB": a for name, a in ways.items() if "," not in name}
plot.compare({**shown, "truth": truth}, spacing=SPACING).savefig(out / "microscopy.png", dpi=150)
plot.show_psf(measured).savefig(out / "microscopy-psf.png", dpi=150)
print(f"figures: {out / 'microscopy.png'}, {out / 'microscopy-psf.png'}")
