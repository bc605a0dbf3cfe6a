"""Many trainings by one command: real processes that sweep, fail, go on and end in a table."""

import csv
import itertools
import json
import os
import runpy
import sys

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from helpers import noise_photos, warm_python
from srgan_lit.config.composition import CONF, configuration
from srgan_lit.sweeps import run_table
from srgan_lit.training import build

SHORT = [
    "experiment=demo", "init_from=null", "model.blocks=1", "model.features=8", "data=folder", "data.crop=32",
    "data.batch_size=2", "validate_every=2", "checkpoint_every=2", "log_every=1", "phase=pretrain",
    "phase.pretrain.iterations=2", "phase.pretrain.warmup=0",
]  # fmt: skip


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return noise_photos.photos(tmp_path_factory.mktemp("photos"), 4, (64, 72))


@pytest.fixture(autouse=True)
def _clean_hydra():
    GlobalHydra.instance().clear()
    yield
    GlobalHydra.instance().clear()


def train(*arguments, cwd=None, **environment):
    return warm_python.run(
        [sys.executable, "-m", "srgan_lit.train", *arguments],
        capture_output=True, text=True, timeout=300, env={**os.environ, **environment}, cwd=cwd,
    )  # fmt: skip


@pytest.fixture(scope="module")
def some_failed(photos, tmp_path_factory):
    """A multirun of three jobs whose second cannot work, where it goes by default."""
    desk = tmp_path_factory.mktemp("sweeps")
    result = train(*SHORT, "-m", f"data.root={photos}", "model.blocks=1,many,2", cwd=desk)
    (folder,) = (desk / "runs" / "demo").iterdir()
    return folder, result


def test_a_job_that_fails_is_named_and_the_others_are_done(some_failed):
    folder, result = some_failed
    assert result.returncode == 1, result.stderr
    (line,) = [line for line in result.stderr.splitlines() if "model.blocks=many: input should be" in line]
    assert line.startswith(f"runs/demo/{folder.name}/1: ")
    assert "Traceback" not in result.stderr
    for job in "02":
        assert (folder / job / "generator.safetensors").is_file()
        assert (folder / job / "train.log").is_file()


def test_a_multirun_ends_with_its_table(some_failed):
    folder, result = some_failed
    assert (folder / "results.md").read_text() in result.stdout
    listed = json.loads((folder / "results.json").read_text())["runs"]
    scores = [run["scores"]["validation"]["psnr"] for run in listed[:2]]
    assert scores == sorted(scores, reverse=True), "the best first"
    for run, psnr in zip(listed[:2], scores, strict=True):
        report = json.loads((folder / run["run"] / "report" / "results.json").read_text())["rows"]
        assert psnr == report[-1]["psnr"], "of the result, not of bicubic"
        assert run["iterations"] == 2
    assert listed[2]["run"] == "1"
    assert "model.blocks=many" in listed[2]["failed"]
    with (folder / "results.csv").open(newline="") as opened:
        rows = list(csv.DictReader(opened))
    changed = {row["run"]: row["changed"] for row in rows}
    assert changed == {"0": "model.blocks=1", "1": "model.blocks=many", "2": "model.blocks=2"}, "what differs alone"


def test_runs_makes_the_table_again(some_failed, tmp_path):
    folder, _ = some_failed
    result = warm_python.run(
        [sys.executable, "-m", "srgan_lit.runs", str(folder), "--out", str(tmp_path)], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == (folder / "results.md").read_text() == (tmp_path / "results.md").read_text()
    result = warm_python.run(
        [sys.executable, "-m", "srgan_lit.runs", str(folder), str(folder / "0" / "report")],
        capture_output=True, text=True,
    )  # fmt: skip
    assert (result.returncode, result.stdout) == (2, "")
    assert "no run directory" in result.stderr


def test_a_folder_that_holds_a_multirun_is_refused(some_failed, photos):
    folder, _ = some_failed
    before = sorted(folder.rglob("*"))
    result = train(*SHORT, "-m", f"data.root={photos}", f"run_dir={folder}", "seed=1,2")
    assert result.returncode == 2
    assert "holds a multirun already; name another run_dir" in result.stderr
    assert sorted(folder.rglob("*")) == before


def written_run(folder, psnr, perceptual, objective="psnr"):
    (folder / "report").mkdir(parents=True)
    (folder / "config.yaml").write_text(f"objective: {objective}\n")
    rows = [
        {"model": model, "dataset": "validation", "psnr": value, "ssim": 0.5, "vgg19_5_4": distance}
        for model, value, distance in (("bicubic", 99, 0), ("SRGAN", psnr, perceptual))
    ]
    (folder / "report" / "results.json").write_text(json.dumps({"rows": rows}))


def test_the_objective_says_which_run_is_the_best(tmp_path):
    for objective, best in (("psnr", "0"), ("perceptual", "10")):
        folder = tmp_path / objective
        written_run(folder / "0", 30, 0.3, objective)
        written_run(folder / "2", 28, 0.2, objective)
        written_run(folder / "10", 20, 0.1, objective)
        written_run(folder / "11", None, None, objective)  # not finite
        found = run_table.read({folder: run_table.find(folder)[0]})
        assert found[0].name == best
        assert found[-1].name == "11"
    assert [run.name for run in run_table.find(tmp_path / "psnr")[0]] == ["0", "2", "10", "11"]


# ------------------------------------------------------------------ Optuna


def optuna_or_skip():
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    optuna = pytest.importorskip("optuna")
    if pytest.importorskip("sqlalchemy").__version__.partition(".")[0] != "1":
        pytest.skip("Optuna 2 needs SQLAlchemy 1.4: pip install 'srgan_lit[sweep]'")
    return optuna


def test_an_optuna_sweep_survives_divergence_and_a_second_call_adds_trials(photos, tmp_path):
    optuna = optuna_or_skip()
    first, second = tmp_path / "first", tmp_path / "second"
    space = "phase.pretrain.learning_rate=choice(1e-4,1e30)"  # the second diverges at once
    long_enough = ("phase.pretrain.iterations=14", "validate_every=14")  # for ten iterations without a gradient
    common = (*SHORT, *long_enough, f"data.root={photos}", "sweep=pretrain", space)
    result = train(*common, f"run_dir={first}", "hydra.sweeper.n_trials=3")
    storage = f"sqlite:///{first}/study.db"
    trials = optuna.load_study(study_name="srgan_lit", storage=storage).trials
    states = [trial.state.name for trial in trials]
    assert len(trials) == 3, result.stderr
    assert set(states) == {"COMPLETE", "FAIL"}, "the seed draws both"
    assert result.returncode == 1
    assert result.stderr.count("had no finite gradient") == states.count("FAIL")
    for number, trial in enumerate(trials):
        assert (trial.state.name == "FAIL") == (trial.params["phase.pretrain.learning_rate"] == 1e30)
        config = OmegaConf.load(first / str(number) / "config.yaml")
        assert config.phase.pretrain.loss == trial.params["phase.pretrain.loss"]
        if trial.state.name == "COMPLETE":
            report = json.loads((first / str(number) / "report" / "results.json").read_text())["rows"]
            assert trial.value == pytest.approx(report[-1]["psnr"])
    assert (first / "results.md").read_text() in result.stdout

    train(*common, f"run_dir={second}", "hydra.sweeper.n_trials=1", f"hydra.sweeper.storage={storage}")
    more = optuna.load_study(study_name="srgan_lit", storage=storage).trials
    assert len(more) == 4
    assert [trial.params for trial in more[:3]] == [trial.params for trial in trials]
    assert (second / "0" / "config.yaml").is_file()


def test_a_study_in_two_calls_draws_what_it_draws_in_one(tmp_path):
    optuna = optuna_or_skip()
    from srgan_lit.sweeps.optuna_sampler import ContinuedTPE

    optuna.logging.set_verbosity(optuna.logging.WARNING)

    def drawn(name, calls, seed=0):
        for trials in calls:
            study = optuna.create_study(
                study_name="s", storage=f"sqlite:///{tmp_path}/{name}", load_if_exists=True,
                sampler=ContinuedTPE(seed=seed, n_startup_trials=3),
            )  # fmt: skip
            study.optimize(
                lambda trial: (
                    (trial.suggest_loguniform("a", 1e-5, 1) - 1e-3) ** 2 + trial.suggest_categorical("b", [0, 1])
                ),
                n_trials=trials,
            )
        return [trial.params for trial in study.trials]

    whole = drawn("whole", [6])
    assert drawn("parts", [2, 4]) == whole
    assert drawn("other", [6], seed=1) != whole
    assert len({trial["a"] for trial in whole}) == 6, "no value twice"


@pytest.mark.parametrize(("sweep", "wrong"), [("adversarial", "maximize"), ("pretrain", "minimize")])
def test_a_direction_that_does_not_fit_the_objective_is_refused(sweep, wrong, tmp_path):
    optuna_or_skip()
    result = train(
        *SHORT[:-3], "phase=full", f"sweep={sweep}", f"hydra.sweeper.direction={wrong}", f"run_dir={tmp_path}/run"
    )
    assert result.returncode == 2, result.stderr
    assert "needs hydra.sweeper.direction=" in result.stderr
    assert not (tmp_path / "run").exists()


def hydra_of(*overrides):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("train", overrides=list(overrides), return_hydra_config=True)


@pytest.mark.parametrize("name", ["pretrain", "adversarial"])
def test_every_trial_of_a_sweep_composes(name):
    """Each corner of the space is a configuration that would run."""
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    from hydra_plugins.hydra_optuna_sweeper._impl import create_params_from_overrides

    from srgan_lit.config import combinations

    cfg = hydra_of(f"sweep={name}", "run_dir=runs/test")
    assert cfg.hydra.sweeper.storage.startswith("sqlite:///")
    space, fixed = create_params_from_overrides([f"{key}={value}" for key, value in cfg.hydra.sweeper.params.items()])
    assert space
    assert not fixed
    ends = [getattr(each, "choices", None) or (each.low, each.high) for each in space.values()]
    base = {"pretrain": ["experiment=srresnet"], "adversarial": ["phase=adversarial", "init_from=srresnet"]}[name]
    for values in itertools.product(*ends):
        trial = [f"{key}={value}" for key, value in zip(space, values, strict=True)]
        cfg = hydra_of(*base, f"sweep={name}", "run_dir=runs/test", *trial)
        OmegaConf.set_struct(cfg, False)
        del cfg["hydra"]
        combinations.check(configuration(cfg), set_by_user=[*base[0].split("=")[:1], *space])


# ------------------------------------------------------------------ clusters


@pytest.mark.parametrize("also", [(), ("hydra/launcher=submitit_slurm",)])
def test_slurm_jobs_have_a_task_for_each_device(also):
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    cfg = hydra_of("trainer=slurm", "trainer.devices=8", "trainer.num_nodes=2", *also)
    launcher = cfg.hydra.launcher
    assert launcher._target_.endswith("SlurmLauncher")
    assert (launcher.nodes, launcher.tasks_per_node, launcher.gpus_per_node) == (2, 8, 8)
    assert launcher.cpus_per_task >= 1
    assert launcher.max_num_timeout > 0, "a job that ran out of time is queued again"
    assert cfg.hydra.mode.name == "MULTIRUN", "never a training on the login node"
    assert (cfg.trainer.accelerator, cfg.trainer.precision) == ("gpu", "32-true")


def test_launchers_can_carry_the_job_to_another_process():
    """As cloudpickle does it for submitit, where the module is the program: by value."""
    cloudpickle = pytest.importorskip("cloudpickle")
    module = runpy.run_path(str(CONF.parent / "src" / "srgan_lit" / "train.py"), run_name="a_program")
    assert cloudpickle.loads(cloudpickle.dumps(module["_job"])).__name__ == "_job"


@pytest.mark.slow
def test_a_launcher_of_other_processes_trains_and_ends_with_the_table(photos, tmp_path):
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    folder = tmp_path / "sweep"
    result = train(
        *SHORT, "-m", "hydra/launcher=submitit_local", f"data.root={photos}", f"run_dir={folder}", "model.blocks=1,many"
    )
    assert result.returncode == 1, result.stderr
    assert (folder / "0" / "generator.safetensors").is_file()
    assert "model.blocks=many: input should be" in result.stderr, "also what failed elsewhere is named"
    assert (folder / "results.md").read_text() in result.stdout


@pytest.mark.slow
def test_a_job_that_slurm_starts_again_goes_on(photos, tmp_path):
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    (run_dir / "config.yaml").touch()  # stopped before the first checkpoint
    again = (*SHORT, f"data.root={photos}", f"run_dir={run_dir}")
    assert train(*again).returncode == 2, "another run may be writing there"
    result = train(*again, SLURM_RESTART_COUNT="1")
    assert result.returncode == 0, result.stderr
    first = (run_dir / "metrics.csv").read_text().splitlines()
    config = run_dir / "config.yaml"  # as if the run had been stopped in the middle
    config.write_text(config.read_text().replace("iterations: 2", "iterations: 4"))
    result = train(*again, SLURM_RESTART_COUNT="2")
    assert result.returncode == 0, result.stderr
    rows = (run_dir / "metrics.csv").read_text().splitlines()
    assert rows[: len(first)] == first, "no iteration is done again"
    with (run_dir / "metrics.csv").open(newline="") as opened:
        assert list(csv.DictReader(opened))[-1]["step"] == "4"


@pytest.mark.parametrize("argument", ["sweep=pretrain", "trainer=slurm", "hydra/launcher=submitit_local"])
def test_without_the_extra_one_line_says_what_to_install(argument, tmp_path):
    (tmp_path / "hydra_plugins").mkdir()
    (tmp_path / "hydra_plugins" / "__init__.py").touch()  # a package in the way of the plugins' namespace
    path = os.pathsep.join([str(tmp_path), os.environ["PYTHONPATH"]])
    result = train(argument, "experiment=demo", f"run_dir={tmp_path}/run", PYTHONPATH=path)
    assert result.returncode == 2
    assert len(result.stderr.strip().splitlines()) == 1
    assert "pip install 'srgan_lit[sweep]'" in result.stderr


# ------------------------------------------------------------------ W&B's own sweeps


def test_the_wandb_sweep_calls_the_training_command():
    sweep = OmegaConf.to_container(OmegaConf.load(CONF / "wandb_sweep.yaml"))
    interpreter, *command = [word for word in sweep["command"] if word != "${env}"]
    assert interpreter == "${interpreter}"
    assert command[:2] == ["-m", sweep["program"]] == ["-m", "srgan_lit.train"]
    assert command[-1] == "${args_no_hyphens}"
    for end in ("min", "max"):
        given = [f"{key}={value.get('value', value.get(end))}" for key, value in sweep["parameters"].items()]
        with initialize_config_dir(str(CONF), version_base="1.3"):
            cfg = compose("train", overrides=[*command[2:-1], *given])
        OmegaConf.set_struct(cfg, False)
        cfg.run_dir = "runs/test"
        config = configuration(cfg)
        assert config.logger.name == "wandb"
        assert config.phase.weights["adversarial"] == sweep["parameters"]["phase.weights.adversarial"][end]
        build.generator(config)  # or it is refused: init_from has another shape than model
    assert sweep["metric"] == {"name": "val/perceptual", "goal": "minimize"}
