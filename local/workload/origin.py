"""The origin of workload accounts' servers: moto imported, and nothing set."""

from __future__ import annotations

import importlib
import os
import pkgutil
from typing import Any

from local import workload
from local.forks import serve
from local.workload import server

SERVICES = ("autoscaling", "cloudformation", "cloudwatch", "ec2", "elbv2", "iam", "s3", "ssm", "sts")
"""Those whose modules moto would import, and whose models and Regions it would read, at their first call."""


def main() -> None:
    """Imports all that servers do, and serves."""
    importlib.import_module("moto.moto_server.werkzeug_app")
    utils: Any = importlib.import_module("moto.core.utils")
    base_backend: Any = importlib.import_module("moto.core.base_backend")
    for part in pkgutil.iter_modules(workload.__path__, "local.workload."):
        importlib.import_module(part.name)
    for service in SERVICES:
        importlib.import_module(f"moto.{service}.responses")
        utils.get_service_model(service)
        base_backend.AccountSpecificBackend.get_session().get_available_regions(service)
    serve(_become)


def _become(_: dict[str, Any]) -> None:
    os.setsid()
    os.environ["MAYFLY_LOCAL_PARENT"] = str(os.getppid())  # which ends when whoever started it does
    chance: Any = importlib.import_module("moto.moto_api._internal").mock_random
    chance.seed()  # or the ids of one account were those of the next
    server.main()


if __name__ == "__main__":
    main()
