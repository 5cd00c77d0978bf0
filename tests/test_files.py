"""Files are replaced as a whole or not at all, by anyone at any time, and nothing else is ever removed."""

from __future__ import annotations

import json
import os
import stat
import tempfile
import threading
from pathlib import Path

import pytest

from lsdeblur._files import check_target, replacing


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def put(path: Path, content: str, *, overwrite: bool = False) -> None:
    with replacing(path, overwrite=overwrite) as temporary:
        assert temporary.name == path.name, "writers look at the suffix"
        temporary.write_text(content)


def put_array(path: Path, content: str) -> None:
    with replacing(path, overwrite=True) as temporary:
        temporary.mkdir()
        (temporary / "zarr.json").write_text(json.dumps({"node_type": "array"}))
        (temporary / "c").write_text(content)


def stopped(path: Path) -> None:
    with replacing(path, overwrite=True) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt


def test_a_file_appears_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    put(path, "first")
    with pytest.raises(FileExistsError, match=r"a.txt' is there already: .*overwrite=True, --force"):
        put(path, "second")
    with pytest.raises(KeyboardInterrupt):
        stopped(path)
    assert tree(tmp_path) == {"a.txt": b"first"}
    put(path, "third", overwrite=True)
    assert tree(tmp_path) == {"a.txt": b"third"}
    assert os.listdir(tmp_path) == ["a.txt"]
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*make it first"):
        put(tmp_path / "nowhere" / "a.txt", "x")


def test_a_folder_that_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(**_: object) -> str:
        raise PermissionError(13, "Permission denied", "a name that nobody gave")

    monkeypatch.setattr(tempfile, "mkdtemp", closed)
    with pytest.raises(PermissionError, match=r"a.txt' lies in a folder that may not be written to: choose another"):
        put(tmp_path / "a.txt", "x")


def test_folders_are_never_replaced(tmp_path: Path) -> None:
    """Not even those whose name looks like an image; nor a Zarr group, whose other arrays would be lost."""
    group = tmp_path / "group.zarr"
    for name in ("figs", "figs.png", "figs.zarr", "group.zarr"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "kept").write_text("precious")
    (group / "zarr.json").write_text(json.dumps({"node_type": "group"}))
    (tmp_path / "figs").joinpath("zarr.json").write_text(json.dumps({"node_type": "array"}))  # no such suffix
    before = tree(tmp_path)
    for name in ("figs", "figs.png", "figs.zarr", "group.zarr"):
        with pytest.raises(IsADirectoryError, match=r"is a folder.*only a single Zarr array .*another name"):
            put(tmp_path / name, "x", overwrite=True)
        with pytest.raises(IsADirectoryError, match="is a folder"):
            check_target(tmp_path / name, overwrite=True)
    assert tree(tmp_path) == before


def test_a_zarr_array_is_replaced_and_comes_back_after_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.zarr"
    put_array(path, "old")
    before = tree(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"nothing was written for .*a.zarr"), replacing(path, overwrite=True):
        pass
    assert tree(tmp_path) == before
    replace = os.replace

    def broken(source: Path, target: Path) -> None:
        if Path(target) == path and Path(source).name == path.name:
            raise OSError("the disk is gone")
        replace(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", broken)
        with pytest.raises(OSError, match="the disk is gone"):
            put_array(path, "new")
    assert tree(tmp_path) == before
    put_array(path, "new")
    assert (path / "c").read_text() == "new"
    assert os.listdir(tmp_path) == ["a.zarr"]
    old = tmp_path / "b.zarr"
    old.mkdir()
    (old / ".zarray").write_text("{}")  # version 2
    put_array(old, "new")
    assert not (old / ".zarray").exists()


@pytest.mark.parametrize("links", [True, False])
def test_who_comes_later_loses_nothing_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    """A file that another process makes meanwhile is kept, with hard links or without."""
    if not links:
        monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(PermissionError("no links here")))
    path = tmp_path / "a.txt"

    def overtaken() -> None:
        with replacing(path) as temporary:
            temporary.write_text("late")
            path.write_text("early")

    with pytest.raises(FileExistsError, match="is there already"):
        overtaken()
    assert tree(tmp_path) == {"a.txt": b"early"}
    put(tmp_path / "b.txt", "alone")
    assert tree(tmp_path) == {"a.txt": b"early", "b.txt": b"alone"}


def test_threads_do_not_meet(tmp_path: Path) -> None:
    path, together, failures = tmp_path / "a.txt", threading.Barrier(4), []

    def write(content: str) -> None:
        try:
            with replacing(path, overwrite=True) as temporary:
                with temporary.open("x") as file:
                    together.wait(5)
                    file.write(content)
                together.wait(5)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(letter * 1000,)) for letter in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert path.read_text() in [letter * 1000 for letter in "abcd"]
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
def test_permissions(tmp_path: Path) -> None:
    """New files get what the umask leaves, replaced ones keep theirs."""
    path, before = tmp_path / "a.txt", os.umask(0o027)
    try:
        put(path, "new")
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        path.chmod(0o600)
        put(path, "newer", overwrite=True)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    finally:
        os.umask(before)


def test_check_target_says_it_beforehand(tmp_path: Path) -> None:
    check_target(tmp_path / "a.txt")
    (tmp_path / "a.txt").write_text("x")
    check_target(tmp_path / "a.txt", overwrite=True)
    with pytest.raises(FileExistsError, match="is there already"):
        check_target(tmp_path / "a.txt")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        check_target(tmp_path / "nowhere" / "a.txt")
