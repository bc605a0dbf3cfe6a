"""What is scored: anything that takes LR pixels and gives SR pixels. No files, no command line."""

import copy
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from srgan_lit import bicubic, images
from srgan_lit.checkpoint import Ranged
from srgan_lit.errors import SRGANError
from srgan_lit.generator import Generator, fold_batchnorm_


class Upscaler(Protocol):
    """Takes ``lr`` (h, w, 3) uint8 and returns ``sr`` (scale*h, scale*w, 3) uint8."""

    @property
    def scale(self) -> int:
        """How many times larger the output is."""

    def __call__(self, lr: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return ``sr`` for ``lr``."""


class Bicubic:
    """The baseline that every table names ``bicubic``."""

    def __init__(self, scale: int) -> None:
        self.scale = scale

    def __call__(self, lr: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return ``lr`` (h, w, 3) uint8, enlarged."""
        return bicubic.enlarge(lr, self.scale)


class Network:
    """A generator's weights as they are now, for inference: BatchNorm folded, channels_last, float32.

    It is a copy: the generator that it is made from is left alone, in whatever mode it is.
    """

    def __init__(self, generator: Generator | Ranged, *, device: str | torch.device | None = None) -> None:
        self.scale = generator.scale
        self.device = torch.device(device) if device is not None else next(generator.parameters()).device
        network: nn.Module = copy.deepcopy(generator).float().eval()
        for module in network.modules():
            if isinstance(module, Generator):
                fold_batchnorm_(module)
        self._network = network.to(device=self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def __call__(self, lr: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return ``sr`` (scale*h, scale*w, 3) uint8, clamped and rounded.

        Raises:
            SRGANError: the output is not finite: the training that made these weights had diverged.
        """
        image = images.from_pixels(lr).to(device=self.device, memory_format=torch.channels_last)
        # Lightning's precision plugin may have autocast on where this is called in training.
        with torch.inference_mode(), torch.autocast(self.device.type, enabled=False):
            sr = self._network(image)
        if not sr.isfinite().all():
            raise SRGANError("the generator's output is not finite: its training had diverged")
        return images.to_pixels(sr)
