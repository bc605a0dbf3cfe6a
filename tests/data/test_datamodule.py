"""Ranks, resuming, splits and what a trainer is handed."""

import itertools
from types import SimpleNamespace

import lightning
import numpy as np
import pytest
import torch
from lightning.pytorch.loops.progress import _ProcessedTracker
from PIL import Image

from srgan_lit.common.errors import SRGANError
from srgan_lit.config.schema import DataConfig
from srgan_lit.data import sets
from srgan_lit.data.datamodule import SRDataModule
from srgan_lit.pictures import bicubic


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return str(tmp_path_factory.mktemp("cache"))


def sample(cache, *, iterations=10, seed=0, **changes):
    config = DataConfig(**{"name": "sample", "batch_size": 4, "crop": 48, "cache": cache} | changes)
    return SRDataModule(config, scale=4, seed=seed, iterations=iterations)


def photos(folder, count, size=(40, 40), seed=0):
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(seed)
    for number in range(count):
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(folder / f"p{number:03}.png")


def loaded(pairs):
    return [pairs.load(at) for at in range(len(pairs))]


class Recorder(lightning.LightningModule):
    """Writes down what it is given."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen, self.validated = [], []

    def training_step(self, batch, batch_idx):
        for image in (batch["lr"], batch["hr"]):
            assert image.dtype == torch.float32
            assert image.is_contiguous(memory_format=torch.channels_last)
            assert 0 <= image.min() < image.max() <= 1
        self.seen.append((batch["name"], batch["lr"].clone(), batch["hr"].clone()))
        return self.weight * batch["lr"].mean()

    def validation_step(self, batch, batch_idx):
        self.validated.append((batch["name"], batch["grey"], tuple(batch["hr"].shape)))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Stop(lightning.Callback):
    """Saves and stops after a batch, or from within the validation that follows it."""

    def __init__(self, after, path, *, hook):
        self.after, self.path, self.hook = after, path, hook

    def _stop(self, trainer):
        if trainer.global_step == self.after:
            trainer.save_checkpoint(self.path)
            trainer.should_stop = True

    def on_train_batch_end(self, trainer, *args):
        if self.hook == "batch":
            self._stop(trainer)

    def on_validation_end(self, trainer, module):
        if self.hook == "validation":
            self._stop(trainer)


def fit(data, *, callbacks=(), checkpoint=None):
    module = Recorder()
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=-1,
        max_steps=data.iterations,
        use_distributed_sampler=False,
        val_check_interval=3,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        callbacks=list(callbacks),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, datamodule=data, ckpt_path=checkpoint)
    return module, trainer


def same(first, second):
    assert len(first) == len(second)
    for (names, lr, hr), (other_names, other_lr, other_hr) in zip(first, second, strict=True):
        assert names == other_names
        assert torch.equal(lr, other_lr)
        assert torch.equal(hr, other_hr)


@pytest.mark.long
def test_a_stopped_run_goes_on_bit_for_bit_with_and_without_workers(cache, tmp_path):
    whole, trainer = fit(sample(cache, iterations=14))
    assert len(whole.seen) == 14
    assert [names[0] for names, _, _ in whole.validated] == [f"admiral_{number:02}.png" for number in range(6)] * 4
    assert all(grey == [False] and shape == (1, 3, 160, 160) for _, grey, shape in whole.validated)
    for (after, hook), workers in itertools.product([(5, "batch"), (6, "validation")], [0, 2]):
        path = tmp_path / f"{hook}{workers}.ckpt"
        first, _ = fit(sample(cache, iterations=14, workers=workers), callbacks=[Stop(after, path, hook=hook)])
        second, _ = fit(sample(cache, iterations=14, workers=workers), checkpoint=path)
        assert len(first.seen) == after
        same(first.seen + second.seen, whole.seen)
    # Saved after the end, a longer run goes on from there.
    trainer.save_checkpoint(tmp_path / "end.ckpt")
    longer, _ = fit(sample(cache, iterations=20), checkpoint=tmp_path / "end.ckpt")
    uninterrupted, _ = fit(sample(cache, iterations=20))
    same(whole.seen + longer.seen, uninterrupted.seen)


def test_nothing_is_both_trained_on_and_validated_with(cache):
    data = sample(cache, iterations=60)
    data.setup()
    trained = {name for batch in data.train_dataloader() for name in batch["name"]}
    validated = {pair.name for pair in loaded(data.validation_set())}
    assert validated == {f"admiral_{number:02}.png" for number in range(6)}
    assert len(trained) == 35
    assert trained.isdisjoint(validated)


def test_reference_patches_are_trained_on_but_not_validated_with(tmp_path):
    for part in ("input", "ref"):
        photos(tmp_path / part, 0)
        for album in range(40):
            Image.new("RGB", (32, 32), (album, 9, 9)).save(tmp_path / part / f"H_0_{album}@N07_31_0.png")
    config = DataConfig(name="cufed", root=str(tmp_path), cache=str(tmp_path), batch_size=1, crop=16, use_ref=True)
    data = SRDataModule(config, scale=4, seed=0, iterations=78)
    data.setup()
    trained = {name for batch in data.train_dataloader() for name in batch["name"]}
    assert [pair.name for pair in loaded(data.validation_set())] == ["input/H_0_24@N07_31_0.png"]
    assert len(trained) == 78
    assert not any("24@N07" in name for name in trained)


def test_a_folder_called_ref_is_one_like_others(tmp_path):
    photos(tmp_path / "photos", 0)
    photos(tmp_path / "photos" / "ref", 30)
    config = DataConfig(name="folder", root=str(tmp_path / "photos"), cache=str(tmp_path), batch_size=1, crop=16)
    data = SRDataModule(config, scale=4, seed=0, iterations=60)
    data.setup()
    trained = {name for batch in data.train_dataloader() for name in batch["name"]}
    validated = {pair.name for pair in loaded(data.validation_set())}
    assert validated
    assert len(trained | validated) == 30


@pytest.mark.parametrize("layout", ["plain", "a folder called input", "DIV2K", "CUFED"])
def test_what_evaluate_takes_for_held_out_is_what_a_training_holds_out(layout, tmp_path):
    root, options = tmp_path / "data", {"name": "folder"}
    if layout == "CUFED":
        options = {"name": "cufed", "use_ref": True}
        for part in ("input", "ref"):
            (root / part).mkdir(parents=True)
            for number in range(120):
                name = f"H_0_{number // 3}@N07_{number % 3}_0.png"
                Image.new("RGB", (32, 32), (number, 9, 9)).save(root / part / name)
    elif layout == "DIV2K":
        root.mkdir()
        photos(root / "DIV2K_train_HR", 0)
        photos(root / "DIV2K_train_LR_bicubic", 0)
        photos(root / "DIV2K_train_LR_bicubic" / "X4", 0)
        for number in range(60):
            hr = Image.new("RGB", (32, 32), (number, 9, 9))
            hr.save(root / "DIV2K_train_HR" / f"{number:04}.png")
            hr.resize((8, 8)).save(root / "DIV2K_train_LR_bicubic" / "X4" / f"{number:04}x4.png")
    elif layout == "plain":
        photos(root, 60)
    else:
        root.mkdir()
        photos(root / "input", 60)
        photos(root / "more", 60)
    data = SRDataModule(DataConfig(**options, root=str(root), cache=str(tmp_path), crop=32), scale=4)
    data.setup()
    held_out = sets.held_out_pairs(root, 4, 0.05)
    trainings = [data.packed.pair(at) for at in data._validation]
    assert trainings
    scored = [held_out.load(at) for at in range(len(held_out))]
    assert [pair.hr[0, 0].tolist() for pair in scored] == [pair.hr[0, 0].tolist() for pair in trainings]


def test_test_pictures_are_not_taken_for_those_of_the_validation(cache, tmp_path):
    photos(tmp_path / "validation", 2)
    data = sample(cache)
    data.config = DataConfig(name="folder", root=str(tmp_path), test_root=str(tmp_path / "validation"), cache=cache)
    assert data.test_set().name == "validation (test)"


def test_a_second_training_with_the_same_data_begins_at_its_beginning(cache, tmp_path):
    fit(sample(cache, iterations=8), callbacks=[Stop(5, tmp_path / "stopped.ckpt", hook="batch")])
    data = sample(cache, iterations=8)
    fit(data, checkpoint=tmp_path / "stopped.ckpt")
    again, _ = fit(data)
    fresh, _ = fit(sample(cache, iterations=8))
    same(again.seen, fresh.seen)


class Rank:
    """As much of a trainer as the loaders look at."""

    def __init__(self, rank, world_size):
        self.global_rank, self.world_size, self.overfit_batches = rank, world_size, 0
        self.strategy = SimpleNamespace(root_device=torch.device("cpu"))
        progress = SimpleNamespace(batch_progress=SimpleNamespace(total=_ProcessedTracker()))
        self.fit_loop = SimpleNamespace(epoch_loop=progress)


@pytest.mark.parametrize("world_size", [1, 2, 4, 7])
def test_ranks_share_validation_and_test_pictures_out(cache, world_size):
    data = sample(cache)
    data.setup()
    for loader, count in (("val_dataloader", 6), ("test_dataloader", 4)):
        seen = []
        for rank in range(world_size):
            data.trainer = Rank(rank, world_size)
            batches = list(getattr(data, loader)())
            assert batches, "all processes take part"
            seen += [name for batch in batches if batch.get("counted", True) for name in batch["name"]]
        assert len(seen) == len(set(seen)) == count


def test_ranks_train_on_different_samples(cache):
    data = sample(cache, iterations=1, batch_size=8)
    data.setup()
    names = []
    for rank in range(2):
        data.trainer = Rank(rank, 2)
        names += next(iter(data.train_dataloader()))["name"]
    assert len(set(names)) == 16


def test_test_pictures(cache, tmp_path):
    photos(tmp_path / "HR", 3)
    photos(tmp_path / "LRx4", 3, (10, 10))
    photos(tmp_path / "train", 4, seed=1)
    config = DataConfig(name="folder", root=str(tmp_path / "train"), test_root=str(tmp_path), crop=16, cache=cache)
    data = SRDataModule(config, scale=4, seed=0, iterations=1)
    data.setup()
    assert [pair.name for pair in loaded(data.test_set())] == ["p000", "p001", "p002"]
    batch = next(iter(data.test_dataloader()))
    assert batch["lr"].shape == (1, 3, 10, 10)
    without = SRDataModule(
        DataConfig(name="folder", root=str(tmp_path / "train"), cache=cache), scale=4, seed=0, iterations=1
    )
    assert len(without.test_set()) == 0
    assert len(without.test_dataloader()) == 0


def test_bad_and_small_pictures_stop_the_training_or_are_left_out(tmp_path):
    photos(tmp_path, 8)
    for name in ("p001.png", "p005.png"):
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:900])  # the header is whole
    Image.new("RGB", (12, 40)).save(tmp_path / "small.png")
    Image.new("RGB", (18, 40)).save(tmp_path / "unscored.png")  # SSIM's window does not fit between the borders
    options = {"name": "folder", "root": str(tmp_path), "cache": str(tmp_path / ".cache"), "crop": 16}
    with pytest.raises(SRGANError, match=r"2 of 10 .*p001\.png.*p005\.png.*skip_bad=true"):
        SRDataModule(DataConfig(**options), scale=4, seed=0, iterations=1).setup()
    data = SRDataModule(DataConfig(**options, skip_bad=True, batch_size=1), scale=4, seed=0, iterations=5)
    data.setup()
    trained = {name for batch in data.train_dataloader() for name in batch["name"]}
    validated = {pair.name for pair in loaded(data.validation_set())}
    assert len(validated) == 1
    assert trained | validated == {f"p{number:03}.png" for number in (0, 2, 3, 4, 6, 7)}


def test_validation_is_degraded_as_training_is_and_always_the_same(cache):
    data = sample(cache, degradation="real")
    data.setup()
    first, second = loaded(data.validation_set()), loaded(data.validation_set())
    for one, other in zip(first, second, strict=True):
        assert np.array_equal(one.lr, other.lr)
        assert not np.array_equal(one.lr, bicubic.shrink(one.hr, 4))


def test_one_picture_is_not_enough(tmp_path):
    photos(tmp_path, 1)
    config = DataConfig(name="folder", root=str(tmp_path), cache=str(tmp_path / ".cache"), crop=16)
    with pytest.raises(SRGANError, match="not enough"):
        SRDataModule(config, scale=4, seed=0, iterations=1).setup()


def test_two_folders_of_one_name_have_a_cache_each(tmp_path):
    seen = []
    for parent in ("a", "b"):
        (tmp_path / parent).mkdir()
        photos(tmp_path / parent / "photos", 3, (40, 40) if parent == "a" else (32, 32))
        config = DataConfig(name="folder", root=str(tmp_path / parent / "photos"), cache=str(tmp_path), crop=16)
        data = SRDataModule(config, scale=4, seed=0, iterations=1)
        data.setup()
        seen.append(data.packed.hr(0).shape[0])
    assert seen == [40, 32]
    assert len(list(tmp_path.rglob("index.json"))) == 2
