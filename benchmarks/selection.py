"""How much each rule for lambda loses against the best lambda in hindsight.

    python benchmarks/selection.py [--boundary free] [--correlation 0 0.7] [--images 7]

7 scikit-image pictures x 4 blurs x 3 noise levels, valid-convolution data (the frame is cropped after blurring).
A loss is the PSNR of the best lambda for the same image, method and boundary, less that of the lambda chosen.
`discrepancy` and `sure` estimate the noise themselves; "known" gives them the true level.
"""

from __future__ import annotations

import argparse
import warnings
from collections import defaultdict

import numpy as np
from _common import Case, best, cases, headline, machine, summary

import lsdeblur
from lsdeblur import ParameterChoiceError, restore

RULES = {
    "auto": {},
    "auto, accurate": {"effort": "accurate"},
    "evidence": {"lam": "evidence"},
    "gcv": {"lam": "gcv"},
    "l-curve": {"lam": "l-curve"},
    "discrepancy": {"lam": "discrepancy"},
    "discrepancy, known": {"lam": "discrepancy"},
    "sure": {"lam": "sure"},
    "sure, known": {"lam": "sure"},
}


def losses(case: Case, boundary: str) -> dict[str, float]:
    """dB lost by every rule for Tikhonov, and by Wiener's automatic nsr; NaN where a rule has no answer."""

    g, h = case.blurred, case.psf

    def score(method: str, **strength: float) -> float:
        return case.psnr(lsdeblur.plan(h, g.shape, method=method, boundary=boundary, **strength)(g))

    lost = {}
    _, top = best(lambda lam: score("tikhonov", lam=lam))
    for rule, options in RULES.items():
        known = {"noise_std": case.noise_std} if "known" in rule else {}
        try:
            lost[rule] = top - case.psnr(restore(g, h, boundary=boundary, **options, **known).image)
        except ParameterChoiceError:
            lost[rule] = float("nan")
    _, top = best(lambda nsr: score("wiener", nsr=nsr))
    lost["wiener, nsr auto"] = top - case.psnr(restore(g, h, method="wiener", boundary=boundary).image)
    return lost


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--boundary", default="free")
    parser.add_argument("--correlation", type=float, nargs="*", default=[0.0, 0.7], help="width of the noise, pixels")
    parser.add_argument("--images", type=int, help="how many pictures")
    parser.add_argument("--each", action="store_true", help="print every case")
    args = parser.parse_args()
    warnings.simplefilter("ignore", lsdeblur.LambdaAtBoundaryWarning)
    print(machine())
    for width in args.correlation:
        table: dict[str, list[float]] = defaultdict(list)
        for case in cases(width, args.images):
            for rule, loss in (row := losses(case, args.boundary)).items():
                table[rule].append(loss)
            if args.each:
                print(f"{case.name:32}", "  ".join(f"{rule} {loss:.2f}" for rule, loss in row.items()), flush=True)
        noise = f"noise smoothed by {width} px" if width else "white noise"
        print(f"\n{noise}, boundary {args.boundary}, {len(table['auto'])} cases: dB lost")
        print(f"{'rule':20}{'median':>8}{'mean':>8}{'p90':>8}{'max':>8}{'no answer':>11}")
        for rule, values in table.items():
            print(f"{rule:20}{summary(values)}")
        middle, most = np.median(table["auto"]), max(table["auto"])
        headline(f"lost by the automatic lambda, {noise}", f"{middle:.2f} dB at the median, {most:.2f} at the most")


if __name__ == "__main__":
    main()
