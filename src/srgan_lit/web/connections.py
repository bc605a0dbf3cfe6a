"""Limits of connections: how long one may send or receive nothing, and how many one client may have.

uvicorn ends an idle connection only between two requests. One that never sends a request, or sends its head or an
unwanted body byte by byte, would stay open for ever.
"""

import asyncio
import ipaddress
from collections.abc import Sequence
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

MOST = 200  # at the same time
MOST_PER_CLIENT = 40  # browsers open 6 to a server
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def protocol(*, seconds: float, proxies: Sequence[Network]) -> type[H11Protocol]:
    """A class of connections, for uvicorn's ``http``.

    Args:
        seconds: after which a connection ends if no whole request head has arrived, or no part of an answer was
            received. Bodies have no limit here: what reads them sets one.
        proxies: addresses that may have any number of connections, since they speak for many clients.
    """

    class Connection(H11Protocol):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._head_timer: asyncio.TimerHandle | None = None
            self._write_timer: asyncio.TimerHandle | None = None
            address = self.client[0] if self.client else ""
            same = sum(
                isinstance(other, Connection) and other.client is not None and other.client[0] == address
                for other in self.connections
            )
            if same > MOST_PER_CLIENT and not is_one_of(address, proxies):
                message = b"too many connections from this address"
                head = f"HTTP/1.1 429 Too Many Requests\r\nConnection: close\r\nContent-Length: {len(message)}\r\n\r\n"
                transport.write(head.encode("ascii") + message)
                transport.close()
                return
            self._await_head()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            for timer in (self._head_timer, self._write_timer):
                if timer:
                    timer.cancel()

        def handle_events(self) -> None:
            before = self.cycle
            super().handle_events()
            if self.cycle is not before and self._head_timer:  # a request has begun
                self._head_timer.cancel()
                self._head_timer = None

        def on_response_complete(self) -> None:
            self._await_head()  # before the next one, which may have arrived already
            super().on_response_complete()

        def _await_head(self) -> None:
            if self._head_timer is None:
                self._head_timer = self.loop.call_later(seconds, self.transport.abort)

        def pause_writing(self) -> None:
            super().pause_writing()
            self._write_timer = self.loop.call_later(seconds, self.transport.abort)

        def resume_writing(self) -> None:
            super().resume_writing()
            if self._write_timer:
                self._write_timer.cancel()
                self._write_timer = None

    return Connection


def is_one_of(address: str, networks: Sequence[Network]) -> bool:
    """Whether ``address`` lies in one of ``networks``."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in networks)
