"""Doubles of what a processor alone does not have: a device, and processes that exchange over NCCL."""

import torch
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch.utils._pytree import tree_map


class OnMPS(torch.Tensor):
    """A tensor that says it is on Apple's GPU, computed on the processor; it refuses float64 and tensors elsewhere."""

    @staticmethod
    def __new__(cls, held):
        return torch.Tensor._make_wrapper_subclass(
            cls, held.shape, strides=held.stride(), dtype=held.dtype, device="mps:0", requires_grad=False
        )

    def __init__(self, held):
        if held.dtype == torch.float64:
            raise TypeError("Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64")
        self.held = held

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        leaves = [each for each in torch.utils._pytree.tree_leaves((args, kwargs)) if isinstance(each, torch.Tensor)]
        if any(not isinstance(each, cls) and each.dim() for each in leaves) and function._schema.name != "aten::copy_":
            raise RuntimeError(f"{function}: expected all tensors to be on the same device, mps and cpu")
        target = torch.device(kwargs.pop("device", None) or "mps")
        args, kwargs = tree_map(lambda each: each.held if isinstance(each, cls) else each, (args, kwargs))
        result = function(*args, **kwargs)
        return tree_map(
            lambda each: cls(each) if isinstance(each, torch.Tensor) and target.type == "mps" else each, result
        )


class TwoProcesses(SingleDeviceStrategy):
    """The first of two processes that exchange over NCCL, the other doing as this one does.

    NCCL exchanges tensors on GPUs only, and nothing once the strategy is torn down; gloo would take both.
    """

    def __init__(self, **options):
        super().__init__(device=torch.device("cpu"), **options)
        self.world_size = 2
        self.exchanges, self.running = 0, True

    def _exchange(self, result):
        assert self.running, "NCCL: no process group, and the tensors are on the processor"
        self.exchanges += 1
        return result

    def reduce(self, tensor, *args, **kwargs):
        return self._exchange(tensor)

    def reduce_boolean_decision(self, decision, all=True):
        return self._exchange(decision)

    def barrier(self, *args, **kwargs):
        self._exchange(None)

    def broadcast(self, obj, src=0):
        return self._exchange(obj)

    def all_gather(self, tensor, *args, **kwargs):
        return self._exchange(tensor)

    def teardown(self):
        super().teardown()
        self.running = False
