"""Learning-rate schedules as a function of the iteration within a phase."""

import bisect
import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from srgan_lit.config.schema import ScheduleConfig


def factor(config: ScheduleConfig, iteration: int) -> float:
    """What the learning rate is multiplied by for update ``iteration`` (from 0) of the phase."""
    rise = min(1.0, (iteration + 1) / (config.warmup + 1))
    if config.schedule == "cosine":
        return rise * (1 + math.cos(math.pi * min(1.0, iteration / config.iterations))) / 2
    if config.schedule == "steps":
        share = iteration / config.iterations
        return rise * config.decay_factor ** bisect.bisect_right(config.decay_at, share)
    return rise


def base_rate(config: ScheduleConfig, optimizer: str) -> float:
    """The learning rate before its schedule: the ``discriminator``'s optimizer may have one of its own."""
    own = getattr(config, "discriminator_learning_rate", None) if optimizer == "discriminator" else None
    return own or config.learning_rate


def scheduler(optimizer: Optimizer, config: ScheduleConfig) -> LambdaLR:
    """A scheduler to be stepped once after each update."""
    return LambdaLR(optimizer, lambda iteration: factor(config, iteration))
