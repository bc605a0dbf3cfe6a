"""The page over HTTP: who may ask, what is taken, what is answered. No pixels, no models.

The page is for the one who opens it: requests that another site's page sends are refused (``Origin``), and so
are names for this machine that it does not have (``Host``: an attacker's name may point here).
"""

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator, Callable
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import srgan_lit
from srgan_lit.common.errors import SRGANError
from srgan_lit.pages.render import read, render
from srgan_lit.pictures import formats
from srgan_lit.web.jobs import KEPT_SECONDS, Full, Job, Jobs, Options
from srgan_lit.web.work import Work

_STALL_SECONDS = 30  # between two pieces of an upload
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self' data:; style-src 'self'; script-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Guard:
    """Refuses foreign ``Host`` and ``Origin``, and adds the headers that every answer carries."""

    def __init__(self, app: ASGIApp, host: str) -> None:
        self.app = app
        name = socket.gethostname().lower()
        self.names = {host.lower(), "localhost", name, f"{name}.local"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        refusal = self._refusal(scope["method"], Headers(scope=scope))
        answer = JSONResponse({"error": refusal}, 403) if refusal else self.app
        await answer(scope, receive, send_guarded)

    def _refusal(self, method: str, headers: Headers) -> str:
        host = headers.get("host", "")
        try:
            name = urlsplit(f"//{host}").hostname or ""
            origin = urlsplit(headers.get("origin", f"//{host}")).netloc
        except ValueError:
            return "unreadable Host or Origin"
        if name not in self.names and not _is_address(name):
            return f"this page is not called {name}: open it by its address"
        if method not in ("GET", "HEAD") and origin != host:
            return "another site's page may not ask for this"
        return ""


def _is_address(name: str) -> bool:
    """Whether ``name`` is a number: no one can make that point elsewhere."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def build(jobs: Jobs, work: Work, *, host: str, max_bytes: int) -> Starlette:
    """The application. ``host`` is the name that it is reached by, besides addresses and the machine's own names."""
    style, script = read("report.css", "app.css"), read("comparison.js", "app.js")
    page = render(
        "app.html.j2",
        models=work.models,
        formats=[suffix[1:] for suffix in formats.BY_SUFFIX],
        max_bytes=max_bytes,
        max_pixels=work.max_pixels,
        minutes=KEPT_SECONDS // 60,
        version=srgan_lit.__version__,
    )

    def fixed(content: str, kind: str) -> Callable[[Request], Response]:
        return lambda _: Response(content, media_type=kind)

    checking = asyncio.Lock()  # some kinds of files are decoded for it: one at a time in memory

    def found(request: Request) -> Job:
        job = jobs.find(request.path_params["id"])
        if job is None:
            raise HTTPException(404, "this picture is not kept any more")
        return job

    async def create(request: Request) -> Response:
        pieces = _body(request, max_bytes)
        try:
            stem, suffix, options = _asked(request.query_params, work)
            with jobs.receiving(stem, suffix, options) as job:
                with job.source.open("wb") as file:
                    async for piece in pieces:
                        file.write(piece)
                async with checking:
                    await run_in_threadpool(work.check, job.source)
        except (SRGANError, OSError) as error:
            # A browser that still sends would take the end of the connection for an answer.
            async for _ in pieces:
                pass
            if isinstance(error, OSError):
                raise SRGANError(f"cannot be kept here ({error.strerror})") from error
            raise
        return JSONResponse(_status(job, jobs), 201)

    def status(request: Request) -> Response:
        return JSONResponse(_status(found(request), jobs))

    def remove(request: Request) -> Response:
        jobs.remove(found(request))
        return Response(status_code=204)

    def file(request: Request) -> Response:
        job = found(request)
        name = request.path_params["file"]
        if job.state != "done" or name not in ("before", "after", "result"):
            raise HTTPException(404, "no such file, or not yet")
        if name == "result":
            return FileResponse(job.result, filename=_result_name(job))
        return FileResponse(job.folder / f"{name}.png")

    return Starlette(
        routes=[
            Route("/", fixed(page, "text/html")),
            Route("/app.css", fixed(style, "text/css")),
            Route("/app.js", fixed(script, "text/javascript")),
            Route("/jobs", create, methods=["POST"]),
            Route("/jobs/{id}", status),
            Route("/jobs/{id}", remove, methods=["DELETE"]),
            Route("/jobs/{id}/{file}", file),
        ],
        middleware=[Middleware(Guard, host=host)],
        exception_handlers={HTTPException: _refused, SRGANError: _refused, ClientDisconnect: _refused},
    )


async def _refused(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 503 if isinstance(error, Full) else 400
    message = error.detail if isinstance(error, HTTPException) else str(error)
    # Where the rest of a body is not wanted, the connection ends with the answer, or it would be read all the same.
    return JSONResponse({"error": message}, status, {"Connection": "close"} if status in (408, 413) else None)


async def _body(request: Request, max_bytes: int) -> AsyncIterator[bytes]:
    """The body in pieces, never more than ``max_bytes``."""
    too_large = HTTPException(413, f"the file is over the limit of {max_bytes / 1e6:g} MB")
    if int(request.headers.get("content-length", 0)) > max_bytes:
        raise too_large
    received = 0
    stream = request.stream()
    while True:
        try:
            piece = await asyncio.wait_for(anext(stream, None), _STALL_SECONDS)
        except TimeoutError:
            raise HTTPException(408, f"nothing arrived for {_STALL_SECONDS} seconds") from None
        if piece is None:
            return
        received += len(piece)
        if received > max_bytes:
            raise too_large
        yield piece


def _asked(query: QueryParams, work: Work) -> tuple[str, str, Options]:
    """The picture's stem for people to read, the result's suffix, and the options."""
    known = {"name", "model", "fidelity", "match_input", "self_ensemble", "format"}
    if unknown := sorted(query.keys() - known):
        raise SRGANError(f"no such option: {unknown[0]}")
    model = query.get("model", next(iter(work.models)))
    if model not in work.models:
        raise SRGANError(f"no such model here: {model}")
    fidelity = None
    if "fidelity" in query:
        try:
            fidelity = float(query["fidelity"])
        except ValueError:
            fidelity = -1
        if not 0 <= fidelity <= 1:
            raise SRGANError("fidelity must be a number from 0 to 1")
        if not work.models[model]:
            raise SRGANError(f"{model} has no SRResNet beside it to blend with: leave fidelity out")
    flags = {}
    for name in ("match_input", "self_ensemble"):
        if query.get(name, "0") not in ("0", "1"):
            raise SRGANError(f"{name} must be 0 or 1")
        flags[name] = query.get(name) == "1"
    # A name is for people; no path is ever made of it.
    given = "".join(c for c in query.get("name", "").replace("\\", "/").rpartition("/")[2] if c.isprintable())
    stem, dot, ending = given.strip(". ").rpartition(".")
    suffix = f".{query['format']}" if "format" in query else f".{ending.lower()}" if dot else ""
    if suffix not in formats.BY_SUFFIX:
        if "format" in query:
            raise SRGANError(f"no such format: {query['format']}")
        suffix = ".png"
    return (stem if dot else ending)[:100] or "picture", suffix, Options(model=model, fidelity=fidelity, **flags)


def _result_name(job: Job) -> str:
    return f"{job.stem}_x{job.facts['scale']}{job.suffix}"


def _status(job: Job, jobs: Jobs) -> dict[str, object]:
    return {
        "id": job.id,
        "state": job.state,
        "ahead": jobs.ahead(job),
        "progress": job.progress,
        "error": job.error,
        **job.facts,
        "seconds": round(job.seconds, 1),
        "name": _result_name(job) if job.state == "done" else "",
    }
