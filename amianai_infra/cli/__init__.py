"""The `amianai` command line."""
