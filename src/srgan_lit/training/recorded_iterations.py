"""Iterations recorded as CUDA graphs and replayed: the host starts one operation in place of hundreds.

A recording is a list of operations on fixed places in memory. Whatever an iteration reads that changes from one to
the next (crops, learning rates) is written to such a place before a replay, and whatever it leaves behind (weights,
moments, statistics, counts) it must write in place. What it decides on the host is decided when it is recorded, so
there is a recording for each ``kind`` of iteration.
"""

import contextlib
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from srgan_lit.common.errors import SRGANError

Values = dict[str, Tensor]
Iteration = Callable[[Tensor, Tensor], Values]

# Iterations of each kind before it is recorded: libraries choose their algorithms, and buffers are made.
REHEARSALS = 3


@dataclass(frozen=True, kw_only=True)
class _Recording:
    lr: Tensor
    hr: Tensor
    values: Values
    replay: Callable[[], None]


class RecordedIterations:
    """``iteration``, replayed from its fourth time on.

    Args:
        iteration: all that the device does for a batch ``lr`` and ``hr``; returns what it says of itself.
        optimizers: whose learning rates it uses. They stay numbers to whoever looks at them.
    """

    def __init__(self, iteration: Iteration, optimizers: Sequence[Optimizer]) -> None:
        self._iteration = iteration
        self._groups = [group for optimizer in optimizers for group in optimizer.param_groups]
        self._rates: list[Tensor] = []
        self._rehearsed: Counter[Hashable] = Counter()
        self._recordings: dict[Hashable, _Recording] = {}
        self._stream: Any = None

    def __call__(self, kind: Hashable, lr: Tensor, hr: Tensor) -> Values:
        """Run an iteration of ``kind`` on crops (B, 3, H, W); what it returns is overwritten by the next of its kind.

        Raises:
            SRGANError: it cannot be recorded, for example because a term of the user's own waits for the device.
        """
        kind = (kind, lr.shape, hr.shape)
        if self._rehearsed[kind] < REHEARSALS:
            self._rehearsed[kind] += 1
            return self._rehearse(lr, hr)
        if kind not in self._recordings:
            self._recordings[kind] = self._record(lr, hr)
        recording = self._recordings[kind]
        recording.lr.copy_(lr)
        recording.hr.copy_(hr)
        for rate, group in zip(self._rates, self._groups, strict=True):
            rate.fill_(group["lr"])
        recording.replay()
        return recording.values

    def _rehearse(self, lr: Tensor, hr: Tensor) -> Values:
        """Run it on the stream that it will be recorded on."""
        if lr.device.type != "cuda":
            return self._iteration(lr, hr)
        self._stream = self._stream or torch.cuda.Stream(lr.device)
        self._stream.wait_stream(torch.cuda.current_stream(lr.device))
        with torch.cuda.stream(self._stream):
            values = self._iteration(lr, hr)
        torch.cuda.current_stream(lr.device).wait_stream(self._stream)
        return values

    def _record(self, lr: Tensor, hr: Tensor) -> _Recording:
        if not self._rates:
            self._rates = [torch.zeros((), device=lr.device) for _ in self._groups]
        lr, hr = torch.empty_like(lr), torch.empty_like(hr)
        try:
            with self._rates_on_device():
                values, replay = record(lambda: self._iteration(lr, hr), self._stream)
            return _Recording(lr=lr, hr=hr, values=values, replay=replay)
        except torch.OutOfMemoryError:
            raise  # which says by itself what to do
        except RuntimeError as error:
            said = " ".join(str(error).splitlines()[:1])
            raise SRGANError(
                f"trainer.cuda_graph=true: an iteration cannot be recorded ({said}); "
                "trainer.cuda_graph=false starts its operations one by one"
            ) from error

    @contextlib.contextmanager
    def _rates_on_device(self) -> Iterator[None]:
        """Let optimizers read their learning rates from the device, for as long as they are recorded."""
        before = [(group["lr"], group["capturable"]) for group in self._groups]
        for rate, group in zip(self._rates, self._groups, strict=True):
            group["lr"], group["capturable"] = rate, True
        try:
            yield
        finally:
            for (rate, capturable), group in zip(before, self._groups, strict=True):
                group["lr"], group["capturable"] = rate, capturable


def possible(device: torch.device) -> bool:
    """Whether ``device`` can record."""
    return device.type == "cuda"


def record(run: Callable[[], Values], stream: Any) -> tuple[Values, Callable[[], None]]:
    """Record what ``run`` starts on ``stream``, without doing it; return what it returned, and what does it."""
    graph = torch.cuda.CUDAGraph()
    # Of this thread alone: the loader's copies to pinned memory meanwhile, in a thread of their own.
    with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
        values = run()
    return values, graph.replay
