"""What an image consists of, as an instance of it says: packages, enabled services, and the files that Puppet manages;
and how two images differ.
"""

import base64
import binascii
import json
import zlib
from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

type Kind = Literal["package", "service", "file"]
KINDS: tuple[Kind, ...] = ("package", "service", "file")

MOST_BYTES = 1_000_000
"""Of what is unpacked: an instance may say anything."""

SCRIPT = r"""
contents() {
  if command -v dpkg-query >/dev/null; then
    dpkg-query --show --showformat 'package\t${Package}:${Architecture}\t${Version}\n'
  elif command -v rpm >/dev/null; then
    rpm --query --all --queryformat 'package\t%{NAME}:%{ARCH}\t%{VERSION}-%{RELEASE}\n'
  fi
  find /etc/systemd/system -path '*.wants/*' -name '*.service' -printf 'service\t%f\tenabled\n' 2>/dev/null
  for state in /opt/puppetlabs/puppet/cache/state /var/cache/puppet/state /var/lib/puppet/state; do
    cat "$state/state.yaml" 2>/dev/null
  done | sed -n 's/^"\{0,1\}File\[\(.*\)\]"\{0,1\}:$/\1/p' | sort -u |
    while IFS= read -r file; do
      [ ! -f "$file" ] || printf 'file\t%s\t%s\n' "$file" "$(sha256sum <"$file" | head -c 16)"
    done
}
said=$(contents | LC_ALL=C sort -u | gzip -9n | base64 -w 0)
if [ "${#said}" -le "$contents_room" ]; then
  printf '{"contents": "%s"}\n' "$said"
else
  printf '{"contents": "", "characters": %d}\n' "${#said}"
fi"""
"""Prints what is installed, as a line of JSON: a gzip in base64 of a line for each part, with tabs between its kind,
its name and its version (of a file, the beginning of its checksum). What does not fit into Run Command's output says
how long it is."""


class Contents(Struct, frozen=True):
    """Of each kind, names and versions."""

    parts: Mapping[Kind, Mapping[str, str]]


class Change(Struct, frozen=True):
    """A name, what it was (None: it was not there), and what it is (None: it is gone)."""

    name: str
    before: str | None
    after: str | None


def read_contents(printed: str) -> Contents | None:
    """Reads what an instance printed; returns None where it did not say what it consists of, or nobody can read it."""
    for line in printed.splitlines():
        try:
            said = json.loads(line)
            if isinstance(said, dict) and said.get("contents"):
                return _parse(_unpack(base64.b64decode(said["contents"], validate=True)))
        except (ValueError, TypeError, binascii.Error, zlib.error):
            continue  # whatever else an instance prints says nothing
    return None


def compare(before: Contents, after: Contents) -> dict[Kind, list[Change]]:
    """Compares two images: of each kind what came, went or changed, by name."""
    return {kind: _compare(before.parts.get(kind, {}), after.parts.get(kind, {})) for kind in KINDS}


def _compare(before: Mapping[str, str], after: Mapping[str, str]) -> list[Change]:
    names = sorted({*before, *after})
    changes = (Change(name, before.get(name), after.get(name)) for name in names)
    return [change for change in changes if change.before != change.after]


def _unpack(packed: bytes) -> str:
    unpacking = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    whole = unpacking.decompress(packed, MOST_BYTES)
    if unpacking.unconsumed_tail:
        raise ValueError(f"expected {MOST_BYTES} bytes at most")
    return whole.decode(errors="replace")


def _parse(text: str) -> Contents:
    parts: dict[Kind, dict[str, str]] = {kind: {} for kind in KINDS}
    for line in text.splitlines():
        match line.split("\t"):
            case ["package" | "service" | "file" as kind, name, version]:
                parts[kind][name] = version
    return Contents(parts)
