"""One training, from configuration to a run directory."""

import dataclasses
import logging
from pathlib import Path

import lightning as L
import torch
from torch.distributed import DistError

from srgan_lit.common import atomic_files
from srgan_lit.common.errors import SRGANError
from srgan_lit.config import own_parts, quoting
from srgan_lit.config.schema import TrainConfig
from srgan_lit.data import learnt_from
from srgan_lit.data.datamodule import SRDataModule
from srgan_lit.evaluation import columns, results, scoring, stored_results
from srgan_lit.pictures.bicubic_tensors import Bicubic
from srgan_lit.training import build, checkpoints, dashboards, launch, resume, run_directory
from srgan_lit.training.callbacks.configured_learning_rates import ConfiguredLearningRates
from srgan_lit.training.callbacks.generator_files import GeneratorFiles
from srgan_lit.training.callbacks.stop_on_signal import StopOnSignal
from srgan_lit.upscaling.upscalers import Network, Upscaler

log = logging.getLogger(__name__)


def train(config: TrainConfig) -> float:
    """Train as ``config`` says, write the run directory, and return the result's objective."""
    try:
        return _train(config)
    finally:
        if config.logger.name == "wandb":
            dashboards.finish()


def _train(config: TrainConfig) -> float:
    run_dir = Path(config.run_dir)
    run_dir.mkdir(parents=True, exist_ok=True)
    found = checkpoints.Checkpoints()
    if config.resume:
        found = checkpoints.find(run_dir, shapes=build.shapes(config), iterations=resume.length(run_dir))
    checkpoint, iteration = found.newest, found.iteration
    go_on = quoting.train_command(resume=run_dir, **own_parts.vouching(config))
    datamodule = build.datamodule(config)
    datamodule.setup()  # in every process: those that do not pack wait here, not while they look for each other
    if launch.is_first():
        if config.resume:
            resume.check_progress(run_dir, config, iteration)
        material = resume.check_material(run_dir, datamodule, config, iteration=iteration)
    L.seed_everything(config.seed, workers=True, verbose=False)
    # A checkpoint has all that init_from gave, which may be gone by now.
    anew = config if checkpoint is None else dataclasses.replace(config, init_from=None, init_discriminator_from=None)
    module = build.module(anew)
    stop = StopOnSignal()
    trainer = build.trainer(config, iteration=iteration, also=[stop, ConfiguredLearningRates()])
    if trainer.is_global_zero:
        found.set_aside()
        resume.record_material(run_dir, material)
        atomic_files.write_text(run_dir / "config.yaml", run_directory.as_yaml(resume.as_saved(config)))
    try:
        trainer.fit(module, datamodule=datamodule, ckpt_path=checkpoint)
        # Killed before it wrote its result: Lightning trains and ends nothing.
        if iteration >= config.phase.iterations and trainer.is_global_zero:
            for callback in trainer.callbacks:  # type: ignore[attr-defined]
                if isinstance(callback, GeneratorFiles):
                    callback.write_from_checkpoint(trainer, module)
    except RuntimeError as error:
        if trainer.world_size > 1 and (isinstance(error, DistError) or "gloo" in str(error)):
            raise SRGANError(
                f"process {trainer.global_rank}: another process of this training ended (its own words are above, "
                f"if it had any); go on with: {go_on}"
            ) from error
        raise
    if not trainer.is_global_zero:
        return 0.0  # quietly, whatever happened: the first process says it
    stop.conclude(go_on, iteration=trainer.global_step, iterations=config.phase.iterations)
    objective = report(config, datamodule, trainer.strategy.root_device)
    for logger in trainer.loggers:
        if isinstance(logger, dashboards.Dashboard):
            logger.report(run_dir / "report", trainer.global_step)
    return objective


def report(config: TrainConfig, datamodule: SRDataModule, device: torch.device) -> float:
    """Score the run's generators on its validation and test pictures next to bicubic, into ``report/``.

    By one process, on the ``device`` that it trained on: nothing here waits for another process.

    Returns:
        The objective on the validation pictures: the result's mean PSNR in dB, or its mean distance of VGG features.
    """
    run_dir, scale = Path(config.run_dir), config.model.scale
    models: dict[str, Upscaler] = {"bicubic": Bicubic(scale)}
    if config.phase.pretrain:
        models["SRResNet"] = Network(build.saved_generator(config, run_dir / "srresnet.safetensors"), device=device)
    if config.phase.adversarial:
        models["SRGAN"] = Network(build.saved_generator(config, run_dir / "generator.safetensors"), device=device)
    protocol = f"y_shave{scale}"
    sets = [each for each in (datamodule.validation_set(), datamodule.test_set()) if len(each)]
    judges = [*columns.of_papers([each.benchmark for each in sets], protocol), *_judges(config, device)]
    learnt = dict.fromkeys(list(models)[1:], learnt_from.of_model(run_dir))
    rows = scoring.evaluate(
        models, sets, protocol, run_dir / "report", extra=judges, runs={run_dir.name: run_dir}, learnt=learnt
    )
    log.info("\n%s", results.table(rows, [*columns.standard(protocol, scale), *judges]))
    log.info("The generator is %s", run_dir / "generator.safetensors")
    log.info("Scores and pictures are in %s", run_dir / "report")
    return stored_results.of_run(run_dir).objective(config.objective)


def _judges(config: TrainConfig, device: torch.device) -> list[columns.Measure]:
    """VGG's distance, by the last layer whichever is trained with: runs of a sweep can be compared.

    Not with random weights, which judge nothing, unless they are asked to.
    """
    perceptual, used = config.perceptual, config.phase.weights and config.phase.weights.get("perceptual")
    if not used or (perceptual.weights == "random" and config.objective != "perceptual"):
        return []
    return [columns.perceptual(perceptual.weights, perceptual.backbone, device=device)]
