"""EventBridge Scheduler: groups of schedules. The schedules themselves are made by commands, not by the stack."""

from __future__ import annotations

from amianai_infra.sandbox.provider.properties import text
from amianai_infra.sandbox.provider.resource import Context, Inputs, Resource, State, given, tag_list, tag_map


class ScheduleGroup(Resource):
    """`aws.scheduler.ScheduleGroup`; its id is its name."""

    token = "aws:scheduler/scheduleGroup:ScheduleGroup"
    service = "scheduler"
    tagged = True
    props = {"name": text(force_new=True, autoname=True)}
    outputs = ("arn", "creationDate", "lastModificationDate", "state")
    name_prop = "name"
    missing = ("ResourceNotFoundException",)

    def create(self, ctx: Context, inputs: Inputs) -> str:
        ctx.client().create_schedule_group(Name=inputs["name"], **given(Tags=tag_list(ctx.tags(inputs)) or None))
        return str(inputs["name"])

    def read(self, ctx: Context, ident: str, known: Inputs) -> State | None:
        found = ctx.client().get_schedule_group(Name=ident)
        return {
            "name": found["Name"],
            "arn": found["Arn"],
            "state": found["State"],
            "creationDate": found["CreationDate"].isoformat(),
            "lastModificationDate": found["LastModificationDate"].isoformat(),
            "tags": tag_map(ctx.client().list_tags_for_resource(ResourceArn=found["Arn"])["Tags"]),
        }

    def delete(self, ctx: Context, ident: str, state: Inputs) -> None:
        """With every schedule in it, as AWS does."""
        ctx.client().delete_schedule_group(Name=ident)

    def set_tags(self, ctx: Context, ident: str, state: Inputs, tags: dict[str, str], removed: list[str]) -> None:
        if removed:
            ctx.client().untag_resource(ResourceArn=state["arn"], TagKeys=removed)
        if tags:
            ctx.client().tag_resource(ResourceArn=state["arn"], Tags=tag_list(tags))


RESOURCES = (ScheduleGroup,)
