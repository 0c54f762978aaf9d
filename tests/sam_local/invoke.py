"""`make invoke FUNCTION=... EVENT=...`: the real `sam local invoke`, on the local cloud of `make local`."""

import json
import sys
import tempfile
from pathlib import Path

from local.cloud import CloudError, LocalCloud
from local.install import ROOT

from .bridge import bridge
from .engine import EngineMissingError, container_engine
from .sam import on_the_local_cloud


def main() -> int:
    """Invokes one function with one event and prints its answer."""
    function, event = sys.argv[1:]
    try:
        cloud = LocalCloud.attach(ROOT / ".local")
        with (
            container_engine(ROOT / "build" / "sam-local") as engine,
            bridge() as open_bridge,
            tempfile.TemporaryDirectory() as scratch,
        ):
            sam = on_the_local_cloud(engine, open_bridge, cloud, Path(scratch))
            print(f"sam local invoke {function} --event {event}, in {engine.description}", file=sys.stderr)
            print(json.dumps(sam.call_once(function, ROOT / event), indent=2))
    except (CloudError, EngineMissingError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
