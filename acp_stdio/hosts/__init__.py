"""The programs that launch us: where their configuration lies, and our entry in it. Starts no process, asks nobody."""
