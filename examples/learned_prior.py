"""
A learned prior
===============

Is a learned prior always better? On photographs and print ``method="pnp"``, plug-and-play with the network that comes
with the package, is: 1.0 to 1.2 dB above the best of the classical methods here. It is not where a picture fits one
of these exactly: a smooth cell comes back best by Tikhonov (50.3 against 48.7 dB), a drawing of flat areas by total
variation (42.5 against 41.5 dB). And it takes several times as long as total variation.
"""

import importlib.util
import sys
from pathlib import Path

from skimage import data

from lsdeblur import metrics, plot, psf, restore, simulate

if importlib.util.find_spec("torch") is None:
    print("skipped: this example needs PyTorch, pip install 'lsdeblur[deep]'")
    raise SystemExit(0)

out = Path(sys.argv[1] if len(sys.argv) > 1 else "demo-output")
out.mkdir(parents=True, exist_ok=True)

# %%
# Pictures of several kinds under one camera shake, with 1 % noise: a photograph, print, a living cell in a
# phase contrast microscope, and a drawing of flat areas.
SCENES = {
    "cat": data.chelsea()[80:220, 140:280, 1],
    "print": data.page()[:140, :140],
    "cell": data.cell()[190:330, 190:330],
    "phantom": data.shepp_logan_phantom()[130:270, 130:270] * 255,
}
METHODS = ("tikhonov", "tv", "wavelet", "pnp")
blur = psf.shake(17, rng=3)

# %%
# No method is told the noise level.
images = {}
print(f"{'PSNR / SSIM':10}" + "".join(f"{name:>16}" for name in ("blurred", *METHODS)))
for name, scene in SCENES.items():
    blurred = simulate.add_noise(simulate.blur(scene / 255, blur), noise_std=0.01, rng=0)
    truth = simulate.valid_part(scene / 255, blur)
    found = {"blurred": blurred, **{method: restore(blurred, blur, method=method).image for method in METHODS}}
    scores = {m: (metrics.psnr(a, truth, data_range=1), metrics.ssim(a, truth, data_range=1)) for m, a in found.items()}
    print(f"{name:10}" + "".join(f"{f'{p:.1f} / {s:.3f}':>16}" for p, s in scores.values()))
    if name in ("cat", "phantom"):
        images = {f"{method}\n{scores[method][0]:.1f} dB": found[method] for method in ("blurred", *METHODS)}
        figure = plot.compare({**images, "truth": truth})
        figure.savefig(out / f"learned-{name}.png", dpi=150)
print(f"figures: {out / 'learned-cat.png'}, {out / 'learned-phantom.png'}")
