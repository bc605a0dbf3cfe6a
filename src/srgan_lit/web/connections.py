"""Connections to the page: how long each may say or take nothing, and how many one client may have.

uvicorn ends an idle connection only between two requests. A connection that never sends one, or a head or an
unwanted body byte by byte, would be kept for ever.
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
    """What uvicorn takes as ``http``: connections that end after ``seconds`` without a step forward.

    A step is a whole head of a request, or a part of an answer that is taken. Bodies are read by whoever wants them,
    who sets a limit. ``proxies`` may have any number of connections: they speak for many clients.
    """

    class Connection(H11Protocol):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._head: asyncio.TimerHandle | None = None
            self._taken: asyncio.TimerHandle | None = None
            address = self.client[0] if self.client else ""
            same = sum(
                isinstance(other, Connection) and other.client is not None and other.client[0] == address
                for other in self.connections
            )
            if same > MOST_PER_CLIENT and not is_one_of(address, proxies):
                said = b"too many connections from this address"
                head = f"HTTP/1.1 429 Too Many Requests\r\nConnection: close\r\nContent-Length: {len(said)}\r\n\r\n"
                transport.write(head.encode("ascii") + said)
                transport.close()
                return
            self._await_head()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            for timer in (self._head, self._taken):
                if timer:
                    timer.cancel()

        def handle_events(self) -> None:
            before = self.cycle
            super().handle_events()
            if self.cycle is not before and self._head:  # a request has begun
                self._head.cancel()
                self._head = None

        def on_response_complete(self) -> None:
            self._await_head()  # before the next one, which may have arrived already
            super().on_response_complete()

        def _await_head(self) -> None:
            if self._head is None:
                self._head = self.loop.call_later(seconds, self.transport.abort)

        def pause_writing(self) -> None:
            super().pause_writing()
            self._taken = self.loop.call_later(seconds, self.transport.abort)

        def resume_writing(self) -> None:
            super().resume_writing()
            if self._taken:
                self._taken.cancel()
                self._taken = None

    return Connection


def is_one_of(address: str, networks: Sequence[Network]) -> bool:
    """Whether ``address`` lies in one of ``networks``."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in networks)
