"""How the local cloud's CloudFormation reads templates."""

from typing import Any

from local.workload.templates import _once


def test_a_text_is_read_once_and_each_who_asks_may_change_what_he_gets() -> None:
    read = list[str]()

    def parse(text: str) -> Any:
        read.append(text)
        return {"Resources": {"Queue": text}}

    parse_template = _once(parse)
    parse_template("first")["Resources"].clear()
    assert parse_template("first") == {"Resources": {"Queue": "first"}}
    assert parse_template("second") == {"Resources": {"Queue": "second"}}
    assert read == ["first", "second"]
