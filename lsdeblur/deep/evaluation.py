"""Whether a trained model is good enough: PSNR, SSIM and time against levels, and the cases in which models fail."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from lsdeblur._validate import check_finite, check_positive, check_size
from lsdeblur.deep import losses
from lsdeblur.deep.data import Item, Source, Synthetic, spread

__all__ = ["Evaluation", "Row", "Score", "evaluate", "failure_cases"]

Array = npt.NDArray[Any]
Method = Callable[..., Any]


class Score(NamedTuple):
    """One image: PSNR in dB and SSIM of the blurred and of the restored one, milliseconds, millions of pixels."""

    psnr_before: float
    psnr: float
    ssim_before: float
    ssim: float
    ms: float
    megapixels: float


class Row(NamedTuple):
    """One line of the table: means before and after (time: the median), the worst image, what is asked, and whether."""

    name: str
    before: float
    after: float
    worst: float
    asked: float
    passed: bool


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """What `evaluate` found; ``print(evaluation)`` shows the table.

    Attributes
    ----------
    scores : one `Score` for each image.
    levels : the PSNR (dB) and the SSIM that the means must exceed.
    budget_ms : the milliseconds that the median image may take.
    """

    scores: tuple[Score, ...]
    levels: tuple[float, float]
    budget_ms: float

    @property
    def rows(self) -> tuple[Row, Row, Row]:
        """The table: PSNR, SSIM, time."""
        a = np.array(self.scores)
        psnr_before, psnr, ssim_before, ssim, _, _ = map(float, a.mean(axis=0))
        ms = float(np.median(a[:, 4]))
        return (
            Row("PSNR (dB)", psnr_before, psnr, float(a[:, 1].min()), self.levels[0], psnr > self.levels[0]),
            Row("SSIM", ssim_before, ssim, float(a[:, 3].min()), self.levels[1], ssim > self.levels[1]),
            Row("time (ms)", math.nan, ms, float(a[:, 4].max()), self.budget_ms, ms <= self.budget_ms),
        )

    @property
    def ms_per_megapixel(self) -> float:
        """The median over the images."""
        return statistics.median(score.ms / score.megapixels for score in self.scores)

    @property
    def passed(self) -> bool:
        """Whether all three levels are met."""
        return all(row.passed for row in self.rows)

    def __str__(self) -> str:
        lines = [f"{'':10}{'before':>10}{'after':>10}{'worst':>10}{'asked':>10}"]
        for row, sign, form in zip(self.rows, ("> ", "> ", "<= "), (".2f", ".3f", ".1f"), strict=True):
            before = "" if math.isnan(row.before) else f"{row.before:{form}}"
            asked = f"{sign}{row.asked:{form}}"
            cells = "".join(f"{cell:>10}" for cell in (before, f"{row.after:{form}}", f"{row.worst:{form}}", asked))
            lines.append(f"{row.name:10}{cells}  {'passed' if row.passed else 'failed'}")
        count = f"{len(self.scores)} image{'s' if len(self.scores) > 1 else ''}"
        lines.append(f"{count}, {self.ms_per_megapixel:.0f} ms per megapixel: {'passed' if self.passed else 'failed'}")
        return "\n".join(lines)


def evaluate(
    model: nn.Module | Method, dataset: Any, *, budget_ms: float, levels: tuple[float, float] = (28.0, 0.85),
    n: int = 20, repeats: int = 3,
) -> Evaluation:  # fmt: skip
    """Restore items of a data set, and compare PSNR, SSIM and time with the levels that are asked.

    Parameters
    ----------
    model : torch module, or function
        A module is called as ``model(image, *[item[name] for name in model.needs])`` with batches of one image, in
        evaluation mode and without gradients; one with `channels` = 1 gets the colours of an image as a batch. A
        function is called for each colour as ``model(image, psf, noise_std)`` with an array (rows, columns), an array
        or None, and a number or None, and returns the restored array; so the classic methods are compared by
        ``lambda image, psf, noise_std: restore(image, psf)``.
    dataset : data set or list of items
        Items {"image", "sharp"} and what the model needs of "psf" and "noise_std": of `lsdeblur.deep.data`, which
        should be of pictures that the model was not trained with.
    budget_ms : float > 0
        The milliseconds that an image may take on this machine, with as many threads as torch is set to.
    levels : (float, float)
        The PSNR in dB and the SSIM to exceed.
    n : int
        So many items, spread evenly over the data set; all of them where they are fewer.
    repeats : int
        Each image is timed so often, after one that is not, and the median is taken.

    Returns
    -------
    Evaluation

    Raises
    ------
    ValueError
        An empty data set, an item without what the model needs, a restored image of another shape.

    Notes
    -----
    PSNR (``-10 log10`` of the mean squared error) and SSIM (`losses.similarity`) are those of `lsdeblur.metrics` for
    the range [0, 1]; nothing is clipped, and no border is left out. What is averaged is the PSNR of the images.

    Examples
    --------
    >>> import torch
    >>> sharp = torch.linspace(0, 1, 400).reshape(1, 20, 20)
    >>> found = evaluate(torch.nn.Identity(), [{"image": sharp + 0.1, "sharp": sharp}], budget_ms=1000)
    >>> [row.passed for row in found.rows], found.passed, f"{found.rows[0].after:.1f} dB"
    ([False, True, True], False, '20.0 dB')
    """
    psnr, ssim = (check_finite(level, "levels") for level in levels)
    times = check_size(repeats, 1, "repeats")[0]
    if len(dataset) == 0:
        raise ValueError("dataset is empty: there is nothing to evaluate")
    items = [dataset[i] for i in spread(len(dataset), min(check_size(n, 1, "n")[0], len(dataset)))]
    restored = _by_module(model) if isinstance(model, nn.Module) else _by_function(model)
    restored(items[0])
    scores = tuple(_score(restored, item, times) for item in items)
    return Evaluation(scores, (psnr, ssim), check_positive(budget_ms, "budget_ms"))


def failure_cases(
    images: Source, *, n: int = 8, crop: int = 128, channels: int = 1, seed: int = 0
) -> dict[str, list[Item]]:
    """Test sets for what models fail at that were trained on ordinary kernels: little signal, mixed and large blur.

    * "noisy": ordinary kernels, noise of 0 to 5 dB below the signal, ``SNR = 10 log10(var(h * f) / noise_std^2)``. A
      network that saw up to 1 % of noise leaves much of it in the image. A classic method adapts its regularisation to
      the noise: use it, or train with noise of this level. To denoise first does not help.
    * "mixed": a motion convolved with a defocus, together 15 to 25 pixels. Networks trained on each alone have not seen
      its like: give them items of the kind "mixed", or go in two stages: estimate the PSF (``method="parametric"``
      knows this family), then restore with it.
    * "large": motion, defocus and shake of 27 to 45 pixels. A network that never had to look that far changes next to
      nothing, or invents something. Classic methods with a known PSF have no such limit; to estimate it, take more of
      the image than such a crop, and look at what was found.

    Parameters
    ----------
    images : folder, or list of images
        As for `lsdeblur.deep.data.Noisy`; at least `crop` + 44 pixels wide and high.
    n : int
        Items of each case.
    crop, channels, seed : as for `lsdeblur.deep.data.Synthetic`.

    Returns
    -------
    Items of `Synthetic` by the names of the cases.

    Raises
    ------
    ValueError, FileNotFoundError
        As `Synthetic`.

    Notes
    -----
    Mean PSNR in dB of 12 crops of 160 x 160 pixels from four photographs, by ``benchmarks/failure_cases.py``; estimated
    PSFs by ``estimate_psf(image, method="parametric")`` from the crop alone, with which single images come out up to
    0.6 dB worse than they were:

    ================================  ========  =====  =====  =====
    case                              ordinary  noisy  mixed  large
    ================================  ========  =====  =====  =====
    blurred                               24.3   17.0   24.6   19.3
    PSF known, "tikhonov"                 30.6   23.8   27.4   25.3
    PSF known, "tv"                       32.0   24.3   28.0   28.0
    denoised first, then "tikhonov"       30.5   23.3   27.3   25.1
    PSF estimated, "tikhonov"             27.4   23.1   26.6   22.3
    PSF estimated, "tv"                   28.1   22.7   26.8   23.8
    ================================  ========  =====  =====  =====

    `UnrolledWiener`, given the PSF and trained for only 2000 steps of four ordinary items of 64 x 64 pixels, made 29.0,
    20.0, 27.1 and 22.0 dB of the same crops: 0.3 to 1.5 dB behind "tikhonov" with kernels like those of its training,
    "mixed" ones among them, but 4 dB in the noise and 3 dB with the sizes that it had not seen, where one crop came out
    7 dB worse than it was. A blind network of 0.3 million parameters after 3000 steps gained 0.8 dB on ordinary crops
    and 0.1 dB on "large" ones.
    """
    common: dict[str, Any] = {
        "crop": crop,
        "channels": channels,
        "rotation": 0,
        "jitter": False,
        "length": n,
        "seed": seed,
    }
    sets = {
        "noisy": Synthetic(images, noise=(0, 0), **common),
        "mixed": Synthetic(images, kernels=("mixed",), sizes=(15, 25), **common),
        "large": Synthetic(images, kernels=("motion", "defocus", "shake"), sizes=(27, 45), **common),
    }
    cases = {name: [items[i] for i in range(n)] for name, items in sets.items()}
    cases["noisy"] = [_drowned(item, np.random.default_rng([seed, i, 1])) for i, item in enumerate(cases["noisy"])]
    return cases


def _drowned(item: Item, rng: np.random.Generator) -> Item:
    """A noise-free item with noise at 0 to 5 dB."""
    std = item["image"].std(correction=0) * 10 ** (-rng.uniform(0, 5) / 20)
    noise = torch.from_numpy(rng.standard_normal(item["image"].shape, dtype=np.float32))
    return item | {"image": item["image"] + std * noise, "noise_std": std}


def _score(restored: Callable[[Item], Tensor], item: Item, repeats: int) -> Score:
    took = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = restored(item)
        took.append(1e3 * (time.perf_counter() - start))
    sharp, image = (item[name].double()[None] for name in ("sharp", "image"))
    if result.shape != item["sharp"].shape:
        raise ValueError(
            f"the model makes an image of shape {tuple(result.shape)} from one of {tuple(item['image'].shape)}: the "
            "shape must stay"
        )
    result = result.double()[None]
    before, after = (_psnr(float(losses.l2(x, sharp))) for x in (image, result))
    ssim_before, ssim = (float(losses.similarity(x, sharp)) for x in (image, result))
    rows, columns = sharp.shape[-2:]
    return Score(before, after, ssim_before, ssim, statistics.median(took), rows * columns / 1e6)


def _psnr(error: float) -> float:
    """Decibels of a mean squared error; infinity for none."""
    return math.inf if error == 0 else -10 * math.log10(error)


def _by_module(model: nn.Module) -> Callable[[Item], Tensor]:
    """The restored images of items by a torch module."""
    first = next(model.parameters(), torch.empty(0))
    needs: Sequence[str] = getattr(model, "needs", ())

    @torch.inference_mode()
    def restored(item: Item) -> Tensor:
        if missing := [name for name in needs if name not in item]:
            raise ValueError(f"the model needs {missing[0]!r}, but the items hold {', '.join(item)} only")
        image = item["image"].to(first.device)[None]
        one_by_one = getattr(model, "channels", None) == 1
        batch = image.transpose(0, 1) if one_by_one else image
        needed = [item[name].to(first.device)[None] for name in needs]
        needed = [x.expand(len(batch)) if x.ndim == 1 else x for x in needed]
        training = model.training
        model.eval()
        try:
            result = model(batch, *needed)
        finally:
            model.train(training)
        return (result.transpose(0, 1) if one_by_one else result)[0].cpu()

    return restored


def _by_function(method: Method) -> Callable[[Item], Tensor]:
    """The restored images of items by a function of arrays."""

    def restored(item: Item) -> Tensor:
        psf = item["psf"].numpy() if "psf" in item else None
        noise_std = float(item["noise_std"]) if "noise_std" in item else None
        channels = [np.asarray(method(channel, psf, noise_std)) for channel in item["image"].numpy()]
        return torch.from_numpy(np.stack(channels))

    return restored
