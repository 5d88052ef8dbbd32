"""Unpacking an archive that may be hostile: plain files and folders, inside the target, of bounded size.

Not by ``extractall``: tarfile's filters came with Python 3.11.4, and zipfile has none.
"""

import gzip
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

RATIO = 100  # how many times its own size an archive may unpack to; pictures hardly shrink, a bomb does by thousands
MEMBERS = 200_000
CHUNK = 1 << 20  # bytes

Member = tuple[str, bool, bool, int, Callable[[], IO[bytes]]]  # name, whether a folder, whether plain, bytes, how to open it


def unpack(archive: Path, folder: Path) -> None:
    """Write what a zip, tar or tar.gz holds to a new folder. Links are refused, so that none can be followed.

    Raises:
        FileExistsError: the folder exists.
        ValueError: not an archive, damaged or encrypted, or a member that is a link or a device, lies outside the folder,
            comes twice or makes the whole too large. What was written until then stays, for the caller to delete.
    """
    folder.mkdir(parents=True)
    left = RATIO * archive.stat().st_size
    with ExitStack() as opened:
        try:
            for number, (name, is_folder, is_plain, size, open_member) in enumerate(members(archive, opened)):
                target = folder / inside(name, archive)
                if not is_plain:
                    raise ValueError(f"{archive} holds {name!r}, which is a link or a device; unpack it by hand if you trust it.")
                if number >= MEMBERS or size > left:
                    raise too_large(archive)
                if is_folder:
                    target.mkdir(parents=True, exist_ok=True)
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                with open_member() as data, target.open("xb") as file:
                    while chunk := data.read(CHUNK):
                        left -= len(chunk)
                        if left < 0:
                            raise too_large(archive)
                        file.write(chunk)
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            raise ValueError(f"{archive} holds {name!r} twice, or as a file and as a folder; get it anew.") from None
        except (
            zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError, UnicodeError,
        ) as error:  # RuntimeError: encrypted, or a method that Python does not know
            raise ValueError(f"{archive} cannot be unpacked as a zip, tar or tar.gz ({error}); get it anew.") from None


def members(archive: Path, opened: ExitStack) -> Iterator[Member]:
    """The members of an archive, which stays open as long as ``opened``."""
    if zipfile.is_zipfile(archive):
        packed = opened.enter_context(zipfile.ZipFile(archive))
        for info in packed.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)  # 0 where the archive was not made under Unix
            is_plain = kind in (0, stat.S_IFREG, stat.S_IFDIR)
            yield info.filename, info.is_dir(), is_plain, info.file_size, partial(packed.open, info)
    else:
        with archive.open("rb") as start:
            is_gzip = start.read(2) == b"\x1f\x8b"
        stream = opened.enter_context(gzip.open(archive) if is_gzip else archive.open("rb"))
        tape = opened.enter_context(tarfile.open(fileobj=Bounded(stream), mode="r:"))
        for member in tape:
            yield member.name, member.isdir(), member.isreg() or member.isdir(), member.size, partial(tape.extractfile, member)


class Bounded:
    """A stream of which at most CHUNK bytes are read at once: tarfile takes a long name whole, however long it claims to be."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.seek, self.tell, self.stream = stream.seek, stream.tell, stream

    def read(self, size: int) -> bytes:
        if size > CHUNK:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return self.stream.read(size)


def inside(name: str, archive: Path) -> PurePosixPath:
    """A member's path relative to the target; ValueError if it would lie elsewhere, under any system's rules."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or PureWindowsPath(name).drive or ".." in path.parts or "\0" in name:
        raise ValueError(f"{archive} holds {name!r}, which lies outside the folder it is unpacked to; do not use it.")
    return path


def too_large(archive: Path) -> ValueError:
    """The error of an archive that might be a bomb."""
    return ValueError(
        f"{archive} unpacks to more than {RATIO} times its size or to more than {MEMBERS} files; "
        "unpack it by hand if you trust it."
    )
