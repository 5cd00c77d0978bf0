"""Files and Zarr arrays that are written as a whole or not at all; nothing else is ever replaced."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["check_target", "replacing"]


@contextmanager
def replacing(path: str | os.PathLike[str], *, overwrite: bool = False) -> Iterator[Path]:
    """A name to write to, in a folder of its own beside `path`. What is there at the end becomes `path`.

    After an exception all is as it was. A file that is replaced keeps its permissions.

    Raises
    ------
    FileNotFoundError
        There is no such folder; nothing was written.
    FileExistsError
        `path` is there, or has come meanwhile, and `overwrite` is False.
    IsADirectoryError
        `path` is a folder, and not that of a single Zarr array.
    PermissionError
        Its folder may not be written to.
    """
    path = Path(path)
    check_target(path, overwrite=overwrite)
    try:
        folder = Path(tempfile.mkdtemp(prefix=".lsdeblur-", dir=path.parent))
    except PermissionError as error:
        raise PermissionError(f"{str(path)!r} lies in a folder that may not be written to: choose another") from error
    try:
        temporary = folder / path.name  # writers look at the suffix
        yield temporary
        if not temporary.exists():
            raise FileNotFoundError(f"nothing was written for {str(path)!r}: the writer chose another name, or failed")
        check_target(path, overwrite=overwrite)
        if path.is_dir() or temporary.is_dir():
            _exchange(temporary, path, aside=path.with_name(f"{folder.name}-old"))
        elif overwrite:
            if path.exists():
                shutil.copymode(path, temporary)
            os.replace(temporary, path)
        else:
            _link(temporary, path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def check_target(path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Refuse, before anything is computed, what `replacing` would refuse."""
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {str(path.parent)!r} to write {path.name!r} into: make it first")
    if path.is_dir() and not _is_zarr_array(path):
        raise IsADirectoryError(
            f"{str(path)!r} is a folder, and of folders only a single Zarr array (.zarr) is ever replaced: choose "
            "another name, or a file in it"
        )
    if path.exists() and not overwrite:
        raise _there(path)


def _there(path: Path) -> FileExistsError:
    return FileExistsError(
        f"{str(path)!r} is there already: choose another name, or allow to replace it (overwrite=True, --force)"
    )


def _is_zarr_array(path: Path) -> bool:
    """Whether a folder holds one Zarr array, of version 2 or 3, and not a group of them."""
    if path.suffix.lower() != ".zarr":
        return False
    if (path / ".zarray").is_file():
        return True
    try:
        about = json.loads((path / "zarr.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(about, dict) and about.get("node_type") == "array"


def _exchange(new: Path, path: Path, aside: Path) -> None:
    """Put `new` in the place of `path`, which is removed at last: no system replaces a folder at once."""
    if not path.exists():
        os.replace(new, path)
        return
    os.replace(path, aside)
    try:
        os.replace(new, path)
    except BaseException:
        os.replace(aside, path)
        raise
    if aside.is_dir():
        shutil.rmtree(aside)
    else:
        aside.unlink()


def _link(new: Path, path: Path) -> None:
    """Give `new` its name where nothing has it, in one step if the file system knows hard links."""
    try:
        os.link(new, path)
    except FileExistsError:
        raise _there(path) from None
    except OSError:
        os.replace(new, path)  # `replacing` has just looked
