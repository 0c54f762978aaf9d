"""The contract: every word, message and document that Mayfly shares with others."""
