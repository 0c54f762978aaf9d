"""Thin hands on AWS: each module names one service's calls in the words of the domain."""
