"""Losses, learning rates, gradient norms, scores and speed, to every logger."""

import time
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback

from srgan_lit.training.callbacks.validation_scores import validation_scores
from srgan_lit.training.module import SRGANModule


class Curves(Callback):
    """Take losses, learning rates, gradient norms, scores and the speed to the loggers, by the iterations done.

    The speed is that since the last time, without validations; ``batch_size`` is per device.
    """

    def __init__(self, *, every: int, batch_size: int) -> None:
        self.every, self.batch_size = every, batch_size
        self._learning_rates: dict[str, float] = {}
        self._since = (0, 0.0)  # iteration, and the time less that of validations
        self._validating = 0.0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock."""
        self._since = (trainer.global_step, time.perf_counter())

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop it."""
        self._validating = time.perf_counter()

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Let it go on; log the scores."""
        iteration, started = self._since
        self._since = (iteration, started + time.perf_counter() - self._validating)
        scores = {f"val/{name}": value for name, value in validation_scores(trainer).items()}
        for logger in trainer.loggers:
            logger.log_metrics(scores, step=trainer.global_step)

    def _speed(self, trainer: L.Trainer) -> float:
        """Images per second of all devices since the last call."""
        (iteration, started), now = self._since, time.perf_counter()
        self._since = (trainer.global_step, now)
        return (trainer.global_step - iteration) * self.batch_size * trainer.world_size / (now - started)

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """The learning rates that this iteration uses, before the schedules step on."""
        assert isinstance(pl_module, SRGANModule)
        self._learning_rates = pl_module.learning_rates()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Every so many iterations, and after the last one: a run shorter than that has a curve too."""
        assert isinstance(pl_module, SRGANModule)
        if pl_module.global_step % self.every == 0 or pl_module.global_step == pl_module.plan.iterations:
            losses = {f"train/{name}": value for name, value in pl_module.values.items()}
            losses["train/skipped"] = torch.tensor(pl_module.skipped)
            rates = {f"learning_rate/{name}": rate for name, rate in self._learning_rates.items()}
            values = {name: float(value) for name, value in (losses | rates).items()}
            values["images_per_second"] = self._speed(trainer)  # after float(), which waits for the device
            for logger in trainer.loggers:
                logger.log_metrics(values, step=pl_module.global_step)
