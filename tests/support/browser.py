"""Opens pages in a real Chromium, driven by the DevTools protocol over a pipe: nothing is fetched, and the page runs
under its own Content-Security-Policy."""

import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pytest

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)

PROBE = """(() => {
  const seen = (e) => e.checkVisibility({contentVisibilityAuto: true, visibilityProperty: true});
  const wide = [...document.querySelectorAll("body *")].filter((e) =>
    seen(e) && e.getBoundingClientRect().right > innerWidth + 1 && !e.closest(".box, .tabs, .skip"));
  return {
    title: document.title,
    width: innerWidth,
    content: document.documentElement.scrollWidth,
    wide: wide.map((e) => e.tagName + "." + e.getAttribute("class")).slice(0, 5),
    broken: [...document.images].filter((e) => !e.complete || e.naturalWidth === 0).length,
    images: document.images.length,
  };
})()"""

KEYS = {"ArrowRight": 39, "ArrowLeft": 37, "Home": 36, "End": 35, "Escape": 27, "Enter": 13, "Tab": 9}


@dataclass(frozen=True)
class Measured:
    """What Chromium says of a page.

    Attributes:
        title: of the document.
        width: of the window, in CSS pixels.
        content: how wide the page is; more than ``width`` means that it scrolls sideways.
        wide: elements that stick out to the right, outside the boxes that scroll.
        images, broken: how many there are, and how many could not be drawn.
        fetched: addresses that were requested, other than the page's own and data URIs.
    """

    title: str
    width: int
    content: int
    wide: list[str]
    broken: int
    images: int
    fetched: list[str]


class Browser:
    """One Chromium process; :meth:`page` opens a page in a tab of its own."""

    def __init__(self, process: subprocess.Popen[bytes], send: int, receive: int) -> None:
        self._process, self._send, self._receive = process, send, receive
        self._number = 0
        self._buffer = b""
        self.events: list[dict[str, Any]] = []

    @classmethod
    @contextmanager
    def started(cls, folder: Path) -> Iterator[Self]:
        """Skips without Chromium."""
        chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        if chromium is None:
            pytest.skip("Chromium is not installed (apt-get install chromium)")
        theirs_in, send = os.pipe()
        receive, theirs_out = os.pipe()
        # Chromium reads file descriptor 3 and writes 4; copies above them are not overwritten on the way there.
        inside, outside = (fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (theirs_in, theirs_out))

        def place() -> None:
            os.dup2(inside, 3)
            os.dup2(outside, 4)

        process = subprocess.Popen(
            [chromium, *FLAGS, f"--user-data-dir={folder / 'chromium'}"],
            stderr=subprocess.DEVNULL,
            preexec_fn=place,
            close_fds=False,
        )
        for fd in (theirs_in, theirs_out, inside, outside):
            os.close(fd)
        try:
            yield cls(process, send, receive)
        finally:
            process.kill()
            process.wait()
            os.close(send)
            os.close(receive)

    def call(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """One command and its result.

        Raises:
            RuntimeError: with Chromium's own words.
        """
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        rest = memoryview(json.dumps(message).encode() + b"\0")
        while rest:
            rest = rest[os.write(self._send, rest) :]
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result

    def wait_for(self, method: str, session: str) -> None:
        """Until an event arrives, or has."""
        while not any(one["method"] == method and one.get("sessionId") == session for one in self.events):
            self._next()

    def page(self, path: Path | str, **options: Any) -> "Page":
        """Opens a file or an address; see :class:`Page`."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        return Page(self, session, path, **options)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            read = os.read(self._receive, 1 << 20)
            if not read:
                raise RuntimeError(f"Chromium has gone (exit code {self._process.poll()})")
            self._buffer += read
        message, _, self._buffer = self._buffer.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        if "method" in found:
            self.events.append(found)
        return found


class Page:
    """An open page.

    Args:
        path: the file, or an address, with ``fragment`` (``#privacy``) behind it.
        width, height: of the window, in CSS pixels.
        dark: the colour scheme that the reader prefers.
        media: ``screen`` or ``print``.
        scripts: False for a reader who has switched JavaScript off.
    """

    def __init__(
        self,
        browser: Browser,
        session: str,
        path: Path | str,
        *,
        fragment: str = "",
        width: int = 1280,
        height: int = 900,
        dark: bool = False,
        media: str = "screen",
        scripts: bool = True,
    ) -> None:
        self._browser, self._session = browser, session
        self._url = (path.as_uri() if isinstance(path, Path) else path) + fragment
        for domain in ("Page", "Network", "Runtime"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setScriptExecutionDisabled", value=not scripts)
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media=media, features=[scheme])
        self.call("Page.navigate", url=self._url)
        browser.wait_for("Page.loadEventFired", session)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command of the DevTools protocol, to this page."""
        return self._browser.call(method, self._session, **parameters)

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, awaited.

        Raises:
            RuntimeError: if it throws.
        """
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise RuntimeError(found["exceptionDetails"]["exception"].get("description", expression))
        return found["result"].get("value")

    def press(self, key: str) -> None:
        """A key of :data:`KEYS`, as a keyboard sends it."""
        named = {"key": key, "code": key, "windowsVirtualKeyCode": KEYS[key]}
        text = {"text": "\r"} if key == "Enter" else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", **named, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **named)
        self.evaluate("new Promise((done) => setTimeout(done, 30))")

    @property
    def fetched(self) -> list[str]:
        """Addresses that the page requested, other than its own and data URIs."""
        asked = [one for one in self._browser.events if one["method"] == "Network.requestWillBeSent"]
        urls = [one["params"]["request"]["url"] for one in asked if one.get("sessionId") == self._session]
        return [url for url in urls if not url.startswith("data:") and url != self._url.partition("#")[0]]

    def measured(self) -> Measured:
        """How the page fits its window, and what it fetched."""
        return Measured(**self.evaluate(PROBE), fetched=self.fetched)
