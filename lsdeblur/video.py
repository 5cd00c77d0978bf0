"""Films: frame after frame through one plan, with one lambda, so that neither strength nor brightness flickers.

Where the scene stands still, neighbouring frames show the same blurred scene with new noise. With one PSF their joint
least-squares restoration is that of their mean, so each pixel is averaged over the neighbours that agree with it: those
whose difference, averaged over 5 x 5 pixels, is no more than noise makes it.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from lsdeblur._files import replacing
from lsdeblur._inputs import problem_of
from lsdeblur._restore import plan, restore
from lsdeblur._stage import Plan
from lsdeblur._validate import as_float_array, check_positive

__all__ = ["flicker", "frames_of", "restore_frames", "restore_video"]

Array = npt.NDArray[Any]
#: one PSF, one for each frame, or a function that finds a frame's
FilmPSF: TypeAlias = npt.ArrayLike | Sequence[npt.ArrayLike] | Callable[[Array], npt.ArrayLike]

_LOOKED_AT = 5  # frames from which lambda is chosen
_PATCH = 5  # pixels a side over which a difference between frames is averaged
_AGREES = 3.0  # standard deviations of such a mean


def frames_of(path: str | Path) -> Iterator[Array]:
    """The frames of a film (rows, columns, 3) as RGB in uint8, one after the other, read by OpenCV.

    Raises
    ------
    FileNotFoundError, ValueError
        There is no such file, or OpenCV cannot read it.
    """
    import cv2

    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no film {str(path)!r}")
    film = cv2.VideoCapture(str(path))
    try:
        if not film.isOpened():
            raise ValueError(f"OpenCV cannot read {str(path)!r}: convert it, for example to MJPG in an .avi file")
        while (found := film.read())[0]:
            yield np.ascontiguousarray(found[1][..., ::-1])
    finally:
        film.release()


def restore_frames(
    frames: Iterable[npt.ArrayLike],
    psf: FilmPSF,
    *,
    lam: float | None = None,
    noise_std: float | None = None,
    neighbours: int = 0,
    boundary: str = "free",
    channel_axis: int | None = None,
    workers: int | None = None,
    **options: Any,
) -> Iterator[Array]:
    """Restore the frames of a film by Tikhonov's least squares, one after the other.

    Parameters
    ----------
    frames : iterable of arrays, all of one shape and dtype
        Read as they are needed.
    psf : array, sequence of arrays, or callable
        One PSF for all frames, which makes one plan; one for each; or a function of a frame that returns its PSF.
    lam : float > 0, optional
        One for the whole film. By default the median of what "auto" chooses for the first five frames (averaged with
        their neighbours), which are read before the first result. Frames that do not vary do not count; for a film
        that fades in, give the lambda of a typical frame.
    noise_std : float > 0, optional
        Noise level of a frame, for `neighbours`; estimated from the first five frames by default.
    neighbours : int >= 0
        So many frames before and after each take part where the scene stands still; needs one PSF for all.
    boundary, channel_axis, workers
        As in `lsdeblur.restore`; the channels share lambda.
    **options
        Those of `lsdeblur.plan`: `penalty`, `tau`, `spacing`, `tol`, `max_iter`.

    Yields
    ------
    array
        A restored frame, in the working dtype of `restore`.

    Raises
    ------
    ValueError
        No frames; frames of different shapes; fewer PSFs than frames; `neighbours` with more than one PSF.
    """
    if not isinstance(neighbours, (int, np.integer)) or neighbours < 0:
        raise ValueError(f"neighbours must be a whole number of at least 0, not {neighbours!r}")
    reach = int(neighbours)
    single = not callable(psf) and not (isinstance(psf, (list, tuple)) and np.ndim(psf[0]) > 1)
    if reach and not single:
        raise ValueError("neighbours= needs one PSF for all frames: frames of several blurs are for restore([...])")
    rest = iter(frames)
    first = [as_float_array(frame, "frame") for _, frame in zip(range(_LOOKED_AT + reach), rest, strict=False)]
    if not first:
        raise ValueError("the film has no frames")
    shell: dict[str, Any] = {"boundary": boundary, "channel_axis": channel_axis, "workers": workers}
    psfs = _psfs(psf, single)
    if reach and noise_std is None:
        fixed: Any = psf
        noise_std = float(np.median([restore(g, fixed, **shell, **options).noise_std for g in first[:_LOOKED_AT]]))
    sigma = 0.0 if noise_std is None else check_positive(noise_std, "noise_std")
    lam = _common(first, reach, sigma, psf, single, shell, options) if lam is None else check_positive(lam, "lam")
    everything = chain(first, (as_float_array(frame, "frame") for frame in rest))
    made: tuple[Any, Plan | None] = (None, None)
    for i, g in enumerate(_averaged(everything, reach, sigma, channel_axis)):
        if g.shape != first[0].shape:
            raise ValueError(f"frame {i} has shape {g.shape}, but the first has {first[0].shape}: crop or scale it")
        h = next(psfs, None)
        if h is None:
            raise ValueError(f"there are fewer PSFs than frames: frame {i} has none")
        h = h(g) if callable(h) else h
        channels = g if channel_axis is None else np.moveaxis(g, channel_axis, 0)
        if made[1] is None or h is not made[0]:
            kernel = problem_of(g, h, "tikhonov", boundary, channel_axis, options.get("spacing"), None, workers).psf
            if len(kernel) > 1:
                raise ValueError("films take one PSF for all channels of a frame")
            shape = channels.shape if channel_axis is None else channels.shape[1:]
            made = h, plan(kernel[0], shape, lam=lam, boundary=boundary, dtype=g.dtype, workers=workers, **options)
        assert made[1] is not None
        image = made[1](channels)
        yield image if channel_axis is None else np.ascontiguousarray(np.moveaxis(image, 0, channel_axis))


def _common(
    first: list[Array], reach: int, sigma: float, psf: Any, single: bool, shell: dict[str, Any], options: dict[str, Any]
) -> float:
    """The median lambda of the first frames, without those that show nothing or have no answer."""
    lams = []
    seen = list(_averaged(first, reach, sigma, shell["channel_axis"]))[:_LOOKED_AT]
    for g, h in zip(seen, _psfs(psf, single), strict=False):
        if np.ptp(g) > 0:
            found = restore(g, h(g) if callable(h) else h, **shell, **options)
            if found.selection is not None and not found.selection.at_boundary:
                lams.append(found.lam)
    if not lams:
        raise ValueError(f"none of the first {len(seen)} frames shows anything to choose lambda from: give lam=")
    return float(np.median(np.array(lams, float)))


def restore_video(source: str | Path, target: str | Path, psf: FilmPSF, *, codec: str = "MJPG", **options: Any) -> int:
    """Restore a film in a file into another one, frame by frame.

    Parameters
    ----------
    source, target : path
        Films that OpenCV reads and writes; `target` must not exist, and is written as a whole or not at all.
    psf, **options
        As for `restore_frames`.
    codec : str of four letters
        Of the target; "MJPG" works everywhere (in an .avi file), "mp4v" where OpenCV brings it (in an .mp4 file).

    Returns
    -------
    int
        The number of frames. They are scaled by 255, rounded and clipped to 8 bits, at the rate of the source.

    Raises
    ------
    FileNotFoundError, FileExistsError, ValueError
    OSError
        OpenCV did not write all frames.
    """
    import cv2

    if Path(target).exists():
        raise FileExistsError(f"{str(target)!r} is there already: remove it, or choose another name")
    images = ((frame / np.float32(255)) for frame in frames_of(source))
    rate = cv2.VideoCapture(str(source)).get(cv2.CAP_PROP_FPS) or 25.0
    count = 0
    with replacing(target) as path:
        with ExitStack() as stack:
            film = None
            for image in restore_frames(images, psf, channel_axis=-1, **options):
                if film is None:
                    size = image.shape[1], image.shape[0]
                    film = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), rate, size)
                    stack.callback(film.release)
                    if not film.isOpened():
                        raise ValueError(
                            f"OpenCV cannot write {str(target)!r} with codec {codec!r}: try 'MJPG' and .avi"
                        )
                film.write(np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)[..., ::-1])
                count += 1
        if (kept := _length(path)) != count:  # OpenCV does not raise
            raise OSError(
                f"OpenCV wrote {kept} of {count} frames to {str(target)!r}: it must be a film, such as .avi with codec "
                "'MJPG', on a disk with room for it"
            )
    return count


def _length(path: Path) -> int:
    """The number of frames that OpenCV finds in a film, by going through it."""
    import cv2

    film = cv2.VideoCapture(str(path))
    try:
        return sum(1 for _ in iter(film.grab, False))
    finally:
        film.release()


def flicker(frames: Iterable[npt.ArrayLike], reference: Iterable[npt.ArrayLike]) -> float:
    """How unsteady a film is: the standard deviation over time of its mean brightness less that of a reference film."""
    return float(
        np.std([np.mean(np.asarray(a)) - np.mean(np.asarray(b)) for a, b in zip(frames, reference, strict=True)])
    )


def _psfs(psf: Any, single: bool) -> Iterator[Any]:
    if single or callable(psf):
        while True:
            yield psf
    yield from psf


def _averaged(frames: Iterable[Array], reach: int, sigma: float, channel_axis: int | None) -> Iterator[Array]:
    """Each frame, averaged with those up to `reach` before and after it that agree with it."""
    if not reach:
        yield from frames
        return
    window: deque[Array] = deque()
    at, ended, source = 0, False, iter(frames)
    while True:
        while not ended and len(window) <= at + reach:
            frame = next(source, None)
            ended = frame is None
            if frame is not None:
                window.append(frame)
        if at >= len(window):
            return
        others = [g for i, g in enumerate(window) if i != at and abs(i - at) <= reach]
        yield _mean_of_still(window[at], others, sigma, channel_axis)
        at += 1
        if at > reach:
            window.popleft()
            at -= 1


def _mean_of_still(frame: Array, others: Sequence[Array], sigma: float, channel_axis: int | None) -> Array:
    from scipy.ndimage import uniform_filter

    size = [_PATCH] * frame.ndim
    if channel_axis is not None:
        size[channel_axis] = 1
    limit = _AGREES * sigma * math.sqrt(2 / math.prod(size))
    total, count = frame.copy(), np.ones_like(frame)
    for other in others:
        if other.shape != frame.shape:
            raise ValueError(f"the frames have shapes {frame.shape} and {other.shape}: crop or scale them")
        still = np.abs(uniform_filter(other - frame, size)) <= limit
        if channel_axis is not None:
            still = np.broadcast_to(still.all(axis=channel_axis, keepdims=True), frame.shape)
        total += np.where(still, other, 0)
        count += still
    total /= count
    return total
