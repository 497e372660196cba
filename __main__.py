"""What `pulumi up` runs."""

from amianai_infra.stack import program

program()
