"""Films: one plan, one lambda, no flicker; what stands still gains from its neighbours, what moves loses nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reference import Array
from skimage import data

from lsdeblur import metrics, plan, psf, restore, simulate, video

BLUR = psf.motion(9, 30)
SIGMA = 0.02


@pytest.fixture(scope="module")
def film() -> tuple[list[Array], list[Array]]:
    """A square that moves over a scene that stands still: noisy frames and the truth."""
    scene = data.camera()[100:230, 150:290] / 255.0
    frames, truth = [], []
    for i in range(7):
        sharp = scene.copy()
        sharp[40:60, 20 + 12 * i : 40 + 12 * i] = 0.9
        truth.append(simulate.valid_part(sharp, BLUR))
        frames.append(simulate.add_noise(simulate.blur(sharp, BLUR), noise_std=SIGMA, rng=i))
    return frames, truth


def psnr(images: list[Array], truth: list[Array]) -> float:
    return float(np.mean([metrics.psnr(a, b, data_range=1.0) for a, b in zip(images, truth, strict=True)]))


def test_frames_go_through_one_plan(film: tuple[list[Array], list[Array]]) -> None:
    frames, _ = film
    lam = float(np.median([restore(g, BLUR).lam for g in frames[:5]]))
    sharpen = plan(BLUR, frames[0].shape, lam=lam)
    for image, g in zip(video.restore_frames(iter(frames), BLUR), frames, strict=True):
        np.testing.assert_array_equal(image, sharpen(g))


def test_neighbours_help_where_the_scene_is_still(film: tuple[list[Array], list[Array]]) -> None:
    frames, truth = film
    before = [g.copy() for g in frames]
    alone = list(video.restore_frames(frames, BLUR))
    together = list(video.restore_frames(frames, BLUR, neighbours=2))
    assert psnr(together, truth) > psnr(alone, truth) + 0.7
    moving = [(slice(30, 60), slice(8 + 12 * i, 44 + 12 * i)) for i in range(7)]
    parts = [[image[m] for image, m in zip(images, moving, strict=True)] for images in (alone, together, truth)]
    assert psnr(parts[1], parts[2]) > psnr(parts[0], parts[2]) - 0.3
    assert video.flicker(together, frames) < 0.1 * SIGMA
    for g, kept in zip(frames, before, strict=True):
        np.testing.assert_array_equal(g, kept)


def test_a_blur_for_each_frame(film: tuple[list[Array], list[Array]]) -> None:
    frames, _ = film
    psfs = [psf.motion(5 + i, 30) for i in range(7)]
    for images in (video.restore_frames(frames, psfs, lam=0.01), video.restore_frames(frames, psfs[3], lam=0.01)):
        list(images)
    found = list(video.restore_frames(frames, psfs, lam=0.01))
    np.testing.assert_array_equal(found[4], plan(psfs[4], frames[4].shape, lam=0.01)(frames[4]))
    seen: list[Array] = []

    def find(g: Array) -> Array:
        seen.append(g)
        return psfs[len(seen) - 1]

    for image, expected in zip(video.restore_frames(frames, find, lam=0.01), found, strict=True):
        np.testing.assert_array_equal(image, expected)


def test_frames_are_read_as_they_are_needed(film: tuple[list[Array], list[Array]]) -> None:
    read: list[int] = []

    def source() -> Iterator[Array]:
        for i in range(1000):
            read.append(i)
            yield film[0][i % 7]

    images = video.restore_frames(source(), BLUR, lam=0.01, noise_std=SIGMA, neighbours=1)
    next(images)
    assert len(read) <= 7
    for _ in range(20):
        next(images)
    assert len(read) <= 24


def test_files(tmp_path: Path, film: tuple[list[Array], list[Array]]) -> None:
    pytest.importorskip("cv2")
    import cv2

    source, target = tmp_path / "in.avi", tmp_path / "out.avi"
    shape = film[0][0].shape
    writer = cv2.VideoWriter(str(source), cv2.VideoWriter.fourcc(*"MJPG"), 12.0, shape[::-1])
    for g in film[0]:
        writer.write(np.repeat(np.rint(np.clip(g, 0, 1) * 255).astype(np.uint8)[..., np.newaxis], 3, axis=-1))
    writer.release()
    assert video.restore_video(source, target, BLUR, neighbours=1) == 7
    images = [frame[..., 1] / 255 for frame in video.frames_of(target)]
    blurred = [frame[..., 1] / 255 for frame in video.frames_of(source)]
    assert psnr(images, film[1]) > psnr(blurred, film[1]) + 1
    assert cv2.VideoCapture(str(target)).get(cv2.CAP_PROP_FPS) == pytest.approx(12)
    with pytest.raises(FileExistsError, match="is there already"):
        video.restore_video(source, target, BLUR)
    with pytest.raises(FileNotFoundError, match="there is no film"):
        video.restore_video(tmp_path / "none.avi", tmp_path / "x.avi", BLUR)
    (tmp_path / "text.avi").write_text("no film")
    with pytest.raises(ValueError, match="OpenCV cannot read"):
        video.restore_video(tmp_path / "text.avi", tmp_path / "x.avi", BLUR)


def test_frames_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenCV says nothing when the disk is full, nor of an image in place of a film."""
    import cv2

    original, codec = cv2.VideoWriter, cv2.VideoWriter.fourcc(*"MJPG")

    def frames(name: str) -> Any:
        return original(str(tmp_path / name), codec, 10.0, (48, 40))

    writer = frames("in.avi")
    for i in range(3):
        writer.write(np.full((40, 48, 3), 60 * i + 40, np.uint8))
    writer.release()

    class Full:
        """Takes one frame."""

        fourcc = staticmethod(original.fourcc)

        def __init__(self, path: str, *_: Any) -> None:
            self.film, self.left = frames(path), 1

        def __getattr__(self, name: str) -> Any:
            return getattr(self.film, name)

        def write(self, frame: Array) -> None:
            if self.left:
                self.film.write(frame)
            self.left = 0

    with monkeypatch.context() as full:
        full.setattr(cv2, "VideoWriter", Full)
        with pytest.raises(OSError, match=r"OpenCV wrote 1 of 3 frames to .*out.avi'"):
            video.restore_video(tmp_path / "in.avi", tmp_path / "out.avi", BLUR, lam=0.1)
    assert [path.name for path in tmp_path.iterdir()] == ["in.avi"]
    with pytest.raises((OSError, ValueError), match=r"OpenCV (wrote|cannot write)"):
        video.restore_video(tmp_path / "in.avi", tmp_path / "out.png", BLUR, lam=0.1)
    assert [path.name for path in tmp_path.iterdir()] == ["in.avi"]


@pytest.mark.parametrize(
    ("frames", "options", "match"),
    [
        ([], {}, "the film has no frames"),
        ([np.ones((20, 21)), np.ones((20, 20))], {}, "frame 1 has shape"),
        ([np.ones((20, 21)), np.ones((20, 20))], {"neighbours": 1, "noise_std": 1.0}, "the frames have shapes"),
        ([np.ones((20, 21))] * 2, {"psf": [BLUR]}, "there are fewer PSFs than frames: frame 1"),
        ([np.ones((20, 21))] * 2, {"psf": [BLUR] * 2, "neighbours": 1}, "needs one PSF for all frames"),
        ([np.ones((20, 21))], {"neighbours": -1}, "neighbours"),
    ],
)
def test_what_films_cannot_be(frames: list[Array], options: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        list(video.restore_frames(frames, options.pop("psf", BLUR), lam=0.1, **options))


def test_black_frames_do_not_choose_lambda(film: tuple[list[Array], list[Array]]) -> None:
    black = [np.zeros_like(film[0][0])] * 3
    images = list(video.restore_frames([*black, *film[0]], BLUR))[3:]
    assert psnr(images, film[1]) > psnr(list(video.restore_frames(film[0], BLUR)), film[1]) - 0.1
    with pytest.raises(ValueError, match="none of the first 3 frames shows anything to choose lambda from"):
        list(video.restore_frames(black, BLUR))
    found = list(video.restore_frames(film[0], lambda g: BLUR))
    np.testing.assert_array_equal(found[2], list(video.restore_frames(film[0], BLUR))[2])
