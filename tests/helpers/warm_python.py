"""``subprocess.run`` and ``Popen`` of Python, by a fork of a process that has imported torch and Lightning already.

What is started is a process of its own, with its own streams, signals, exit status, working directory and
environment, and a child of the test's process; only the seconds of importing are saved. Where a variable decides that
is read at the start or while importing (a number of threads, a language), a fresh interpreter is started.

With ``WARM_CHILDREN=1`` in its environment, what it starts itself is forked in the same way: the processes of torchrun
and of Lightning's launcher, and those that ``multiprocessing`` spawns.
"""

import atexit
import ctypes
import fcntl
import functools
import gc
import importlib
import json
import multiprocessing.util
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn
from unittest import mock

# Third-party modules only: what ours read when they are imported, they read in the process that a test starts.
PRELOADED = [
    "torch", "torchvision", "lightning", "torch.distributed.run", "hydra.main", "hydra.experimental",
    "pydantic.dataclasses", "PIL.TiffImagePlugin", "PIL.ImageCms", "tifffile", "requests", "jinja2",
    "safetensors.torch", "uvicorn", "starlette.applications", "filelock", "tqdm", "gdown", "psutil", "platformdirs",
]  # fmt: skip
READ_AT_IMPORT = (
    "PYTHON", "LANG", "LC_", "OMP_", "MKL_", "KMP_", "CUDA_", "MALLOC_", "LD_", "ATEN_", "DNNL_", "ONEDNN_",
)  # fmt: skip


def _decides(environment: dict[str, str]) -> dict[str, str]:
    """The variables that a fork could not take over."""
    return {k: v for k, v in environment.items() if k.startswith(READ_AT_IMPORT) and k != "PYTHONPATH"}


class Popen(subprocess.Popen):  # type: ignore[type-arg]
    """As ``subprocess.Popen``."""

    def _execute_child(self, args: Any, executable: Any, preexec_fn: Any, *rest: Any) -> None:
        close_fds, pass_fds, cwd, env, _startupinfo, _creationflags, shell, *pipes = rest[:13]
        new_session, process_group = rest[18:20]
        environment = dict(os.environ if env is None else env)
        words = [args] if isinstance(args, str | Path) else [os.fspath(word) for word in args]
        simple = words[0] == sys.executable and not preexec_fn
        words = [word for word in words[1:3] if word != "-u"] + words[3:]
        simple = simple and len(words) > 1 and (words[0] in ("-m", "-c") or words[0].endswith(".py"))
        simple = simple and not shell and not pass_fds and close_fds and process_group == -1
        if not simple or _decides(environment) != _decides(_server().environment):
            _execute_fresh(self, args, executable, preexec_fn, *rest)
            return
        stdin, _, _, stdout, _, stderr = pipes
        streams = [number if number != -1 else own for own, number in enumerate([stdin, stdout, stderr])]
        try:
            self.pid = _server().fork(words, dict(enumerate(streams)), environment, cwd, bool(new_session))
            self._child_created = True
        finally:
            self._close_pipe_fds(*pipes)


def run(*args: Any, **options: Any) -> "subprocess.CompletedProcess[Any]":
    """As ``subprocess.run``."""
    with mock.patch.object(subprocess, "Popen", Popen):
        return subprocess.run(*args, **options)


def _spawned(path: bytes, args: list[str], passfds: list[int]) -> int:
    """As ``multiprocessing.util.spawnv_passfds``."""
    if "--multiprocessing-fork" not in args:
        return _spawn(path, args, passfds)
    words = args[args.index("-c") :]
    return _server().fork(words, {number: number for number in (0, 1, 2, *passfds)}, dict(os.environ))


_spawn = multiprocessing.util.spawnv_passfds
_execute_fresh = subprocess.Popen._execute_child  # type: ignore[attr-defined]


class _Server:
    """The warm process, from the side of those who ask it."""

    def __init__(self, connection: socket.socket) -> None:
        self.lock, self.environment, self.socket = threading.Lock(), dict(os.environ), connection

    def fork(
        self,
        words: list[str],
        descriptors: dict[int, int],
        environment: dict[str, str],
        cwd: Any = None,
        session: bool = False,
    ) -> int:
        """Its process number. The new process becomes a child of this one, as of any parent that takes in orphans.

        Args:
            descriptors: by the number that the new process knows each by.
        """
        order = {"words": words, "cwd": str(Path(os.fsdecode(cwd or ".")).absolute()), "environment": environment,
                 "session": session, "umask": _umask(), "descriptors": list(descriptors)}  # fmt: skip
        with self.lock:
            _take_in_orphans(True)
            try:
                header = b"%16d" % len(text := json.dumps(order).encode())
                socket.send_fds(self.socket, [header], list(descriptors.values()))
                self.socket.sendall(text)
                return int(self.socket.recv(16))
            finally:
                _take_in_orphans(False)


def _take_in_orphans(yes: bool) -> None:
    ctypes.CDLL(None).prctl(36, int(yes))  # PR_SET_CHILD_SUBREAPER


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


@functools.cache
def _server() -> _Server:
    connection, theirs = socket.socketpair()
    with theirs:
        command = [sys.executable, __file__, str(theirs.fileno())]
        subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
    return _Server(connection)


# ---------------------------------------------------------------------- the warm process


def _asked(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """The next order; ends the process when the tests have ended."""
    header, descriptors, _, _ = socket.recv_fds(connection, 16, 32)
    if not header:
        os._exit(0)
    text = b""
    while len(text) < int(header):
        text += connection.recv(int(header) - len(text))
    return json.loads(text), descriptors


def _serve(connection: socket.socket) -> dict[str, Any]:
    """Fork for every order; returns in the forks, which then are what was ordered."""
    while True:
        order, descriptors = _asked(connection)
        reading, writing = os.pipe()
        between = os.fork()
        if between == 0:
            child = os.fork()
            if child == 0:
                break
            os.write(writing, b"%16d" % child)
            os._exit(0)
        os.waitpid(between, 0)  # now the child is an orphan, and the process that asked has taken it in
        connection.sendall(os.read(reading, 16))
        for descriptor in (reading, writing, *descriptors):
            os.close(descriptor)
    for descriptor in (reading, writing):
        os.close(descriptor)
    connection.close()
    apart = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, 100) for descriptor in descriptors]
    for descriptor in descriptors:
        os.close(descriptor)
    for number, descriptor in zip(order["descriptors"], apart, strict=True):
        os.dup2(descriptor, number)
        os.close(descriptor)
    if order["session"]:
        os.setsid()
    return order


def _serve_children(order: dict[str, Any]) -> dict[str, Any]:
    """Leave a copy of this process behind that forks what it starts; returns in these forks too."""
    connection, theirs = socket.socketpair()
    if os.fork() == 0:
        connection.close()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the others
        return _serve(theirs)
    theirs.close()
    os.environ.clear()
    os.environ.update(order["environment"])
    server = _Server(connection)
    globals()["_server"] = lambda: server
    subprocess.Popen._execute_child = Popen._execute_child  # type: ignore[attr-defined]
    multiprocessing.util.spawnv_passfds = _spawned
    return order


def _become(order: dict[str, Any]) -> None:
    """Be the interpreter that was ordered: as far as a program can tell, one that has just been started."""
    os.umask(order["umask"])
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["environment"])
    tempfile.tempdir = None  # TMPDIR is read again
    if backend := os.environ.get("MPLBACKEND"):
        importlib.import_module("matplotlib").rcParams["backend"] = backend
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.stdin, sys.stdout, sys.stderr = (
        open(own, mode, encoding="utf-8", errors=errors, buffering=buffering, closefd=False)  # noqa: SIM115
        for own, (mode, errors, buffering) in enumerate(
            [("r", "surrogateescape", -1), ("w", "surrogateescape", -1), ("w", "backslashreplace", 1)]
        )
    )
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr
    kind, *arguments = order["words"]
    paths = [path for path in order["environment"].get("PYTHONPATH", "").split(os.pathsep) if path]
    first = {"-m": order["cwd"], "-c": ""}.get(kind, str(Path(kind).absolute().parent))
    sys.path[:] = [first, *paths, *(path for path in sys.path[1:] if path not in paths)]
    if kind == "-m":
        sys.argv = arguments
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
        return
    sys.argv = [kind, *arguments[kind == "-c" :]]
    source = arguments[0] if kind == "-c" else Path(kind).read_text(encoding="utf-8")
    program = sys.modules["__main__"] = types.ModuleType("__main__")
    if kind != "-c":
        program.__file__ = kind
    exec(compile(source, "<string>" if kind == "-c" else kind, "exec"), program.__dict__)


def _end(run: Callable[[], None]) -> NoReturn:
    """Run a program and end as the interpreter does, but for taking its modules to pieces (0.7 s)."""
    status: Any = 0
    try:
        run()
    except SystemExit as ended:
        status = ended.code or 0
        if not isinstance(status, int):
            print(status, file=sys.stderr)
            status = 1
    except KeyboardInterrupt:
        traceback.print_exc()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:
        traceback.print_exc()
        status = 1
    threading._shutdown()  # waits for threads, as an interpreter that ends
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            status = 120  # as an interpreter
    os._exit(status)


if __name__ == "__main__":
    sys.path.pop(0)  # this folder
    for name in PRELOADED:
        importlib.import_module(name)
    yaml = importlib.import_module("yaml")
    yaml.SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # as in conftest.py
    gc.freeze()  # a collection would copy every page that the forks share
    order = _serve(socket.socket(fileno=int(sys.argv[1])))
    if "WARM_CHILDREN" in order["environment"]:
        order = _serve_children(order)
    _end(functools.partial(_become, order))
