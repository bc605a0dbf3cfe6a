"""One function over many tasks in several processes, with a progress bar. No torch."""

import concurrent.futures
import concurrent.futures.process
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from tqdm import tqdm

from srgan_lit.common.errors import SRGANError

Task = TypeVar("Task")
Result = TypeVar("Result")


def processors() -> int:
    """The number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def over(
    function: Callable[[Task], Result], tasks: Sequence[Task], *, doing: str, in_processes: bool = True
) -> Iterator[tuple[Task, Result]]:
    """Yield (task, result) in the order of ``tasks``; the bar says ``doing``.

    With ``in_processes`` false, or one processor, all of it happens in this process.

    Raises:
        SRGANError: a process was killed.
    """
    count = processors()
    bar = tqdm(total=len(tasks), desc=doing, unit="picture", disable=None)
    if count == 1 or not in_processes:
        with bar:
            for task in tasks:
                yield task, function(task)
                bar.update()
        return
    # Forked processes need not import the main program (and torch) again.
    context = multiprocessing.get_context("fork" if "fork" in multiprocessing.get_all_start_methods() else None)
    pool = concurrent.futures.ProcessPoolExecutor(count, mp_context=context, initializer=_start)
    try:
        with bar:
            for task, result in zip(tasks, pool.map(function, tasks, chunksize=4), strict=True):
                yield task, result
                bar.update()
    except concurrent.futures.process.BrokenProcessPool as error:
        raise SRGANError("a process that decodes pictures was killed, perhaps for want of memory") from error
    finally:
        pool.shutdown(cancel_futures=True)


def leave_ending_to_parent(_number: int) -> None:
    """In a worker of a loader: a SIGTERM to the whole group (SLURM's, a container's) is the parent's to answer.

    It saves and ends its workers. One that died before it would be taken for a fault, and nothing would be saved.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _start() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends its workers
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def end_with_parent() -> None:
        parent.join()  # a killed parent must not leave workers that go on writing
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
