"""Restorations against the two transforms that none can do without, and against other programs.

    python benchmarks/speed.py [--rounds 5] [--largest 4096] [--workers N] [--skip-slow]

The floor is one rfft2 and one irfft2 of the padded size, by the FFT that the library takes for it. All that a row
compares takes turns, round after round in shuffled order; the tables give the ratios of the medians of one run. PSF: a
motion blur of 15 pixels at 30 degrees; the scene is scikit-image's camera man, repeated to the size, with 1 % noise.

1. "plan": lambda and the PSF fixed beforehand. "new psf": the same from PSF and image, by `restore(..., lam=)`.
2. "auto": `restore` chooses lambda, curves of all rules and the noise's colour included.
3. What a restoration with a free boundary and automatic lambda is made of: time apart from what is called within.
4. Peers, whose results are compared with ours before they are timed; where they do another job, the table says so.

`asv` runs the class.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import time
import warnings
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from unittest import mock

import numpy as np
from _common import headline, machine, medians, scene

import lsdeblur
from lsdeblur import _fft, direct, free, metrics, psf, restore, simulate, spectrum
from lsdeblur.boundary import grid_shape

SHAPES = [(512, 512), (1024, 1024), (2048, 2048), (4096, 4096), (2003, 1501)]
LAM = 1e-2
TASKS = ("plan", "new psf", "auto")
TARGETS = {"plan": 1.25, "new psf": 2.0, "auto": 2.0}  # times the floor, at 2048 and above
BLUR = psf.motion(15, 30)
Runs = dict[str, Callable[[], Any]]


def example(shape: tuple[int, int], dtype: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Blurred image, PSF and truth."""
    tile = scene("camera")
    truth = np.tile(tile, [-(-n // m) for n, m in zip(shape, tile.shape, strict=True)])[: shape[0], : shape[1]]
    blurred = simulate.add_noise(simulate.blur(truth, BLUR, boundary="periodic"), noise_std=0.01, rng=0)
    return blurred.astype(dtype), BLUR.astype(dtype), truth


def restorations(shape: tuple[int, int], dtype: str, boundary: str, workers: int | None) -> Runs:
    g, h, _ = example(shape, dtype)
    grid = grid_shape(shape, h.shape, boundary)
    blank = np.zeros(grid, dtype)
    fixed = lsdeblur.plan(h, shape, lam=LAM, boundary=boundary, dtype=dtype, workers=workers)
    options = {"boundary": boundary, "workers": workers}
    return {
        "floor": lambda: _fft.irfftn(_fft.rfftn(blank, 2, workers), grid, workers),
        "plan": lambda: fixed(g),
        "new psf": lambda: restore(g, h, lam=LAM, **options),
        "auto": lambda: restore(g, h, **options),
    }


class Restorations:
    """One restoration."""

    params = (SHAPES, ["float32", "float64"], ["periodic", "taper", "free"], ["floor", *TASKS])
    param_names = ("shape", "dtype", "boundary", "task")

    def setup(self, shape: tuple[int, int], dtype: str, boundary: str, task: str) -> None:
        self.run = restorations(shape, dtype, boundary, None)[task]
        self.run()  # loops are compiled

    def time_restoration(self, *_: object) -> None:
        self.run()

    def peakmem_restoration(self, *_: object) -> None:
        self.run()


def turns(runs: Runs, shape: tuple[int, int], rounds: int) -> dict[str, float]:
    """Medians, after one run of each for what is done only once."""
    for run in runs.values():
        run()
    return medians(runs, rounds * max(1, min(8, round(2**22 / np.prod(shape)))))


def ratios(shapes: list[tuple[int, int]], rounds: int, workers: int | None) -> None:
    print("| image | dtype | boundary | grid | floor, ms | plan | new psf | auto |")
    print("|---|---|---|---|---|---|---|---|")
    for shape in shapes:
        for dtype in ("float32", "float64"):
            for boundary in ("periodic", "taper", "free"):
                found = turns(restorations(shape, dtype, boundary, workers), shape, rounds)
                small = max(shape) <= 1024
                cells = []
                for task in TASKS:
                    ratio = found[task] / found["floor"]
                    target = 1.5 if task == "plan" and small else TARGETS[task]
                    judged = boundary == "periodic" or (boundary == "taper" and task == "auto")
                    cells.append(f"{ratio:.2f}" + (" (missed)" if judged and ratio > target else ""))
                sizes = [" x ".join(map(str, s)) for s in (shape, grid_shape(shape, BLUR.shape, boundary))]
                row = [sizes[0], dtype, boundary, sizes[1], f"{found['floor'] * 1e3:.1f}", *cells]
                print("| " + " | ".join(row) + " |", flush=True)
                if shape == (2048, 2048) and dtype == "float32":
                    times = ", ".join(f"{task} {found[task] / found['floor']:.1f}" for task in TASKS)
                    headline(f"times two FFTs, 2048 x 2048 float32, {boundary}", times)


class Shares:
    """Calls and seconds, without those of what is called within, of some of the library's functions."""

    def __init__(self, grid: tuple[int, ...]) -> None:
        self.grid, self.calls, self.seconds = grid, defaultdict(int), defaultdict(float)
        self._within = [0.0]

    def timed(self, function: Callable[..., Any], label: Callable[..., str]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            name, start = label(*args), time.perf_counter()
            self._within.append(0.0)
            try:
                return function(*args, **kwargs)
            finally:
                spent = time.perf_counter() - start
                self.calls[name] += 1
                self.seconds[name] += spent - self._within.pop()
                self._within[-1] += spent

        return run

    def of(self, run: Callable[[], Any]) -> None:
        """Run it, and count."""
        forward = lambda x, *_: "transforms of the grid" if x.shape[-2:] == self.grid else "other transforms"  # noqa: E731
        backward = lambda x, s, *_: "transforms of the grid" if tuple(s) == self.grid else "other transforms"  # noqa: E731
        places = [(_fft, "rfftn", forward), (_fft, "irfftn", backward)]
        places += [(_fft, name, lambda *_: "other transforms") for name in ("fft", "ifft", "rfft")]
        places += [(direct, "find_colour", lambda *_: "noise's colour"), (free, "levinson", lambda *_: "Levinson")]
        kernels = [(free, "energy"), (free, "advance"), (spectrum, "histogram"), (direct, "restored")]
        places += [(module, name, lambda *_: "passes over the spectrum") for module, name in kernels]
        places += [(free, "inverse_times", lambda *_: "band blocks' products")]
        with ExitStack() as stack:
            for module, name, label in places:
                stack.enter_context(mock.patch.object(module, name, self.timed(getattr(module, name), label)))
            self.timed(run, lambda: "the rest: gains, symbols, copies, curves")()


def composition(shapes: list[tuple[int, int]], rounds: int, workers: int | None) -> None:
    print("| image | part | calls | share of the time | in floors |")
    print("|---|---|---|---|---|")
    for shape in shapes:
        runs = restorations(shape, "float32", "free", workers)
        floor = turns({"floor": runs["floor"]}, shape, rounds)["floor"]
        runs["auto"]()
        shares = Shares(grid_shape(shape, BLUR.shape, "free"))
        for _ in range(rounds):
            shares.of(runs["auto"])
        total = sum(shares.seconds.values())
        for name, seconds in sorted(shares.seconds.items(), key=lambda item: -item[1]):
            size, calls = " x ".join(map(str, shape)), shares.calls[name] // rounds
            print(f"| {size} | {name} | {calls} | {seconds / total:.0%} | {seconds / rounds / floor:.2f} |", flush=True)


def opencv(g: np.ndarray, h: np.ndarray, nsr: float) -> np.ndarray:
    """As in OpenCV's samples for deblurring: complex transforms of padded PSF and image, ``conj(H) / (|H|^2 + nsr)``.

    The samples take the real part of H, right for symmetric PSFs only; here H is complex.
    """
    import cv2

    padded = np.zeros_like(g)
    padded[: h.shape[0], : h.shape[1]] = h
    padded = np.roll(padded, [-(s // 2) for s in h.shape], (0, 1))
    H = cv2.dft(padded, flags=cv2.DFT_COMPLEX_OUTPUT)
    Y = cv2.dft(g, flags=cv2.DFT_COMPLEX_OUTPUT)
    F = cv2.mulSpectrums(Y, H, 0, conjB=True)
    F /= (cv2.magnitude(H[..., 0], H[..., 1]) ** 2 + g.dtype.type(nsr))[..., np.newaxis]
    return cv2.idft(F, flags=cv2.DFT_SCALE | cv2.DFT_REAL_OUTPUT)


def torch_closed_form(g: np.ndarray, h: np.ndarray, lam: float) -> Callable[[], np.ndarray]:
    """The same formula with torch.fft, the PSF's transform made beforehand."""
    import torch

    padded = np.zeros_like(g)
    padded[: h.shape[0], : h.shape[1]] = h
    H = torch.fft.rfft2(torch.from_numpy(np.roll(padded, [-(s // 2) for s in h.shape], (0, 1))))
    power, y = H.abs() ** 2, torch.from_numpy(g)
    return lambda: torch.fft.irfft2(H.conj() * torch.fft.rfft2(y) / (power + lam), s=g.shape).numpy()


def deepinv_prox(g: np.ndarray, h: np.ndarray, lam: float) -> Callable[[], np.ndarray]:
    """deepinv's `BlurFFT.prox_l2` from zero with ``gamma = 1 / lam``, the physics made beforehand."""
    import torch
    from deepinv.physics import BlurFFT

    y = torch.from_numpy(g)[None, None]
    physics = BlurFFT(img_size=(1, *g.shape), filter=torch.from_numpy(h)[None, None])
    zero = torch.zeros_like(y)
    return lambda: physics.prox_l2(zero, y, 1 / lam).numpy()[0, 0]


def pairs(g: np.ndarray, h: np.ndarray, slow: bool, workers: int | None) -> list[tuple[str, Any, Any, bool]]:
    """Of every peer: its name, what it does, what we do, and whether the results must be equal."""
    from skimage import restoration

    own = {"boundary": "periodic", "workers": workers}
    flat = lsdeblur.plan(h, g.shape, lam=LAM, penalty="identity", dtype=g.dtype, **own)
    ours = {
        "laplacian": lambda: restore(g, h, lam=LAM, penalty="laplacian", **own).image,
        "identity": lambda: restore(g, h, lam=LAM, penalty="identity", **own).image,
        "plan": lambda: flat(g),
        "auto": lambda: restore(g, h, **own).image,
    }
    found = [("skimage wiener", lambda: restoration.wiener(g, h, LAM, clip=False), ours["laplacian"], True)]
    if slow:
        found += [
            (
                "skimage unsupervised_wiener (another estimate)",
                lambda: restoration.unsupervised_wiener(g, h, clip=False, rng=0)[0],
                ours["auto"],
                False,
            )
        ]
    found += [("OpenCV dft, as in its samples", lambda: opencv(g, h, LAM), ours["identity"], True)]
    makers = {"torch": torch_closed_form, "deepinv": deepinv_prox}
    labels = {"torch": "torch.fft, closed form, H kept", "deepinv": "deepinv prox_l2, H kept"}
    for name, maker in makers.items():
        if installed(name):
            found += [(labels[name], maker(g, h, LAM), ours["plan"], True)]
    return found


@functools.cache
def installed(name: str) -> bool:
    try:
        importlib.import_module(name)
    except ImportError as error:
        print(f"{name}: not installed ({error})\n")
        return False
    return True


def peers(shapes: list[tuple[int, int]], rounds: int, workers: int | None, slow: bool) -> None:
    for name in ("torch", "deepinv"):
        installed(name)
    print("| image | dtype | peer | its ms | ours, ms | we are faster by | largest difference | PSNR: its, ours |")
    print("|---|---|---|---|---|---|---|---|")
    for shape in shapes:
        for dtype in ("float32", "float64"):
            g, h, truth = example(shape, dtype)
            for name, theirs, ours, equal in pairs(g, h, slow and max(shape) <= 2048, workers):
                a, b = theirs(), ours()
                apart = float(np.abs(a - b).max())
                if equal and apart > (1e-3 if dtype == "float32" else 1e-8):
                    print(f"| | | {name} | not the same result: differs by {apart:.2g} | | | | |")
                    continue
                few = 1 if not equal else rounds
                found = medians({"theirs": theirs, "ours": ours}, few)
                quality = ", ".join(f"{metrics.psnr(np.asarray(x, float), truth, data_range=1.0):.2f}" for x in (a, b))
                ms = [f"{found[k] * 1e3:.1f}" for k in ("theirs", "ours")]
                faster = f"{found['theirs'] / found['ours']:.1f}"
                row = [" x ".join(map(str, shape)), dtype, name, *ms, faster, f"{apart:.1e}", quality]
                print("| " + " | ".join(row) + " |", flush=True)
                if shape == (2048, 2048) and dtype == "float32":
                    headline(f"beside {name}, 2048 x 2048 float32", f"{faster} times as fast; PSNR {quality} dB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="for the largest images; more for smaller ones")
    parser.add_argument("--largest", type=int, default=4096, help="leave out images of longer sides")
    parser.add_argument("--workers", type=int, help="threads; all processors by default")
    parser.add_argument("--skip-slow", action="store_true", help="leave out unsupervised_wiener")
    args = parser.parse_args()
    warnings.simplefilter("ignore", lsdeblur.LsdeblurWarning)
    shapes = [s for s in SHAPES if max(s) <= args.largest]
    print(f"{machine()}\n\nTimes the floor; free for the record, it is not a matter of two transforms:\n")
    ratios(shapes, args.rounds, args.workers)
    print("\nFree boundary, automatic lambda, float32:\n")
    composition([s for s in shapes if s in ((512, 512), (2048, 2048))], args.rounds, args.workers)
    print(
        "\nPeers, periodic; with lambda given but for unsupervised_wiener, each from PSF and image unless H is kept:\n"
    )
    peers([s for s in shapes if s in ((512, 512), (2048, 2048))], args.rounds, args.workers, not args.skip_slow)


if __name__ == "__main__":
    main()
