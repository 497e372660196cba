"""Simple Queue Service: standard queues."""

from __future__ import annotations

from typing import Any

from amianai_infra.sandbox.provider.properties import flag, number, text
from amianai_infra.sandbox.provider.resource import Context, Inputs, Resource, State, given

# Input -> attribute of the queue.
_ATTRIBUTES = {
    "delaySeconds": "DelaySeconds",
    "messageRetentionSeconds": "MessageRetentionPeriod",
    "receiveWaitTimeSeconds": "ReceiveMessageWaitTimeSeconds",
    "visibilityTimeoutSeconds": "VisibilityTimeout",
}


class Queue(Resource):
    """`aws.sqs.Queue`, a standard one; its id is its URL."""

    token = "aws:sqs/queue:Queue"
    service = "sqs"
    tagged = True
    props = {
        "name": text(force_new=True, autoname=True),
        "delaySeconds": number(default=0),
        "messageRetentionSeconds": number(default=345_600),
        "receiveWaitTimeSeconds": number(default=0),
        "visibilityTimeoutSeconds": number(default=30),
        "sqsManagedSseEnabled": flag(computed=True),
    }
    outputs = ("arn", "url")
    name_prop = "name"
    missing = ("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist")

    def create(self, ctx: Context, inputs: Inputs) -> str:
        answer = ctx.client().create_queue(
            QueueName=inputs["name"], Attributes=self._attributes(inputs), **given(tags=ctx.tags(inputs) or None)
        )
        return str(answer["QueueUrl"])

    @staticmethod
    def _attributes(inputs: Inputs) -> dict[str, str]:
        found = {attribute: str(int(inputs[name])) for name, attribute in _ATTRIBUTES.items()}
        if inputs.get("sqsManagedSseEnabled") is not None:
            found["SqsManagedSseEnabled"] = "true" if inputs["sqsManagedSseEnabled"] else "false"
        return found

    def read(self, ctx: Context, ident: str, known: Inputs) -> State | None:
        found: dict[str, Any] = ctx.client().get_queue_attributes(QueueUrl=ident, AttributeNames=["All"])["Attributes"]
        return {
            "name": ident.rpartition("/")[2],
            **{name: int(found[attribute]) for name, attribute in _ATTRIBUTES.items()},
            # A queue that was told nothing is encrypted by the service.
            "sqsManagedSseEnabled": found.get("SqsManagedSseEnabled", "true") == "true",
            "arn": found["QueueArn"],
            "url": ident,
            "tags": ctx.client().list_queue_tags(QueueUrl=ident).get("Tags", {}),
        }

    def update(self, ctx: Context, ident: str, old: Inputs, new: Inputs, changed: frozenset[str]) -> None:
        ctx.client().set_queue_attributes(QueueUrl=ident, Attributes=self._attributes(new))

    def delete(self, ctx: Context, ident: str, state: Inputs) -> None:
        ctx.client().delete_queue(QueueUrl=ident)

    def set_tags(self, ctx: Context, ident: str, state: Inputs, tags: dict[str, str], removed: list[str]) -> None:
        if removed:
            ctx.client().untag_queue(QueueUrl=ident, TagKeys=removed)
        if tags:
            ctx.client().tag_queue(QueueUrl=ident, Tags=tags)


RESOURCES = (Queue,)
