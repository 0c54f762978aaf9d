"""Retires images that nobody can need any more, step by step, and brings back those that somebody does."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from mayfly.aws import kill_switch
from mayfly.aws.reports import key_of
from mayfly.contract.announcements import ImageRestored, ImageRetired
from mayfly.contract.configuration import Family
from mayfly.domain import retirement
from mayfly.domain.retirement import RetirementDecision, Step
from mayfly.domain.timestamp import utc_text
from mayfly.observability import logger, metrics
from mayfly.settings import Settings, load_settings
from mayfly.workflows import inventory, outbox, reporting, retiring


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """A dry run and a real one take the same way and give the same report; only the last step is left out."""
    settings, now, dry = load_settings(), datetime.fromisoformat(event["now"]), bool(event.get("dry_run", False))
    families, wrong = inventory.families(settings)
    seen = inventory.take(settings, families, now)
    decisions, asking = seen.decide_retirements(now, settings.most_retired)
    steps, later = retirement.limit(retirement.steps(decisions), settings.most_retired)
    back = [each for each in decisions if each.step is Step.RESTORE]
    said = kill_switch.read(settings.parameters)
    report = {
        "at": event["now"],
        "counts": retirement.counts(decisions),
        "halted": f"the kill switch is on: {said}" if said != kill_switch.OFF else "",
        "restored": [shown(each) for each in back],
        "steps": [shown(each) for each in steps],
        "later": [shown(each) for each in later],
        "asked_about": [each.ami.id for each in asking],
        "left_alone": [*wrong, *seen.unseen],
    }
    kept = [shown(each) for each in decisions if each.step is Step.KEEP]
    report["key"] = key_of(now, context.aws_request_id, "retirements")
    report["unwritten"] = reporting.write_down(settings, report, {"kept": kept}, now)
    if dry:
        metrics.add_metric(name="RetirementStepsFailed", unit="Count", value=int(bool(report["unwritten"])))
        return report | {"dry_run": True, "failed": []}
    taken = [*back, *([] if report["halted"] else steps)]
    failed = act(settings, families, taken, now, context.function_name)
    inventory.ask(settings, families, asking)
    metrics.add_metric(name="RetirementStepsFailed", unit="Count", value=len(failed) + bool(report["unwritten"]))
    return report | {"dry_run": False, "failed": failed}


def act(
    settings: Settings, families: Mapping[str, Family], taken: Iterable[RetirementDecision], now: datetime, who: str
) -> list[dict[str, str]]:
    """Takes the steps, and announces each. Returns those that failed, which stop none of the others."""
    failed = []
    for each in taken:
        if error := retiring.attempt(settings, families[each.family], each, now, who):
            failed.append(shown(each) | {"error": error})
            continue
        said = ImageRestored if each.step is Step.RESTORE else ImageRetired
        outbox.say(settings, said(**shown(each), stage=retiring.DONE[each.step]), utc_text(now))
    return failed


def shown(decision: RetirementDecision) -> dict[str, str]:
    """Returns a decision for people."""
    return {
        "family": decision.family,
        "image": decision.image,
        "ami": decision.ami.id,
        "region": decision.ami.region,
        "step": decision.step.value,
        "reason": decision.reason,
    }
