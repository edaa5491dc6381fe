"""Checks the agents of a folder against each other."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from agentd.diagnose import nearest, place
from agentd.manifest_file import Draft
from agentd.problems import Problem


def contested(drafts: Mapping[str, Draft]) -> dict[str, Problem]:
    """An error for each file whose agent has the name of an agent in a file before it.

    The alphabet decides, not time: every replica must come to the same end from the same files.
    """
    holders: dict[str, Draft] = {}
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


def untaken(draft: Draft, capabilities: Collection[str]) -> Iterator[Problem]:
    """A warning for each task that `draft` emits in a domain that is none of `capabilities`.

    An agent in another process may take the work, so it is no error.
    """
    rules = draft.manifest.emit.rules if draft.manifest else ()
    for index, rule in enumerate(rules):
        domain = (rule.task or "").partition(".")[0]
        if domain and domain not in capabilities and rule.target is None:
            yield place(draft.root, ("emit", "rules", index, "task")).problem(
                f"nobody here takes tasks of `{domain}`",
                hint=nearest(domain, capabilities) or "give an agent this capability",
                severity="warning",
            )
