"""The page over HTTP: routes, requests and answers. No pixels, no models."""

import asyncio
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route

import srgan_lit
from srgan_lit.common.errors import SRGANError
from srgan_lit.common.numbers import number, whole_number
from srgan_lit.pages.render import read, render
from srgan_lit.pictures import formats
from srgan_lit.upscaling.target_sizes import TargetSize
from srgan_lit.web import archive
from srgan_lit.web.guard import HEALTH, Guard
from srgan_lit.web.jobs import KEPT_SECONDS, Full, FullForClient, Job, Jobs, Options
from srgan_lit.web.work import Work

_BYTES_PER_SECOND = 16_000  # of an upload, on the mean; a telephone far from its mast sends as much
_BATCH = re.compile(r"[A-Za-z0-9_-]{16,64}")
_METRICS = "/metrics"  # for Prometheus and what reads its format; asks for the password
_DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9\xb9\xb2\xb3]) *\.", re.IGNORECASE)  # Windows'
_SIZES: dict[str, Callable[[str], float]] = {
    "scale": number,
    "width": whole_number,
    "height": whole_number,
    "max_side": whole_number,
    "megapixels": number,
}


def build(
    jobs: Jobs,
    work: Work,
    *,
    hosts: Sequence[str],
    password: str | None,
    base_path: str,
    max_bytes: int,
    seconds: float,
) -> Starlette:
    """The application.

    Args:
        jobs: the queue.
        work: what its thread does; knows the models.
        hosts: see ``Guard``.
        password: see ``Guard``.
        base_path: where the page is, with a slash at its beginning and none at its end; or empty.
        max_bytes: the largest upload.
        seconds: the longest pause of an upload, and the time after which its speed is judged.
    """
    style, script = read("report.css", "app.css"), read("comparison.js", "app.js")
    page = render(
        "app.html.j2",
        models=work.models,
        formats=[suffix[1:] for suffix in formats.BY_SUFFIX],
        written=[suffix[1:] for suffix in formats.WRITTEN],
        max_bytes=max_bytes,
        max_pixels=work.max_pixels,
        minutes=KEPT_SECONDS // 60,
        version=srgan_lit.__version__,
    )

    def fixed(content: str, kind: str) -> Callable[[Request], Response]:
        return lambda _: Response(content, media_type=kind)

    def requested(request: Request) -> Job:
        job = jobs.find(request.path_params["id"])
        if job is None:
            raise HTTPException(404, "this picture is not kept any more")
        return job

    async def create(request: Request) -> Response:
        pieces = _body(request, max_bytes, seconds)
        client = request.client.host if request.client else ""
        try:
            stem, suffix, options = _parse(request.query_params, work)
            batch = request.query_params.get("batch", "")
            if batch and not _BATCH.fullmatch(batch):
                raise SRGANError("batch must be 16 to 64 letters, digits, - and _, which nobody can guess")
            expected = min(int(request.headers.get("content-length", max_bytes)), max_bytes)
            with jobs.receiving(stem, suffix, options, client=client, batch=batch, expected=expected) as job:
                with job.source.open("wb") as file:
                    async for piece in pieces:
                        file.write(piece)
                job.pixels = await work.check(job.source)
        except (SRGANError, OSError) as error:
            # A browser reads no answer before it has sent all of its body.
            async for _ in pieces:
                pass
            if isinstance(error, OSError):
                raise SRGANError(f"cannot be kept here ({error.strerror})") from error
            raise
        return JSONResponse(_status(job, jobs), 201)

    def status(request: Request) -> Response:
        return JSONResponse(_status(requested(request), jobs))

    def remove(request: Request) -> Response:
        jobs.remove(requested(request))
        return Response(status_code=204)

    def file(request: Request) -> Response:
        job = requested(request)
        name = request.path_params["file"]
        if job.state != "done" or name not in ("before", "after", "result"):
            raise HTTPException(404, "no such file, or not yet")
        path = job.result if name == "result" else job.folder / f"{name}.png"
        if not path.is_file():  # removed by others than this page
            raise HTTPException(404, "this picture is not kept any more")
        return FileResponse(path, filename=_result_name(job) if name == "result" else None)

    def batch_archive(request: Request) -> Response:
        results = [(_result_name(job), job.result) for job in jobs.done_of(request.path_params["batch"])]
        if not results:
            raise HTTPException(404, "no results, or they are not kept any more")
        headers = {"Content-Disposition": 'attachment; filename="enlarged.zip"'}
        return StreamingResponse(archive.pieces(results), media_type="application/zip", headers=headers)

    def health(_: Request) -> Response:
        state = jobs.health()
        return JSONResponse(state, 200 if state["status"] == "ok" else 503)

    answers: Counter[int] = Counter()

    def metrics(_: Request) -> Response:
        return Response(_metrics(jobs, answers), media_type="text/plain; version=0.0.4")

    def wrong_path(_: Request) -> Response:
        raise HTTPException(404, f"this page is at {base_path}/: a proxy must pass paths on as they are")

    routes: list[BaseRoute] = [
        Route("/", fixed(page, "text/html")),
        Route("/app.css", fixed(style, "text/css")),
        Route("/app.js", fixed(script, "text/javascript")),
        Route("/jobs", create, methods=["POST"]),
        Route("/jobs/{id}", status),
        Route("/jobs/{id}", remove, methods=["DELETE"]),
        Route("/jobs/{id}/{file}", file),
        Route("/batches/{batch}", batch_archive),
    ]
    if base_path:
        # Relative, as every address in the page: it holds whatever scheme and name the page was opened by.
        to_page = RedirectResponse(f"{base_path.rpartition('/')[2]}/")
        routes = [
            Route(base_path, lambda _: to_page),
            Mount(base_path, routes=routes),
            Route("/{path:path}", wrong_path),
        ]
    return Starlette(
        routes=[Route(HEALTH, health), Route(_METRICS, metrics), *routes],
        middleware=[Middleware(Guard, hosts=hosts, password=password, answers=answers)],
        exception_handlers={HTTPException: _refused, SRGANError: _refused, ClientDisconnect: _refused},
    )


def _metrics(jobs: Jobs, answers: Counter[int]) -> str:
    """Counts and seconds in Prometheus' text format 0.0.4. No names, no addresses."""
    now, totals = jobs.health(), jobs.totals.copy()
    tables: dict[tuple[str, str, str], dict[str, float]] = {
        ("srgan_pictures", "gauge", "state"): {
            state: int(now[state]) for state in ("receiving", "waiting", "working", "done")
        },
        ("srgan_healthy", "gauge", ""): {"": int(now["status"] == "ok")},
        ("srgan_kept_bytes", "gauge", ""): {"": jobs.kept_bytes()},
        ("srgan_pictures_total", "counter", "end"): {
            end: totals[end] for end in ("done", "failed", "cancelled", "refused")
        },
        ("srgan_input_pixels_total", "counter", ""): {"": totals["pixels"]},
        ("srgan_seconds_total", "counter", "spent"): {spent: totals[spent] for spent in ("waiting", "working")},
        ("srgan_answers_total", "counter", "status"): {str(status): count for status, count in sorted(answers.items())},
    }
    lines = []
    for (name, kind, label), values in tables.items():
        lines.append(f"# TYPE {name} {kind}")
        lines += [f'{name}{{{label}="{key}"}} {value}' if label else f"{name} {value}" for key, value in values.items()]
    return "\n".join(lines) + "\n"


async def _refused(_: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        status = error.status_code
    else:
        status = 429 if isinstance(error, FullForClient) else 503 if isinstance(error, Full) else 400
    message = error.detail if isinstance(error, HTTPException) else str(error)
    # Without "close" the server would read the rest of a body that is refused.
    return JSONResponse({"error": message}, status, {"Connection": "close"} if status in (408, 413) else None)


async def _body(request: Request, max_bytes: int, seconds: float) -> AsyncIterator[bytes]:
    """The body in pieces.

    Raises:
        HTTPException: it is over ``max_bytes`` (413), pauses for ``seconds`` or arrives too slowly (408).
    """
    too_large = HTTPException(413, f"the file is over the limit of {max_bytes / 1e6:g} MB")
    if int(request.headers.get("content-length", 0)) > max_bytes:
        raise too_large
    received = 0
    stream = request.stream()
    end = time.monotonic() + seconds
    while True:
        left = end + received / _BYTES_PER_SECOND - time.monotonic()
        try:
            piece = await asyncio.wait_for(anext(stream, None), min(seconds, left))
        except TimeoutError:
            slow = f"nothing arrived for {seconds:g} seconds" if left > seconds else "it arrives too slowly"
            raise HTTPException(408, slow) from None
        if piece is None:
            return
        received += len(piece)
        if received > max_bytes:
            raise too_large
        yield piece


def _parse(query: QueryParams, work: Work) -> tuple[str, str, Options]:
    """The picture's stem for people to read, the result's suffix, and the options."""
    allowed = {"name", "model", "fidelity", "match_input", "self_ensemble", "format", "batch", *_SIZES}
    if unknown := sorted(query.keys() - allowed):
        raise SRGANError(f"no such option: {unknown[0]}")
    model = query.get("model", next(iter(work.models)))
    if model not in work.models:
        raise SRGANError(f"no such model here: {model}")
    fidelity = None
    if "fidelity" in query:
        try:
            fidelity = number(query["fidelity"])
        except ValueError:
            fidelity = -1
        if not 0 <= fidelity <= 1:
            raise SRGANError("fidelity must be a number from 0 to 1")
        if not work.models[model].blends:
            raise SRGANError(f"{model} has no SRResNet beside it to blend with: leave fidelity out")
    flags = {}
    for name in ("match_input", "self_ensemble"):
        if query.get(name, "0") not in ("0", "1"):
            raise SRGANError(f"{name} must be 0 or 1")
        flags[name] = query.get(name) == "1"
    size: dict[str, Any] = {}
    for name in _SIZES.keys() & query.keys():
        try:
            size[name] = _SIZES[name](query[name])
        except ValueError:
            raise SRGANError(f"{name} must be a number") from None
    # A name is for people; no path is ever made of it.
    file_name = "".join(c for c in query.get("name", "").replace("\\", "/").rpartition("/")[2] if c.isprintable())
    stem, dot, ending = file_name.strip(". ").rpartition(".")
    suffix = f".{query['format']}" if "format" in query else f".{ending.lower()}" if dot else ""
    if "format" not in query and suffix in formats.BY_SUFFIX:
        suffix = formats.BY_SUFFIX[suffix].becomes or suffix
    if suffix not in formats.WRITTEN:
        if "format" in query:
            raise SRGANError(f"no such format: {query['format']}")
        suffix = ".png"
    return (
        _for_files(stem if dot else ending) or "picture",
        suffix,
        Options(model=model, fidelity=fidelity, size=TargetSize(**size), **flags),
    )


def _for_files(stem: str) -> str:
    """As much of ``stem`` as every system can have in the name of a file."""
    stem = stem[:100].encode("utf-8", "ignore")[:200].decode("utf-8", "ignore")
    return f"_{stem}" if _DEVICE.match(stem) else stem


def _result_name(job: Job) -> str:
    size = job.options.size
    if size and size != TargetSize(scale=size.scale):
        addition = f"{job.facts['result_width']}x{job.facts['result_height']}"
    else:
        addition = f"x{size.scale or job.facts['scale']:g}"
    return f"{job.stem}_{addition}{job.suffix}"


def _status(job: Job, jobs: Jobs) -> dict[str, object]:
    left = None if job.ended else jobs.seconds_left(job)
    return {
        "id": job.id,
        "state": job.state,
        "ahead": jobs.ahead(job),
        "progress": job.progress,
        "seconds_left": None if left is None else round(left),
        "error": job.error,
        **job.facts,
        "choice": job.choice,
        "seconds": round(job.seconds, 1),
        "name": _result_name(job) if job.state == "done" else "",
    }
