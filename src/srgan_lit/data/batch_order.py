"""Which pictures make up which batch: a pure function, so that a resumed run sees what an uninterrupted one does."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DistributedSampler

# Batches between two uses of a pair, by its place among the new ones of its batch: so that it meets others each time.
STRIDES = (5, 7, 8, 9, 11, 13)


class BatchSampler(DistributedSampler[list[tuple[int, int]]]):
    """Which samples make up each batch: a pure function of the seed, the batch's number and the rank.

    All ranks together walk through one endless sequence of passes, each a fresh permutation of all pictures.
    A sample is (position in that sequence, picture). A Trainer's next epoch goes on where the last one ended.

    With ``reuse`` a batch has ``batch_size / reuse`` new samples; the others were in batches before, each in ``reuse``
    batches in all. What is asked for is the new ones, and at the start those that an earlier batch would have had.

    A ``DistributedSampler`` by name, so that Lightning puts none of its own in the place of this one.

    Args:
        count: pictures.
        batch_size: samples per rank and batch.
        iterations: batches of an epoch, which is what ``len`` says wherever it starts.
        seed: of the permutations.
        rank: of this process, among ``world_size``.
        world_size: processes that share the sequence.
        reuse: batches that each sample is in; divides ``batch_size``.
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
        reuse: int = 1,
        start: int | Callable[[], int] = 0,
    ) -> None:
        super().__init__(range(count), num_replicas=world_size, rank=rank, seed=seed)  # type: ignore[arg-type]
        self.count, self.batch_size, self.iterations = count, batch_size, iterations
        self.world_size, self.reuse = world_size, reuse
        self.start = start if callable(start) else lambda: start
        self._pass = -1
        self._order: NDArray[np.int64] = np.empty(0, dtype=np.int64)

    def __len__(self) -> int:
        return self.iterations

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        start = self.start()
        for number in range(start, start + self.iterations):  # a Trainer's own limits may end an epoch before
            yield self.new(number, start)

    def batch(self, number: int) -> list[tuple[int, int]]:
        """Batch ``number`` (from 0) of this rank."""
        return [(position, self._picture(position)) for position in sorted(self._uses(number))]

    def new(self, number: int, start: int) -> list[tuple[int, int]]:
        """Those of batch ``number`` that are in no other from batch ``start`` on."""
        uses = self._uses(number)
        return [request for request in self.batch(number) if uses[request[0]][1] < start]

    def last_uses(self, number: int) -> list[int]:
        """Positions that are in batch ``number`` and in none behind it."""
        return [position for position, (use, _) in self._uses(number).items() if use == self.reuse - 1]

    def _uses(self, number: int) -> dict[int, tuple[int, int]]:
        """The positions in batch ``number``; for which time each is used, and in which batch it was before, -1 of none.

        The sequence of positions begins with those that are used before batch 0, if there were such.
        """
        share, uses = self.batch_size // self.reuse, {}
        earlier = (self.reuse - 1) * max(STRIDES)
        for place in range(share):
            stride = STRIDES[place % len(STRIDES)]
            for use in range(self.reuse):
                born = number - use * stride + earlier
                position = (born * self.world_size + self.rank) * share + place
                uses[position] = use, number - stride if use else -1
        return uses

    def _picture(self, position: int) -> int:
        number, at = divmod(position, self.count)
        if number != self._pass:
            # The last word keeps a pass from sharing random numbers with a sample's crop.
            self._pass, self._order = number, np.random.default_rng((self.seed, number, 1)).permutation(self.count)
        return int(self._order[at])
