"""A training small enough for a test: tiny networks, random crops, a real Trainer."""

from unittest import mock

import lightning as L
import torch
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader

from srgan_lit.config.schema import AdversarialConfig, OptimizationConfig, PhaseConfig, PretrainConfig
from srgan_lit.config.shipped import term_weights
from srgan_lit.losses.perceptual import PerceptualLoss
from srgan_lit.model_files.vgg_weights import vgg_features
from srgan_lit.networks import discriminator as discriminators
from srgan_lit.networks.srresnet import Generator
from srgan_lit.training.module import SRGANModule

CROP = 16
NARROW = tuple(width // 8 for width in discriminators.CHANNELS)


class Pictures(L.LightningDataModule):
    """Seeded random crops, and two validation pictures. ``spoilt`` batches have a pixel that is no number."""

    def __init__(self, spoilt=()):
        super().__init__()
        self.spoilt = spoilt

    def train_dataloader(self):
        generator = torch.Generator().manual_seed(1)
        batches = [
            {
                "lr": torch.rand(4, 3, 4, 4, generator=generator),
                "hr": torch.rand(4, 3, CROP, CROP, generator=generator),
                "name": [f"picture{number}.png"] * 4,
            }
            for number in range(12)
        ]
        for number in self.spoilt:
            batches[number]["lr"][0, 0, 0, 0] = float("nan")
        return DataLoader(batches, batch_size=None)

    def val_dataloader(self):
        pictures = [
            {"lr": torch.rand(1, 3, 8, 9), "hr": torch.rand(1, 3, 32, 36), "name": [name], "grey": name == "b"}
            for name in "ab"
        ]
        return DataLoader(pictures, batch_size=None)


def plan(pretrain=0, adversarial=0, weights=None, **options):
    return PhaseConfig(
        name="full" if pretrain and adversarial else "pretrain" if pretrain else "adversarial",
        pretrain=PretrainConfig(iterations=pretrain, learning_rate=1e-3) if pretrain else None,
        adversarial=AdversarialConfig(iterations=adversarial, learning_rate=1e-3, **options) if adversarial else None,
        weights=dict(term_weights()) | (weights or {}) if adversarial else None,
    )


def narrow_discriminators():
    """The paper's discriminator has an eighth of its width: else such a training is about its five million weights."""
    return mock.patch.object(discriminators, "CHANNELS", NARROW)


def make(phase, discriminator=None, **optimization):
    torch.manual_seed(0)
    if discriminator is None:
        with narrow_discriminators():
            discriminator = discriminators.Discriminator(crop=CROP)
    perceptual = PerceptualLoss(vgg_features(backbone="vgg16", layer="1_2", weights="random"))
    return SRGANModule(
        generator=Generator(blocks=1, features=8),
        discriminator=discriminator,
        perceptual=perceptual if phase.adversarial else None,
        phase=phase,
        optimization=OptimizationConfig(**optimization),
    )


def fit(module, tmp_path, *callbacks, data=None, **options):
    defaults = {
        "accelerator": "cpu", "max_steps": module.plan.iterations, "max_epochs": -1, "num_sanity_val_steps": 0,
        "check_val_every_n_epoch": None, "val_check_interval": 2, "enable_progress_bar": False,
        "enable_model_summary": False, "enable_checkpointing": False, "default_root_dir": tmp_path,
        "logger": CSVLogger(tmp_path, name="", version="", flush_logs_every_n_steps=1), "log_every_n_steps": 1,
    }  # fmt: skip
    trainer = L.Trainer(**{**defaults, "callbacks": list(callbacks), **options})
    trainer.fit(module, datamodule=data or Pictures())
    return trainer


def snapshot(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


def same(network, before):
    return all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
