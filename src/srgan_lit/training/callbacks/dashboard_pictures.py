"""What dashboards show besides curves: validation pictures as they change, and the generator at the end."""

from collections.abc import Sequence
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
from srgan_lit.training.dashboards import Dashboard

PICTURES = 4  # the first of the validation set: the same in every run on the same pictures
_COLUMN_PX = 240  # LR, bicubic, SR and HR in a panel of 1040 pixels


class Showcase(Callback):
    """At each validation a panel for each of a few pictures: LR, bicubic, SR and HR, whole and one box enlarged.

    The box is where bicubic errs most, so that it stays where it is as the generator learns.
    """

    def __init__(self, dashboards: Sequence[Dashboard], *, run_dir: Path, scale: int) -> None:
        self.dashboards, self.run_dir, self.scale = dashboards, run_dir, scale
        self._panels: dict[str, Image.Image] = {}

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begin anew."""
        self._panels = {}

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw one; ``outputs`` is the validation step's SR image."""
        if batch_idx < PICTURES:
            name, grey = batch["name"][0], bool(batch["grey"])
            self._panels[name] = panel(batch["lr"], outputs, batch["hr"], grey=grey, scale=self.scale)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Show them."""
        for dashboard in self.dashboards:
            dashboard.show(self._panels, trainer.global_step)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """The generator file, where the training came to its end."""
        result = self.run_dir / "generator.safetensors"
        if result.is_file():
            for dashboard in self.dashboards:
                dashboard.result(result)


def panel(lr: Tensor, sr: Tensor, hr: Tensor, *, grey: bool, scale: int) -> Image.Image:
    """One picture in four columns, from images (1, 3, h, w) and twice (1, 3, H, W) in [0, 1]."""
    small, ours, original = tensors.to_pixels(lr), tensors.to_pixels(sr), tensors.to_pixels(hr)
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
