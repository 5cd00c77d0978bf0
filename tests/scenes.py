"""Scenes to blur in tests: edges and flat areas, as in photographs."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def leaves(shape: tuple[int, int], seed: int = 0, count: int = 900) -> npt.NDArray[Any]:
    """Opaque disks of all sizes and greys, one before the other ("dead leaves"): spectra and edges of photographs."""
    rng = np.random.default_rng(seed)
    rows, columns = np.indices(shape, sparse=True)
    image = np.full(shape, 0.5)
    for radius in 3 / np.sqrt(rng.uniform(3.0 / max(shape), 1, count)) ** 1.3:
        y, x = rng.uniform(0, shape[0]), rng.uniform(0, shape[1])
        image[(rows - y) ** 2 + (columns - x) ** 2 < radius**2] = rng.random()
    return image
