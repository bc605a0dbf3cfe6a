"""What a piece of code asks of the device: operations launched, and where the host waits or copies."""

import contextlib

import torch
from torch.utils._python_dispatch import TorchDispatchMode

_ALLOCATE = {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "detach"}
WAIT = {"_local_scalar_dense", "nonzero", "masked_select", "unique", "lift_fresh"}  # the last: torch.tensor(number)


class Launched(TorchDispatchMode):
    """Counts operations that write memory; views and allocations are none."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        schema = function._schema
        view = any(result.alias_info is not None and not result.alias_info.is_write for result in schema.returns)
        self.count += not view and schema.name.removeprefix("aten::") not in _ALLOCATE
        return function(*args, **(kwargs or {}))


class NoWaiting(TorchDispatchMode):
    """Refuses what makes the host wait for a GPU: a number read from it, or copied to it from pageable memory."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = function._schema.name.removeprefix("aten::")
        moved = name == "_to_copy" and kwargs.get("device") not in (None, args[0].device)
        if name in WAIT or moved:
            raise AssertionError(f"the host waits for the device: {name}")
        return function(*args, **kwargs)


@contextlib.contextmanager
def no_waiting(device):
    """The same on a GPU, where CUDA itself refuses it."""
    if device.type != "cuda":
        with NoWaiting():
            yield
        return
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)
