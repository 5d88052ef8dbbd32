"""How command lines end."""

import functools
import sys
from collections.abc import Callable


def exit_code(main: Callable[..., int | None]) -> Callable[..., int]:
    """A command line that returns its exit code: 0 or its own, 1 after the sentence of a ValueError or OSError or where memory ends, 130 where it was interrupted."""

    @functools.wraps(main)
    def told(*arguments) -> int:
        try:
            return main(*arguments) or 0
        except KeyboardInterrupt:
            return 130
        except (ValueError, OSError) as error:
            print(error, file=sys.stderr)
            return 1
        except (MemoryError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and "allocate memory" not in str(error):  # as torch says it
                raise
            print("this does not fit into memory; give less at once, or smaller pictures.", file=sys.stderr)
            return 1

    return told
