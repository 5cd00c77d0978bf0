"""Training: `fit` for scripts, ``python -m lsdeblur.deep.train`` for the shell.

A run lives in a folder: `checkpoint.pt` (everything that is needed to go on), `log.csv` and `model.safetensors` (the
averaged weights, for `load`); the command adds `curve.png` in the end. Batches depend on the seed and their number
alone, and files are replaced as a whole: a run that is killed at any moment goes on from its last checkpoint along the
same curve.
"""

from __future__ import annotations

import contextlib
import copy
import csv
import importlib
import io
import json
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from lsdeblur._methods import check_options
from lsdeblur._validate import check_choice, check_non_negative, check_positive
from lsdeblur.deep import data, losses, networks
from lsdeblur.deep._optimizer import Averaged, optimizers
from lsdeblur.deep.weights import load, load_checkpoint, save, write_atomically

__all__ = ["RECIPES", "Config", "Row", "fit", "made", "native_bfloat16", "trained_on"]

Batch = Mapping[str, Tensor]

_SAVED = 60.0  # seconds after which a checkpoint is written, whatever its step


@dataclass(frozen=True, slots=True)
class Config:
    """A training run. A TOML file of these names is one, too.

    Attributes
    ----------
    model, options : str, mapping
        A name in `networks.MODELS`, and the arguments it is made with.
    data, task, data_options : str, str, mapping
        A folder of images, seen from the working directory; "deblur" (`data.Synthetic` blurs them), "denoise"
        (`data.Noisy`) or "paired" (`data.Paired`); and further arguments of that class.
    held_out : float, 0 to 0.5
        Share of the images, the last by name, that are for validation only.
    loss : mapping of str to float, or None
        Names in `losses.LOSSES` and their weights; None for the default there.
    vgg : path, or ""
        Weights of VGG19 for the loss "perceptual".
    adversarial : float >= 0
        Weight of the loss by a `networks.PatchDiscriminator` that is trained along; 0 for none.
    steps, batch : int
        Batches, and images in each.
    optimizer, lr, warmup : str, float, int
        "muon" (convolutions by Muon, the rest by Adam with a twentieth of the rate) or "adam". The rate rises over
        `warmup` steps and falls to 0 along a cosine.
    averaging : float
        Decay of the average of the weights over the steps.
    clip : float > 0
        Largest norm of the gradient.
    precision : str
        "bfloat16", "float32" or "auto": bfloat16 where the processor has instructions for it.
    start : path, or ""
        Weights to begin with, of a network with the same options.
    seed, workers : int
        Of the random numbers; processes that make batches, 0 for none.
    log_every, validate_every, save_every : int
        Steps between lines of the log (of which there are 20 at least), validations, and checkpoints (one a minute at
        least).
    """

    model: str = "MultiScaleDeblur"
    options: Mapping[str, Any] = field(default_factory=dict)
    data: str = ""
    task: str = "deblur"
    data_options: Mapping[str, Any] = field(default_factory=dict)
    held_out: float = 0.05
    loss: Mapping[str, float] | None = None
    vgg: str = ""
    adversarial: float = 0.0
    steps: int = 2000
    batch: int = 8
    optimizer: str = "muon"
    lr: float = 0.01
    warmup: int = 100
    averaging: float = 0.998
    clip: float = 1.0
    precision: str = "auto"
    start: str = ""
    seed: int = 0
    workers: int = 0
    log_every: int = 50
    validate_every: int = 500
    save_every: int = 250

    def __post_init__(self) -> None:
        for name in ("data", "vgg", "start"):
            object.__setattr__(self, name, os.fspath(getattr(self, name)))
        for name in ("lr", "clip", "adversarial", "averaging", "held_out"):
            object.__setattr__(self, name, float(getattr(self, name)))
        check_choice(self.model, networks.MODELS, "model")
        check_choice(self.task, TASKS, "task")
        check_choice(self.optimizer, ("muon", "adam"), "optimizer")
        check_choice(self.precision, ("auto", "bfloat16", "float32"), "precision")
        for name in ("steps", "batch", "log_every", "validate_every", "save_every"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be a whole number of at least 1, not {value!r}")
        for name in ("lr", "clip"):
            check_positive(getattr(self, name), name)
        for name in ("adversarial", "warmup", "seed", "workers"):
            check_non_negative(getattr(self, name), name)
        for name, most in (("averaging", 0.99999), ("held_out", 0.5)):
            if check_non_negative(getattr(self, name), name) > most:
                raise ValueError(f"{name}={getattr(self, name)!r} must be at most {most:g}")
        check_options(networks.MODELS[self.model].__init__, self.options, self.model)
        check_options(getattr(data, TASKS[self.task]).__init__, self.data_options, f"data.{TASKS[self.task]}")

    def plain(self) -> dict[str, Any]:
        """Its values as a file holds them: texts for paths, Python's numbers, lists for tuples."""
        values: dict[str, Any] = json.loads(json.dumps(asdict(self), default=_plain))
        return values

    @classmethod
    def read(cls, path: str | Path, **changes: Any) -> Config:
        """From a TOML file, with some values replaced."""
        import tomllib

        try:
            values = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"{path} is no TOML file: {error}") from None
        unknown = sorted({*values, *changes} - {f.name for f in fields(cls)})
        if unknown:
            raise ValueError(
                f"{path}: {', '.join(unknown)} unknown; valid are {', '.join(f.name for f in fields(cls))}"
            )
        return cls(**{**values, **changes})


#: task -> the class in `data` whose items it trains on
TASKS = {"deblur": "Synthetic", "denoise": "Noisy", "paired": "Paired"}

#: of the recipes for deblurring
_BLUR: dict[str, Any] = {
    "data_options": {"crop": 96, "sizes": [3, 15]}, "steps": 1500, "batch": 8, "validate_every": 250,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the log: the mean loss since the last one; validation where there was one."""

    step: int
    loss: float
    lr: float
    seconds: float
    psnr: float | None = None
    ssim: float | None = None


def native_bfloat16(device: torch.device) -> bool:
    """Whether the processor multiplies bfloat16 by instructions of its own, so that training with it is faster."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    tests = (getattr(torch.cpu, name, None) for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"))
    return device.type == "cpu" and any(test is not None and test() for test in tests)


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else str(value)


class _Run:
    """The state of a run: networks, optimisers, the average, the log. `step` does one step, `pack` and `unpack` it."""

    def __init__(self, model: networks.Model, config: Config, loss: Callable[[Tensor, Tensor], Tensor]) -> None:
        self.model, self.config, self.loss = model, config, loss
        self.device = next(model.parameters()).device
        if self.device.type == "cpu":
            model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.half = config.precision == "bfloat16" or (config.precision == "auto" and native_bfloat16(self.device))
        self.optimizers = optimizers(model, config.lr, config.optimizer)
        self.average = Averaged(model, config.averaging)
        self.critic = networks.PatchDiscriminator(model.channels).to(self.device) if config.adversarial else None
        self.critics_optimizers = optimizers(self.critic, 1e-4, "adam") if self.critic is not None else []
        self.done, self.seconds = 0, 0.0
        self.recent: list[float] = []  # losses since the last row
        self.rows: list[Row] = []

    @property
    def lr(self) -> float:
        """Of the step to come, relative to the configured one."""
        rise = min(1.0, (self.done + 1) / (self.config.warmup + 1))
        return rise * 0.5 * (1 + math.cos(math.pi * self.done / self.config.steps))

    def step(self, batch: Batch) -> float:
        batch = {name: value.to(self.device) for name, value in batch.items()}
        sharp = batch["sharp"]
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group.setdefault("full_lr", group["lr"])
                group["lr"] = group["full_lr"] * self.lr
            optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            restored = self.model(batch["image"], *(batch[name] for name in self.model.needs)).float()
            judged = None if self.critic is None else self.critic(restored).float()
        loss = self.loss(restored, sharp)
        if judged is not None:
            loss = loss + self.config.adversarial * losses.adversarial(judged)
        if not torch.isfinite(loss):
            raise FloatingPointError(f"the loss is {loss.item()} at step {self.done + 1}: lower lr, or check the data")
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip)
        for optimizer in self.optimizers:
            optimizer.step()
        if self.critic is not None:
            self._teach(self.critic, sharp, restored.detach())
        self.done += 1
        self.average.update(self.model, self.done)
        return float(loss.detach())

    def _teach(self, critic: nn.Module, sharp: Tensor, restored: Tensor) -> None:
        """One step of the discriminator: sharp images are real, restored ones are not."""
        for optimizer in self.critics_optimizers:
            optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            real, fake = critic(sharp), critic(restored)
        losses.discrimination(real.float(), fake.float()).backward()
        for optimizer in self.critics_optimizers:
            optimizer.step()

    def validate(self, items: Sequence[Batch]) -> tuple[float, float]:
        """Mean PSNR and SSIM of the averaged weights."""
        model, scores = self.average.model, []
        with torch.inference_mode():
            for item in items:
                image, sharp = (item[name][None].to(self.device) for name in ("image", "sharp"))
                restored = model(image, *(item[name][None].to(self.device) for name in model.needs))
                error = max(float(losses.l2(restored, sharp)), 1e-12)
                scores.append((-10 * math.log10(error), float(losses.similarity(restored, sharp))))
        decibels, similarity = (sum(column) / len(scores) for column in zip(*scores, strict=True))
        return decibels, similarity

    def log(self, held_out: Sequence[Batch], callback: Callable[[Row], object] | None) -> bool:
        """A row where one is due; whether the run is at its end, or the callback ended it."""
        config, last = self.config, self.done == self.config.steps
        validated = held_out and (last or self.done % config.validate_every == 0)
        if not (validated or last or self.done % min(config.log_every, max(1, config.steps // 20)) == 0):
            return False
        scores = self.validate(held_out) if validated else (None, None)
        mean = sum(self.recent) / len(self.recent)
        self.rows.append(Row(self.done, mean, self.lr * config.lr, self.seconds, *scores))
        self.recent.clear()
        try:
            if callback is not None:
                callback(self.rows[-1])
        except StopIteration:
            return True
        return last

    def pack(self) -> dict[str, Any]:
        """Tensors, numbers and texts only, so that it can be read without running anything."""
        critic = None if self.critic is None else self.critic.state_dict()
        return {
            "model": type(self.model).__name__,
            "options": self.model.options,
            "config": self.config.plain(),
            "weights": self.model.state_dict(),
            "averaged": self.average.model.state_dict(),
            "optimizers": [o.state_dict() for o in (*self.optimizers, *self.critics_optimizers)],
            "critic": critic,
            "step": self.done,
            "seconds": self.seconds,
            "recent": self.recent,
            "rows": [asdict(row) for row in self.rows],
        }

    def unpack(self, state: Mapping[str, Any], path: Path) -> None:
        """Go on from what `pack` gave."""
        if not {"config", "weights", "averaged", "optimizers", "step"} <= {*state}:
            raise ValueError(f"{path} holds a checkpoint of something else: give another folder")
        before, now = dict(state["config"]), self.config.plain()
        free = {"workers", "log_every", "validate_every", "save_every", "data"}
        changed = sorted(name for name in now if name not in free and before.get(name) != now[name])
        if changed:
            raise ValueError(
                f"{path} is of a run with other values of {', '.join(changed)}: give another folder for this one, or "
                "the old values; to train a network further, begin another run with start= its weights"
            )
        self.model.load_state_dict(state["weights"])
        self.average.model.load_state_dict(state["averaged"])
        for optimizer, values in zip((*self.optimizers, *self.critics_optimizers), state["optimizers"], strict=True):
            optimizer.load_state_dict(values)
        if self.critic is not None:
            self.critic.load_state_dict(state["critic"])
        self.done, self.seconds, self.recent = int(state["step"]), float(state["seconds"]), list(state["recent"])
        self.rows = [Row(**row) for row in state["rows"]]


def fit(
    model: networks.Model,
    dataset: Dataset[Any],
    config: Config,
    *,
    held_out: Sequence[Batch] = (),
    loss: Callable[[Tensor, Tensor], Tensor] | None = None,
    out: str | Path | None = None,
    callback: Callable[[Row], object] | None = None,
) -> list[Row]:
    """Train a network; it holds the averaged weights afterwards.

    Parameters
    ----------
    model : networks.Model
        Trained in place, on the device where it is.
    dataset : Dataset
        ``dataset[i]`` is a mapping with "image", "sharp" and what the model needs, for i from 0 to
        ``config.steps * config.batch - 1``, and depends on i alone (`lsdeblur.deep.data`).
    config : Config
    held_out : sequence of such items
        For validation.
    loss : callable, optional
        ``loss(restored, sharp) -> scalar``, in place of that of `config`.
    out : path, optional
        Folder of the run. If it holds a checkpoint of the same configuration, the run goes on from there.
    callback : callable, optional
        Called with every line of the log; `StopIteration` ends the run.

    Returns
    -------
    list of Row
        The log, of the whole run.
    """
    run = _Run(model, config, losses.weighted(config.loss, vgg=config.vgg or None) if loss is None else loss)
    folder = None if out is None else Path(out)
    if folder is not None and (folder / "checkpoint.pt").exists():
        run.unpack(load_checkpoint(folder / "checkpoint.pt"), folder)
    if len(dataset) < config.steps * config.batch:  # type: ignore[arg-type]
        raise ValueError(
            f"dataset has {len(dataset)} items, fewer than the {config.steps} x {config.batch} of the run: "  # type: ignore[arg-type]
            "make it with length=, or take fewer steps"
        )
    model.train()
    order = range(run.done * config.batch, config.steps * config.batch)
    batches = DataLoader(dataset, config.batch, sampler=order, num_workers=config.workers)
    began = saved = time.perf_counter() - run.seconds
    with _interrupts_deferred() as interrupts:
        for batch in batches:
            run.recent.append(run.step(batch))
            run.seconds = time.perf_counter() - began
            last = run.log(held_out, callback) or bool(interrupts)
            due = run.done % config.save_every == 0 or began + run.seconds - saved > _SAVED
            if folder is not None and (last or due):
                _write(run, folder)
                saved = time.perf_counter()
            if last:
                break
    if interrupts:
        raise KeyboardInterrupt
    model.load_state_dict(run.average.model.state_dict())
    model.eval()
    return run.rows


@contextlib.contextmanager
def _interrupts_deferred() -> Iterator[list[int]]:
    """Ctrl-C is noted in the list, so that a step is never half done; in other threads there is none."""
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = signal.signal(signal.SIGINT, lambda number, frame: asked.append(number))
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)


def _write(run: _Run, folder: Path) -> None:
    """Checkpoint, averaged weights and log; the checkpoint last, so that the others are never older than it."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(f.name for f in fields(Row))
    table.writerows(["" if v is None else f"{v:.6g}" for v in asdict(row).values()] for row in run.rows)
    write_atomically(folder / "log.csv", text.getvalue().encode())
    save(run.average.model, folder / "model.safetensors", card={"steps": str(run.done)})
    buffer = io.BytesIO()
    torch.save(run.pack(), buffer)
    write_atomically(folder / "checkpoint.pt", buffer.getvalue())


def made(config: Config) -> networks.Model:
    """The network of a configuration, as it is before training."""
    if config.start:
        model = load(config.start, networks.MODELS[config.model])
        if model.options != networks.MODELS[config.model](**config.options).options:
            raise ValueError(
                f"{config.start} has the options {model.options}, not {dict(config.options)}: give the same"
            )
        return model
    torch.manual_seed(config.seed)
    return networks.MODELS[config.model](**config.options)


def trained_on(config: Config, validated: int = 32) -> tuple[Dataset[Any], list[Batch]]:
    """The data set of a configuration, and items of the pictures that are held out, so many of them.

    They do not depend on how long the run is: runs of any length are validated with the same ones.
    """
    kind = getattr(data, TASKS[config.task])
    dataset = kind(config.data, length=config.steps * config.batch, seed=config.seed, **config.data_options)
    name = "pairs" if config.task == "paired" else "images"
    pictures = getattr(dataset, name)
    apart = min(max(1, round(len(pictures) * config.held_out)), len(pictures) - 1) if config.held_out else 0
    other = copy.copy(dataset)
    setattr(dataset, name, pictures[: len(pictures) - apart])
    setattr(other, name, pictures[len(pictures) - apart :])
    other.length = max(validated, apart)
    kept: list[Batch] = [*data.held_out(other, validated)] if apart else []
    return dataset, kept


#: what the command trains by name; steps for minutes on two cores, an hour for the denoiser
RECIPES = {
    "denoiser": Config(
        model="Denoiser", task="denoise", loss={"l1": 1.0}, data_options={"crop": 64}, held_out=0.02,
        steps=14_000, batch=16, warmup=200, averaging=0.999, log_every=100, validate_every=1000, save_every=500,
    ),
    "cnn": Config(model="DeblurCNN", **_BLUR),
    "multi-scale": Config(model="MultiScaleDeblur", **_BLUR),
    "gan": Config(model="DeblurGAN", adversarial=0.0005, **_BLUR),
    "physics": Config(model="PhysicsGuidedDeblur", **_BLUR),
    "wiener": Config(model="UnrolledWiener", **_BLUR),
}  # fmt: skip


if __name__ == "__main__":
    importlib.import_module("lsdeblur.deep._command").command()
