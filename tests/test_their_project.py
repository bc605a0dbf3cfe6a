"""The example of a user's own repository: its parts train in one process and several, and what is wrong is said."""

import contextlib
import io
import json
import logging
import os
import re
import shlex
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from PIL import Image

from helpers import tiny_runs, warm_python
from srgan_lit import evaluate, export, load_generator, train, upscale
from srgan_lit.common.errors import SRGANError
from srgan_lit.data.sets import SAMPLE
from srgan_lit.model_files.generator_file import read_metadata
from srgan_lit.sweeps import multirun

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "their_project"
MINE = ["--config-dir", "conf", "experiment=mine", f"data.sources.root={SAMPLE / 'train'}"]
SHORT = ["phase.pretrain.iterations=2", "phase.adversarial.iterations=2", "validate_every=2", "checkpoint_every=2"]
TWO = ["trainer=ddp", "trainer.accelerator=cpu"]


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """Their repository, somewhere else."""
    folder = tmp_path_factory.mktemp("repository") / "their_project"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__", "runs"))
    return folder


def command(folder, *arguments):
    result = warm_python.run(
        [sys.executable, "-m", "srgan_lit.train", *arguments], cwd=folder, capture_output=True, text=True, timeout=600,
        env=os.environ | {"WARM_CHILDREN": "1"},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return result


@pytest.fixture(scope="module")
def run(theirs, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("runs") / "run"
    command(theirs, *MINE, *SHORT, f"run_dir={run_dir}")
    return run_dir


def assert_theirs(run_dir):
    metadata = read_metadata(run_dir / "generator.safetensors")
    assert metadata.network == "their_project.parts.Shallow"
    adversarial = [row for row in tiny_runs.rows(run_dir) if row["train/total"]]
    assert [row["step"] for row in adversarial] == ["3", "4"]
    for row in adversarial:
        weights = {"perceptual": 1, "adversarial": 1e-3, "edges": 0.5}
        total = sum(weight * float(row[f"train/{name}"]) for name, weight in weights.items())
        assert float(row["train/total"]) == pytest.approx(total, rel=1e-5)
    assert [row["step"] for row in tiny_runs.rows(run_dir) if row["val/weight_norm"]] == ["2", "4"]
    assert (run_dir / "report" / "results.md").is_file()


def test_one_process_trains_their_parts(run):
    assert_theirs(run)


def test_their_generator_is_loaded_by_whoever_has_its_class(run, theirs, monkeypatch):
    with pytest.raises(
        SRGANError, match=r"holds a 'their_project\.parts\.Shallow'.*--network their_project\.parts:Shallow"
    ):
        load_generator(run)
    assert "their_project.parts" not in sys.modules
    monkeypatch.syspath_prepend(theirs)
    from their_project.parts import Shallow

    for model in (run, run / "checkpoints" / "last.ckpt"):
        generator = load_generator(model, network=Shallow(scale=4, width=16))
        with torch.no_grad():
            assert generator(torch.rand(1, 3, 9, 7)).shape == (1, 3, 36, 28)


def test_a_resumed_run_has_their_parts_without_their_folder_of_configurations(run, theirs, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    command(theirs, f"resume={tmp_path}/run", "phase.adversarial.iterations=3", "trust_targets=true")
    assert tiny_runs.rows(tmp_path / "run")[-1]["step"] == "5"
    assert [row["step"] for row in tiny_runs.rows(tmp_path / "run") if row["train/edges"]] == ["3", "4", "5"]


def test_two_processes_train_their_parts(theirs, tmp_path):
    command(theirs, *MINE, *SHORT, *TWO, f"run_dir={tmp_path}/run")
    assert_theirs(tmp_path / "run")


@pytest.mark.slow
def test_jobs_of_a_cluster_with_two_processes_each_train_their_parts(theirs, tmp_path):
    """As SLURM's launcher does it, in processes of this machine; each job starts a torchrun."""
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    command(theirs, *MINE, *SHORT, *TWO, "hydra/launcher=submitit_local", "-m", "seed=7", f"run_dir={tmp_path}/jobs")
    assert_theirs(tmp_path / "jobs" / "0")


REFUSED = {
    ("phase.weights.edgs=1",): "no such key: phase.weights.edgs. Did you mean phase.weights.edges?",
    ("model.network.widht=8",): "no such key: model.network.widht. Did you mean model.network.width?",
    ("model.blocks=5",): "model.blocks has no effect with model=own; leave it out",
    ("+phase.weights.hedges=1",): "phase.weights.hedges: no such term of the loss. Did you mean edges?",
    ("experiment=mnie",): "Did you mean mine?",
    (
        "model.network._target_=their_project.parts.Shalow",
    ): "model.network._target_=their_project.parts.Shalow cannot be",
    ("model.network._target_=their_projct.parts.Shallow",): "No module named 'their_projct'",
    ("model.network._target_=null",): "model.network needs the name of a part of your own",
    ("model.network._target_=their_project.parts.WeightNorm", "~model.network.width"): "fails (TypeError",
    ("model.network._target_=torch.nn.ReLU", "~model.network.width"): "model.network: torch.nn.ReLU fails (TypeError",
    ("model.network._target_=builtins.dict",): "makes a dict, no torch.nn.Module",
    ("+model.network.depth=3",): "unexpected keyword argument 'depth'",
    ("data.sources._target_=builtins.dict",): "data.sources must be a function that returns a list of",
    ("data.sources.root=nowhere",): "data.sources: no pictures there",
    ("phase.terms.edges._partial_=false",): "missing 2 required positional arguments",
    (
        "phase.terms.edges._target_=builtins.dict",
        "phase.terms.edges._partial_=false",
    ): "cannot be called with sr and hr",
    ("~phase.weights.edges",): "phase.terms.edges has no effect without a weight: set phase.weights.edges",
    ("+phase.terms.mse._target_=torch.nn.MSELoss",): "phase.terms.mse: there is a term of this name already",
    ("callbacks.weight_norm._target_=builtins.dict",): "makes a dict, no lightning.pytorch.callbacks.Callback",
    ("model=srresnet5",): "model.network._target_ needs model=own; this is a srresnet",
    ("experiment=mine", "phase=pretrain", "phase.weights.edges=1"): "phase.weights.edges has no effect: phase=pretrain",
}


@pytest.mark.parametrize("arguments", REFUSED, ids=" ".join)
def test_what_is_wrong_with_their_parts_is_refused_in_one_line(arguments, theirs, tmp_path, monkeypatch):
    errors, trained = io.StringIO(), []
    GlobalHydra.instance().clear()
    multirun.Multirun.folder = None
    monkeypatch.chdir(theirs)
    monkeypatch.syspath_prepend(theirs)
    monkeypatch.setattr(sys, "argv", ["srgan-train", *MINE, *arguments, f"hydra.run.dir={tmp_path}/run"])
    monkeypatch.setattr(train, "_guarded", trained.append)
    monkeypatch.setattr(logging.root, "handlers", logging.root.handlers[:])  # Hydra adds one for the run's train.log
    with contextlib.redirect_stderr(errors), pytest.raises(SystemExit) as ended:
        train.main()
    lines = errors.getvalue().splitlines()
    assert ended.value.code == 2, lines
    assert len(lines) == 1, lines
    assert REFUSED[arguments] in lines[0]
    assert not trained
    assert not list(tmp_path.iterdir()), "a refused command leaves no run directory"
    GlobalHydra.instance().clear()


def test_their_generator_enlarges_is_scored_and_exported_as_their_readme_says(run, theirs, tmp_path, monkeypatch):
    text = (EXAMPLE / "README.md").read_text(encoding="utf-8").replace("\\\n", " ")
    shutil.copytree(run, tmp_path / "runs" / "mine" / "2026-01-31_12-00-00")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(theirs)
    for command, main in {"upscale": upscale.main, "evaluate": evaluate.main, "export": export.main}.items():
        line = re.search(rf"^python -m srgan_lit.{command} (.*)$", text, re.MULTILINE)[1]
        assert main(shlex.split(line)) == 0
        without = line.replace("--network their_project.parts:Shallow", "--overwrite").replace("scores", "none")
        assert main(shlex.split(without)) == 1, "what a file names is never imported"
    made = {}
    exec(re.search(r"```python\n(.*?)```", text, re.DOTALL)[1], made)
    assert made["generator"].architecture == {"scale": 4, "width": 16}
    with Image.open("photo_x4.png" if Path("photo_x4.png").exists() else "photo_x4.jpg") as written:
        difference = np.abs(np.asarray(written, dtype=int) - np.asarray(made["large"], dtype=int))
    assert difference.mean() < 8, "a JPEG of it"
    rows = {row["model"]: row for row in json.loads(Path("scores/results.json").read_text())["rows"]}
    assert rows.keys() == {"2026-01-31_12-00-00", "srgan"}


@pytest.mark.parametrize(
    ("network", "said"),
    [
        ("their_project.parts", "names a class as package.module:Class"),
        ("their_project.absent:Shallow", "cannot be imported (ModuleNotFoundError"),
        ("their_project.parts:Absent", "cannot be imported (AttributeError"),
        ("their_project.parts:edges", "a function, no class"),
        ("their_project.parts:WeightNorm", "cannot be made with {'scale': 4, 'width': 16}"),
        ("torch.nn:ReLU", "cannot be made with"),
    ],
)
def test_a_class_that_is_not_theirs_is_refused_in_a_line(network, said, run, theirs, tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(theirs)
    assert export.main([str(run), "-o", str(tmp_path / "x.onnx"), "--network", network]) in (1, 2)
    [line] = capsys.readouterr().err.splitlines()
    assert said in line
    assert not list(tmp_path.iterdir())


def test_a_class_that_no_model_needs_is_refused(theirs, tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(theirs)
    Image.new("RGB", (9, 9)).save(tmp_path / "a.png")
    own = ["--network", "their_project.parts:Shallow"]
    for model in ([], ["--model", "srgan-fast"], ["--model", "bicubic"]):
        assert upscale.main([str(tmp_path / "a.png"), *model, *own]) == 2
        [line] = capsys.readouterr().err.splitlines()
        assert "--network" in line
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_their_readme_tells_what_there_is():
    text = (EXAMPLE / "README.md").read_text(encoding="utf-8")
    assert "python -m srgan_lit.train --config-dir conf experiment=mine" in text
