"""What goes wrong, as exceptions. Each is a MoxieError and also the built-in exception that fits, so that code which
catches ValueError or OSError keeps working. The text says what was found, what the limit is, and what to do."""

from __future__ import annotations

from typing import Dict, Type


class MoxieError(Exception):
    """Anything that moxie reports. `code` is the library's name for the kind of error."""

    code = "internal"


class InvalidArgument(MoxieError, ValueError):
    code = "invalid_argument"


class NotFound(MoxieError, FileNotFoundError, ValueError):
    """A file, model or tensor that is not there."""

    code = "not_found"


class Corrupt(MoxieError, ValueError):
    """A file that is damaged or is not what its name says."""

    code = "corrupt"


class Unsupported(MoxieError, ValueError):
    code = "unsupported"


class ReadError(MoxieError, OSError):
    code = "io"


class OutOfMemory(MoxieError, MemoryError):
    code = "out_of_memory"


class Unavailable(MoxieError, RuntimeError):
    code = "unavailable"


class Cancelled(MoxieError, RuntimeError):
    code = "cancelled"


class InternalError(MoxieError, RuntimeError):
    code = "internal"


_CLASSES: Dict[str, Type[MoxieError]] = {
    one.code: one
    for one in (InvalidArgument, NotFound, Corrupt, Unsupported, ReadError, OutOfMemory, Unavailable, Cancelled)
}


def make(code: str, message: str) -> MoxieError:
    """The exception for an error of the library."""
    return _CLASSES.get(code, InternalError)(message)


class IgnoredArgument(UserWarning):
    """An argument that has no meaning here; said once for each name."""
