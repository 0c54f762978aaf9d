"""Text from outside, as it may be shown: in a terminal, a mail, a chat and a page it is what it looks like."""

import re

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_INVISIBLE = re.compile("[\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]")
"""Of direction, of no width, and tags: they make text read as another one, or carry another one unseen."""
_SURROGATE = re.compile("[\ud800-\udfff]")


def clean(text: str) -> str:
    """A text in one line, without characters that control a terminal or turn the direction of what follows."""
    return _SURROGATE.sub("\ufffd", _INVISIBLE.sub("", _CONTROL.sub(" ", text)))
