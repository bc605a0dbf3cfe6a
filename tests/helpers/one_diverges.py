"""A program for torchrun and two processes: the loss of the second explodes while checkpoints are due."""

import os
import sys
from pathlib import Path

from helpers.tiny_training import fit, make, plan
from srgan_lit import PerNetworkDDP
from srgan_lit.training.callbacks.stop_on_divergence import StopWhenDiverged
from srgan_lit.training.run_files import RunCheckpoints


def main(folder):
    divergence = StopWhenDiverged(folder)
    checkpoints = RunCheckpoints(folder / "checkpoints", every=2, validate_every=1000, unless=lambda: divergence.lost)
    module = make(plan(pretrain=12))
    usual = module.pretrain_loss

    def exploding(sr, hr):
        """A million times the usual after ten iterations, in the second process."""
        loss, values = usual(sr, hr)
        factor = 1e6 if os.environ["RANK"] == "1" and module.global_step >= 10 else 1.0
        return loss * factor, {name: value * factor for name, value in values.items()}

    module.pretrain_loss = exploding
    several = {"strategy": PerNetworkDDP(), "devices": 2, "use_distributed_sampler": False}
    fit(module, folder, divergence, checkpoints, limit_val_batches=0, enable_checkpointing=True, log_every_n_steps=99,
        **several)  # fmt: skip
    print(f"process {os.environ['RANK']}: lost {divergence.lost}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
