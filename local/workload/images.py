"""Images that take their time, say so, and have all that AWS knows of them, on top of moto, which creates and copies
within one call and knows neither deprecation, protection, references nor usage reports.

Faults (`cloud.fault("workload", ...)`), all with `times`:

    {"image": "create" | "copy" | "report", "region": glob, "environment": glob on the bake tag, "effect": ...}
        fail        the image (the usage report) ends as `failed` (`error`), with `reason`
        slow        it takes `seconds`
    {"usage": glob on an image, "account": "333333333333", "resource": "ec2:Instance", "count": 1}
        no fault, but the same kind of thing: what another account uses, for usage reports; or `ec2:LaunchTemplate`
"""

from __future__ import annotations

import fnmatch
import threading
import uuid
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError, InvalidAMIIdError, UnvailableAMIIdError
from moto.ec2.models import amis, ec2_backends
from moto.ec2.models.amis import Ami
from moto.ec2.responses.amis import AmisResponse
from moto.ec2.utils import generic_filter
from moto.ssm.models import ssm_backends

from local.clock import VirtualClock
from local.faults import Fault, Faults, sit_out
from local.workload.delivery import Say, ServiceEvent
from local.workload.machines import BAKE_TAG, once, refuse_unavailable
from local.workload.stacks import Timing, replace
from local.workload.states import tags_of
from mayfly.contract.vocabulary import AwsEvent

COOLDOWN = timedelta(hours=24)
REPORTS_LIVE = timedelta(days=30)
REFERENCE_TYPES = (
    "ec2:Instance",
    "ec2:LaunchTemplate",
    "ssm:Parameter",
    "imagebuilder:ImageRecipe",
    "imagebuilder:ContainerRecipe",
)
USAGE_TYPES = ("ec2:Instance", "ec2:LaunchTemplate")
VERSION_DEPTH = 10  # launch template versions in which references are looked for, unless the call says how many

ACTIONS = (
    "create_image",
    "copy_image",
    "describe_images",
    "describe_image_references",
    "enable_image_deprecation",
    "disable_image_deprecation",
    "enable_image_deregistration_protection",
    "disable_image_deregistration_protection",
    "disable_image",
    "enable_image",
    "deregister_image",
    "create_image_usage_report",
    "describe_image_usage_reports",
    "describe_image_usage_report_entries",
    "delete_image_usage_report",
)

Options = dict[str, list[str]]  # of a resource type: option name -> values


class Images:
    """The images and usage reports of the workload account, in all Regions."""

    def __init__(self, clock: VirtualClock, faults: Faults, timing: Timing, lock: threading.RLock, say: Say) -> None:
        self._clock = clock
        self._faults = faults
        self._timing = timing
        self._lock = lock
        self._say = say
        self._reports: dict[str, dict[str, Any]] = {}
        self._entries: dict[str, list[dict[str, Any]]] = {}

    def install(self) -> None:
        """Put this in the place of moto's own images. It brings a thousand for containers, too, through which each look
        at images would go."""
        source: Any = amis
        load = source.load_resource

        def load_some(path: str) -> Any:
            if path.startswith("ec2/resources/ecs/"):
                raise FileNotFoundError(path)
            return load(path)

        source.load_resource = load_some
        replace(
            Ami,
            source_image_id=None,
            source_image_region=None,
            state_reason=None,
            deprecation_time=None,
            deregistration_protection="disabled",
            protected_until=None,
        )
        self._describe = AmisResponse.describe_images
        replace(AmisResponse, **{name: once(getattr(self, name)) for name in ACTIONS})

    # ---- create, copy ----------------------------------------------------------------------------------

    def create_image(self, response: Any) -> ActionResult:
        """moto takes any name and any state of the instance, fails on tags of snapshots, and is done at once."""
        response.error_on_dryrun()
        ec2, name = response.ec2_backend, response._get_param("Name")
        _refuse_taken_name(ec2, name)
        instance = ec2.get_instance(response._get_param("InstanceId"))
        if instance.state not in ("running", "stopped"):
            raise EC2ClientError("IncorrectState", "Instance is not in state 'running' or 'stopped'")
        image = ec2.create_image(instance.id, name, response._get_param("Description", ""), [])
        image.source_image_id, image.source_image_region = instance.image_id, ec2.region_name
        image.root_device_name = instance.root_device_name
        self._begin("create", image, response._parse_tag_specification())
        return ActionResult({"ImageId": image.id})

    def copy_image(self, response: Any) -> ActionResult:
        """moto takes any name and source, drops tags, and is done at once."""
        response.error_on_dryrun()
        ec2, name = response.ec2_backend, response._get_param("Name")
        source_id, region = response._get_param("SourceImageId"), response._get_param("SourceRegion")
        source = _image(ec2_backends[ec2.account_id][region], source_id)
        refuse_unavailable(source.ec2_backend, source_id)
        _refuse_taken_name(ec2, name)
        image = ec2.copy_image(source_id, region, name, response._get_param("Description"))
        image.source_image_id, image.source_image_region = source_id, region
        image.root_device_name = source.root_device_name
        if response._get_bool_param("CopyImageTags"):
            image.add_tags({key: value for key, value in tags_of(source).items() if not key.startswith("aws:")})
        self._begin("copy", image, response._parse_tag_specification())
        return ActionResult({"ImageId": image.id})

    def _begin(self, what: str, image: Any, tags: dict[str, dict[str, str]]) -> None:
        image.state, image.root_device_type = "pending", "ebs"
        image.add_tags(tags.get("image", {}))
        image.ebs_snapshot.add_tags(tags.get("snapshot", {}))
        fault = self._fault(what, image) or {}
        threading.Thread(target=self._finish, args=(image, fault), daemon=True).start()

    def _finish(self, image: Any, fault: Fault) -> None:
        sit_out(fault, self._timing.image_seconds)
        with self._lock:
            if image.state != "pending" or image.id not in image.ec2_backend.amis:
                return
            if fault.get("effect") == "fail":
                reason = fault.get("reason", "Internal error")
                image.state_reason = {"Code": "Server.InternalError", "Message": reason}
                self._becomes(image, "failed", reason)
            else:
                self._becomes(image, "available")

    def _fault(self, what: str, image: Any) -> Fault | None:
        """`check=None` leaves out the faults of checks, which can name an image as well."""
        bake, region = tags_of(image).get(BAKE_TAG), image.ec2_backend.region_name
        return self._faults.take("image", image=what, region=region, environment=bake, check=None)

    def _becomes(self, image: Any, state: str, error: str = "") -> None:
        image.state, region = state, image.ec2_backend.region_name
        self._say(
            ServiceEvent(
                source="aws.ec2",
                detail_type=AwsEvent.IMAGE_STATE,
                account=image.ec2_backend.account_id,
                region=region,
                resource=f"arn:aws:ec2:{region}::image/{image.id}",
                detail={
                    "RequestId": str(uuid.uuid4()),
                    "ImageId": image.id,
                    "State": state,
                    "ErrorMessage": error,
                },
                status=state,
                environment=tags_of(image).get(BAKE_TAG),
            )
        )

    # ---- describe --------------------------------------------------------------------------------------

    def describe_images(self, response: Any) -> ActionResult:
        """moto shows disabled images unasked, ignores filters where there are ids, and has one page. Deprecated ones
        AWS shows to their owner, too."""
        described: Any = self._describe(response).result
        disabled = response._get_bool_param("IncludeDisabled")
        images = [image for image in described["Images"] if disabled or image.state != "disabled"]
        images = generic_filter(response._filters_from_querystring(), images)
        return _page(response, "Images", images, lambda image: str(image.id))

    def describe_image_references(self, response: Any) -> ActionResult:
        """moto has none of this: what in this account and Region names an image. AWS looks at 10 versions of a launch
        template unless told otherwise."""
        wanted = _wanted_types(response)
        if not wanted:
            why = "Either IncludeAllResourceTypes or ResourceTypes must be specified."
            raise EC2ClientError("MissingParameter", why)
        references = [
            {"ImageId": image, "ResourceType": kind, "Arn": arn}
            for image in response._get_param("ImageIds", [])
            for kind, options in wanted.items()
            for arn in _references(response.ec2_backend, image, kind, options)
        ]
        return _page(response, "ImageReferences", references, lambda one: one["ImageId"] + one["Arn"])

    # ---- deprecate, protect, disable, deregister -------------------------------------------------------

    def enable_image_deprecation(self, response: Any) -> ActionResult:
        """moto has no deprecation. AWS rounds to minutes and takes no time in the past."""
        image, at = _named_image(response), response._get_param("DeprecateAt")
        if at.replace(tzinfo=None) < self._clock.now().replace(tzinfo=None):
            raise EC2ClientError("InvalidParameterValue", "DeprecateAt must not be in the past")
        minute = (at + timedelta(seconds=30)).replace(second=0)
        image.deprecation_time = f"{minute:%Y-%m-%dT%H:%M}:00.000Z"
        return ActionResult({"Return": True})

    def disable_image_deprecation(self, response: Any) -> ActionResult:
        """Take the deprecation back."""
        _named_image(response).deprecation_time = None
        return ActionResult({"Return": True})

    def enable_image_deregistration_protection(self, response: Any) -> ActionResult:
        """moto has no protection."""
        image, cooldown = _named_image(response), response._get_bool_param("WithCooldown")
        image.deregistration_protection = f"enabled-{'with' if cooldown else 'without'}-cooldown"
        return ActionResult({"Return": image.deregistration_protection})

    def disable_image_deregistration_protection(self, response: Any) -> ActionResult:
        """With a cooldown, the image stays protected for another day."""
        image = _named_image(response)
        if image.deregistration_protection == "enabled-with-cooldown":
            image.protected_until = self._clock.now() + COOLDOWN
        image.deregistration_protection = "disabled"
        return ActionResult({"Return": image.deregistration_protection})

    def disable_image(self, response: Any) -> ActionResult:
        """moto leaves the launch permissions; AWS takes them away, for good."""
        image = _named_image(response)
        image.launch_permissions.clear()
        self._becomes(image, "disabled")
        return ActionResult({"Return": True})

    def enable_image(self, response: Any) -> ActionResult:
        """moto says nothing."""
        self._becomes(_named_image(response), "available")
        return ActionResult({"Return": True})

    def deregister_image(self, response: Any) -> ActionResult:
        """moto knows no protection and leaves the snapshots, also where it is told to delete them."""
        image = _named_image(response)
        _refuse_protected(image, self._clock.now())
        image.ec2_backend.deregister_image(image.id)
        answer: dict[str, Any] = {"Return": True}
        if response._get_bool_param("DeleteAssociatedSnapshots"):
            answer["DeleteSnapshotResults"] = [_delete_snapshot(image)]
        self._becomes(image, "deregistered")
        return ActionResult(answer)

    # ---- usage reports ---------------------------------------------------------------------------------

    def create_image_usage_report(self, response: Any) -> ActionResult:
        """moto has no usage reports. On AWS they show what other accounts use; one's own is in the references."""
        image, now = _named_image(response), self._clock.now()
        report = {
            "ReportId": f"amiur-{uuid.uuid4().hex[:17]}",
            "ImageId": image.id,
            "Region": response.region,
            "ResourceTypes": response._get_param("ResourceTypes", []),
            "AccountIds": response._get_param("AccountIds", []),
            "State": "pending",
            "CreationTime": now,
            "ExpirationTime": now + REPORTS_LIVE,
            "Tags": _pairs(response._parse_tag_specification().get("image-usage-report", {})),
        }
        self._reports[report["ReportId"]] = report
        fault = self._fault("report", image) or {}
        threading.Thread(target=self._report, args=(report, fault), daemon=True).start()
        return ActionResult({"ReportId": report["ReportId"]})

    def describe_image_usage_reports(self, response: Any) -> ActionResult:
        """Reports, pending ones as well."""
        reports = _chosen(response, self._reports.values())
        return _page(response, "ImageUsageReports", reports, lambda report: str(report["ReportId"]))

    def describe_image_usage_report_entries(self, response: Any) -> ActionResult:
        """What the finished reports say."""
        entries = _chosen(response, (entry for entries in self._entries.values() for entry in entries))
        return _page(response, "ImageUsageReportEntries", entries, _entry_key)

    def delete_image_usage_report(self, response: Any) -> ActionResult:
        """Forget a report."""
        self._reports.pop(response._get_param("ReportId"), None)
        self._entries.pop(response._get_param("ReportId"), None)
        return ActionResult({"Return": True})

    def _report(self, report: dict[str, Any], fault: Fault) -> None:
        sit_out(fault, self._timing.image_seconds)
        with self._lock:
            if fault.get("effect") == "fail":
                report.update(State="error", StateReason=fault.get("reason", "Internal error"))
                return
            kinds = [one["ResourceType"] for one in report["ResourceTypes"]] or USAGE_TYPES
            self._entries[report["ReportId"]] = [
                {
                    "ReportId": report["ReportId"],
                    "ImageId": report["ImageId"],
                    "Region": report["Region"],
                    "ReportCreationTime": report["CreationTime"],
                    "AccountId": use["account"],
                    "ResourceType": use["resource"],
                    "UsageCount": use.get("count", 1),
                }
                for use in self._faults.all()
                if fnmatch.fnmatchcase(report["ImageId"], use.get("usage", ""))
                and use["resource"] in kinds
                and use["account"] in (report["AccountIds"] or [use["account"]])
            ]
            report["State"] = "available"


# ---- moto's objects ------------------------------------------------------------------------------------


def _image(ec2: Any, image_id: str) -> Any:
    if image_id in ec2.deleted_amis:
        raise UnvailableAMIIdError(image_id)
    if image_id not in ec2.amis:
        raise InvalidAMIIdError(image_id)
    return ec2.amis[image_id]


def _named_image(response: Any) -> Any:
    """The image that the call names; a dry run ends here."""
    image = _image(response.ec2_backend, response._get_param("ImageId"))
    response.error_on_dryrun()
    return image


def _refuse_taken_name(ec2: Any, name: str) -> None:
    for image in ec2.amis.values():
        if image.name == name and image.owner_id == ec2.account_id:
            why = f"AMI name {name} is already in use by AMI {image.id}"
            raise EC2ClientError("InvalidAMIName.Duplicate", why)


def _refuse_protected(image: Any, now: datetime) -> None:
    cooling = image.protected_until is not None and now < image.protected_until
    if cooling or image.deregistration_protection != "disabled":
        why = f"Deregistration protection is enabled for the image {image.id}"
        raise EC2ClientError("OperationNotPermitted", why)


def _delete_snapshot(image: Any) -> dict[str, str]:
    snapshot = image.ebs_snapshot.id
    if snapshot not in image.ec2_backend.snapshots:
        return {"SnapshotId": snapshot, "ReturnCode": "client-error"}
    image.ec2_backend.delete_snapshot(snapshot)
    return {"SnapshotId": snapshot, "ReturnCode": "success"}


def _page(response: Any, name: str, items: list[Any], key: Callable[[Any], str]) -> ActionResult:
    """One page in the order of the keys, which are also the tokens: what goes meanwhile shifts nothing."""
    size, after = response._get_int_param("MaxResults"), response._get_param("NextToken")
    if not size:
        return ActionResult({name: items})
    rest = sorted((item for item in items if after is None or key(item) > after), key=key)
    token = key(rest[size - 1]) if len(rest) > size else None
    return ActionResult({name: rest[:size], "NextToken": token})


def _wanted_types(response: Any) -> dict[str, Options]:
    every = REFERENCE_TYPES if response._get_bool_param("IncludeAllResourceTypes") else ()
    wanted: dict[str, Options] = {kind: {} for kind in every}
    for one in response._get_param("ResourceTypes", []):
        options = one.get("ResourceTypeOptions", [])
        wanted[one["ResourceType"]] = {option["OptionName"]: option["OptionValues"] for option in options}
    return wanted


def _references(ec2: Any, image: str, kind: str, options: Options) -> Iterable[str]:
    """ARNs of this account's resources of one type, in the image's Region, that name it."""
    match kind:
        case "ec2:Instance":
            states = options.get("state-name")
            return (
                f"arn:aws:ec2:{ec2.region_name}:{ec2.account_id}:instance/{instance.id}"
                for instance in ec2.all_instances()
                if instance.image_id == image and (states is None or instance.state in states)
            )
        case "ec2:LaunchTemplate":
            depth = int(options.get("version-depth", [str(VERSION_DEPTH)])[0])
            return (
                f"arn:aws:ec2:{ec2.region_name}:{ec2.account_id}:launch-template/{template.id}"
                for template in ec2.launch_templates.values()
                if any(version.image_id == image for version in template.versions[-depth:])
            )
        case "ssm:Parameter":
            return (
                f"arn:aws:ssm:{ec2.region_name}:{ec2.account_id}:parameter/{name.removeprefix('/')}"
                for name, versions in ssm_backends[ec2.account_id][ec2.region_name]._parameters.items()
                if versions and versions[-1].data_type == "aws:ec2:image" and versions[-1].value == image
            )
        case _:
            return ()  # there is no Image Builder here


def _chosen(response: Any, items: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those of the call's Region, and of the images and reports that it names, if it names any."""
    images, reports = response._get_param("ImageIds", []), response._get_param("ReportIds", [])
    return [
        item
        for item in items
        if item["Region"] == response.region
        and (not images or item["ImageId"] in images)
        and (not reports or item["ReportId"] in reports)
    ]


def _pairs(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def _entry_key(entry: dict[str, Any]) -> str:
    return f"{entry['ReportId']} {entry['AccountId']} {entry['ResourceType']}"
