"""Pictures, batch order and loaders put together: what the trainer sees of the data. No pixel maths."""

import logging
import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import lightning
import torch
from lightning.pytorch.loops.progress import _ProcessedTracker
from pydantic import TypeAdapter
from torch.utils.data import DataLoader, DistributedSampler

from srgan_lit.common import worker_processes
from srgan_lit.common.errors import SRGANError
from srgan_lit.config.schema import DataConfig
from srgan_lit.data import packed_cache, sets, splits
from srgan_lit.data.batch_order import BatchSampler
from srgan_lit.data.degradations import degraded_pair
from srgan_lit.data.samples import Batch, CropBatches, Lent, SameBatches, WholePairs
from srgan_lit.pictures import tensors
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
        albums = {source.name: source.album for source in sources}
        least = sets.least_side(config, self.scale)
        used = [at for at in range(len(opened)) if opened.lr_sizes[at].min() * self.scale >= least]
        small = len(opened) - len(used)
        if small and not config.skip_bad:
            raise SRGANError(
                f"{small} pictures are smaller than {least}x{least}, which crops (data.crop={config.crop}) and scores "
                "need; data.skip_bad=true skips them"
            )
        try:
            held_out = splits.held_out((albums[opened.names[at]] for at in used), config.validation_share)
        except ValueError:
            raise SRGANError(
                f"{len(used)} usable pictures are not enough: one to train on, and one (of CUFED: of another album) "
                "to validate with"
            ) from None
        self._training = [at for at in used if albums[opened.names[at]] not in held_out]
        validation = [at for at in used if albums[opened.names[at]] in held_out]
        if config.name == "cufed":
            validation = [at for at in validation if not opened.names[at].startswith("ref/")]
        self._validation = validation
        self._packed = opened

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
            start=lambda: self.state_dict()["batches"],
        )
        if self.trainer is not None and self.trainer.overfit_batches:  # type: ignore[attr-defined]
            return DataLoader(SameBatches(dataset, sampler), batch_size=None)
        return DataLoader(
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
        """All validation pictures, in the order of their names; each is loaded when it is asked for."""
        names = [self.packed.names[at] for at in self._validation]
        return WholePairs(VALIDATION, names, self._validation_pair)

    def test_set(self) -> WholePairs:
        """All test pictures, likewise; empty where there is no ``data.test_root``."""
        test_set = self._test_set()
        return WholePairs(test_set.name, test_set.names, test_set.load)

    @property
    def benchmark(self) -> str:
        """CUFED5 where the test pictures are that set, which papers score in ``y_full``; else ""."""
        return self._test_set().benchmark

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """uint8 to float in [0, 1], on the device."""
        return {**batch, "lr": tensors.to_float(batch["lr"]), "hr": tensors.to_float(batch["hr"])}

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
        return degraded_pair(pair, file=pair.name, kind=self.config.degradation, scale=self.scale)

    def _test_set(self) -> sets.TestSet:
        if self.config.name == "sample":
            return sets.embedded(self.scale)
        if self.config.test_root is None:
            return sets.TestSet(name="none", sources=(), scale=self.scale)
        test_set = sets.test_pairs(self.config.test_root, self.scale)
        # Tables tell sets apart by their names.
        return replace(test_set, name="validation (test)") if test_set.name == VALIDATION else test_set
