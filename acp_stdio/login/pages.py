"""The page that the browser shows at the end of a sign-in: self-contained, honest, in light and dark."""

import base64
import hashlib
import re
from dataclasses import dataclass
from html import escape
from typing import Final

_STYLE: Final = """
:root{color-scheme:light dark;
--bg:#f6f7f9;--card:#fff;--ink:#16191d;--soft:#545d68;--line:#d9dee4;--ok:#12733a;--bad:#b3261e}
@media (prefers-color-scheme:dark){:root{
--bg:#101317;--card:#1a1f25;--ink:#eceff3;--soft:#a7b1bd;--line:#303841;--ok:#5fd38d;--bad:#ff8a80}}
body{margin:0;min-height:100vh;display:grid;place-items:center;background:var(--bg);color:var(--ink);
font:17px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{box-sizing:border-box;width:min(34rem,calc(100vw - 2rem));margin:1rem;padding:2.25rem;
background:var(--card);border:1px solid var(--line);border-top:4px solid var(--tone);border-radius:10px}
main.ok{--tone:var(--ok)}main.bad{--tone:var(--bad)}
h1{margin:0 0 .6rem;font-size:1.35rem;line-height:1.3;overflow-wrap:anywhere}
p{margin:.5rem 0;overflow-wrap:anywhere}.next{font-weight:600}
code{font:.92em ui-monospace,Menlo,Consolas,monospace;padding:.1em .35em;background:var(--bg);border-radius:4px}
small{display:block;margin-top:1.6rem;color:var(--soft);font-size:.82rem}
"""
# The code and state leave the address bar and the history entry; they are spent by now anyway.
_SCRIPT: Final = "history.replaceState(null,'',location.pathname)"


def _source(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


HEADERS: Final[tuple[tuple[str, str], ...]] = (
    ("Content-Type", "text/html; charset=utf-8"),
    ("Cache-Control", "no-store"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
    ("Connection", "close"),
    (
        "Content-Security-Policy",
        f"default-src 'none'; style-src {_source(_STYLE)}; script-src {_source(_SCRIPT)}; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
)
"""Sent with every page of the listener."""


def _marked(text: str) -> str:
    """The text as HTML, with what the terminal puts between backticks as code."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", escape(text))


@dataclass(frozen=True, slots=True)
class Page:
    """What the person reads; every text is escaped when it is rendered."""

    title: str
    text: str = ""
    next_step: str = ""
    status: int = 200

    @property
    def good(self) -> bool:
        return self.status < 400

    def render(self) -> bytes:
        """The page as UTF-8 HTML that loads nothing from anywhere."""
        paragraphs = "".join(
            f"<p{attribute}>{_marked(text)}</p>\n"
            for text, attribute in ((self.text, ""), (self.next_step, ' class="next"'))
            if text
        )
        return (
            f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{escape(self.title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
            f'<main class="{"ok" if self.good else "bad"}">\n<h1>{escape(self.title)}</h1>\n{paragraphs}'
            f"<small>acp-stdio, on this computer</small>\n</main>\n"
            f"<script>{_SCRIPT}</script>\n</body>\n</html>\n"
        ).encode()


def signed_in(label: str) -> Page:
    """The page of success; shown only after the grant is stored."""
    return Page(f"Signed in as {label}.", "You can close this tab.", "Go back to Claude and ask again.")


def failed(message: str, advice: str) -> Page:
    """The page of a sign-in that came to nothing."""
    return Page("You are not signed in.", message, advice, status=400)


def elsewhere() -> Page:
    """The page of a tab that comes second: another one has brought the answer and shows how it went."""
    return Page(
        "This sign-in was answered in another tab.",
        "Nothing was done here; the other tab and the terminal say how it went.",
        "You can close this tab.",
        status=410,
    )


def not_ours(text: str, status: int = 400) -> Page:
    """The page for a request that is not the answer we wait for; the sign-in goes on."""
    return Page("This is not the answer to the sign-in that is open.", text, "", status=status)
