"""Configuration to objects. No training."""

import contextlib
import dataclasses
import hashlib
import json
import logging
import sys
import warnings
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins.environments import SLURMEnvironment
from torch import nn

import srgan_lit
from srgan_lit.common import cpu_instructions
from srgan_lit.common.errors import UsageError
from srgan_lit.config import own_parts
from srgan_lit.config.schema import OWN, ModelConfig, TrainConfig
from srgan_lit.data.datamodule import SRDataModule
from srgan_lit.model_files import discriminator_file
from srgan_lit.model_files.generator_file import Ranged, load_generator
from srgan_lit.networks import architectures, initialisation
from srgan_lit.networks.srresnet import Generator
from srgan_lit.training import dashboards, parts, trainer_options
from srgan_lit.training.callbacks.cuda_graph_steps import CUDAGraphSteps
from srgan_lit.training.callbacks.dashboard_pictures import Showcase
from srgan_lit.training.callbacks.discriminator_alarms import Alarms
from srgan_lit.training.callbacks.generator_files import GeneratorFiles
from srgan_lit.training.callbacks.last_checkpoint import LastCheckpoint
from srgan_lit.training.callbacks.progress_bar import IterationBar
from srgan_lit.training.callbacks.stop_on_divergence import StopWhenDiverged
from srgan_lit.training.float16_scalers import OPTIMIZERS, ScalerPerOptimizer
from srgan_lit.training.module import SRGANModule
from srgan_lit.training.per_network_ddp import PerNetworkDDP
from srgan_lit.training.run_files import ContinuedCSVLogger, RunCheckpoints, WholeCheckpointIO

log = logging.getLogger(__name__)


def generator(config: TrainConfig) -> Generator:
    """A new generator, or the one of ``init_from``, which must have the shape that ``model`` says."""
    model = config.model
    grows = config.init_from is not None and model.start == "grown"
    network = parts.generator(replace(model, start="random") if grows else model)
    if config.init_from is not None:
        loaded = load_generator(config.init_from, network=network if model.name == OWN else None)
        if isinstance(loaded, Ranged):
            raise UsageError(f"init_from={config.init_from}: its ranges are not [0, 1]; it cannot be trained on")
        kind, loaded_kind = architectures.name_of(network), architectures.name_of(loaded)
        if kind != loaded_kind:
            raise UsageError(f"init_from={config.init_from} is a {loaded_kind}, and model.name is {kind}")
        shape, loaded_shape = ({"upsampling": "pixelshuffle", **architectures.shape_of(it)} for it in (network, loaded))
        differing = {key: value for key, value in loaded_shape.items() if value != shape.get(key)}
        growth = differing.keys() <= {"blocks", "upsampling"} and differing
        if grows and growth and isinstance(loaded, Generator) and loaded.blocks <= model.blocks:
            initialisation.grow_(network, loaded)
            return network.to(memory_format=torch.channels_last)
        if differing:
            settings = " ".join(f"{_key(name)}={value}" for name, value in differing.items())
            raise UsageError(f"init_from={config.init_from} is another shape than model; add {settings}")
        return loaded.train()
    return network.to(memory_format=torch.channels_last)


def saved_generator(config: TrainConfig, path: Path) -> Generator | Ranged:
    """The generator of a file that the training of ``config`` wrote, of a class of the user's own too."""
    own = config.model.name == OWN
    return load_generator(path, network=parts.generator(config.model) if own else None)


def _key(argument: str) -> str:
    """Where an argument of a generator's class is set."""
    return (
        f"model.{argument}"
        if argument in {field.name for field in fields(ModelConfig)}
        else f"+model.network.{argument}"
    )


def module(config: TrainConfig) -> SRGANModule:
    """The networks and losses that the phases need, in channels_last layout, ready to train."""
    result = _unread(config)
    result.load_judges()  # a missing file must end the run now, not at the first validation
    features = result.perceptual and result.perceptual.features
    if features and config.perceptual.weights == "random":
        log.warning(
            "perceptual.weights=random: the feature loss is %s with random weights, which shapes textures "
            "badly; take perceptual.weights=imagenet or a file for results",
            features.name,
        )
    if config.compile:
        _compile(result, config)
    if config.trainer.cuda_graph and not torch.cuda.is_available():
        log.warning("trainer.cuda_graph=true does nothing here: there is no GPU with CUDA")
    return result


def shapes(config: TrainConfig) -> dict[str, torch.Size]:
    """Of the tensors that a checkpoint of this training has, by name."""
    own = OWN in (config.model.name, config.discriminator.name)  # which need not know how to be made without values
    with contextlib.nullcontext() if own else torch.device("meta"):
        module = _unread(replace(config, init_from=None, init_discriminator_from=None))
    return {name: tensor.shape for name, tensor in module.state_dict().items()}


def _unread(config: TrainConfig) -> SRGANModule:
    """The networks, and losses whose weights are not read yet."""
    phase, discriminator = config.phase, None
    network = generator(config)  # first, so that the seed gives the same one whatever phases follow
    if phase.adversarial:
        discriminator = parts.discriminator(config).to(memory_format=torch.channels_last)
        if config.init_discriminator_from is not None:
            discriminator_file.load_into(discriminator, config.init_discriminator_from)
    return SRGANModule(
        generator=network,
        phase=phase,
        discriminator=discriminator,
        perceptual=config.perceptual,
        lpips=config.lpips,
        optimization=config.optimization,
        terms=parts.own_terms(phase),
        cuda_graph=config.trainer.cuda_graph,
    )


def _compile(module: SRGANModule, config: TrainConfig) -> None:
    """Compile the networks in place, which keeps the names of their weights."""
    networks: list[nn.Module | None] = [module.generator, module.discriminator]
    if config.trainer.accelerator != "cpu" and torch.accelerator.is_available():
        networks.append(module.perceptual)  # a processor runs it by Winograd's convolutions, which are not compiled
    for network in networks:
        if network is not None:
            network.compile(mode="default" if config.compile is True else config.compile)


def datamodule(config: TrainConfig) -> SRDataModule:
    """Training, validation and test pictures."""
    return SRDataModule(config.data, scale=config.model.scale, seed=config.seed, iterations=config.phase.iterations)


def trained(config: TrainConfig) -> dict[str, Any]:
    """What the generator file says of its training."""
    settings = dataclasses.asdict(config)
    # Where things are is no part of what was trained: equal runs in two folders give equal files.
    for group, keys in (
        (settings, ("run_dir", "resume", "dry_run", "accept_changed_pictures", "trust_targets")),
        (settings["data"], ("root", "test_root", "cache")),
    ):
        for key in keys:
            del group[key]
    named = [(settings, key) for key in ("init_from", "init_discriminator_from", "lpips")]
    named += [(settings["data"], key) for key in ("hr", "lr", "meta_info", "validation_root")]
    for group, key in (*named, (settings["perceptual"], "weights")):
        group[key] = group[key] and Path(group[key]).name
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
    return {
        "config_sha256": digest,
        "phase": config.phase.name,
        "data": ", ".join(Path(root).name for root in config.data.roots or (config.data.hr or config.data.name,)),
        "versions": {"srgan_lit": srgan_lit.__version__, "torch": torch.__version__, "lightning": L.__version__},
    }


def loggers(config: TrainConfig, *, iteration: int) -> list[Logger]:
    """``metrics.csv`` always, what ``logger`` names beside it, and loggers of the user's own."""
    curve = ContinuedCSVLogger(Path(config.run_dir), iteration=iteration)
    return [curve, *dashboards.dashboards(config), *parts.own_loggers(config)]


def watchers(config: TrainConfig, shown: Sequence[dashboards.Dashboard]) -> list[Callback]:
    """The user's own callbacks, alarms where two networks play, and pictures where somebody may see them."""
    made = parts.own_callbacks(config)
    if config.phase.adversarial:
        made.append(Alarms(shown, config.phase.adversarial, every=config.log_every))
    if config.compile in ("reduce-overhead", "max-autotune"):
        made.append(CUDAGraphSteps())
    if shown:
        made.append(Showcase(shown, run_dir=Path(config.run_dir), scale=config.model.scale))
    return made


def trainer(config: TrainConfig, *, iteration: int = 0, also: Sequence[Callback] = ()) -> L.Trainer:
    """A Lightning trainer that counts iterations; ``iteration`` is where a resumed run goes on."""
    for library in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(library).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message="Found .* in eval mode at the start of training.*")  # frozen BatchNorm
    warnings.filterwarnings("ignore", message=".*LeafSpec.*is deprecated.*")  # inside Lightning
    warnings.filterwarnings("ignore", message="Using ModelCheckpoint with manual optimization.*")  # after is right
    warnings.filterwarnings("ignore", message=".*Experiment logs directory .* exists and is not empty.*")
    warnings.filterwarnings("ignore", message=".*Checkpoint directory .* exists and is not empty.*")
    run_dir = Path(config.run_dir)
    followers = loggers(config, iteration=iteration)
    shown = [each for each in followers if isinstance(each, dashboards.Dashboard)]
    divergence = StopWhenDiverged(run_dir, **own_parts.vouching(config))
    callbacks: list[Callback] = [
        GeneratorFiles(run_dir, trained=trained(config), best_by=config.best_by),
        divergence,
        LastCheckpoint(run_dir),
        RunCheckpoints(
            run_dir / "checkpoints",
            every=config.checkpoint_every,
            validate_every=config.validate_every,
            unless=lambda: divergence.lost,
        ),
    ]
    where = config.trainer
    if where.extra.get("enable_progress_bar", True):
        # A log file needs fewer lines.
        callbacks.insert(1, IterationBar(refresh_rate=1 if sys.stderr.isatty() else config.log_every))
    plugins: list[Any] = [WholeCheckpointIO()]
    if where.precision == "16-mixed":
        plugins.append(ScalerPerOptimizer("cuda", OPTIMIZERS))
    if SLURMEnvironment.detect():
        plugins.append(SLURMEnvironment(auto_requeue=False))  # ``StopOnSignal`` does, and into the run directory
    strategy: Any = where.strategy
    if strategy == "auto" and where.devices * where.num_nodes > 1:
        # A network of one's own may have weights that do not take part.
        strategy = PerNetworkDDP(find_unused_parameters=OWN in (config.model.name, config.discriminator.name))
    trainer_options.set_tf32(where)
    made = L.Trainer(
        accelerator=where.accelerator,
        devices=where.devices,
        num_nodes=where.num_nodes,
        strategy=strategy,
        precision=None if where.precision == "16-mixed" else where.precision,  # or as the plugin says
        sync_batchnorm=where.sync_batchnorm,
        max_steps=config.phase.iterations,
        max_epochs=-1,
        val_check_interval=config.validate_every,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        log_every_n_steps=config.log_every,
        logger=followers,
        plugins=plugins,
        callbacks=[*callbacks, *watchers(config, shown), *also],
        default_root_dir=run_dir,
        **trainer_options.arguments(where, run_dir),
    )
    on_processor = made.strategy.root_device.type == "cpu"
    if where.precision == "bf16-mixed" and on_processor and cpu_instructions.emulates(torch.bfloat16):
        log.warning("trainer.precision=bf16-mixed: this processor has no instructions for it; 32-true is much faster")
    return made
