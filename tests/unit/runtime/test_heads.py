"""Header blocks: made once for many calls, and few, small ones are kept."""

from acp_stdio.runtime.heads import LONGEST, MOST, Heads


def kept(heads: Heads) -> int:
    """Bytes."""
    return sum(len(block) for block in heads._known.values())  # pyright: ignore[reportPrivateUsage]  # nobody else sees it


def test_a_block_names_the_host_as_it_names_itself_now() -> None:
    named = ("claude-code", "3")
    heads = Heads(lambda: named)
    assert b"(claude-code/3)" in heads.block((("Mcp-Name", "pay"),), ())
    named = ("cursor", "1")
    assert b"(cursor/1)" in heads.block((("Mcp-Name", "pay"),), ())


def test_neither_many_nor_large_blocks_are_kept() -> None:
    heads = Heads(lambda: ("", ""))
    large = (("Mcp-Param-Text", "x" * (1 << 20)),)
    assert heads.block(large, (("Traceparent", "t"),)).startswith(b"Mcp-Param-Text: xxx")
    assert kept(heads) == 0
    for number in range(3 * MOST):
        heads.block((("Mcp-Name", str(number)),), ())
    assert 0 < kept(heads) <= MOST * LONGEST
