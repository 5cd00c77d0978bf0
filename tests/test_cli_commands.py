"""The other commands: PSFs from specifications and files, what there is to see of an image and a machine, start-up."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import BLUR, FAILED, OK, SPEC, USAGE, records, run

from lsdeblur import estimate_psf, io, plot, psf, restore, simulate
from lsdeblur.cli import arguments
from lsdeblur.selection import RULES

Array = Any


@pytest.fixture(scope="module")
def blurred() -> Array:
    """Squares, blurred, with some noise, in 8 bits."""
    rng = np.random.default_rng(0)
    scene = np.full((90, 100), 60.0)
    for y, x, h, w in rng.integers(5, 80, (20, 4)):
        scene[y : y + h, x : x + w] = rng.uniform(40, 200)
    noisy = simulate.add_noise(simulate.blur(scene, BLUR), noise_std=1.5, rng=0)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


@pytest.fixture
def folder(tmp_path: Path, blurred: Array) -> Path:
    """One image."""
    io.write(tmp_path / "a.png", blurred)
    return tmp_path


# -------------------------------------------------------------------------------------------------------------- PSFs


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("motion:length=5,angle=30", lambda: BLUR),
        ("motion:5,30", lambda: BLUR),
        ("gaussian:sigma=(1,2),angle=-20", lambda: psf.gaussian((1, 2), angle=-20)),
        ("disk:radius=2.5,size=9", lambda: psf.disk(2.5, size=9)),
        ("box:width=(3,5)", lambda: psf.box((3, 5))),
        ("delta", psf.delta),
        ("moffat:fwhm=3,size=21", lambda: psf.moffat(3, size=21)),
        ("airy:wavelength=0.5,pixel_size=0.1,na=0.9,size=15", lambda: psf.airy(0.5, 0.1, na=0.9, size=15)),
        ("kolmogorov:r0=0.1,wavelength=5e-7,pixel_scale=0.3,size=31", lambda: psf.kolmogorov(0.1, 5e-7, 0.3, size=31)),
        ("shake:size=15,rng=3", lambda: psf.shake(15, rng=3)),
    ],
)
def test_psf_specifications(spec: str, expected: Any) -> None:
    np.testing.assert_array_equal(arguments.psf_from(spec)((64, 64)), expected())


def test_every_generator_has_a_specification() -> None:
    others = {"PSFGrid", "combine", "trim", "from_image", "from_points", "motion_field", "defocus_map"}  # of arrays
    assert set(arguments.GENERATORS) == set(psf.__all__) - others


def test_a_rotation_takes_the_shape_of_the_image() -> None:
    grid = arguments.psf_from("rotation:angle=1")((40, 30))
    np.testing.assert_array_equal(grid.psfs, psf.rotation(1, shape=(40, 30)).psfs)


def test_psfs_in_files(tmp_path: Path) -> None:
    io.write(tmp_path / "h.png", BLUR * 40000, dtype=np.uint16)
    h = arguments.psf_from(f"file:{tmp_path / 'h.png'}")((64, 64))
    np.testing.assert_allclose(h, BLUR, atol=1e-4)
    assert h.sum() == pytest.approx(1)
    io.write(tmp_path / "grey.png", np.dstack([BLUR * 255] * 3), dtype=np.uint8, channel_axis=-1)
    assert arguments.psf_from(f"file:{tmp_path / 'grey.png'}")((64, 64)).shape == BLUR.shape
    np.save(tmp_path / "gain.npy", 2 * BLUR)
    np.testing.assert_array_equal(arguments.psf_from(f"file:{tmp_path / 'gain.npy'}")((64, 64)), 2 * BLUR)
    io.write(tmp_path / "red.png", np.dstack([BLUR * 255, BLUR, BLUR]), dtype=np.uint8, channel_axis=-1)
    io.write(tmp_path / "black.png", np.zeros((5, 5), np.uint8))
    for name, text in {"red": "has colours, and a PSF is grey", "black": "is black, so it is no PSF"}.items():
        result = run("psf", "show", tmp_path / f"{name}.png")
        assert (result.exit_code, text in result.stderr) == (USAGE, True)


def test_psf_make_and_show(tmp_path: Path) -> None:
    path = tmp_path / "h.tif"
    assert run("psf", "make", "gaussian:sigma=(1,3),angle=25", "-o", path).exit_code == OK
    np.testing.assert_array_equal(io.read(path).image, psf.gaussian((1, 3), angle=25))
    (record,) = records(run("psf", "show", path, "--json"))
    assert record["sum"] == pytest.approx(1)
    assert record["centroid"] == pytest.approx([0, 0], abs=1e-3)
    assert record["angle"] == pytest.approx(25, abs=0.1)
    pixel = 1 / 12  # variance that integration over pixels adds; 1e-4 of the energy is cut off
    assert record["widths"] == pytest.approx(np.sqrt([9 + pixel, 1 + pixel]), rel=5e-3)
    shown = run("psf", "show", SPEC, "--plot", tmp_path / "h.png")
    assert (tmp_path / "h.png").read_bytes().startswith(b"\x89PNG")
    assert "angle" in shown.stdout
    assert run("psf", "make", SPEC, "-o", path).exit_code == FAILED
    assert run("psf", "make", SPEC, "-o", path, "--force").exit_code == OK
    for name, text in {
        "i.png": "write .tif, .npy or .fits, not",
        "i.xyz": "has a suffix that lsdeblur does not know",
    }.items():
        wrong = run("psf", "make", SPEC, "-o", tmp_path / name)
        assert (wrong.exit_code, text in wrong.stderr) == (USAGE, True)
    for spec in ("blind", "rotation:angle=3"):
        result = run("psf", "show", spec)
        assert (result.exit_code, "is not one PSF" in result.stderr) == (USAGE, True)


def test_psf_estimate(folder: Path, blurred: Array) -> None:
    path = folder / "h.npy"
    args = ("psf", "estimate", folder / "a.png", "-o", path, "--method", "parametric")
    result = run(*args, "--option", "families=('defocus',)", "--json")
    assert result.exit_code == OK, result.output
    (record,) = records(result)
    expected = estimate_psf(blurred, method="parametric", families=("defocus",))
    np.testing.assert_array_equal(np.load(path), expected.psf)
    assert (record["confidence"], record["parameters"]) == (expected.confidence, dict(expected.parameters))
    unknown = run("psf", "estimate", folder / "a.png", "-o", path, "--force", "--option", "foo=1")
    assert (unknown.exit_code, "has no option 'foo'" in unknown.stderr) == (FAILED, True)


# ------------------------------------------------------------------------------------------------------ other commands


def test_lcurve(folder: Path, blurred: Array) -> None:
    args = ("lcurve", folder / "a.png", "--psf", SPEC)
    (record,) = records(run(*args, "--json"))
    expected = restore(blurred, BLUR)
    assert expected.selection is not None
    assert record["choices"] == dict.fromkeys(RULES) | dict(expected.selection.choices)
    assert record["lam"] == expected.lam
    result = run(*args, "-o", folder / "curve.png")
    assert result.stdout.splitlines()[-1] == expected.message
    assert "used" in result.stdout
    assert (folder / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_diagnose(folder: Path) -> None:
    io.write(folder / "a.png", io.read(folder / "a.png").image[:30, :30], overwrite=True)
    (folder / "c.png").write_bytes(b"nothing")
    result = run("diagnose", folder, "--json")
    assert result.exit_code == FAILED
    found = records(result)
    assert [("kind" in r, "error" in r) for r in found] == [(True, False), (False, True)]
    assert (found[0]["kind"], found[0]["recoverable"]) == ("not-recoverable", False), "it is too small"
    assert "cannot be read as PNG" in run("diagnose", folder / "c.png").stdout


def test_diagnose_goes_on_after_what_is_no_image(folder: Path, blurred: Array, monkeypatch: pytest.MonkeyPatch) -> None:
    restore(blurred, BLUR).save(folder / "A.npz")  # its name comes first
    result = run("diagnose", folder, "--json")
    assert result.exit_code == FAILED
    archive, image = records(result)
    assert "choose one by page=" in archive["error"]
    assert image["kind"] == "motion"
    (folder / "A.npz").unlink()

    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("float division by zero")

    io.write(folder / "b.png", blurred)
    monkeypatch.setattr(io, "read", broken)
    found = records(run("diagnose", folder, "--json"))
    assert [r["error"] for r in found] == ["ZeroDivisionError: float division by zero"] * 2


def test_compare(folder: Path, blurred: Array) -> None:
    args = ("compare", folder / "a.png", "--psf", SPEC, "--methods", "tikhonov,wiener")
    found = records(run(*args, "--truth", folder / "a.png", "--json"))
    assert [r["method"] for r in found] == ["(observed)", "tikhonov", "wiener"]
    assert found[0]["psnr"] is None, "an image beside itself has no finite PSNR"
    expected = -10 * np.log10(np.mean((restore(blurred, BLUR).image - blurred.astype(float)) ** 2) / 255**2)
    assert found[1]["psnr"] == pytest.approx(expected, abs=1e-3)
    result = run(*args, "-o", folder / "sheet.png")
    assert result.stdout.splitlines()[0].split() == ["method", "seconds", "lambda", "noise"]
    assert (folder / "sheet.png").read_bytes().startswith(b"\x89PNG")
    wrong = run("compare", folder / "a.png", "--psf", SPEC, "--methods", "tikhonov,magic")
    assert (wrong.exit_code, "magic: no method" in wrong.stderr) == (USAGE, True)


@pytest.mark.parametrize("command_", [("lcurve",), ("compare", "--methods", "wiener"), ("psf", "estimate")])
def test_targets_are_checked_before_anything_is_computed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, command_: tuple[str, ...]
) -> None:
    monkeypatch.setattr(io, "read", lambda *_, **__: pytest.fail("read"))
    args = (*command_, folder / "a.png", *(("--psf", SPEC) if "psf" not in command_ else ()))
    (folder / "figs").mkdir()
    (folder / "figs" / "kept").write_text("precious")
    (folder / "old.png").write_text("old")
    (folder / "old.npy").write_text("old")
    kind = "npy" if "psf" in command_ else "png"
    assert "is there already" in run(*args, "-o", folder / f"old.{kind}").stderr
    assert "there is no folder" in run(*args, "-o", folder / "nowhere" / f"x.{kind}").stderr
    assert "a folder" in run(*args, "-o", folder / "figs", "--force").stderr
    assert (folder / "figs" / "kept").read_text() == "precious"
    wrong = run(*args, "-o", folder / ("h.png" if "psf" in command_ else "curve.xyz"))
    assert (wrong.exit_code, "PNG holds integers" in wrong.stderr or "is no figure" in wrong.stderr) == (USAGE, True)


def test_figures_without_a_suffix_are_png(folder: Path) -> None:
    assert run("lcurve", folder / "a.png", "--psf", SPEC, "-o", folder / "curve").exit_code == OK
    assert (folder / "curve").read_bytes().startswith(b"\x89PNG")
    assert run("psf", "show", SPEC, "--plot", folder / "h.PDF").exit_code == OK
    assert (folder / "h.PDF").read_bytes().startswith(b"%PDF")
    assert {path.name for path in folder.iterdir()} == {"a.png", "curve", "h.PDF"}


def test_rules_without_an_answer_are_listed(folder: Path) -> None:
    """The L-curve of noise alone has no corner."""
    noise = np.random.default_rng(0).normal(100, 5, (48, 48))
    np.save(folder / "noise.npy", noise)
    args = ("lcurve", folder / "noise.npy", "--psf", "delta", "--boundary", "periodic")
    chosen = dict(restore(noise, psf.delta(), boundary="periodic").selection.choices)  # type: ignore[union-attr]
    missing = set(RULES) - set(chosen) - {"discrepancy", "sure"}
    assert missing, "all rules have an answer: the test needs another image"
    (record,) = records(run(*args, "--json"))
    assert record["choices"] == dict.fromkeys(RULES) | chosen
    lines = {line.split()[0]: line for line in run(*args).stdout.splitlines()}
    for rule in missing:
        assert lines[rule].split()[1:] == ["-", "no", "answer"]
    assert lines["sure"].split(maxsplit=2)[1:] == ["-", "needs the noise's level"]
    wrong = run(*args, "--boundary", "nope")
    assert (wrong.exit_code, "'nope' is not one of" in wrong.stderr) == (USAGE, True)


def test_compare_of_missing_values_and_of_channels_that_come_first(
    folder: Path, blurred: Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    colours = np.stack([blurred, blurred[::-1], blurred[:, ::-1]]).astype(np.float32)
    colours[1, 40, 50] = np.nan
    np.save(folder / "c.npy", colours)
    io.write(folder / "truth.png", np.nan_to_num(colours), dtype=np.uint8, channel_axis=0)
    drawn: dict[str, Array] = {}
    compare = plot.compare
    monkeypatch.setattr(plot, "compare", lambda shown: (drawn.update(shown), compare(shown))[1])
    args = ("compare", folder / "c.npy", "--psf", SPEC, "--methods", "tikhonov", "--channel-axis", 0)
    result = run(*args, "-o", folder / "sheet.png", "--truth", folder / "truth.png", "--json")
    assert result.exit_code == OK, result.output
    mask = np.isnan(colours).any(axis=0)
    expected = restore(np.nan_to_num(colours), BLUR, channel_axis=0, mask=mask).image
    np.testing.assert_array_equal(drawn["tikhonov"], np.moveaxis(expected, 0, -1))
    assert drawn["observed"].shape == (*blurred.shape, 3)
    first, second = records(result)
    assert "psnr" not in first, "unknown pixels have no PSNR"
    error = np.mean((expected - np.nan_to_num(colours)) ** 2)
    assert second["psnr"] == pytest.approx(-10 * np.log10(error), abs=0.01), "white is 1 for floats"
    none = run("compare", folder / "a.png", "--psf", SPEC, "--methods", ",")
    assert (none.exit_code, "',' names no method; there are inverse," in " ".join(none.stderr.split())) == (USAGE, True)


def test_bench() -> None:
    found = records(run("bench", "--size", 64, "--rounds", 1, "--json"))
    assert found[0]["ratio"] == 1
    assert {r["size"] for r in found} == {64}
    assert all(r["milliseconds"] > 0 for r in found)


def test_info() -> None:
    (record,) = records(run("info", "--json"))
    assert record["libraries"]["numpy"] == np.__version__
    assert "scipy" in record["fft"]
    assert "scikit-image" in run("info").stdout


def test_train_is_the_command_of_the_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    helped = run("train", "--help")
    assert helped.exit_code == OK
    assert "--data" in helped.stdout
    assert run("train", "nothing").exit_code == FAILED
    monkeypatch.delitem(sys.modules, "lsdeblur.deep._command")
    monkeypatch.setitem(sys.modules, "safetensors", None)
    for name in ("lsdeblur.deep.train", "lsdeblur.deep.weights"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    missing = run("train", "cnn")
    assert (missing.exit_code, "pip install 'lsdeblur[deep]'" in missing.stderr) == (FAILED, True)


# ------------------------------------------------------------------------------------------------------------ start-up


def python(code: str) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).resolve().parents[1]
    return subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)


def test_help_is_light_and_whole() -> None:
    code = """
import runpy, sys
sys.argv = ["lsdeblur", "--help"]
try:
    runpy.run_module("lsdeblur", run_name="__main__")  # python -m lsdeblur --help
except SystemExit as end:
    heavy = {"numba", "torch", "matplotlib", "cv2", "skimage", "dask", "zarr", "astropy", "tifffile", "PIL"}
    print("loaded:", *sorted(heavy & set(sys.modules)), "exit:", end.code)
"""
    result = python(code)
    assert result.stdout.splitlines()[-1] == "loaded: exit: 0", result.stderr
    for word in (
        "restore",
        "psf",
        "lcurve",
        "diagnose",
        "compare",
        "bench",
        "train",
        "info",
        "Exit codes",
        "bash_source",
    ):
        assert word in result.stdout


def test_without_its_libraries_the_command_says_so() -> None:
    result = python("import sys; sys.modules['click'] = None; from lsdeblur.cli import main; main()")
    assert result.returncode == 1
    assert "needs click, which is not installed: pip install 'lsdeblur[cli]'" in result.stderr
    assert "Traceback" not in result.stderr
