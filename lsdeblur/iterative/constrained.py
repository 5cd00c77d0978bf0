"""Tikhonov's least squares within bounds: positive images, or values between black and white."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lsdeblur._kernels import written_out
from lsdeblur._methods import Problem, Solution
from lsdeblur._validate import check_positive, check_size
from lsdeblur.iterative._observed import Observed
from lsdeblur.iterative._splitting import Bounds, Box, Channel, check_bounds, run
from lsdeblur.iterative._start import Start
from lsdeblur.spectrum import Penalty, symbol

__all__ = ["constrained"]

#: penalty parameters of the copies of the blurred scene and of the scene: the fastest tried for noise of 0.1 to 2 %
_DATA_PENALTY, _BOX_PENALTY = 0.1, 0.02


def constrained(
    problem: Problem,
    *,
    bounds: Bounds = (0.0, None),
    lam: float | str = "auto",
    penalty: Penalty = "laplacian+gradient",
    tau: float = 0.1,
    tol: float = 1e-3,
    max_iter: int = 500,
) -> Solution:
    """Tikhonov's least squares within bounds: ``||M (h * f) - g||^2 + lam <f, P f>`` is least among low <= f <= high.

    M keeps the measured pixels. The bounds hold beyond the frame, too; where dark regions lie at the lower one they
    bring back frequencies that the blur has erased.

    Parameters
    ----------
    problem : Problem
    bounds : (low, high)
        Bounds of the image's values; None in place of one of them for none. Positive values by default.
    lam, penalty, tau
        As in `direct.tikhonov`: the same lam has the same meaning, and a rule's name or "auto" chooses the one of the
        problem without bounds.
    tol : float > 0
        Iterations end when one changes the image by less than this part of its standard deviation (root mean square).
    max_iter : int >= 1
        And after so many at the latest, with a `ConvergenceWarning`.

    Returns
    -------
    Solution

    Raises
    ------
    ValueError
        Bounds that are no interval; `lam` negative or unknown; `tol` not positive.
    ParameterChoiceError
        The rule that was asked for has no answer.

    Notes
    -----
    Splitting (`lsdeblur.iterative._splitting`): two forward and two inverse real FFTs an iteration, half of them with
    a periodic boundary. The noise is taken for white, but lam is chosen as `direct.tikhonov` does.
    """
    low, high = check_bounds(bounds)
    least = check_positive(tol, "tol")
    limit = check_size(max_iter, 1, "max_iter")[0]
    start = Start.of(problem, lam=lam, penalty=penalty, tau=tau)
    found = start.solution
    assert found.lam is not None
    spread = float(np.std(found.image, dtype=np.float64))
    if spread == 0 or found.lam == 0:
        return replace(found, image=np.clip(found.image, low, high), message=f"{found.message}; clipped")
    channels = []
    for seen, scene in zip(Observed.all_of(problem), start.scene, strict=True):
        P = written_out(symbol(penalty, seen.grid, tau=tau, spacing=problem.spacing, dtype=scene.dtype))
        quadratic = scene.dtype.type(found.lam) * P
        box = Box(low, high, _BOX_PENALTY * start.gain**2)
        channels.append(Channel(seen, scene, [box], mu=_DATA_PENALTY, quadratic=quadratic))
    n_iter, converged = run(problem, channels, least * spread, limit)
    image = np.stack([np.clip(channel.seen.frame(channel.scene), low, high) for channel in channels])
    ending = f"; {n_iter} iterations" + ("" if converged else ", not converged")
    beyond = float(np.mean((problem.image < low) | (problem.image > high)))
    message = found.message + ending + (f"; {beyond:.1%} of the data lie outside the bounds" if beyond else "")
    return replace(found, image=image, sensitivity=None, n_iter=n_iter, converged=converged, message=message)
