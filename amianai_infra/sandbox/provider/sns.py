"""Simple Notification Service: topics and who hears them."""

from __future__ import annotations

from amianai_infra.sandbox.provider.properties import text
from amianai_infra.sandbox.provider.resource import Context, Inputs, Resource, State, given, tag_list, tag_map

_MISSING = ("NotFound", "NotFoundException")


class Topic(Resource):
    """`aws.sns.Topic`, a standard one; its id is its ARN."""

    token = "aws:sns/topic:Topic"
    service = "sns"
    tagged = True
    props = {"name": text(force_new=True, autoname=True), "displayName": text(), "kmsMasterKeyId": text()}
    outputs = ("arn", "owner")
    name_prop = "name"
    missing = _MISSING

    def create(self, ctx: Context, inputs: Inputs) -> str:
        attributes = given(DisplayName=inputs.get("displayName"), KmsMasterKeyId=inputs.get("kmsMasterKeyId"))
        answer = ctx.client().create_topic(
            Name=inputs["name"], **given(Attributes=attributes or None, Tags=tag_list(ctx.tags(inputs)) or None)
        )
        return str(answer["TopicArn"])

    def read(self, ctx: Context, ident: str, known: Inputs) -> State | None:
        found = ctx.client().get_topic_attributes(TopicArn=ident)["Attributes"]
        return {
            "name": ident.rpartition(":")[2],
            "displayName": found.get("DisplayName") or None,
            "kmsMasterKeyId": found.get("KmsMasterKeyId") or None,
            "arn": ident,
            "owner": found.get("Owner", ctx.account),
            "tags": tag_map(ctx.client().list_tags_for_resource(ResourceArn=ident)["Tags"]),
        }

    def update(self, ctx: Context, ident: str, old: Inputs, new: Inputs, changed: frozenset[str]) -> None:
        for prop, attribute in (("displayName", "DisplayName"), ("kmsMasterKeyId", "KmsMasterKeyId")):
            if prop in changed:
                ctx.client().set_topic_attributes(TopicArn=ident, AttributeName=attribute, AttributeValue=new.get(prop) or "")

    def delete(self, ctx: Context, ident: str, state: Inputs) -> None:
        ctx.client().delete_topic(TopicArn=ident)

    def set_tags(self, ctx: Context, ident: str, state: Inputs, tags: dict[str, str], removed: list[str]) -> None:
        if removed:
            ctx.client().untag_resource(ResourceArn=ident, TagKeys=removed)
        if tags:
            ctx.client().tag_resource(ResourceArn=ident, Tags=tag_list(tags))


class TopicSubscription(Resource):
    """`aws.sns.TopicSubscription`; its id is its ARN."""

    token = "aws:sns/topicSubscription:TopicSubscription"
    service = "sns"
    props = {
        "topic": text(required=True, force_new=True),
        "protocol": text(required=True, force_new=True),
        "endpoint": text(required=True, force_new=True),
    }
    outputs = ("arn", "ownerId", "pendingConfirmation")
    missing = _MISSING

    def create(self, ctx: Context, inputs: Inputs) -> str:
        answer = ctx.client().subscribe(
            TopicArn=inputs["topic"], Protocol=inputs["protocol"], Endpoint=inputs["endpoint"], ReturnSubscriptionArn=True
        )
        return str(answer["SubscriptionArn"])

    def read(self, ctx: Context, ident: str, known: Inputs) -> State | None:
        found = ctx.client().get_subscription_attributes(SubscriptionArn=ident)["Attributes"]
        return {
            "topic": found["TopicArn"],
            "protocol": found["Protocol"],
            "endpoint": found["Endpoint"],
            "arn": ident,
            "ownerId": found.get("Owner", ctx.account),
            "pendingConfirmation": found.get("PendingConfirmation", "false") == "true",
        }

    def delete(self, ctx: Context, ident: str, state: Inputs) -> None:
        ctx.client().unsubscribe(SubscriptionArn=ident)


RESOURCES = (Topic, TopicSubscription)
