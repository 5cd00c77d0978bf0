"""What networks are trained with: the same items always, made as they say."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from reference import Array  # noqa: E402
from torch.utils.data import DataLoader  # noqa: E402

from lsdeblur.deep import data  # noqa: E402


def picture(shape: tuple[int, ...] = (150, 160), seed: int = 0) -> Array:
    """Smooth random values in 0..255, different everywhere."""
    import cv2

    return cv2.GaussianBlur(np.random.default_rng(seed).integers(0, 256, shape, np.uint8), (5, 5), 1.0)


def same(a: data.Item, b: data.Item) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_noise_of_the_stated_level() -> None:
    items = data.Noisy([picture()], crop=64, length=200, seed=1)
    levels = [float(items[i]["noise_std"]) for i in range(200)]
    assert min(levels) < 0.01
    assert 0.18 < max(levels) < 50 / 255
    assert np.mean(levels) == pytest.approx(25 / 255, rel=0.1)
    for i in (0, 5, 199):
        noise = (items[i]["image"] - items[i]["sharp"]).double().flatten()
        assert float(noise.std() / items[i]["noise_std"]) == pytest.approx(1, abs=5 / math.sqrt(2 * 64**2))
        assert abs(float(noise.mean() / items[i]["noise_std"])) < 5 / 64


def test_crops_are_turned_parts_of_the_image() -> None:
    whole = picture((20, 23))
    parts = {whole[y : y + 16, x : x + 16].tobytes() for y in range(5) for x in range(8)}
    items = data.Noisy([whole], crop=16, length=64)
    ways = set()
    for i in range(64):
        sharp = np.rint(items[i]["sharp"].numpy()[0] * 255).astype(np.uint8)
        for way in range(8):
            back = sharp[:, ::-1] if way >= 4 else sharp
            if np.rot90(back, -(way % 4)).tobytes() in parts:
                ways.add(way)
                break
        else:
            pytest.fail(f"item {i} is no part of the image")
    assert ways == set(range(8))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
@pytest.mark.parametrize(("given", "channels"), [(1, 1), (1, 3), (3, 1), (3, 3)])
def test_kinds_of_images(dtype: type, given: int, channels: int) -> None:
    colour = np.array([0.2, 0.4, 0.8])[:given]
    scale = np.iinfo(dtype).max if np.dtype(dtype).kind == "u" else 1
    image = (np.ones((12, 13, given)) * colour * scale).astype(dtype)
    image = image[..., 0] if given == 1 else image
    item = data.Noisy([image], crop=8, channels=channels, length=1)[0]
    grey = float(colour @ [0.299, 0.587, 0.114]) if given == 3 else 0.2
    expected = {(3, 3): colour}.get((given, channels), np.full(channels, grey))
    assert item["image"].dtype == item["sharp"].dtype == item["noise_std"].dtype == torch.float32
    assert item["image"].shape == (channels, 8, 8)
    np.testing.assert_allclose(item["sharp"].mean((1, 2)).numpy(), expected, atol=1 / 255)


def test_workers_and_restarts_do_not_matter() -> None:
    items = data.Noisy([picture(), picture(seed=3)], crop=16, length=12, seed=5)
    again = data.Noisy([picture(), picture(seed=3)], crop=16, length=12, seed=5)
    assert same(items[7], again[7])
    assert not same(items[7], items[8])
    assert not same(items[7], data.Noisy([picture(), picture(seed=3)], crop=16, length=12, seed=6)[7])
    alone, together = (list(DataLoader(items, batch_size=4, num_workers=n)) for n in (0, 2))
    assert all(same(a, b) for a, b in zip(alone, together, strict=True))
    assert torch.equal(alone[1]["image"][3], items[7]["image"])
    assert len(list(items)) == len(items) == 12


def test_held_out_items_are_others_and_stay_the_same() -> None:
    items = data.Noisy([picture()], crop=16, length=100)
    kept = data.held_out(items, 5)
    assert all(same(a, b) for a, b in zip(kept, data.held_out(items, 5), strict=True))
    assert not any(same(kept[0], items[i]) for i in range(100))
    assert items.seed == 0
    with pytest.raises(ValueError, match="n=101 items are more than the 100"):
        data.held_out(items, 101)


def test_folders(tmp_path: Path) -> None:
    import cv2

    colours = picture((30, 31, 3))
    (tmp_path / "inner").mkdir()
    cv2.imwrite(str(tmp_path / "inner" / "a.png"), colours[..., ::-1])
    (tmp_path / "notes.txt").write_text("not an image")
    from_file, from_array = (data.Noisy(s, crop=20, channels=3, length=1)[0] for s in (tmp_path, [colours]))
    assert same(from_file, from_array)
    cv2.imwrite(str(tmp_path / "small.png"), colours[:9])
    with pytest.raises(ValueError, match=r"small.png has 9 x 31 pixels, but an item is made of 20 x 20"):
        data.Noisy(tmp_path, crop=20)
    (tmp_path / "small.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"small.png cannot be read"):
        data.Noisy(tmp_path, crop=20)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty holds no images"):
        data.Noisy(tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match="nowhere is no folder"):
        data.Noisy(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"images": []}, "images is an empty list"),
        ({"images": [np.full((70, 70), 7.0)]}, r"images\[0\] has values beyond \[0, 1\]"),
        ({"images": [np.zeros((70, 70, 4), np.uint8)]}, r"images\[0\] has shape \(70, 70, 4\)"),
        ({"channels": 2}, "channels must be 1"),
        ({"noise": (0.2, 0.1)}, "noise=.* is empty"),
        ({"noise": (-0.2, 0.1)}, "noise must not be negative"),
        ({"length": 0}, "length"),
        ({"seed": -1}, "non-negative"),
    ],
)
def test_bad_arguments(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        data.Noisy(**({"images": [picture()]} | options))


def test_beyond_the_last_item() -> None:
    with pytest.raises(IndexError, match="item 3 of 3"):
        _ = data.Noisy([picture()], length=3)[3]
