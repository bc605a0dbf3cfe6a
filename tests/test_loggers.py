"""Where curves go: read back from what each logger wrote."""

import subprocess
import sys
import time

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from srgan_lit.train import CONF, configuration


def config(run_dir, logger):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", overrides=["experiment=demo", f"logger={logger}"])
    OmegaConf.set_struct(cfg, False)
    cfg.run_dir = str(run_dir)
    return configuration(cfg)


@pytest.fixture(autouse=True)
def _without_key(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("WANDB_API_KEY", "WANDB_MODE", "NETRC"):
        monkeypatch.delenv(name, raising=False)


def test_metrics_csv_goes_on_behind_the_rows_of_a_stopped_run(tmp_path):
    from srgan_lit.run_directory import ContinuedCSVLogger

    logger = ContinuedCSVLogger(tmp_path, iteration=0)
    for step in (1, 2, 3):
        logger.log_metrics({"train/mse": step / 10, "epoch": 0}, step=step)
    with (tmp_path / "metrics.csv").open("a") as opened:
        opened.write("4,")  # killed in the middle of a row
    ContinuedCSVLogger(tmp_path, iteration=2).log_metrics({"train/mse": 0.9}, step=3)
    assert (tmp_path / "metrics.csv").read_text().split() == ["step,train/mse", "1,0.1", "2,0.2", "3,0.9"]


def test_a_new_run_begins_a_new_curve(tmp_path):
    from srgan_lit.run_directory import ContinuedCSVLogger

    (tmp_path / "metrics.csv").write_text("step,train/mse\n1,0.5\n")
    ContinuedCSVLogger(tmp_path, iteration=0).log_metrics({"train/mse": 0.1}, step=1)
    assert (tmp_path / "metrics.csv").read_text().split() == ["step,train/mse", "1,0.1"]


def test_wandb_without_a_key_runs_offline_and_says_how_to_sync(tmp_path, caplog):
    from srgan_lit import dashboard

    caplog.set_level("INFO")
    (tmp_path / "run").mkdir()
    (logger,) = dashboard.wandb_logger(config(tmp_path / "run", "wandb"))
    logger.log_metrics({"train/adversarial": 1.5}, step=3)
    dashboard.finish()
    (written,) = (tmp_path / "run" / "wandb").glob("offline-run-*/run-*.wandb")
    for _ in range(100):  # its service writes on for a moment
        if b"train/adversarial" in written.read_bytes():
            break
        time.sleep(0.1)
    assert b"train/adversarial" in written.read_bytes()
    assert f"wandb sync {written.parent}" in caplog.text


def test_wandb_that_fails_never_stops_a_training(tmp_path, caplog, monkeypatch):
    import wandb

    from srgan_lit import dashboard

    def fail(*_, **__):
        raise wandb.errors.CommError("no route")

    monkeypatch.setattr(wandb, "init", fail)
    assert dashboard.wandb_logger(config(tmp_path, "wandb")) == []
    assert "no route" in caplog.text


def test_tensorboard_events_are_written(tmp_path):
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    from srgan_lit import build

    for logger in build.loggers(config(tmp_path, "tensorboard"), iteration=0):
        logger.log_metrics({"train/mse": 0.25}, step=7)
        logger.finalize("success")
    events = event_accumulator.EventAccumulator(str(tmp_path))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("train/mse")] == [(7, 0.25)]
    assert (tmp_path / "metrics.csv").is_file()


def test_wandb_is_imported_only_when_asked_for():
    code = "import sys, srgan_lit.training; sys.exit('wandb' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0
