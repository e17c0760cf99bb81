"""What a record says of arguments: enough to recognise them by, nothing to guess them from."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from acp_stdio.audit import chain
from acp_stdio.audit.arguments import Arguments, Mode
from acp_stdio.errors import Failure
from acp_stdio.vault.private_file import Unfit, read_key

PARAMS = b'{"name":"pay","arguments":{"to":"Robert","amount":1000.0},"_meta":{"progressToken":1}}'


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    return tmp_path / "state" / "audit-digest.key"


def test_a_digest_is_the_same_however_the_arguments_are_spelled_and_another_with_another_value(key_file: Path) -> None:
    digests = Arguments("digest", key_file)
    about = digests.about(PARAMS, 87)
    assert (about["keys"], about["bytes"]) == (["to", "amount"], 87)
    spelled = digests.about(b'{"arguments": {"amount": 1e3,\n "to":"Rob\\u0065rt"}}', 1)
    assert spelled["digest"] == about["digest"]
    assert digests.about(PARAMS.replace(b"1000", b"1001"), 87)["digest"] != about["digest"]
    assert Arguments("digest", key_file).about(PARAMS, 87) == about


def test_whoever_has_the_trail_alone_cannot_try_values(key_file: Path, tmp_path: Path) -> None:
    mine = Arguments("digest", key_file).about(PARAMS, 87)["digest"]
    others = Arguments("digest", tmp_path / "other").about(PARAMS, 87)["digest"]
    kind, key, digest = mine.split(":")
    assert kind == "hmac-sha256"
    assert digest != hashlib.sha256(b'{"amount":1000,"to":"Robert"}').hexdigest()
    assert (key, digest) != tuple(others.split(":")[1:])
    assert key_file.stat().st_mode & 0o777 == 0o600
    assert "Robert" not in str(mine)


def test_all_who_make_the_key_at_once_have_the_same(key_file: Path) -> None:
    with ThreadPoolExecutor(8) as many:
        told = [many.submit(Arguments("digest", key_file).about, PARAMS, 1) for _ in range(8)]
    assert len({each.result()["digest"] for each in told}) == 1
    assert os.listdir(key_file.parent) == [key_file.name]


def test_a_key_that_another_makes_while_we_look_for_it_is_taken(
    key_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[bytes | None] = []

    def look(path: Path) -> bytes:
        try:
            looks.append(read_key(path))
        except Unfit:
            looks.append(None)
            monkeypatch.undo()
            Arguments("digest", key_file).about(PARAMS, 87)
            raise
        return looks[-1] or b""

    monkeypatch.setattr("acp_stdio.audit.arguments.read_key", look)
    mine = Arguments("digest", key_file).about(PARAMS, 87)
    assert looks == [None]
    assert mine == Arguments("digest", key_file).about(PARAMS, 87)


def test_none_is_a_size_and_full_the_values_in_one_spelling(key_file: Path) -> None:
    assert Arguments("none").about(PARAMS, 87) == {"bytes": 87}
    full = Arguments("full").about(b'{"arguments":{"b":\n1,"a":"\xc3\xa9"}}', 5)
    assert msgspec.json.encode(full).decode() == '{"bytes":5,"keys":["b","a"],"value":{"a":"é","b":1}}'
    assert not key_file.exists()


@pytest.mark.parametrize("params", [b"[]", b"{", b'"x"', b'{"arguments":[1]}', b'{"arguments":{"a":"\\ud83d"}}'])
def test_odd_parameters_are_recorded_all_the_same(key_file: Path, params: bytes) -> None:
    for mode in ("digest", "full"):
        about = Arguments(mode, key_file).about(params, len(params))
        assert about["bytes"] == len(params)
        assert b"\n" not in msgspec.json.encode(about)


@pytest.mark.parametrize("mode", ["digest", "full"])
def test_half_of_an_emoji_in_a_name_keeps_no_record_from_being_written(key_file: Path, mode: Mode) -> None:
    about = Arguments(mode, key_file).about(b'{"arguments":{"\\ud83d":1e3}}', 5)
    record = {"tool": "\ud83d", "arguments": about, "token": None, "seq": 1, "prev": chain.NOTHING}
    read = chain.read(chain.link(record)[0].rstrip(b"\n"))
    assert (read["tool"], read["arguments"]["keys"], read["token"]) == ("\ud83d", ["\ud83d"], None)
    assert read["arguments"].get("value") == ({"\ud83d": 1000} if mode == "full" else None)


def test_of_very_many_names_some_are_told(key_file: Path) -> None:
    many = b'{"arguments":{%b}}' % b",".join(b'"k%d":1' % number for number in range(100))
    about = Arguments("digest", key_file).about(many, 1)
    assert (len(about["keys"]), about["more_keys"]) == (64, 36)


def test_a_request_without_arguments_is_known_by_its_parameters(key_file: Path) -> None:
    digests = Arguments("digest", key_file)
    about = digests.about(b'{"uri":"file:///a","_meta":{"x":1}}', 1)
    assert about["keys"] == ["uri"]
    assert about["digest"] == digests.about(b'{"uri":"file:///a"}', 1)["digest"]


def test_a_key_that_others_may_read_is_not_used_and_that_refuses_the_call(key_file: Path) -> None:
    Arguments("digest", key_file).about(PARAMS, 1)
    key_file.chmod(0o644)
    with pytest.raises(Failure, match="0600") as caught:
        Arguments("digest", key_file).about(PARAMS, 1)
    assert caught.value.reason == "audit_unavailable"
