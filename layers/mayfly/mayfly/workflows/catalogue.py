"""Reads what a platform team configures: applications and image families in Parameter Store, blueprints in their
bucket."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError
from msgspec import ValidationError

from mayfly import contract
from mayfly.aws import parameters as parameters_of
from mayfly.aws.clients import controller, unsigned
from mayfly.aws.stacks import TEMPLATE_BODY_LIMIT, TEMPLATE_LIMIT, Template
from mayfly.contract.fields import from_json
from mayfly.contract.orders import Blueprint, Pool
from mayfly.contract.reader import Refused
from mayfly.domain import ranges
from mayfly.domain.blueprint import COUNT, IMAGE, PARAMETERS, unfit, without_value
from mayfly.domain.express import Deployment, choose, obstacles
from mayfly.domain.needs import Needs, reckon
from mayfly.settings import Settings
from mayfly.workflows import channels, puppet_access

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from mayfly.contract.configuration import Application, Family, ImageChoice
    from mayfly.contract.messages import Message

_SHOWN = 3
"""Reasons that are named of many."""


def application(parameters: str, name: str) -> Application:
    """Returns the configuration of an application.

    Raises:
        Refused: there is none, or it is wrong; each wrong field is named.
    """
    parameter = f"{parameters}/applications/{name}"
    return _read(contract.configuration.Application, parameter, _value(parameter))


def family(parameters: str, name: str) -> Family:
    """Returns the configuration of an image family.

    Raises:
        Refused: there is none, or it is wrong; each wrong field is named.
    """
    parameter = f"{parameters}/families/{name}"
    return _read(contract.configuration.Family, parameter, _value(parameter))


def admission(parameters: str) -> contract.configuration.Admission:
    """Tells how much may be built at once; without ceilings where nothing is configured.

    Raises:
        Refused: the document is wrong; each wrong field is named.
    """
    parameter = f"{parameters}/admission"
    if (value := parameters_of.get(controller("ssm"), parameter)) is None:
        return contract.configuration.Admission()
    return _read(contract.configuration.Admission, parameter, value)


def launches(parameters: str, at: tuple[str, str]) -> dict[str, int]:
    """EC2's launch rate at an account and Region, as the plans of bakes and rollouts say it. AWS's own where the
    document is wrong: that stops neither."""
    named = dict[str, contract.configuration.Launches]()
    with suppress(Refused):
        named = admission(parameters).launches
    found = named.get("/".join(at)) or contract.configuration.Launches()
    return {"burst": found.burst, "launches_a_second": found.a_second}


def pool(parameters: str, name: str | None) -> Pool | None:
    """Returns the configuration of a pool of address ranges; None where an application names none.

    Raises:
        Refused: there is none, or it is wrong; each wrong field is named.
    """
    if name is None:
        return None
    parameter = f"{parameters}/pools/{name}"
    found = _read(contract.configuration.Ranges, parameter, _value(parameter))
    return Pool(name=name, **found.model_dump())


def families(parameters: str) -> Iterator[tuple[str, Family | Refused]]:
    """Returns every configured image family, by name. One that is wrong comes as its refusal, and hides no other."""
    yield from _every(f"{parameters}/families/", contract.configuration.Family)


def applications(parameters: str) -> Iterator[tuple[str, Application | Refused]]:
    """Returns every configured application, by name. One that is wrong comes as its refusal, and hides no other."""
    yield from _every(f"{parameters}/applications/", contract.configuration.Application)


def _every[M: Message](path: str, model: type[M]) -> Iterator[tuple[str, M | Refused]]:
    for parameter, value in parameters_of.below(controller("ssm"), path):
        name = parameter.removeprefix(path)
        try:
            yield name, _read(model, parameter, value)
        except Refused as refusal:
            yield name, refusal


def _read[M: Message](model: type[M], parameter: str, value: str) -> M:
    try:
        return model.read(from_json(value))
    except ValidationError as error:
        raise Refused(f"the parameter {parameter} is wrong: {error}") from None


def target(settings: Settings, account: str | None, region: str | None) -> tuple[str, str]:
    """Tells where something configured lives: where it says, or in the controller's own account or Region.

    Raises:
        Refused: it is no configured target. What is built elsewhere, no sweep would find.
    """
    own_account, own_region, _ = settings.controller.split("/", 2)
    chosen = (account or own_account, region or own_region)
    if chosen not in settings.targets:
        known = ", ".join("/".join(target) for target in settings.targets)
        raise Refused(f"account, region: expected one of {known}, but it is {'/'.join(chosen)}")
    return chosen


def targets(settings: Settings, of: Application) -> list[tuple[str, str]]:
    """Tells where an application's environments may live, as it names them.

    Raises:
        Refused: one of them is no configured target.
    """
    if not of.targets:
        return [target(settings, of.account, of.region)]
    chosen = [(each.account, each.region) for each in of.targets]
    for number, each in enumerate(chosen):
        if each not in settings.targets:
            known = ", ".join("/".join(target) for target in settings.targets)
            raise Refused(f"targets.{number}: expected one of {known}, but it is {'/'.join(each)}")
    return chosen


def images(settings: Settings, of: Application, regions: Collection[str]) -> dict[str, str]:
    """Returns the ids that the image of an application's channel has in these Regions now.

    Raises:
        Refused: it has none in one of them.
    """
    if of.image is None:
        return {}
    if len(set(regions)) > 1 and channels.read(settings.table, of.image.family, of.image.channel).current is None:
        raise Refused(
            f"targets: expected one Region, because the image of {of.image.family}/{of.image.channel} is a parameter "
            f"and so of one Region, but they are {', '.join(dict.fromkeys(regions))}"
        )
    return {region: image(settings, of.image, region) for region in dict.fromkeys(regions)}


def image(settings: Settings, choice: ImageChoice, region: str) -> str:
    """Returns the id that the image of a channel has in a Region now.

    What Mayfly bakes has a record that says so for every Region at once; what somebody else bakes has a parameter.

    Raises:
        Refused: the family has no such channel, or the channel no image in that Region.
    """
    channel = channels.read(settings.table, choice.family, choice.channel)
    if channel.current is None:
        return _value(f"{settings.parameters}/images/{choice.family}/{choice.channel}")
    if region not in channel.current.regions:
        raise Refused(
            f"image: the channel {choice.channel} of the family {choice.family} has no image in {region}; add the "
            "Region to the family's regions, and promote an image"
        )
    return channel.current.regions[region]


def application_of(document: Any) -> Application:
    """Returns a document as an application's configuration.

    Raises:
        Refused: it is none; each wrong field is named.
    """
    try:
        return contract.configuration.Application.read(document)
    except ValidationError as error:
        raise Refused(str(error)) from None


def missing(settings: Settings, model: Application | Family) -> list[tuple[tuple[str, ...], str]]:
    """Returns what a document names and is not there, each with its place: as a release is planned."""
    found: list[tuple[tuple[str, ...], str]] = []
    looks: list[tuple[tuple[str, ...], Callable[[], object]]] = [
        (("blueprint",), lambda: pin(settings.blueprints, model.blueprint)),
    ]
    if isinstance(model, contract.configuration.Application):
        of, where = model, ("targets",) if model.targets else ("account",)
        regions = [each.region for each in of.targets] or [of.region or settings.targets[0][1]]
        looks.insert(0, (where, lambda: targets(settings, of)))
        looks.append((("image",), lambda: images(settings, of, regions)))
        looks.append((("pool",), lambda: pool(settings.parameters, of.pool)))
        looks.append((("blueprint",), lambda: found or _planned(settings, of)))
    else:
        looks.insert(0, (("account",), lambda: target(settings, model.account, model.region)))
    for place, look in looks:
        try:
            look()
        except Refused as refusal:
            found.append((place, f"{'.'.join(place)}: {refusal}"))
    return found


def _planned(settings: Settings, of: Application) -> list[Needs]:
    """Reckons what an application's environments take at each target, as a release does.

    Raises:
        Refused: they could not be planned.
    """
    places = targets(settings, of)
    built = environment(settings, of, places[0][1]) | {"pool": of.pool}
    return [needs(settings.blueprints, built | {"parameters": of.told(*place)}, place) for place in places]


def checked(settings: Settings, document: Any) -> str:
    """Returns an application's document as it is kept, if it is right and all that it names is there.

    Raises:
        Refused: it is not; each wrong field is named.
    """
    model = application_of(document)
    if absent := missing(settings, model):
        raise Refused("; ".join(why for _, why in absent))
    if len(value := as_kept(model)) > parameters_of.LONGEST:
        raise Refused(f"document: expected at most {parameters_of.LONGEST} characters, but it has {len(value)}")
    return value


def as_kept(model: Message) -> str:
    """Turns a document into what Parameter Store keeps: what was said, without what goes without saying."""
    return json.dumps(model.model_dump(mode="json", exclude_unset=True), separators=(",", ":"), ensure_ascii=False)


def _value(parameter: str) -> str:
    if (value := parameters_of.get(controller("ssm"), parameter)) is None:
        raise Refused(f"there is no parameter {parameter} in Parameter Store; put it there first")
    return value


def pin(bucket: str, key: str) -> Blueprint:
    """Pins a blueprint as it is now, with the version that makes later reads give the same.

    Raises:
        Refused: it is not there, or larger than a CreateStack call takes.
    """
    s3: S3Client = controller("s3")
    try:
        head = s3.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response["Error"]["Code"] in ("404", "NoSuchKey", "NotFound"):
            raise Refused(f"there is no blueprint {key} in the bucket {bucket}; upload it first") from None
        raise
    if head["ContentLength"] > TEMPLATE_LIMIT:
        raise Refused(
            f"the blueprint {key} has {head['ContentLength']} bytes; CloudFormation takes {TEMPLATE_LIMIT} at most: "
            "leave out comments, or move parts into nested stacks"
        )
    return Blueprint(key=key, version_id=head.get("VersionId"))


def template(bucket: str, blueprint: Blueprint) -> Template:
    """Reads a pinned blueprint: its text, and its address for CloudFormation."""
    s3: S3Client = controller("s3")
    which: Any = {"Bucket": bucket, "Key": blueprint.key}
    which |= {"VersionId": blueprint.version_id} if blueprint.version_id else {}
    text = s3.get_object(**which)["Body"].read().decode()
    if len(text.encode()) <= TEMPLATE_BODY_LIMIT:
        return Template(text)
    # CloudFormation takes the address without a signature: it reads as who asks for the stack.
    return Template(text, unsigned("s3").generate_presigned_url("get_object", Params=which))


def needs(bucket: str, order: Mapping[str, Any], target: tuple[str, str]) -> Needs:
    """Returns what one environment of a pinned blueprint takes of each quota, with the parameters of its order.

    Args:
        order: with its `blueprint`, `parameters` and `instance_count`, and its `pool` where it has one.

    Raises:
        Refused: the blueprint has a parameter that nobody gives a value there.
    """
    account, region = target
    blueprint, own = Blueprint.read(order["blueprint"]), order["parameters"]
    body = contract.template.read(template(bucket, blueprint).text)
    given = {*PARAMETERS, *own, *(ranges.PARAMETERS if order.get("pool") else ())}
    given |= {puppet_access.PARAMETER} if own.get("PuppetServer") else set()
    if lacking := without_value(body.get("Parameters") or {}, given):
        raise Refused(
            f"parameters: expected a value of {', '.join(lacking)} in {account}/{region}, because the blueprint "
            f"{blueprint.key} has no Default for it, but there is none"
        )
    told = {**own} | ({COUNT: str(order["instance_count"])} if order["instance_count"] else {})
    return reckon(body, told, region, account)


def building(
    bucket: str, key: str, own: Mapping[str, str], count: int, deployment: Deployment = "standard"
) -> dict[str, Any]:
    """Tells what an order says of its blueprint: its version, the parameters that it declares, how many instances run,
    and whether it is built in Express mode.

    Args:
        own: the parameters that are configured. count: of instances, where the blueprint lets itself be told.

    Raises:
        Refused: it cannot be read, does not declare or take one of `own`, which CloudFormation would refuse too, or is
            to be built in Express mode, which is not safe for it.
    """
    blueprint = pin(bucket, key)
    try:
        found = contract.template.read(template(bucket, blueprint).text)
        declared = tuple(found.get("Parameters") or ())
    except ValueError as error:
        raise Refused(f"the blueprint {key} cannot be read: {error}") from None
    _fitting("parameters", key, own, found.get("Parameters") or {})
    chosen = choose(deployment, found)
    if chosen is None:
        why = "; ".join(said for _, said in obstacles(found)[:_SHOWN])
        raise Refused(
            f"deployment: expected automatic or standard, because of the blueprint {key}, but it is express: {why}"
        )
    return {
        "blueprint": blueprint.plain(),
        "declared": declared,
        "express": chosen.express,
        "tells_boot": chosen.tells_boot,
        "instance_count": count if COUNT in declared else None,
    }


def _fitting(field: str, blueprint: str, own: Mapping[str, str], declared: Mapping[str, Any]) -> None:
    """Lets pass parameters that a blueprint declares and takes.

    Raises:
        Refused: it does not declare one of them, or not take its value.
    """
    if strange := sorted(set(own) - set(declared)):
        raise Refused(
            f"{field}: expected those that the blueprint {blueprint} declares ({', '.join(declared) or 'none'}), "
            f"but it does not know {', '.join(strange)}"
        )
    if wrong := "; ".join(unfit(declared, own)):
        raise Refused(f"{field}: expected what the blueprint {blueprint} takes, but {wrong}")


def environment(settings: Settings, of: Application, region: str) -> dict[str, Any]:
    """Finds what CloudFormation builds an application's environments from: the blueprint, and the image (AMI) that the
    channel points to now, if the blueprint declares ImageId.

    Raises:
        Refused: the platform team configured something wrongly.
    """
    built = building(settings.blueprints, of.blueprint, of.parameters, of.instance_count, of.deployment)
    if any(each.parameters for each in of.targets):
        text = template(settings.blueprints, Blueprint.read(built["blueprint"])).text
        for number, each in enumerate(of.targets):
            declared = contract.template.read(text).get("Parameters") or {}
            _fitting(f"targets.{number}.parameters", of.blueprint, each.parameters, declared)
    if IMAGE not in built["declared"]:
        return built | {"image": None, "channel": None}
    if of.image is None:
        raise Refused(
            f"image: expected a family and a channel, because the blueprint {of.blueprint} declares {IMAGE}, but there "
            "is none"
        )
    channel = f"{of.image.family}/{of.image.channel}"
    return built | {"image": image(settings, of.image, region), "channel": channel}
