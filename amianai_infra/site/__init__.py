"""Releasing a site: build, plan, execute, verify, roll back."""
