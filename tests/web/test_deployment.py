"""The page on a network: names, paths, passwords, and docs/deploy.md's own lines behind a real nginx with HTTPS."""

import contextlib
import http.client
import json
import re
import shlex
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers import page_server
from helpers.page_server import LONG, SMALL, Server, basic, until
from srgan_lit import app

pytest.importorskip("uvicorn", reason="the extra app is not installed")
pytest.importorskip("starlette", reason="the extra app is not installed")

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "deploy.md").read_text(encoding="utf-8")
NAME, PASSWORD = "photos.example.org", "correct: horse battery"


def block(language: str) -> str:
    """The document's first of its kind."""
    return str(re.findall(rf"^```{language}\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)[0])


class Proxied(Server):
    """The server, asked through nginx."""

    def __init__(self, behind: Server, port: int) -> None:
        self.process, self.temporary, self.behind, self.port = behind.process, behind.temporary, behind, port
        self.path, self.headers = "/sr", {"Host": f"{NAME}:{port}", **basic(PASSWORD)}
        self.own = f"https://{NAME}:{port}"

    def connection(self, sender: str) -> http.client.HTTPConnection:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        source = (sender, 0) if sender else None
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=60, source_address=source, context=context)


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    nginx, openssl = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin"), shutil.which("openssl")
    if not nginx or not openssl:
        pytest.skip("nginx and openssl are not installed (Debian: nginx-light, openssl)")
    folder = tmp_path_factory.mktemp("nginx")
    certificate, key = folder / "page.pem", folder / "page.key"
    made = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    made += ["-subj", f"/CN={NAME}", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([openssl, *made], check=True, capture_output=True)
    (folder / "password.txt").write_text(f"{PASSWORD}\nand a note\n")
    words = shlex.split(block("sh"))
    assert words[:3] == ["python", "-m", "srgan_lit.app"]
    words[words.index("password.txt")] = str(folder / "password.txt")
    with page_server.serving(folder, *words[3:], "--max-per-client", "2") as server:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        site = block("nginx").replace("127.0.0.1:7860", f"127.0.0.1:{server.port}")
        site = site.replace("listen 443", f"listen 127.0.0.1:{port}")
        site = site.replace("/etc/ssl/photos.example.org.pem", str(certificate))
        site = site.replace("/etc/ssl/photos.example.org.key", str(key))
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        places = "\n".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
        (folder / "nginx.conf").write_text(
            f"daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log warn;\n"
            f"events {{}}\nhttp {{ access_log off; {places}\n{site}\n}}\n"
        )
        with subprocess.Popen([nginx, "-p", str(folder), "-e", "error.log", "-c", "nginx.conf"]) as process:
            try:

                def listens() -> bool:
                    assert process.poll() is None, (folder / "error.log").read_text()
                    with contextlib.suppress(ConnectionRefusedError):
                        socket.create_connection(("127.0.0.1", port)).close()
                        return True
                    return False

                until(listens)
                yield Proxied(server, port)
            finally:
                process.terminate()


# --- behind a proxy -----------------------------------------------------------------------------------------------


def test_a_picture_goes_through_the_proxy_and_back(proxied: Proxied, tmp_path: Path) -> None:
    from srgan_lit import upscale

    (tmp_path / "a.png").write_bytes(SMALL)
    assert upscale.main([str(tmp_path / "a.png"), "-o", str(tmp_path / "large.png")]) == 0
    name, result = proxied.enlarged(SMALL, name="a.png")
    assert (name, result) == ("a_x4.png", (tmp_path / "large.png").read_bytes())


def test_the_proxys_page_is_the_only_origin(proxied: Proxied) -> None:
    foreign = (
        "https://evil.example",
        "null",
        proxied.own.replace("https", "http"),
        f"https://{NAME}",
        f"{proxied.own}0",
    )
    for origin in foreign:
        assert proxied.ask("POST", "/jobs", SMALL, headers={"Origin": origin})[0] == 403, origin
    code, _, body = proxied.ask("POST", "/jobs", SMALL, headers={"Origin": proxied.own})
    assert code == 201
    path = f"/jobs/{json.loads(body)['id']}"
    assert proxied.ask("DELETE", path, headers={"Origin": "https://evil.example"})[0] == 403
    assert proxied.ask("DELETE", path, headers={"Origin": proxied.own})[0] == 204


def test_only_the_base_path_is_the_page(proxied: Proxied) -> None:
    assert proxied.ask("GET", "/")[0] == 200
    assert proxied.ask("GET", "/app.js")[0] == 200
    direct = proxied.behind
    direct.headers = basic(PASSWORD)
    direct.path = ""
    code, headers, _ = direct.ask("GET", "/sr")
    assert (code // 100, headers["Location"]) == (3, "sr/")
    code, _, body = direct.ask("GET", "/jobs/x")
    assert code == 404
    assert "this page is at /sr/" in json.loads(body)["error"]


def test_limits_count_the_clients_behind_the_proxy(proxied: Proxied) -> None:
    jobs = [proxied.send(LONG, model="srresnet")[1]["id"] for _ in range(2)]
    assert proxied.send(SMALL)[0] == 429
    code, _, body = proxied.ask("POST", "/jobs", SMALL, sender="127.0.0.2")
    for job in [*jobs, json.loads(body).get("id")]:
        proxied.ask("DELETE", f"/jobs/{job}")
    assert code == 201
    until(lambda: json.loads(proxied.behind.ask("GET", "/health")[2])["working"] == 0)


def test_a_password_is_asked_for_everywhere_but_for_health(proxied: Proxied) -> None:
    asked = [("GET", "/"), ("GET", "/app.js"), ("POST", "/jobs"), ("GET", "/jobs/x/result"), ("DELETE", "/jobs/x")]
    wrong: list[dict[str, str]] = [{}, basic("horse"), basic(""), basic(f"{PASSWORD} "), {"Authorization": "Basic ü!"}]
    wrong += [{"Authorization": f"Bearer {PASSWORD}"}, {"Authorization": "Basic"}]
    known, proxied.headers = proxied.headers, {"Host": f"{NAME}:{proxied.port}"}
    try:
        for headers in wrong:
            for method, path in asked:
                code, answer, _ = proxied.ask(method, path, headers=headers)
                assert (code, answer["WWW-Authenticate"].split()[0]) == (401, "Basic"), (headers, path)
        assert proxied.ask("GET", "/health")[0] == 401, "that of the page's path is none"
        assert proxied.ask("GET", "/", headers=basic(PASSWORD, "any ünë"))[0] == 200
    finally:
        proxied.headers = known
    direct = proxied.behind
    direct.path, direct.headers = "", {}
    code, _, body = direct.ask("GET", "/health")
    assert (code, json.loads(body)["status"]) == (200, "ok")


def test_a_visitor_of_the_proxys_page(proxied: Proxied, browser: Any, downloads: Path, tmp_path: Path) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    (tmp_path / "photo.png").write_bytes(SMALL)
    browser.get(f"https://me:{PASSWORD.replace(' ', '%20').replace(':', '%3A')}@{NAME}:{proxied.port}/sr/")
    assert browser.title == "Enlarge pictures"
    browser.find_element("id", "files").send_keys(str(tmp_path / "photo.png"))
    WebDriverWait(browser, 60).until(lambda _: browser.find_element("css selector", ".download").is_displayed())
    sizes = "return [...document.querySelectorAll('.stage img')].map(i => i.naturalWidth)"
    WebDriverWait(browser, 20).until(lambda _: browser.execute_script(sizes) == [30, 30, 120])
    browser.find_element("css selector", ".download").click()
    WebDriverWait(browser, 20).until(lambda _: list(downloads.glob("photo_x4.png")))
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


# --- without one --------------------------------------------------------------------------------------------------


def test_what_a_proxy_says_is_not_believed_unasked(tmp_path: Path) -> None:
    options = ["--model", "bicubic", "--allow-host", "one.example", "--allow-host", "Two.example"]
    options += ["--data-dir", str(tmp_path / "kept" / "here"), "--max-per-client", "1"]
    with page_server.serving(tmp_path, *options) as server:
        assert server.process.stdout is not None
        password = server.process.stdout.readline().rpartition(" ")[2].strip()
        assert len(password) > 20
        assert server.ask("GET", "/")[0] == 401, "who names a host lets others in"
        server.headers = basic(password)
        for host, code in {"one.example": 200, "two.example:80": 200, "localhost": 200, "three.example": 403}.items():
            assert server.ask("GET", "/", headers={"Host": host})[0] == code, host
        own = f"127.0.0.1:{server.port}"
        forged = {"Origin": f"https://{own}", "X-Forwarded-Proto": "https"}
        code, _, body = server.ask("POST", "/jobs", SMALL, headers=forged)
        assert code == 403
        assert "--trust-proxy" in json.loads(body)["error"]
        answers = [
            server.ask("POST", "/jobs?model=srresnet", LONG, headers={"X-Forwarded-For": f"192.0.2.{number}"})
            for number in range(2)
        ]
        assert [code for code, _, _ in answers] == [201, 429]
        [folder] = (tmp_path / "kept" / "here").iterdir()
        assert list(folder.rglob("input"))
    assert not list((tmp_path / "kept" / "here").iterdir())


def test_what_cannot_be_a_password_or_a_place_is_said_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def said(*arguments: str) -> tuple[int, str]:
        status = app.main(["--port", "0", *arguments])
        [line] = capsys.readouterr().err.splitlines()
        return status, line

    (tmp_path / "short").write_text("secret\n" + "x" * 99)
    assert said("--password-file", str(tmp_path / "none")) == (
        1,
        f"error: --password-file {tmp_path / 'none'}: No such file or directory",
    )
    status, line = said("--password-file", str(tmp_path / "short"))
    assert (status, "6 characters can be guessed" in line) == (2, True)
    monkeypatch.setenv("SRGAN_APP_PASSWORD", "")
    assert said()[0] == 2
    monkeypatch.delenv("SRGAN_APP_PASSWORD")
    status, line = said("--data-dir", str(tmp_path / "short"))
    assert (status, "--data-dir" in line) == (1, True)
    for wrong in (["--base-path", "/a/../b"], ["--base-path", "/a b"], ["--trust-proxy", "nginx"]):
        with pytest.raises(SystemExit):
            app.main(wrong)
        assert wrong[0] in capsys.readouterr().err
