"""torch data sets: batches of aligned crops from the packed cache, and whole pairs. No loaders, no float.

Pixels stay uint8 until they are on the device. Tensors have the shape (B, 3, H, W) and lie in memory as
(B, H, W, 3), which is both how files are and what ``channels_last`` is.
"""

import hashlib
import struct
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from srgan_lit.data.degradations import Part, degraded
from srgan_lit.data.packed_cache import Packed
from srgan_lit.pictures.rgb8 import Pair

Batch = dict[str, Any]  # lr, hr: uint8 tensors; name: list[str]; of a whole pair also grey: bool


def _tensor(pixels: NDArray[np.uint8]) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)  # (B, H, W, 3) -> (B, 3, H, W)


def _write_turned(pixels: NDArray[np.uint8], way: int, out: NDArray[np.uint8]) -> None:
    """Copy a square (h, h, 3) to ``out``, turned one of eight ways (0: as it is)."""
    if way & 1:
        pixels = pixels.swapaxes(0, 1)
    if way & 2:
        pixels = pixels[::-1]
    if way & 4:
        pixels = pixels[:, ::-1]
    for channel in range(3):  # three plain copies of bytes: a third of the time that one of triples takes
        out[..., channel] = pixels[..., channel]


def _draw(seed: int, position: int) -> tuple[int, ...]:
    """Three random 64-bit numbers of a sample. A tenth of the cost of a random generator, which dominated."""
    return struct.unpack("<3Q", hashlib.blake2b(struct.pack("<2Q", seed, position), digest_size=24).digest())


class Requests(Protocol):
    """The batches of an epoch, by number: see ``datamodule.BatchSampler``."""

    def __len__(self) -> int: ...

    def batch(self, number: int) -> list[tuple[int, int]]:
        """What batch ``number`` asks for."""


class CropBatches(Dataset[Batch]):
    """Batches of training samples. A request is a list of (position, picture): see ``batch_order.BatchSampler``.

    Where a sample is cut, how it is turned and degraded depends on ``seed`` and its position alone.

    Args:
        packed: the cache.
        chosen: which of its pictures to train on; requests count within these.
        crop: side of the HR crop, a multiple of the scale.
        augment: turn each crop one of eight ways.
        degradation: how LR is made; see ``degradations``.
        seed: of all randomness.
    """

    def __init__(
        self, packed: Packed, chosen: Sequence[int], *, crop: int, augment: bool, degradation: str, seed: int
    ) -> None:
        self.packed, self.chosen = packed, np.asarray(chosen)
        self.crop, self.augment, self.degradation, self.seed = crop, augment, degradation, seed

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, request: Sequence[tuple[int, int]]) -> Batch:
        scale = self.packed.scale
        side = self.crop // scale
        self.packed.check_whole()
        lr = np.empty((len(request), side, side, 3), dtype=np.uint8)
        hr = np.empty((len(request), self.crop, self.crop, 3), dtype=np.uint8)
        names = []
        for at, (position, picture) in enumerate(request):
            index = int(self.chosen[picture])
            whole_hr, whole_lr = self.packed.hr(index), self.packed.lr(index)
            vertical, horizontal, way = _draw(self.seed, position)
            # Cut on the LR grid, so that LR and HR show the same place.
            top = vertical % (whole_lr.shape[0] - side + 1)
            left = horizontal % (whole_lr.shape[1] - side + 1)
            way = way % 8 if self.augment else 0
            small = whole_lr[top : top + side, left : left + side]
            large = whole_hr[top * scale :, left * scale :][: self.crop, : self.crop]
            if self.degradation != "bicubic":
                rng = np.random.default_rng((self.seed, position, 0))
                part = Part(hr=whole_hr, box=(top, left, side, side), lr=small, scale=scale)
                small = degraded(part, kind=self.degradation, rng=rng)
            _write_turned(small, way, lr[at])
            _write_turned(large, way, hr[at])
            names.append(self.packed.names[index])
        return {"lr": _tensor(lr), "hr": _tensor(hr), "name": names}


class SameBatches(Dataset[Batch]):
    """Batch by batch what ``requests`` asks of ``crops``: for trainings that see the same few again and again."""

    def __init__(self, crops: CropBatches, requests: Requests) -> None:
        self.crops, self.requests = crops, requests

    def __len__(self) -> int:
        return len(self.requests)

    def __getitem__(self, number: int) -> Batch:
        return self.crops[self.requests.batch(number)]


class WholePairs(Dataset[Batch]):
    """Whole pictures, one per batch, for validation and testing.

    Args:
        name: of the set.
        names: of its pictures.
        load: gives pair ``index``.
        albums: of its pictures; None where each is one of its own.
        benchmark: as of ``sets.TestSet``.
        caption: likewise.
    """

    def __init__(
        self,
        name: str,
        names: Sequence[str],
        load: Callable[[int], Pair],
        *,
        albums: Sequence[str] | None = None,
        benchmark: str = "",
        caption: str = "",
    ) -> None:
        self.name, self.names, self.load = name, names, load
        self.albums, self.benchmark, self.caption = albums or names, benchmark, caption

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Batch:
        pair = self.load(index)
        # Copied: the cache is read-only memory, which torch cannot express.
        return {
            "lr": _tensor(pair.lr[None].copy()),
            "hr": _tensor(pair.hr[None].copy()),
            "name": [pair.name],
            "grey": [pair.grey],
        }


class Lent(Dataset[Batch]):
    """The first of ``pairs`` alone, marked as not to be counted (``"counted": False``)."""

    def __init__(self, pairs: WholePairs) -> None:
        self.pairs = pairs

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Batch:
        return {**self.pairs[index], "counted": False}
