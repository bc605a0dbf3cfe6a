"""Updates without waiting for the device, so that the host can run ahead.

Whether a gradient is finite is known on the device alone. What depends on it is computed there for both cases and
selected there; the host reads it when a row of the log is due.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel


def _in_memory_order(tensors: Sequence[Tensor], like: Sequence[Tensor]) -> list[Tensor]:
    """Views whose dimensions are in the order in which ``like`` lies in memory: flattening those copies nothing."""
    return [
        tensor.detach().permute(sorted(range(tensor.dim()), key=other.stride, reverse=True))
        for tensor, other in zip(tensors, like, strict=True)
    ]


def _joined(tensors: Sequence[Tensor], *, like: Sequence[Tensor] | None = None) -> Tensor:
    """All their numbers in one dimension, in the order of ``like``, or else their own."""
    return torch.cat([tensor.reshape(-1) for tensor in _in_memory_order(tensors, like or tensors)])


def _write(values: Tensor, tensors: Sequence[Tensor]) -> None:
    """Take ``_joined`` apart again, in place."""
    views = _in_memory_order(tensors, tensors)
    parts = values.split([view.numel() for view in views])
    torch._foreach_copy_(views, [part.view(view.shape) for part, view in zip(parts, views, strict=True)])


class Kept:
    """A copy of networks' buffers, the statistics of BatchNorm: one tensor for each type of number."""

    def __init__(self, *networks: nn.Module | None) -> None:
        by_type: dict[torch.dtype, list[Tensor]] = {}
        for network in filter(None, networks):
            for buffer in network.buffers():
                by_type.setdefault(buffer.dtype, []).append(buffer)
        self._copies = [(buffers, _joined(buffers)) for buffers in by_type.values()]

    def restore(self, spoilt: Tensor) -> None:
        """Put the copy back where ``spoilt``, a boolean on the device."""
        for buffers, copy in self._copies:
            _write(torch.where(spoilt, copy, _joined(buffers)), buffers)


class Skips:
    """Iterations that were left out: in all, and since the last good one. Kept on the device, read when asked."""

    def __init__(self) -> None:
        self.go_on(0)

    def go_on(self, total: int) -> None:
        """Continue a run's count."""
        self._before, self._counted = total, torch.zeros(2, dtype=torch.int64, device="meta")

    def count(self, spoilt: Tensor, alarming: Tensor | bool) -> None:
        """Count an iteration: ``spoilt`` says whether it was left out, ``alarming`` whether that counts in a row."""
        if self._counted.device != spoilt.device:  # once: made there, since copying there would wait
            self._before, self._counted = self.total, torch.zeros(2, dtype=torch.int64, device=spoilt.device)
        total, in_a_row = self._counted.unbind()
        self._counted.copy_(torch.stack([total + spoilt, (in_a_row + alarming) * spoilt]))

    @property
    def total(self) -> int:
        """Iterations that were left out in the whole run."""
        return self._before + self._read(0)

    @property
    def in_a_row(self) -> int:
        """Iterations that were left out since the last good one."""
        return self._read(1)

    def _read(self, index: int) -> int:
        return 0 if self._counted.is_meta else int(self._counted[index])


def leave_out_unless_finite(optimizer: Optimizer, *, clip: float | None) -> tuple[Tensor, Tensor]:
    """Measure the gradient that ``optimizer`` is about to follow, clip it, and have a step that is not finite left out.

    Fused Adam leaves its step out where ``found_inf`` is set, which is how torch's GradScaler does it too.

    Returns:
        The gradient's norm before clipping, and whether it is finite, both on the device.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    norm = get_total_norm([p.grad for p in parameters if p.grad is not None])
    finite = norm.isfinite()
    if clip:
        clip_grads_with_norm_(parameters, clip, norm)  # what this does to one that is not finite is left out
    optimizer.found_inf = finite.logical_not().float()  # type: ignore[attr-defined]
    return norm, finite


@torch.no_grad()
def average(ema: AveragedModel, network: nn.Module, *, decay: float, finite: Tensor) -> None:
    """As ``ema.update_parameters(network)`` with torch's ``get_ema_multi_avg_fn(decay)``, to the bit, where ``finite``.

    That asks the device how many updates there were, and updates each whole number by itself.
    """
    first = ema.n_averaged == 0  # the first is a copy
    by_type: dict[torch.dtype, tuple[list[Tensor], list[Tensor]]] = {}
    pairs: Any = zip(
        [*ema.module.parameters(), *ema.module.buffers()], [*network.parameters(), *network.buffers()], strict=True
    )
    for averaged, now in pairs:
        lists = by_type.setdefault(averaged.dtype, ([], []))
        lists[0].append(averaged)
        lists[1].append(now)
    for dtype, (averaged, now) in by_type.items():
        before, after = _joined(averaged), _joined(now, like=averaged)
        if dtype.is_floating_point:
            weight = first.to(dtype).clamp(min=1 - decay) * finite
            _write(torch.lerp(before, after, weight), averaged)
        else:
            mean = (before * decay + after * (1 - decay)).to(dtype)
            _write(torch.where(finite, torch.where(first, after, mean), before), averaged)
    ema.n_averaged += finite
