"""The LightningModule: which network learns what, when. No layers, no files.

Optimisation is manual, because two networks take turns. An iteration is one batch: one update of the generator
and, in the adversarial phase, one of the discriminator before it. Only the generator's update counts in
Lightning's ``global_step``, so that ``global_step`` is the number of iterations done.
"""

from typing import Any

import lightning as L
import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor
from torch.optim import Adam, Optimizer

from srgan_lit import bicubic, images, losses, metrics
from srgan_lit.config import PhaseConfig
from srgan_lit.discriminator import Discriminator, frozen
from srgan_lit.generator import Generator
from srgan_lit.schedules import scheduler

PRETRAIN, ADVERSARIAL = "pretrain", "adversarial"


class SRGANModule(L.LightningModule):
    """SRResNet pretraining, then SRGAN training, as ``phase`` says.

    Args:
        generator: takes ``lr`` (B, 3, h, w) in [0, 1].
        phase: the phases that run, their iterations, learning rates and loss weights.
        discriminator: needed where there is an adversarial phase, else None.
        perceptual: the feature loss; needed where its weight is above 0. Its fixed weights stay out of
            checkpoints and of DDP.

    Batches are dicts of ``lr`` and ``hr`` (B, 3, H, W) in [0, 1]; validation batches hold one whole picture,
    its ``name`` and whether it is ``grey``.
    """

    def __init__(
        self,
        *,
        generator: Generator,
        phase: PhaseConfig,
        discriminator: Discriminator | None = None,
        perceptual: losses.PerceptualLoss | None = None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.generator = generator
        self.discriminator = discriminator
        self.plan = phase
        self._outside = (perceptual,)  # a tuple, so that it is no submodule
        self._protocol = metrics.protocol(f"y_shave{generator.scale}")
        self._bicubic_scores: dict[str, tuple[Tensor, Tensor]] = {}
        self.values: dict[str, Tensor] = {}  # of the iteration just done, for curves and progress bar

    # ------------------------------------------------------------------ phases and optimizers

    @property
    def pretrain_iterations(self) -> int:
        """Iterations before the adversarial phase begins."""
        return self.plan.pretrain.iterations if self.plan.pretrain else 0

    @property
    def phase(self) -> str:
        """The phase that the next iteration belongs to."""
        return PRETRAIN if self.global_step < self.pretrain_iterations else ADVERSARIAL

    @property
    def perceptual(self) -> losses.PerceptualLoss | None:
        """The feature loss."""
        return self._outside[0]

    def configure_optimizers(self) -> Any:
        """Adam (beta1 0.9, section 3.2) and a schedule for each network in each phase.

        Each phase starts with fresh moments, as two separate trainings would.
        """
        self._names: list[str] = []
        optimizers, schedulers = [], []
        for name, config, network in (
            ("pretrain", self.plan.pretrain, self.generator),
            ("generator", self.plan.adversarial, self.generator),
            ("discriminator", self.plan.adversarial, self.discriminator),
        ):
            if config is not None and network is not None:
                optimizer = Adam(network.parameters(), lr=config.learning_rate, betas=(0.9, 0.999), fused=True)
                self._names.append(name)
                optimizers.append(optimizer)
                schedulers.append(scheduler(optimizer, config))
        return optimizers, schedulers

    def on_fit_start(self) -> None:
        """Bring the feature loss to the device that the networks are on."""
        if self.perceptual is not None:
            self.perceptual.to(self.device)

    # ------------------------------------------------------------------ training

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """One iteration."""
        self.values = {}
        lr, hr = batch["lr"], batch["hr"]
        sr = self.generator(lr)  # the one forward, shared by both updates
        if self.phase == PRETRAIN:
            self.pretrain_step(sr, hr)
        else:
            self.discriminator_step(sr.detach(), hr)
            self.generator_step(sr, hr)

    def pretrain_step(self, sr: Tensor, hr: Tensor) -> None:
        """Update the generator by the pixel loss alone. The discriminator is not touched."""
        assert self.plan.pretrain is not None
        kind = self.plan.pretrain.loss
        loss = losses.pixel_loss(sr, hr, kind)
        self.update("pretrain", loss)
        self.report({kind: loss})

    def discriminator_step(self, sr: Tensor, hr: Tensor) -> None:
        """Update the discriminator on ``hr`` and on detached ``sr``, forwarded apart (BatchNorm)."""
        assert self.plan.adversarial is not None
        assert self.discriminator is not None
        config = self.plan.adversarial
        real, generated = self.discriminator(hr), self.discriminator(sr)
        loss = losses.discriminator_loss(real, generated, kind=config.loss, smoothing=config.label_smoothing)
        self.update("discriminator", loss)
        self.report(
            {
                "discriminator": loss,
                "probability_real": real.detach().float().sigmoid().mean(),
                "probability_generated": generated.detach().float().sigmoid().mean(),
            }
        )

    def generator_step(self, sr: Tensor, hr: Tensor) -> None:
        """Update the generator by the weighted sum of its parts. The discriminator is frozen."""
        assert self.plan.adversarial is not None
        assert self.plan.weights is not None
        assert self.discriminator is not None
        kind, weights = self.plan.adversarial.loss, self.plan.weights
        parts: dict[str, Tensor] = {}
        if weights.mse:
            parts["mse"] = losses.pixel_loss(sr, hr, "mse")
        if weights.perceptual:
            assert self.perceptual is not None
            parts["perceptual"] = self.perceptual(sr, hr)
        if weights.adversarial:
            with frozen(self.discriminator):
                real = self.discriminator(hr) if kind == "relativistic" else None
                parts["adversarial"] = losses.generator_loss(self.discriminator(sr), kind=kind, real=real)
        total = torch.stack([getattr(weights, name) * part for name, part in parts.items()]).sum()
        self.update("generator", total)
        self.report({**parts, "total": total})

    def update(self, name: str, loss: Tensor) -> None:
        """One step of the optimizer ``name``, and of its schedule, down the gradient of ``loss``."""
        index = self._names.index(name)
        optimizers: Any = self.optimizers()
        optimizer: LightningOptimizer = optimizers[index] if isinstance(optimizers, list) else optimizers
        optimizer.zero_grad()
        self.manual_backward(loss)
        if name == "discriminator":
            # Through the precision plugin like the other, but past the counter of global_step.
            self.trainer.strategy.optimizer_step(optimizer.optimizer, lambda: None)
        else:
            optimizer.step()
        schedulers: Any = self.lr_schedulers()
        (schedulers[index] if isinstance(schedulers, list) else schedulers).step()

    def report(self, values: dict[str, Tensor]) -> None:
        """Keep what an update says of itself; losses are unweighted parts and their weighted ``total``."""
        self.values |= {name: value.detach() for name, value in values.items()}

    def learning_rates(self) -> dict[str, float]:
        """Of the optimizers of the running phase, by network."""
        optimizers: Any = self.optimizers(use_pl_optimizer=False)
        every: list[Optimizer] = optimizers if isinstance(optimizers, list) else [optimizers]
        rates = {name: float(each.param_groups[0]["lr"]) for name, each in zip(self._names, every, strict=True)}
        if self.phase == PRETRAIN:
            return {"generator": rates["pretrain"]}
        return {name: rates[name] for name in ("generator", "discriminator")}

    # ------------------------------------------------------------------ validation

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """Score one whole picture, next to bicubic; returns ``sr`` (1, 3, H, W) for whoever shows it."""
        lr, hr, grey = batch["lr"], batch["hr"], bool(batch["grey"])
        with torch.compiler.set_stance("force_eager"):  # every size would compile anew
            sr = self.generator(lr).float()
        scores = {"psnr": metrics.psnr(sr, hr, self._protocol, grey=grey)}
        scores["ssim"] = metrics.ssim(sr, hr, self._protocol, grey=grey)
        scores["psnr_bicubic"], scores["ssim_bicubic"] = self._bicubic(batch["name"][0], lr, hr, grey)
        scores["psnr_gain"] = scores["psnr"] - scores["psnr_bicubic"]
        if self.perceptual is not None and self.phase == ADVERSARIAL:
            scores["perceptual"] = self.perceptual(sr.clamp(0, 1), hr)
        for name, value in scores.items():
            self.log(f"val/{name}", value.mean().float(), batch_size=1, sync_dist=True)
        self.log("step", float(self.global_step), batch_size=1)  # what Lightning takes for the loggers' axis
        return sr

    def _bicubic(self, name: str, lr: Tensor, hr: Tensor, grey: bool) -> tuple[Tensor, Tensor]:
        """PSNR and SSIM of bicubic upscaling, computed once for each picture."""
        if name not in self._bicubic_scores:
            up = images.from_pixels(bicubic.enlarge(images.to_pixels(lr), self.generator.scale)).to(hr.device)
            self._bicubic_scores[name] = (
                metrics.psnr(up, hr, self._protocol, grey=grey),
                metrics.ssim(up, hr, self._protocol, grey=grey),
            )
        return self._bicubic_scores[name]

    # ------------------------------------------------------------------ checkpoints

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Say what generator this is, so that the checkpoint can be used wherever a generator file can."""
        checkpoint["generator_architecture"] = self.generator.architecture
