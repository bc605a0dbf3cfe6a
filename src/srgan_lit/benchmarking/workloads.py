"""What the benchmark times: each thing the package's way and its opponents', on the same input. No clock reading
but that of one run, no statistics, no output.
"""

import functools
import gc
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from srgan_lit.benchmarking import lean, textbook
from srgan_lit.benchmarking.multiply_adds import counting
from srgan_lit.benchmarking.results import OURS
from srgan_lit.config import shipped
from srgan_lit.config.schema import AdversarialConfig, DataConfig, PhaseConfig, PretrainConfig
from srgan_lit.data import sets
from srgan_lit.data.batch_order import BatchSampler
from srgan_lit.data.datamodule import SRDataModule
from srgan_lit.data.samples import Batch, CropBatches
from srgan_lit.losses.perceptual import PerceptualLoss
from srgan_lit.model_files.vgg_weights import vgg_features
from srgan_lit.networks.discriminator import Discriminator
from srgan_lit.networks.srresnet import Generator
from srgan_lit.pictures import find, tensors
from srgan_lit.pictures.rgb8 import read_picture, write_png
from srgan_lit.training.module import Minimised, SRGANModule
from srgan_lit.upscaling import engine

CROP, SCALE = 96, 4
LOADED = 16  # samples in a batch of the loader: the paper's, whatever is trained on


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How large the things timed are."""

    device: torch.device
    blocks: int
    batch: int  # crops in a training step
    side: int  # of the picture enlarged
    tile: int
    pictures: int = 200  # files of the loader's data set
    precision: str = "32-true"  # of training steps, or bf16-mixed
    upsampling: str = "pixelshuffle"  # of the generator


@dataclass(frozen=True, kw_only=True)
class Way:
    """``run`` does ``work`` units once and returns seconds."""

    run: Callable[[], float]
    work: float


@dataclass(frozen=True, kw_only=True)
class Workload:
    """One thing to time in several ways, in this order: ``ours``, then its opponents.

    ``multiply_adds`` is the least that ours needs, 0 where there are none.
    """

    name: str
    unit: str
    ways: dict[str, Way]
    multiply_adds: int = 0
    details: dict[str, float] = field(default_factory=dict)


def clocked(function: Callable[[], object], device: torch.device) -> Callable[[], float]:
    """``function`` as one that returns the seconds it took, with what it had started on the device."""

    def run() -> float:
        _wait(device)
        start = time.perf_counter()
        function()
        _wait(device)
        return time.perf_counter() - start

    return run


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


PRODUCT_SIDES = {"cuda": 8192, "cpu": 1536}  # of the square matrices that tell the machine's limit


def matrix_product(device: torch.device, arithmetic: str) -> Callable[[], float]:
    """A function that multiplies two matrices and returns multiply-adds per second.

    ``arithmetic``: ``float32``, ``bfloat16``, or ``tf32``: float32 in TensorFloat-32, as cuDNN convolves by default.
    """
    side = PRODUCT_SIDES.get(device.type, PRODUCT_SIDES["cpu"])
    dtype = torch.bfloat16 if arithmetic == "bfloat16" else torch.float32
    left, right = (torch.rand(side, side, device=device, dtype=dtype) for _ in range(2))
    product = clocked(lambda: torch.mm(left, right), device)

    def rate() -> float:
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("high" if arithmetic == "tf32" else "highest")
        try:
            return side**3 / product()
        finally:
            torch.set_float32_matmul_precision(before)

    rate()
    return rate


# ---------------------------------------------------------------------- training


class Steps(SRGANModule):
    """The training steps of ``SRGANModule``, without a trainer around them."""

    def prepare(self, device: torch.device) -> "Steps":
        """Bring everything to ``device``, the feature loss too, and make the optimizers."""
        self.to(device)
        optimizers, _ = self.configure_optimizers()
        self._by_name: dict[str, Optimizer] = dict(zip(self._names, optimizers, strict=True))
        return self.train()

    def update(self, name: str, parts: Iterable[Minimised], shares: Sequence[float] = (1.0,)) -> None:
        """One step of the optimizer ``name`` down the gradient of the one part, the whole batch."""
        self._updating, optimizer = name, self._by_name[name]
        optimizer.zero_grad()
        for loss, values in parts:
            loss.backward()
            self.report(values)
        self.on_before_optimizer_step(optimizer)
        optimizer.step()


def random_batch(settings: Settings) -> tuple[Tensor, Tensor]:
    """Random ``lr`` and ``hr``, contiguous."""
    lr, hr = (torch.rand(settings.batch, 3, side, side, device=settings.device) for side in (CROP // SCALE, CROP))
    return lr, hr


Opponents = Mapping[str, textbook.TextbookTraining]
_TRAININGS = {"textbook": textbook.TextbookTraining, "lean": lean.LeanTraining}


def _training(name: str, ours: Steps, opponents: Opponents, update: str, settings: Settings) -> Workload:
    lr, hr = random_batch(settings)
    batch = {key: image.contiguous(memory_format=torch.channels_last) for key, image in (("lr", lr), ("hr", hr))}

    def rounded(step: Callable[[], object]) -> Callable[[], None]:
        def run() -> None:
            mixed = settings.precision == "bf16-mixed"
            with torch.autocast(settings.device.type, dtype=torch.bfloat16, enabled=mixed):
                step()

        return run

    step = rounded(lambda: ours.training_step(batch, 0))
    with counting(ours, *filter(None, [ours.perceptual])) as count:
        step()
    steps = {OURS: step}
    for way, opponent in opponents.items():
        steps[way] = rounded(functools.partial(getattr(opponent, update), lr, hr))
    return Workload(
        name=name,
        unit="steps",
        ways={way: Way(run=clocked(each, settings.device), work=1) for way, each in steps.items()},
        multiply_adds=count.multiply_adds,
        details=_peak(step, settings.device, [each for opponent in opponents.values() for each in opponent.networks]),
    )


def _peak(step: Callable[[], None], device: torch.device, others: Iterable[nn.Module]) -> dict[str, float]:
    """The most of a GPU's memory that a step has in use, its networks too but not ``others``; nothing elsewhere."""
    if device.type != "cuda":
        return {}
    torch.cuda.reset_peak_memory_stats(device)
    step()
    held = sum(tensor.nbytes for each in others for tensor in (*each.parameters(), *each.buffers()))
    return {"peak_bytes": torch.cuda.max_memory_allocated(device) - held}


def _generator(settings: Settings) -> Generator:
    return Generator(blocks=settings.blocks, scale=SCALE, upsampling=settings.upsampling).to(settings.device)


def pretraining(settings: Settings) -> tuple[Steps, Opponents]:
    """Every way to pretrain, from the same weights."""
    generator = _generator(settings).to(memory_format=torch.channels_last)
    phase = PhaseConfig(name="pretrain", pretrain=PretrainConfig(iterations=1))
    ours = Steps(generator=generator, phase=phase).prepare(settings.device)
    return ours, {way: kind(generator) for way, kind in _TRAININGS.items()}


def adversarial_training(settings: Settings) -> tuple[Steps, Opponents]:
    """Every way to train adversarially, from the same weights. VGG's are random: the arithmetic is the same."""
    generator, discriminator = (
        network.to(settings.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        for network in (_generator(settings), Discriminator(crop=CROP))
    )
    perceptual = PerceptualLoss(vgg_features(weights="random")).to(settings.device)
    phase = PhaseConfig(
        name="adversarial", adversarial=AdversarialConfig(iterations=1), weights=dict(shipped.term_weights())
    )
    ours = Steps(generator=generator, discriminator=discriminator, perceptual=perceptual, phase=phase)
    ours.prepare(settings.device)
    return ours, {way: kind(generator, discriminator, perceptual) for way, kind in _TRAININGS.items()}


def pretrain(settings: Settings) -> Iterator[Workload]:
    """A pretraining step."""
    ours, opponents = pretraining(settings)
    yield _training("pretraining step", ours, opponents, "pretrain", settings)


def adversarial(settings: Settings) -> Iterator[Workload]:
    """Both updates of an adversarial step."""
    ours, opponents = adversarial_training(settings)
    yield _training("adversarial step", ours, opponents, "adversarial", settings)


# ---------------------------------------------------------------------- inference


def inference(settings: Settings) -> Iterator[Workload]:
    """A picture enlarged at once, and in tiles; 8-bit pixels in and out."""
    generator = _generator(settings).eval()
    enlarger = engine.Enlarger(generator, device=settings.device)
    photo = read_picture(sets.SAMPLE / "test" / "astronaut.png").pixels
    pixels = photo[: settings.side, : settings.side]
    with torch.no_grad(), counting(generator) as count:
        generator(tensors.from_pixels(pixels).to(settings.device))
    megapixels = pixels.shape[0] * pixels.shape[1] * SCALE**2 / 1e6
    folded = lean.folded(generator)

    def ours(tile: int) -> NDArray[np.uint8]:
        return np.concatenate(list(engine.bands(pixels, enlarger, tile=tile)))

    for name, tile in (("inference, whole", 0), (f"inference, tiles of {settings.tile}", settings.tile)):
        enlarged = {
            OURS: functools.partial(ours, tile),
            "textbook": functools.partial(textbook.enlarge, pixels, generator, tile=tile),
            "lean": functools.partial(textbook.enlarge, pixels, folded, tile=tile),
        }
        yield Workload(
            name=name,
            unit="megapixels",
            ways={way: Way(run=clocked(each, settings.device), work=megapixels) for way, each in enlarged.items()},
            multiply_adds=count.multiply_adds,  # of the whole: what tiles compute twice is their cost
        )


# ---------------------------------------------------------------------- loading


def write_patches(folder: Path, count: int) -> None:
    """``count`` PNG files of 160x160 as CUFED has them, cut from the embedded pictures."""
    random = np.random.default_rng(0)
    photos = [read_picture(path).pixels for path in find.contents(sets.SAMPLE / "test").pictures]
    photos = [photo for photo in photos if min(photo.shape[:2]) >= 160]
    for number in range(count):
        photo = photos[number % len(photos)]
        top, left = (int(random.integers(side - 160 + 1)) for side in photo.shape[:2])
        write_png(folder / f"{number:05}.png", photo[top : top + 160, left : left + 160])


def opened(folder: Path, *, batches: int = 1, workers: int = 0) -> SRDataModule:
    """The data module on the pictures in ``folder``, set up; its cache is in there too."""
    config = DataConfig(
        name="folder", root=str(folder), cache=f"{folder}.cache", batch_size=LOADED, crop=CROP, workers=workers
    )
    made = SRDataModule(config, scale=SCALE, seed=0, iterations=batches)
    made.setup()
    return made


def decoding(data: SRDataModule, folder: Path, *, batches: int, workers: int = 0) -> DataLoader[Batch]:
    """A loader of the samples that ``data`` trains on, decoded from their files."""
    theirs = data.train_dataloader().dataset
    assert isinstance(theirs, CropBatches)
    chosen = [theirs.packed.names[at] for at in theirs.chosen]
    decoded = textbook.Decoded([folder / name for name in chosen], scale=SCALE)
    dataset = CropBatches(
        decoded,  # type: ignore[arg-type]  # has what CropBatches asks for
        range(len(chosen)),
        crop=CROP,
        augment=theirs.augment,
        degradation=theirs.degradation,
        seed=theirs.seed,
    )
    sampler = BatchSampler(len(dataset), batch_size=data.config.batch_size, iterations=batches, seed=data.seed)
    return DataLoader(dataset, batch_size=None, sampler=sampler, num_workers=workers)


def _drain(loader: DataLoader[Batch]) -> float:
    """Seconds for all batches but the first, which starts the workers."""
    batches = iter(loader)
    next(batches)
    start = time.perf_counter()
    for _ in batches:
        pass
    return time.perf_counter() - start


def anonymous_bytes() -> int:
    """Memory of this process that no file backs."""
    gc.collect()
    used = psutil.Process().memory_info()
    return int(used.rss - used.shared) if hasattr(used, "shared") else int(psutil.Process().memory_full_info().uss)


def _growth(folder: Path, part: Path, settings: Settings) -> dict[str, float]:
    """How much more anonymous memory a pass over all pictures takes than one over a quarter of them."""
    taken = []
    for each in (part, part, folder):  # the first pass warms the allocator
        before = anonymous_bytes()
        data = opened(each, batches=math.ceil(len(find.contents(each).pictures) / LOADED))
        _drain(data.train_dataloader())
        taken.append(anonymous_bytes() - before)
    pixels = (settings.pictures - settings.pictures // 4) * 160 * 160 * 3
    return {"anonymous_bytes_more": taken[2] - taken[1], "pixel_bytes_more": pixels}


def loader(settings: Settings) -> Iterator[Workload]:
    """Training samples from the packed cache, against a PNG file decoded for each; in one process and with workers."""
    ours_batches, decoded_batches = 201, 9  # the first is not timed
    with tempfile.TemporaryDirectory(prefix="srgan_lit-benchmark-") as temporary:
        folder, part = Path(temporary) / "all", Path(temporary) / "quarter"
        for made, count in ((folder, settings.pictures), (part, settings.pictures // 4)):
            made.mkdir()
            write_patches(made, count)
        start = time.perf_counter()
        opened(folder)
        packing = settings.pictures / (time.perf_counter() - start)
        details = {"packing_pictures_per_second": packing, **_growth(folder, part, settings)}
        for workers in (0, min(4, os.cpu_count() or 1)):
            data = opened(folder, batches=ours_batches, workers=workers)
            packed, decoded = data.train_dataloader(), decoding(data, folder, batches=decoded_batches, workers=workers)
            yield Workload(
                name="loader, 1 process" if not workers else f"loader, {workers} workers",
                unit="samples",
                ways={
                    OURS: Way(run=functools.partial(_drain, packed), work=(ours_batches - 1) * LOADED),
                    "textbook": Way(run=functools.partial(_drain, decoded), work=(decoded_batches - 1) * LOADED),
                },
                details=details if not workers else {},
            )
