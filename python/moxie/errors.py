"""What goes wrong, as exceptions. Each is a MoxieError and also the built-in exception that fits, so that code which
catches ValueError or OSError keeps working. The text says what was found, what the limit is, and what to do."""

from __future__ import annotations

from typing import Dict, Mapping, Optional, Type


class MoxieError(Exception):
    """Anything that moxie reports.

    `code`: the library's name for the kind of error. Of an error about a model's files also, else empty: `diagnosis`,
    the stable code under which docs/troubleshooting.md explains it; `why` it happens; `remedy`, the command that helps;
    what was `found` and `expected`; `near_miss`, what there is that is most like what is missing.
    """

    code = "internal"
    diagnosis = ""
    why = ""
    remedy = ""
    found = ""
    expected = ""
    near_miss = ""


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


def make(code: str, message: str, diagnosis: Optional[Mapping[str, str]] = None) -> MoxieError:
    """The exception for an error of the library."""
    known = dict(diagnosis or {})
    if known.get("remedy"):
        message += f"\n{known['why']}\ntry: {known['remedy']}"
    made = _CLASSES.get(code, InternalError)(message)
    for name, value in known.items():
        setattr(made, name, value)
    return made


class IgnoredArgument(UserWarning):
    """An argument that has no meaning here; said once for each name."""


class QuantizedAtLoad(UserWarning):
    """Weights were made smaller while a model opened, as load_in_4bit and its like ask."""
