"""Learning rates as the configuration says, also where a checkpoint was written with others."""

from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback

from srgan_lit.training import schedules
from srgan_lit.training.module import SRGANModule


class ConfiguredLearningRates(Callback):
    """Give each optimizer the learning rate of its configuration at the place in its schedule where it goes on.

    A checkpoint brings the rates that it was written with. Where the configuration is still the same, so are they.
    """

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """After the checkpoint is loaded."""
        assert isinstance(pl_module, SRGANModule)
        plan = pl_module.plan
        every = {"pretrain": plan.pretrain, "generator": plan.adversarial, "discriminator": plan.adversarial}
        configs = [(name, config) for name, config in every.items() if config]
        for (name, config), optimizer, of_lightning in zip(
            configs, trainer.optimizers, trainer.lr_scheduler_configs, strict=True
        ):
            scheduler: Any = of_lightning.scheduler
            base = schedules.base_rate(config, name)
            scheduler.base_lrs = [base for _ in scheduler.base_lrs]
            rate = base * schedules.factor(config, scheduler.last_epoch)
            scheduler._last_lr = [rate for _ in scheduler.base_lrs]
            for group in optimizer.param_groups:
                group["initial_lr"], group["lr"] = base, rate
