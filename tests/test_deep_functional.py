"""The filters on tensors: what NumPy computes, on batches, with derivatives that finite differences confirm."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference

import lsdeblur
from lsdeblur import restore, simulate
from lsdeblur.boundary import BOUNDARIES

torch = pytest.importorskip("torch")

from lsdeblur.deep import functional  # noqa: E402

FRAMES = [((37, 48), (5, 4)), ((40, 31), (4, 7)), ((9, 8, 11), (3, 4, 5))]
FILTERS: list[tuple[str, dict[str, Any]]] = [
    ("tikhonov", {"lam": 1e-2}),
    ("tikhonov", {"lam": 1e-2, "penalty": "gradient"}),
    ("tikhonov", {"lam": 1e-2, "noise_width": 0.6}),
    ("wiener", {"nsr": 1e-2}),
    ("wiener", {"noise_power": 1e-2, "signal_power": lambda *w: 1 / sum(x * x for x in w)}),
    ("inverse", {"threshold": 0.2}),
]
EXACT: dict[str, Any] = {"tol": 1e-20, "max_iter": 300}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    n = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n)


def tensor(array: Any, *, grad: bool = False) -> Any:
    return torch.from_numpy(np.array(array)).requires_grad_(grad)


def blurred(shape: tuple[int, ...], size: tuple[int, ...], dtype: Any = np.float64) -> Any:
    """A smooth scene of range 1, blurred, with a little noise."""
    frame = tuple(n + s - 1 for n, s in zip(shape, size, strict=True))
    scene = simulate.blur(reference.image(frame, seed=3), reference.psf((3,) * len(shape)), boundary="periodic")
    scene = (scene - scene.min()) / np.ptp(scene)
    return simulate.add_noise(simulate.blur(scene, reference.psf(size)), noise_std=1e-3, rng=0).astype(dtype)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize(("shape", "size"), FRAMES)
@pytest.mark.parametrize(("dtype", "most"), [(np.float32, 1e-5), (np.float64, 1e-10)])
def test_results_are_those_of_numpy(shape: Any, size: Any, boundary: str, dtype: Any, most: float) -> None:
    g, h = blurred(shape, size, dtype), reference.psf(size)
    for method, options in FILTERS:
        expected = restore(g, h, method=method, boundary=boundary, workers=1, **options).image
        f = getattr(functional, method)(tensor(g), h, boundary=boundary, ndim=len(shape), **options)
        assert f.numpy().dtype == dtype
        assert np.abs(f.numpy() - expected).max() < most * np.ptp(expected), (method, options)


def test_power_spectra_are_the_autocovariance_or_a_number() -> None:
    g, h = blurred((20, 21), (3, 4)), reference.psf((3, 4))
    noise = reference.psf((5, 5)) + np.flip(reference.psf((5, 5)))
    f = functional.wiener(tensor(g), h, noise_power=noise, signal_power=20.0)
    expected = restore(g, h, method="wiener", noise_power=noise, signal_power=20.0)
    np.testing.assert_allclose(f.numpy(), expected.image, atol=1e-11)
    with pytest.raises(ValueError, match="together"):
        functional.wiener(tensor(g), h, 0.1, noise_power=noise)


@pytest.mark.parametrize("boundary", ["zero", "periodic", "symmetric", "edge", "valid"])
@pytest.mark.parametrize(("shape", "size"), FRAMES)
def test_blur_is_that_of_numpy_and_its_derivative_its_adjoint(shape: Any, size: Any, boundary: str) -> None:
    f, h = tensor(reference.image(shape), grad=True), reference.psf(size)
    g = functional.blur(f, h, boundary=boundary, ndim=len(shape))
    np.testing.assert_allclose(g.detach().numpy(), simulate.blur(f.detach().numpy(), h, boundary=boundary), atol=1e-13)
    v = tensor(reference.image(g.shape, seed=5))
    (adjoint,) = torch.autograd.grad(g, f, v)
    assert (g * v).sum().item() == pytest.approx((adjoint * f).sum().item(), rel=1e-12)
    if boundary == "zero" and all(s % 2 for s in size):  # correlation is convolution with the PSF turned around
        turned = functional.blur(v, np.flip(h).copy(), ndim=len(shape))
        torch.testing.assert_close(adjoint, turned, atol=1e-13, rtol=0)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_derivatives_by_image_psf_and_lambda(boundary: str) -> None:
    """Two images of two channels, a PSF and a lambda for each image; finite differences in float64."""
    g = tensor(reference.image((2, 2, 8, 7)), grad=True)
    h = tensor([[reference.psf((2, 3), seed=i)] for i in (1, 2)], grad=True)
    lam = tensor([[0.02], [0.2]], grad=True)

    def f(g: Any, h: Any, lam: Any) -> Any:
        return functional.tikhonov(g, h, lam, boundary=boundary, **EXACT)

    # One random combination of all outputs is compared along one random direction of all inputs.
    assert torch.autograd.gradcheck(f, (g, h, lam), fast_mode=True)


@pytest.mark.parametrize("boundary", ["periodic", "free"])
@pytest.mark.parametrize(("method", "strength"), [("tikhonov", 0.05), ("wiener", 0.05)])
def test_every_entry_of_the_jacobian(method: str, strength: float, boundary: str) -> None:
    g, h = tensor(reference.image((5, 6)), grad=True), tensor(reference.psf((3, 2)), grad=True)
    lam = torch.tensor(strength, dtype=torch.float64, requires_grad=True)
    run = getattr(functional, method)
    assert torch.autograd.gradcheck(lambda *args: run(*args, boundary=boundary, **EXACT), (g, h, lam))


def test_derivatives_of_volumes_and_of_the_inverse_filter() -> None:
    g, h = tensor(reference.image((4, 5, 6)), grad=True), tensor(reference.psf((2, 3, 2)), grad=True)
    assert torch.autograd.gradcheck(
        lambda g, h: functional.tikhonov(g, h, 0.1, ndim=3, **EXACT), (g, h), fast_mode=True
    )
    g, h = tensor(reference.image((9, 8)), grad=True), tensor(reference.psf((3, 4)), grad=True)
    assert torch.autograd.gradcheck(lambda g, h: functional.inverse(g, h, 0.3, **EXACT), (g, h), fast_mode=True)


def test_the_derivative_does_not_depend_on_the_iterations_taken() -> None:
    """Solved loosely, as by default, it is near that of the exact solution."""
    g, h = tensor(blurred((30, 33), (5, 4)), grad=True), reference.psf((5, 4))
    v = tensor(reference.image((30, 33), seed=7))
    loose, exact = (
        torch.autograd.grad((functional.tikhonov(g, h, 1e-2, **limits) * v).sum(), g)[0] for limits in ({}, EXACT)
    )
    assert float((loose - exact).norm() / exact.norm()) < 1e-3


def test_free_boundaries_keep_the_data_and_minimise_the_cost() -> None:
    """No other extension of the data has a lower ``<y, Q y>``: its derivative on the strip is zero."""
    from lsdeblur.deep._grid import frame_of
    from lsdeblur.deep._strip import settled

    g, h = tensor(blurred((20, 23), (4, 5))), reference.psf((4, 5))
    frame = frame_of(g, h, "free", None, 2)
    _, Q = functional.tikhonov_filter(frame, lam=1e-2)
    Y, _, converged = settled(g, Q, frame.grid, **EXACT)
    assert converged
    torch.testing.assert_close(torch.fft.irfftn(Y, s=frame.grid)[:20, :23], g, atol=1e-12, rtol=0)
    slope = torch.fft.irfftn(Q * Y, s=frame.grid)
    slope[:20, :23] = 0
    assert float(slope.abs().max()) < 1e-9


@pytest.mark.parametrize("boundary", ["taper", "free"])
def test_a_batch_is_its_images_one_by_one(boundary: str) -> None:
    """With PSFs, lambdas and contents that take different numbers of iterations, one of them constant."""
    g = tensor(reference.image((3, 2, 20, 21), dtype=np.float32))
    g[1] = 0.5
    h = np.stack([[reference.psf((4, 3), seed=i)] for i in range(3)])
    lam = torch.tensor([[1e-3], [1e-2], [1.0]])
    f = functional.tikhonov(g, h, lam, boundary=boundary)
    for i, j in np.ndindex(3, 2):
        alone = functional.tikhonov(g[i, j], h[i, 0], float(lam[i]), boundary=boundary)
        torch.testing.assert_close(f[i, j], alone, atol=2e-5, rtol=0)
    torch.testing.assert_close(f[1], g[1], atol=1e-5, rtol=0)  # a constant stays one


def test_strengths_make_a_batch_of_one_image() -> None:
    g, lams = tensor(reference.image((20, 21))), torch.tensor([1e-3, 1e-1], dtype=torch.float64)
    f = functional.tikhonov(g, reference.psf((3, 4)), lams)
    assert f.shape == (2, 20, 21)
    torch.testing.assert_close(f[1], functional.tikhonov(g, reference.psf((3, 4)), 1e-1), atol=1e-12, rtol=0)


def test_a_lambda_is_learned() -> None:
    """Descent along the derivative finds the lambda that a search finds."""
    scene = tensor(simulate.blur(reference.image((40, 40)), np.full((5, 5), 0.04), boundary="periodic"))
    h = reference.psf((5, 4))
    g = functional.blur(scene, h, boundary="periodic") + 0.02 * tensor(reference.image((40, 40), seed=2) - 0.5)

    def error(log_lam: Any) -> Any:
        return (functional.tikhonov(g, h, log_lam.exp(), boundary="periodic") - scene).square().mean()

    with torch.no_grad():
        searched = min(np.linspace(-9, 0, 181), key=lambda x: error(torch.tensor(x, dtype=torch.float64)).item())
    x = torch.tensor(-2.0, dtype=torch.float64, requires_grad=True)
    descent = torch.optim.LBFGS([x], max_iter=30, line_search_fn="strong_wolfe")

    def closure() -> Any:
        descent.zero_grad()
        loss = 1e4 * error(x)
        loss.backward()
        return loss

    descent.step(closure)
    assert x.item() == pytest.approx(searched, abs=0.05)


def test_scaling_and_shift() -> None:
    g, h = tensor(blurred((24, 25), (3, 4))), reference.psf((3, 4))
    f = functional.tikhonov(g, h, 1e-2)
    torch.testing.assert_close(functional.tikhonov(100 * g - 7, h, 1e-2), 100 * f - 7, atol=1e-2, rtol=0)
    torch.testing.assert_close(functional.tikhonov(100 * g - 7, h, 1e-2, **EXACT),
                               100 * functional.tikhonov(g, h, 1e-2, **EXACT) - 7, atol=1e-7, rtol=0)  # fmt: skip


@pytest.mark.parametrize("boundary", [b for b in BOUNDARIES if b != "free"])
def test_no_number_is_read(boundary: str) -> None:
    """A tensor of the device "meta" has none: reading one would be an error."""
    g = torch.empty(2, 3, 20, 21, device="meta")
    for run in (functional.tikhonov, functional.wiener, functional.inverse):
        f = run(g, reference.psf((3, 4)), 0.1, boundary=boundary)
        assert (f.shape, f.dtype, f.device.type) == (g.shape, torch.float32, "meta")
    assert functional.blur(g, reference.psf((3, 4))).device.type == "meta"


@pytest.mark.parametrize(
    ("given", "computed"),
    [("uint8", "float32"), ("int16", "float32"), ("float16", "float32"), ("bfloat16", "float32"), ("int32", "float64")],
)
def test_dtypes(given: str, computed: str) -> None:
    g = (100 * torch.rand(20, 21, generator=torch.Generator().manual_seed(0))).to(getattr(torch, given))
    before = g.clone()
    f = functional.tikhonov(g, reference.psf((3, 4)), 1e-2)
    assert f.dtype == getattr(torch, computed)
    torch.testing.assert_close(f, functional.tikhonov(g.to(f.dtype), reference.psf((3, 4)), 1e-2))
    assert torch.equal(g, before)


def test_constants_survive_inference_mode() -> None:
    """What is made within it must serve a derivative later."""
    g, h = torch.rand(19, 17), reference.psf((3, 4))
    with torch.inference_mode():
        functional.tikhonov(g, h, 0.1, tau=0.3)
    x = g.clone().requires_grad_()
    functional.tikhonov(x, h, 0.1, tau=0.3).sum().backward()
    assert x.grad is not None
    assert functional.tikhonov(g, h, 0.1).grad_fn is None


def test_an_end_before_convergence_warns() -> None:
    with pytest.warns(lsdeblur.ConvergenceWarning, match="not settled after 2 iterations"):
        functional.tikhonov(tensor(reference.image((20, 21))), reference.psf((3, 4)), 1e-4, tol=1e-12, max_iter=2)


ERRORS: list[tuple[Any, Any, dict[str, Any], type[Exception], str]] = [
    (np.zeros((9, 9)), np.ones((3, 3)), {}, TypeError, "must be a torch tensor"),
    (torch.zeros(9, 9, dtype=torch.complex64), np.ones((3, 3)), {}, TypeError, "complex"),
    (torch.zeros(9, 9), np.ones((11, 3)), {}, ValueError, "larger than the image"),
    (torch.zeros(4, 3, 9, 9), np.ones((4, 3, 3)), {}, ValueError, "do not broadcast"),
    (torch.zeros(9), np.ones((3, 3)), {}, ValueError, "spatial axes"),
    (torch.zeros(9, 9), np.ones((3, 3)), {"lam": -1.0}, ValueError, "lam must not be negative"),
    (torch.zeros(9, 9), np.ones((3, 3)), {"ndim": 4}, ValueError, "ndim must be 2 or 3"),
    (torch.zeros(9, 9), np.ones((3, 3)), {"boundary": "mirror"}, ValueError, "boundary must be one of"),
    (torch.zeros(9, 9), np.ones((3, 3)), {"tol": 0}, ValueError, "tol must be"),
]


@pytest.mark.parametrize(("image", "psf", "options", "kind", "text"), ERRORS)
def test_errors(image: Any, psf: Any, options: dict[str, Any], kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text):
        functional.tikhonov(image, psf, **{"lam": 0.1, **options})


# restore() on tensors.


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("tikhonov", {}),
        ("tikhonov", {"lam": "gcv", "boundary": "taper"}),
        ("tikhonov", {"lam": 1e-2, "spacing": (2.0, 1.0)}),
        ("wiener", {}),
        ("wiener", {"nsr": 1e-2, "boundary": "symmetric"}),
        ("inverse", {}),
    ],
)
@pytest.mark.parametrize("channel_axis", [None, -1])
def test_restore_gives_what_it_gives_for_arrays(method: str, options: dict[str, Any], channel_axis: int | None) -> None:
    size = (4, 5)
    g, h = blurred((40, 37), size, np.float32), reference.psf(size)
    g = g if channel_axis is None else np.stack([g, 2 * g[::-1]], -1)
    x = tensor(g, grad=True)
    result = restore(x, tensor(h), method=method, channel_axis=channel_axis, workers=1, **options)
    expected = restore(g, h, method=method, channel_axis=channel_axis, workers=1, **options)
    assert isinstance(result.image, torch.Tensor)
    assert (result.image.shape, result.image.dtype) == (g.shape, torch.float32)
    assert not result.image.requires_grad
    assert np.abs(np.asarray(result) - expected.image).max() < 1e-5 * np.ptp(expected.image)
    for name in ("lam", "noise_std", "noise_width", "n_iter", "converged", "method"):
        assert getattr(result, name) == getattr(expected, name), name
    assert (result.selection is None) == (expected.selection is None)
    if result.selection is not None and expected.selection is not None:
        np.testing.assert_array_equal(result.selection.values, expected.selection.values)
    assert np.array_equal(x.detach().numpy(), g)


def test_restored_volumes() -> None:
    g, h = blurred((9, 12, 10), (3, 4, 3)), reference.psf((3, 4, 3))
    f = restore(tensor(g), h, lam=0.1, spacing=(2, 1, 1)).image
    np.testing.assert_allclose(f.numpy(), restore(g, h, lam=0.1, spacing=(2, 1, 1)).image, atol=1e-10)


def test_a_result_is_shown_and_stored(tmp_path: Path) -> None:
    result = restore(torch.rand(20, 21), reference.psf((3, 4)), lam=torch.tensor(0.1))
    assert repr(result) == "Restoration('tikhonov', shape=(20, 21), dtype=torch.float32, lam=0.1)"
    assert np.array(result, copy=True).dtype == np.float32
    assert np.asarray(result, dtype=np.float64).dtype == np.float64
    with pytest.raises(ValueError, match="without a copy"):
        np.array(result, dtype=np.float64, copy=False)
    result.save(tmp_path / "result.npz")
    loaded = lsdeblur.Restoration.load(tmp_path / "result.npz")
    np.testing.assert_array_equal(loaded.image, result.image.numpy())
    assert (loaded.message, loaded.lam) == (result.message, result.lam)


REFUSED: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"method": "tv"}, TypeError, r"'tv' does not take torch tensors.*pass image.numpy\(\)"),
    ({"method": lambda problem: problem}, TypeError, "does not take torch tensors"),
    ({"mask": np.zeros((9, 9), bool)}, ValueError, r"mask: only for images that are arrays.*numpy\(\)"),
    ({"saturation": 1.0}, ValueError, "saturation: only for"),
    ({"tile": 64}, ValueError, "tile: only for"),
    ({"out": np.zeros((9, 9))}, ValueError, "out: only for"),
    ({"callback": id, "uncertainty": True}, ValueError, "callback, uncertainty: only for"),
    ({"denoise_after": "tv"}, ValueError, "denoise_after: only for"),
    ({"psf": None}, ValueError, "psf is missing"),
    ({"foo": 1}, TypeError, "no option 'foo'"),
    ({"channel_axis": 4}, ValueError, "spatial axes"),
    ({"image": torch.zeros(3, 9, 9), "channel_axis": 4}, ValueError, "channel_axis=4 is no axis"),
    ({"image": torch.full((9, 9), torch.nan)}, ValueError, "81 values that are NaN"),
    ({"image": [torch.zeros(9, 9)] * 2}, TypeError, "several frames must be arrays"),
    ({"psf": np.eye(2) / 2, "lam": 0, "boundary": "periodic", "image": torch.zeros(8, 8)}, ValueError, "zero by zero"),
]


@pytest.mark.parametrize(("options", "kind", "text"), REFUSED)
def test_restore_says_what_tensors_cannot_have(options: dict[str, Any], kind: type[Exception], text: str) -> None:
    call: dict[str, Any] = {"image": torch.zeros(9, 9), "psf": np.ones((3, 3)) / 9, "lam": 0.1, **options}
    with pytest.raises(kind, match=text):
        restore(call.pop("image"), call.pop("psf"), **call)
