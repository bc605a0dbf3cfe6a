"""A page that runs in a process of its own, and pictures to send to it."""

import base64
import contextlib
import http.client
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import numpy as np
from PIL import Image

from helpers import warm_python


def drawn(height: int, width: int, channels: int = 3) -> np.ndarray:
    small = np.random.default_rng(0).integers(0, 256, (2 + height // 8, 2 + width // 8, channels), dtype=np.uint8)
    planes = [Image.fromarray(small[..., c]).resize((width, height), Image.Resampling.BICUBIC) for c in range(channels)]
    return np.stack([np.asarray(plane) for plane in planes], axis=-1)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


SMALL = encoded(Image.fromarray(drawn(20, 30)))
# Many short steps and several seconds for the generator in the box.
LONG = encoded(
    Image.new("L", (100, 100)),
    "GIF",
    save_all=True,
    append_images=[Image.new("L", (100, 100), n) for n in range(1, 45)],
)


def until(condition: Callable[[], Any], seconds: float = 60) -> Any:
    """What ``condition`` gives as soon as it is true."""
    for _ in range(int(seconds / 0.02)):
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds} s")


def basic(password: str, user: str = "anyone") -> dict[str, str]:
    """The headers that give a password."""
    return {"Authorization": f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"}


class Server:
    """A running server: its process, where it listens, and the folder in which it keeps what it has."""

    model = "srgan"

    def __init__(self, process: subprocess.Popen[str], temporary: Path) -> None:
        self.process, self.temporary = process, temporary
        assert process.stdout is not None
        self.url = process.stdout.readline().split()[0]
        self.port = urlsplit(self.url).port or 0
        self.path = urlsplit(self.url).path.rstrip("/")
        self.headers: dict[str, str] = {}

    def connection(self, sender: str) -> http.client.HTTPConnection:
        """A new one, from the address ``sender``, or any."""
        source = (sender, 0) if sender else None
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60, source_address=source)

    def ask(
        self, method: str, path: str, body: Any = None, *, headers: dict[str, str] | None = None, sender: str = ""
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        """``sender`` is another address of this machine to ask from."""
        with contextlib.closing(self.connection(sender)) as connection:
            connection.request(method, self.path + path, body, self.headers | (headers or {}))
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()

    def send(self, content: Any, **query: str) -> tuple[int, dict[str, Any]]:
        status, _, body = self.ask("POST", f"/jobs?{urlencode(query)}", content)
        return status, json.loads(body)

    def status(self, job: str) -> dict[str, Any]:
        return json.loads(self.ask("GET", f"/jobs/{job}")[2])

    def finished(self, job: str) -> dict[str, Any]:
        until(lambda: self.status(job)["state"] in ("done", "failed"))
        return self.status(job)

    def enlarged(self, content: bytes, **query: str) -> tuple[str, bytes]:
        """The name and the content of the download."""
        code, job = self.send(content, **query)
        assert code == 201, job
        found = self.finished(job["id"])
        assert found["state"] == "done", found
        code, headers, result = self.ask("GET", f"/jobs/{job['id']}/result")
        assert code == 200
        assert len(result) == found["bytes"]
        assert headers["Content-Disposition"].startswith("attachment; ")
        return found["name"], result

    def kept(self) -> list[str]:
        """Every file that the server has, below its own temporary folder."""
        [folder] = self.temporary.iterdir()
        return [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]


@contextlib.contextmanager
def serving(folder: Path, *options: str, stderr: str = "") -> Iterator[Server]:
    """A server with ``options``; at the end it has kept nothing, and said ``stderr``."""
    temporary = folder / "temporary"
    temporary.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"TMPDIR": str(temporary), "OMP_NUM_THREADS": "1", "WARM_CHILDREN": "1"}
    command = [sys.executable, "-m", "srgan_lit.app", "--port", "0", *options]
    with (
        (folder / "stderr").open("w") as said,
        warm_python.Popen(command, stdout=subprocess.PIPE, stderr=said, text=True, env=environment) as process,
    ):
        try:
            yield Server(process, temporary)
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                assert process.wait(20) == 0
                assert not list(temporary.iterdir()), "nothing that was uploaded outlives the server"
                assert (folder / "stderr").read_text() == stderr
        finally:
            process.kill()
