"""The command line: what it writes is what the library gives, and whatever goes wrong is said and has an exit code."""

from __future__ import annotations

import sys
import types
import warnings
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from commands import BLUR, FAILED, INTERRUPTED, OK, SPEC, USAGE, names, records, run, squares

from lsdeblur import ConvergenceWarning, Restoration, _restore, io, psf, restore

Array = Any


@pytest.fixture(scope="module")
def blurred() -> Array:
    return squares()


@pytest.fixture
def folder(tmp_path: Path, blurred: Array) -> Path:
    """Two images and a text."""
    io.write(tmp_path / "a.png", blurred)
    io.write(tmp_path / "b.tif", blurred[:, ::-1].astype(np.uint16) * 100)
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


# ---------------------------------------------------------------------------------------------------------- restore


def test_restores_a_folder_as_the_library_does(folder: Path, blurred: Array) -> None:
    result = run("restore", folder, "--psf", SPEC)
    assert result.exit_code == OK, result.output
    assert names(folder) == {"a.png", "b.tif", "notes.txt", "a_restored.png", "b_restored.tif"}
    expected = np.clip(np.rint(restore(blurred, BLUR).image), 0, 255).astype(np.uint8)
    np.testing.assert_array_equal(io.read(folder / "a_restored.png").image, expected)
    assert io.read(folder / "b_restored.tif").image.dtype == np.uint16
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["input", "method", "lambda", "noise", "seconds", "output"]
    assert [line.split()[0] for line in lines[1:3]] == [str(folder / "a.png"), str(folder / "b.tif")]
    assert result.stderr == ""


def test_a_second_run_leaves_what_is_restored(folder: Path) -> None:
    assert run("restore", folder, "--psf", SPEC).exit_code == OK
    stamps = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    again = run("restore", folder, "--psf", SPEC)
    assert again.exit_code == FAILED
    assert "2 of 2 failed" in again.stderr
    assert "a_restored.png: there already; --force replaces it" in again.stderr
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == stamps
    assert run("restore", folder, "--psf", SPEC, "--force").exit_code == OK
    assert stamps[folder / "a_restored.png"] < (folder / "a_restored.png").stat().st_mtime_ns
    assert len(names(folder)) == 5


def test_patterns_and_an_output_folder(folder: Path) -> None:
    result = run("restore", folder / "*.[pt]*[gf]", "--psf", SPEC, "-o", folder / "new", "--json")
    assert result.exit_code == OK, result.output
    assert {Path(r["output"]).name for r in records(result)} == {"a_restored.png", "b_restored.tif"}
    assert {name for name in names(folder) if name.startswith("new")} == {"new/a_restored.png", "new/b_restored.tif"}


def test_psf_and_mask_in_the_folder_are_not_restored(folder: Path) -> None:
    io.write(folder / "k.tif", BLUR)
    io.write(folder / "mask.png", np.zeros(io.read(folder / "a.png").image.shape, np.uint8))
    io.write(folder / "a_psf.tif", BLUR)  # of an earlier run
    options = ("--psf", folder / "k.tif", "--mask", folder / "mask.png", "--json", "--dry-run")
    for chosen in (folder, folder / "*.*[fg]"):
        assert [Path(r["input"]).name for r in records(run("restore", chosen, *options))] == ["a.png", "b.tif"]
    (named,) = records(run("restore", folder / "k.tif", *options))
    assert named["status"] == "planned"


def test_a_bad_file_does_not_stop_the_others(folder: Path) -> None:
    (folder / "aa.png").write_bytes(b"\x89PNG, and then nothing")
    result = run("restore", folder, "--psf", SPEC, "--json")
    assert result.exit_code == FAILED
    found = records(result)
    assert [r["status"] for r in found] == ["restored", "failed", "restored"]
    assert "cannot be read as PNG" in found[1]["error"]
    assert "1 of 3 failed:" in result.stderr
    assert f"{folder / 'aa.png'}: " in result.stderr
    assert "b_restored.tif" in names(folder)
    assert "aa_restored.png" not in names(folder)


def test_json_says_what_was_done(folder: Path, blurred: Array) -> None:
    (record,) = records(run("restore", folder / "a.png", "--psf", SPEC, "--lam", "gcv", "--json"))
    expected = restore(blurred, BLUR, lam="gcv")
    assert record["lam"] == expected.lam
    assert record["noise_std"] == expected.noise_std
    assert (record["rule"], record["method"], record["status"]) == ("gcv", "tikhonov", "restored")
    assert record["shape"] == list(blurred.shape)
    assert record["warnings"] == []
    assert record["seconds"] > 0


def test_a_dry_run_writes_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_restore, "restore", lambda *_, **__: pytest.fail("restored"))
    before = names(folder)
    options = ("--psf", SPEC, "-o", folder / "new", "--report", folder / "reports", "--dry-run")
    result = run("restore", folder, *options)
    assert result.exit_code == OK
    assert f"{folder / 'new' / 'b_restored.tif'}, {folder / 'reports' / 'b.html'}" in result.stdout
    assert [r["status"] for r in records(run("restore", folder, *options, "--json"))] == ["planned"] * 2
    assert names(folder) == before
    assert not (folder / "new").exists()


def test_options_reach_the_method(folder: Path, blurred: Array) -> None:
    options = ("--method", "tv", "--option", "max_iter=3", "--option", "bounds=(0, 255)", "--lam", "0.5", "--float")
    result = run("restore", folder / "a.png", "--psf", SPEC, "-o", folder / "tv.tif", *options)
    assert result.exit_code == OK, result.output
    with pytest.warns(ConvergenceWarning) as caught:
        expected = restore(blurred, BLUR, method="tv", max_iter=3, bounds=(0, 255), lam=0.5)
    assert f"a.png: warning: {caught[0].message}" in result.stderr
    np.testing.assert_array_equal(io.read(folder / "tv.tif").image, expected.image)
    target = folder / "edge.png"
    near = run("restore", folder / "a.png", "--psf", SPEC, "--boundary", "edge", "--workers", 1, "-o", target)
    assert near.exit_code == OK
    expected = restore(blurred, BLUR, boundary="edge", workers=1)
    np.testing.assert_array_equal(io.read(target).image, np.clip(np.rint(expected.image), 0, 255))


def test_linear_light(folder: Path, blurred: Array) -> None:
    assert run("restore", folder / "a.png", "--psf", SPEC, "--linear").exit_code == OK
    light = restore(io.linear(blurred, 255), BLUR).image
    expected = np.clip(np.rint(io.encoded(light, 255)), 0, 255)
    np.testing.assert_array_equal(io.read(folder / "a_restored.png").image, expected)
    assert (expected != np.clip(np.rint(restore(blurred, BLUR).image), 0, 255)).mean() > 0.1


def test_masks_and_missing_values(folder: Path, blurred: Array) -> None:
    hidden = np.zeros(blurred.shape, bool)
    hidden[20:23, 30:34] = True
    io.write(folder / "mask.png", hidden.astype(np.uint8) * 255)
    image = blurred.astype(np.float32)
    image[40, 50] = np.nan
    np.save(folder / "c.npy", image)
    assert run("restore", folder / "c.npy", "--psf", SPEC, "--mask", folder / "mask.png").exit_code == OK
    expected = restore(image, BLUR, mask=hidden | np.isnan(image)).image
    np.testing.assert_allclose(io.read(folder / "c_restored.npy").image, expected, rtol=1e-5)
    pytest.importorskip("zarr")
    io.write(folder / "d.zarr", image)
    assert run("restore", folder / "d.zarr", "--psf", SPEC).exit_code == OK
    expected = restore(np.nan_to_num(image), BLUR, mask=np.isnan(image)).image
    np.testing.assert_array_equal(io.read(folder / "d_restored.zarr").image[...], expected)


def test_colours_alpha_and_jpeg(folder: Path, blurred: Array) -> None:
    colours = np.stack([blurred, blurred[::-1], blurred[:, ::-1]], axis=-1)
    assert cv2.imwrite(str(folder / "c.jpg"), colours)
    assert cv2.imwrite(str(folder / "d.png"), np.dstack([colours, blurred]))
    assert run("restore", folder / "c.jpg", folder / "d.png", "--psf", SPEC).exit_code == OK
    assert run("restore", folder / "c.jpg", "--psf", SPEC, "--float").exit_code == OK
    assert io.read(folder / "c_restored.tif").image.dtype == np.float32
    picture = io.read(folder / "d_restored.png")
    np.testing.assert_array_equal(picture.alpha, blurred)
    np.savez(folder / "e.npz", image=np.moveaxis(colours[..., ::-1], -1, 0))
    assert run("restore", folder / "e.npz", "--psf", SPEC, "--channel-axis", 0).exit_code == OK
    np.testing.assert_array_equal(np.moveaxis(io.read(folder / "e_restored.npz").image, 0, -1), picture.image)
    expected = restore(colours[..., ::-1], BLUR, channel_axis=-1).image
    np.testing.assert_array_equal(picture.image, np.clip(np.rint(expected), 0, 255))
    assert io.read(folder / "c_restored.png").image.shape == colours.shape


@pytest.mark.parametrize("channels", [False, True])
def test_a_stack_and_a_flat_psf_go_plane_by_plane(folder: Path, blurred: Array, channels: bool) -> None:
    planes = np.stack([blurred, blurred[::-1]]).astype(np.float32)
    stack = np.stack([planes, planes[:, :, ::-1]]) if channels else planes
    axes = "CZYX" if channels else "ZYX"
    tifffile.imwrite(folder / "s.tif", stack, photometric="minisblack", metadata={"axes": axes})
    found = run("restore", folder / "s.tif", "--psf", SPEC, "--json")
    assert found.exit_code == OK, found.output
    axis = 0 if channels else None
    each = [restore(stack[..., i, :, :], BLUR, channel_axis=axis) for i in range(2)]
    np.testing.assert_array_equal(io.read(folder / "s_restored.tif").image, np.stack([r.image for r in each], axis=-3))
    assert records(found)[0]["lam"] == [r.lam for r in each]
    one = run("restore", folder / "s.tif", "--psf", SPEC, "--save-result", folder / "s.npz", "--force")
    assert "not for a stack: choose a page with --page" in one.stderr
    assert run("restore", folder / "s.tif", "--psf", SPEC, "--page", 1, "-o", folder / "page.tif").exit_code == OK
    assert io.read(folder / "page.tif").image.shape == blurred.shape


def test_a_volume_and_a_psf_of_three_axes(folder: Path, blurred: Array) -> None:
    volume = np.stack([blurred[:40, :40]] * 6).astype(np.float32)
    np.save(folder / "v.npy", volume)
    assert run("restore", folder / "v.npy", "--psf", "gaussian:sigma=(0.5,1,1)", "--boundary", "edge").exit_code == OK
    expected = restore(volume, psf.gaussian((0.5, 1, 1)), boundary="edge").image
    np.testing.assert_array_equal(io.read(folder / "v_restored.npy").image, expected)


def test_archives_and_reports(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report: Any = types.ModuleType("lsdeblur.report")
    report.write = lambda result, path, *, title, command: Path(path).write_text(f"{title}: {result.message}")
    monkeypatch.setitem(sys.modules, "lsdeblur.report", report)
    outputs = ("--report", folder / "r", "--save-result", folder / "s")
    assert run("restore", folder, "--psf", SPEC, *outputs, "-o", folder / "new").exit_code == OK
    result = Restoration.load(folder / "s" / "a.npz")
    assert (folder / "r" / "a.html").read_text() == f"a.png: {result.message}"
    np.testing.assert_array_equal(np.rint(result.image), io.read(folder / "new" / "a_restored.png").image)
    monkeypatch.delattr(report, "write")
    failed = run("restore", folder / "a.png", "--psf", SPEC, "--report", folder / "x.html", "-o", folder / "x.png")
    assert (failed.exit_code, "x.png' is written, but not all of the evidence: " in failed.stderr) == (FAILED, True)
    assert {"x.png", "x.html"} & names(folder) == {"x.png"}
    monkeypatch.setattr(
        report, "write", lambda result, path, *, title, command: Path(path).write_text(title), raising=False
    )
    single = ("--report", folder / "one.html", "--save-result", folder / "one.npz", "-o", folder / "one.png")
    assert run("restore", folder / "a.png", "--psf", SPEC, *single).exit_code == OK
    assert {"one.html", "one.npz", "one.png"} <= names(folder)


def test_films(folder: Path, blurred: Array) -> None:
    film = cv2.VideoWriter(str(folder / "f.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, blurred.shape[::-1])
    for i in range(3):
        film.write(np.dstack([np.roll(blurred, i, 1)] * 3))
    film.release()
    result = run("restore", folder / "f.avi", "--psf", SPEC, "--json", "--option", "neighbours=1", "--lam", 0.01)
    assert result.exit_code == OK, result.output
    assert records(result)[0]["message"] == "3 frames"
    assert names(folder) == {"a.png", "b.tif", "notes.txt", "f.avi", "f_restored.avi"}
    barred = run("restore", folder / "f.avi", "--psf", SPEC, "--linear", "--mask", folder / "a.png")
    assert (barred.exit_code, "--mask, --linear: not there for films" in barred.stderr) == (USAGE, True)
    other = run("restore", folder / "f.avi", "--psf", "blind")
    assert (other.exit_code, "films are restored by --method tikhonov" in other.stderr) == (USAGE, True)


def test_a_film_without_frames(folder: Path) -> None:
    film = cv2.VideoWriter(str(folder / "f.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (40, 30))
    film.release()
    (folder / "g.avi").write_bytes(b"no film")
    result = run("restore", folder / "f.avi", folder / "g.avi", "--psf", SPEC)
    assert result.exit_code == FAILED
    assert "2 of 2 failed" in result.stderr
    assert not [name for name in names(folder) if "restored" in name]


def test_blind(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a PSF the method restores with the one that is found; methods that need none stand alone."""
    calls: list[tuple[Any, dict[str, Any]]] = []

    def noted(image: Array, h: Any, **options: Any) -> Restoration:
        calls.append((h, options))
        return Restoration(np.asarray(image, float), h, "noted")

    monkeypatch.setattr(_restore, "restore", noted)
    assert run("restore", folder / "a.png", "--psf", "blind", "--method", "tv", "-O", "size=9").exit_code == USAGE
    assert run("restore", folder / "a.png", "--psf", "blind", "--method", "tv", "--option", "size=9").exit_code == OK
    assert run("restore", folder / "a.png", "--psf", "blind", "--method", "nas-rif", "--force").exit_code == OK
    assert [h for h, _ in calls] == [None, None]
    assert {key: calls[0][1][key] for key in ("method", "then", "size")} == {"method": "blind", "then": "tv", "size": 9}
    assert calls[1][1]["method"] == "nas-rif"


def test_warnings_are_told_once_with_the_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def warned(image: Array, h: Any, **_: Any) -> Restoration:
        for _ in range(3):
            warnings.warn("the PSF is doubtful", UserWarning, stacklevel=2)
        warnings.warn("nobody's business", DeprecationWarning, stacklevel=2)
        return Restoration(np.asarray(image, float), h, "warned")

    monkeypatch.setattr(_restore, "restore", warned)
    result = run("restore", folder, "--psf", SPEC, "--json")
    assert result.exit_code == OK
    assert result.stderr == "a.png: warning: the PSF is doubtful\nb.tif: warning: the PSF is doubtful\n"
    assert records(result)[0]["warnings"] == ["the PSF is doubtful"]


def test_an_interrupt_leaves_nothing_half_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: Any, **__: Any) -> None:
        (folder / "a_restored.png").exists() or pytest.fail("the first image is finished")
        raise KeyboardInterrupt

    write = tifffile.imwrite
    monkeypatch.setattr(tifffile, "imwrite", lambda path, *a, **k: (write(path, *a, **k), stopped()))
    result = run("restore", folder, "--psf", SPEC)
    assert result.exit_code == INTERRUPTED
    assert "interrupted; no file was left half-written" in result.stderr
    assert [line.split()[-1] for line in result.stdout.splitlines()] == ["output", str(folder / "a_restored.png")]
    assert names(folder) == {"a.png", "b.tif", "notes.txt", "a_restored.png"}


def test_unexpected_errors_carry_their_type(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("float division by zero")

    monkeypatch.setattr(_restore, "restore", broken)
    result = run("restore", folder / "a.png", "--psf", SPEC)
    assert (result.exit_code, "ZeroDivisionError: float division by zero" in result.stderr) == (FAILED, True)


def test_progress_is_shown_on_terminals_only(folder: Path) -> None:
    result = run("restore", folder, "--psf", SPEC, "--json", env={"TTY_COMPATIBLE": "1", "TERM": "xterm"})
    assert "files" in result.stderr
    assert len(records(result)) == 2, "stdout holds JSON alone"


# ------------------------------------------------------------------------------------------------------ what is wrong


@pytest.mark.parametrize(
    ("args", "text"),
    [
        ((), "Missing option '--psf'"),
        (("--psf", "blur:3"), "'blur:3' is no PSF: give NAME:argument=value,... with one of airy, box,"),
        (("--psf", "motion:len=3"), "there is no argument 'len'; motion takes length, angle, size"),
        (("--psf", "motion"), "missing a required argument: 'length'; motion takes length, angle, size"),
        (("--psf", "motion:length=wide"), "has arguments that are not name=number,..."),
        (("--psf", "motion:**{}"), "has arguments that are not name=number,..."),
        (("--psf", "motion:length=5)"), "has arguments that are not name=number,..."),
        (("--psf", "gaussian:sigma=-1"), "sigma must not be negative: -1"),
        (("--psf", "file:nowhere.tif"), "there is no file 'nowhere.tif'"),
        (("--psf", SPEC, "--option", "foo=1"), "method 'tikhonov' has no option 'foo'; its options are 'lam', "),
        (("--psf", SPEC, "--option", "foo"), "'foo' is not KEY=VALUE"),
        (("--psf", SPEC, "--method", "sharpen"), "'sharpen' is not one of"),
        (("--psf", SPEC, "--method", "richardson-lucy", "--lam", "1"), "has no option 'lam'"),
        (("--psf", "blind", "--option", "foo=1", "--method", "tv"), "method 'tv' has no option 'foo'"),
        (("--psf", "blind", "--option", "then=foo"), "'foo'"),
        (("--psf", SPEC, "-o", "one.png"), "--output 'one.png' is one file for several images: give a folder"),
        (("--psf", SPEC, "--report", "one.html"), "--report 'one.html' is one file for several images: give a folder"),
        (("nowhere.png", "--psf", SPEC), "'nowhere.png' is not there, and no image matches it"),
    ],
)
def test_usage_errors(folder: Path, args: tuple[str, ...], text: str) -> None:
    result = run("restore", folder, *args)
    assert result.exit_code == USAGE
    assert text in " ".join(result.stderr.split())
    assert names(folder) == {"a.png", "b.tif", "notes.txt"}


def test_results_that_would_meet_in_one_file(folder: Path, blurred: Array) -> None:
    (folder / "more").mkdir()
    io.write(folder / "more" / "a.png", blurred)
    result = run("restore", folder / "a.png", folder / "more" / "a.png", "--psf", SPEC, "-o", folder / "new")
    assert (result.exit_code, "2 results would be written to" in result.stderr) == (USAGE, True)
    result = run("restore", folder / "a.png", "--psf", SPEC, "-o", folder / "a.jpg", "--dry-run")
    assert (result.exit_code, "would be compressed with losses" in result.stderr) == (FAILED, True)
    (folder / "empty").mkdir()
    result = run("restore", folder / "empty", "--psf", SPEC)
    assert (result.exit_code, "holds no image that is not restored yet" in result.stderr) == (USAGE, True)


def film(path: Path, frame: Array, n: int = 2) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, frame.shape[::-1])
    for _ in range(n):
        writer.write(np.dstack([frame] * 3))
    writer.release()


def test_what_meets_in_one_file_fails_alone(folder: Path, blurred: Array) -> None:
    assert cv2.imwrite(str(folder / "a.jpg"), blurred)
    film(folder / "f.avi", blurred)
    for dry in (("--dry-run",), ()):
        result = run("restore", folder, "--psf", SPEC, "--method", "wiener", "--json", "-o", folder / "new", *dry)
        assert result.exit_code == FAILED
        found = {Path(r["input"]).name: r.get("error", "") for r in records(result)}
        assert {name for name, error in found.items() if not error} == {"b.tif"}
        assert "2 results would be written to" in found["a.jpg"]
        assert found["a.jpg"] == found["a.png"]
        assert "films are restored by --method tikhonov" in found["f.avi"]
        assert (folder / "new").exists() != bool(dry)
    assert {name for name in names(folder) if "restored" in name} == {"new/b_restored.tif"}
    barred = run("restore", folder / "b.tif", folder / "f.avi", "--psf", SPEC, "--channel-axis", 0, "--json")
    assert "--channel-axis: not there for films" in records(barred)[1]["error"]


def test_a_film_is_written_as_a_film(folder: Path, blurred: Array) -> None:
    film(folder / "f.avi", blurred)
    for dry in ((), ("--dry-run",)):
        result = run("restore", folder / "f.avi", "--psf", SPEC, "-o", folder / "f2.png", "--lam", 0.1, *dry)
        assert (result.exit_code, "f2.png' is no film: give --output" in result.stderr) == (FAILED, True)
    assert not (folder / "f2.png").exists()


def test_an_option_and_its_flag(folder: Path, blurred: Array) -> None:
    args = ("restore", folder / "a.png", "--psf", SPEC, "--option", "boundary=zero")
    assert run(*args).exit_code == OK
    expected = restore(blurred, BLUR, boundary="zero").image
    np.testing.assert_array_equal(io.read(folder / "a_restored.png").image, np.clip(np.rint(expected), 0, 255))
    twice = run(*args, "--boundary", "edge", "--force")
    assert (twice.exit_code, "boundary is given by --boundary and by --option: give it once" in twice.stderr) == (
        2,
        True,
    )


def test_folders_are_written_into_and_never_replaced(folder: Path) -> None:
    assert run("restore", folder / "a.png", "--psf", SPEC, "-o", f"{folder}/out.2024/").exit_code == OK
    assert (folder / "out.2024" / "a_restored.png").is_file()
    (folder / "group.zarr").mkdir()
    (folder / "group.zarr" / "kept").write_text("precious")
    for dry in ((), ("--dry-run",)):
        result = run("restore", folder / "a.png", "--psf", SPEC, "-o", folder / "group.zarr", "--force", *dry)
        assert (result.exit_code, "is a folder" in result.stderr) == (FAILED, True)
    assert (folder / "group.zarr" / "kept").read_text() == "precious"


def test_a_mapped_file_is_let_go_before_it_is_replaced(
    folder: Path, blurred: Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(folder / "c.npy", blurred)
    seen: list[Any] = []
    write = io.write

    def noted(path: Path, image: Array, *, like: io.Picture, **options: Any) -> None:
        seen.append(like.image)
        write(path, image, like=like, **options)

    monkeypatch.setattr(io, "write", noted)
    assert run("restore", folder / "c.npy", "--psf", SPEC, "-o", folder / "c.npy", "--force").exit_code == OK
    assert not isinstance(seen[0], np.memmap)
    expected = np.clip(np.rint(restore(blurred, BLUR).image), 0, 255)
    np.testing.assert_array_equal(np.load(folder / "c.npy"), expected)


def test_masks_of_stacks(folder: Path, blurred: Array) -> None:
    np.save(folder / "s.npy", np.stack([blurred] * 3).astype(np.float32))
    np.save(folder / "n.npy", np.stack([blurred, blurred, np.where(blurred == blurred.max(), np.nan, blurred)]))
    tifffile.imwrite(folder / "m.tif", np.zeros((2, *blurred.shape), np.uint8), photometric="minisblack")
    for name in ("s.npy", "n.npy", "a.png"):
        result = run("restore", folder / name, "--psf", SPEC, "--mask", folder / "m.tif", "--lam", 0.1)
        assert result.exit_code == FAILED
        assert f"--mask has shape {(2, *blurred.shape)} and the image " in result.stderr
    io.write(folder / "m.png", np.zeros(blurred.shape, np.uint8))
    assert run("restore", folder / "n.npy", "--psf", SPEC, "--mask", folder / "m.png", "--lam", 0.1).exit_code == OK


def test_too_little_memory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def huge(*_: Any, **__: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(io, "read", huge)
    for args in (("restore", folder / "a.png", "--psf", SPEC), ("lcurve", folder / "a.png", "--psf", SPEC)):
        result = run(*args)
        assert result.exit_code == FAILED
        assert "there is not enough memory (MemoryError): choose a part of the image, or " in result.stderr


def test_errors_of_other_commands_are_one_line(folder: Path) -> None:
    result = run("lcurve", folder / "notes.txt", "--psf", SPEC)
    assert result.exit_code == FAILED
    assert result.stderr.startswith("Error: ")
    assert "suffix that lsdeblur does not know" in result.stderr
    assert result.stderr.count("\n") == 1
