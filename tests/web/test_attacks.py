"""What idle, slow and killed processes may do to the page: a real server, attacked from several addresses."""

import contextlib
import http.client
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from helpers import page_server, warm_python
from helpers.page_server import SMALL, Server, until
from srgan_lit.web.private_folder import PrivateFolder

pytest.importorskip("uvicorn", reason="the extra app is not installed")
pytest.importorskip("starlette", reason="the extra app is not installed")

OTHER = "127.0.0.2"  # another client
needs_addresses = pytest.mark.skipif(sys.platform != "linux", reason="127.0.0.2 is this machine's on Linux")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    options = ["--timeout", "2", "--max-queue", "6", "--max-per-client", "4", "--model", "bicubic"]
    with page_server.serving(tmp_path_factory.mktemp("attacked"), *options) as server:
        yield server


def connected(server: Server, sender: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=30, source_address=(sender, 0))


def ended(connection: socket.socket) -> bool:
    """Whether the server has ended it."""
    try:
        if not select.select([connection], [], [], 0)[0]:
            return False
        return not connection.recv(65536)
    except ConnectionError:
        return True


def head(length: int, extra: str = "") -> bytes:
    return f"POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n{extra}\r\n".encode()


# --- connections --------------------------------------------------------------------------------------------------


@needs_addresses
def test_idle_connections_starve_nobody_and_are_ended(server: Server) -> None:
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(connected(server)) for _ in range(210)]
        status, _, _ = server.ask("GET", "/", sender=OTHER)
        assert status == 200, "another client is served all the while"
        until(lambda: all(map(ended, idle)))
    assert server.ask("GET", "/")[0] == 200


@pytest.mark.parametrize("start", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: localhost\r\n"])
def test_a_head_that_drips_is_ended(server: Server, start: bytes) -> None:
    with connected(server) as connection:
        connection.sendall(start)

        def drips() -> bool:
            with contextlib.suppress(ConnectionError):
                connection.sendall(b"X" if not start.endswith(b"\n") else b"X: y\r\n")
            time.sleep(0.1)
            return ended(connection)

        until(drips)


def test_a_body_that_nobody_wants_cannot_drip_for_ever(server: Server) -> None:
    with connected(server) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n")

        def drips() -> bool:
            with contextlib.suppress(ConnectionError):
                connection.sendall(b"X")
            time.sleep(0.1)
            return ended(connection)

        until(drips)


def test_an_answer_that_is_not_taken_is_ended(server: Server) -> None:
    _, job = server.send(page_server.encoded(page_server.Image.fromarray(page_server.drawn(900, 900))), format="bmp")
    assert server.finished(job["id"])["bytes"] > 30_000_000, "more than the system's buffers take"
    path = f"/jobs/{job['id']}/result"
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request("GET", path)

    def held() -> bool:
        process = Path(f"/proc/{server.process.pid}/fd")
        return any("result.bmp" in str(link.readlink()) for link in process.iterdir() if link.is_symlink())

    if sys.platform == "linux":
        until(held)
        until(lambda: not held())
    with contextlib.closing(connection), pytest.raises((http.client.IncompleteRead, ConnectionError)):
        connection.getresponse().read()
    assert len(server.ask("GET", path)[2]) > 30_000_000, "who takes it has it all"
    server.ask("DELETE", f"/jobs/{job['id']}")


# --- uploads ------------------------------------------------------------------------------------------------------


@needs_addresses
@pytest.mark.parametrize("length", [100_000, None])
def test_uploads_that_drip_starve_nobody_and_are_ended(server: Server, length: int | None) -> None:
    start = head(length) if length else head(0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(connected(server)) for _ in range(16)]
        for connection in slow:
            connection.sendall(start)
        over = threading.Event()

        def drip() -> None:
            while not over.wait(0.5):  # more often than the limit for nothing at all
                for connection in slow:
                    with contextlib.suppress(OSError):
                        connection.sendall(b"X" if length else b"1\r\nX\r\n")

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            assert server.ask("POST", "/jobs", SMALL, sender=OTHER)[0] == 201, "another client is served all the while"
            answers = set()
            for connection in slow:
                answer = b""
                with contextlib.suppress(ConnectionError):
                    while b"\r\n\r\n" not in answer and (piece := connection.recv(65536)):
                        answer += piece
                answers.add(answer.split(b" ")[1] if answer else b"")
        finally:
            over.set()
            thread.join()
        assert b"408" in answers
        assert answers <= {b"408", b""}, answers  # those over the limit are read to their end before they are told
    until(lambda: server.send(SMALL)[0] == 201)


def test_uploads_over_the_limit_of_one_address_are_told_to_wait(server: Server) -> None:
    def refused() -> bool:
        with contextlib.ExitStack() as stack:
            for _ in range(4):
                stack.enter_context(connected(server)).sendall(head(100_000))
            code, answer = server.send(SMALL, model="bicubic")
        return code == 429 and "of this address" in answer["error"]

    until(refused)  # the four have been received within the time that an upload may say nothing
    until(lambda: server.send(SMALL)[0] == 201)


# --- what kills leave ---------------------------------------------------------------------------------------------


def test_leftovers_of_a_kill_go_with_the_next_start_and_live_ones_stay(tmp_path: Path) -> None:
    with page_server.serving(tmp_path, "--model", "bicubic") as alive, page_server.serving(tmp_path) as killed:
        killed.send(SMALL)
        [before, other] = sorted(alive.temporary.iterdir())
        killed.process.send_signal(signal.SIGKILL)
        killed.process.wait()
        (tmp_path / "temporary" / "srgan-app-file").write_text("not a folder: not ours")
        (tmp_path / "temporary" / "srgan-app-link").symlink_to(tmp_path)
        with page_server.serving(tmp_path / "another", "--data-dir", str(alive.temporary)):
            folders = [path for path in alive.temporary.iterdir() if path.is_dir() and not path.is_symlink()]
            assert len(folders) == 2, "that of the living one, and the new one"
            assert len({before, other} & set(folders)) == 1
        assert alive.enlarged(SMALL)
        assert tmp_path.is_dir()
        (tmp_path / "temporary" / "srgan-app-file").unlink()
        (tmp_path / "temporary" / "srgan-app-link").unlink()


def test_folders_that_begin_at_once_do_not_remove_each_other(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from srgan_lit.web.private_folder import PrivateFolder\n"
        "with PrivateFolder(Path(sys.argv[1])) as folder:\n"
        "    print(folder.path(), flush=True); sys.stdin.readline(); print(folder.path(), flush=True)"
    )
    processes = [
        warm_python.Popen(
            [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(8)
    ]
    first = []
    for process in processes:
        assert process.stdout
        first.append(process.stdout.readline())
    assert sorted(str(path) + "\n" for path in tmp_path.iterdir()) == sorted(first)
    assert all(path.stat().st_mode & 0o777 == 0o700 for path in tmp_path.iterdir())
    assert [process.communicate("\n")[0] for process in processes] == first
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_tidied_away_is_made_anew(tmp_path: Path) -> None:
    with page_server.serving(tmp_path, "--model", "bicubic") as server:
        _, job = server.send(SMALL)
        server.finished(job["id"])
        [folder] = server.temporary.iterdir()
        shutil.rmtree(folder)
        assert server.ask("GET", f"/jobs/{job['id']}/result")[0] == 404
        assert server.enlarged(SMALL)[0] == "picture_x4.png"
        [new] = server.temporary.iterdir()
        assert new != folder
        assert new.stat().st_mode & 0o777 == 0o700
        assert json.loads(server.ask("GET", "/health")[2])["status"] == "ok"


def test_a_folder_that_many_find_missing_at_once_is_made_once(tmp_path: Path) -> None:
    before = len(list(Path("/dev/fd").iterdir()))
    with PrivateFolder(tmp_path) as folder, ThreadPoolExecutor(8) as threads:
        for _ in range(30):
            shutil.rmtree(folder.path())
            assert len(set(threads.map(lambda _: folder.path(), range(8)))) == 1
        assert len(list(tmp_path.iterdir())) == 1
    assert len(list(Path("/dev/fd").iterdir())) == before


def test_another_users_folder_of_the_same_name_is_not_used(tmp_path: Path) -> None:
    with PrivateFolder(tmp_path) as folder:
        first = folder.path()
        first.rmdir()
        first.mkdir()  # by somebody else
        assert folder.path() != first
        (first / "theirs").write_text("stays")
    assert (first / "theirs").exists()
    if os.geteuid() == 0:
        os.chown(first, 65534, 65534)
        with PrivateFolder(tmp_path):
            assert (first / "theirs").exists(), "a leftover of another user's is not ours to remove"
