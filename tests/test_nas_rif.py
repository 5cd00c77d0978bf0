"""NAS-RIF: the cost and its minimum, the object's support, and the PSF found with it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import reference
from reference import Array
from scipy import ndimage

from lsdeblur import Restoration, psf, restore
from lsdeblur.blind import estimate_psf, refine_psf
from lsdeblur.blind._inverse_filter import Filtered, delta, inverse_filter
from lsdeblur.blind._support import outline, rim_of
from lsdeblur.boundary import BOUNDARIES
from lsdeblur.errors import ConvergenceWarning, ParameterChoiceError

BLUR = np.array([[0.0, 0.1, 0.05], [0.3, 0.3, 0.0], [0.05, 0.1, 0.1]])  # asymmetric: a flipped one is another


def scene(shape: tuple[int, ...] = (52, 57), level: float = 0.0) -> tuple[Array, Array]:
    """A textured object on a uniform background, and its support."""
    inside = np.zeros(shape, bool)
    inside[(slice(16, 34), slice(20, 38), *[slice(4, -4)] * (len(shape) - 2))] = True
    inside[20:26, 14:20] = inside[34:40, 30:34] = True
    texture = 0.6 + 0.4 * np.random.default_rng(3).random(shape)
    return np.where(inside, texture, level), inside


def observed(h: Array = BLUR, level: float = 0.0, noise_std: float = 0.0) -> tuple[Array, Array, Array]:
    """Blurred image, scene and support; the background goes on beyond the frame."""
    f, inside = scene(level=level)
    g = level + reference.blur(f - level, h, "zero")
    return g + noise_std * np.random.default_rng(5).standard_normal(g.shape), f, inside


def gain(image: Array, g: Array, f: Array) -> float:
    """Decibels over the blurred image."""
    return 10 * np.log10(np.sum((g - f) ** 2) / np.sum((image - f) ** 2))


@pytest.mark.parametrize("boundary", ["free", "periodic", "symmetric", "edge"])
@pytest.mark.parametrize(("shape", "size"), [((7, 8), (3, 5)), ((9, 7), (5, 3)), ((4, 5, 6), (3, 1, 3))])
def test_the_filter_convolves_and_its_adjoint_correlates(
    boundary: str, shape: tuple[int, ...], size: tuple[int, ...]
) -> None:
    rng = np.random.default_rng(0)
    d, u, r = rng.random((2, *shape)), rng.random(size), rng.random((2, *shape))
    filtered = Filtered.of(d, size, boundary, 1)
    outside = {"free": "zero"}.get(boundary, boundary)
    for actual, channel in zip(filtered(u), d, strict=True):
        np.testing.assert_allclose(actual, reference.blur(channel, u, outside), rtol=0, atol=1e-12)
    assert np.vdot(filtered(u), r) == pytest.approx(np.vdot(u, filtered.adjoint(r)), rel=1e-12)


def cost(u: Array, d: Array, level: float, inside: Array, gamma: float) -> float:
    """J by direct sums, and without the library."""
    x = reference.blur(d, u, "zero")
    total = np.sum(np.minimum(x + level, 0)[inside] ** 2) + np.sum(x[~inside] ** 2)
    return float(total / np.sum(d**2) + gamma * (u.sum() - 1) ** 2)


@pytest.mark.parametrize("level", [0.0, 0.3])
@pytest.mark.parametrize("gamma", [0.5, 3.0])
def test_the_minimum_of_the_cost(level: float, gamma: float) -> None:
    """Scaled back from sum 1 by the best factor, no step in any direction lowers J."""
    rng = np.random.default_rng(1)
    f, inside = scene((24, 25))
    inside = np.zeros((24, 25), bool)
    inside[8:16, 7:17] = True
    d = reference.blur(np.where(inside, f + 0.5 - level, 0), BLUR, "zero") + 0.01 * rng.standard_normal(inside.shape)
    filtered = Filtered.of(d[np.newaxis], (5, 5), "free", 1)
    found = inverse_filter(filtered, inside, [level], None, gamma=gamma, max_iter=2000, tol=1e-12)
    scales = np.linspace(0.8, 1.1, 3001)
    x = reference.blur(d, found.u, "zero")
    values = [
        (np.sum(np.minimum(s * x + level, 0)[inside] ** 2) + np.sum((s * x)[~inside] ** 2)) / np.sum(d**2)
        + gamma * (s - 1) ** 2
        for s in scales
    ]
    u = scales[int(np.argmin(values))] * found.u
    least = cost(u, d, level, inside, gamma)
    assert least < 0.7 * cost(delta((5, 5)), d, level, inside, gamma)
    for _ in range(20):
        step = rng.standard_normal(u.shape)
        for t in (-3e-3, 3e-3):
            assert cost(u + t * step, d, level, inside, gamma) > least


def test_gamma_does_not_matter_on_black() -> None:
    """J without its last term is homogeneous: another gamma scales the minimum, and the scale is taken out."""
    g, _, inside = observed(noise_std=0.02)
    one, other = (
        restore(g, method="nas-rif", support=inside, background=0.0, gamma=gamma, size=7, tol=1e-10, max_iter=2000)
        for gamma in (0.3, 3.0)
    )
    np.testing.assert_allclose(one.image, other.image, rtol=0, atol=2e-4)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("level", [0.0, 0.3])
def test_an_exact_support_restores(dtype: type, level: float) -> None:
    g, f, inside = observed(level=level)
    result = restore(g.astype(dtype), method="nas-rif", support=inside)
    assert result.image.dtype == result.psf.dtype == dtype
    assert gain(result.image, g, f) > 8
    assert result.image.min() >= 0
    np.testing.assert_allclose(result.image[~inside], level, rtol=0, atol=1e-6)
    corner = tuple(slice(s // 2 - 1, s // 2 + 2) for s in result.psf.shape)
    assert np.abs(result.psf[corner] - BLUR).max() < 0.1 < np.abs(result.psf[corner] - np.flip(BLUR)).max()


def test_scaling_and_levels_are_followed() -> None:
    """In other units the same, on a background of another level too where no value becomes negative."""
    g, _, inside = observed(level=0.3, noise_std=0.005)
    g = g + 2
    result = restore(g, method="nas-rif", support=inside, tol=10)  # few iterations: more amplify rounding
    for scaled, back in [(8 * g, lambda x: x / 8), (g + 4, lambda x: x - 4)]:
        again = restore(scaled, method="nas-rif", support=inside, tol=10)
        assert again.n_iter == result.n_iter
        np.testing.assert_allclose(back(again.image), result.image, rtol=0, atol=1e-3)


def test_found_supports_are_near_the_exact_one() -> None:
    g, f, inside = observed(psf.gaussian(1.0), noise_std=0.003)
    result = restore(g, method="nas-rif")
    exact = restore(g, method="nas-rif", support=inside)
    assert gain(result.image, g, f) > gain(exact.image, g, f) - 1.0 > 2
    assert np.mean((result.image != result.image[0, 0]) ^ inside) < 0.02
    assert "support found" in result.message
    np.testing.assert_array_equal(restore(g, method="nas-rif").image, result.image)


def test_the_known_limit_of_wide_supports() -> None:
    """One pixel too many costs most of what the exact support gains, three pixels all."""
    g, f, inside = observed()
    gains = [
        gain(restore(g, method="nas-rif", support=wide, tol=0.05).image, g, f)
        for wide in (inside, ndimage.binary_dilation(inside), ndimage.binary_dilation(inside, iterations=3))
    ]
    assert gains[0] > 2 * gains[1]
    assert gains[2] < 0.5


def test_the_known_limit_of_zeros() -> None:
    """Where H vanishes a finite filter brings nothing back; what a restoration with the PSF takes from its prior."""
    f, inside = scene()
    h = psf.motion(11, 0)
    g = reference.blur(f, h, "zero")
    filtered = restore(g, method="nas-rif", support=inside, tol=0.05)
    assert 1 < gain(filtered.image, g, f) < gain(restore(g, h, method="tv").image, g, f) - 3


def test_pictures_without_a_background_are_refused() -> None:
    rng = np.random.default_rng(0)
    picture = ndimage.gaussian_filter(rng.random((60, 70)), 2)
    with pytest.raises(ParameterChoiceError, match=r"no uniform background.*support="):
        restore(picture, method="nas-rif")
    with pytest.raises(ParameterChoiceError, match=r"no uniform background|no object stands out"):
        estimate_psf(rng.standard_normal((40, 40)), method="nas-rif")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"support": np.ones((52, 57))}, ValueError, "bool array of the image's spatial shape"),
        ({"support": np.ones((5, 5), bool)}, ValueError, "bool array of the image's spatial shape"),
        ({"support": np.ones((52, 57), bool)}, ValueError, "covers the whole frame"),
        ({"support": np.zeros((52, 57), bool)}, ValueError, "covers no pixel"),
        ({"size": 6}, ValueError, "must be odd"),
        ({"size": 99}, ValueError, "not larger than the image"),
        ({"gamma": 0}, ValueError, "gamma"),
        ({"tol": -1}, ValueError, "tol"),
        ({"background": [0.0, 1.0]}, ValueError, "2 levels for 1 channels"),
        ({"background": np.nan}, ValueError, "background"),
    ],
)
def test_bad_arguments(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        restore(observed()[0], method="nas-rif", **options)


def test_iterations_end_as_told() -> None:
    g, _, inside = observed()
    with pytest.warns(ConvergenceWarning, match="after 12; raise max_iter or tol"):
        result = restore(g, method="nas-rif", support=inside, tol=0, max_iter=12)
    assert (result.n_iter, result.converged) == (12, False)
    costs: list[float] = []

    def watch(state: Any) -> None:
        costs.append(state.objective)
        if state.iteration == 7:
            raise StopIteration

    result = restore(g, method="nas-rif", support=inside, callback=watch)
    assert (result.n_iter, result.converged, len(costs)) == (7, False, 7)
    assert "ended by the caller" in result.message
    assert np.all(np.diff(costs) < 0)


def test_masked_pixels_take_no_part() -> None:
    g, f, inside = observed()
    hidden = np.zeros(g.shape, bool)
    hidden[5:8, 5:8] = True
    broken = g.copy()
    broken[hidden] = np.nan
    kept = restore(broken, method="nas-rif", support=inside, mask=hidden)
    assert gain(kept.image, g, f) > 8


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("dtype", [np.uint8, np.float16, ">f4", np.int32, np.float64])
def test_every_boundary_and_dtype(boundary: str, dtype: Any) -> None:
    """The contract of all methods: shape, working dtype, inputs as they were, whatever lies outside the frame."""
    g, _, inside = observed()
    g = np.round(200 * g).astype(dtype)
    before, kept = g.copy(), inside.copy()
    g.flags.writeable = inside.flags.writeable = False
    result = restore(g, method="nas-rif", support=inside, boundary=boundary, size=(5, 3), tol=1.0)
    assert result.image.shape == g.shape
    assert result.image.dtype == (np.float64 if dtype in (np.int32, np.float64) else np.float32)
    assert result.image.flags.writeable
    assert np.all(np.isfinite(result.image))
    np.testing.assert_array_equal(g, before)
    np.testing.assert_array_equal(inside, kept)
    again = restore(g, method="nas-rif", **result.options)
    np.testing.assert_array_equal(again.image, result.image)


def test_axes_directions_threads_and_memory_order_do_not_matter() -> None:
    g, _, inside = observed()
    options: dict[str, Any] = {"method": "nas-rif", "size": (5, 7), "tol": 10.0}
    expected = restore(g, support=inside, workers=1, **options).image
    turned = restore(g.T, support=inside.T, **(options | {"size": (7, 5)})).image.T
    np.testing.assert_allclose(turned, expected, rtol=0, atol=1e-4)
    mirrored = restore(np.flip(g), support=np.flip(inside), **options).image
    np.testing.assert_allclose(np.flip(mirrored), expected, rtol=0, atol=1e-4)
    np.testing.assert_allclose(restore(g, support=inside, workers=2, **options).image, expected, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(restore(np.asfortranarray(g), support=inside, **options).image, expected)
    np.testing.assert_array_equal(restore(g.tolist(), support=inside.tolist(), **options).image, expected)
    with ThreadPoolExecutor(4) as pool:
        for image in pool.map(lambda _: restore(g, support=inside, workers=1, **options).image, range(8)):
            np.testing.assert_array_equal(image, expected)
    given = restore(g, BLUR, support=inside, **options)
    np.testing.assert_array_equal(given.image, expected)
    np.testing.assert_array_equal(given.psf, BLUR)
    with pytest.raises(
        TypeError, match="'nas-rif' has no option 'lam'; its options are 'support', 'background', 'size'"
    ):
        restore(g, method="nas-rif", lam=1)


def test_three_axes_and_channels() -> None:
    f, inside = scene((30, 40, 16))
    h = np.array([[[0.1, 0.5, 0.4]]])
    g = reference.blur(f, h, "zero")
    result = restore(g, method="nas-rif", support=inside, size=(1, 3, 7))
    assert gain(result.image, g, f) > 6
    g2, _, inside2 = observed()
    colours = restore(np.stack([g2, 0.5 * g2 + 1], -1), method="nas-rif", support=inside2, channel_axis=-1)
    np.testing.assert_allclose(colours.image[..., 1], 0.5 * colours.image[..., 0] + 1, rtol=0, atol=1e-6)


def test_saved_and_repeated(tmp_path: Any) -> None:
    g, _, inside = observed()
    result = restore(g, method="nas-rif", support=inside)
    result.save(tmp_path / "r.npz")
    loaded = Restoration.load(tmp_path / "r.npz")
    np.testing.assert_array_equal(loaded.psf, result.psf)
    np.testing.assert_array_equal(restore(g, method=loaded.method, **loaded.options).image, result.image)


def likeness(a: Array, b: Array) -> float:
    """Normalised cross-correlation at the best shift by whole pixels, by direct sums."""
    wide = np.pad(a, [(s, s) for s in b.shape])
    sums = [
        np.sum(wide[i : i + b.shape[0], j : j + b.shape[1]] * b)
        for i in range(wide.shape[0] - b.shape[0] + 1)
        for j in range(wide.shape[1] - b.shape[1] + 1)
    ]
    return float(max(sums) / np.sqrt(np.sum(a**2) * np.sum(b**2)))


WRONG = psf.motion(6, 80, size=7)


@pytest.mark.parametrize("wider", [0, 2])
def test_a_wrong_psf_is_refined(wider: int) -> None:
    """Also from a support that is too large, which is noticed."""
    g, _, inside = observed(noise_std=0.003)
    given = ndimage.binary_dilation(inside, iterations=wider) if wider else inside
    found = refine_psf(g, WRONG, method="nas-rif", support=given, workers=1)
    assert likeness(WRONG, BLUR) < 0.8
    assert likeness(found.psf, BLUR) > 0.96
    assert found.converged
    assert found.psf.shape == (11, 11)
    assert found.psf.min() >= 0
    assert found.psf.sum() == pytest.approx(1)
    assert min(found.scores, key=lambda name: found.scores[name]) in found.message
    assert ("too large" in found.message) == (wider > 0)
    assert found.n_iter == len(found.history)


def test_a_psf_is_found_without_a_guess() -> None:
    g, _, _ = observed(noise_std=0.003)
    found = estimate_psf(g, method="nas-rif", size=9, workers=1)
    assert found.psf.shape == (9, 9)
    assert likeness(found.psf, BLUR) > 0.95
    assert 0.5 < found.confidence <= 1


def test_nothing_worse_than_the_guess_is_returned() -> None:
    """Ended before a single fit has helped, or with hopeless supports, the guess comes back."""
    g, _, _ = observed(noise_std=0.003)
    corner = np.zeros(g.shape, bool)
    corner[:6, :6] = True
    found = refine_psf(g[:, ::-1], BLUR[:, ::-1], method="nas-rif", support=corner, rounds=1, max_iter=3, workers=1)
    if not found.converged:
        np.testing.assert_array_equal(found.psf, BLUR[:, ::-1])
        assert "is kept" in found.message
    assert min(found.scores.values()) <= found.scores["psf"]


def test_refinement_can_be_ended() -> None:
    def stop(state: Any) -> None:
        raise StopIteration

    g, _, inside = observed()
    found = refine_psf(g, WRONG, method="nas-rif", support=inside, callback=stop)
    assert (found.converged, found.n_iter) == (False, 1)
    assert "ended by the caller" in found.message or "is kept" in found.message


def test_outline_and_rim() -> None:
    """Of a step blurred symmetrically, half of its height is where it was."""
    f = np.zeros((40, 41))
    f[12:28, 10:30] = 2.0
    g = reference.blur(f, psf.gaussian(1.5), "zero")
    inside = outline(g, 0.5, 9, 0.0)
    assert np.count_nonzero(inside[20] ^ (f[20] > 0)) == 0
    noisy = 3 + 0.1 * np.random.default_rng(0).standard_normal((300, 300))
    level, spread = rim_of(noisy, None)
    assert level == pytest.approx(3, abs=0.01)
    assert spread == pytest.approx(0.1, rel=0.05)
    with pytest.raises(ParameterChoiceError, match="no object stands out"):
        outline(np.zeros((9, 9)), 0.5, 3, 0.0)


def test_a_right_psf_is_kept() -> None:
    """What likelihood it might still gain lies within what the scene's model misses."""
    h = psf.disk(2.0)
    g, _, inside = observed(h, noise_std=0.01)
    found = refine_psf(g, h, method="nas-rif", support=inside, workers=1)
    assert found.converged is False
    np.testing.assert_array_equal(found.psf, h)
    assert "is kept" in found.message
