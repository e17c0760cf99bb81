"""The demo's scripted human: what a person does in the browser, done by a program that says so.

As a command it stands in for the browser (`BROWSER="python -m acp_stdio.demo.human"`): it opens the page,
types account and password into the form, follows the way back and writes down what the last page says.
"""

import os
import sys
from html.parser import HTMLParser
from http.client import HTTPMessage
from http.cookiejar import CookieJar
from pathlib import Path
from typing import IO, Final
from urllib.error import HTTPError
from urllib.parse import urlencode, urljoin
from urllib.request import (
    HTTPCookieProcessor,
    HTTPRedirectHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    build_opener,
)

from acp_stdio.demo.people import PEOPLE

ACCOUNT_VARIABLE: Final = "ACP_DEMO_ACCOUNT"
SEEN_VARIABLE: Final = "ACP_DEMO_SEEN"
PATIENCE: Final = 15.0
"""Seconds for one page: the way back ends only when the token is stored."""

REDIRECTS: Final = 5


class _StayHere(HTTPRedirectHandler):
    """Hands a redirect out instead of following it."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> None:
        return None


class _Page(HTMLParser):
    """The hidden fields and the visible words of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.hidden: dict[str, str] = {}
        self.words: list[str] = []
        self._silent = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag in ("style", "title", "script"):
            self._silent += 1
        if tag == "input" and found.get("type") == "hidden":
            self.hidden[found.get("name") or ""] = found.get("value") or ""

    def handle_endtag(self, tag: str) -> None:
        if tag in ("style", "title", "script"):
            self._silent -= 1

    def handle_data(self, data: str) -> None:
        if not self._silent and data.strip():
            self.words.append(" ".join(data.split()))


class Human:
    """A person with a browser of their own: one cookie jar, no proxy between them and this machine."""

    def __init__(self) -> None:
        self._opener: OpenerDirector = build_opener(ProxyHandler({}), HTTPCookieProcessor(CookieJar()), _StayHere())

    def send(self, url: str, form: dict[str, str] | None = None) -> tuple[int, str, str]:
        """Status, `Location` and body of one request. Raises `OSError` if nobody answers."""
        data = urlencode(form).encode() if form is not None else None
        try:
            with self._opener.open(Request(url, data), timeout=PATIENCE) as answer:  # noqa: S310 (our own URLs)
                return answer.status, "", answer.read().decode()
        except HTTPError as answer:
            with answer:
                return answer.code, answer.headers.get("Location", ""), answer.read().decode()

    def follow(self, url: str) -> tuple[str, int, str, str]:
        """Goes where `url` leads: the last address, and its status, `Location` and body."""
        status, location, body = self.send(url)
        for _ in range(REDIRECTS):
            if not location:
                break
            url = urljoin(url, location)
            status, location, body = self.send(url)
        return url, status, location, body

    def sign_in(
        self, url: str, account: str, password: str, answer: str = "sign-in", code: str = ""
    ) -> tuple[int, str, str]:
        """Fills in the form behind `url` and presses a button."""
        page, status, location, body = self.follow(url)
        if status != 200:
            return status, location, body
        filled = {"account": account, "password": password, "answer": answer}
        if code:
            filled["user_code"] = code
        return self.send(page, {**_Page(body).hidden, **filled})


def words(body: str) -> str:
    """What a person reads on a page."""
    return " ".join(_Page(body).words)


def main(argv: list[str]) -> None:
    human = Human()
    person = PEOPLE[os.environ[ACCOUNT_VARIABLE]]
    status, location, body = human.sign_in(argv[0], person.account, person.password)
    if status in (302, 303):
        _, _, _, body = human.follow(location)
    Path(os.environ[SEEN_VARIABLE]).write_text(words(body), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
