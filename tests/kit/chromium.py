"""A real browser without a window: Debian's Chromium, led over its debugging pipe.

The pipe (`--remote-debugging-pipe`) carries the Chrome DevTools Protocol as JSON texts, each ended by a
NUL byte, on the child's file descriptors 3 and 4. One browser serves many tabs; nothing listens on a port.
"""

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

PATIENCE = 60.0
"""Seconds for one answer of the browser and for one page."""
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=900,600",
    "--remote-debugging-pipe",
)


class Chromium:
    """The running browser, see `chromium`."""

    def __init__(self, read: int, write: int) -> None:
        self._read, self._write = read, write
        self._buffer = b""
        self._last = 0
        self._tabs: dict[str, Tab] = {}

    def tab(self) -> "Tab":
        """An empty tab that records what its console says."""
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        session: str = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        tab = self._tabs[session] = Tab(self, session, target)
        for domain in ("Page", "Log", "Runtime", "Network"):
            tab.ask(f"{domain}.enable")
        return tab

    def ask(self, method: str, session: str = "", **parameters: object) -> dict[str, Any]:
        """One command and its result; events that come meanwhile go to their tabs."""
        number = self.send(method, session, **parameters)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            message = self._next()
            if message.get("id") == number:
                assert "error" not in message, f"{method}: {message.get('error')}"
                return message["result"]
        raise AssertionError(f"{method} was not answered")

    def send(self, method: str, session: str = "", **parameters: object) -> int:
        """One command whose answer nobody waits for."""
        self._last += 1
        message: dict[str, Any] = {"id": self._last, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        return self._last

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            readable, _, _ = select.select([self._read], [], [], PATIENCE)
            assert readable, "the browser says nothing"
            chunk = os.read(self._read, 1 << 16)
            assert chunk, "the browser ended"
            self._buffer += chunk
        text, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        tab = self._tabs.get(message.get("sessionId", ""))
        if tab is not None and "method" in message:
            tab.happened(message["method"], message["params"])
        return message


@dataclass
class Tab:
    """One tab of it."""

    browser: Chromium
    session: str
    target: str
    console: list[str] = field(default_factory=list[str])
    """Everything that the developer console shows, refusals of the content security policy included."""
    documents: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    """HTTP status and address of every page that it got. An address may hold a code."""

    def ask(self, method: str, **parameters: object) -> dict[str, Any]:
        return self.browser.ask(method, self.session, **parameters)

    def go(self, url: str) -> None:
        """Begins to open the address; the page may take its time."""
        self.browser.send("Page.navigate", self.session, url=url)

    def reads(self, words: str) -> str:
        """The text of the page, once `words` are in it. Raises `AssertionError` with what it says instead."""
        deadline = time.monotonic() + PATIENCE
        text = ""
        while time.monotonic() < deadline:
            done = "document.readyState === 'complete' ? document.body.innerText : ''"
            text = str(self.value(done))
            if words in text:
                return text
            time.sleep(0.02)  # between two looks at the page
        raise AssertionError(f"the page does not say {words!r} but {text!r}")

    def value(self, expression: str) -> Any:
        """What the JavaScript expression is on the page; nothing while it is being replaced."""
        try:
            found = self.ask("Runtime.evaluate", expression=expression, returnByValue=True)
        except AssertionError:
            return ""
        return found["result"].get("value", "")

    def screenshot(self, path: Path, scheme: Literal["light", "dark"]) -> bytes:
        """The page as PNG, with the colour scheme that the person's system prefers."""
        self.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        png = base64.b64decode(self.ask("Page.captureScreenshot", format="png")["data"])
        path.write_bytes(png)
        return png

    def close(self) -> None:
        self.browser.ask("Target.closeTarget", targetId=self.target)

    def happened(self, method: str, given: dict[str, Any]) -> None:
        if method == "Log.entryAdded":
            self.console.append(f"{given['entry']['source']}: {given['entry']['text']}")
        elif method == "Runtime.exceptionThrown":
            self.console.append(f"exception: {given['exceptionDetails']['text']}")
        elif method == "Network.responseReceived" and given["type"] == "Document":
            self.documents.append((given["response"]["status"], given["response"]["url"]))


@contextlib.contextmanager
def chromium(home: Path) -> Generator[Chromium]:
    """A browser with an empty profile in `home`."""
    program = shutil.which("chromium")
    assert program is not None, "these tests look at pages with Debian's `chromium`"
    home.mkdir(parents=True, exist_ok=True)
    their_in, our_out = os.pipe()
    our_in, their_out = os.pipe()
    # The shell puts the two ends where the browser looks for them, whatever numbers they have here.
    script = f'exec "$@" 3<&{their_in} 4>&{their_out}'
    with (home / "stderr").open("wb") as said:
        process = subprocess.Popen(
            ["/bin/bash", "-c", script, "chromium", program, *_FLAGS, f"--user-data-dir={home / 'profile'}"],
            env={"PATH": "/usr/bin:/bin", "HOME": str(home)},
            pass_fds=(their_in, their_out),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
        )
    os.close(their_in)
    os.close(their_out)
    try:
        browser = Chromium(our_in, our_out)
        yield browser
        browser.send("Browser.close")
        process.wait(PATIENCE)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        os.close(our_in)
        os.close(our_out)
