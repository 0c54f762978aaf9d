"""Text from outside, as it may be shown: in a terminal, a mail, a chat and a page it is what it looks like."""

import re

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_INVISIBLE = re.compile("[\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]")
"""Of direction, of no width, and tags: they make text read as another one, or carry another one unseen."""
_COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_PRINCIPAL = re.compile(r"arn:[a-z-]+:(iam|sts)::(?P<account>\d{12}):(assumed-role/(?P<role>[^/]+)/)?(?P<who>\S+)")
_FRACTION = re.compile(r"(\d\dT\d\d:\d\d:\d\d)\.\d+Z")
_SURROGATE = re.compile("[\ud800-\udfff]")


def clean(text: str) -> str:
    """Returns a text in one line, without characters that control a terminal or turn the direction of what follows."""
    return _SURROGATE.sub("\ufffd", _INVISIBLE.sub("", _CONTROL.sub(" ", text)))


def clean_lines(text: str) -> str:
    """Returns a text of several lines, each of them clean; what colours it in a terminal is left out."""
    lines = [clean(line).rstrip() for line in _COLOUR.sub("", text).splitlines()]
    return "\n".join([*lines, ""] if text.endswith("\n") else lines)


def whole_seconds(text: str) -> str:
    """Returns a text whose times have no fraction of a second: for people."""
    return _FRACTION.sub(r"\1Z", text)


def principal(arn: str) -> str:
    """Returns the name of who calls AWS, without what only machines read: ``ann@example.com (role Admin of
    111111111111)`` of a session, ``ann (111111111111)`` of a user. What is no ARN stays as it is."""
    found = _PRINCIPAL.fullmatch(arn)
    if not found:
        return arn
    name = found["who"].rpartition("/")[2]
    return f"{name} ({f'role {found["role"]} of ' if found['role'] else ''}{found['account']})"
