"""Optuna's sampler for sweeps: ``conf/sweep`` names it. Imported only where Optuna is installed."""

import zlib
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial


class ContinuedTPE(BaseSampler):
    """TPE (Bergstra et al. 2011) that draws by the seed, the trial's number and the parameter's name.

    Optuna's own begins its random numbers anew in every process: a study that goes on would try the first
    trials' values again. Here trial 7 is the same whether it is the eighth of one call or the first of another.

    Args:
        seed: of all draws.
        settings: of ``optuna.samplers.TPESampler``.
    """

    def __init__(self, seed: int = 0, **settings: Any) -> None:
        self.seed, self.settings = seed, settings

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """An empty space: no parameters are drawn together, each is drawn by ``sample_independent``."""
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """No values, for the empty space of ``infer_relative_search_space``."""
        return {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A value of one parameter: a function of the seed, the trial's number and the parameter's name alone."""
        seed = zlib.crc32(f"{self.seed} {trial.number} {param_name}".encode())
        sampler = TPESampler(**self.settings, seed=seed)
        return sampler.sample_independent(study, trial, param_name, param_distribution)
