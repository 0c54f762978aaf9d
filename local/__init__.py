"""The local cloud: two AWS accounts on this machine, without Docker and without an AWS account.

`local.cloud.LocalCloud` is what everything else imports. The controller account is MiniStack, adapted in
`controller/`; the workload account is moto, adapted in `workload/`. `demo/` shows Mayfly on them. What both accounts
share is beside this file. Where one of them differs from AWS in a way that Mayfly notices, it is adapted here and
nowhere else.
"""
