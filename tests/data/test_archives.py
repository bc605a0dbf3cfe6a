"""Archives that are whole, damaged or hostile."""

import contextlib
import gzip
import io
import stat
import tarfile
import tracemalloc
import warnings
import zipfile

import pytest

from helpers.mutations import attack
from srgan_lit.common.errors import SRGANError
from srgan_lit.data import archives

PICTURE = b"any bytes: unpacking does not decode"


def zip_of(path, members, **options):
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def tar_of(path, members, mode="w"):
    with tarfile.open(path, mode) as archive:
        for member, content in members:
            info = tarfile.TarInfo(member) if isinstance(member, str) else member
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


MEMBERS = [
    ("CUFED/input/H_0_7595161@N07_31_0.png", PICTURE),
    ("CUFED/ref/ä b.JPG", PICTURE),
    ("CUFED/readme.txt", b"no picture"),
    ("__MACOSX/CUFED/input/._H_0.png", b"junk"),
    ("CUFED/.hidden.png", b"junk"),
]
WANTED = ["CUFED/input/H_0_7595161@N07_31_0.png", "CUFED/ref/ä b.JPG"]


@pytest.mark.parametrize("kind", ["zip", "deflated", "tar", "gz", "xz"])
def test_pictures_come_out_and_nothing_else(tmp_path, kind):
    path = tmp_path / "archive"
    if kind in ("zip", "deflated"):
        zip_of(path, MEMBERS, compression=zipfile.ZIP_DEFLATED if kind == "deflated" else zipfile.ZIP_STORED)
    else:
        tar_of(path, MEMBERS, "w" if kind == "tar" else f"w:{kind}")
    assert archives.unpack(path, tmp_path / "out") == 2
    assert files(tmp_path / "out") == WANTED
    assert (tmp_path / "out" / WANTED[1]).read_bytes() == PICTURE


def link(name, to, kind):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, to
    return info


OUTSIDE = ["../evil.png", "a/../../evil.png", "/evil.png", "..\\evil.png", "C:\\evil.png", "C:evil.png"]


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("make", [zip_of, tar_of])
def test_nothing_leaves_the_folder(tmp_path, name, make):
    inner = tmp_path / "inner"
    inner.mkdir()
    path = make(tmp_path / "archive", [("good.png", PICTURE), (name, PICTURE)])
    with pytest.raises(SRGANError, match="outside"):
        archives.unpack(path, inner / "out")
    assert [found for found in files(tmp_path) if "evil" in found] == []


@pytest.mark.parametrize(
    "member",
    [
        link("a.png", "/etc/passwd", tarfile.SYMTYPE),
        link("a.png", "good.png", tarfile.LNKTYPE),
        link("dir", "/tmp", tarfile.SYMTYPE),
        link("a.png", "", tarfile.FIFOTYPE),
        link("a.png", "", tarfile.CHRTYPE),
    ],
)
def test_links_and_devices_in_a_tar_are_refused(tmp_path, member):
    path = tar_of(tmp_path / "archive.tar", [("good.png", PICTURE), (member, b""), ("dir/b.png", PICTURE)])
    with pytest.raises(SRGANError, match="link or a device"):
        archives.unpack(path, tmp_path / "out")
    assert files(tmp_path / "out") == ["good.png"]


def extended(records):
    """A header of a tar that says these of the next member."""
    body = b""
    for key, value in records.items():
        rest = f" {key}={value}\n".encode()
        length = next(n for n in range(len(rest), len(rest) + 9) if len(str(n)) + len(rest) == n)
        body += str(length).encode() + rest
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, len(body)
    return info.tobuf(tarfile.USTAR_FORMAT) + body + bytes(-len(body) % 512)


def sparse(kind):
    """The bytes of a tar whose first member has a map of holes of half a megabyte, in one of the ways there are."""
    info = tarfile.TarInfo("a.png")
    if kind == "old":
        info.type = tarfile.GNUTYPE_SPARSE
        head = bytearray(info.tobuf(tarfile.GNU_FORMAT))
        head[482] = 1
        head[148:156] = b" " * 8
        head[148:156] = b"%06o\0 " % sum(head)
        block = (b"%011o\0" % 1) * 42
        return head + (block + b"\1" + bytes(7)) * 1000
    if kind == "1.0":
        places = b"100000\n" + b"1\n" * 200_000
        info.size = len(places)
        names = {"GNU.sparse.major": 1, "GNU.sparse.minor": 0, "GNU.sparse.name": "a.png", "GNU.sparse.realsize": 5}
        return extended(names) + info.tobuf(tarfile.USTAR_FORMAT) + places + bytes(-len(places) % 512)
    places = {
        "0.1": {"GNU.sparse.map": ",".join("1" * 9000)},
        "0.0": {"GNU.sparse.offset": 1, "GNU.sparse.numbytes": 1},
    }
    return extended({"GNU.sparse.size": 5, "GNU.sparse.numblocks": 1} | places[kind]) + info.tobuf(tarfile.USTAR_FORMAT)


@pytest.mark.parametrize("kind", ["old", "1.0", "0.1", "0.0"])
@pytest.mark.parametrize("first", [True, False])
def test_sparse_members_of_a_tar_are_refused_before_their_maps_are_read(kind, first, tmp_path):
    path = tmp_path / "archive.tar"
    tar_of(path, [("good.png", PICTURE)])
    before = b"" if first else path.read_bytes()[:1024]
    path.write_bytes(before + sparse(kind) + bytes(1024))
    tracemalloc.start()
    with pytest.raises(SRGANError, match="holds a sparse file") as raised:
        archives.unpack(path, tmp_path / "out")
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "\n" not in str(raised.value)
    assert most < 4 * 2**20


def test_members_of_a_tar_that_are_nothing_but_headers_are_bounded_too(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "ALWAYS_ALLOWED", 2**20)
    head = tarfile.TarInfo("a.txt").tobuf(tarfile.USTAR_FORMAT)
    with gzip.open(tmp_path / "bomb.tar.gz", "wb") as archive:
        archive.write(head * 50_000)
    with pytest.raises(SRGANError, match="no archive of pictures grows so much"):
        archives.unpack(tmp_path / "bomb.tar.gz", tmp_path / "out")


def test_links_in_a_zip_are_refused(tmp_path):
    info = zipfile.ZipInfo("a.png")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    path = zip_of(tmp_path / "archive.zip", [(info, "/etc/passwd")])
    with pytest.raises(SRGANError, match="link or a device"):
        archives.unpack(path, tmp_path / "out")


@pytest.mark.parametrize("kind", ["zip", "gz"])
def test_a_bomb_is_stopped(tmp_path, kind, monkeypatch):
    monkeypatch.setattr(archives, "ALWAYS_ALLOWED", 2**20)
    members = [(f"{number}.png", bytes(2**20)) for number in range(30)]
    path = tmp_path / "bomb"
    if kind == "zip":
        zip_of(path, members, compression=zipfile.ZIP_DEFLATED)
    else:
        tar_of(path, members, "w:gz")
    with pytest.raises(SRGANError, match="no archive of pictures grows so much"):
        archives.unpack(path, tmp_path / "out")
    assert sum(found.stat().st_size for found in (tmp_path / "out").iterdir()) <= 2**20


@pytest.mark.parametrize("make", ["zip", "tar", "gz", "xz"])
def test_a_damaged_archive_is_named(tmp_path, make):
    whole = [(f"{number}.png", bytes(range(256)) * 400) for number in range(20)]
    path = tmp_path / "archive"
    zip_of(path, whole) if make == "zip" else tar_of(path, whole, "w" if make == "tar" else f"w:{make}")
    content = bytearray(path.read_bytes())
    if make == "zip":  # a flipped byte: the directory is at the end, so a cut one is no zip at all
        content[1000] ^= 255
    else:
        content = content[: len(content) // 2]
    path.write_bytes(content)
    with pytest.raises(SRGANError, match=r"archive: damaged or not whole .*fetch it again"):
        archives.unpack(path, tmp_path / "out")


def test_what_is_no_archive(tmp_path):
    (tmp_path / "page.zip").write_text("<html>Quota exceeded</html>")
    with pytest.raises(SRGANError, match="no zip or tar archive"):
        archives.unpack(tmp_path / "page.zip", tmp_path / "out")


def test_an_encrypted_zip(tmp_path):
    path = zip_of(tmp_path / "archive.zip", [("a.png", PICTURE)])
    content = bytearray(path.read_bytes())
    content[6] |= 1
    content[content.rindex(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(SRGANError, match=r"cannot be unpacked .*password"):
        archives.unpack(path, tmp_path / "out")


def test_the_staging_folder_goes_whatever_happens(tmp_path):
    path = zip_of(tmp_path / "archive.zip", MEMBERS)
    leftover = tmp_path / ".set.unpacking" / "half.png"
    leftover.parent.mkdir()
    leftover.touch()
    with archives.unpacked([path], tmp_path / "set") as (staging,):
        assert files(staging) == WANTED
    assert not staging.exists()
    with pytest.raises(KeyboardInterrupt), archives.unpacked([path], tmp_path / "set"):
        raise KeyboardInterrupt
    assert not staging.exists()


@pytest.mark.parametrize("make", [zip_of, tar_of])
@pytest.mark.parametrize("names", [("a.png", "a.png"), ("a.png", "./a.png"), ("a.png", "a.png/b.png")])
def test_two_files_of_one_name_are_refused(tmp_path, make, names):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile's, of what we make here
        path = make(tmp_path / "archive", [(name, PICTURE + name.encode()) for name in names])
    with pytest.raises(SRGANError, match="two files of one name"):
        archives.unpack(path, tmp_path / "out")


def test_a_bomb_among_what_is_passed_over_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "ALWAYS_ALLOWED", 2**20)
    path = tar_of(tmp_path / "bomb", [(f"{number}.txt", bytes(2**20)) for number in range(30)], "w:gz")
    with pytest.raises(SRGANError, match="no archive of pictures grows so much"):
        archives.unpack(path, tmp_path / "out")


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_header_that_goes_on_for_megabytes_is_not_read(tmp_path, kind):
    """tarfile would take all of it into memory: gigabytes from a megabyte of zeros, compressed."""
    long = tarfile.TarInfo("header")
    long.type = kind
    path = tar_of(tmp_path / "bomb", [("a.png", PICTURE), (long, bytes(2**24)), ("b.png", PICTURE)], "w:gz")
    with pytest.raises(SRGANError, match="a header of 16777216 bytes"):
        archives.unpack(path, tmp_path / "out")


@pytest.mark.parametrize("kind", ["zip", "deflated", "tar", "gz", "bz2", "xz"])
@pytest.mark.parametrize("times", [60, pytest.param(1500, marks=pytest.mark.slow)])
def test_a_mutated_archive_is_unpacked_or_refused_and_stays_in_its_folder(tmp_path, kind, times):
    whole = tmp_path / "whole"
    if kind in ("zip", "deflated"):
        zip_of(whole, MEMBERS, compression=zipfile.ZIP_DEFLATED if kind == "deflated" else zipfile.ZIP_STORED)
    else:
        tar_of(whole, MEMBERS, "w" if kind == "tar" else f"w:{kind}")
    path, inner = tmp_path / "archive", tmp_path / "inner"

    def check(content):
        path.write_bytes(content)
        inner.mkdir()
        with contextlib.suppress(SRGANError), archives.unpacked([path], inner / "set") as (staging,):
            assert all(found.is_file() or found.is_dir() for found in staging.rglob("*"))
            assert not any(found.is_symlink() for found in staging.rglob("*"))
        inner.rmdir()  # empty: the staging folder is gone
        assert {found.name for found in tmp_path.iterdir()} == {"whole", "archive"}

    attack([whole.read_bytes()], check, times=times)
