"""Restoration and Selection: records that behave like the image, and that a file keeps exactly."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference

from lsdeblur import Diagnosis, LsdeblurWarning, PSFEstimate, Restoration, Selection, __version__, restore


def selection(n: int = 5) -> Selection:
    curve = np.linspace(1, 2, n)
    return Selection(
        "gcv", 0.1, curve, curve + 1, curve + 2, curve + 3, curve + 4, 42.0, True, {"gcv": 0.1}, {"gcv": curve + 1}
    )


def solved() -> Selection:
    """With `approximate`."""
    return dataclasses.replace(selection(3), criterion="image-error", approximate=selection())


FULL = Restoration(
    image=reference.image((4, 5), dtype=np.float32),
    psf=reference.psf((3, 2)),
    method="tikhonov",
    lam=0.1,
    selection=solved(),
    noise_std=0.25,
    std=reference.image((4, 5), 3),
    converged=False,
    n_iter=7,
    message="a sentence with “quotes” and a line\nbreak",
    options={
        "spacing": (1.0, 2.5),
        "penalty": np.array([[1.0, -1.0]]),
        "lists": [1, "two", (3, None), [True]],
        "nested": {"array": np.arange(3, dtype=np.uint8), "infinite": np.inf},
        "channel_axis": None,
        "workers": 2,
        "empty": (),
    },
    version="1.2.3",
    psf_estimate=PSFEstimate(
        reference.psf((3, 2)), "parametric", 0.5, "found", False, 3, {"family": "disk", "radius": 2.5}, {"disk": -1.0},
        ({"psf": reference.psf((1, 2)), "shape": (4, 5), "objective": 0.25},),
    ),
)  # fmt: skip
SMALLEST = Restoration(image=np.ones((2, 3)), psf=None, method="custom")


def same(a: Any, b: Any) -> bool:
    """Equal in type, structure and every bit."""
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        return bool(a.dtype == b.dtype and a.shape == b.shape and np.array_equal(a, b))
    if isinstance(a, Selection | Restoration | PSFEstimate):
        return all(same(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


@pytest.mark.parametrize("result", [FULL, SMALLEST])
@pytest.mark.parametrize("name", ["result.npz", "no-suffix", "with.other.suffix"])
def test_round_trip(result: Restoration, name: str, tmp_path: Path) -> None:
    result.save(tmp_path / name)
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert same(Restoration.load(tmp_path / name), result)
    assert same(Restoration.load(str(tmp_path / name)), result)


def test_round_trip_of_a_restoration_repeats_the_call(tmp_path: Path) -> None:
    g, h = reference.image((20, 21)), reference.psf((3, 4))
    result = restore(g, h, lam="gcv", penalty="gradient", spacing=(1, 2), workers=1)
    result.save(tmp_path / "r.npz")
    loaded = Restoration.load(tmp_path / "r.npz")
    assert result.observed is g
    assert same(loaded, dataclasses.replace(result, observed=None))
    again = restore(g, loaded.psf, method=loaded.method, **loaded.options)
    np.testing.assert_array_equal(again.image, result.image)


def test_a_failure_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: Any, **_: Any) -> None:
        file.write(b"PK")
        raise OSError("no space left on device")

    SMALLEST.save(tmp_path / "r.npz")
    with monkeypatch.context() as patched:
        patched.setattr(np, "savez_compressed", full)
        with pytest.raises(OSError, match="no space left"):
            FULL.save(tmp_path / "r.npz")
    assert same(Restoration.load(tmp_path / "r.npz"), SMALLEST)
    FULL.save(tmp_path / "r.npz")
    assert same(Restoration.load(tmp_path / "r.npz"), FULL)


@pytest.mark.parametrize(
    ("scalar", "expected"), [(np.float64(0.5), 0.5), (np.float32(0.5), 0.5), (np.int64(3), 3), (np.bool_(True), True)]
)
def test_numpy_scalars_become_python_numbers(scalar: Any, expected: Any, tmp_path: Path) -> None:
    dataclasses.replace(SMALLEST, options={"lam": scalar}).save(tmp_path / "r")
    loaded = Restoration.load(tmp_path / "r").options["lam"]
    assert type(loaded) is type(expected)
    assert loaded == expected


def some_penalty(*frequencies: Any) -> float:
    return 1.0


def test_functions_are_kept_by_name_with_a_warning(tmp_path: Path) -> None:
    """The warning names the option and points at the line that saves."""
    result = dataclasses.replace(SMALLEST, options={"penalty": some_penalty})
    with pytest.warns(LsdeblurWarning, match=r"penalty = .*some_penalty cannot be stored in a file") as caught:
        result.save(tmp_path / "r")
    assert Restoration.load(tmp_path / "r").options["penalty"].endswith("some_penalty")
    assert not str(caught[0].message).startswith("optionspenalty")
    assert caught[0].filename == __file__


def test_other_files(tmp_path: Path) -> None:
    path = tmp_path / "file"

    def text() -> None:
        path.write_text("neither zip nor npy")

    def empty() -> None:
        path.write_bytes(b"")

    def other_npz() -> None:
        with path.open("wb") as file:
            np.savez(file, a=np.ones(3))

    def other_record() -> None:
        with path.open("wb") as file:
            np.savez(file, record=np.array('{"image": 1}'))

    def npy() -> None:
        with path.open("wb") as file:
            np.save(file, np.ones(3))

    def truncated() -> None:
        FULL.save(path)
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])

    for write in (text, empty, other_npz, other_record, npy, truncated):
        write()
        with pytest.raises(ValueError, match=re.escape(repr(str(path))) + r" does not hold a Restoration"):
            Restoration.load(path)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Restoration.load(tmp_path / "missing")


def test_as_array() -> None:
    assert np.asarray(FULL) is FULL.image
    assert np.asarray(FULL, dtype=np.float32) is FULL.image
    double = np.asarray(FULL, dtype=np.float64)
    assert double.dtype == np.float64
    np.testing.assert_array_equal(double, FULL.image)
    copy = np.array(FULL)
    np.testing.assert_array_equal(copy, FULL.image)
    assert not np.shares_memory(copy, FULL.image)
    assert FULL.__array__(copy=False) is FULL.image
    np.testing.assert_array_equal(np.hypot(FULL, 1), np.hypot(FULL.image, 1))


def test_as_array_without_a_copy_where_it_needs_one() -> None:
    with pytest.raises(ValueError, match="the image is float32: it cannot become float64 without a copy"):
        FULL.__array__(np.float64, copy=False)


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (
            FULL,
            "Restoration('tikhonov', shape=(4, 5), dtype=float32, lam=0.1 by image-error, noise_std=0.25, "
            "not converged)",
        ),
        (SMALLEST, "Restoration('custom', shape=(2, 3), dtype=float64)"),
        (selection(), "Selection('gcv', lam=0.1, at the end of the range, 5 lambdas)"),
    ],
)
def test_repr_is_one_short_line(record: Any, expected: str) -> None:
    assert repr(record) == expected


@pytest.mark.parametrize("record", [FULL, selection()])
def test_records_are_frozen_and_compared_by_identity(record: Any) -> None:
    name = dataclasses.fields(record)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(record, name, None)
    with pytest.raises(TypeError, match="not iterable"):
        iter(record)
    assert record != dataclasses.replace(record)
    assert {record: 1}[record] == 1


def test_the_citation_names_the_version() -> None:
    citation = (Path(__file__).parents[1] / "CITATION.cff").read_text()
    assert f"version: {__version__}" in citation


def test_notebooks_show_a_table() -> None:
    shown = dataclasses.replace(FULL, message="<b>a & b</b>", noise_width=1.5)._repr_html_()
    rows = dict(re.findall(r"<th[^>]*>(.*?)</th><td[^>]*>(.*?)</td>", shown))
    assert rows == {
        "method": "tikhonov",
        "image": "4 x 5, float32",
        "lambda": "0.1, chosen by image-error",
        "noise_std": "0.25, correlated over 1.5 pixels",
        "psf": "3 x 2, confidence 0.50",
        "message": "&lt;b&gt;a &amp; b&lt;/b&gt;",
        "warning": "not converged after 7 iterations",
    }
    assert "at the end of the range" in dataclasses.replace(FULL, converged=True, selection=selection())._repr_html_()
    assert "lambda" not in SMALLEST._repr_html_()
    estimate = PSFEstimate(np.ones((3, 5)) / 15, "parametric", 0.9, converged=False, parameters={"radius": 2.0})
    assert all(text in estimate._repr_html_() for text in ("3 x 5", "0.90", "radius", "not converged"))
    assert "beyond &lt;repair&gt;" in Diagnosis("mixed", False, "beyond <repair>", 12.3)._repr_html_()
