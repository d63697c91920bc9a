import json
import logging
import subprocess
import sys
from datetime import datetime
from enum import StrEnum
from pathlib import Path

import numpy as np
import pytest
import torch

from common.system.logs import JsonLineFormatter, JsonLogHandler, json_value, open_json_log, quiet_libraries


def lines(path: Path) -> list[dict]:
    return [json.loads(line, parse_constant=pytest.fail) for line in path.read_text().splitlines()]


def test_each_event_is_one_json_object_a_line_with_time_level_logger_and_fields(tmp_path):
    path = tmp_path / "deep" / "log.jsonl"
    with open_json_log(path, "oncofed.test.shape") as log:
        log.info("round %d finished", 3, extra={"seconds": 1.5, "sites": ["hospital1", "hospital2"]})
        log.warning("two\nlines")
    first, second = lines(path)
    assert first["event"] == "round 3 finished"
    assert first["level"] == "INFO"
    assert first["logger"] == "oncofed.test.shape"
    assert first["fields"] == {"seconds": 1.5, "sites": ["hospital1", "hospital2"]}
    assert datetime.fromisoformat(first["time"]).utcoffset().total_seconds() == 0
    assert second["event"] == "two\nlines"
    assert "fields" not in second


def test_fields_may_be_given_as_one_mapping_with_any_names(tmp_path):
    with open_json_log(tmp_path / "log.jsonl", "oncofed.test.mapping") as log:
        log.info("round", extra={"fields": {"name": "cgan", "round": 3}, "seconds": 2})
    assert lines(tmp_path / "log.jsonl")[0]["fields"] == {"name": "cgan", "round": 3, "seconds": 2}


def test_a_line_is_on_disk_before_the_log_is_closed(tmp_path):
    path = tmp_path / "log.jsonl"
    with open_json_log(path, "oncofed.test.flush") as log:
        log.info("now")
        assert lines(path)[0]["event"] == "now"


def test_a_log_opened_twice_writes_each_event_once_and_stays_open_until_the_last_close(tmp_path):
    path = tmp_path / "log.jsonl"
    with open_json_log(path, "oncofed.test.twice") as log:
        with open_json_log(tmp_path / "." / "log.jsonl", "oncofed.test.twice") as again:
            again.info("inner")
        log.info("outer")
    log.info("after")
    assert [entry["event"] for entry in lines(path)] == ["inner", "outer"]
    assert log.handlers == []


def test_closing_gives_the_logger_back_as_it_was(tmp_path):
    logger = logging.getLogger("oncofed.test.restored")
    logger.setLevel(logging.ERROR)
    with pytest.raises(RuntimeError), open_json_log(tmp_path / "log.jsonl", "oncofed.test.restored"):
        raise RuntimeError
    assert (logger.level, logger.propagate, logger.handlers) == (logging.ERROR, True, [])


def test_what_a_site_logs_does_not_reach_the_log_of_a_parent(tmp_path):
    with (
        open_json_log(tmp_path / "study.jsonl", "oncofed.test.study"),
        open_json_log(tmp_path / "site.jsonl", "oncofed.test.study.hospital1") as site,
    ):
        site.error("patient in full")
    assert lines(tmp_path / "study.jsonl") == []
    assert len(lines(tmp_path / "site.jsonl")) == 1


def test_an_existing_log_is_continued_and_a_torn_last_line_is_kept_apart(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"event": "whole"}\n{"event": "to')
    with open_json_log(path, "oncofed.test.torn") as log:
        log.info("resumed")
    written = path.read_text().splitlines()
    assert written[:2] == ['{"event": "whole"}', '{"event": "to']
    assert json.loads(written[2])["event"] == "resumed"


def test_only_the_owner_may_read_a_log(tmp_path):
    with open_json_log(tmp_path / "log.jsonl", "oncofed.test.mode"):
        assert (tmp_path / "log.jsonl").stat().st_mode & 0o077 == 0


def test_two_processes_share_a_file_without_mixing_lines(tmp_path):
    path = tmp_path / "log.jsonl"
    program = (
        "import sys; from pathlib import Path; from common.system.logs import open_json_log\n"
        "with open_json_log(Path(sys.argv[1]), 'oncofed') as log:\n"
        "    for i in range(200): log.info('x' * 3000, extra={'i': i})\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", program, str(path)]) for _ in range(2)]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0]
    assert sorted(entry["fields"]["i"] for entry in lines(path)) == sorted(2 * list(range(200)))


class Colour(StrEnum):
    RED = "red"


class Unprintable:
    def __repr__(self) -> str:
        raise ValueError("no repr")

    __str__ = __repr__


class Circular(list):
    pass


circular = Circular()
circular.append(circular)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.array([[1.0, np.inf]]), [[1.0, "inf"]]),
        (torch.tensor(2.0), 2.0),
        (torch.zeros(3, 100), "Tensor of shape (3, 100), torch.float32"),
        (Path("a") / "b.nii.gz", "a/b.nii.gz"),
        ({1: (2, None)}, {"1": [2, None]}),
        ({"b", "a"}, ["a", "b"]),
        (Colour.RED, "red"),
        (b"raw", "b'raw'"),
        (10**400, 10**400),
        (Unprintable(), "Unprintable (cannot be printed)"),
        ({Unprintable(): 1}, "dict (cannot be printed)"),
    ],
)
def test_odd_values_become_json(value, expected):
    assert json_value(value) == expected
    json.dumps(json_value(value), allow_nan=False)


@pytest.mark.parametrize(
    ("message", "arguments"),
    [("%d rounds", ("three",)), ("%s", (Unprintable(),)), (Unprintable(), ()), ("%s %s", ("one",))],
)
def test_a_message_that_does_not_fit_its_arguments_is_still_logged(tmp_path, message, arguments):
    with open_json_log(tmp_path / "log.jsonl", "oncofed.test.misfit") as log:
        log.info(message, *arguments, extra={"loop": circular, "lone": "\udcff", "torch": torch.zeros(2)})
    (entry,) = lines(tmp_path / "log.jsonl")
    assert entry["event"]
    assert entry["fields"]["lone"] == "\udcff"


def test_an_exception_is_logged_with_its_traceback_even_if_its_text_fails(tmp_path):
    class BadError(Exception):
        def __str__(self) -> str:
            raise ValueError

    with open_json_log(tmp_path / "log.jsonl", "oncofed.test.exception") as log:
        for error in (KeyError("missing"), BadError()):
            try:
                raise error
            except Exception:
                log.exception("failed")
    first, second = lines(tmp_path / "log.jsonl")
    assert "KeyError: 'missing'" in first["exception"]
    assert "BadError" in second["exception"]


def test_a_very_long_text_is_shortened_with_its_length():
    record = logging.makeLogRecord({"msg": "x" * 100_000})
    event = json.loads(JsonLineFormatter().format(record))["event"]
    assert len(event) < 5_000
    assert event.endswith("(100000 characters)")


def test_a_failing_disk_does_not_stop_the_study(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(logging, "raiseExceptions", True)
    handler = JsonLogHandler(tmp_path / "log.jsonl")
    handler.close()
    handler.emit(logging.makeLogRecord({"msg": "lost"}))
    assert "Logging error" in capsys.readouterr().err


def test_importing_configures_nothing():
    level = "logging.getLogger('oncofed').level"
    program = f"import logging, common.system.logs; print(logging.getLogger().handlers, {level})"
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert output.stdout.strip() == "[] 0"


@pytest.mark.parametrize("order", ["before", "after"])
def test_flower_is_quiet_whether_it_is_imported_before_or_after(order):
    quiet = "from common.system.logs import quiet_libraries; quiet_libraries()\n"
    flower = "from flwr.common.logger import log\n"
    program = (flower + quiet if order == "before" else quiet + flower) + "log(20, 'information'); log(30, 'warning')\n"
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "warning" in output.stderr
    assert "information" not in output.stderr


def test_quieting_twice_leaves_one_filter_with_the_last_level():
    logger = logging.getLogger("matplotlib")
    before = (logger.level, list(logger.filters))
    logger.filters = []  # Another test may have quietened it before.
    try:
        quiet_libraries()
        quiet_libraries(logging.ERROR)
        assert len(logger.filters) == 1
        assert not logger.filter(logging.makeLogRecord({"levelno": logging.WARNING}))
        assert logger.filter(logging.makeLogRecord({"levelno": logging.ERROR}))
    finally:
        logger.setLevel(before[0])
        logger.filters = before[1]
