"""What the three commands share: exit codes and the way an error is shown."""

import argparse
import atexit
import gc
import importlib.util
import os
import re
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

from common.errors import ConfigError, OncofedError
from common.system.bundle import PACKAGES
from common.system.disk import FULL, disk_full
from common.system.near_names import did_you_mean
from common.system.outside import printable, say, spell_out
from common.system.private_files import private_by_default
from common.system.unnamed_user import stand_in

EXIT_CODES = """exit codes:
  0    done
  1    something unexpected went wrong
  2    an option, a configuration key or a value is wrong; nothing was started
  3    a site's data cannot be used
  4    the study cannot go on; it can be resumed
  130  interrupted"""

INTERRUPTED = 130

_MOST_LINES = 200
"""Of a traceback."""


class Commands:
    """One of our command-line programs: a parser whose every command says its exit codes.

    Args:
        prog: the program's name.
        description: what it is for.
    """

    def __init__(self, prog: str, description: str) -> None:
        self.parser = _Parser(
            prog=prog,
            description=description,
            epilog=EXIT_CODES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        self._commands = self.parser.add_subparsers(title="commands", required=True)

    def add(
        self, name: str, summary: str, description: str, run: Callable[[argparse.Namespace], None], notes: str = ""
    ) -> argparse.ArgumentParser:
        """A command; ``run`` gets its options. ``notes`` stand before the exit codes in its help."""
        command = self._commands.add_parser(
            name,
            help=summary,
            description=description,
            epilog=f"{notes}\n{EXIT_CODES}" if notes else EXIT_CODES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.set_defaults(run=run)
        return command

    def main(self, arguments: list[str] | None) -> None:
        """Runs the command that ``arguments`` (or the process's) name, and exits with its code."""
        spell_out()
        options, left = self.parser.parse_known_args(arguments)
        # argparse gives a list of words only those before the first option.
        if left and hasattr(options, "overrides") and not any(word.startswith("-") for word in left):
            options.overrides = [*options.overrides, *left]
        elif left:
            self.parser.error(f"unrecognized arguments: {' '.join(left)}")
        _leave(run_command(lambda: options.run(options)))


class _Parser(argparse.ArgumentParser):
    """Says what may have been meant by a command or an option that there is none of."""

    def error(self, message: str) -> NoReturn:
        """As argparse's, with a guess."""
        choices = re.fullmatch(r"argument .*: invalid choice: '(.*)' \(choose from (.*)\)", message)
        unknown = re.fullmatch(r"unrecognized arguments: (--?)([^\s=]+)(=?)(\S*).*", message)
        if choices:
            message += did_you_mean(choices[1], re.findall(r"'([^']*)'", choices[2]))
        elif unknown:
            known = [option for parser in self._parsers() for option in parser._option_string_actions]
            message += did_you_mean(f"{unknown[1]}{unknown[2]}", known)
            if unknown[3]:
                message += f"; a study's keys are written without dashes: {unknown[2]}={unknown[4]}"
        super().error(printable(message))

    def _parsers(self) -> Iterator[argparse.ArgumentParser]:
        """This one and those of its commands."""
        yield self
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                yield from action.choices.values()


def _leave(code: int) -> NoReturn:
    """Ends the process, also where threads are left that wait for what an interrupt has ended, such as Ray's."""
    left = [one for one in threading.enumerate() if one is not threading.current_thread() and not one.daemon]
    if code == INTERRUPTED and left:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    # The last look for garbage, among all that torch has made, takes seconds and finds what goes with the process.
    atexit.register(gc.freeze)
    sys.exit(code)


def check_installation() -> None:
    """Our packages have common names, so another package's folder could be taken for one of them.

    Raises:
        ConfigError: if one of them is not part of the installation that this command belongs to.
    """
    home = Path(__file__).resolve().parents[2]
    for package in (*PACKAGES, "simulation"):
        found = importlib.util.find_spec(package)
        origin = Path(found.origin).resolve() if found is not None and found.origin else None
        if origin is None or origin.parents[1] != home:
            raise ConfigError(
                f"the package {package!r} is taken from {origin or 'nowhere'}, not from this installation ({home}); "
                "remove that folder from PYTHONPATH or from the current folder, or install oncofed by itself"
            )


def run_command(command: Callable[[], None]) -> int:
    """Runs a command and returns its exit code; a known error is one readable paragraph on stderr.

    Files and folders that it makes are its user's alone.
    """
    # Set before Flower and Ray are asked for anything; nothing that runs in a hospital reports home.
    os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
    os.environ.setdefault("FLWR_DISABLE_UPDATE_CHECK", "1")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    spell_out()
    stand_in()
    try:
        check_installation()
        with private_by_default():
            command()
    except OncofedError as error:
        say(f"error: {error}", stream=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        say("interrupted", stream=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        return 1
    except ModuleNotFoundError as error:
        say_traceback()
        say(
            f"error: the Python package {error.name!r} is not installed here: install oncofed again with its "
            "dependencies, as docs/packaging.md says",
            stream=sys.stderr,
        )
        return 1
    except Exception as error:
        if isinstance(error, OSError) and error.errno in FULL:
            full = disk_full(error)
            say(f"error: {full}", stream=sys.stderr)
            return full.exit_code
        say_traceback()
        say("error: unexpected; please report the lines above", stream=sys.stderr)
        return 1
    return 0


def say_traceback() -> None:
    """The newest part of it, set in: a line of an error's text is not taken for one of the program's own."""
    say(*(f"  {one}" for one in traceback.format_exc().splitlines()[-_MOST_LINES:]), stream=sys.stderr)
