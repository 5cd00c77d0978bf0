"""How good a restored image is: beside the truth where it is known, and by what the image itself shows.

===========================  ==========================================================  ======================
`psnr`, `ssim`,              how close to the truth                                       `fidelity`
`nmse`, `isnr`
`edge_preservation`,         what became of edges, what swings beside them,               `structure`
`ringing`,                   and what is left of fine texture, beside the truth
`texture_preservation`
`whiteness`, `correlation`,  whether a residual is noise, how sharp an image looks        `unreferenced`
`sharpness`
`evaluate`                   all of these that a result allows, as an `Evaluation`        `evaluation`
===========================  ==========================================================  ======================
"""

from lsdeblur.metrics.evaluation import Evaluation, evaluate
from lsdeblur.metrics.fidelity import isnr, nmse, psnr, ssim
from lsdeblur.metrics.structure import edge_preservation, ringing, texture_preservation
from lsdeblur.metrics.unreferenced import correlation, sharpness, whiteness

__all__ = [
    "Evaluation",
    "correlation",
    "edge_preservation",
    "evaluate",
    "isnr",
    "nmse",
    "psnr",
    "ringing",
    "sharpness",
    "ssim",
    "texture_preservation",
    "whiteness",
]
