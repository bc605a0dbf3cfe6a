"""``python -m srgan_lit.train experiment=srgan …``: the Hydra entry."""

import os
import sys
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from pydantic import TypeAdapter

from srgan_lit import checks, cli, refusals, resume, sources
from srgan_lit.config import TrainConfig
from srgan_lit.errors import SRGANError

_PACKAGE = Path(__file__).resolve().parent
# Inside the package when installed from a wheel, at the top of the repository otherwise.
CONF = next(path for path in (_PACKAGE / "conf", _PACKAGE.parents[1] / "conf") if path.is_dir())


def configuration(cfg: DictConfig) -> TrainConfig:
    """The composed configuration as checked values, with the phases that do not run left out."""
    values = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(values, dict)
    running = {"pretrain": ["pretrain"], "adversarial": ["adversarial", "weights"]}.get(values["phase"]["name"])
    if running is not None:
        values["phase"] = {key: value for key, value in values["phase"].items() if key in ["name", *running]}
    return TypeAdapter(TrainConfig).validate_python(values)


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="train")
def _job(cfg: DictConfig) -> float:
    context = HydraConfig.get()
    overrides = [override.lstrip("+~") for override in context.overrides.task]
    OmegaConf.set_struct(cfg, False)
    cfg.run_dir = context.runtime.output_dir
    if cfg.resume is not None:
        cfg = resume.configuration(cfg, overrides)
    config = configuration(cfg)
    checks.check(config, set_by_user=[override.partition("=")[0] for override in overrides])
    sources.check(config.data, config.model.scale)

    from srgan_lit.training import train  # seconds to import, so after everything that can be refused

    return train(config)


def main() -> None:
    """Console entry: one-line refusals, exit status 2 for wrong usage and 1 for what failed."""
    traceback_wanted = os.environ.get("HYDRA_FULL_ERROR") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come to us instead of being printed by Hydra
    if stopped := resume.run_dir_of(sys.argv[1:]):
        sys.argv.append(f"run_dir={stopped}")
    try:
        _job()
    except Exception as error:
        refusal = error if isinstance(error, SRGANError) else refusals.explain(error, CONF, sys.argv[1:])
        if refusal is None or traceback_wanted:
            raise
        cli.complain(f"error: {refusal}")
        sys.exit(refusal.exit_status)


if __name__ == "__main__":
    main()
