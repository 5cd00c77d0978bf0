"""Every error and warning: its type, the argument that it names, and the remedy.

Errors of the rules for lambda are in test_selection.py, of files in test_results.py, of noise estimates in
test_noise.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import reference

from lsdeblur import (
    LsdeblurWarning,
    ParameterChoiceError,
    _validate,
    boundary,
    noise,
    plan,
    restore,
    selection,
    simulate,
    spectrum,
)
from lsdeblur.errors import ConvergenceWarning, LambdaAtBoundaryWarning, MissingDependencyError

G, H = reference.image((20, 23)), reference.psf((3, 4))
RGB = reference.image((20, 23, 3))
STACK = reference.image((8, 9, 10))


def with_value(array: Any, value: float) -> Any:
    changed = array.copy()
    changed[1, 2] = value
    return changed


IMAGES: list[tuple[Any, type[Exception], str]] = [
    (G + 1j, TypeError, r"image is complex \(complex128\).*pass image.real or its magnitude"),
    (G.astype(object), TypeError, "image must be an array of real numbers, not of dtype object"),
    (np.array([["a", "b"]]), TypeError, "image must be an array of real numbers, not of dtype <U1"),
    (None, TypeError, "image must be an array of real numbers"),
    ("image.png", TypeError, "image must be an array of real numbers"),
    (G.astype("datetime64[s]"), TypeError, "image must be an array of real numbers"),
    ([[1.0, 2.0], [3.0]], (TypeError, ValueError), "image"),
    (np.empty((0, 5)), ValueError, r"image is empty: its shape is \(0, 5\)"),
    (G[0], ValueError, r"image must have 2 or 3 axes, but its shape \(23,\) has 1"),
    (G[None, None], ValueError, r"image must have 2 or 3 axes, but its shape \(1, 1, 20, 23\) has 4"),
    (with_value(G, np.nan), ValueError, "image has 1 values that are NaN or infinite; replace them"),
    (with_value(G, -np.inf), ValueError, "image has 1 values that are NaN or infinite; replace them"),
    (with_value(G, np.inf).astype("f4"), ValueError, "image has 1 values that are NaN or infinite"),
]


@pytest.mark.parametrize(("image", "error", "message"), IMAGES)
def test_images(image: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        restore(image, H, lam=1)


def test_large_finite_values_are_no_error() -> None:
    """Their sum is infinite, they are not."""
    g = np.full((8, 9), 1e308)
    assert _validate.as_float_array(g, "image") is g


PSFS: list[tuple[Any, Any, type[Exception], str]] = [
    (G, None, ValueError, r"psf is missing: method 'tikhonov' needs the blur; make one with lsdeblur.psf"),
    (G, H + 1j, TypeError, "psf is complex"),
    (G, "motion", TypeError, "psf must be an array of real numbers"),
    (G, np.empty((0, 3)), ValueError, r"psf is empty: its shape is \(0, 3\)"),
    (G, with_value(H, np.nan), ValueError, "psf has 1 values that are NaN or infinite"),
    (G, 0 * H, ValueError, "psf sums to zero: it would erase the image's brightness; check that it is the PSF"),
    (G, [[1.0, -1.0]], ValueError, "psf sums to zero"),
    (G, -H, ValueError, "psf has a negative sum: .*; check its sign and background"),
    (H, G, ValueError, r"psf \(20, 23\) is larger than the image \(3, 4\): crop it.*image and psf are not swapped"),
    (G, np.ones((3, 24)) / 72, ValueError, r"psf \(3, 24\) is larger than the image \(20, 23\)"),
    (G, H[0], ValueError, "psf has 1 axes, but the image has 2 spatial axes: psf must have 2"),
    (STACK, H, ValueError, "psf has 2 axes, but the image has 3 spatial axes.*name it with channel_axis="),
    (RGB, H, ValueError, "psf has 2 axes, but the image has 3 spatial axes.*name it with channel_axis="),
]


@pytest.mark.parametrize(("image", "psf", "error", "message"), PSFS)
def test_psfs(image: Any, psf: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        restore(image, psf, lam=1)


@pytest.mark.parametrize(("factor", "total"), [(3, "3"), (0.1, "0.1")])
@pytest.mark.parametrize("entrance", [lambda h: restore(G, h, lam=1), lambda h: plan(h, G.shape, lam=1)])
def test_a_psf_with_another_sum_warns(factor: float, total: str, entrance: Callable[[Any], Any]) -> None:
    """At the caller's line."""
    with pytest.warns(LsdeblurWarning, match=rf"psf sums to {total}, and .* pass psf / psf.sum\(\)") as caught:
        entrance(factor * H)
    assert caught[0].filename == __file__


CHANNELS: list[tuple[Any, Any, Any, str]] = [
    (G, H, 0, r"image must have 3 or 4 axes, but its shape \(20, 23\) has 2"),
    (RGB, H, 3, r"channel_axis=3 is no axis of an image of shape \(20, 23, 3\)"),
    (RGB, H, -4, "channel_axis=-4 is no axis"),
    (RGB, H, "c", "channel_axis='c' is no axis"),
    (RGB, H, 1.0, "channel_axis=1.0 is no axis"),
    (RGB, np.stack([H] * 4), -1, "psf holds 4 PSFs, but the image has 3 channels; pass one PSF, or one per channel"),
    (RGB, H[0], -1, r"psf has 1 axes, but the image has 2 spatial axes: psf must have 2 \(or 3, one PSF per channel"),
]


@pytest.mark.parametrize(("image", "psf", "axis", "message"), CHANNELS)
def test_channels(image: Any, psf: Any, axis: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        restore(image, psf, lam=1, channel_axis=axis)


@pytest.mark.parametrize(
    "function",
    [
        lambda axis: simulate.blur(RGB, H, channel_axis=axis),
        lambda axis: simulate.valid_part(RGB, H, channel_axis=axis),
        lambda axis: noise.estimate_noise_std(RGB, H, channel_axis=axis),
    ],
)
def test_channel_axis_is_named_everywhere(function: Callable[[int], Any]) -> None:
    with pytest.raises(ValueError, match="channel_axis=5 is no axis of an image of shape"):
        function(5)


OPTIONS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"method": "lucy"}, ValueError, "method must be one of 'inverse', 'wiener', 'tikhonov',.* not 'lucy'"),
    ({"method": 5}, ValueError, "method must be one of .*, not 5"),
    ({"boundary": "reflect"}, ValueError, "boundary must be one of 'periodic', .*, 'taper', 'free', not"),
    ({"method": "wavelets"}, ValueError, "method must be one of .*, not 'wavelets'; did you mean 'wavelet'"),
    ({"lam": "gvc"}, ValueError, "lam must be one of .*, not 'gvc'; did you mean 'gcv'"),
    ({"bondary": "edge"}, TypeError, "no option 'bondary'; its options are .*; did you mean 'boundary'"),
    ({"max_itr": 9, "tile_": 9}, TypeError, "did you mean 'max_iter'.; did you mean 'tile'"),
    ({"method": lambda problem: None, "tyle": 9}, TypeError, "it has no options; did you mean 'tile'"),
    ({"xyz": 1}, TypeError, "no option 'xyz'; its options are .*'max_iter'$"),
    ({"lamda": 1}, TypeError, "method 'tikhonov' has no option 'lamda'; its options are 'lam', 'penalty'"),
    ({"method": "inverse", "lam": 1}, TypeError, "method 'inverse' has no option 'lam'; its options are 'threshold'"),
    ({"lam": -1}, ValueError, "lam must not be negative: -1"),
    ({"lam": np.nan}, ValueError, "lam must be finite, not nan"),
    ({"lam": None}, TypeError, "lam must be a number, not None"),
    ({"lam": True}, TypeError, "lam must be a number, not True"),
    ({"lam": [1, 2]}, TypeError, r"lam must be a number, not \[1, 2\]"),
    ({"lam": "best"}, ValueError, "lam must be one of 'auto', 'evidence', 'gcv', .*, not 'best'"),
    ({"lam": 1, "penalty": "tv"}, ValueError, "penalty must be one of 'identity', 'gradient', .*, not 'tv'"),
    ({"lam": 1, "penalty": [1, -1]}, ValueError, r"penalty must have 2 axes, but its shape \(2,\) has 1"),
    ({"lam": 1, "penalty": None}, TypeError, "penalty must be an array of real numbers"),
    ({"lam": 1, "penalty": lambda *w: -1.0}, ValueError, "penalty must return real, finite values >= 0"),
    ({"lam": 1, "penalty": lambda *w: 1j}, ValueError, "penalty must return real, finite values >= 0"),
    ({"lam": 1, "penalty": lambda *w: np.ones(3)}, ValueError, r"penalty returned shape \(3,\), which does not broad"),
    ({"lam": 1, "penalty": np.ones((99, 9))}, ValueError, r"penalty \(99, 9\) is larger than the grid"),
    ({"lam": 1, "tau": 0}, ValueError, "tau must be greater than 0, not 0"),
    ({"effort": "high"}, ValueError, "effort must be one of 'fast', 'accurate', not 'high'"),
    ({"lam": 1, "tol": 0}, ValueError, "tol must be greater than 0, not 0"),
    ({"lam": 1, "max_iter": 0}, ValueError, "max_iter must be .*at least 1, not 0"),
    ({"lam": 1, "max_iter": 2.5}, TypeError, "max_iter must be a whole number"),
    ({"method": "inverse", "tol": -1}, ValueError, "tol must be greater than 0, not -1"),
    ({"method": "wiener", "nsr": 1, "max_iter": 0}, ValueError, "max_iter must be .*at least 1, not 0"),
    ({"noise_std": 0}, ValueError, "noise_std must be greater than 0, not 0"),
    ({"noise_std": "low"}, TypeError, "noise_std must be a number, not 'low'"),
    ({"lam": 0.1, "noise_width": 0.5, "noise_floor": 0}, ValueError, "noise_floor must be greater than 0, not 0"),
    ({"lam": "discrepancy", "safety": -1}, ValueError, "safety must be greater than 0, not -1"),
    ({"method": "inverse", "threshold": -1}, ValueError, "threshold must not be negative: -1"),
    ({"method": "wiener", "nsr": -1}, ValueError, "nsr must not be negative: -1"),
    ({"method": "wiener", "nsr": "low"}, ValueError, "nsr must be one of 'auto', 'evidence', .*, not 'low'"),
    ({"method": "wiener", "nsr": 1, "noise_power": 1, "signal_power": 1}, ValueError, "give either nsr= or noise_pow"),
    ({"method": "wiener", "noise_power": 1}, ValueError, "needs noise_power= and signal_power= together"),
    ({"method": "wiener", "signal_power": 1}, ValueError, "needs noise_power= and signal_power= together"),
    ({"method": "wiener", "noise_power": 0, "signal_power": 1}, ValueError, "noise_power must be greater than 0"),
    ({"method": "wiener", "noise_power": 1, "signal_power": [1]}, ValueError, "signal_power must have 2 axes"),
    ({"lam": 1, "spacing": (1, 2, 3)}, ValueError, r"spacing must be 2 positive numbers, .* not \(1, 2, 3\)"),
    ({"lam": 1, "spacing": 0}, ValueError, "spacing must be 2 positive numbers, one per spatial axis, not 0"),
    ({"lam": 1, "spacing": (1, np.inf)}, ValueError, "spacing must be 2 positive numbers"),
    ({"lam": 1, "spacing": "0.5 um"}, (TypeError, ValueError), "spacing must be 2 positive numbers"),
    ({"lam": 1, "spacing": (1, None)}, (TypeError, ValueError), "spacing must be 2 positive numbers"),
    ({"lam": 1, "workers": 0}, ValueError, "workers must be .*at least 1, not 0"),
    ({"lam": 1, "workers": -1}, ValueError, "workers must be .*at least 1, not -1"),
    ({"lam": 1, "workers": 1.5}, TypeError, "workers must be a whole number"),
    ({"lam": 1, "workers": "all"}, TypeError, "workers must be a whole number"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "error", "message"), OPTIONS)
def test_options(options: dict[str, Any], error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        restore(G, H, **options)


def test_a_penalty_of_nothing_determines_no_lambda() -> None:
    with pytest.raises(ValueError, match=r"penalty is zero at every frequency: .*; use a named one, or lam=0"):
        restore(G, H, lam="gcv", penalty=lambda *frequencies: 0.0)


def test_an_image_of_one_pixel() -> None:
    """On its periodic grid every penalty on differences vanishes: the pixel is its own restoration."""
    assert restore([[0.3]], [[1.0]], lam=1, boundary="periodic").image == pytest.approx(0.3)
    result = restore([[0.3]], [[1.0]], boundary="periodic")
    assert result.image == pytest.approx(0.3)
    assert "does not vary" in result.message


def test_nothing_determines_what_the_blur_erases() -> None:
    """A box of 4 x 4 has exact zeros on a grid of 8 x 8: in 3 of 8 rows, and in 2 more of the 5 columns of the rest."""
    message = r"both zero at 25 frequencies.*use a positive lam, or a penalty that vanishes only at frequency zero"
    with pytest.raises(ValueError, match=message):
        restore(G[:8, :8], np.full((4, 4), 1 / 16), lam=0, boundary="periodic")


PLANS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({}, TypeError, "lam"),
    ({"lam": "gcv"}, TypeError, "lam must be a number, not 'gcv'"),
    ({"lam": 1, "nsr": 1}, TypeError, "plan.*'tikhonov'.* has no option 'nsr'; its options are 'lam', 'penalty'"),
    ({"method": "wiener"}, ValueError, "wiener needs noise_power= and signal_power= together, or nsr= alone"),
    ({"method": "wiener", "nsr": 1, "noise_power": 1, "signal_power": 1}, ValueError, "not both"),
    ({"method": "lucy"}, ValueError, "method must be one of 'inverse', 'wiener', 'tikhonov',.* not 'lucy'"),
    ({"lam": 1, "boundary": "reflect"}, ValueError, "boundary must be one of"),
    ({"lam": 1, "shape": (20, 23, 3)}, ValueError, r"shape must be 2 whole numbers of at least 1, not \(20, 23, 3\)"),
    ({"lam": 1, "shape": (20, 0)}, ValueError, "shape must be 2 whole numbers of at least 1"),
    ({"lam": 1, "shape": (20, 2.5)}, TypeError, "shape must be a whole number or one per axis"),
    ({"lam": 1, "shape": (2, 20)}, ValueError, r"psf \(3, 4\) is larger than the image \(2, 20\)"),
    ({"lam": 1, "spacing": -1}, ValueError, "spacing must be 2 positive numbers"),
    ({"lam": 1, "workers": 0}, ValueError, "workers must be"),
    ({"lam": 1, "tol": 0}, ValueError, "tol must be greater than 0, not 0"),
    ({"lam": 1, "max_iter": 0}, ValueError, "max_iter must be .*at least 1, not 0"),
    ({"lam": 1, "dtype": complex}, (TypeError, ValueError), "dtype"),
]


@pytest.mark.parametrize(("options", "error", "message"), PLANS)
def test_plans(options: dict[str, Any], error: Any, message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        plan(H, **({"shape": G.shape} | options))
    assert "_gain" not in str(caught.value)  # no private name


@pytest.mark.parametrize("image", [G.T, G[0], G[:-1]])
def test_a_plan_is_for_one_shape(image: Any) -> None:
    message = re.escape(f"image has shape {image.shape}, but this plan is for images of shape (20, 23)")
    with pytest.raises(ValueError, match=message):
        plan(H, G.shape, lam=1)(image)


def test_a_plan_checks_its_image_and_its_tolerance() -> None:
    frozen = plan(H, G.shape, lam=1)
    with pytest.raises(ValueError, match="image has 1 values that are NaN"):
        frozen(with_value(G, np.nan))
    with pytest.raises(TypeError, match="image is complex"):
        frozen(G + 1j)
    with pytest.raises(ValueError, match="tol must be greater than 0"):
        frozen.reach(0)


OTHERS: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: simulate.blur(G, H, boundary="taper"), ValueError, "boundary must be one of 'valid', 'periodic'"),
    (lambda: simulate.blur(H, G), ValueError, r"psf \(20, 23\) is larger than the image \(3, 4\)"),
    (lambda: simulate.valid_part(H, G), ValueError, r"psf \(20, 23\) is larger than the image \(3, 4\)"),
    (lambda: simulate.blur(G[0], H), ValueError, "image must have 2 or 3 axes"),
    (lambda: simulate.blur(G, H, channel_axis=0), ValueError, "image must have 3 or 4 axes"),
    (lambda: simulate.add_noise(G), ValueError, "give noise_std=, bsnr= or photons=: how much noise"),
    (lambda: simulate.add_noise(G, bsnr=20, noise_std=1), ValueError, "give noise_std= or bsnr=, not both"),
    (lambda: simulate.add_noise(G, noise_std=0), ValueError, "noise_std must be greater than 0"),
    (lambda: simulate.add_noise(G, photons=-3), ValueError, "photons must be greater than 0, not -3"),
    (lambda: simulate.add_noise(G - 1, photons=9), ValueError, "photons= needs an image without negative values"),
    (lambda: simulate.add_noise(0 * G, photons=9), ValueError, "photons= needs .* with some light"),
    (lambda: simulate.add_noise(G + 1j, photons=9), TypeError, "image is complex"),
    (lambda: simulate.add_noise(0 * G + 1, bsnr=20), ValueError, "bsnr"),
    (lambda: simulate.add_noise(G, bsnr="20"), TypeError, "bsnr must be a number"),
    (lambda: noise.estimate_noise_std(G[0]), ValueError, "image must have 2 or 3 axes"),
    (lambda: noise.estimate_noise_std(G, H), ParameterChoiceError, "erases only 2 frequencies.*without psf="),
    (lambda: noise.estimate_noise_std(H, G), ValueError, "psf .* is larger than the"),
    (lambda: noise.estimate_noise_std(RGB, np.stack([H, H]), channel_axis=2), ValueError, "psf holds 2 PSFs"),
    (lambda: spectrum.transfer_function(H, (2, 9)), ValueError, r"psf \(3, 4\) is larger than the grid \(2, 9\)"),
    (lambda: spectrum.transfer_function(H[0], (9, 9)), ValueError, "psf .*axes"),
    (lambda: spectrum.power_spectrum(-1, (9, 9), "noise_power"), ValueError, "noise_power must be greater than 0"),
    (lambda: boundary.extend(G, (40, 40), "taper"), ValueError, "boundary='taper' needs psf="),
    (lambda: boundary.extend(G, (40, 40), "reflect"), ValueError, "boundary must be one of"),
    (lambda: boundary.grid_shape((9, 9), (3, 3), "reflect"), ValueError, "boundary must be one of"),
    (lambda: _validate.check_same_shape(G, H, "a", "b"), ValueError, r"a has shape \(20, 23\) and b \(3, 4\); crop"),
    (lambda: _validate.check_size("ab", 2), TypeError, "size must be a whole number or one per axis, not 'ab'"),
]


@pytest.mark.parametrize(("call", "error", "message"), OTHERS)
def test_other_functions(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_rules_check_their_arguments() -> None:
    curves = spectrum.Bins(np.ones(1), np.ones(1), np.ones(1), 0.0, 1.0).curves(np.logspace(-2, 2, 5))
    with pytest.raises(ValueError, match=r"lam must be one of 'evidence', 'gcv', .*, not 'best'"):
        selection.choose(curves, "best")
    for rule in selection.NEED_NOISE:
        with pytest.raises(ValueError, match=f"lam='{rule}' needs the noise level: give noise_std="):
            selection.choose(curves, rule)
    with pytest.raises(ValueError, match="safety must be greater than 0"):
        selection.choose(curves, "discrepancy", noise_std=1, safety=0)


@pytest.mark.parametrize("rule", ["evidence", "gcv", "l-curve"])
def test_a_rule_on_an_image_without_variation(rule: str) -> None:
    with pytest.raises(ParameterChoiceError, match=rf"{rule} is not defined for these data .*; give a number"):
        restore(np.zeros((20, 23)), H, lam=rule)


def test_a_callable_without_options() -> None:
    with pytest.raises(TypeError, match=r"has no option 'lam'; it (has|takes) no options"):
        restore(G, H, method=lambda problem: problem, lam=1)


def test_a_method_that_returns_something_else() -> None:
    with pytest.raises(TypeError, match="Solution"):
        restore(G, H, method=lambda problem: problem.image)


def test_families() -> None:
    """What may be caught together."""
    assert issubclass(MissingDependencyError, ImportError)
    assert issubclass(ParameterChoiceError, RuntimeError)
    for warning in (ConvergenceWarning, LambdaAtBoundaryWarning):
        assert issubclass(warning, LsdeblurWarning)
    assert issubclass(LsdeblurWarning, UserWarning)
