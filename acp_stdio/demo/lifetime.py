"""What the demo's two servers share: a loopback port of their own, and an end when their parent ends."""

import json
import os
import socket
import sys
import threading
from typing import Any


def loopback_socket(port: int) -> socket.socket:
    """A listening socket on 127.0.0.1; port 0 takes any free one. Raises `OSError` if it is taken."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(128)
    return listener


def announce(facts: dict[str, Any]) -> None:
    """The first line on stdout, for whoever started us: where we are and, over this pipe only, our keys."""
    print(json.dumps(facts), flush=True)


def end_with_parent() -> None:
    """Ends this process when its stdin closes, which also happens when the parent is killed."""

    def watch() -> None:
        while os.read(sys.stdin.fileno(), 1024):
            pass
        os._exit(0)  # nothing here outlives the demo: all state is in memory

    threading.Thread(target=watch, daemon=True).start()
