"""Networks that restore images: a denoiser, three that know nothing of the blur, and two built around least squares.

They have no biases and no normalisation: a network applied to ``a x`` (and ``a sigma``) gives a times what it gives for
x, so images may come in any unit and keep their range. Images (n, channels, height, width) of any size are padded
and cropped. A `Model` is a method of `restore`, too: ``restore(image, psf, method=Model.load(path))``.

Sources: residual blocks: K. He et al. (2016), doi:10.1109/CVPR.2016.90; U-Net: O. Ronneberger et al. (2015),
doi:10.1007/978-3-319-24574-4_28; half resolution and a map of the noise level: K. Zhang et al. (2018), FFDNet,
doi:10.1109/TIP.2018.2839891; no biases: S. Mohan et al. (2020), ICLR, arXiv:1906.05478; depthwise separable
convolutions: F. Chollet (2017), doi:10.1109/CVPR.2017.195; attention to channels: J. Hu et al. (2018),
doi:10.1109/CVPR.2018.00745; the adversarial network: O. Kupyn et al. (2018), DeblurGAN, doi:10.1109/CVPR.2018.00854,
with the discriminator of P. Isola et al. (2017), doi:10.1109/CVPR.2017.632; unrolled least squares: J. Zhang et al.
(2017), doi:10.1109/CVPR.2017.737, and J. Dong et al. (2020), Deep Wiener deconvolution, arXiv:2103.09962.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lsdeblur._methods import Problem, Solution
from lsdeblur.deep import functional

__all__ = [
    "MODELS",
    "DeblurCNN",
    "DeblurGAN",
    "Denoiser",
    "Model",
    "MultiScaleDeblur",
    "PatchDiscriminator",
    "PhysicsGuidedDeblur",
    "UnrolledWiener",
]


class Model(nn.Module):
    """A network that restores images, and a method of `restore`.

    `needs` names what ``model(image, *needed)`` takes beside the image: "psf" (n or 1, rows, columns), "noise_std" (n).
    `channels` is the number of channels it works on together; with 1 it takes the channels of an image one by one.
    `options` are the arguments it was made with, `step` the number that sizes are padded to multiples of.
    """

    needs: tuple[str, ...] = ()
    step = 8

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.options = options
        self.channels: int = options.get("channels", 1)

    def __call__(self, image: Any, *needed: Tensor, **options: Any) -> Any:
        """The restored images (n, channels, height, width) of a tensor; the `Solution` of a `Problem`."""
        if isinstance(image, Problem):
            from lsdeblur.deep.weights import solution

            return solution(self, image, **options)
        return super().__call__(image, *needed, **options)

    @property
    def __name__(self) -> str:
        return type(self).__name__

    @property
    def n_parameters(self) -> int:
        """How many numbers training determines."""
        return sum(p.numel() for p in self.parameters())

    def save(self, path: str | os.PathLike[str], **card: str) -> None:
        """Write the network and its options to a safetensors file (`lsdeblur.deep.weights`)."""
        from lsdeblur.deep.weights import save

        save(self, path, **card)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Any:
        """A model from a file that `save` or the training wrote; it must be of this class."""
        from lsdeblur.deep.weights import load

        return load(path, cls)


def conv(n_in: int, n_out: int, *, light: bool = False) -> nn.Module:
    """A 3 x 3 convolution without bias; light: each channel on its own, then a 1 x 1 convolution across them."""
    if not light:
        return _scaled(nn.Conv2d(n_in, n_out, 3, padding=1, bias=False))
    own = _scaled(nn.Conv2d(n_in, n_in, 3, padding=1, groups=n_in, bias=False), 0.5**0.5)
    return nn.Sequential(own, _scaled(nn.Conv2d(n_in, n_out, 1, bias=False)))


def _scaled(layer: Any, gain: float = 1.0) -> Any:
    """He's initial weights, which keep the variance behind a rectifier, times a gain."""
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    with torch.no_grad():
        layer.weight *= gain
    return layer


class Attention(nn.Module):
    """Weights of the channels, between 0 and 1, from their relative strengths in the whole image."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.weigh = nn.Sequential(nn.Linear(n, n // 4), nn.ReLU(), nn.Linear(n // 4, n), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        strength = x.abs().mean((2, 3))
        relative = strength / strength.mean(1, keepdim=True).clamp_min(torch.finfo(strength.dtype).tiny)
        return x * self.weigh(relative)[:, :, None, None]


class Residual(nn.Module):
    """``x + B relu(A x)`` with two convolutions, optionally under attention."""

    def __init__(self, n: int, *, light: bool = False, attention: bool = False) -> None:
        super().__init__()
        self.a, self.b = conv(n, n, light=light), conv(n, n, light=light)
        self.attention = Attention(n) if attention else nn.Identity()
        with torch.no_grad():  # a block begins near the identity
            next(reversed(list(self.b.parameters()))).mul_(0.2)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.attention(self.b(F.relu(self.a(x))))


class UNet(nn.Module):
    """Residual blocks on scales, each half of the one before; `skips` add what came down to what comes up.

    `widths` are the channels of each scale, `blocks` the numbers of residual blocks on it, on the way down and up.
    """

    def __init__(
        self, n_in: int, n_out: int, widths: Sequence[int], blocks: Sequence[int], *, skips: bool = True,
        light: bool = False, attention: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.skips = skips

        def residuals(n: int, count: int) -> nn.Sequential:
            return nn.Sequential(*(Residual(n, light=light, attention=attention) for _ in range(count)))

        upper = list(zip(widths[:-1], blocks[:-1], strict=True))
        steps = list(zip(widths[:-1], widths[1:], strict=True))
        self.head = conv(n_in, widths[0])
        self.enc = nn.ModuleList(residuals(n, count) for n, count in upper)
        self.down = nn.ModuleList(_scaled(nn.Conv2d(a, b, 2, 2, bias=False), 0.5**0.5) for a, b in steps)
        self.mid = residuals(widths[-1], blocks[-1])
        self.up = nn.ModuleList(_scaled(nn.ConvTranspose2d(b, a, 2, 2, bias=False)) for a, b in steps)
        self.dec = nn.ModuleList(residuals(n, count) for n, count in upper)
        self.tail = nn.Conv2d(widths[0], n_out, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x, kept = self.head(x), []
        for blocks, down in zip(self.enc, self.down, strict=True):
            x = blocks(x)
            kept.append(x)
            x = down(x)
        x = self.mid(x)
        for blocks, up in zip(reversed(self.dec), reversed(self.up), strict=True):
            x = up(x)
            x = blocks(x + kept.pop() if self.skips else x)
        return self.tail(x)


def padded(image: Tensor, step: int) -> Tensor:
    """The image with its last row and column repeated until its sizes are multiples of `step`."""
    rows, columns = (-n % step for n in image.shape[-2:])
    return F.pad(image, (0, columns, 0, rows), mode="replicate")


def at_half(network: nn.Module, image: Tensor, step: int, *maps: Tensor) -> Tensor:
    """A network between images, applied to the four images of half resolution that each consists of, and to `maps`.

    A map is a number for each image, and becomes a channel of that value.
    """
    rows, columns = image.shape[-2:]
    x = F.pixel_unshuffle(padded(image, step), 2)
    constant = [m.reshape(-1, 1, 1, 1).expand(len(x), 1, *x.shape[2:]).to(x.dtype) for m in maps]
    y = F.pixel_shuffle(network(torch.cat([x, *constant], 1)), 2)
    return y[..., :rows, :columns]


class Denoiser(Model):
    """Removes white noise of a known standard deviation: a U-Net at half resolution, told the level in a channel."""

    needs = ("noise_std",)

    def __init__(self, *, widths: Sequence[int] = (48, 96, 160), blocks: Sequence[int] = (2, 2, 2)) -> None:
        super().__init__(widths=list(widths), blocks=list(blocks))
        self.step = 2 ** len(widths)
        self.net = UNet(5, 4, widths, blocks)

    def forward(self, image: Tensor, noise_std: Tensor) -> Tensor:
        return image - at_half(self.net, image, self.step, noise_std)
