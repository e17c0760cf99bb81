"""The way to one server, step by step: name, connection or tunnel, TLS with the trust that is really used."""

import asyncio
import contextlib
import socket
import ssl
import time
from typing import Final

from acp_stdio.doctor.certificate import Certificate, read
from acp_stdio.doctor.check import Case
from acp_stdio.doctor.finding import Finding, failed, ok, problem, warning
from acp_stdio.doctor.route import Route, route_of, trust_of, trusted
from acp_stdio.errors import Failure
from acp_stdio.settings.origin import Origin, reachable_origin
from acp_stdio.upstream.dial import describe
from acp_stdio.upstream.proxy import Refused, open_tunnel
from acp_stdio.vault.bounded import OneAtATime

_WITHIN: Final = 4.5
"""Seconds for one connection; a check makes two at most."""
_NAME_WITHIN: Final = 5.0
"""Seconds for the resolver, which has its own and longer patience."""
_SOON: Final = 14 * 86_400.0
"""Seconds before its end from which a certificate is worth a word."""
_NAMES: Final = 4
"""Of a certificate that are told."""
_EXPIRED: Final = 10
_ISSUER_UNKNOWN: Final = frozenset({2, 18, 19, 20, 21})
_OTHER_NAME: Final = frozenset({62, 64})
"""OpenSSL's verify codes (x509_vfy.h)."""


def probe(case: Case, url: str, *, provider: bool) -> Finding:
    """Connects to the server of `url` as its client will; sends it nothing."""
    network = case.settings.network
    reason = "idp_unreachable" if provider else "upstream_unreachable"
    origin = reachable_origin(url)
    try:
        route = route_of(url, network, provider=provider)
    except ValueError as error:
        step = 'Give the proxy as [network] proxy = "http://HOST:PORT".'
        return problem("configuration_invalid", f"The proxy for {origin.authority} cannot be used: {error}.", step)
    details: dict[str, object] = {
        "host": origin.authority,
        "proxy": route.proxy.authority if route.proxy else "",
        "route": route.because,
        "trust": trusted(network, case.environ) if origin.scheme == "https" else "",
    }
    try:
        trust = trust_of(network, provider=provider) if origin.scheme == "https" else None
    except Failure as failure:
        return failed(failure, **details)
    except (OSError, ValueError):  # a bundle that the environment names
        message = f"The certificates in {details['trust']} cannot be read."
        return problem(
            "configuration_invalid", message, "Correct that variable, or set [network] ca_bundle.", **details
        )
    if why := _unresolved(route.proxy.host if route.proxy else origin.host):
        return problem(reason, f"{origin.authority}: {why}.", _next(socket.gaierror(), route), **details)
    try:
        seen = asyncio.run(_connect(origin, route, trust))
    except (OSError, Refused) as error:
        return _refused(reason, error, origin, route, details)
    via = f"through {details['proxy']} ({route.because})" if route.proxy else route.because
    if seen is None:
        return ok(f"{origin.authority} answers, {via}", **details)
    details |= seen.to_json()
    if seen.ends - time.time() < _SOON:
        days = max(0, int((seen.ends - time.time()) // 86_400))
        message = f"The certificate of {origin.authority} ends in {days} days, on {seen.until}."
        return warning(message, f"Tell whoever runs {origin.host}.", **details)
    return ok(f"{origin.authority} answers, {via}; certificate by {seen.issuer}, until {seen.until}", **details)


def _unresolved(host: str) -> str:
    """Why `host` has no address; empty where it has one. Not asyncio's: a resolver that hangs would outlive us."""
    try:
        OneAtATime().run(lambda: socket.getaddrinfo(host, None, type=socket.SOCK_STREAM), _NAME_WITHIN)
    except TimeoutError:
        return f"the name {host} was not resolved within {_NAME_WITHIN:g} s"
    except OSError:
        return f"could not resolve host {host}"
    return ""


async def _connect(origin: Origin, route: Route, trust: ssl.SSLContext | None) -> Certificate | None:
    """The certificate that was believed; None without TLS. Raises `OSError` or `Refused`."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(_WITHIN):
        if route.proxy is None:
            transport, _ = await loop.create_connection(
                asyncio.Protocol, origin.host, origin.port, ssl=trust, server_hostname=origin.host if trust else None
            )
        else:
            assert trust is not None  # no route to plain http goes through a proxy
            raw = await open_tunnel(route.proxy, origin.host, origin.port)
            tunnelled = await loop.start_tls(raw, asyncio.Protocol(), trust, server_hostname=origin.host)
            if tunnelled is None:
                raise Refused("the connection was closed during the TLS handshake")
            transport = tunnelled
    tls = transport.get_extra_info("ssl_object")
    try:
        return read(tls.getpeercert(binary_form=True)) if tls is not None else None
    finally:
        transport.abort()


def _refused(reason: str, error: Exception, origin: Origin, route: Route, details: dict[str, object]) -> Finding:
    why = describe(error, origin, route.proxy, _WITHIN)
    if isinstance(error, ssl.SSLCertVerificationError):
        with contextlib.suppress(OSError, Refused):
            seen = asyncio.run(_connect(origin, route, _believing_all()))
            if seen is not None:
                details |= seen.to_json()
                return problem(reason, *_distrusted(error, origin, seen, str(details["trust"])), **details)
    return problem(reason, f"{origin.authority}: {why}.", _next(error, route), **details)


def _distrusted(error: ssl.SSLCertVerificationError, origin: Origin, seen: Certificate, trust: str) -> tuple[str, str]:
    code = error.verify_code
    if code == _EXPIRED:
        message = f"The certificate of {origin.authority} expired on {seen.until}."
        return message, f"Tell whoever runs {origin.host}; if that date is to come, correct this computer's clock."
    if code in _OTHER_NAME:
        message = f"The certificate of {origin.authority} is for {_some(seen.names)}."
        return message, f"Correct the host in the configuration, or tell whoever runs {origin.host}."
    message = f"The certificate of {origin.authority} was issued by {seen.issuer}, which is not trusted here ({trust})."
    if code in _ISSUER_UNKNOWN:
        return message, "If your company inspects TLS or has its own authority, set [network] ca_bundle to its root."
    return f"The certificate of {origin.authority} does not hold: {error.verify_message}.", "Tell whoever runs it."


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:_NAMES]) + (f" and {len(names) - _NAMES} more" if len(names) > _NAMES else "") or "no name"


def _next(error: Exception, route: Route) -> str:
    if isinstance(error, ssl.SSLError):
        return "Ask whoever runs that server, or the proxy in between, why TLS fails."
    if route.proxy is not None:
        return f"Check the proxy; it comes from {route.because}."
    if isinstance(error, socket.gaierror):
        return "Check the name in the configuration, the network and the VPN."
    return "Check the network and the VPN; if your company has a proxy, set [network] proxy."


def _believing_all() -> ssl.SSLContext:
    """To look at a certificate that was refused. Nothing is sent over such a connection."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
