"""Errors for agents that have the same name."""

from __future__ import annotations

from collections.abc import Mapping

from agentd.manifest.diagnose import place
from agentd.manifest.file import ManifestDraft
from agentd.problems import Problem


def name_conflicts(drafts: Mapping[str, ManifestDraft]) -> dict[str, Problem]:
    """An error for each file whose agent has the name of an agent in an earlier file.

    The order of the file names decides, and not which file came first: all replicas must come to
    the same result from the same files.
    """
    first_with_name: dict[str, ManifestDraft] = {}
    conflicts: dict[str, Problem] = {}
    for file, draft in sorted(drafts.items()):
        if draft.manifest is None:
            continue
        first = first_with_name.setdefault(draft.manifest.name, draft)
        if first is not draft:
            conflicts[file] = place(draft.root, ("name",)).problem(
                f"another agent is also called `{draft.manifest.name}`",
                hint=f"it is in {first.file}; change one `name`",
            )
    return conflicts
