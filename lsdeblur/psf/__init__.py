"""Point-spread functions: exact on the pixel grid, from formulas and from measurements.

`PSFGrid` holds PSFs that vary over the frame; `motion_field`, `defocus_map` and `rotation` return one.

Every other function returns a float64 array `h` that is non-negative and sums to 1. `h[n]` is the share of a point's
light that falls on pixel `n` (a square of side 1) when the point lies in the middle of the centre pixel: models are
*integrated over pixels*, not sampled. So a blur that shrinks to nothing becomes exactly `delta()`, and the transfer
function is the optical one times the pixel's `sinc(f_row) sinc(f_col)`, folded at the sampling frequency
(`sinc(x) = sin(pi x) / (pi x)`, frequencies `f` in cycles per pixel).

Conventions:

* The centre is pixel `s // 2` on every axis, for odd and even sizes. Without `size` the result is odd-sized.
* Axes are (plane,) row, column. Rows go down, so angles, in degrees, are counter-clockwise *as seen on screen*.
* Lengths are in pixels unless a function says otherwise.
* Without `size`, a PSF of finite extent is returned whole; others are cut so that at least 99.99 % of the energy
  stays. Heavy tails (`airy`, `kolmogorov`, `moffat`) stop at 255 pixels per axis at the latest; more than 1 % cut
  there is an `LsdeblurWarning`. A given `size` is obeyed exactly. What a cut removes is logged to "lsdeblur" at info.
"""

from lsdeblur.psf.measured import from_image, from_points
from lsdeblur.psf.models import airy, box, delta, disk, gaussian, kolmogorov, moffat, motion, shake
from lsdeblur.psf.operations import combine, trim
from lsdeblur.psf.varying import PSFGrid, defocus_map, motion_field, rotation

__all__ = [
    "PSFGrid",
    "airy",
    "box",
    "combine",
    "defocus_map",
    "delta",
    "disk",
    "from_image",
    "from_points",
    "gaussian",
    "kolmogorov",
    "moffat",
    "motion",
    "motion_field",
    "rotation",
    "shake",
    "trim",
]
