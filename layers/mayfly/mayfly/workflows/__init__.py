"""Workflows: each does one thing over several of AWS's services. They decide with `domain` and call with `aws`; what
one workflow alone asks of AWS, it asks itself."""
