"""An issuer of our own on this machine: does a server ask for the keys of whoever a token names?"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from acp_stdio.probe.forge import Stranger, new_key


class StrangersHouse:
    """Publishes metadata and a key for as long as it is open. Loopback only: a server elsewhere cannot reach it."""

    def __init__(self, algorithm: str) -> None:
        house = self
        self.asked = False

        class Door(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                house.asked = True
                document = house.document(self.path)
                body = json.dumps(document).encode()
                self.send_response(200 if document else 404)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
        self._server.daemon_threads = True
        issuer = f"http://127.0.0.1:{self._server.server_port}"
        self.stranger = Stranger(issuer, algorithm, new_key(algorithm))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def document(self, path: str) -> dict[str, Any]:
        """What lies at this path; nothing: not found."""
        issuer = self.stranger.issuer
        if path == "/jwks":
            return {"keys": [self.stranger.jwk()]}
        if path.startswith("/.well-known/"):
            return {
                "issuer": issuer,
                "jwks_uri": f"{issuer}/jwks",
                "authorization_endpoint": f"{issuer}/authorize",
                "token_endpoint": f"{issuer}/token",
                "response_types_supported": ["code"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": [self.stranger.algorithm],
            }
        return {}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
