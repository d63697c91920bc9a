"""Log files of one JSON object a line, on the standard ``logging`` module.

Importing this module configures nothing. A log is open for the length of a ``with`` block:

    with open_json_log(run / "log.jsonl", "oncofed.study") as log:
        log.info("round finished", extra={"fields": {"round": 3, "seconds": 12.5}})
"""

import json
import logging
import math
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_STANDARD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_LONGEST_TEXT = 4000
_MOST_ITEMS = 64
_DEEPEST = 6

NOISY_LIBRARIES = ("flwr", "ray", "urllib3", "httpx", "matplotlib", "PIL", "absl", "tensorflow", "tensorboard")
"""Loggers whose information lines would break up a progress display."""

IMAGE_LIBRARIES = ("pydicom", "highdicom", "pylibjpeg", "libjpeg", "openjpeg", "nibabel", "nibabel.global")
"""Loggers of what reads a hospital's files. Each odd value would be a line of theirs, which may quote it; what matters
of it becomes a reason, which is told."""


def _is_field(key: str) -> bool:
    # Ray marks every record of its process with one of its own.
    return key not in _STANDARD_FIELDS and not key.startswith("_")


class JsonLineFormatter(logging.Formatter):
    """A record as one line of JSON that any parser reads; no value makes it fail.

    Keys: ``time`` (ISO 8601, UTC, milliseconds), ``level``, ``logger``, ``event`` (the message), ``fields`` (what was
    given as ``extra``, if anything) and ``exception`` (the traceback, if there is one). ``extra={"fields": {…}}`` and
    ``extra={…}`` mean the same; the first may use any name, the second none of ``logging``'s own (``name``, ``args``).

    >>> record = logging.makeLogRecord({"levelname": "INFO", "name": "oncofed", "msg": "done", "created": 0, "n": 3})
    >>> print(JsonLineFormatter().format(record))
    {"time": "1970-01-01T00:00:00.000Z", "level": "INFO", "logger": "oncofed", "event": "done", "fields": {"n": 3}}
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        entry: dict[str, Any] = {"time": time, "level": record.levelname, "logger": record.name}
        entry["event"] = _event(record)
        fields = {key: value for key, value in vars(record).items() if _is_field(key)}
        if isinstance(fields.get("fields"), Mapping):
            given = fields.pop("fields")
            fields |= given
        if fields:
            entry["fields"] = json_value(fields)
        if record.exc_info and record.exc_info[0] is not None:
            entry["exception"] = _text(self.formatException(record.exc_info))
        # ASCII only: a name with a lone surrogate, as a file system can give, would otherwise not encode.
        return json.dumps(entry, allow_nan=False)

    def formatException(self, ei: Any) -> str:  # noqa: N802 - the name is the base class's
        """The traceback; an exception that cannot be printed is named by its class."""
        try:
            return super().formatException(ei)
        except Exception:
            return f"{ei[0].__name__} (its text cannot be printed)"


def json_value(value: Any, depth: int = 0) -> Any:
    """``value`` as something JSON can hold, shortened where it is long.

    Numbers, texts, lists and mappings stay what they are; a number that is not finite becomes a text, because JSON
    has none; an array or tensor of at most 64 elements becomes a list, a longer one its shape and type; anything else
    becomes its ``repr``.

    >>> json_value({"loss": float("nan"), 3: {"b", "a"}, "file": Path("scan.nii.gz")})
    {'loss': 'nan', '3': ['a', 'b'], 'file': 'scan.nii.gz'}
    """
    try:
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str | Path):
            return _text(str(value))
        if isinstance(value, int):
            return int(value)
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else str(float(value))
        if depth >= _DEEPEST:
            return _text(repr(value))
        if hasattr(value, "shape") and hasattr(value, "tolist"):
            if math.prod(value.shape) <= _MOST_ITEMS:
                return json_value(value.tolist(), depth + 1)
            return f"{type(value).__name__} of shape {tuple(value.shape)}, {value.dtype}"
        if isinstance(value, Mapping):
            return {_text(str(key)): json_value(item, depth + 1) for key, item in value.items()}
        if isinstance(value, set | frozenset):
            return sorted((json_value(item, depth + 1) for item in value), key=repr)
        if isinstance(value, list | tuple):
            return [json_value(item, depth + 1) for item in value]
        return _text(repr(value))
    except Exception:
        # A log line must never stop a study: an object may fail in its repr, its iteration or its conversion.
        return f"{type(value).__name__} (cannot be printed)"


class JsonLogHandler(logging.Handler):
    """Appends to one file. Each line is a single write, so that processes may share the file and a killed one loses
    nothing it had logged."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = _own_place(path)
        self.openings = 0
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        self.setFormatter(JsonLineFormatter())
        self._end_torn_line()

    def emit(self, record: logging.LogRecord) -> None:
        """Writes one line; a full disk is reported on stderr by ``logging``, and the study goes on."""
        try:
            os.write(self._descriptor, f"{self.format(record)}\n".encode())
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        """Closes the file; a second call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        super().close()

    def _end_torn_line(self) -> None:
        size = os.fstat(self._descriptor).st_size
        if size and os.pread(self._descriptor, 1, size - 1) != b"\n":
            os.write(self._descriptor, b"\n")


@contextmanager
def open_json_log(path: Path, name: str = "oncofed", level: int = logging.INFO) -> Iterator[logging.Logger]:
    """The logger ``name``, writing to ``path`` for the length of the block.

    An existing file is continued. The same file opened twice for one logger is written once. While the log is open
    the logger hands nothing to its parents, so that what a site logs in full stays in that site's file.

    Args:
        path: the file; its folder is made. Only its owner may read it, for it may name patients.
        name: of the logger.
        level: the lowest level that is written.

    Raises:
        OSError: if the file cannot be opened for writing, or is a link.
    """
    logger = logging.getLogger(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = next(
        (h for h in logger.handlers if isinstance(h, JsonLogHandler) and h.path == _own_place(path)), None
    ) or JsonLogHandler(path)
    before = (logger.level, logger.propagate)
    if handler.openings == 0:
        logger.addHandler(handler)
    handler.openings += 1
    handler.setLevel(level)
    logger.setLevel(level)
    logger.propagate = False
    try:
        yield logger
    finally:
        logger.setLevel(before[0])
        logger.propagate = before[1]
        handler.openings -= 1
        if handler.openings == 0:
            logger.removeHandler(handler)
            handler.close()


def _own_place(path: Path) -> Path:
    """One name for a file, however its folder is named; the file itself is not looked for behind a link."""
    return path.parent.resolve() / path.name


class _AtLeast(logging.Filter):
    """Lets a record pass from ``level`` on."""

    def __init__(self, level: int) -> None:
        super().__init__()
        self.level = level

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno >= self.level


def quiet_libraries(level: int = logging.WARNING) -> None:
    """Silences the libraries of ``NOISY_LIBRARIES`` below ``level``, and ``IMAGE_LIBRARIES`` whatever they have to say.

    It holds for this process, for warnings of the latter too.

    Flower prints its information lines through a handler of its own on stderr and sets its logger's level when it is
    imported: a filter on the logger holds whether that happens before or after this call.
    """
    silent = dict.fromkeys(IMAGE_LIBRARIES, logging.CRITICAL + 1)
    for name, least in {**dict.fromkeys(NOISY_LIBRARIES, level), **silent}.items():
        logger = logging.getLogger(name)
        logger.setLevel(least)
        for old in [f for f in logger.filters if isinstance(f, _AtLeast)]:
            logger.removeFilter(old)
        logger.addFilter(_AtLeast(least))
    warnings.filterwarnings("ignore", module=rf"({'|'.join((*IMAGE_LIBRARIES, 'PIL'))})\b")


def _event(record: logging.LogRecord) -> str:
    try:
        return _text(record.getMessage())
    except Exception:
        return _text(f"{json_value(record.msg)} {json_value(record.args)}")


def _text(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}… ({len(text)} characters)"
