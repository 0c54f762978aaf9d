"""What Mayfly says, as a CI server hears it: by a queue that a rule on the bus of facts fills."""

import json
import time
from typing import Any

from local.accounts import Accounts
from mayfly.contract.vocabulary import Event

type Json = dict[str, Any]


class Facts:
    """A queue of one's own, and what has been heard by it."""

    def __init__(self, cloud: Accounts, bus: str, name: str = "heard") -> None:
        self._cloud, self._name, self._sqs = cloud, name, cloud.client("sqs")
        self.url: str = self._sqs.create_queue(QueueName=name)["QueueUrl"]
        self._heard: list[Json] = []
        self.listen(bus)

    def listen(self, bus: str) -> None:
        """Hears what is said on this bus, too."""
        named = self._sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["QueueArn"])
        events, target = self._cloud.client("events"), {"Id": self._name, "Arn": named["Attributes"]["QueueArn"]}
        let_in = {"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sqs:SendMessage"}
        policy = {"Version": "2012-10-17", "Statement": [let_in | {"Resource": target["Arn"]}]}
        self._sqs.set_queue_attributes(QueueUrl=self.url, Attributes={"Policy": json.dumps(policy)})
        events.put_rule(Name=self._name, EventBusName=bus, EventPattern=json.dumps({"source": ["mayfly"]}))
        events.put_targets(Rule=self._name, EventBusName=bus, Targets=[target])

    def heard(self) -> list[Json]:
        """All that was said since this began to listen, in order."""
        self._heard += receive(self._sqs, self.url)
        return self._heard

    def token(self, environment: str) -> str:
        """What shows that one has heard that an environment is ready: who runs its tests passes them with it.

        Raises:
            TimeoutError: nobody has said that it is ready.
        """
        patience = self._cloud.patience_seconds
        until = time.monotonic() + patience
        while True:
            for fact in self.heard():
                if fact["detail-type"] == Event.ENVIRONMENT_READY and fact["detail"]["environment"] == environment:
                    return str(fact["detail"]["token"])
            if time.monotonic() > until:
                raise TimeoutError(f"nobody has said within {patience:.0f} s that {environment} is ready")
            time.sleep(0.2)


def receive(sqs: Any, url: str) -> list[Json]:
    """Takes everything out of a queue."""
    received = list[Json]()
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
        received += [json.loads(message["Body"]) for message in messages]
        entries = [{"Id": str(n), "ReceiptHandle": one["ReceiptHandle"]} for n, one in enumerate(messages)]
        sqs.delete_message_batch(QueueUrl=url, Entries=entries)
    return received
