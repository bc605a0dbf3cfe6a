"""``prepare`` and the places that it knows, against a local imitation of Google Drive and of a plain server."""

import hashlib
import http.server
import threading
import urllib.parse
import zipfile

import numpy as np
import pytest
import requests
from PIL import Image

from srgan_lit import prepare
from srgan_lit.data import downloads, inspection, layouts

FOLDERS = ["1hGHy36XcmSZ1LtARWmGL5OK1IUdWJi3I", "13BGwJMQfK6xhCNXN0y53dctthVloxniz"]
INPUT, REF = "1gN5IPZgPNkjdeXdTySe1Urog5OG8mrLc", "13BX-UY4jUZu9S--X2Cd6yZ-3nH77nqo_"
CUFED5 = "1Fa1mopExA9YGG1RxrCZZn7QFTYXLx6ph"
PAGE = b"<!DOCTYPE html><html><body>Sign in to continue</body></html>"


class Imitation:
    """``files``: by Drive's id or by path, what is served; ``folders``: by id, (name, id) of what is in it."""

    def __init__(self):
        self.files, self.folders, self.cuts, self.asked = {}, {}, {}, []
        self.ranges = True  # whether it goes on in the middle of a file
        imitation = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def answer(self, status, content, kind, **headers):
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content)))
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.end_headers()
                self.wfile.write(content)

            def do_GET(self):
                parts = urllib.parse.urlsplit(self.path)
                key = urllib.parse.parse_qs(parts.query).get("id", [parts.path])[0]
                imitation.asked.append(key)
                if parts.path == "/embeddedfolderview" and key in imitation.folders:
                    links = "".join(
                        f'<a href="https://drive.google.com/file/d/{each}/view">{name}</a>'
                        for name, each in imitation.folders[key]
                    )
                    self.answer(200, f"<html><title>CUFED</title>{links}</html>".encode(), "text/html")
                elif key not in imitation.files:
                    self.answer(404, b"not here", "text/html")
                elif imitation.files[key][1] == PAGE:
                    self.answer(200, PAGE, "text/html")
                else:
                    self.serve(key, *imitation.files[key])

            def serve(self, key, name, content):
                start = int(self.headers.get("Range", "bytes=0-")[6:-1]) if imitation.ranges else 0
                kept = imitation.cuts.get(key, [])
                stop = kept.pop(0) if kept else len(content)
                self.send_response(206 if start else 200)
                self.send_header("Content-Type", "application/zip")
                self.send_header("Content-Disposition", f'attachment; filename="{name}"')
                if start:
                    self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
                self.send_header("Content-Length", str(len(content) - start))
                self.end_headers()
                self.wfile.write(content[start:stop])  # fewer than announced: the connection breaks

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def drive(monkeypatch, tmp_path):
    """Drive's imitation, to which gdown's session is led; nothing else is reached."""
    imitation = Imitation()
    plain = requests.Session.request

    def request(session, method, url, **options):
        where = urllib.parse.urlsplit(url)
        if where.hostname not in ("drive.google.com", "127.0.0.1"):
            raise requests.ConnectionError(f"no route to {where.hostname}")
        if where.hostname == "drive.google.com":
            url = f"{imitation.address}{where.path}?{where.query}"
        return plain(session, method, url, **options)

    monkeypatch.setattr(requests.Session, "request", request)
    monkeypatch.setattr(downloads, "_RETRIES", 0)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(inspection, "CUFED_PAIRS", 4)
    monkeypatch.setattr(layouts, "CUFED5_GROUPS", 2)
    thread = threading.Thread(target=imitation.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield imitation
    imitation.server.shutdown()
    thread.join()
    imitation.server.server_close()


def archive(path, part, *, top, pairs=4):
    """A zip with pictures of ``part`` in a folder called ``top``; their bytes."""
    with zipfile.ZipFile(path, "w") as opened:
        for number in range(pairs):
            noise = np.random.default_rng([number, part == "ref"]).integers(0, 256, (160, 159, 3), dtype=np.uint8)
            file = path.with_suffix(".png")
            Image.fromarray(noise).save(file)
            opened.write(file, f"{top}H_0_759{number}@N07_31_0_105matches93_raw_01.png")
            file.unlink()
    return path.read_bytes()


@pytest.fixture
def zips(tmp_path):
    folder = tmp_path / "zips"
    folder.mkdir()
    with zipfile.ZipFile(folder / "CUFED5.zip", "w") as opened:
        for name in (f"{group:03}_{member}.png" for group in range(2) for member in range(6)):
            Image.new("RGB", (60, 50)).save(folder / name)
            opened.write(folder / name, f"CUFED5/{name}")
    return {
        "input": archive(folder / "CUFED_input.zip", "input", top="input/"),
        "ref": archive(folder / "CUFED_ref.zip", "ref", top="CUFED_ref/"),
        "cufed5": (folder / "CUFED5.zip").read_bytes(),
    }


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


WHOLE = [f"{part}/H_0_759{n}@N07_31_0_105matches93_raw_01.png" for part in ("input", "ref") for n in range(4)]


def tried(errors):
    return [line for line in errors.splitlines() if line.startswith("tried ")]


def test_the_first_place_that_answers_gives_the_archives_of_this_set_alone(drive, zips, tmp_path, capsys):
    ids = {name: f"{name:a<30}" for name in ("CUFED_input", "CUFED_ref", "CUFED5x")}
    drive.folders[FOLDERS[1]] = [(f"{name.rstrip('x')}.zip", each) for name, each in ids.items()] + [
        ("a.pdf", "b" * 30)
    ]
    for name, key in (("CUFED_input", "input"), ("CUFED_ref", "ref"), ("CUFED5x", "cufed5")):
        drive.files[ids[name]] = (f"{name.rstrip('x')}.zip", zips[key])
    assert prepare.main(["cufed", "--no-pack"]) == 0
    said = capsys.readouterr()
    (line,) = tried(said.err)
    assert line.startswith("tried the authors' folder (https://drive.google.com/drive/folders/1hGHy36XcmSZ1Lt")
    assert line.endswith(": 404, no folder")
    assert "fetched from their later folder" in said.err
    assert ids["CUFED5x"] not in drive.asked
    assert names(tmp_path / "data" / "CUFED") == WHOLE
    assert f"CUFED_input.zip: 0.3 MB, SHA-256 {hashlib.sha256(zips['input']).hexdigest()}" in said.out
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == [".CUFED.lock", "CUFED"], "tidied away"
    asked = len(drive.asked)
    assert prepare.main(["cufed", "--no-pack"]) == 0
    assert len(drive.asked) == asked, "it is there"


def test_input_alone_is_enough_and_is_fetched_once(drive, zips, tmp_path, capsys):
    drive.files[INPUT], drive.files[REF] = ("CUFED_input.zip", zips["input"]), ("", PAGE)
    assert prepare.main(["cufed", "--no-pack"]) == 0
    said = capsys.readouterr().err
    answers = [line.rpartition("): ")[2] for line in tried(said)]
    assert answers[:2] == ["404, no folder", "404, no folder"]
    assert answers[2] == "a page, and no file: it is gone, not shared, or was fetched too often today"
    assert "no pictures in ref/: training needs input/ alone" in said
    assert names(tmp_path / "data" / "CUFED") == WHOLE[:4]


def test_where_nothing_answers_one_line_each_says_so_and_the_last_what_to_look_for(drive, capsys):
    assert prepare.main(["cufed"]) == 1
    *answers, last = capsys.readouterr().err.splitlines()
    gone = "a page, and no file: it is gone, not shared, or was fetched too often today"
    assert [line.rpartition("): ")[2] for line in answers] == ["404, no folder"] * 2 + [gone] * 2
    for words in ("CUFED_input.zip (567 MB)", "CUFED_ref.zip (588 MB", "SRNTT", "--input CUFED_input.zip --ref"):
        assert words in last
    assert prepare.main(["cufed5"]) == 1
    *answers, last = capsys.readouterr().err.splitlines()
    assert len(answers) == 3
    assert "CUFED5.zip (233 MB)" in last
    assert "prepare cufed5 --archive CUFED5.zip" in last


def test_without_a_network_it_says_so(drive, monkeypatch, capsys):
    def request(*_, **__):
        raise requests.ConnectionError("HTTPSConnectionPool: Max retries exceeded")

    monkeypatch.setattr(requests.Session, "request", request)
    assert prepare.main(["cufed5"]) == 1
    assert [line.rpartition("): ")[2] for line in tried(capsys.readouterr().err)] == ["no connection"] * 3


def test_an_interrupted_download_goes_on_where_it_stopped(drive, tmp_path, capsys):
    whole = archive(tmp_path / "made.zip", "input", top="input/", pairs=12)
    drive.files["/a.zip"], drive.cuts["/a.zip"] = ("a.zip", whole), [700_000]
    command = ["cufed", "--no-pack", "--url", f"{drive.address}/a.zip"]
    assert prepare.main(command) == 1
    first = tried(capsys.readouterr().err)[0]
    assert f"received 524288 bytes but the server announced {len(whole)} bytes" in first
    assert first.endswith("the same command goes on from there")
    drive.cuts["/a.zip"] = [0, len(whole)]  # the first answer is not read: the second is asked for the rest alone
    assert prepare.main(command) == 0
    assert len(names(tmp_path / "data" / "CUFED")) == 12
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == [".CUFED.lock", "CUFED"]


def test_a_page_a_404_and_damage_are_answers_and_the_next_place_is_tried(drive, zips, tmp_path, capsys):
    drive.files["/page.zip"] = ("page.zip", PAGE)
    drive.files[CUFED5] = ("CUFED5.zip", zips["cufed5"])
    assert prepare.main(["cufed5", "--url", f"{drive.address}/page.zip"]) == 0
    (line,) = tried(capsys.readouterr().err)
    assert "no zip or tar archive but a web page" in line
    assert prepare.main(["cufed5", "--url", f"{drive.address}/gone.zip", "--to", "again"]) == 0
    assert tried(capsys.readouterr().err)[0].endswith(": 404 Not Found")
    damaged = bytearray(zips["cufed5"])
    damaged[200] ^= 1
    drive.files["/damaged.zip"] = ("damaged.zip", bytes(damaged))
    assert prepare.main(["cufed5", "--url", f"{drive.address}/damaged.zip", "--to", "third"]) == 0
    assert "damaged or not whole" in tried(capsys.readouterr().err)[0]
    assert len(names(tmp_path / "third")) == 12


def test_two_links_of_ones_own_make_one_set(drive, zips, tmp_path):
    drive.files["/a/CUFED_input.zip"] = ("CUFED_input.zip", zips["input"])
    drive.files["i" * 30] = ("CUFED_ref.zip", zips["ref"])
    links = ["--url", f"{drive.address}/a/CUFED_input.zip", "--url", f"https://drive.google.com/file/d/{'i' * 30}/view"]
    assert prepare.main(["cufed", "--no-pack", *links]) == 0
    assert names(tmp_path / "data" / "CUFED") == WHOLE


@pytest.mark.parametrize("tops", [("input/", "ref/"), ("CUFED_input/", "CUFED_ref/"), ("", "a b/ref/"), ("x/", "y/")])
@pytest.mark.parametrize("options", [("--input", "--ref"), ("--archive", "--archive")])
def test_two_archives_become_one_set_or_nothing(tmp_path, monkeypatch, tops, options):
    monkeypatch.chdir(tmp_path)
    one, two = tmp_path / "CUFED_input.zip", tmp_path / "CUFED_ref.zip"
    archive(one, "input", top=tops[0])
    whole = archive(two, "ref", top=tops[1])
    two.write_bytes(whole[: len(whole) // 2])
    command = ["cufed", options[0], str(one), options[1], str(two), "--no-pack"]
    assert prepare.main(command) == 1
    assert not (tmp_path / "data" / "CUFED").exists()
    two.write_bytes(whole)
    assert prepare.main(command) == 0
    assert names(tmp_path / "data" / "CUFED") == WHOLE


def test_another_checksum_is_refused_and_the_right_one_taken(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    digest = hashlib.sha256(archive(tmp_path / "a.zip", "input", top="input/")).hexdigest()
    command = ["cufed", "--archive", "a.zip", "--no-pack", "--sha256"]
    assert prepare.main([*command, "0" * 64]) == 1
    assert f"its SHA-256 is {digest}" in capsys.readouterr().err
    assert not (tmp_path / "data" / "CUFED").exists()
    assert prepare.main([*command, digest.upper()]) == 0


def test_a_manifest_tells_two_laboratories_that_their_pixels_are_the_same(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    archive(tmp_path / "a.zip", "input", top="input/")
    assert prepare.main(["cufed", "--archive", "a.zip", "--no-pack", "--manifest", "ours.txt"]) == 0
    (tmp_path / "theirs" / "CUFED_input").mkdir(parents=True)
    for path in (tmp_path / "data" / "CUFED" / "input").iterdir():
        with Image.open(path) as opened:
            opened.save(tmp_path / "theirs" / "CUFED_input" / path.name, compress_level=1)  # other bytes
    assert prepare.main(["cufed", "--root", "theirs", "--no-pack", "--manifest", "theirs.txt"]) == 0
    ours = (tmp_path / "ours.txt").read_text()
    assert ours == (tmp_path / "theirs.txt").read_text()
    assert len(ours.splitlines()) == 4
    together = hashlib.sha256(ours.encode()).hexdigest()
    assert capsys.readouterr().out.count(together) == 2


def test_a_server_that_cannot_go_on_is_asked_anew(drive, tmp_path, capsys):
    content = archive(tmp_path / "made.zip", "input", top="input/", pairs=20)
    drive.files["/made.zip"], drive.cuts["/made.zip"] = ("made.zip", content), [len(content) - 1000]
    drive.ranges = False
    command = ["cufed", "--url", f"{drive.address}/made.zip", "--no-pack"]
    for said in ("interrupted", "cannot go on with what it sent before; the same command begins anew"):
        assert prepare.main(command) == 1
        assert said in capsys.readouterr().err
    assert prepare.main(command) == 0
    assert len(list((tmp_path / "data" / "CUFED" / "input").iterdir())) == 20
