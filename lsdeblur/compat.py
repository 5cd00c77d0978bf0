"""scikit-image's deconvolution functions by this library's parts: the same signatures, arrays and answers.

    from lsdeblur.compat import wiener, unsupervised_wiener, richardson_lucy

stands in for the import from ``skimage.restoration``. They are there to move a program step by step; on cropped, noisy
images `lsdeblur.restore` does better, and the last line of each docstring says how. `docs/conversions.md` has tables.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from lsdeblur import _fft, filters
from lsdeblur._validate import as_float_array, check_finite, check_fits, check_non_negative
from lsdeblur.spectrum import penalty_symbol, transfer_function

__all__ = ["richardson_lucy", "unsupervised_wiener", "wiener"]

Array = npt.NDArray[Any]

_GIBBS: Mapping[str, Any] = {
    "threshold": 1e-4,
    "max_num_iter": 200,
    "min_num_iter": 30,
    "burnin": 15,
    "callback": None,
}
_DARK = 1e-12  # what Richardson-Lucy adds to the blurred estimate, as scikit-image does


def wiener(
    image: npt.ArrayLike,
    psf: npt.ArrayLike,
    balance: float,
    reg: npt.ArrayLike | None = None,
    is_real: bool = True,
    clip: bool = True,
) -> Array:
    """Wiener-Hunt deconvolution of a periodic image, ``F = conj(H) Y / (|H|^2 + balance |R|^2)``.

    Parameters
    ----------
    image : array
        Blurred image Y of any number of axes.
    psf : array
        Real: the PSF, its centre at pixel ``s // 2``. Complex: its transfer function H.
    balance : float >= 0
        Weight of the penalty.
    reg : array, optional
        Operator R, real (its centre at ``s // 2``) or complex like `psf`; the Laplacian by default.
    is_real : bool
        Whether transfer functions are half spectra, (N1, ..., Nd // 2 + 1). False: whole ones, of the image's shape;
        the result is complex then.
    clip : bool
        Limit the result to [-1, 1].

    Returns
    -------
    array of the image's shape
        float32 for float32 and float16 images, float64 for others; complex64 or complex128 with ``is_real=False``.

    Raises
    ------
    TypeError
        A complex image.
    ValueError
        NaN, a PSF larger than the image, a transfer function of another shape, a frequency that neither passes the PSF
        nor is penalised.

    Notes
    -----
    Differs from scikit-image 0.26 on purpose: a complex transfer function keeps its imaginary part, and so does that of
    an operator that is not symmetric (there only the real part is used); a real PSF is a PSF even if its shape is that
    of the half spectrum. Costs two FFTs, on all processors.

    References
    ----------
    Hunt (1973), doi:10.1109/TC.1973.5009169; Orieux, Giovannelli & Rodet (2010), doi:10.1364/JOSAA.27.001593.

    Examples
    --------
    >>> import numpy as np
    >>> wiener(np.eye(4), np.ones((1, 1)), balance=0.0).round(6).tolist() == np.eye(4).tolist()
    True

    The better way, with unknown borders instead of periodic ones and the strength chosen: ``restore(image, psf)``.
    """
    g = _image(image)
    H = _transfer(psf, "psf", g, is_real)
    P = _penalty(reg, g, is_real)
    whole = filters.power(H) + check_non_negative(balance, "balance") * P
    _check_determined(whole)
    F = _spectrum(g, is_real)
    F *= H.conj()
    F /= whole
    return _clipped(_inverse(F, g.shape, is_real), clip)


def unsupervised_wiener(
    image: npt.ArrayLike,
    psf: npt.ArrayLike,
    reg: npt.ArrayLike | None = None,
    user_params: Mapping[str, Any] | None = None,
    is_real: bool = True,
    clip: bool = True,
    *,
    rng: np.random.Generator | int | None = None,
) -> tuple[Array, dict[str, list[float]]]:
    """Wiener-Hunt deconvolution that draws its two strengths: the posterior mean by a Gibbs sampler.

    Each round draws the image's spectrum, of mean ``gn conj(H) Y / (gn |H|^2 + gx |R|^2)`` and of the inverse of that
    denominator as variance, then the precisions gn of the noise and gx of ``R f`` from their gamma distributions.

    Parameters
    ----------
    image : array (M, N)
    psf, reg, is_real, clip
        As in `wiener`.
    user_params : mapping, optional
        "threshold" (1e-4), the change of the mean at which it ends; "burnin" (15), rounds that do not count;
        "min_num_iter" (30) and "max_num_iter" (200), rounds at least and at most; "callback" (None), a function that
        gets each sample's spectrum.
    rng : int, numpy.random.Generator or None

    Returns
    -------
    image : array (M, N)
        As from `wiener`.
    chains : dict
        "noise" and "prior": lists of the precisions that were drawn; both begin with 1.

    Raises
    ------
    TypeError, ValueError
        As `wiener`; an unknown key of `user_params`; "max_num_iter" that leaves no round after the burn-in.

    Notes
    -----
    The random numbers are drawn in scikit-image's order, so that the same seed gives the same chains up to rounding
    (and the last column of even widths counts twice in the norms, as there). Other chains come only where scikit-image
    mistakes a spectrum's kind by its shape, when a half spectrum is square or a whole one is not, and for the transfer
    functions that `wiener` names. Costs two normal numbers a frequency and round, and no FFTs but the first and last.

    References
    ----------
    Orieux, Giovannelli & Rodet (2010), doi:10.1364/JOSAA.27.001593, eq. 27 to 31 and 44.

    Examples
    --------
    >>> import numpy as np
    >>> image = np.random.default_rng(0).standard_normal((16, 16))
    >>> restored, chains = unsupervised_wiener(image, np.ones((3, 3)) / 9, rng=0)
    >>> restored.shape, chains["noise"][0]
    ((16, 16), 1.0)

    The better way, with borders as they are and both strengths computed: ``restore(image, psf, lam="evidence")``.
    """
    g = _image(image, ndim=(2,))
    H = _transfer(psf, "psf", g, is_real)
    P = _penalty(reg, g, is_real)
    _check_determined(filters.power(H) + P)
    Y = _spectrum(g, is_real) / math.sqrt(g.size)  # unitary, as are the samples
    weights = np.full(H.shape[-1], 2.0 if is_real else 1.0, g.dtype)
    weights[0] = 1
    mean, chains = _gibbs(Y, H, P, weights, g.size, _parameters(user_params), np.random.default_rng(rng))
    f = _inverse(mean * math.sqrt(g.size), g.shape, is_real)
    return _clipped(f, clip), chains


def richardson_lucy(
    image: npt.ArrayLike,
    psf: npt.ArrayLike,
    num_iter: int = 50,
    clip: bool = True,
    filter_epsilon: float | None = None,
) -> Array:
    """Richardson-Lucy deconvolution of an image that is black outside, ``f <- f (h' * (g / (h * f + 1e-12)))``.

    It starts from 0.5 everywhere; h' is the PSF h mirrored.

    Parameters
    ----------
    image : array
        Blurred image g of any number of axes.
    psf : array
        As many axes; its centre is pixel ``(s - 1) // 2``, SciPy's for ``mode="same"``.
    num_iter : int >= 0
        Iterations.
    clip : bool
        Limit the result to [-1, 1].
    filter_epsilon : float, optional
        Where ``h * f`` is less, the quotient counts as 0.

    Returns
    -------
    array of the image's shape
        float32 for float32 and float16 images, float64 for others.

    Raises
    ------
    TypeError, ValueError
        A complex image, NaN, a PSF of other axes, a negative `num_iter`.

    Notes
    -----
    Four FFTs an iteration, on all processors; scikit-image takes six, or for small PSFs sums. Where neither image nor
    PSF is negative, ``h * f`` is at least its own rounding error, the dtype's eps times its maximum: it may not become
    negative, and the quotient not arbitrarily large.
    As in scikit-image, h' has the centre of h and not its mirror image, so that for even sizes it is not the adjoint of
    h and the iteration does not climb the likelihood: give the PSF an odd size.

    References
    ----------
    Richardson (1972), doi:10.1364/JOSA.62.000055; Lucy (1974), doi:10.1086/111605.

    Examples
    --------
    >>> import numpy as np
    >>> richardson_lucy(np.full((4, 4), 0.25), np.ones((1, 1)), num_iter=1).round(6).tolist()[0]
    [0.25, 0.25, 0.25, 0.25]

    The better way, without a rim and stopped by itself: ``restore(image, psf, method="richardson-lucy")``.
    """
    g = _image(image)
    h = as_float_array(psf, "psf", ndim=[g.ndim]).astype(g.dtype)
    rounds = operator.index(num_iter)
    if rounds < 0:
        raise ValueError(f"num_iter must not be negative: {rounds}")
    faint = 0.0 if filter_epsilon is None else check_finite(filter_epsilon, "filter_epsilon")
    light = bool(g.min() >= 0 and h.min() >= 0)
    forward, backward = _blur(h, g.shape), _blur(np.flip(h), g.shape)
    f = np.full_like(g, 0.5)
    for _ in range(rounds):
        model = forward(f)
        if light:
            np.maximum(model, np.finfo(g.dtype).eps * model.max(), out=model)
        model += g.dtype.type(_DARK)
        quotient = np.divide(g, model, out=np.zeros_like(g), where=model >= faint) if faint else g / model
        f *= backward(quotient)
    return _clipped(f, clip)


def _image(image: npt.ArrayLike, ndim: tuple[int, ...] | None = None) -> Array:
    """The image in scikit-image's working dtype."""
    g = as_float_array(image, "image", ndim=ndim)
    return g if np.asarray(image).dtype in (np.float16, np.float32) else g.astype(np.float64, copy=False)


def _transfer(kernel: npt.ArrayLike, name: str, image: Array, is_real: bool) -> Array:
    """The transfer function of a real kernel, or a complex one that is one, in the image's precision."""
    shape, values = image.shape, np.asarray(kernel)
    if np.iscomplexobj(values):
        wanted = (*shape[:-1], shape[-1] // 2 + 1) if is_real else shape
        if values.shape != wanted:
            raise ValueError(
                f"{name} is complex, hence a transfer function, but its shape {values.shape} is not {wanted}: "
                f"pass the real {name}, or see is_real="
            )
        if not np.all(np.isfinite(values)):
            raise ValueError(f"{name} has values that are NaN or infinite: replace them")
        return values.astype(np.result_type(image, np.complex64), copy=False)
    h = as_float_array(values, name, ndim=[image.ndim])
    check_fits(h.shape, shape, name, "image", "crop it around its middle")
    H = transfer_function(h.astype(image.dtype, copy=False), shape)
    return H if is_real else _whole(H, shape)


def _penalty(reg: npt.ArrayLike | None, image: Array, is_real: bool) -> Array:
    """``|R|^2``, of the Laplacian by default."""
    if reg is not None:
        return filters.power(_transfer(reg, "reg", image, is_real))
    P = penalty_symbol("laplacian", image.shape, dtype=image.dtype)
    return P if is_real else _whole(P, image.shape)


def _check_determined(denominator: Array) -> None:
    """ValueError where a frequency is zero but for rounding, in the PSF and in the penalty."""
    if not np.min(denominator) > np.finfo(denominator.dtype).eps ** 2 * np.max(denominator):
        raise ValueError("psf erases a frequency that reg does not penalise (or balance is 0): change reg or balance")


def _whole(half: Array, shape: tuple[int, ...]) -> Array:
    """The whole spectrum of a real array from the half: ``X(-w) = conj(X(w))``."""
    n = shape[-1]
    mirrored = [-np.arange(m) % m for m in shape[:-1]]
    rest = half[np.ix_(*mirrored, n - np.arange(n // 2 + 1, n))]
    return np.concatenate([half, rest.conj()], axis=-1)


def _spectrum(image: Array, is_real: bool) -> Array:
    Y = _fft.rfftn(image, image.ndim)
    return Y if is_real else _whole(Y, image.shape)


def _inverse(spectrum: Array, shape: tuple[int, ...], is_real: bool) -> Array:
    if is_real:
        return _fft.irfftn(spectrum, shape)
    for axis in range(len(shape)):
        spectrum = np.moveaxis(_fft.ifft(np.moveaxis(spectrum, axis, 0), overwrite=False), 0, axis)
    return np.ascontiguousarray(spectrum)


def _clipped(image: Array, clip: bool) -> Array:
    return np.clip(image, -1, 1, out=image) if clip else image


def _parameters(given: Mapping[str, Any] | None) -> dict[str, Any]:
    """The sampler's parameters, checked."""
    if unknown := sorted(set(given or {}) - set(_GIBBS)):
        raise ValueError(f"user_params has no {unknown[0]!r}: its keys are {', '.join(_GIBBS)}")
    params = {**_GIBBS, **(given or {})}
    if params["max_num_iter"] < params["burnin"] + 2:
        raise ValueError(
            f"user_params: max_num_iter={params['max_num_iter']} leaves no sample after burnin={params['burnin']}: "
            f"raise it to {params['burnin'] + 2} or more"
        )
    return params


def _gibbs(
    Y: Array, H: Array, P: Array, weights: Array, size: int, params: dict[str, Any], rng: np.random.Generator
) -> tuple[Array, dict[str, list[float]]]:
    """The samples' mean and the chains; the equations are those of Orieux et al."""
    A, back, weighted, real = filters.power(H), H.conj() * Y, weights * P, P.dtype
    noise, prior = [1.0], [1.0]
    total = np.zeros_like(Y)
    for iteration in range(params["max_num_iter"]):
        variance = 1 / (noise[-1] * A + prior[-1] * P)  # eq. 29
        sample = np.empty_like(Y)
        sample.real = rng.standard_normal(Y.shape).astype(real, copy=False)  # in double, whatever the precision
        sample.imag = rng.standard_normal(Y.shape).astype(real, copy=False)
        sample *= np.sqrt(0.5 * variance)
        variance *= noise[-1]
        sample += variance * back  # eq. 30
        if params["callback"]:
            params["callback"](sample)
        misfit = float(np.sum(weights * filters.power(Y - H * sample), dtype=np.float64))
        noise.append(rng.gamma(size / 2, 2 / misfit))  # eq. 31
        rough = float(np.sum(weighted * filters.power(sample), dtype=np.float64))
        prior.append(rng.gamma((size - 1) / 2, 2 / rough))
        n = iteration - params["burnin"]
        if n > 0:
            total += sample
        if n > 1 and iteration > params["min_num_iter"] and _change(total, sample, n) < params["threshold"]:
            break
    return total / n, {"noise": noise, "prior": prior}  # eq. 44


def _change(total: Array, sample: Array, n: int) -> float:
    """How much the n-th sample changed the mean, ``sum |total_n / n - total_(n-1) / (n-1)| / (n sum |total_n|)``."""
    change = np.sum(np.abs(sample - total / n), dtype=np.float64) / (n - 1)
    return float(change / np.sum(np.abs(total), dtype=np.float64) / n)


def _blur(h: Array, shape: tuple[int, ...]) -> Callable[[Array], Array]:
    """Convolution with h of an image that is black outside, of the image's shape, centred as SciPy does."""
    h = np.pad(h, [(1 - s % 2, 0) for s in h.shape])  # odd-sized, the pixel (s - 1) // 2 of before in the middle
    grid = tuple(_fft.good_size(max(n + s // 2, s)) for n, s in zip(shape, h.shape, strict=True))
    H = transfer_function(h, grid)
    wide = np.zeros(grid, h.dtype)
    frame = tuple(slice(n) for n in shape)

    def blurred(image: Array) -> Array:
        wide[frame] = image
        return _fft.framed(H * _fft.rfftn(wide, wide.ndim), grid, shape)

    return blurred
