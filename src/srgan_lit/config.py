"""Every value that an experiment can set, with its type and default. No torch, no Hydra.

``conf/`` gives these their values and says what each does; ``build.py`` turns the composed configuration into
these classes, which refuse what is out of range. What cannot be seen from one class alone (a crop that the
scale does not divide) is checked in ``checks.py``.
"""

from dataclasses import dataclass

from srgan_lit.errors import UsageError


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise UsageError(message)


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The generator: ``conf/model``."""

    blocks: int = 16
    features: int = 64
    scale: int = 4
    icnr: bool = False

    def __post_init__(self) -> None:
        _require(self.blocks >= 1, f"model.blocks={self.blocks}: at least 1; 16 is the paper's")
        _require(self.features >= 1, f"model.features={self.features}: at least 1; 64 is the paper's")
        _require(self.scale in (2, 4, 8), f"model.scale={self.scale}: 2, 4 or 8")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Pictures to learn from: ``conf/data``."""

    name: str
    root: str | None = None
    test_root: str | None = None
    cache: str | None = None
    batch_size: int = 16
    crop: int = 96
    workers: int = 0
    augment: bool = True
    degradation: str = "bicubic"
    validation_share: float = 0.05
    use_ref: bool = False
    skip_bad: bool = False

    def __post_init__(self) -> None:
        _require(self.name in ("cufed", "folder", "sample"), f"data.name={self.name}: cufed, folder or sample")
        _require(self.batch_size >= 1, f"data.batch_size={self.batch_size}: at least 1 crop")
        _require(self.crop >= 1, f"data.crop={self.crop}: at least 1 pixel")
        _require(self.workers >= 0, f"data.workers={self.workers}: 0 (load in this process) or more")
        _require(0 < self.validation_share < 1, f"data.validation_share={self.validation_share}: between 0 and 1")
