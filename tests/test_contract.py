"""What every method keeps, whatever its formula: one table of methods, crossed with inputs.

A new method is a row of METHODS_TABLE. What it promises beyond the shape and dtype of its result is said by its flags.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import reference
from reference import Array

import lsdeblur
from lsdeblur import METHODS, Problem, Restoration, Solution, plan, restore
from lsdeblur._methods import resolve
from lsdeblur.boundary import BOUNDARIES


@dataclass(frozen=True)
class Row:
    """One way to call a method."""

    method: str
    options: dict[str, Any] = field(default_factory=dict)
    identity: dict[str, Any] | None = None  # options with which a delta PSF changes nothing
    linear: bool = True  # in the image; False where the image decides how much is smoothed
    plannable: bool = True  # `plan` takes the same options
    stopped: bool = False  # regularised by the number of its iterations, which it chooses
    error: float | None = None  # of a method that is no gain: how far from its solution iterations may end
    tight: float = 1e-4  # the tolerance at which they still do
    relative: bool = (
        False  # its strength is a factor of one found in all channels: alone, only equal ones have the same
    )

    @property
    def settled(self) -> dict[str, Any]:
        """Options with which a free boundary's iterations leave nothing but rounding, wherever they start."""
        return {"tol": 1e-24, "max_iter": 1000} if self.error is None else {"tol": self.tight, "max_iter": 3000}

    def tolerance(self, chosen: float, exact: float = 1e-12) -> float:
        """Of comparisons: for a gain, for one whose strength is chosen, and for iterations."""
        return max(self.error or 0, exact if self.linear else chosen)

    def __str__(self) -> str:
        simple = int | float | str
        options = [f"{n}={v if isinstance(v, simple) else '...'}" for n, v in self.options.items()]
        return "-".join([self.method, *options])


def white(*frequencies: Array) -> float:
    return 0.02


METHODS_TABLE = [
    Row("inverse", {"threshold": 0.2}, identity={"threshold": 0}),
    Row("wiener", {"nsr": 0.02}, identity={"nsr": 0}),
    Row("wiener", {"noise_power": white, "signal_power": [[0.3, 1.0, 0.3]]}),
    Row("wiener", linear=False, plannable=False),
    Row("wiener", {"nsr": "gcv"}, linear=False, plannable=False),
    Row("tikhonov", {"lam": 0.02}, identity={"lam": 0}),
    Row("tikhonov", {"lam": 1, "penalty": [[0.0, 0.2], [0.3, 0.1]]}, identity={"lam": 0, "penalty": "identity"}),
    Row("tikhonov", linear=False, plannable=False),
    Row("tikhonov", {"lam": "discrepancy", "noise_std": 0.02}, linear=False, plannable=False),
    Row("cgls", linear=False, plannable=False, stopped=True),
    Row("cgls", {"stop": "none", "max_iter": 4}, {"stop": "none"}, linear=False, plannable=False, stopped=True),
    Row("landweber", {"stop": "none", "max_iter": 9}, {"stop": "none"}, plannable=False, stopped=True),
    Row("richardson-lucy", linear=False, plannable=False, stopped=True),
    Row(
        "richardson-lucy",
        {"stop": "none", "max_iter": 9, "tv": 0.02},
        identity={"stop": "none", "max_iter": 1},
        linear=False,
        plannable=False,
        stopped=True,
    ),
    Row("tv", linear=False, plannable=False, error=0.05),
    Row("hyper-laplacian", linear=False, plannable=False, error=0.2, tight=5e-3),
    Row("constrained", linear=False, plannable=False, error=0.05),
    Row("wavelet", linear=False, plannable=False, error=0.05, tight=1e-3, relative=True),
]
# What finds its own PSF cannot be compared with a given one: test_nas_rif.py (an object on a uniform background) and
# test_blind.py hold these to the same promises; test_deep_pnp.py the one whose result is what a denoiser makes of it.
ELSEWHERE = {"blind", "nas-rif", "pnp"}
LINEAR = [row for row in METHODS_TABLE if row.linear]
PLANNABLE = [row for row in METHODS_TABLE if row.plannable]
CHOSEN = [row for row in METHODS_TABLE if not row.linear and not row.stopped and row.error is None]
SIZE = (3, 4)
PSF = reference.psf(SIZE)
EPS = {np.dtype("f4"): 1e-5, np.dtype("f8"): 1e-12}  # what rounding may do to images of order 1 and gains of order 10


def blurred(shape: tuple[int, ...] = (20, 23), seed: int = 0, psf: Array = PSF) -> Array:
    """A scene with edges, blurred, with noise: something from which every rule finds a strength."""
    rng = np.random.default_rng(seed)
    f = np.zeros(shape)
    for _ in range(6):
        f[tuple(slice(start := rng.integers(0, n - 4), start + 7) for n in shape)] += rng.random()
    return reference.blur(f, psf, "edge") + 0.02 * rng.standard_normal(shape)


def run(row: Row, image: Any, psf: Any = PSF, **options: Any) -> Array:
    return restore(image, psf, method=row.method, **(row.options | options)).image


def chosen_options(result: Restoration) -> dict[str, Any]:
    """What a method found in the image, as the options that ask for it."""
    if "stop" in inspect.signature(resolve(result.method)[1]).parameters:
        return {"max_iter": result.n_iter, "stop": "none"}
    if result.lam is None:
        return {}
    if result.method in ("tv", "hyper-laplacian", "constrained", "wavelet"):
        return {"lam": result.lam}
    colour = {"noise_width": result.noise_width, "noise_floor": result.noise_floor}
    return {"wiener": {"nsr": result.lam}}.get(result.method, {"lam": result.lam} | colour)


def test_every_method_has_a_row() -> None:
    assert {row.method for row in METHODS_TABLE} | ELSEWHERE == set(METHODS)


@pytest.mark.parametrize("row", METHODS_TABLE, ids=str)
@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("shape", [(20, 23), (21, 22)])
def test_shape_dtype_and_inputs(row: Row, boundary: str, shape: tuple[int, int]) -> None:
    for dtype in (np.float32, np.float64):
        g, h = blurred(shape).astype(dtype), PSF.copy()
        before = g.copy()
        g.flags.writeable = h.flags.writeable = False
        result = restore(g, h, method=row.method, boundary=boundary, **row.options)
        assert result.image.shape == shape
        assert result.image.dtype == dtype
        assert result.image.flags.writeable
        assert not np.shares_memory(result.image, g)
        assert np.all(np.isfinite(result.image))
        np.testing.assert_array_equal(g, before)
        np.testing.assert_array_equal(h, PSF)
        assert result.method == row.method
        assert result.message


@pytest.mark.parametrize("row", METHODS_TABLE, ids=str)
@pytest.mark.parametrize(
    ("dtype", "working"),
    [
        (np.uint8, np.float32),
        (np.uint16, np.float32),
        (np.float16, np.float32),
        (">f4", np.float32),
        (np.int32, np.float64),
        (np.uint64, np.float64),
        (">f8", np.float64),
    ],
)
def test_other_dtypes_are_converted_without_rescaling(row: Row, dtype: Any, working: type) -> None:
    g = np.round(200 * (blurred() - blurred().min())).astype(dtype)
    before = g.copy()
    options = {"noise_std": 4.0} if "noise_std" in row.options else {}
    actual, expected = run(row, g, **options), run(row, g.astype(working), **options)
    assert actual.dtype == working
    assert actual.dtype.isnative
    np.testing.assert_array_equal(actual, expected)
    np.testing.assert_array_equal(g, before)


@pytest.mark.parametrize("row", METHODS_TABLE, ids=str)
def test_the_psf_does_not_change_the_precision(row: Row) -> None:
    g = blurred()
    for dtype in (np.float32, np.float64):
        for psf_dtype in (np.float32, np.float64):
            assert run(row, g.astype(dtype), PSF.astype(psf_dtype)).dtype == dtype
    counts = np.array([[1, 2, 1], [0, 3, 1]])
    with pytest.warns(lsdeblur.LsdeblurWarning, match="psf sums to 8"):
        by_counts = run(row, g, counts)
    assert by_counts.dtype == np.float64


@pytest.mark.parametrize("row", [row for row in METHODS_TABLE if row.identity is not None], ids=str)
@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("size", [(1, 1), (3, 3), (4, 2)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_delta_changes_nothing(row: Row, boundary: str, size: tuple[int, int], dtype: type) -> None:
    delta = np.zeros(size)
    delta[tuple(s // 2 for s in size)] = 1
    g = reference.image((12, 13), dtype=dtype)
    actual = restore(g, delta, method=row.method, boundary=boundary, **(row.identity or {})).image
    np.testing.assert_allclose(actual, g, rtol=0, atol=EPS[g.dtype])


def with_operators(row: Row, change: Callable[[Array], Array]) -> Row:
    """The row with another array in place of each of its operators and covariances."""
    options = {n: change(np.array(v)) if isinstance(v, list) else v for n, v in row.options.items()}
    return dataclasses.replace(row, options=options)


@pytest.mark.parametrize("row", METHODS_TABLE, ids=str)
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_three_dimensions(row: Row, boundary: str) -> None:
    """A scene that does not change from plane to plane is restored plane by plane where the PSF has one plane."""
    h = reference.psf((2, 3, 4))
    g = blurred((9, 14, 15), psf=h)
    deep = with_operators(row, lambda operator: operator[np.newaxis])
    image = run(deep, g, h, boundary=boundary, spacing=(2, 1, 1))
    assert image.shape == g.shape
    assert np.all(np.isfinite(image))
    if row.linear and boundary in ("periodic", "symmetric"):
        stack = run(deep, np.repeat(g[4:5], 6, axis=0), h[1:] / h[1:].sum(), boundary=boundary)
        plane = run(row, g[4], h[1] / h[1].sum(), boundary=boundary)
        np.testing.assert_allclose(stack, np.stack([plane] * 6), rtol=0, atol=1e-12)


@pytest.mark.parametrize("row", LINEAR, ids=str)
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_linear_in_the_image(row: Row, boundary: str) -> None:
    a, b = blurred(seed=1), blurred(seed=2)
    options = {"boundary": boundary} | row.settled
    together = run(row, 2 * a - 3 * b, **options)
    apart = 2 * run(row, a, **options) - 3 * run(row, b, **options)
    np.testing.assert_allclose(together, apart, rtol=0, atol=10 * EPS[a.dtype])


@pytest.mark.parametrize("row", METHODS_TABLE, ids=str)
@pytest.mark.parametrize("unit", [2.0**-60, 2.0**60])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_any_unit(row: Row, unit: float, dtype: type) -> None:
    """Fluxes of 1e-18 W/m^2 and counts of electrons are restored alike; a power of two rounds nothing."""
    g = blurred().astype(dtype)
    options = {name: value * unit if name == "noise_std" else value for name, value in row.options.items()}
    scaled = restore(g * dtype(unit), PSF, method=row.method, **options).image
    assert scaled.dtype == dtype
    np.testing.assert_allclose(scaled / dtype(unit), run(row, g), rtol=0, atol=row.tolerance(1e-3, 1e3 * EPS[g.dtype]))


@pytest.mark.parametrize("row", METHODS_TABLE, ids=str)
def test_shifts_with_the_image(row: Row) -> None:
    """On a periodic grid, where a shift loses nothing. A chosen strength is found in |Y|^2, which does not shift; a
    number of iterations is kept."""
    g, shift = blurred(), (5, -3)
    result = restore(g, PSF, method=row.method, boundary="periodic", **row.options)
    fixed = chosen_options(result) if row.stopped else {}
    moved = run(row, np.roll(g, shift, (0, 1)), boundary="periodic", **fixed)
    np.testing.assert_allclose(moved, np.roll(result.image, shift, (0, 1)), rtol=0, atol=1e-7)


@pytest.mark.parametrize("row", METHODS_TABLE, ids=str)
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_no_axis_is_special(row: Row, boundary: str) -> None:
    """A chosen strength may move by the 1e-3 that the bins leave open, and the image by as much of itself; a number of
    iterations is kept."""
    g, h = blurred(), reference.psf((3, 5))
    result = restore(g, h, method=row.method, boundary=boundary, **row.options)
    fixed = chosen_options(result) if row.stopped else {}
    turned = run(with_operators(row, np.transpose), g.T, h.T, boundary=boundary, **fixed).T
    np.testing.assert_allclose(turned, result.image, rtol=0, atol=row.tolerance(3e-3))


@pytest.mark.parametrize("row", METHODS_TABLE, ids=str)
@pytest.mark.parametrize("boundary", ["periodic", "zero", "symmetric", "taper", "free"])
def test_no_direction_is_special(row: Row, boundary: str) -> None:
    """For odd PSFs and operators, whose centre stays when they are reversed; "edge" may divide an odd gap unequally."""
    row = with_operators(row, lambda operator: np.pad(operator, [(0, 1 - s % 2) for s in operator.shape]))
    reverse = with_operators(row, np.flip)
    g, h = blurred(), reference.psf((3, 5))
    result = restore(g, h, method=row.method, boundary=boundary, **row.options)
    fixed = chosen_options(result) if row.stopped else {}
    turned = np.flip(run(reverse, np.flip(g), np.flip(h), boundary=boundary, **fixed))
    if row.error is None:
        np.testing.assert_allclose(turned, result.image, rtol=0, atol=row.tolerance(3e-3))
    else:  # one-sided differences make what is next to an edge depend on the side
        assert np.sqrt(np.mean((turned - result.image) ** 2)) < row.error


@pytest.mark.parametrize("row", METHODS_TABLE, ids=str)
def test_threads_change_nothing(row: Row) -> None:
    """An image large enough for the transforms to use threads."""
    g = blurred((190, 203))
    one, two = (run(row, g, workers=n) for n in (1, 2))
    np.testing.assert_allclose(two, one, rtol=0, atol=1e-12)


@pytest.mark.parametrize("row", METHODS_TABLE, ids=str)
def test_calls_from_many_threads(row: Row) -> None:
    images = [blurred(seed=seed) for seed in range(12)]
    serial = [run(row, g) for g in images]
    with ThreadPoolExecutor(8) as pool:
        np.testing.assert_array_equal(list(pool.map(lambda g: run(row, g), images * 3)), serial * 3)


@pytest.mark.parametrize("row", PLANNABLE, ids=str)
@pytest.mark.parametrize("boundary", ["periodic", "taper", "free"])
def test_one_plan_in_many_threads(row: Row, boundary: str) -> None:
    images = [blurred(seed=seed) for seed in range(12)]
    frozen = plan(PSF, images[0].shape, method=row.method, boundary=boundary, **row.options)
    serial = [frozen(g) for g in images]
    with ThreadPoolExecutor(8) as pool:
        np.testing.assert_array_equal(list(pool.map(frozen, images * 3)), serial * 3)


@pytest.mark.parametrize("row", PLANNABLE, ids=str)
@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_plan_is_restore_with_everything_fixed(row: Row, boundary: str, dtype: type) -> None:
    """And leading axes are batches."""
    images = np.stack([blurred(seed=seed) for seed in range(4)]).astype(dtype).reshape(2, 2, 20, 23)
    frozen = plan(PSF, (20, 23), method=row.method, boundary=boundary, dtype=dtype, **row.options)
    restored = frozen(images)
    assert restored.dtype == dtype
    assert restored.shape == images.shape
    for i in np.ndindex(2, 2):
        expected = run(row, images[i], boundary=boundary)
        np.testing.assert_allclose(restored[i], expected, rtol=0, atol=EPS[images.dtype])
        np.testing.assert_allclose(frozen(images[i]), expected, rtol=0, atol=EPS[images.dtype])


@pytest.mark.parametrize("row", CHOSEN, ids=str)
def test_plan_with_the_strength_that_was_chosen(row: Row) -> None:
    g = blurred()
    result = restore(g, PSF, method=row.method, **row.options, **row.settled)
    assert result.selection is not None
    assert result.selection.lam == result.lam
    fixed = {"method": row.method} | chosen_options(result) | row.settled
    for again in (plan(PSF, g.shape, **fixed)(g), restore(g, PSF, **fixed).image):
        np.testing.assert_allclose(again, result.image, rtol=0, atol=1e-12)


@pytest.mark.parametrize("row", METHODS_TABLE, ids=str)
@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_channels_share_one_strength(row: Row, axis: int) -> None:
    """Each channel is restored as it would be alone with the strength of all, wherever their axis is."""
    channels = np.stack([blurred(seed=0 if row.relative else seed) for seed in range(3)])
    options = row.settled | row.options
    result = restore(np.moveaxis(channels, 0, axis), PSF, method=row.method, channel_axis=axis, **options)
    assert result.image.shape == np.moveaxis(channels, 0, axis).shape
    fixed = chosen_options(result)
    for channel, restored in zip(channels, np.moveaxis(result.image, axis, 0), strict=True):
        expected = run(row, channel, **(options | fixed))
        np.testing.assert_allclose(restored, expected, rtol=0, atol=row.tolerance(1e-12, 1e-12))


@pytest.mark.parametrize("row", METHODS_TABLE, ids=str)
@pytest.mark.parametrize("boundary", ["periodic", "taper", "free"])
def test_one_psf_per_channel(row: Row, boundary: str) -> None:
    """Channels first in the PSFs, wherever they are in the image."""
    channels, psfs = np.stack([blurred(seed=seed) for seed in range(3)]), reference.psf((3, *SIZE))
    psfs /= psfs.sum(axis=(1, 2), keepdims=True)
    if row.relative:
        channels[:], psfs[:] = channels[0], psfs[0]
    options = {"boundary": boundary} | row.settled | row.options
    colours = np.moveaxis(channels, 0, -1)
    result = restore(colours, psfs, method=row.method, channel_axis=-1, **options)
    fixed = chosen_options(result)
    for i, channel in enumerate(channels):
        expected = run(row, channel, psfs[i], **(options | fixed))
        np.testing.assert_allclose(result.image[..., i], expected, rtol=0, atol=row.tolerance(1e-12))


@pytest.mark.parametrize("row", METHODS_TABLE, ids=str)
def test_memory_order_does_not_matter(row: Row) -> None:
    g = blurred()
    expected = run(row, g)
    wide = np.zeros((40, 69))
    wide[::2, ::3] = g
    layouts = [np.asfortranarray(g), g[::-1].copy()[::-1], g[:, ::-1].copy()[:, ::-1], wide[::2, ::3], g.tolist()]
    for layout in layouts:
        np.testing.assert_allclose(run(row, layout), expected, rtol=0, atol=1e-12)
    for h in (np.asfortranarray(PSF), PSF[::-1].copy()[::-1], PSF.tolist()):
        np.testing.assert_allclose(run(row, g, h), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("row", METHODS_TABLE, ids=str)
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_zero_margins_of_the_psf_do_not_matter(row: Row, boundary: str) -> None:
    """As many before as behind leave the centre where it is; so do those that turn an even size into an odd one."""
    g = blurred()
    expected = run(row, g, boundary=boundary)
    odd = np.pad(PSF, [(0, 0), (0, 1)])  # 4 columns, centre 2 -> 5 columns, centre 2
    for h in (np.pad(PSF, 3), np.pad(PSF, [(2, 2), (5, 5)]), np.pad(odd, 4)):
        np.testing.assert_allclose(run(row, g, h, boundary=boundary), expected, rtol=0, atol=row.tolerance(1e-12))


@pytest.mark.parametrize("row", METHODS_TABLE, ids=str)
def test_an_unknown_option_is_named_with_the_valid_ones(row: Row) -> None:
    valid = {
        "inverse": "'threshold'",
        "wiener": "'nsr'",
        "tikhonov": "'lam', 'penalty', 'tau'",
        "cgls": "'stop', 'noise_std', 'safety'",
        "landweber": "'relaxation', 'stop'",
        "richardson-lucy": "'background', 'gain', 'read_noise'",
        "tv": "'lam', 'bounds'",
        "hyper-laplacian": "'exponent', 'lam'",
        "constrained": "'bounds', 'lam'",
        "wavelet": "'lam', 'bounds'",
    }[row.method]
    with pytest.raises(TypeError, match=f"'{row.method}'.*no option 'strength'; its options are {valid}"):
        run(row, blurred(), strength=1)


@pytest.mark.parametrize("row", METHODS_TABLE, ids=str)
def test_the_result_repeats_the_call(row: Row) -> None:
    result = restore(blurred(), PSF, method=row.method, boundary="edge", spacing=(1, 2), workers=1, **row.options)
    again = restore(blurred(), result.psf, method=result.method, **result.options)
    np.testing.assert_array_equal(again.image, result.image)
    assert again.lam == result.lam
    assert result.version == lsdeblur.__version__


@pytest.mark.parametrize("row", [row for row in METHODS_TABLE if not {"penalty", "tv"} & {*row.options}], ids=str)
def test_the_mean_is_kept(row: Row) -> None:
    """No method damps the brightness, but for penalties on constants: a PSF of sum 1 keeps the mean of a period."""
    g = 10 + blurred()
    assert run(row, g, boundary="periodic").mean() == pytest.approx(g.mean(), rel=1e-12)


def average(problem: Problem, *, weight: float = 0.5) -> Solution:
    """A method of the caller's own: the image mixed with its mean."""
    axes = tuple(range(1, problem.image.ndim))
    mixed = weight * problem.image + (1 - weight) * problem.image.mean(axis=axes, keepdims=True)
    return Solution(mixed, std=np.sqrt(np.abs(mixed)), n_iter=3, converged=False, message="mixed")


class Average:
    """The same as an object, which is how trained models are passed."""

    def __call__(self, problem: Problem, *, weight: float = 0.5) -> Solution:
        return average(problem, weight=weight)


@pytest.mark.parametrize(("method", "name"), [(average, "average"), (Average(), "Average")])
@pytest.mark.parametrize("channel_axis", [None, 0, -1])
def test_a_callable_is_a_method(method: Any, name: str, channel_axis: int | None) -> None:
    g = reference.image((6, 7) if channel_axis is None else (5, 6, 7))
    result = restore(g, PSF, method=method, channel_axis=channel_axis, weight=1.0)
    np.testing.assert_array_equal(result.image, g)
    np.testing.assert_array_equal(result.std, np.sqrt(g))
    assert (result.method, result.n_iter, result.converged, result.message) == (name, 3, False, "mixed")
    assert result.options["weight"] == 1.0
    with pytest.raises(TypeError, match=f"method '{name}' has no option 'lam'; its options are 'weight'"):
        restore(g, PSF, method=method, channel_axis=channel_axis, lam=1)


def test_what_a_method_receives() -> None:
    received: list[Problem] = []

    def spy(problem: Problem) -> Solution:
        received.append(problem)
        return Solution(problem.image)

    restore(
        reference.image((20, 21, 3), dtype=np.float16), PSF, method=spy, channel_axis=-1, boundary="zero",
        spacing=(3, 1.5), workers=2,
    )  # fmt: skip
    (problem,) = received
    assert problem.image.shape == (3, 20, 21)
    assert problem.shape == (20, 21)
    assert problem.psf.shape == (1, *SIZE)
    assert problem.image.dtype == problem.psf.dtype == np.float32
    assert (problem.boundary, problem.spacing, problem.workers) == ("zero", (2.0, 1.0), 2)


def test_reach_of_a_plan() -> None:
    """How far the gain's impulse response reaches: nowhere without blur, farther for a smaller tolerance."""
    assert plan([[1.0]], (64, 65), lam=0, boundary="periodic").reach() == (0, 0)
    # A gain of 1 / (2 - exp(-i w)): its response falls by half every pixel along the rows, 2^-6 < 0.02 < 2^-5.
    halving = plan([[0.0, 2.0, -1.0]], (64, 65), method="inverse", threshold=0, boundary="periodic")
    assert halving.reach(0.02) == (0, 5)
    assert halving.reach(0.4) == (0, 1)


def test_public_names() -> None:
    assert set(lsdeblur.__all__) == set(dir(lsdeblur))
    for name in ("boundary", "filters", "noise", "psf", "selection", "simulate", "spectrum"):
        assert getattr(lsdeblur, name).__name__ == f"lsdeblur.{name}"
    with pytest.raises(AttributeError, match="module 'lsdeblur' has no attribute 'deconvolve'"):
        _ = lsdeblur.deconvolve


@pytest.mark.parametrize("boundary", ["periodic", "taper", "free"])
def test_sensitivity_says_what_another_lambda_would_change(boundary: str) -> None:
    """Exactly on a periodic grid; elsewhere of the grid's image in place of the frame's."""
    g = blurred((40, 42))
    result = restore(g, PSF, boundary=boundary)
    assert result.lam is not None
    assert result.sensitivity is not None
    for actual, c in zip(result.sensitivity, (0.5, 2), strict=True):
        other = restore(g, PSF, boundary=boundary, lam=c * result.lam, noise_width=result.noise_width).image
        expected = np.std(other - result.image) / np.std(result.image)
        assert actual == pytest.approx(expected, rel=1e-9 if boundary == "periodic" else 0.5)


@pytest.mark.parametrize("axis", [None, -1])
def test_saturated_pixels_are_masked(axis: int | None) -> None:
    g = blurred((30, 32))
    if axis is not None:
        g = np.stack([g, g - 0.3], axis=axis)
    level = float(np.quantile(g, 0.98))
    clipped = np.minimum(g, level)
    mask = clipped >= level if axis is None else (clipped >= level).any(axis=axis)
    expected = restore(clipped, PSF, lam=0.02, mask=mask, channel_axis=axis)
    actual = restore(clipped, PSF, lam=0.02, saturation=level, channel_axis=axis)
    np.testing.assert_array_equal(actual.image, expected.image)
    mask[3:5, 4:6] = True
    both = restore(clipped, PSF, lam=0.02, saturation=level, mask=mask, channel_axis=axis)
    np.testing.assert_array_equal(both.image, restore(clipped, PSF, lam=0.02, mask=mask, channel_axis=axis).image)
    none = restore(clipped, PSF, lam=0.02, saturation=2 * level, channel_axis=axis)
    np.testing.assert_array_equal(none.image, restore(clipped, PSF, lam=0.02, channel_axis=axis).image)
    frames = restore([clipped, g], PSF, lam=0.02, saturation=level, channel_axis=axis)
    assert np.all(np.isfinite(frames.image))
    with pytest.raises(ValueError, match="mask needs boundary='free'"):
        restore(clipped, PSF, lam=0.02, saturation=level, boundary="taper", channel_axis=axis)
