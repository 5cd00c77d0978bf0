"""Fourier transforms: what the library's choice of a backend costs against the fastest one installed.

    python benchmarks/transforms.py [--rounds 9] [--workers 1 2] [--measured]

One forward and one inverse transform of an image, on the library's good lengths, for every installed backend, and for
what "auto" chooses. All take turns, round after round in shuffled order, so that a busy machine slows all of them;
the table gives medians as ratios to the choice: below 1 a backend is faster than it. FFTW's plans are made beforehand;
those that it measures, with --measured, take seconds, on a busy machine minutes. "loss" is the choice against the
fastest backend that needs no such time.

The second table is the transfer function of a PSF against a transform of the zero-padded PSF.

`asv` runs the classes.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
import scipy
from _common import headline, machine, medians

from lsdeblur import MissingDependencyError, _fft, fft_backend, psf
from lsdeblur.spectrum import transfer_function

SHAPES = [(256, 256), (512, 512), (1024, 1024), (2048, 2048), (4096, 4096), (2003, 1501)]
BACKENDS = {"auto": {}, "scipy": {}, "fftw": {}, "mkl": {}, "measured": {"name": "fftw", "measure": True}}
PSFS = {
    "gaussian 2": lambda: psf.gaussian(2.0),
    "motion 15@30": lambda: psf.motion(15, 30),
    "shake 27": lambda: psf.shake(27, rng=3),
    "disk 10": lambda: psf.disk(10.0),
}


class Transforms:
    """One rfftn and one irfftn."""

    params = (SHAPES, ["float32", "float64"], [1, 2], list(BACKENDS))
    param_names = ("shape", "dtype", "workers", "backend")

    def setup(self, shape: tuple[int, int], dtype: str, workers: int, backend: str) -> None:
        options = {"name": backend} | BACKENDS[backend]
        grid = tuple(_fft.good_size(n) for n in shape)
        x = np.random.default_rng(0).standard_normal(grid).astype(dtype)

        def both() -> np.ndarray:
            with fft_backend(**options):
                return _fft.irfftn(_fft.rfftn(x, 2, workers), grid, workers)

        try:
            both()  # plans are made
        except MissingDependencyError as error:
            raise NotImplementedError from error  # asv leaves it out
        self.both = both

    def time_both(self, *_: object) -> None:
        self.both()


class TransferFunctions:
    """The transfer function of a PSF, from its rows or factors, or from the zero-padded PSF."""

    params = ([(512, 512), (1024, 1024), (2048, 2048), (4096, 4096)], ["float32", "float64"], list(PSFS))
    param_names = ("grid", "dtype", "psf")

    def setup(self, grid: tuple[int, int], dtype: str, name: str) -> None:
        self.h, self.grid = PSFS[name]().astype(dtype), grid

    def time_library(self, *_: object) -> None:
        transfer_function(self.h, self.grid)

    def time_padded(self, *_: object) -> None:
        h = np.zeros(self.grid, self.h.dtype)
        h[: self.h.shape[0], : self.h.shape[1]] = self.h
        _fft.rfftn(np.roll(h, [-(s // 2) for s in self.h.shape], (0, 1)), 2)


def prepared(names: list[str], *case: object) -> dict[str, Callable[[], None]]:
    runs = {}
    for name in names:
        benchmark = Transforms()
        try:
            benchmark.setup(*case, name)  # type: ignore[arg-type]
        except NotImplementedError:
            continue
        runs[name] = benchmark.time_both
    return runs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, help="for the largest images; more for smaller ones")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--measured", action="store_true", help="also with plans that FFTW measured")
    args = parser.parse_args()
    print(f"{machine()}, scipy {scipy.__version__}\n")
    losses = []
    names = list(BACKENDS) if args.measured else list(BACKENDS)[:-1]
    others = names[1:]
    print(f"{'image':14}{'dtype':9}{'workers':>7}{'auto ms':>9}" + "".join(f"{n:>10}" for n in others) + f"{'loss':>8}")
    for shape in SHAPES:
        rounds = args.rounds * max(1, min(20, round(2**22 / np.prod(shape))))
        for dtype in ("float32", "float64"):
            for workers in args.workers:
                found = medians(prepared(names, shape, dtype, workers), rounds)
                ratios = {name: found[name] / found["auto"] for name in others if name in found}
                cells = "".join(f"{ratios[n]:10.2f}" if n in ratios else f"{'-':>10}" for n in others)
                losses.append(
                    loss := 1 / min(1.0, *(ratio for name, ratio in ratios.items() if name != "measured")) - 1
                )
                label = " x ".join(map(str, shape))
                print(f"{label:14}{dtype:9}{workers:7}{found['auto'] * 1e3:9.2f}{cells}{loss:8.0%}", flush=True)
    print(f"\n{'grid':14}{'dtype':9}{'psf':14}{'padded ms':>10}{'library':>9}")
    for grid in TransferFunctions.params[0]:
        for dtype in TransferFunctions.params[1]:
            for name in PSFS:
                case = TransferFunctions()
                case.setup(grid, dtype, name)
                found = medians({"padded": case.time_padded, "library": case.time_library}, args.rounds)
                label, ratio = " x ".join(map(str, grid)), found["library"] / found["padded"]
                print(f"{label:14}{dtype:9}{name:14}{found['padded'] * 1e3:10.2f}{ratio:9.2f}", flush=True)
    figures = f"{np.median(losses):.0%} (median), {max(losses):.0%} at the most"
    headline("slower than the fastest FFT library of the case", figures)


if __name__ == "__main__":
    main()
