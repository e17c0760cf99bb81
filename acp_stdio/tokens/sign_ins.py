"""Which sign-in an upstream's calls use, where there are several.

An identity with an issuer has one sign-in. Without one the issuer is discovered from each upstream, so
there may be several: the first in the identity's own folder, each other in `issuers/HASH` below it. Which
upstream belongs to which is what the sign-ins themselves say, in the `resources` that they were granted for.
"""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final, Protocol

from acp_stdio.errors import Failure
from acp_stdio.identity.model import Session
from acp_stdio.settings.checks import covers
from acp_stdio.settings.model import IdentitySettings, Settings, UpstreamSettings
from acp_stdio.tokens.session_file import Look, SessionFile

_ISSUERS: Final = "issuers"


def settings_of(settings: Settings, upstream: UpstreamSettings) -> Settings:
    """`settings` with the sign-in at hand that `upstream`'s calls use: its `identity` and its `session_dir`.

    Where nobody signed in for it yet, its identity's own. Raises nothing: a session that cannot be read
    serves no upstream.
    """
    mine = settings.of(upstream)
    if mine.identity.issuer:
        return mine
    found = [(session, each) for each in sign_ins(mine) if (session := _peek(each)) and granted_for(session, upstream)]
    # A server may have gone over to another issuer: the newest sign-in for it counts.
    newest = max(found, key=lambda one: (one[0].signed_in, one[0].obtained_at), default=None)
    return newest[1] if newest else replace(mine, issuer_dir="")


def sign_ins(settings: Settings) -> Iterator[Settings]:
    """One for each sign-in of the identity at hand, its own first, then those at other discovered issuers."""
    yield replace(settings, issuer_dir="")
    for folder in sorted((settings.identity_dir / _ISSUERS).glob("*/session.json")):
        yield replace(settings, issuer_dir=f"{_ISSUERS}/{folder.parent.name}")


def by_sign_in(settings: Settings) -> list[Settings]:
    """One for each sign-in that the upstreams at hand use, with its upstreams alone; without upstreams, each there is.

    A discovered one that nobody signed in for yet is with its identity's own.
    """
    found: dict[Path, Settings] = {}
    for mine in settings.by_identity():
        for each in sign_ins(mine) if not mine.upstreams else ():
            found[each.session_dir] = each
        for upstream in mine.upstreams.values():
            its = settings_of(mine, upstream)
            known = found.setdefault(its.session_dir, replace(its, upstreams={}))
            known.upstreams[upstream.name] = upstream
    return list(found.values())


def everything(settings: Settings) -> list[Settings]:
    """Each sign-in of the profile: of the configured identities, and of those that were configured once."""
    names = [settings.identity.name, *settings.identities]
    left = sorted(path.name for path in (settings.state_dir / "identities").glob("*") if path.name not in names)
    known = {**settings.identities, **{name: IdentitySettings("", "", name=name) for name in left}}
    every = replace(settings, identities=known)
    return [each for name in (*names, *left) for each in sign_ins(every.for_identity(name))]


def at_issuer(settings: Settings, issuer: str) -> Settings:
    """Where a sign-in at a discovered `issuer` is kept, or is to be, for the upstreams at hand.

    In the identity's own folder, unless that is another issuer's who still serves an upstream that is not at hand.
    """
    known = [(each, _peek(each)) for each in sign_ins(settings)]
    for each, session in known:
        if session is not None and session.issuer == issuer:
            return each
    for each, session in known:
        if session is None or not session.signed_in or session.resources.keys() <= settings.upstreams.keys():
            return each
    return replace(settings, issuer_dir=f"{_ISSUERS}/{hashlib.sha256(issuer.encode()).hexdigest()[:16]}")


def serves(session: Session | None, upstream: UpstreamSettings) -> bool:
    """Whether that sign-in was granted for all that `upstream` needs now; one that takes no token needs nothing."""
    return not upstream.takes_token or (granted_for(session, upstream) and not missing_scopes(session, upstream))


def missing_scopes(session: Session | None, upstream: UpstreamSettings) -> tuple[str, ...]:
    """What `upstream` needs and nobody asked for when the person signed in. Exchanged tokens have their own."""
    if session is None or upstream.token_request == "exchange":  # noqa: S105 - a way of asking
        return ()
    return tuple(scope for scope in upstream.scopes if scope not in (*session.asked, *session.scopes))


def granted_for(session: Session | None, upstream: UpstreamSettings) -> bool:
    """Whether that sign-in is the one for `upstream`."""
    resource = session.resources.get(upstream.name) if session is not None else None
    if upstream.transport == "stdio":
        return resource == upstream.resource
    return resource is not None and covers(resource, upstream.url)


class Sessions(Protocol):
    """What a process looks at before each call."""

    def current(self) -> Session | None:
        """The session now. Raises `Failure` where it cannot be read."""
        ...


class SignIn:
    """The session of one upstream's sign-in, for a process that lives while people sign in and out."""

    def __init__(self, settings: Settings, upstream: UpstreamSettings, look: Look = os.stat) -> None:
        """`look`: see `SessionFile`."""
        self._look = look
        self._settings = settings
        self._upstream = upstream
        self._discovered = not settings.of(upstream).identity.issuer
        self._file = self._found()
        self._fitting: Session | None = None
        """A session that was found to be the one for the upstream."""

    def current(self) -> Session | None:
        """The session now; one look where nothing changed. Raises `Failure` as `SessionFile.read`.

        Where the issuer is discovered and this session is not for the upstream, another one is looked for.
        """
        session = self._file.current()
        if not self._discovered or (session is not None and session is self._fitting):
            return session
        if session is not None and session.signed_in and granted_for(session, self._upstream):
            self._fitting = session
            return session
        found = self._found()
        if found.path == self._file.path:
            return session
        self._file = found
        return found.current()

    def _found(self) -> SessionFile:
        return SessionFile(settings_of(self._settings, self._upstream).session_dir, self._look)


def _peek(settings: Settings) -> Session | None:
    with contextlib.suppress(Failure):
        return SessionFile(settings.session_dir).read()
    return None
