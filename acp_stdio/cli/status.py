"""`status` and `whoami`: who, since when, where it is stored, what runs, and the next step.

Reads what all processes share and asks nobody; `--check` has the identity provider confirm the
person and issue each upstream's token, on the same path as a call.
"""

import argparse
import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from acp_stdio.audit.delivery import undelivered, undelivered_words
from acp_stdio.audit.folder import Folder
from acp_stdio.audit.record import utc
from acp_stdio.catalogue.file import CatalogueFile
from acp_stdio.cli.common import account_words, binding_words, end_words, output_of, settings_of, stored_in
from acp_stdio.cli.origins import identity_values, identity_words, upstream_values
from acp_stdio.cli.origins import rows as rows_of
from acp_stdio.cli.render import table
from acp_stdio.cli.times import ago, local, span
from acp_stdio.errors import EXIT_OK, EXIT_SIGN_IN_REQUIRED, Failure
from acp_stdio.identity.model import Session
from acp_stdio.identity.scopes import narrower, wider
from acp_stdio.settings.model import Settings, UpstreamSettings
from acp_stdio.tokens.endings import known_end, misbound, signed_out, too_old, unless_withdrawn
from acp_stdio.tokens.session_file import SessionFile
from acp_stdio.tokens.sign_ins import by_sign_in, serves
from acp_stdio.vault.lock import FileLock

EXAMPLES = """\
  acp-stdio status
  acp-stdio status --check          ask the provider for each server's token
  acp-stdio status --verbose        also each value's origin
  acp-stdio status --device-key     this computer's public key, for servers
  acp-stdio status --json
"""


NOTHING = "Nothing to do."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="only these upstreams (default: all)")
    parser.add_argument("--device-key", action="store_true", help="only print this computer's public key, to enrol it")
    parser.add_argument("--check", action="store_true", help="contact the identity provider; never prompts")


def run(args: argparse.Namespace) -> int:
    """0 signed in, 4 signed out; with `--check`, the code of what failed."""
    out = output_of(args)
    settings = settings_of(args, bare=True)
    if args.device_key:
        return _device_key(settings)
    failures: list[Failure] = []
    checks = _check(settings, failures) if args.check else {}
    now = time.time()
    sign_ins = [(each, _session(each)) for each in by_sign_in(settings)]
    facts = [_facts(each, session, checks, now) for each, session in sign_ins]
    next_step = next((each["next"] for each in facts if each["next"] != NOTHING), NOTHING)
    processes = list(live_processes(settings.state_dir))
    words = [
        _words(each, session, data, now, verbose=out.verbose)
        for (each, session), data in zip(sign_ins, facts, strict=True)
    ]
    delivery = _delivery(settings)
    if delivery:
        words.append(table([("trail", undelivered_words(delivery))]))
    if processes:
        running = [f"  {process_words(each)}" for each in processes]
        words.append("\n".join(["running", *running]))
    out.result(
        "\n\n".join([*words, f"next: {next_step}"]),
        {**facts[0], "next": next_step, "processes": processes, "delivery": delivery, "sign_ins": facts},
    )
    if not all(session is not None and session.signed_in for each, session in sign_ins if each.needs_sign_in):
        return EXIT_SIGN_IN_REQUIRED
    return failures[0].meaning.exit_code if failures else EXIT_OK


def _session(settings: Settings) -> Session | None:
    """As it counts: of somebody whom the administrator has revoked it is over."""
    return unless_withdrawn(SessionFile(settings.session_dir).read(), settings.revoked.__contains__)


def _delivery(settings: Settings) -> dict[str, Any] | None:
    """What a collector has of the trail; None where none is named, or the trail cannot be read."""
    with contextlib.suppress(OSError):
        return undelivered(settings.audit, Folder(settings.audit_dir))
    return None


def _device_key(settings: Settings) -> int:
    """The public half as a JWK; the key is made where there is none yet. Raises `Failure(keyring_locked)`."""
    from acp_stdio.identity.thumbprint import thumbprint
    from acp_stdio.tokens.context import open_context
    from acp_stdio.vault.device_key import device_key

    key = device_key(open_context(settings, may_prompt=False).open_vault(), settings.paths.state)
    print(json.dumps({**key.public, "kid": thumbprint(key.public)}, indent=2))
    return EXIT_OK


def _check(settings: Settings, failures: list[Failure]) -> dict[str, dict[str, Any]]:
    from acp_stdio.tokens.context import open_context
    from acp_stdio.tokens.refresh import obtain_token

    found: dict[str, dict[str, Any]] = {}
    for mine in by_sign_in(settings):
        session = _session(mine)
        if session is None or not session.signed_in:
            continue
        context = open_context(mine, may_prompt=False)
        for name, upstream in mine.upstreams.items():
            if not upstream.takes_token:
                continue
            try:
                token = obtain_token(context, upstream)
            except Failure as failure:
                failures.append(failure)
                found[name] = {"reason": failure.reason, "message": failure.message, "advice": failure.advice}
            else:
                found[name] = {
                    "aud": token.claims.get("aud"),
                    "scope": token.claims.get("scope"),
                    "expires_at": utc(token.expires_at),
                    "expires": token.expires_at,
                }
    return found


def _facts(
    settings: Settings, session: Session | None, checks: dict[str, dict[str, Any]], now: float
) -> dict[str, Any]:
    """About one sign-in."""
    signed_in = session is not None and session.signed_in
    known = session or Session(generation=0, signed_in=False, account=None)
    return {
        "signed_in": signed_in,
        "profile": settings.profile,
        "identity_name": settings.identity.name,
        "account": known.account.to_json() if known.account else None,
        "issuer": known.issuer or settings.identity.issuer,
        "tenant": known.account.tenant if known.account else "",
        "client_id": known.client_id or settings.identity.client_id,
        "client_source": known.client_source if known.client_id else "",
        "deviations": list(known.deviations),
        # The file store is said every time, also before anything is in it: it is not what people expect.
        "storage": "file" if settings.storage.backend == "file" and not signed_in else known.storage,
        "token_type": known.token_type,
        "jkt": known.jkt,
        "scopes": list(known.scopes),
        "scopes_not_asked_for": list(wider(known)),
        "scopes_not_granted": list(narrower(known)),
        "obtained_at": utc(known.obtained_at) if known.obtained_at else None,
        "confirmed_at": utc(known.confirmed_at) if known.confirmed_at else None,
        "until": utc(end) if signed_in and (end := known_end(known, settings.identity.max_session_age)) else None,
        "recheck_identity_s": settings.identity.recheck_identity,
        "identity": identity_values(settings, known),
        "ended_at": utc(known.ended_at) if known.ended_at else None,
        "ended_because": known.ended_because,
        "upstreams": [
            _upstream(settings, each, known, checks.get(each.name), now) for each in settings.upstreams.values()
        ],
        "next": _next(settings, session, checks),
    }


def _upstream(
    settings: Settings, upstream: UpstreamSettings, session: Session, check: dict[str, Any] | None, now: float
) -> dict[str, Any]:
    resource = session.resources.get(upstream.name, "")
    age: int | None = None
    with contextlib.suppress(OSError):
        catalogue = CatalogueFile(settings.cache_dir, upstream.name, upstream.url)
        age = max(0, round(now - catalogue.lists.stat().st_mtime))
    return {
        "name": upstream.name,
        "signed_in": session.signed_in and serves(session, upstream),
        "url": upstream.url,
        "transport": upstream.transport,
        "audience": list(upstream.audience) or ([resource or upstream.url] if upstream.takes_token else []),
        "token_request": upstream.token_request,
        "token_format": upstream.token_format,
        "resource": resource,
        "scopes": list(upstream.scopes),
        "settings": upstream_values(upstream),
        "catalogue_age_s": age,
        "token": {key: value for key, value in check.items() if key != "expires"} if check else None,
    }


def _next(settings: Settings, session: Session | None, checks: dict[str, dict[str, Any]]) -> str:
    if not settings.needs_sign_in:
        return NOTHING
    if session is None or not session.signed_in:
        failure = signed_out(session)
        return f"{failure.message} {failure.advice}"
    identity = settings.identity
    if unfit := too_old(session, identity.max_session_age, time.time()) or misbound(session, identity.dpop):
        return f"{unfit.message} {unfit.advice}"
    if waiting := [name for name, each in settings.upstreams.items() if not serves(session, each)]:
        names = " ".join(waiting)
        return f"Your sign-in at {session.issuer} was not for {', '.join(waiting)}. Run `acp-stdio login {names}`."
    wrong = next((checks[name] for name in settings.upstreams if "reason" in checks.get(name, {})), None)
    return str(wrong["advice"]) if wrong else NOTHING


def _words(settings: Settings, session: Session | None, data: dict[str, Any], now: float, *, verbose: bool) -> str:
    known = session or Session(generation=0, signed_in=False, account=None)
    account = known.account
    recheck = f"(asked again after {span(settings.identity.recheck_identity)})"
    rows = [
        ("account", account_words(account) if account else "nobody"),
        ("signed in", f"since {local(known.obtained_at)}" if known.signed_in else "no"),
        ("ended", f"{ago(known.ended_at, now)} ({known.ended_because})" if known.ended_at else known.ended_because),
        ("issuer", str(data["issuer"])),
        ("client", f"{data['client_id']} ({data['client_source']})" if data["client_source"] else ""),
        ("deviates", "; ".join(known.deviations) if known.signed_in else ""),
        ("tenant", str(data["tenant"])),
        ("profile", settings.profile),
        ("identity", settings.identity.name if settings.identities else ""),
        ("stored in", stored_in(str(data["storage"])) if known.signed_in or data["storage"] == "file" else ""),
        ("tokens", binding_words(known) if known.signed_in and verbose else ""),
        ("confirmed", f"{ago(known.confirmed_at, now)} {recheck}" if known.signed_in else ""),
        ("ends", _ends(known, settings.identity.max_session_age) if known.signed_in else ""),
        ("scopes", " ".join(known.scopes) if known.signed_in else ""),
        ("unasked", f"{' '.join(wider(known))} (granted, although not asked for)" if wider(known) else ""),
        ("denied", f"{' '.join(narrower(known))} (asked for, and not granted)" if narrower(known) else ""),
    ]
    blocks = [table(rows), *([identity_words(data["identity"])] if verbose else [])]
    blocks += [_upstream_words(each, now, verbose=verbose) for each in data["upstreams"]]
    return "\n\n".join(blocks)


def _ends(session: Session, max_session_age: float) -> str:
    day = end_words(session, max_session_age)
    return f"{f'{day}, or ' if day else ''}when you sign out or your company ends the session"


def _upstream_words(each: dict[str, Any], now: float, *, verbose: bool) -> str:
    token = cast("dict[str, Any] | None", each["token"])
    age = each["catalogue_age_s"]
    said = ""
    if token is not None:
        said = str(token["message"]) if "message" in token else f"issued and proven, until {token['expires_at']}"
    origins = rows_of(each["settings"]) if verbose else []
    rows = [
        ("url", str(each["url"])),
        ("audience", "" if "audience" in dict(origins) else ", ".join(each["audience"])),
        ("token", said),
        ("catalogue", "none yet" if age is None else ago(now - age, now)),
        *origins,
    ]
    return f"{each['name']}\n{table(rows, '  ')}"


def process_words(each: dict[str, Any]) -> str:
    """One of `live_processes`."""
    holds = "held" in each["own_sign_ins"].values()
    own = " (holds a sign-in of its own, which is stored nowhere)" if holds else ""
    return f"{each['client'] or 'a host'}, process {each['pid']}{own}"


def live_processes(state_dir: Path) -> Iterator[dict[str, Any]]:
    """The `run` processes that are alive now: each holds the lock on its own file in `<state>/live`."""
    for path in sorted((state_dir / "live").glob("*.lock")):
        lock = FileLock(path)
        if lock.try_acquire():
            lock.release()
            continue
        facts = _told(path)
        yield {
            "pid": facts.get("pid", "?"),
            "started": facts.get("started"),
            "client": str(facts.get("client", "")),
            "own_sign_ins": dict(facts.get("own_sign_ins", {})),
        }


def _told(path: Path) -> dict[str, Any]:
    """What a process says of itself; it writes in place, so what is no JSON is looked at again."""
    for _ in range(20):
        with contextlib.suppress(ValueError):
            try:
                return dict(json.loads(path.read_text(encoding="utf-8")))
            except OSError:
                break
        time.sleep(0.01)
    return {}
