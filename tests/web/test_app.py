"""The page as its users meet it: a real server process, asked over HTTP, and a real browser."""

import asyncio
import contextlib
import functools
import gc
import io
import json
import re
import socket
import sys
import threading
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import imagecodecs
import numpy as np
import pytest
from PIL import Image, ImageCms

import srgan_lit.upscale
from helpers import foreign_networks, page_server
from helpers.page_server import LONG, SMALL, Server, drawn, encoded, until
from srgan_lit import Generator, app, save_generator
from srgan_lit.web import enlarging, jobs
from srgan_lit.web.limits import Held
from srgan_lit.web.preview import Preview

pytest.importorskip("uvicorn", reason="the extra app is not installed")
pytest.importorskip("starlette", reason="the extra app is not installed")

HOSTILE = "<img src=x onerror=\"document.title='run'\">&\"'"
MEGAPIXELS, MEGABYTES, QUEUE = 0.5, 2, 3


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("app")
    model = folder / 'run "<b>&'
    model.mkdir()
    for name in ("generator", "srresnet"):
        save_generator(model / f"{name}.safetensors", foreign_networks.randomised(Generator(blocks=1, features=8)))
    options = ["--model", str(model), "--max-megapixels", str(MEGAPIXELS), "--max-megabytes", str(MEGABYTES)]
    with page_server.serving(folder, *options, "--max-queue", str(QUEUE)) as server:
        server.model = str(model)
        yield server
        server.send(LONG, model="srresnet", name="long.gif")  # it ends while it works


# --- what comes out -----------------------------------------------------------------------------------------------


@functools.cache  # a colour profile holds the second in which it was made
def pictures() -> dict[str, bytes]:
    rotated = Image.Exif()
    rotated[0x0112], rotated[0x010F] = 6, "Maker"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image, clear = Image.fromarray(drawn(20, 30)), Image.fromarray(drawn(20, 30, 4))
    mirrored = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return {
        "clear.png": encoded(clear, icc_profile=profile, dpi=(72, 72)),
        "deep.png": imagecodecs.png_encode(drawn(20, 30).astype(np.uint16) * 257 + 5),
        "rotated.jpg": encoded(image, "JPEG", quality=95, exif=rotated, icc_profile=profile),
        "moving.gif": encoded(image, "GIF", save_all=True, append_images=[mirrored], duration=[90, 180], loop=2),
        "pages.tif": encoded(image, "TIFF", save_all=True, append_images=[image.resize((9, 40)).convert("L")]),
    }


@pytest.mark.parametrize(
    ("name", "query", "options"),
    [
        ("clear.png", {}, []),
        ("clear.png", {"fidelity": "0.25", "match_input": "1"}, ["--fidelity", "0.25", "--match-input"]),
        ("deep.png", {"self_ensemble": "1"}, ["--self-ensemble"]),
        ("deep.png", {"format": "tiff", "fidelity": "1"}, ["--format", "tiff", "--fidelity", "1"]),
        ("rotated.jpg", {}, []),
        ("moving.gif", {}, []),
        ("moving.gif", {"format": "webp"}, ["--format", "webp"]),
        ("pages.tif", {}, []),
        ("clear.png", {"scale": "2.5"}, ["--scale", "2.5"]),
        ("rotated.jpg", {"max_side": "50", "match_input": "1"}, ["--max-side", "50", "--match-input"]),
        ("moving.gif", {"megapixels": "0.002"}, ["--megapixels", "0.002"]),
    ],
)
def test_the_download_is_what_the_command_writes(
    server: Server, tmp_path: Path, name: str, query: dict[str, str], options: list[str]
) -> None:
    (tmp_path / name).write_bytes(pictures()[name])
    command = [str(tmp_path / name), "-o", str(tmp_path / "out"), "--model", server.model, *options]
    assert srgan_lit.upscale.main(command) == 0
    [expected] = (tmp_path / "out").iterdir()
    shown, result = server.enlarged(pictures()[name], name=name, model=server.model, **query)
    assert re.fullmatch(rf"{expected.stem}_(x4|x2\.5|\d+x\d+){expected.suffix}", shown)
    assert result == expected.read_bytes()


@pytest.mark.parametrize(
    ("query", "size", "name"),
    [
        ({"scale": "2"}, (60, 40), "a_x2.png"),
        ({"width": "75"}, (75, 50), "a_75x50.png"),
        ({"height": "20"}, (30, 20), "a_30x20.png"),
        ({"max_side": "90"}, (90, 60), "a_90x60.png"),
        ({"megapixels": "0.0006"}, (30, 20), "a_30x20.png"),
        ({"max_side": "9000"}, (120, 80), "a_120x80.png"),
    ],
)
def test_a_result_is_as_large_as_was_asked_for(
    server: Server, query: dict[str, str], size: tuple[int, int], name: str
) -> None:
    shown, result = server.enlarged(SMALL, name="a.png", model=server.model, **query)
    assert shown == name
    with Image.open(io.BytesIO(result)) as image:
        assert image.size == size


def test_the_automatic_model_is_what_the_command_takes_and_is_said(server: Server, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 12, (32, 40, 3))
    noisy = np.clip(drawn(32, 40) * 0.5 + 60 + noise, 0, 255).astype(np.uint8)
    content = encoded(Image.fromarray(noisy))
    (tmp_path / "a.png").write_bytes(content)
    assert srgan_lit.upscale.main([str(tmp_path / "a.png"), "-o", str(tmp_path / "out")]) == 0
    code, job = server.send(content, name="a.png", model="auto")
    assert code == 201
    assert re.fullmatch(r"everyday: noise of \d+\.\d levels", server.finished(job["id"])["choice"])
    assert server.ask("GET", f"/jobs/{job['id']}/result")[2] == (tmp_path / "out" / "a.png").read_bytes()
    code, job = server.send(SMALL, name="b.png", model=server.model)
    assert server.finished(job["id"])["choice"] == ""
    blended = server.enlarged(content, name="a.png", model="auto", fidelity="0.5")[1]
    assert blended == server.enlarged(content, name="a.png", model="everyday", fidelity="0.5")[1]


def test_more_than_the_model_makes_is_refused(server: Server) -> None:
    _, job = server.send(SMALL, model=server.model, scale="5")
    assert "5 times 30x20 pixels is more than this model makes" in server.finished(job["id"])["error"]


def test_results_of_a_page_come_together_as_a_zip(server: Server) -> None:
    batch, other = "a" * 16, "b" * 32
    expected = {}
    for name, becomes in {"a.png": "a_x4.png", "A.png": "A_x4 (2).png", "x:y?.gif": "x_y__x4.gif"}.items():
        content = pictures()["moving.gif"] if name.endswith("gif") else SMALL
        expected[becomes] = server.enlarged(content, name=name, model=server.model, batch=batch)[1]
    server.enlarged(SMALL, batch=other)
    code, headers, content = server.ask("GET", f"/batches/{batch}")
    assert (code, headers["Content-Type"]) == (200, "application/zip")
    assert headers["Content-Disposition"] == 'attachment; filename="enlarged.zip"'
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        assert {entry.filename: archive.read(entry) for entry in archive.infolist()} == expected
    assert server.ask("GET", f"/batches/{'c' * 16}")[0] == 404
    assert server.ask("GET", "/batches/")[0] == 404


def test_models_are_called_as_people_would(tmp_path: Path, server: Server) -> None:
    save_generator(tmp_path / "Old photos.safetensors", Generator(blocks=1, features=8))
    for run in ("runs/faces/2026-01-31_12-00-09", "runs/faces/2026-01-31_12-00-30"):
        (tmp_path / run).mkdir(parents=True)
        save_generator(tmp_path / run / "generator.safetensors", Generator(blocks=1, features=8))
    runs = [str(path) for path in sorted((tmp_path / "runs" / "faces").iterdir())]
    last = str(tmp_path / "runs" / "faces" / "2026-01-31_12-00-30" / "generator.safetensors")
    given = [str(tmp_path / "Old photos.safetensors"), *runs, last, "bicubic"]
    offered = enlarging.offers(lambda _: None, Held(), models=given, device="cpu")["models"]
    dated = "faces, trained 2026-01-31 at 12:00"
    assert [label for _, label, _ in offered] == [
        "Old photos",
        dated,
        f"{dated} ({runs[1]})",
        f"{dated}, generator.safetensors",
        "Plain: no network (bicubic)",
        "Automatic: looks at the picture",
        "Everyday: takes JPEG blocks and noise away (everyday)",
        "Everyday and faithful: takes blocks and noise away, adds nothing (everyday-faithful)",
        "Crisp: adds texture (srgan)",
        "Faithful: adds nothing and is softer (srresnet)",
        "Crisp, faster (srgan-fast)",
        "Faithful, faster (srresnet-fast)",
    ]
    assert b"Crisp: adds texture (srgan)" in server.ask("GET", "/")[2]


def test_the_slider_gets_upright_pictures_that_browsers_show(server: Server) -> None:
    for name, size in {"rotated.jpg": (20, 30), "deep.png": (30, 20), "pages.tif": (30, 20)}.items():
        _, job = server.send(pictures()[name], name=name)
        server.finished(job["id"])
        for which, scale in (("before", 1), ("after", 4)):
            code, headers, content = server.ask("GET", f"/jobs/{job['id']}/{which}")
            assert (code, headers["Content-Type"]) == (200, "image/png")
            with Image.open(io.BytesIO(content)) as image:
                assert image.size == (size[0] * scale, size[1] * scale)
                assert image.mode == "RGB"


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_preview_of_a_very_large_picture_is_shrunk_in_bands(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, channels: int
) -> None:
    monkeypatch.setattr("srgan_lit.web.preview.MOST_PIXELS", 1000)
    whole = drawn(100, 90, channels)
    preview = Preview(100, 90)
    for top, bottom in ((0, 1), (1, 40), (40, 41), (41, 100)):
        preview.add(whole[top:bottom].astype(np.uint16) * 257)
    preview.save(tmp_path / "shown.png", None)
    with Image.open(tmp_path / "shown.png") as shown:
        assert shown.size == (30, 33)
        expected = whole[:99].reshape(33, 3, 30, 3, channels).mean(axis=(1, 3))
        assert np.abs(np.asarray(shown).reshape(expected.shape) - expected).max() <= 1


# --- names --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "becomes"),
    [
        ("../../../etc/x.png", "x_x4.png"),
        ("C:\\Users\\me\\y.PNG", "y_x4.png"),
        (f"{HOSTILE}.png", f"{HOSTILE}_x4.png"),
        ("雪 ü.png", "雪 ü_x4.png"),
        ("a\r\nSet-Cookie: b\0.png", "aSet-Cookie: b_x4.png"),
        ("gnp.\u202eexe", "gnp_x4.png"),
        ("..", "picture_x4.png"),
        ("", "picture_x4.png"),
        (".hidden", "hidden_x4.png"),
        ("x" * 300 + ".png", "x" * 100 + "_x4.png"),
    ],
)
def test_names_are_for_people_and_make_no_paths(server: Server, name: str, becomes: str) -> None:
    _, job = server.send(SMALL, name=name)
    assert server.finished(job["id"])["name"] == becomes
    _, headers, _ = server.ask("GET", f"/jobs/{job['id']}/result")
    said = headers["Content-Disposition"]
    plain, _, encoded_name = said.partition("filename*=utf-8''")
    assert (unquote(encoded_name) if encoded_name else plain.split('"')[1]) == becomes
    assert headers["Set-Cookie"] is None
    [folder] = server.temporary.iterdir()
    assert {file.name for file in (folder / job["id"]).iterdir()} == {"before.png", "after.png", "result.png"}


def test_nothing_else_can_be_fetched(server: Server) -> None:
    _, job = server.send(SMALL)
    server.finished(job["id"])
    for path in (
        "/jobs/unknown",
        f"/jobs/{job['id']}/input",
        f"/jobs/{job['id']}/..%2f..%2f..%2fetc%2fpasswd",
        f"/jobs/..%2f{job['id']}/result",
        "/app.html.j2",
        "/../app.py",
    ):
        assert server.ask("GET", path)[0] == 404, path
    assert server.ask("DELETE", f"/jobs/{job['id']}")[0] == 204
    assert server.ask("GET", f"/jobs/{job['id']}/result")[0] == 404


# --- what is refused ----------------------------------------------------------------------------------------------


def header_of(width: int, height: int) -> bytes:
    return SMALL[:16] + width.to_bytes(4, "big") + height.to_bytes(4, "big") + SMALL[24:]


def frames(count: int) -> bytes:
    shades = [Image.new("L", (200, 100), number) for number in range(count)]
    return encoded(shades[0], "GIF", save_all=True, append_images=shades[1:], duration=50)


REFUSED_AT_ONCE = {
    "a text": (b"hello\n" * 50, {}, "not a readable picture"),
    "nothing": (b"", {}, "not a readable picture"),
    "another header's checksum": (header_of(50000, 50000), {}, "not a readable picture"),
    "too many pixels": (encoded(Image.new("1", (50000, 50000))), {}, "50000x50000 pixels are over the limit of 0.5"),
    "too many together": (frames(40), {}, "40 frames of 200x100 pixels are over the limit"),
    "another model": (SMALL, {"model": "../../secret"}, "no such model here"),
    "no pair": (SMALL, {"model": "srresnet", "fidelity": "0.5"}, "no SRResNet beside it"),
    "fidelity": (SMALL, {"fidelity": "nan"}, "from 0 to 1"),
    "a flag": (SMALL, {"match_input": "yes"}, "match_input must be 0 or 1"),
    "a format": (SMALL, {"format": "../x"}, "no such format"),
    "a size": (SMALL, {"width": "wide"}, "width must be a number"),
    "no size": (SMALL, {"scale": "0"}, "not between 0 and a million"),
    "two sizes": (SMALL, {"scale": "2", "width": "9"}, "give one of them"),
    "a batch": (SMALL, {"batch": "1"}, "batch must be 16 to 64"),
    "an option": (SMALL, {"tile": "1"}, "no such option: tile"),
}


@pytest.mark.parametrize("what", REFUSED_AT_ONCE)
def test_refused_at_once_in_one_line(server: Server, what: str) -> None:
    content, query, said = REFUSED_AT_ONCE[what]
    if what == "no pair" and "srgan" in query["model"]:
        pytest.skip("the box has a pair")
    code, answer = server.send(content, name="a.png", **query)
    assert code == 400
    assert said in answer["error"]
    assert "\n" not in answer["error"]


@pytest.mark.parametrize(
    ("content", "name", "said"),
    [
        (encoded(Image.fromarray(drawn(99, 99)), "JPEG")[:-999], "cut.jpg", "not a readable picture"),
        (encoded(Image.fromarray(drawn(9, 9, 4))), "clear.jpg", "JPEG holds no transparency"),
        (frames(3), "moving.jpg", "3 frames, and JPEG holds one"),
    ],
)
def test_refused_when_decoded_and_the_next_one_is_done(server: Server, content: bytes, name: str, said: str) -> None:
    code, job = server.send(content, name=name)
    assert code == 201
    found = server.finished(job["id"])
    assert found["state"] == "failed"
    assert said in found["error"]
    assert server.ask("GET", f"/jobs/{job['id']}/result")[0] == 404
    assert server.enlarged(SMALL)[0] == "picture_x4.png"


def test_pages_count_together_whatever_the_first_one_says(server: Server, tmp_path: Path) -> None:
    image = Image.fromarray(drawn(20, 30))
    content = encoded(image, "TIFF", save_all=True, append_images=[Image.new("L", (700, 700))] * 2)
    _, job = server.send(content, name="pages.tif")
    assert "over the limit of 0.5 million pixels" in server.finished(job["id"])["error"]
    (tmp_path / "in.tif").write_bytes(content)
    command = [str(tmp_path / "in.tif"), "-o", str(tmp_path / "out"), "--model", "bicubic", "--max-megapixels", "0.4"]
    assert srgan_lit.upscale.main(command) == 1  # there, a page alone counts, and not only the first


def test_a_body_over_the_limit_is_cut_off_as_it_arrives(server: Server) -> None:
    limit = int(MEGABYTES * 1e6)
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as raw:  # the length alone is enough
        raw.sendall(f"POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: {limit + 1}\r\n\r\n".encode())
        assert b" 413 " in raw.recv(100)
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as raw:  # without a length
        raw.sendall(b"POST /jobs HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        [folder] = server.temporary.iterdir()

        def stored() -> int:
            with contextlib.suppress(FileNotFoundError):
                return sum(file.stat().st_size for file in folder.rglob("input"))
            return 0

        piece = b"10000\r\n" + bytes(0x10000) + b"\r\n"
        raw.sendall(piece)
        until(stored)  # pieces go to the disk as they arrive
        sent = 0
        with contextlib.suppress(OSError):
            while sent < 20 * limit:
                raw.sendall(piece)
                sent += len(piece)
                assert stored() <= limit
        assert sent < 20 * limit
    assert server.enlarged(SMALL)


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "[", "a b"])
def test_foreign_names_for_this_machine_are_refused(server: Server, host: str) -> None:
    assert server.ask("GET", "/", headers={"Host": host})[0] in (400, 403)


def test_addresses_and_own_names_are_not(server: Server) -> None:
    for host in (f"127.0.0.1:{server.port}", "LOCALHOST", "[::1]:80", "192.0.2.1", socket.gethostname()):
        assert server.ask("GET", "/", headers={"Host": host})[0] == 200, host


def test_another_sites_page_can_neither_send_nor_delete(server: Server) -> None:
    own = f"http://127.0.0.1:{server.port}"
    for origin in ("http://evil.example", "null", f"{own}0", "http://localhost"):
        assert server.ask("POST", "/jobs", SMALL, headers={"Origin": origin})[0] == 403, origin
    code, _, body = server.ask("POST", "/jobs", SMALL, headers={"Origin": own})
    assert code == 201
    path = f"/jobs/{json.loads(body)['id']}"
    assert server.ask("DELETE", path, headers={"Origin": "http://evil.example"})[0] == 403
    assert server.ask("DELETE", path, headers={"Origin": own})[0] == 204


def test_every_answer_forbids_what_the_page_does_not_need(server: Server) -> None:
    for method, path in (("GET", "/"), ("GET", "/app.js"), ("GET", "/jobs/unknown"), ("POST", "/jobs?x=1")):
        _, headers, _ = server.ask(method, path)
        assert headers["Content-Security-Policy"].startswith("default-src 'none'; ")
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    _, _, page = server.ask("GET", "/")
    assert b"<b>&" not in page  # of the model's name
    assert b"http" not in page


# --- the queue ----------------------------------------------------------------------------------------------------


def test_one_at_a_time_few_wait_and_who_leaves_makes_room(server: Server) -> None:
    for job in list({Path(path).parts[0] for path in server.kept()}):
        server.ask("DELETE", f"/jobs/{job}")
    answers: list[tuple[int, dict[str, Any]]] = []
    threads = [
        threading.Thread(target=lambda: answers.append(server.send(LONG, model="srresnet", name="long.gif")))
        for _ in range(QUEUE + 3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(code for code, _ in answers) == [201] * QUEUE + [503] * 3
    assert all("try again soon" in answer["error"] for code, answer in answers if code == 503)
    jobs = [answer["id"] for code, answer in answers if code == 201]

    def working() -> list[str]:
        return [job for job in jobs if server.status(job)["state"] == "working"]

    until(working)
    found = [server.status(job) for job in jobs]
    assert sorted((status["state"], status["ahead"]) for status in found) == [
        ("waiting", 1),
        ("waiting", 2),
        ("working", 0),
    ]
    [first] = working()
    until(lambda: 0 < server.status(first)["progress"] < 1)  # it says how far it is
    jobs.remove(first)
    assert server.ask("DELETE", f"/jobs/{first}")[0] == 204
    until(working)  # or the test would take a minute
    assert server.send(SMALL)[0] == 201
    for job in {Path(path).parts[0] for path in server.kept()}:
        server.ask("DELETE", f"/jobs/{job}")
    until(lambda: not server.kept())


def test_who_goes_away_while_sending_leaves_nothing(server: Server) -> None:
    for _ in range(QUEUE + 1):
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as raw:
            raw.sendall(b"POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000\r\n\r\n" + SMALL[:100])
    until(lambda: server.send(SMALL)[0] == 201)  # their places are free again


# --- the command --------------------------------------------------------------------------------------------------


def test_a_signal_before_the_first_request_ends_it_without_a_word(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_coroutine: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(asyncio, "run", interrupted)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert app.main(["--port", "0", "--model", "bicubic"]) == 0
        gc.collect()
    assert not [warning for warning in said if "never awaited" in str(warning.message)]
    assert capfd.readouterr().err == ""


def test_what_cannot_be_served_is_said_in_one_line(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*arguments: str) -> tuple[int, str]:
        status = app.main(arguments)
        [line] = capsys.readouterr().err.splitlines()
        return status, line

    assert said("--port", str(server.port))[0] == 2
    assert said("--port", "0", "--model", "nowhere")[0] == 1
    assert said("--port", "0", "--device", "tpu")[0] == 2
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert said("--port", "0") == (1, "error: uvicorn is not installed: pip install 'srgan_lit[app]'")


# --- in a browser -------------------------------------------------------------------------------------------------


def test_a_visitor_enlarges_compares_and_downloads(
    server: Server, browser: Any, downloads: Path, tmp_path: Path
) -> None:
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import Select, WebDriverWait

    def find(selector: str) -> Any:
        return browser.find_element("css selector", selector)

    name = f"{quote(HOSTILE, safe='<>=& ')}.png"  # a file may not be called with a slash
    source = tmp_path / name
    source.write_bytes(pictures()["clear.png"])
    (tmp_path / "bad.png").write_bytes(b"no picture")
    browser.set_window_size(1200, 1000)
    browser.get(server.url)
    Select(find("[name=model]")).select_by_value("srresnet")
    assert Select(find("[name=model]")).first_selected_option.text.startswith("Faithful: ")
    assert not find("#fidelity").is_displayed()  # it has no pair to be blended with
    Select(find("[name=model]")).select_by_value(server.model)
    find("[name=fidelity]").send_keys(Keys.ARROW_RIGHT * 5)
    assert find("#fidelity output").text == "0.25"
    find("[name=match_input]").click()
    assert browser.get_log("browser") == []

    find("#files").send_keys(f"{source}\n{tmp_path / 'bad.png'}")
    WebDriverWait(browser, 30).until(lambda _: [e.text for e in browser.find_elements("css selector", ".remove")])
    WebDriverWait(browser, 30).until(
        lambda _: [e.text for e in browser.find_elements("css selector", ".remove")] == ["Remove"] * 2
    )
    first, second = browser.find_elements("css selector", ".picture")
    assert first.find_element("tag name", "h2").text == name
    assert browser.title == "Enlarge pictures"
    assert "not a readable picture" in second.find_element("css selector", ".state").text
    assert not second.find_element("css selector", ".download").is_displayed()
    assert "30 × 20 to 120 × 80" in first.find_element("css selector", ".state").text

    sizes = "return [...arguments[0].querySelectorAll('img')].map(i => [i.complete, i.naturalWidth])"
    WebDriverWait(browser, 10).until(
        lambda _: browser.execute_script(sizes, first) == [[True, 30], [True, 30], [True, 120]]
    )
    stage, slider = first.find_element("css selector", ".stage"), first.find_element("css selector", ".position")

    def seen() -> bytes:
        with Image.open(io.BytesIO(stage.screenshot_as_png)) as shot:
            return shot.convert("RGB").tobytes()

    middle = seen()
    slider.send_keys(Keys.HOME)
    after = seen()
    slider.send_keys(Keys.END)
    before = seen()
    assert len({before, middle, after}) == 3
    assert "100 percent input" in slider.get_attribute("aria-valuetext")

    first.find_element("css selector", ".download").click()
    wanted = [str(source), "-o", str(tmp_path / "out"), "--model", server.model, "--fidelity", "0.25", "--match-input"]
    assert srgan_lit.upscale.main(wanted) == 0
    WebDriverWait(browser, 20).until(lambda _: list(downloads.glob("*_x4.png")))
    [download] = downloads.iterdir()
    assert download.read_bytes() == (tmp_path / "out" / name).read_bytes()

    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
    )
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 360
    unnamed = browser.execute_script(
        "return [...document.querySelectorAll('img, input, select, progress, button')].filter(e =>"
        " !(e.alt || e.getAttribute('aria-label') || e.closest('label') || e.textContent)).length"
    )
    assert unnamed == 0
    for card in (second, first):
        card.find_element("css selector", ".remove").click()
    assert browser.find_elements("css selector", ".picture") == []


def test_pictures_may_be_dropped_and_pasted_and_done_again(server: Server, browser: Any) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.get(server.url)
    browser.execute_script(
        """
        const [name, type, bytes] = arguments;
        const held = new DataTransfer();
        held.items.add(new File([new Uint8Array(bytes)], name, { type }));
        document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: held, bubbles: true, cancelable: true }));
        document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData: held, bubbles: true }));
        """,
        "small.png",
        "image/png",
        list(SMALL),
    )

    def done(count: int) -> Any:
        links = browser.find_elements("css selector", ".download")
        return len([link for link in links if link.is_displayed()]) == count

    WebDriverWait(browser, 30).until(lambda _: done(2))
    browser.find_element("css selector", "[name=match_input]").click()
    browser.find_element("css selector", ".again").click()
    WebDriverWait(browser, 30).until(lambda _: done(3))
    facts = [element.text for element in browser.find_elements("css selector", ".facts")]
    assert ["matched" in words for words in facts] == [True, False, False]  # above the one that it was made from


def test_many_pictures_come_together_and_each_fits_the_window(
    server: Server, browser: Any, downloads: Path, tmp_path: Path
) -> None:
    from selenium.webdriver.support.ui import Select, WebDriverWait

    def find(selector: str) -> Any:
        return browser.find_element("css selector", selector)

    for name, size in {"square": (200, 200), "tall": (120, 300)}.items():
        (tmp_path / f"{name}.png").write_bytes(encoded(Image.fromarray(drawn(*size[::-1]))))
    browser.set_window_size(1000, 700)
    browser.get(server.url)
    Select(find("[name=model]")).select_by_value(server.model)
    assert not find("[name=amount]").is_displayed()
    Select(find("[name=size]")).select_by_value("height")
    assert find("[name=amount]").get_attribute("value") == "1080"
    Select(find("[name=size]")).select_by_value("scale=3")
    assert not find("[name=amount]").is_displayed()
    assert not find("#together").is_displayed()
    find("#files").send_keys(f"{tmp_path / 'square.png'}\n{tmp_path / 'tall.png'}")
    WebDriverWait(browser, 60).until(lambda _: find("#together").is_displayed())
    assert find("#together").text == "Download all 2 as one ZIP"
    fits = "return [...document.querySelectorAll('.frame')].map(f => [f.scrollHeight - f.clientHeight, f.clientHeight])"
    for hidden, height in browser.execute_script(fits):
        assert hidden <= 1, "all of the picture is seen"
        assert height <= browser.execute_script("return innerHeight")
    find("#together").click()
    WebDriverWait(browser, 20).until(lambda _: (downloads / "enlarged.zip").exists())
    with zipfile.ZipFile(downloads / "enlarged.zip") as archive:
        assert sorted(archive.namelist()) == ["square_x3.png", "tall_x3.png"]
    find(".picture .remove").click()
    assert not find("#together").is_displayed()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_borders_of_controls_can_be_seen(server: Server, browser: Any, scheme: str) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    browser.get(server.url)
    browser.execute_script("document.querySelector('main').append(document.getElementById('card').content)")
    colours = browser.execute_script(
        """
        const behind = (element) => {
          const colour = getComputedStyle(element).backgroundColor;
          return colour === "rgba(0, 0, 0, 0)" ? behind(element.parentElement) : colour;
        };
        return [...document.querySelectorAll("select, button, #drop, input[type=number]")].map((element) =>
          [element.outerHTML.slice(0, 60), getComputedStyle(element).borderTopColor, behind(element.parentElement)]);
        """
    )
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})

    def luminance(colour: str) -> float:
        parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    assert len(colours) >= 8
    for what, border, background in colours:
        dark, light = sorted((luminance(border), luminance(background)))
        assert (light + 0.05) / (dark + 0.05) >= 3, (what, border, background)


def test_closing_the_page_cancels_what_it_waits_for(server: Server, browser: Any, tmp_path: Path) -> None:
    (tmp_path / "long.gif").write_bytes(LONG)
    browser.switch_to.new_window("tab")
    browser.get(server.url)
    browser.execute_script("document.querySelector('[name=model]').value = 'srresnet'")
    for job in {Path(path).parts[0] for path in server.kept()}:
        server.ask("DELETE", f"/jobs/{job}")
    browser.find_element("id", "files").send_keys(str(tmp_path / "long.gif"))
    until(lambda: "Enlarging" in browser.find_element("css selector", ".state").text)
    browser.close()
    browser.switch_to.window(browser.window_handles[0])
    until(lambda: not server.kept(), seconds=jobs.GONE_SECONDS * 0.8)  # after that it would be for want of being asked
