"""The secret by which an environment, or a bake, proves to a Puppet server that it is one of ours.

Each has its own, derived from a key that only Mayfly and the server have: what leaks out of one environment is good for
no other. The server's half is images/puppet/modules/mayfly/files/server/autosign.
"""

import hmac


def derive(key: str, controller: str, account: str, name: str) -> str:
    """Returns the secret of one environment or bake, in hexadecimal.

    Args:
        key: the shared one. controller: value of the tag ``mayfly:controller``. account: where its instances are.
        name: the environment's or the bake's.
    """
    return hmac.new(key.encode(), f"{controller} {account} {name}".encode(), "sha256").hexdigest()
