"""Two agents of one name."""

from __future__ import annotations

from collections.abc import Mapping

from agentd.manifest.diagnose import place
from agentd.manifest.file import ManifestDraft
from agentd.problems import Problem


def contested(drafts: Mapping[str, ManifestDraft]) -> dict[str, Problem]:
    """An error for each file whose agent has the name of an agent in a file before it.

    The alphabet decides, not time: every replica must come to the same end from the same files.
    """
    holders: dict[str, ManifestDraft] = {}
    rivals: dict[str, Problem] = {}
    for file, draft in sorted(drafts.items()):
        if draft.manifest is None:
            continue
        holder = holders.setdefault(draft.manifest.name, draft)
        if holder is not draft:
            rivals[file] = place(draft.root, ("name",)).problem(
                f"a second agent called `{draft.manifest.name}`",
                hint=f"the first is in {holder.file}; give this one another `name`",
            )
    return rivals
