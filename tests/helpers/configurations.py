"""A tiny run's configuration, for trainings in this process."""

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from helpers.tiny_runs import BOTH, TINY
from srgan_lit.config.composition import CONF, configuration


def once(overrides):
    """The last of two overrides of one key counts, but Hydra takes each once."""
    return tuple({override.partition("=")[0]: override for override in overrides}.values())


def tiny(run_dir, *overrides):
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", overrides=list(once((*TINY, *BOTH, *overrides))))
    OmegaConf.set_struct(cfg, False)
    cfg.run_dir = str(run_dir)
    return configuration(cfg)
