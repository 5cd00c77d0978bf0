"""Should a noisy, blurred image be denoised before it is restored, or after?

Textbooks advise to shrink wavelet coefficients first. That colours the noise and takes detail with it:
here it gains 0.1 dB at the most. Afterwards the noise is known in closed form: non-local means gain 0.5 to 2 dB.

python examples/denoise_before_or_after.py [--out DIR]
"""

import argparse
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
from skimage import data
from skimage.restoration import denoise_wavelet

from lsdeblur import LsdeblurWarning, metrics, plot, psf, restore, simulate

BLURS = {"motion of 15 pixels": psf.motion(15, 30), "Gaussian, sigma 2": psf.gaussian(2.0)}


def shrink(image, sigma: float):
    """Wavelet coefficients shrunk by BayesShrink, for a known noise level."""
    return denoise_wavelet(image, sigma=sigma, method="BayesShrink", rescale_sigma=False)


#: what is done with a blurred image, its PSF and its noise level
WAYS = {
    "restored": lambda g, h, sigma: restore(g, h),
    "wavelets before": lambda g, h, sigma: restore(shrink(g, sigma), h),
    "wavelets after": lambda g, h, sigma: restore(g, h, denoise_after=shrink),
    "non-local means after": lambda g, h, sigma: restore(g, h, denoise_after="nlm"),
    "total variation instead": lambda g, h, sigma: restore(g, h, method="tv"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("demo-output"))
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore", LsdeblurWarning)  # shrunk noise is not what it was
    scene = data.coffee()[80:330, 200:500, 1] / 255
    print(f"{'PSNR in dB':26}{'noise':>8}{'blurred':>10}" + "".join(f"{name:>25}" for name in WAYS))
    for blur, h in BLURS.items():
        truth = simulate.valid_part(scene, h)
        for noise_std in (0.005, 0.02):
            blurred = simulate.add_noise(simulate.blur(scene, h), noise_std=noise_std, rng=0)
            found = {name: way(blurred, h, noise_std) for name, way in WAYS.items()}
            scores = [metrics.psnr(f, truth, data_range=1.0) for f in (blurred, *(r.image for r in found.values()))]
            print(f"{blur:26}{noise_std:8}{scores[0]:10.2f}" + "".join(f"{score:25.2f}" for score in scores[1:]))
    figure = plot.compare({"blurred": blurred, **{name: r.image for name, r in found.items()}, "truth": truth})
    figure.savefig(out / "denoise.png", dpi=150)
    plt.close("all")
    print(f"\nfigure: {out / 'denoise.png'}")


if __name__ == "__main__":
    main()
