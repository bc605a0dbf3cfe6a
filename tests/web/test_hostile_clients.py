"""What files and requests may do to the page that others use: a real server."""

import contextlib
import json
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from helpers import page_server
from helpers.many_pages import tiff
from helpers.page_server import LONG, SMALL, Server, until

pytest.importorskip("uvicorn", reason="the extra app is not installed")
pytest.importorskip("starlette", reason="the extra app is not installed")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with page_server.serving(tmp_path_factory.mktemp("hostile"), "--model", "bicubic") as server:
        yield server


def children(server: Server) -> set[psutil.Process]:
    """The processes that read and enlarge, and the one that they are forks of."""
    return set(psutil.Process(server.process.pid).children(recursive=True))


def runs(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE  # nobody may be there to reap it
    return False


@contextlib.contextmanager
def stuck(server: Server) -> Iterator[psutil.Process]:
    """A process that reads an upload, and that never ends."""
    before = children(server)

    def send() -> None:
        with contextlib.suppress(OSError, ValueError):  # no answer, since the page is ended
            server.send(tiff(9000))  # it takes a second to count them

    sending = threading.Thread(target=send)
    sending.start()
    [reader] = until(lambda: children(server) - before)
    reader.suspend()
    yield reader
    with contextlib.suppress(psutil.NoSuchProcess):
        reader.kill()
    sending.join()


# --- files --------------------------------------------------------------------------------------------------------


def test_a_hundred_thousand_pages_are_refused_and_others_are_served(server: Server) -> None:
    answers = []
    sending = threading.Thread(target=lambda: answers.append(server.send(tiff(100_000), name="a.tif")))
    sending.start()
    assert server.enlarged(SMALL)
    sending.join()
    [(code, answer)] = answers
    assert code == 400
    assert answer["error"] == "more than 10,000 frames or pages: cut it into several files"


def test_a_file_that_keeps_its_reader_for_ever_keeps_nobody_else(server: Server) -> None:
    with stuck(server) as reader:
        for _ in range(3):
            assert server.enlarged(SMALL)
        assert json.loads(server.ask("GET", "/health")[2])["receiving"] == 1
        assert reader.status() == psutil.STATUS_STOPPED
    until(lambda: json.loads(server.ask("GET", "/health")[2])["receiving"] == 0)


def test_who_removes_a_picture_ends_its_work_and_the_next_is_done(server: Server) -> None:
    _, long = server.send(LONG, model="srresnet")
    until(lambda: server.status(long["id"])["progress"] > 0)
    before = children(server)
    server.ask("DELETE", f"/jobs/{long['id']}")
    assert server.enlarged(SMALL)
    assert not before & children(server) <= before - children(server)


# --- requests -----------------------------------------------------------------------------------------------------

FOREIGN_FOUR = "\u0664"  # Arabic


HOSTS = ["evil.example\\@127.0.0.1", "evil.example@127.0.0.1", "user:x@localhost", "127.0.0.1/x", "127.0.0.1?x", "::1"]
HOSTS += ["127.0.0.1#x", "127.0.0.1:x", "127.0.0.1:", "127.0.0.1:80:80", "[127.0.0.1", "[::1]x", "loc\u00e4lhost"]


@pytest.mark.parametrize("host", [*HOSTS, f"127.0.0.1:{FOREIGN_FOUR}"])
def test_a_host_is_a_name_and_a_port_and_nothing_else(server: Server, host: str) -> None:
    with contextlib.closing(server.connection("")) as connection:
        connection.putrequest("GET", "/", skip_host=True)
        connection.putheader("Host", host.encode())
        connection.endheaders()
        assert connection.getresponse().status in (400, 403)


@pytest.mark.parametrize("name", ["width", "height", "max_side", "scale", "megapixels", "fidelity"])
@pytest.mark.parametrize("value", ["1_0", FOREIGN_FOUR, f"1{FOREIGN_FOUR}", " 4", "4 ", "nan", "inf", "0x4", ""])
def test_a_number_is_of_the_digits_0_to_9(server: Server, name: str, value: str) -> None:
    code, answer = server.send(SMALL, **{name: value, "model": "srgan"})
    assert code == 400
    assert f"{name} must be a number" in answer["error"]


# --- the end ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_whatever_runs_and_leaves_no_process(tmp_path: Path, number: signal.Signals) -> None:
    with page_server.serving(tmp_path) as server:
        server.send(LONG, model="srresnet")
        with stuck(server):
            until(lambda: json.loads(server.ask("GET", "/health")[2])["working"] == 1)
            mine = children(server)
            assert len(mine) >= 2
            server.process.send_signal(number)
            assert server.process.wait(10) == 0  # 3 seconds are promised, to a machine that has nothing else to do
            until(lambda: not any(map(runs, mine)))
    assert not list(server.temporary.iterdir())
