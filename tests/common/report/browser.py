"""Opens a page in a real Chromium and measures it; loaded by the tests of both reports."""

import base64
import html
import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

PROBE = """
<script>
addEventListener("load", () => {
  const wide = [...document.querySelectorAll("body *")].filter(
    (e) => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest(".box") && !e.closest(".skip"));
  const found = {
    title: document.title,
    width: innerWidth,
    content: document.documentElement.scrollWidth,
    wide: wide.map((e) => e.tagName + "." + e.getAttribute("class")).slice(0, 5),
    broken: [...document.images].filter((e) => !e.complete || e.naturalWidth === 0).length,
    images: document.images.length,
    fetched: performance.getEntriesByType("resource").map((e) => e.name).filter((n) => !n.startsWith("data:")),
  };
  parent.postMessage(btoa(JSON.stringify(found)), "*");
});
</script>
"""

# Chromium's own window is never narrower than 500 pixels; a frame is.
FRAME = """<!DOCTYPE html>
<script>addEventListener("message", (m) => {{ document.getElementById("probe").textContent = m.data; }});</script>
<pre id="probe"></pre>
<iframe style="width: {width}px; height: 900px; border: 0" srcdoc="{page}"></iframe>
"""


@dataclass(frozen=True)
class Measured:
    """What Chromium says of a page.

    Attributes:
        title: of the document.
        width: of the frame, in CSS pixels.
        content: how wide the page is; more than ``width`` means that it scrolls sideways.
        wide: elements that stick out to the right, outside the boxes that scroll.
        images, broken: how many there are, and how many could not be drawn.
        fetched: resources other than data URIs that the page asked for.
    """

    title: str
    width: int
    content: int
    wide: list[str]
    broken: int
    images: int
    fetched: list[str]


def measure(page: Path, width: int, folder: Path) -> Measured:
    """Loads a copy of ``page``, with a measuring script in it, in a frame ``width`` pixels wide; skips without
    Chromium."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("Chromium is not installed (apt-get install chromium)")
    # The page forbids every script, its own tests' included.
    text, policies = re.subn(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page.read_text())
    assert policies == 1
    probed = text.replace("</head>", PROBE + "</head>")
    frame = folder / "frame.html"
    frame.write_text(FRAME.format(width=width, page=html.escape(probed)))
    dumped = subprocess.run(
        [
            chromium,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-extensions",
            "--disable-sync",
            "--no-first-run",
            f"--user-data-dir={folder / 'chromium'}",
            "--hide-scrollbars",
            "--window-size=1400,1000",
            "--virtual-time-budget=2000",
            "--dump-dom",
            frame.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    found = re.search(r'<pre id="probe">([A-Za-z0-9+/=]+)</pre>', dumped.stdout)
    assert found, f"Chromium drew nothing (exit code {dumped.returncode}): {dumped.stderr[-2000:]}"
    return Measured(**json.loads(base64.b64decode(found[1])))
