"""What networks are trained by: how far restored images are from sharp ones, as a number that has a gradient.

A loss takes two tensors (n, channels, rows, columns) of one shape, in units of the range (0 is black, 1 is white), and
returns a scalar tensor, the mean over everything. `weighted` makes one loss of several, by the names in `LOSSES` and
"perceptual"; `adversarial` and `discrimination` take the scores of a discriminator in place of images.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lsdeblur._validate import check_choice, check_non_negative
from lsdeblur.deep.weights import load_checkpoint

__all__ = [
    "DEFAULT",
    "LOSSES",
    "WITHOUT_VGG",
    "Perceptual",
    "adversarial",
    "discrimination",
    "frequency",
    "gradient",
    "l1",
    "l2",
    "similarity",
    "ssim",
    "weighted",
]

Loss = Callable[[Tensor, Tensor], Tensor]

_RADIUS, _SIGMA = 5, 1.5  # the Gaussian window of SSIM: 11 x 11 pixels
_GAN_KINDS = ("least-squares", "hinge")


def l1(restored: Tensor, sharp: Tensor) -> Tensor:
    """Mean absolute difference."""
    return _difference(restored, sharp).abs().mean()


def l2(restored: Tensor, sharp: Tensor) -> Tensor:
    """Mean squared difference; ``-10 log10`` of it is the PSNR of images in [0, 1]."""
    return _difference(restored, sharp).square().mean()


def similarity(restored: Tensor, sharp: Tensor) -> Tensor:
    """Structural similarity (SSIM) of images in [0, 1], the same as `lsdeblur.metrics.ssim`; 1 for equal ones.

    The mean, over channels and windows of 11 x 11 pixels within the frame, of

        (2 m_x m_y + C1) (2 c_xy + C2) / ((m_x^2 + m_y^2 + C1) (v_x + v_y + C2))

    with means m, variances v and covariance c weighted by a Gaussian of standard deviation 1.5 pixels, C1 = 0.01^2 and
    C2 = 0.03^2.

    Raises
    ------
    ValueError
        Different shapes, or images of fewer than 11 rows or columns.

    References
    ----------
    Wang, Bovik, Sheikh & Simoncelli (2004), IEEE Trans. Image Process. 13, 600-612, doi:10.1109/TIP.2003.819861,
    eq. 13.

    Examples
    --------
    >>> import torch
    >>> ramp = torch.linspace(0, 1, 400).reshape(1, 1, 20, 20)
    >>> f"{similarity(ramp, ramp):.3f} {similarity(0.5 * ramp, ramp):.3f}"
    '1.000 0.658'
    """
    _difference(restored, sharp)
    rows, columns = sharp.shape[-2:]
    if min(rows, columns) <= 2 * _RADIUS:
        raise ValueError(
            f"SSIM needs images of 11 x 11 pixels or more, not {rows} x {columns}: take larger crops, or l1"
        )
    t = torch.arange(-_RADIUS, _RADIUS + 1, dtype=sharp.dtype, device=sharp.device) / _SIGMA
    window = torch.softmax(-t.square() / 2, 0)
    x, y = (a.reshape(-1, 1, rows, columns) for a in (restored, sharp))
    moments = torch.cat([x, y, x * x, y * y, x * y])
    m_x, m_y, xx, yy, xy = F.conv2d(F.conv2d(moments, window.reshape(1, 1, -1, 1)), window.reshape(1, 1, 1, -1)).chunk(
        5
    )
    product, squares = m_x * m_y, m_x * m_x + m_y * m_y
    c1, c2 = 0.01**2, 0.03**2
    return ((2 * product + c1) * (2 * (xy - product) + c2) / ((squares + c1) * (xx + yy - squares + c2))).mean()


def ssim(restored: Tensor, sharp: Tensor) -> Tensor:
    """1 - SSIM, from 0 for equal images to 2; see `similarity`."""
    return 1 - similarity(restored, sharp)


def frequency(restored: Tensor, sharp: Tensor) -> Tensor:
    """Mean modulus of the difference of the orthonormal spectra, each pair of opposite frequencies taken once.

    White noise of standard deviation s costs 0.89 s, sqrt(pi) / 2, and 0.80 s, sqrt(2 / pi), by `l1`; a repeated
    pattern costs less than scattered errors do.

    References
    ----------
    Cho, Ji, Hong, Jung & Ko (2021), Rethinking coarse-to-fine approach in single image deblurring,
    doi:10.1109/ICCV48922.2021.00460 (the "multi-scale frequency reconstruction" loss, here on one scale).
    """
    return torch.fft.rfft2(_difference(restored, sharp), norm="ortho").abs().mean()


def gradient(restored: Tensor, sharp: Tensor) -> Tensor:
    """Mean absolute forward differences, along rows and columns, of the difference: its total variation per pixel.

    Blind to a change of brightness; strict where edges are soft or where there are ripples.
    """
    d = _difference(restored, sharp)
    return d.diff(dim=-1).abs().mean() + d.diff(dim=-2).abs().mean()


class Perceptual(nn.Module):
    """Relative difference of features of a network that was trained to recognise objects (VGG19).

    ``mean |phi(restored) - phi(sharp)| / mean |phi(sharp)|`` with the outputs phi of one of its convolutions. The
    division makes it independent of the layer's scale, so that it can be weighed against `l1`; the source has squares
    without it.

    Parameters
    ----------
    weights : path
        File of the network's weights, by the names they have in torchvision ("features.0.weight", ...): its
        "vgg19-dcbb9e9d.pth", or the same as .safetensors. It must be at hand: nothing is downloaded. What comes after
        `layer` is not needed. A .pth file is read without running any code in it.
    layer : str
        "conv1_1" to "conv5_4": which block, and which convolution in it.

    Raises
    ------
    ValueError
        No weights, a file of something else, an unknown layer.
    FileNotFoundError
        No such file.

    Notes
    -----
    Images (n, 1 or 3, rows, columns) in [0, 1]; grey is repeated, and all are brought to the mean and the standard
    deviation of the photographs that the network learned from. Rows and columns must be 16 or more, for every layer.
    The weights are constant: an optimiser must not be given them.

    References
    ----------
    Johnson, Alahi & Fei-Fei (2016), Perceptual losses for real-time style transfer and super-resolution,
    doi:10.1007/978-3-319-46475-6_43, eq. 2; the layer: Kupyn et al. (2018), doi:10.1109/CVPR.2018.00854; the network:
    Simonyan & Zisserman (2015), arXiv:1409.1556, table 1, column E.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, weights: str | os.PathLike[str], *, layer: str = "conv3_3") -> None:
        super().__init__()
        features = nn.Sequential(*_vgg19(layer))
        state, expected = _state(weights), features.state_dict(prefix="features.")
        for name, value in expected.items():
            if name not in state or state[name].shape != value.shape:
                raise ValueError(
                    f"weights={os.fspath(weights)!r} are not those of VGG19: {name} of shape {tuple(value.shape)} is "
                    "missing; save torchvision's: torch.save(vgg19(weights='IMAGENET1K_V1').state_dict(), path)"
                )
            value.copy_(state[name])
        self.features = features.requires_grad_(False).eval()
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).reshape(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).reshape(1, 3, 1, 1))

    def forward(self, restored: Tensor, sharp: Tensor) -> Tensor:
        _difference(restored, sharp)
        self.to(sharp.device, sharp.dtype)
        with torch.no_grad():
            target = self._phi(sharp)
        return (self._phi(restored) - target).abs().mean() / target.abs().mean()

    def _phi(self, image: Tensor) -> Tensor:
        colours = image.expand(-1, 3, -1, -1)  # of one channel, three
        return self.features((colours - self.mean) / self.std)


def adversarial(fake: Tensor, *, kind: str = "least-squares") -> Tensor:
    """What a network pays for restored images that a discriminator recognises; `fake` are its scores of them.

    "least-squares": ``mean (D - 1)^2 / 2``; "hinge": ``-mean D``. With images: ``adversarial(D(restored))``.

    References
    ----------
    Least squares: Mao et al. (2017), doi:10.1109/ICCV.2017.304, with the labels 0 and 1; hinge: Miyato et al. (2018),
    arXiv:1802.05957, eq. 17.
    """
    if check_choice(kind, _GAN_KINDS, "kind") == "hinge":
        return -fake.mean()
    return (fake - 1).square().mean() / 2


def discrimination(real: Tensor, fake: Tensor, *, kind: str = "least-squares") -> Tensor:
    """What the discriminator pays for scores of sharp images that are not high, and of restored ones that are not low.

    "least-squares": ``mean (D_real - 1)^2 / 2 + mean D_fake^2 / 2``;
    "hinge": ``mean max(0, 1 - D_real) + mean max(0, 1 + D_fake)``, eq. 16. Sources: `adversarial`.

    Train with ``discrimination(D(sharp), D(restored.detach()))``.
    """
    if check_choice(kind, _GAN_KINDS, "kind") == "hinge":
        return F.relu(1 - real).mean() + F.relu(1 + fake).mean()
    return (real - 1).square().mean() / 2 + fake.square().mean() / 2


#: name -> loss
LOSSES: dict[str, Loss] = {"l1": l1, "l2": l2, "ssim": ssim, "frequency": frequency, "gradient": gradient}

#: The default where the weights of VGG19 are given.
DEFAULT = {"l1": 0.5, "perceptual": 0.5}

#: The default without them: the gradient stands in for what the features see first, edges.
WITHOUT_VGG = {"l1": 0.5, "gradient": 0.5}


def weighted(weights: Mapping[str, float] | None = None, *, vgg: str | os.PathLike[str] | None = None) -> Loss:
    """One loss from several: ``sum_k weights[k] loss_k(restored, sharp)``.

    Parameters
    ----------
    weights : mapping of names to numbers >= 0
        The names are those in `LOSSES` and "perceptual". None means `DEFAULT` with `vgg`, `WITHOUT_VGG` without it.
    vgg : path, optional
        The file of weights that "perceptual" needs: see `Perceptual`.

    Raises
    ------
    ValueError
        An unknown name, a negative weight or none above 0; "perceptual" without `vgg`.

    Examples
    --------
    >>> import torch
    >>> loss = weighted({"l1": 0.5, "l2": 2.0})
    >>> float(loss(torch.full((1, 1, 8, 8), 0.5), torch.zeros(1, 1, 8, 8)))
    0.75
    """
    chosen = dict(weights if weights is not None else WITHOUT_VGG if vgg is None else DEFAULT)
    for name, weight in chosen.items():
        check_choice(name, [*LOSSES, "perceptual"], "a loss")
        check_non_negative(weight, f"the weight of {name}")
    chosen = {name: weight for name, weight in chosen.items() if weight}
    if not chosen:
        raise ValueError(f"weights={weights} leave nothing to train by: give at least one loss a weight above 0")
    if "perceptual" in chosen and vgg is None:
        raise ValueError(
            "the loss 'perceptual' needs the weights of VGG19, which are not shipped and never downloaded: give their "
            "file as vgg=, or train by " + repr(WITHOUT_VGG)
        )
    losses = {name: LOSSES[name] if name in LOSSES else Perceptual(vgg) for name in chosen}  # type: ignore[arg-type]

    def loss(restored: Tensor, sharp: Tensor) -> Tensor:
        terms = [weight * losses[name](restored, sharp) for name, weight in chosen.items()]
        return torch.stack(terms).sum()

    return loss


def _difference(restored: Tensor, sharp: Tensor) -> Tensor:
    if restored.shape != sharp.shape or restored.ndim != 4:
        raise ValueError(
            f"restored has shape {tuple(restored.shape)} and sharp {tuple(sharp.shape)}; a loss compares two tensors "
            "(n, channels, rows, columns) of one shape"
        )
    return restored - sharp


def _vgg19(layer: str) -> list[nn.Module]:
    """The convolutions of VGG19 up to `layer`, numbered as in torchvision."""
    depths = (2, 2, 4, 4, 4)
    names = [f"conv{block}_{i}" for block, depth in enumerate(depths, 1) for i in range(1, depth + 1)]
    check_choice(layer, names, "layer")
    modules: list[nn.Module] = []
    n_in = 3
    for name in names[: names.index(layer) + 1]:
        block, i = map(int, name.removeprefix("conv").split("_"))
        n_out = min(64 * 2 ** (block - 1), 512)
        if modules:
            modules.append(nn.ReLU())
        if block > 1 and i == 1:
            modules.append(nn.MaxPool2d(2))
        modules.append(nn.Conv2d(n_in, n_out, 3, padding=1))
        n_in = n_out
    return modules


def _state(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The tensors of a .safetensors or .pth file by their names."""
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(
            f"weights={os.fspath(path)!r} is no file: give the weights of VGG19 as .pth or .safetensors"
        )
    if file.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(file)
    return load_checkpoint(file)
