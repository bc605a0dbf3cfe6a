"""Where curves go: read back from what each logger wrote."""

import json
import logging
import math
import struct
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf
from PIL import Image

from helpers.patience import until
from srgan_lit.train import CONF, configuration, main
from srgan_lit.training.callbacks import dashboard_pictures

pytestmark = pytest.mark.usefixtures("narrow_discriminators")


def config(run_dir, logger, *overrides):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", overrides=["experiment=demo", f"logger={logger}", *overrides])
    OmegaConf.set_struct(cfg, False)
    cfg.run_dir = str(run_dir)
    return configuration(cfg)


@pytest.fixture(autouse=True)
def _without_key(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("WANDB_API_KEY", "WANDB_MODE", "NETRC"):
        monkeypatch.delenv(name, raising=False)


def test_metrics_csv_goes_on_behind_the_rows_of_a_stopped_run(tmp_path):
    from srgan_lit.training.run_files import ContinuedCSVLogger

    logger = ContinuedCSVLogger(tmp_path, iteration=0)
    for step in (1, 2, 3):
        logger.log_metrics({"train/mse": step / 10, "epoch": 0}, step=step)
    with (tmp_path / "metrics.csv").open("a") as opened:
        opened.write("4,")  # killed in the middle of a row
    ContinuedCSVLogger(tmp_path, iteration=2).log_metrics({"train/mse": 0.9}, step=3)
    assert (tmp_path / "metrics.csv").read_text().split() == ["step,train/mse", "1,0.1", "2,0.2", "3,0.9"]


def test_a_new_run_begins_a_new_curve(tmp_path):
    from srgan_lit.training.run_files import ContinuedCSVLogger

    (tmp_path / "metrics.csv").write_text("step,train/mse\n1,0.5\n")
    ContinuedCSVLogger(tmp_path, iteration=0).log_metrics({"train/mse": 0.1}, step=1)
    assert (tmp_path / "metrics.csv").read_text().split() == ["step,train/mse", "1,0.1"]


def wandb_records(path):
    """The records of a ``.wandb`` log: blocks of 32 KiB, in them (crc, length, part of a record)."""
    from wandb.proto import wandb_internal_pb2

    data, at, found, pending = path.read_bytes(), 7, [], b""
    while at + 7 <= len(data):
        left = 32768 - at % 32768
        if left < 7:  # padding
            at += left
            continue
        length, kind = struct.unpack("<HB", data[at + 4 : at + 7])
        if at + 7 + length > len(data):  # being written
            break
        pending += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            found.append(wandb_internal_pb2.Record.FromString(pending))
            pending = b""
    return found


def whole_records(path):
    """The records of a run that has ended: W&B's own process writes the last ones when ``finish`` has returned."""

    def ended():
        records = wandb_records(path)
        return records if any(record.WhichOneof("record_type") == "exit" for record in records) else None

    until(ended, every=0.1)
    return wandb_records(path)


def items(records):
    """Iteration to scalars, of what was logged; and every name."""
    scalars, names = {}, set()
    for record in records:
        row = {(item.nested_key[0] if item.nested_key else item.key): item.value_json for item in record.history.item}
        names |= set(row)
        if "trainer/global_step" in row:
            scalars.setdefault(int(row["trainer/global_step"]), {}).update(row)
    return scalars, names


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    noise = np.random.default_rng(0)
    for index in range(6):
        Image.fromarray(noise.integers(0, 256, (64, 72, 3), dtype=np.uint8)).save(folder / f"{index}.png")
    return folder


SHORT = (
    "init_from=null", "model.blocks=1", "model.features=8", "data=folder", "data.crop=32", "data.batch_size=2",
    "data.validation_share=0.5", "validate_every=3", "log_every=1", "phase.pretrain.iterations=3",
    "phase.pretrain.warmup=0", "phase.adversarial.iterations=3",
)  # fmt: skip


def test_a_wandb_run_holds_curves_pictures_configuration_and_the_generator(tmp_path, photos, caplog):
    from srgan_lit.training import run

    caplog.set_level("INFO")
    tests = tmp_path / "tests"
    tests.mkdir()
    for path in photos.iterdir():  # other pictures than are trained on
        with Image.open(path) as opened:
            opened.rotate(180).save(tests / path.name)
    of_the_user = (
        "logger.project=pictures",
        "logger.group=textures",
        "logger.job_type=trial",
        "logger.tags=[small,first]",
    )
    run.train(config(tmp_path / "run", "wandb", *SHORT, f"data.root={photos}", f"data.test_root={tests}", *of_the_user))
    (written,) = (tmp_path / "run" / "wandb").glob("offline-run-*/run-*.wandb")
    assert f"wandb sync {written.parent}" in caplog.text
    records = whole_records(written)

    scalars, names = items(records)
    assert set(scalars) == {1, 2, 3, 4, 5, 6}
    first, last = scalars[1], scalars[6]
    assert {"train/l1", "learning_rate/generator", "train/gradient_norm_generator", "images_per_second"} <= set(first)
    assert not {"learning_rate/discriminator", "train/gradient_norm_discriminator"} & set(first)
    for name in (
        "train/perceptual", "train/adversarial", "train/discriminator", "train/probability_real",
        "train/probability_generated", "learning_rate/discriminator", "train/gradient_norm_discriminator", "val/psnr",
        "val/psnr_bicubic", "val/psnr_gain", "val/ssim",
    ):  # fmt: skip
        assert math.isfinite(float(last[name])), name
    assert float(last["train/gradient_norm_generator"]) > 0
    assert float(last["images_per_second"]) > 0
    assert float(last["val/psnr_gain"]) == pytest.approx(
        float(last["val/psnr"]) - float(last["val/psnr_bicubic"]), abs=1e-5
    )
    sweep = OmegaConf.load(CONF / "wandb_sweep.yaml")
    assert sweep.metric.name in names, "what the sweep file optimises is logged"

    settings = {update.key: update.value_json for record in records for update in record.run.config.update}
    assert json.loads(settings["phase.adversarial.iterations"]) == 3, "by Hydra's keys"
    assert json.loads(settings["data.crop"]) == 32
    assert {f"environment.{fact}" for fact in ("torch", "lightning", "python", "device")} <= set(settings)
    (started,) = (record.run for record in records if record.run.run_id)
    assert (started.project, started.run_group, started.job_type) == ("pictures", "textures", "trial")
    assert list(started.tags) == ["small", "first"]
    assert started.display_name == "run"
    artifacts = [record.request.log_artifact.artifact for record in records] + [record.artifact for record in records]
    kept = [entry.path for artifact in artifacts for entry in artifact.manifest.contents]
    assert "generator.safetensors" in kept

    # Before the run is finished: the report, its scores in the summary, and what a summary keeps of validations.
    rows = json.loads((tmp_path / "run" / "report" / "results.json").read_text())["rows"]
    assert {"report/results", "report/comparison", "report/page"} <= names
    (table,) = (written.parent / "files" / "media" / "table" / "report").glob("*.json")
    shown = [[*row[:2], row[4]] for row in json.loads(table.read_text())["data"]]
    assert shown == [[row["dataset"], row["model"], row["psnr"]] for row in rows]
    assert {row["dataset"] for row in rows} == {"validation", "tests"}
    media = written.parent / "files" / "media"
    (page,) = (media / "html" / "report").glob("*.html")
    assert page.read_text() == (tmp_path / "run" / "report" / "report.html").read_text()
    assert len(list((media / "images" / "report").glob("comparison*.png"))) == 1
    summary = {item.key or item.nested_key[-1]: item.value_json for r in records for item in r.summary.update}
    for row in rows:
        assert float(summary[f"{row['dataset']}/{row['model']}/ssim"]) == row["ssim"]
    for score, best in (("val/psnr", max), ("val/psnr_gain", max), ("val/perceptual", min)):
        curve = [float(row[score]) for row in scalars.values() if score in row]
        assert json.loads(summary[score])[best.__name__] == pytest.approx(best(curve), rel=1e-6)
    kinds = [record.WhichOneof("record_type") for record in records]
    reported = max(number for number, r in enumerate(records) if any("report" in str(i) for i in r.history.item))
    assert reported < kinds.index("exit")

    pictures = sorted((written.parent / "files" / "media" / "images" / "val").glob("*.png"))
    validation = len(json.loads((tmp_path / "run" / "report" / "results.json").read_text())["rows"][0]["images"])
    assert len(pictures) == 2 * min(4, validation), "a panel of each picture at both validations"
    for path in pictures:
        with Image.open(path) as panel:
            panel.load()
            assert panel.width == 4 * 240 + 5 * 16, "LR, bicubic, SR and HR"


def test_a_wandb_that_dies_in_the_middle_never_stops_a_training(tmp_path, photos, caplog, monkeypatch):
    import wandb

    from srgan_lit.training import run

    calls = []

    def fail(*_, **__):
        calls.append(1)
        raise BrokenPipeError("the service went away")

    monkeypatch.setattr(wandb.Run, "log", fail)
    run.train(config(tmp_path / "run", "wandb", *SHORT, f"data.root={photos}"))
    assert (tmp_path / "run" / "generator.safetensors").is_file()
    assert caplog.text.count("the service went away") == 1, "said once"
    assert len(calls) == 1, "and not tried again"


def test_wandb_that_does_not_start_never_stops_a_training(tmp_path, caplog, monkeypatch):
    import wandb

    from srgan_lit.training import dashboards

    def fail(*_, **__):
        raise wandb.errors.CommError("no route")

    monkeypatch.setattr(wandb, "init", fail)
    assert dashboards.dashboards(config(tmp_path, "wandb")) == []
    assert "no route" in caplog.text


def test_a_resumed_run_goes_on_with_its_wandb_run(tmp_path):
    from srgan_lit.training import dashboards

    def run_id(*overrides):
        (board,) = dashboards.dashboards(config(tmp_path, "wandb", *overrides))
        dashboards.finish()
        return board.version

    first = run_id()
    assert run_id(f"resume={tmp_path}") == first
    assert run_id() != first


def test_runs_of_a_multirun_are_a_group_and_called_by_what_differs(photos, tmp_path, monkeypatch):
    """Each job is a W&B run of its own, whose name says what the others have not."""
    sweep = tmp_path / "sweep"
    words = ["srgan-train", "-m", "experiment=demo", "logger=wandb", "phase=pretrain", "seed=1,2", f"run_dir={sweep}"]
    words += [f"data.root={photos}", *(word for word in SHORT if "phase.adversarial" not in word)]
    monkeypatch.setattr(sys, "argv", words)
    monkeypatch.setattr(logging.root, "handlers", logging.root.handlers[:])  # Hydra adds its own
    GlobalHydra.instance().clear()
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    started = []
    for job in "01":
        (written,) = (sweep / job / "wandb").glob("offline-run-*/run-*.wandb")
        started += [record.run for record in whole_records(written) if record.run.run_id]
    assert [(run.display_name, run.run_group) for run in started] == [("0 seed=1", "sweep"), ("1 seed=2", "sweep")]
    assert started[0].run_id != started[1].run_id


def test_tensorboard_shows_curves_pictures_and_alarms(tmp_path):
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    from srgan_lit.training import build

    for logger in build.loggers(config(tmp_path, "tensorboard"), iteration=0):
        logger.log_metrics({"train/mse": 0.25}, step=7)
        if hasattr(logger, "show"):
            logger.show("pictures", {"lake": Image.new("RGB", (40, 30))}, 7)
            logger.alarm("the discriminator wins", "at 7", 7)
        logger.finalize("success")
    events = event_accumulator.EventAccumulator(str(tmp_path))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("train/mse")] == [(7, 0.25)]
    assert [(event.step, event.width, event.height) for event in events.Images("val/pictures/lake")] == [(7, 40, 30)]
    assert {"configuration/text_summary", "alarm/text_summary"} <= set(events.Tags()["tensors"])
    assert (tmp_path / "metrics.csv").is_file()


def test_a_row_of_the_table_is_a_panel_of_every_validation_picture(monkeypatch, tmp_path):
    def channel_means(views):
        return Image.fromarray(np.full((2, 3, 3), round(views.sr.mean().item() * 255), dtype=np.uint8))

    monkeypatch.setitem(dashboard_pictures.PANELS, "means", channel_means)
    shown = {}
    service = SimpleNamespace(show=lambda panel, pictures, iteration: shown.update({(panel, iteration): pictures}))
    showcase = dashboard_pictures.Showcase([service], run_dir=tmp_path, scale=4)
    trainer = SimpleNamespace(global_step=7)
    showcase.on_validation_start(trainer, None)
    for number in range(dashboard_pictures.PICTURES + 1):
        batch = {"name": [f"p{number}"], "lr": torch.rand(1, 3, 8, 8), "hr": torch.rand(1, 3, 32, 32), "grey": [False]}
        showcase.on_validation_batch_end(trainer, None, torch.full((1, 3, 32, 32), number / 5), batch, number)
    showcase.on_validation_end(trainer, None)
    assert set(shown) == {(panel, 7) for panel in dashboard_pictures.PANELS}
    assert {name: picture.getpixel((0, 0))[0] for name, picture in shown["means", 7].items()} == {
        f"p{number}": number * 51 for number in range(dashboard_pictures.PICTURES)
    }
