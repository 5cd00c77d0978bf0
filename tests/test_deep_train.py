"""Training: it learns, goes on where it was killed, and its command says what is wrong."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
torch.set_num_threads(1)

from lsdeblur.deep import load  # noqa: E402
from lsdeblur.deep._optimizer import orthogonal  # noqa: E402
from lsdeblur.deep.networks import MODELS  # noqa: E402
from lsdeblur.deep.train import RECIPES, Config, Row, fit, made, trained_on  # noqa: E402
from lsdeblur.deep.weights import load_checkpoint  # noqa: E402

TINY = Config(
    model="Denoiser", options={"widths": [8, 16], "blocks": [1, 1]}, task="denoise", data_options={"crop": 24},
    loss={"l1": 1.0}, steps=30, batch=2, warmup=5, log_every=5, validate_every=10, save_every=4, precision="float32",
    held_out=0.25,
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import cv2
    from skimage import data

    path = tmp_path_factory.mktemp("images")
    for i in range(4):
        cv2.imwrite(str(path / f"{i}.png"), data.camera()[60 * i : 60 * i + 60, 100:200])
    return path


def trained(config: Config, out: Path | None = None, stop: int | None = None) -> tuple[Any, list[Row]]:
    model = made(config)
    dataset, held_out = trained_on(config)

    def halt(row: Row) -> None:
        if stop is not None and row.step >= stop:
            raise StopIteration

    return model, fit(model, dataset, config, held_out=held_out, out=out, callback=halt)


def without_time(rows: list[Row]) -> list[Row]:
    return [replace(row, seconds=0.0) for row in rows]


def test_a_denoiser_learns(folder: Path) -> None:
    noise = {"crop": 24, "noise": [0.04, 0.2]}
    config = replace(TINY, data=str(folder), data_options=noise, steps=80, lr=0.02)
    model, rows = trained(config)
    held_out = trained_on(config)[1]
    noisy = np.mean([-10 * np.log10(float((x["image"] - x["sharp"]).square().mean())) for x in held_out])
    assert rows[-1].psnr is not None
    assert rows[-1].psnr > noisy + 1
    assert not model.training


def test_pictures_held_out_are_not_trained_on(folder: Path) -> None:
    dataset, _ = trained_on(replace(TINY, data=str(folder)))
    assert len(dataset.images) == 3
    assert len(trained_on(replace(TINY, data=str(folder), held_out=0.0))[1]) == 0


def test_runs_of_any_length_are_validated_with_the_same_items(folder: Path) -> None:
    short, long = (trained_on(replace(TINY, data=str(folder), steps=steps), validated=5)[1] for steps in (1, 100))
    assert len(short) == len(long) == 5
    for a, b in zip(short, long, strict=True):
        torch.testing.assert_close(a["image"], b["image"], rtol=0, atol=0)


@pytest.mark.parametrize("name", ["DeblurGAN", "PhysicsGuidedDeblur", "UnrolledWiener"])
def test_a_run_that_was_stopped_goes_on_along_the_same_curve(name: str, folder: Path, tmp_path: Path) -> None:
    options = {"width": 8, "blocks": 1} if name == "DeblurGAN" else {"width": 8, "stages": 1}
    config = replace(
        TINY, data=str(folder), model=name, options=options, task="deblur", steps=12, save_every=5, lr=0.005,
        data_options={"crop": 24, "sizes": [3, 5]}, adversarial=0.01 if name == "DeblurGAN" else 0.0,
    )  # fmt: skip
    model, rows = trained(config)
    trained(config, tmp_path, stop=5)
    again, resumed = trained(config, tmp_path)
    assert without_time(resumed) == without_time(rows)
    for a, b in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_run_that_was_killed_goes_on_along_the_same_curve(folder: Path, tmp_path: Path) -> None:
    """Killed by a signal that cannot be caught, at no particular moment."""
    config = replace(TINY, data=str(folder), steps=400, save_every=3)
    program = (
        "import sys, torch; torch.set_num_threads(1)\n"
        "from lsdeblur.deep.train import Config, fit, trained_on\n"
        "from lsdeblur.deep.networks import MODELS\n"
        f"config = Config(**{asdict(config)!r})\n"
        "torch.manual_seed(0); model = MODELS[config.model](**config.options)\n"
        "dataset, held_out = trained_on(config)\n"
        "fit(model, dataset, config, held_out=held_out, out=sys.argv[1])"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)])
    began = time.monotonic()
    while not (tmp_path / "checkpoint.pt").exists() and time.monotonic() - began < 120:
        time.sleep(0.05)
    time.sleep(0.2)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    reached = load_checkpoint(tmp_path / "checkpoint.pt")["step"]
    assert 0 < reached < 400
    short = replace(config, steps=400)
    _, resumed = trained(short, tmp_path, stop=reached + 10)
    _, rows = trained(short, stop=reached + 10)
    assert without_time(resumed) == without_time(rows)


def test_an_interrupt_waits_for_the_step_and_loses_nothing(folder: Path, tmp_path: Path) -> None:
    config = replace(TINY, data=str(folder), steps=12, log_every=1)
    _, rows = trained(config)
    dataset, held_out = trained_on(config)

    def interrupt(row: Row) -> None:
        if row.step == 7:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        fit(made(config), dataset, config, held_out=held_out, out=tmp_path, callback=interrupt)
    assert load_checkpoint(tmp_path / "checkpoint.pt")["step"] == 7
    assert without_time(trained(config, tmp_path)[1]) == without_time(rows)


def test_what_a_run_leaves(folder: Path, tmp_path: Path) -> None:
    model, rows = trained(replace(TINY, data=str(folder), steps=10), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint.pt", "log.csv", "model.safetensors"}
    with (tmp_path / "log.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [int(line["step"]) for line in table] == list(range(1, 11))
    assert float(table[-1]["psnr"]) == pytest.approx(rows[-1].psnr, rel=1e-4)
    for file in ("model.safetensors", "checkpoint.pt"):
        for a, b in zip(load(tmp_path / file).parameters(), model.parameters(), strict=True):
            assert torch.equal(a, b)


def test_a_checkpoint_of_another_run_is_not_taken(folder: Path, tmp_path: Path) -> None:
    trained(replace(TINY, data=str(folder), steps=4), tmp_path)
    with pytest.raises(ValueError, match=r"other values of lr, steps"):
        trained(replace(TINY, data=str(folder), steps=8, lr=0.5), tmp_path)


# From Python 3.12 on, starting a worker by fork() warns where other threads run.
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_workers_change_nothing(folder: Path) -> None:
    config = replace(TINY, data=str(folder), steps=4)
    a, b = (trained(replace(config, workers=n))[0] for n in (0, 2))
    for p, q in zip(a.parameters(), b.parameters(), strict=True):
        assert torch.equal(p, q)


def test_a_run_begins_with_weights_of_another(folder: Path, tmp_path: Path) -> None:
    model, _ = trained(replace(TINY, data=str(folder), steps=2), tmp_path)
    begun = made(replace(TINY, start=str(tmp_path / "model.safetensors")))
    for p, q in zip(model.parameters(), begun.parameters(), strict=True):
        assert torch.equal(p, q)
    with pytest.raises(ValueError, match="give the same"):
        made(replace(TINY, start=str(tmp_path / "model.safetensors"), options={"widths": [8, 16], "blocks": [2, 1]}))


def test_values_of_any_kind_can_be_resumed(folder: Path, tmp_path: Path) -> None:
    config = replace(TINY, data=folder, lr=np.float64(0.01), data_options={"crop": 24, "noise": (0.0, 0.1)}, steps=6)  # type: ignore[arg-type]
    _, rows = trained(config)
    trained(config, tmp_path, stop=5)
    assert without_time(trained(config, tmp_path)[1]) == without_time(rows)


def test_a_folder_with_something_else_is_not_taken(folder: Path, tmp_path: Path) -> None:
    torch.save({"epoch": 3}, tmp_path / "checkpoint.pt")
    with pytest.raises(ValueError, match="checkpoint of something else"):
        trained(replace(TINY, data=str(folder)), tmp_path)


def test_too_short_a_data_set_is_said_before_the_run(folder: Path) -> None:
    dataset, _ = trained_on(replace(TINY, data=str(folder), steps=4))
    with pytest.raises(ValueError, match=r"8 items, fewer than the 30 x 2"):
        fit(made(TINY), dataset, TINY)


def test_the_loss_is_computed_in_float32(folder: Path) -> None:
    kinds = []

    def loss(restored: Any, sharp: Any) -> Any:
        kinds.append((restored.dtype, (restored @ sharp.mT).dtype))
        return (restored - sharp).abs().mean()

    config = replace(TINY, data=str(folder), steps=1, precision="bfloat16")
    fit(made(config), trained_on(config)[0], config, loss=loss)
    assert kinds == [(torch.float32, torch.float32)]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"options": {"widht": 8}}, "widht"),
        ({"data_options": {"corp": 8}}, "corp"),
        ({"held_out": 0.9}, "held_out"),
        ({"averaging": 1.0}, "averaging"),
        ({"seed": -1}, "seed"),
        ({"task": "dehaze"}, "task"),
    ],
)
def test_configurations_are_checked(changes: dict[str, Any], said: str) -> None:
    with pytest.raises((TypeError, ValueError), match=said):
        replace(TINY, **changes)


def test_a_loss_that_is_not_finite_is_an_error(folder: Path) -> None:
    torch.manual_seed(0)
    model = MODELS["Denoiser"](**TINY.options)
    dataset, _ = trained_on(replace(TINY, data=str(folder)))
    with pytest.raises(FloatingPointError, match="lower lr"):
        fit(model, dataset, TINY, loss=lambda restored, sharp: (restored - sharp).sum() * float("nan"))


def test_steps_are_orthogonal() -> None:
    generator = torch.Generator().manual_seed(0)
    for shape in ((16, 144), (144, 16), (20, 20)):
        singular = torch.linalg.svdvals(orthogonal(torch.randn(shape, generator=generator)))
        assert singular.min() > 0.3
        assert singular.max() < 1.3


def test_a_file_is_a_configuration(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text('model = "DeblurCNN"\nsteps = 7\n[options]\nwidth = 8\n')
    config = Config.read(tmp_path / "run.toml", batch=3)
    assert (config.model, config.steps, config.batch, config.options) == ("DeblurCNN", 7, 3, {"width": 8})
    (tmp_path / "bad.toml").write_text("stepps = 7\n")
    with pytest.raises(ValueError, match=r"stepps unknown; valid are model, .*"):
        Config.read(tmp_path / "bad.toml")
    (tmp_path / "bad.toml").write_text("steps 7\n")
    with pytest.raises(ValueError, match="no TOML file"):
        Config.read(tmp_path / "bad.toml")
    with pytest.raises(ValueError, match="model"):
        Config(model="Transformer")


def test_the_command(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("click")
    from click.testing import CliRunner

    from lsdeblur.deep._command import command

    (tmp_path / "run.toml").write_text(
        'model = "DeblurCNN"\nsteps = 3\nbatch = 1\nheld_out = 0.25\nprecision = "float32"\n'
        "[options]\nwidth = 8\nblocks = 1\n[data_options]\ncrop = 24\nsizes = [3, 5]\n"
    )
    arguments = [str(tmp_path / "run.toml"), "--data", str(folder), "--out", str(tmp_path / "run"), "--light"]
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 0, result.output
    assert "3 steps; held-out images" in result.output
    assert (tmp_path / "run" / "curve.png").stat().st_size > 1000
    assert load(tmp_path / "run" / "model.safetensors").options["light"]
    light = ["denoiser", "--data", str(folder), "--light"]
    for wrong, said in (
        (["transformer"], "is no recipe"),
        (["cnn"], "no images to train on"),
        (light, "no option 'light'"),
    ):
        result = CliRunner().invoke(command, wrong)
        assert result.exit_code == 1
        assert said in result.output


@pytest.mark.parametrize("steps", [0, 2])
def test_the_command_says_where_it_was_interrupted(
    steps: int, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("click")
    from click.testing import CliRunner

    from lsdeblur.deep import _command

    if steps:
        trained(replace(TINY, data=str(folder), steps=steps), tmp_path)

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(_command, "_trained", interrupted)
    result = CliRunner().invoke(_command.command, ["cnn", "--data", str(folder), "--out", str(tmp_path)])
    assert result.exit_code == 1
    assert (f"after step {steps}; the same command" if steps else "before its first step") in result.output


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_can_be_made(name: str) -> None:
    assert MODELS[RECIPES[name].model](**RECIPES[name].options).n_parameters > 1e5
