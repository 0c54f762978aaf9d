"""Acceptance: Mayfly's first hour in an account, compared with what the local cloud does."""
