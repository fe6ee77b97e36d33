"""Build hook: adds ``api/`` to the standard wheel as the import package ``kagenti_api``.

An editable install follows the symlink ``src/kagenti_api`` instead, so that edits are live (docs/decisions/0001).
"""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ApiPackageHook(BuildHookInterface):  # type: ignore[type-arg]  # generic only in hatchling's stubs
    """Maps the folder ``api`` to ``kagenti_api`` in the standard wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # Any: hatchling's own signature
        """Extends the list of files that hatchling packs; nothing for an editable build."""
        if version == "standard":
            build_data["force_include"]["api"] = "kagenti_api"
            build_data["force_include"]["generated/crds"] = "kagenti/crds"
