"""Values that cannot work together, refused before anything is loaded. No torch unless a GPU is asked for."""

import os
from collections.abc import Iterable
from pathlib import Path

from srgan_lit.common.errors import UsageError
from srgan_lit.common.worker_processes import processors
from srgan_lit.config.schema import OWN, TrainConfig

SMALLEST_JUDGED = 16  # the discriminators halve four times, or three


def ineffective(config: TrainConfig) -> dict[str, str]:
    """Keys that do nothing in this combination, and why. A key stands for everything below it too."""
    phase = config.phase
    reasons: dict[str, str] = {}
    if phase.name == "pretrain":
        reason = "phase=pretrain has a pixel loss only"
        keys = ("perceptual", "phase.adversarial", "phase.weights", "phase.terms", "discriminator")
        reasons |= dict.fromkeys((*keys, "init_discriminator_from"), reason)
    elif phase.weights and not phase.weights.get("perceptual"):
        reasons["perceptual"] = "phase.weights.perceptual is 0"
    if config.trainer.devices * config.trainer.num_nodes == 1:
        reasons |= dict.fromkeys(("trainer.sync_batchnorm", "trainer.strategy"), "there is one process")
    if config.resume is None:
        reasons |= dict.fromkeys(("accept_changed_pictures", "trust_targets"), "nothing is resumed")
    if phase.adversarial and not phase.adversarial.r1:
        reasons["phase.adversarial.r1_every"] = "phase.adversarial.r1 is 0"
    if phase.name == "adversarial":
        reasons["phase.pretrain"] = "phase=adversarial starts from init_from"
    for name, schedule in (("pretrain", phase.pretrain), ("adversarial", phase.adversarial)):
        if schedule and schedule.schedule != "steps":
            reason = f"phase.{name}.schedule is {schedule.schedule}, not steps"
            reasons |= dict.fromkeys((f"phase.{name}.decay_at", f"phase.{name}.decay_factor"), reason)
    return reasons


def check(config: TrainConfig, *, set_by_user: Iterable[str] = ()) -> None:
    """Refuse a combination that cannot work, or a key on the command line that would be ignored.

    Raises:
        UsageError: the first thing found, with what to type instead.
    """
    without_effect = ineffective(config)
    for key in set_by_user:
        for ignored, reason in without_effect.items():
            if key == ignored or key.startswith(f"{ignored}."):
                raise UsageError(f"{key} has no effect: {reason}; leave it out")

    data, phase, optimization = config.data, config.phase, config.optimization
    if data.batch_size % optimization.accumulate:
        raise UsageError(
            f"optimization.accumulate={optimization.accumulate} must divide data.batch_size={data.batch_size}"
        )
    if data.batch_size % data.reuse:
        raise UsageError(f"data.reuse={data.reuse} must divide data.batch_size={data.batch_size}")
    if data.reuse > 1 and data.degradation == "bicubic":
        raise UsageError(
            f"data.reuse={data.reuse} spares degrading, and data.degradation=bicubic is read from the cache; set "
            "data.reuse=1"
        )
    if optimization.batchnorm != "batch" and config.init_from is None:
        raise UsageError(
            f"optimization.batchnorm={optimization.batchnorm} keeps the statistics that a generator comes with, but "
            "init_from is null; set init_from=<a generator>, or optimization.batchnorm=batch"
        )
    judge = config.discriminator.name
    if phase.adversarial and judge != OWN and data.crop < SMALLEST_JUDGED:
        raise UsageError(f"data.crop={data.crop}: the discriminator needs {SMALLEST_JUDGED} pixels; try data.crop=96")
    if phase.adversarial and judge == "unet" and data.crop % 8:
        raise UsageError(
            f"data.crop={data.crop}: discriminator=unet halves it three times and needs a multiple of 8; try "
            f"data.crop={-(-data.crop // 8) * 8}"
        )
    for term, lr_px in (("grid", 6), ("colour", 8)):
        if phase.weights and phase.weights.get(term) and data.crop < lr_px * config.model.scale:
            raise UsageError(
                f"phase.weights.{term} needs crops of {lr_px} LR pixels: set data.crop={lr_px * config.model.scale} or "
                "more"
            )
    if phase.weights and phase.weights.get("artefacts") and not optimization.ema:
        raise UsageError(
            "phase.weights.artefacts compares with the generator's moving average, and there is none: set "
            "optimization.ema=0.999"
        )
    if phase.name == "adversarial" and config.init_from is None:
        raise UsageError(
            "phase=adversarial needs a pretrained generator, but init_from is null. "
            "Run experiment=srresnet, then pass init_from=<run>/generator.safetensors"
        )
    if config.objective == "perceptual" and not (phase.weights and phase.weights.get("perceptual")):
        raise UsageError(
            "objective=perceptual needs VGG's features: an adversarial phase with phase.weights.perceptual above 0"
        )
    if config.model.start == "grown" and (config.init_from is None and config.resume is None):
        raise UsageError(
            "model.start=grown adds blocks to a generator, but init_from is null; set init_from=<a generator of fewer "
            "blocks>, or model.start=interpolation"
        )
    if config.best_by == "perceptual" and not (phase.weights and phase.weights.get("perceptual")):
        raise UsageError(
            "best_by=perceptual needs VGG's features: an adversarial phase with phase.weights.perceptual above 0"
        )
    if config.best_by == "lpips" and config.lpips is None:
        raise UsageError("best_by=lpips needs lpips=<a file with its backbone>, or lpips=alex")
    start = config.init_from
    if config.resume is None and start and ("/" in start or "." in start) and not Path(start).exists():
        raise UsageError(f"init_from={start}: no such file or run directory")
    if config.trainer.precision == "16-mixed" and (config.trainer.accelerator in ("cpu", "mps") or not _cuda_devices()):
        raise UsageError(
            "trainer.precision=16-mixed needs a GPU with CUDA and would be ignored here; "
            "take trainer.precision=bf16-mixed or 32-true"
        )
    if config.trainer.strategy == "ddp" and phase.adversarial:
        raise UsageError(
            "trainer.strategy=ddp waits for gradients of every weight at every update, and two networks take turns; "
            "take trainer.strategy=auto"
        )
    if config.trainer.cuda_graph:
        _check_cuda_graph(config)
    _check_launch(config)
    if config.trainer.devices > 1 or config.trainer.accelerator in ("gpu", "mps"):
        _check_devices(config)


def _check_cuda_graph(config: TrainConfig) -> None:
    """One process on a GPU with CUDA records its iterations, and nothing else does so at the same time."""
    trainer = config.trainer
    reasons = {
        f"trainer.accelerator={trainer.accelerator} has no CUDA": trainer.accelerator in ("cpu", "mps"),
        "there are several processes": trainer.devices * trainer.num_nodes > 1,
        "float16's scalers are read by the host": trainer.precision == "16-mixed",
        f"compile={str(config.compile).lower()} starts its operations in its own way": bool(config.compile),
    }
    for reason, holds in reasons.items():
        if holds:
            raise UsageError(f"trainer.cuda_graph=true cannot be: {reason}; set trainer.cuda_graph=false")


def _check_launch(config: TrainConfig) -> None:
    """Under torchrun the numbers must be those that it was started with."""
    trainer = config.trainer
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return
    devices = int(os.environ["LOCAL_WORLD_SIZE"])
    nodes = int(os.environ["WORLD_SIZE"]) // devices
    if (trainer.devices, trainer.num_nodes) != (devices, nodes):
        raise UsageError(
            f"torchrun started {devices} processes on {nodes} machines; "
            f"set trainer.devices={devices} trainer.num_nodes={nodes}"
        )


def _check_devices(config: TrainConfig) -> None:
    trainer = config.trainer
    there = 0 if trainer.accelerator == "cpu" else _accelerators(trainer.accelerator)
    if there:
        if trainer.devices > there:
            raise UsageError(
                f"trainer.devices={trainer.devices}, but this machine has {there}; try trainer.devices={there}"
            )
        return
    if trainer.accelerator in ("gpu", "mps"):
        raise UsageError(f"trainer.accelerator={trainer.accelerator}, but this machine shows none; take trainer=cpu")
    if trainer.sync_batchnorm:
        raise UsageError("trainer.sync_batchnorm=true needs GPUs; leave it out on a CPU")
    most = max(2, processors())  # two can be tried anywhere
    if trainer.devices > most:
        raise UsageError(
            f"trainer.devices={trainer.devices}: on a CPU those are processes, each with a whole training in memory, "
            f"and this machine has {processors()} processors; try trainer.devices={most}"
        )


def _cuda_devices() -> int:
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def _accelerators(kind: str) -> int:
    import torch

    return (kind != "mps" and _cuda_devices()) or int(torch.backends.mps.is_available())
