"""Which pictures make up which batch: a pure function, so that a resumed run sees what an uninterrupted one does."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler


class BatchSampler(Sampler[list[tuple[int, int]]]):
    """Which samples make up each batch: a pure function of the seed, the batch's number and the rank.

    All ranks together walk through one endless sequence of passes, each a fresh permutation of all pictures.
    A sample is (position in that sequence, picture).

    Args:
        count: pictures.
        batch_size: samples per rank and batch.
        iterations: batches of the whole run, which is what ``len`` says wherever it starts.
        seed: of the permutations.
        rank: of this process, among ``world_size``.
        world_size: processes that share the sequence.
        start: batches that training has had already: a resumed run goes on there.
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
        start: int = 0,
    ) -> None:
        self.count, self.batch_size, self.iterations, self.seed = count, batch_size, iterations, seed
        self.rank, self.world_size, self.start = rank, world_size, start
        self._pass = -1
        self._order: NDArray[np.int64] = np.empty(0, dtype=np.int64)

    def __len__(self) -> int:
        return self.iterations

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for number in range(self.start, self.iterations):
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
