"""A scripted person with a browser: opens a page, signs in, says yes, follows where it leads.

As a program it can be a `BROWSER`: `python tests/kit/human.py --user alice %s`. It understands plain
HTML forms, so it works with every provider of the tests, for redirects to the loopback listener and
for the verification page of the device flow alike. Standard library only.
"""

import argparse
import http.client
import http.cookiejar
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import IO
from urllib.parse import urlencode, urljoin, urlsplit

PAGE_TIMEOUT = 90.0
"""Seconds for one page: the listener answers once the sign-in is stored."""
_MAX_PAGES = 15
_NAMES = ("username", "login", "user", "email", "account")
_NO = ("abort", "cancel", "deny", "decline", "no")


class Stuck(Exception):
    """The pages did not lead anywhere."""


@dataclass(frozen=True, slots=True)
class Page:
    """Where the person ended up. The URL may hold a code, so it is not printed."""

    url: str = field(repr=False)
    status: int
    text: str = field(repr=False)


@dataclass(slots=True)
class _Form:
    action: str
    method: str
    identifier: str
    fields: dict[str, str] = field(default_factory=dict[str, str])
    buttons: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])


class _Forms(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.forms: list[_Form] = []
        self._open: _Form | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        name, value = given.get("name", ""), given.get("value", "")
        if tag == "form":
            method = given.get("method", "get").upper()
            self._open = _Form(given.get("action", ""), method, given.get("id", ""))
            self.forms.append(self._open)
            return
        form = next((f for f in self.forms if f.identifier and f.identifier == given.get("form")), self._open)
        if form is None or tag not in ("input", "button"):
            return
        kind = given.get("type", "submit" if tag == "button" else "text").lower()
        if kind == "submit":
            form.buttons.append((name, value))
        elif name and kind not in ("button", "reset", "checkbox", "radio"):
            form.fields[name] = value

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._open = None


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects up to the address where the person shall stop."""

    def __init__(self, stop_at: str | None) -> None:
        self._stop_at = stop_at

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if self._stop_at is not None and newurl.startswith(self._stop_at):
            raise _Arrived(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _Arrived(Exception):
    def __init__(self, url: str) -> None:
        self.url = url


def sign_in(
    url: str,
    user: str,
    *,
    password: str | None = None,
    user_code: str = "",
    decline: bool = False,
    stop_at: str | None = None,
) -> Page:
    """Opens `url` and does what a person does until a page asks for nothing more.

    `password` is `<user>-password` where it is not given; `user_code` is what a device showed;
    `decline` presses the button that refuses; a redirect to an address that begins with `stop_at` is
    not followed but returned with status 0. Raises `Stuck`.
    """
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}),
        urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()),
        _Redirects(stop_at),
    )
    known = dict.fromkeys(_NAMES, user)
    known |= {"password": password if password is not None else f"{user}-password", "user_code": user_code}
    request = urllib.request.Request(url)  # noqa: S310  # tests give loopback addresses
    tried: set[tuple[str, ...]] = set()
    for _ in range(_MAX_PAGES):
        try:
            page = _open(opener, request)
        except _Arrived as arrived:
            return Page(arrived.url, 0, "")
        forms = _Forms(page.text).forms
        if not forms or page.status >= 400:
            return page
        form = forms[0]
        step = (urlsplit(page.url).path, *sorted(form.fields))
        if "password" in form.fields and step in tried:
            raise Stuck("the provider did not accept the name and password")
        tried.add(step)
        request = _submit(page.url, form, known, decline)
    raise Stuck(f"still asked for something after {_MAX_PAGES} pages")


def _open(opener: urllib.request.OpenerDirector, request: urllib.request.Request) -> Page:
    try:
        with opener.open(request, timeout=PAGE_TIMEOUT) as answer:
            return Page(answer.geturl(), answer.status, answer.read().decode(errors="replace"))
    except urllib.error.HTTPError as error:
        with error:
            return Page(error.url or "", error.code, error.read().decode(errors="replace"))


def _submit(base: str, form: _Form, known: dict[str, str], decline: bool) -> urllib.request.Request:
    # A field that the page filled in (a token against forgery, a code from the link) stays as it is.
    fields = {name: value or known.get(name, "") for name, value in form.fields.items()}
    signing_in = "password" in form.fields
    wanted = [
        (name, value)
        for name, value in form.buttons
        if (name.lower() in _NO or value.lower() in _NO) == (decline and not signing_in)
    ]
    if wanted and wanted[0][0]:
        fields[wanted[0][0]] = wanted[0][1]
    target, data = urljoin(base, form.action), urlencode(fields)
    if form.method == "POST":
        return urllib.request.Request(target, data.encode())  # noqa: S310  # where the form says
    return urllib.request.Request(f"{target.partition('?')[0]}?{data}")  # noqa: S310  # where the form says


def main(arguments: list[str]) -> int:
    """0 where the last page was a good one."""
    parser = argparse.ArgumentParser(description="A scripted person with a browser.")
    parser.add_argument("--user", default="alice")
    parser.add_argument("--password")
    parser.add_argument("--user-code", default="")
    parser.add_argument("--decline", action="store_true")
    parser.add_argument("url")
    given = parser.parse_args(arguments)
    page = sign_in(given.url, given.user, password=given.password, user_code=given.user_code, decline=given.decline)
    return 0 if page.status < 400 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
