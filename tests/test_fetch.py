import gzip
import hashlib
import io
import os
import stat
import struct
import tarfile
import threading
import zipfile
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from data_prep import archives
from data_prep.fetch import content_sha256, download, fetch
from data_prep.sources import SOURCES, Source

DATA = Path(os.environ.get("ANET_DATA", ""))
FILES = {  # what an archive of the tiny set holds, deeper than the set's own folder
    f"repository-master/tiny/{folder}/{number}.{ending}": np.random.default_rng(number).bytes(3_000)
    for folder, ending in (("Images", "bmp"), ("Masks", "png")) for number in range(40)
}
LINES = [f"{hashlib.sha256(data).hexdigest()}  {name.split('/', 2)[2]}\n" for name, data in FILES.items()]
CONTENT = hashlib.sha256("".join(sorted(LINES, key=lambda line: line[66:])).encode()).hexdigest()


def pack(path: Path, files: dict[str, bytes] = FILES) -> Path:
    """An archive of the kind that its name tells."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
            for name, data in files.items():
                packed.writestr(name, data)
    else:
        with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as packed:
            for name, data in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                packed.addfile(member, io.BytesIO(data))
    return path


@pytest.fixture
def tiny(monkeypatch):
    """Puts the tiny set into the table, with these mirrors."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    def put(*mirrors: str, **changes) -> None:
        fields = dict(
            folder="tiny", page="https://example.org/tiny", licence="theirs", citation="They, 2020", bring="tiny.zip",
            mirrors=tuple((url,) for url in mirrors), files=("Images/*.bmp", "Masks/*.png"), content_sha256=CONTENT,
        )
        monkeypatch.setitem(SOURCES, "tiny", Source(**(fields | changes)))

    return put


class Server(ThreadingHTTPServer):
    """Serves files by range; ``cuts`` holds after how many bytes each coming answer breaks off."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.cuts: list[int] = []
        self.ranges, self.asked = True, []  # asked: the Range header of each request
        self.sent = 0  # bytes

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{name}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server, data = self.server, self.server.files.get(self.path[1:])
        server.asked.append(self.headers["Range"])
        if data is None:
            return self.send_error(404)
        start = int(self.headers["Range"][len("bytes="):-1]) if self.headers["Range"] and server.ranges else 0
        if start >= len(data):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(data)}")
            return self.end_headers()
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        body = data[start:][: server.cuts.pop(0) if server.cuts else None]
        self.wfile.write(body)
        server.sent += len(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server():
    with Server() as serving:
        thread = threading.Thread(target=partial(serving.serve_forever, poll_interval=0.01))
        thread.start()
        yield serving
        serving.shutdown()
        thread.join()


def left_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_fetch(server, tiny, tmp_path, capsys):
    data = pack(tmp_path / "tiny.zip").read_bytes()
    server.files["tiny.zip"] = data
    tiny(server.url("tiny.zip"))
    folder = fetch("tiny", tmp_path / "data")
    assert folder == tmp_path / "data" / "tiny" and os.listdir(tmp_path / "data") == ["tiny"]
    assert {f"repository-master/tiny/{name}": (folder / name).read_bytes() for name in left_in(folder)} == FILES
    said = capsys.readouterr().err
    assert said.index("Licence: theirs") < said.index("Please cite: They, 2020") < said.index(server.url("tiny.zip"))
    assert f"sha256 {hashlib.sha256(data).hexdigest()}" in said and "100%" in said
    with pytest.raises(FileExistsError, match="tiny exists already"):
        fetch("tiny", tmp_path / "data")


def test_a_cut_download_goes_on_where_it_was_cut(server, tmp_path):
    data = np.random.default_rng(0).bytes(300_000)
    server.files["a.bin"], server.cuts = data, [70_000, 140_000]
    path = download(server.url("a.bin"), tmp_path)
    assert path.read_bytes() == data
    assert server.asked[0] is None and len(server.asked) == 3 and all(asked.startswith("bytes=") for asked in server.asked[1:])
    assert server.sent < len(data) + 2 * 65_536  # of a cut answer at most one chunk is lost


def test_a_later_call_resumes(server, tiny, tmp_path):
    data = pack(tmp_path / "tiny.zip").read_bytes()
    server.files["tiny.zip"], server.cuts = data, [100_000, 0]  # the second try gets nothing, which ends the first call
    tiny(server.url("tiny.zip"))
    with pytest.raises(OSError, match="127.0.0.1: no connection"):
        fetch("tiny", tmp_path / "data")
    part, = (tmp_path / "data").rglob("*.part")
    assert part.read_bytes() == data[:65_536]
    fetch("tiny", tmp_path / "data")
    assert server.asked == [None, "bytes=65536-", "bytes=65536-"] and os.listdir(tmp_path / "data") == ["tiny"]


def test_without_ranges_a_download_begins_anew(server, tmp_path):
    data = np.random.default_rng(0).bytes(300_000)
    server.files["a.bin"], server.cuts, server.ranges = data, [140_000], False
    assert download(server.url("a.bin"), tmp_path).read_bytes() == data


@pytest.mark.parametrize("held, asked", [(100_000, ["bytes=100000-"]), (150_000, ["bytes=150000-", None])])
def test_a_part_that_is_whole_and_one_that_is_too_long(server, tmp_path, held, asked):
    data = np.random.default_rng(0).bytes(100_000)
    server.files["a.bin"] = data
    path = download(server.url("a.bin"), tmp_path)
    path.rename(path.with_name("a.bin.part"))
    path.with_name("a.bin.part").write_bytes(data + bytes(held - 100_000))
    server.asked.clear()
    assert download(server.url("a.bin"), tmp_path).read_bytes() == data
    assert server.asked == asked


def test_mirrors_in_turn(server, tiny, tmp_path, capsys):
    good = pack(tmp_path / "tiny.zip").read_bytes()
    other = pack(tmp_path / "other.zip", {"a/Images/1.bmp": b"1"}).read_bytes()
    server.files |= {"bad.zip": b"no archive", "other.zip": other, "good.zip": good}
    none, bad, other, good = (server.url(f"{name}.zip") for name in ("none", "bad", "other", "good"))
    tiny(none, bad, good)
    fetch("tiny", tmp_path / "a")
    said = capsys.readouterr().err
    assert said.index("none.zip") < said.index("bad.zip") < said.index("good.zip")
    tiny(none, bad, other)
    with pytest.raises(OSError) as error:
        fetch("tiny", tmp_path / "b")
    for said in ("404 Not Found", "cannot be unpacked as a zip", "no folder with Images/*.bmp"):
        assert said in str(error.value)
    assert "\n" not in str(error.value) and left_in(tmp_path / "b") == []


def test_offline_is_one_sentence_that_names_the_file_to_bring(tiny, tmp_path):
    tiny("http://127.0.0.1:9/tiny.zip")  # nobody listens there
    with pytest.raises(OSError) as error:
        fetch("tiny", tmp_path)
    assert str(error.value) == (
        "tiny could not be fetched (127.0.0.1: no connection); "
        "bring tiny.zip from https://example.org/tiny and give it with --from FILE."
    )
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["tiny.zip", "tiny.tar", "tiny.tar.gz"])
def test_an_archive_at_hand(tiny, tmp_path, name):
    tiny()
    folder = fetch("tiny", tmp_path / "data", [pack(tmp_path / name)])
    assert len(left_in(folder)) == len(FILES) and (tmp_path / name).is_file()


def test_other_pictures_are_refused(tiny, tmp_path):
    tiny()
    changed = FILES | {"repository-master/tiny/Masks/7.png": b"another mask"}
    with pytest.raises(ValueError, match=f"tiny.zip holds other pictures .*{CONTENT}"):
        fetch("tiny", tmp_path / "data", [pack(tmp_path / "tiny.zip", changed)])
    assert os.listdir(tmp_path / "data") == []
    with pytest.raises(FileNotFoundError, match="none.zip is not a file; bring tiny.zip"):
        fetch("tiny", tmp_path / "data", [tmp_path / "none.zip"])
    with pytest.raises(ValueError, match="two of the archives have one name but for its ending; rename one, or give only what tiny.zip is."):
        fetch("tiny", tmp_path / "data", [pack(tmp_path / "a.zip"), pack(tmp_path / "a.tar")])
    with pytest.raises(ValueError, match="unknown data set 'rust'; known: sd-saliency-900, neu-det, magnetic-tile, dagm"):
        fetch("rust", tmp_path / "data")


def test_several_archives_make_one_folder(tiny, tmp_path):
    tiny(files=("Class*/Train/*",), content_sha256=None)
    parts = [
        pack(tmp_path / f"Class{n}.zip", {f"Class{n}/Train/1.PNG": b"picture", "README": b"one in each"}) for n in (7, 8)
    ]
    assert left_in(fetch("tiny", tmp_path / "data", parts)) == [
        "Class7/Class7/Train/1.PNG", "Class7/README", "Class8/Class8/Train/1.PNG", "Class8/README",
    ]


# --- hostile archives: each is refused, writes nothing outside and leaves nothing


def zip_entry(path: Path, name: str, data: bytes = b"evil", mode: int = stat.S_IFREG | 0o644) -> None:
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr, info.compress_type = 3, mode << 16, zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr(info, data)


def zip_names(path: Path, *names: str) -> None:
    with zipfile.ZipFile(path, "w") as packed:
        for name in names:
            packed.writestr(name, b"")


def zip_patched(path: Path, offset: int, value: int) -> None:
    """A zip of 3,000 bytes with two bytes changed both at its local header and at the same field of its directory."""
    zip_entry(path, "a.png", FILES["repository-master/tiny/Masks/1.png"])
    data = bytearray(path.read_bytes())
    directory = data.index(b"PK\1\2")
    for at in (offset, directory + offset + 2):
        data[at : at + 2] = struct.pack("<H", value)
    path.write_bytes(data)


def tar_entry(path: Path, *entries: tuple[str, bytes, str]) -> None:
    """Members by name, type and target of a link."""
    with tarfile.open(path, "w") as packed:
        for name, kind, target in entries:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, target
            packed.addfile(member)


def long_header(path: Path) -> None:
    member = tarfile.TarInfo("name")
    member.type, member.size = tarfile.XHDTYPE, 1 << 33
    path.write_bytes(gzip.compress(member.tobuf(tarfile.GNU_FORMAT) + bytes(10_240)))


LINK, REGULAR = tarfile.SYMTYPE, tarfile.REGTYPE
HOSTILE = {
    "zip, up": (lambda path: zip_entry(path, "../evil"), r"'../evil', which lies outside"),
    "zip, up in the middle": (lambda path: zip_entry(path, "a/../../evil"), "outside"),
    "zip, up by backslash": (lambda path: zip_entry(path, "a\\..\\..\\evil"), "outside"),
    "zip, absolute": (lambda path: zip_entry(path, str(path.with_name("evil"))), "outside"),
    "zip, drive": (lambda path: zip_entry(path, "C:evil"), "outside"),
    "zip, link": (lambda path: zip_entry(path, "evil", b"/etc/passwd", stat.S_IFLNK | 0o777), "'evil', which is a link"),
    "zip, device": (lambda path: zip_entry(path, "evil", b"", stat.S_IFCHR | 0o666), "link or a device"),
    "zip, bomb": (lambda path: zip_entry(path, "evil", bytes(5_000_000)), "more than 100 times its size"),
    "zip, less declared than held": (lambda path: zip_patched(path, 22, 100), "Bad CRC"),
    "zip, encrypted": (lambda path: zip_patched(path, 6, 1), "encrypted"),
    "zip, twice": (lambda path: zip_names(path, "a", "./a"), "twice, or as a file and as a folder"),
    "zip, file as folder": (lambda path: zip_names(path, "a", "a/b"), "twice, or as a file and as a folder"),
    "zip, folder as file": (lambda path: zip_names(path, "a/b", "a"), "twice, or as a file and as a folder"),
    "zip, no name": (lambda path: zip_names(path, "."), "twice, or as a file and as a folder"),
    "zip, cut": (lambda path: pack(path) and path.write_bytes(path.read_bytes()[:50_000]), "cannot be unpacked"),
    "tar, up": (lambda path: tar_entry(path, ("../evil", REGULAR, "")), "outside"),
    "tar, absolute": (lambda path: tar_entry(path, (str(path.with_name("evil")), REGULAR, "")), "outside"),
    "tar, link": (lambda path: tar_entry(path, ("evil", LINK, "/etc")), "link or a device"),
    "tar, through a link": (lambda path: tar_entry(path, ("a", LINK, ".."), ("a/evil", REGULAR, "")), "'a', which is a link"),
    "tar, hard link": (lambda path: tar_entry(path, ("evil", tarfile.LNKTYPE, "/etc/passwd")), "link or a device"),
    "tar, device": (lambda path: tar_entry(path, ("evil", tarfile.CHRTYPE, "")), "link or a device"),
    "tar, pipe": (lambda path: tar_entry(path, ("evil", tarfile.FIFOTYPE, "")), "link or a device"),
    "tar, long header": (long_header, "a header of 8589934592 bytes"),
    "tar.gz, bomb": (lambda path: pack(path.with_suffix(".gz"), {"evil": bytes(5_000_000)}).replace(path), "100 times"),
    "tar.gz, cut": (lambda path: path.write_bytes(pack(path.with_suffix(".gz")).read_bytes()[:50_000]), "cannot be unpacked"),
    "no archive": (lambda path: path.write_text("<html>sign in</html>"), "cannot be unpacked"),
    "empty": (lambda path: path.write_bytes(b""), "cannot be unpacked"),
}


@pytest.mark.parametrize("trick", HOSTILE)
def test_hostile_archives(tiny, tmp_path, trick):
    tiny()
    prepare, said = HOSTILE[trick]
    archive = tmp_path / ("set" + (".zip" if trick.startswith("zip") else ".tar"))
    prepare(archive)
    before = left_in(tmp_path)
    with pytest.raises(ValueError, match=said) as error:
        fetch("tiny", tmp_path / "data", [archive])
    assert str(archive) in str(error.value) and "\n" not in str(error.value)
    assert left_in(tmp_path) == before and os.listdir(tmp_path / "data") == []


def test_a_bomb_of_many_files(monkeypatch, tmp_path):
    monkeypatch.setattr(archives, "MEMBERS", 10)
    zip_names(tmp_path / "many.zip", *map(str, range(11)))
    with pytest.raises(ValueError, match="more than 10 files"):
        archives.unpack(tmp_path / "many.zip", tmp_path / "a")


def test_what_declares_too_much_is_not_even_opened(monkeypatch, tmp_path):
    monkeypatch.setattr(archives, "members", lambda *_: [("a", False, True, 100_001, None)])
    (tmp_path / "set.zip").write_bytes(bytes(1_000))
    with pytest.raises(ValueError, match="100 times its size"):
        archives.unpack(tmp_path / "set.zip", tmp_path / "a")


def test_a_member_larger_than_it_declares(monkeypatch, tmp_path):
    """Bytes are counted as they are written, whatever the header says."""
    monkeypatch.setattr(archives, "members", lambda *_: [("a", False, True, 1, lambda: io.BytesIO(bytes(5_000_000)))])
    (tmp_path / "set.zip").write_bytes(bytes(1_000))
    with pytest.raises(ValueError, match="100 times its size"):
        archives.unpack(tmp_path / "set.zip", tmp_path / "a")
    assert sum(path.stat().st_size for path in (tmp_path / "a").iterdir()) <= 100_000


# --- the table


def test_the_table():
    assert list(SOURCES) == ["sd-saliency-900", "neu-det", "magnetic-tile", "dagm"]
    for source in SOURCES.values():
        assert all(url.startswith("https://") for mirror in source.mirrors for url in mirror)
        assert all((source.folder, source.page, source.licence, source.citation, source.bring, source.mirrors, source.files))


@pytest.mark.parametrize("name", [name for name, source in SOURCES.items() if source.content_sha256])
def test_known_contents(name):
    source = SOURCES[name]
    if not (DATA / source.folder).is_dir():
        pytest.skip(f'{source.folder} is not under ANET_DATA; get it with "python -m data_prep fetch {name}"')
    assert content_sha256(DATA / source.folder, source.files) == source.content_sha256
