"""The example of a user's own repository: its parts train in one process and several, and what is wrong is said."""

import contextlib
import io
import logging
import os
import re
import shutil
import sys
from pathlib import Path

import pytest
import torch
from hydra.core.global_hydra import GlobalHydra

from helpers import tiny_runs, warm_python
from srgan_lit import load_generator, train
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
    with pytest.raises(SRGANError, match=r"holds a 'their_project\.parts\.Shallow'.*network=…"):
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


def test_their_readme_tells_what_there_is():
    text = (EXAMPLE / "README.md").read_text(encoding="utf-8")
    assert "python -m srgan_lit.train --config-dir conf experiment=mine" in text
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL)[1]
    assert "network=Shallow(scale=4, width=16)" in code
    assert "width: 16" in (EXAMPLE / "conf" / "experiment" / "mine.yaml").read_text()
