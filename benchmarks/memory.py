"""Memory of a restoration beyond its input and output, speed and memory against size, and a fresh process's first call.

    python benchmarks/memory.py [--largest 4096] [--growth] [--plot benchmarks/growth.png]

Peaks are those of `tracemalloc`, which NumPy reports its arrays to, in units of the image; the output is subtracted. A
backend's own work space (FFTW, MKL, pocketfft's lines) is not seen.

`asv` runs the class.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from _common import headline, machine
from speed import BLUR, LAM, example

import lsdeblur
from lsdeblur import restore
from lsdeblur.boundary import grid_shape

BOUNDARIES = ("periodic", "zero", "symmetric", "edge", "taper", "free")
FIRST = """
import time; start = time.perf_counter()
import numpy as np
from lsdeblur import psf, restore
g = np.random.default_rng(0).random(({n}, {n}), dtype=np.float32)
import warnings; warnings.simplefilter("ignore")
restore(g, psf.motion(15, 30))
print(time.perf_counter() - start, time.process_time())
"""


def peak(run: Callable[[], Any], image: np.ndarray) -> float:
    """Bytes beyond what was there and the output, in images."""
    run()  # loops are compiled, and modules imported
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        run()
        highest = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    return (highest - before) / image.nbytes - 1


def tasks(shape: tuple[int, int], dtype: str, boundary: str) -> dict[str, Callable[[], Any]]:
    g, h, _ = example(shape, dtype)
    plan = lsdeblur.plan(h, shape, lam=LAM, boundary=boundary, dtype=dtype)
    return {
        "plan": lambda: plan(g),
        "fixed": lambda: restore(g, h, lam=LAM, boundary=boundary),
        "auto": lambda: restore(g, h, boundary=boundary),
    }


class Memory:
    """Peaks in images."""

    params = ([(1024, 1024), (2048, 2048), (2003, 1501)], ["float32", "float64"], list(BOUNDARIES), ["fixed", "auto"])
    param_names = ("shape", "dtype", "boundary", "task")
    unit = "images"

    def track_peak(self, shape: tuple[int, int], dtype: str, boundary: str, task: str) -> float:
        return peak(tasks(shape, dtype, boundary)[task], np.empty(shape, dtype))


def peaks(largest: int) -> None:
    print("| image | dtype | boundary | grid / image | plan(image) | lam given | automatic |")
    print("|---|---|---|---|---|---|---|")
    for shape in ((1024, 1024), (2048, 2048), (2003, 1501)):
        for dtype in ("float32", "float64"):
            for boundary in BOUNDARIES if max(shape) <= largest else ():
                runs, image = tasks(shape, dtype, boundary), np.empty(shape, dtype)
                found = [f"{peak(run, image):.2f}" for run in runs.values()]
                part = np.prod(grid_shape(shape, BLUR.shape, boundary)) / image.size
                cells = [" x ".join(map(str, shape)), dtype, boundary, f"{part:.2f}", *found]
                print("| " + " | ".join(cells) + " |", flush=True)
                if shape == (2048, 2048) and dtype == "float32" and boundary in ("periodic", "free"):
                    headline(f"memory beyond input and output, 2048 x 2048, {boundary}", f"{found[-1]} images")


def first_calls() -> None:
    """A fresh process, from before its imports to the first result, free boundary, automatic lambda."""
    print("| image | compiled loops | s | processor time, s |")
    print("|---|---|---|---|")
    for n in (512, 2048):
        with tempfile.TemporaryDirectory() as folder:
            for state in ("not yet on disk", "on disk"):
                environment = {**os.environ, "NUMBA_CACHE_DIR": folder}
                run = subprocess.run(
                    [sys.executable, "-c", FIRST.format(n=n)],
                    env=environment,
                    capture_output=True,
                    text=True,
                    check=True,
                )
                seconds, used = map(float, run.stdout.split())
                print(f"| {n} x {n} | {state} | {seconds:.2f} | {used:.2f} |", flush=True)


def growth(largest: int, plot: Path | None) -> None:
    """Megapixels a second and peak memory from 0.25 to 64 megapixels, float32."""
    rows = []
    print("| image | boundary | lambda | MPix/s | memory, images |")
    print("|---|---|---|---|---|")
    for n in (512, 1024, 2048, 4096, 8192):
        for boundary in ("periodic", "taper", "free") if n <= largest else ():
            g, h, _ = example((n, n), "float32")
            for lam in (LAM, "auto"):
                memory = peak(lambda g=g, h=h, b=boundary, lam=lam: restore(g, h, boundary=b, lam=lam), g)
                seconds = []
                for _ in range(3 if n > 2048 else 7):
                    start = time.perf_counter()
                    restore(g, h, boundary=boundary, lam=lam)
                    seconds.append(time.perf_counter() - start)
                speed = g.size / 1e6 / float(np.median(seconds))
                label = "auto" if lam == "auto" else "given"
                rows.append((g.size / 1e6, boundary, label, speed, memory * g.nbytes / 2**20))
                print(f"| {n} x {n} | {boundary} | {label} | {speed:.1f} | {memory:.2f} |", flush=True)
    if plot:
        draw(rows, plot)


def draw(rows: list[tuple[float, str, str, float, float]], path: Path) -> None:
    import matplotlib.pyplot as plt

    figure, (speed, memory) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for colour, boundary in zip(("C0", "C1", "C2"), ("periodic", "taper", "free"), strict=True):
        for label, style in (("given", "o--"), ("auto", "o-")):
            part = np.array([(x, s, m) for x, b, lam, s, m in rows if (b, lam) == (boundary, label)])
            speed.loglog(part[:, 0], part[:, 1], style, color=colour, label=f"{boundary}, lambda {label}")
            memory.loglog(part[:, 0], part[:, 2], style, color=colour)
    speed.set(xlabel="megapixels", ylabel="megapixels a second")
    memory.set(xlabel="megapixels", ylabel="peak memory beyond input and output, MiB")
    speed.legend(fontsize="small")
    figure.suptitle(f"float32, {os.cpu_count()} processors, {platform.machine()}")
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--largest", type=int, default=4096, help="longest side; 8192 needs some 3 GB")
    parser.add_argument("--growth", action="store_true", help="also speed and memory against size")
    parser.add_argument("--plot", type=Path, help="draw them into this file")
    args = parser.parse_args()
    warnings.simplefilter("ignore", lsdeblur.LsdeblurWarning)
    print(f"{machine()}\n\nPeak memory beyond input and output, in images:\n")
    peaks(args.largest)
    print("\nA fresh process, import and first call:\n")
    first_calls()
    if args.growth or args.plot:
        print("\nGrowth, float32:\n")
        growth(args.largest, args.plot)


if __name__ == "__main__":
    main()
