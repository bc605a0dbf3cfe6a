"""What dashboards show besides curves: validation pictures as they change, and the generator at the end.

A new panel is a function and a row of ``PANELS``.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
from lightning.pytorch.callbacks import Callback
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from srgan_lit.evaluation import comparison_strip, hardest_boxes, metrics
from srgan_lit.pictures import bicubic, tensors
from srgan_lit.training import batches, whole_pictures
from srgan_lit.training.dashboards import Dashboard

PICTURES = 4  # the first of the validation set: the same in every run on the same pictures
_COLUMN_PX = 240  # LR, bicubic, SR and HR in a panel of 1040 pixels


@dataclass(frozen=True, kw_only=True)
class Views:
    """One validation picture: ``lr`` (1, 3, h, w), ``sr`` and ``hr`` (1, 3, H, W), in [0, 1]; ``sr`` is not clamped."""

    lr: Tensor
    sr: Tensor
    hr: Tensor
    grey: bool
    scale: int


class Showcase(Callback):
    """At each validation the panels of ``PANELS`` for each of a few pictures."""

    def __init__(self, dashboards: Sequence[Dashboard], *, run_dir: Path, scale: int) -> None:
        self.dashboards, self.run_dir, self.scale = dashboards, run_dir, scale
        self._panels: dict[str, dict[str, Image.Image]] = {}  # by panel and picture

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Forget the panels of the validation before."""
        self._panels = {name: {} for name in PANELS}

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw a picture's panels; ``outputs`` is the validation step's SR image."""
        shown = self._panels[next(iter(PANELS))]
        if dataloader_idx or len(shown) == PICTURES:
            return
        pictures = whole_pictures.each(outputs, batches.complete(batch, scale=self.scale))
        for sr, lr, hr, name, grey in itertools.islice(pictures, PICTURES - len(shown)):
            views = Views(lr=lr, sr=sr, hr=hr, grey=grey, scale=self.scale)
            for panel, draw in PANELS.items():
                self._panels[panel][name or f"picture {len(shown) + 1}"] = draw(views)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Hand the panels to every dashboard."""
        for dashboard in self.dashboards:
            for name, pictures in self._panels.items():
                dashboard.show(name, pictures, trainer.global_step)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Hand over the generator file, if the training came to its end."""
        result = self.run_dir / "generator.safetensors"
        if result.is_file():
            for dashboard in self.dashboards:
                dashboard.result(result)


def side_by_side(views: Views) -> Image.Image:
    """LR, bicubic, SR and HR, whole and one box enlarged.

    The box is where bicubic errs most, so that it stays where it is as the generator learns.
    """
    small, ours, original = (tensors.to_pixels(image) for image in (views.lr, views.sr, views.hr))
    grey, scale = views.grey, views.scale
    smooth = bicubic.enlarge(small, scale)
    box = hardest_boxes.hardest([smooth], original, count=1, side=max(24, min(original.shape[:2]) // 4))[0]
    columns = [
        comparison_strip.Column(
            "LR", small.repeat(scale, axis=0).repeat(scale, axis=1), f"{small.shape[1]}x{small.shape[0]}"
        ),
        comparison_strip.Column("bicubic", smooth, _score(smooth, original, grey=grey, scale=scale)),
        comparison_strip.Column("SR", ours, _score(ours, original, grey=grey, scale=scale)),
        comparison_strip.Column("HR", original, "PSNR / SSIM"),
    ]
    return comparison_strip.draw(columns, box, column_px=_COLUMN_PX)


def _score(pixels: NDArray[np.uint8], original: NDArray[np.uint8], *, grey: bool, scale: int) -> str:
    rule = metrics.protocol(f"y_shave{scale}")
    pair = tensors.from_pixels(pixels), tensors.from_pixels(original)
    return f"{metrics.psnr(*pair, rule, grey=grey).item():.2f} dB / {metrics.ssim(*pair, rule, grey=grey).item():.4f}"


# By the name that dashboards show.
PANELS: dict[str, Callable[[Views], Image.Image]] = {"pictures": side_by_side}
