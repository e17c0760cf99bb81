"""Opening a connection, and saying why it could not be opened."""

import asyncio
import errno
import re
import socket
import ssl
from typing import Final

from acp_stdio.settings.origin import Origin, is_loopback
from acp_stdio.upstream.connection import Connection
from acp_stdio.upstream.proxy import Proxy, Refused, open_tunnel

HAPPY_EYEBALLS: Final = 0.25
"""Seconds before the next address is tried beside the first (RFC 8305 section 8)."""

_ERRNO = re.compile(r"\[(?:Errno|WinError) (\d+)\]")


async def dial(connection: Connection, origin: Origin, tls: ssl.SSLContext | None, proxy: Proxy | None) -> None:
    """Connects `connection` to `origin`. Raises `OSError` (which `ssl.SSLError` is) or `Refused`."""
    loop = asyncio.get_running_loop()
    if proxy is not None and tls is not None:
        raw = await open_tunnel(proxy, origin.host, origin.port)
        transport = await loop.start_tls(raw, connection, tls, server_hostname=origin.host)
        if transport is None:
            raise Refused("the connection was closed during the TLS handshake")
        connection.connection_made(transport)
        return
    transport, _ = await loop.create_connection(
        lambda: connection,
        origin.host,
        origin.port,
        ssl=tls,
        server_hostname=origin.host if tls else None,
        happy_eyeballs_delay=HAPPY_EYEBALLS,
    )
    if tls is None and not is_loopback(transport.get_extra_info("peername")[0]):
        transport.abort()  # `localhost` that a resolver sends elsewhere
        raise Refused(f"{origin.host} is not this machine, and plain http is for this machine only")


def describe(error: BaseException, origin: Origin, proxy: Proxy | None, timeout: float) -> str:
    """Words for a person: what could not be reached, and why."""
    where = proxy.authority if proxy else origin.authority
    named = f"the proxy {where}" if proxy else where
    if isinstance(error, Refused):
        return str(error)
    if isinstance(error, socket.gaierror):
        return f"could not resolve host {proxy.host if proxy else origin.host}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"TLS: certificate verify failed: {error.verify_message or 'no reason given'}"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {(error.reason or 'handshake failed').replace('_', ' ').lower()}"
    if isinstance(error, TimeoutError) and error.errno is None:  # ours, not the kernel's ETIMEDOUT
        return f"no connection to {named} within {timeout:g} s"
    if isinstance(error, OSError):
        numbers = {error.errno} if error.errno else {int(n) for n in _ERRNO.findall(str(error))}
        if numbers & {errno.ECONNREFUSED, 10061}:
            return f"connection refused by {named}"
        if numbers & {errno.ECONNRESET, errno.EPIPE, 10054} or isinstance(error, ConnectionError):
            return f"the connection to {named} was closed while it was being opened"
        if numbers & {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ETIMEDOUT, 10051, 10060, 10065}:
            return f"no route to {named}"
    return f"could not connect to {named} ({type(error).__name__})"
