"""Images of any size: what tiles cost and lose, and how much memory a large image takes.

    python benchmarks/large.py [--size 16384] [--folder DIR]

"quality": images of 4096 x 4096 pixels by tiles and as a whole, lambda fixed: PSNR lost, largest difference, and the
mean step of that difference across a seam beside that elsewhere. "speed": MPix/s by tiles at 4096 against a whole image
of 2048 x 2048, free boundary, lambda fixed. "memory": a float32 image in a Zarr array, made tile by tile, restored into
another in a fresh process; its peak of memory, above that of the process before. "cluster": a Dask array on a local
cluster of two processes beside threads. "killed": a process that restores into a Zarr array is killed at three random
moments, then the call is made again.
"""

from __future__ import annotations

import argparse
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from _common import headline, machine, scene

from lsdeblur import metrics, psf, restore, simulate

PSFS = {
    "gaussian 2": lambda: psf.gaussian(2.0),
    "motion 31@30": lambda: psf.motion(31, 30),
    "shake 27": lambda: psf.shake(27, rng=3),
}
LAM = 5e-3


def mosaic(size: int) -> np.ndarray:
    """Photographs side by side."""
    parts = [scene(name)[:512, :512] for name in ("astronaut", "camera", "moon")]
    n = size // 512 + 1
    rows = [np.hstack([np.rot90(parts[(i + j) % 3], i * j) for j in range(n)]) for i in range(n)]
    return np.vstack(rows)[:size, :size].astype(np.float32)


def blurred(size: int, h: np.ndarray, noise_std: float) -> tuple[np.ndarray, np.ndarray]:
    """An image of about `size` pixels a side, and the truth."""
    sharp = mosaic(size)
    return simulate.add_noise(simulate.blur(sharp, h), noise_std=noise_std, rng=0), simulate.valid_part(sharp, h)


def quality(size: int) -> None:
    print(
        "seam: mean squared difference across it, beside that across other rows; whole: the same rows of the image that"
    )
    print("was restored as a whole; differ: of the difference of the two")
    head = f"{'psf':15}{'noise':>7}{'lambda':>9}{'whole dB':>9}{'lost dB':>9}{'largest':>9}"
    print(f"{head}{'seam':>9}{'whole':>8}{'differ':>8}  tiles")
    lost = []
    for name, make in PSFS.items():
        for noise_std in (0.002, 0.01):
            h = make().astype(np.float32)
            g, truth = blurred(size, h, noise_std)
            lam = restore(g[:1024, :1024], h).lam
            whole = restore(g, h, lam=lam, tile=None).image
            tiles = restore(g, h, lam=lam, tile=2048)
            error = tiles.image - whole
            seams = [across(image)[2047] / across(image).mean() for image in (tiles.image, whole, error)]
            best, found = (metrics.psnr(x, truth, data_range=1.0) for x in (whole, tiles.image))
            print(
                f"{name:15}{noise_std:7}{lam:9.2g}{best:9.2f}{best - found:9.4f}{np.abs(error).max():9.4f}"
                f"{seams[0]:9.3f}{seams[1]:8.3f}{seams[2]:8.1f}  {tiles.message.partition('; ')[2]}",
                flush=True,
            )
            lost.append(best - found)
    headline(f"lost by tiles, {size} x {size}", f"{max(lost):.3f} dB at the most")


def across(image: np.ndarray) -> np.ndarray:
    """Mean squared difference between each row and the next."""
    return np.square(np.diff(image, axis=0), dtype=np.float64).mean(axis=1)


def speed(rounds: int) -> None:
    print(
        f"\n{'psf':15}{'whole 2048':>11}{'tiles 4096':>11}{'ratio':>7}{'automatic':>11}{'ratio':>7}   MPix/s, medians"
    )
    ratios = []
    for name, make in PSFS.items():
        h = make().astype(np.float32)
        large = blurred(4096, h, 0.01)[0]
        small = np.ascontiguousarray(large[:2048, :2048])
        runs = {
            "whole": lambda g=small, h=h: restore(g, h, lam=LAM, tile=None),
            "tiles": lambda g=large, h=h: restore(g, h, lam=LAM, tile=2048),
            "automatic": lambda g=large, h=h: restore(g, h, tile=2048),
        }
        rates: dict[str, list[float]] = {key: [] for key in runs}
        for i in range(rounds + 1):
            for key, run in runs.items():
                start = time.perf_counter()
                pixels = run().image.size
                if i:  # the first round compiles
                    rates[key].append(pixels / 1e6 / (time.perf_counter() - start))
        whole, tiles, auto = (statistics.median(rates[key]) for key in runs)
        print(f"{name:15}{whole:11.2f}{tiles:11.2f}{tiles / whole:7.2f}{auto:11.2f}{auto / whole:7.2f}", flush=True)
        ratios.append(tiles / whole)
    figures = f"{min(ratios):.2f} to {max(ratios):.2f} of a whole image of a quarter of the size"
    headline("pixels a second by tiles", figures)


def memory(size: int, folder: Path) -> None:
    command = [sys.executable, __file__, "--size", str(size), "--folder", str(folder), "--child"]
    make_zarr(size, folder)
    subprocess.run(command, check=True)


def make_zarr(size: int, folder: Path) -> None:
    import zarr

    tile = blurred(2048 + 64, psf.gaussian(2.0).astype(np.float32), 0.01)[0][:2048, :2048]
    image = zarr.create_array(folder / "in.zarr", shape=(size, size), dtype="f4", chunks=(1024, 1024), compressors=None)
    for i in range(0, size, 2048):
        for j in range(0, size, 2048):
            image[i : i + 2048, j : j + 2048] = np.roll(tile, i + j)[: size - i, : size - j]


def resident(key: str) -> int:
    """Memory of this process in KiB, now ("VmRSS") or at its highest ("VmHWM"); Linux only.

    `resource.getrusage` counts what the parent held before it started this program.
    """
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields[key].split()[0])


def child(size: int, folder: Path, tile: int | None) -> None:
    import zarr

    image = zarr.open_array(folder / "in.zarr", mode="r")
    if tile is None:
        zarr.create_array(folder / "out.zarr", shape=(size, size), dtype="f4", chunks=(1024, 1024), compressors=None)
    out = zarr.open_array(folder / "out.zarr", mode="r+")
    h = psf.gaussian(2.0)
    restore(np.ones((64, 64), np.float32), h)  # what is imported and compiled counts as the interpreter's own
    before = resident("VmRSS")
    start = time.perf_counter()
    result = restore(image, h, out=out, tile=tile or "auto")
    seconds = time.perf_counter() - start
    peak = resident("VmHWM")
    print(f"\n{size} x {size} float32, {size**2 * 4 / 2**20:.0f} MiB, Zarr to Zarr, lambda automatic:")
    print(f"peak {peak / 1024:.0f} MiB, {(peak - before) / 1024:.0f} MiB above the interpreter's own; {seconds:.0f} s, "
          f"{size**2 / 1e6 / seconds:.2f} MPix/s")  # fmt: skip
    if tile is None:
        headline(
            f"memory to restore {size} x {size}, {size**2 * 4 / 2**20:.0f} MiB", f"{(peak - before) / 1024:.0f} MiB"
        )
    print(result.message)


def cluster(size: int, rounds: int = 3) -> None:
    import dask.array as da
    from distributed import Client, LocalCluster

    h = psf.gaussian(2.0).astype(np.float32)
    g = blurred(size, h, 0.01)[0]
    expected = restore(g, h, tile=1024, halo=64).image
    rates: dict[str, list[float]] = {"threads": [], "processes": []}
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as local, Client(local) as client:
        for _ in range(rounds):
            for kind in rates:
                start = time.perf_counter()
                lazy = restore(da.from_array(g, chunks=1024), h, tile=1024, halo=64).image
                image = lazy.compute(scheduler="threads") if kind == "threads" else client.compute(lazy).result()
                rates[kind].append(g.size / 1e6 / (time.perf_counter() - start))
                print(f"{kind:10}{'the same' if np.array_equal(image, expected) else 'ANOTHER RESULT'}", flush=True)
    print(", ".join(f"{kind} {statistics.median(found):.2f} MPix/s" for kind, found in rates.items()))


def killed(size: int, folder: Path) -> None:
    import zarr

    make_zarr(size, folder)
    image = zarr.open_array(folder / "in.zarr", mode="r")
    start = time.perf_counter()
    expected = restore(image, psf.gaussian(2.0), tile=512).image
    seconds, chance = time.perf_counter() - start, random.Random()
    command = [sys.executable, __file__, "--size", str(size), "--folder", str(folder), "--child", "--tile", "512"]
    zarr.create_array(folder / "out.zarr", shape=(size, size), dtype="f4", chunks=(512, 512), fill_value=np.nan)
    for _ in range(3):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        time.sleep(1 + chance.uniform(0, seconds / 3))
        process.kill()
        process.wait()
        done = zarr.open_array(folder / "out.zarr", mode="r").attrs.get("lsdeblur", {}).get("done", [])
        print(f"killed with {len(done)} of {(size // 512) ** 2} tiles done")
    subprocess.run(command, check=True)
    same = np.array_equal(zarr.open_array(folder / "out.zarr", mode="r")[:], expected)
    headline("killed three times and continued", "the same, bit for bit" if same else "ANOTHER RESULT")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=16384, help="of the image in the table of memory")
    parser.add_argument("--folder", type=Path, help="where its two arrays are kept (default: a temporary folder)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=("quality", "speed", "memory", "cluster", "killed"))
    parser.add_argument("--tile", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(args.size, args.folder, args.tile)
        return
    print(f"{machine()}\n")
    if args.only in (None, "quality"):
        quality(4096)
    if args.only in (None, "speed"):
        speed(args.rounds)
    if args.only in (None, "memory"):
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            memory(args.size, Path(folder))
    if args.only in (None, "cluster"):
        cluster(4096)
    if args.only in (None, "killed"):
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            killed(8192, Path(folder))


if __name__ == "__main__":
    main()
