"""The rules that choose lambda: their formulas, and what they find in data drawn from the model that they assume."""

from __future__ import annotations

import dataclasses
import math
import warnings

import numpy as np
import pytest
import reference
from reference import Array
from skimage import data

from lsdeblur import (
    LambdaAtBoundaryWarning,
    ParameterChoiceError,
    Problem,
    Solution,
    metrics,
    psf,
    restore,
    selection,
    simulate,
    spectrum,
)
from lsdeblur.boundary import BOUNDARIES
from lsdeblur.errors import LsdeblurWarning
from lsdeblur.selection import RULES, choose
from lsdeblur.spectrum import Bins, Curves, Spectra, penalty_symbol, transfer_function

SHAPE = (64, 63)
SIGMA, SIGNAL = 0.05, 0.4  # noise, and f with the spectrum SIGNAL^2 / P
TRUE = SIGMA**2 / SIGNAL**2
H = transfer_function(reference.psf((6, 5)), SHAPE)
P = penalty_symbol("laplacian+gradient", SHAPE)


def draw(seed: int) -> Array:
    """A blurred image from the model of Tikhonov's penalty, a Gaussian f with power SIGNAL^2 / P, and white noise."""
    rng = np.random.default_rng(seed)
    with np.errstate(divide="ignore"):
        amplitude = np.where(P > 0, SIGNAL / np.sqrt(P), 0)
    f = amplitude * np.fft.rfft2(rng.standard_normal(SHAPE))
    return np.fft.irfft2(H * f, SHAPE) + SIGMA * rng.standard_normal(SHAPE)


def bins_of(g: Array) -> Bins:
    return Spectra(H, P, np.fft.rfft2(g)[np.newaxis], SHAPE).binned()


def model_bins() -> Bins:
    """The expected energies of the model: the variance of every frequency is ``sigma^2 (1 + s / lambda)``."""
    bins = bins_of(np.zeros(SHAPE))
    return dataclasses.replace(bins, energy=bins.count * SIGMA**2 * (1 + bins.s / TRUE))


def expected_spread(rule: str) -> float:
    """Standard deviation of log lambda by each rule, to first order in the fluctuations of the energies.

    A rule's derivative by log lambda, C', is zero at its answer, so the answer moves by ``-dC' / C''``: with the
    energies' variances ``2 v^2 / n`` for n frequencies of variance v = 1 / q each (sigma = 1), all at the true lambda.

    evidence: the Fisher information of log lambda, the unknown noise level eliminated. SURE: C' = sum of
    ``2 q^2 (1-q) E`` and a constant. GCV: the same divided by R, and so less what all energies have in common.
    """
    bins = model_bins()
    n, q = bins.count, TRUE / (bins.s + TRUE)
    b = np.sum(n * q * (1 - q)) / np.sum(n * q)
    match rule:
        case "evidence":
            return math.sqrt(2 / (np.sum(n * (1 - q) ** 2) - np.sum(n * (1 - q)) ** 2 / np.sum(n)))
        case "sure":
            return math.sqrt(8 * np.sum(n * q**2 * (1 - q) ** 2)) / (2 * np.sum(n * q * (1 - q) ** 2))
        case "gcv":
            bend = 2 * np.sum(n * q * (1 - q) ** 2) - 2 * b**2 * np.sum(n * q)
            return math.sqrt(8 * np.sum(n * q**2 * (1 - q - b) ** 2)) / bend
    raise AssertionError(rule)


@pytest.mark.parametrize("rule", ["evidence", "gcv", "sure"])
@pytest.mark.parametrize("seed", range(3))
def test_rules_recover_lambda(rule: str, seed: int) -> None:
    """Within 4 of its own standard deviations, which are small enough for this to mean something."""
    bins = bins_of(draw(seed))
    chosen = choose(bins.curves(bins.lambdas()), rule, noise_std=SIGMA)
    spread = expected_spread(rule)
    assert spread < 0.25
    assert abs(math.log(chosen.lam / TRUE)) < 4 * spread


@pytest.mark.parametrize("rule", ["evidence", "gcv", "sure"])
def test_rules_have_their_optimum_at_the_truth(rule: str) -> None:
    """With the expected energies instead of random ones: only the search's own error is left.

    It is that of a parabola through three points, of second order in their distance (0.13 in log lambda).
    """
    bins = model_bins()
    lams = bins.lambdas()
    step = math.log(lams[1] / lams[0])
    assert abs(math.log(choose(bins.curves(lams), rule, noise_std=SIGMA).lam / TRUE)) < step**2


@pytest.mark.parametrize("safety", [0.95, 1.0, 1.1])
def test_discrepancy_meets_the_noise(safety: float) -> None:
    """R = safety n sigma^2, up to the line between two samples of R.

    Its error is at most step^2 / 8 times the largest second derivative by log lambda, where ``q^2`` has
    ``2 q^2 (1-q)(2-3q)``, at most 16/27 in magnitude.
    """
    bins = bins_of(draw(0))
    lams = bins.lambdas()
    chosen = choose(bins.curves(lams), "discrepancy", noise_std=SIGMA, safety=safety)
    bound = math.log(lams[1] / lams[0]) ** 2 / 8 * 16 / 27 * bins.energy.sum()
    target = safety * SIGMA**2 * math.prod(SHAPE)
    assert bins.curves(chosen.lam).residual[0] == pytest.approx(target, abs=bound)


@pytest.mark.parametrize(
    ("h", "source"), [(psf.gaussian(2.0), "read where the blur erased"), (psf.gaussian(0.5), "estimated from wavelets")]
)
@pytest.mark.parametrize("boundary", ["taper", "free"])
def test_discrepancy_says_where_the_noise_level_is_from(h: Array, source: str, boundary: str) -> None:
    result = restore(draw(0), h, lam="discrepancy", boundary=boundary)
    assert source in result.message
    assert result.noise_std is not None
    given = restore(draw(0), h, lam="discrepancy", noise_std=result.noise_std, boundary=boundary)
    assert "noise" not in given.message
    assert given.lam == result.lam


def test_discrepancy_smooths_more_with_more_safety() -> None:
    curves = bins_of(draw(0)).curves(np.logspace(-8, 2, 100))
    lams = [choose(curves, "discrepancy", noise_std=SIGMA, safety=s).lam for s in (0.95, 1.0, 1.05, 1.1)]
    assert np.all(np.diff(lams) > 0)


def test_formulas_against_dense_matrices() -> None:
    """Evidence is -2 log of the probability of the data, apart from a constant, the noise level being integrated out.

    The prior has the covariance pinv(P) / lambda, so that the data have ``C = 1 + K pinv(P) K' / lambda``; the mean,
    which P leaves free, is projected out.
    """
    shape, sigma, safety = (6, 7), 0.3, 1.2
    g, h = reference.image(shape), reference.psf((3, 2))
    K, penalty = reference.convolution_matrix(h, shape), reference.penalty_matrix("laplacian", shape)
    lams = np.logspace(-3, 1, 7)
    dense = [reference.curves(K, penalty, lam, g) for lam in lams]
    n = g.size
    expected: dict[str, list[float]] = {
        "gcv": [n * c["residual"] / (n - c["dof"]) ** 2 for c in dense],
        "sure": [c["residual"] / sigma**2 + 2 * c["dof"] - n for c in dense],
        "discrepancy": [c["residual"] / (n * sigma**2) - safety for c in dense],
        "evidence": [],
    }
    centred, y = np.linalg.qr(np.eye(n) - 1 / n)[0][:, : n - 1], g.ravel()
    for lam in lams:
        C = centred.T @ (np.eye(n) + K @ np.linalg.pinv(penalty, rcond=1e-10) @ K.T / lam) @ centred
        quadratic = y @ centred @ np.linalg.solve(C, centred.T @ y)
        expected["evidence"].append((n - 1) * math.log(quadratic) + np.linalg.slogdet(C)[1])
    Y = np.fft.rfft2(g)[np.newaxis]
    data = Spectra(transfer_function(h, shape), penalty_symbol("laplacian", shape), Y, shape).exact()
    for rule, values in expected.items():
        np.testing.assert_allclose(RULES[rule](data.curves(lams), sigma, safety), values, rtol=1e-9, err_msg=rule)


def test_curvature_is_that_of_the_drawn_curve() -> None:
    """Central differences of (log R, log E) by log lambda; their error is of the order step^2 and rounding / step^2."""
    bins = bins_of(draw(0))
    lams, step = np.logspace(-6, 1, 30), 1e-3
    sides = [bins.curves(lams * np.exp(i * step)) for i in (-1, 0, 1)]
    x, y = ([np.log(getattr(c, name)) for c in sides] for name in ("residual", "seminorm"))
    x1, y1 = ((a[2] - a[0]) / (2 * step) for a in (x, y))
    x2, y2 = ((a[2] - 2 * a[1] + a[0]) / step**2 for a in (x, y))
    expected = (x1 * y2 - x2 * y1) / np.hypot(x1, y1) ** 3
    np.testing.assert_allclose(RULES["l-curve"](sides[1], 0.0, 1.0), expected, rtol=1e-4, atol=1e-5)


def test_l_curve_chooses_the_largest_curvature() -> None:
    curves = bins_of(draw(0)).curves(np.logspace(-6, 1, 200))
    chosen = choose(curves, "l-curve")
    i = int(np.argmax(chosen.values))
    assert curves.lams[i - 1] < chosen.lam < curves.lams[i + 1]
    assert chosen.values[i] > 0


@pytest.mark.parametrize("rule", ["evidence", "gcv", "sure"])
def test_the_minimum_is_refined(rule: str) -> None:
    """Twenty times fewer lambdas find the same one to a fraction of their distance."""
    bins = bins_of(draw(0))
    few, many = (choose(bins.curves(bins.lambdas(n)), rule, noise_std=SIGMA).lam for n in (60, 1200))
    step = 11 * math.log(10) / 59
    assert abs(math.log(few / many)) < step / 4


def test_selection_holds_everything() -> None:
    bins = bins_of(draw(0))
    curves = bins.curves(bins.lambdas())
    chosen = choose(curves, "gcv")
    assert set(chosen.choices) | {"l-curve"} == set(chosen.criteria) == {"evidence", "gcv", "l-curve"}
    assert chosen.lam == chosen.choices["gcv"]
    assert chosen.values is chosen.criteria["gcv"]
    for name in ("lams", "residual", "seminorm", "dof", "n_obs"):
        assert getattr(chosen, name) is getattr(curves, name)
    assert not chosen.at_boundary
    assert set(choose(curves, "gcv", noise_std=SIGMA).criteria) == set(RULES)


@pytest.mark.parametrize("rule", ["evidence", "gcv", "sure", "l-curve"])
@pytest.mark.parametrize(("factor", "end"), [(1e3, "lower"), (1e-3, "upper")])
def test_an_extremum_at_the_end_is_no_answer(rule: str, factor: float, end: str) -> None:
    """A range that does not contain the answer."""
    bins = bins_of(draw(0))
    answer = choose(bins.curves(bins.lambdas()), rule, noise_std=SIGMA).lam
    lams = answer * factor * np.logspace(-1, 1, 20)
    with pytest.raises(ParameterChoiceError, match=f"{rule} has (its extremum at the {end} end|no corner)"):
        choose(bins.curves(lams), rule, noise_std=SIGMA)


@pytest.mark.parametrize(("noise_std", "message"), [(10.0, "stays below the noise"), (1e-4, "is above the noise")])
def test_discrepancy_without_an_answer(noise_std: float, message: str) -> None:
    curves = bins_of(draw(0)).curves(np.logspace(-3, 1, 50))
    with pytest.raises(ParameterChoiceError, match=f"discrepancy: the residual {message} at every lambda"):
        choose(curves, "discrepancy", noise_std=noise_std)


def two_bins(energy: tuple[float, float]) -> Curves:
    """100 frequencies with s = 1 and as many with s = 0.5.

    The model's ratio of their variances lies between 1 (lambda -> infinity) and 2 (lambda -> 0). An L-curve of so
    small a range of s has no corner, as x' - y' is nearly 2 everywhere.
    """
    bins = Bins(np.array([1.0, 0.5]), np.array([100.0, 100.0]), np.array(energy), 0.0, 1.0)
    return bins.curves(np.logspace(-4, 4, 100))


def test_auto_takes_the_larger_of_evidence_and_gcv() -> None:
    curves = two_bins((150.0, 100.0))
    chosen, message = selection.auto(curves)
    answers = {rule: choose(curves, rule).lam for rule in ("evidence", "gcv")}
    assert chosen.lam == max(answers.values())
    assert chosen.criterion == max(answers, key=answers.__getitem__)
    assert message.startswith(f"lambda {chosen.lam:.3g} by {chosen.criterion}; ")


@pytest.mark.parametrize(("energy", "end"), [((50.0, 100.0), "upper"), ((500.0, 100.0), "lower")])
def test_auto_without_an_answer_says_so(energy: tuple[float, float], end: str) -> None:
    curves = two_bins(energy)
    chosen, message = selection.auto(curves)
    assert chosen.at_boundary
    assert chosen.lam == curves.lams[-1 if end == "upper" else 0]
    seen = "nothing but noise" if end == "upper" else "no noise"
    assert message.endswith(f"is the end of the range: evidence and gcv see {seen}")


def exact_curves(energy: Array | None = None) -> Curves:
    """What an exact solution adds to the curves of `bins_of`: a periodic image is one; half-decade lambdas."""
    C = np.abs(H) ** 2 + (lams := TRUE * np.logspace(-1, 1, 5)[:, np.newaxis, np.newaxis]) * P
    q, weights = lams * P / C, spectrum.hermitian_weights(SHAPE)
    bins = model_bins()
    noise = np.sum(weights * np.abs(H) ** 2 / C**2 * q, axis=(1, 2))
    with np.errstate(divide="ignore"):
        power = SIGMA**2 * np.where(P > 0, 1 + np.abs(H) ** 2 / (TRUE * P), 0) if energy is None else energy
    change = np.sum(weights * np.abs(H) ** 2 / C**2 * q**2 * power, axis=(1, 2))
    return dataclasses.replace(bins.curves(lams.ravel()), change=change, noise_change=noise)


def test_image_error_has_its_optimum_at_the_truth() -> None:
    """Where the model holds it agrees with the other rules; apart from the line between samples half a decade apart."""
    chosen, _ = selection.auto(exact_curves())
    assert set(chosen.choices) >= {"evidence", "gcv", "image-error"}
    assert chosen.choices["image-error"] == pytest.approx(TRUE, rel=0.05)
    assert np.all(np.diff(chosen.criteria["image-error"]) > 0)


@pytest.mark.parametrize("factor", [0.7, 1.0, 1.4])
@pytest.mark.parametrize("coloured", [False, True])
def test_auto_takes_the_largest_of_exact_curves(factor: float, coloured: bool) -> None:
    curves = exact_curves()
    assert curves.change is not None
    curves = dataclasses.replace(curves, change=factor * curves.change, logdet=curves.logdet * 0.9)
    chosen, message = selection.auto(curves, coloured=coloured)
    rules = {"image-error", "gcv", "evidence"} if coloured else {"image-error", "gcv"}
    assert chosen.lam == max(chosen.choices[rule] for rule in rules)
    assert chosen.lam == chosen.choices[chosen.criterion]
    assert message.startswith(f"lambda {chosen.lam:.3g} by {chosen.criterion}; ")


@pytest.mark.parametrize(("factor", "side"), [(1e6, "is above"), (1e-6, "stays below")])
def test_auto_without_an_image_error_takes_the_next_rules(factor: float, side: str) -> None:
    curves = exact_curves()
    assert curves.change is not None
    curves = dataclasses.replace(curves, change=factor * curves.change)
    chosen, _ = selection.auto(curves)
    assert chosen.lam == max(chosen.choices[rule] for rule in ("evidence", "gcv"))
    assert "image-error" not in chosen.choices
    with pytest.raises(ParameterChoiceError, match=f"image-error: the image's change with lambda {side} the noise"):
        selection._root(curves.lams, chosen.criteria["image-error"], "image-error")


@pytest.mark.parametrize("rule", ["auto", "evidence", "gcv", "sure"])
def test_more_lambdas_are_needed_where_the_answer_is_not_among_them(rule: str) -> None:
    """Of the lambdas 0.1, 0.3 .. 10 times the truth the first, middle and last three."""
    curves = exact_curves()
    names = [f.name for f in dataclasses.fields(Curves) if isinstance(getattr(curves, f.name), np.ndarray)]

    def needed(part: slice) -> int:
        some = dataclasses.replace(curves, **{name: getattr(curves, name)[part] for name in names})
        return selection.uphill(some, rule, noise_std=SIGMA)

    assert [needed(slice(i, i + 3)) for i in (0, 1, 2)] == [1, 0, -1]


@pytest.mark.parametrize("value", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("boundary", ["periodic", "symmetric", "edge", "taper", "free"])
def test_a_constant_image_says_so(value: float, boundary: str) -> None:
    """Any lambda restores it; rounding errors of the transform are not taken for data."""
    g = np.full((21, 23), value)
    result = restore(g, reference.psf((3, 4)), boundary=boundary)
    np.testing.assert_allclose(result.image, g, rtol=1e-12, atol=1e-15)
    assert "does not vary" in result.message


@pytest.mark.parametrize("rule", ["evidence", "gcv", "discrepancy", "sure", "l-curve", "auto"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_lambda_does_not_depend_on_the_units_of_the_image(rule: str, dtype: type) -> None:
    """Times 8, with which floating-point numbers are exact, and so are bins and minima."""
    g, h = draw(0).astype(dtype), reference.psf((6, 5))
    noise = {"noise_std": SIGMA} if rule in selection.NEED_NOISE else {}
    noise8 = {name: 8 * value for name, value in noise.items()}
    one = restore(g, h, lam=rule, boundary="periodic", **noise)
    eight = restore(8 * g, h, lam=rule, boundary="periodic", **noise8)
    assert eight.lam == pytest.approx(one.lam, rel=1e-6)
    assert eight.noise_std == pytest.approx(8 * one.noise_std, rel=1e-6)
    np.testing.assert_allclose(eight.image, 8 * one.image, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("scale", [2.0**-64, 4.0, 2.0**40, 2.0**130, 2.0**-130])
def test_lambda_is_in_units_of_the_penalty(scale: float) -> None:
    """c P and lambda / c are the same problem."""
    g, h = draw(0), reference.psf((6, 5))
    operator = np.array([[0.0, -1, 0], [-1, 4, -1], [0, -1, 0]])
    one, other = (restore(g, h, penalty=c * operator, boundary="periodic") for c in (1.0, math.sqrt(scale)))
    assert other.lam * scale == pytest.approx(one.lam, rel=1e-6)
    np.testing.assert_allclose(other.image, one.image, rtol=0, atol=1e-6)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_noise_level_of_a_restoration(boundary: str) -> None:
    """Gaps that were made up carry less noise of their own than the frame; that is allowed for.

    The scene ends within the frame, so every boundary is right. It is not drawn from the model: a few per cent.
    """
    g = np.zeros(SHAPE)
    g[20:45, 18:40] = np.add.outer(np.linspace(0, 1, 25), np.linspace(0, 2, 22))
    h = reference.psf((6, 5))
    g = reference.blur(g, h, "zero") + SIGMA * np.random.default_rng(0).standard_normal(SHAPE)
    assert restore(g, h, boundary=boundary).noise_std == pytest.approx(SIGMA, rel=0.05)


def test_least_error_is_the_ratio_of_the_powers() -> None:
    """For a white signal of power S the best constant ratio is noise over signal; a flat penalty."""
    bins = Bins(np.logspace(-4, 0, 50), np.full(50, 7.0), np.full(50, 7.0 * 2.5), 1.0, 1.0)
    chosen = selection.least_error(bins, bins.curves(bins.lambdas()), 0.05)
    assert chosen.lam == pytest.approx(0.05 / 2.5, rel=1e-2)
    assert chosen.criterion == "least-error"


def test_least_error_at_the_end_says_so() -> None:
    bins = Bins(np.logspace(-4, 0, 50), np.full(50, 7.0), np.full(50, 7.0), 1.0, 1.0)
    chosen = selection.least_error(bins, bins.curves(np.logspace(0, 2, 20)), 1e-3)
    assert chosen.at_boundary
    assert chosen.lam == 1


def test_restore_warns_of_a_lambda_at_the_end() -> None:
    chosen, message = selection.auto(two_bins((500.0, 100.0)))

    def method(problem: Problem) -> Solution:
        return Solution(problem.image, lam=chosen.lam, selection=chosen, message=message)

    with pytest.warns(
        LambdaAtBoundaryWarning, match="is the end of the range.*give a number if you know better"
    ) as seen:
        restore(np.ones((5, 6)), [[1.0]], method=method)
    assert seen[0].filename == __file__


def test_messages_of_select() -> None:
    curves = bins_of(draw(1)).curves(np.logspace(-6, 1, 100))
    chosen, message = selection.select(curves, "gcv")
    assert chosen.lam == choose(curves, "gcv").lam
    assert message == f"lambda {chosen.lam:.3g} by gcv"
    assert selection.select(curves, "auto")[1] == selection.auto(curves)[1]


@pytest.mark.parametrize("effort", ["fast", "accurate"])
@pytest.mark.parametrize(("scene", "sigma"), [("coins", 0.7), ("camera", 1.0), ("brick", 3.0)])
def test_where_no_noise_can_be_seen(scene: str, sigma: float, effort: str) -> None:
    """Little smoothing then: the L-curve's corner, and a colour of what is no noise, would lose all of the detail."""
    h, sharp = psf.gaussian(sigma), getattr(data, scene)()[:300, :300] / 255
    blurred, truth = simulate.blur(sharp, h), simulate.valid_part(sharp, h)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LsdeblurWarning)
        result = restore(blurred, h, effort=effort)
    assert result.noise_width == 0
    assert metrics.psnr(result.image, truth, data_range=1) > metrics.psnr(blurred, truth, data_range=1) + 10
