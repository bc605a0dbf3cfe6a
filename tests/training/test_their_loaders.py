"""Loaders, strategies and callbacks of somebody's own program: what they bring works, or is answered in one line."""

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping
from torch.utils.data import DataLoader, TensorDataset

from helpers.tiny_training import CROP, fit, make, plan
from srgan_lit import PerNetworkDDP
from srgan_lit.common.errors import UsageError

LR, HR = torch.rand(6, 3, 8, 9), torch.rand(6, 3, 32, 36)


class Theirs(L.LightningDataModule):
    """Loaders as they are given."""

    def __init__(self, train=None, validation=None):
        super().__init__()
        self.train, self.validation = train, validation

    def train_dataloader(self):
        return self.train

    def val_dataloader(self):
        return self.validation


def loader(pictures, **options):
    return DataLoader(pictures, **options)


def dicts(lr=LR, hr=HR, **more):
    return [{"lr": one, "hr": other} | more for one, other in zip(lr, hr, strict=True)]


def validated(loaders, tmp_path):
    trainer = L.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, default_root_dir=tmp_path)
    return trainer.validate(make(plan(pretrain=2)), loaders, verbose=False)


def test_a_batch_of_equal_pictures_scores_as_its_pictures_do_one_by_one(tmp_path):
    [single], [batches] = (validated(loader(dicts(), batch_size=size), tmp_path) for size in (1, 3))
    assert single["val/psnr"] > 0
    assert batches == pytest.approx(single, rel=1e-6)
    [grey] = validated(loader(dicts(grey=True), batch_size=3), tmp_path)
    assert grey["val/psnr"] != single["val/psnr"]


@pytest.mark.parametrize("form", ["pairs", "uint8", "named"])
def test_other_forms_of_a_batch_score_the_same(form, tmp_path):
    lr, hr = ((255 * images).round().to(torch.uint8) for images in (LR, HR))
    [expected] = validated(loader(dicts(lr.float() / 255, hr.float() / 255)), tmp_path)
    pictures = {
        "pairs": TensorDataset(lr.float() / 255, hr.float() / 255),
        "uint8": dicts(lr, hr),
        "named": [{**one, "name": f"{at}.png"} for at, one in enumerate(dicts(lr.float() / 255, hr.float() / 255))],
    }
    [scores] = validated(loader(pictures[form]), tmp_path)
    assert scores == pytest.approx(expected, rel=1e-6)


def test_pictures_without_names_have_a_bicubic_of_their_own(tmp_path):
    [first], [other], [both] = (validated(loader(each), tmp_path) for each in (dicts()[:1], dicts()[1:2], dicts()[:2]))
    assert both["val/psnr_bicubic"] == pytest.approx((first["val/psnr_bicubic"] + other["val/psnr_bicubic"]) / 2)


def test_several_loaders_have_a_column_each(tmp_path):
    [one], [other] = (validated(loader(part), tmp_path) for part in (dicts()[:2], dicts()[2:]))
    both = {name: value for said in validated([loader(dicts()[:2]), loader(dicts()[2:])], tmp_path)
            for name, value in said.items()}  # fmt: skip
    assert {name: both[name] for name in one} == pytest.approx(one)
    assert {name: both[f"{name}_1"] for name in other} == pytest.approx(other)


def test_they_train_and_test_without_our_data(tmp_path):
    crops = TensorDataset(torch.rand(8, 3, CROP // 4, CROP // 4), torch.rand(8, 3, CROP, CROP))
    module = make(plan(pretrain=2, adversarial=2))
    trainer = fit(module, tmp_path, data=Theirs(loader(crops, batch_size=2), loader(dicts(), batch_size=2)))
    assert module.global_step == 4
    assert trainer.callback_metrics["val/psnr"] > 0
    [tested] = trainer.test(module, loader(dicts(), batch_size=3), verbose=False)
    assert tested["test/psnr_y_full"] > 0
    predicted = trainer.predict(module, loader([{"lr": one} for one in LR], batch_size=2))
    assert [tuple(sr.shape) for sr in predicted] == [(2, 3, 32, 36)] * 3


@pytest.mark.parametrize(
    ("batch", "said"),
    [
        (torch.rand(2, 3, 4, 4), "this one is a Tensor"),
        ({"lr": torch.rand(2, 3, 4, 4)}, "hr of this one has none"),
        ({"lr": torch.rand(2, 3, 4, 4), "hr": [1]}, "hr of this one is a list"),
        ((torch.rand(2, 1, 4, 4), torch.rand(2, 1, 16, 16)), "lr of this one is (2, 1, 4, 4) of torch.float32"),
        ((torch.rand(3, 4, 4), torch.rand(3, 16, 16)), "lr of this one is (3, 4, 4)"),
        ((torch.rand(2, 3, 4, 4), torch.rand(2, 3, 8, 8)), "and the generator is x4"),
        ((255 * torch.ones(2, 3, 4, 4), torch.rand(2, 3, 16, 16)), "lr of this one reaches from 255 to 255"),
    ],
)
def test_what_is_no_batch_is_refused_in_a_line(batch, said, tmp_path):
    with pytest.raises(UsageError) as raised:
        fit(make(plan(pretrain=1)), tmp_path, data=Theirs(DataLoader([batch], batch_size=None), loader(dicts())))
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_early_stopping_by_the_perceptual_distance_waits_through_the_pretraining(tmp_path):
    crops = TensorDataset(torch.rand(8, 3, CROP // 4, CROP // 4), torch.rand(8, 3, CROP, CROP))
    stop, module = EarlyStopping("val/perceptual", patience=100), make(plan(pretrain=2, adversarial=2))
    fit(module, tmp_path, stop, data=Theirs(loader(crops, batch_size=2), loader(dicts(), batch_size=2)))
    assert module.global_step == 4
    assert 0 < stop.best_score < float("inf")


def test_lightnings_plain_ddp_is_refused_with_what_to_pass(tmp_path):
    module = make(plan(pretrain=1, adversarial=1))
    trainer = L.Trainer(accelerator="cpu", devices=1, strategy="ddp", logger=False, default_root_dir=tmp_path)
    module.trainer = trainer
    with pytest.raises(UsageError, match=r"pass strategy=srgan_lit\.PerNetworkDDP\(\)"):
        module.setup("fit")
    for strategy in (PerNetworkDDP(), "ddp_find_unused_parameters_true"):
        module.trainer = L.Trainer(
            accelerator="cpu", devices=1, strategy=strategy, logger=False, default_root_dir=tmp_path
        )
        module.setup("validate")
