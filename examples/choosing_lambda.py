"""
Choosing lambda
===============

Which rule finds the best regularisation strength, without knowing the truth? With white noise nearly all of them:
evidence, GCV and SURE lose 0.0 dB against the best lambda there is, the discrepancy 0.6, the L-curve 1.3. With noise
that is correlated from pixel to pixel, as cameras and editors leave it, evidence, GCV and SURE, which take it for
white, lose 3 to 12 dB. ``lam="auto"`` looks for that, and is right in both cases.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from scipy.ndimage import gaussian_filter
from skimage import data

from lsdeblur import metrics, plan, plot, psf, restore, simulate

out = Path(sys.argv[1] if len(sys.argv) > 1 else "demo-output")
out.mkdir(parents=True, exist_ok=True)
NOISE = 0.01
MARKS = {"auto": "*", "evidence": "s", "gcv": "D", "sure": "P", "discrepancy": "v", "l-curve": "^"}
COLOURS = ("black", "#0072B2", "#D55E00", "#56B4E9", "#CC79A7", "#009E73")  # told apart with any colour vision

# %%
# Two frames of one scene, out of focus by 4 pixels: with white noise of 1 % of the range, and with noise of the same
# strength that was smoothed by a Gaussian of 0.7 pixels, as interpolation of colours does.
scene = data.camera()[40:360, 60:440] / 255
blur = psf.disk(4)
clean, truth = simulate.blur(scene, blur), simulate.valid_part(scene, blur)
white = np.random.default_rng(0).standard_normal(clean.shape)
smooth = gaussian_filter(white, 0.7)
frames = {name: clean + NOISE * n / n.std() for name, n in (("white noise", white), ("correlated noise", smooth))}

# %%
# The PSNR over lambda needs the truth: it is the curve. The rules see the frame alone, two of them the noise level as
# well. Their marks stand at the lambda that they choose and the PSNR that it brings. "auto" may stand off the curve:
# the filter, too, allows for the colour of the noise that it finds.
lams = np.geomspace(1e-6, 10, 43)
figure, axes = plt.subplots(1, 2, figsize=(10, 4.2), sharey=True, layout="constrained")
for ax, (name, blurred) in zip(axes, frames.items(), strict=True):
    curve = [metrics.psnr(plan(blur, blurred.shape, lam=lam)(blurred), truth, data_range=1.0) for lam in lams]
    best = max(curve)
    ax.semilogx(lams, curve, color="0.35", label=f"best: {best:.1f} dB")
    ax.axhline(metrics.psnr(blurred, truth, data_range=1.0), color="0.6", ls=":", label="blurred")
    print(f"{name}: best {best:.2f} dB, at lambda {lams[np.argmax(curve)]:.2g}")
    for (rule, mark), colour in zip(MARKS.items(), COLOURS, strict=True):
        given = {"noise_std": NOISE} if rule in ("sure", "discrepancy") else {}
        result = restore(blurred, blur, lam=rule, **given)
        score = metrics.psnr(result, truth, data_range=1.0)
        style = {"marker": mark, "color": colour, "ls": "none", "ms": 11 if rule == "auto" else 7}
        ax.plot(result.lam, score, label=f"{rule}: {score:.1f} dB", **style)
        print(f"  {rule:12} lambda {result.lam:8.2g}  PSNR {score:6.2f} dB")
    ax.set(title=name, xlabel=r"$\lambda$", ylim=(10, 30))
    ax.legend(frameon=False, fontsize=8)
axes[0].set_ylabel("PSNR (dB)")
figure.savefig(out / "lambda-psnr.png", dpi=150)

# %%
# The curves behind the choice come with every result: ``plot.selection_curves`` draws one panel for each rule, and
# ``plot.l_curve`` the L-curve with all choices marked on it. Its corner lies at too large a lambda here.
result = restore(frames["white noise"], blur, noise_std=NOISE)
plot.l_curve(result.selection).figure.savefig(out / "lambda-l-curve.png", dpi=150)
plot.selection_curves(result.selection).savefig(out / "lambda-rules.png", dpi=150)
print(f"figures: {', '.join(str(out / f'lambda-{name}.png') for name in ('psnr', 'l-curve', 'rules'))}")
