"""Trainings as a user runs them: real processes on the sample pictures, and what they leave on disk."""

import json
import os
import sys

import pytest
import torch
from omegaconf import OmegaConf

from helpers import warm_python
from helpers.forked_runs import WITHOUT_REPORT
from helpers.tiny_runs import BOTH, PRETRAIN, command, rows, run, tensors_close, tensors_equal, train
from srgan_lit.model_files.generator_file import load_generator, read_metadata


def test_run_directory_holds_everything_and_loads_again(whole):
    run_dir, _ = whole
    for name in ("config.yaml", "metrics.csv", "srresnet.safetensors", "generator.safetensors", "best.safetensors"):
        assert (run_dir / name).is_file(), name
    for name in ("results.json", "results.md", "report.html", "comparison.png"):
        assert (run_dir / "report" / name).is_file(), name
    assert OmegaConf.load(run_dir / "config.yaml").phase.adversarial.iterations == 6
    lr = torch.rand(1, 3, 9, 11)
    for model in (run_dir, run_dir / "srresnet.safetensors", run_dir / "checkpoints" / "last.ckpt"):
        assert load_generator(model)(lr).shape == (1, 3, 36, 44)
    assert torch.equal(load_generator(run_dir)(lr), load_generator(run_dir / "checkpoints" / "last.ckpt")(lr))
    assert read_metadata(run_dir / "generator.safetensors").trained["iterations"] == 12
    assert not list(run_dir.rglob("*.part*")), "no temporary file is left"
    (named,) = (run_dir / "checkpoints").glob("iteration=*.ckpt")
    assert named.stem == "iteration=12"


def test_equal_runs_in_other_folders_write_the_same_files(whole, tmp_path):
    train(tmp_path / "elsewhere", *BOTH, f"data.cache={tmp_path / 'cache'}")
    for name in ("srresnet.safetensors", "generator.safetensors", "best.safetensors"):
        assert (tmp_path / "elsewhere" / name).read_bytes() == (whole[0] / name).read_bytes(), name


def test_equal_runs_with_several_threads_write_the_same_files(tmp_path):
    for name in ("one", "other"):
        arguments = command(tmp_path / name, *BOTH, "model.features=32")[3:]
        result = run([sys.executable, "-c", "import torch; torch.set_num_threads(4)" + WITHOUT_REPORT, *arguments])
        assert result.returncode == 0, result.stderr
    assert rows(tmp_path / "one")[-1]["step"] == "12"
    for name in ("srresnet.safetensors", "generator.safetensors", "best.safetensors"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes(), name


def test_files_of_a_run_have_ordinary_permissions(whole):
    umask = os.umask(0)
    os.umask(umask)
    for path in whole[0].rglob("*.safetensors"):
        assert path.stat().st_mode & 0o777 == 0o666 & ~umask


def test_the_curve_counts_iterations(whole):
    steps = [int(row["step"]) for row in rows(whole[0]) if row["learning_rate/generator"]]
    assert steps == list(range(1, 13))
    validated = [int(row["step"]) for row in rows(whole[0]) if row["val/psnr"]]
    assert validated == [6, 12]


def test_the_last_lines_say_where_it_is_and_how_it_scores(whole):
    run_dir, result = whole
    for expected in ("bicubic", "SRResNet", "SRGAN", "y_shave4", str(run_dir / "generator.safetensors")):
        assert expected in result.stdout
    assert "random weights" in result.stdout, "a random feature loss is announced on every run"


def test_the_bar_shows_rate_time_left_losses_and_scores(whole):
    shown = whole[1].stdout + whole[1].stderr
    for expected in ("pretrain", "adversarial", "it/s", "perceptual=", "discriminator=", "PSNR=", "bicubic"):
        assert expected in shown


def test_report_scores_the_validation_and_the_test_pictures(whole):
    results = json.loads((whole[0] / "report" / "results.json").read_text())["rows"]
    assert [(row["dataset"], row["model"]) for row in results] == [
        (name, model) for name in ("validation", "sample") for model in ("bicubic", "SRResNet", "SRGAN")
    ]
    logged = [row for row in rows(whole[0]) if row["val/psnr"]]
    assert results[0]["psnr"] == pytest.approx(float(logged[0]["val/psnr_bicubic"]), abs=2e-3)
    assert results[1]["psnr"] == pytest.approx(float(logged[0]["val/psnr"]), abs=2e-3)
    assert results[2]["psnr"] == pytest.approx(float(logged[1]["val/psnr"]), abs=2e-3)


def test_a_directory_that_holds_a_run_is_not_written_into(whole):
    before = {path: path.stat().st_mtime_ns for path in whole[0].rglob("*.safetensors")}
    result = warm_python.run(command(whole[0]), capture_output=True, text=True, timeout=120)
    assert result.returncode == 2
    assert "holds a run already; go on with resume=" in result.stderr
    assert before == {path: path.stat().st_mtime_ns for path in whole[0].rglob("*.safetensors")}


def test_resume_refuses_another_run(whole):
    result = warm_python.run(
        [sys.executable, "-m", "srgan_lit.train", f"resume={whole[0]}", "model.blocks=2"],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert result.returncode == 2
    assert "model.blocks=2 (it was 1) would be another run" in result.stderr


def test_multirun_trains_each_value_in_its_own_folder(whole, tmp_path):
    run_dir = tmp_path / "sweep"
    train(run_dir, "-m", "seed=0,1", "phase=pretrain", *PRETRAIN)
    assert tensors_equal(run_dir / "0" / "srresnet.safetensors", whole[0] / "srresnet.safetensors"), "the same seed"
    assert not tensors_equal(run_dir / "1" / "srresnet.safetensors", whole[0] / "srresnet.safetensors")


def test_adversarial_phase_starts_from_a_pretrained_generator(whole, tmp_path):
    start = whole[0] / "srresnet.safetensors"
    train(tmp_path / "run", "phase=adversarial", f"init_from={start}", "phase.adversarial.iterations=6")
    assert tensors_equal(tmp_path / "run" / "generator.safetensors", whole[0] / "generator.safetensors") is False
    assert not (tmp_path / "run" / "srresnet.safetensors").exists()
    assert read_metadata(tmp_path / "run" / "generator.safetensors").trained["phase"] == "adversarial"


def test_init_from_another_shape_is_refused_with_what_to_type(whole, tmp_path):
    start = whole[0] / "srresnet.safetensors"
    arguments = command(tmp_path / "run", "phase=adversarial", f"init_from={start}", "model.features=16")
    result = warm_python.run(arguments, capture_output=True, text=True, timeout=300)
    assert result.returncode == 2
    assert "add model.features=8" in result.stderr


def test_a_dry_run_says_what_it_would_take_and_keeps_nothing(tmp_path):
    result = train(tmp_path / "run", "dry_run=true", "phase.pretrain.iterations=7000")
    for expected in ("generator", "discriminator", "parameters", "7,000 iterations at", "validation", "hours", "MB"):
        assert expected in result.stdout
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_compiled_networks_train_the_same_under_the_same_names(tmp_path):
    short = ["phase.pretrain.iterations=3", "phase.pretrain.warmup=0", "phase.adversarial.iterations=3"]
    for name, also in (("plain", []), ("compiled", ["compile=true"])):
        train(tmp_path / name, *short, *also, "validate_every=3", "checkpoint_every=3")
    plain, compiled = (tmp_path / name / "generator.safetensors" for name in ("plain", "compiled"))
    assert tensors_close(plain, compiled, 2e-3)  # sums in another order, and Adam's first steps go by the sign
    first, last = (
        torch.load(tmp_path / name / "checkpoints" / "last.ckpt")["state_dict"] for name in ("plain", "compiled")
    )
    assert first.keys() == last.keys()


@pytest.mark.parametrize("also", [[], ["trainer=ddp", "trainer.accelerator=cpu"]], ids=["one process", "two"])
def test_a_training_that_is_too_short_to_log_or_validate_ends_with_its_report(tmp_path, also):
    short = ["phase.pretrain.iterations=3", "phase.pretrain.warmup=0", "phase.adversarial.iterations=3"]
    rarely = ["validate_every=1000", "checkpoint_every=1000", "log_every=50"]
    result = train(tmp_path / "run", *short, *rarely, *also)
    assert "The generator is" in result.stdout
    assert "the discriminator" not in result.stdout, "six iterations are no reason for an alarm"
    assert [row["step"] for row in rows(tmp_path / "run")] == ["6"], "the last iteration is on the curve"
    assert (tmp_path / "run" / "report" / "report.html").is_file()


def test_a_refused_command_leaves_no_folder(tmp_path):
    (tmp_path / "mine").mkdir()
    for run_dir in (None, "new/and/deep", "mine/run"):
        given = [f"run_dir={run_dir}"] if run_dir else []
        arguments = [sys.executable, "-m", "srgan_lit.train", "experiment=demo", "data.crop=50", *given]
        result = warm_python.run(arguments, capture_output=True, text=True, timeout=120, cwd=tmp_path)
        assert result.returncode == 2
        assert [path.name for path in tmp_path.rglob("*")] == ["mine"], "what was there stays"
