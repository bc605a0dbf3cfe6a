from hypothesis import given, settings
from hypothesis import strategies as st

from srgan_lit.data.batch_order import BatchSampler

SIZES = st.integers(1, 50), st.integers(1, 9), st.integers(1, 4)


@settings(deadline=None)
@given(*SIZES)
def test_each_pass_over_the_data_is_a_permutation_shared_by_all_ranks(count, batch_size, world_size):
    iterations = -(-3 * count // (batch_size * world_size))
    ranks = [
        BatchSampler(count, batch_size=batch_size, iterations=iterations, seed=1, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    seen = [sample for batches in zip(*ranks, strict=True) for batch in batches for sample in batch]
    assert [position for position, _ in seen] == list(range(len(seen)))
    for number in range(3):
        pictures = [picture for _, picture in seen[number * count : (number + 1) * count]]
        assert sorted(pictures) == list(range(count))


def test_passes_and_seeds_differ():
    def order(seed):
        return [picture for batch in BatchSampler(50, batch_size=10, iterations=10, seed=seed) for _, picture in batch]

    assert order(0)[:50] != order(0)[50:]
    assert order(0)[:50] != order(1)[:50]
    assert order(0) == order(0)


def test_a_sampler_that_starts_later_goes_on_and_says_the_length_of_an_epoch():
    whole = list(BatchSampler(7, batch_size=3, iterations=12, seed=0))
    rest = BatchSampler(7, batch_size=3, iterations=12, seed=0, start=5)
    assert list(rest)[:7] == whole[5:]
    assert len(rest) == 12
