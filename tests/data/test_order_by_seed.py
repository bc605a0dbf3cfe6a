"""Which pictures a seed shows, and when: a resumed run of an earlier version goes on with the same."""

from srgan_lit.data.batch_order import BatchSampler

PLAIN = [[(0, 2), (1, 3), (2, 4)], [(3, 1), (4, 0), (5, 4)], [(6, 1), (7, 0), (8, 3)], [(9, 2), (10, 2), (11, 4)]]


def test_a_seed_gives_the_order_that_it_gave():
    order = BatchSampler(5, batch_size=3, iterations=4, seed=7)
    assert list(order) == PLAIN
    assert [order.batch(number) for number in range(4)] == PLAIN


def test_reused_pairs_come_back_after_the_strides_of_their_places():
    """Of six in each batch three are new; the others came 5, 7 and 8 batches before."""
    order = BatchSampler(50, batch_size=14, iterations=40, seed=7, reuse=2)
    born = {}
    for number in range(40):
        for position, _ in order.batch(number):
            born.setdefault(position, []).append(number)
    twice = [numbers for numbers in born.values() if len(numbers) == 2]
    assert {later - first for first, later in twice} == {5, 7, 8, 9, 11, 13}
    by_place = {}
    for position, numbers in born.items():
        if len(numbers) == 2:
            by_place.setdefault(position % 7, set()).add(numbers[1] - numbers[0])
    assert [by_place[place] for place in range(7)] == [{5}, {7}, {8}, {9}, {11}, {13}, {5}]
    assert min(born) == min(position for position, _ in order.batch(0))
