"""Total variation: images of smooth regions with sharp edges."""

from __future__ import annotations

from lsdeblur._methods import Problem, Solution
from lsdeblur.iterative._gradient import sparse_gradients
from lsdeblur.iterative._splitting import Bounds

__all__ = ["total_variation"]


def total_variation(
    problem: Problem,
    *,
    lam: float | str = "auto",
    bounds: Bounds = None,
    noise_std: float | None = None,
    tol: float = 5e-3,
    max_iter: int = 300,
) -> Solution:
    """Total variation, the minimiser of ``1/2 ||M (h * f) - g||^2 + lam TV(f)``, ``TV(f) = sum |grad f|``.

    M keeps the measured pixels; the gradient vectors of forward differences have one component an axis (isotropic total
    variation), over the pixels' spacing. It keeps edges that a quadratic penalty rings at, and flattens faint texture.

    Parameters
    ----------
    problem : Problem
    lam : float > 0 or "auto"
        Regularisation strength in the units of ``g^2 / f``, common to all channels. "auto" takes
        ``lam = 0.9 d sigma^2 F / mean |grad f|`` with the number of axes d and, from Tikhonov's solution with automatic
        lambda, the noise level sigma, the degrees of freedom per pixel F and the mean gradient (see Notes). Where noise
        is correlated, ``sigma^2 F`` is the mean of its power times what each frequency adds to F.
    bounds : (low, high), optional
        Bounds of the image's values; None in place of one of them for none. ``(0, None)`` asks for positive values.
    noise_std : float > 0, optional
        Standard deviation of the noise; by default what Tikhonov's solution says.
    tol : float > 0
        Iterations end when one changes the image by less than this part of its mean gradient (root mean square).
    max_iter : int >= 1
        And after so many at the latest, with a `ConvergenceWarning`.

    Returns
    -------
    Solution

    Raises
    ------
    ValueError
        `lam`, `tol` or `noise_std` not positive; bounds that are no interval.

    Notes
    -----
    The rule for lam is MacKay's evidence rule with the density ``exp(-a |v|)`` in place of a Gaussian one, taken at
    Tikhonov's solution. Against the best lam in hindsight it lost 0.07 dB at the median and 0.16 dB in the
    mean of 84 cases (7 scenes of 240 x 240 pixels, 4 blurs, 3 noise levels), which gained 1.5 dB over Tikhonov's in the
    mean (smooth, textured scenes lose up to 0.9 dB). Every iteration costs
    two forward and two inverse real FFTs and some passes over the image (half of the FFTs where every pixel of the grid
    is measured, as with ``boundary="periodic"``); some 20 to 80 iterations. Memory: some 16 images.

    References
    ----------
    Rudin, Osher & Fatemi (1992), Physica D 60, 259-268, doi:10.1016/0167-2789(92)90242-F;
    Almeida & Figueiredo (2013), IEEE Trans. Image Process. 22, 3074-3086,
    doi:10.1109/TIP.2013.2258354 (unknown boundaries by mask decoupling).
    """
    return sparse_gradients(problem, 1.0, lam, bounds, noise_std, tol, max_iter)
