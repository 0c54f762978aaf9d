"""Mayfly's shared layer: `domain` decides, `messages` and `settings` are the doors, `aws` acts."""

__version__ = "0.1.0"
