"""Point-spread functions that vary over the frame: measured ones, and models with a parameter for each pixel."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from lsdeblur._fft import half_frequencies, rfftn
from lsdeblur._validate import as_float_array, as_psf, check_positive, check_same_shape, check_size
from lsdeblur.errors import LsdeblurWarning
from lsdeblur.psf._pixels import _draw, _extent, _window
from lsdeblur.psf.models import disk, motion
from lsdeblur.psf.operations import trim

__all__ = ["PSFGrid", "defocus_map", "motion_field", "rotation"]

Array = npt.NDArray[Any]
#: first pixel of a box, and the weights within it
Box = tuple[tuple[int, ...], Array]

_NEIGHBOURS = 6  # of a pixel among scattered positions, that have a share in its PSF
_FINEST = 8  # pixels between the PSFs of a model with a parameter for each pixel, at the least
_SAMPLES = 200  # places where the interpolation of such a model is checked


@dataclass(frozen=True, slots=True, eq=False)
class PSFGrid:
    """PSFs at several positions of a frame, interpolated between them: ``h_y = sum_k w_k(y) h_k``.

    ``h_y(x - y)`` is the light that the scene's point y sends to pixel x, so the blurred image is
    ``g = sum_k h_k * (w_k f)``: every point is spread by the PSF of the place where it stands, and no light is lost.
    The weights are positive, continuous and sum to 1 everywhere.

    Parameters
    ----------
    psfs : array (n, *size), or sequence of n arrays
        PSFs, each with its centre at pixel ``s // 2``. Arrays of different sizes are padded with zeros. They are used
        as they are: their sums are the gains.
    positions : array (n, axes)
        Where they were measured, in pixels from the middle of the first pixel of the *blurred* frame, as (row, column).
        The positions may lie outside the frame.
    axes : sequence of arrays, optional
        For a regular grid the increasing coordinates along every axis, as `regular` gives them; `positions` are then
        their products in C order.

    Raises
    ------
    TypeError, ValueError : a PSF is none, the numbers of PSFs and positions differ, or two positions are the same.

    Notes
    -----
    On a regular grid the weights are linear along each axis between two positions, and constant beyond the outermost.
    PSFs that change linearly are met exactly; the error falls with the square of the distance. Scattered positions
    weigh ``(1 / d_k - 1 / d)^2`` with the distances ``d_k`` of the nearest six and d of the seventh: each PSF holds at
    its own position and in the neighbourhood only.

    References
    ----------
    Nagy & O'Leary (1998), SIAM J. Sci. Comput. 19, 1063-1082, doi:10.1137/S106482759528507X (piecewise PSFs).
    Hirsch et al. (2010), CVPR, doi:10.1109/CVPR.2010.5540158, eq. (3) (windows before the convolution, as here).
    Franke & Nielson (1980), Int. J. Numer. Meth. Eng. 15, 1691-1704, doi:10.1002/nme.1620151110 (local weights).

    Examples
    --------
    >>> import numpy as np
    >>> from lsdeblur import psf
    >>> lens = psf.PSFGrid([psf.gaussian(1.0), psf.gaussian(2.0)], [(32, 10), (32, 50)])
    >>> lens
    PSFGrid(2 PSFs of 17 x 17 pixels, scattered)
    >>> bool(np.allclose(lens.at((32, 10)).sum(), 1))
    True
    """

    psfs: Array
    positions: Array
    axes: tuple[Array, ...] | None = None

    def __post_init__(self) -> None:
        parts = [np.asarray(h) for h in self.psfs]
        if not parts:
            raise ValueError("psfs is empty: a PSFGrid needs at least one PSF")
        where = as_float_array(self.positions, "positions", ndim=(2,)).astype(np.float64)
        ndim = where.shape[1]
        if len(parts) != len(where):
            raise ValueError(f"positions has {len(where)} rows for {len(parts)} psfs; give one position for each PSF")
        if len(np.unique(where, axis=0)) < len(where):
            raise ValueError("positions holds the same position twice: average the PSFs measured there")
        checked = [as_psf(h, ndim=ndim, name=f"psfs[{i}]")[0].astype(np.float64) for i, h in enumerate(parts)]
        object.__setattr__(self, "psfs", trim(_stacked(checked), ndim=ndim))
        object.__setattr__(self, "positions", where)
        if self.axes is not None:
            object.__setattr__(self, "axes", _checked_axes(self.axes, where))

    @classmethod
    def regular(
        cls, psfs: npt.ArrayLike, *, shape: Sequence[int] | None = None, axes: Sequence[npt.ArrayLike] | None = None
    ) -> PSFGrid:
        """PSFs (rows, columns, *size) on a regular grid.

        Parameters
        ----------
        psfs : array (rows, columns, *size)
            In three dimensions (planes, rows, columns, *size).
        shape : sequence of int
            Spatial shape of the blurred frame: the PSFs belong to the middles of rows x columns equal parts of it.
        axes : sequence of arrays
            Instead of `shape` the coordinates along every axis, increasing, in pixels.
        """
        h = as_float_array(psfs, "psfs")
        ndim, odd = divmod(h.ndim, 2)
        if odd or ndim == 0:
            raise ValueError(f"psfs has the shape {h.shape}: a regular grid needs (rows, columns, *size of one PSF)")
        counts = h.shape[:ndim]
        if (shape is None) == (axes is None):
            raise ValueError("pass exactly one of shape and axes: both say where the PSFs are")
        if shape is not None:
            sizes = check_size(shape, ndim, "shape")
            axes = [(np.arange(c) + 0.5) * n / c - 0.5 for c, n in zip(counts, sizes, strict=True)]
        assert axes is not None
        vectors = [as_float_array(a, f"axes[{i}]", ndim=(1,)).astype(np.float64) for i, a in enumerate(axes)]
        if tuple(map(len, vectors)) != counts:
            raise ValueError(f"axes have {tuple(map(len, vectors))} coordinates for psfs of {counts}: one each")
        return cls(h.reshape(-1, *h.shape[ndim:]), _products(vectors), tuple(vectors))

    def __repr__(self) -> str:
        size = " x ".join(map(str, self.size))
        kind = "scattered" if self.axes is None else "on a grid of " + " x ".join(str(len(a)) for a in self.axes)
        return f"PSFGrid({len(self.psfs)} PSFs of {size} pixels, {kind})"

    @property
    def ndim(self) -> int:
        """Number of spatial axes."""
        return int(self.positions.shape[1])

    @property
    def size(self) -> tuple[int, ...]:
        """Pixels per axis of every PSF."""
        return tuple(self.psfs.shape[1:])

    def at(self, position: npt.ArrayLike) -> Array:
        """The PSF at one position, interpolated."""
        point = as_float_array(position, "position", ndim=(1,)).astype(np.float64)
        if len(point) != self.ndim:
            raise ValueError(f"position must be {self.ndim} numbers, not {position!r}")
        h = np.zeros(self.size)
        for k, (_, w) in self.boxes([p[np.newaxis] for p in point]):
            h += w.item() * self.psfs[k]
        return h

    def boxes(self, coordinates: Sequence[Array]) -> Iterator[tuple[int, Box]]:
        """Number of every PSF that has a weight on a lattice, the first pixel of its box there, and the weights in it.

        `coordinates` are those of the lattice along each axis, increasing, in pixels of the blurred frame.
        """
        return self._scattered(coordinates) if self.axes is None else self._regular(coordinates)

    def _regular(self, coordinates: Sequence[Array]) -> Iterator[tuple[int, Box]]:
        assert self.axes is not None
        hats = [_hats(x, at) for x, at in zip(coordinates, self.axes, strict=True)]
        used = [
            [(i, int(u[0]), w[u[0] : u[-1] + 1]) for i, w in enumerate(h) if len(u := np.flatnonzero(w))] for h in hats
        ]
        counts = tuple(map(len, self.axes))
        for parts in product(*used):
            index, first, weights = zip(*parts, strict=True)
            yield int(np.ravel_multi_index(index, counts)), (first, reduce(np.multiply.outer, weights))

    def _scattered(self, coordinates: Sequence[Array]) -> Iterator[tuple[int, Box]]:
        from scipy.spatial import cKDTree

        shape = tuple(map(len, coordinates))
        n = min(_NEIGHBOURS + 1, len(self.positions))
        distance, which = cKDTree(self.positions).query(_products(coordinates), k=range(1, n + 1))
        reach = distance[:, -1:] if n > _NEIGHBOURS else np.inf
        weights = (1 / np.maximum(distance, 1e-9) - 1 / np.maximum(reach, 1e-9)) ** 2
        total = weights.sum(axis=1, keepdims=True)
        weights = np.divide(weights, total, out=np.zeros_like(weights), where=total > 0)
        weights[total[:, 0] == 0, 0] = 1.0  # more than six nearest ones
        pixel = np.repeat(np.arange(len(which)), n)
        order = np.argsort(which, axis=None, kind="stable")
        ends = np.cumsum(np.bincount(which.ravel(), minlength=len(self.positions)))
        for k, members in enumerate(np.split(order, ends[:-1])):
            w = weights.ravel()[members]
            at = np.stack(np.unravel_index(pixel[members[w > 0]], shape))
            if at.size:
                first = at.min(axis=1)
                box = np.zeros(at.max(axis=1) - first + 1)
                box[tuple(at - first[:, np.newaxis])] = w[w > 0]
                yield k, (tuple(map(int, first)), box)


def motion_field(length_map: npt.ArrayLike, angle_map: npt.ArrayLike, *, tol: float = 0.02) -> PSFGrid:
    """Motion blur of a length and an angle for each pixel: `motion` between the PSFs of a regular grid.

    Parameters
    ----------
    length_map : array (rows, columns), pixels, each at least 1.
    angle_map : array of that shape, degrees, counter-clockwise on screen.
    tol : bound on the error of the interpolation, see Notes.

    Returns
    -------
    PSFGrid

    Raises
    ------
    TypeError, ValueError : a map is no array of numbers, they differ in shape, or a length is below 1.

    Notes
    -----
    The PSFs stand so close together that interpolating between them changes the blurred image by `tol` at the most: its
    rms change over the frame, relative to the standard deviation of the scene, for scenes with the power spectrum
    ``1 / |w|^2`` of photographs, measured in the middles between the PSFs, where it is the largest. They are never
    closer than 8 pixels; where the map changes faster, an `LsdeblurWarning` says by how much the bound is missed.

    Examples
    --------
    >>> import numpy as np
    >>> from lsdeblur import psf
    >>> psf.motion_field(np.full((60, 80), 9.0), np.linspace(0, 20, 80) * np.ones((60, 1)))
    PSFGrid(99 PSFs of 5 x 9 pixels, on a grid of 9 x 11)
    """
    lengths, angles = (
        as_float_array(a, n, ndim=(2,)) for a, n in ((length_map, "length_map"), (angle_map, "angle_map"))
    )
    check_same_shape(lengths, angles, "length_map", "angle_map")
    if lengths.min() < 1:
        raise ValueError(f"length_map must be at least 1 pixel everywhere, not {lengths.min():g}: 1 is no blur")
    return _modelled(lambda y, x: motion(lengths[y, x], angles[y, x]), lengths.shape, tol, "motion_field")


def defocus_map(radius_map: npt.ArrayLike, *, tol: float = 0.02) -> PSFGrid:
    """Defocus of a radius for each pixel, as of a scene in depth: `disk` between the PSFs of a regular grid.

    Parameters
    ----------
    radius_map : array (rows, columns), pixels, none negative.
    tol : bound on the error of the interpolation, as in `motion_field`.

    Returns
    -------
    PSFGrid

    Raises
    ------
    TypeError, ValueError : the map is no array of numbers, or a radius is negative.

    Notes
    -----
    Every point is spread by the disk of its own depth. What a near object hides is not modelled.
    """
    radii = as_float_array(radius_map, "radius_map", ndim=(2,))
    if radii.min() < 0:
        raise ValueError(f"radius_map must not be negative: {radii.min():g}")
    return _modelled(lambda y, x: disk(radii[y, x]), radii.shape, tol, "defocus_map")


def rotation(
    angle: float, center: Sequence[float] | None = None, *, shape: Sequence[int], tol: float = 0.02
) -> PSFGrid:
    """A camera that turns about the optical axis during the exposure: every point draws an arc.

    The point y is spread evenly over ``c + R(t) (y - c)``, ``-angle / 2 <= t <= angle / 2``, with the rotation R.

    Parameters
    ----------
    angle : degrees, the whole turn, > 0 and at most 90; its sign would make no difference.
    center : (row, column) of the centre c, in pixels of the blurred frame; by default the frame's middle.
    shape : (rows, columns) of the blurred frame.
    tol : bound on the error of the interpolation, as in `motion_field`.

    Returns
    -------
    PSFGrid

    Raises
    ------
    TypeError, ValueError : `angle` is not a number between 0 and 90, or `center` is no position.

    Examples
    --------
    >>> from lsdeblur import psf
    >>> h = psf.rotation(3.0, shape=(240, 320))
    >>> bool(h.at((119.5, 159.5)).max() > 0.9), bool(h.at((0, 0)).max() < 0.2)
    (True, True)
    """
    turn = math.radians(check_positive(angle, "angle"))
    if turn > math.pi / 2:
        raise ValueError(f"angle must be at most 90 degrees, not {angle:g}")
    frame = check_size(shape, 2, "shape")
    middle = [(n - 1) / 2 for n in frame] if center is None else center
    c = as_float_array(middle, "center", ndim=(1,)).astype(np.float64)
    if len(c) != 2:
        raise ValueError(f"center must be a row and a column, not {center!r}")

    def arc(y: int, x: int) -> Array:
        v, u = y - c[0], x - c[1]
        sides = 2 * math.ceil(turn * math.hypot(v, u) / 8) + 2  # even: the middle of the arc is a corner
        t = np.linspace(-turn / 2, turn / 2, sides + 1)
        path = np.stack([v * np.cos(t) - u * np.sin(t) - v, v * np.sin(t) + u * np.cos(t) - u], axis=1)
        return _draw(path, tuple(_extent(float(e)) for e in np.abs(path).max(axis=0)))

    return _modelled(arc, frame, tol, "rotation")


def _modelled(make: Callable[[int, int], Array], shape: tuple[int, ...], tol: float, name: str) -> PSFGrid:
    """PSFs of the model `make` (row, column) on a regular grid that is made finer until `tol` is kept."""
    limit = check_positive(tol, "tol")
    known: dict[tuple[int, ...], Array] = {}

    def psf_at(index: tuple[int, ...]) -> Array:
        if index not in known:
            known[index] = make(*index)
        return known[index]

    pitch = 64
    while True:
        axes = [np.unique(np.rint(np.linspace(0, n - 1, -(-(n - 1) // pitch) + 1)).astype(int)) for n in shape]
        nodes = _stacked([psf_at(tuple(index)) for index in _products(axes)])
        grid = PSFGrid.regular(nodes.reshape(*map(len, axes), *nodes.shape[1:]), axes=axes)
        error = math.sqrt(np.mean([_difference(psf_at(m), grid.at(m)) ** 2 for m in _middles(axes)]))
        if error <= limit or pitch <= _FINEST:
            break
        pitch //= 2
    if error > limit:
        warnings.warn(
            f"{name}: the blur changes so fast that PSFs {pitch} pixels apart miss it by {error:.2g} of the scene's "
            f"contrast, more than tol={limit:g}; smooth the map, or accept it with a larger tol",
            LsdeblurWarning,
            stacklevel=3,
        )
    return grid


def _middles(axes: Sequence[Array]) -> list[tuple[int, ...]]:
    """Pixels in the middle between positions along one axis or along all, a sample of them where they are many."""
    halves = [np.unique((a[1:] + a[:-1]) // 2) if len(a) > 1 else a for a in axes]
    lattices = [halves, *([*axes[:i], halves[i], *axes[i + 1 :]] for i in range(len(axes)))]
    places = sorted({tuple(map(int, p)) for lattice in lattices for p in _products(lattice)})
    rng = np.random.default_rng(0)
    few = rng.choice(len(places), min(_SAMPLES, len(places)), replace=False)
    return [places[i] for i in np.sort(few)]


def _difference(a: Array, b: Array) -> float:
    """Rms difference of scenes blurred by two PSFs, relative to the scenes' deviation, for the power ``1 / |w|^2``."""
    grid = tuple(max(64, *(2 * m for m in s)) for s in zip(a.shape, b.shape, strict=True))
    pair = _stacked([a, b])
    D = rfftn(np.pad(pair[0] - pair[1], [(0, n - s) for n, s in zip(grid, pair.shape[1:], strict=True)]), 2)
    w2 = np.sum([w**2 for w in np.meshgrid(*half_frequencies(grid), indexing="ij")], axis=0)
    w2[0, 0] = np.inf
    return float(np.sqrt(np.sum(np.abs(D) ** 2 / w2) / np.sum(1 / w2)))


def _hats(x: Array, at: Array) -> Array:
    """Weights (positions, coordinates) of linear interpolation, constant beyond the ends."""
    inside = np.clip(np.asarray(x, np.float64), at[0], at[-1])
    return np.stack([np.interp(inside, at, unit) for unit in np.eye(len(at))])


def _products(vectors: Sequence[Array]) -> Array:
    return np.stack([a.ravel() for a in np.meshgrid(*vectors, indexing="ij")], axis=-1)


def _stacked(psfs: Sequence[Array]) -> Array:
    """PSFs of different sizes in one array, their centres together."""
    if len({h.shape for h in psfs}) == 1:
        return np.stack(psfs)
    shape = tuple(2 * max(s // 2 for s in sizes) + 1 for sizes in zip(*(h.shape for h in psfs), strict=True))
    return np.stack([_window(h, tuple(s // 2 for s in h.shape), shape) for h in psfs])


def _checked_axes(axes: Sequence[Array], positions: Array) -> tuple[Array, ...]:
    vectors = tuple(np.asarray(a, np.float64) for a in axes)
    if any(np.any(np.diff(a) <= 0) for a in vectors):
        raise ValueError("axes must increase: sort the positions and their PSFs")
    if not np.array_equal(_products(vectors), positions):
        raise ValueError("positions must be the products of axes in C order; PSFGrid.regular(psfs, axes=) makes them")
    return vectors
