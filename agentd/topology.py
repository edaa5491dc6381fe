"""Checks the agents of a folder against each other."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from agentd.diagnose import nearest, place
from agentd.manifest_file import Draft
from agentd.problems import Problem


def contested(drafts: Mapping[str, Draft], owners: Collection[str]) -> dict[str, Problem]:
    """An error for each file whose agent has the name of another file's agent.

    Files in `owners` keep the names that they have: a copy of a manifest with the old name in it
    does not take over what runs. Otherwise the first file in the alphabet has it.
    """
    holders: dict[str, Draft] = {}
    rivals: dict[str, Problem] = {}
    for file in sorted(drafts, key=lambda file: (file not in owners, file)):
        draft = drafts[file]
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
        if domain and domain not in capabilities:
            yield place(draft.root, ("emit", "rules", index, "task")).problem(
                f"nobody here takes tasks of `{domain}`",
                hint=nearest(domain, capabilities) or "give an agent this capability",
                severity="warning",
            )
