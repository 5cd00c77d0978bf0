"""Every example runs as a script of its own, prints what it found and writes the figures that it names."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from itertools import combinations
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


CLAIM = re.compile(r"(\d+(?:\.\d+)?)(?: (?:to|and|against) (\d+(?:\.\d+)?))? dB")  # "3.4 dB", "0.5 to 2 dB"


def claims(script: Path) -> list[str]:
    """The numbers of decibels in the module's docstring, as they are written."""
    text = " ".join(script.read_text(encoding="utf-8").split('"""')[1].split())
    return [number for pair in CLAIM.findall(text) for number in pair if number]


def unsupported(claimed: list[str], printed: str) -> list[str]:
    """Those that are neither printed, nor the difference of two numbers in a line, or at one place of two lines.

    Places are counted from a line's end. A number holds to 0.6 units of its last digit, for others are rounded, too.
    """
    lines = [numbers(line)[::-1] for line in printed.splitlines()]
    columns = [[line[k] for line in lines if len(line) > k] for k in range(max(map(len, lines)))]
    found = {x for line in lines for x in line}
    found |= {abs(a - b) for group in lines + columns for a, b in combinations(group, 2)}
    return [c for c in claimed if not any(abs(float(c) - x) <= 0.6 * 10 ** -len(c.partition(".")[2]) for x in found)]


@pytest.mark.parametrize("script", EXAMPLES, ids=lambda path: path.stem)
def test_example(script: Path, tmp_path: Path) -> None:
    printed = run(script, tmp_path)
    if printed.startswith("skipped:"):
        pytest.skip(printed.strip())
    *summary, last = printed.strip().splitlines()
    assert len(numbers("\n".join(summary))) >= 2, "no measured numbers"
    assert not unsupported(claims(script), "\n".join(summary)), "decibels in the docstring that are not in the output"
    named = SHOWS.match(last)
    assert named, f"the last line names no figures: {last!r}"
    written = {path.name for path in (tmp_path / "demo-output").iterdir()}
    assert {Path(name).name for name in named[1].split(", ")} == written
    for name in written:
        assert imread(tmp_path / "demo-output" / name).std() > 0.02
    assert {path.name for path in tmp_path.iterdir()} == {"demo-output"}, "it left something behind"


def test_what_a_docstring_claims_is_looked_for(tmp_path: Path) -> None:
    script = tmp_path / "example.py"
    script.write_text('"""It gains 0.5 to 2\ndB, goes from 23.4\nto 26.58 dB, and 5 x 5 pixels cost 0.75 dB."""\n')
    assert claims(script) == ["0.5", "2", "23.4", "26.58", "0.75"]
    printed = "blurred 23.95 25.5\ntaper 23.43 25.5\n3 x 3 26.584 1\n"
    assert unsupported(claims(script), printed) == ["0.75"]
    assert unsupported(["1.5", "2.1", "23.5", "0.7"], printed) == ["23.5", "0.7"]


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
