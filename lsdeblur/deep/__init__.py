"""Learned restoration: an optional part that needs PyTorch (``pip install 'lsdeblur[deep]'``).

====================  =======================================================================================
`PlugAndPlay`         any denoiser as the prior of a restoration; ``method="pnp"`` is it with the shipped one
`load`                a trained model from a file; ``restore(image, psf, method=load(path))``
`networks`            `Denoiser`, `DeblurCNN`, `MultiScaleDeblur`, `DeblurGAN`, `PhysicsGuidedDeblur`, `UnrolledWiener`
`functional`          the classic filters on tensors, differentiable by image, PSF and lambda
`losses`, `data`      what networks are trained by, and with
`train`               `fit` and the command ``python -m lsdeblur.deep.train``
`export`              a model as ONNX file, and as one of 8-bit integers
`OnnxMethod`          a restoration by such a file with onnxruntime, without PyTorch
`evaluate`            whether a model is good enough: PSNR, SSIM and time against levels
====================  =======================================================================================

Nothing is ever downloaded. Transformers and training on unpaired images (cycle consistency) are not planned.
"""

from __future__ import annotations

import importlib
from typing import Any

from lsdeblur.errors import MissingDependencyError

_NAMES = {
    "OnnxMethod": "onnx",
    "PlugAndPlay": "plug_and_play",
    "evaluate": "evaluation",
    "failure_cases": "evaluation",
    "export": "exporting",
    "load": "weights",
    "quantised": "exporting",
}
_MODULES = ("data", "denoiser", "evaluation", "exporting", "functional", "losses", "networks", "onnx", "plug_and_play",
            "train", "weights")  # fmt: skip

_LIBRARIES = ("click", "onnx", "onnxruntime", "rich", "safetensors", "torch")  # of the extra

__all__ = [*_NAMES, *_MODULES]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'lsdeblur.deep' has no attribute {name!r}")
    try:
        module = importlib.import_module(f"lsdeblur.deep.{_NAMES.get(name, name)}")
    except ModuleNotFoundError as error:
        raise missing(error) from None
    return getattr(module, name) if name in _NAMES else module


def missing(error: ModuleNotFoundError) -> ImportError:
    """What to raise for a library that this part needs and that is not installed."""
    if error.name is None or error.name.partition(".")[0] not in _LIBRARIES:
        return error
    return MissingDependencyError(
        f"lsdeblur.deep needs {error.name}, which is not installed; install it: pip install 'lsdeblur[deep]' (for a "
        "processor without a graphics card first: pip install torch --index-url https://download.pytorch.org/whl/cpu)"
    )
