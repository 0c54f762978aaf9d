"""Calls AWS: each module has one service's calls, in the words of the domain."""
