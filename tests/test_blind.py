"""PSFs of any form from one image, and blind restoration in one call."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import reference
from reference import Array
from scenes import leaves

import lsdeblur
from lsdeblur import LsdeblurWarning, Restoration, blind, metrics, psf, restore, simulate
from lsdeblur.blind import _alternation as steps
from lsdeblur.blind import gradient_prior
from lsdeblur.blind._psf_fit import pruned, similarity
from lsdeblur.spectrum import transfer_function

SHAKE = psf.shake(11, rng=4)


def shaken(
    shape: tuple[int, int] = (150, 171), h: Array = SHAKE, noise_std: float = 0.003, seed: int = 0
) -> tuple[Array, Array]:
    """A camera's frame, and the scene in it."""
    scene = leaves((shape[0] + len(h) - 1, shape[1] + len(h) - 1), seed, 400)
    blurred = simulate.add_noise(simulate.blur(scene, h, boundary="valid"), noise_std=noise_std, rng=seed)
    return blurred, simulate.valid_part(scene, h)


@pytest.mark.parametrize("shape", [(8, 9), (7, 12)])
def test_divergence_is_the_adjoint_of_slopes(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    f, g = rng.standard_normal(shape), rng.standard_normal((2, *shape))
    assert np.vdot(steps.slopes(f), g) == pytest.approx(np.vdot(f, steps.divergence(g)))


def test_slopes_have_their_symbol() -> None:
    f = np.random.default_rng(0).standard_normal((9, 10))
    power = np.abs(np.fft.rfft2(steps.slopes(f))) ** 2
    expected = steps._slope_symbol(f.shape, f.dtype) * np.abs(np.fft.rfft2(f)) ** 2
    np.testing.assert_allclose(power.sum(axis=0), expected, atol=1e-10)


def test_an_image_of_few_edges_comes_back() -> None:
    """Steps, blurred without noise: with the right PSF the sparse image is the scene itself."""
    scene = np.zeros((60, 64))
    scene[10:40, 12:45] = 1.0
    scene[20:30, 30:60] = 0.4
    H = transfer_function(SHAKE, scene.shape)
    blurred = np.fft.irfft2(H * np.fft.rfft2(scene), scene.shape)
    f, F = steps.latent(blurred, H, steps._slope_symbol(scene.shape, scene.dtype), 1e-3)
    assert np.abs(f - scene).max() < 0.02
    assert np.abs(blurred - scene).max() > 0.3
    np.testing.assert_allclose(np.fft.irfft2(F, f.shape), f, atol=1e-12)


@pytest.mark.parametrize("size", [11, 21])  # as a matrix, and by transforms
def test_the_psf_comes_back_from_exact_edges(size: int) -> None:
    edges = steps.slopes(leaves((96, 90), 1, 300))
    true = np.pad(SHAKE, (size - 11) // 2)
    H = transfer_function(true, edges.shape[1:])
    target = np.fft.irfft2(H * np.fft.rfft2(edges), edges.shape[1:])
    start = np.zeros((size, size))
    start[size // 2, size // 2] = 1
    h = start
    for _ in range(20):
        h = steps._psf_step(edges, target, h)
    assert h.min() >= 0
    assert similarity(h, true) > 0.99
    np.testing.assert_allclose(h.sum(), 1, atol=0.02)


def test_pruned_drops_what_is_faint_or_apart() -> None:
    h = np.zeros((9, 9))
    h[4, 3:6] = 1.0
    h[4, 6], h[0, 0], h[5, 4] = 0.01, 0.1, -0.5
    expected = np.zeros((9, 9))
    expected[4, 3:6] = 1 / 3
    np.testing.assert_allclose(pruned(h, 0.02, 0.1), expected)


@pytest.mark.parametrize("size", [7, 8])
def test_centred_moves_the_centroid(size: int) -> None:
    h = np.zeros((size, size))
    h[1, 1:3] = 0.5
    moved = steps.centred(h)
    rows, columns = np.nonzero(moved)
    assert rows.mean() == size // 2
    assert abs(columns.mean() - size // 2) <= 0.5
    assert moved.sum() == pytest.approx(1)


@pytest.mark.parametrize(("shape", "dtype"), [((150, 171), np.float32), ((151, 160), np.float64)])
def test_a_shake_is_found(shape: tuple[int, int], dtype: Any) -> None:
    blurred, _ = shaken(shape)
    blurred = blurred.astype(dtype)
    before = blurred.copy()
    found = lsdeblur.estimate_psf(blurred)
    np.testing.assert_array_equal(blurred, before)
    assert found.psf.min() >= 0
    assert found.psf.sum() == pytest.approx(1)
    assert all(n % 2 for n in found.psf.shape)
    assert similarity(found.psf, SHAKE) > 0.85
    assert 0.5 < found.confidence <= 1
    assert found.converged
    assert len(found.scores) > 6
    assert [h["shape"] for h in found.history] == sorted(h["shape"] for h in found.history)
    np.testing.assert_array_equal(np.asarray(found), found.psf)


def test_neither_scale_nor_offset_matters_and_nothing_is_random() -> None:
    blurred, _ = shaken((120, 121))
    first = blind.estimate_psf(blurred, size=13).psf
    np.testing.assert_array_equal(blind.estimate_psf(blurred, size=13).psf, first)
    assert similarity(blind.estimate_psf(blurred * 250 + 40, size=13).psf, first) > 0.98


def test_orientation() -> None:
    """The PSF of a convolution: the mirrored image has the mirrored PSF, the other is worse."""
    blurred, _ = shaken((130, 131), noise_std=0.002)
    found = blind.estimate_psf(blurred, size=13).psf
    assert similarity(found, SHAKE) > similarity(found, SHAKE[::-1, ::-1]) + 0.05


def test_a_large_image_is_looked_at_where_it_is_busy() -> None:
    blurred, _ = shaken((150, 150))
    large = np.full((700, 600), blurred.mean())
    large[520:670, 430:580] = blurred
    rows, columns = gradient_prior._busiest(large)
    assert rows.start <= 520
    assert rows.stop >= 670
    assert columns.start <= 430
    assert columns.stop >= 580
    assert rows.stop - rows.start == columns.stop - columns.start == 512


def test_callback_ends_the_search() -> None:
    blurred, _ = shaken((100, 101))
    seen: list[Any] = []

    def stop(state: Any) -> None:
        seen.append(state)
        if len(seen) == 3:
            raise StopIteration

    found = blind.estimate_psf(blurred, callback=stop)
    assert not found.converged
    assert len(seen) == len(found.scores) == 3
    assert seen[0].iteration == 1
    assert seen[0].total > 10
    assert found.psf.sum() == pytest.approx(1)


@pytest.mark.parametrize("name", ["diagnosis", "gradient_prior", "nas_rif", "parametric", "refine", "restoration"])
def test_the_modules_with_the_options_are_there(name: str) -> None:
    assert getattr(lsdeblur.blind, name).__doc__


def test_no_module_is_made_up() -> None:
    with pytest.raises(AttributeError, match="no attribute 'guess'"):
        lsdeblur.blind.guess  # noqa: B018


G = reference.image((60, 61))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: blind.estimate_psf(G, size=8), ValueError, "size must be an odd number of pixels from 3"),
        (lambda: blind.estimate_psf(G, size=61), ValueError, "size must be an odd number of pixels from 3"),
        (lambda: blind.estimate_psf(G, size="large"), TypeError, "size must be an odd number of pixels or 'auto'"),
        (lambda: blind.estimate_psf(G[:20]), ValueError, "fewer than 32 to a side.*give a larger part"),
        (lambda: blind.estimate_psf(0 * G), ValueError, "image is constant"),
        (lambda: blind.estimate_psf(G, method="guess"), ValueError, "method must be one of 'gradient-prior'"),
        (lambda: blind.estimate_psf(G, lam=1), TypeError, "method 'gradient-prior' has no option 'lam'"),
        (lambda: blind.estimate_psf(np.stack([G] * 3, -1)), ValueError, "name that of the colours with channel_axis="),
        (lambda: blind.refine_psf(G, np.ones((70, 3))), ValueError, "psf .* is larger than the image"),
        (lambda: blind.refine_psf(G, SHAKE, method="guess"), ValueError, "method must be one of 'alternating'"),
        (lambda: restore(G), ValueError, "psf is missing.*method='blind'"),
        (
            lambda: restore(reference.image((9, 9, 9)), method="blind"),
            ValueError,
            "the image has 3.*channel_axis=",
        ),
        (lambda: restore(G, method="blind", then="nas-rif"), ValueError, "then must be one of"),
        (lambda: restore(G, method="blind", estimator="guess"), ValueError, "estimator must be one of 'auto'"),
        (lambda: restore(G, method="blind", lam=0.1, nothing=1), TypeError, "then='wavelet' has no option 'nothing'"),
        (lambda: restore(G, method="blind", bondary="edge"), TypeError, "'bondary'; .*did you mean 'boundary'"),
    ],
)
def test_errors(call: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_a_psf_grid_is_refused() -> None:
    grid = psf.rotation(5, shape=(60, 61), tol=0.1)
    with pytest.raises(TypeError, match="finds one PSF"):
        restore(G, grid, method="blind")


@pytest.mark.filterwarnings("ignore::lsdeblur.LsdeblurWarning")
def test_blind_restoration(tmp_path: Any) -> None:
    blurred, truth = shaken((160, 161))
    colour = np.stack([blurred, 0.8 * blurred, 0.5 * blurred + 0.1], axis=-1)
    result = restore(colour, method="blind", estimator="gradient-prior", channel_axis=-1, then="tikhonov")
    assert result.image.shape == colour.shape
    assert similarity(result.psf, SHAKE) > 0.85
    assert result.method == "blind"
    assert "PSF by gradient-prior" in result.message
    gain = [
        metrics.psnr(g[12:-12, 12:-12], truth[12:-12, 12:-12], data_range=1.0) for g in (result.image[..., 0], blurred)
    ]
    assert gain[0] > gain[1] + 2
    result.save(tmp_path / "result.npz")
    loaded = Restoration.load(tmp_path / "result.npz")
    np.testing.assert_array_equal(loaded.psf, result.psf)
    np.testing.assert_array_equal(loaded.psf_estimate, result.psf)
    assert f"{result.psf_estimate.message}; then tikhonov" in result.message


def test_a_simple_blur_is_taken_from_its_family() -> None:
    h = psf.disk(4)
    blurred, truth = shaken((160, 161), h, noise_std=0.002)
    result = restore(blurred, method="blind")
    assert "PSF by parametric" in result.message
    assert similarity(result.psf, h) > 0.99
    assert metrics.psnr(result.image, truth, data_range=1.0) > metrics.psnr(blurred, truth, data_range=1.0) + 4


def test_a_given_psf_is_refined() -> None:
    blurred, _ = shaken((160, 150), psf.motion(11, 30))
    result = restore(blurred, psf.motion(14, 30), method="blind", then="tikhonov")
    assert "PSF by alternating" in result.message
    assert similarity(result.psf, psf.motion(11, 30)) > similarity(psf.motion(14, 30), psf.motion(11, 30))


def test_a_sharp_image_is_noticed() -> None:
    with pytest.warns(LsdeblurWarning, match="hardly a blur.*sharp.*restored all the same"):
        restore(leaves((140, 150), 3), method="blind", estimator="parametric", then="tikhonov")


def test_psf_that_was_cut_by_its_frame_is_said_to_be() -> None:
    """A shake of 21 pixels looked for in 9."""
    scene = np.kron(np.random.default_rng(1).random((24, 24)), np.ones((8, 8)))
    blurred = simulate.add_noise(simulate.blur(scene, psf.motion(21, 20)), noise_std=0.003, rng=0)
    assert "it may be wider, give size=" in blind.estimate_psf(blurred, size=9).message
    assert "wider" not in blind.estimate_psf(simulate.blur(scene, psf.gaussian(1.0)), size=13).message
