"""A gate before a server that answers hosts of both eras: only the modern one passes, as if it knew no other."""

import contextlib
import threading
from collections.abc import Generator

import anyio
import httpx2
import uvicorn

from acp_stdio.demo.lifetime import loopback_socket
from tests.kit.one_era import App, OneEra, Receive, Scope, Send

_HOP = frozenset({"host", "connection", "content-length", "transfer-encoding", "keep-alive", "content-encoding"})


def _forward_to(url: str) -> App:
    async def forward(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        names = [(name.decode(), value.decode("latin-1")) for name, value in scope["headers"]]
        headers = [(name, value) for name, value in names if name not in _HOP]
        async with (
            httpx2.AsyncClient(timeout=None, trust_env=False) as client,
            anyio.create_task_group() as tasks,
        ):

            async def until_they_leave() -> None:
                while (await receive())["type"] != "http.disconnect":
                    pass
                tasks.cancel_scope.cancel()

            tasks.start_soon(until_they_leave)
            async with client.stream(scope["method"], url, headers=headers, content=body) as answer:
                kept = [(n.encode(), v.encode("latin-1")) for n, v in answer.headers.items() if n.lower() not in _HOP]
                await send({"type": "http.response.start", "status": answer.status_code, "headers": kept})
                async for part in answer.aiter_bytes():
                    await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
            tasks.cancel_scope.cancel()

    return forward


@contextlib.contextmanager
def modern_gate(url: str) -> Generator[str]:
    """The address of a gate before `url`."""
    listener = loopback_socket(0)
    app = OneEra(_forward_to(url), "modern")
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off"))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"
    finally:
        server.should_exit = True
        thread.join(60)
        listener.close()
