"""What acp-stdio costs: ratios in one run, with a real sign-in, token, and trail.

    scripts/bench [--calls N] [--rounds N]

Each figure stands beside one that was measured in the same round: a start beside
`python -c pass`, a call beside the same call sent directly. Times alone say nothing about
another machine; ratios do, roughly.
"""

import argparse
import asyncio
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from acp_stdio.demo.parts import Parts
from acp_stdio.demo.people import PEOPLE
from acp_stdio.demo.stage import Desk

HELLO: dict[str, Any] = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "bench", "version": "1"},
}
CALL: dict[str, Any] = {"name": "echo", "arguments": {"text": "x" * 150}}
AT_ONCE = 64


LABELS = (
    "handshake from memory, x `python -c pass`",
    "handshake from memory, ms",
    "one call, x the same call sent directly",
    "one call, ms",
    "calls a second, 64 in flight",
    "resident memory after them, MB",
)
"""What `measure` returns, in its order."""


class Upstream(asyncio.Protocol):
    """The cheapest MCP server there can be: one tool, answers from fixed parts, any token."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport, self._buffer = transport, b""

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower()
            _, _, rest = head.partition(b"content-length: ")
            size = int(rest.partition(b"\r\n")[0] or b"0")
            if len(self._buffer) < end + 4 + size:
                return
            body, self._buffer = self._buffer[end + 4 : end + 4 + size], self._buffer[end + 4 + size :]
            self._transport.write(_reply(head, body))


def _reply(head: bytes, body: bytes) -> bytes:
    if not head.startswith(b"post"):
        return b"HTTP/1.1 405 No\r\nContent-Length: 0\r\n\r\n"
    frame = json.loads(body)
    if "id" not in frame:
        return b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"
    match frame["method"]:
        case "initialize":
            result: dict[str, Any] = {
                "protocolVersion": frame["params"]["protocolVersion"],
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "bench", "version": "1"},
            }
        case "tools/list":
            result = {"tools": [{"name": "echo", "inputSchema": {"type": "object"}}]}
        case "tools/call":
            result = {"content": [{"type": "text", "text": frame["params"]["arguments"]["text"]}]}
        case _:
            return b"HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n"
    answer = json.dumps({"jsonrpc": "2.0", "id": frame["id"], "result": result}).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(answer), answer)


def start_upstream() -> int:
    """Serves from a thread of this process, which is otherwise waiting; returns the port."""
    ready = threading.Event()
    port = 0

    async def serve() -> None:
        nonlocal port
        server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        ready.set()
        await server.serve_forever()

    threading.Thread(target=lambda: asyncio.run(serve()), daemon=True).start()
    ready.wait(10)
    return port


class Relay:
    """`acp-stdio run` as a host has it."""

    def __init__(self, desk: Desk) -> None:
        self.began = time.perf_counter()
        self.process = subprocess.Popen(
            [str(Path(sys.executable).parent / "acp-stdio"), "run"],
            env=desk.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.stdin, self.stdout = self.process.stdin, self.process.stdout

    def send(self, method: str, params: dict[str, Any], request_id: int | None) -> None:
        frame = {"jsonrpc": "2.0", "method": method, "params": params}
        self.stdin.write(json.dumps(frame if request_id is None else {**frame, "id": request_id}).encode() + b"\n")
        self.stdin.flush()

    def greet(self) -> float:
        """Milliseconds from the start to the answered handshake."""
        self.send("initialize", HELLO, 0)
        self.stdout.readline()
        took = (time.perf_counter() - self.began) * 1000
        self.send("notifications/initialized", {}, None)
        return took

    def close(self) -> None:
        self.stdin.close()
        self.process.wait()
        self.stdout.close()

    def megabytes(self) -> float:
        """Resident memory, where the system tells (Linux)."""
        try:
            lines = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii").splitlines()
        except OSError:
            return float("nan")
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def one_by_one(relay: Relay, calls: int) -> float:
    """Median milliseconds of a call."""
    took: list[float] = []
    for number in range(1, calls + 1):
        began = time.perf_counter()
        relay.send("tools/call", CALL, number)
        _answer(relay)
        took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took)


def directly(port: int, calls: int) -> float:
    """The same call over one kept connection, in milliseconds."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": CALL}).encode()
    request = b"POST /mcp HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    took: list[float] = []
    with socket.create_connection(("127.0.0.1", port)) as connection:
        for _ in range(calls):
            began = time.perf_counter()
            connection.sendall(request)
            json.loads(connection.recv(65536).partition(b"\r\n\r\n")[2])
            took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took)


def many_at_once(relay: Relay, calls: int) -> float:
    """Calls a second with 64 in flight."""
    for number in range(AT_ONCE):
        relay.send("tools/call", CALL, 1_000_000 + number)
    began = time.perf_counter()
    for number in range(AT_ONCE, calls + AT_ONCE):
        _answer(relay)
        relay.send("tools/call", CALL, 1_000_000 + number)
    rate = calls / (time.perf_counter() - began)
    for _ in range(AT_ONCE):
        _answer(relay)
    return rate


def _answer(relay: Relay) -> None:
    frame = json.loads(relay.stdout.readline())
    if "result" not in frame or frame["result"].get("isError"):
        raise SystemExit(f"a call failed: {frame}")


def bare_python(desk: Desk) -> float:
    """Milliseconds of `python -c pass`."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], env=desk.environment(), check=True)
    return (time.perf_counter() - began) * 1000


def main() -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="acp-bench-") as name:
        folder = Path(name)
        parts = Parts(folder)
        with parts.idp() as idp:
            port = start_upstream()
            desk = Desk(PEOPLE["sarah"], folder / "sarah")
            desk.furnish(idp.facts()["issuer"], f"http://127.0.0.1:{port}/mcp")
            print(parts.login(desk), file=sys.stderr)
            rows = [measure(desk, port, options.calls) for _ in range(options.rounds)]
    for index, label in enumerate(LABELS):
        values = sorted(row[index] for row in rows)
        print(f"{label:52s} {statistics.median(values):9.2f}   ({values[0]:.2f} to {values[-1]:.2f})")
    return 0


def measure(desk: Desk, port: int, calls: int) -> tuple[float, ...]:
    """One round."""
    first = Relay(desk)  # leaves the ticket that the next start finds
    first.greet()
    first.close()
    bare = statistics.median(bare_python(desk) for _ in range(5))
    relay = Relay(desk)
    greeted = relay.greet()
    one_by_one(relay, 100)
    one, direct = one_by_one(relay, calls), directly(port, calls)
    rate = many_at_once(relay, calls * 2)
    memory = relay.megabytes()
    relay.close()
    return greeted / bare, greeted, one / direct, one, rate, memory


if __name__ == "__main__":
    sys.exit(main())
