"""A study in the thread in which Flower's simulation runs it, and how it ends when somebody presses Ctrl-C.

Python tells the main thread alone of an interrupt, and that one only waits for Ray. Left to itself it would end the
sites first: the study would take them for sites that failed, go on with those that had answered, and then wait, with
the run's lock, for answers that nobody gives.
"""

import ctypes
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from common.system.command import INTERRUPTED
from common.system.logs import quiet_libraries
from common.system.outside import say
from server.app import run_study
from server.settings import StudySettings
from simulation.one_disk import OneDisk

PATIENCE = 2.5
"""Seconds that the study has to end: a computation cannot be interrupted before it has come to its own end."""

LONGEST = 6.0
"""Seconds after which the process ends, whatever still waits in it."""


class RayStudy:
    """One study, run in another thread than the main one.

    Args:
        settings: of the study.
    """

    def __init__(self, settings: StudySettings) -> None:
        self._settings = settings
        self._thread: int | None = None
        self._ended = threading.Event()
        self._left = threading.Event()
        self._interrupted = False

    def app(self) -> ServerApp:
        """The ServerApp of this study."""
        app = ServerApp()

        @app.main()
        def main(grid: Grid, context: Context) -> None:
            self._thread = threading.get_ident()
            try:
                if not self._interrupted:
                    run_study(OneDisk(grid, self._settings.run_dir), self._settings)
            except KeyboardInterrupt:
                return  # The main thread tells the person.
            finally:
                self._ended.set()

        return app

    @contextmanager
    def ended_before_ray(self) -> Iterator[None]:
        """Within the block an interrupt ends the study first, and only then what waits for Ray.

        A study that takes longer than :data:`PATIENCE` to end is left to the end of its process: it sees no answer
        any more, and what it writes is whole or not there.

        Raises:
            KeyboardInterrupt: once both have ended.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGINT, self._on_interrupt)
        try:
            yield
        except Exception as error:
            # Ray and Flower make other errors of an interrupt.
            if self._interrupted:
                raise KeyboardInterrupt from error
            raise
        finally:
            self._left.set()
            signal.signal(signal.SIGINT, before)
        if self._interrupted:
            raise KeyboardInterrupt

    def _on_interrupt(self, number: int, frame: FrameType | None) -> None:
        # Raised here, an interrupt could be lost: Python drops what is raised in a callback.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self._interrupted = True
        # What Flower says of sites that end with Ray is no news.
        quiet_libraries(logging.CRITICAL + 1)
        threading.Thread(target=self._end, daemon=True).start()

    def _end(self) -> None:
        begun = time.monotonic()
        while self._thread is not None and not self._ended.is_set() and time.monotonic() < begun + PATIENCE:
            _raise_in(self._thread)
            self._ended.wait(1.0)
        while not self._left.is_set() and time.monotonic() < begun + LONGEST:
            os.kill(os.getpid(), signal.SIGINT)
            self._left.wait(3.0)
        if not self._left.is_set():
            say("interrupted", stream=sys.stderr)
            os._exit(INTERRUPTED)


def _raise_in(thread: int) -> None:
    """Has a thread of this process meet a KeyboardInterrupt at its next step."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(KeyboardInterrupt))
