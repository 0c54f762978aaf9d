"""Events and notifications as AWS hands them to a function."""

from typing import Any

type Json = dict[str, Any]

ACCOUNT = "111111111111"
REGION = "us-east-1"
EVENT_ID = "6a7e8feb-b491-4cf7-a9f1-bf3703467718"
MESSAGE_ID = "95df01b4-ee98-5cb9-9903-4c221d41eb5e"


def event(
    detail_type: str,
    detail: Any,
    source: str,
    account: str = ACCOUNT,
    identity: str = EVENT_ID,
    at: str = "2026-11-24T06:47:33Z",
) -> Json:
    """An event as a rule of EventBridge hands it over: of others than AWS with the time that its sender wrote."""
    return {
        "version": "0",
        "id": identity,
        "detail-type": detail_type,
        "source": source,
        "account": account,
        "time": at,
        **({} if source.startswith("aws.") else {"sent": at}),
        "region": REGION,
        "resources": [],
        "detail": detail,
    }


def notification(topic: str, text: str, identity: str = MESSAGE_ID, at: str = "2026-11-24T06:47:33.120Z") -> Json:
    """A notification as a subscription of SNS hands it over."""
    arn = f"arn:aws:sns:{REGION}:{ACCOUNT}:{topic}"
    said = {
        "Type": "Notification",
        "MessageId": identity,
        "TopicArn": arn,
        "Subject": None,
        "Message": text,
        "Timestamp": at,
        "SignatureVersion": "1",
        "Signature": "tcc6faL2yUC6dgZdmrwh1Y4cGa/ebXEkAi6RibDsvpi+tE/1+82j...65r==",
        "SigningCertUrl": f"https://sns.{REGION}.amazonaws.com/SimpleNotificationService-ac565b8b1a6c5.pem",
        "UnsubscribeUrl": f"https://sns.{REGION}.amazonaws.com/?Action=Unsubscribe&SubscriptionArn={arn}",
        "MessageAttributes": {},
    }
    subscription = f"{arn}:21be56ed-a058-49f5-8c98-aedd2564c486"
    return {
        "Records": [
            {"EventSource": "aws:sns", "EventVersion": "1.0", "EventSubscriptionArn": subscription, "Sns": said}
        ]
    }
