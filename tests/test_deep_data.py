"""What networks are trained with: the same items always, made as they say."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from reference import Array  # noqa: E402
from scipy.signal import convolve2d  # noqa: E402
from torch.utils.data import DataLoader  # noqa: E402

from lsdeblur.deep import data  # noqa: E402

# From Python 3.12 on, starting a worker by fork() warns where other threads run; what the workers do here is safe.
FORKED = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


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


@FORKED
def test_workers_and_restarts_do_not_matter() -> None:
    items = data.Noisy([picture(), picture(seed=3)], crop=16, length=12, seed=5)
    again = data.Noisy([picture(), picture(seed=3)], crop=16, length=12, seed=5)
    assert same(items[7], again[7])
    assert items[7]["noise_std"].shape == ()
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
    with pytest.raises(ValueError, match=r"small.png has 9 x 31 pixels, but items are cut from 20 x 20"):
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
        ({"noise": (0.2, 0.1)}, "noise must be a lower limit"),
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


def plain(**options: Any) -> data.Synthetic:
    """Short items without noise and rotation."""
    settings = {"crop": 40, "noise": (0, 0), "rotation": 0, "length": 30, "sizes": (3, 14)}
    return data.Synthetic([picture()], **(settings | options))


@pytest.mark.parametrize("name", data.KERNELS)
@pytest.mark.parametrize("rotation", [0, 15])
def test_the_blur_is_a_convolution_without_made_up_borders(name: str, rotation: float) -> None:
    """Inside an item the image is its sharp part convolved with its kernel, the centre at k // 2."""
    items = plain(kernels=(name,), rotation=rotation)
    for i in range(5):
        item = {key: value.double().numpy() for key, value in items[i].items()}
        assert item["psf"].shape == (15, 15)
        expected = convolve2d(item["sharp"][0], item["psf"], mode="valid")
        np.testing.assert_allclose(item["image"][0, 7:-7, 7:-7], expected, atol=2e-6)


@pytest.mark.parametrize("name", data.KERNELS)
def test_kernels(name: str) -> None:
    """Unit sum, not negative, no wider than asked, and of the extent asked."""
    items, rng = plain(kernels=(name,), sizes=(9, 9)), np.random.default_rng(0)
    for i in range(20):
        h = items[i]["psf"].double().numpy()
        assert h.shape == (9, 9)
        assert h.sum() == pytest.approx(1, abs=1e-6)
        assert h.min() >= 0
        assert np.count_nonzero(h) > 5
        rows, columns = (h.sum(axis=1 - a) @ (np.arange(9) - 4) for a in (0, 1))
        assert max(abs(rows), abs(columns)) < 0.5
    for extent in rng.uniform(2, 30, 100):
        shape = data._kernel(name, extent, rng).shape
        assert all(s % 2 == 1 and s < extent + 2 for s in shape)


def test_noise_of_blurred_items() -> None:
    """The same items with and without: what is added is white noise of the level stated."""
    noisy, clean = plain(noise=(0.02, 0.05)), plain()
    for i in range(5):
        a, b = noisy[i], clean[i]
        assert torch.equal(a["sharp"], b["sharp"])
        assert 0.02 <= float(a["noise_std"]) <= 0.05
        noise = (a["image"] - b["image"])[0].double() / a["noise_std"]
        assert float(noise.std()) == pytest.approx(1, abs=5 / math.sqrt(2 * 40**2))
        assert abs(float((noise[1:] * noise[:-1]).mean())) < 5 / 40


def test_rotation_keeps_planes_and_stays_within_the_image() -> None:
    """A ramp stays one, to a twentieth of a pixel (OpenCV rounds to 1/32); its direction says how far it was turned."""
    slope = math.hypot(0.003, 0.005)
    ramp = np.add.outer(np.arange(120) * 0.003, np.arange(125) * 0.005).astype(np.float32)
    items = data.Synthetic([ramp], crop=40, sizes=(3, 5), noise=(0, 0), rotation=20, length=60)
    y, x = np.mgrid[:40, :40]
    plane = np.stack([np.ones(1600), y.ravel(), x.ravel()], axis=1)
    turns = []
    for i in range(60):
        values = items[i]["sharp"].double().numpy().ravel()
        fit, *_ = np.linalg.lstsq(plane, values, rcond=None)
        np.testing.assert_allclose(plane @ fit, values, rtol=0, atol=slope / 20)
        assert math.hypot(*fit[1:]) == pytest.approx(slope, rel=1e-2)
        direction = math.degrees(math.atan2(fit[1], fit[2])) % 90
        steepest = math.degrees(math.atan2(3, 5))
        turns.append(min(abs(direction - s) for s in (steepest, 90 - steepest)))
    assert max(turns) < 20
    assert max(turns) > 10
    assert np.mean(np.array(turns) < 0.05) > 0.25  # not interpolated


def test_colours_vary_and_greys_stay_grey() -> None:
    grey = np.repeat(picture()[..., None], 3, axis=2)
    item = plain()
    kept = data.Synthetic([grey], crop=40, noise=(0, 0), channels=3, length=3)[1]
    assert float((kept["sharp"] - kept["sharp"].mean(0)).abs().max()) < 1e-5
    colours = picture((150, 160, 3))
    varied, as_is = (
        data.Synthetic([colours], crop=40, channels=3, noise=(0, 0), rotation=0, jitter=jitter, length=4)[2]
        for jitter in (True, False)
    )
    assert varied["sharp"].shape == (3, 40, 40)
    assert 0.01 < float((varied["sharp"] - as_is["sharp"]).abs().mean()) < 0.25
    assert float(varied["sharp"].min()) >= 0
    assert float(varied["sharp"].max()) <= 1
    assert item[0]["sharp"].shape == (1, 40, 40)


def test_overexposed_items() -> None:
    """Both images are clipped at 1, after the blur: within, the image is no longer the convolution."""
    clipped = plain(saturation=1.0, kernels=("defocus",), noise=(0.01, 0.01))
    items = [clipped[i] for i in range(30)]
    assert all(float(item[k].max()) <= 1 and float(item[k].min()) >= 0 for item in items for k in ("image", "sharp"))
    assert sum(float((item["sharp"] == 1).float().mean()) > 0.001 for item in items) > 3


@pytest.mark.parametrize("channels", [1, 3])
def test_compressed_items(channels: int) -> None:
    colours = picture((150, 160, 3))
    a, b = (
        data.Synthetic([colours], crop=40, channels=channels, noise=(0, 0), jpeg=jpeg, length=1)[0] for jpeg in (0, 1)
    )
    np.testing.assert_allclose(b["image"].numpy() * 255, np.rint(b["image"].numpy() * 255), atol=1e-4)
    assert torch.equal(a["sharp"], b["sharp"])
    assert 0.5 / 255 < float((a["image"] - b["image"]).square().mean().sqrt()) < 12 / 255


@FORKED
def test_blurred_items_are_the_same_in_workers() -> None:
    items = data.Synthetic(
        [picture((150, 160, 3))], crop=24, channels=3, saturation=0.5, jpeg=0.5, length=8, sizes=(3, 15)
    )
    alone, together = (list(DataLoader(items, batch_size=4, num_workers=n)) for n in (0, 2))
    assert all(same(a, b) for a, b in zip(alone, together, strict=True))
    assert alone[0]["psf"].shape == (4, 15, 15)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crop": 150}, r"images\[0\] has 150 x 160 pixels, but items are cut from 164 x 164"),
        ({"kernels": ("box",)}, "kernels must be one of 'gaussian'"),
        ({"kernels": ()}, "kernels is empty"),
        ({"sizes": (1, 9)}, "sizes must be a lower limit, at least 2"),
        ({"rotation": 50}, "rotation must be at most 45"),
        ({"jpeg": 1.5}, "jpeg must be at most 1"),
    ],
)
def test_bad_arguments_of_blurred_items(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plain(**options)


def write(path: Path, image: Array) -> None:
    import cv2

    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image[..., ::-1])


@pytest.mark.parametrize("scenes", [("",), ("scene1", "scene2")])
def test_pairs(tmp_path: Path, scenes: tuple[str, ...]) -> None:
    """A pair shows the same pixels, whole, cropped and turned."""
    for scene in scenes:
        for name in ("1.png", "2.png"):
            sharp = picture((30, 40, 3), seed=len(scene) + int(name[0]))
            write(tmp_path / scene / "sharp" / name, sharp)
            write(tmp_path / scene / "blur" / name, 255 - sharp)
            write(tmp_path / scene / "blur_gamma" / name, sharp // 2)
    whole = data.Paired(tmp_path, crop=None)
    assert len(whole) == 2 * len(scenes)
    np.testing.assert_allclose(
        whole[0]["sharp"].numpy(), picture((30, 40, 3), len(scenes[0]) + 1).transpose(2, 0, 1) / 255
    )
    crops = data.Paired(tmp_path, crop=16, channels=3, length=20)
    for item in (whole[1], *crops):
        np.testing.assert_allclose((item["image"] + item["sharp"]).numpy(), 1, atol=1e-6)
    assert crops[19]["image"].shape == (3, 16, 16)
    gamma = data.Paired(tmp_path, blurred="blur_gamma", crop=None)[0]
    np.testing.assert_allclose((gamma["sharp"] / 2 - gamma["image"]).numpy(), 0, atol=1 / 255)
    assert len(data.held_out(whole, 2)) == 2


def test_what_is_no_pair(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="hold no 'blur' beside 'sharp'"):
        data.Paired(tmp_path)
    write(tmp_path / "blur" / "1.png", picture((30, 40, 3)))
    write(tmp_path / "sharp" / "1.png", picture((31, 40, 3)))
    with pytest.raises(ValueError, match=r"1.png has 30 x 40 pixels, but its sharp image 31 x 40"):
        _ = data.Paired(tmp_path)[0]
    write(tmp_path / "sharp" / "1.png", picture((30, 40, 3)))
    with pytest.raises(ValueError, match=r"1.png has 30 x 40 pixels, but items are cut from 256 x 256"):
        _ = data.Paired(tmp_path)[0]
    write(tmp_path / "sharp" / "2.png", picture((30, 40, 3)))
    with pytest.raises(ValueError, match=r"2.png is in only one of 'blur' and 'sharp'"):
        data.Paired(tmp_path)
