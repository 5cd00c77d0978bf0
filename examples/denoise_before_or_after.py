"""
Denoise before or after?
========================

Should a noisy, blurred image be denoised before it is restored, or after? Textbooks advise to shrink wavelet
coefficients first. That colours the noise and takes detail with it: here it gains 0.1 dB at the most. Afterwards the
noise is known in closed form: non-local means gain 0.6 to 2.3 dB.
"""

import sys
import warnings
from pathlib import Path

from skimage import data
from skimage.restoration import denoise_wavelet

from lsdeblur import LsdeblurWarning, metrics, plot, psf, restore, simulate

out = Path(sys.argv[1] if len(sys.argv) > 1 else "demo-output")
out.mkdir(parents=True, exist_ok=True)


# %%
# Five ways to treat a blurred image, with its PSF and its noise level.
def shrink(image, sigma: float):
    """Wavelet coefficients shrunk by BayesShrink, for a known noise level."""
    return denoise_wavelet(image, sigma=sigma, method="BayesShrink", rescale_sigma=False)


WAYS = {
    "restored": lambda g, h, sigma: restore(g, h),
    "wavelets before": lambda g, h, sigma: restore(shrink(g, sigma), h),
    "wavelets after": lambda g, h, sigma: restore(g, h, denoise_after=shrink),
    "non-local means after": lambda g, h, sigma: restore(g, h, denoise_after="nlm"),
    "total variation instead": lambda g, h, sigma: restore(g, h, method="tv"),
}
warnings.simplefilter("ignore", LsdeblurWarning)  # shrunk noise is not what it was, and the library says so

# %%
# Two blurs, two levels of noise.
BLURS = {"motion of 15 pixels": psf.motion(15, 30), "Gaussian, sigma 2": psf.gaussian(2.0)}
scene = data.coffee()[80:330, 200:500, 1] / 255
print(f"{'PSNR in dB':20}{'noise':>6}{'blurred':>9}" + "".join(f"{name:>25}" for name in WAYS))
for blur, h in BLURS.items():
    truth = simulate.valid_part(scene, h)
    for noise_std in (0.005, 0.02):
        blurred = simulate.add_noise(simulate.blur(scene, h), noise_std=noise_std, rng=0)
        found = {"blurred": blurred, **{name: way(blurred, h, noise_std).image for name, way in WAYS.items()}}
        scores = {name: metrics.psnr(f, truth, data_range=1.0) for name, f in found.items()}
        first, *others = scores.values()
        print(f"{blur:20}{noise_std:6}{first:9.2f}" + "".join(f"{score:25.2f}" for score in others))

# %%
# The last of these: where non-local means gain, and where total variation flattens.
images = {"\n".join([*name.rsplit(" ", 1), f"{scores[name]:.1f} dB"]): found[name] for name in found}
figure = plot.compare({**images, "truth": truth})
figure.savefig(out / "denoise.png", dpi=150)
print(f"figure: {out / 'denoise.png'}")
