"""Which requests are answered: for a name of this machine, from the page itself, with the password.

A request that another site's page sends is refused by its ``Origin``. One for a name that this machine does not have is
refused by its ``Host``: an attacker can let a name of theirs point here.
"""

import asyncio
import base64
import binascii
import hashlib
import ipaddress
import logging
import re
import secrets
import socket
import time
from collections import Counter
from collections.abc import Sequence
from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, Response
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
_ACCESS = logging.getLogger("srgan_lit.web.access")
_SECRET = re.compile(r"[A-Za-z0-9_-]{16,}")  # whoever knows the name of a job or batch may fetch its pictures
_MOST_WRONG = 10  # wrong passwords of one client that wait for their answers, one second after the other
_CHALLENGE = {"WWW-Authenticate": 'Basic realm="srgan_lit: any user name, and the password", charset="UTF-8"'}


class Guard:
    """Refuses foreign ``Host`` and ``Origin`` and wrong passwords; adds the headers that every answer carries.

    Each answer is logged and counted. One client's wrong passwords are answered one by one, a second after another.

    Args:
        app: what is guarded.
        hosts: names that the page is reached by, besides addresses and the machine's own names.
        password: asked for by HTTP's Basic scheme, with any user name; or None.
        answers: counts them by their status.
    """

    def __init__(
        self, app: ASGIApp, *, hosts: Sequence[str], password: str | None, answers: Counter[int] | None = None
    ) -> None:
        self.app = app
        self.answers: Counter[int] = Counter() if answers is None else answers
        self._wrong: Counter[str] = Counter()  # passwords of a client whose answers wait
        name = socket.gethostname().lower()
        self.names = {*(host.lower() for host in hosts), "localhost", name, f"{name}.local"}
        self.password = _digest(password.encode()) if password is not None else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        status = size = 0
        began = time.monotonic()
        client = scope["client"][0] if scope.get("client") else ""

        async def send_guarded(message: Message) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message).update(_HEADERS)
            size += len(message.get("body", b""))
            await send(message)

        headers = Headers(scope=scope)
        try:
            answer = self.app
            if refusal := self._refusal(scope["method"], scope["scheme"], headers):
                answer = JSONResponse({"error": refusal}, 403)
            elif scope["path"] != HEALTH and (wrong := await self._without_password(client, headers)):
                answer = wrong
            await answer(scope, receive, send_guarded)
        except asyncio.CancelledError:  # the page is ended, and waits no longer
            if not status:
                await JSONResponse({"error": "this page has been ended"}, 503)(scope, receive, send_guarded)
        finally:
            self.answers[status] += 1
            path = _SECRET.sub(lambda found: f"{found[0][:4]}...", quote(scope["path"]))
            seconds = time.monotonic() - began
            _ACCESS.info("%s %s %s %d %d %.3f", quote(client, ":"), scope["method"], path, status, size, seconds)

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

    async def _without_password(self, client: str, headers: Headers) -> Response | None:
        """The answer to a request whose password is missing or wrong; None where it is right."""
        if self.password is None:
            return None
        given = headers.get("authorization", "")
        if given and self._wrong[client] >= _MOST_WRONG:  # not even looked at
            return JSONResponse({"error": "too many wrong passwords of this address: wait a little"}, 429)
        if secrets.compare_digest(_digest(_password_of(given)), self.password):
            return None
        if given:
            self._wrong[client] += 1
            try:
                await asyncio.sleep(self._wrong[client])
            finally:
                self._wrong[client] -= 1
                self._wrong += Counter()  # forgets those without any
        return JSONResponse({"error": "the password is wrong or missing"}, 401, _CHALLENGE)


def _password_of(authorization: str) -> bytes:
    """What HTTP's Basic scheme gives; nothing where it is another, or unreadable."""
    scheme, _, encoded = authorization.partition(" ")
    try:
        _, _, password = base64.b64decode(encoded, validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return b""
    return password if scheme.lower() == "basic" else b""


def _digest(password: bytes) -> bytes:
    """Of one length, whatever the password's: comparing takes the same time for each."""
    return hashlib.sha256(password).digest()


def _is_address(name: str) -> bool:
    """Whether ``name`` is an IP address, which nobody can let point elsewhere."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
