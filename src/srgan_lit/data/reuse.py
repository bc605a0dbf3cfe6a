"""Degraded pairs that are trained on several times: a pool as Real-ESRGAN keeps one, but without a state to save.

Which pairs make up a batch is a pure function of its number (``batch_order.BatchSampler``), and so is each pair. The
loader asks for a pair when it is first needed and keeps it until it was used for the last time; a resumed run asks anew
for those that it would have kept, and sees what an uninterrupted one sees.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from srgan_lit.data.batch_order import BatchSampler


class ReusingLoader(DataLoader[dict[str, Any]]):
    """Batches of which a part is new and the rest was degraded before. Its ``sampler`` is a ``BatchSampler``."""

    def __iter__(self) -> Iterator[dict[str, Any]]:  # type: ignore[override]
        """The batches that are left of the epoch, whole."""
        order = self.sampler
        assert isinstance(order, BatchSampler)
        kept: dict[int, tuple[Tensor, Tensor, str]] = {}
        number = first = order.start()
        for new in super().__iter__():
            for at, (position, _) in enumerate(order.new(number, first)):
                # Copied, for a view would keep its whole batch, and with workers a piece of shared memory.
                kept[position] = new["lr"][at].clone(), new["hr"][at].clone(), new["name"][at]
            pairs = [kept[position] for position, _ in order.batch(number)]
            for position in order.last_uses(number):
                del kept[position]
            lr, hr = (_together([pair[side] for pair in pairs], pin=self.pin_memory) for side in (0, 1))
            yield {"lr": lr, "hr": hr, "name": [name for _, _, name in pairs]}
            number += 1


def _together(images: list[Any], *, pin: bool) -> Tensor:
    """(B, 3, H, W), in memory as (B, H, W, 3)."""
    batch = torch.stack([image.permute(1, 2, 0) for image in images])
    return (batch.pin_memory() if pin else batch).permute(0, 3, 1, 2)
