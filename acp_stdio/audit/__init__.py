"""What happened, provably: records and the append-only trail."""
