"""Gains: what multiplies the data's spectrum to give the restored one. Pure formulas, written with operators only.

`H` is the transfer function on the half spectrum, `P` the penalty's symbol, `Y` the data's spectrum: the restored
spectrum is ``G * Y``. Arrays may come from any library whose arrays know ``*``, ``/``, ``.conj()`` and ``.real``.
"""

from __future__ import annotations

from typing import Any

__all__ = ["inverse", "power", "tikhonov", "tikhonov_rest", "wiener", "wiener_rest"]


def power(H: Any) -> Any:
    """``|H|^2`` as a real array."""
    return H.real * H.real + H.imag * H.imag


def inverse(H: Any, threshold: float) -> Any:
    """Truncated inverse, ``G = conj(H) / |H|^2`` where ``|H| > threshold`` and 0 elsewhere.

    With ``threshold = 0`` the plain inverse; only exact zeros of H give 0.
    """
    A = power(H)
    kept = threshold * threshold < A
    return H.conj() * kept / (A + ~kept)  # the denominator is 1 or more where nothing is kept: no division by zero


def wiener(H: Any, noise: Any, signal: Any) -> Any:
    """Wiener's filter, ``G = conj(H) S / (|H|^2 S + N)``, for the power spectra N of noise and S of signal.

    The ratio of the two is all that counts; ``wiener(H, nsr, 1)`` is the one with a constant ratio.
    Source: N. Wiener (1949); in this form Gonzalez & Woods, Digital Image Processing, 3rd ed. (2008), eq. 5.8-2.
    """
    return H.conj() * signal / (power(H) * signal + noise)


def tikhonov(H: Any, P: Any, lam: float) -> Any:
    """Tikhonov's least-squares filter, ``G = conj(H) / (|H|^2 + lam P)``.

    It minimises ``||h * f - g||^2 + lam <f, P f>`` on a periodic grid. Source: B. R. Hunt (1973), IEEE Trans.
    Comput. C-22, 805-812, doi:10.1109/TC.1973.5009169 (there with gamma = lam).
    """
    return H.conj() / (power(H) + lam * P)


def tikhonov_rest(H: Any, P: Any, lam: float) -> Any:
    """What Tikhonov's filter leaves of the data, ``Q = 1 - H G = lam P / (|H|^2 + lam P)``."""
    return lam * P / (power(H) + lam * P)


def wiener_rest(H: Any, noise: Any, signal: Any) -> Any:
    """Inverse of the data spectrum, ``Q = 1 / (|H|^2 S + N)``: for white noise what Wiener leaves of them, over N."""
    return 1 / (power(H) * signal + noise)
