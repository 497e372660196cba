"""CloudWatch: alarms on one metric."""

from __future__ import annotations

from amianai_infra.sandbox.provider.properties import Problem, flag, mapping, number, text, text_set
from amianai_infra.sandbox.provider.resource import Context, Inputs, Resource, State, given, tag_list, tag_map

_COMPARISONS = (
    "GreaterThanOrEqualToThreshold",
    "GreaterThanThreshold",
    "LessThanThreshold",
    "LessThanOrEqualToThreshold",
)
_NEEDED = ("comparisonOperator", "evaluationPeriods", "metricName", "namespace", "period", "statistic", "threshold")


class MetricAlarm(Resource):
    """`aws.cloudwatch.MetricAlarm` with a static threshold; its id is its name."""

    token = "aws:cloudwatch/metricAlarm:MetricAlarm"
    service = "cloudwatch"
    tagged = True
    props = {
        "name": text(force_new=True, autoname=True),
        "alarmDescription": text(),
        "comparisonOperator": text(choices=_COMPARISONS),
        "evaluationPeriods": number(),
        "metricName": text(),
        "namespace": text(),
        "period": number(),
        "statistic": text(choices=("SampleCount", "Average", "Sum", "Minimum", "Maximum")),
        "threshold": number(),
        "dimensions": mapping(),
        "treatMissingData": text(default="missing", choices=("breaching", "notBreaching", "ignore", "missing")),
        "actionsEnabled": flag(default=True),
        "alarmActions": text_set(),
        "okActions": text_set(),
        "insufficientDataActions": text_set(),
    }
    outputs = ("arn",)
    name_prop = "name"
    missing = ("ResourceNotFound", "ResourceNotFoundException")

    def check(self, inputs: Inputs) -> list[Problem]:
        return [Problem(name, f"an alarm on a metric needs {name}") for name in _NEEDED if inputs.get(name) is None]

    def create(self, ctx: Context, inputs: Inputs) -> str:
        self._put(ctx, inputs, Tags=tag_list(ctx.tags(inputs)) or None)
        return str(inputs["name"])

    @staticmethod
    def _put(ctx: Context, inputs: Inputs, **more: object) -> None:
        dimensions = [{"Name": name, "Value": value} for name, value in sorted(inputs.get("dimensions", {}).items())]
        ctx.client().put_metric_alarm(
            AlarmName=inputs["name"],
            ComparisonOperator=inputs["comparisonOperator"],
            EvaluationPeriods=int(inputs["evaluationPeriods"]),
            MetricName=inputs["metricName"],
            Namespace=inputs["namespace"],
            Period=int(inputs["period"]),
            Statistic=inputs["statistic"],
            Threshold=float(inputs["threshold"]),
            TreatMissingData=inputs["treatMissingData"],
            ActionsEnabled=inputs["actionsEnabled"],
            Dimensions=dimensions,
            AlarmActions=inputs.get("alarmActions", []),
            OKActions=inputs.get("okActions", []),
            InsufficientDataActions=inputs.get("insufficientDataActions", []),
            **given(AlarmDescription=inputs.get("alarmDescription"), **more),
        )

    def read(self, ctx: Context, ident: str, known: Inputs) -> State | None:
        alarms = ctx.client().describe_alarms(AlarmNames=[ident], AlarmTypes=["MetricAlarm"])["MetricAlarms"]
        if not alarms:
            return None
        found = alarms[0]
        return {
            "name": found["AlarmName"],
            "alarmDescription": found.get("AlarmDescription"),
            "comparisonOperator": found["ComparisonOperator"],
            "evaluationPeriods": found["EvaluationPeriods"],
            "metricName": found.get("MetricName"),
            "namespace": found.get("Namespace"),
            "period": found.get("Period"),
            "statistic": found.get("Statistic"),
            "threshold": found.get("Threshold"),
            "dimensions": {one["Name"]: one["Value"] for one in found.get("Dimensions", [])},
            "treatMissingData": found.get("TreatMissingData", "missing"),
            "actionsEnabled": found.get("ActionsEnabled", True),
            "alarmActions": found.get("AlarmActions", []),
            "okActions": found.get("OKActions", []),
            "insufficientDataActions": found.get("InsufficientDataActions", []),
            "arn": found["AlarmArn"],
            "tags": tag_map(ctx.client().list_tags_for_resource(ResourceARN=found["AlarmArn"])["Tags"]),
        }

    def update(self, ctx: Context, ident: str, old: Inputs, new: Inputs, changed: frozenset[str]) -> None:
        self._put(ctx, new)

    def delete(self, ctx: Context, ident: str, state: Inputs) -> None:
        ctx.client().delete_alarms(AlarmNames=[ident])

    def set_tags(self, ctx: Context, ident: str, state: Inputs, tags: dict[str, str], removed: list[str]) -> None:
        if removed:
            ctx.client().untag_resource(ResourceARN=state["arn"], TagKeys=removed)
        if tags:
            ctx.client().tag_resource(ResourceARN=state["arn"], Tags=tag_list(tags))


RESOURCES = (MetricAlarm,)
