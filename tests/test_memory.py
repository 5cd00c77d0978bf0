"""Peak memory beyond input and output, in images: no hidden copies, and none in another precision."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
import reference
from reference import Array

from lsdeblur import plan, psf, restore

SHAPE = (1080, 1000)  # large enough for the compiled loops
#: boundary -> bounds for a plan and for restore with a given lambda
BOUNDS = {"periodic": (1.1, 2.1), "taper": (1.7, 2.9)}


def peak(run: Callable[[], object], image: Array) -> float:
    run()  # compiles, imports
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        run()
        return (tracemalloc.get_traced_memory()[1] - before) / image.nbytes - 1
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("boundary", BOUNDS)
def test_peak(boundary: str, dtype: type) -> None:
    """Periodic: the data's spectrum and the transfer function, an image each, and nothing for the penalty.

    A padded boundary adds the extended image, or some of the restored rows beyond the frame. A copy of float32 data in
    float64 would count two images more.
    """
    g, h = reference.image(SHAPE, dtype=dtype), psf.motion(9, 30)
    sharpen = plan(h, SHAPE, lam=1e-3, boundary=boundary, dtype=dtype)
    planned, restored = BOUNDS[boundary]
    assert peak(lambda: sharpen(g), g) < planned
    assert peak(lambda: restore(g, h, lam=1e-3, boundary=boundary), g) < restored
