"""Errors for names that only one agent can have: its own, and those of its webhooks."""

from __future__ import annotations

from collections.abc import Mapping

from agentd.manifest.agent import Manifest
from agentd.manifest.diagnose import place
from agentd.manifest.file import ManifestDraft
from agentd.problems import Problem


def name_conflicts(drafts: Mapping[str, ManifestDraft]) -> dict[str, Problem]:
    """An error for each file whose agent has the name, or a webhook, of one in an earlier file.

    The order of the file names decides, and not which file came first: all replicas must come to
    the same result from the same files.
    """
    first_with_name: dict[str, ManifestDraft] = {}
    first_with_webhook: dict[str, ManifestDraft] = {}
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
        elif problem := _webhook_conflict(draft, draft.manifest, first_with_webhook):
            conflicts[file] = problem
    return conflicts


def _webhook_conflict(
    draft: ManifestDraft, manifest: Manifest, first_with: dict[str, ManifestDraft]
) -> Problem | None:
    """An error for a webhook that an earlier file has: one path can start one task."""
    for index, trigger in enumerate(manifest.triggers):
        if trigger.webhook is None:
            continue
        first = first_with.setdefault(trigger.webhook, draft)
        if first is not draft:
            return place(draft.root, ("triggers", index, "webhook")).problem(
                f"another agent also has the webhook `{trigger.webhook}`",
                hint=f"it is in {first.file}; change one of the names",
            )
    return None
