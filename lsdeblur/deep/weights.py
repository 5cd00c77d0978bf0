"""Trained networks in files.

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

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialised

from lsdeblur._files import replacing

if TYPE_CHECKING:
    from lsdeblur.deep.networks import Model

__all__ = ["card", "load", "load_checkpoint", "save", "write_atomically"]

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
    write_atomically(path, serialised(tensors, dict(card or {}) | about))


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
        _check_fits(path, model, {key: tuple(getattr(value, "shape", ())) for key, value in tensors.items()})
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
        raise FileNotFoundError(f"{path} is no file: give the one that Model.save or the training wrote")
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
    except Exception as error:  # whatever a reader of pickles runs into
        raise ValueError(f"{path} is damaged, or no checkpoint of PyTorch ({error!r}): give another copy") from None


def write_atomically(path: Path_, content: bytes) -> None:
    """Write a file under another name beside it, and move it there when it is whole and on the disk."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, overwrite=True) as temporary, temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
