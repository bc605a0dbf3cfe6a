"""What the file-taking commands share: one-line errors, exit statuses, ``--debug``.

Exit status: 0 all done; 1 something failed (the rest was done); 2 wrong usage; 130 interrupted, 143 and 129 ended by
SIGTERM and SIGHUP, 141 the reader of its output had enough (``| head``). A command's module builds its parser without
importing torch, so that ``--help`` answers at once.
"""

import argparse
import contextlib
import io
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Any, NoReturn

from srgan_lit import __version__
from srgan_lit.common import machine_errors, numbers
from srgan_lit.common.errors import SRGANError

_UNWINDING_SECONDS = 5


class _Parser(argparse.ArgumentParser):
    """Says so where the name of a file was taken for an option."""

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        self._given = list(sys.argv[1:] if args is None else args)
        for before, word in zip(["", *self._given], self._given, strict=False):
            option, is_set, _ = word.partition("=")
            empty = word == "" or (word == f"{option}=" and is_set and option in self._option_string_actions)
            if empty and "--suffix" not in (before, option):  # alone a text that may be none
                self.error(
                    "an argument is empty: name a file or folder (. is the one that you are in), or leave it out"
                )
        return super().parse_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        for word in self._given:
            if word.startswith("-") and word not in self._option_string_actions and os.path.lexists(word):
                message = f"{message} (the name of the file {word} begins like an option: write ./{word})"
                break
        super().error(message)


def parser(command: str, description: str, *, epilog: str | None = None) -> argparse.ArgumentParser:
    """An argument parser for ``python -m srgan_lit.<command>`` with the options that every command has."""
    result = _Parser(
        prog=f"srgan-{command}",
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    result.add_argument("--version", action="version", version=f"srgan_lit {__version__}")
    result.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return result


def share(*, ends: bool = True) -> Callable[[str], float]:
    """The type of an option that takes a share, as 0.5 or 50%: from 0 to 1, or without the ``ends`` between them."""

    def parsed(text: str) -> float:
        try:
            value = numbers.number(text[:-1]) / 100 if text.endswith("%") else numbers.number(text)
        except ValueError:
            value = math.nan
        if not (0 <= value <= 1 if ends else 0 < value < 1):
            bounds = "from 0 to 1" if ends else "above 0 and below 1"
            raise argparse.ArgumentTypeError(f"{text!r} is not a share {bounds}, such as 0.5 or 50%")
        return value

    return parsed


def positive(text: str) -> float:
    """The type of an option that takes a number above 0 and below a million."""
    try:
        value = numbers.number(text)
    except ValueError:
        value = math.nan
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0 and below a million")
    return value


def add_network(parser: argparse.ArgumentParser) -> None:
    """Add ``--network``."""
    parser.add_argument(
        "--network",
        metavar="MODULE:CLASS",
        help="class of a generator of your own that the model holds, package.module:Class; no file names code to run",
    )


def complain(message: object) -> None:
    """Print one line to stderr, whatever line breaks and control characters the message holds."""
    line = " ".join(str(message).split())
    print("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line), file=sys.stderr)  # noqa: T201


class Ended(KeyboardInterrupt):
    """A polite kill: what runs is unwound as for Ctrl-C, so that no temporary file is left behind."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextlib.contextmanager
def _ended_politely() -> Iterator[None]:
    """SIGTERM and SIGHUP raise ``Ended`` meanwhile, Ctrl-C KeyboardInterrupt; what nohup ignores stays ignored.

    A second signal right after the first changes nothing: ``timeout`` sends one to the process and one to its group,
    and it would end the removal of temporary files.
    """
    ended_at = -math.inf

    def end(number: int, _frame: FrameType | None) -> None:
        nonlocal ended_at
        if time.monotonic() - ended_at < _UNWINDING_SECONDS:
            return
        ended_at = time.monotonic()
        raise KeyboardInterrupt if number == signal.SIGINT else Ended(number)

    before = {}
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)  # Windows has no SIGHUP
            if number is not None and signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                before[number] = signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def make_streams_usable() -> None:
    """Have standard input, output and error that can be used, whatever the parent made of them.

    What it closed is opened onto nothing: else the next file to be opened takes its number, and what is printed would
    go into that. What an encoding cannot show (an arrow, where Windows writes to a file) is written as ``\\u2191``.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextlib.contextmanager
def _printed() -> Iterator[None]:
    """Send what is printed meanwhile before the command is over: then a failure can be told.

    Raises:
        BrokenPipeError: nobody reads it any more.
        SRGANError: it cannot be written.
    """
    try:
        yield
    finally:
        try:
            sys.stdout.flush()
        except OSError as error:
            # What is left would be tried, and fail, once more when the process ends.
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if isinstance(error, BrokenPipeError):
                raise
            raise SRGANError(f"what this prints cannot be written: {error.strerror}") from error


def run(
    build_parser: Callable[[], argparse.ArgumentParser],
    command: Callable[[argparse.Namespace], int],
    argv: Sequence[str] | None = None,
) -> int:
    """Parse ``argv`` (None: the process's), run ``command``, and return the exit status."""
    make_streams_usable()
    # Huge pages for torch's large tensors on a CPU: a picture is enlarged in 6 % less time.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    arguments: argparse.Namespace | None = None
    with _ended_politely():
        try:
            with _printed():
                arguments = build_parser().parse_args(argv)
                return command(arguments)
        except Ended as ended:
            complain(f"ended by {ended}")
            return 128 + ended.number
        except KeyboardInterrupt:
            complain("interrupted")
            return 130
        except BrokenPipeError:
            return 128 + 13  # as if SIGPIPE had ended it
        except (SRGANError, OSError, MemoryError) as error:
            if arguments is not None and arguments.debug:
                raise
            said = error if isinstance(error, SRGANError) else machine_errors.explain(error)
            complain(f"error: {said}")
            return said.exit_status if said else 1
