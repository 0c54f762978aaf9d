"""The contract: every word, message and document that Mayfly shares with others.

A part that is named as an attribute of this package is imported then, and not before: few functions read what people
write, and pydantic, which reads it, takes as long to import as all else.
"""

from importlib import import_module
from types import ModuleType


def __getattr__(name: str) -> ModuleType:
    try:
        return import_module(f"{__name__}.{name}")
    except ModuleNotFoundError:
        raise AttributeError(name) from None
