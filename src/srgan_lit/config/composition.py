"""The text of ``--help``, read from ``conf/``, and a composed configuration as checked values."""

import textwrap
from typing import TYPE_CHECKING

from srgan_lit.config.shipped import CONF

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from srgan_lit.config.schema import TrainConfig

_HELP = """\
usage: srgan-train [-m] [experiment=NAME] [group=option …] [key=value …]

  srgan-train experiment=srgan data.root=CUFED        pretrain SRResNet, then train SRGAN: the paper's recipe
  srgan-train experiment=srgan data=folder data.root=photos model.blocks=5
  srgan-train -m phase.weights.adversarial=1e-3,5e-3  one run for each value
  srgan-train resume=runs/srgan/2026-01-31_12-00-00   go on where a run stopped
  srgan-train --config-dir my_conf experiment=mine    with parts of your own: your generator, loss term, data, callback
  srgan-train --cfg job experiment=demo               print the composed configuration
  srgan-train --hydra-help                            Hydra's own options

A value with spaces or ()[]{{}},= goes in quotes of its own: 'data.root="my photos (1)"'.

groups and their options
{groups}

keys and their defaults (of another option: --cfg job group=option)
{keys}"""


def _commented(group: str, option: str) -> str:
    """A group's file as written, with those that its defaults list names before it instead of the list."""
    text = (CONF / group / f"{option}.yaml").read_text(encoding="utf-8").strip()
    if "defaults:\n" not in text:
        return text
    head, _, rest = text.partition("defaults:\n")
    defaults, _, own = rest.partition("\n\n")
    named = [line.removeprefix("  - ") for line in defaults.splitlines() if line.strip() != "- _self_"]
    return "\n".join([head.rstrip(), *(_commented(group, name) for name in named), own])


def help_text() -> str:
    """Every group and key, read from ``conf/`` with its comments: Hydra's own help takes seconds and has none."""
    head, _, values = (CONF / "train.yaml").read_text(encoding="utf-8").partition("  - _self_")
    values = values.partition("\n\n")[2].partition("\nhydra:")[0].rstrip()
    groups, keys = [], []
    for folder in sorted(path for path in CONF.iterdir() if path.is_dir()):
        groups.append(f"  {folder.name:<12}{', '.join(sorted(path.stem for path in folder.glob('*.yaml')))}")
    for line in head.splitlines():
        group, _, option = line.removeprefix("  - ").partition(": ")
        if (CONF / group).is_dir() and option:
            keys.append(f"{group}: {option}\n{textwrap.indent(_commented(group, option), '  ')}")
    return _HELP.format(groups="\n".join(groups), keys="\n\n".join([values, *keys]))


def configuration(cfg: "DictConfig") -> "TrainConfig":
    """The composed configuration as checked values, with the phases that do not run left out."""
    from omegaconf import OmegaConf
    from pydantic import TypeAdapter

    from srgan_lit.config.schema import TrainConfig

    values = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(values, dict)
    idle = {"pretrain": ("adversarial", "weights", "terms"), "adversarial": ("pretrain",)}.get(
        values["phase"]["name"], ()
    )
    values["phase"] = {key: value for key, value in values["phase"].items() if key not in idle}
    return TypeAdapter(TrainConfig).validate_python(values)
