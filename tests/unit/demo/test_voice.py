"""The demo's words on a terminal."""

import io

import pytest

from acp_stdio.demo.voice import Voice, printable, wants_colour


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def everything(voice: Voice) -> None:
    voice.title("a title")
    voice.chapter(1, "a chapter")
    voice.say("many words " * 40)
    voice.quote("somebody", "said " * 40)
    voice.log(["2026-11-23T09:30:01.250Z user=sarah@acme.example " + "field=value " * 20])
    voice.good("well " * 40)
    voice.pity("alas " * 40)
    voice.bad("no " * 40)


def test_nothing_is_wider_than_80_columns() -> None:
    stream = io.StringIO()
    everything(Voice(stream))
    assert max(len(line) for line in stream.getvalue().splitlines()) <= 80


def test_colour_changes_no_letter() -> None:
    plain, coloured = io.StringIO(), io.StringIO()
    everything(Voice(plain))
    everything(Voice(coloured, colour=True))
    bare = coloured.getvalue()
    for code in ("1", "2", "31", "32", "36;1", "0"):
        bare = bare.replace(f"\x1b[{code}m", "")
    assert bare == plain.getvalue()
    assert "\x1b" in coloured.getvalue()
    assert "\x1b" not in plain.getvalue()


def test_a_server_cannot_drive_the_terminal() -> None:
    assert printable("pay\x1b]0;title\x07\u202e\x85: 1") == "pay]0;title: 1"


@pytest.mark.parametrize(
    ("stream", "environ", "colour"),
    [
        (Terminal(), {}, True),
        (Terminal(), {"NO_COLOR": "1"}, False),
        (Terminal(), {"TERM": "dumb"}, False),
        (io.StringIO(), {}, False),
    ],
)
def test_colour_is_for_terminals_whose_person_wants_it(
    stream: io.StringIO, environ: dict[str, str], colour: bool
) -> None:
    assert wants_colour(stream, environ) is colour


def test_without_a_stream_it_is_silent() -> None:
    everything(Voice(None))
