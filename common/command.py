"""What the three commands share: exit codes and the way an error is shown."""

import os
import sys
import traceback
from collections.abc import Callable

from common.errors import OncofedError

EXIT_CODES = """exit codes:
  0    done
  1    something unexpected went wrong
  2    an option, a configuration key or a value is wrong; nothing was started
  3    a site's data cannot be used
  4    the study cannot go on; it can be resumed
  130  interrupted"""


def run_command(command: Callable[[], None]) -> int:
    """Runs a command and returns its exit code; a known error is one readable paragraph on stderr."""
    # Set before Flower and Ray are asked for anything; nothing that runs in a hospital reports home.
    os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
    os.environ.setdefault("FLWR_DISABLE_UPDATE_CHECK", "1")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        command()
    except OncofedError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 1
    except Exception:
        traceback.print_exc()
        print("error: unexpected; please report the lines above", file=sys.stderr)
        return 1
    return 0
