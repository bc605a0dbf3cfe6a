"""Targets are sharpened at edges and nowhere else, in training alone."""

import torch

from helpers.tiny_training import fit, make, plan
from srgan_lit.data.datamodule import SRDataModule
from srgan_lit.pictures.sharpening import sharpened


def edge(step):
    image = torch.full((1, 3, 96, 96), 0.4)
    image[..., 48:] += step
    return image


def test_an_edge_gets_steeper_by_what_is_asked_and_a_faint_one_stays():
    faint = edge(8 / 255)
    assert torch.equal(sharpened(faint, 0.5), faint)
    clear = edge(0.3)
    lines = [sharpened(clear, amount)[0, 0, 48] for amount in (0, 0.5, 1)]
    rises = [float(line[48] - line[47]) for line in lines]
    assert abs(rises[0] - 0.3) < 1e-6
    assert 0.35 < rises[1] < rises[2]
    assert torch.allclose(sharpened(clear, 1.0)[..., :8], clear[..., :8]), "far from it nothing changes"
    assert sharpened(edge(0.6), 1.0).max() <= 1


def test_validation_pictures_stay_as_they_are(tmp_path):
    seen = {True: [], False: []}

    class Looking(SRDataModule):
        def on_after_batch_transfer(self, batch, dataloader_idx):
            after = super().on_after_batch_transfer(batch, dataloader_idx)
            seen[self.trainer.training].append(torch.equal(after["hr"], batch["hr"] / 255))
            return after

    fit(make(plan(pretrain=2)), tmp_path, data=Looking("sample", crop=16, batch_size=4, sharpen=1.0))
    assert seen[True]
    assert seen[False]
    assert not any(seen[True])
    assert all(seen[False])
