"""Trained networks in files, and as methods of `restore`.

A file is a safetensors file: numbers and names, nothing that could run. Its metadata name the class of the network and
the options it was made with, and whatever else is known of the training (`card`). Before any memory is taken for
weights, names and shapes in the file are compared with those of such a network. Checkpoints of PyTorch (.pt, .pth) are
read with ``weights_only=True``; one that holds code is refused.
"""

from __future__ import annotations

import json
import os
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialised

from lsdeblur._methods import Problem, Solution
from lsdeblur._validate import check_positive
from lsdeblur.direct import tikhonov
from lsdeblur.noise import estimate_noise_std

if TYPE_CHECKING:
    from lsdeblur.deep.networks import Model

__all__ = ["card", "load", "load_checkpoint", "save", "solution", "write_atomically"]

Path_ = str | os.PathLike[str]
_FORMAT = "lsdeblur network 1"


def save(
    model: Model, path: Path_, *, dtype: torch.dtype = torch.float32, card: Mapping[str, str] | None = None
) -> None:
    """Write a network to a safetensors file, with its class, its options and further texts about it.

    Parameters
    ----------
    model : networks.Model
    path : path
        Written under another name and moved there, so it is whole or not there.
    dtype : torch.dtype
        Of the numbers in the file; torch.float16 halves it. They are loaded as float32.
    card : mapping of str to str, optional
        Kept in the file: data, licence, steps, figures.
    """
    about = {"format": _FORMAT, "model": type(model).__name__, "options": json.dumps(model.options)}
    tensors = {name: value.detach().to("cpu", dtype).contiguous() for name, value in model.state_dict().items()}
    write_atomically(path, serialised(tensors, about | dict(card or {})))


def load(path: Path_, kind: type[Model] | None = None) -> Model:
    """A network from a file that `save` wrote, ready to restore (in evaluation mode).

    Parameters
    ----------
    path : path
        A .safetensors file, or a checkpoint of `train`.
    kind : class, optional
        The class that it must be of.

    Raises
    ------
    ValueError
        Not such a file; a network of another class; weights that do not fit it; a checkpoint with code in it.
    """
    if Path(path).suffix in (".pt", ".pth"):
        state = load_checkpoint(path)
        try:
            name, options, tensors = state["model"], state["options"], state["averaged"]
        except (KeyError, TypeError):
            raise ValueError(f"{path} is no checkpoint of lsdeblur.deep.train: give one, or a .safetensors") from None
        model = _empty(path, name, options, kind)
        _check_fits(path, model, {key: tuple(value.shape) for key, value in tensors.items()})
    else:
        model, tensors = _from_safetensors(path, kind)
    model.to_empty(device="cpu")
    model.load_state_dict({key: value.float() for key, value in tensors.items()})
    return model.eval()


def card(path: Path_) -> dict[str, str]:
    """The texts in a file that `save` wrote: "model", "options" and those about its training."""
    with _opened(path) as file:
        return dict(file.metadata() or {})


def _opened(path: Path_) -> Any:
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path} is not there: give the file that Model.save or the training wrote")
    try:
        return safe_open(os.fspath(path), framework="pt")
    except SafetensorError as error:
        raise ValueError(f"{path} is no safetensors file ({error}): give one that Model.save wrote") from None


def _from_safetensors(path: Path_, kind: type[Model] | None) -> tuple[Model, dict[str, Any]]:
    with _opened(path) as file:
        about = file.metadata() or {}
        if about.get("format") != _FORMAT:
            raise ValueError(f"{path} holds no network of lsdeblur: give a file that Model.save wrote")
        try:
            options = json.loads(about["options"])
        except (KeyError, ValueError):
            raise ValueError(f"{path} does not say which options its network has: it was not written whole") from None
        model = _empty(path, about.get("model", ""), options, kind)
        names = file.keys()
        _check_fits(path, model, {name: tuple(file.get_slice(name).get_shape()) for name in names})
        return model, {name: file.get_tensor(name) for name in names}


def _empty(path: Path_, name: Any, options: Any, kind: type[Model] | None) -> Model:
    """The network without memory for its weights."""
    from lsdeblur.deep.networks import MODELS

    if name not in MODELS:
        raise ValueError(f"{path} holds a network {name!r}, which is none of {', '.join(MODELS)}")
    if kind is not None and not issubclass(MODELS[name], kind):
        raise ValueError(f"{path} holds a {name}, not a {kind.__name__}: use deep.load, or {name}.load")
    try:
        with torch.device("meta"):
            return MODELS[name](**options)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path}: a {name} cannot be made with the options {options!r} ({error})") from None


def _check_fits(path: Path_, model: Model, shapes: Mapping[str, tuple[int, ...]]) -> None:
    own = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    if own != shapes:
        wrong = sorted(name for name in {*own, *shapes} if own.get(name) != shapes.get(name))
        name = wrong[0]
        raise ValueError(
            f"{path} does not fit its {type(model).__name__}: {len(wrong)} tensors differ, the first is {name} with "
            f"shape {shapes.get(name)} instead of {own.get(name)}"
        )


def load_checkpoint(path: Path_) -> Any:
    """What a PyTorch checkpoint holds, if that is numbers and texts only."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of other versions of the pickle format
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise ValueError(
            f"{path} holds more than weights, such as code, and is not loaded; ask its author for a safetensors file"
        ) from None


def write_atomically(path: Path_, content: bytes) -> None:
    """Write a file under another name beside it, and move it there when it is whole and on the disk."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with unfinished.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def solution(model: Model, problem: Problem, *, noise_std: float | None = None) -> Solution:
    """A problem restored by a network: `restore` calls this for a model that is its method.

    Parameters
    ----------
    model : networks.Model
    problem : Problem
        Two spatial axes; boundary and spacing play no role.
    noise_std : float > 0, optional
        Of the image, for a network that needs it; without it Tikhonov's estimate, or without a PSF
        `noise.estimate_noise_std`.
    """
    if len(problem.shape) != 2:
        raise ValueError(f"{type(model).__name__} restores images of 2 spatial axes, not {len(problem.shape)}")
    if problem.mask is not None:
        raise ValueError(f"{type(model).__name__} knows nothing of a mask: use method='pnp', or fill the pixels first")
    n = len(problem.image)
    if n % model.channels:
        raise ValueError(
            f"{type(model).__name__} was trained on images of {model.channels} channels, this one has {n}; give such a "
            "one, or a network made with channels=1, which takes them one by one"
        )
    sigma = None if noise_std is None else check_positive(noise_std, "noise_std")
    if "noise_std" in model.needs and sigma is None:
        sigma = _noise_std(problem)
    given = {"psf": problem.psf, "noise_std": sigma}
    missing = [name for name in model.needs if given[name] is None]
    if missing:
        raise ValueError(f"{type(model).__name__} needs {' and '.join(missing)}: give them to restore")
    stacked = problem.image.reshape(-1, model.channels, *problem.shape)
    device = next(model.parameters()).device
    with torch.inference_mode():
        images = torch.from_numpy(np.array(stacked, np.float32)).to(device)
        needed = []
        for name in model.needs:
            value = np.asarray(given[name], np.float32)
            needed.append(
                torch.from_numpy(np.array(np.broadcast_to(value, (len(images), *value.shape[1:])))).to(device)
            )
        restored = model(images, *needed).cpu().numpy()
    message = f"{type(model).__name__} with {model.n_parameters:,} weights"
    if sigma is not None:
        message += f", noise of {sigma:.3g}"
    return Solution(restored.reshape(problem.image.shape).astype(problem.image.dtype), noise_std=sigma, message=message)


def _noise_std(problem: Problem) -> float | None:
    if problem.psf is None:
        return estimate_noise_std(problem.image, channel_axis=0)
    return tikhonov(problem).noise_std
