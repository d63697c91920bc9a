import io

from common.study.progress import piece_done
from common.system.terminal import counted


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_pipe_gets_about_ten_lines_whatever_the_number() -> None:
    stream = io.StringIO()
    with counted("preparing", "patients", stream) as advance:
        for done in range(1, 1001):
            advance(piece_done(done, 1000, "a name"))
    lines = stream.getvalue().splitlines()
    assert lines[0] == "preparing: 1 of 1000 patients"
    assert lines[-1] == "preparing: 1000 of 1000 patients"
    assert len(lines) == 11
    assert "a name" not in stream.getvalue()


def test_a_terminal_gets_a_bar_that_is_gone_at_the_end(monkeypatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = Terminal()
    with counted("preparing", "patients", stream) as advance:
        advance(piece_done(3, 4, "a name"))
    assert "3/4" in stream.getvalue()
    assert "\x1b[" in stream.getvalue()
    assert stream.getvalue().rstrip().endswith("\x1b[2K")
    assert "a name" not in stream.getvalue()
