"""``lsdeblur bench``, ``info`` and ``train``: this machine, this installation, networks."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from importlib import metadata
from typing import Any

import click
import numpy as np

from lsdeblur import _fft, psf, simulate
from lsdeblur._methods import named
from lsdeblur._restore import plan, restore
from lsdeblur._validate import resolve_workers
from lsdeblur._version import __version__
from lsdeblur.cli import arguments
from lsdeblur.cli.console import print_json, print_table
from lsdeblur.errors import MissingDependencyError

__all__ = ["bench", "info", "train"]

_BACKENDS = ("scipy", "fftw", "mkl")
_NEEDED = ("numpy", "scipy", "numba", "pyfftw", "scikit-image", "PyWavelets", "opencv-python", "matplotlib")
_EXTRAS = {
    "cli": ("click", "rich"),
    "dask": ("dask", "zarr"),
    "astro": ("astropy",),
    "tiff": ("imagecodecs",),
    "deep": ("torch", "safetensors", "onnx", "onnxruntime"),
    "mkl": ("mkl_fft", "mkl-service"),
}


@click.command(epilog="\b\nlsdeblur bench --size 2048")
@click.option("--size", "sizes", type=click.IntRange(64), multiple=True, help="Pixels a side.  [default: 512, 1024]")
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True)
@click.option("--workers", type=click.IntRange(1), help="Threads.  [default: all processors]")
@arguments.json_option
def bench(sizes: tuple[int, ...], rounds: int, workers: int | None, as_json: bool) -> None:
    """Time restorations beside the two FFTs that none can do without.

    Square float32 images, a motion blur of 15 pixels and 1 % noise; the FFTs are of the image's own size. The best of
    the rounds is shown: whatever else the machine does only adds to it.
    """
    rows: list[dict[str, Any]] = []
    for size in sizes or (512, 1024):
        tasks = _tasks(size, workers)
        for run in tasks.values():
            run()  # loops are compiled, transforms planned
        taken: dict[str, list[float]] = {task: [] for task in tasks}
        for _ in range(rounds):
            for task, run in tasks.items():
                start = time.perf_counter()
                run()
                taken[task].append(time.perf_counter() - start)
        floor = min(taken["two FFTs"])
        for task, seconds in taken.items():
            ms = 1000 * min(seconds)
            rows.append({"size": size, "what": task, "milliseconds": ms, "ratio": ms / 1000 / floor})
    if as_json:
        for row in rows:
            print_json(row)
    else:
        print_table(("size", "what", "ms", "times the FFTs"), [tuple(row.values()) for row in rows])


@click.command()
@arguments.json_option
def info(as_json: bool) -> None:
    """Print versions, FFT backends, threads and the optional parts that are installed."""
    record: dict[str, Any] = {
        "lsdeblur": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "threads": resolve_workers(None),
        "fft": [name for name in _BACKENDS if _has_backend(name)],
        "fft chosen": "auto: the fastest of them by size and precision",
        "libraries": {name: _version(name) for name in _NEEDED},
        "extras": {extra: {name: _version(name) for name in names} for extra, names in _EXTRAS.items()},
    }
    if as_json:
        print_json(record)
        return
    rows = [(key, value) for key, value in record.items() if not isinstance(value, dict)]
    rows += [(name, version or "missing") for name, version in record["libraries"].items()]
    for extra, found in record["extras"].items():
        absent = not all(found.values())
        versions = ", ".join(f"{name} {version or 'missing'}" for name, version in found.items())
        rows.append((f"[{extra}]", versions + (f"  (pip install 'lsdeblur[{extra}]')" if absent else "")))
    print_table(("what", "version"), rows)


@click.command(
    context_settings={"ignore_unknown_options": True, "help_option_names": []},
    epilog="\b\nlsdeblur train cnn --data photos/ --steps 2000",
)
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
def train(args: tuple[str, ...]) -> None:
    """Train a network: as python -m lsdeblur.deep.train."""
    try:
        trainer = named("lsdeblur.deep._command:command")
    except ModuleNotFoundError as error:
        raise named("lsdeblur.deep:missing")(error) from None
    trainer.main(list(args), prog_name="lsdeblur train", standalone_mode=False)


def _tasks(size: int, workers: int | None) -> dict[str, Callable[[], Any]]:
    """What is timed on one image."""
    rng = np.random.default_rng(0)
    scene = np.zeros((size, size))
    for _ in range(60):
        y, x, h, w = rng.integers(0, size, 4)
        scene[y : y + h, x : x + w] += rng.normal()
    blur = psf.motion(15, 30).astype(np.float32)
    g = simulate.add_noise(simulate.blur(scene, blur, boundary="periodic"), noise_std=0.01 * float(scene.std()), rng=0)
    g = g.astype(np.float32)
    fixed = plan(blur, g.shape, lam=1e-2, boundary="periodic", dtype=g.dtype, workers=workers)

    def transforms() -> Any:
        return _fft.irfftn(_fft.rfftn(g, 2, workers), g.shape, workers)

    def by(backend: str) -> Callable[[], Any]:
        def run() -> Any:
            with _fft.fft_backend(backend):
                return transforms()

        return run

    return {
        "two FFTs": transforms,
        **{f"two FFTs by {name}": by(name) for name in _BACKENDS if _has_backend(name)},
        "plan, periodic, lambda given": lambda: fixed(g),
        "periodic, automatic": lambda: restore(g, blur, boundary="periodic", workers=workers),
        "free, lambda given": lambda: restore(g, blur, lam=1e-2, workers=workers),
        "free, automatic (the default)": lambda: restore(g, blur, workers=workers),
    }


def _has_backend(name: str) -> bool:
    try:
        with _fft.fft_backend(name):
            return True
    except MissingDependencyError:
        return False


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
