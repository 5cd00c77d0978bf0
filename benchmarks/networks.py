"""End-to-end networks after minutes of training, beside the classical methods on the same images.

    python benchmarks/networks.py --data DIR [--minutes 5] [--recipe NAME ...] [--out DIR]

Each recipe of ``python -m lsdeblur.deep.train`` is trained for the same time, on images of DIR blurred by kernels of 3
to 15 pixels, with the loss "l1"; the last twentieth of the images is held out. Then every network, and the classical
methods with the true PSF, restore the same held-out items. Only UnrolledWiener is told the PSF. `--out` keeps the runs.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from _common import folder, headline, machine

from lsdeblur import metrics, plot, restore
from lsdeblur.deep.train import RECIPES, Config, fit, made, trained_on

NAMES = ("cnn", "multi-scale", "gan", "physics", "wiener")
CLASSICS = ("tikhonov", "tv", "wavelet", "pnp")


def planned(config: Config, minutes: float) -> Config:
    """As many steps as fit into the time, from the processor time of some after the first: others are not counted."""
    short = replace(config, steps=60, validate_every=1000)  # a line of the log every 3
    dataset, _ = trained_on(short)
    times: dict[int, float] = {}
    fit(made(short), dataset, short, callback=lambda row: times.__setitem__(row.step, time.process_time()))
    step = (times[60] - times[21]) / 39
    return replace(config, steps=max(50, int(minutes * 60 * torch.get_num_threads() / step)))


def scores(restored: np.ndarray, sharp: np.ndarray) -> tuple[float, float]:
    return metrics.psnr(restored, sharp, data_range=1), metrics.ssim(restored, sharp, data_range=1)


def line(name: str, values: list[tuple[float, float]], before: float, note: str = "") -> None:
    psnr, ssim = np.mean(values, axis=0)
    print(f"  {name:32}{psnr:8.2f} dB{psnr - before:+8.2f}{ssim:8.3f}   {note}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=folder, required=True)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--recipe", nargs="+", default=list(NAMES), choices=NAMES)
    parser.add_argument("--light", action="store_true", help="also the light variant of each")
    parser.add_argument("--out", type=Path, help="folder that keeps the runs")
    args = parser.parse_args()
    print(machine(), f"\n{args.minutes:g} minutes of training each on {torch.get_num_threads()} threads")
    common = {"data": str(args.data), "loss": {"l1": 1.0}}
    items = trained_on(replace(RECIPES["cnn"], **common), validated=256)[1]
    pairs = [(x["image"][0].numpy(), x["sharp"][0].numpy(), x["psf"].numpy(), float(x["noise_std"])) for x in items]
    blurred = [scores(g, t) for g, t, _, _ in pairs]
    before = float(np.mean(blurred, axis=0)[0])
    print(f"{len(items)} held-out crops of {pairs[0][0].shape}")
    line("blurred", blurred, before)
    for method in CLASSICS:
        line(f"{method}, true PSF", [scores(restore(g, h, method=method).image, t) for g, t, h, _ in pairs], before)
    with tempfile.TemporaryDirectory() as scratch:
        for name in args.recipe:
            for light in (False, True) if args.light else (False,):
                options = {"light": True} if light else {}
                config = planned(replace(RECIPES[name], **common, options=options), args.minutes)
                model, began = made(config), time.process_time()
                dataset, held_out = trained_on(config)
                out = (args.out or Path(scratch)) / (name + "-light" * light)
                rows = fit(model, dataset, config, held_out=held_out, out=out)
                plot.training(rows).savefig(out / "curve.png")
                found = []
                for item in items:
                    with torch.inference_mode():
                        restored = model(item["image"][None], *(item[key][None] for key in model.needs))[0, 0]
                    found.append(scores(restored.numpy(), item["sharp"][0].numpy()))
                minutes = (time.process_time() - began) / 60
                note = f"{model.n_parameters:,} weights, {config.steps} steps, {minutes:.1f} min of one processor"
                line(config.model + " light" * light, found, before, note)
                gain = np.mean(found, axis=0)[0] - before
                headline(
                    f"{config.model}{' light' * light} after {minutes:.0f} min of one processor", f"{gain:+.2f} dB"
                )


if __name__ == "__main__":
    main()
