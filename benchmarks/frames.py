"""Several frames of one scene, and films.

    python benchmarks/frames.py

Two and three frames with crossed motions beside each of them alone: PSNR and time. A film of 60 frames, a square that
moves over a still scene: milliseconds a frame, and how unsteady its brightness is beside that of the blurred film, with
lambda chosen anew for every frame, through one plan, and with a neighbour on either side.
"""

from __future__ import annotations

import statistics
import time

import numpy as np
from _common import headline, machine, scene, timed

from lsdeblur import metrics, psf, restore, simulate, video


def several() -> None:
    gains = []
    print(f"{'scene':12}{'noise':>7}{'alone':>22}{'two':>8}{'three':>8}{'time, of one':>14}")
    hs = [psf.motion(21, angle, size=(25, 25)) for angle in (20, 110, 65)]
    for name in ("astronaut", "camera", "coffee"):
        for noise_std in (0.002, 0.01):
            sharp = scene(name)[:400, :400]
            truth = simulate.valid_part(sharp, hs[0])
            gs = [simulate.add_noise(simulate.blur(sharp, h), noise_std=noise_std, rng=i) for i, h in enumerate(hs)]
            alone = [timed(g, h) for g, h in zip(gs, hs, strict=True)]
            both, all_three = timed(gs[:2], hs[:2]), timed(gs, hs)
            scores = [metrics.psnr(r.image, truth, data_range=1.0) for r, _ in (*alone, both, all_three)]
            singles = "".join(f"{score:7.2f}" for score in scores[:3])
            print(f"{name:12}{noise_std:7} {singles}{scores[3]:8.2f}{scores[4]:8.2f}{both[1] / alone[0][1]:14.1f}")
            gains.append(scores[3] - max(scores[:2]))
    headline("two frames over the better of them", f"{np.mean(gains):.1f} dB, least {min(gains):.1f}")


def film(n: int = 60) -> None:
    h, sharp = psf.motion(11, 30), scene("camera")[:420, :420]
    truth, frames = [], []
    for i in range(n):
        image = sharp.copy()
        image[100:160, 20 + 5 * i : 80 + 5 * i] = 0.9
        truth.append(simulate.valid_part(image, h))
        frames.append(simulate.add_noise(simulate.blur(image, h), noise_std=0.02, rng=i).astype(np.float32))
    ways = {
        "restore() of every frame": lambda: (restore(g, h).image for g in frames),
        "one plan": lambda: video.restore_frames(frames, h),
        "one plan, neighbours=1": lambda: video.restore_frames(frames, h, neighbours=1),
    }
    print(f"\n{n} frames of {frames[0].shape}{'PSNR':>20}{'ms a frame':>12}{'p90':>8}{'brightness':>12}{'detail':>10}")
    for name, run in ways.items():
        images, times, start = [], [], time.perf_counter()
        for image in run():
            images.append(image)
            times.append(1e3 * (time.perf_counter() - start))
            start = time.perf_counter()
        score = statistics.mean(metrics.psnr(a, b, data_range=1.0) for a, b in zip(images, truth, strict=True))
        detail = np.std([image.std() - t.std() for image, t in zip(images, truth, strict=True)])
        rate, slow = statistics.median(times), np.percentile(times, 90)
        unsteady = video.flicker(images, frames)
        print(f"{name:38}{score:8.2f}{rate:12.1f}{slow:8.1f}{unsteady:12.1e}{detail:10.1e}", flush=True)


def main() -> None:
    print(f"{machine()}\n")
    several()
    film()


if __name__ == "__main__":
    main()
