"""What scoring takes: anything that turns LR pixels into SR pixels. No files, no command line."""

import functools
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from srgan_lit.common.errors import SRGANError
from srgan_lit.model_files import box, generator_file
from srgan_lit.model_files.generator_file import Ranged
from srgan_lit.networks.srresnet import Generator
from srgan_lit.upscaling import engine, model_choice


class Upscaler(Protocol):
    """Takes ``lr`` (h, w, 3) uint8 and returns ``sr`` (scale*h, scale*w, 3) uint8."""

    @property
    def scale(self) -> int:
        """How many times larger the output is."""

    def __call__(self, lr: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return ``sr`` for ``lr``."""


class Auto:
    """``--model auto``: for each picture the generator of the box that suits it."""

    def __init__(self, *, device: str | torch.device) -> None:
        self.scale = model_choice.scale()
        self._network = functools.cache(
            lambda name: Network(generator_file.load_generator(box.path_of(name)), device=device)
        )

    def __call__(self, lr: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return ``sr`` (4h, 4w, 3) uint8; raises as ``Network`` does."""
        sr: NDArray[np.uint8] = self._network(model_choice.for_pixels(lr).name)(lr)
        return sr


class Network:
    """A generator's weights as they are now, for inference in float32: whole pictures, or exact tiles by free memory.

    It is a copy: the generator that it is made from is left alone, in whatever mode it is.
    """

    def __init__(self, generator: Generator | Ranged, *, device: str | torch.device | None = None) -> None:
        self.scale = generator.scale
        self._finite = all(tensor.isfinite().all() for tensor in generator.state_dict().values())
        self._enlarger = engine.Enlarger(generator, device=device or next(generator.parameters()).device)

    def __call__(self, lr: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return ``sr`` (scale*h, scale*w, 3) uint8, clamped and rounded.

        Raises:
            SRGANError: weights are not finite, which would show as black; or memory runs out with the smallest tiles.
        """
        if not self._finite:
            raise SRGANError("the generator's weights are not finite: its training had diverged")
        return np.concatenate(list(engine.bands(lr, self._enlarger)))
