"""What botocore makes anew for each client, though it is the same for all of a session: made once.

A client's class with its hundreds of methods, and the new names of events by their old ones, take a quarter of a short
process's computing. What a client is told, such as credentials, endpoint and configuration, stays its own.
"""

from __future__ import annotations

from typing import Any

import botocore.client
import botocore.hooks


def install() -> None:
    """Sets it up in this process, and so in its copies."""
    creator: Any = botocore.client.ClientCreator
    aliaser: Any = botocore.hooks.EventAliaser
    make, copied = creator._create_client_class, aliaser.__copy__

    def create_client_class(self: Any, service_name: str, service_model: Any) -> type:
        classes = vars(self._event_emitter).setdefault("_classes", {})
        named = service_name, service_model.api_version
        if named not in classes:
            classes[named] = make(self, service_name, service_model)
        return classes[named]  # type: ignore[no-any-return]

    def copy(self: Any) -> Any:
        made = copied(self)
        made._alias_name_cache = self._alias_name_cache
        return made

    creator._create_client_class, aliaser.__copy__ = create_client_class, copy
