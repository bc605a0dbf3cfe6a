"""``conf/`` as it is shipped: where it is, and the values that code asks it for."""

import functools
from collections.abc import Mapping
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
# Inside the package when installed from a wheel, at the top of the repository otherwise.
CONF = next(path for path in (_PACKAGE / "conf", _PACKAGE.parents[1] / "conf") if path.is_dir())


@functools.cache
def term_weights() -> Mapping[str, float]:
    """The weight of every term of the generator's loss, by name: ``weights`` of ``conf/phase/adversarial.yaml``."""
    from omegaconf import DictConfig, OmegaConf

    values = OmegaConf.load(CONF / "phase" / "adversarial.yaml")
    assert isinstance(values, DictConfig)
    return {str(name): float(weight) for name, weight in values["weights"].items()}
