"""Pictures, batch order and loaders put together: what the trainer sees of the data. No pixel maths."""

import logging
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import lightning
import torch
from lightning.pytorch.loops.progress import _ProcessedTracker
from pydantic import TypeAdapter
from torch.utils.data import DataLoader, DistributedSampler

from srgan_lit.common import worker_processes
from srgan_lit.common.errors import SRGANError, UsageError
from srgan_lit.config.schema import DataConfig
from srgan_lit.data import packed_cache, sets, splits
from srgan_lit.data.batch_order import BatchSampler
from srgan_lit.data.degradations import degraded_pair
from srgan_lit.data.reuse import ReusingLoader
from srgan_lit.data.samples import Batch, CropBatches, Lent, SameBatches, WholePairs
from srgan_lit.pictures import sharpening, tensors
from srgan_lit.pictures.rgb8 import Pair

_log = logging.getLogger(__name__)

VALIDATION = "validation"  # what the set is called in tables


class _Share(DistributedSampler[int]):
    """This rank's pictures of ``count``, none of them twice: Lightning's own would fill up."""

    def __init__(self, count: int, *, rank: int, world_size: int) -> None:
        super().__init__(range(count), num_replicas=world_size, rank=rank)  # type: ignore[arg-type]
        self._mine = range(rank, count, world_size)

    def __len__(self) -> int:
        return len(self._mine)

    def __iter__(self) -> Iterator[int]:
        return iter(self._mine)


def _one_of_each_first(pictures: Sequence[int], album: Callable[[int], str]) -> list[int]:
    """The first picture of each album, then the second of each, and so on: what is shown first differs."""
    counts: Counter[str] = Counter()
    turns = {}
    for picture in pictures:
        turns[picture] = counts[album(picture)]
        counts[album(picture)] += 1
    return sorted(pictures, key=lambda picture: turns[picture])


def _shared(pictures: Sequence[int], root: Callable[[int], int], shares: Sequence[float]) -> list[int]:
    """The pictures, those of each root again and again until they are its share; each comes at least once.

    Raises:
        SRGANError: a root has none to train on.
    """
    of_root = [[picture for picture in pictures if root(picture) == number] for number in range(len(shares))]
    if not all(of_root):
        raise SRGANError(f"data.shares: nothing is trained on of folder {of_root.index([]) + 1} of data.root")
    total = max(len(each) / share for each, share in zip(of_root, shares, strict=True))
    return [
        each[turn % len(each)]
        for each, share in zip(of_root, shares, strict=True)
        for turn in range(round(total * share))
    ]


class SRDataModule(lightning.LightningDataModule):
    """Training, validation and test data.

    An epoch of training is ``iterations`` batches, or one pass over the pictures where that is None: ``{"lr": (B, 3, h,
    w), "hr": (B, 3, H, W), "name": list[str]}``, float in [0, 1] and channels_last once on the device. Validation, test
    and prediction batches are one whole picture each, with ``"grey": bool`` besides. Its state is the number of batches
    that training has consumed (loaders run ahead of it), so that a resumed run sees what an uninterrupted one would
    have seen.

    Args:
        config: which pictures, and how they are cut: a ``DataConfig``, or the name of one (``sample``, ``folder`` or
            ``cufed``) with ``options``, e.g. ``SRDataModule("folder", root="photos", crop=48)``.
        scale: of LR.
        seed: of order, crops and augmentation.
        iterations: batches of an epoch; None for one pass.

    Raises:
        pydantic.ValidationError: an option is unknown or out of range.
        UsageError: the crop is no multiple of the scale.
    """

    def __init__(
        self,
        config: DataConfig | str = "sample",
        *,
        scale: int = 4,
        seed: int = 0,
        iterations: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        if isinstance(config, str):
            config = TypeAdapter(DataConfig).validate_python({"name": config, **options})
        sets.check_crop(config, scale)
        self.config, self.scale, self.seed, self.iterations = config, scale, seed, iterations
        self._consumed = 0
        self._packed: packed_cache.Packed | None = None
        self.albums: dict[str, str] = {}  # of each picture, by name
        self._training: list[int] = []
        self._validation: list[int] = []

    def setup(self, stage: str | None = None) -> None:
        """Open the packed cache, after packing it if need be (one process does, the others wait for it).

        Raises:
            SRGANError: pictures are no good or too small and not to be skipped, or too few are left.
        """
        if stage == "fit":
            self._consumed = 0  # a checkpoint, which is loaded after this, may say another
        if self._packed is not None:
            return
        config = self.config
        training, test = sets.training_set(config, self.scale), self._test_set()
        if self._rank()[0] == 0:
            for line in filter(None, (training.understood, test.understood)):
                _log.info("%s", line)
            for line in (*training.unreadable, *test.unreadable):
                _log.warning("left out: %s", line)
        sources = training.sources
        opened = packed_cache.open_packed(sources, scale=self.scale, label=sets.label(config), cache=config.cache)
        if opened.bad and not config.skip_bad:
            raise SRGANError(
                f"{len(opened.bad)} of {len(sources)} pictures cannot be used: "
                f"{sets.listing(list(opened.bad.values()))}. "
                "Replace them, or leave them out with data.skip_bad=true"
            )
        by_name = {source.name: source for source in sources}
        least = [sets.least_side(config, self.scale, by_name[name]) for name in opened.names]
        used = [at for at in range(len(opened)) if opened.lr_sizes[at].min() * self.scale >= least[at]]
        small = len(opened) - len(used)
        if small and not config.skip_bad:
            raise SRGANError(
                f"{small} pictures are smaller than {max(least)}x{max(least)}, which crops (data.crop={config.crop}) "
                "and scores need; data.skip_bad=true skips them"
            )
        self._packed = opened
        self._divide({name: by_name[name] for name in (opened.names[at] for at in used)})
        self._refuse_overlap(test)

    def _divide(self, used: Mapping[str, sets.Source]) -> None:
        """Which pictures are trained on, and which are validated with: those of a part for it, or whole albums.

        Raises:
            SRGANError: one side has none.
            UsageError: pictures are on both.
        """
        config, contents = self.config, self.packed.contents
        albums = {name: source.album for name, source in used.items()}
        if config.reading > 1:
            albums = splits.joined(albums, contents)
        validation = {name for name, source in used.items() if source.validates}
        training = used.keys() - validation
        if not validation:
            try:
                held_out = splits.held_out(albums.values(), config.validation_share)
            except ValueError:
                held_out = set()
            training = {name for name in used if albums[name] not in held_out}
            validation = used.keys() - training
            if config.name == "cufed":
                validation = {name for name in validation if not name.startswith("ref/")}
        if not training or not validation:
            raise SRGANError(
                f"{len(used)} usable pictures are not enough: one to train on, and one (of CUFED: of another album) "
                "to validate with"
            )
        self._training = [at for at, name in enumerate(self.packed.names) if name in training]
        if config.shares:
            self._training = _shared(self._training, lambda at: used[self.packed.names[at]].root, config.shares)
        self.albums = albums
        self._validation = _one_of_each_first(
            [at for at, name in enumerate(self.packed.names) if name in validation],
            lambda at: albums[self.packed.names[at]],
        )
        self._refuse(
            "data.validation_root" if config.validation_root else "validation",
            {name: contents[name].partition(" ")[0] for name in sorted(validation)},
        )

    def _refuse_overlap(self, test: sets.TestSet) -> None:
        """Refuse test pictures that are trained on; one that cannot be read is named where it is scored."""
        paths = [source.path for source in test.sources]
        shown = worker_processes.over(sets.content_of, paths, doing="comparing", in_processes=len(paths) > 50)
        self._refuse("data.test_root", {name: each for name, (_, each) in zip(test.names, shown, strict=True)})

    def _refuse(self, key: str, contents: Mapping[str, str]) -> None:
        trained = {content.partition(" ")[0]: name for name, content in self.material()["trained"].items()}
        both = [f"{name} is {trained[content]}" for name, content in contents.items() if content in trained]
        if not both:
            return
        said = f"{key}: {len(both)} of its {len(contents)} pictures are trained on ({sets.listing(both)})"
        if self.config.reading > 1:
            raise UsageError(f"{said}; take them out of one of the two")
        _log.warning("%s", said)  # a run that began before this was looked at

    def material(self) -> dict[str, dict[str, str]]:
        """What each picture shows that is ``trained`` on, and ``validated`` with, by name: see ``Packed.contents``."""
        roles = {"trained": self._training, "validated": self._validation}
        names = self.packed.names
        return {role: {names[at]: self.packed.contents[names[at]] for at in chosen} for role, chosen in roles.items()}

    @property
    def packed(self) -> packed_cache.Packed:
        """The cache.

        Raises:
            RuntimeError: before ``setup``.
        """
        if self._packed is None:
            raise RuntimeError("call setup() first")
        return self._packed

    def train_dataloader(self) -> DataLoader[Batch]:
        """The batches that are left of the epoch, for this rank; with ``overfit_batches`` the same in each."""
        rank, world_size = self._rank()
        dataset = CropBatches(
            self.packed,
            self._training,
            crop=self.config.crop,
            augment=self.config.augment,
            degradation=self.config.degradation,
            seed=self.seed,
        )
        a_pass = max(1, len(dataset) // (self.config.batch_size * world_size))
        sampler = BatchSampler(
            len(dataset),
            batch_size=self.config.batch_size,
            iterations=self.iterations or a_pass,
            seed=self.seed,
            rank=rank,
            world_size=world_size,
            reuse=self.config.reuse,
            start=lambda: int(self.state_dict()["batches"]),
        )
        if self.trainer is not None and self.trainer.overfit_batches:  # type: ignore[attr-defined]
            return DataLoader(SameBatches(dataset, sampler), batch_size=None)
        kind = ReusingLoader if self.config.reuse > 1 else DataLoader
        return kind(
            dataset,
            batch_size=None,  # a request of the sampler is a whole batch
            sampler=sampler,
            num_workers=self.config.workers,
            worker_init_fn=worker_processes.leave_ending_to_parent,
            pin_memory=self._on_gpu(),
        )

    def calibration(self, number: int) -> torch.Tensor:
        """``lr`` of the training batch ``number`` (from 0) of this rank, float in [0, 1], wherever training is."""
        loader = self.train_dataloader()
        assert isinstance(loader.sampler, BatchSampler)
        assert isinstance(loader.dataset, CropBatches)
        return tensors.to_float(loader.dataset[loader.sampler.batch(number)]["lr"])

    def val_dataloader(self) -> DataLoader[Batch]:
        """This rank's share of the validation pictures; every one is in one share (and ``Lent`` where none is left)."""
        return self._whole(self.validation_set())

    def test_dataloader(self) -> DataLoader[Batch]:
        """This rank's share of the test pictures: none where there is no ``data.test_root``."""
        return self._whole(self.test_set())

    def predict_dataloader(self) -> DataLoader[Batch]:
        """This rank's share of the test pictures, whose ``lr`` is enlarged."""
        return self._whole(self.test_set())

    def validation_set(self) -> WholePairs:
        """All validation pictures, one of each album first; each is loaded when it is asked for."""
        names = [self.packed.names[at] for at in self._validation]
        return WholePairs(VALIDATION, names, self._validation_pair, albums=[self.albums[name] for name in names])

    def test_set(self) -> WholePairs:
        """All test pictures, likewise; empty where there is no ``data.test_root``."""
        test_set = self._test_set()
        return WholePairs(
            test_set.name, test_set.names, test_set.load, benchmark=test_set.benchmark, caption=test_set.caption
        )

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """uint8 to float in [0, 1], on the device; of training the targets sharpened, as ``sharpen`` says."""
        lr, hr = tensors.to_float(batch["lr"]), tensors.to_float(batch["hr"])
        if self.config.sharpen and self.trainer is not None and self.trainer.training:
            hr = sharpening.sharpened(hr, self.config.sharpen)
        return {**batch, "lr": lr, "hr": hr}

    def state_dict(self) -> dict[str, Any]:
        """How many batches training has consumed: Lightning's count, since loaders are ahead of it."""
        if self.trainer is None:
            return {"batches": self._consumed}
        done = self.trainer.fit_loop.epoch_loop.batch_progress.total
        assert isinstance(done, _ProcessedTracker)
        return {"batches": max(done.processed, self._consumed)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on after the batches that the saved run had consumed."""
        self._consumed = state_dict["batches"]
        # Lightning looks for the position in the loader; ours is here.
        warnings.filterwarnings("ignore", message=".*your dataloader is not resumable")

    def _on_gpu(self) -> bool:
        """Whether batches go to a device with CUDA: only then is it touched at all."""
        return self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"

    def _rank(self) -> tuple[int, int]:
        return (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)

    def _whole(self, pairs: WholePairs) -> DataLoader[Batch]:
        rank, world_size = self._rank()
        share = _Share(len(pairs), rank=rank, world_size=world_size) if world_size > 1 else None
        if pairs and share is not None and not len(share):  # all take part: without a picture it is lent one
            return DataLoader(Lent(pairs), batch_size=None)
        return DataLoader(pairs, batch_size=None, sampler=share)

    def _validation_pair(self, at: int) -> Pair:
        pair = self.packed.pair(self._validation[at])
        made = degraded_pair(pair, file=pair.name, kind=self.config.degradation, scale=self.scale)
        return replace(made, content=pair.content)

    def _test_set(self) -> sets.TestSet:
        if self.config.name == "sample":
            return sets.embedded(self.scale)
        if self.config.test_root is None:
            return sets.TestSet(name="none", sources=(), scale=self.scale)
        test_set = sets.test_pairs(self.config.test_root, self.scale)
        # Tables tell sets apart by their names.
        return replace(test_set, name="validation (test)") if test_set.name == VALIDATION else test_set
