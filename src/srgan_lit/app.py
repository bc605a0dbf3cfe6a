"""A local web page that enlarges pictures: ``python -m srgan_lit.app``."""

import argparse
import asyncio
import contextlib
import ipaddress
import logging.handlers
import os
import re
import secrets
import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from srgan_lit.common import command_line
from srgan_lit.common.errors import SRGANError, UsageError
from srgan_lit.common.numbers import whole_number

if TYPE_CHECKING:
    from srgan_lit.web.connections import Network
    from srgan_lit.web.private_folder import PrivateFolder

_PASSWORD = "SRGAN_APP_PASSWORD"
_SHORTEST_PASSWORD = 12


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
        type=command_line.positive,
        default=25,
        metavar="N",
        help="refuse larger pictures; of animations, all frames together (default: 25)",
    )
    parser.add_argument(
        "--max-megabytes",
        type=command_line.positive,
        default=100,
        metavar="N",
        help="refuse larger files (default: 100)",
    )
    parser.add_argument(
        "--max-queue",
        type=whole_number,
        choices=range(1, 1001),
        default=16,
        metavar="N",
        help="pictures received, waiting and worked on at the same time; more are asked to wait (default: 16)",
    )
    parser.add_argument(
        "--max-per-client",
        type=whole_number,
        choices=range(1, 1001),
        default=8,
        metavar="N",
        help="of these, from one address (default: 8)",
    )
    parser.add_argument(
        "--max-disk-gigabytes",
        type=command_line.positive,
        default=4,
        metavar="N",
        help="of all pictures and results that are kept; the oldest results go first (default: 4)",
    )
    parser.add_argument(
        "--timeout",
        type=command_line.positive,
        default=30,
        metavar="SECONDS",
        help="end connections that say or take nothing, and uploads that are too slow, after this (default: 30)",
    )
    public = parser.add_argument_group("behind a proxy, in a container, on a network (see docs/deploy.md)")
    public.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a name that the page is reached by; may be repeated (default: this machine's own names and addresses)",
    )
    public.add_argument(
        "--base-path",
        type=_base_path,
        default="",
        metavar="/PATH",
        help="where the page is, for a proxy that passes this path on as it is (default: /)",
    )
    public.add_argument(
        "--trust-proxy",
        nargs="?",
        const="127.0.0.0/8,::1",
        default="",
        type=_networks,
        metavar="ADDRESSES",
        help="believe what proxies at these addresses or networks, separated by commas, say of a request's scheme and "
        "sender, X-Forwarded-Proto and X-Forwarded-For (without a value: those on this machine)",
    )
    public.add_argument(
        "--access-log",
        type=Path,
        metavar="FILE",
        help="add a line for each answer: time, sender, method, path without file names and the better part of what "
        "cannot be guessed, status, bytes, seconds; - is standard output",
    )
    password = public.add_mutually_exclusive_group()
    password.add_argument(
        "--password-file",
        type=Path,
        metavar="FILE",
        help="its first line is asked for, with any user name (default: that in the variable SRGAN_APP_PASSWORD; or, "
        "where others than this machine may reach the page, one that is made and printed)",
    )
    password.add_argument(
        "--no-password", action="store_true", help="ask for none: whoever reaches the page may use it"
    )
    public.add_argument(
        "--data-dir",
        type=Path,
        metavar="DIR",
        help="keep pictures in a folder in this one, until the page ends (default: where temporary files go)",
    )
    return parser


def _port(text: str) -> int:
    with contextlib.suppress(ValueError):
        if 0 <= (port := whole_number(text)) <= 65535:
            return port
    raise argparse.ArgumentTypeError(f"{text!r} is not a port, which is 0 to 65535")


def _base_path(text: str) -> str:
    parts = text.strip("/").split("/") if text.strip("/") else []
    if not all(re.fullmatch(r"[\w.~-]+", part, re.ASCII) and part not in (".", "..") for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is no path like /sr: letters, digits, - _ . ~ and slashes")
    return "".join(f"/{part}" for part in parts)


def _networks(text: str) -> "list[Network]":
    try:
        return [ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip()]
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}: give addresses, or networks like 172.16.0.0/12") from error


def _password(arguments: argparse.Namespace, address: str) -> str | None:
    """The password to ask for: the given one; None where only this machine reaches the page; else a random one.

    Raises:
        SRGANError: it cannot be read.
        UsageError: it is too short.
    """
    if arguments.no_password:
        return None
    password = os.environ.get(_PASSWORD)
    if arguments.password_file:
        try:
            password = arguments.password_file.read_text(encoding="utf-8").partition("\n")[0].strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not UTF-8"
            raise SRGANError(f"--password-file {arguments.password_file}: {reason}") from error
    if password is not None:
        if len(password) < _SHORTEST_PASSWORD:
            raise UsageError(
                f"a password of {len(password)} characters can be guessed: take {_SHORTEST_PASSWORD} or more"
            )
        return password
    if ipaddress.ip_address(address).is_loopback and not arguments.allow_host and not arguments.trust_proxy:
        return None
    return secrets.token_urlsafe(16)


def _is_given(arguments: argparse.Namespace) -> bool:
    return bool(arguments.password_file) or _PASSWORD in os.environ


def run(arguments: argparse.Namespace) -> int:
    """The command, after parsing: serves until it is interrupted."""
    try:
        import uvicorn

        from srgan_lit.web import server
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("uvicorn", "starlette"):
            raise
        raise SRGANError(f"{error.name} is not installed: pip install 'srgan_lit[app]'") from error
    from srgan_lit.web import connections
    from srgan_lit.web.jobs import Jobs
    from srgan_lit.web.private_folder import PrivateFolder
    from srgan_lit.web.work import Work

    if arguments.access_log:
        _log(arguments.access_log)
    with (
        _listening(arguments.host, arguments.port) as listener,
        _private_folder(PrivateFolder, arguments.data_dir) as folder,
        contextlib.suppress(KeyboardInterrupt),  # the way to end it
    ):
        address, port = listener.getsockname()[:2]
        password = _password(arguments, address)
        work = Work(arguments.model, device=arguments.device, max_pixels=int(arguments.max_megapixels * 1e6))
        jobs = Jobs(
            folder.path,
            work,
            most=arguments.max_queue,
            most_per_client=arguments.max_per_client,
            most_bytes=int(arguments.max_disk_gigabytes * 1e9),
        )
        try:
            application = server.build(
                jobs,
                work,
                hosts=[arguments.host, *arguments.allow_host],
                password=password,
                base_path=arguments.base_path,
                max_bytes=int(arguments.max_megabytes * 1e6),
                seconds=arguments.timeout,
            )
            if arguments.no_password and not ipaddress.ip_address(address).is_loopback:
                command_line.complain(
                    "warning: everyone who reaches this machine can use the page; it asks for no password"
                )
            if address in ("0.0.0.0", "::"):
                address = socket.gethostname()
            name = f"[{address}]" if ":" in address else address
            print(f"http://{name}:{port}{arguments.base_path}/  (Ctrl-C ends it)", flush=True)  # noqa: T201
            if password and not _is_given(arguments):
                print(f"It asks for any user name, and this password: {password}", flush=True)  # noqa: T201
            config = uvicorn.Config(
                application,
                http=connections.protocol(seconds=arguments.timeout, proxies=arguments.trust_proxy),
                ws="none",
                loop="asyncio",
                lifespan="off",
                log_level="error",
                access_log=False,
                proxy_headers=bool(arguments.trust_proxy),
                forwarded_allow_ips=[str(network) for network in arguments.trust_proxy],
                server_header=False,
                limit_concurrency=connections.MOST,
                timeout_graceful_shutdown=1,
            )
            serving = uvicorn.Server(config).serve(sockets=[listener])
            try:
                asyncio.run(serving)
            finally:
                serving.close()  # where the signal came before it began, Python would warn that it never ran
        finally:
            jobs.stop()
    return 0


def _log(path: Path) -> None:
    """Have answers logged to ``path``, which may be moved away and is then begun anew."""
    if str(path) == "-":
        handler: logging.Handler = logging.StreamHandler(sys.stdout)
    else:
        try:
            handler = logging.handlers.WatchedFileHandler(path, encoding="utf-8")
        except OSError as error:
            raise SRGANError(f"--access-log {path}: {error.strerror}: name a file that can be written to") from error
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%dT%H:%M:%S%z"))
    access = logging.getLogger("srgan_lit.web.access")
    access.addHandler(handler)
    access.setLevel(logging.INFO)
    access.propagate = False


def _private_folder(kind: "type[PrivateFolder]", parent: Path | None) -> "PrivateFolder":
    try:
        return kind(parent)
    except OSError as error:
        where = f"--data-dir {parent}" if parent else "the folder for temporary files"
        raise SRGANError(f"{where}: {error.strerror}: name one with --data-dir that can be written to") from error


@contextlib.contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        raise UsageError(f"cannot listen on {host}, port {port}: {error.strerror}: give another --port") from error
    with listener:
        yield listener


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of ``srgan-app``."""
    return command_line.run(build_parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
