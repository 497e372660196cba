"""Releasing a site: build, plan, upload, register, invalidate, verify, roll back."""

from amianai_infra.site.history import Listed, table
from amianai_infra.site.release import Release, compare, deploy, releases, rollback
from amianai_infra.site.texts import describe

__all__ = ["Listed", "Release", "compare", "deploy", "describe", "releases", "rollback", "table"]
