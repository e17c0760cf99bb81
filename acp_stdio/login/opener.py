"""Shows the person a web page, and nothing else than a web page.

The address may come from discovery, so from outside: CVE-2025-6514 ran a command through a
hostile `authorization_endpoint`. What is opened here was parsed and put together again, is
https (http on loopback only), and goes to the launcher as one argument, never through a shell.
"""

import contextlib
import os
import shlex
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

from acp_stdio.errors import Failure

LAUNCH_WAIT = 3.0
"""Seconds in which a launcher that is going to fail does so; one that still runs has a browser in hand."""

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_URL_CHARACTERS = "/?:@!&*+,;=%-._~[]"
"""Kept as they are; `$`, quotes and parentheses are percent-encoded: some launchers are shell scripts."""

Opener = Callable[[str], bool]
"""Opens a page for the person; says whether something was launched."""


def safe_url(url: str) -> str:
    """`url`, parsed and re-serialised, if it is one a browser may be sent to.

    Raises `Failure(configuration_invalid)` for other schemes than https (http on loopback),
    user information, control characters, spaces, backslashes and a missing or odd host
    (MCP security best practices; RFC 3986 section 7.6).
    """
    if not url.isascii() or any(character <= " " or character in '\x7f\\"<>^`{|}' for character in url):
        raise _refused("it has characters that an address cannot have")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise _refused("it is not a valid address") from None
    if parts.username is not None or parts.password is not None or "@" in parts.netloc:
        raise _refused("it carries a user name")
    if not host or host.startswith("-") or not all(c.isalnum() or c in ".-:" for c in host):
        raise _refused("its host is not a host name")
    if parts.scheme != "https" and not (parts.scheme == "http" and host in _LOOPBACK):
        raise _refused(f"its scheme is {parts.scheme[:20]!r}, not https")
    netloc = f"[{host}]" if ":" in host else host
    return urlunsplit(
        (
            parts.scheme,
            netloc if port is None else f"{netloc}:{port}",
            quote(parts.path, _URL_CHARACTERS),
            quote(parts.query, _URL_CHARACTERS),
            "",
        )
    )


def open_in_browser(url: str, environ: Mapping[str, str] | None = None) -> bool:
    """Opens `url` with the person's browser; true if a launcher took it.

    `BROWSER` comes first (a list separated like PATH, each a command with or without `%s`),
    then the platform's own way. The child's three standard streams are closed to it: a browser
    that chats on stdout would otherwise write into a host's protocol.

    Raises `Failure(configuration_invalid)` as `safe_url` does.
    """
    address = safe_url(url)
    env = dict(os.environ if environ is None else environ)
    if sys.platform == "win32" and "BROWSER" not in env:
        os.startfile(address)  # noqa: S606  # ShellExecute with an https URL that `safe_url` built; no command line
        return True
    _find_the_desktop(env)
    return any(_launch(command, env) for command in _commands(address, env))


def _commands(url: str, env: Mapping[str, str]) -> Iterator[list[str]]:
    for entry in env.get("BROWSER", "").split(os.pathsep):
        with contextlib.suppress(ValueError):  # unbalanced quotes: not a command
            words = [word for word in shlex.split(entry, posix=os.name != "nt") if word != "&"]
            if words:
                yield [word.replace("%s", url) for word in (words if "%s" in entry else [*words, "%s"])]
    if sys.platform == "darwin":
        yield ["/usr/bin/open", url]
        return
    if "WSL_DISTRO_NAME" in env:  # the person's browser is Windows', from where localhost leads back here
        yield ["wslview", url]
        yield ["rundll32.exe", "url.dll,FileProtocolHandler", url]
    if "DISPLAY" in env or "WAYLAND_DISPLAY" in env:
        yield ["xdg-open", url]
        yield ["x-www-browser", url]


def _find_the_desktop(env: dict[str, str]) -> None:
    """Names the person's own display, which hosts leave out of the environment they pass on."""
    if sys.platform in ("win32", "darwin"):
        return
    runtime = Path(env.setdefault("XDG_RUNTIME_DIR", f"/run/user/{os.getuid()}"))
    if "DBUS_SESSION_BUS_ADDRESS" not in env and _own_socket(runtime / "bus"):
        env["DBUS_SESSION_BUS_ADDRESS"] = f"unix:path={runtime / 'bus'}"
    if "DISPLAY" in env or "WAYLAND_DISPLAY" in env:
        return
    if _own_socket(runtime / "wayland-0"):
        env["WAYLAND_DISPLAY"] = "wayland-0"
    if _own_socket(Path("/tmp/.X11-unix/X0")):  # noqa: S108  # X11's fixed place; used only if it is ours
        env["DISPLAY"] = ":0"


def _own_socket(path: Path) -> bool:
    try:
        found = path.stat()
    except OSError:
        return False
    return stat.S_ISSOCK(found.st_mode) and found.st_uid == os.getuid()


def _launch(command: list[str], env: dict[str, str]) -> bool:
    program = shutil.which(command[0], path=env.get("PATH"))
    if program is None:
        return False
    try:
        process = subprocess.Popen(
            [program, *command[1:]],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C here must not close the person's browser
        )
    except OSError:
        return False
    # Reaped whenever it ends: a browser outlives this command's interest in it.
    reaper = threading.Thread(target=process.wait, daemon=True, name="browser")
    reaper.start()
    reaper.join(LAUNCH_WAIT)
    return process.returncode in (None, 0)


def _refused(why: str) -> Failure:
    return Failure(
        "configuration_invalid",
        f"The sign-in page's address was not opened: {why}.",
        "Check `issuer` in the configuration; the address comes from what the identity provider published.",
    )
