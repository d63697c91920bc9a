"""A program is never held up by whoever reads its lines, however many or long they are."""

import io
import sys
import threading

from outside_texts import OUTSIDE, odd_characters

from common.system.child_process import ChildProcess
from common.system.outside import LONGEST_LINE
from common.system.waiting_lines import MOST_WAITING, WaitingLines, read_lines


def told_of(written: bytes) -> list[str]:
    waiting = WaitingLines()
    read_lines(io.BytesIO(written), waiting)
    return list(waiting)


def test_lines_come_whole_and_in_order_without_colours() -> None:
    assert told_of(b"\x1b[92mINFO\x1b[0m: one\n\n  two\r\nthree") == ["INFO: one", "", "  two", "three"]


def test_what_others_chose_stays_one_line_without_what_a_terminal_obeys() -> None:
    for text in OUTSIDE.values():
        written = text.replace("\n", " ").encode(errors="surrogatepass")
        (one,) = told_of(b"Receiving: " + written)
        assert odd_characters(one) == set()
        assert one.startswith("Receiving: ")
        assert len(one) <= LONGEST_LINE


def test_a_line_without_an_end_is_cut_and_the_next_one_is_whole() -> None:
    cut, following = told_of(b"x" * 5_000_000 + b"\nnext\n")
    assert (len(cut), cut[-1], following) == (LONGEST_LINE, "…", "next")


def test_lines_that_find_no_place_are_counted() -> None:
    told = told_of(b"".join(b"%d\n" % number for number in range(MOST_WAITING + 500)))
    assert told[:MOST_WAITING] == [str(number) for number in range(MOST_WAITING)]
    assert told[MOST_WAITING:] == ["500 lines were left out: they came faster than they are told"]


def test_a_program_that_writes_without_end_ends_although_nobody_listens() -> None:
    """The listener waits for the program to have ended: held up by him, it would never end.

    What still lies in the pipe by then finds a place again as the listener makes room, so that somewhat more than
    ``MOST_WAITING`` lines may reach him: of 100,000, only few.
    """
    ended, all_told, told = threading.Event(), threading.Event(), []

    def listen(one: str) -> None:
        assert ended.wait(60)
        told.append(one)
        if "left out" in one:
            all_told.set()

    write = "import sys\nfor n in range(100_000): sys.stdout.write(f'{n} ' + 'x' * 50 + '\\n')"
    child = ChildProcess([sys.executable, "-c", write], {}, listen)
    child.start()
    assert child.wait(60) == 0
    ended.set()
    assert all_told.wait(60)
    assert len(told) < 10 * MOST_WAITING
    assert told[0] == f"0 {'x' * 50}"
