"""A program for torchrun and two processes: the loss of the second explodes while checkpoints are due."""

import os
import sys
from pathlib import Path

from torch.utils.data import DataLoader

from helpers.tiny_training import Pictures, fit, make, plan
from srgan_lit import PerNetworkDDP
from srgan_lit.training.callbacks.stop_on_divergence import StopWhenDiverged
from srgan_lit.training.run_files import RunCheckpoints


class Exploding(Pictures):
    """Ten good batches; with the next two the second process has losses of a million times the usual."""

    def train_dataloader(self):
        batches = list(super().train_dataloader())
        for batch in batches[10:] if os.environ["RANK"] == "1" else []:
            batch["hr"] = batch["hr"] + 1000
        return DataLoader(batches, batch_size=None)


def main(folder):
    divergence = StopWhenDiverged(folder)
    checkpoints = RunCheckpoints(folder / "checkpoints", every=2, validate_every=1000, unless=lambda: divergence.lost)
    module = make(plan(pretrain=12))
    several = {"strategy": PerNetworkDDP(), "devices": 2, "use_distributed_sampler": False}
    fit(module, folder, divergence, checkpoints, data=Exploding(), limit_val_batches=0, enable_checkpointing=True,
        log_every_n_steps=99, **several)  # fmt: skip
    print(f"process {os.environ['RANK']}: lost {divergence.lost}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
