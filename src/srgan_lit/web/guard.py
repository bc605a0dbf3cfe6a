"""Which requests are answered: for a name of this machine, from the page itself, with the password.

A request that another site's page sends is refused by its ``Origin``. One for a name that this machine does not have is
refused by its ``Host``: an attacker can let a name of theirs point here.
"""

import asyncio
import base64
import binascii
import ipaddress
import re
import secrets
import socket
from collections.abc import Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEALTH = "/health"  # for what supervises containers: needs no password, and holds no file names
_HOST = re.compile(r"(?:(?P<name>[A-Za-z0-9._-]+)|\[(?P<address>[0-9A-Fa-f:.]+)\])(?::[0-9]{1,5})?")
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self' data:; style-src 'self'; script-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_CHALLENGE = {"WWW-Authenticate": 'Basic realm="srgan_lit: any user name, and the password", charset="UTF-8"'}


class Guard:
    """Refuses foreign ``Host`` and ``Origin`` and wrong passwords; adds the headers that every answer carries.

    Args:
        app: what is guarded.
        hosts: names that the page is reached by, besides addresses and the machine's own names.
        password: asked for by HTTP's Basic scheme, with any user name; or None.
    """

    def __init__(self, app: ASGIApp, *, hosts: Sequence[str], password: str | None) -> None:
        self.app = app
        name = socket.gethostname().lower()
        self.names = {*(host.lower() for host in hosts), "localhost", name, f"{name}.local"}
        self.password = password.encode() if password is not None else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        started = False

        async def send_guarded(message: Message) -> None:
            nonlocal started
            started = True
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        headers = Headers(scope=scope)
        answer = self.app
        if refusal := self._refusal(scope["method"], scope["scheme"], headers):
            answer = JSONResponse({"error": refusal}, 403)
        elif scope["path"] != HEALTH and not self._knows_password(headers.get("authorization", "")):
            answer = JSONResponse({"error": "the password is wrong or missing"}, 401, _CHALLENGE)
        try:
            await answer(scope, receive, send_guarded)
        except asyncio.CancelledError:  # the page is ended, and waits no longer
            if not started:
                await JSONResponse({"error": "this page has been ended"}, 503)(scope, receive, send_guarded)

    def _refusal(self, method: str, scheme: str, headers: Headers) -> str:
        """Why a request is refused; "" if it is not."""
        host = headers.get("host", "")
        match = _HOST.fullmatch(host)
        if match is None:
            return "unreadable Host"
        name = (match["address"] or match["name"]).lower()
        if name not in self.names and not _is_address(name):
            return f"this page is not called {name}: open it by its address, or start it with --allow-host {name}"
        origin = headers.get("origin", f"{scheme}://{host}")
        if method not in ("GET", "HEAD") and origin != f"{scheme}://{host}":
            if origin.partition("://")[2] == host:
                came = origin.partition("://")[0]
                return f"the page is on {came} and this came by {scheme}: a proxy between needs --trust-proxy"
            return "another site's page may not ask for this"
        return ""

    def _knows_password(self, authorization: str) -> bool:
        if self.password is None:
            return True
        scheme, _, encoded = authorization.partition(" ")
        try:
            _, _, password = base64.b64decode(encoded, validate=True).partition(b":")
        except (binascii.Error, ValueError):
            return False
        return scheme.lower() == "basic" and secrets.compare_digest(password, self.password)


def _is_address(name: str) -> bool:
    """Whether ``name`` is an IP address, which nobody can let point elsewhere."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
