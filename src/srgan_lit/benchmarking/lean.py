"""The strongest arrangement known in plain PyTorch: the second of the benchmark's opponents.

The networks are written as in ``textbook.py``, contiguous, with Adam not fused, and nothing is computed that is not
needed. Pretraining has nothing to leave out: it is the textbook's.
"""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor

from srgan_lit.benchmarking import textbook
from srgan_lit.losses import adversarial
from srgan_lit.networks.srresnet import Generator, fold_batchnorm_


class LeanTraining(textbook.TextbookTraining):
    """Updates without needless work: one forward of the generator for both, no gradient that nobody uses."""

    gradients_of_vgg = False

    def adversarial(self, lr: Tensor, hr: Tensor) -> dict[str, Tensor]:
        """One update of each network, the generator's first: it is judged by the discriminator of the step before."""
        sr = textbook.forward(self.generator, lr)
        with torch.no_grad():
            target = self.features(hr)
        self.discriminator.requires_grad_(False)
        self.generator_adam.zero_grad()
        perceptual = F.mse_loss(self.features(sr).float(), target.float())
        game = adversarial.generator_loss(self.discriminator(sr))
        (perceptual + 1e-3 * game).backward()
        self.generator_adam.step()

        self.discriminator.requires_grad_(True)
        self.discriminator_adam.zero_grad()
        loss = adversarial.discriminator_loss(self.discriminator(hr), self.discriminator(sr.detach()))
        loss.backward()
        self.discriminator_adam.step()
        return {"discriminator": loss.detach(), "perceptual": perceptual.detach(), "adversarial": game.detach()}


def folded(generator: Generator) -> Generator:
    """A copy of a ``generator`` in ``eval()``, BatchNorm folded into the convolutions, for ``textbook.enlarge``."""
    return fold_batchnorm_(copy.deepcopy(generator))
