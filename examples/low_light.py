"""
Little light, and motion
========================

A few photons for each pixel, and something moved: does the right model of the noise help? Less than the right model
of the scene. Richardson-Lucy climbs to the greatest likelihood of the photons, but at 1000 of them in the brightest
pixel it reaches 25.6 dB, Tikhonov's least squares 26.5 dB and total variation, which takes the noise for equal
everywhere as well, 28.2 dB. On a screen, where errors in the dark show more, the order changes: Tikhonov's ripples in
the shadows put it last, 24.2 dB against 25.3 and 27.6. (Where Richardson-Lucy wins: bright grains on a dark ground,
as in the example of cells.)
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
from skimage import data

from lsdeblur import metrics, plot, psf, restore, simulate

out = Path(sys.argv[1] if len(sys.argv) > 1 else "demo-output")
out.mkdir(parents=True, exist_ok=True)

# %%
# Photons are counted in linear light. A photograph's values are not linear, but their power of 2.2 is, roughly. In
# linear light the dark parts are very dark, and get next to no photons. No method is told how many there are.
GAMMA = 2.2
scene = (data.camera()[60:380, 100:420] / 255) ** GAMMA
blur = psf.motion(11, 15)
truth = simulate.valid_part(scene, blur)
WAYS = {
    "Richardson-Lucy": {"method": "richardson-lucy"},
    "Richardson-Lucy, TV": {"method": "richardson-lucy", "tv": "auto"},
    "Tikhonov": {"method": "tikhonov"},
    "total variation": {"method": "tv"},
}
LIGHT = (10, 100, 1000, 10000)  # photons in the brightest pixel
COLOURS = ("0.4", "#D55E00", "#E69F00", "#0072B2", "#009E73")  # told apart with any colour vision
STYLES = dict(zip(("blurred", *WAYS), zip((":", "^-", "v--", "s-", "o-"), COLOURS, strict=True), strict=True))


def on_screen(image):
    """What a screen shows: values back to the power of 1 / 2.2, where dark differences count for more."""
    return image.clip(0, 1) ** (1 / GAMMA)


# %%
# The same frame in more and more light, judged in linear light and as the screen shows it.
scores: dict = {name: ([], []) for name in STYLES}
print("PSNR in dB, linear light / on the screen")
print(f"{'photons':>8}" + "".join(f"{name:>22}" for name in scores))
for photons in LIGHT:
    blurred = simulate.add_noise(simulate.blur(scene, blur), photons=photons, rng=0)
    found = {"blurred": blurred, **{name: restore(blurred, blur, **how).image for name, how in WAYS.items()}}
    for name, image in found.items():
        scores[name][0].append(metrics.psnr(image, truth, data_range=1.0))
        scores[name][1].append(metrics.psnr(on_screen(image), on_screen(truth)))
    print(f"{photons:8}" + "".join(f"{f'{a[-1]:.1f} / {b[-1]:.1f}':>22}" for a, b in scores.values()))
    if photons == 1000:
        shown = {f"{name}\n{scores[name][1][-1]:.1f} dB": on_screen(image) for name, image in found.items()}

# %%
# The eye follows the right panel.
figure, axes = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
for which, (ax, title) in enumerate(zip(axes, ("linear light", "as the screen shows it"), strict=True)):
    for name, (style, colour) in STYLES.items():
        ax.semilogx(LIGHT, scores[name][which], style, color=colour, label=name)
    ax.set(title=title, xlabel="photons in the brightest pixel", ylabel="PSNR (dB)")
axes[0].legend(frameon=False, fontsize=9)
figure.savefig(out / "low-light-psnr.png", dpi=150)
plot.compare({**shown, "truth": on_screen(truth)}, inset=(20, 60, 110, 110)).savefig(out / "low-light.png", dpi=150)
print(f"figures: {out / 'low-light-psnr.png'}, {out / 'low-light.png'}")
