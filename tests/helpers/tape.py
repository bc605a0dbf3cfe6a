"""CUDA graphs on a processor: operations noted as they are recorded, undone, and done again on the same memory.

As with a graph, what Python did while recording is not done again, and recording itself changes nothing.
"""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from helpers.operations import WAIT


class _Tape(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.operations, self.before = [], {}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function._schema.name.removeprefix("aten::") in WAIT:
            raise RuntimeError(f"operation not permitted when stream is capturing: {function}")
        # BatchNorm's forward updates its statistics, which its schema does not say.
        if function._schema.is_mutable or "batch_norm" in function._schema.name:
            for tensor in filter(torch.is_tensor, tree_leaves((args, kwargs))):
                # The memory as it was when the recording began; what the recording itself made is of no interest.
                self.before.setdefault(tensor.untyped_storage().data_ptr(), (tensor, tensor.detach().clone()))
        given = function(*args, **kwargs)
        self.operations.append((function, args, kwargs, given))
        return given

    def undo(self):
        for tensor, before in self.before.values():
            tensor.detach().copy_(before)

    @torch.no_grad()
    def replay(self):
        for function, args, kwargs, given in self.operations:
            views = any(each.alias_info is not None for each in function._schema.returns)
            again = function(*args, **kwargs)
            if not views:
                for old, new in zip(tree_leaves(given), tree_leaves(again), strict=True):
                    if torch.is_tensor(old):
                        old.copy_(new)


recordings = []


def record(run, stream):
    """In the place of ``recorded_iterations.record``."""
    tape = _Tape()
    with tape:
        values = run()
    tape.undo()
    recordings.append(tape)
    return values, tape.replay
