"""A generator, a term of its loss, a data set and a callback: what conf/experiment/mine.yaml names."""

from pathlib import Path

import torch.nn.functional as F
from lightning.pytorch.callbacks import Callback
from torch import nn

from srgan_lit.data.sets import Source


class Shallow(nn.Module):
    """Repeated pixels and a correction of two convolutions: (B, 3, h, w) in [0, 1] to (B, 3, scale*h, scale*w)."""

    receptive_radius = 4  # LR pixels on each side that an output pixel depends on: two of each 5x5 convolution

    def __init__(self, *, scale: int, width: int) -> None:
        super().__init__()
        self.scale = scale
        self.layers = nn.Sequential(
            nn.Conv2d(3, width, 5, padding=2), nn.PReLU(), nn.Conv2d(width, 3 * scale**2, 5, padding=2)
        )

    def forward(self, lr):
        """Enlarge."""
        return F.pixel_shuffle(self.layers(lr), self.scale) + F.interpolate(lr, scale_factor=self.scale)


def edges(sr, hr, *, step: int):
    """Mean absolute difference of the two pictures' differences between neighbours, of every ``step``-th pixel."""
    return sum(F.l1_loss(sr.diff(dim=d)[..., ::step, ::step], hr.diff(dim=d)[..., ::step, ::step]) for d in (-2, -1))


def patches(root: str) -> list[Source]:
    """The PNG files in ``root``; raccoon_03.png is of the album raccoon, of which validation gets all or none."""
    files = sorted(Path(root).glob("*.png"))
    return [Source(name=file.name, path=file, album=file.stem.rpartition("_")[0]) for file in files]


class WeightNorm(Callback):
    """One more column of metrics.csv: the norm of the generator's weights."""

    def on_validation_end(self, trainer, pl_module):
        """After each validation."""
        norm = sum(float(weight.square().sum()) for weight in pl_module.generator.parameters()) ** 0.5
        for logger in trainer.loggers:
            logger.log_metrics({"val/weight_norm": norm}, step=trainer.global_step)
