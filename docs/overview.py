"""Draw the README's picture: one photograph blurred, restored by scikit-image at its best, and by restore().

    python docs/overview.py docs/overview.png

Motion blur of 15 pixels, 0.5 % noise, the frame cropped after blurring. scikit-image's balance is the best of 41.
"""

import sys

import numpy as np
from skimage import data
from skimage.restoration import wiener

from lsdeblur import metrics, plot, psf, restore, simulate

scene = data.camera() / 255
h = psf.motion(length=15, angle=30)
blurred = simulate.add_noise(simulate.blur(scene, h), noise_std=0.005, rng=0)
truth = simulate.valid_part(scene, h)
tried = [wiener(blurred, h, balance) for balance in np.geomspace(1e-3, 10, 41)]
peer = max(tried, key=lambda image: metrics.psnr(image, truth))
images = {
    "blurred, 0.5 % noise": blurred,
    "scikit-image's Wiener filter,\nits best balance in hindsight": peer,
    "restore(blurred, psf),\nnothing else given": restore(blurred, h).image,
}
titles = {f"{name}\n{metrics.psnr(image, truth):.1f} dB": image for name, image in images.items()}
plot.compare(titles, inset=(80, 190, 110, 110)).savefig(sys.argv[1], dpi=75)
