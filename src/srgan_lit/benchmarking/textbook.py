"""The same networks and data run the way textbook implementations do: the first of the benchmark's opponents.

Contiguous layout, one generator forward for each update, gradients of every weight that a loss reaches (of the
discriminator's and of VGG's too), Adam not fused, BatchNorm as layers, a file decoded for every sample. The
results are those of the package, to rounding.
"""

import copy
import functools
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Adam

from srgan_lit.losses import adversarial, pixel
from srgan_lit.losses.perceptual import PerceptualLoss
from srgan_lit.networks.discriminator import Discriminator
from srgan_lit.networks.prelu import PReLU
from srgan_lit.networks.srresnet import Generator, RepeatedConv, UpsampleStage
from srgan_lit.pictures import bicubic, tensors
from srgan_lit.pictures.rgb8 import read_picture
from srgan_lit.upscaling import tiling


def forward(generator: Generator, lr: Tensor) -> Tensor:
    """What ``generator(lr)`` gives, one layer after another as figure 4 of the paper draws them."""
    skip = generator.head(lr)
    x = skip + generator.trunk_norm(generator.trunk_conv(generator.trunk(skip)))
    for stage in generator.upsample:
        assert isinstance(stage, UpsampleStage)
        if isinstance(conv := stage.conv, RepeatedConv):
            x = stage.act(F.conv2d(F.interpolate(x, scale_factor=2), conv.weight, conv.bias, padding=1))
        else:
            x = stage.act(stage.shuffle(conv(x)))
    tail = generator.tail
    return F.conv2d(x, tail.weight, tail.bias, padding=tail.padding)


def with_torch_activations(generator: Generator) -> Generator:
    """A contiguous copy with torch's own PReLUs."""
    copied = copy.deepcopy(generator).to(memory_format=torch.contiguous_format)
    for parent in list(copied.modules()):
        for name, act in parent.named_children():
            if isinstance(act, PReLU):
                plain = nn.PReLU(act.num_parameters)
                plain.weight = act.weight
                setattr(parent, name, plain)
    return copied


class TextbookTraining:
    """Updates as tutorials write them. The networks given are copied.

    ``lr`` is (B, 3, h, w) and ``hr`` (B, 3, H, W), in [0, 1] and contiguous. Updates return what they minimised, by
    the names that it has in ``SRGANModule.values``.
    """

    gradients_of_vgg = True  # of its weights, which nobody uses

    def __init__(
        self,
        generator: Generator,
        discriminator: Discriminator | None = None,
        perceptual: PerceptualLoss | None = None,
    ) -> None:
        self.generator = with_torch_activations(generator)
        self.generator_adam = Adam(self.generator.parameters(), lr=1e-4)
        self.networks: list[nn.Module] = [self.generator]
        if discriminator is not None and perceptual is not None:
            self.discriminator = copy.deepcopy(discriminator).to(memory_format=torch.contiguous_format)
            self.discriminator_adam = Adam(self.discriminator.parameters(), lr=1e-4)
            features = copy.deepcopy(perceptual.features).to(memory_format=torch.contiguous_format)
            self.features = features.requires_grad_(self.gradients_of_vgg)
            self.networks += [self.discriminator, self.features]

    def pretrain(self, lr: Tensor, hr: Tensor) -> dict[str, Tensor]:
        """One update of the generator by the mean squared error."""
        self.generator_adam.zero_grad()
        loss = pixel.pixel_loss(forward(self.generator, lr), hr, "mse")
        loss.backward()
        self.generator_adam.step()
        return {"mse": loss.detach()}

    def adversarial(self, lr: Tensor, hr: Tensor) -> dict[str, Tensor]:
        """One update of each network: VGG features and 1e-3 of the adversarial term."""
        self.discriminator_adam.zero_grad()
        generated = self.discriminator(forward(self.generator, lr).detach())
        loss = adversarial.discriminator_loss(self.discriminator(hr), generated)
        loss.backward()
        self.discriminator_adam.step()

        self.generator_adam.zero_grad()
        sr = forward(self.generator, lr)
        perceptual = F.mse_loss(self.features(sr).float(), self.features(hr).detach().float())
        game = adversarial.generator_loss(self.discriminator(sr))
        (perceptual + 1e-3 * game).backward()
        self.generator_adam.step()
        return {"discriminator": loss.detach(), "perceptual": perceptual.detach(), "adversarial": game.detach()}


@torch.no_grad()
def enlarge(pixels: NDArray[np.uint8], generator: Generator, *, tile: int) -> NDArray[np.uint8]:
    """(h, w, 3) to (scale*h, scale*w, 3), both uint8, by a generator in ``eval()``; ``tile`` 0 is the whole at once."""
    lr = tensors.from_pixels(pixels).contiguous().to(next(generator.parameters()).device)
    if not tile:
        return tensors.to_pixels(forward(generator, lr))
    halo = math.ceil(generator.receptive_radius)
    return tensors.to_pixels(
        tiling.tiled(functools.partial(forward, generator), lr, scale=generator.scale, tile=tile, halo=halo)
    )


class Decoded:
    """As much of ``packed.Packed`` as training samples need, with the file decoded and shrunk whenever one is."""

    def __init__(self, paths: Sequence[Path], *, scale: int) -> None:
        self.paths, self.scale = paths, scale
        self.names = [path.name for path in paths]
        self._read = functools.lru_cache(maxsize=1)(self._decode)  # a sample asks for both of a pair

    def _decode(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        hr = bicubic.crop_to_multiple(read_picture(self.paths[index]).pixels, self.scale)
        return hr, bicubic.shrink(hr, self.scale)

    def check_whole(self) -> None:
        """Nothing: no file stays open that could be cut."""

    def hr(self, index: int) -> NDArray[np.uint8]:
        """(scale*h, scale*w, 3)."""
        return self._read(index)[0]

    def lr(self, index: int) -> NDArray[np.uint8]:
        """(h, w, 3)."""
        return self._read(index)[1]
