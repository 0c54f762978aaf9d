"""An OpenID Connect issuer of a test's own: its documents over HTTPS on the loopback interface, and tokens it signs."""

import base64
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

KEY_ID = "the-only-one"


class Issuer:
    """What it has: a key for tokens, and a server with a certificate that only those trust who are told of it."""

    def __init__(self, url: str, certificate: Path) -> None:
        self.url, self.certificate = url, certificate

    @cached_property
    def _key(self) -> rsa.RSAPrivateKey:
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def token(self, audience: str, **claims: Any) -> str:
        """A token for a client, of an hour."""
        now = int(datetime.now(UTC).timestamp())
        said = {"iss": self.url, "aud": audience, "iat": now, "exp": now + 3600} | claims
        signed = ".".join(_text(json.dumps(part).encode()) for part in ({"alg": "RS256", "kid": KEY_ID}, said))
        return f"{signed}.{_text(self._key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"

    def documents(self) -> dict[str, Any]:
        """What it publishes, by path. Its keys are where its discovery document says, and nowhere else."""
        numbers = self._key.public_key().public_numbers()
        modulus, exponent = (
            _text(number.to_bytes((number.bit_length() + 7) // 8)) for number in (numbers.n, numbers.e)
        )
        key = {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": KEY_ID, "n": modulus, "e": exponent}
        discovery = {"issuer": self.url, "jwks_uri": f"{self.url}/keys"}
        return {"/.well-known/openid-configuration": discovery, "/keys": {"keys": [key]}}


@contextmanager
def serving(folder: Path) -> Iterator[Issuer]:
    """An issuer, for as long as this lasts. Its certificate and the key to it are kept in `folder`."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = issuer.documents().get(self.path)
            self.send_response(200 if found else 404)
            self.end_headers()
            self.wfile.write(json.dumps(found).encode())

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    issuer = Issuer(f"https://127.0.0.1:{server.server_port}", folder / "certificate.pem")
    _certify(issuer.certificate, folder / "key.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issuer.certificate, folder / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield issuer
    finally:
        server.shutdown()
        server.server_close()


def _certify(certificate: Path, key: Path) -> None:
    """A certificate of this machine for itself."""
    made = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an issuer of a test")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(name, name, made.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(made.public_key()), critical=False)
        .sign(made, hashes.SHA256())
    )
    certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    key.write_bytes(
        made.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


def _text(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
