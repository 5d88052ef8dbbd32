"""A file that is written whole or not at all."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Where to write: a name beside the path, which becomes the path when the block ends, and is removed if it fails.

    Each call has a name of its own, so that of several that write one file at once the last to end replaces it, and none fails.

    Raises:
        OSError: the file cannot be written; one sentence that names it.
    """
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise OSError(f"{path} cannot be written ({error.strerror or error}); make place for it, or write elsewhere.") from None
    finally:
        temporary.unlink(missing_ok=True)
