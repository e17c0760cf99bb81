"""An address from discovery reaches the browser as an address, or not at all (CVE-2025-6514)."""

import os
import sys
from pathlib import Path

import pytest

from acp_stdio.errors import Failure
from acp_stdio.login.opener import open_in_browser, safe_url

HOSTILE = [
    "file:///etc/passwd",
    "javascript:alert(1)",
    "data:text/html,hello",
    "calc.exe",
    "C:\\windows\\system32\\calc.exe",
    "\\\\host\\share\\x.exe",
    "-flag",
    "--version",
    "",
    "//idp.example.com/authorize",
    "http://idp.example.com/authorize",
    "ms-msdt:/id",
    "https://a$(touch /tmp/x)/",
    "https://idp.example.com/a b",
    "https://idp.example.com/a\nb",
    "https://idp.example.com/a\x00b",
    'https://idp.example.com/"&calc&"',
    "https://idp.example.com/`id`",
    "https://user:password@idp.example.com/",
    "https://idp.example.com@evil.example/",
    "https://-flag/",
    "https:///path",
    "https://[::1/",
    "https://idp.example.com:99999999/",
    "https://idp.example.com\\@evil.example/",
    "https://idp.ex\N{CYRILLIC SMALL LETTER A}mple.com/",
]


def _recorder(tmp_path: Path, *, status: int = 0, noise: bool = False) -> tuple[Path, Path]:
    """A browser that writes down its arguments, one a line."""
    seen = tmp_path / "seen"
    program = tmp_path / "browser"
    program.write_text(
        f"#!/bin/sh\n{'echo noise; echo noise >&2' if noise else ':'}\n"
        f'printf "%s\\n" "$@" > "{seen}.new" && mv "{seen}.new" "{seen}"\nexit {status}\n'
    )
    program.chmod(0o755)
    return program, seen


@pytest.mark.parametrize("url", HOSTILE)
def test_a_hostile_address_never_reaches_a_browser(url: str, tmp_path: Path) -> None:
    program, seen = _recorder(tmp_path)
    with pytest.raises(Failure) as caught:
        open_in_browser(url, {"BROWSER": str(program), "PATH": os.environ["PATH"]})
    assert caught.value.reason == "configuration_invalid"
    assert not seen.exists()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://idp.example.com/authorize?a=1&b=%20", "https://idp.example.com/authorize?a=1&b=%20"),
        ("HTTPS://IDP.Example.com:8443/x#fragment", "https://idp.example.com:8443/x"),
        ("http://127.0.0.1:4000/auth", "http://127.0.0.1:4000/auth"),
        ("http://localhost/auth", "http://localhost/auth"),
        ("http://[::1]:4000/auth", "http://[::1]:4000/auth"),
        ("https://idp.example.com/a?b=$(id);'x'", "https://idp.example.com/a?b=%24%28id%29;%27x%27"),
    ],
)
def test_an_honest_address_is_put_together_again(url: str, expected: str) -> None:
    assert safe_url(url) == expected


@pytest.mark.skipif(sys.platform == "win32", reason="shell scripts as browsers")
@pytest.mark.parametrize(
    ("command", "arguments"),
    [("{}", ["URL"]), ("{} --new-window %s", ["--new-window", "URL"]), ("{} %s &", ["URL"])],
)
def test_the_browser_variable_is_split_into_words_and_no_shell_sees_it(
    command: str, arguments: list[str], tmp_path: Path
) -> None:
    program, seen = _recorder(tmp_path)
    url = "https://idp.example.com/authorize?x=1;touch&y=2"
    assert open_in_browser(url, {"BROWSER": command.format(program), "PATH": os.environ["PATH"]})
    assert seen.read_text().splitlines() == [word.replace("URL", url) for word in arguments]


@pytest.mark.skipif(sys.platform == "win32", reason="shell scripts as browsers")
def test_the_next_browser_is_tried_when_one_fails(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    bad, _ = _recorder(tmp_path / "one", status=3)
    good, seen = _recorder(tmp_path / "two")
    chain = os.pathsep.join(["/nowhere/browser", str(bad), str(good)])
    assert open_in_browser("https://idp.example.com/", {"BROWSER": chain, "PATH": os.environ["PATH"]})
    assert seen.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="shell scripts as browsers")
def test_a_browser_that_chats_cannot_write_on_our_stdout(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    program, seen = _recorder(tmp_path, noise=True)
    assert open_in_browser("https://idp.example.com/", {"BROWSER": str(program), "PATH": os.environ["PATH"]})
    assert seen.exists()
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="those always have a way to open a page")
def test_no_browser_is_said_and_not_hidden(tmp_path: Path) -> None:
    # The runtime directory is empty, so there is no display to be found either.
    environment = {"PATH": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
    assert not open_in_browser("https://idp.example.com/", environment)


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="a Linux inside Windows")
@pytest.mark.parametrize("launcher", ["wslview", "rundll32.exe"])
def test_inside_windows_the_browser_of_windows_is_started_also_beside_a_display(launcher: str, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    command = tmp_path / launcher
    command.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > "{seen}"\n')
    command.chmod(0o755)
    url = "http://127.0.0.1:8400/go"
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "WSL_DISTRO_NAME": "Debian", "DISPLAY": ":0"}
    assert open_in_browser(url, environment)
    assert seen.read_text().splitlines()[-1] == url
