"""People of the local cloud: the three roles, with a password that everybody may know, and tokens to try the API with.

Of a real installation, an administrator makes the users; nothing of this is in template.yaml.
"""

import base64
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from local.accounts import Accounts
from local.cloud import LocalCloud

PASSWORD = "Mayfly-local-1"  # it opens nothing but a server on the loopback interface
PEOPLE: dict[str, tuple[str, ...]] = {
    "viewer": ("viewer",),
    "developer": ("developer:webshop",),
    "operator": ("operator",),
}


def welcome(cloud: LocalCloud, outputs: Mapping[str, str]) -> None:
    """Makes the three users, and lets the console's client come back to where the console is here. Repeating it is
    harmless."""
    let_back(cloud, outputs)
    for name, groups in PEOPLE.items():
        make(cloud, outputs, name, groups)


def let_back(cloud: LocalCloud, outputs: Mapping[str, str]) -> None:
    """Lets the console's client come back to where the console is here, and tests sign in without a browser."""
    cognito, pool = cloud.client("cognito-idp"), outputs["UserPoolId"]
    console = f"{cloud.console_url}/"
    client = cognito.describe_user_pool_client(UserPoolId=pool, ClientId=outputs["ClientId"])["UserPoolClient"]
    # As it is, as far as it can be set.
    kept = {name: value for name, value in client.items() if value and not name.endswith("Date")}
    for name in ("CallbackURLs", "LogoutURLs"):
        kept[name] = sorted({*client[name], console})
    kept["ExplicitAuthFlows"] = sorted({*client["ExplicitAuthFlows"], "ALLOW_USER_PASSWORD_AUTH"})
    cognito.update_user_pool_client(**kept)


def make(cloud: Accounts, outputs: Mapping[str, str], name: str, groups: Sequence[str] = ()) -> str:
    """Makes a user in these groups; returns the name."""
    cognito, pool = cloud.client("cognito-idp"), outputs["UserPoolId"]
    try:
        cognito.admin_create_user(UserPoolId=pool, Username=name, MessageAction="SUPPRESS")
    except cognito.exceptions.UsernameExistsException:
        return name
    cognito.admin_set_user_password(UserPoolId=pool, Username=name, Password=PASSWORD, Permanent=True)
    for group in groups:
        with suppress(cognito.exceptions.GroupExistsException):
            cognito.create_group(UserPoolId=pool, GroupName=group)
        cognito.admin_add_user_to_group(UserPoolId=pool, Username=name, GroupName=group)
    return name


def token(cloud: LocalCloud, outputs: Mapping[str, str], name: str, kind: str = "AccessToken") -> str:
    """Signs a user in, as Cognito does it; returns the access token, or the `IdToken`."""
    answer = cloud.client("cognito-idp").initiate_auth(
        ClientId=outputs["ClientId"],
        AuthFlow="USER_PASSWORD_AUTH",
        AuthParameters={"USERNAME": name, "PASSWORD": PASSWORD},
    )
    return str(answer["AuthenticationResult"][kind])


def expired(cloud: LocalCloud, outputs: Mapping[str, str], name: str = "operator") -> str:
    """A token of the right issuer, with its signature, whose time is over: it cannot be had by waiting, so the local
    cloud signs it."""
    claims = claims_of(token(cloud, outputs, name))
    then = int(time.time()) - 7200
    return cloud.signed_token(outputs["UserPoolId"], claims | {"iat": then, "auth_time": then, "exp": then + 3600})


def foreign(cloud: LocalCloud, outputs: Mapping[str, str], name: str = "operator") -> str:
    """A token that says the same as a real one, under the same key's name, but that somebody else has signed."""
    real = token(cloud, outputs, name)
    head, payload, _ = real.split(".")
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    signature = key.sign(f"{head}.{payload}".encode(), padding.PKCS1v15(), hashes.SHA256())
    return f"{head}.{payload}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def of_another_issuer(cloud: LocalCloud, outputs: Mapping[str, str], name: str = "operator") -> str:
    """A token of another user pool, valid there."""
    claims = claims_of(token(cloud, outputs, name))
    other = cloud.client("cognito-idp").create_user_pool(PoolName="elsewhere")["UserPool"]["Id"]
    issuer = claims["iss"].replace(outputs["UserPoolId"], other)
    return cloud.signed_token(other, claims | {"iss": issuer})


def claims_of(token: str) -> dict[str, Any]:
    """What a token says."""
    payload = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return claims
