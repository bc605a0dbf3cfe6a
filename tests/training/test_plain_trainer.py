"""The module and the data in a Trainer of a user's own, as Lightning's users write it."""

import csv
import warnings

import lightning as L
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger

from srgan_lit import Generator, SRDataModule, SRGANModule
from srgan_lit.common.errors import SRGANError, UsageError
from srgan_lit.config.composition import configuration
from srgan_lit.config.schema import PhaseConfig
from srgan_lit.networks.discriminator import Discriminator
from srgan_lit.training import recipe

pytestmark = pytest.mark.usefixtures("narrow_discriminators")

SMALL = {
    "blocks": 1,
    "features": 8,
    "crop": 32,
    "perceptual": {"backbone": "vgg16", "layer": "1_2", "weights": "random"},
}
PLAN = {"pretrain": {"iterations": 5}, "adversarial": {"iterations": 4}}


def module(**changes):
    torch.manual_seed(0)
    return SRGANModule(**(SMALL | {"phase": PLAN} | changes))


def data(**options):
    return SRDataModule("sample", **({"crop": 32, "batch_size": 8} | options))  # a pass is 4 or 5 batches


def trainer(folder, **options):
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    return L.Trainer(default_root_dir=folder, **(quiet | {"max_epochs": -1, "log_every_n_steps": 1} | options))


def rows(folder):
    (path,) = folder.rglob("metrics.csv")
    with path.open(newline="") as opened:
        return list(csv.DictReader(opened))


def test_the_whole_of_it_is_trained_validated_tested_and_predicted_and_every_logger_holds_it(tmp_path):
    boards = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    from lightning.pytorch.loggers import TensorBoardLogger

    loggers = [CSVLogger(tmp_path, name="csv"), TensorBoardLogger(tmp_path, name="board")]
    network, pictures = module(), data()
    lightning = trainer(tmp_path, logger=loggers)
    lightning.fit(network, pictures)
    assert lightning.global_step == 9, "training ends with the last phase, without a limit of the Trainer's"
    assert (tmp_path / "csv" / "version_0" / "hparams.yaml").read_text().startswith("blocks: 1\n")

    curve = rows(tmp_path / "csv")
    trained = [row for row in curve if row["learning_rate/generator"]]
    assert [row["step"] for row in trained] == list("123456789"), "one row an iteration"
    assert [bool(row["train/mse"]) for row in trained] == [True] * 5 + [False] * 4
    for name in ("perceptual", "adversarial", "total", "discriminator", "probability_real", "gradient_norm_generator"):
        assert [bool(row[f"train/{name}"]) for row in trained[5:]] == [True] * 4, name
    assert all(float(row["images_per_second"]) > 0 for row in trained)
    validated = [row for row in curve if row["val/psnr"]]
    assert validated[-1]["step"] == "9", "what it ends with is validated"
    assert float(validated[-1]["val/psnr_bicubic"]) > 15
    events = boards.EventAccumulator(str(tmp_path / "board" / "version_0"))
    events.Reload()
    for name in ("train/mse", "train/total", "learning_rate/discriminator", "val/psnr"):
        written = [(str(event.step), event.value) for event in events.Scalars(name)]
        assert written == [(row["step"], pytest.approx(float(row[name]))) for row in curve if row[name]], name

    (validation,) = lightning.validate(network, pictures, verbose=False)
    assert validation["val/psnr"] == pytest.approx(float(validated[-1]["val/psnr"]))
    (scores,) = lightning.test(network, pictures, verbose=False)
    for protocol in ("y_shave4", "y_full", "rgb_full"):
        assert 5 < scores[f"test/psnr_{protocol}"] < scores[f"test/psnr_bicubic_{protocol}"] < 40
        assert 0 < scores[f"test/ssim_{protocol}"] < scores[f"test/ssim_bicubic_{protocol}"] < 1
    assert float(rows(tmp_path / "csv")[-1]["test/psnr_y_shave4"]) == pytest.approx(scores["test/psnr_y_shave4"])
    predicted = lightning.predict(network, pictures)
    lrs = [batch["lr"] for batch in pictures.predict_dataloader()]
    assert [picture.shape[2:] for picture in predicted] == [(lr.shape[2] * 4, lr.shape[3] * 4) for lr in lrs]
    assert all(0 <= picture.min() <= picture.max() <= 1 for picture in predicted)


def test_a_validation_may_come_before_a_training_of_both_phases(tmp_path):
    network, lightning = module(), trainer(tmp_path, logger=False)
    (before,) = lightning.validate(network, data(), verbose=False)
    assert before["val/perceptual"] > 0, "VGG was loaded for it"
    lightning.fit(network, data())
    assert lightning.global_step == 9


@pytest.mark.parametrize(
    ("options", "crop", "said"),
    [
        ({}, 48, "for crops of 32 pixels, the data's are 48"),
        ({"precision": "bf16-true"}, 32, "32-true, bf16-mixed, 16-mixed"),
        ({"precision": "64-true"}, 32, "32-true, bf16-mixed, 16-mixed"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_trained(options, crop, said, tmp_path):
    network, lightning = module(), trainer(tmp_path, logger=False, **options)
    with pytest.raises(UsageError, match=said):
        lightning.fit(network, data(crop=crop))
    assert lightning.global_step == 0


def test_r1_that_was_computed_before_a_stop_is_in_the_curve_after_it(tmp_path):
    phase = {"adversarial": {"iterations": 6, "r1": 1.0, "r1_every": 4}, "weights": {"perceptual": 0, "adversarial": 1}}
    curves = []
    for stops in ((6,), (2, 6)):
        checkpoint = None
        folder = tmp_path / str(len(stops))
        for number, stop in enumerate(stops):
            lightning = trainer(folder / str(number), max_steps=stop, logger=CSVLogger(folder / str(number), name=""))
            lightning.fit(module(phase=phase), data(), ckpt_path=checkpoint)
            lightning.save_checkpoint(checkpoint := folder / f"{stop}.ckpt")
        curves.append([row["train/r1"] for row in rows(folder / str(number)) if row["train/total"]])
    assert all(curves[0])
    assert curves[1] == curves[0][2:]


def test_a_checkpoint_needs_nothing_else(tmp_path):
    network = module(optimization={"ema": 0.5})
    trained = trainer(tmp_path, logger=False)
    trained.fit(network, data())
    path = tmp_path / "mine.ckpt"
    trained.save_checkpoint(path)
    torch.load(path, weights_only=True)
    again = SRGANModule.load_from_checkpoint(path).eval()
    assert again.state_dict().keys() == network.state_dict().keys()
    assert (again.plan, again.optimization) == (network.plan, network.optimization)
    assert again.perceptual.features.name == network.perceptual.features.name == "VGG12"
    lr = torch.rand(1, 3, 12, 20)
    with torch.no_grad():
        assert torch.equal(again(lr), network.eval()(lr))
        assert torch.equal(again(lr), network.ema.module(lr)), "the generator that is validated"
    (mine,) = trained.validate(network, data(), verbose=False)
    (theirs,) = trainer(tmp_path, logger=False).validate(again, data(), verbose=False)
    assert theirs == mine
    # A module that does nothing with features needs none to be loaded.
    elsewhere = SRGANModule.load_from_checkpoint(path, perceptual={"weights": str(tmp_path / "gone.safetensors")})
    trainer(tmp_path, logger=False).test(elsewhere, data(), verbose=False)
    with pytest.raises(SRGANError, match="no such file"):
        trainer(tmp_path, logger=False).fit(elsewhere, data())


def test_bicubic_is_scored_on_the_pictures_at_hand_whatever_had_their_names_before(tmp_path):
    network = module()
    scores = []
    for degradation in ("bicubic", "jpeg", "bicubic"):
        scores += trainer(tmp_path, logger=False).validate(network, data(degradation=degradation), verbose=False)
    clean, spoilt, again = (score["val/psnr_bicubic"] for score in scores)
    assert spoilt < clean - 0.1
    assert again == clean


def test_the_papers_values_are_the_defaults():
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    from srgan_lit.config.shipped import CONF

    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", overrides=["experiment=srgan"])
    OmegaConf.set_struct(cfg, False)
    cfg.run_dir = "here"
    config = configuration(cfg)
    paper = SRGANModule()
    assert paper.plan == config.phase == recipe.plan(None)
    assert paper.optimization == config.optimization
    settings = {
        "backbone": "vgg19", "layer": None, "layers": None, "before_activation": False, "distance": "mse",
        "weights": "imagenet",
    }  # fmt: skip
    assert dict(paper.hparams["perceptual"]) == settings
    assert (paper.generator.blocks, paper.generator.features, paper.generator.scale) == (16, 64, 4)
    assert paper.discriminator.crop == config.data.crop == 96


def test_every_part_can_be_given(tmp_path):
    generator, discriminator = Generator(blocks=1, features=8, scale=2), Discriminator(crop=16)
    plan = PhaseConfig(**recipe.plan({"adversarial": {"iterations": 2, "schedule": "cosine"}}).__dict__)
    given = SRGANModule(generator=generator, discriminator=discriminator, phase=plan, perceptual=SMALL["perceptual"])
    assert (given.generator, given.discriminator, given.plan) == (generator, discriminator, plan)
    lightning = trainer(tmp_path, logger=False)
    lightning.fit(given, data(crop=16, scale=2))
    lightning.save_checkpoint(tmp_path / "given.ckpt")
    again = SRGANModule.load_from_checkpoint(tmp_path / "given.ckpt")
    assert (again.generator.scale, again.discriminator.crop, again.plan) == (2, 16, plan)
    only = recipe.plan({"pretrain": {"iterations": 7, "loss": "l1"}})
    assert (only.name, only.adversarial, only.pretrain.loss) == ("pretrain", None, "l1")
    weighted = recipe.plan({"adversarial": {}, "weights": {"adversarial": 5e-3}})
    assert (weighted.weights["adversarial"], weighted.weights["perceptual"]) == (5e-3, 1)
    with pytest.raises(ValueError, match="itertions"):
        SRGANModule(phase={"pretrain": {"itertions": 7}})


@pytest.mark.parametrize(
    ("limit", "steps", "validations"),
    [
        ({"max_epochs": 2}, 9, 2),  # 2 passes of 5 batches, but the plan is over after 9
        ({"max_epochs": 1}, 5, 1),
        ({"max_steps": 3}, 3, 0),
        ({"max_epochs": 3, "limit_train_batches": 2}, 6, 3),
        ({"fast_dev_run": True}, 1, 1),
        ({"overfit_batches": 2, "max_epochs": 3}, 6, 3),
        ({"max_steps": 8, "val_check_interval": 4, "check_val_every_n_epoch": None, "limit_val_batches": 1}, 8, 2),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)
def test_limits_of_the_trainer_hold(tmp_path, limit, steps, validations):
    class Seen(L.Callback):
        validated, batches = 0, []

        def on_train_start(self, trainer, pl_module):
            Seen.validated, Seen.batches = 0, []

        def on_validation_end(self, trainer, pl_module):
            Seen.validated += not trainer.sanity_checking

        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            Seen.batches.append(tuple(batch["name"]))

    pictures = data(batch_size=7)
    pictures.setup()
    assert len(pictures.train_dataloader()) == 5
    lightning = trainer(tmp_path, logger=False, callbacks=[Seen()], enable_checkpointing=False, **limit)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*enabled train dataloader shuffling.*")
        lightning.fit(module(), pictures)
    assert (lightning.global_step, Seen.validated) == (steps, validations)
    assert len(set(Seen.batches)) == (2 if "overfit_batches" in limit else steps)


def test_a_fit_in_the_middle_of_an_epoch_goes_on_bit_for_bit(tmp_path):
    whole = module()
    trainer(tmp_path / "whole", logger=False).fit(whole, data())
    first = trainer(tmp_path / "first", logger=False, max_steps=7)
    first.fit(module(), data())
    first.save_checkpoint(tmp_path / "middle.ckpt")
    rest = module()
    trainer(tmp_path / "rest", logger=False).fit(rest, data(), ckpt_path=tmp_path / "middle.ckpt")
    assert all(torch.equal(value, whole.state_dict()[name]) for name, value in rest.state_dict().items())
    done = trainer(tmp_path / "done", logger=False)
    done.fit(rest, data(), ckpt_path=tmp_path / "middle.ckpt")
    done.save_checkpoint(tmp_path / "done.ckpt")
    after = trainer(tmp_path / "after", logger=False)
    after.fit(rest, data(), ckpt_path=tmp_path / "done.ckpt")
    assert after.global_step == 9, "there is nothing left to do"


def test_validate_without_fit_scores_textures_wherever_the_networks_are(tmp_path):
    network = module()
    (scores,) = trainer(tmp_path, logger=CSVLogger(tmp_path)).validate(network, data(), verbose=False)
    assert scores["val/perceptual"] > 0
    assert [row["step"] for row in rows(tmp_path)] == ["0"]
    moved = SRGANModule(**SMALL, phase=PLAN).to("meta")
    assert moved.perceptual.features.mean.device.type == "meta"


def test_crops_and_scales_that_do_not_fit_are_said(tmp_path):
    with pytest.raises(UsageError, match=r"crops of 32 pixels, the data's are 48"):
        trainer(tmp_path, logger=False).fit(module(phase={"adversarial": {"iterations": 2}}), data(crop=48))
    with pytest.raises(UsageError, match="not a multiple"):
        data(crop=50)
    with pytest.raises(UsageError, match="generator is x4, the data x2"):
        trainer(tmp_path, logger=False).fit(module(), data(scale=2))


def test_lightnings_own_16_mixed_clips_and_measures_unscaled_gradients(tmp_path):
    from lightning.pytorch.plugins.precision import MixedPrecision

    plugin = MixedPrecision("16-mixed", "cpu", scaler=torch.amp.GradScaler("cpu"))

    class Clipped(L.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            gradients = [p.grad.flatten() for p in pl_module.generator.parameters()]
            assert float(torch.cat(gradients).norm()) == pytest.approx(1e-2, rel=1e-2)

    norms = {}
    for name, plugins in (("float16", [plugin]), ("float32", [])):
        network = module(phase={"adversarial": {"iterations": 1}}, optimization={"clip_gradients": 1e-2})
        trainer(tmp_path / name, logger=False, plugins=plugins, callbacks=[Clipped()]).fit(network, data())
        norms[name] = network.values["gradient_norm_generator"].item()
    assert norms["float16"] == pytest.approx(norms["float32"], rel=0.2), "not 65536 times as large"
