"""A program for torchrun and two processes: one training by Lightning's DDP, and the same by ours, compared.

Of each kind of discriminator, into a folder.
"""

import json
import os
import sys
from pathlib import Path

import lightning as L
import torch
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.utils.data import DataLoader

from helpers.tiny_training import CROP, make, plan
from srgan_lit.config.schema import DiscriminatorConfig
from srgan_lit.networks import discriminators
from srgan_lit.training.callbacks.stop_on_signal import StopOnSignal
from srgan_lit.training.per_network_ddp import PerNetworkDDP


class Counting(L.Callback):
    """Bytes that each update reduces, and how often Lightning broadcasts a tensor while it trains."""

    def __init__(self):
        self.reduced, self.updates, self.questions = {}, [], 0

    def on_train_start(self, trainer, pl_module):
        def count(state, bucket):
            name = pl_module._updating
            self.reduced.setdefault(name, []).append(bucket.buffer().nbytes)
            return allreduce_hook(None, bucket)

        strategy = trainer.strategy
        reducers = strategy.reducers.values() if isinstance(strategy, PerNetworkDDP) else [strategy.model]
        for reducer in reducers:
            reducer.register_comm_hook(None, count)
        self.broadcast = torch.distributed.broadcast

        def asked(*args, **kwargs):
            self.questions += 1
            return self.broadcast(*args, **kwargs)

        torch.distributed.broadcast = asked

    def on_train_end(self, trainer, pl_module):
        torch.distributed.broadcast = self.broadcast


def batches(rank):
    generator = torch.Generator().manual_seed(rank)
    return [
        {name: torch.rand(4, 3, side, side, generator=generator) for name, side in (("lr", CROP // 4), ("hr", CROP))}
        for _ in range(4)
    ]


def trained(strategy, folder, kind, *callbacks):
    torch.manual_seed(2)
    judge = discriminators.build(DiscriminatorConfig(name=kind, features=4), crop=CROP)
    module, counting = make(plan(pretrain=2, adversarial=2), discriminator=judge, ema=0.5, accumulate=2), Counting()
    trainer = L.Trainer(
        accelerator="cpu", devices=2, strategy=strategy, max_steps=4, max_epochs=-1, num_sanity_val_steps=0,
        limit_val_batches=0, logger=False, enable_progress_bar=False, enable_model_summary=False,
        enable_checkpointing=False, default_root_dir=folder, use_distributed_sampler=False,
        callbacks=[counting, *callbacks],
    )  # fmt: skip
    trainer.fit(module, DataLoader(batches(int(os.environ["RANK"])), batch_size=None))
    return module, counting


def per_update(counting):
    """Buckets of an update added up: two updates of each optimizer."""
    return {
        name: [sum(buckets[: len(buckets) // 2]), sum(buckets[len(buckets) // 2 :])]
        for name, buckets in counting.reduced.items()
    }


def compared(folder, kind):
    theirs, by_lightning = trained("ddp_find_unused_parameters_true", folder, kind)
    ours, by_us = trained(PerNetworkDDP(), folder, kind, StopOnSignal())
    state = theirs.state_dict()
    return {
        "bytes": {
            name: 4 * sum(p.numel() for p in getattr(ours, name).parameters())
            for name in ("generator", "discriminator")
        },
        "reduced": {"lightning": per_update(by_lightning), "ours": per_update(by_us)},
        "differing": [name for name, value in ours.state_dict().items() if not torch.equal(value, state[name])],
        "questions": {"lightning": by_lightning.questions, "ours": by_us.questions},
    }


def main(folder):
    said = {kind: compared(folder, kind) for kind in discriminators.DISCRIMINATORS}
    if os.environ["RANK"] == "0":
        (Path(folder) / "said.json").write_text(json.dumps(said))


if __name__ == "__main__":
    main(sys.argv[1])
