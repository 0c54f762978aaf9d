"""The command line `mayfly`: what people and CI servers ask of an installation, and what they see of it."""
