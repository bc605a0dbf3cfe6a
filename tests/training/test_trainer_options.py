"""What a configuration passes to Lightning's Trainer: each argument reaches it, and what may not is refused by name."""

import csv
import dataclasses

import pytest
import torch
from lightning.pytorch.profilers import PyTorchProfiler, SimpleProfiler
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy

from helpers import in_process, tiny_runs
from helpers.configurations import tiny
from helpers.tiny_runs import BOTH, TINY
from srgan_lit.model_files.generator_file import read_metadata
from srgan_lit.training import build, run
from srgan_lit.training.per_network_ddp import PerNetworkDDP

pytestmark = pytest.mark.usefixtures("narrow_discriminators")


@pytest.fixture(autouse=True)
def _flags():
    before = torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark, torch.get_float32_matmul_precision()
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark = before[:2]
    torch.set_float32_matmul_precision(before[2])
    torch.use_deterministic_algorithms(False)


def test_each_key_reaches_the_trainer_and_nothing_else_changes(tmp_path):
    def facts(*overrides):
        trainer = build.trainer(tiny(tmp_path, *overrides))
        return {
            "trainer.deterministic": torch.are_deterministic_algorithms_enabled(),
            "trainer.profiler": type(trainer.profiler).__name__,
            "trainer.limit_train_batches": trainer.limit_train_batches,
            "trainer.limit_val_batches": trainer.limit_val_batches,
            "trainer.tf32_convolutions": torch.backends.cudnn.allow_tf32,
            "trainer.tf32_matmuls": torch.get_float32_matmul_precision(),
            "trainer.extra": trainer._detect_anomaly,
            "benchmark": torch.backends.cudnn.benchmark,
        }

    plain = facts()
    assert plain == {
        "trainer.deterministic": False, "trainer.profiler": "PassThroughProfiler", "trainer.limit_train_batches": 1.0,
        "trainer.limit_val_batches": 1.0, "trainer.tf32_convolutions": True, "trainer.tf32_matmuls": "highest",
        "trainer.extra": False, "benchmark": True,
    }  # fmt: skip
    changed = {
        "trainer.deterministic=true": {"trainer.deterministic": True, "benchmark": False},
        "trainer.deterministic=warn": {"trainer.deterministic": True, "benchmark": False},
        "trainer.profiler=simple": {"trainer.profiler": SimpleProfiler.__name__},
        "trainer.profiler=pytorch": {"trainer.profiler": PyTorchProfiler.__name__},
        "trainer.limit_train_batches=3": {"trainer.limit_train_batches": 3},
        "trainer.limit_val_batches=2": {"trainer.limit_val_batches": 2},
        "trainer.tf32_convolutions=false": {"trainer.tf32_convolutions": False},
        "trainer.tf32_matmuls=true": {"trainer.tf32_matmuls": "high"},
        "+trainer.extra.detect_anomaly=true": {"trainer.extra": True},
        "+trainer.extra.benchmark=false": {"benchmark": False},
    }
    for override, difference in changed.items():
        assert facts(override) == plain | difference, override


def test_the_strategy_is_that_of_the_key(tmp_path):
    def strategy(*overrides):
        return build.trainer(tiny(tmp_path, "trainer=ddp", "trainer.accelerator=cpu", *overrides)).strategy

    assert isinstance(build.trainer(tiny(tmp_path)).strategy, SingleDeviceStrategy)
    of_lightning = strategy("trainer.strategy=ddp_find_unused_parameters_true")
    assert type(of_lightning) is DDPStrategy
    assert of_lightning._ddp_kwargs == {"find_unused_parameters": True}
    plain = strategy("trainer.strategy=ddp")
    assert type(plain) is DDPStrategy
    assert not plain._ddp_kwargs
    assert type(strategy()) is PerNetworkDDP
    assert not strategy()._ddp_kwargs["find_unused_parameters"]
    config = tiny(tmp_path, "trainer=ddp", "trainer.accelerator=cpu")
    own = dataclasses.replace(config, model=dataclasses.replace(config.model, name="own"))
    assert build.trainer(own).strategy._ddp_kwargs["find_unused_parameters"], "not all of its weights may take part"


REFUSED = {
    ("+trainer.extra.detect_anomly=true",): "L.Trainer has no such argument. Did you mean detect_anomaly?",
    ("+trainer.extra.max_steps=5",): "trainer.extra.max_steps: the key for it is phase.pretrain.iterations",
    ("+trainer.extra.gradient_clip_val=1",): "the key for it is optimization.clip_gradients",
    ("+trainer.extra.plugins=[x]",): "trainer.extra.plugins cannot be given: checkpoints would not be whole",
    ("+trainer.extra.overfit_batches=1",): "SRGANModule in a Trainer of your own takes it",
    ("+trainer.extra.max_time=soon",): "trainer.extra: L.Trainer does not take {'max_time': 'soon'}",
    ("trainer.extra.detect_anomaly=true",): "+trainer.extra.detect_anomaly=<value> adds it",
    ("trainer.strategy=fsdp",): "trainer.strategy=fsdp is not for these trainings: every process validates and writes",
    ("trainer.strategy=ddp_spawn",): "could be neither signalled nor resumed",
    ("trainer.strategy=dpp",): "may be auto, ddp, ddp_find_unused_parameters_true. Did you mean ddp?",
    ("trainer=ddp", "trainer.accelerator=cpu", "trainer.strategy=ddp"): "two networks take turns; take",
    ("trainer.strategy=ddp",): "trainer.strategy has no effect: there is one process",
    ("trainer.deterministic=maybe",): "trainer.deterministic=maybe",
    ("trainer.profiler=fast",): "trainer.profiler=fast: input should be 'simple', 'advanced' or 'pytorch'",
    ("logger.group=mine",): "logger.group has no effect with logger=csv",
    ("+logger.extra.mine.save_dir=x",): "logger.extra.mine needs the name of a part of your own",
    ("+logger.extra.mine._target_=os.system",): "logger.extra.mine._target_=os.system is no Logger of lightning",
    (
        "+logger.extra.mine._target_=lightning.pytorch.loggers.CSVLogger", "+logger.extra.mine.save_dr=x",
    ): "logger.extra.mine: lightning.pytorch.loggers.CSVLogger: missing a required argument: 'save_dir'",
}  # fmt: skip


@pytest.mark.parametrize("arguments", REFUSED, ids=" ".join)
def test_what_cannot_be_is_refused_by_name_before_anything_is_written(arguments, tmp_path, capsys):
    code, lines = in_process.until_it_trains(capsys, *TINY, *BOTH, *arguments, f"run_dir={tmp_path}/run")
    assert code == 2, lines
    assert len(lines) == 1, lines
    assert REFUSED[arguments] in lines[0]
    assert not list(tmp_path.iterdir())


def test_a_run_that_a_callback_ends_has_a_result_and_own_loggers_their_curve(tmp_path):
    own = (
        "+callbacks.stop._target_=lightning.pytorch.callbacks.EarlyStopping", "+callbacks.stop.monitor=val/psnr",
        "+callbacks.stop.mode=max", "+callbacks.stop.stopping_threshold=-100", "validate_every=2",
        "+logger.extra.mine._target_=lightning.pytorch.loggers.CSVLogger",
        f"+logger.extra.mine.save_dir={tmp_path}/mine",
        "trainer.limit_train_batches=1", "trainer.profiler=simple", "+trainer.extra.enable_progress_bar=false",
    )  # fmt: skip
    run.train(tiny(tmp_path / "run", *own))
    assert read_metadata(tmp_path / "run" / "generator.safetensors").trained["iterations"] == 2
    assert (tmp_path / "run" / "report" / "results.json").is_file()
    assert "run_training_batch" in (tmp_path / "run" / "fit-profile.txt").read_text()
    (mine,) = (tmp_path / "mine").rglob("metrics.csv")
    with mine.open() as opened:
        theirs = [row["train/l1"] for row in csv.DictReader(opened) if row["train/l1"]]
    assert theirs == [row["train/l1"] for row in tiny_runs.rows(tmp_path / "run") if row["train/l1"]]
    assert len(theirs) == 2
