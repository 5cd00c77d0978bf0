"""The table of all benchmarks: its rows as they come, what fails, what is left out, and the exit status."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]

QUICK = """
import sys
print("a table that is kept", *sys.argv[1:])
print("=> gain: 2.0 dB", "=> time: 3 s: with a colon", sep="\\n")
"""
BROKEN = """
from pathlib import Path
print("=> before it broke: 1")
print("there are rows already:", "| `quick` | gain |" in (Path(__file__).parent / "out" / "table.md").read_text())
raise SystemExit("no such thing")
"""


@pytest.fixture
def every(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module, its benchmarks in a folder of their own."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    module = importlib.import_module("every")
    monkeypatch.setattr(module, "HERE", tmp_path)
    for name, source in {"mute": "", "quick": QUICK, "zbroken": BROKEN, "_common": "", "every": ""}.items():
        (tmp_path / f"{name}.py").write_text(source, encoding="utf-8")
    return module


def run(every: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[int, list[str]]:
    """The exit status, and the lines of the table."""
    monkeypatch.setattr(sys, "argv", ["every.py", "--out", str(folder / "out"), *arguments])
    status = every.main()
    return status, (folder / "out" / "table.md").read_text(encoding="utf-8").splitlines()


def test_the_table(
    every: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, lines = run(every, tmp_path, monkeypatch, "--only", "quick")
    assert status == 0
    assert lines[0].startswith("lsdeblur ")
    assert [line.rsplit("|", 2)[0] for line in lines[2:]] == [
        "| benchmark | what | figure ",
        "|---|---|---",
        "| `quick` | gain | 2.0 dB ",
        "| `quick` | time | 3 s: with a colon ",
    ]
    assert capsys.readouterr().out.splitlines() == lines
    assert "a table that is kept" in (tmp_path / "out" / "quick.txt").read_text(encoding="utf-8")


def test_a_quick_run_takes_few_cases(every: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(every.QUICK) <= {path.stem for path in (ROOT / "benchmarks").glob("*.py")}
    monkeypatch.setitem(every.QUICK, "quick", "--images 1")
    for options in (["--quick"], []):
        run(every, tmp_path, monkeypatch, "--only", "quick", *options)
        text = (tmp_path / "out" / "quick.txt").read_text(encoding="utf-8")
        assert ("--images 1" in text) == bool(options)


def test_a_benchmark_that_fails(every: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    status, lines = run(every, tmp_path, monkeypatch)
    assert status == 1
    assert "" not in lines[2:], "a benchmark without figures breaks the table"
    assert [line.split(" | ")[:3] for line in lines[-2:]] == [
        ["| `zbroken`", "before it broke", "1"],
        ["| `zbroken`", "FAILED", "no such thing"],
    ]
    assert "there are rows already: True" in (tmp_path / "out" / "zbroken.txt").read_text(encoding="utf-8")


def test_what_lacks_data_or_a_library(every: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "networks.py").write_text(QUICK, encoding="utf-8")
    monkeypatch.setitem(every.NEEDS, "zbroken", "no_such_library")
    status, lines = run(every, tmp_path, monkeypatch)
    assert status == 0
    assert lines[-1] == "left out, for want of data or a library: networks, zbroken"
    _, lines = run(every, tmp_path, monkeypatch, "--training", str(tmp_path), "--only", "networks")
    assert "| `networks` | gain | 2.0 dB |" in lines[-2]
    assert f"--data {tmp_path}" in (tmp_path / "out" / "networks.txt").read_text(encoding="utf-8")
