"""VGG features and adversarial terms (Ledig et al. 2017, section 2.2). No weights, no schedules.

Every function takes whole batches and returns a scalar in float32, whatever the precision of its input.
"""

import os
from pathlib import Path

import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srgan_lit import tensor_files
from srgan_lit.config import VGG_CONVOLUTIONS, parse_layer
from srgan_lit.errors import SRGANError, UsageError
from srgan_lit.images import IMAGENET_MEAN, IMAGENET_STD
from srgan_lit.winograd import Conv3x3

# Channels of the five blocks (Simonyan and Zisserman 2015).
WIDTHS = (64, 128, 256, 512, 512)

# 1/12.75 on the features is 0.006 on the squared distance: VGG brought to the scale of MSE (section 3.2).
FEATURE_SCALE = 1 / 12.75


def pixel_loss(sr: Tensor, hr: Tensor, kind: str) -> Tensor:
    """Mean over pixels of a difference of images in [0, 1].

    ``mse`` (the paper's), ``l1``, or ``charbonnier`` sqrt(d² + 1e-6) (Lai et al. 2017).

    Raises:
        ValueError: another ``kind``.
    """
    sr, hr = sr.float(), hr.float()
    if kind == "mse":
        return F.mse_loss(sr, hr)
    if kind == "l1":
        return F.l1_loss(sr, hr)
    if kind == "charbonnier":
        return ((sr - hr).square() + 1e-6).sqrt().mean()
    raise ValueError(f"pixel loss must be mse, l1 or charbonnier, not {kind!r}")


_WINDOW = 6  # LR pixels a side over which an error is averaged: texture averages out, a grid stays


def grid_loss(sr: Tensor, hr: Tensor, scale: int) -> Tensor:
    """How much the error of ``sr`` repeats with the PixelShuffle's period: the variance of its local means by phase.

    The error sr - hr is parted into its scale² phases (pixels of the same place in their LR pixel), each averaged
    over windows of 6x6 LR pixels; where no grid is, the phases agree. Images (B, 3, H, W) in [0, 1], at least six LR
    pixels a side. A measure of this package's own, against what Odena et al. 2016 call checkerboard artifacts.
    """
    error = F.pixel_unshuffle(sr.float() - hr.float(), scale)  # (B, 3 * scale², h, w)
    means = F.avg_pool2d(error, _WINDOW, stride=_WINDOW // 2).unflatten(1, (-1, scale**2))
    return means.var(dim=2, correction=0).mean()


class VGGFeatures(nn.Module):
    """The feature map after the ReLU of one convolution of VGG, divided by 12.75. VGG54 is ``5_4`` of vgg19.

    Args:
        backbone: ``vgg19`` or ``vgg16``.
        layer: ``<block>_<convolution>``, counted from 1; None for the last.
        weights: ``imagenet`` (torchvision's, downloaded once and checked), a file (safetensors or a state
            dict, with torchvision's names, with or without ``features.``), or ``random`` (the same random
            weights each time; for tests and demonstrations only).

    Its weights never train. Raises UsageError for an unknown backbone or layer, SRGANError for weights that
    cannot be had or do not fit.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, *, backbone: str = "vgg19", layer: str | None = "5_4", weights: str = "imagenet") -> None:
        super().__init__()
        self.block, self.conv = parse_layer(backbone, layer)
        self.backbone = backbone
        layers: list[nn.Module] = []
        before = 3
        for block in range(1, self.block + 1):
            last = self.conv if block == self.block else VGG_CONVOLUTIONS[backbone][block - 1]
            if block > 1:
                layers.append(nn.MaxPool2d(2))
            for _ in range(last):
                layers += [Conv3x3(before, WIDTHS[block - 1]), nn.ReLU(inplace=True)]
                before = WIDTHS[block - 1]
        self.features = nn.Sequential(*layers)  # numbered as in torchvision: 36 layers up to relu5_4 of vgg19
        self._load(weights)
        self.requires_grad_(False).eval()
        self.to(memory_format=torch.channels_last)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)

    @property
    def name(self) -> str:
        """As the field writes it: VGG54, VGG22."""
        return f"VGG{self.block}{self.conv}"

    def _load(self, weights: str) -> None:
        if weights == "random":
            self._randomise()
            return
        given = _imagenet(self.backbone) if weights == "imagenet" else _read_weights(weights)
        wanted = self.features.state_dict()
        tensors = {}
        for name, tensor in wanted.items():
            found = given.get(name, given.get(f"features.{name}"))
            wrong = "is missing" if found is None else tensor_files.unsound(found, shape=tensor.shape)
            if found is None or wrong:
                raise SRGANError(f"perceptual.weights={weights}: not {self.backbone} weights (features.{name} {wrong})")
            tensors[name] = found.float()
        self.features.load_state_dict(tensors)

    def _randomise(self) -> None:
        generator = torch.Generator().manual_seed(0)
        for layer in self.features:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)

    def forward(self, image: Tensor) -> Tensor:
        """Return the scaled features (B, C, h, w) of ``image`` (B, 3, H, W) in [0, 1]."""
        return self.features((image - self.mean) / self.std) * FEATURE_SCALE


def _imagenet(backbone: str) -> dict[str, Tensor]:
    import hashlib

    from torchvision.models import VGG16_Weights, VGG19_Weights

    weights = {"vgg16": VGG16_Weights, "vgg19": VGG19_Weights}[backbone].IMAGENET1K_V1
    # torchvision's file names end with the first digits of their SHA-256, but a file that is in the cache
    # already is loaded unchecked.
    cached = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
    if cached.exists():
        with cached.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
        if not digest.startswith(cached.stem.rpartition("-")[2]):
            raise SRGANError(f"{cached}: damaged (its SHA-256 is {digest}); delete it and run again")
    try:
        return weights.get_state_dict(progress=True, check_hash=True)
    except (OSError, RuntimeError) as error:
        raise SRGANError(
            f"{backbone}'s ImageNet weights cannot be downloaded ({error}); fetch {weights.url} "
            "and pass perceptual.weights=<file>, or try the program out with perceptual.weights=random"
        ) from error


def _read_weights(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    if not Path(path).is_file():
        raise UsageError(f"perceptual.weights={path}: no such file; give a file, imagenet or random")
    try:
        if Path(path).suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        loaded = tensor_files.read(path)
    except Exception as error:  # both readers raise many kinds
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SRGANError(f"perceptual.weights={path}: cannot be read ({reason})") from error
    if not isinstance(loaded, dict):
        raise SRGANError(f"perceptual.weights={path}: not a state dict")
    return loaded


class PerceptualLoss(nn.Module):
    """Mean squared distance of two images' VGG features. The graph reaches ``sr`` only."""

    def __init__(self, features: VGGFeatures) -> None:
        super().__init__()
        self.features = features

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Return the distance of two batches (B, 3, H, W) in [0, 1]."""
        with torch.no_grad():
            wanted = self.features(hr)
        return F.mse_loss(self.features(sr).float(), wanted.float())


ADVERSARIAL = ("standard", "relativistic", "least_squares", "hinge")


def discriminator_loss(real: Tensor, generated: Tensor, *, kind: str = "standard", smoothing: float = 0.0) -> Tensor:
    """What the discriminator minimises, from its logits (B, 1) on real and on generated crops.

    ``standard``: binary cross-entropy, -log D(hr) - log(1 - D(sr)), as the paper. ``relativistic``: the average
    one (Jolicoeur-Martineau 2018, as in ESRGAN). ``least_squares``: Mao et al. 2017. ``hinge``: Lim and Ye 2017.
    ``smoothing`` lowers the target of real crops from 1 (one-sided; Salimans et al. 2016).

    Raises:
        ValueError: another ``kind``, or smoothing with hinge, which has no target.
    """
    real, generated = real.float(), generated.float()
    if kind == "standard":
        return _cross_entropy(real, 1 - smoothing) + _cross_entropy(generated, 0)
    if kind == "relativistic":
        return _cross_entropy(real - generated.mean(), 1 - smoothing) + _cross_entropy(generated - real.mean(), 0)
    if kind == "least_squares":
        return ((real - (1 - smoothing)).square().mean() + generated.square().mean()) / 2
    if kind == "hinge" and smoothing == 0:
        return F.relu(1 - real).mean() + F.relu(1 + generated).mean()
    raise ValueError(f"adversarial loss must be one of {ADVERSARIAL} (hinge without smoothing), not {kind!r}")


def generator_loss(generated: Tensor, *, kind: str = "standard", real: Tensor | None = None) -> Tensor:
    """What the generator minimises, from the discriminator's logits (B, 1) on its crops.

    ``standard``: -log D(sr), which keeps its gradient where the discriminator is sure (section 2.2.2).
    ``relativistic`` needs the logits on real crops too.

    Raises:
        ValueError: another ``kind``, or relativistic without ``real``.
    """
    generated = generated.float()
    if kind == "standard":
        return _cross_entropy(generated, 1)
    if kind == "relativistic" and real is not None:
        real = real.float()
        return _cross_entropy(real - generated.mean(), 0) + _cross_entropy(generated - real.mean(), 1)
    if kind == "least_squares":
        return (generated - 1).square().mean() / 2
    if kind == "hinge":
        return -generated.mean()
    raise ValueError(f"adversarial loss must be one of {ADVERSARIAL} (relativistic with real), not {kind!r}")


def _cross_entropy(logits: Tensor, target: float) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))
