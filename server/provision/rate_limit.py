"""How often one address may ask: a hospital needs a handful of requests, a guesser needs many."""

import time
from collections import OrderedDict, deque
from collections.abc import Callable


class RateLimit:
    """Counts requests by address within a sliding window.

    Tokens of 256 bits cannot be guessed; this keeps the log readable and the disk quiet.

    Args:
        count: requests an address may make within the window.
        seconds: the window's length.
        addresses: how many are remembered; the one that asked longest ago is forgotten first.
        clock: a steady clock in seconds.
    """

    def __init__(
        self,
        count: int = 10,
        seconds: float = 60.0,
        addresses: int = 10_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.count = count
        self.seconds = seconds
        self._addresses = addresses
        self._clock = clock
        self._seen: OrderedDict[str, deque[float]] = OrderedDict()

    def allows(self, address: str) -> bool:
        """Whether ``address`` may make a request now; one that may is counted.

        >>> limit = RateLimit(count=2, clock=lambda: 0.0)
        >>> [limit.allows("192.0.2.1") for _ in range(3)], limit.allows("192.0.2.2")
        ([True, True, False], True)
        """
        now = self._clock()
        times = self._seen.setdefault(address, deque())
        self._seen.move_to_end(address)
        while len(self._seen) > self._addresses:
            self._seen.popitem(last=False)
        while times and times[0] <= now - self.seconds:
            times.popleft()
        if len(times) >= self.count:
            return False
        times.append(now)
        return True
