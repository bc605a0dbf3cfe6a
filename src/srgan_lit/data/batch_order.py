"""Which pictures make up which batch: a pure function, so that a resumed run sees what an uninterrupted one does."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DistributedSampler


class BatchSampler(DistributedSampler[list[tuple[int, int]]]):
    """Which samples make up each batch: a pure function of the seed, the batch's number and the rank.

    All ranks together walk through one endless sequence of passes, each a fresh permutation of all pictures.
    A sample is (position in that sequence, picture). A Trainer's next epoch goes on where the last one ended.

    A ``DistributedSampler`` by name, so that Lightning puts none of its own in the place of this one.

    Args:
        count: pictures.
        batch_size: samples per rank and batch.
        iterations: batches of an epoch, which is what ``len`` says wherever it starts.
        seed: of the permutations.
        rank: of this process, among ``world_size``.
        world_size: processes that share the sequence.
        start: batches that training has had already, or what tells them when an epoch begins: there it goes on.
    """

    def __init__(
        self,
        count: int,
        *,
        batch_size: int,
        iterations: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        start: int | Callable[[], int] = 0,
    ) -> None:
        super().__init__(range(count), num_replicas=world_size, rank=rank, seed=seed)  # type: ignore[arg-type]
        self.count, self.batch_size, self.iterations = count, batch_size, iterations
        self.world_size = world_size
        self._start = start if callable(start) else lambda: start
        self._pass = -1
        self._order: NDArray[np.int64] = np.empty(0, dtype=np.int64)

    def __len__(self) -> int:
        return self.iterations

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        start = self._start()
        for number in range(start, start + self.iterations):  # a Trainer's own limits may end an epoch before
            yield self.batch(number)

    def batch(self, number: int) -> list[tuple[int, int]]:
        """Batch ``number`` (from 0) of this rank."""
        first = (number * self.world_size + self.rank) * self.batch_size
        return [(position, self._picture(position)) for position in range(first, first + self.batch_size)]

    def _picture(self, position: int) -> int:
        number, at = divmod(position, self.count)
        if number != self._pass:
            # The last word keeps a pass from sharing random numbers with a sample's crop.
            self._pass, self._order = number, np.random.default_rng((self.seed, number, 1)).permutation(self.count)
        return int(self._order[at])
