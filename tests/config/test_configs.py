"""The command line of train: every experiment composes and builds, and what is wrong is refused in one line."""

import dataclasses
import os
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf
from pydantic.fields import FieldInfo

from helpers import noise_photos, warm_python
from helpers.in_process import until_it_trains
from helpers.patience import HANGS_SECONDS
from srgan_lit.config import combinations, misspellings
from srgan_lit.config.schema import LoggerConfig
from srgan_lit.networks.srresnet import Generator
from srgan_lit.train import CONF, configuration

EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))


def composed(*overrides):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", overrides=list(overrides))
    OmegaConf.set_struct(cfg, False)
    cfg.run_dir = "runs/test"
    return configuration(cfg)


def train(*arguments, cwd=None):
    """The command as a user runs it."""
    return warm_python.run(
        [sys.executable, "-m", "srgan_lit.train", *arguments],
        capture_output=True,
        text=True,
        timeout=HANGS_SECONDS,
        cwd=cwd,
    )


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return noise_photos.photos(tmp_path_factory.mktemp("photos"), 3, (64, 72))


def test_every_group_is_shipped_and_every_experiment_composes():
    assert {"demo", "srgan", "srresnet"} <= set(EXPERIMENTS)
    for experiment in EXPERIMENTS:
        config = composed(f"experiment={experiment}")
        assert config.phase.iterations >= 1
        combinations.check(config)


@pytest.mark.parametrize("group", ["data", "model", "phase", "perceptual", "trainer", "logger"])
def test_every_option_of_every_group_composes(group):
    for path in (CONF / group).glob("*.yaml"):
        if path.stem == "slurm":
            pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
        config = composed(f"{group}={path.stem}")
        assert getattr(config, group) is not None


def test_the_papers_recipe_is_the_default():
    config = composed("experiment=srgan")
    assert (config.model.blocks, config.model.features, config.model.scale) == (16, 64, 4)
    assert (config.data.batch_size, config.data.crop) == (16, 96)
    assert (config.phase.pretrain.iterations, config.phase.adversarial.iterations) == (1_000_000, 200_000)
    assert config.phase.pretrain.learning_rate == config.phase.adversarial.learning_rate == 1e-4
    assert (config.phase.adversarial.schedule, config.phase.adversarial.decay_at) == ("steps", (0.5,))
    weights = config.phase.weights
    assert {name: weight for name, weight in weights.items() if weight} == {"perceptual": 1, "adversarial": 1e-3}
    assert (config.perceptual.backbone, config.perceptual.weights) == ("vgg19", "imagenet")
    assert (config.phase.pretrain.loss, config.phase.adversarial.loss) == ("mse", "standard")


def test_an_experiment_may_change_any_key_and_the_command_line_any_of_those():
    assert composed("experiment=srgan").log_every == 50
    assert composed("experiment=demo").log_every == 10
    assert composed("experiment=demo", "log_every=7").log_every == 7


def test_a_phase_that_does_not_run_leaves_no_values():
    assert composed("experiment=demo", "phase=adversarial", "init_from=srresnet").phase.pretrain is None
    assert composed("experiment=demo", "phase=pretrain").phase.weights is None


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_builds_its_networks(experiment, photos):
    from srgan_lit.training import build

    config = composed(f"experiment={experiment}", "perceptual.weights=random", "data=sample", "data.crop=96")
    module = build.module(config)
    assert isinstance(module.generator, Generator)
    assert (module.discriminator is not None) == (config.phase.adversarial is not None)


REFUSED = {
    # arguments -> what the line must say
    ("model.block=5",): "Did you mean model.blocks?",
    ("modle.blocks=5",): "Did you mean model.blocks?",
    ("learning_rate=1e-3",): "Did you mean phase.pretrain.learning_rate?",
    ("+data.foo=3",): "no such key: data.foo",
    ("experiment=photo_srresnet", "data.root=.", "+phase.foo=3"): "no such key: phase.foo",
    ("experiment=photo_srgan", "data.root=.", "+phase.foo=3"): "no such key: phase.foo",
    ("experiment=srgn",): "Did you mean srgan?",
    ("data=foldr",): "Did you mean folder?",
    ("model.blocks=many",): "model.blocks=many: input should be a valid integer",
    ("model.scale=3",): "model.scale=3: input should be 2, 4 or 8",
    ("trainer.precision=16",): "trainer.precision=16",
    ("data.batch_size=0",): "data.batch_size=0",
    ("seed=-1",): "seed=-1",
    ("model.blocks",): "key=value",
    ("data.root=my photos (1)",): "quotes",
    ("experiment=demo", "data.crop=50"): "data.crop=50 is not a multiple of model.scale=4; take data.crop=48",
    ("experiment=demo", "data.crop=12"): "the discriminator needs 16 pixels",
    ("experiment=srresnet", "perceptual.layer=2_2"): "perceptual.layer has no effect",
    ("experiment=srresnet", "phase.weights.mse=1"): "phase.weights.mse has no effect with phase=pretrain",
    ("experiment=demo", "data.root=x"): "data.root has no effect with data=sample",
    ("phase=adversarial", "data=sample"): "pass init_from=<run>/generator.safetensors",
    ("experiment=demo", "init_from=gone/generator.safetensors"): "gone/generator.safetensors: no such file",
    ("perceptual.backbone=vgg16", "perceptual.layer=5_4"): "perceptual.layer=5_3",
    ("experiment=demo", "phase.pretrain.decay_at=[0.5]"): "phase.pretrain.schedule is cosine",
    ("experiment=demo", "phase.adversarial.warmup=100"): "warmup=100 must be shorter",
    ("experiment=demo", "trainer.precision=16-mixed"): "needs a GPU",
    ("experiment=demo", "trainer=gpu", "trainer.accelerator=mps", "trainer.precision=16-mixed"): "needs a GPU",
    ("experiment=srresnet", "objective=perceptual"): "an adversarial phase with phase.weights.perceptual above 0",
    ("phase.weights.percetual=1",): "Did you mean phase.weights.perceptual?",
    ("+phase.weights.percetual=1",): "phase.weights.percetual: no such term of the loss. Did you mean perceptual?",
    ("phase.weights.grid=-1",): "phase.weights.grid=-1: input should be greater than or equal to 0",
    ("phase.weights.perceptual=0", "phase.weights.adversarial=0"): "phase.weights: all weights are 0",
    (
        "experiment=demo",
        "phase.adversarial.loss=hinges",
    ): "may be standard, relativistic, least_squares, hinge. Did you",
    ("experiment=demo", "phase.adversarial.loss=hinge", "phase.adversarial.label_smoothing=0.1"): "has no target",
    ("experiment=demo", "model.name=srresnt"): "model.name=srresnt: may be srresnet, own. Did you mean srresnet?",
    ("experiment=demo", "+model.network.tail_kernels=3"): "Did you mean tail_kernel?",
    ("sweep=adverserial",): "Did you mean adversarial?",
    ("swep=adversarial",): "Did you mean sweep?",
    ("experiment=srgan",): "data.root",
    ("data=folder",): "data.root",
    ("data=folder", "data.root=nowhere"): "nowhere",
    ("resume=nowhere",): "/run: no run directory (no config.yaml in it)",
}


@pytest.mark.parametrize("arguments", REFUSED, ids=" ".join)
def test_refused_in_one_line_with_exit_status_2(arguments, tmp_path, capsys):
    status, lines = until_it_trains(capsys, *arguments, f"hydra.run.dir={tmp_path}/run")
    assert status == 2, lines
    assert len(lines) == 1, lines
    assert REFUSED[arguments] in lines[0]
    assert not list(tmp_path.iterdir()), "a refused command leaves no run directory"


@pytest.mark.parametrize("arguments", [("model.block=5",), ("resume=nowhere",), ("sweep=adverserial",)], ids=" ".join)
def test_a_process_that_is_refused_says_no_more_and_exits_so_too(arguments, tmp_path):
    result = train(*arguments, f"hydra.run.dir={tmp_path}/run")
    assert (result.returncode, result.stdout) == (2, "")
    [line] = result.stderr.splitlines()
    assert REFUSED[arguments] in line
    assert not list(tmp_path.iterdir())


def test_a_crop_larger_than_the_pictures_is_refused(photos):
    result = train("data=folder", f"data.root={photos}", "hydra.run.dir=" + str(photos.parent / "run"))
    assert result.returncode == 2
    assert "data.crop=96" in result.stderr
    assert ".png" in result.stderr


def test_devices_that_are_not_there_are_refused(photos):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has GPUs")
    for accelerator, said in (
        ("gpu", "shows none; take trainer=cpu"),
        ("cpu", "try trainer.devices="),  # hundreds of processes would take the machine's memory
        ("auto", "try trainer.devices="),
    ):
        devices = 100 * (os.cpu_count() or 1)
        result = train(
            "experiment=demo", "trainer=ddp", f"trainer.accelerator={accelerator}", f"trainer.devices={devices}"
        )
        assert result.returncode == 2
        assert said in result.stderr
    result = train("experiment=demo", "trainer=gpu", "trainer.precision=16-mixed")
    assert result.returncode == 2
    assert "would be ignored here" in result.stderr


def test_every_key_is_documented_in_conf():
    """A key of config.py that no file in conf/ sets could not be found by a reader, nor set on the command line."""
    text = "".join(path.read_text() for path in CONF.rglob("*.yaml"))
    for key in misspellings.known_keys():
        assert f"{key.rpartition('.')[2]}:" in text or key in ("model", "data", "phase"), key


def leaves(value, key=""):
    """(key, value as composed, the class's own default or MISSING) of everything that is no class of config."""
    for field in dataclasses.fields(value):
        mine = getattr(value, field.name)
        own = field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default
        if isinstance(own, FieldInfo):
            own = own.get_default(call_default_factory=True)
        if dataclasses.is_dataclass(mine):
            yield from leaves(mine, f"{key}{field.name}.")
        else:
            yield f"{key}{field.name}", mine, own


def test_the_defaults_of_the_classes_are_those_of_conf():
    """A program that makes a PhaseConfig of its own trains what the command line does."""
    given = {
        "data.name", "data.root", "phase.name", "phase.pretrain.iterations", "phase.adversarial.iterations", "run_dir",
    }  # fmt: skip
    chosen = {"phase.weights"}  # whoever gives weights gives all of them
    checked = 0
    for overrides in (["experiment=srgan", "data.root=photos"], ["logger=wandb", "data.root=photos"]):
        for key, value, default in leaves(composed(*overrides)):
            if key in given:
                assert default in (dataclasses.MISSING, None), key
            elif key not in chosen | {"logger.name"}:
                assert value == default, f"{key}: conf says {value}, config/schema.py {default}"
                checked += 1
    assert checked > 80
    assert LoggerConfig().name == composed("experiment=srgan").logger.name


def test_help_lists_every_group_and_key_with_its_comment():
    text = train("--help").stdout
    composed_keys = {line.split(":")[0].strip() for line in text.splitlines() if ": " in line}
    assert {"iterations", "learning_rate", "perceptual", "batch_size", "seed", "precision", "blocks"} <= composed_keys
    assert f"  experiment  {', '.join(EXPERIMENTS)}" in text
    assert "photo_everyday" in EXPERIMENTS
    assert "the paper's" in text


@pytest.fixture(autouse=True)
def _clean_hydra():
    GlobalHydra.instance().clear()
    yield
    GlobalHydra.instance().clear()


def test_conf_is_found_outside_the_repository(tmp_path):
    result = train("--cfg", "job", "experiment=demo", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "pretrain" in result.stdout
    assert not Path(tmp_path / "runs").exists()
