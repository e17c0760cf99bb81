"""Takes stdin and stdout for the protocol, before anything else can write to them."""

import os


def claim_stdio() -> tuple[int, int]:
    """Returns private descriptors for stdin and stdout.

    Afterwards descriptor 0 reads nothing and descriptor 1 is stderr, so that a stray print, of
    ours, of a library or of a child, cannot corrupt the wire (I1).
    """
    stdin, stdout = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    try:
        os.dup2(2, 1)
    except OSError:  # the host closed stderr
        os.dup2(null, 1)
        os.dup2(null, 2)
    os.close(null)
    return stdin, stdout
