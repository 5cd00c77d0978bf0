"""Networks as ONNX files, in float32 or in integers of 8 bits, for onnxruntime (`OnnxMethod`), TensorRT and others.

A file takes "image" (n, channels, rows, columns) and what else the network needs ("noise_std" (n)), of any n and size,
and gives "restored"; padding to multiples of `Model.step` and cropping are part of it. Its metadata say the rest.

The graph comes from torch.onnx's TorchScript exporter: PyTorch has it from 2.3 on (its successor, from 2.5 on, needs
onnxscript besides and takes some 50 times as long), and it is checked against the network before a file is written.
"""

from __future__ import annotations

import copy
import importlib
import inspect
import io
import os
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from lsdeblur._validate import check_positive
from lsdeblur.deep import missing, onnx
from lsdeblur.deep._network import About
from lsdeblur.deep.networks import Model, PhysicsGuidedDeblur, UnrolledWiener
from lsdeblur.deep.weights import write_atomically

__all__ = ["export", "quantised"]

Path_ = str | os.PathLike[str]
_TOLERANCE = 1e-4  # difference from PyTorch, of the image's range
_SIZES = ((1, 37, 46), (2, 64, 51))  # n, rows, columns


def export(model: Model, path: Path_, *, opset: int = 17, check: bool = True) -> Path:
    """Write a network to an ONNX file.

    Parameters
    ----------
    model : networks.Model
        A network of convolutions: `Denoiser`, `DeblurCNN`, `MultiScaleDeblur`, `DeblurGAN`.
    path : path
        Written under another name and moved there, so it is whole or not there.
    opset : int, 13 to 17
        Version of the operators.
    check : bool
        Whether onnxruntime must give what PyTorch gives, to 1e-4 of its range, on images of two sizes.

    Returns
    -------
    Path

    Raises
    ------
    ValueError
        A network with Fourier transforms, which files for networks cannot hold.
    RuntimeError
        The check failed; there is no file then.
    MissingDependencyError
        Without onnx or, for the check, onnxruntime.

    Examples
    --------
    >>> from lsdeblur.deep import export, networks
    >>> export(networks.MultiScaleDeblur.load("m.safetensors"), "m.onnx")  # doctest: +SKIP
    PosixPath('m.onnx')
    """
    name = type(model).__name__
    if isinstance(model, PhysicsGuidedDeblur | UnrolledWiener):
        raise ValueError(
            f"{name} restores by Fourier transforms, for which ONNX has no operator that runtimes share: use it with "
            "PyTorch, or train a MultiScaleDeblur; as a denoiser in PlugAndPlay a Denoiser can be exported"
        )
    _library("onnx")
    model = copy.deepcopy(model).to("cpu", torch.float32).eval()
    content = _with_metadata(_graph(model, opset), About.of(model))
    if check:
        _check(model, content)
    write_atomically(path, content)
    return Path(path)


def _example(model: Model, n: int, rows: int, columns: int) -> dict[str, torch.Tensor]:
    """Inputs of a network by name."""
    drawn = torch.Generator().manual_seed(rows)
    image = torch.rand(n, model.channels, rows, columns, generator=drawn)
    return {"image": image, **{name: torch.rand(n, generator=drawn) / 10 for name in model.needs}}


def _graph(model: Model, opset: int) -> bytes:
    """An ONNX file with a network traced on one image, its n, rows and columns left open."""
    inputs = _example(model, 2, 40, 48)
    sizes = {0: "n", 2: "rows", 3: "columns"}
    axes = {"image": sizes, "restored": sizes, **{name: {0: "n"} for name in model.needs}}
    older: dict[str, Any] = {"dynamo": False} if "dynamo" in inspect.signature(torch.onnx.export).parameters else {}
    file: Any = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            model, tuple(inputs.values()), file, input_names=list(inputs), output_names=["restored"],
            dynamic_axes=axes, opset_version=opset, **older,
        )  # fmt: skip
    return file.getvalue()


def _library(name: str) -> Any:
    """onnx, or a part of onnxruntime."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise missing(error) from None


def _with_metadata(content: bytes, about: About) -> bytes:
    library = _library("onnx")
    graph = library.load_model_from_string(content)
    library.helper.set_model_props(graph, about.texts())
    library.checker.check_model(graph)
    return graph.SerializeToString()


def _check(model: Model, content: bytes) -> None:
    session = onnx.session(content, threads=1)
    for size in _SIZES:
        inputs = _example(model, *size)
        with torch.inference_mode():
            expected = model(*inputs.values()).numpy()
        found = session.run(None, {name: value.numpy() for name, value in inputs.items()})[0]
        error = float(np.abs(found - expected).max() / max(np.ptp(expected), np.finfo(np.float32).tiny))
        if not error <= _TOLERANCE:
            raise RuntimeError(
                f"onnxruntime differs from PyTorch by {error:.2g} of the range on {size[1]} x {size[2]} pixels, more "
                f"than {_TOLERANCE:g}: {type(model).__name__} does what a traced graph cannot hold, such as branches "
                "or sizes in Python; no file was written"
            )


def quantised(
    path: Path_,
    out: Path_,
    images: Iterable[npt.ArrayLike],
    *,
    noise_std: Sequence[float] = (0.01, 0.04, 0.15),
    keep: Sequence[str] = ("head", "enc.0.0", "tail"),
    rng: int | np.random.Generator | None = None,
) -> Path:
    """Write a network that computes in integers of 8 bits: a file a quarter the size, faster on processors that can.

    Every convolution but those kept gets weights of 8 bits, scaled for each of its channels, and inputs of 8 bits, in
    the range, in the mean over the images given, that occurs when they are restored (static quantisation).

    Parameters
    ----------
    path : path
        An ONNX file that `export` wrote.
    out : path
        The file to write.
    images : iterable of arrays (rows, columns) or (channels, rows, columns)
        Some ten images of the kind to be restored, blurred for a network that deblurs; in any unit.
    noise_std : sequence of float > 0
        For a `Denoiser`: standard deviations of the noise that is added to the images, of their largest magnitude.
    keep : sequence of str
        Parts of the network that stay in float32, by their names in `networks.UNet`: the first convolution, which sees
        the image and the noise level side by side, the first block, and the last convolution, which writes what is
        added to the image. In 8 bits the first block alone cost seven tenths of all that is lost.
    rng : int, numpy.random.Generator or None
        For that noise.

    Returns
    -------
    Path

    Raises
    ------
    ValueError
        No images, or some of another number of channels; a file that `export` did not write.
    MissingDependencyError
        Without onnx or onnxruntime.
    """
    library, tools = _library("onnx"), _library("onnxruntime.quantization")
    graph = library.load_model(os.fspath(path))
    about = About.read({p.key: p.value for p in graph.metadata_props}, path)
    stacks = [_unit(image, about.channels) for image in images]
    if not stacks:
        raise ValueError("images is empty: give some ten images of the kind to be restored")
    levels = [check_positive(value, "noise_std") for value in noise_std] if about.needs else []
    inputs = list(_calibration(stacks, levels, np.random.default_rng(rng)))
    kept = [node.name for node in graph.graph.node if any(f"/{name}/" in node.name for name in keep)]
    with tempfile.TemporaryDirectory() as folder:
        prepared, file = (Path(folder) / name for name in ("prepared.onnx", "quantised.onnx"))
        tools.quant_pre_process(path, prepared, skip_symbolic_shape=True, skip_optimization=True)
        tools.quantize_static(
            prepared, file, _reader(tools, inputs), quant_format=tools.QuantFormat.QDQ,
            per_channel=True, activation_type=tools.QuantType.QUInt8, weight_type=tools.QuantType.QInt8,
            op_types_to_quantize=["Conv"], nodes_to_exclude=kept,
            extra_options={"CalibMovingAverage": True},
        )  # fmt: skip
        content = file.read_bytes()
    content = _with_metadata(content, replace(about, integers=True))
    onnx.session(content, threads=1).run(None, inputs[0])
    write_atomically(out, content)
    return Path(out)


def _unit(image: npt.ArrayLike, channels: int) -> npt.NDArray[np.float32]:
    """An image (1, channels, rows, columns) whose largest magnitude is 1."""
    a = np.asarray(image, np.float32)
    a = a[None] if a.ndim == 2 else a
    if a.ndim != 3 or len(a) != channels:
        raise ValueError(f"images must have shape ({channels}, rows, columns), not {np.shape(image)}")
    largest = float(np.abs(a).max())
    return a[None] / np.float32(largest if largest > 0 else 1)


def _calibration(
    images: Sequence[npt.NDArray[np.float32]], levels: Sequence[float], rng: np.random.Generator
) -> Iterator[dict[str, npt.NDArray[np.float32]]]:
    """Inputs of the network by name; an image with noise of each level."""
    for image in images:
        for level in levels:
            noisy = image + np.float32(level) * rng.standard_normal(image.shape, np.float32)
            unit = np.abs(noisy).max()
            yield {"image": noisy / unit, "noise_std": np.full(1, level / unit, np.float32)}
        if not levels:
            yield {"image": image}


def _reader(tools: Any, inputs: Sequence[Any]) -> Any:
    """What onnxruntime asks for the inputs one by one."""

    class Reader(tools.CalibrationDataReader):
        def __init__(self) -> None:
            self._left = iter(inputs)

        def get_next(self) -> Any:
            return next(self._left, None)

    return Reader()
