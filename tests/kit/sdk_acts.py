"""What the official SDK's client does before `acp-stdio run`, in a test that is not async itself."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
from mcp.client import Client

from tests.kit.host import sdk_host
from tests.kit.scene import Scene


@asynccontextmanager
async def host(scene: Scene, era: str, **callbacks: Any) -> AsyncGenerator[Client]:
    """The client on this machine; `era`: `legacy`, `auto` or a modern version."""
    async with sdk_host(scene.environment, scene.home, era, **callbacks) as client:
        yield client


def play(act: Callable[[], Awaitable[None]]) -> None:
    """Runs one act; nothing in it may take longer than a minute and a half."""

    async def bounded() -> None:
        with anyio.fail_after(90):
            await act()

    anyio.run(bounded)


def said(result: Any) -> str:
    """A tool's first words."""
    return result.content[0].text
