"""Multiply-adds of convolutions and linear layers, counted as they run. Imports nothing of ours."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass
class Count:
    """Multiply-adds so far."""

    multiply_adds: int = 0


@contextlib.contextmanager
def counting(*networks: nn.Module) -> Iterator[Count]:
    """Count what runs through ``networks`` in the block, with the backward passes that it leads to.

    A layer whose output has n elements, each a sum over k inputs, costs n·k multiply-adds forward (k is
    channels · kernel height · kernel width; zero padding counts as input). Its backward pass costs n·k more for
    the gradient of its weights and n·k for that of its input, each where autograd will compute it: 2·n·k inside
    a network in training, n·k through a frozen one, nothing without a graph.
    """
    count = Count()

    def add(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        weight = layer.weight
        assert isinstance(weight, Tensor)
        passes = 1
        if output.requires_grad:
            passes += weight.requires_grad + inputs[0].requires_grad
        count.multiply_adds += passes * output.numel() * weight[0].numel()

    layers = [m for network in networks for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(add) for layer in layers]
    try:
        yield count
    finally:
        for hook in hooks:
            hook.remove()
