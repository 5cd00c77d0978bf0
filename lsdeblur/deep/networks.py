"""Networks that restore images: a denoiser, three that know nothing of the blur, and two built around least squares.

Their convolutions have no biases, and there is no normalisation: a network applied to ``a x`` (and ``a sigma``, a > 0)
gives a times what it gives for x, so images may come in any unit and keep their range. Images (n, channels, height,
width) of any size are padded and cropped. A `Model` is a method of `restore`, too:
``restore(image, psf, method=Model.load(path))``.

Sources: residual blocks: K. He et al. (2016), doi:10.1109/CVPR.2016.90; U-Net: O. Ronneberger et al. (2015),
doi:10.1007/978-3-319-24574-4_28; half resolution and a map of the noise level: K. Zhang et al. (2018), FFDNet,
doi:10.1109/TIP.2018.2839891; no biases: S. Mohan et al. (2020), ICLR, arXiv:1906.05478; depthwise separable
convolutions: F. Chollet (2017), doi:10.1109/CVPR.2017.195; attention to channels: J. Hu et al. (2018),
doi:10.1109/CVPR.2018.00745; the adversarial network: O. Kupyn et al. (2018), DeblurGAN, doi:10.1109/CVPR.2018.00854,
with the discriminator of P. Isola et al. (2017), doi:10.1109/CVPR.2017.632; unrolled least squares: J. Zhang et al.
(2017), doi:10.1109/CVPR.2017.737, and J. Dong et al. (2020), Deep Wiener deconvolution, arXiv:2103.09962.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lsdeblur._methods import Problem, Solution
from lsdeblur._validate import check_size
from lsdeblur.deep import functional
from lsdeblur.deep._network import About, restored, solution, turned, turned_back

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
    As a method of `restore` it uses PyTorch's threads, not `workers`, and knows nothing of boundaries; a PSF that it
    does not need plays no role.
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
            return self._solution(image, **options)
        return super().__call__(image, *needed, **options)

    def _solution(self, problem: Problem, *, noise_std: float | None = None) -> Solution:
        return solution(About.of(self), self._run, problem, noise_std)

    def _run(self, image: Any, needed: Mapping[str, Any]) -> Any:
        """A NumPy image (channels, rows, columns) restored, and what else is needed for one image, by name."""
        like = next(self.parameters())
        with torch.inference_mode():
            tensors = [torch.tensor(a).to(like) for a in (image[None], *(needed[name] for name in self.needs))]
            return super().__call__(*tensors)[0].float().cpu().numpy()

    @property
    def needs_psf(self) -> bool:
        """Whether `restore` must be given a PSF."""
        return "psf" in self.needs

    @property
    def n_parameters(self) -> int:
        """How many numbers training determines."""
        return sum(p.numel() for p in self.parameters())

    @property
    def halo(self) -> int | None:
        """How many pixels away a pixel still counts at most, as a multiple of `step`; None: all over the image."""
        net = getattr(self, "net", None)
        if not isinstance(net, UNet) or "psf" in self.needs or any(isinstance(m, Attention) for m in net.modules()):
            return None
        reach = 2 * net.reach + 1  # at half resolution, and within the 2 x 2 pixels of each of its pixels
        return reach + -reach % self.step

    def save(self, path: str | os.PathLike[str], **card: str) -> None:
        """Write the network and its options to a safetensors file (`lsdeblur.deep.weights`)."""
        from lsdeblur.deep.weights import save

        save(self, path, card=card)

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
    if not layer.weight.is_meta:  # there, "drawing" would load PyTorch's compiler: a second
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
        steps = list(itertools.pairwise(widths))
        self.head = conv(n_in, widths[0])
        self.enc = nn.ModuleList(residuals(n, count) for n, count in upper)
        self.down = nn.ModuleList(_scaled(nn.Conv2d(a, b, 2, 2, bias=False), 0.5**0.5) for a, b in steps)
        self.mid = residuals(widths[-1], blocks[-1])
        self.up = nn.ModuleList(_scaled(nn.ConvTranspose2d(b, a, 2, 2, bias=False)) for a, b in steps)
        self.dec = nn.ModuleList(residuals(n, count) for n, count in upper)
        self.tail = _scaled(nn.Conv2d(widths[0], n_out, 3, padding=1, bias=False), 0.1)

    @property
    def reach(self) -> int:
        """How many pixels away a pixel still counts at most, without attention: one for each 3 x 3 convolution, of its
        scale, on the way through the middle, and the place within a pixel of the middle."""
        sides = sum(4 * len(blocks) * 2**k for k, blocks in enumerate(self.enc))  # type: ignore[arg-type]
        middle = 2 ** len(self.down)
        return 2 + sides + 2 * len(self.mid) * middle + middle - 1

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
    constant = [m.reshape(-1, 1, 1, 1).expand(x.shape[0], 1, *x.shape[2:]).to(x.dtype) for m in maps]
    y = F.pixel_shuffle(network(torch.cat([x, *constant], 1)), 2)
    return y[..., :rows, :columns]


_WAYS = (0, 2, 4, 6, 1, 3, 5, 7)  # of `turned`: first those that keep the shape


class Denoiser(Model):
    """Removes white noise of a known standard deviation: a U-Net at half resolution, told the level in a channel."""

    needs = ("noise_std",)

    def __init__(self, *, widths: Sequence[int] = (48, 96, 160), blocks: Sequence[int] = (2, 2, 2)) -> None:
        super().__init__(widths=list(widths), blocks=list(blocks))
        self.step = 2 ** len(widths)
        self.net = UNet(5, 4, widths, blocks)

    def forward(self, image: Tensor, noise_std: Tensor) -> Tensor:
        return image - at_half(self.net, image, self.step, noise_std)

    def denoise(self, image: Any, noise_std: float, *, ways: int = 1) -> Any:
        """A NumPy image (..., rows, columns) without white noise of this standard deviation, plane by plane.

        Computed in float32, large planes by tiles, on the device of the weights; of the image's dtype. With `ways` > 1
        (up to 8) it is the mean over the image turned and mirrored so many ways, at so many times the time.
        """
        if check_size(ways, 1, "ways")[0] > 8:
            raise ValueError(f"ways must be at most 8, not {ways}: there are no more to turn and mirror an image")
        total = sum(turned_back(self._denoised(turned(image, k), noise_std), k) for k in _WAYS[:ways])
        return total / image.dtype.type(ways)

    def _denoised(self, image: Any, noise_std: float) -> Any:
        planes, level = image.reshape(-1, 1, *image.shape[-2:]), np.full(1, noise_std)
        return restored(About.of(self), self._run, planes, {"noise_std": level})[0].reshape(image.shape)


class DeblurCNN(Model):
    """A plain encoder and decoder, added to the image: inside, nothing leads past the middle."""

    def __init__(
        self, *, channels: int = 1, width: int = 48, blocks: int = 4, light: bool = False, attention: bool = False
    ) -> None:
        super().__init__(channels=channels, width=width, blocks=blocks, light=light, attention=attention)
        n = 4 * channels
        self.net = UNet(n, n, (width, 2 * width), (1, blocks), skips=False, light=light, attention=attention)

    def forward(self, image: Tensor) -> Tensor:
        return image + at_half(self.net, image, self.step)


class MultiScaleDeblur(Model):
    """A U-Net: skip connections carry each scale across, and its output is added to the image."""

    def __init__(
        self, *, channels: int = 1, width: int = 48, blocks: int = 1, light: bool = False, attention: bool = False
    ) -> None:
        super().__init__(channels=channels, width=width, blocks=blocks, light=light, attention=attention)
        n, widths = 4 * channels, (width, 2 * width, 4 * width)
        self.net = UNet(n, n, widths, (blocks, blocks, 2 * blocks), light=light, attention=attention)

    def forward(self, image: Tensor) -> Tensor:
        return image + at_half(self.net, image, self.step)


class DeblurGAN(Model):
    """The generator of an adversarial pair: 16 residual blocks at a quarter of the resolution, between two at half that
    a skip connection joins; added to the image."""

    def __init__(
        self, *, channels: int = 1, width: int = 32, blocks: int = 16, light: bool = False, attention: bool = False
    ) -> None:
        super().__init__(channels=channels, width=width, blocks=blocks, light=light, attention=attention)
        n = 4 * channels
        self.net = UNet(n, n, (width, 2 * width), (1, blocks), light=light, attention=attention)

    def forward(self, image: Tensor) -> Tensor:
        return image + at_half(self.net, image, self.step)


class PatchDiscriminator(nn.Module):
    """Tells restored from sharp images patch by patch: one number for each, trained to be 1 for sharp and 0 for others.

    Spectral normalisation bounds its slope: T. Miyato et al. (2018), ICLR, arXiv:1802.05957.
    """

    def __init__(self, channels: int = 1, width: int = 32) -> None:
        super().__init__()
        widths = [channels, width, 2 * width, 4 * width]
        layers: list[nn.Module] = []
        for a, b in itertools.pairwise(widths):
            bounded = nn.utils.parametrizations.spectral_norm(nn.Conv2d(a, b, 4, 2, 1))
            layers += [bounded, nn.LeakyReLU(0.2)]
        self.net = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 3, padding=1))

    def forward(self, image: Tensor) -> Tensor:
        return self.net(image)


class KernelEstimator(nn.Module):
    """A PSF of size x size pixels and sum 1 from what a blur leaves in an image.

    The gradient of a scene is nearly white, so the autocorrelation of the blurred image's gradient is nearly that of
    the PSF (W. Hu et al. 2012, doi:10.1109/TIP.2011.2160073). The PSF of zero phase that has it is near a symmetric
    one; how the PSF differs from it is left to a perceptron, which also sees mean strengths of convolutions.
    """

    def __init__(self, channels: int, size: int, width: int) -> None:
        super().__init__()
        self.size, self.reach = size, size - 1
        layers = [conv(channels, width)]
        for k in (1, 2):
            layers += [nn.ReLU(), _scaled(nn.Conv2d(k * width, 2 * k * width, 3, 2, 1, bias=False))]
        self.seen = nn.Sequential(*layers, nn.ReLU())
        last = nn.Linear(8 * width, size * size)
        n_in = (2 * self.reach + 1) ** 2 + size * size + 4 * width
        self.mix = nn.Sequential(nn.Linear(n_in, 8 * width), nn.ReLU(), last)
        with torch.no_grad():  # it begins near the PSF of zero phase
            last.weight.mul_(0.1)
            last.bias.zero_()

    def forward(self, image: Tensor) -> Tensor:
        if min(image.shape[-2:]) < self.size:
            raise ValueError(f"image is smaller than the {self.size} x {self.size} pixels of a PSF: give a larger one")
        strength = image.abs().amax((1, 2, 3), keepdim=True).clamp_min(torch.finfo(image.dtype).tiny)
        seen = self.seen(image / strength).float().mean((2, 3))
        with torch.autocast(image.device.type, enabled=False):
            lags = autocorrelation(image.float(), self.reach)
            first = zero_phase(lags, self.size).flatten(1)
            change = self.mix(torch.cat([lags.flatten(1), 3 * first, seen], 1))
            psf = (change + (first + 0.01).log()).softmax(1)
        return psf.view(-1, 1, self.size, self.size)


def autocorrelation(image: Tensor, reach: int) -> Tensor:
    """Of the gradient, divided by its value at 0, for shifts up to `reach` pixels: (n, 2 reach + 1, 2 reach + 1)."""
    rows, columns = image.shape[-2:]
    grid = (rows + reach, columns + reach)
    steps = image.diff(dim=-2)[..., : columns - 1], image.diff(dim=-1)[..., : rows - 1, :]
    power = sum(torch.fft.rfft2(d, s=grid).abs().square() for d in steps)
    found = torch.fft.irfft2(power, s=grid).sum(1).roll((reach, reach), (-2, -1))[..., : 2 * reach + 1, : 2 * reach + 1]
    return found / found[..., reach : reach + 1, reach : reach + 1].clamp_min(torch.finfo(found.dtype).tiny)


def zero_phase(lags: Tensor, size: int) -> Tensor:
    """The PSF of zero phase, its maximum near 1, of the given autocorrelation of an image's gradient: (n, size, size).

    The transform of the autocorrelation is nearly ``|H|^2`` and what white noise adds, ``c (4 - 2 cos 2 pi v - 2 cos
    2 pi u)`` with c by the highest frequencies; `lags` reach at least size - 1 pixels, so that it holds the whole PSF.
    """
    reach, middle = lags.shape[-1] // 2, size // 2
    grid = 2 * reach + 2
    window = (torch.arange(-reach, reach + 1, device=lags.device) * (torch.pi / grid)).cos().square()
    whole = F.pad(lags * window[:, None] * window, (0, 1, 0, 1)).roll((-reach, -reach), (-2, -1))
    power = torch.fft.rfft2(whole).real.clamp_min(0)
    v = torch.fft.fftfreq(grid, device=lags.device)[:, None]
    u = torch.fft.rfftfreq(grid, device=lags.device)
    noise = 4 - 2 * (2 * torch.pi * v).cos() - 2 * (2 * torch.pi * u).cos()  # the gradient's power of white noise
    high = v**2 + u**2 > 0.4**2  # of a blurred scene hardly anything is there
    level = (power * high).sum((1, 2), keepdim=True) / (noise * high).sum()
    H = (power - level * noise).clamp_min(torch.finfo(lags.dtype).tiny).sqrt()
    h = torch.fft.irfft2(H, s=(grid, grid)).roll((middle, middle), (-2, -1))[:, :size, :size]
    h = h / h.amax((1, 2), keepdim=True).clamp_min(torch.finfo(h.dtype).tiny)
    return (h - 0.05).clamp_min(0)  # without the ripples of noise


class PhysicsGuidedDeblur(Model):
    """Estimates a PSF, then in two stages restores by least squares with a learned strength and adds a learned rest."""

    def __init__(
        self, *, channels: int = 1, width: int = 32, size: int = 15, stages: int = 2, light: bool = False,
        attention: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(channels=channels, width=width, size=size, stages=stages, light=light, attention=attention)
        self.estimate = KernelEstimator(channels, size, 16 if light else 32)
        self.strengths = nn.Parameter(torch.linspace(-5.0, -4.0, stages))
        n, widths = 4 * channels, (width, 2 * width)
        self.rests = nn.ModuleList(
            UNet(2 * n, n, widths, (1, 2), light=light, attention=attention) for _ in range(stages)
        )

    def forward(self, image: Tensor) -> Tensor:
        psf = self.estimate(image)
        restored = image
        for strength, rest in zip(self.strengths, self.rests, strict=True):
            restored = least_squares_step(image, restored, psf, strength.exp())
            restored = restored + at_half(rest, torch.cat([restored, image], 1), self.step)
        return restored


class UnrolledWiener(Model):
    """For a known PSF: steps of least squares, and one network that denoises after each, told what level to expect."""

    needs = ("psf", "noise_std")

    def __init__(
        self, *, channels: int = 1, width: int = 32, stages: int = 3, light: bool = False, attention: bool = False
    ) -> None:
        super().__init__(channels=channels, width=width, stages=stages, light=light, attention=attention)
        self.strengths = nn.Parameter(torch.zeros(stages))
        self.levels = nn.Parameter(torch.linspace(1.5, 0.5, stages))
        n = 4 * channels
        self.net = UNet(n + 1, n, (width, 2 * width, 4 * width), (1, 1, 1), light=light, attention=attention)

    def forward(self, image: Tensor, psf: Tensor, noise_std: Tensor) -> Tensor:
        kernel, sigma = psf[:, None], noise_std.reshape(-1, 1, 1, 1)
        slope = image.diff(dim=-2).square().mean((1, 2, 3)) + image.diff(dim=-1).square().mean((1, 2, 3))
        ratio = (noise_std.square() / slope.clamp_min(torch.finfo(image.dtype).tiny))[:, None]
        restored = image
        for strength, level in zip(self.strengths, self.levels, strict=True):
            restored = least_squares_step(image, restored, kernel, ratio * strength.exp())
            restored = restored - at_half(self.net, restored, self.step, sigma * level.exp())
        return restored


def least_squares_step(image: Tensor, near: Tensor, psf: Tensor, strength: Tensor) -> Tensor:
    """The z that minimises ``||h * z - image||^2 + strength <z - near, P (z - near)>``; computed in float32."""
    with torch.autocast(image.device.type, enabled=False):
        image, near = image.float(), near.float()
        left = image - functional.blur(near, psf.float(), boundary="edge")
        return near + functional.tikhonov(left, psf.float(), strength, boundary="taper")


#: name -> class, for files and the command
MODELS: dict[str, type[Model]] = {
    cls.__name__: cls for cls in (Denoiser, DeblurCNN, MultiScaleDeblur, DeblurGAN, PhysicsGuidedDeblur, UnrolledWiener)
}
