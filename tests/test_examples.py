"""Every example runs as a script of its own, prints what it found and writes the figures that it names."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from matplotlib.image import imread

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
SHOWS = re.compile(r"figures?(?: in [^:]*)?: (.*)$")  # the last line: the figures' names


def run(script: Path, folder: Path, *arguments: str) -> str:
    """What the script prints, run in a folder of its own."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    env = os.environ | {"MPLBACKEND": "Agg", "PYTHONPATH": os.pathsep.join(filter(None, paths)), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, script, *arguments], cwd=folder, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def numbers(line: str) -> list[float]:
    return [float(word) for word in re.findall(r"(?<![\w.])\d+(?:\.\d+)?(?![\w.])", line)]


@pytest.mark.parametrize("script", EXAMPLES, ids=lambda path: path.stem)
def test_example(script: Path, tmp_path: Path) -> None:
    printed = run(script, tmp_path)
    if printed.startswith("skipped:"):
        pytest.skip(printed.strip())
    *summary, last = printed.strip().splitlines()
    assert len(numbers("\n".join(summary))) >= 2, "no measured numbers"
    named = SHOWS.match(last)
    assert named, f"the last line names no figures: {last!r}"
    written = {path.name for path in (tmp_path / "demo-output").iterdir()}
    assert {Path(name).name for name in named[1].split(", ")} == written
    for name in written:
        assert imread(tmp_path / "demo-output" / name).std() > 0.02
    assert {path.name for path in tmp_path.iterdir()} == {"demo-output"}, "it left something behind"


@pytest.mark.parametrize("script", EXAMPLES, ids=lambda path: path.stem)
def test_form(script: Path) -> None:
    """A title, a question and its answer for the gallery; cells in prose; short enough to read at a sitting."""
    text = script.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 80
    title, under, blank, *first = text.split('"""')[1].strip().splitlines()
    assert under == "=" * len(title)
    assert blank == ""
    assert "?" in " ".join(first)
    assert re.search(r"\d", " ".join(first)), "the answer has no numbers"
    assert len(re.findall(r"^# %%$\n^# [A-Z]", text, re.MULTILINE)) >= 2


def test_the_readme_lists_every_example() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert {path.stem for path in EXAMPLES} == set(re.findall(r"`examples/(\w+)\.py`", readme))


def test_the_folder_for_the_figures_is_an_argument(tmp_path: Path) -> None:
    printed = run(ROOT / "examples" / "first_restoration.py", tmp_path, "here")
    before, after = numbers(printed.split("PSNR")[1].splitlines()[0])
    assert after > before + 3
    names = {f"{case}-{kind}.png" for case in ("clock", "camera") for kind in ("compare", "l-curve", "rules", "psf")}
    assert {path.name for path in (tmp_path / "here").iterdir()} == names
