"""Several processes that exchange the gradients of the network that is updated, and of no other."""

import contextlib
from collections.abc import Iterator
from typing import cast

from lightning.pytorch.overrides.distributed import _sync_module_states, prepare_for_backward
from lightning.pytorch.strategies import DDPStrategy, Strategy
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from srgan_lit.common.errors import UsageError


def check(strategy: Strategy) -> None:
    """Refuse Lightning's plain DDP, which fails at the second update.

    Raises:
        UsageError: says what does work.
    """
    if not isinstance(strategy, DDPStrategy) or isinstance(strategy, PerNetworkDDP):
        return
    if not strategy._ddp_kwargs.get("find_unused_parameters"):
        raise UsageError(
            "strategy='ddp' waits at each update for the gradients of both networks, of which one is updated: pass "
            "strategy=srgan_lit.PerNetworkDDP(), or 'ddp_find_unused_parameters_true', which sends more"
        )


class PerNetworkDDP(DDPStrategy):
    """DDP with a reducer for each network, instead of one for both.

    One for both reduces the gradients of all parameters at every update, those that are not updated as zeros:
    pretraining would send the discriminator's 24 million numbers beside the generator's 1.5.
    """

    def configure_ddp(self) -> None:
        """Make the reducers. The module itself is not wrapped."""
        module = self.lightning_module
        assert module is not None
        _sync_module_states(module)
        networks = {"generator": module.generator, "discriminator": module.discriminator}
        self.reducers: dict[str, DistributedDataParallel] = {
            name: self._setup_model(cast(nn.Module, network))
            for name, network in networks.items()
            if network is not None
        }
        self._used = self.reducers["generator"]

    def use(self, network: str) -> None:
        """Exchange the gradients of ``generator`` or ``discriminator`` from now on."""
        self._used = self.reducers[network]

    def pre_backward(self, closure_loss: Tensor) -> None:
        """Make the reducer ready, as Lightning does with the one of its own."""
        prepare_for_backward(self._used, closure_loss)

    @contextlib.contextmanager
    def block_backward_sync(self) -> Iterator[None]:
        """Exchange nothing for a while."""
        with self._used.no_sync():
            yield

    def teardown(self) -> None:
        """Let go of the reducers."""
        self.reducers = {}
        super().teardown()
