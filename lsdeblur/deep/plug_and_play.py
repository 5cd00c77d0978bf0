"""draft"""

from __future__ import annotations
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
import numpy as np
from lsdeblur import _fft, filters
from lsdeblur._gains import least_squares
from lsdeblur._kernels import product, written_out
from lsdeblur._methods import Problem, Solution
from lsdeblur._stage import Stage
from lsdeblur.boundary import crop
from lsdeblur.iterative._start import Start
from lsdeblur.spectrum import hermitian_weights


def expected_error(stage, lam, sigma, colour):
    """rms error of Tikhonov expected by its own model: sqrt mean sigma^2 c/(|H|^2 + lam P c), without frequency zero"""
    P = written_out(stage.penalty("laplacian+gradient"))
    out = []
    for H in stage.H:
        c = 1.0 if stage.colour is None else stage.colour
        v = c / (filters.power(H) + lam * P * c)
        w = np.broadcast_to(hermitian_weights(stage.grid), v.shape).copy()
        w[(0,) * w.ndim] = 0
        out.append(sigma * math.sqrt(float(np.average(v, weights=w))))
    return out


def pnp(
    problem: Problem, *, denoiser=None, noise_std=None, iterations=8, c=0.5, first=None, last=1.0, a=1.0, trace=None
):
    if denoiser is None:
        from lsdeblur.deep.denoiser import denoise as denoiser
    start = Start.of(problem, noise_std)
    found, sigma = start.solution, start.noise_std
    stage = Stage.of(problem, 3e-5, 50).coloured(found.noise_width, found.noise_floor)
    e = expected_error(stage, found.lam, sigma, None)[0]
    s0 = max(a * e, last * sigma) if first is None else first
    levels = np.geomspace(s0, last * sigma / start.gain, iterations)
    x = start.scene
    data = problem.image
    ext = None if stage.free or stage.mask is not None else stage.extend(data)
    one = stage.penalty("identity")
    for k, s in enumerate(levels):
        rho = c * sigma**2 / s**2
        G, rest = least_squares(stage, one, rho)
        F = stage.transform(x)
        F *= stage.H
        B = _fft.irfftn(F, stage.grid, stage.workers)
        if ext is None:
            r = data - crop(B, stage.shape)
            Y = stage.transform(stage.extend(r))
            fwd = stage.settled(Y, stage.systems(rest))
            Y = fwd.spectrum
        else:
            Y = stage.transform(ext - B)
        for i, y in enumerate(Y):
            product(y, G[i % len(G)], workers=stage.workers)
        z = x + _fft.irfftn(Y, stage.grid, stage.workers)
        x = np.stack([denoiser(f, float(s)) for f in z])
        if trace is not None:
            trace(k, s, rho, crop(z, stage.shape), crop(x, stage.shape))
    return Solution(
        np.ascontiguousarray(crop(x, stage.shape)),
        noise_std=sigma,
        n_iter=len(levels),
        message=f"e={e:.4g} s0={s0:.4g}",
    )
