"""Tiles cover every pixel once, and windows of one shape surround them."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lsdeblur.tiling import tiles, window_shape

AXIS = st.tuples(st.integers(1, 40), st.integers(1, 45), st.integers(0, 20))  # pixels, tile, halo


@given(st.lists(AXIS, min_size=1, max_size=3))
def test_every_pixel_once_with_its_halo(axes: list[tuple[int, int, int]]) -> None:
    shape, tile, halo = zip(*axes, strict=True)
    parts = tiles(shape, tile, halo)
    count = np.zeros(shape, int)
    index = np.arange(count.size).reshape(shape)
    for part in parts:
        count[part.core] += 1
        window = index[part.window]
        assert window.shape == window_shape(shape, tile, halo)
        np.testing.assert_array_equal(window[part.inner], index[part.core])
        for core, around, n, h in zip(part.core, part.window, shape, halo, strict=True):
            assert around.start <= max(0, core.start - h)
            assert around.stop >= min(n, core.stop + h)
    assert np.all(count == 1)
