"""JSON-RPC frames as data, framing, SSE events and MCP's header rules. No I/O."""
