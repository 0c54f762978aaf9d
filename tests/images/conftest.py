"""Machines over one Debian for all tests here, and the sample image, baked once."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .builder import IMAGES, Bake, bake, packed, sample_code
from .debian import PUPPET_SERVER, DebianMissingError, debian, obstacle
from .machine import Machine, Machines, machines
from .premises import PuppetServer, puppet_server

CACHE = Path(__file__).parents[2] / "build"

APPLICATION = """#!/usr/bin/ruby
require 'socket'
server = TCPServer.new(8080)
loop do
  client = server.accept
  until client.gets.strip.empty? do end
  said = "#{ENV['APPLICATION']} #{ENV['VERSION']} on #{ENV['HOST_NAME']} as #{Process.uid}"
  client.write("HTTP/1.0 200 OK\\r\\n\\r\\n#{said}\\n")
  client.close
end
"""


@contextmanager
def skipped_where_there_is_none() -> Iterator[None]:
    """Without a throw-away Debian tests are skipped, except in CI where it is expected."""
    try:
        yield
    except DebianMissingError as missing:
        if os.environ.get("CI") == "true" and obstacle() is None:
            pytest.fail(str(missing))
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def throw_away(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    """Where machines come from."""
    with skipped_where_there_is_none(), machines(debian(CACHE), tmp_path_factory.mktemp("machines")) as found:
        yield found


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PuppetServer]:
    """The Puppet server, running; it compiles the sample for everybody."""
    folder = tmp_path_factory.mktemp("premises")
    with skipped_where_there_is_none(), machines(debian(CACHE, PUPPET_SERVER), folder) as found, found.new() as made:
        site = (IMAGES / "puppet/manifests/site.pp").read_text()
        with puppet_server(made, folder.parent, site) as running:
            yield running


@pytest.fixture
def machine(throw_away: Machines) -> Iterator[Machine]:
    """A base image's machine, with the sample Puppet code in reach."""
    with throw_away.new() as made:
        (made.artifacts / "puppet.tar.gz").write_bytes(sample_code())
        yield made


@pytest.fixture(scope="session")
def baked(throw_away: Machines) -> Iterator[tuple[Machine, Bake]]:
    """The sample image, and how its bake went. Not to be written to."""
    with throw_away.new() as made:
        (made.artifacts / "puppet.tar.gz").write_bytes(sample_code())
        yield made, bake(made)


@pytest.fixture
def instance(throw_away: Machines, baked: tuple[Machine, Bake]) -> Iterator[Machine]:
    """An instance of the sample image, before its first boot."""
    with throw_away.new(like=baked[0]) as made:
        (made.artifacts / "webshop.tar.gz").write_bytes(packed(start=APPLICATION))
        yield made


@pytest.fixture(scope="session")
def deployed(throw_away: Machines, baked: tuple[Machine, Bake]) -> Iterator[Machine]:
    """An instance of the sample image that booted and deployed as fleet.yaml does. Not to be written to."""
    with throw_away.new(like=baked[0]) as made:
        (made.artifacts / "webshop.tar.gz").write_bytes(packed(start=APPLICATION))
        boot = made.shell("puppet apply --detailed-exitcodes /opt/mayfly/boot.pp")
        assert boot.code == 2, boot.output
        made.must("/opt/mayfly/deploy webshop 1.4.2 http://127.0.0.1:8000/webshop.tar.gz", metadata=True)
        yield made
