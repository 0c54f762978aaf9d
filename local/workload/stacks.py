"""Stacks that take their time, on top of moto, which creates and deletes them within one call.

`install` replaces the parts of moto's CloudFormation that decide *when* things happen; what a resource is stays
moto's business. A stack is created and deleted by a thread of its own. Everything that touches moto holds
`lock`, because moto is not made for threads; the waiting happens outside of it.
"""

from __future__ import annotations

import copy
import re
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, cast

from moto.autoscaling.models import FakeAutoScalingGroup
from moto.autoscaling.responses import AutoScalingResponse
from moto.cloudformation.exceptions import AlreadyExistsException, ValidationError
from moto.cloudformation.models import CloudFormationBackend, Event, Stack
from moto.cloudformation.parsing import clean_json
from moto.cloudformation.responses import CloudFormationResponse, StackResourceDTO
from moto.core.resource_tagging import TaggedResource
from moto.core.responses import ActionResult
from moto.ec2.exceptions import OperationNotPermitted4
from moto.ec2.models import ec2_backends
from moto.ec2.models.core import TaggedEC2Resource
from moto.ec2.models.instances import Instance
from moto.ec2.models.security_groups import SecurityGroup
from moto.elbv2.models import FakeLoadBalancer, elbv2_backends
from moto.resourcegroupstaggingapi.models import ResourceGroupsTaggingAPIBackend

from local.clock import VirtualClock
from local.faults import Fault, Faults, lasts, sit_out
from local.workload import deletions, mixed, networks, templates, transforms, versions
from local.workload.boots import Boot, Boots
from local.workload.delivery import Delivery, ServiceEvent
from local.workload.mixed import capacity_reason
from local.workload.quotas import TOO_MANY_STACKS, Quotas
from local.workload.states import ENVIRONMENT_TAG, PENDING, RUNNING, SHUTTING_DOWN, set_state
from mayfly.contract.vocabulary import AwsEvent

STACK_PREFIX = "mayfly-"
SHOWN_AFTER_TERMINATION = timedelta(hours=1)
TICK = 0.2  # seconds between two looks at a booting stack
MOMENT = 0.01  # seconds, the shortest time between two looks
RETRY_SECONDS = 30  # between two attempts of a group to launch what could not be launched
TERMINATED = ("terminated", 48)
LAUNCHING = "Launching a new EC2 instance"
TERMINATING_ONE = "Terminating EC2 instance: "
TERMINATE_EVENT = AwsEvent.INSTANCE_TERMINATED
LAUNCH_FAILED_EVENT = AwsEvent.LAUNCH_FAILED
# Causes, as Auto Scaling words them.
TAKEN_OUT = "an instance was taken out of service in response to"
WANTED = "an instance was started in response to a difference between desired and actual capacity,"
UNWANTED = f"{TAKEN_OUT} a difference between desired and actual capacity, shrinking the capacity."
STOPPED = f"{TAKEN_OUT} an EC2 health check indicating it has been terminated or stopped."
UNHEALTHY = f"{TAKEN_OUT} an ELB system health check failure."
IMPAIRED = f"{TAKEN_OUT} EC2 instance status checks failure."
SAME_MODE = "Follow-up operations must use the same DeploymentConfig (mode=EXPRESS)"
COMPLETE_EARLY = (
    "Resource operation completed using Express Mode. It may continue becoming available in the background."
)

Announce = Callable[[Stack, str, str, str | None], None]


@dataclass
class Timing:
    """Real seconds that things take; changed at run time by `/_local/settings`."""

    boot_seconds: float
    delete_seconds: float
    bake_seconds: float
    image_seconds: float


@dataclass
class Request:
    """The parameters of CreateStack and DeleteStack that moto does not hand on."""

    express: bool = False
    client_request_token: str | None = None
    on_failure: str = "ROLLBACK"
    retain: tuple[str, ...] = ()


@dataclass
class Life:
    """One stack with what moto's object has no room for."""

    stack: Stack
    request: Request
    environment: str
    began: datetime
    instances: list[Instance] = field(default_factory=list)
    deleting: bool = False
    ended: datetime | None = None
    parent: str = ""  # of a nested stack: the id of the stack that it is a resource of
    activities: list[dict[str, Any]] = field(default_factory=list)
    launch_after: datetime | None = None  # when its groups try again to launch what EC2 had no capacity for
    properties: dict[str, Any] = field(default_factory=dict)  # of each resource, as they were last applied


class Failed(Exception):
    """A resource could not be created."""

    def __init__(self, resource: str, reason: str) -> None:
        super().__init__(f"{resource}: {reason}")
        self.resource = resource
        self.reason = reason


class _TooManyStacks(AlreadyExistsException):
    code = "LimitExceededException"


class _TokenAlreadyExists(AlreadyExistsException):
    code = "TokenAlreadyExistsException"


class _Overtaken(Exception):
    """The stack is being deleted while it is still being created: the deletion wins."""


class Stacks:
    """All stacks of the workload account and the threads that make and unmake them."""

    def __init__(
        self,
        clock: VirtualClock,
        faults: Faults,
        timing: Timing,
        lock: threading.RLock,
        delivery: Delivery,
        quotas: Quotas | None = None,
    ) -> None:
        self._quotas = quotas or Quotas(enforced=False)
        self.clock = clock
        self.faults = faults
        self.timing = timing
        self.lock = lock
        self._say = delivery.say
        self.boots = Boots(clock, faults, delivery.say)
        self._announce: Announce = delivery.announce
        self._lives: dict[str, Life] = {}
        self._asked: set[tuple[str, ...]] = set()  # requests for stacks, by their tokens
        self._here = threading.local()  # the API request, or the stack whose resources are made, of this thread

    def install(self) -> None:
        """Put this in the place of moto's own timing."""
        deletions.install()
        mixed.install()
        networks.install()
        templates.install()
        versions.install()
        _speed_up()
        _install_tag_pages()
        _install_resource_status()
        _install_outputs()
        _install_egress()
        self._install_requests()
        self._install_tags()
        self._install_activities()
        self._install_nested()
        created, stacks = CloudFormationBackend.create_stack, self

        def create_stack(backend: CloudFormationBackend, name: str, *args: Any, **kwargs: Any) -> Stack:
            """AWS words the refusal of a name that is taken differently, and knows by its token a request that it has
            had: a retry that comes when its stack is deleted again makes no second one."""
            if any(stack.name == name for stack in backend.stacks.values()):
                raise AlreadyExistsException(f"Stack [{name}] already exists")
            token = getattr(stacks._here, "request", Request()).client_request_token
            request = (backend.account_id, backend.region_name, name, token or "")
            if token and request in stacks._asked:
                raise _TokenAlreadyExists(f"Client request token [{token}] already exists")
            if stacks._quotas.stacks_are_too_many(len(backend.stacks)):
                raise _TooManyStacks(TOO_MANY_STACKS)
            kwargs["template"] = transforms.apply(kwargs["template"], kwargs["parameters"])
            stack = created(backend, name, *args, **kwargs)
            stacks._asked.add(request)
            return stack

        def delete_stack(backend: CloudFormationBackend, name_or_stack_id: str) -> None:
            stacks.delete(backend, name_or_stack_id)

        def create_resources(stack: Stack) -> None:
            stacks.create(stack)

        replace(CloudFormationBackend, create_stack=create_stack, delete_stack=delete_stack)
        replace(Stack, create_resources=create_resources)

    def fleet(self) -> dict[str, dict[str, int]]:
        """Instances per environment and state, of the stacks that are not deleted."""
        with self.lock:
            return {
                life.environment: dict(Counter(instance.state for instance in life.instances))
                for life in self._lives.values()
                if life.stack.status != "DELETE_COMPLETE"
            }

    def life(self, stack_id: str | None) -> Life | None:
        """What is known of a stack; None if it was not made here."""
        return self._lives.get(stack_id or "")

    def removes(self, stack_id: str | None) -> bool:
        """Whether a stack's resources are being removed."""
        life = self.life(stack_id)
        return life is not None and life.stack.status in ("DELETE_IN_PROGRESS", "ROLLBACK_IN_PROGRESS")

    def joined(self, stack_id: str | None, instance: Instance) -> None:
        """A group of this stack has launched an instance by itself."""
        life = self.life(stack_id)
        if life:
            life.instances.append(instance)

    def note(
        self, group: FakeAutoScalingGroup, what: str, cause: str, failure: str | None = None, zone: str = ""
    ) -> None:
        """A group has launched or ended an instance, or could not. Auto Scaling says an event of what it ended, and of
        what it could not launch."""
        tags = {tag["Key"]: tag["Value"] for tag in group.tags}
        now = self.clock.now()
        activity = {
            "ActivityId": str(uuid.uuid4()),
            "AutoScalingGroupName": group.name,
            "Description": f"{what}.  Status Reason: {failure}" if failure else what,
            "Cause": f"At {self.clock.iso()} {cause}",
            "StartTime": now,
            "EndTime": now,
            "StatusCode": "Failed" if failure else "Successful",
            "Progress": 100,
        }
        if life := self.life(tags.get("aws:cloudformation:stack-id")):
            life.activities.insert(0, activity | ({"StatusMessage": failure} if failure else {}))
        told: dict[str, Any] = {"StartTime": self.clock.iso(), "EndTime": self.clock.iso()}
        if failure and what == LAUNCHING:
            told |= {
                "StatusMessage": failure,
                "EC2InstanceId": "",
                "Details": {"Availability Zone": zone} if zone else {},
            }
            self._tell(group, LAUNCH_FAILED_EVENT, activity | told)
        elif what.startswith(TERMINATING_ONE):
            named = {"EC2InstanceId": what.removeprefix(TERMINATING_ONE), "StatusMessage": "", "Details": {}}
            self._tell(group, TERMINATE_EVENT, activity | told | {"StatusCode": "InProgress"} | named)

    def _tell(self, group: FakeAutoScalingGroup, event: str, detail: dict[str, Any]) -> None:
        tags = {tag["Key"]: tag["Value"] for tag in group.tags}
        self._say(
            ServiceEvent(
                source="aws.autoscaling",
                detail_type=event,
                account=group.account_id,
                region=group.region,
                resource=group.arn,
                detail=detail,
                status=event.removeprefix("EC2 Instance "),
                environment=tags.get(ENVIRONMENT_TAG),
            )
        )

    # ---- creation --------------------------------------------------------------------------------------

    def create(self, stack: Stack) -> None:
        """Begin to create the stack's resources; of a nested stack, also come to the end: its parent waits for it."""
        life, parent = self._begin(stack), getattr(self._here, "making", None)
        stack.events.clear()  # moto has noted the beginning already, which is done here
        if parent:
            life.parent = stack.parent_id = parent.stack.stack_id  # type: ignore[attr-defined]
            life.request = Request(on_failure="DO_NOTHING")
        self.status(life, "CREATE_IN_PROGRESS", "User Initiated")
        if parent:
            self._create(life, {})
            self._here.making = parent
            if stack.status != "CREATE_COMPLETE":
                why = cast("Any", stack).stack_status_reason
                raise RuntimeError(f"Embedded stack {stack.stack_id} was not successfully created: {why}")
            return
        fault = self.faults.take("stack", stack="create", environment=life.environment)
        threading.Thread(target=self._create, args=(life, fault or {}), daemon=True).start()

    def _begin(self, stack: Stack) -> Life:
        environment = stack.tags.get(ENVIRONMENT_TAG, stack.name.removeprefix(STACK_PREFIX))
        life = Life(stack, getattr(self._here, "request", Request()), environment, self.clock.now())
        if life.request.express:
            stack.deployment_config = {"Mode": "EXPRESS", "DisableRollback": True}  # type: ignore[attr-defined]
        self._lives[stack.stack_id] = life
        return life

    def _create(self, life: Life, fault: Fault) -> None:
        try:
            self._make_resources(life, fault)
            if life.request.express:
                self._complete_early(life)
            self._boot(life, fault)
        except _Overtaken:
            return
        except Failed as failure:
            self._fail(life, failure, fault)
            return
        with self.lock:
            if not life.deleting and not life.request.express:
                self.status(life, "CREATE_COMPLETE")

    def _complete_early(self, life: Life) -> None:
        """In Express mode a stack is complete once each call has succeeded; its instances boot on."""
        with self.lock:
            _stop_if(life.deleting)
            for name, group in _groups(life.stack):
                for state in group.instance_states:
                    state.lifecycle_state = "Pending"
                resource_event(life, name, "CREATE_COMPLETE", COMPLETE_EARLY)
            self.status(life, "CREATE_COMPLETE")

    def _make_resources(self, life: Life, fault: Fault) -> None:
        stack = life.stack
        with self.lock:
            stack.resource_map.tags.update(stack_tags(stack))
        for name in self._order(life):
            with self.lock:
                _stop_if(life.deleting)
                self._make_resource(life, name, fault)

    def _make_resource(self, life: Life, name: str, fault: Fault) -> None:
        kind = life.stack.template_dict["Resources"][name]["Type"]
        resource_event(life, name, "CREATE_IN_PROGRESS")
        if fault.get("effect") in ("fail", "rollback") and name == failing_resource(life.stack, fault):
            raise Failed(name, fault.get("reason", 'Resource handler returned message: "Internal Failure"'))
        if refused := self._above_quota(life.stack, name) or self._without_capacity(life.stack, name):
            raise Failed(name, refused)
        self._here.making = life
        try:
            with versions.built_for(life.stack):
                resource: Any = life.stack.resource_map[name]
            if isinstance(resource, TaggedEC2Resource):
                _tag(resource, {**life.stack.resource_map.tags, "aws:cloudformation:logical-id": name})
            if isinstance(resource, FakeLoadBalancer):  # moto gives it none of its stack's tags
                tags = [{"Key": key, "Value": value} for key, value in stack_tags(life.stack).items()]
                backend = elbv2_backends[life.stack.account_id][life.stack.region_name]
                backend.tagging_service.tag_resource(resource.arn, tags)
        except Exception as error:
            raise Failed(name, str(error)) from error
        finally:
            self._here.making = None
        life.properties[name] = resolved_properties(life.stack, name)
        for instance in _new_instances(life, resource):
            instance.disable_api_termination = _is_protected(instance, life.properties[name] or {})
        if kind != "AWS::AutoScaling::AutoScalingGroup":
            resource_event(life, name, "CREATE_COMPLETE")

    def _above_quota(self, stack: Stack, name: str) -> str | None:
        kind = stack.template_dict["Resources"][name]["Type"]
        if not self._quotas.limit(kind):
            return None
        properties = resolved_properties(stack, name)
        if properties is None:  # its condition is false
            return None
        return self._quotas.refusal(kind, stack.account_id, stack.region_name, properties)

    def _without_capacity(self, stack: Stack, name: str) -> str | None:
        """Why an instance without a group cannot be launched. A group's instances fail in their group."""
        properties = resolved_properties(stack, name)
        if properties is None or stack.template_dict["Resources"][name]["Type"] != "AWS::EC2::Instance":
            return None
        subnets = ec2_backends[stack.account_id][stack.region_name].subnets
        zone = properties.get("AvailabilityZone") or f"{stack.region_name}a"
        if of_subnet := [
            each[properties["SubnetId"]] for each in subnets.values() if properties.get("SubnetId") in each
        ]:
            zone = of_subnet[0].availability_zone
        kind = properties.get("InstanceType", "")
        asked = {"no_capacity": zone, "account": stack.account_id, "type": kind, "market": "on-demand"}
        if self.faults.find("no_capacity", **asked) is None:
            return None
        said = capacity_reason(kind, zone).removesuffix(" Launching EC2 instance failed.")
        return f'Resource handler returned message: "{said} (Service: Ec2, Status Code: 500)"'

    def _boot(self, life: Life, fault: Fault) -> None:
        """Let the instances come up and signal one after the other; then the groups are complete."""
        silent = _silent_instances(life, fault)
        seconds = fault.get("seconds", self.timing.boot_seconds)
        booting = [instance for instance in life.instances if instance not in silent]
        # The first half of the time they are launched, one after the other; each takes the other half.
        starts = [seconds / 2 * place / len(booting) for place in range(1, len(booting) + 1)]
        boots = [
            self.boots.begin(one, (start, start + seconds / 2)) for one, start in zip(booting, starts, strict=True)
        ]
        began, age = time.monotonic(), 0.0
        while age < seconds or any(boot.outcome == "boots" for boot in boots) or self._short(life):
            time.sleep(min(TICK, max(seconds, MOMENT)))
            if lasts(fault):
                began = time.monotonic()
            age = time.monotonic() - began
            with self.lock:
                _stop_if(life.deleting)
                self._stop_if_too_late(life)
                for boot in boots:
                    self.boots.go_on(boot, age)
                boots += self._replacements(life, boots, (age, age + seconds / 2))
                boots += self._late_launches(life, (age, age + seconds / 2))
                if not life.request.express:
                    self._check_signals(life, boots)
        with self.lock:
            _stop_if(life.deleting)
            self._complete_groups(life, silent, fault)

    def _replacements(self, life: Life, boots: list[Boot], window: tuple[float, float]) -> list[Boot]:
        """What stopped as its boot failed is replaced by its group, as whatever else stops. One with a load balancer
        does so by itself (`groups.py`)."""
        made = []
        for boot in [boot for boot in boots if boot.outcome == "stopped"]:
            boots.remove(boot)
            group: Any = getattr(boot.instance, "autoscaling_group", None)
            if group is None or group.target_group_arns:
                continue
            group.instance_states = [one for one in group.instance_states if one.instance is not boot.instance]
            boot.instance.terminate()
            self.note(group, f"{TERMINATING_ONE}{boot.instance.id}", STOPPED)
            group.replace_autoscaling_group_instances(1, group.get_propagated_tags())
            for launched in _new_instances(life, group):
                made.append(self.boots.begin(launched, window))
        return made

    def _short(self, life: Life) -> int:
        """How many instances a stack's groups could not launch. One with a load balancer looks after itself."""
        return sum(map(lacking, (group for _, group in _groups(life.stack))))

    def _late_launches(self, life: Life, window: tuple[float, float]) -> list[Boot]:
        """What EC2 had no capacity for is tried again, as Auto Scaling does."""
        now = self.clock.now()
        if not self._short(life) or (life.launch_after and now < life.launch_after):
            return []
        first, life.launch_after = life.launch_after is None, now + timedelta(seconds=RETRY_SECONDS)
        if first:  # it was tried just now
            return []
        made = []
        for _, group in _groups(life.stack):
            if count := lacking(group):
                group.replace_autoscaling_group_instances(count, group.get_propagated_tags())
                made += [self.boots.begin(one, window) for one in _new_instances(life, group)]
        return made

    def _check_signals(self, life: Life, boots: list[Boot]) -> None:
        """A group fails with the first failure that is signalled, and when signals do not come in time."""
        for name, group in _groups(life.stack):
            own = [boot for boot in boots if getattr(boot.instance, "autoscaling_group", None) is group]
            if failed := sum(boot.outcome == "failed" for boot in own):
                raise Failed(name, _signals_reason(failed, len(own), "FAILURE"))
            ready, wanted = sum(boot.outcome == "ready" for boot in own), len(own) + lacking(group)
            if (
                (any(boot.hang for boot in own) or lacking(group))
                and ready < wanted
                and self.clock.now() > life.began + _patience(life, name)
            ):
                raise Failed(name, _signals_reason(ready, wanted))

    def _complete_groups(self, life: Life, silent: list[Instance], fault: Fault) -> None:
        for name, group in _groups(life.stack):
            members = [state.instance for state in group.instance_states]
            missing = [instance for instance in members if instance in silent]
            if life.request.express:
                for state in group.instance_states:
                    set_state(state.instance, RUNNING)  # the silent ones too: nobody waits for their signals
                    state.lifecycle_state = "InService"
                continue
            if not missing:
                resource_event(life, name, "CREATE_COMPLETE")
                continue
            if fault["effect"] == "insufficient_capacity":
                self._drop(life, group, missing)
            else:
                for instance in missing:
                    set_state(instance, RUNNING)  # it runs, it only never says so
            raise Failed(name, _signals_reason(len(members) - len(missing), len(members)))

    def _drop(self, life: Life, group: FakeAutoScalingGroup, missing: list[Instance]) -> None:
        """Capacity that EC2 did not have: no instance, and a failed scaling activity."""
        have, want = len(group.instance_states) - len(missing), len(group.instance_states)
        group.instance_states = [state for state in group.instance_states if state.instance not in missing]
        for instance in missing:
            instance.terminate()
            life.instances.remove(instance)
        for reservation in ec2_backends[life.stack.account_id][life.stack.region_name].reservations.values():
            reservation.instances = [one for one in reservation.instances if one not in missing]
        why = capacity_reason(group.instance_type, group.availability_zones[0])
        change = f"increasing the capacity from {have} to {want}."
        self.note(group, LAUNCHING, f"{WANTED} {change}", why, group.availability_zones[0])

    def _stop_if_too_late(self, life: Life) -> None:
        minutes = int(life.stack.timeout_in_minutes or 0)
        if minutes and self.clock.now() - life.began > timedelta(minutes=minutes):
            resources = [name for name, _ in _groups(life.stack)] or creation_order(life.stack)
            reason = "Stack creation time exceeded the specified timeout. Resource creation cancelled"
            raise Failed(resources[0], reason)

    def _fail(self, life: Life, failure: Failed, fault: Fault) -> None:
        reason = f"The following resource(s) failed to create: [{failure.resource}]. "
        then = "ROLLBACK" if fault.get("effect") == "rollback" else life.request.on_failure
        with self.lock:
            if life.deleting:
                return
            resource_event(life, failure.resource, "CREATE_FAILED", failure.reason)
            if then == "DO_NOTHING":
                self.status(life, "CREATE_FAILED", reason)
            elif then == "DELETE":
                life.deleting = True
                self.status(life, "DELETE_IN_PROGRESS", reason + "Delete requested by user.")
            else:
                self.status(life, "ROLLBACK_IN_PROGRESS", reason + "Rollback requested by user.")
            if then != "DO_NOTHING":
                self._shut_down(life)
        if then == "DELETE":
            self._delete(life, {})
        elif then == "ROLLBACK":
            time.sleep(self.timing.delete_seconds)
            self._remove_resources(life, set())
            with self.lock:
                if not life.deleting:
                    self.status(life, "ROLLBACK_COMPLETE")

    # ---- deletion --------------------------------------------------------------------------------------

    def delete(self, backend: CloudFormationBackend, name_or_stack_id: str) -> None:
        """Begin to delete a stack, also one that is still being created. Unknown stacks are deleted already."""
        stack = next((s for s in backend.stacks.values() if name_or_stack_id in (s.name, s.stack_id)), None)
        if stack is None or stack.status == "DELETE_IN_PROGRESS":
            return
        if stack.enable_termination_protection in (True, "true"):
            raise ValidationError(
                message=f"Stack [{stack.name}] cannot be deleted while TerminationProtection is enabled"
            )
        request = getattr(self._here, "request", Request())
        life = self._lives.get(stack.stack_id) or self._begin(stack)  # a change set's stack has no life yet
        if life.request.express and not (request.express or life.parent):
            raise ValidationError(message=SAME_MODE)
        life.request, life.deleting = request, True
        self.status(life, "DELETE_IN_PROGRESS", "User Initiated")
        self._shut_down(life)
        if life.parent:
            self._delete(life, {})
            if stack.status != "DELETE_COMPLETE":
                raise RuntimeError(f"Embedded stack {stack.stack_id} was not successfully deleted")
            return
        fault = self.faults.take("stack", stack="delete", environment=life.environment)
        threading.Thread(target=self._delete, args=(life, fault or {}), daemon=True).start()

    def _shut_down(self, life: Life) -> None:
        """Not what the stack retains, or EC2 protects."""
        resources = life.stack.resource_map
        kept = {
            id(instance)
            for name, resource in resources._parsed_resources.items()
            if name in life.request.retain
            or resources._resource_json_map.get(name, {}).get("DeletionPolicy") == "Retain"
            for instance in _instances_of(resource)
        }
        for instance in life.instances:
            if instance.state != "terminated" and id(instance) not in kept and not instance.disable_api_termination:
                set_state(instance, SHUTTING_DOWN)

    def _delete(self, life: Life, fault: Fault) -> None:
        if not life.request.express:
            sit_out(fault, self.timing.delete_seconds)
        keep = set(life.request.retain)
        stuck = None
        if fault.get("effect") == "delete_failed":
            stuck = fault.get("resource") or self._order(life)[0]
            keep.add(stuck)
        failures = self._remove_resources(life, keep)
        if stuck:  # what it depends on is not even tried
            failures = {stuck: fault.get("reason", "resource has a dependent object")}
        with self.lock:
            if failures:
                self._delete_failed(life, failures)
                return
            ending = _go_on(life) if life.request.express else []
            self._gone(life)
        if ending:
            sit_out(fault, self.timing.delete_seconds)
        with self.lock:
            for instance in ending:
                set_state(instance, TERMINATED)

    def _remove_resources(self, life: Life, keep: set[str]) -> dict[str, str]:
        """Delete in reverse order, again as long as it helps; returns why the rest could not be deleted."""
        names = [name for name in reversed(self._order(life)) if name not in keep]
        while names:
            failures = {name: why for name in names if (why := self._remove_resource(life, name))}
            if len(failures) == len(names):
                return failures
            names = list(failures)
        return {}

    def _order(self, life: Life) -> list[str]:
        with self.lock:  # it may still be being created
            return creation_order(life.stack)

    def _remove_resource(self, life: Life, name: str) -> str | None:
        resources = life.stack.resource_map
        with self.lock:
            resource = resources._parsed_resources.get(name)
            definition = resources._resource_json_map[name]
            if resource is None or definition.get("DeletionPolicy") == "Retain":
                return None
            if isinstance(resource, FakeAutoScalingGroup):
                for state in resource.instance_states:
                    state.lifecycle_state = "InService"  # moto ends those only
            try:
                if not _ended(resource):
                    _refuse_protected(resource)
                    resources._delete_resource(resource, definition)
            except Exception as error:
                return str(error)
            resources._parsed_resources.pop(name)
            resource_event(life, name, "DELETE_COMPLETE")
        return None

    def _delete_failed(self, life: Life, failures: dict[str, str]) -> None:
        for name, reason in failures.items():
            resource_event(life, name, "DELETE_FAILED", reason)
        for instance in life.instances:
            if instance.state == SHUTTING_DOWN[0]:  # what was not deleted goes on
                set_state(instance, RUNNING)
        life.deleting = False
        names = ", ".join(failures)
        self.status(life, "DELETE_FAILED", f"The following resource(s) failed to delete: [{names}]. ")

    def _gone(self, life: Life) -> None:
        backend = _backend(life.stack)
        backend.stacks.pop(life.stack.stack_id, None)
        backend.deleted_stacks[life.stack.stack_id] = life.stack
        for name, export in list(backend.exports.items()):
            if export.exporting_stack_id == life.stack.stack_id:
                backend.exports.pop(name)
        _drop_interfaces(life.stack)
        self.status(life, "DELETE_COMPLETE")
        life.ended = self.clock.now()
        for old in self._lives.values():
            if old.instances and old.ended and life.ended - old.ended > SHOWN_AFTER_TERMINATION:
                _forget_instances(old)

    # ---- what others see -------------------------------------------------------------------------------

    def status(self, life: Life, status: str, reason: str | None = None) -> None:
        stack: Any = life.stack
        stack.status = status
        stack.stack_status_reason = reason
        stack._add_stack_event(status, resource_status_reason=reason)
        stack.events[-1].client_request_token = life.request.client_request_token
        if status == "DELETE_COMPLETE":
            stack.deletion_time = self.clock.now()
        self._announce(stack, status, reason or "", life.request.client_request_token)

    def _install_requests(self) -> None:
        """moto does not look at OnFailure, DisableRollback, ClientRequestToken and RetainResources."""
        here = self._here

        def remember(method: Callable[[Any], ActionResult]) -> Callable[[Any], ActionResult]:
            def handle(response: Any) -> ActionResult:
                templates.check(response)
                config = response._get_param("DeploymentConfig") or {}
                if config and (response._get_param("OnFailure") or response._get_param("DisableRollback") is not None):
                    raise ValidationError(
                        message="DeploymentConfig cannot be specified together with OnFailure or DisableRollback"
                    )
                # In Express mode nothing is rolled back unless somebody says so.
                express = config.get("Mode") == "EXPRESS"
                stays = config.get("DisableRollback", express) in (True, "true")
                default = "DO_NOTHING" if stays or response._get_bool_param("DisableRollback") else "ROLLBACK"
                here.request = Request(
                    express,
                    response._get_param("ClientRequestToken"),
                    response._get_param("OnFailure") or default,
                    tuple(response._get_param("RetainResources", [])),
                )
                try:
                    return method(response)
                finally:
                    del here.request

            return handle

        def update_termination_protection(response: Any) -> ActionResult:
            """moto has no such action."""
            stack = response.cloudformation_backend.get_stack(response._get_param("StackName"))
            stack.enable_termination_protection = response._get_bool_param("EnableTerminationProtection")
            return ActionResult({"StackId": stack.stack_id})

        replace(
            CloudFormationResponse,
            update_termination_protection=update_termination_protection,
            create_stack=remember(CloudFormationResponse.create_stack),
            delete_stack=remember(CloudFormationResponse.delete_stack),
        )

    def _install_tags(self) -> None:
        """moto tags EC2 resources with the stack's tags, but not Auto Scaling groups. On AWS a group gets them
        and hands them on to its instances; volumes have what the launch template says. Nor does it know warmups, or
        which metrics a group collects."""
        here, create = self._here, FakeAutoScalingGroup.create_from_cloudformation_json

        def create_from_cloudformation_json(
            _cls: type, /, name: str, definition: dict[str, Any], account: str, region: str, **kwargs: Any
        ) -> FakeAutoScalingGroup:
            life = getattr(here, "making", None)
            if life is not None:
                own = definition["Properties"].get("Tags", [])
                taken = {tag["Key"] for tag in own}
                tags = {**stack_tags(life.stack), "aws:cloudformation:logical-id": kwargs["LogicalId"]}
                definition["Properties"]["Tags"] = [
                    *own,
                    *(
                        {"Key": key, "Value": value, "PropagateAtLaunch": True}
                        for key, value in tags.items()
                        if key not in taken
                    ),
                ]
            group = create(name, definition, account, region, **kwargs)
            group.default_instance_warmup = definition["Properties"].get("DefaultInstanceWarmup")  # type: ignore[attr-defined]
            group.metrics = collected(definition["Properties"])
            return group

        replace(FakeAutoScalingGroup, create_from_cloudformation_json=classmethod(create_from_cloudformation_json))

    def _install_nested(self) -> None:
        """moto gives a nested stack neither its parent's tags nor its own id."""
        here = self._here

        def create_from_cloudformation_json(
            _cls: type, /, name: str, definition: dict[str, Any], account: str, region: str, **_: Any
        ) -> Stack:
            given = definition["Properties"]
            text = templates.read(given["TemplateURL"])
            parent: Life = here.making
            backend = _backend(parent.stack)
            return backend.create_stack(
                name=name,
                template=text,
                parameters=given.get("Parameters", {}),
                tags=dict(parent.stack.tags),
                role_arn=parent.stack.role_arn,
            )

        def get_cfn_attribute(stack: Stack, name: str) -> str:
            """Of a nested stack, templates ask for `Outputs.<name>`."""
            return next(str(one["OutputValue"]) for one in stack.outputs or () if f"Outputs.{one['OutputKey']}" == name)

        replace(
            Stack,
            get_cfn_attribute=get_cfn_attribute,
            create_from_cloudformation_json=classmethod(create_from_cloudformation_json),
            physical_resource_id=property(lambda stack: stack.stack_id),
        )

    def _install_activities(self) -> None:
        """moto answers DescribeScalingActivities with nothing."""

        def describe_scaling_activities(response: Any) -> ActionResult:
            group = response._get_param("AutoScalingGroupName")
            activities = [one for life in self._lives.values() for one in life.activities]
            found = [one for one in activities if group in (None, one["AutoScalingGroupName"])]
            return ActionResult({"Activities": found})

        replace(AutoScalingResponse, describe_scaling_activities=describe_scaling_activities)


# ---- moto's objects ------------------------------------------------------------------------------------


def collected(properties: dict[str, Any]) -> list[str]:
    """The metrics that a template says a group collects."""
    return [metric for each in properties.get("MetricsCollection", []) for metric in each.get("Metrics", [])]


def replace(target: type, **members: Any) -> None:
    """Give a class of moto's other members."""
    for name, member in members.items():
        setattr(target, name, member)


def _backend(stack: Stack) -> CloudFormationBackend:
    from moto.cloudformation.models import cloudformation_backends

    return cloudformation_backends[stack.account_id][stack.region_name]


def stack_tags(stack: Stack) -> dict[str, str]:
    own = {"aws:cloudformation:stack-name": stack.name, "aws:cloudformation:stack-id": stack.stack_id}
    return {**stack.tags, **own}


def creation_order(stack: Stack) -> list[str]:
    """moto's order by DependsOn; what a resource refers to it makes on the way."""
    order: Callable[[], list[str]] = stack.resource_map._ResourceMap__get_resources_in_dependency_order  # type: ignore[attr-defined]
    return order()


def resolved_properties(stack: Stack, name: str) -> Any:
    """The properties of a resource with references and functions replaced; None where its condition is false."""
    definition = stack.template_dict["Resources"][name]
    condition = definition.get("Condition")
    if condition and not stack.resource_map.lazy_condition_map[condition]:
        return None
    return copy.deepcopy(clean_json(definition.get("Properties", {}), stack.resource_map))


def _groups(stack: Stack) -> Iterable[tuple[str, FakeAutoScalingGroup]]:
    for name, resource in list(stack.resource_map._parsed_resources.items()):
        if isinstance(resource, FakeAutoScalingGroup):
            yield name, resource


def lacking(group: FakeAutoScalingGroup) -> int:
    """How many instances a group without a load balancer has too few of."""
    return 0 if group.target_group_arns else max(0, int(group.desired_capacity or 0) - len(group.instance_states))


def _instances_of(resource: object) -> list[Instance]:
    if isinstance(resource, FakeAutoScalingGroup):
        return [state.instance for state in resource.instance_states]
    return [resource] if isinstance(resource, Instance) else []


def _new_instances(life: Life, resource: object) -> list[Instance]:
    """Those that a resource has launched since the last look."""
    launched = [instance for instance in _instances_of(resource) if instance not in life.instances]
    for instance in launched:
        set_state(instance, PENDING)
        tag_volumes(instance)
        own_interfaces(instance)
    life.instances += launched
    return launched


def _patience(life: Life, name: str) -> timedelta:
    """How long a resource waits for its signals."""
    policy = life.stack.template_dict["Resources"][name].get("CreationPolicy", {})
    given = str(clean_json(policy, life.stack.resource_map).get("ResourceSignal", {}).get("Timeout", "PT5M"))
    hours, minutes, seconds = (int(part or 0) for part in re.findall(r"PT(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?", given)[0])
    return timedelta(hours=hours, minutes=minutes, seconds=seconds)


def _ended(resource: object) -> bool:
    """An instance that somebody terminated: moto fails to do it again, on AWS there is nothing left to do."""
    return isinstance(resource, Instance) and resource.state == "terminated"


def _go_on(life: Life) -> list[Instance]:
    """In Express mode a deletion is complete once each call has succeeded: what moto has ended goes on for a while."""
    ending = [instance for instance in life.instances if instance.state == "terminated"]
    for instance in ending:
        set_state(instance, SHUTTING_DOWN)
    return ending


def _is_protected(instance: Instance, properties: dict[str, Any]) -> bool:
    """moto looks neither at the property of an instance nor at the one of its launch template. Auto Scaling ends an
    instance all the same."""
    if getattr(instance, "autoscaling_group", None):
        return False
    template: Any = properties.get("LaunchTemplate") or {}
    data = {}
    if template:
        data = cast("Any", instance.ec2_backend)._get_template_from_args(template).data
    return str(properties.get("DisableApiTermination", data.get("DisableApiTermination", False))).lower() == "true"


def _refuse_protected(resource: object) -> None:
    """moto deletes an instance that EC2 protects from being terminated by a call."""
    if isinstance(resource, Instance) and resource.disable_api_termination:
        raise OperationNotPermitted4(resource.id)


def _tag(resource: Any, tags: dict[str, str]) -> None:
    resource.ec2_backend.create_tags([resource.physical_resource_id], tags)


def tag_volumes(instance: Any) -> None:
    """moto tags an instance as its launch template says, but not the instance's volumes."""
    group = getattr(instance, "autoscaling_group", None)
    template: Any = getattr(group, "ec2_launch_template", None)
    if group is None or template is None:
        return
    specifications = template.get_version(group.launch_template_version).data.get("TagSpecifications", [])
    tags = {
        tag["Key"]: tag["Value"] for one in specifications if one["ResourceType"] == "volume" for tag in one["Tags"]
    }
    volumes = [device.volume_id for device in instance.block_device_mapping.values()]
    instance.ec2_backend.create_tags(volumes, tags)


def own_interfaces(instance: Any) -> None:
    """moto leaves the network interfaces of a terminated instance behind; on AWS those go that came with it."""
    for interface in instance.nics.values():
        interface.delete_on_termination = True


def _drop_interfaces(stack: Stack) -> None:
    """moto leaves those of deleted NAT gateways behind, in networks that are gone."""
    backend = ec2_backends[stack.account_id][stack.region_name]
    for name, interface in list(backend.enis.items()):
        if interface.subnet.vpc_id not in backend.vpcs:
            backend.enis.pop(name)


def _forget_instances(life: Life) -> None:
    """AWS shows terminated instances for about an hour, moto for ever, and takes the longer to describe any."""
    gone = {id(instance) for instance in life.instances if instance.state == "terminated"}
    life.instances = [instance for instance in life.instances if id(instance) not in gone]  # some outlive their stack
    reservations = ec2_backends[life.stack.account_id][life.stack.region_name].reservations
    for name, reservation in list(reservations.items()):
        if any(id(instance) in gone for instance in reservation.instances):
            reservations.pop(name)


def resource_event(life: Life, name: str, status: str, reason: str | None = None) -> None:
    stack = life.stack
    resource: Any = stack.resource_map._parsed_resources.get(name)
    event = Event(
        stack_id=stack.stack_id,
        stack_name=stack.name,
        logical_resource_id=name,
        physical_resource_id=str(getattr(resource, "physical_resource_id", "") or ""),
        resource_type=stack.template_dict["Resources"][name]["Type"],
        resource_status=status,
        resource_status_reason=reason,
        resource_properties=None,
    )
    event.client_request_token = life.request.client_request_token  # type: ignore[assignment]
    stack.events.append(event)


def _stop_if(deleting: bool) -> None:
    if deleting:
        raise _Overtaken


def failing_resource(stack: Stack, fault: Fault) -> str:
    definitions = stack.template_dict["Resources"]
    groups = [name for name, one in definitions.items() if one["Type"] == "AWS::AutoScaling::AutoScalingGroup"]
    return str(fault.get("resource") or (groups or list(definitions))[0])


def _silent_instances(life: Life, fault: Fault) -> list[Instance]:
    if fault.get("effect") not in ("instances_never_signal", "insufficient_capacity"):
        return []
    return life.instances[-fault.get("instances", 1) :]


def _signals_reason(received: int, wanted: int, kind: str = "SUCCESS") -> str:
    return (
        f"Received {received} {kind} signal(s) out of {wanted}.  "
        "Unable to satisfy 100% MinSuccessfulInstancesPercent requirement"
    )


def _install_outputs() -> None:
    """moto makes missing resources when it is asked for a stack's outputs. On AWS a stack has outputs once it
    is complete, and keeps them while it is updated."""
    outputs: Any = Stack.outputs

    def finished_outputs(stack: Stack) -> list[dict[str, Any]] | None:
        if re.fullmatch(r"(CREATE|UPDATE|UPDATE_ROLLBACK)_COMPLETE", stack.status):
            return outputs.fget(stack)  # type: ignore[no-any-return]
        return getattr(stack, "outputs_before", None) if stack.status.startswith("UPDATE_") else None

    replace(Stack, outputs=property(finished_outputs))


def _install_egress() -> None:
    """moto lets every security group out everywhere, whatever a template says."""
    create = SecurityGroup.create_from_cloudformation_json

    def create_from_cloudformation_json(
        _cls: type, /, name: str, definition: dict[str, Any], account: str, region: str, **kwargs: Any
    ) -> SecurityGroup:
        group = create(name, definition, account, region, **kwargs)
        declared = definition["Properties"].get("SecurityGroupEgress")
        if declared is not None:
            group.egress_rules.clear()
        for rule in declared or ():
            peer = rule.get("DestinationSecurityGroupId")
            ec2_backends[account][region].authorize_security_group_egress(
                group.id,
                rule["IpProtocol"],
                rule.get("FromPort"),
                rule.get("ToPort"),
                rule.get("CidrIp", []),
                source_groups=[{"GroupId": peer}] if peer else [],
                vpc_id=group.vpc_id,
            )
        return group

    replace(SecurityGroup, create_from_cloudformation_json=classmethod(create_from_cloudformation_json))


def _install_resource_status() -> None:
    """moto shows the stack's status for each of its resources; on AWS each has its own, with its own reason."""
    shown, resources = StackResourceDTO.__init__, cast("Any", Stack.stack_resources)

    def known(stack: Stack) -> list[Any]:
        """Without those that moto cannot make, which it takes for resources of no type."""
        return [resource for resource in resources.fget(stack) if resource is not None]

    def show(self: Any, stack: Stack, resource: Any) -> None:
        shown(self, stack, resource)
        own = [event for event in stack.events if event.logical_resource_id == self.logical_resource_id]
        gone = "DELETE_COMPLETE" if stack.status == "DELETE_FAILED" else "CREATE_COMPLETE"
        self.resource_status = own[-1].resource_status if own else gone
        self.resource_status_reason = own[-1].resource_status_reason if own else None

    replace(StackResourceDTO, __init__=show)
    replace(Stack, stack_resources=property(known))


_TAG_VALUES = 100
"""Values of one page of GetTagValues."""


def _install_tag_pages() -> None:
    """moto walks on through its own collections from one page of GetResources or GetTagValues to the next, and breaks
    where they have changed between; nor does it know a page's token twice. Here a token is the last ARN or value of its
    page. And moto ends a page at 100 tags; AWS does where TagsPerPage says so, and we never say it. It says a value
    once for each resource, AWS once."""

    def get_resources(
        backend: ResourceGroupsTaggingAPIBackend,
        pagination_token: str | None = None,
        resources_per_page: int = 50,
        tags_per_page: int = 0,
        **filters: Any,
    ) -> tuple[str | None, list[TaggedResource]]:
        after = pagination_token or ""
        found = sorted(backend._get_resources_generator(**filters), key=lambda resource: resource.arn)
        page = [resource for resource in found if resource.arn > after][: resources_per_page + 1]
        more = len(page) > resources_per_page
        page = page[:resources_per_page]
        return (page[-1].arn if more else None), page

    def get_tag_values(
        backend: ResourceGroupsTaggingAPIBackend, pagination_token: str | None, key: str
    ) -> tuple[str | None, list[str]]:
        after = pagination_token or ""
        page = [value for value in sorted({*backend._get_tag_values_generator(key)}) if value > after]
        return (page[_TAG_VALUES - 1] if len(page) > _TAG_VALUES else None), page[:_TAG_VALUES]

    replace(ResourceGroupsTaggingAPIBackend, get_resources=get_resources, get_tag_values=get_tag_values)


def _speed_up() -> None:
    """moto looks through the tags of all resources for those of one, for each instance that it describes."""

    def get_tags(resource: Any) -> list[dict[str, str]]:
        own = resource.ec2_backend.tags.get(resource.id, {}) if resource.id else {}
        kind = resource.id and _kind(resource.id)
        return [
            {"resource_id": resource.id, "key": key, "value": value, "resource_type": kind}
            for key, value in own.items()
        ]

    replace(TaggedEC2Resource, get_tags=get_tags)


def _kind(resource_id: str) -> str:
    from moto.ec2.utils import EC2_PREFIX_TO_RESOURCE, get_prefix

    return EC2_PREFIX_TO_RESOURCE.get(get_prefix(resource_id), "")
