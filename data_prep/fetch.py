"""Getting a published data set: download, check, unpack; or unpack an archive already at hand."""

import hashlib
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import pooch
import requests
from tqdm import tqdm

from data_prep.archives import unpack
from data_prep.format import sha256
from data_prep.sources import SOURCES, Source

CHUNK = 1 << 16  # bytes
TIMEOUT = (10, 60)  # seconds to connect, and between two chunks


def fetch(name: str, out: Path, archives: Sequence[Path] = ()) -> Path:
    """Put a published data set's folder into ``out``, as its owner laid it out.

    Args:
        name: a key of SOURCES.
        archives: archives at hand, instead of downloading.

    Returns:
        the new folder.

    Raises:
        ValueError: unknown name, or the archive at hand is unfit or holds other pictures than the known ones.
        FileExistsError: the folder exists.
        OSError: it cannot be downloaded; the sentence says why, and which file to bring.
    """
    if name not in SOURCES:
        raise ValueError(f"unknown data set {name!r}; known: {', '.join(SOURCES)}.")
    source = SOURCES[name]
    folder = Path(out) / source.folder
    if folder.exists():
        raise FileExistsError(f"{folder} exists already; delete it to fetch it again.")
    say(f"{name}, from {source.page}\nLicence: {source.licence}\nPlease cite: {source.citation}")
    for archive in archives:
        if not archive.is_file():
            raise FileNotFoundError(f"{archive} is not a file; bring {source.bring} from {source.page}.")
    if len({archive.stem for archive in archives}) < len(archives):
        raise ValueError(f"two of the archives have one name but for its ending; rename one, or give only what {source.bring} is.")
    if archives:
        install(source, archives, folder)
        return folder
    downloads = Path(out) / f".{name}-download"  # stays until the set is complete, so that a later call resumes
    failures = []
    for mirror in source.mirrors:
        try:
            install(source, [download(url, downloads) for url in mirror], folder)
        except ValueError as error:
            shutil.rmtree(downloads, ignore_errors=True)  # not what it should be: no use in keeping it
            failures.append(reason(error))
        except OSError as error:
            failures.append(f"{urlsplit(mirror[0]).hostname}: {reason(error)}")
        else:
            shutil.rmtree(downloads)
            return folder
    if not any(path.is_file() for path in downloads.rglob("*")):
        shutil.rmtree(downloads, ignore_errors=True)
    raise OSError(
        f"{name} could not be fetched ({'; '.join(failures)}); "
        f"bring {source.bring} from {source.page} and give it with --from FILE."
    )


def install(source: Source, archives: Sequence[Path], folder: Path) -> None:
    """Unpack archives, check that the pictures are the known ones, and only then give them their place."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        for archive in archives:
            unpack(archive, temporary / archive.stem)
        root = root_of(temporary, source.files)
        names = " and ".join(map(str, archives))
        if root is None:
            wanted = " and ".join(source.files)
            raise ValueError(f"{names} holds no folder with {wanted}; bring {source.bring} from {source.page}.")
        if len(archives) > 1:
            root = temporary
        if source.content_sha256 and (found := content_sha256(root, source.files)) != source.content_sha256:
            raise ValueError(
                f"{names} holds other pictures (content {found}) than those that the results were computed from "
                f"({source.content_sha256}); unpack it by hand if you want these."
            )
        root.chmod(0o755)
        root.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def root_of(folder: Path, patterns: Sequence[str]) -> Path | None:
    """The highest folder in ``folder`` in which each pattern finds something."""
    folders = sorted((path for path in (folder, *folder.rglob("*")) if path.is_dir()), key=lambda path: (len(path.parts), path))
    return next((path for path in folders if all(any(path.glob(pattern)) for pattern in patterns)), None)


def content_sha256(folder: Path, patterns: Sequence[str]) -> str:
    """SHA-256 over the sorted lines "sha256  path" of the files that the patterns find: whatever packed them, the same."""
    names = sorted(path.relative_to(folder).as_posix() for pattern in patterns for path in folder.glob(pattern))
    digest = hashlib.sha256()
    for name in names:
        digest.update(f"{sha256(folder / name)}  {name}\n".encode())
    return digest.hexdigest()


def download(url: str, folder: Path) -> Path:
    """The downloaded file, resumed where an earlier call was cut; its sha256 is printed."""
    place = folder / hashlib.sha256(url.encode()).hexdigest()[:8]  # two mirrors' parts must not be mixed
    name = urlsplit(url).path.rsplit("/", 1)[-1]
    say(url)
    pooch.get_logger().setLevel("WARNING")
    path = Path(pooch.retrieve(url, None, name, place, downloader=Resuming(place / f"{name}.part")))
    say(f"sha256 {sha256(path)}")
    return path


class Resuming:
    """A downloader for pooch, which itself begins anew each time: goes on with a partial file, by HTTP range requests."""

    def __init__(self, part: Path) -> None:
        self.part = part

    def __call__(self, url: str, output_file: str, pooch: object) -> None:
        while True:
            before = self.size()
            try:
                self.go_on(url)
                break
            except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError):
                if self.size() <= before:  # as long as a try gets further there will be another
                    raise
        shutil.move(self.part, output_file)

    def size(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def go_on(self, url: str) -> None:
        """Append what is missing, or begin anew where the server does not do ranges."""
        start = self.size()
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
            if response.status_code == 416 and response.headers.get("Content-Range") == f"bytes */{start}":
                return  # all of it was there
            if response.status_code == 416:
                self.part.unlink()  # longer than the file on the server: another file
                return self.go_on(url)
            response.raise_for_status()
            resumed = response.status_code == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {start}-")
            done = start if resumed else 0
            total = done + int(response.headers.get("Content-Length", 0))
            with (
                self.part.open("ab" if resumed else "wb") as file,
                tqdm(total=total or None, initial=done, unit="B", unit_scale=True, desc=self.part.stem) as bar,
            ):
                for chunk in response.iter_content(CHUNK):
                    file.write(chunk)
                    bar.update(len(chunk))


def reason(error: Exception) -> str:
    """Why a mirror failed, in a few words."""
    if isinstance(error, requests.HTTPError):
        return f"{error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.RequestException):
        return "no connection"
    return str(error).split(". ")[0].rstrip(".")


def say(line: str) -> None:
    print(line, file=sys.stderr)
