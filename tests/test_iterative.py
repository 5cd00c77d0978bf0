"""The observation that iterative methods work with."""

from __future__ import annotations

import numpy as np
import pytest
import reference

from lsdeblur import Problem
from lsdeblur.boundary import BOUNDARIES
from lsdeblur.iterative._observed import Observed


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("shape", [(12, 13), (5, 6, 7)])
def test_blur_and_its_adjoint(boundary: str, masked: bool, shape: tuple[int, ...]) -> None:
    """``<A f, g> = <f, A^T g>``, and inside the frame A is the blur."""
    rng = np.random.default_rng(0)
    h = reference.psf((3, 4, 2)[: len(shape)])
    mask = rng.random(shape) < 0.1 if masked else None
    problem = Problem(rng.random((2, *shape)), h[np.newaxis], boundary, (1.0,) * len(shape), mask=mask)
    for seen, image in zip(Observed.all_of(problem), problem.image, strict=True):
        f, g = rng.random(seen.grid), rng.random(seen.grid)
        assert np.vdot(seen.blur(f), g) == pytest.approx(np.vdot(f, seen.adjoint(g)), rel=1e-12)
        there = np.ones(shape, bool) if mask is None else ~mask
        np.testing.assert_array_equal(seen.frame(seen.data)[there], image[there])
        expected = reference.blur(f, h, "periodic")
        np.testing.assert_allclose(seen.frame(seen.blur(f))[there], seen.frame(expected)[there], rtol=0, atol=1e-12)
        if seen.measured is not None:
            assert not seen.blur(f)[~seen.measured].any()
            assert seen.n_measured == np.count_nonzero(there)
