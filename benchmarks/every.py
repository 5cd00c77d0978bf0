"""Every benchmark, one after another, and one table of their headline figures.

    python benchmarks/every.py [--quick] [--photographs DIR] [--training DIR] [--only NAME ...] [--out DIR]

Each script's whole output is kept in DIR (default: benchmark-output), and the table in its table.md, where each row
stands as soon as it is known. DIR of `--photographs` holds blur_i, clean_i and kernel_i .png for quality.py, that of
`--training` sharp grey images for networks.py, which is left out without it. So are
those whose libraries are not installed. One that fails is named in the table, and the exit status is 1.
All of it takes hours. `--quick` takes few cases of each: whether they run, and figures that are only a hint.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

from _common import folder, machine

HERE = Path(__file__).parent
NEEDS = {"large": "zarr", "denoising": "torch", "networks": "torch", "failure_cases": "torch", "onnx_speed": "torch"}
#: arguments for few cases
QUICK = {
    "blind": "--cases 3",
    "blind_parametric": "--cases 2",
    "boundary": "--images 1",
    "compat": "--rounds 1",
    "failure_cases": "--n 2",
    "large": "--size 2048 --rounds 1",
    "masks": "--images 1",
    "memory": "--largest 2048",
    "nas_rif": "--scenes letters --noise 40 --similarity 1.0",
    "networks": "--minutes 0.3",
    "noise_kinds": "--scenes coins",
    "onnx_speed": "--rounds 1",
    "penalty": "--images 1",
    "quality": "--method tikhonov wavelet pnp",
    "refine": "--scenes coins --noise 0.01",
    "selection": "--images 1",
    "six_experiments": "--method tikhonov pnp",
    "speed": "--largest 2048 --rounds 1 --skip-slow",
    "transforms": "--rounds 1",
    "uncertainty": "--images 1",
}


def names() -> list[str]:
    return sorted(path.stem for path in HERE.glob("*.py") if path.stem not in ("_common", "every"))


def arguments(name: str, args: argparse.Namespace) -> list[str] | None:
    """Of a script's command line; None where it cannot run."""
    data = {"quality": args.photographs, "networks": args.training}.get(name)
    if (name == "networks" and not data) or (name in NEEDS and not find_spec(NEEDS[name])):
        return None
    few = QUICK.get(name, "").split() if args.quick else []
    return [*few, *(["--data", str(data)] if data else [])]


def run(name: str, options: list[str], out: Path) -> list[str]:
    """The rows of the table for one script; its output is written to `out` as it comes."""
    began = time.monotonic()
    with (out / f"{name}.txt").open("w", encoding="utf-8") as file:
        status = subprocess.run(
            [sys.executable, str(HERE / f"{name}.py"), *options], stdout=file, stderr=subprocess.STDOUT, check=False
        ).returncode
    minutes = (time.monotonic() - began) / 60
    text = (out / f"{name}.txt").read_text(encoding="utf-8")
    found = [line[3:].split(": ", 1) for line in text.splitlines() if line.startswith("=> ")]
    if status:
        found.append(["FAILED", (text.strip().splitlines() or ["no output"])[-1]])
    return [f"| `{name}` | {what} | {figure} | {minutes:.1f} |" for what, figure in found]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photographs", type=folder, help="for quality.py")
    parser.add_argument("--training", type=folder, help="for networks.py")
    parser.add_argument("--quick", action="store_true", help="few cases of each")
    parser.add_argument("--only", nargs="+", default=names(), choices=names())
    parser.add_argument("--out", type=Path, default=Path("benchmark-output"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    plans = {name: arguments(name, args) for name in args.only}
    failed = False
    with (args.out / "table.md").open("w", encoding="utf-8") as table:

        def add(*lines: str) -> None:
            text = "".join(f"{line}\n" for line in lines)
            for file in (sys.stdout, table):
                print(text, end="", file=file, flush=True)

        add(machine(), "", "| benchmark | what | figure | minutes |", "|---|---|---|---|")
        for name, options in plans.items():
            if options is not None:
                rows = run(name, options, args.out)
                add(*rows)
                failed |= any(row.startswith(f"| `{name}` | FAILED |") for row in rows)
        if left := [name for name, options in plans.items() if options is None]:
            add("", f"left out, for want of data or a library: {', '.join(left)}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
