"""Processes that work on strangers' files, held to limits: one is killed at the end of its time, whatever it does.

On Linux they are forks of one process, the nursery, which has imported what they need (torch takes seconds) and does
nothing else; elsewhere each is started anew. They speak JSON, so that nothing they say is executed. No torch here.
"""

import contextlib
import importlib
import json
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict
from multiprocessing import reduction
from multiprocessing.connection import Connection
from typing import Any

from srgan_lit.common import machine_errors
from srgan_lit.common.errors import SRGANError, UsageError
from srgan_lit.web.limits import Held, Limits

Said = dict[str, Any]
Tell = Callable[[Said], None]
_LONGEST = 2**20  # bytes of what is said at once
_FORK_SECONDS = 0.5  # the longest wait for a fork, unless the nursery itself begins
_ERRORS = {each.__name__: each for each in (SRGANError, UsageError)}
_SPAWN = multiprocessing.get_context("spawn")


class Child:
    """A process that does one task after another."""

    def __init__(self, connection: Connection, pid: int = 0) -> None:
        self._connection = connection
        self._pid = pid  # 0: the nursery says it before anything else is said
        self._deadline = 0.0

    def do(self, task: str, limits: Limits, *, wait: float, **arguments: Any) -> Iterator[Said | None]:
        """Have the function ``module:name`` called with a ``Tell``, its ``Held`` and ``arguments`` that JSON can hold.

        Yields what it tells, None where it tells nothing for ``wait`` seconds, and ``{"result": …}`` at last. If this
        is left before that, or the time is over, the process is killed.

        Raises:
            SRGANError, OSError: as the task does; or the time was over, or the process was killed.
            RuntimeError: the task has a fault; its traceback is on stderr.
        """
        self._deadline = time.monotonic() + limits.seconds
        over = False
        try:
            _send(self._connection, {"task": task, "limits": asdict(limits), "arguments": arguments})
            while not over:
                if time.monotonic() > self._deadline:
                    raise SRGANError("it takes far longer than a picture of its size may")
                if not self._connection.poll(wait):
                    yield None
                    continue
                said = self._heard()
                over = "result" in said or "error" in said
                if "error" in said:
                    raise _error(**said)
                yield said
        except (EOFError, ConnectionError) as error:
            self._pid = 0
            raise SRGANError("its file, or want of memory or time, ended the process that worked on it") from error
        finally:
            if not over:
                self.kill()

    def _heard(self) -> Said:
        said: Said = json.loads(self._connection.recv_bytes(_LONGEST))
        self._pid = said.get("pid", self._pid)
        return said

    def allow(self, seconds: float) -> None:
        """Let the task at hand take longer."""
        self._deadline += seconds

    def lives(self) -> bool:
        """Whether it can be asked for more."""
        with contextlib.suppress(OSError):  # between two tasks it says nothing: there is the end only to be read
            return not self._connection.poll(0)
        return False

    def kill(self) -> None:
        """End it at once."""
        with contextlib.suppress(EOFError, OSError):
            while not self._pid and self._connection.poll(_FORK_SECONDS):
                self._heard()
            if self._pid:
                os.kill(self._pid, getattr(signal, "SIGKILL", signal.SIGTERM))
        self._pid = 0
        self._connection.close()  # one that had not begun ends by that


class Children:
    """Starts them.

    Args:
        module: what they need; imported once.
    """

    def __init__(self, module: str) -> None:
        self._module = module
        self._starting = threading.Lock()
        self._nursery: Connection | None = None

    def start(self) -> Child:
        """Return a new one. It does nothing before it is asked."""
        here, there = _SPAWN.Pipe()
        with there:
            if sys.platform != "linux":
                process = _SPAWN.Process(target=_serve, args=(there,), daemon=True)
                process.start()
                return Child(here, process.pid or 0)
            with self._starting:
                try:
                    self._send(there)
                except ConnectionError:  # killed, perhaps for want of memory
                    self._nursery = None
                    self._send(there)
        return Child(here)

    def _send(self, connection: Connection) -> None:
        if self._nursery is None:
            self._nursery, there = _SPAWN.Pipe()
            with there:
                _SPAWN.Process(target=_keep_nursery, args=(there, self._module), daemon=True).start()
        reduction.send_handle(self._nursery, connection.fileno(), 0)


def _keep_nursery(connection: Connection, module: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    importlib.import_module(module)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks how they ended
    with contextlib.suppress(EOFError):
        while True:
            with Connection(reduction.recv_handle(connection)) as to_page:
                if pid := os.fork():
                    with contextlib.suppress(ConnectionError):
                        _send(to_page, {"pid": pid})
                else:
                    connection.close()
                    _serve(to_page)


def _serve(connection: Connection) -> None:
    """Be a child."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the page, which ends its children
    held = Held()

    def tell(said: Said) -> None:
        _send(connection, said)

    try:
        while True:
            request = json.loads(connection.recv_bytes())
            held.to(Limits(**request["limits"]))
            tell(_answer(request, tell, held))
    except (EOFError, ConnectionError):
        os._exit(0)  # the page has gone


def _answer(request: Said, tell: Tell, held: Held) -> Said:
    module, _, name = request["task"].partition(":")
    try:
        return {"result": getattr(importlib.import_module(module), name)(tell, held, **request["arguments"])}
    except SRGANError as error:
        return {"error": str(error), "kind": type(error).__name__}
    except OSError as error:
        return {"error": error.strerror or str(error), "errno": error.errno}
    except BaseException as error:
        if machine_errors.explain(error):
            return {"error": "out of memory: choose a smaller size or another format", "kind": "SRGANError"}
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {error}"}


def _error(error: str, kind: str = "", errno: int | None = None) -> Exception:
    if kind:
        return _ERRORS.get(kind, SRGANError)(error)
    return RuntimeError(error) if errno is None else OSError(errno, error)


def _send(connection: Connection, said: Said) -> None:
    connection.send_bytes(json.dumps(said).encode())
