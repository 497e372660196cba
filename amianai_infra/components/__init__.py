"""The parts of the production stack: one file a component, each a `pulumi.ComponentResource`.

The modules here do without `from __future__ import annotations`: Pulumi's component analyzer reads annotations as objects.
"""

from amianai_infra.components import leaf_imports

leaf_imports.install()
