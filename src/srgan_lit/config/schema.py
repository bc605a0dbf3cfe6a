"""Every value that an experiment can set, with its type, range and default. No torch, no Hydra.

``conf/`` gives these their values and says what each does; ``composition.py`` turns the composed configuration into
these classes, which refuse what is unknown or out of range. Their defaults, for programs that make them without
``conf/``, are those of ``conf/``: a test compares every key. What cannot be seen from one class alone (a crop that the
scale does not divide) is checked in ``combinations.py`` and ``data/sets.py``.
"""

import re
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass

from srgan_lit.common.errors import UsageError
from srgan_lit.config.nearest_name import nearest
from srgan_lit.config.shipped import term_weights

_REFUSE_UNKNOWN = ConfigDict(extra="forbid", coerce_numbers_to_str=True, allow_inf_nan=False)

Count = Annotated[int, Field(ge=1)]
NotNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(gt=0, lt=1)]

OWN = "own"  # the name of a part whose class is in no table of this package


Paths = TypeVar("Paths", str, str | tuple[str, ...])


def _not_empty(paths: Paths) -> Paths:
    if not all([paths] if isinstance(paths, str) else paths):
        raise ValueError("is empty: name a file or folder (. is the one that you are in), or leave it out")
    return paths


FilePath = Annotated[str, AfterValidator(_not_empty)]


@dataclass(frozen=True, kw_only=True, config=_REFUSE_UNKNOWN)
class ModelConfig:
    """The generator: ``conf/model``.

    ``network`` holds what only some kinds of generators take, or names a class of one's own (``config.own_parts``).
    """

    name: str = "srresnet"  # one of networks.architectures.ARCHITECTURES, which needs torch: checked there; or own
    blocks: Count = 16
    features: Count = 64
    scale: Literal[2, 4, 8] = 4
    upsampling: Literal["pixelshuffle", "nearest"] = "pixelshuffle"
    start: Literal["random", "icnr", "interpolation", "grown"] = "random"
    network: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, config=_REFUSE_UNKNOWN)
class DataConfig:
    """Pictures to learn from: ``conf/data``."""

    name: Literal["cufed", "folder", "sample", "own"]
    root: Annotated[str | tuple[str, ...], AfterValidator(_not_empty)] | None = None
    shares: tuple[Positive, ...] | None = None
    hr: FilePath | None = None
    lr: FilePath | None = None
    meta_info: FilePath | None = None
    sources: dict[str, Any] = Field(default_factory=dict)
    validation_root: FilePath | None = None
    test_root: FilePath | None = None
    cache: FilePath | None = None
    batch_size: Count = 16
    crop: Count = 96
    workers: Annotated[int, Field(ge=0)] = 0
    augment: bool = True
    degradation: str = "bicubic"  # one of data.degradations.DEGRADATIONS: checked there
    reuse: Count = 1
    sharpen: Annotated[float, Field(ge=0, le=1)] = 0.0
    validation_share: Share = 0.05
    use_ref: bool = False
    skip_bad: bool = False
    reading: Literal[1, 2] = 2

    def __post_init__(self) -> None:
        if self.hr is not None and self.root is not None:
            raise UsageError("data.hr names the pictures, so data.root has no effect: leave one of them out")
        if self.lr is not None and self.hr is None:
            raise UsageError("data.lr has no effect without data.hr: name the folder of the originals too")
        if len(self.roots) > 1 and (self.meta_info is not None or self.name == "cufed"):
            raise UsageError(
                f"data.root={list(self.roots)}: with {'data.meta_info' if self.meta_info else 'cufed'}, one"
            )
        if self.shares is not None and not 1 < len(self.shares) == len(self.roots):
            raise UsageError(
                f"data.shares={list(self.shares)} is of several folders, one number for each: data.root=[a,b]"
            )

    @property
    def roots(self) -> tuple[str, ...]:
        """The folders of ``root``: none, one or several."""
        return (self.root,) if isinstance(self.root, str) else self.root or ()


# Convolutions in each of the five blocks (Simonyan and Zisserman 2015).
VGG_CONVOLUTIONS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}


def parse_layer(backbone: str, layer: str | None) -> tuple[int, int]:
    """Block and convolution of a layer name such as ``5_4`` (``54`` is the same); None is the last of all.

    Raises:
        UsageError: the backbone is unknown or has no such layer.
    """
    counts = VGG_CONVOLUTIONS.get(backbone)
    if counts is None:
        raise UsageError(f"perceptual.backbone={backbone}: vgg19 (the paper's) or vgg16")
    if layer is None:
        return 5, counts[4]
    match = re.fullmatch(r"([1-5])_?([1-4])", layer)
    if not match or int(match[2]) > counts[int(match[1]) - 1]:
        raise UsageError(
            f"perceptual.layer={layer}: {backbone} has no such convolution; its last is perceptual.layer=5_{counts[4]}"
        )
    return int(match[1]), int(match[2])


@dataclass(frozen=True, kw_only=True, config=_REFUSE_UNKNOWN)
class PerceptualConfig:
    """The feature loss: ``conf/perceptual``."""

    backbone: str = "vgg19"
    layer: str | None = None
    layers: dict[str, Positive] | None = None
    before_activation: bool = False
    distance: Literal["mse", "l1"] = "mse"
    weights: FilePath = "imagenet"

    def __post_init__(self) -> None:
        parse_layer(self.backbone, self.layer)
        if self.layers and self.layer is not None:
            raise UsageError(
                f"perceptual.layers names the layers, so perceptual.layer={self.layer} has no effect: set it to null"
            )
        if self.layers is not None and not 0 < len(self.weighted) == len(self.layers):
            raise UsageError(f"perceptual.layers={self.layers} names a layer twice, or none")

    @property
    def weighted(self) -> dict[str, float]:
        """The weight of each layer that is compared, by its name as ``5_4``, shallow to deep."""
        layers = self.layers if self.layers is not None else {self.layer: 1.0}
        parsed = sorted((parse_layer(self.backbone, layer), weight) for layer, weight in layers.items())
        return {f"{block}_{conv}": weight for (block, conv), weight in parsed}


@dataclass(frozen=True, kw_only=True, config=_REFUSE_UNKNOWN)
class ScheduleConfig:
    """Iterations and learning rate of one phase."""

    iterations: Count
    learning_rate: Positive = 1e-4
    schedule: Literal["constant", "steps", "cosine"] = "constant"
    decay_at: tuple[Share, ...] = ()
    decay_factor: Share = 0.1
    warmup: Annotated[int, Field(ge=0)] = 0

    def __post_init__(self) -> None:
        if self.schedule == "steps" and not self.decay_at:
            raise UsageError("schedule=steps needs decay_at, e.g. decay_at=[0.5]: half-way through the phase")
        if list(self.decay_at) != sorted(set(self.decay_at)):
            raise UsageError(f"decay_at={list(self.decay_at)} must rise")
        if self.warmup >= self.iterations:
            raise UsageError(f"warmup={self.warmup} must be shorter than the phase's {self.iterations} iterations")


@dataclass(frozen=True, kw_only=True, config=_REFUSE_UNKNOWN)
class PretrainConfig(ScheduleConfig):
    """Pretraining with a pixel loss: ``conf/phase/pretrain.yaml``."""

    loss: Literal["mse", "l1", "charbonnier"] = "mse"


@dataclass(frozen=True, kw_only=True, config=_REFUSE_UNKNOWN)
class AdversarialConfig(ScheduleConfig):
    """Adversarial training: ``conf/phase/adversarial.yaml``."""

    schedule: Literal["constant", "steps", "cosine"] = "steps"
    decay_at: tuple[Share, ...] = (0.5,)
    loss: str = "standard"  # one of losses.adversarial.KINDS, which needs torch: checked there
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    discriminator_learning_rate: Positive | None = None
    r1: NotNegative = 0.0
    r1_every: Count = 16


@dataclass(frozen=True, kw_only=True, config=_REFUSE_UNKNOWN)
class PhaseConfig:
    """Which phases run, in this order: ``conf/phase``. A phase that does not run is None.

    ``weights`` are those of the generator's loss in the adversarial phase, by the names of its terms; a term that is
    not in it has the weight 0. ``terms`` are those of one's own (``config.own_parts``), by name.
    """

    name: Literal["pretrain", "adversarial", "full"]
    pretrain: PretrainConfig | None = None
    adversarial: AdversarialConfig | None = None
    weights: dict[str, NotNegative] | None = None
    terms: dict[str, dict[str, Any]] = Field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.weights is None:
            return
        known = [*term_weights(), *self.terms]
        for name in self.weights:
            if name not in known:
                raise UsageError(f"phase.weights.{name}: no such term of the loss.{nearest(name, known)}")
        for name in self.terms:
            if name in term_weights():
                raise UsageError(f"phase.terms.{name}: there is a term of this name already; call yours otherwise")
            if name not in self.weights:
                raise UsageError(f"phase.terms.{name} has no effect without a weight: set phase.weights.{name}")
        if not any(self.weights.values()):
            raise UsageError("phase.weights: all weights are 0, so the generator would learn nothing")

    @property
    def iterations(self) -> int:
        """Of all phases together."""
        return sum(phase.iterations for phase in (self.pretrain, self.adversarial) if phase)


@dataclass(frozen=True, kw_only=True, config=_REFUSE_UNKNOWN)
class OptimizationConfig:
    """How updates are made, in both phases: ``optimization`` of ``conf/train.yaml``."""

    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0
    clip_gradients: Positive | None = None
    accumulate: Count = 1
    batchnorm: Literal["batch", "frozen", "frozen_generator"] = "batch"
    recalibrate: Annotated[int, Field(ge=0)] = 0


@dataclass(frozen=True, kw_only=True, config=_REFUSE_UNKNOWN)
class DiscriminatorConfig:
    """The judge of the adversarial phase: ``conf/discriminator``.

    Each kind has some of these values; ``network`` names a class of one's own (``config.own_parts``).
    """

    name: str = "srgan"  # one of networks.discriminators.DISCRIMINATORS, which needs torch: checked there; or own
    normalisation: Literal["batch", "spectral"] = "batch"
    features: Count = 64
    network: dict[str, Any] = Field(default_factory=dict)


# How several processes work together, by Lightning's names; auto is this package's choice.
STRATEGIES = ("auto", "ddp", "ddp_find_unused_parameters_true")
_NO_STRATEGIES = {
    "fsdp": "every process validates and writes a whole generator, of 1.5 million weights: there is nothing to shard",
    "model_parallel": "every process validates and writes a whole generator, of 1.5 million weights",
    "deepspeed": "it takes one optimizer, and the two networks have one each",
    "spawn": "its processes could be neither signalled nor resumed; the command starts processes itself",
    "fork": "its processes could be neither signalled nor resumed; the command starts processes itself",
    "notebook": "its processes could be neither signalled nor resumed; the command starts processes itself",
}


@dataclass(frozen=True, kw_only=True, config=_REFUSE_UNKNOWN)
class TrainerConfig:
    """Where it runs, and what else Lightning's Trainer is told: ``conf/trainer``.

    ``extra`` are arguments of the Trainer that have no key of their own; ``training.trainer_options`` checks them.
    """

    accelerator: Literal["auto", "cpu", "gpu", "mps"] = "auto"
    devices: Count = 1
    num_nodes: Count = 1
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    sync_batchnorm: bool = False
    strategy: str = "auto"
    deterministic: Literal[False, True, "warn"] = False
    tf32_convolutions: bool = True
    tf32_matmuls: bool = False
    cuda_graph: bool = False
    limit_train_batches: Count | None = None
    limit_val_batches: Count | None = None
    profiler: Literal["simple", "advanced", "pytorch"] | None = None
    extra: dict[str, Any] = Field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.strategy in STRATEGIES:
            return
        reason = next((reason for name, reason in _NO_STRATEGIES.items() if name in self.strategy), None)
        if reason:
            raise UsageError(f"trainer.strategy={self.strategy} is not for these trainings: {reason}")
        raise UsageError(
            f"trainer.strategy={self.strategy}: may be {', '.join(STRATEGIES)}.{nearest(self.strategy, STRATEGIES)}"
        )


@dataclass(frozen=True, kw_only=True, config=_REFUSE_UNKNOWN)
class LoggerConfig:
    """Where curves go besides metrics.csv: ``conf/logger``. ``extra`` are loggers by class (``config.own_parts``)."""

    name: Literal["csv", "wandb", "tensorboard"] = "csv"
    project: str = "srgan_lit"
    entity: str | None = None
    group: str | None = None
    tags: tuple[str, ...] = ()
    job_type: str | None = None
    extra: dict[str, dict[str, Any]] = Field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, config=_REFUSE_UNKNOWN)
class TrainConfig:
    """A whole experiment: ``conf/train.yaml``."""

    model: ModelConfig
    data: DataConfig
    phase: PhaseConfig
    perceptual: PerceptualConfig
    optimization: OptimizationConfig
    trainer: TrainerConfig
    logger: LoggerConfig
    callbacks: dict[str, dict[str, Any]] = Field(default_factory=dict)
    run_dir: FilePath
    objective: Literal["psnr", "perceptual"] = "psnr"
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    init_from: FilePath | None = None
    init_discriminator_from: FilePath | None = None
    discriminator: DiscriminatorConfig = DiscriminatorConfig()
    best_by: Literal["psnr", "ssim", "perceptual", "lpips"] | None = None
    lpips: FilePath | None = None
    resume: FilePath | None = None
    accept_changed_pictures: bool = False
    trust_targets: bool | tuple[str, ...] = False
    dry_run: bool = False
    compile: Literal[False, True, "default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"] = False
    validate_every: Count = 5000
    checkpoint_every: Count = 5000
    log_every: Count = 50
