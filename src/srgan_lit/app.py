"""A local web page that enlarges pictures: ``python -m srgan_lit.app``."""

import argparse
import contextlib
import ipaddress
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from srgan_lit.common import command_line
from srgan_lit.common.errors import SRGANError, UsageError


def build_parser() -> argparse.ArgumentParser:
    """Everything that the command takes."""
    parser = command_line.parser(
        "app",
        "A web page on this machine that enlarges pictures: drop them in, compare before and after, download.\n"
        "It needs no network. Ctrl-C ends it and deletes what it has kept.",
    )
    parser.add_argument(
        "--model",
        action="append",
        default=[],
        help="offer this too, and first: .safetensors, run directory, .ckpt, or bicubic; may be repeated",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1, this machine alone)"
    )
    parser.add_argument("--port", type=_port, default=7860, help="0 for any that is free (default: 7860)")
    parser.add_argument(
        "--max-megapixels",
        type=_positive,
        default=25,
        metavar="N",
        help="refuse larger pictures; of animations, all frames together (default: 25)",
    )
    parser.add_argument(
        "--max-megabytes", type=_positive, default=100, metavar="N", help="refuse larger files (default: 100)"
    )
    parser.add_argument(
        "--max-queue",
        type=int,
        choices=range(1, 1001),
        default=16,
        metavar="N",
        help="pictures received, waiting and worked on at the same time; more are asked to wait (default: 16)",
    )
    return parser


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port, which is 0 to 65535")
    return int(text)


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and a million")
    return value


def run(arguments: argparse.Namespace) -> int:
    """The command, after parsing: serves until it is interrupted."""
    try:
        import uvicorn

        from srgan_lit.web import server
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("uvicorn", "starlette"):
            raise
        raise SRGANError(f"{error.name} is not installed: pip install 'srgan_lit[app]'") from error
    from srgan_lit.web.jobs import Jobs
    from srgan_lit.web.work import Work

    ended = True
    with (
        _listening(arguments.host, arguments.port) as listener,
        tempfile.TemporaryDirectory(prefix="srgan-app-", ignore_cleanup_errors=True) as folder,
        contextlib.suppress(KeyboardInterrupt),  # the way to end it
    ):
        work = Work(arguments.model, device=arguments.device, max_pixels=int(arguments.max_megapixels * 1e6))
        jobs = Jobs(Path(folder), work, most=arguments.max_queue)
        try:
            address, port = listener.getsockname()[:2]
            application = server.build(jobs, work, host=arguments.host, max_bytes=int(arguments.max_megabytes * 1e6))
            if not ipaddress.ip_address(address).is_loopback:
                command_line.complain(
                    "warning: everyone who reaches this machine can use the page; it asks for no password"
                )
            if address in ("0.0.0.0", "::"):
                address = socket.gethostname()
            name = f"[{address}]" if ":" in address else address
            print(f"http://{name}:{port}/  (Ctrl-C ends it)", flush=True)  # noqa: T201
            config = uvicorn.Config(
                application,
                http="h11",
                ws="none",
                loop="asyncio",
                lifespan="off",
                log_level="warning",
                access_log=False,
                proxy_headers=False,
                server_header=False,
                limit_concurrency=100,
                timeout_graceful_shutdown=1,
            )
            uvicorn.Server(config).run(sockets=[listener])
        finally:
            ended = jobs.stop()
    if not ended:
        os._exit(0)  # everything is deleted; the end of the interpreter would abort a network that still computes
    return 0


@contextlib.contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        raise UsageError(f"cannot listen on {host}, port {port}: {error.strerror}: give another --port") from error
    with listener:
        yield listener


def _terminate(*_: object) -> None:
    raise KeyboardInterrupt  # so that a polite kill, too, deletes what was kept


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of ``srgan-app``."""
    signal.signal(signal.SIGTERM, _terminate)
    return command_line.run(build_parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
