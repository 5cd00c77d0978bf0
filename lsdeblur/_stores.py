"""Arrays that are not in memory: how they are read, written and, after an interruption, gone on with.

Foreign arrays are recognised through `sys.modules`: an array of a library exists only where that library is loaded.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from lsdeblur._validate import as_float_array, working_dtype

__all__ = [
    "FileJournal",
    "Journal",
    "Source",
    "ZarrJournal",
    "check_out",
    "checksum",
    "described",
    "is_from",
    "journal_of",
]

Array = npt.NDArray[Any]
Slices = tuple[Any, ...]


def is_from(array: Any, library: str) -> bool:
    """Whether `array` is an ``Array`` of a loaded library ("zarr", "dask.array"), or a ``Tensor`` of "torch"."""
    module = sys.modules.get(library)
    kind = "Tensor" if library == "torch" else "Array"
    return module is not None and isinstance(array, getattr(module, kind, ()))


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """An image that is read part by part: a NumPy array, memory map or Zarr array, with or without channels."""

    array: Any
    channel_axis: int | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Spatial shape."""
        return self.spatial(self.array.shape)

    def spatial(self, sizes: Sequence[int]) -> tuple[int, ...]:
        """Those of `sizes`, one an axis of the array, that belong to spatial axes."""
        kept = list(sizes)
        if self.channel_axis is not None:
            del kept[self.channel_axis]
        return tuple(kept)

    @property
    def channels(self) -> int:
        return 1 if self.channel_axis is None else int(self.array.shape[self.channel_axis])

    @property
    def dtype(self) -> np.dtype[Any]:
        """That in which its pixels are restored."""
        return working_dtype(self.array.dtype)

    def read(self, window: Slices) -> Array:
        """The finite pixels (channels, *window) in the working dtype."""
        part = as_float_array(self.array[self.index(window)], "image")
        return part[np.newaxis] if self.channel_axis is None else np.moveaxis(part, self.channel_axis, 0)

    def index(self, window: Slices) -> Slices:
        """`window` with all channels, as an index of the array."""
        if self.channel_axis is None:
            return window
        axis = self.channel_axis % len(self.array.shape)
        return (*window[:axis], slice(None), *window[axis:])

    def layout_shape(self, spatial: Sequence[int]) -> tuple[int, ...]:
        """`spatial` with the channels where the array has them."""
        if self.channel_axis is None:
            return tuple(spatial)
        axis = self.channel_axis % len(self.array.shape)
        return (*spatial[:axis], self.channels, *spatial[axis:])

    def layout(self, part: Array) -> Array:
        """Pixels (channels, *window) with their axes as in the array."""
        return part[0] if self.channel_axis is None else np.moveaxis(part, 0, self.channel_axis)


def check_out(out: Any, shape: Sequence[int], dtype: np.dtype[Any]) -> None:
    """ValueError or TypeError when restored pixels cannot be written to `out`; space on disk is reserved."""
    if not isinstance(out, np.ndarray) and not is_from(out, "zarr"):
        raise TypeError(f"out must be a NumPy array, numpy.memmap or Zarr array, not {type(out).__name__}")
    if tuple(out.shape) != tuple(shape):
        raise ValueError(f"out has shape {tuple(out.shape)}, but the image has {tuple(shape)}: make it the same")
    if np.dtype(out.dtype) != dtype:
        raise ValueError(f"out is of dtype {out.dtype}, but the restored image is {dtype}: make out {dtype}")
    if out.read_only if is_from(out, "zarr") else not out.flags.writeable:
        raise ValueError("out is read-only: open it with mode='r+'")
    if isinstance(out, np.memmap) and out.filename is not None:
        _reserve(Path(out.filename))


def _reserve(path: Path) -> None:
    """Give a sparse file all its blocks: writing to a map on a full disk would kill the process."""
    if not hasattr(os, "posix_fallocate"):
        return
    with path.open("r+b") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        except OSError as error:
            raise OSError(
                error.errno, f"out cannot be written whole, {error.strerror}: free space for {path}"
            ) from error


def described(value: Any) -> Any:
    """`value` as JSON that tells it from others: arrays by their hash, functions by their name."""
    if isinstance(value, np.ndarray):
        content = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
        return {"shape": list(value.shape), "dtype": str(value.dtype), "sha256": content}
    if isinstance(value, Mapping):
        return {str(key): described(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [described(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', type(value).__qualname__)}"


def checksum(parts: Sequence[Array]) -> int:
    """Of some pixels: enough to notice that an image is another one."""
    total = 0
    for part in parts:
        total = zlib.crc32(np.ascontiguousarray(part).tobytes(), total)
    return total


class Journal(Protocol):
    """What a store says of the restoration that fills it: its `record`, and the tiles that are written."""

    def read(self) -> tuple[dict[str, Any] | None, set[int]]: ...
    def start(self, record: dict[str, Any]) -> None: ...
    def mark(self, tile: int) -> None: ...


@dataclass(eq=False)
class FileJournal:
    """Beside a memory map: one line of JSON for the record, one more for each tile; a torn last line does not count."""

    path: Path
    out: np.memmap[Any, Any]
    lock: threading.Lock = field(default_factory=threading.Lock)

    def read(self) -> tuple[dict[str, Any] | None, set[int]]:
        if not self.path.exists():
            return None, set()
        lines = self.path.read_text(encoding="utf-8").split("\n")[:-1]
        return (json.loads(lines[0]), {int(line) for line in lines[1:]}) if lines else (None, set())

    def start(self, record: dict[str, Any]) -> None:
        beginning = self.path.with_name(self.path.name + ".new")
        beginning.write_text(json.dumps(record) + "\n", encoding="utf-8")
        beginning.replace(self.path)

    def mark(self, tile: int) -> None:
        self.out.flush()
        with self.lock, self.path.open("r+b") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(0)
            whole = file.read(end).rfind(b"\n") + 1  # after a torn line
            file.seek(whole)
            file.truncate()
            file.write(f"{tile}\n".encode())
            file.flush()
            os.fsync(file.fileno())


@dataclass(eq=False)
class ZarrJournal:
    """In the attributes of a Zarr array, under "lsdeblur"; they are replaced as a whole."""

    out: Any
    lock: threading.Lock = field(default_factory=threading.Lock)

    def read(self) -> tuple[dict[str, Any] | None, set[int]]:
        kept = self.out.attrs.asdict().get("lsdeblur")
        return (None, set()) if kept is None else (kept["record"], set(kept["done"]))

    def start(self, record: dict[str, Any]) -> None:
        self.out.attrs["lsdeblur"] = {"record": record, "done": []}

    def mark(self, tile: int) -> None:
        with self.lock:
            record, done = self.read()
            self.out.attrs["lsdeblur"] = {"record": record, "done": sorted(done | {tile})}


def journal_of(out: Any) -> Journal | None:
    """The journal of a store that outlives the process; None for an array in memory."""
    if is_from(out, "zarr"):
        return ZarrJournal(out)
    if isinstance(out, np.memmap) and out.filename is not None:
        path = Path(out.filename)
        return FileJournal(path.with_name(path.name + ".lsdeblur"), out)
    return None
