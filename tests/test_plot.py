"""Figures: what they show, and that they leave nothing behind."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from skimage import data

from lsdeblur import Selection, plot, psf, restore, simulate


@pytest.fixture(scope="module")
def selection() -> Selection:
    blur = psf.disk(3)
    blurred = simulate.add_noise(simulate.blur(data.camera()[:128, :150] / 255, blur), noise_std=0.01, rng=0)
    found = restore(blurred, blur, noise_std=0.01).selection
    assert found is not None
    return found


@pytest.fixture(scope="module")
def solved() -> Selection:
    blur = psf.disk(3)
    blurred = simulate.add_noise(simulate.blur(data.camera()[:128, :150] / 255, blur), noise_std=0.01, rng=0)
    found = restore(blurred, blur, effort="accurate").selection
    assert found is not None
    return found


@pytest.fixture(autouse=True)
def _settings_untouched() -> Iterator[None]:
    before = dict(mpl.rcParams)
    yield
    plt.close("all")
    assert dict(mpl.rcParams) == before


def test_l_curve_marks_the_lambda_that_was_used(selection: Selection) -> None:
    ax = plot.l_curve(selection)
    assert "residual norm" in ax.get_xlabel()
    assert "seminorm" in ax.get_ylabel()
    assert ax.get_xscale() == ax.get_yscale() == "log"
    points = {str(line.get_label()).split(":")[0]: line for line in ax.lines}
    assert {*selection.choices, "used"} <= points.keys()
    (x,), (y,) = points["used"].get_data()
    i = int(np.searchsorted(selection.lams, selection.lam))
    for at, curve in ((x, selection.residual), (y, selection.seminorm)):
        low, high = sorted(np.sqrt(curve[i - 1 : i + 1]))
        assert low <= at <= high


def test_l_curve_labels_decades_away_from_the_marks(selection: Selection) -> None:
    labelled = [int(t.get_text().strip("${}").split("{")[1]) for t in plot.l_curve(selection).texts]
    marked = np.log10([selection.lam, *selection.choices.values()])
    assert len(labelled) >= 3
    assert all(np.abs(marked - decade).min() >= 0.5 for decade in labelled)


def test_l_curve_says_what_is_approximate(selection: Selection, solved: Selection) -> None:
    assert not any("solved" in str(line.get_label()) for line in plot.l_curve(selection).lines)
    assert solved.approximate is not None
    lines = {str(line.get_label()): line for line in plot.l_curve(solved).lines}
    assert lines["approximate between the solved points"].get_xdata().size == solved.approximate.lams.size
    np.testing.assert_array_equal(lines["solved"].get_xdata(), np.sqrt(solved.residual))
    np.testing.assert_array_equal(lines["solved"].get_ydata(), np.sqrt(solved.seminorm))
    assert lines["solved"].get_marker() == "o"
    used = next(line for label, line in lines.items() if label.startswith("used"))
    assert np.sqrt(solved.residual[0]) < used.get_xdata()[0] < np.sqrt(solved.residual[-1])


def test_l_curve_draws_into_the_axes_given(selection: Selection) -> None:
    ax = plt.subplots()[1]
    assert plot.l_curve(selection, ax) is ax


@pytest.mark.parametrize("name", ["selection", "solved"])
def test_every_rule_has_a_panel_with_its_choice(name: str, request: pytest.FixtureRequest) -> None:
    selection = request.getfixturevalue(name)
    fig = plot.selection_curves(selection)
    assert len(fig.axes) == len(selection.criteria)
    for ax, rule in zip(fig.axes, selection.criteria, strict=True):
        marked = [line for line in ax.lines if str(line.get_label()).startswith("chosen")]
        assert [line.get_xdata()[0] for line in marked] == [
            selection.choices[r] for r in [rule] if r in selection.choices
        ]
    assert fig.axes[-1].get_xlabel() == r"$\lambda$"
    used = [rule for ax, rule in zip(fig.axes, selection.criteria, strict=True) if "used" in ax.get_title("left")]
    assert used == [selection.criterion]


def test_rules_without_an_answer_have_no_mark() -> None:
    flat = restore(np.ones((32, 32)), psf.disk(2)).selection
    assert flat is not None
    fig = plot.selection_curves(flat)
    assert "not defined" in fig.axes[0].texts[0].get_text()
    assert not any(str(line.get_label()).startswith("chosen") for ax in fig.axes for line in ax.lines)
    with pytest.raises(ValueError, match="the image does not vary"):
        plot.l_curve(flat)


def test_least_error_has_a_panel() -> None:
    blurred = simulate.blur(data.camera()[:96, :96] / 255, psf.disk(2))
    found = restore(blurred, psf.disk(2), method="wiener").selection
    assert found is not None
    assert "expected squared error" in plot.selection_curves(found).axes[0].get_title("left")
    plot.l_curve(found)


def test_compare_shows_all_images_on_one_scale_with_one_detail() -> None:
    image = data.camera() / 255
    fig = plot.compare({"left": image, "right": 0.5 * image}, inset=(10, 20, 30, 40))
    whole, details = fig.axes[:2], fig.axes[2:]
    assert [ax.get_title() for ax in whole] == ["left", "right"]
    assert details[0].images[0].get_array().shape == (30, 40)
    assert {ax.images[0].get_clim() for ax in fig.axes} == {(0, 1)}
    shown = [np.asarray(ax.images[0].get_array()) for ax in whole]
    dark = image < 0.4  # not clipped in either
    low, high = np.percentile(0.5 * image, (0.1, 99.9))
    assert shown[0][dark] == pytest.approx(np.clip((image[dark] - low) / (high - low), 0, 1))


def test_compare_takes_colours_and_sequences() -> None:
    fig = plot.compare([data.astronaut(), data.astronaut()])
    assert len(fig.axes) == 4
    assert fig.axes[0].images[0].get_array().shape == (512, 512, 3)


def test_compare_shows_volumes_by_two_sections_in_true_proportions() -> None:
    volume = np.random.default_rng(0).random((9, 20, 30))
    fig = plot.compare({"blurred": 0.5 * volume, "restored": volume}, spacing=(0.3, 0.1, 0.1))
    plane, across = fig.axes[1], fig.axes[3]
    low, high = np.percentile(volume, (0.1, 99.9))
    for ax, section in ((plane, volume[4]), (across, volume[:, 10])):
        shown = np.asarray(ax.images[0].get_array())
        assert shown == pytest.approx(np.clip((section - low) / (high - low), 0, 1))
    assert plane.get_aspect() == pytest.approx(1)
    assert across.get_aspect() == pytest.approx(3)


@pytest.mark.parametrize("count", [1, 3, 6, 8])
def test_compare_stays_as_wide_as_a_page(count: int) -> None:
    """Titles of one line do not meet, and panels keep a legible size."""
    fig = plot.compare({f"restored, {30 + k} dB": np.eye(64) + k for k in range(count)})
    fig.draw_without_rendering()
    assert fig.get_figwidth() <= max(10.2, 1.7 * count) + 1e-9
    boxes = [ax.title.get_window_extent() for ax in fig.axes[:count]]
    assert all(a.x1 < b.x0 for a, b in itertools.pairwise(boxes))


@pytest.mark.parametrize("draw", [plot.l_curve, plot.selection_curves])
def test_curves_are_legible_on_dark_backgrounds(selection: Selection, draw) -> None:
    """Whatever the style's background, no line or text has its colour."""
    for style, paper in (("default", 1.0), ("dark_background", 0.0)):
        with plt.style.context(style):
            drawn = draw(selection)
            axes = drawn.axes if hasattr(drawn, "axes") and isinstance(drawn.axes, list) else [drawn]
            for ax in axes:
                assert mpl.colors.to_rgb(ax.get_facecolor()) == (paper,) * 3
                for artist in (*ax.lines, *ax.texts, ax.xaxis.label, ax.title):
                    assert abs(np.mean(mpl.colors.to_rgb(artist.get_color())) - paper) > 0.15


def test_a_volume_is_shown_by_sections_of_it_and_of_its_transfer_function() -> None:
    h = psf.gaussian((2.0, 1.0, 1.5), size=(15, 9, 11))
    fig = plot.show_psf(h)
    top, right, bottom, across = fig.axes[:4]
    np.testing.assert_allclose(top.images[0].get_array(), h[7])
    np.testing.assert_allclose(bottom.images[0].get_array(), h[:, 4])
    assert top.images[0].get_clim() == bottom.images[0].get_clim()
    assert [ax.get_ylabel().split()[0] for ax in (top, right, bottom, across)] == ["rows", "rows", "planes", "planes"]
    shown = np.asarray(across.images[0].get_array())  # of a Gaussian: -20 log10(e) 2 pi^2 sigma^2 f^2
    f = (np.arange(shown.shape[0]) - shown.shape[0] // 2) / shown.shape[0]
    near = np.abs(f) < 0.15
    along_planes = shown[near, shown.shape[1] // 2]
    assert along_planes == pytest.approx(-20 * np.log10(np.e) * 2 * np.pi**2 * 4 * f[near] ** 2, abs=0.5)


def test_a_field_of_psfs_shows_each_where_it_holds() -> None:
    parts = [psf.motion(9, 90), psf.motion(9, 0)]
    fig = plot.show_psf(psf.PSFGrid(parts, [(40, 10), (40, 90)]))
    field = np.asarray(fig.axes[0].images[0].get_array())
    tall, wide = (np.pad(h, [((11 - s) // 2,) * 2 for s in h.shape]) for h in parts)
    assert field.shape == (11, 22)
    np.testing.assert_allclose(field[:, :11], tall, atol=1e-12)
    np.testing.assert_allclose(field[:, 11:], wide, atol=1e-12)
    assert [t.get_text() for t in fig.axes[0].get_xticklabels()] == ["10", "90"]
    many = psf.rotation(3.0, shape=(120, 160))
    assert len(plot.show_psf(many).axes[0].get_xticklabels()) == 5


@pytest.mark.parametrize("size", [(1, 7), (5, 2)])
def test_psf_lies_about_its_centre_in_a_square(size: tuple[int, int]) -> None:
    ax = plot.show_psf(np.full(size, 1 / np.prod(size))).axes[0]
    west, east, bottom, top = ax.images[0].get_extent()
    rows, columns = size
    assert (top, bottom) == (-(rows // 2) - 0.5, rows - rows // 2 - 0.5)
    assert (west, east) == (-(columns // 2) - 0.5, columns - columns // 2 - 0.5)
    assert ax.get_xlim() == ax.get_ylim()[::-1]
    assert ax.images[0].get_clim()[0] == 0


def test_far_wings_do_not_make_a_psf_a_dot() -> None:
    h = psf.moffat(3.0, size=101)
    ax = plot.show_psf(h).axes[0]
    reach = int(ax.get_xlim()[1])
    assert 5 < reach < 30
    assert h[50 - reach : 51 + reach, 50 - reach : 51 + reach].sum() > 0.98 * h.sum()
    assert plot.show_psf(psf.motion(31)).axes[0].get_xlim() == (-15.5, 15.5)


@pytest.mark.parametrize("size", [(9, 13), (8, 12), (6, 301)])
def test_transfer_function_is_mirrored_from_the_half_spectrum(size: tuple[int, int]) -> None:
    """The modulus of a box's transfer function is a product of Dirichlet kernels, known at every frequency shown."""
    h = np.zeros(size)
    h[3:6, 4:9] = 1 / 15
    fig = plot.show_psf(h)
    shown = np.asarray(fig.axes[1].images[0].get_array())
    f = [(np.arange(n) - n // 2) / n for n in shown.shape]
    dirichlet = [np.abs(sum(np.exp(2j * np.pi * x * k) for k in range(n)) / n) for x, n in zip(f, (3, 5), strict=True)]
    expected = 20 * np.log10(np.maximum(np.outer(*dirichlet), 1e-3))
    assert shown == pytest.approx(expected, abs=1e-6)
    assert "pixels" in fig.axes[0].get_xlabel()
    assert "cycles/pixel" in fig.axes[1].get_xlabel()


def test_an_oblique_motion_leans_as_on_screen() -> None:
    """The PSF rises to the right; what its transfer function keeps is perpendicular to that."""
    shown = np.asarray(plot.show_psf(psf.motion(15, 30)).axes[1].images[0].get_array())
    middle = shown.shape[0] // 2
    along, across = shown[middle - 30, middle + 52], shown[middle - 52, middle - 30]
    assert across > -1
    assert along < -10


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: plot.l_curve(None), TypeError, "selection must be a Selection, not NoneType"),
        (lambda: plot.selection_curves(None), TypeError, "tikhonov with lam='auto' has one"),
        (lambda: plot.compare({}), ValueError, "images is empty"),
        (lambda: plot.compare({"stack": np.zeros((4, 5, 4))}), ValueError, r"stack has shape \(4, 5, 4\).*one plane"),
        (
            lambda: plot.compare([np.zeros((4, 5, 6)), np.eye(9)]),
            ValueError,
            "image 2 has shape .* must be of one shape",
        ),
        (lambda: plot.compare([np.zeros((4, 5, 6)), np.zeros((4, 5, 7))]), ValueError, "volumes must be of one shape"),
        (lambda: plot.compare([np.zeros((4, 5, 6))], inset=(0, 0, 2, 2)), ValueError, "inset is for images"),
        (lambda: plot.compare([np.eye(9)], spacing=(1, 2, 3)), ValueError, "spacing must be 2 positive numbers"),
        (lambda: plot.compare([np.eye(9)], inset=(1, 2, 3)), ValueError, "inset must be"),
        (lambda: plot.compare([np.eye(9)], inset=(-1, 0, 3, 3)), ValueError, "does not lie within image 1"),
        (lambda: plot.compare([np.eye(9)], inset=(0, 7, 3, 3)), ValueError, "which has 9 rows and 9 columns"),
        (lambda: plot.compare([np.eye(5), np.eye(9)], inset=(3, 3, 5, 5)), ValueError, "within image 1"),
        (lambda: plot.show_psf(np.ones(3)), ValueError, "psf must have 2 or 3 axes"),
        (lambda: plot.show_psf(psf.PSFGrid([np.ones((1, 1, 1))], [(0, 0, 0)])), ValueError, "psf varies along 3 axes"),
        (lambda: plot.show_psf(np.array([[1.0, -1.0]])), ValueError, "psf sums to zero"),
    ],
)
def test_errors(call, error, message) -> None:
    with pytest.raises(error, match=message):
        call()
    assert not plt.get_fignums()
