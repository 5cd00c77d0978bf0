"""How well the family and the parameters of a blur are found from the image alone, and how well blurs are diagnosed.

    python benchmarks/blind_parametric.py [--cases 40] [--families motion defocus ...] [--tuned]
    python benchmarks/blind_parametric.py --diagnose [--tuned]
    python benchmarks/blind_parametric.py --clock PICTURE.png

Pictures of scikit-image, blurred by a random member of each family, cropped to the valid part, with white noise of
0.001 to 0.01 (log-uniform). The constants of the method were chosen on the scenes that `--tuned` takes; without it, the
others are measured. Parameters are right when a length is within 1 pixel and an angle within 2 degrees (or the PSF is
the same one: short motions close to an axis do not leave their row), of ellipses within 5 degrees, and a radius, a
width or an exponent within 5 %; where another family was chosen, those of the fit of the true one count. `--clock`
estimates the motion in scikit-image's photograph of a clock, and writes it beside its restorations.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
from _common import headline, machine, scene
from skimage import data
from skimage.io import imsave

from lsdeblur import blind, psf, restore, simulate

TUNED = ("camera", "coffee", "coins", "page", "grass", "rocket", "retina")
OTHERS = ("astronaut", "cat", "moon", "brick", "gravel", "immunohistochemistry")
NOISE = (0.001, 0.01)
Parameters = dict[str, object]


def motion(rng: np.random.Generator) -> Parameters:
    return {"length": rng.uniform(5, 40), "angle": rng.uniform(0, 180)}


#: family -> a function that draws its parameters
DRAWN: dict[str, Callable[[np.random.Generator], Parameters]] = {
    "delta": lambda rng: {},
    "motion": motion,
    "defocus": lambda rng: {"radius": rng.uniform(2, 10)},
    "gaussian": lambda rng: {"sigma": rng.uniform(0.8, 4)},
    "elliptical-gaussian": lambda rng: {
        "sigma": (rng.uniform(0.8, 1.5), rng.uniform(2.5, 4)),
        "angle": rng.uniform(0, 180),
    },
    "moffat": lambda rng: {"fwhm": rng.uniform(2, 8), "beta": rng.uniform(2, 4.5)},
    "motion+defocus": lambda rng: {
        "length": rng.uniform(8, 30),
        "angle": rng.uniform(0, 180),
        "radius": rng.uniform(2, 5),
    },
}
MADE: dict[str, Callable[..., np.ndarray]] = {
    "delta": psf.delta,
    "motion": psf.motion,
    "defocus": psf.disk,
    "gaussian": psf.gaussian,
    "elliptical-gaussian": psf.gaussian,
    "moffat": lambda fwhm, beta: psf.moffat(fwhm, beta, size=61),
    "motion+defocus": lambda length, angle, radius: psf.combine(psf.motion(length, angle), psf.disk(radius)),
}


def sharp(name: str) -> np.ndarray:
    image = scene(name)
    return (image[300:1100, 300:1100] if name == "retina" else image).astype(np.float32)  # its corners are black


def blurred(name: str, h: np.ndarray, noise_std: float, seed: int) -> np.ndarray:
    return simulate.add_noise(simulate.blur(sharp(name), h), noise_std=noise_std, rng=seed)


def turned(found: float, true: float) -> float:
    """Degrees between two directions of a line."""
    return abs((found - true + 90) % 180 - 90)


def right(family: str, found: Parameters, true: Parameters) -> bool:
    if found.get("family") != family:
        return False
    for name, value in true.items():
        if name == "angle" and family != "elliptical-gaussian":
            lines = [psf.motion(p["length"], p["angle"], size=65) for p in (found, true)]
            good = turned(found[name], value) <= 2 or np.abs(lines[0] - lines[1]).sum() < 0.1
        elif name == "angle":
            good = turned(found[name], value) <= 5
        elif name == "length":
            good = abs(found[name] - value) <= 1
        else:
            good = np.all(np.abs(np.divide(found[name], value) - 1) <= 0.05)
        if not good:
            return False
    return True


def accuracy(scenes: tuple[str, ...], families: list[str], cases: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    confusion: dict[str, Counter[str]] = defaultdict(Counter)
    exact: dict[str, list[bool]] = defaultdict(list)
    seconds = []
    print("wrong:")
    for i in range(cases * len(families)):
        family, name = families[i % len(families)], scenes[rng.integers(len(scenes))]
        true, noise_std = DRAWN[family](rng), float(np.exp(rng.uniform(*np.log(NOISE))))
        g = blurred(name, MADE[family](**true), noise_std, i)
        begin = time.process_time()
        found = blind.estimate_psf(g, method="parametric")
        seconds.append(time.process_time() - begin)
        chosen = found.parameters["family"]
        confusion[family][chosen] += 1
        alone = found
        if family not in (chosen, "delta"):
            alone = blind.estimate_psf(g, method="parametric", families=[family])
        exact[family].append(right(family, dict(alone.parameters), true))
        if chosen != family or not exact[family][-1]:
            text = ", ".join(f"{k} {np.round(v, 2)}" for k, v in true.items())
            print(
                f"  {name}, {noise_std:.4f}, {family}: {text} -> {found.message} ({found.confidence:.2f})", flush=True
            )
    total = np.mean([confusion[family][family] / cases for family in families])
    accurate = np.mean([good for found in exact.values() for good in found])
    print(f"{'family':22}{'right':>8}{'parameters':>12}   chosen")
    for family in families:
        share, good = confusion[family][family] / cases, np.mean(exact[family])
        chosen = ", ".join(f"{other} {n}" for other, n in confusion[family].most_common())
        print(f"{family:22}{100 * share:7.0f}%{100 * good:11.0f}%   {chosen}")
    print(f"{np.median(seconds):.2f} s of a processor an image at the median, {max(seconds):.2f} s at the most")
    headline(f"blurs named rightly, {len(families)} families", f"{total:.0%}; parameters right in {accurate:.0%}")


def diagnoses(scenes: tuple[str, ...]) -> None:
    """Kinds that are found for sharp scenes at several noise levels, and for blurred ones."""
    blurs = {
        "sharp": [psf.delta()],
        "motion": [psf.motion(9, 20), psf.motion(25, 110)],
        "defocus": [psf.disk(3), psf.disk(7)],
        "gaussian": [psf.gaussian(1.5), psf.gaussian(3)],
        "motion+defocus": [psf.combine(psf.motion(15, 60), psf.disk(3))],
        "shake": [psf.shake(21, rng=seed) for seed in range(2)],
    }
    seconds = []
    print(f"{'blur':16}kinds found")
    for blur, psfs in blurs.items():
        kinds: Counter[str] = Counter()
        for name in scenes:
            for noise_std in (0.001, 0.005, 0.02):
                for h in psfs:
                    g = blurred(name, h, noise_std, sum(kinds.values()))
                    begin = time.process_time()
                    kinds[blind.diagnose(g).kind] += 1
                    seconds.append(time.process_time() - begin)
        print(f"{blur:16}{', '.join(f'{kind} {n}' for kind, n in kinds.most_common())}", flush=True)
    drowned = Counter(blind.diagnose(blurred(name, psf.disk(3), 0.5, 0)).kind for name in scenes)
    print(f"{'noise of 0.5':16}{', '.join(f'{kind} {n}' for kind, n in drowned.most_common())}")
    print(f"{np.median(seconds):.2f} s of a processor an image at the median, {max(seconds):.2f} s at the most")


def clock(path: Path) -> None:
    g = (data.clock() / 255.0).astype(np.float32)
    found = blind.estimate_psf(g, method="parametric")
    print(found.message, {name: round(score, 1) for name, score in found.scores.items()})
    print(blind.diagnose(g))
    images = [g, *(restore(g, found.psf, method=method).image for method in ("tikhonov", "tv"))]
    imsave(path, (np.clip(np.hstack(images), 0, 1) * 255).astype(np.uint8))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=40, help="of each family")
    parser.add_argument("--families", nargs="+", choices=list(DRAWN), default=list(DRAWN))
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument("--tuned", action="store_true")
    parser.add_argument("--diagnose", action="store_true")
    parser.add_argument("--clock", type=Path)
    args = parser.parse_args()
    print(machine())
    scenes = TUNED if args.tuned else OTHERS
    if args.clock:
        clock(args.clock)
    elif args.diagnose:
        diagnoses(scenes)
    else:
        accuracy(scenes, args.families, args.cases, args.seed)


if __name__ == "__main__":
    main()
