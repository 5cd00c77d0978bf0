"""
A film from file to file
========================

What does a film's compression cost, when the film is to be restored? Far more than the blurred film shows. Motion
JPEG takes 0.03 dB from the blurred frames but 0.7 dB from the restored ones, MPEG-4 0.2 and 0.9 dB: its small errors
are amplified like noise, and what it smoothed is gone. The 8 bits alone, in a lossless film, cost nothing. Writing
the restored film as Motion JPEG takes up to 0.3 dB more.
"""

import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
from skimage import data

from lsdeblur import metrics, plot, psf, simulate, video

out = Path(sys.argv[1] if len(sys.argv) > 1 else "demo-output")
out.mkdir(parents=True, exist_ok=True)

# %%
# Ten frames of a slow pan, out of focus by 3 pixels, with 1 % noise.
blur = psf.disk(3)
windows = [data.coffee()[20:300, 4 * k : 4 * k + 360] / 255 for k in range(10)]
truths = [simulate.valid_part(w, blur, channel_axis=-1) for w in windows]
frames = [
    simulate.add_noise(simulate.blur(w, blur, channel_axis=-1), noise_std=0.01, rng=k) for k, w in enumerate(windows)
]


def psnr(film) -> float:
    """Mean over the frames, in dB."""
    scores = [metrics.psnr(f, t, data_range=1.0, channel_axis=-1) for f, t in zip(film, truths, strict=True)]
    return float(np.mean(scores))


def write(path: Path, codec: str) -> bool:
    """The frames as a film of 25 frames a second; False where OpenCV lacks the codec."""
    film = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 25, frames[0].shape[1::-1])
    opened = film.isOpened()
    for frame in frames if opened else ():
        film.write(np.rint(np.clip(frame, 0, 1) * 255).astype(np.uint8)[..., ::-1])
    film.release()
    return opened


# %%
# Each film is written and restored, once as arrays, and once by one call into another file, which is Motion JPEG
# again.
shown = {}
print(f"{'film':24}{'bytes a frame':>14}{'blurred':>10}{'restored':>10}{'as a file':>11}   PSNR in dB")
ideal = psnr(video.restore_frames(frames, blur, channel_axis=-1))
print(f"{'never written':38}{psnr(frames):10.2f}{ideal:10.2f}")
with tempfile.TemporaryDirectory() as folder:
    for codec, name in {"FFV1": "lossless.avi", "MJPG": "jpeg.avi", "mp4v": "mpeg.mp4"}.items():
        source, target = Path(folder, name), Path(folder, f"restored-{codec}.avi")
        if not write(source, codec):
            print(f"{name:24} skipped: OpenCV cannot write {codec} here")
            continue
        video.restore_video(source, target, blur)
        before = [frame / np.float32(255) for frame in video.frames_of(source)]
        after = list(video.restore_frames(before, blur, channel_axis=-1))
        in_file = psnr(frame / 255 for frame in video.frames_of(target))
        size = source.stat().st_size // len(frames)
        print(f"{f'{codec}, {name}':24}{size:14}{psnr(before):10.2f}{psnr(after):10.2f}{in_file:11.2f}")
        shown[f"{codec}, restored\n{psnr(after):.1f} dB"] = after[5]

# %%
# A frame of each. The traces of compression come back as a pattern on smooth surfaces.
figure = plot.compare({"blurred": frames[5], **shown, "truth": truths[5]}, inset=(60, 100, 100, 120))
figure.savefig(out / "film.png", dpi=150)
print(f"figure: {out / 'film.png'}")
