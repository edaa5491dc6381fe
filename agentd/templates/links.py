"""Problems between a template and the templates that it includes, and names that it may not use."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter

from agentd.problems import did_you_mean
from agentd.templates.place import PromptProblem
from agentd.templates.source import PromptSource, Use

# Names of other languages, and what to write instead.
_FOREIGN = {
    **dict.fromkeys(["null", "nil", "undefined"], "write `none`"),
    "len": "write `… | length`",
    **dict.fromkeys(["str", "String"], "write `… | string`"),
    **dict.fromkeys(["sum", "min", "max", "int", "float", "round"], "write `… | NAME`"),
}

Members = Mapping[str, PromptSource]  # the templates of one prompt, by name


def link_problems(
    member: PromptSource,
    root: PromptSource,
    members: Members,
    known: Mapping[str, str],
    names: Collection[str] | None,
) -> Iterator[PromptProblem]:
    """The problems of `member` that can be found only together with the other templates.

    Args:
        root: the template of the prompt itself.
        known: the names of all templates of the library, with what is wrong with the file.
        names: the names that the prompt may use; None for any.
    """
    cycle = _include_cycle(members)
    for use in member.uses:
        yield from _missing(use, members, known)
        # Reported once, at the first template of the cycle, not at each of them.
        if cycle[:1] == [member.name] and cycle[1] in use.names:
            path = " -> ".join(cycle)
            yield PromptProblem(f"includes itself: {path}", use.line, cycle[1])
    taken = context_names(member, root, members)
    yield from _unknown_names(taken, names, members)
    yield from _unknown_fields(member, taken, names)


def context_names(member: PromptSource, root: PromptSource, members: Members) -> Mapping[str, int]:
    """The names that a template reads from the context, with the line of the first use."""
    # An include also sees the names that the including template sets. Which template that is can
    # differ from one use to the next, so a name that any of them sets is not reported.
    others = members.values() if member is not root or member.inherits else ()
    visible = {name for other in others for name in other.defined}
    return {name: line for name, line in member.looked_up.items() if name not in visible}


def _missing(use: Use, members: Members, known: Mapping[str, str]) -> Iterator[PromptProblem]:
    """An include that does not exist, or its macros that do not exist."""
    name = next((name for name in use.names if name in members), None)
    if name is None:
        if not use.optional:
            name = use.names[0]
            wrong, hint = known.get(name), "" if name in known else did_you_mean(name, known)
            text = f"the prompt `{name}` {wrong}" if wrong else f"there is no prompt `{name}`"
            yield PromptProblem(text, use.line, name, hint)
        return
    for macro in use.wanted:
        if macro not in members[name].defined:
            hint = did_you_mean(macro, members[name].defined)
            yield PromptProblem(f"`{name}` has no `{macro}`", use.line, macro, hint)


def _unknown_names(
    taken: Mapping[str, int], names: Collection[str] | None, members: Members
) -> Iterator[PromptProblem]:
    """Names that the prompt may not use."""
    if names is None:
        return
    defined = {name for member in members.values() for name in member.defined}
    known = {name.partition(".")[0] for name in names}
    for name, line in taken.items():
        if name not in known:
            yield unknown_name(name, known, line, defined)


def unknown_name(
    name: str, known: Collection[str], line: int, defined: Collection[str] = ()
) -> PromptProblem:
    """The problem of a name that is not `known`, nor `defined` in the template itself."""
    listed = f"the known names are {', '.join(sorted(known)) or '(none)'}"
    hint = (
        _FOREIGN.get(name, "").replace("NAME", name)
        or did_you_mean(name, {*known, *defined})
        or listed
    )
    return PromptProblem(f"unknown name `{name}`", line, name, hint)


def _unknown_fields(
    member: PromptSource, taken: Collection[str], names: Collection[str] | None
) -> Iterator[PromptProblem]:
    """Fields that do not exist, of names whose fields are fixed."""
    listed = [name for name in names or () if "." in name]
    owners = {name.partition(".")[0] for name in listed}.intersection(taken)
    for name, line in member.fields.items():
        owner, _, last = name.partition(".")
        if owner in owners and name not in listed:
            known = sorted(field for field in listed if field.startswith(f"{owner}."))
            hint = did_you_mean(name, known) or f"the known fields are {', '.join(known)}"
            yield PromptProblem(f"unknown field `{name}`", line, last, hint)


def _include_cycle(members: Members) -> list[str]:
    """The names of templates that include each other; the first is also the last. [] if none."""
    needs = {name: members.keys() & set(member.needs) for name, member in members.items()}
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        return error.args[1][::-1]
    return []
