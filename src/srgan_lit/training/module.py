"""The LightningModule: which network learns what, when. No layers, no files.

Optimisation is manual, because two networks take turns. An iteration is one batch: one update of the generator
and, in the adversarial phase, one of the discriminator before it. Only the generator's update counts in
Lightning's ``global_step``, so that ``global_step`` is the number of iterations done.
"""

import contextlib
import dataclasses
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, Self, cast

import lightning as L
import torch
from lightning.pytorch.strategies import ParallelStrategy
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Adam, Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from srgan_lit.common import freed_memory
from srgan_lit.common.errors import UsageError
from srgan_lit.config.schema import (
    DiscriminatorConfig,
    ModelConfig,
    OptimizationConfig,
    PerceptualConfig,
    PhaseConfig,
)
from srgan_lit.evaluation.feature_distance import FeatureDistance
from srgan_lit.losses import adversarial, gradient_penalty, pixel
from srgan_lit.losses.perceptual import PerceptualLoss
from srgan_lit.losses.terms import Own, Update, weighted
from srgan_lit.networks import architectures, discriminators
from srgan_lit.networks.discriminator import unrecorded
from srgan_lit.networks.srresnet import Generator
from srgan_lit.training import (
    batches,
    float16_scalers,
    per_network_ddp,
    recipe,
    recorded_iterations,
    schedules,
    updates,
    whole_pictures,
)
from srgan_lit.training.feature_loss import LPIPS, FeatureLoss
from srgan_lit.training.float16_scalers import ScalerPerOptimizer
from srgan_lit.training.images_per_second import Speed
from srgan_lit.training.per_network_ddp import PerNetworkDDP
from srgan_lit.training.recorded_iterations import RecordedIterations
from srgan_lit.training.schedules import scheduler
from srgan_lit.training.whole_pictures import WholePictures, judged

PRETRAIN, ADVERSARIAL = "pretrain", "adversarial"
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")  # weights, losses and scores stay float32

# What an update minimises, and what it says of itself: unweighted losses by name, the weighted ``total``.
Minimised = tuple[Tensor, dict[str, Tensor]]


class SRGANModule(L.LightningModule):
    """SRResNet pretraining, then SRGAN training, as ``phase`` says.

    ``SRGANModule(blocks=16)`` is the paper's recipe; each part can be given instead. Checkpoints hold what was given
    as plain values, so that ``SRGANModule.load_from_checkpoint(path)`` builds the same module.

    Args:
        blocks, features, scale: of a new generator: residual blocks, channels, and times larger (2, 4 or 8).
        crop: side in pixels of the HR crops that a new discriminator judges.
        normalisation: of a new discriminator of the paper's kind, ``batch`` or ``spectral``.
        generator: in place of a new one, or the settings of another kind (``ModelConfig``); takes ``lr`` (B, 3, h, w)
            in [0, 1]. One of a class that this package does not have is given to ``load_from_checkpoint`` again.
        discriminator: in place of a new one, or the settings of another kind (``DiscriminatorConfig``); there is none
            where there is no adversarial phase. One of a class of your own is given to ``load_from_checkpoint`` again.
        perceptual: the feature loss, or the settings of one (``PerceptualConfig``), whose weights are read or
            downloaded when they are first needed. They are fixed and stay out of checkpoints and of DDP.
        phase: the phases that run, their iterations, learning rates and loss weights: a ``PhaseConfig``, or the values
            that differ from the paper's, e.g. ``{"pretrain": {"iterations": 1000}}`` to pretrain alone.
        optimization: the moving average, clipping, accumulation, and how BatchNorm takes its statistics.
        terms: of your own in the generator's loss, by their names in ``phase["weights"]``; called with ``sr`` and
            ``hr``. Their own parameters are fixed and stay out of checkpoints and of DDP; give the terms to
            ``load_from_checkpoint`` again.
        lpips: a file with LPIPS's backbone, or the name of one, to score validation pictures with; None does not.
        cuda_graph: record iterations and replay them, on a GPU with CUDA: see ``recorded_iterations``.

    Raises:
        pydantic.ValidationError: a setting is unknown or out of range.

    ``forward`` enlarges with the generator that is validated and saved. Training ends when the phases are done, or
    earlier at the Trainer's own limits.

    An update whose gradient is not finite is left out, and with it what that batch did to the statistics of
    BatchNorm: ``skipped`` counts such iterations, ``skipped_in_a_row`` those since the last good one.

    Batches are dicts of ``lr`` and ``hr`` (B, 3, H, W) in [0, 1], or pairs of them; those of a validation or test hold
    whole pictures of one size. They may have the pictures' ``name`` (else bicubic is scored anew each time) and say
    which are ``grey`` (scored as such). Scores of a second loader are called ``val/psnr_1`` and so on.
    """

    def __init__(
        self,
        *,
        blocks: int = 16,
        features: int = 64,
        scale: int = 4,
        crop: int = 96,
        normalisation: Literal["batch", "spectral"] = "batch",
        generator: Generator | ModelConfig | Mapping[str, Any] | None = None,
        discriminator: nn.Module | DiscriminatorConfig | Mapping[str, Any] | None = None,
        perceptual: PerceptualLoss | PerceptualConfig | Mapping[str, Any] | None = None,
        phase: PhaseConfig | Mapping[str, Any] | None = None,
        optimization: OptimizationConfig | Mapping[str, Any] | None = None,
        terms: Mapping[str, Own] | None = None,
        lpips: str | None = None,
        cuda_graph: bool = False,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.optimization = recipe.settings(OptimizationConfig, optimization)
        self.plan = recipe.plan(phase, terms or ())
        if not isinstance(generator, nn.Module):
            shape = {"blocks": blocks, "features": features, "scale": scale} if generator is None else generator
            network = architectures.build(recipe.settings(ModelConfig, shape))
            generator = cast(Generator, network.to(memory_format=torch.channels_last))
        if not isinstance(discriminator, nn.Module) and self.plan.adversarial:
            values = {"normalisation": normalisation} if discriminator is None else discriminator
            judge = discriminators.build(recipe.settings(DiscriminatorConfig, values), crop=crop)
            discriminator = judge.to(memory_format=torch.channels_last)
        self.generator = generator
        self.discriminator = discriminator if isinstance(discriminator, nn.Module) else None
        self.ema: AveragedModel | None = None
        if self.optimization.ema:
            average = get_ema_multi_avg_fn(self.optimization.ema)
            self.ema = AveragedModel(generator, multi_avg_fn=average, use_buffers=True).requires_grad_(False)
        elif (self.plan.weights or {}).get("artefacts"):
            raise UsageError("the term artefacts compares with a moving average: optimization={'ema': 0.999}")
        self._feature_loss = FeatureLoss(perceptual)
        self._own_terms = (dict(terms or {}),)  # in a tuple: modules among them must not become submodules
        if missing := self.plan.terms.keys() - self._own_terms[0].keys():
            name = min(missing)
            raise UsageError(f"phase.terms.{name} is a term of your own: pass it, terms={{{name!r}: …}}")
        self._lpips = LPIPS(lpips) if lpips else None
        self._r1: Tensor | None = None  # the penalty, as last computed
        self.save_hyperparameters(
            {
                **recipe.shape(generator),
                "crop": getattr(self.discriminator, "crop", crop),
                **recipe.judge(self.discriminator),
                "lpips": lpips,
                "perceptual": self._feature_loss.settings,
                "phase": dataclasses.asdict(self.plan),
                "optimization": dataclasses.asdict(self.optimization),
            }
        )
        self._whole_pictures = WholePictures(generator.scale)
        self.values: dict[str, Tensor] = {}  # of the iteration just done, for curves and progress bar
        self.read: dict[str, float] = {}  # ``values`` and skips as numbers, when they were last read
        self.cuda_graph = cuda_graph
        self._recorded: RecordedIterations | None = None  # of the running fit
        self._skips = updates.Skips()
        self._finite: Tensor | None = None  # whether every gradient of this iteration is, known to the device
        self._rates: dict[str, float] = {}  # learning rates of this iteration
        self._speed = Speed()
        self.train()

    def forward(self, lr: Tensor) -> Tensor:
        """Return ``sr`` (B, 3, scale*h, scale*w) for ``lr`` (B, 3, h, w), both in [0, 1]; ``sr`` may overshoot."""
        return self.result(lr)

    @property
    def result(self) -> Generator:
        """The generator that is validated and saved: the moving average where there is one."""
        if self.ema is None:
            return self.generator
        return cast(Generator, self.ema.module)

    def train(self, mode: bool = True) -> Self:
        """Like every module's, but frozen BatchNorm goes on using its running statistics."""
        super().train(mode)
        if self.optimization.batchnorm != "batch":
            networks = [self] if self.optimization.batchnorm == "frozen" else [self.generator, self.ema]
            for norm in itertools.chain.from_iterable(network.modules() for network in networks if network):
                if isinstance(norm, _BatchNorm):
                    norm.eval()
        return self

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
    def perceptual(self) -> PerceptualLoss | None:
        """The feature loss, on the device of the networks; None where nothing of it is learned or scored."""
        weights = self.plan.weights or {}
        if not weights.get("perceptual") and not self._feature_loss.given:
            return None
        return self._feature_loss.on(self.device)

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
                rate = schedules.base_rate(config, name)
                optimizer = Adam(network.parameters(), lr=rate, betas=(0.9, 0.999), fused=True)
                self._names.append(name)
                optimizers.append(optimizer)
                schedulers.append(scheduler(optimizer, config))
        return optimizers, schedulers

    def setup(self, stage: str) -> None:
        """Check the data's scale, and load what scores and losses need.

        Raises:
            UsageError: the data are of another scale, or crops of another size than the discriminator's, or the
                precision is none of ``PRECISIONS``, or the strategy waits for gradients that an update does not make.
            SRGANError: the weights of the feature loss cannot be read or downloaded.
        """
        scale = self.generator.scale
        data_scale = getattr(self.trainer.datamodule, "scale", scale)  # type: ignore[attr-defined]
        if data_scale != scale:
            raise UsageError(f"the generator is x{scale}, the data x{data_scale}: give both the same scale=")
        crop = getattr(self.discriminator, "crop", None)
        data_crop = getattr(getattr(self.trainer.datamodule, "config", None), "crop", crop)  # type: ignore[attr-defined]
        if stage == "fit" and crop not in (None, data_crop):
            raise UsageError(
                f"the discriminator is for crops of {crop} pixels, the data's are {data_crop}: give both the same crop="
            )
        if self.trainer.precision not in PRECISIONS:
            raise UsageError(f"precision={self.trainer.precision!r}; take one of {', '.join(PRECISIONS)}")
        per_network_ddp.check(self.trainer.strategy)
        float16_scalers.separate(self.trainer)
        self._whole_pictures.forget()
        if stage == "fit":
            self.load_judges()  # a missing file must end the run now, not at the first validation

    def load_judges(self) -> None:
        """Load the weights of the feature loss and of LPIPS now rather than when they are first needed.

        Raises:
            SRGANError: they cannot be read or downloaded.
        """
        _ = self.perceptual
        if self._lpips is not None:
            self._lpips.on(self.device)

    def on_fit_start(self) -> None:
        """Move the user's own terms to the device of the networks; on a CPU keep freed memory."""
        if self.device.type == "cpu":
            freed_memory.keep()
        for term in self._own_terms[0].values():
            if isinstance(term, nn.Module):
                term.requires_grad_(False).to(self.device)

    # ------------------------------------------------------------------ training

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """One iteration; what it did is in ``values``.

        Raises:
            UsageError: ``batch`` is none for super-resolution.
        """
        batch = batches.complete(batch, scale=self.generator.scale, look=self._first_row_is_due())
        lr, hr, phase = batch["lr"], batch["hr"], self.phase
        self.values = self.iteration(lr, hr) if self._recorded is None else self._recorded(self._kind(), lr, hr)
        if self._trainer is not None:
            self._step_on(phase)
            self._speed.count(len(lr) * self.trainer.world_size)
            if self.row_is_due(self.global_step):
                self.read_values()
                self._log_row()

    def _first_row_is_due(self) -> bool:
        """Whether this iteration writes the loggers' first row, and so waits for the device anyway."""
        iteration = self.global_step + 1 if self._trainer else 0
        return 0 < iteration <= self.trainer.log_every_n_steps and self.row_is_due(iteration)  # type: ignore[attr-defined]

    def iteration(self, lr: Tensor, hr: Tensor) -> dict[str, Tensor]:
        """All that an iteration does on the device, with the whole batch or with its parts one after another.

        It reads nothing back and writes what it changes in place, so that it can be recorded and replayed
        (``recorded_iterations``). Returns ``values``.
        """
        self.values, self._finite = {}, None
        before = updates.Kept(self.generator, self.discriminator if self.phase == ADVERSARIAL else None)
        count = self.optimization.accumulate
        parts = list(zip(lr.chunk(count), hr.chunk(count), strict=True))
        shares = [len(part) / len(hr) for _, part in parts]  # a batch may give fewer parts, or uneven ones
        if self.phase == PRETRAIN:
            self.update("pretrain", (self.pretrain_loss(self.generator(lr), hr) for lr, hr in parts), shares)
        elif len(parts) == 1:
            sr = self.generator(lr)  # the one forward, shared by both updates
            self.update("discriminator", [self.discriminator_loss(sr.detach(), hr)])
            self.update("generator", [self.generator_loss(sr, hr, self.averaged(lr))])
        else:  # a second forward: the graphs of all parts cannot wait for the discriminator's update
            self.update("discriminator", (self.discriminator_loss(self.generated(lr), hr) for lr, hr in parts), shares)
            losses = (self.generator_loss(self.generator(lr), hr, self.averaged(lr)) for lr, hr in parts)
            self.update("generator", losses, shares)
        finite = self._finite
        assert finite is not None
        spoilt = finite.logical_not()
        before.restore(spoilt)
        self._skips.count(spoilt, self._alarming())
        if self.ema is not None:
            updates.average(self.ema, self.generator, decay=self.optimization.ema, finite=finite)
        return self.values

    def _kind(self) -> tuple[str, bool, bool]:
        """What the host decides of an iteration: its phase, and whether R1 is computed, and was before."""
        config = self.plan.adversarial if self.phase == ADVERSARIAL else None
        penalised = config is not None and config.r1 > 0 and self.global_step % config.r1_every == 0
        return self.phase, penalised, self._r1 is not None

    def _step_on(self, phase: str) -> None:
        """Count the iteration of ``phase`` in ``global_step``, and step on the schedules of its optimizers."""
        progress = self.trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
        progress.increment_ready()
        progress.increment_completed()
        for name, config in zip(self._names, self.trainer.lr_scheduler_configs, strict=True):
            schedule: Any = config.scheduler
            if (name == PRETRAIN) == (phase == PRETRAIN):
                schedule.step()

    @property
    def skipped(self) -> int:
        """Iterations of the run that were left out. Reading this, or ``skipped_in_a_row``, waits for the device."""
        return self._skips.total

    @property
    def skipped_in_a_row(self) -> int:
        """Iterations left out since the last good one, but for those in which a float16 scaler adapted its scale."""
        return self._skips.in_a_row

    def read_values(self) -> None:
        """Set ``read`` to ``values`` and ``skipped`` as numbers. Waits for the device once."""
        numbers = torch.cat([value.float().reshape(1) for value in self.values.values()]).tolist()
        self.read = dict(zip(self.values, numbers, strict=True)) | {"skipped": float(self.skipped)}

    def generated(self, lr: Tensor) -> Tensor:
        """``sr`` (B, 3, H, W) of crops, without a graph; BatchNorm's statistics take them in the update, not here."""
        with torch.no_grad(), unrecorded(self.generator):
            return self.generator(lr)

    def pretrain_loss(self, sr: Tensor, hr: Tensor) -> Minimised:
        """The pixel loss, which is all that pretraining minimises."""
        assert self.plan.pretrain is not None
        kind = self.plan.pretrain.loss
        loss = pixel.pixel_loss(sr, hr, kind)
        return loss, {kind: loss}

    def discriminator_loss(self, sr: Tensor, hr: Tensor) -> Minimised:
        """What the discriminator minimises on ``hr`` and on detached ``sr``, forwarded apart (BatchNorm)."""
        assert self.plan.adversarial is not None
        assert self.discriminator is not None
        config = self.plan.adversarial
        real, generated = self.discriminator(hr), self.discriminator(sr)
        loss = adversarial.discriminator_loss(real, generated, kind=config.loss, smoothing=config.label_smoothing)
        values = {
            "discriminator": loss,
            "probability_real": real.detach().float().sigmoid().mean(),
            "probability_generated": generated.detach().float().sigmoid().mean(),
        }
        if config.r1:
            if self.global_step % config.r1_every == 0:
                penalty = gradient_penalty.r1(self.discriminator, hr)
                loss = loss + config.r1 * config.r1_every * penalty
                if self._r1 is None:
                    self._r1 = torch.zeros_like(penalty, requires_grad=False)
                self._r1.copy_(penalty.detach())
            if self._r1 is not None:
                values["r1"] = self._r1
        return loss, values

    def averaged(self, lr: Tensor) -> Tensor | None:
        """``sr`` of the moving average, as ``generated``, where a term compares with it; else None."""
        if not (self.plan.weights and self.plan.weights.get("artefacts")):
            return None
        assert self.ema is not None
        with torch.no_grad(), unrecorded(self.ema.module):
            return cast(Tensor, self.ema.module(lr))

    def generator_loss(self, sr: Tensor, hr: Tensor, average: Tensor | None = None) -> Minimised:
        """What the generator minimises: the weighted sum of its parts. The discriminator is frozen."""
        assert self.plan.adversarial is not None
        assert self.plan.weights is not None
        assert self.discriminator is not None
        update = Update(
            sr=sr,
            hr=hr,
            scale=self.generator.scale,
            discriminator=self.discriminator,
            adversarial=self.plan.adversarial.loss,
            perceptual=self.perceptual,
            average=average,
        )
        total, parts = weighted(update, self.plan.weights, self._own_terms[0])
        return total, {**parts, "total": total}

    def update(self, name: str, parts: Iterable[Minimised], shares: Sequence[float] = (1.0,)) -> None:
        """One step of the optimizer ``name`` down the gradient of the batch.

        Args:
            name: ``pretrain``, ``generator`` or ``discriminator``.
            parts: of the batch, made one at a time, so that only one graph is in memory.
            shares: of the batch that each part is; they sum to 1.
        """
        self._updating = name
        network = "discriminator" if name == "discriminator" else "generator"
        optimizer = self.trainer.optimizers[self._names.index(name)]
        if isinstance(self.trainer.precision_plugin, ScalerPerOptimizer):
            self.trainer.precision_plugin.use(name)
        optimizer.zero_grad()
        strategy = self.trainer.strategy
        if isinstance(strategy, PerNetworkDDP):
            strategy.use(network)
        for number, ((loss, values), share) in enumerate(zip(parts, shares, strict=True), start=1):
            unsynchronised: contextlib.AbstractContextManager[Any] = contextlib.nullcontext()
            if number < len(shares) and isinstance(strategy, ParallelStrategy):
                unsynchronised = strategy.block_backward_sync()  # gradients are exchanged once, after the last part
            with unsynchronised:
                self.manual_backward(loss * share if share < 1 else loss)
            self.report(values, share)
        # Through the precision plugin, past Lightning's counter of updates: ``_step_on`` counts iterations.
        strategy.optimizer_step(optimizer, lambda: None)

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Measure the gradient, unscaled by now and the mean of all processes; clip it; skip a step that is not finite.

        A step that is skipped still counts as an iteration.
        """
        norm, finite = updates.leave_out_unless_finite(optimizer, clip=self.optimization.clip_gradients)
        self._finite = finite if self._finite is None else self._finite & finite
        self.values["gradient_norm_" + self._updating.replace(PRETRAIN, "generator")] = norm

    def _alarming(self) -> Tensor | bool:
        """Whether a gradient that is not finite is a fault, and not a float16 scaler that adapts its scale."""
        plugin = self._trainer.precision_plugin if self._trainer else None
        return plugin.below_one() if isinstance(plugin, ScalerPerOptimizer) else True

    def report(self, values: dict[str, Tensor], share: float = 1.0) -> None:
        """Add the losses of a part, a ``share`` of the batch, to the means of this iteration."""
        for name, value in values.items():
            weighed = value.detach() * share if share < 1 else value.detach()
            self.values[name] = self.values[name] + weighed if name in self.values else weighed

    def average_statistics(self) -> None:
        """Give every process the mean of all processes' BatchNorm statistics, which each takes of its own crops.

        To be called by all of them at once, before anything that one of them does for all: validation, files.
        """
        if self.trainer.world_size > 1:
            for buffer in self.buffers():
                if buffer.is_floating_point():
                    buffer.copy_(self.trainer.strategy.reduce(buffer, reduce_op="mean"))

    def learning_rates(self) -> dict[str, float]:
        """Learning rates of the running phase, by network."""
        optimizers = zip(self._names, self.trainer.optimizers, strict=True)
        rates = {name: float(optimizer.param_groups[0]["lr"]) for name, optimizer in optimizers}
        if self.phase == PRETRAIN:
            return {"generator": rates["pretrain"]}
        return {name: rates[name] for name in ("generator", "discriminator")}

    # ------------------------------------------------------------------ curves, and the end

    def on_train_start(self) -> None:
        """Start the clock; where a checkpoint had done all phases, there is nothing to do.

        Raises:
            UsageError: iterations are to be recorded, and they exchange gradients or scale losses for float16.
        """
        scales = isinstance(self.trainer.precision_plugin, ScalerPerOptimizer)
        if self.cuda_graph and (self.trainer.world_size > 1 or scales):
            raise UsageError("cuda_graph=True is for one process, and not for 16-mixed; leave it out")
        graphs = self.cuda_graph and recorded_iterations.possible(self.device)
        self._recorded = RecordedIterations(self.iteration, self.trainer.optimizers) if graphs else None
        self._speed.start()
        self.trainer.should_stop |= self.global_step >= self.plan.iterations

    def on_train_batch_start(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Begin the adversarial phase with the weights that pretraining saves, as a training from its file would."""
        if self.ema is not None and 0 < self.pretrain_iterations == self.global_step:
            self.generator.load_state_dict(self.ema.module.state_dict())
            self.ema.n_averaged.zero_()
        if self.row_is_due(self.global_step + 1):
            self._rates = self.learning_rates()  # before the schedules step on

    def on_train_end(self) -> None:
        """Let go of the recordings and of their memory."""
        self._recorded = None

    def on_train_batch_end(self, outputs: Any, batch: dict[str, Any], batch_idx: int) -> None:
        """End after the last phase."""
        if self.global_step >= self.plan.iterations != self.trainer.max_steps:
            self.trainer.should_stop = True  # after a validation

    def _log_row(self) -> None:
        """Log losses, learning rates, gradient norms and speed.

        Within the step, before a checkpoint of its iteration: a run resumed from one has the row.
        """
        losses = {f"train/{name}": value for name, value in self.read.items()}
        shown = {"train/total", "train/discriminator", f"train/{self.plan.pretrain and self.plan.pretrain.loss}"}
        for name, value in losses.items():
            self.log(name, value, logger=False, prog_bar=name in shown)
        rates = {f"learning_rate/{name}": rate for name, rate in self._rates.items()}
        self._log_metrics({**losses, **rates, "images_per_second": self._speed.read()})

    def row_is_due(self, iteration: int) -> bool:
        """Whether the loggers get a row after this iteration."""
        every = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        last = iteration in (self.plan.iterations, self.trainer.max_steps)
        return bool(every) and (iteration % every == 0 or last)

    def _log_metrics(self, values: dict[str, float]) -> None:
        """Log by iterations done; ``self.log`` would count one less."""
        for logger in self.loggers:
            logger.log_metrics(values, step=self.global_step)
            logger.save()

    # ------------------------------------------------------------------ validation

    def on_validation_start(self) -> None:
        """Give all processes the same statistics; pause the clock of training."""
        self._speed.pause()
        self.average_statistics()
        self._begin_whole_pictures()

    def validation_step(self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Score whole pictures, next to bicubic; returns ``sr`` (B, 3, H, W) for callbacks that show it.

        One with ``"counted": False`` is scored too, since all processes take part, and has no weight in the mean.
        """
        batch = batches.complete(batch, scale=self.generator.scale, look=batch_idx == 0)
        all_sr, judges = self.enlarged(batch["lr"]), self._judges()
        for sr, lr, hr, name, grey in whole_pictures.each(all_sr, batch):
            scores = self._whole_pictures.validation_scores(sr, lr, hr, name=name, grey=grey)
            scores |= {by: judged(judge, sr, hr) for by, judge in judges.items()}
            self._score("val", scores, batch, dataloader_idx)
        return all_sr

    def _judges(self) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
        """What scores pictures besides PSNR and SSIM.

        Pretraining optimises no textures: features are not scored there, unless a callback goes by them.
        """
        judges: dict[str, Callable[[Tensor, Tensor], Tensor]] = {}
        monitored = any(getattr(each, "monitor", None) == "val/perceptual" for each in self.trainer.callbacks)  # type: ignore[attr-defined]
        by_features = self.plan.adversarial and (self.phase == ADVERSARIAL or not self._fitting or monitored)
        if by_features and (loss := self.perceptual) is not None:
            judges["perceptual"] = FeatureDistance(loss)
        if self._lpips is not None:
            judges["lpips"] = self._lpips.on(self.device)
        return judges

    @property
    def _fitting(self) -> bool:
        return self.trainer.state.fn == TrainerFn.FITTING

    def _score(self, stage: str, scores: dict[str, Tensor], batch: dict[str, Any], loader: int) -> None:
        """Add one picture's scores to the means of all; one that is not ``counted`` has no weight.

        In a training ``on_validation_end`` logs the means by iterations; Lightning would log them by batches.
        """
        counted = bool(batch.get("counted", True))
        for name, score in scores.items():
            value = score.mean().float().to(self.device)  # where processes exchange it, wherever it was computed
            self.log(
                f"{stage}/{name}_{loader}" if loader else f"{stage}/{name}",
                value if counted else torch.zeros_like(value),
                batch_size=int(counted),
                sync_dist=True,
                logger=False if self._fitting else None,
                prog_bar=name in ("psnr", "psnr_bicubic"),
                add_dataloader_idx=False,
            )

    def on_validation_end(self) -> None:
        """Log the means; the clock of training goes on."""
        if self._fitting and not self.trainer.sanity_checking:
            scores = {name: float(v) for name, v in self.trainer.callback_metrics.items() if name.startswith("val/")}
            self._log_metrics(scores)
        self._whole_pictures.end()
        self._speed.go_on()

    def _begin_whole_pictures(self) -> None:
        self._whole_pictures.begin(self.result, self.device)

    def on_test_start(self) -> None:
        """Accelerate the generator."""
        self._begin_whole_pictures()

    def on_test_end(self) -> None:
        """Drop the accelerated copy."""
        self._whole_pictures.end()

    def on_predict_start(self) -> None:
        """Accelerate the generator."""
        self._begin_whole_pictures()

    def on_predict_end(self) -> None:
        """Drop the accelerated copy."""
        self._whole_pictures.end()

    def test_step(self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Score whole pictures in every protocol, next to bicubic; returns ``sr`` (B, 3, H, W)."""
        batch = batches.complete(batch, scale=self.generator.scale, look=batch_idx == 0)
        all_sr = self.enlarged(batch["lr"])
        for sr, lr, hr, _, grey in whole_pictures.each(all_sr, batch):
            scores = self._whole_pictures.test_scores(sr, lr, hr, grey=grey)
            self._score("test", scores, batch, dataloader_idx)
        return all_sr

    def predict_step(self, batch: dict[str, Any] | Tensor, batch_idx: int) -> Tensor:
        """The picture ``sr`` (B, 3, scale*h, scale*w) in [0, 1] of ``lr``, or of a batch with ``lr`` in it."""
        return self.enlarged(batch if isinstance(batch, Tensor) else batch["lr"]).clamp(0, 1)

    def enlarged(self, lr: Tensor) -> Tensor:
        """``sr`` (B, 3, scale*h, scale*w) of whole pictures in float32, unclamped, in tiles where they are large."""
        return self._whole_pictures.enlarged(lr, self.result, self.device)

    # ------------------------------------------------------------------ checkpoints

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add which generator this is, so that a checkpoint can be used wherever a generator file can."""
        self.average_statistics()  # in place, so that the weights already gathered have them
        checkpoint["generator_network"] = architectures.name_of(self.generator)
        checkpoint["generator_architecture"] = architectures.shape_of(self.generator)
        checkpoint["discriminator_network"] = self.discriminator and discriminators.name_of(self.discriminator)
        checkpoint["skipped"] = self.skipped
        checkpoint["r1"] = self._r1

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Continue the count of skipped iterations, and the curve of R1."""
        self._skips.go_on(checkpoint["skipped"])
        penalty = checkpoint.get("r1")
        self._r1 = None if penalty is None else penalty.to(self.device)
