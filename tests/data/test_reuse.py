"""Pairs that are in several batches: each as often as it should be, in changing company, the same after a resume."""

from collections import Counter, defaultdict

import pytest
import torch

from helpers.configurations import tiny
from srgan_lit.common.errors import UsageError
from srgan_lit.config import combinations
from srgan_lit.config.schema import DataConfig
from srgan_lit.data.batch_order import BatchSampler
from srgan_lit.data.datamodule import SRDataModule
from srgan_lit.data.samples import CropBatches


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return str(tmp_path_factory.mktemp("cache"))


def data(cache, *, iterations=40, consumed=0, **changes):
    config = DataConfig(
        **{"name": "sample", "batch_size": 8, "crop": 48, "cache": cache, "degradation": "jpeg", "reuse": 4} | changes
    )
    made = SRDataModule(config, scale=4, seed=0, iterations=iterations)
    made.setup()
    made._consumed = consumed
    return made


def same(one, other):
    return one["name"] == other["name"] and all(torch.equal(one[side], other[side]) for side in ("lr", "hr"))


@pytest.mark.parametrize("world_size", [1, 3])
def test_each_pair_is_in_as_many_batches_as_the_key_says(world_size):
    used, company = Counter(), defaultdict(set)
    for rank in range(world_size):
        order = BatchSampler(90, batch_size=8, iterations=120, seed=0, rank=rank, world_size=world_size, reuse=4)
        for number in range(120):
            positions = [position for position, _ in order.batch(number)]
            assert len(set(positions)) == 8
            used.update(positions)
            for position in positions:
                company[position].add(tuple(positions))
    counts = Counter(used.values())
    assert max(counts) == 4
    assert counts[4] > 0.7 * len(used), "all but those of the first and the last batches"
    assert all(len(each) == used[position] for position, each in company.items()), "never twice in the same batch"


def test_only_new_pairs_are_degraded_and_batches_are_what_they_are_by_themselves(cache, monkeypatch):
    made, asked = data(cache), []
    get = CropBatches.__getitem__

    def watched(self, request):
        asked.append(len(request))
        return get(self, request)

    monkeypatch.setattr(CropBatches, "__getitem__", watched)
    loader = made.train_dataloader()
    batches = list(loader)
    assert len(batches) == len(loader) == 40
    assert all(len(batch["lr"]) == 8 for batch in batches)
    assert asked[0] == 8, "nothing is kept yet"
    assert asked[-1] == 2, "a quarter is new"
    for number in (0, 7, 39):
        assert same(batches[number], get(loader.dataset, loader.sampler.batch(number)))
    assert batches[5]["lr"].is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(made.calibration(3), batches[3]["lr"] / 255)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_run_sees_the_same_with_any_number_of_workers(cache, workers):
    whole = list(data(cache, degradation="mixed").train_dataloader())
    rest = data(cache, degradation="mixed", consumed=23, iterations=9, workers=workers).train_dataloader()
    for number, batch in enumerate(rest, start=23):
        assert same(batch, whole[number])
    assert number == 31


def test_what_cannot_be_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"data\.reuse=3 must divide data\.batch_size=2"):
        combinations.check(tiny(tmp_path, "data.reuse=3", "data.degradation=jpeg"))
    with pytest.raises(UsageError, match=r"data\.reuse=2 spares degrading"):
        combinations.check(tiny(tmp_path, "data.reuse=2"))
