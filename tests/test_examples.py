"""The examples run and write what they say."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest
from matplotlib.image import imread

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_first_restoration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["first_restoration.py", "--out", str(tmp_path)])
    runpy.run_path(str(EXAMPLES / "first_restoration.py"), run_name="__main__")
    printed = capsys.readouterr().out
    before, after = (float(w) for w in printed.split("PSNR")[1].splitlines()[0].split() if w.replace(".", "").isdigit())
    assert after > before + 3
    names = {f"{case}-{kind}.png" for case in ("clock", "camera") for kind in ("compare", "l-curve", "rules", "psf")}
    assert {p.name for p in tmp_path.iterdir()} == names
    for name in names:
        assert name in printed
        assert imread(tmp_path / name).std() > 0


def test_denoise_before_or_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["denoise_before_or_after.py", "--out", str(tmp_path)])
    runpy.run_path(str(EXAMPLES / "denoise_before_or_after.py"), run_name="__main__")
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if "motion of" in line or "Gaussian" in line]
    assert len(rows) == 4
    for blurred, restored, before, _, after, _ in ([float(w) for w in row[-6:]] for row in rows):
        assert restored > blurred + 1
        assert after > max(restored, before) + 0.4
    assert imread(tmp_path / "denoise.png").std() > 0
