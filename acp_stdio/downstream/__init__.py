"""The host's end of the wire: stdin and stdout."""
