"""Point-spread functions against closed forms, brute force, and the physics they stand for."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.signal
from scipy.special import erf, j0, j1

from lsdeblur import psf
from lsdeblur.errors import LsdeblurWarning

# Every generator that takes size=, with its number of axes. All are symmetric about their centre.
SIZED: dict[str, tuple[Callable[..., Any], int]] = {
    "delta": (lambda **k: psf.delta(**k), 2),
    "delta-3d": (lambda **k: psf.delta(3, **k), 3),
    "gaussian": (lambda **k: psf.gaussian(1.3, **k), 2),
    "gaussian-axes": (lambda **k: psf.gaussian((0.4, 3.0), **k), 2),
    "gaussian-turned": (lambda **k: psf.gaussian((0.8, 2.5), angle=25, **k), 2),
    "gaussian-3d": (lambda **k: psf.gaussian((2.0, 1.0, 0.7), **k), 3),
    "motion": (lambda **k: psf.motion(9.7, 40, **k), 2),
    "disk": (lambda **k: psf.disk(3.3, **k), 2),
    "airy": (lambda **k: psf.airy(0.5, 0.1, na=0.6, **k), 2),
    "moffat": (lambda **k: psf.moffat(3.0, 3.5, **k), 2),
    "kolmogorov": (lambda **k: psf.kolmogorov(0.2, 500e-9, 0.25, **k), 2),
}
OTHERS: dict[str, Callable[[], Any]] = {
    "box": lambda: psf.box((3, 4.5)),
    "box-3d": lambda: psf.box((1, 2, 3)),
    "shake": lambda: psf.shake((20, 31), rng=1),
    "combine": lambda: psf.combine(psf.motion(7, 20), psf.disk(2.2), psf.gaussian(0.8)),
    "from_image": lambda: psf.from_image(5 + psf.gaussian(1.0, size=31)),
    "from_points": lambda: psf.from_points(5 + psf.gaussian(1.5, size=41), [(20, 20)], size=15),
}
sized = pytest.mark.parametrize(("make", "ndim"), SIZED.values(), ids=SIZED.keys())


def offsets(h: Any) -> Any:
    """Distance of every pixel from the centre s // 2, one array per axis."""
    return [i - s // 2 for i, s in zip(np.indices(h.shape), h.shape, strict=True)]


def covariance(h: Any) -> Any:
    d = np.stack([o.ravel() for o in offsets(h)])
    return (d * h.ravel()) @ d.T


def transfer(h: Any, f: Any) -> complex:
    """Transfer function at one frequency f (cycles per pixel and axis), with the origin at the centre."""
    phase = sum(fi * o for fi, o in zip(f, offsets(h), strict=True))
    return complex((h * np.exp(-2j * np.pi * phase)).sum())


def folded(otf: Callable[..., Any], f: Any, m: int) -> float:
    """Fejer sum of otf(f + k) sinc sinc over whole k with |k| < m: what pixels make of an optical transfer function."""
    k = np.arange(-m + 1, m)
    fy, fx = (f[0] + k)[:, None], f[1] + k
    fejer = (1 - np.abs(k) / m)[:, None] * (1 - np.abs(k) / m)
    return float((fejer * otf(fy, fx) * np.sinc(fy) * np.sinc(fx)).sum())


def fejer_reach(m: int) -> float:
    """Mean |shift| under the Fejer kernel of order m, from the Fourier series of |shift| on [-1/2, 1/2].

    The Fejer sum of order m is the transfer function averaged over such shifts of the PSF, so it is wrong by at most
    this times the change of the transfer function per pixel of shift.
    """
    k = np.arange(1, m, 2)
    return float(0.25 - 2 / np.pi**2 * ((1 - k / m) / k**2).sum())


def pixel_mean(density: Callable[..., Any], row: int, column: int, n: int = 200) -> float:
    """Mean of a density over one pixel by n x n midpoints; the error is p'' / (24 n^2) per axis."""
    t = (np.arange(n) + 0.5) / n - 0.5
    return float(density(row + t[:, None], column + t).mean())


# --- what all of them share


@pytest.mark.parametrize("make", [m for m, _ in SIZED.values()] + list(OTHERS.values()), ids=[*SIZED, *OTHERS])
def test_float64_odd_non_negative_and_normalised(make: Callable[[], Any]) -> None:
    h = make()
    assert h.dtype == np.float64
    assert h.min() >= 0
    assert h.sum() == pytest.approx(1, abs=1e-12)
    assert all(s % 2 for s in h.shape) or make is OTHERS["shake"]


@sized
@pytest.mark.parametrize("size", [9, 8, (7, 8, 6)])
def test_size_is_obeyed_and_the_centre_is_half_of_it(make: Callable[..., Any], ndim: int, size: Any) -> None:
    size = size if isinstance(size, int) else size[:ndim]
    h = make(size=size)
    assert h.shape == ((size,) * ndim if isinstance(size, int) else size)
    middle = h[tuple(slice(1 - s % 2, None) for s in h.shape)]  # what mirrors about s // 2
    np.testing.assert_allclose(middle, np.flip(middle), rtol=0, atol=1e-14)
    assert h[tuple(s // 2 for s in h.shape)] == pytest.approx(h.max(), rel=1e-12)
    assert h.sum() == pytest.approx(1, abs=1e-12)


@sized
def test_size_crops_without_reshaping(make: Callable[..., Any], ndim: int) -> None:
    large, small = make(size=21), make(size=8)
    crop = large[(slice(6, 14),) * ndim]  # centre 10 becomes 4
    np.testing.assert_allclose(small, crop / crop.sum(), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    "name", ["gaussian", "gaussian-axes", "gaussian-turned", "gaussian-3d", "moffat", "motion", "disk"]
)
def test_automatic_size_holds_the_energy(name: str) -> None:
    make, ndim = SIZED[name]
    h = make()
    large = make(size=tuple(6 * s + 1 for s in h.shape) if ndim == 2 else tuple(2 * s + 1 for s in h.shape))
    window = tuple(slice(n // 2 - s // 2, n // 2 - s // 2 + s) for n, s in zip(large.shape, h.shape, strict=True))
    assert large[window].sum() >= 1 - 1e-4 * (1 + 1e-6)
    np.testing.assert_allclose(h, large[window] / large[window].sum(), rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize(
    ("make", "outside"),
    [
        (lambda: psf.airy(0.5, 0.1, na=0.6), lambda r: j0(0.24 * np.pi * r) ** 2 + j1(0.24 * np.pi * r) ** 2),
        (lambda: psf.moffat(4.0, 2.0), lambda r: 1 / (1 + (r / 2) ** 2 * (math.sqrt(2) - 1))),
    ],
    ids=["airy", "moffat"],
)
def test_cut_at_the_cap_is_logged(make: Callable[[], Any], outside: Callable[[float], float], caplog: Any) -> None:
    with caplog.at_level(logging.INFO, "lsdeblur"):
        assert make().shape == (255, 255)
    held = 1 - float(caplog.messages[0].split("hold ")[1].split(" %")[0]) / 100
    # The frame lies between its inner and outer circle; the message has 3 decimals.
    assert outside(127.5 * math.sqrt(2)) - 1e-5 <= held <= outside(127.5) + 1e-5


def test_what_a_given_size_cuts_is_logged(caplog: Any) -> None:
    with caplog.at_level(logging.INFO, "lsdeblur"):
        psf.disk(5, size=3)  # 9 pixels of pi 5^2
    assert caplog.messages == ["disk: (3, 3) pixels hold 11.459 % of the energy; the rest is cut"]


def test_large_cut_warns_only_when_sized_automatically() -> None:
    with pytest.warns(LsdeblurWarning, match=r"moffat cut \d+\.\d % of its energy at \(255, 255\)"):
        psf.moffat(20, 1.2)
    assert psf.moffat(20, 1.2, size=9).shape == (9, 9)  # under -W error: no warning


@pytest.mark.parametrize(
    "make",
    [psf.delta, lambda: psf.gaussian(0), lambda: psf.disk(0), lambda: psf.disk(0.5), lambda: psf.box(1)]
    + [lambda a=a: psf.motion(1, a) for a in (0, 1, 30, 45, 89.9, 90, 135, 180, -60, 1e4)],
)
def test_no_blur_is_exactly_delta(make: Callable[[], Any]) -> None:
    np.testing.assert_array_equal(make(), [[1.0]])


def test_delta_sits_at_the_centre() -> None:
    assert psf.delta(3, size=(4, 5, 6))[2, 2, 3] == 1.0


# --- gaussian


@pytest.mark.parametrize("sigma", [1.0, 2.5, (1.0, 3.0), (1.5, 1.0, 2.0)])
def test_gaussian_variance_is_its_own_and_the_pixel(sigma: Any) -> None:
    h = psf.gaussian(sigma, size=41)
    expected = np.diag(np.broadcast_to(sigma, h.ndim).astype(float) ** 2 + 1 / 12)
    # Sheppard's correction leaves exp(-2 pi^2 sigma^2), 3e-9 here; 20 pixels are 6.7 sigma of the widest.
    np.testing.assert_allclose(covariance(h), expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize(("sigma", "angle"), [(0.7, 0), ((0.7, 1.6), 0), ((0.7, 1.6), 30), ((2.0, 0.8), -100)])
def test_gaussian_transfer_function(sigma: Any, angle: float) -> None:
    h, (s_row, s_col), a = psf.gaussian(sigma, angle=angle, size=41), np.broadcast_to(sigma, 2), math.radians(angle)

    def otf(fy: Any, fx: Any) -> Any:
        along = fx * math.cos(a) - fy * math.sin(a)  # the turned column axis: right and, on screen, up
        across = fx * math.sin(a) + fy * math.cos(a)
        return np.exp(-2 * np.pi**2 * (s_col**2 * along**2 + s_row**2 * across**2))

    for f in [(0.0, 0.11), (0.2, 0.0), (0.13, 0.21), (-0.13, 0.21), (0.5, 0.5)]:
        k = np.arange(-4, 5)
        fy, fx = (f[0] + k)[:, None], f[1] + k  # the Gaussian decays: aliases beyond 4 are below 1e-50
        assert transfer(h, f) == pytest.approx((otf(fy, fx) * np.sinc(fy) * np.sinc(fx)).sum(), abs=1e-13)


@pytest.mark.parametrize(("sigma", "angle"), [((0.1, 3.0), 20), ((0.5, 0.3), 45), ((1.0, 4.0), 70)])
def test_gaussian_turned_against_a_rotated_outer_product(sigma: Any, angle: float) -> None:
    h, a = psf.gaussian(sigma, angle=angle, size=61), math.radians(angle)  # 7.6 sigma at least

    def density(y: Any, x: Any) -> Any:
        along, across = x * math.cos(a) - y * math.sin(a), x * math.sin(a) + y * math.cos(a)
        return np.exp(-0.5 * ((along / sigma[1]) ** 2 + (across / sigma[0]) ** 2)) / (2 * np.pi * sigma[0] * sigma[1])

    # |p''| is at most p(0) / sigma_min^2 per axis; the mean over n x n midpoints is wrong by p'' / (24 n^2).
    tolerance = 2 / (2 * np.pi * sigma[0] * sigma[1]) / min(sigma) ** 2 / (24 * 200**2)
    for d in [(0, 0), (0, 1), (-1, 1), (1, 1), (-2, 3)]:
        assert h[30 + d[0], 30 + d[1]] == pytest.approx(pixel_mean(density, *d), abs=tolerance)


def test_gaussian_widths_add() -> None:
    a, b = 2.0, 1.5
    both = psf.combine(psf.gaussian(a, size=41), psf.gaussian(b, size=41))
    np.testing.assert_allclose(covariance(both), np.eye(2) * (a * a + b * b + 2 / 12), atol=1e-7)
    # Two pixels instead of one Gaussian of variance 1/12: their transfer functions differ by (pi f)^4 / 180, which
    # with f = 1 / (2 pi sigma) is 1 / (2880 sigma^4), 9e-6 of the peak; times 6 axes' and moments' factors.
    one = psf.gaussian(math.sqrt(a * a + b * b + 1 / 12), size=81)
    np.testing.assert_allclose(both, one, rtol=0, atol=6e-5 * one.max())


def test_gaussian_angle() -> None:
    np.testing.assert_allclose(psf.gaussian((1, 4), angle=90), psf.gaussian((4, 1)), rtol=1e-12)
    np.testing.assert_array_equal(psf.gaussian((2, 2), angle=33), psf.gaussian(2))
    c = covariance(psf.gaussian((1, 4), angle=30, size=61))
    # Rows go down: the principal axis is 30 degrees counter-clockwise on screen. The pixel adds 1/12 to both axes.
    assert math.degrees(0.5 * math.atan2(-2 * c[0, 1], c[1, 1] - c[0, 0])) == pytest.approx(30, abs=1e-6)


# --- motion, box, shake


@pytest.mark.parametrize("length", [3, 5, 15])
def test_motion_along_axes_has_equal_weights(length: int) -> None:
    np.testing.assert_allclose(psf.motion(length), np.full((1, length), 1 / length), rtol=1e-14)
    np.testing.assert_allclose(psf.motion(length, 90), np.full((length, 1), 1 / length), rtol=1e-14)
    diagonal = psf.motion(length * math.sqrt(2), 45)
    np.testing.assert_allclose(diagonal, np.fliplr(np.eye(length)) / length, rtol=1e-12, atol=0)


def test_motion_of_fractional_length() -> None:
    np.testing.assert_allclose(psf.motion(5.5), [[0.25 / 5.5, *[1 / 5.5] * 5, 0.25 / 5.5]], rtol=1e-13)
    np.testing.assert_allclose(psf.box((1, 5.5)), psf.motion(5.5), rtol=1e-13)


@pytest.mark.parametrize(("length", "angle"), [(7.3, 0), (7.3, 90), (6, 30), (11.2, -50), (4.5, 100), (20, 3)])
def test_motion_transfer_function(length: float, angle: float) -> None:
    h, a, m = psf.motion(length, angle), math.radians(angle), 300

    def otf(fy: Any, fx: Any) -> Any:
        return np.sinc(length * (fx * math.cos(a) - fy * math.sin(a)))

    # A shift by d along an axis moves each of the at most (length |u| + 1) crossings by d / |u|: the shares change
    # by d (1 + 1 / (length |u|)) / 1 on both sides of a crossing. For u = 0 there are none.
    u = [abs(math.sin(a)), abs(math.cos(a))]
    change = sum(2 * (1 + 1 / (length * c)) for c in u if c > 1e-9) + 2 * 2 / length
    for f in [(0.0, 0.07), (0.1, 0.05), (-0.2, 0.31), (0.5, 0.5)]:
        assert transfer(h, f) == pytest.approx(folded(otf, f, m), abs=change * fejer_reach(m))


@pytest.mark.parametrize(("length", "angle"), [(1.7, 45), (7.3, 10), (15, 30), (15, 150), (31.4, -77), (12, 45)])
def test_motion_against_fine_sampling(length: float, angle: float) -> None:
    h, a, n = psf.motion(length, angle, size=41), math.radians(angle), 400_001
    t = ((np.arange(n) + 0.5) / n - 0.5) * length
    expected = np.zeros((41, 41))
    np.add.at(expected, (20 + np.rint(-t * math.sin(a)).astype(int), 20 + np.rint(t * math.cos(a)).astype(int)), 1 / n)
    np.testing.assert_allclose(h, expected, rtol=0, atol=2.1 / n)  # one sample at each end of the stay on a pixel


def test_motion_rises_to_the_right_on_screen() -> None:
    h = psf.motion(15, 30)
    assert h.shape == (9, 13)
    assert h[-1, 0] > 0  # lower left
    assert h[0, -1] > 0  # upper right
    assert h[0, 0] == h[-1, -1] == 0
    np.testing.assert_allclose(psf.motion(15, 150), h[:, ::-1], atol=1e-14)
    np.testing.assert_allclose(psf.motion(15, 210), h, atol=1e-14)


@pytest.mark.parametrize("angle", [0, 12, 45, 90])
def test_motion_is_continuous(angle: float) -> None:
    change = psf.motion(9 + 1e-6, angle + 1e-6, size=15) - psf.motion(9, angle, size=15)
    # Length: both ends; angle (1.7e-8 rad): each of at most 20 crossings moves by 4.5 px / sin or cos of the angle,
    # and at a corner (45 degrees) by no more.
    assert np.abs(change).sum() < 4e-6


def test_box() -> None:
    np.testing.assert_allclose(psf.box(3), np.full((3, 3), 1 / 9), rtol=1e-14)
    np.testing.assert_allclose(psf.box((1, 2)), [[0.25, 0.5, 0.25]], rtol=1e-14)
    assert psf.box((3, 5, 7.5)).shape == (3, 5, 9)


@pytest.mark.parametrize("inertia", [0, 0.95])
@pytest.mark.parametrize("size", [(1, 1), (2, 9), (15, 15), (24, 31)])
def test_shake_is_centred_and_fills_the_frame(size: tuple[int, int], inertia: float) -> None:
    for seed in range(5):
        h = psf.shake(size, inertia=inertia, rng=seed)
        assert h.shape == size
        assert h.sum() == pytest.approx(1, abs=1e-12)
        assert all(abs((o * h).sum()) <= 0.5 for o in offsets(h))
        reach = [np.abs(o[h > 0]).max() for o in offsets(h)]
        assert any(r == (s - 1) // 2 for r, s in zip(reach, size, strict=True))


def test_shake_is_reproducible() -> None:
    np.testing.assert_array_equal(psf.shake(15, rng=3), psf.shake(15, rng=np.random.default_rng(3)))
    assert np.abs(psf.shake(15, rng=3) - psf.shake(15, rng=4)).sum() > 0.1
    wandering, sweeping = (np.count_nonzero(psf.shake(101, rng=3, inertia=i)) for i in (0, 0.99))
    assert wandering > sweeping  # a random walk covers more pixels of the same frame than a smooth curve


# --- disk


@pytest.mark.parametrize("radius", [0.51, 0.7, 1, 2.5, 5.3, 40.2])
def test_disk_areas_are_exact(radius: float) -> None:
    h = psf.disk(radius) * np.pi * radius**2  # areas
    y, x = offsets(h)
    inside = np.hypot(np.abs(y) + 0.5, np.abs(x) + 0.5) <= radius
    outside = np.hypot(np.maximum(np.abs(y) - 0.5, 0), np.maximum(np.abs(x) - 0.5, 0)) >= radius
    np.testing.assert_allclose(h[inside], 1, rtol=0, atol=1e-11)  # and so the areas sum to pi r^2 before normalising
    np.testing.assert_allclose(h[outside], 0, rtol=0, atol=1e-11)
    n = 400
    for d in [(0, 0), (int(radius), 0), (int(radius * 0.7), int(radius * 0.7) + 1)]:
        if max(d) <= h.shape[0] // 2:
            # Only the cells that the arc crosses, at most 2 n + 1 of n^2, can be counted wrong, by at most half each.
            expected = pixel_mean(lambda v, u: (v * v + u * u <= radius**2).astype(float), *d, n=n)
            assert h[h.shape[0] // 2 + d[0], h.shape[0] // 2 + d[1]] == pytest.approx(expected, abs=(n + 0.5) / n**2)


@pytest.mark.parametrize("radius", [2.0, 5.3])
def test_disk_transfer_function(radius: float) -> None:
    def otf(fy: Any, fx: Any) -> Any:
        v = np.maximum(2 * np.pi * radius * np.hypot(fy, fx), 1e-12)
        return 2 * j1(v) / v

    # A shift by d changes the areas by d times twice the disk's width, 4 radius, of pi radius^2; two axes.
    change = 2 * 4 / (np.pi * radius)
    for f in [(0.0, 0.05), (0.1, 0.07), (0.3, -0.2), (0.5, 0.5)]:
        assert transfer(psf.disk(radius), f) == pytest.approx(folded(otf, f, 200), abs=change * fejer_reach(200))


def test_disk_shrinks_continuously_to_delta() -> None:
    h = psf.disk(0.5 + 1e-4)
    # A cap of height e on a circle of radius 1/2 has the area (4/3) e sqrt(2 e / 2).
    assert 1 - h[1, 1] == pytest.approx(4 * 4 / 3 * 1e-4 * math.sqrt(1e-4) / (np.pi / 4), rel=1e-3)


# --- airy, moffat, kolmogorov


def test_airy_first_dark_ring() -> None:
    h = psf.airy(0.5, 0.61 * 0.5 / 1.2 / 20, na=1.2, size=101)  # 0.61 wavelength / na is 20 pixels
    profile = h[50, 50:]
    assert 10 + profile[10:30].argmin() == 20
    # Averaged over a pixel (kappa = 3.83 / 20) the zero rises to (2 J1'(3.83) / 3.83)^2 kappa^2 / 12 = 1.4e-4.
    assert profile[20] / profile[0] == pytest.approx((2 * 0.4028 / 3.8317) ** 2 * (3.8317 / 20) ** 2 / 12, rel=0.05)


@pytest.mark.parametrize("pixel", [0.05, 0.3, 1.5])
def test_airy_pixels_are_integrals(pixel: float) -> None:
    h, kappa = psf.airy(0.5, pixel, na=0.8, size=15), 2 * np.pi * 0.8 * pixel / 0.5

    def density(y: Any, x: Any) -> Any:
        v = np.maximum(kappa * np.hypot(y, x), 1e-9)
        return (2 * j1(v) / v) ** 2

    center = pixel_mean(density, 0, 0)
    for d in [(0, 1), (2, 1), (-3, 5)]:
        # |p''| <= kappa^2 / 2 of the peak, and the mean over the centre pixel is what it is divided by.
        tolerance = 2 * kappa**2 / 2 * 2 / (24 * 200**2) / center
        assert h[7 + d[0], 7 + d[1]] / h[7, 7] == pytest.approx(pixel_mean(density, *d) / center, abs=tolerance)


def test_airy_aperture_by_na_or_f_number() -> None:
    np.testing.assert_allclose(psf.airy(0.5, 2, f_number=5, size=31), psf.airy(0.5, 2, na=0.1, size=31), rtol=1e-11)


@pytest.mark.parametrize(("fwhm", "beta"), [(0.6, 2.5), (3.0, 1.01), (5.0, 4.765), (4.0, 300.0)])
def test_moffat_pixels_are_integrals(fwhm: float, beta: float) -> None:
    h, alpha = psf.moffat(fwhm, beta, size=15), fwhm / (2 * math.sqrt(2 ** (1 / beta) - 1))

    def density(y: Any, x: Any) -> Any:
        return (1 + (y * y + x * x) / alpha**2) ** -beta

    center = pixel_mean(density, 0, 0)
    for d in [(0, 1), (2, 1), (-3, 5)]:
        tolerance = 2 * 2 * (2 * beta / alpha**2) / (24 * 200**2) / center  # |p''| <= 2 beta / alpha^2
        assert h[7 + d[0], 7 + d[1]] / h[7, 7] == pytest.approx(pixel_mean(density, *d) / center, abs=tolerance)


def test_moffat_energy_and_width() -> None:
    h = psf.moffat(20, 3.0, size=301)
    # The pixel average changes p by its Laplacian / 24, at most 4 beta / alpha^2 of the peak: 1.4e-3.
    assert h[150, 160] / h[150, 150] == pytest.approx(0.5, abs=2 * 1.4e-3)
    # Before normalising the pixels are shares of the whole: (1 + r^2 / alpha^2)^(1 - beta) lies outside a circle.
    alpha = 20 / (2 * math.sqrt(2 ** (1 / 3) - 1))
    whole = (3 - 1) / (np.pi * alpha**2) / h[150, 150]
    assert (1 + 150**2 * 2 / alpha**2) ** -2 <= 1 - 1 / whole + 2 * 1.4e-3
    assert 1 / whole == pytest.approx(1, abs=(1 + 150**2 / alpha**2) ** -2 + 1.4e-3)


def test_kolmogorov_pixels_against_its_transfer_function() -> None:
    w = 500e-9 / 0.12 / math.radians(0.4 / 3600)  # wavelength / r0 in pixels
    h = psf.kolmogorov(0.12, 500e-9, 0.4, size=41)
    # Fourier integral over one quadrant: f = t^3 makes f^(5/3) smooth on the axes; exp(-3.44 x^(5/3)) is below 1e-16
    # for x > 4.2.
    t, weights = np.polynomial.legendre.leggauss(400)
    t, weights = (t + 1) / 2, weights / 2
    f, df = 4.2 / w * t**3, 4.2 / w * 3 * t**2 * weights
    otf = np.exp(-3.44 * (w * np.hypot(f[:, None], f)) ** (5 / 3))
    waves = 2 * np.cos(2 * np.pi * np.arange(21)[:, None] * f) * np.sinc(f) * df
    expected = waves @ otf @ waves.T
    np.testing.assert_allclose(h[20:, 20:] / h[20, 20], expected / expected[0, 0], rtol=0, atol=1e-10)
    # Before normalising, h is the share of the whole: its sum falls short of 1 by the light outside, under 2 %.
    assert 0 < expected[0, 0] / h[20, 20] < 1


def test_kolmogorov_width_is_the_seeing() -> None:
    w = 30.0  # pixels; so fine that a pixel widens the core by about (1/12) / (2 * 12.4^2), 3e-4
    h = psf.kolmogorov(0.1, 500e-9, math.degrees(500e-9 / 0.1) * 3600 / w, size=101)
    profile = h[50, 50:] / h[50, 50]
    i = int(np.flatnonzero(profile < 0.5)[0])
    half = i - (0.5 - profile[i]) / (profile[i - 1] - profile[i])
    assert 2 * half / w == pytest.approx(0.976, abs=1.5e-3)  # 0.976 is rounded to 5e-4


def test_kolmogorov_and_moffat_tails_follow_their_power_laws() -> None:
    for h, power in [(psf.kolmogorov(0.1, 500e-9, 1.0, size=801), -11 / 3), (psf.moffat(2.0, 2.5, size=801), -5)]:
        # The next term of the series is smaller by (width / r)^(5/3), 1e-3, or (alpha / r)^2.
        slope = math.log(h[400, 800] / h[400, 600]) / math.log(2)
        assert slope == pytest.approx(power, abs=3e-3)


# --- combine and trim


def test_combine_is_convolution() -> None:
    rng = np.random.default_rng(0)
    a, b, c = rng.random((3, 5)), rng.random((7, 1)), rng.random((5, 5))
    expected = scipy.signal.convolve(scipy.signal.convolve(a, b, method="direct"), c, method="direct")
    np.testing.assert_allclose(psf.combine(a, b, c), expected / expected.sum(), rtol=0, atol=1e-15)


@pytest.mark.parametrize("sizes", [((4, 5), (3, 3)), ((4, 4), (6, 2)), ((2, 2), (2, 2)), ((4, 3, 2), (2, 4, 5))])
def test_combine_keeps_the_centre_of_even_sizes(sizes: Any) -> None:
    h = psf.combine(*(psf.delta(len(s), size=s) for s in sizes))
    assert h.shape == tuple(sum(s + 1 - s % 2 for s in axis) - 1 for axis in zip(*sizes, strict=True))
    np.testing.assert_allclose(h, psf.delta(h.ndim, size=h.shape), atol=1e-15)


def test_combine_moves_an_off_centre_psf_as_it_should() -> None:
    early, late = np.zeros((2, 4)), np.zeros((3, 4))
    early[0, 0] = 3.0  # at (-1, -2) from its centre (1, 2)
    late[2, 3] = 5.0  # at (1, 1) from its centre (1, 2)
    h = psf.combine(early, late)
    y, x = offsets(h)
    np.testing.assert_allclose([(y * h).sum(), (x * h).sum()], [0, -1], atol=1e-14)


def test_combine_keeps_negative_values_of_its_input() -> None:
    np.testing.assert_allclose(psf.combine(np.array([[-1.0, 3.0, -1.0]]), psf.delta()), [[-1.0, 3.0, -1.0]], atol=1e-14)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 0, 1, 2, 0], [0, 0, 1, 2, 0][1:4]),
        ([0, 0, 0, 1, 0, 0], [1]),
        ([0, 1, 1, 1, 0, 0], [1, 1, 1, 0, 0]),
        ([1, 0, 0, 0], [1, 0, 0, 0]),
        ([0, 0, 0], [0]),
    ],
)
def test_trim(values: list[int], expected: list[int]) -> None:
    h = np.array(values)
    np.testing.assert_array_equal(psf.trim(h), expected)
    assert psf.trim(h).base is h
    padded = np.stack([np.zeros((3, len(h)), int), np.stack([0 * h, h, 0 * h])])  # 2 channels of 3 rows
    np.testing.assert_array_equal(psf.trim(padded, ndim=2), [[np.zeros_like(expected)], [expected]])


# --- measured PSFs


def spot(shape: tuple[int, ...], at: Any, sigma: Any) -> Any:
    """A Gaussian spot of total 1 at any position, integrated over pixels; independent of lsdeblur."""
    out = np.ones(())
    for s, x, w in zip(shape, at, np.broadcast_to(sigma, len(shape)), strict=True):
        out = np.multiply.outer(out, np.diff(erf((np.arange(s + 1) - 0.5 - x) / (math.sqrt(2) * w))) / 2)
    return out


@pytest.mark.parametrize(
    ("shape", "at", "sigma"),
    [((61, 70), (25, 41), 2.0), ((61, 70), (25, 41), (1.0, 2.5)), ((31, 40, 41), (14, 22, 19), (2.0, 1.0, 1.5))],
)
@pytest.mark.parametrize("background", ["auto", 100.0])
def test_from_image_recovers_a_noisy_psf(shape: Any, at: Any, sigma: Any, background: Any) -> None:
    flux, noise, rng = 5e4, 2.0, np.random.default_rng(5)
    image = 100 + flux * spot(shape, at, sigma) + noise * rng.standard_normal(shape)
    if background != "auto":
        image[image < 110] = 100.0  # with a number, noise is for the caller to remove
    h = psf.from_image(image, size=13, background=background)
    # Five standard deviations of a pixel's noise. Clearing below 5 of them by hand cuts the wings where the spot is
    # under 1 % of its peak at worst (3-D), r > 3.03 sigma: 2.7 % of the light, by which the rest grows.
    expected = psf.gaussian(np.broadcast_to(sigma, len(shape)), size=13)
    np.testing.assert_allclose(
        h, expected, rtol=0, atol=5 * noise / flux + 2.7e-2 * expected.max() * (background != "auto")
    )
    assert np.unravel_index(h.argmax(), h.shape) == (6,) * h.ndim


def test_from_image_does_not_let_noise_become_a_pedestal() -> None:
    image = 1e4 * spot((81, 81), (40, 40), 2.0) + 4 * np.random.default_rng(2).standard_normal((81, 81))
    h = psf.from_image(image, size=81)
    far = np.hypot(*offsets(h)) > 12  # 6 sigma: no light there. Clipping alone would leave 0.4 * 4 * 6100 / 1e4 = 98 %.
    # Of the means over 3 x 3 pixels 0.13 % pass 3 standard deviations; a pixel that passes holds about 1 + 0.4 of its
    # noise there: 0.0013 * 6100 * 1.4 * 4 / 1e4 = 0.5 %. Neighbours pass together: three times that at most.
    assert h[far].sum() < 0.015


def test_from_image_centres_and_sizes() -> None:
    image = np.zeros((12, 15))
    image[3, 4], image[3, 5], image[3, 8] = 4, 1, 2  # centroid at column (16 + 5 + 16) / 7 = 5.3
    by_centroid = psf.from_image(image, size=(1, 7), background=None)
    np.testing.assert_allclose(by_centroid, np.array([[0, 0, 4, 1, 0, 0, 2]]) / 7)
    by_peak = psf.from_image(image, size=(2, 9), background=None, center="peak")
    np.testing.assert_allclose(by_peak, np.array([[0] * 9, [0, 0, 0, 0, 4, 1, 0, 0, 2]]) / 7)
    given = psf.from_image(image, size=(1, 4), background=None, psf_center=(3.2, 7.9))
    np.testing.assert_allclose(given, [[0, 0, 1, 0]])
    assert psf.from_image(image, background=None).shape == (1, 7)  # 5 +- 3 holds everything
    corner = psf.from_image(
        image, size=(9, 11), background=None, psf_center=(3, 0)
    )  # beyond the frame there is nothing
    assert corner[4, 5 + 4] == pytest.approx(4 / 5)


def test_from_image_reads_any_real_dtype_and_leaves_it_alone() -> None:
    image = np.rint(10 + 1e3 * spot((41, 41), (20, 20), 1.5)).astype(np.uint8)
    before = image.copy()
    h = psf.from_image(image, size=9)
    np.testing.assert_array_equal(image, before)
    assert h.dtype == np.float64
    np.testing.assert_allclose(h, psf.gaussian(1.5, size=9), atol=1.5e-3)  # rounding: 0.5 of 1000; the cut-off, 1


@pytest.mark.parametrize("background", ["auto", 50.0])
def test_from_points_recovers_the_psf_from_sub_pixel_positions(background: Any) -> None:
    rng, sigma, flux, noise, shape = np.random.default_rng(7), (1.6, 2.2), 2e4, 2.0, (400, 400)
    grid = np.stack(np.meshgrid(np.arange(30, 380, 50), np.arange(30, 380, 50), indexing="ij"), -1).reshape(-1, 2)
    at = grid + rng.uniform(-0.5, 0.5, grid.shape)
    image = (
        50
        + noise * rng.standard_normal(shape)
        + flux * sum(spot(shape, p, sigma) * b for p, b in zip(at, rng.uniform(0.5, 2, 49), strict=True))
    )
    image[28, 33] += 3e3  # a cosmic ray on the first point
    rough = np.vstack(
        [at + rng.uniform(-1.2, 1.2, at.shape), [[1, 200]], [[55, 55]]]
    )  # one at the border, one on nothing
    h = psf.from_points(image, rough, size=(17, 21), background=background)
    expected = psf.gaussian(sigma, size=(17, 21))
    assert h.shape == (17, 21)
    assert h.sum() == pytest.approx(1, abs=1e-12)
    c, e = covariance(h), covariance(expected)
    # The median of 49 has a noise of n = 1.25 * 2 / 2e4 / 7 = 1.8e-5 per pixel. Clipped at zero it leaves a pedestal of
    # 0.4 n, which adds 0.4 n * 357 pixels * 24 (36 along rows) = 0.06 (0.09) to a variance of 2.6 (4.9).
    assert math.sqrt(c[0, 0]) == pytest.approx(math.sqrt(e[0, 0]), rel=0.06 / 2.6 / 2)
    assert math.sqrt(c[1, 1]) == pytest.approx(math.sqrt(e[1, 1]), rel=0.09 / 4.9 / 2)
    # Noise of 5 n is 2e-3 of the peak; the pedestal takes 0.4 n * 357 = 2.6e-3 of the light away from it.
    np.testing.assert_allclose(h, expected, rtol=0, atol=(2e-3 + 2.6e-3) * expected.max())


def test_from_points_in_3d() -> None:
    rng, shape, sigma = np.random.default_rng(1), (40, 60, 60), (2.0, 1.5, 1.5)
    at = np.array([(15, 15, 15), (22, 40, 20), (18, 20, 42), (20, 42, 44)]) + rng.uniform(-0.5, 0.5, (4, 3))
    image = 1e4 * sum(spot(shape, p, sigma) for p in at)
    h = psf.from_points(image, np.rint(at), size=(13, 11, 11), background=None)
    expected = psf.gaussian(sigma, size=(13, 11, 11))
    # Without noise only the spline is left: it passes frequencies (1 - O((f / (1 - f))^6)), and the spots hold
    # exp(-2 pi^2 1.5^2 f^2), so f = 0.2 (2.4e-4 * 0.17) weighs most; per axis.
    np.testing.assert_allclose(h, expected, rtol=0, atol=3 * 2.4e-4 * expected.max())


# --- errors

IMAGE = np.pad(np.ones((1, 1)), 10)


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: psf.delta(0), ValueError, "ndim must be"),
        (lambda: psf.delta(2, size=0), ValueError, "size must be"),
        (lambda: psf.delta(2, size=2.5), TypeError, "size must be"),
        (lambda: psf.box(0.5), ValueError, "width must be at least 1 pixel"),
        (lambda: psf.box("3"), TypeError, "width must be a number"),
        (lambda: psf.box(()), ValueError, "width is empty"),
        (lambda: psf.gaussian(-1), ValueError, "sigma must not be negative"),
        (lambda: psf.gaussian("a"), TypeError, "sigma must be a number"),
        (lambda: psf.gaussian(1, ndim=4), ValueError, "gaussian has 2 or 3 axes, not 4"),
        (lambda: psf.gaussian((1, 2, 3, 4)), ValueError, "gaussian has 2 or 3 axes, not 4"),
        (lambda: psf.gaussian(1, angle="x"), TypeError, "angle must be"),
        (lambda: psf.gaussian(1, angle=np.nan), ValueError, "angle has 1 values that are NaN"),
        (lambda: psf.gaussian((1, 1, 2), angle=10), ValueError, "angle turns a 2-D Gaussian only"),
        (lambda: psf.gaussian((0.05, 2), angle=10), ValueError, r"sigma must be at least 0\.1"),
        (lambda: psf.gaussian(1, size=(3, 3, 3)), ValueError, "size must be 2 whole numbers"),
        (lambda: psf.motion(0.9), ValueError, "length must be at least 1 pixel"),
        (lambda: psf.motion(5, [1, 2]), ValueError, "angle must have 0 axes"),
        (lambda: psf.disk(-1), ValueError, "radius must not be negative"),
        (lambda: psf.airy(0.5, 0.1), ValueError, "exactly one of na and f_number"),
        (lambda: psf.airy(0.5, 0.1, na=1, f_number=1), ValueError, "exactly one of na and f_number"),
        (lambda: psf.airy(0.5, 0.1, na=0), ValueError, "na must be greater than 0"),
        (lambda: psf.airy(0.5, 0.1, f_number=-1), ValueError, "f_number must be greater than 0"),
        (lambda: psf.airy(0, 0.1, na=1), ValueError, "wavelength must be greater than 0"),
        (lambda: psf.airy(0.5, 0, na=1), ValueError, "pixel_size must be greater than 0"),
        (lambda: psf.moffat(0), ValueError, "fwhm must be greater than 0"),
        (lambda: psf.moffat(3, 1), ValueError, "beta must be greater than 1"),
        (lambda: psf.kolmogorov(0, 1, 1), ValueError, "r0 must be greater than 0"),
        (lambda: psf.kolmogorov(1, 0, 1), ValueError, "wavelength must be greater than 0"),
        (lambda: psf.kolmogorov(1, 1, 0), ValueError, "pixel_scale must be greater than 0"),
        (lambda: psf.shake(0), ValueError, "size must be"),
        (lambda: psf.shake(9, inertia=1), ValueError, "inertia must be below 1"),
        (lambda: psf.shake(9, inertia=-1), ValueError, "inertia must not be negative"),
        (lambda: psf.combine(), TypeError, "combine needs at least one PSF"),
        (lambda: psf.combine(np.ones((3, 3)), np.ones(3)), ValueError, r"psfs\[1\] has 1 axes"),
        (lambda: psf.combine(np.zeros((3, 3))), ValueError, r"psfs\[0\] sums to zero"),
        (lambda: psf.trim(np.ones(3), ndim=2), ValueError, "needs at least that many axes"),
        (lambda: psf.from_image(np.ones(5)), ValueError, "image must have 2 or 3 axes"),
        (lambda: psf.from_image(np.ones((9, 9))), ValueError, "image holds no point"),
        (lambda: psf.from_image(IMAGE, center="middle"), ValueError, "center must be one of"),
        (lambda: psf.from_image(IMAGE, background="mean"), ValueError, "background must be one of"),
        (lambda: psf.from_image(IMAGE, background=np.inf), ValueError, "background has 1 values"),
        (lambda: psf.from_image(IMAGE, psf_center=(1, 2, 3)), ValueError, "psf_center must be 2 indices"),
        (lambda: psf.from_image(IMAGE, psf_center=(1, 21)), ValueError, "psf_center must be 2 indices"),
        (lambda: psf.from_image(IMAGE, psf_center=(0, 0), size=3), ValueError, "leave no light in the window"),
        (lambda: psf.from_points(IMAGE, [(1, 2, 3)], size=3), ValueError, r"positions must have the shape \(n, 2\)"),
        (lambda: psf.from_points(IMAGE, (10, 10), size=3), ValueError, "positions must have 2 axes"),
        (lambda: psf.from_points(IMAGE, [(10, 10)], size=31), ValueError, "positions name no bright point"),
        (lambda: psf.from_points(IMAGE * 0, [(10, 10)], size=3), ValueError, "positions name no bright point"),
    ],
)
def test_bad_arguments_are_named(call: Callable[[], Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        call()
