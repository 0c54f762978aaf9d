"""UpdateStack, on top of moto, which updates within the call, replaces what AWS updates in place, and overlooks what
only refers to something that has changed.

A resource is touched if its properties, with parameters, references and functions replaced, are not the ones that
were applied last. So a changed launch template gets one more version, which is what `LatestVersionNumber` then says
to whatever refers to it, and a group changes in place and keeps its instances: without an update policy none is
replaced. What moto cannot update fails, and is rolled back like every other failure.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any

from moto.autoscaling.models import FakeAutoScalingGroup
from moto.cloudformation.exceptions import ValidationError
from moto.cloudformation.models import Stack
from moto.cloudformation.parsing import ResourceMap, parse_and_update_resource
from moto.cloudformation.responses import CloudFormationResponse
from moto.core.responses import ActionResult
from moto.elbv2.models import FakeTargetGroup

from local.faults import Fault, sit_out
from local.workload import templates, versions
from local.workload.stacks import (
    SAME_MODE,
    Failed,
    Life,
    Request,
    Stacks,
    collected,
    creation_order,
    failing_resource,
    replace,
    resolved_properties,
    resource_event,
)

UPDATABLE = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE")


@dataclass
class Wanted:
    """What a stack is, or is to become."""

    template: str
    parameters: dict[str, Any]
    tags: dict[str, str]


class Updates:
    """The updates of stacks and the threads in which they run."""

    def __init__(self, stacks: Stacks) -> None:
        self._stacks = stacks

    def install(self) -> None:
        """Put this in the place of moto's own update."""
        updates = self

        def update_stack(response: Any) -> ActionResult:
            backend = response.cloudformation_backend
            stack = backend.get_stack(response._get_param("StackName"))
            before = Wanted(stack.template, stack.parameters, stack.tags)
            template = response._get_param("TemplateBody")
            if response._get_bool_param("UsePreviousTemplate", False):
                template = stack.template
            elif not template:
                template = response._get_stack_from_s3_url(response._get_param("TemplateURL"))
            tags = {tag["Key"]: tag["Value"] for tag in response._get_param("Tags", [])} or stack.tags
            wanted = Wanted(template, _parameters(stack, template, response._get_param("Parameters", [])), tags)
            updates.update(stack, before, wanted, response._get_param("ClientRequestToken"))
            # What an update does not say is as it was: so is the role.
            stack.role_arn = response._get_param("RoleARN") or stack.role_arn
            return ActionResult({"StackId": stack.stack_id})

        replace(CloudFormationResponse, update_stack=update_stack)
        load = ResourceMap.load_parameters

        def load_parameters(resources: ResourceMap) -> None:
            # A change set takes over the lists that moto has made of the values before, and would split them once more.
            given = resources.input_parameters.items()
            resources.input_parameters = {key: ",".join(of) if isinstance(of, list) else of for key, of in given}
            load(resources)
            for key, slot in resources._template.get("Parameters", {}).items():  # moto splits what is given only
                value = resources.resolved_parameters[key]
                if isinstance(value, str) and slot.get("Type", "").startswith(("CommaDelimitedList", "List<")):
                    resources.resolved_parameters[key] = resources._parsed_resources[key] = value.split(",")

        replace(ResourceMap, load_parameters=load_parameters)
        # On AWS a change set without changes is made, and has failed; moto refuses to make it.
        replace(CloudFormationResponse, _validate_different_update=lambda *_: None)
        replace(FakeAutoScalingGroup, update_from_cloudformation_json=classmethod(_update_group))
        replace(FakeTargetGroup, update_from_cloudformation_json=classmethod(_update_target_group))

    def update(self, stack: Stack, before: Wanted, wanted: Wanted, token: str | None) -> None:
        """Begin to update a stack; raises ValidationError where AWS does."""
        if stack.status not in UPDATABLE:
            why = f"Stack:{stack.stack_id} is in {stack.status} state and can not be updated."
            raise ValidationError(message=why)
        same_template = stack.template_dict == Stack.parse_template(wanted.template)
        if same_template and _effective(stack) == wanted.parameters and before.tags == wanted.tags:
            raise ValidationError(message="No updates are to be performed.")
        life = self._stacks.life(stack.stack_id)
        if life is None:
            raise ValidationError(
                message=f"Stack:{stack.stack_id} was not created by CreateStack: it has no update here"
            )
        if life.request.express:
            raise ValidationError(message=SAME_MODE)
        life.request = Request(client_request_token=token)
        stack.outputs_before = stack.outputs  # type: ignore[attr-defined]
        self._stacks.status(life, "UPDATE_IN_PROGRESS", "User Initiated")
        fault = self._stacks.faults.take("stack", stack="update", environment=life.environment) or {}
        before.parameters = _effective(stack)
        threading.Thread(target=self._update, args=(life, before, wanted, fault), daemon=True).start()

    def _update(self, life: Life, before: Wanted, wanted: Wanted, fault: Fault) -> None:
        sit_out(fault, self._stacks.timing.delete_seconds)
        status, lock = self._stacks.status, self._stacks.lock
        try:
            removed = self._become(life, wanted, fault)
        except Failed as failure:
            with lock:
                resource_event(life, failure.resource, "UPDATE_FAILED", failure.reason)
                why = f"The following resource(s) failed to update: [{failure.resource}]. "
                status(life, "UPDATE_ROLLBACK_IN_PROGRESS", why)
            time.sleep(self._stacks.timing.delete_seconds)
            self._roll_back(life, before)
            return
        with lock:
            status(life, "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS")
            self._remove(life, removed)
            status(life, "UPDATE_COMPLETE")

    def _roll_back(self, life: Life, before: Wanted) -> None:
        lock, status = self._stacks.lock, self._stacks.status
        try:
            removed = self._become(life, before, {})
        except Failed as failure:
            with lock:
                resource_event(life, failure.resource, "UPDATE_FAILED", failure.reason)
                why = f"The following resource(s) failed to update: [{failure.resource}]. "
                status(life, "UPDATE_ROLLBACK_FAILED", why)
            return
        with lock:
            status(life, "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS")
            self._remove(life, removed)
            status(life, "UPDATE_ROLLBACK_COMPLETE")

    def _become(self, life: Life, wanted: Wanted, fault: Fault) -> dict[str, Any]:
        """Change what differs, until nothing does; returns the definitions of what is not in the template any more."""
        stack = life.stack
        with self._stacks.lock:
            old = dict(stack.template_dict["Resources"])
            _load(stack, wanted)
        for _ in range(len(stack.template_dict["Resources"]) + 1):
            with self._stacks.lock:
                changed = [name for name in creation_order(stack) if _differs(life, name)]
            if not changed:
                break
            for name in changed:
                with self._stacks.lock:
                    self._change(life, name, fault)
        with self._stacks.lock:
            stack.output_map = stack._create_output_map()
            stack.last_updated_time = self._stacks.clock.now()  # type: ignore[attr-defined]
        return {name: definition for name, definition in old.items() if name not in stack.template_dict["Resources"]}

    def _change(self, life: Life, name: str, fault: Fault) -> None:
        resources = life.stack.resource_map
        if not _differs(life, name):
            return
        exists = name in resources._parsed_resources
        resource_event(life, name, "UPDATE_IN_PROGRESS" if exists else "CREATE_IN_PROGRESS")
        if fault.get("effect") == "fail" and name == failing_resource(life.stack, fault):
            raise Failed(name, fault.get("reason", 'Resource handler returned message: "Internal Failure"'))
        try:
            with versions.built_for(life.stack):
                self._apply(life, name, exists)
        except Exception as error:
            raise Failed(name, str(error) or type(error).__name__) from error
        life.properties[name] = resolved_properties(life.stack, name)
        resource_event(life, name, "UPDATE_COMPLETE" if exists else "CREATE_COMPLETE")

    def _apply(self, life: Life, name: str, exists: bool) -> None:
        resources: Any = life.stack.resource_map
        definition = life.stack.template_dict["Resources"][name]
        if not exists:
            assert resources[name] is not None or resolved_properties(life.stack, name) is None
            return
        if resolved_properties(life.stack, name) is None:
            resources._delete_resource(resources._parsed_resources.pop(name), definition)
            return
        account, region = life.stack.account_id, life.stack.region_name
        changed = parse_and_update_resource(name, definition, resources, account, region)
        if changed is None:
            raise NotImplementedError(f"the local cloud cannot update a {definition['Type']}")
        resources._parsed_resources[name] = changed

    def _remove(self, life: Life, removed: dict[str, Any]) -> None:
        resources: Any = life.stack.resource_map
        for name, definition in reversed(removed.items()):
            life.properties.pop(name, None)
            resource = resources._parsed_resources.pop(name, None)
            if resource is not None and definition.get("DeletionPolicy") != "Retain":
                resources._delete_resource(resource, definition)


def _parameters(stack: Stack, template: str, given: list[dict[str, Any]]) -> dict[str, Any]:
    """Every parameter of the new template with the value that was given for it, that it has, or its default."""
    declared = Stack.parse_template(template).get("Parameters", {})
    values = {name: str(one["Default"]) for name, one in declared.items() if "Default" in one}
    unknown = [one["ParameterKey"] for one in given if one["ParameterKey"] not in declared]
    if unknown:
        raise ValidationError(message=f"Parameters: [{', '.join(unknown)}] do not exist in the template")
    before = _effective(stack)
    for one in given:
        name = one["ParameterKey"]
        if str(one.get("UsePreviousValue", "")).lower() != "true":
            values[name] = one.get("ParameterValue", "")
        elif one.get("ParameterValue"):
            why = f"Invalid input for parameter key {name}. Cannot specify usePreviousValue as true and non empty value"
            raise ValidationError(message=f"{why} for a parameter")
        elif name in before:
            values[name] = before[name]
    missing = [name for name in declared if name not in values]
    if missing:
        raise ValidationError(message=f"Parameters: [{', '.join(missing)}] must have values")
    templates.check_values(declared, values)
    return values


def _effective(stack: Stack) -> dict[str, Any]:
    declared = stack.template_dict.get("Parameters", {})
    defaults = {name: str(one["Default"]) for name, one in declared.items() if "Default" in one}
    return {**defaults, **{name: str(value) for name, value in stack.parameters.items()}}


def _load(stack: Stack, wanted: Wanted) -> None:
    """Let moto's stack have another template and other parameters, but the same resources."""
    stack.template, stack.parameters, stack.tags = wanted.template, wanted.parameters, wanted.tags
    stack._parse_template()
    resources: Any = stack.resource_map
    resources._template, resources.input_parameters = stack.template_dict, wanted.parameters
    resources._resource_json_map = stack.template_dict["Resources"]
    resources.load_mapping()
    resources.load_parameters()
    resources.load_conditions()


def _differs(life: Life, name: str) -> bool:
    return bool(resolved_properties(life.stack, name) != life.properties.get(name))


def _update_group(
    _cls: type,
    /,
    original_resource: FakeAutoScalingGroup,
    new_resource_name: str,
    cloudformation_json: dict[str, Any],
    account_id: str,
    region_name: str,
) -> FakeAutoScalingGroup:
    """In place, with what CloudFormation hands to UpdateAutoScalingGroup."""
    properties = cloudformation_json["Properties"]
    original_resource.update(
        availability_zones=properties.get("AvailabilityZones", []),
        desired_capacity=_number(properties, "DesiredCapacity"),
        max_size=_number(properties, "MaxSize"),
        min_size=_number(properties, "MinSize"),
        launch_config_name=properties.get("LaunchConfigurationName", ""),
        launch_template=properties.get("LaunchTemplate", {}),
        mixed_instances_policy=properties.get("MixedInstancesPolicy"),
        vpc_zone_identifier=",".join(properties.get("VPCZoneIdentifier", [])),
        health_check_period=_number(properties, "HealthCheckGracePeriod"),  # type: ignore[arg-type]
        health_check_type=properties.get("HealthCheckType"),
    )
    original_resource.metrics = collected(properties)
    kept = [
        tag for tag in original_resource.tags if tag["Key"] not in [one["Key"] for one in properties.get("Tags", [])]
    ]
    original_resource.tags = kept + properties.get("Tags", [])
    return original_resource


def _number(properties: dict[str, Any], name: str) -> int | None:
    return int(properties[name]) if name in properties else None


def _update_target_group(
    _cls: type,
    /,
    original_resource: FakeTargetGroup,
    new_resource_name: str,
    cloudformation_json: dict[str, Any],
    account_id: str,
    region_name: str,
) -> FakeTargetGroup:
    """Health check settings only; other changes replace a target group on AWS."""
    properties, group = cloudformation_json["Properties"], original_resource
    for attribute, name in HEALTH_SETTINGS.items():
        if name in properties:
            setattr(group, attribute, properties[name])
    group.attributes |= {one["Key"]: one["Value"] for one in properties.get("TargetGroupAttributes", [])}
    return group


HEALTH_SETTINGS = {
    "health_check_path": "HealthCheckPath",
    "health_check_interval_seconds": "HealthCheckIntervalSeconds",
    "health_check_timeout_seconds": "HealthCheckTimeoutSeconds",
    "healthy_threshold_count": "HealthyThresholdCount",
    "unhealthy_threshold_count": "UnhealthyThresholdCount",
    "matcher": "Matcher",
}
