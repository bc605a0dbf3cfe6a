"""Every key of a configuration changes what it should, and nothing else: for each there is a test that tells.

``WIRED`` names it. Most are here: a few iterations, once as they are and once with another value, whose curves are
compared column by column.
"""

import ast
import functools
import json
from pathlib import Path
from types import SimpleNamespace

import lightning as L
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf
from safetensors.torch import save_file

from helpers.configurations import once
from helpers.tiny_runs import TINY, rows
from srgan_lit.config import misspellings
from srgan_lit.config.composition import CONF, configuration
from srgan_lit.data.sets import SAMPLE
from srgan_lit.model_files.vgg_weights import vgg_features
from srgan_lit.networks.srresnet import Generator
from srgan_lit.training import build, dashboards, run
from srgan_lit.training.callbacks.generator_files import GeneratorFiles
from srgan_lit.training.run_files import RunCheckpoints

pytestmark = pytest.mark.usefixtures("narrow_discriminators")

TESTS = Path(__file__).resolve().parents[1]

NEVER = ("validate_every=100", "checkpoint_every=100")
PRETRAIN = (*TINY, *NEVER, "phase=pretrain", "phase.pretrain.iterations=2", "phase.pretrain.warmup=0")
GAME = (
    *TINY, *NEVER, "phase=adversarial", "phase.adversarial.iterations=2", "phase.adversarial.schedule=constant",
    "phase.adversarial.warmup=0",
)  # fmt: skip
PRETRAIN_STEPS = (
    *PRETRAIN,
    "phase.pretrain.iterations=4",
    "phase.pretrain.schedule=steps",
    "phase.pretrain.decay_at=[0.5]",
)
GAME_STEPS = (
    *GAME,
    "phase.adversarial.iterations=4",
    "phase.adversarial.schedule=steps",
    "phase.adversarial.decay_at=[0.5]",
)

# A discriminator that stays as it is: what the generator's own term does is not hidden by the other's update.
STILL = (*GAME, "phase.adversarial.discriminator_learning_rate=1e-30")

LOSS = {"train/l1", "train/gradient_norm_generator"}
RATE = {"learning_rate/generator"}
RATES = {"learning_rate/generator", "learning_rate/discriminator"}
TOTAL = {"train/total", "train/gradient_norm_generator"}
FEATURES = {"train/perceptual", *TOTAL}
JUDGE = {"train/discriminator", "train/gradient_norm_discriminator"}
JUDGED = {"train/adversarial", *TOTAL}  # by a discriminator that has made one update since
GUESSES = {"train/probability_real", "train/probability_generated"}

# Key: what is common, what is changed, the iteration at which the curves part, which columns differ there, and which
# may differ besides.
STEPS = {
    "seed": (PRETRAIN, ("seed=1",), 1, LOSS, set()),
    "data.batch_size": (PRETRAIN, ("data.batch_size=3",), 1, LOSS, set()),
    "data.crop": (PRETRAIN, ("data.crop=48",), 1, LOSS, set()),
    "data.augment": (PRETRAIN, ("data.augment=false",), 1, LOSS, set()),
    "data.degradation": (PRETRAIN, ("data.degradation=jpeg",), 1, LOSS, set()),
    "data.reuse": ((*PRETRAIN, "data.degradation=jpeg"), ("data.reuse=2",), 1, LOSS, set()),
    "data.sharpen": (PRETRAIN, ("data.sharpen=0.5",), 1, LOSS, set()),
    "model.blocks": (PRETRAIN, ("model.blocks=2",), 1, LOSS, set()),
    "model.features": (PRETRAIN, ("model.features=16",), 1, LOSS, set()),
    "model.scale": (PRETRAIN, ("model.scale=2",), 1, LOSS, set()),
    "model.upsampling": (PRETRAIN, ("model.upsampling=nearest",), 1, LOSS, set()),
    "model.start": (PRETRAIN, ("model.start=icnr",), 1, LOSS, set()),
    "model.network": (PRETRAIN, ("+model.network.tail_kernel=3",), 1, LOSS, set()),
    "phase.pretrain.loss": (PRETRAIN, ("phase.pretrain.loss=mse",), 1, {*LOSS, "train/mse"}, set()),
    "phase.pretrain.learning_rate": (PRETRAIN, ("phase.pretrain.learning_rate=1e-5",), 1, RATE, set()),
    "phase.pretrain.schedule": (PRETRAIN, ("phase.pretrain.schedule=constant",), 2, RATE, set()),
    "phase.pretrain.warmup": (PRETRAIN, ("phase.pretrain.warmup=1",), 1, RATE, set()),
    "phase.pretrain.decay_at": (PRETRAIN_STEPS, ("phase.pretrain.decay_at=[0.25]",), 2, RATE, set()),
    "phase.pretrain.decay_factor": (PRETRAIN_STEPS, ("phase.pretrain.decay_factor=0.5",), 3, RATE, set()),
    "phase.adversarial.learning_rate": (GAME, ("phase.adversarial.learning_rate=1e-5",), 1, RATES, JUDGED),
    "phase.adversarial.schedule": (GAME, ("phase.adversarial.schedule=cosine",), 2, RATES, JUDGED),
    "phase.adversarial.warmup": (GAME, ("phase.adversarial.warmup=1",), 1, RATES, JUDGED),
    "phase.adversarial.decay_at": (GAME_STEPS, ("phase.adversarial.decay_at=[0.25]",), 2, RATES, JUDGED),
    "phase.adversarial.decay_factor": (GAME_STEPS, ("phase.adversarial.decay_factor=0.5",), 3, RATES, JUDGED),
    "phase.adversarial.discriminator_learning_rate": (
        GAME, ("phase.adversarial.discriminator_learning_rate=1e-6",), 1, {"learning_rate/discriminator"}, JUDGED,
    ),
    "phase.adversarial.loss": (
        STILL, ("phase.adversarial.loss=hinge",), 1, {"train/adversarial", *TOTAL, *JUDGE}, set(),
    ),
    "phase.adversarial.label_smoothing": (STILL, ("phase.adversarial.label_smoothing=0.3",), 1, JUDGE, set()),
    "phase.adversarial.r1": (
        STILL, ("phase.adversarial.r1=10",), 1, {"train/r1", "train/gradient_norm_discriminator"}, set(),
    ),
    "phase.adversarial.r1_every": (
        (*STILL, "phase.adversarial.r1=10"), ("phase.adversarial.r1_every=1",), 1,
        {"train/gradient_norm_discriminator"}, set(),
    ),
    "phase.weights.mse": (GAME, ("phase.weights.mse=0.5",), 1, TOTAL, set()),
    "phase.weights.lr_mse": (GAME, ("phase.weights.lr_mse=50",), 1, TOTAL, {"train/lr_mse"}),
    "phase.weights.perceptual": (GAME, ("phase.weights.perceptual=3",), 1, TOTAL, set()),
    "phase.weights.adversarial": (GAME, ("phase.weights.adversarial=0.5",), 1, TOTAL, set()),
    "phase.weights.grid": (GAME, ("phase.weights.grid=50",), 1, TOTAL, {"train/grid"}),
    "phase.weights.l1": (GAME, ("phase.weights.l1=1",), 1, TOTAL, {"train/l1"}),
    "phase.weights.colour": (GAME, ("phase.weights.colour=50",), 1, TOTAL, {"train/colour"}),
    "phase.weights.artefacts": (
        (*GAME, "optimization.ema=0.5"), ("phase.weights.artefacts=50",), 1, TOTAL, {"train/artefacts"},
    ),
    "perceptual.before_activation": (GAME, ("perceptual.before_activation=true",), 1, FEATURES, set()),
    "perceptual.distance": (GAME, ("perceptual.distance=l1",), 1, FEATURES, set()),
    "perceptual.backbone": (
        (*GAME, "perceptual.layer=null"), ("perceptual.backbone=vgg16",), 1, FEATURES, set(),
    ),
    "perceptual.layer": (GAME, ("perceptual.layer=1_2",), 1, FEATURES, set()),
    "perceptual.layers": (
        (*GAME, "perceptual.layer=null", "perceptual.layers={2_2:1.0}"),
        ("perceptual.layers={1_1:1.0,2_2:1.0}",),
        1,
        FEATURES,
        set(),
    ),
    "perceptual.weights": (
        (*GAME, "perceptual.backbone=vgg16"), ("perceptual.weights=VGG",), 1, FEATURES, set(),
    ),
    "discriminator.normalisation": (
        GAME, ("discriminator.normalisation=spectral",), 1, {*GUESSES, *JUDGE}, JUDGED,
    ),
    # Adam takes steps of one size whatever the gradient's, but for what it adds to it: 1e-8.
    "optimization.clip_gradients": (PRETRAIN, ("optimization.clip_gradients=1e-7",), 2, LOSS, set()),
    "optimization.accumulate": (PRETRAIN, ("optimization.accumulate=2",), 1, LOSS, set()),
}  # fmt: skip


def composed(run_dir, overrides):
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", overrides=list(overrides))
    OmegaConf.set_struct(cfg, False)
    cfg.run_dir = str(run_dir)
    return configuration(cfg)


@pytest.fixture(scope="module")
def curve(tmp_path_factory):
    """The curve of a few iterations, by iteration and column; the same configuration is trained once."""

    @functools.cache
    def trained(overrides):
        config = composed(tmp_path_factory.mktemp("run"), overrides)
        L.seed_everything(config.seed, verbose=False)
        module, data = build.module(config), build.datamodule(config)
        build.trainer(config).fit(module, datamodule=data)
        return {
            int(row["step"]): {name: value for name, value in row.items() if value and name != "images_per_second"}
            for row in rows(Path(config.run_dir))
        }

    return trained


@pytest.mark.parametrize("key", STEPS)
def test_another_value_changes_what_it_should_and_nothing_else(key, curve, tmp_path):
    common, changed, iteration, differ, may_differ = STEPS[key]
    if "perceptual.weights=VGG" in changed:
        torch.manual_seed(5)
        other = vgg_features(backbone="vgg16", layer=None, weights="random").features.state_dict()
        save_file({n: 2 * v.contiguous() for n, v in other.items()}, tmp_path / "vgg.safetensors")
        changed = (f"perceptual.weights={tmp_path / 'vgg.safetensors'}",)
    before, after = curve(once(common)), curve(once((*common, *changed)))
    for step in range(1, iteration):
        assert before[step] == after[step], "the same until then"
    one, other = before[iteration], after[iteration]
    different = {name for name in one.keys() | other.keys() if one.get(name) != other.get(name)}
    assert differ <= different, "what it should change"
    assert different <= differ | may_differ, "nothing else"


# ---------------------------------------------------------------------- what no curve shows


def test_the_trainer_gets_what_the_keys_say(tmp_path, monkeypatch):
    class Told(Exception):
        pass

    def trainer(**arguments):
        given.update(arguments)
        raise Told

    def told(*overrides):
        given.clear()
        with pytest.raises(Told):
            build.trainer(composed(tmp_path, once((*TINY, *overrides))))
        callbacks = {type(each): each for each in given["callbacks"]}
        names = (
            "accelerator",
            "devices",
            "num_nodes",
            "precision",
            "sync_batchnorm",
            "max_steps",
            "val_check_interval",
        )
        return {name: given[name] for name in (*names, "log_every_n_steps", "default_root_dir")} | {
            "checkpoint_every": callbacks[RunCheckpoints]._every,
            "best_by": callbacks[GeneratorFiles].best_by,
        }

    given = {}
    monkeypatch.setattr(build.L, "Trainer", trainer)
    plain = told("phase=full", "phase.pretrain.iterations=60", "phase.adversarial.iterations=40")
    assert plain["max_steps"] == 100
    assert plain["default_root_dir"] == tmp_path, "run_dir"
    short = ("phase=full", "phase.pretrain.iterations=60", "phase.adversarial.iterations=40")
    for override, difference in {
        "trainer.accelerator=auto": {"accelerator": "auto"},
        "trainer.devices=3": {"devices": 3},
        "trainer.num_nodes=2": {"num_nodes": 2},
        "trainer.precision=bf16-mixed": {"precision": "bf16-mixed"},
        "trainer.sync_batchnorm=true": {"sync_batchnorm": True},
        "phase.pretrain.iterations=70": {"max_steps": 110},
        "phase.adversarial.iterations=70": {"max_steps": 130},
        "validate_every=7": {"val_check_interval": 7},
        "log_every=9": {"log_every_n_steps": 9},
        "checkpoint_every=11": {"checkpoint_every": 11},
        "best_by=ssim": {"best_by": "ssim"},
    }.items():
        assert told(*short, override) == plain | difference, override


def test_the_data_are_those_of_the_keys(tmp_path):
    def facts(*overrides):
        data = build.datamodule(composed(tmp_path, once((*TINY, *overrides))))
        data.setup()
        loader = data.train_dataloader()
        return {
            "trained on": len(loader.dataset), "validated with": len(data.validation_set()),
            "workers": loader.num_workers, "first": data.packed.names[0],
        }  # fmt: skip

    plain, root = facts(), f"data.root={SAMPLE / 'test'}"
    orders = [build.datamodule(composed(tmp_path, (*TINY, f"seed={seed}"))).seed for seed in (0, 1)]
    assert orders == [0, 1]
    assert facts("data.workers=1") == plain | {"workers": 1}
    more = facts("data.validation_share=0.6")
    assert more["validated with"] > plain["validated with"]
    assert more["trained on"] + more["validated with"] == plain["trained on"] + plain["validated with"]
    cache = tmp_path / "cache"
    folder = facts("data=folder", root, f"data.cache={cache}")
    assert folder == {"trained on": 3, "validated with": 1, "workers": 0, "first": "astronaut.png"}
    assert list(cache.iterdir())


def test_the_module_is_what_the_keys_say(tmp_path):
    def module(*overrides):
        return build.module(composed(tmp_path, once((*TINY, *overrides))))

    plain = module("phase=pretrain")
    assert plain.ema is None
    assert plain.result is plain.generator
    averaged = module("phase=pretrain", "optimization.ema=0.5")
    assert averaged.result is averaged.ema.module
    norms = [norm for norm in plain.modules() if isinstance(norm, torch.nn.BatchNorm2d)]
    assert norms
    assert all(norm.training for norm in norms)
    frozen = module("phase=pretrain", "optimization.batchnorm=frozen")
    assert not any(norm.training for norm in frozen.modules() if isinstance(norm, torch.nn.BatchNorm2d))
    judged = module("phase=adversarial", "optimization.batchnorm=frozen_generator")
    training = {
        name.split(".")[0]: norm.training
        for name, norm in judged.named_modules()
        if isinstance(norm, torch.nn.BatchNorm2d)
    }
    assert training == {"generator": False, "discriminator": True}
    assert module("phase=pretrain", "optimization.recalibrate=7").optimization.recalibrate == 7


def test_the_team_of_a_wandb_run_is_that_of_the_key(tmp_path, monkeypatch):
    def refuse(**arguments):
        given.append(arguments)
        raise OSError("no service in this test")

    given = []
    monkeypatch.setattr(dashboards, "WandbLogger", refuse)
    for overrides in ((), ("logger.entity=our_team",)):
        assert not dashboards.dashboards(composed(tmp_path, (*TINY, "logger=wandb", *overrides)))
    assert [each["entity"] for each in given] == [None, "our_team"]


def test_a_run_is_judged_by_its_objective(tmp_path, monkeypatch):
    """What a sweep is told: the mean of the last model in the column that judges by the objective."""
    columns = [
        {"key": "psnr", "heading": "PSNR", "best": "max", "digits": 3, "objective": "psnr"},
        {"key": "vgg19_5_4", "heading": "VGG19", "best": "min", "digits": 4, "objective": "perceptual"},
    ]
    scores = [{"model": name, "dataset": "validation", "psnr": 20.0 + n, "vgg19_5_4": n} for n, name in enumerate("ab")]
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "results.json").write_text(json.dumps({"rows": scores, "columns": columns}))
    monkeypatch.setattr(run.scoring, "evaluate", lambda *_, **__: [])
    monkeypatch.setattr(run.build, "saved_generator", lambda *_: Generator(blocks=1, features=8))
    data = SimpleNamespace(validation_set=list, test_set=list, benchmark="")
    for objective, value in (("psnr", 21.0), ("perceptual", 1.0)):
        config = composed(tmp_path, once((*PRETRAIN, f"objective={objective}")))
        assert run.report(config, data, torch.device("cpu")) == value


# ---------------------------------------------------------------------- the table

HERE = "config/test_every_key_is_wired.py"
STEP, TRAINER = (
    f"{HERE}::test_another_value_changes_what_it_should_and_nothing_else",
    f"{HERE}::test_the_trainer_gets_what_the_keys_say",
)
DATA, MODULE = f"{HERE}::test_the_data_are_those_of_the_keys", f"{HERE}::test_the_module_is_what_the_keys_say"
OPTIONS, WANDB = (
    "training/test_trainer_options.py::",
    "training/test_loggers.py::test_a_wandb_run_holds_curves_pictures_configuration_and_the_generator",
)
REACHES = f"{OPTIONS}test_each_key_reaches_the_trainer_and_nothing_else_changes"
THEIRS = "test_their_project.py::test_one_process_trains_their_parts"

WIRED = {
    **dict.fromkeys(STEPS, STEP),
    **dict.fromkeys(
        (
            "trainer.accelerator", "trainer.devices", "trainer.num_nodes", "trainer.precision",
            "trainer.sync_batchnorm", "phase.pretrain.iterations", "phase.adversarial.iterations", "validate_every",
            "log_every", "checkpoint_every", "best_by", "run_dir",
        ),
        TRAINER,
    ),
    **dict.fromkeys(("data.name", "data.root", "data.cache", "data.workers", "data.validation_share"), DATA),
    **dict.fromkeys(("optimization.ema", "optimization.batchnorm", "optimization.recalibrate"), MODULE),
    **dict.fromkeys(
        (
            "trainer.deterministic", "trainer.profiler", "trainer.limit_train_batches", "trainer.limit_val_batches",
            "trainer.tf32_convolutions", "trainer.tf32_matmuls", "trainer.extra",
        ),
        REACHES,
    ),
    "trainer.cuda_graph": "training/test_recorded_iterations.py::test_the_key_reaches_the_module_and_leaves_no_trace",
    "trainer.strategy": f"{OPTIONS}test_the_strategy_is_that_of_the_key",
    **dict.fromkeys(
        ("callbacks", "logger.extra"),
        f"{OPTIONS}test_a_run_that_a_callback_ends_has_a_result_and_own_loggers_their_curve",
    ),
    **dict.fromkeys(("logger.name", "logger.project", "logger.group", "logger.tags", "logger.job_type"), WANDB),
    "logger.entity": f"{HERE}::test_the_team_of_a_wandb_run_is_that_of_the_key",
    **dict.fromkeys(("data.sources", "phase.terms"), THEIRS),
    "model.name": THEIRS,
    **dict.fromkeys(
        ("discriminator.name", "discriminator.features", "discriminator.network"),
        "training/test_discriminators.py::test_the_keys_choose_kind_and_width",
    ),
    "data.test_root": "commands/test_cufed5.py::test_a_run_that_tests_on_cufed5_reports_both_protocols",
    **dict.fromkeys(("data.hr", "data.lr"), "data/test_roots.py::test_any_two_folders_are_trained_on_as_pairs"),
    "data.meta_info": "data/test_roots.py::test_a_list_of_files_as_basicsr_has_it",
    "data.shares": "data/test_roots.py::test_several_roots_are_drawn_from_by_size_or_as_given",
    "data.validation_root": "data/test_no_leaks.py::test_a_root_with_pictures_that_are_trained_on_is_refused_by_name",
    "data.reading": "data/test_no_leaks.py::test_a_run_that_began_before_reads_its_folder_as_it_did",
    "data.use_ref": "data/test_datamodule.py::test_reference_patches_are_trained_on_but_not_validated_with",
    "data.skip_bad": "data/test_datamodule.py::test_bad_and_small_pictures_stop_the_training_or_are_left_out",
    "phase.name": "config/test_configs.py::test_a_phase_that_does_not_run_leaves_no_values",
    "objective": f"{HERE}::test_a_run_is_judged_by_its_objective",
    "init_from": "commands/test_train.py::test_adversarial_phase_starts_from_a_pretrained_generator",
    "init_discriminator_from":
        "training/test_discriminator_options.py::test_a_discriminator_goes_on_from_a_checkpoint_or_a_run",
    "lpips": "training/test_discriminator_options.py::test_validations_are_scored_by_lpips_where_its_weights_are_given",
    "resume": "training/test_interruptions.py::test_a_killed_run_resumes_bit_for_bit",
    "accept_changed_pictures":
        "training/test_resume.py::test_other_pictures_are_named_and_refused_unless_they_are_wanted",
    "trust_targets":
        "training/test_somebodys_run.py::test_code_that_its_configuration_names_runs_only_where_the_command_vouches",
    "dry_run": "commands/test_train.py::test_a_dry_run_says_what_it_would_take_and_keeps_nothing",
    "compile": "commands/test_train.py::test_compiled_networks_train_the_same_under_the_same_names",
}  # fmt: skip


def test_every_key_has_a_test_that_notices_when_it_is_ignored():
    keys = misspellings.known_keys()
    settable = {key for key in keys if not any(other.startswith(f"{key}.") for other in keys)}
    assert settable == WIRED.keys()
    for key, test in WIRED.items():
        path, _, name = test.partition("::")
        tree = ast.parse((TESTS / path).read_text(encoding="utf-8"))
        assert name in {each.name for each in tree.body if isinstance(each, ast.FunctionDef)}, f"{key}: {test}"
