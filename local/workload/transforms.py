"""The transform of SAM, by its own translator: moto takes the resources of a template as they are written."""

from __future__ import annotations

import json
from typing import Any

from moto.cloudformation.exceptions import ValidationError
from moto.cloudformation.models import Stack
from samtranslator.model.exceptions import InvalidDocumentException  # type: ignore[import-untyped]
from samtranslator.parser.parser import Parser  # type: ignore[import-untyped]
from samtranslator.translator.translator import Translator  # type: ignore[import-untyped]

SERVERLESS = "AWS::Serverless-2016-10-31"


def apply(text: str, parameters: dict[str, Any]) -> str:
    """A template with its resources as CloudFormation makes them: SAM's are translated, all others stay.

    Raises:
        ValidationError: the transform refuses it.
    """
    template = Stack.parse_template(text)
    named = template.get("Transform", [])
    if SERVERLESS not in ([named] if isinstance(named, str) else named):
        return text
    try:
        # No policy of AWS's is looked up by its name: there is no IAM to ask.
        made = Translator({}, Parser()).translate(template, {**parameters, "AWS::Region": "us-east-1"})
    except InvalidDocumentException as error:
        why = f"Transform {SERVERLESS} failed with: {error.message}"
        raise ValidationError(message=why) from None
    return json.dumps(made)
