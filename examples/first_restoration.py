"""
A first restoration
===================

How is a blurred photograph restored, and what does the library say about it? Two lines restore it: name the blur,
call ``restore``. In a simulation, where the truth is known, a motion of 15 pixels with 0.5 % noise goes from 23.2 to
29.2 dB. A real photograph follows; nobody knows its truth, and what is left in it shows that its blur is not known
exactly.
"""

import sys
from pathlib import Path

from skimage import data

from lsdeblur import Restoration, metrics, plot, psf, restore, simulate

out = Path(sys.argv[1] if len(sys.argv) > 1 else "demo-output")
out.mkdir(parents=True, exist_ok=True)


def describe(title: str, blur: str, result: Restoration) -> None:
    """What was done, in a few lines."""
    print(f"\n{title}")
    print(f"  PSF        {blur}, {result.psf.shape[0]} x {result.psf.shape[1]} pixels")
    print(f"  method     {result.method}, boundary {result.options['boundary']}")
    print(f"  lambda     {result.lam:.3g}, by {result.selection.criterion}")
    print(f"  all rules  {', '.join(f'{rule} {lam:.2g}' for rule, lam in result.selection.choices.items())}")
    print(f"  noise      {result.noise_std:.3g} (standard deviation, estimated)")


def figures(name: str, images: dict, result: Restoration, inset: tuple) -> None:
    """The images side by side, the L-curve, every rule, and the PSF."""
    plot.compare(images, inset=inset).savefig(out / f"{name}-compare.png", dpi=150)
    plot.l_curve(result.selection).figure.savefig(out / f"{name}-l-curve.png", dpi=150)
    plot.selection_curves(result.selection).savefig(out / f"{name}-rules.png", dpi=150)
    plot.show_psf(result.psf).savefig(out / f"{name}-psf.png", dpi=150)


# %%
# A simulated frame
# -----------------
# A camera crops the scene after blurring it: the scene goes on beyond the frame, and the blur carries light across
# its edges. ``simulate.blur`` does the same, and ``simulate.valid_part`` cuts the truth to match.
scene = data.camera() / 255
blur = psf.motion(length=15, angle=30)
blurred = simulate.add_noise(simulate.blur(scene, blur), noise_std=0.005, rng=0)
truth = simulate.valid_part(scene, blur)
result = restore(blurred, blur)

before, after = metrics.psnr(blurred, truth), metrics.psnr(result, truth)
describe("Camera man, simulated motion blur and 0.5 % noise", "motion of 15 pixels at 30 degrees", result)
print(f"  PSNR       {before:.2f} dB blurred, {after:.2f} dB restored")
images = {f"blurred, {before:.1f} dB": blurred, f"restored, {after:.1f} dB": result, "truth": truth}
figures("camera", images, result, inset=(60, 180, 110, 110))

# %%
# A real photograph
# -----------------
# A clock photographed while the camera moved. How the motion was found: the cepstrum (the inverse transform of the
# logarithm of the power spectrum) has its deepest minimum 35 columns and 1 row from the origin, the length and slope
# of a straight motion. Among lengths of 34 to 38 pixels, 35.5 leaves the fewest ripples beside the clock. Those that
# remain come from a motion that was not quite uniform.
clock = data.clock() / 255
result = restore(clock, psf.motion(length=35.5, angle=0))
describe("Photograph of a clock, real motion blur", "motion of 35.5 pixels at 0 degrees", result)
figures("clock", {"blurred": clock, "restored": result}, result, inset=(84, 140, 140, 160))
print(f"\nfigures in {out}/: {', '.join(sorted(p.name for p in out.glob('c*-*.png')))}")
