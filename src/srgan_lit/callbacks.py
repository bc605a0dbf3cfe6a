"""What happens beside the training: generator files, learning rates, the progress bar. No maths."""

import logging
import math
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback, TQDMProgressBar

from srgan_lit.checkpoint import save_generator
from srgan_lit.module import PRETRAIN, SRGANModule

log = logging.getLogger(__name__)


class GeneratorFiles(Callback):
    """Write the generator files of a run.

    ``srresnet.safetensors`` when pretraining ends; ``generator.safetensors``, the result, when all ends;
    ``best.safetensors`` after each validation that is better than any before in the same phase: by PSNR while
    pretraining, by the perceptual distance in the adversarial phase (by PSNR if there is none).
    """

    def __init__(self, run_dir: Path, *, trained: dict[str, Any]) -> None:
        self.run_dir, self.trained = run_dir, trained
        self.best: dict[str, float] = {}
        self.validated: tuple[int, dict[str, float]] = (-1, {})

    def state_dict(self) -> dict[str, Any]:
        """The best value of each phase, for a run that is resumed."""
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on comparing with the best so far."""
        self.best = dict(state_dict["best"])

    def save(self, trainer: L.Trainer, module: SRGANModule, name: str) -> None:
        """Write one generator file, with the scores of a validation at this very iteration if there was one."""
        if not trainer.is_global_zero:
            return
        iteration, scores = self.validated
        save_generator(
            self.run_dir / name,
            module.generator,
            trained={**self.trained, "iterations": module.global_step},
            scores={"validation": scores} if iteration == module.global_step else {},
        )

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """At the first adversarial iteration, what pretraining ended with."""
        assert isinstance(pl_module, SRGANModule)
        if 0 < pl_module.pretrain_iterations == pl_module.global_step:
            self.save(trainer, pl_module, "srresnet.safetensors")

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Keep the best."""
        assert isinstance(pl_module, SRGANModule)
        values = {
            name.removeprefix("val/"): float(value)
            for name, value in trainer.callback_metrics.items()
            if name.startswith("val/")
        }
        self.validated = (pl_module.global_step, values)
        # A validation follows the iterations that it judges: at the seam it belongs to pretraining.
        phase = PRETRAIN if pl_module.global_step <= pl_module.pretrain_iterations else "adversarial"
        by_distance = phase != PRETRAIN and "perceptual" in values
        value = -values["perceptual"] if by_distance else values["psnr"]
        if math.isfinite(value) and value > self.best.get(phase, -math.inf):
            self.best[phase] = value
            self.save(trainer, pl_module, "best.safetensors")

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """The result."""
        assert isinstance(pl_module, SRGANModule)
        if pl_module.global_step == pl_module.pretrain_iterations:
            self.save(trainer, pl_module, "srresnet.safetensors")
        if pl_module.global_step >= pl_module.plan.iterations:
            self.save(trainer, pl_module, "generator.safetensors")


class LearningRates(Callback):
    """Log the learning rate of each network of the running phase, as it was in the iteration just done."""

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Before the schedule steps on."""
        assert isinstance(pl_module, SRGANModule)
        for name, rate in pl_module.learning_rates().items():
            pl_module.log(f"learning_rate/{name}", rate)


class IterationBar(TQDMProgressBar):
    """One bar over all iterations: phase, iterations per second, time left, losses, last validation."""

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Name the phase."""
        super().on_train_batch_start(trainer, pl_module, batch, batch_idx)
        assert isinstance(pl_module, SRGANModule)
        self.train_progress_bar.set_description(pl_module.phase, refresh=False)

    def get_metrics(self, trainer: L.Trainer, pl_module: L.LightningModule) -> dict[str, Any]:
        """Without the logger's version number, which says nothing here."""
        shown = super().get_metrics(trainer, pl_module)
        shown.pop("v_num", None)
        return {name.removeprefix("train/"): value for name, value in shown.items()}
