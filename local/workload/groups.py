"""Auto Scaling groups that stand behind a load balancer, on top of moto, whose groups launch all instances at once
into one subnet, know no health, and replace nothing.

A group with target groups is a service here. Its instances are spread over the zones of its subnets, boot, serve
(`traffic.py`), are registered, and are replaced when they are unhealthy: at once by EC2's status checks, after
the grace period by the load balancer's. Whatever leaves is taken from the load balancer first.

Faults:

    {"serving": ..., "image": glob, "version": glob, "zone": glob, "environment": glob}
        refuses     the code version fails to boot: the service never starts (decided when the instance boots)
        unhealthy   the image never gets healthy: checks are answered with 503
        errors      a share (`share`, 1.0) of the requests is answered with 500, checks with 200
        slow        answers take `seconds` (30)
    {"outage": zone glob}       nothing reaches the zone's instances, and none can be launched there
    {"no_capacity": zone glob}  EC2 has no capacity in the zone: launches fail, and go on in the next one; with `type`
        (glob) only of these instance types, with `market` only `on-demand` or `spot`, with `account` only there

They hold as long as they are set.
"""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from moto.autoscaling.models import (
    AutoScalingBackend,
    FakeAutoScalingGroup,
    InstanceState,
    autoscaling_backends,
)
from moto.ec2.models import ec2_backends
from moto.ec2.models.instances import Instance
from moto.elbv2.models import FakeHealthStatus, FakeLoadBalancer, FakeTargetGroup, elbv2_backends

from local.clock import VirtualClock
from local.workload import mixed
from local.workload.machines import refuse_unavailable
from local.workload.stacks import (
    IMPAIRED,
    LAUNCHING,
    RETRY_SECONDS,
    STOPPED,
    TERMINATING_ONE,
    UNHEALTHY,
    UNWANTED,
    WANTED,
    Stacks,
    own_interfaces,
    replace,
    tag_volumes,
)
from local.workload.states import ENVIRONMENT_TAG, PENDING, RUNNING, SHUTTING_DOWN, set_state, tags_of, user_data_of
from local.workload.traffic import PERIOD, Balancer, HealthCheck, Server, Wire, periods_until

TICK = 0.05  # real seconds between two looks at the groups
STATUS_CHECK_SECONDS = 120  # until EC2 calls an instance impaired that nothing reaches
VERSION_TAG = "aws:ec2launchtemplate:version"
DEPLOYED = re.compile(r"""^[^#\n]*"\$deploy_script"\s+'[^']*'\s+'([^']*)'""", re.MULTILINE)
IN_SERVICE_METRIC = "GroupInServiceInstances"
IN_SERVICE, PENDING_STATE, TERMINATING, STANDBY = "InService", "Pending", "Terminating", "Standby"


@dataclass(eq=False)
class Member:
    """One instance of a service with what moto's object has no room for."""

    state: InstanceState
    boots_at: float | None = None  # real; None if its stack boots it
    in_service: float | None = None  # virtual moments
    healthy_since: float | None = None
    dark_since: float | None = None

    @property
    def instance(self) -> Instance:
        return self.state.instance

    @property
    def version(self) -> int:
        """Number of the launch template's version that it was launched from."""
        return int(tags_of(self.instance).get(VERSION_TAG, 0))

    @property
    def zone(self) -> str:
        return str(self.instance.placement.zone)

    @property
    def leaves(self) -> bool:
        """Whether it is on its way out."""
        return bool(self.state.lifecycle_state == TERMINATING)

    @property
    def present(self) -> bool:
        """Whether it counts as one of the group's instances."""
        return self.state.lifecycle_state not in (TERMINATING, STANDBY)


@dataclass(frozen=True)
class Launches:
    """What a group's new instances are of: a version of its launch template, and the types of its policy if any."""

    version: int
    policy: mixed.Policy | None

    def kinds(self, group: Any) -> list[str]:
        """The instance types, the first first."""
        return mixed.kinds(self.policy, group.ec2_launch_template.get_version(self.version).instance_type)


@dataclass(eq=False)
class Service:
    """A group behind a load balancer."""

    group: FakeAutoScalingGroup
    members: dict[str, Member] = field(default_factory=dict)
    refreshed: Callable[[], Launches] | None = None  # while a refresh says what is launched
    surplus: int = 0  # instances above the desired capacity that a refresh wants now
    launch_after: float = 0.0  # virtual
    measured: int = 0  # the last period with metrics
    new: bool = True  # it has had no instance yet

    @property
    def stack_id(self) -> str | None:
        found = [tag["Value"] for tag in self.group.tags if tag["Key"] == "aws:cloudformation:stack-id"]
        return found[0] if found else None

    @property
    def desired(self) -> int:
        return int(self.group.desired_capacity or 0)

    @property
    def configured(self) -> Launches:
        """What the group itself is set to."""
        template: Any = self.group.ec2_launch_template
        number = int(template.get_version(self.group.launch_template_version).number)
        return Launches(number, self.group.mixed_instances_policy)

    def present(self) -> list[Member]:
        """The members that count, the oldest first."""
        return [member for member in self.members.values() if member.present]


class Groups:
    """All services of the workload account, and the thread that looks after them."""

    def __init__(
        self,
        wire: Wire,
        stacks: Stacks,
        crashed: Callable[[Exception, str], None],
    ) -> None:
        self.clock: VirtualClock = wire.clock
        self._crashed = crashed
        self.lock = stacks.lock
        self.services: dict[tuple[str, str, str], Service] = {}
        self._wire, self._stacks = wire, stacks
        self._faults, self._timing = stacks.faults, stacks.timing
        self.each: list[Callable[[float], None]] = []  # what else is done at each look

    def install(self) -> None:
        """Put this in the place of moto's own launches and health, and start to look after the services."""
        self._install_launches()
        self._install_ends()
        self._install_targets()
        threading.Thread(target=self._run, name="groups", daemon=True).start()

    # ---- moto's side -----------------------------------------------------------------------------------

    def _install_launches(self) -> None:
        groups, stacks = self, self._stacks
        launch_all = FakeAutoScalingGroup.replace_autoscaling_group_instances

        def set_desired_capacity(group: FakeAutoScalingGroup, new_capacity: int | None) -> None:
            if not group.target_group_arns:
                before = [state.instance.id for state in group.instance_states]
                mixed.resize(group, new_capacity)
                stay = {state.instance.id for state in group.instance_states}
                for instance in (one for one in before if one not in stay):
                    stacks.note(group, f"{TERMINATING_ONE}{instance}", UNWANTED)
                return
            group.desired_capacity = int(group.min_size or 0) if new_capacity is None else int(new_capacity)
            service = groups.service(group)
            if service.new and service.desired:  # its stack boots them; the instances of others follow by themselves
                service.new = False
                groups.launch(service, service.desired)

        def replace_instances(group: FakeAutoScalingGroup, count_needed: int, tags: dict[str, str]) -> None:
            if not group.target_group_arns and not groups._launch_fleet(group, count_needed, tags):
                launch_all(group, count_needed, tags)

        replace(
            FakeAutoScalingGroup,
            set_desired_capacity=set_desired_capacity,
            replace_autoscaling_group_instances=replace_instances,
        )

    def _install_ends(self) -> None:
        groups, delete_group = self, AutoScalingBackend.delete_auto_scaling_group
        follow = AutoScalingBackend.notify_terminate_instances
        shown: Any = InstanceState.launch_template
        healthy: Any = Instance.instance_status

        def delete(backend: AutoScalingBackend, name: str) -> None:
            group = backend.autoscaling_groups.get(name)
            if group and group.target_group_arns:
                groups.end(groups.service(group))
            delete_group(backend, name)

        def notify_terminate_instances(backend: AutoScalingBackend, ids: list[str]) -> None:
            """Somebody has ended instances by EC2: their groups notice it, and replace them."""
            groups._noticed(backend, ids)
            follow(backend, ids)

        def update_targets(_backend: AutoScalingBackend, _name: str) -> None:
            """moto registers what has not booted; here they are registered when they are in service."""

        def launch_template(state: InstanceState) -> dict[str, Any] | None:
            """moto shows the template's default version, not the one that the instance was launched from."""
            number = tags_of(state.instance).get(VERSION_TAG)
            return shown.fget(state) and shown.fget(state) | ({"Version": number} if number else {})  # type: ignore[no-any-return]

        def instance_status(instance: Instance) -> dict[str, Any]:
            """moto's instances are always well."""
            return IMPAIRED_STATUS if groups.impaired(instance) else healthy.fget(instance)

        replace(Instance, instance_status=property(instance_status))
        replace(
            AutoScalingBackend,
            delete_auto_scaling_group=delete,
            notify_terminate_instances=notify_terminate_instances,
            update_attached_target_groups=update_targets,
        )
        replace(InstanceState, launch_template=property(launch_template))

    def _noticed(self, backend: AutoScalingBackend, ended: list[str]) -> None:
        for group in backend.autoscaling_groups.values():
            for state in [] if group.target_group_arns else group.instance_states:
                if state.instance.id in ended:
                    self._stacks.note(group, f"{TERMINATING_ONE}{state.instance.id}", STOPPED)

    def _install_targets(self) -> None:
        """moto's targets are healthy as soon as they are registered, and have it so for ever."""
        groups = self

        def register(group: FakeTargetGroup, targets: list[dict[str, Any]]) -> None:
            for target in targets:
                group.targets[target["Id"]] = {"Id": target["Id"], "Port": target.get("Port", group.port)}

        def deregister(group: FakeTargetGroup, targets: list[dict[str, Any]]) -> None:
            for target in targets:
                groups._wire.call(groups.balancer(group).deregister, target["Id"])

        def health_for(group: FakeTargetGroup, target: dict[str, Any], _ec2: Any) -> FakeHealthStatus:
            state, reason = groups.health(group, target["Id"])
            port = target.get("Port", group.port)
            return FakeHealthStatus(target["Id"], port, group.health_check_port, state, reason, REASONS.get(reason))

        replace(FakeTargetGroup, register=register, deregister=deregister, health_for=health_for)
        _install_attributes()

    # ---- load balancers --------------------------------------------------------------------------------

    def balancer(self, group: FakeTargetGroup) -> Balancer:
        """The load balancer in front of a target group, with the group's settings of the moment."""
        balancer = self._wire.balancer(group.arn, HealthCheck())
        check = balancer.check
        check.path = group.health_check_path or "/"
        check.interval = float(group.health_check_interval_seconds)
        check.timeout = float(group.health_check_timeout_seconds)
        check.healthy_threshold = int(group.healthy_threshold_count)
        check.unhealthy_threshold = int(group.unhealthy_threshold_count)
        check.codes = str(group.matcher.get("HttpCode", "200"))
        check.deregistration_delay = float(str(group.attributes["deregistration_delay.timeout_seconds"]))
        elb = elbv2_backends[group.account_id][group.region_name]
        fronts = [elb.load_balancers[arn] for arn in group.load_balancer_arns if arn in elb.load_balancers]
        balancer.zones = {subnet.availability_zone for front in fronts for subnet in front.subnets}
        balancer.name = full_name(fronts[0]) if fronts else ""
        return balancer

    def health(self, group: FakeTargetGroup, instance: str) -> tuple[str, str | None]:
        """State and reason of a target."""
        balancer = self.balancer(group)
        target = balancer.targets.get(instance)
        if target is None:
            return "unused", "Target.NotRegistered"
        if target.server.zone not in balancer.zones:
            return "unused", "Target.NotInUse"
        return target.state, target.reason

    def balancers(self) -> dict[str, dict[str, Any]]:
        """Where the load balancers listen, and what they have counted, by the name of their target group."""
        with self.lock:
            return {
                group.name: {
                    "url": f"http://127.0.0.1:{(balancer := self.balancer(group)).port}",
                    "target_group": group.arn,
                    "load_balancer": balancer.name,
                    "targets": dict(Counter(one.state for one in list(balancer.targets.values()))),
                    "fewest_healthy": balancer.fewest_healthy,
                    "counts": dict(balancer.counts),
                }
                for regions in elbv2_backends.values()
                for backend in regions.values()
                for group in backend.target_groups.values()
            }

    def watch_fewest(self) -> None:
        """Start to count the fewest healthy targets anew."""
        with self.lock:
            for balancer in self._wire.balancers.values():
                balancer.fewest_healthy = sum(one.state == "healthy" for one in list(balancer.targets.values()))

    # ---- the thread ------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            time.sleep(TICK)
            now = self.clock.time()
            for look in (self._look, *self.each):
                try:
                    look(now)
                except Exception as error:
                    self._crashed(error, "groups")

    def _look(self, now: float) -> None:
        with self.lock:
            for key, service in list(self.services.items()):
                if service.group.name not in autoscaling_backends[key[0]][key[1]].autoscaling_groups:
                    del self.services[key]
                elif self._stacks.removes(service.stack_id):
                    for instance_id in service.members:
                        self._wire.end(instance_id)
                else:
                    self._look_after(service, now)
            self._close_balancers()

    def service(self, group: FakeAutoScalingGroup) -> Service:
        """What is known of a group with target groups."""
        key = (group.account_id, group.region, group.name)
        found = self.services.get(key)
        if found is None or found.group is not group:
            found = self.services[key] = Service(group)
        return found

    def find(self, account: str, region: str, name: str) -> Service | None:
        """A service by the name of its group."""
        return self.services.get((account, region, name))

    def _look_after(self, service: Service, now: float) -> None:
        states = {state.instance.id: state for state in service.group.instance_states}
        for instance_id in set(service.members) - set(states):
            self._gone(service, service.members[instance_id])
        for instance_id, state in states.items():
            member = service.members.setdefault(instance_id, Member(state))
            self._serve(service, member, now)
            if member.leaves:
                self._leave(service, member)
        for member in service.present():
            self._judge(service, member, now)
        suspended = [one["ProcessName"] for one in service.group.suspended_processes]
        for member in service.present():
            if member.state.health_status == "Unhealthy" and "ReplaceUnhealthy" not in suspended:
                self.terminate(service, member, self._why_unhealthy(member))
        self._fill(service, now)
        self._measure(service, now)

    def _why_unhealthy(self, member: Member) -> str:
        if member.instance.state != "running":
            return STOPPED
        return IMPAIRED if self.impaired(member.instance) else UNHEALTHY

    def _measure(self, service: Service, now: float) -> None:
        """Note how many instances are in service; a group measures nothing that nobody enabled."""
        in_service = sum(member.state.lifecycle_state == IN_SERVICE for member in service.members.values())
        for period in periods_until(service.measured or int(now // PERIOD), now):
            if IN_SERVICE_METRIC in service.group.metrics:
                self._wire.groups[service.group.name][period][IN_SERVICE_METRIC].add(in_service)
        service.measured = int(now // PERIOD)

    def _serve(self, service: Service, member: Member, now: float) -> None:
        """Let an instance come up, and be in service once it runs."""
        instance, state = member.instance, member.state
        if instance.state == "pending" and member.boots_at is not None and time.monotonic() >= member.boots_at:
            set_state(instance, RUNNING)
            self._stacks.boots.is_ready(self._stacks.boots.begin(instance))
        if instance.state != "running":
            self._wire.end(instance.id)
            return
        if instance.id not in self._wire.servers:
            self._boot(service, instance)
        self._disturb(service, member, now)
        if state.lifecycle_state == PENDING_STATE:
            state.lifecycle_state = IN_SERVICE
            member.in_service = now
            for group in self._target_groups(service):
                group.register([{"Id": instance.id}])
                self._wire.call(self.balancer(group).register, self._wire.servers[instance.id])

    def _boot(self, service: Service, instance: Instance) -> None:
        facts = _facts(service, instance)
        fault = self._faults.find("serving", **facts) or {}
        self._wire.boot(Server(instance.id, facts["image"], facts["version"], facts["zone"], fault=fault))

    def _disturb(self, service: Service, member: Member, now: float) -> None:
        """What the faults of the moment do to an instance."""
        server = self._wire.servers[member.instance.id]
        dark = self._faults.find("outage", outage=server.zone) is not None
        if dark and member.dark_since is None:
            member.dark_since = now
        elif not dark:
            member.dark_since = None
        server.dark = dark
        if server.port is not None:
            server.fault = self._faults.find("serving", **_facts(service, member.instance)) or {}

    def _judge(self, service: Service, member: Member, now: float) -> None:
        state = member.state
        if state.lifecycle_state != IN_SERVICE or member.in_service is None:
            return
        by_elb = service.group.health_check_type == "ELB"
        targets = [self.health(group, member.instance.id)[0] for group in self._target_groups(service)]
        healthy = state.health_status == "Healthy" and (not by_elb or all(one == "healthy" for one in targets))
        member.healthy_since = (member.healthy_since or now) if healthy and member.dark_since is None else None
        grace_over = now >= member.in_service + float(service.group.health_check_grace_period or 0)
        failing = by_elb and grace_over and "unhealthy" in targets
        if self.impaired(member.instance) or failing or member.instance.state != "running":
            state.health_status = "Unhealthy"

    def impaired(self, instance: Instance) -> bool:
        """Whether EC2's status checks fail."""
        members = (service.members.get(instance.id) for service in list(self.services.values()))
        since = next((one.dark_since for one in members if one), None)
        return since is not None and self.clock.time() - since >= STATUS_CHECK_SECONDS

    def _fill(self, service: Service, now: float) -> None:
        """Launch what is missing, and end what is too much."""
        present = service.present()
        missing = service.desired + service.surplus - len(present)
        if missing > 0 and now >= service.launch_after and self._booted(service):
            if self.launch(service, missing, boots=True) < missing:
                service.launch_after = now + RETRY_SECONDS
        elif missing < 0:
            by_need = sorted(present, key=lambda one: (one.healthy_since is not None, -one.version))
            for member in by_need[:-missing]:
                self.terminate(service, member, UNWANTED)

    def _booted(self, service: Service) -> bool:
        """Whether its stack has finished to create it."""
        return not any(member.boots_at is None and member.instance.state == "pending" for member in service.present())

    # ---- groups without a load balancer --------------------------------------------------------------------

    def _launch_fleet(self, group: FakeAutoScalingGroup, count: int, tags: dict[str, str]) -> bool:
        """Launch instances, each in the zone with the fewest and of the first type that EC2 has there: together what is
        launched alike, because moto's lists are slow with many reservations. False for a group without a launch
        template or subnets."""
        if not group.ec2_launch_template or not group.vpc_zone_identifier:
            return False
        if group.ec2_launch_template.id not in group.ec2_backend.launch_templates:
            # moto fails the call that ended an instance; on AWS only the group notices.
            missing = f"The launch template {group.ec2_launch_template.id} does not exist."
            self._stacks.note(group, LAUNCHING, WANTED, missing)
            return True
        subnets = group.ec2_backend.describe_subnets(subnet_ids=group.vpc_zone_identifier.split(","))
        members = Counter(str(state.instance.placement.zone) for state in group.instance_states)
        alike: Counter[tuple[str, str, str, str]] = Counter()
        failed: set[tuple[str, str]] = set()
        policy = group.mixed_instances_policy
        types = mixed.kinds(policy, group.instance_type)
        for market in mixed.markets(group, policy, count):
            order = sorted(((one.availability_zone, one.id) for one in subnets), key=lambda place: members[place[0]])
            place, none_left = mixed.places(types, market, order, partial(self._without, group.account_id))
            failed |= mixed.failures(types, market, none_left, bool(policy))
            if place:
                alike[market, *place] += 1
                members[place[1]] += 1
        for why, zone in sorted(failed):
            have = len(group.instance_states)
            change = f"increasing the capacity from {have} to {have + count}."
            self._stacks.note(group, LAUNCHING, f"{WANTED} {change}", why, zone)
        for (market, kind, zone, subnet), number in alike.items():
            self._run_alike(group, (market, kind, zone, subnet), number, tags)
        return True

    def _without(self, account: str, market: str, kind: str, zone: str) -> bool:
        """Whether EC2 has no capacity."""
        lacks = self._faults.find("no_capacity", no_capacity=zone, account=account, type=kind, market=market)
        return lacks is not None or self._faults.find("outage", outage=zone) is not None

    def _run_alike(self, group: Any, place: tuple[str, str, str, str], count: int, tags: dict[str, str]) -> None:
        market, kind, zone, subnet = place
        launched = group.ec2_backend.run_instances(
            group.image_id,
            count,
            group.user_data,
            group.security_groups,
            instance_type=kind,
            is_instance_type_default=False,
            tags={"instance": {**tags, "aws:autoscaling:groupName": group.name, **group.instance_tags}},
            placement=zone,
            subnet_id=subnet,
            launch_template={"LaunchTemplateId": group.ec2_launch_template.id},
            **({"instance_market_options": {"MarketType": "spot"}} if market == mixed.SPOT else {}),
        ).instances
        for instance in launched:
            instance.autoscaling_group = group
            protected = group.new_instances_protected_from_scale_in
            group.instance_states.append(InstanceState(instance, protected_from_scale_in=protected))

    # ---- instances -------------------------------------------------------------------------------------

    def launch(self, service: Service, count: int, boots: bool = False) -> int:
        """Launch instances, each where there are fewest; returns how many could be. `boots`: not by their stack."""
        launched = 0
        for _ in range(count):
            launched += self._launch_one(service, boots)
        return launched

    def _launch_one(self, service: Service, boots: bool) -> bool:
        group, ec2 = service.group, ec2_backends[service.group.account_id][service.group.region]
        wanted = service.refreshed() if service.refreshed else service.configured
        subnets = ec2.describe_subnets(subnet_ids=(group.vpc_zone_identifier or "").split(","))
        # Of the zones with the fewest, the one with the fewest young ones: so the spread outlives their elders.
        members = Counter(member.zone for member in service.present())
        young = Counter(member.zone for member in service.present() if member.version == wanted.version)
        subnets = sorted(subnets, key=lambda one: (members[one.availability_zone], young[one.availability_zone]))
        types, zones = wanted.kinds(group), [(one.availability_zone, one.id) for one in subnets]
        (market,) = mixed.markets(group, wanted.policy, 1)
        place, none_left = mixed.places(types, market, zones, partial(self._without, group.account_id))
        for why, zone in sorted(mixed.failures(types, market, none_left, bool(wanted.policy))):
            self._stacks.note(group, LAUNCHING, WANTED, why, zone)
        if place:
            try:
                instance = self._run_instance(service, wanted.version, market, place)
            except Exception as error:
                self._stacks.note(group, LAUNCHING, WANTED, str(error))
                return False
            state = InstanceState(instance, lifecycle_state=PENDING_STATE, autoscaling_group=group)
            state.protected_from_scale_in = group.new_instances_protected_from_scale_in
            group.instance_states.append(state)
            boots_at = time.monotonic() + self._timing.boot_seconds if boots else None
            service.members[instance.id] = Member(state, boots_at)
            self._stacks.note(group, f"{LAUNCHING}: {instance.id}", WANTED)
            return True
        return False

    def _run_instance(self, service: Service, number: int, market: str, place: tuple[str, str, str]) -> Instance:
        group: Any = service.group
        kind, zone, subnet = place
        ec2: Any = ec2_backends[group.account_id][group.region]
        version = group.ec2_launch_template.get_version(number)
        refuse_unavailable(ec2, version.image_id)
        tags = {**group.get_propagated_tags(), "aws:autoscaling:groupName": group.name, **version.instance_tags}
        [instance] = ec2.run_instances(
            version.image_id,
            1,
            version.user_data,
            version.security_groups,
            instance_type=kind,
            is_instance_type_default=False,
            tags={"instance": tags},
            placement=zone,
            subnet_id=subnet,
            launch_template={"LaunchTemplateId": group.ec2_launch_template.id, "Version": str(number)},
            **({"instance_market_options": {"MarketType": "spot"}} if market == mixed.SPOT else {}),
        ).instances
        instance.autoscaling_group = group
        set_state(instance, PENDING)
        tag_volumes(instance)
        own_interfaces(instance)
        self._stacks.joined(service.stack_id, instance)
        return instance  # type: ignore[no-any-return]

    def terminate(self, service: Service, member: Member, why: str) -> None:
        """Take an instance from its load balancer, and end it when it is drained."""
        member.state.lifecycle_state = TERMINATING
        member.healthy_since = None
        for group in self._target_groups(service):
            self._wire.call(self.balancer(group).deregister, member.instance.id)
        self._stacks.note(service.group, f"{TERMINATING_ONE}{member.instance.id}", why)

    def _leave(self, service: Service, member: Member) -> None:
        groups = self._target_groups(service)
        if member.instance.state == "running" and not all(
            self.balancer(group).drained(member.instance.id) for group in groups
        ):
            return
        service.group.instance_states.remove(member.state)
        self._gone(service, member)
        set_state(member.instance, SHUTTING_DOWN)
        member.instance.terminate()

    def _gone(self, service: Service, member: Member) -> None:
        service.members.pop(member.instance.id, None)
        self._wire.end(member.instance.id)
        for group in self._target_groups(service):
            group.targets.pop(member.instance.id, None)
            self._wire.call(self.balancer(group).deregister, member.instance.id)

    def end(self, service: Service) -> None:
        """The group is being deleted: end its instances."""
        for state in service.group.instance_states:
            self._wire.end(state.instance.id)
            if state.instance.state != "terminated":
                state.instance.terminate()
        service.group.instance_states.clear()

    def _close_balancers(self) -> None:
        known = {arn for regions in elbv2_backends.values() for one in regions.values() for arn in one.target_groups}
        for arn in set(self._wire.balancers) - known:
            self._wire.close(arn)

    def _target_groups(self, service: Service) -> list[FakeTargetGroup]:
        elb = elbv2_backends[service.group.account_id][service.group.region]
        return [elb.target_groups[arn] for arn in service.group.target_group_arns if arn in elb.target_groups]


def _install_attributes() -> None:
    """What moto's CloudFormation does not know of load balancers: attributes, their names in metrics, deletion."""
    create, balancer_attribute = FakeTargetGroup.create_from_cloudformation_json, FakeLoadBalancer.get_cfn_attribute

    def create_from_json(
        _cls: type, /, name: str, definition: dict[str, Any], account: str, region: str, **kwargs: Any
    ) -> FakeTargetGroup:
        made = create(name, definition, account, region, **kwargs)
        given = definition["Properties"].get("TargetGroupAttributes", [])
        made.attributes |= {one["Key"]: one["Value"] for one in given}
        return made

    def delete(group: FakeTargetGroup, account: str, region: str) -> None:
        elbv2_backends[account][region].target_groups.pop(group.arn, None)

    def has_attribute(_cls: type, name: str) -> bool:
        return name in GROUP_ATTRIBUTES

    def target_group_attribute(group: FakeTargetGroup, name: str) -> Any:
        return GROUP_ATTRIBUTES[name](group)

    def load_balancer_attribute(balancer: FakeLoadBalancer, name: str) -> Any:
        if name == "LoadBalancerFullName":
            return full_name(balancer)
        return balancer.arn if name == "LoadBalancerArn" else balancer_attribute(balancer, name)

    replace(
        FakeTargetGroup,
        create_from_cloudformation_json=classmethod(create_from_json),
        delete=delete,
        has_cfn_attr=classmethod(has_attribute),
        get_cfn_attribute=target_group_attribute,
    )
    replace(FakeLoadBalancer, get_cfn_attribute=load_balancer_attribute)


def full_name(balancer: FakeLoadBalancer) -> str:
    """`app/name/id`, by which metrics know a load balancer."""
    return balancer.arn.partition(":loadbalancer/")[2]


def _facts(service: Service, instance: Instance) -> dict[str, Any]:
    """What faults know an instance by."""
    tags, script = tags_of(instance), user_data_of(instance)
    deployed = DEPLOYED.search(script)
    return {
        "image": instance.image_id,
        "version": deployed.group(1) if deployed else tags.get("mayfly:version", ""),
        "zone": str(instance.placement.zone),
        "environment": tags.get(ENVIRONMENT_TAG, ""),
    }


GROUP_ATTRIBUTES: dict[str, Callable[[FakeTargetGroup], Any]] = {
    "TargetGroupArn": lambda group: group.arn,
    "TargetGroupName": lambda group: group.name,
    "TargetGroupFullName": lambda group: group.arn.rpartition(":")[2],
    "LoadBalancerArns": lambda group: group.load_balancer_arns,
}
IMPAIRED_STATUS = {"Status": "impaired", "Details": [{"Name": "reachability", "Status": "failed"}]}
REASONS: dict[str | None, str] = {
    "Elb.RegistrationInProgress": "Target registration is in progress",
    "Elb.InitialHealthChecking": "Initial health checks in progress",
    "Target.ResponseCodeMismatch": "Health checks failed with these codes: [503]",
    "Target.Timeout": "Request timed out",
    "Target.FailedHealthChecks": "Health checks failed",
    "Target.DeregistrationInProgress": "Target deregistration is in progress",
    "Target.NotRegistered": "Target is not registered to the target group",
    "Target.NotInUse": "Target is in an Availability Zone that is not enabled for the load balancer",
}
