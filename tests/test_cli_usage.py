"""The command line before the first file and after the last: what is checked, what is told, what a second run does."""

from __future__ import annotations

import html
import re
import shlex
import sys
import time
import types
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from commands import BLUR, FAILED, OK, SPEC, USAGE, names, records, run, squares

from lsdeblur import PSFEstimate, Restoration, _restore, estimate_psf, io, restore, simulate

Array = Any


@pytest.fixture(scope="module")
def blurred() -> Array:
    return squares()


@pytest.fixture
def folder(tmp_path: Path, blurred: Array) -> Path:
    """Two images, one of which is restored already."""
    io.write(tmp_path / "a.png", blurred)
    io.write(tmp_path / "b.png", blurred[:, ::-1])
    io.write(tmp_path / "a_restored.png", blurred)
    return tmp_path


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blind restoration that finds an L, at once."""
    h = np.zeros((5, 7))
    h[1:4, 2], h[3, 2:5] = 0.2, 0.2

    def answer(image: Array, _: Any, *, method: str, **options: Any) -> Restoration:
        then = options["then"] if method == "blind" else ""
        message = f"PSF by gradient-prior: the best of 3; then {then}: strengths 1, 2" if then else "object found"
        estimate = PSFEstimate(h / h.sum(), "gradient-prior", 0.8, "the best of 3") if then else None
        f = np.asarray(image, float)
        return Restoration(f, h / h.sum(), method, lam=1.0, message=message, psf_estimate=estimate)

    monkeypatch.setattr(_restore, "restore", answer)


# ------------------------------------------------------------------------------------------------ before the first file


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (("--lam", "gvc"), "lam must be one of 'auto', .* not 'gvc'; did you mean 'gcv'"),
        (("--lam", "-1"), "lam must not be negative: -1"),
        (("--lam", "(1, 2)"), r"lam must be a number, not \(1, 2\)"),
        (("--option", "lam=nan"), "lam must be one of .* not 'nan'"),
        (("--option", "boundary=fre"), "boundary must be one of .* not 'fre'; did you mean 'free'"),
        (("--boundary", "tapr"), "'tapr' is not one of .*'zero'; did you mean 'taper'"),
        (("--option", "bondary=edge"), "no option 'bondary'; .* did you mean 'boundary'"),
        (("--option", "max_itr=3"), "no option 'max_itr'; .* did you mean 'max_iter'"),
        (("--method", "tvv"), "'tvv' is not one of .*; did you mean 'tv'"),
        (("--psf", "missing.png"), "there is no file 'missing.png': check its name and folder"),
        (("--psf", "mtion:length=5"), "'mtion:length=5' is no PSF: .* or blind; did you mean 'motion'"),
        (("--psf", "blind", "--option", "boundz=(0, 1)"), "'wavelet' has no option 'boundz'; .* did you mean 'bounds'"),
        (("--float", "-o", "f.png"), "--float, and PNG holds integers: give --output a .tif, not 'f.png'"),
        (("--save-psf", "k.tif"), "--save-psf is for --psf blind: lsdeblur psf make writes"),
        (("--method", "nas-rif", "--save-psf", "k.tif"), "--save-psf is for --psf blind"),
        (("--psf", "blind", "--save-psf", "k.png"), "PNG holds integers: write .tif, .npy or .fits, not 'k.png'"),
        (("--psf", "blind", "--save-psf", "k.xyz"), "'k.xyz' has a suffix that lsdeblur does not know"),
        (("--force", "--skip-existing"), "--force replaces what is there, and --skip-existing leaves it: give one"),
    ],
)
@pytest.mark.parametrize("name", ["a.png", "b.png"])
def test_what_all_files_share_is_checked_first(
    folder: Path, monkeypatch: pytest.MonkeyPatch, args: tuple[str, ...], text: str, name: str
) -> None:
    """With a result that is there and without one, with --dry-run and without: a usage error, and nothing is begun."""
    monkeypatch.setattr(_restore, "restore", lambda *_, **__: pytest.fail("restored"))
    before = names(folder)
    for dry in ((), ("--dry-run",)):
        result = run("restore", folder / name, "--psf", SPEC, *args, *dry)
        assert result.exit_code == USAGE
        assert re.search(text, " ".join(result.stderr.split())), result.stderr
    assert names(folder) == before


def test_rules_for_lambda_are_not_for_films(folder: Path, blurred: Array) -> None:
    film = cv2.VideoWriter(str(folder / "f.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, blurred.shape[::-1])
    film.write(np.dstack([blurred] * 3))
    film.release()
    result = run("restore", folder / "f.avi", "--psf", SPEC, "--lam", "gcv", "--dry-run")
    assert (result.exit_code, "--lam gcv: not there for films" in result.stderr) == (USAGE, True)


def test_a_file_is_a_psf_without_file(folder: Path, blurred: Array, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(folder / "k.npy", BLUR)
    assert run("restore", folder / "b.png", "--psf", folder / "k.npy").exit_code == OK
    expected = np.clip(np.rint(restore(blurred[:, ::-1], BLUR).image), 0, 255)
    np.testing.assert_array_equal(io.read(folder / "b_restored.png").image, expected)
    monkeypatch.chdir(folder)
    (folder / "delta").mkdir()
    (record,) = records(run("psf", "show", "delta", "--json"))
    assert record["sum"] == 1, "the names of generators come first"


# ----------------------------------------------------------------------------------------------------- a second run


def test_a_second_run_goes_on_with_what_is_missing(folder: Path) -> None:
    kept = (folder / "a_restored.png").read_bytes()
    refused = run("restore", folder, "--psf", SPEC, "--dry-run")
    assert refused.exit_code == FAILED
    assert "there already; --force replaces it, --skip-existing goes on without" in refused.stderr
    planned = records(run("restore", folder, "--psf", SPEC, "--skip-existing", "--dry-run", "--json"))
    assert [r["status"] for r in planned] == ["skipped", "planned"]
    result = run("restore", folder, "--psf", SPEC, "--skip-existing", "--json")
    assert result.exit_code == OK, result.output
    assert [r["status"] for r in records(result)] == ["skipped", "restored"]
    assert (folder / "a_restored.png").read_bytes() == kept
    again = run("restore", folder, "--psf", SPEC, "--skip-existing")
    assert again.stdout == "2 of 2 skipped: their results are there already\n"
    half = run("restore", folder / "a.png", "--psf", SPEC, "--skip-existing", "--report", folder / "a.html")
    assert (half.exit_code, "a_restored.png: there already" in half.stderr) == (FAILED, True), "its report is missing"


# ------------------------------------------------------------------------------------------------------ what is told


@pytest.mark.usefixtures("found")
def test_the_psf_that_was_found_is_told_and_kept(folder: Path) -> None:
    result = run("restore", folder / "b.png", "--psf", "blind", "--save-psf", folder / "found" / "k.tif")
    assert result.exit_code == OK, result.output
    header, row, psf_line, caution = result.stdout.splitlines()
    cells = dict(zip(re.split(r"\s{2,}", header), re.split(r"\s{2,}", row), strict=True))
    assert cells["method"] == "blind, then wavelet"
    assert cells["lambda"] == "-", "the wavelets' factor is no lambda"
    assert psf_line == f"{folder / 'b.png'}: PSF of 5 x 7 pixels, by gradient-prior: the best of 3"
    assert "agreement between candidates, not of correctness" in caution
    h = io.read(folder / "found" / "k.tif").image
    assert (h.shape, h.sum(), h[3, 4]) == ((5, 7), pytest.approx(1), pytest.approx(0.2))
    several = run("restore", folder, "--psf", "blind", "--method", "tv", "--save-psf", folder / "psfs", "--force")
    assert {name for name in names(folder) if name.startswith("psfs")} == {"psfs/a_psf.tif", "psfs/b_psf.tif"}
    assert re.search(r"  blind, then tv +1 +- ", several.stdout), "that of total variation is one"


def test_what_is_told_of_the_psf_is_what_the_estimate_says(folder: Path) -> None:
    rng = np.random.default_rng(0)
    scene = np.full((110, 120), 60.0)
    for y, x, height, width in rng.integers(5, 90, (25, 4)):
        scene[y : y + height, x : x + width] = rng.uniform(40, 200)
    image = np.rint(simulate.add_noise(simulate.blur(scene, BLUR), noise_std=1.5, rng=0)).clip(0, 255).astype(np.uint8)
    io.write(folder / "a.png", image, overwrite=True)
    expected = estimate_psf(image, method="parametric")
    args = ("--psf", "blind", "--option", "estimator=parametric", "--method", "tikhonov", "--force")
    result = run("restore", folder / "a.png", *args, "--save-psf", folder / "k.npy")
    assert result.exit_code == OK, result.output
    size = " x ".join(map(str, expected.psf.shape))
    line = f"{folder / 'a.png'}: PSF of {size} pixels, by parametric: {expected.message}"
    assert line in result.stdout.splitlines()
    np.testing.assert_array_equal(np.load(folder / "k.npy"), expected.psf)


def test_a_doubtful_restoration_says_so(folder: Path) -> None:
    plain = run("restore", folder / "a.png", "--psf", SPEC, "--force").stdout
    assert str(folder / "a.png") + ": " not in plain, "nothing to say"
    args = ("restore", folder / "b.png", "--psf", SPEC, "--option", "noise_width=1.5", "--force")
    (record,) = records(run(*args, "--json"))
    assert record["noise_width"] == 1.5
    assert f"{folder / 'b.png'}: {record['message']}" in run(*args).stdout.splitlines()


@pytest.mark.usefixtures("found")
def test_json_tells_of_the_psf(folder: Path, blurred: Array) -> None:
    (record,) = records(run("restore", folder / "b.png", "--psf", "blind", "--json"))
    assert (record["psf_shape"], record["method"], record["then"]) == ([5, 7], "blind", "wavelet")
    assert record["message"].startswith("PSF by gradient-prior: the best of 3; then wavelet: ")
    assert record["psf_message"] == "by gradient-prior: the best of 3"
    (other,) = records(run("restore", folder / "b.png", "--psf", "blind", "--method", "nas-rif", "--force", "--json"))
    assert (other["psf_shape"], "then" in other) == ([5, 7], False)
    (given,) = records(run("restore", folder / "b.png", "--psf", SPEC, "--method", "nas-rif", "--force", "--json"))
    assert "psf_shape" not in given, "it was given, not found"
    np.save(folder / "s.npy", np.stack([blurred] * 2))
    stack = run("restore", folder / "s.npy", "--psf", "blind")
    assert stack.stdout.count("PSF of 5 x 7 pixels, by gradient-prior") == 2
    kept = run("restore", folder / "s.npy", "--psf", "blind", "--force", "--save-psf", folder / "k.tif")
    assert (kept.exit_code, "--save-psf are for one image, not for a stack" in kept.stderr) == (FAILED, True)


@pytest.mark.usefixtures("found")
def test_nothing_is_told_twice_of_a_psf(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = _restore.restore
    monkeypatch.setattr(_restore, "restore", lambda *args, **options: replace(found(*args, **options), noise_width=1.5))
    lines = run("restore", folder / "b.png", "--psf", "blind").stdout.splitlines()
    assert f"{folder / 'b.png'}: then wavelet: strengths 1, 2" in lines
    assert sum("the best of 3" in line for line in lines) == 1


def test_a_report_holds_the_command_that_repeats_it(folder: Path) -> None:
    target, table = folder / "r.html", folder / "with space"
    options = ("--psf", SPEC, "--linear", "--lam", "0.01", "--option", "tau=0.2", "--option", "penalty=gradient")
    aside = ("--report", target, "-o", table / "b.png", "--workers", 1)
    assert run("restore", folder / "b.png", *options, *aside).exit_code == OK
    text = target.read_text(encoding="utf-8")
    shown = [html.unescape(code) for code in re.findall(r"<code>(lsdeblur .*?)</code>", text)]
    assert len(shown) == 1
    words = shlex.split(shown[0])
    assert words[:3] == ["lsdeblur", "restore", str(folder / "b.png")]
    assert sorted(words[3:]) == sorted(options)
    assert run(*words[1:]).exit_code == OK
    np.testing.assert_array_equal(io.read(folder / "b_restored.png").image, io.read(table / "b.png").image)


def test_seconds_are_those_of_the_restoration(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report: Any = types.ModuleType("lsdeblur.report")
    report.write = lambda result, path, **_: (time.sleep(1.0), Path(path).write_text(result.message))
    monkeypatch.setitem(sys.modules, "lsdeblur.report", report)
    monkeypatch.setattr(_restore, "restore", lambda image, h, **_: Restoration(np.asarray(image, float), h, "quick"))
    (record,) = records(run("restore", folder / "b.png", "--psf", SPEC, "--report", folder / "r.html", "--json"))
    assert 0 < record["seconds"] < 0.9


@pytest.mark.parametrize(
    "command",
    [
        ("restore", "{}", "--psf", SPEC), ("restore", "{}", "--psf", SPEC, "--dry-run"),
        ("restore", "{}", "--psf", "blind"),
        ("psf show", SPEC), ("psf estimate", "{}/a.png", "-o", "{}/h.npy", "--method", "parametric"),
        ("lcurve", "{}/a.png", "--psf", SPEC), ("diagnose", "{}"), ("info",), ("bench", "--size", 64, "--rounds", 1),
        ("compare", "{}/a.png", "--psf", SPEC, "--truth", "{}/b.png", "--methods", "wiener"),
    ],
    ids=lambda command: command[0],
)  # fmt: skip
@pytest.mark.usefixtures("found")
def test_the_page_of_the_command_line_names_every_key_of_json(folder: Path, command: tuple[Any, ...]) -> None:
    page = Path(__file__).parents[1] / "docs" / "command_line.md"
    pages = {row.split("`")[1]: row for row in page.read_text(encoding="utf-8").splitlines() if row.startswith("| `")}
    (folder / "c.png").write_bytes(b"no image")
    shown = records(run(*command[0].split(), *(str(word).format(folder) for word in command[1:]), "--json"))
    named = pages[command[0]] + pages["psf show"] * (command[0] == "psf estimate")
    assert shown
    assert [key for record in shown for key in record if f"`{key}`" not in named] == []
