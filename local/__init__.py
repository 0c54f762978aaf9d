"""The local cloud: two AWS accounts on this machine, without Docker and without an AWS account.

`local.cloud.LocalCloud` is what everything else imports. The controller account is MiniStack
(`controller.py`, `stepfunctions.py`), the workload account is moto (`workload.py`, `stacks.py`).
Where one of them differs from AWS in a way that Mayfly notices, it is adapted here and nowhere else.
"""
