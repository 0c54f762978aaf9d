"""Mayfly's shared layer: `contract` names and checks, `domain` decides, `aws` calls, `workflows` combine them."""

__version__ = "0.1.0"
