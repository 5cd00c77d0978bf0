"""Several frames of one scene: against dense matrices, against one frame, and what lambda is chosen from."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import reference
from reference import Array

from lsdeblur import metrics, psf, restore, simulate
from lsdeblur.boundary import grid_shape
from lsdeblur.errors import ConvergenceWarning, LsdeblurWarning
from lsdeblur.frames import toeplitz_inverse

LAM = 0.03
PSFS = [reference.psf((3, 2)), reference.psf((2, 4))[:, ::-1]]
SETTLED: dict[str, Any] = {"tol": 1e-24, "max_iter": 500}


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A narrow margin, for dense matrices on the grid."""
    monkeypatch.setattr("lsdeblur.boundary._MARGIN", 6)


def dense(frames: list[Array], boundary: str, masks: list[Array | None], channel: int = 0) -> Array:
    """The minimiser on the grid by the normal equations."""
    shape = frames[0].shape
    grid = grid_shape(shape, tuple(np.max([h.shape for h in PSFS], axis=0)), boundary)
    rows, data = [], []
    for g, h, mask in zip(frames, PSFS, masks, strict=True):
        seen = np.zeros(grid, bool)
        seen[: shape[0], : shape[1]] = True if mask is None else ~mask
        rows.append(reference.convolution_matrix(h, grid)[seen.ravel()])
        data.append(g[seen[: shape[0], : shape[1]]])
    A = np.concatenate(rows)
    P = reference.penalty_matrix("laplacian+gradient", grid)
    return np.linalg.solve(A.T @ A + LAM * P, A.T @ np.concatenate(data)).reshape(grid)[: shape[0], : shape[1]]


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("boundary", ["free", "periodic"])
@pytest.mark.parametrize("shape", [(9, 10), (8, 7)])
def test_the_dense_solution(boundary: str, shape: tuple[int, int]) -> None:
    frames = [reference.image(shape), reference.image(shape) ** 2]
    before = [g.copy() for g in frames]
    actual = restore(frames, PSFS, lam=LAM, boundary=boundary, **SETTLED)
    assert reference.relative_error(actual.image, dense(frames, boundary, [None, None])) < 1e-9
    for g, kept in zip(frames, before, strict=True):
        np.testing.assert_array_equal(g, kept)
    assert actual.message.startswith("2 frames; lam was given")


@pytest.mark.usefixtures("narrow")
def test_masks() -> None:
    shape = (9, 10)
    frames = [reference.image(shape), reference.image(shape) ** 2]
    mask = np.zeros(shape, bool)
    mask[3:5, 4] = True
    frames[1][mask] = np.nan
    actual = restore(frames, PSFS, lam=LAM, mask=[None, mask], **SETTLED).image
    assert reference.relative_error(actual, dense(frames, "free", [None, mask])) < 1e-9


@pytest.mark.parametrize("boundary", ["free", "taper", "zero"])
def test_the_same_frame_twice_is_one_with_half_lambda(boundary: str) -> None:
    g, h = reference.image((20, 21)), PSFS[0]
    twice = restore([g, g], h, lam=0.06, boundary=boundary, **SETTLED).image
    np.testing.assert_allclose(twice, restore(g, h, lam=0.03, boundary=boundary, **SETTLED).image, rtol=0, atol=1e-9)


def test_channels_and_dtypes() -> None:
    frames = [np.stack([reference.image((12, 13)) ** k, reference.image((12, 13)) ** (k + 1)], -1) for k in (1, 2)]
    both = restore(frames, PSFS, channel_axis=-1, lam=LAM, **SETTLED).image
    for c in (0, 1):
        one = restore([g[..., c] for g in frames], PSFS, lam=LAM, **SETTLED).image
        np.testing.assert_allclose(both[..., c], one, rtol=0, atol=1e-9)
    own = [np.stack([h, h[::-1]]) for h in PSFS]
    separate = restore(frames, own, channel_axis=-1, lam=LAM, **SETTLED).image
    np.testing.assert_allclose(separate[..., 0], both[..., 0], rtol=0, atol=1e-9)
    assert np.abs(separate[..., 1] - both[..., 1]).max() > 1e-3
    for psfs in (PSFS, own, [PSFS[0], own[1]]):  # a result can be repeated from its fields
        result = restore(frames, psfs, channel_axis=-1, lam=LAM)
        again = restore(frames, result.psf, method=result.method, **result.options)
        np.testing.assert_array_equal(again.image, result.image)
    assert restore([g.astype(np.float32) for g in frames], PSFS, channel_axis=-1, lam=LAM).image.dtype == np.float32


def test_two_frames_beat_either_and_lambda_is_near_the_best() -> None:
    """Motions that cross: what one erases the other keeps."""
    from skimage import data

    scene, size = data.camera()[120:340, 140:360] / 255.0, (21, 21)
    hs = [psf.motion(15, angle, size=size) for angle in (20, 110)]
    frames = [simulate.add_noise(simulate.blur(scene, h), noise_std=0.01, rng=i) for i, h in enumerate(hs)]
    truth = simulate.valid_part(scene, hs[0])

    def psnr(image: Array) -> float:
        return metrics.psnr(image, truth, data_range=1.0)

    for moved in (np.roll(frames[1], 3, axis=0), frames[1] + 0.1, 1.3 * frames[1]):
        with pytest.warns(LsdeblurWarning, match="frame . does not fit"):
            restore([frames[0], moved], hs)
    alone = [psnr(restore(g, h).image) for g, h in zip(frames, hs, strict=True)]
    together = restore(frames, hs)
    assert together.lam is not None
    best = max(psnr(restore(frames, hs, lam=together.lam * c).image) for c in (0.5, 1, 2))
    assert psnr(together.image) > max(alone) + 1.5
    assert psnr(together.image) > best - 0.1
    assert together.noise_std == pytest.approx(0.01, rel=0.03)
    again = restore(frames, together.psf, **together.options)
    np.testing.assert_array_equal(again.image, together.image)


@pytest.mark.filterwarnings("ignore:frame .* does not fit")
@pytest.mark.parametrize("rule", ["gcv", "discrepancy", "sure"])
def test_rules(rule: str) -> None:
    scene = np.cumsum(np.cumsum(np.random.default_rng(0).standard_normal((40, 41)), 0), 1) / 20
    frames = [simulate.add_noise(reference.blur(scene, h, "edge"), noise_std=0.1, rng=1) for h in PSFS]
    assert restore(frames, PSFS, lam=rule, noise_std=0.1).selection.criterion == rule  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"method": "wiener"}, "several frames are restored together by method='tikhonov' only"),
        ({"tile": 10}, "several frames are restored together without tile"),
        ({"uncertainty": True}, "without uncertainty"),
        ({"psf": PSFS[:1]}, "psf has 1 items for 2 frames"),
        ({"image": [np.ones((9, 9)), np.ones((9, 8))]}, r"the frames have shapes .* crop them to the same part"),
        ({"effort": "accurate"}, "several frames has no option 'effort'"),
        ({"lam": -1}, "lam must not be negative"),
    ],
)
def test_what_frames_cannot_do(change: dict[str, Any], match: str) -> None:
    call: dict[str, Any] = {"image": [np.ones((9, 9))] * 2, "psf": PSFS, "lam": LAM} | change
    with pytest.raises((ValueError, TypeError), match=match):
        restore(call.pop("image"), call.pop("psf"), **call)


@pytest.mark.parametrize(("b", "n"), [(1, 1), (5, 1), (1, 3), (6, 2), (4, 3)])
def test_inverses_of_block_toeplitz_matrices(b: int, n: int) -> None:
    rng, f = np.random.default_rng(0), 4
    R = 0.2 / b * (rng.standard_normal((b, f, n, n)) + 1j * rng.standard_normal((b, f, n, n)))
    R[0] = R[0] + np.conj(np.swapaxes(R[0], 1, 2)) + 2 * np.eye(n)
    T = np.zeros((f, b * n, b * n), complex)
    for i, j in np.ndindex(b, b):
        block = R[i - j] if i >= j else np.conj(np.swapaxes(R[j - i], 1, 2))
        T[:, i * n : (i + 1) * n, j * n : (j + 1) * n] = block
    np.testing.assert_allclose(toeplitz_inverse(R) @ T, np.broadcast_to(np.eye(b * n), T.shape), rtol=0, atol=1e-12)


def test_a_run_that_ends_early_warns() -> None:
    frames = [np.random.default_rng(i).standard_normal((30, 31)) for i in (0, 1)]
    with pytest.warns(ConvergenceWarning, match="not settled after 1 iterations"):
        assert not restore(frames, PSFS, lam=1e-3, max_iter=1, tol=1e-12).converged
