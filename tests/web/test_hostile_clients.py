"""What files and requests may do to the page that others use: a real server."""

import asyncio
import contextlib
import io
import json
import re
import signal
import socket
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from helpers import page_server
from helpers.many_pages import tiff
from helpers.page_server import LONG, SMALL, Server, until

pytest.importorskip("uvicorn", reason="the extra app is not installed")
pytest.importorskip("starlette", reason="the extra app is not installed")

from starlette.applications import Starlette
from starlette.datastructures import Headers

from srgan_lit.web import guard


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


# --- names --------------------------------------------------------------------------------------------------------


def test_names_in_a_zip_are_those_of_files_on_every_system(server: Server) -> None:
    batch = "n" * 20
    names = [
        "con.a.png",
        "LPT1..png",
        "../../x.png",
        "a\r\nb.png",
        "\u202egnp.exe.png",
        "\u96ea" * 300 + ".png",
        "<img onerror=x>.png",
    ]
    for name in names:
        server.enlarged(SMALL, name=name, batch=batch)
    with zipfile.ZipFile(io.BytesIO(server.ask("GET", f"/batches/{batch}")[2])) as archive:
        found = archive.namelist()
    assert sorted(found) == sorted(
        [
            "_con.a_x4.png",
            "_LPT1._x4.png",
            "x_x4.png",
            "ab_x4.png",
            "gnp.exe_x4.png",
            "\u96ea" * 66 + "_x4.png",
            "_img onerror=x__x4.png",
        ]
    )
    assert all(len(name.encode()) < 255 for name in found)


# --- many clients -------------------------------------------------------------------------------------------------


def test_fifty_clients_and_a_slow_one_all_get_theirs(server: Server) -> None:
    expected = server.enlarged(SMALL)[1]
    results: list[bytes] = []

    def one(number: int) -> None:
        sender = f"127.0.1.{number}"

        def taken() -> str | None:
            code, _, body = server.ask("POST", "/jobs?model=bicubic", SMALL, sender=sender)
            assert code in (201, 503), body
            return json.loads(body)["id"] if code == 201 else None

        path = f"/jobs/{until(taken, 300)}"
        until(lambda: json.loads(server.ask("GET", path, sender=sender)[2])["state"] == "done", 300)
        results.append(server.ask("GET", f"{path}/result", sender=sender)[2])

    def slow() -> None:
        with socket.create_connection(("127.0.0.1", server.port), timeout=300) as raw:
            raw.sendall(f"POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(SMALL)}\r\n\r\n".encode())
            for at in range(0, len(SMALL), 200):
                raw.sendall(SMALL[at : at + 200])
                time.sleep(0.2)
            results.append(expected if b" 201 " in raw.recv(100) else b"")

    threads = [threading.Thread(target=slow)]
    threads[0].start()
    until(lambda: json.loads(server.ask("GET", "/health")[2])["receiving"] == 1)
    threads += [threading.Thread(target=one, args=(number,)) for number in range(1, 51)]
    for thread in threads[1:]:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 51


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for memory")
def test_memory_is_flat_over_two_hundred_pictures(server: Server) -> None:
    def memory() -> int:
        mine = [psutil.Process(server.process.pid), *children(server)]
        return sum(process.memory_info().rss for process in mine)

    pictures = [SMALL, page_server.encoded(page_server.Image.fromarray(page_server.drawn(90, 120)), "JPEG")]
    measured = []
    for number in range(200):
        server.enlarged(pictures[number % 2], name="a.png")
        measured.append(memory())
    assert max(measured[150:]) - max(measured[50:100]) < 16 * 2**20


# --- who may use it, and what is written down ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Path]]:
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "password").write_text("correct: horse battery\n")
    options = ["--model", "bicubic", "--trust-proxy", "127.0.0.1", "--max-per-client", "1"]
    options += ["--password-file", str(folder / "password"), "--access-log", str(folder / "access.log")]
    with page_server.serving(folder, *options) as server:
        server.headers = page_server.basic("correct: horse battery")
        yield server, folder / "access.log"


def test_passwords_are_guessed_one_in_a_second_and_others_do_not_wait(guarded: tuple[Server, Path]) -> None:
    server, _ = guarded
    answers: list[int] = []

    def guess(number: int) -> None:
        answers.append(server.ask("GET", "/", headers=page_server.basic(f"guess {number:08}"), sender="127.0.2.1")[0])

    began = time.monotonic()
    threads = [threading.Thread(target=guess, args=(number,)) for number in range(30)]
    for thread in threads:
        thread.start()
    until(lambda: len(answers) >= 15)  # those that are not looked at are told so at once
    assert server.ask("GET", "/", sender="127.0.2.2")[0] == 200, "the right one, from elsewhere"
    for thread in threads:
        thread.join()
    looked_at = answers.count(401)
    assert looked_at + answers.count(429) == 30
    assert 1 <= looked_at <= 10 + (time.monotonic() - began), answers
    assert server.ask("GET", "/", sender="127.0.2.1")[0] == 200, "nobody is locked out"


def test_no_password_is_compared_longer_than_another(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[int, int]] = []
    compare = guard.secrets.compare_digest
    monkeypatch.setattr(
        guard.secrets, "compare_digest", lambda a, b: compared.append((len(a), len(b))) or compare(a, b)
    )
    asked = guard.Guard(Starlette(), hosts=[], password="correct: horse battery")
    monkeypatch.setattr(guard.asyncio, "sleep", lambda _: asyncio.Future())

    async def answer(password: str) -> object:
        headers = Headers(page_server.basic(password))
        with contextlib.suppress(TimeoutError):
            return await asyncio.wait_for(asked._without_password("x", headers), 0.05)
        return "waits"

    said = [
        asyncio.run(answer(each)) for each in ("", "c", "correct: horse batterx", "x" * 9999, "correct: horse battery")
    ]
    assert said == ["waits"] * 4 + [None]
    assert compared == [(32, 32)] * 5


def test_a_sender_that_a_proxy_names_is_the_last_that_no_proxy_is(guarded: tuple[Server, Path]) -> None:
    server, _ = guarded
    codes = []
    jobs = []
    for forged in ("198.51.100.1", "198.51.100.2", "unknown"):  # what the client itself sent, before the proxy's
        headers = {"X-Forwarded-For": f"{forged}, 192.0.2.7"}
        code, _, body = server.ask("POST", "/jobs?model=srresnet", LONG, headers=headers)
        codes.append(code)
        jobs += [json.loads(body)["id"]] if code == 201 else []
    other, _, body = server.ask("POST", "/jobs?model=srresnet", LONG, headers={"X-Forwarded-For": "192.0.2.8"})
    for job in [*jobs, json.loads(body)["id"]]:
        server.ask("DELETE", f"/jobs/{job}")
    assert codes == [201, 429, 429]
    assert other == 201
    code, _, _ = server.ask("GET", "/", headers={"X-Forwarded-For": "192.0.2.9"}, sender="127.0.2.3")
    assert code == 200


def test_answers_are_logged_without_what_others_may_not_know(guarded: tuple[Server, Path]) -> None:
    server, log = guarded
    name, _ = server.enlarged(SMALL, name="private name.png", batch="b" * 30)
    server.ask("GET", f"/batches/{'b' * 30}", headers={"X-Forwarded-For": '1.2.3.4 evil "x'})
    server.ask("GET", "/%0aevil")
    lines = until(lambda: (found := log.read_text().splitlines()) and "/%0Aevil" in found[-1] and found)
    fields = re.compile(r"\d{4}-\d\d-\d\dT[\d:]{8}[+-]\d{4} \S* [A-Z]+ /\S* \d{3} \d+ \d+\.\d{3}")
    assert all(fields.fullmatch(line) for line in lines)
    assert "private" in name
    assert not any("private" in line or "b" * 9 in line for line in lines)
    assert re.search(r"127.0.0.1 POST /jobs 201 \d+ ", "\n".join(lines))
    assert re.search(r"GET /jobs/[\w-]{4}\.\.\./result 200 \d+ ", "\n".join(lines))


def test_metrics_count_what_was_done(guarded: tuple[Server, Path]) -> None:
    server, _ = guarded

    def metrics() -> dict[str, float]:
        code, headers, body = server.ask("GET", "/metrics")
        assert (code, headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
        pairs = [line.rsplit(" ", 1) for line in body.decode().splitlines() if not line.startswith("#")]
        return {name: float(value) for name, value in pairs}

    until(lambda: metrics()['srgan_pictures{state="working"}'] == 0)
    before = metrics()
    server.enlarged(SMALL)
    server.send(SMALL[:-20] + b"x" * 20)
    after = metrics()

    def grown(name: str) -> float:
        return after[name] - before.get(name, 0)

    assert grown('srgan_pictures_total{end="done"}') == 1
    assert grown("srgan_input_pixels_total") >= 600
    assert grown('srgan_seconds_total{spent="working"}') > 0
    assert grown('srgan_answers_total{status="201"}') >= 1
    assert after["srgan_kept_bytes"] > 0
    assert after["srgan_healthy"] == 1
    assert server.ask("GET", "/metrics", headers={"Authorization": ""})[0] == 401
