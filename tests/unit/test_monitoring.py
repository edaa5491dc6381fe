"""The dashboard and the alert rules in deploy/, against the metrics that there really are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from agentd.metrics import Metrics

ROOT = Path(__file__).parents[2]
DASHBOARD = json.loads((ROOT / "deploy" / "dashboard.json").read_text())
RULES = yaml.safe_load((ROOT / "deploy" / "alerts.yml").read_text())["groups"][0]["rules"]
TESTS = (ROOT / "deploy" / "alerts.test.yml").read_text()
DOCS = (ROOT / "docs" / "operations.md").read_text()

# Of Prometheus itself; and labels that it, or a scrape, gives to every metric.
_ITS_OWN = {"up"}
_SCRAPED = {"job", "instance", "le"}
_name = re.compile(r"\b(up|agentd?_(?!id\b)\w+|process_\w+)\b(?:\{([^}]*)\})?")
_label = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
_by = re.compile(r"\b(?:by|on|without) \(([^)]*)\)")


@pytest.fixture(scope="module")
def there_are() -> dict[str, set[str]]:
    """The labels of each name that a scrape can return."""
    text = Metrics().expose()[0].decode()
    kinds = dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE))
    found: dict[str, set[str]] = {}
    for name, kind in kinds.items():
        ends = ("_bucket", "_count", "_sum") if kind == "histogram" else ("",)
        for end in ends:
            found[f"{name}{end}"] = set()
    return found


def queries() -> Iterator[tuple[str, str]]:
    for rule in RULES:
        yield rule["alert"], rule["expr"]
    for panel in panels():
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


def panels() -> list[dict[str, Any]]:
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


@pytest.mark.parametrize(("place", "query"), [*queries()])
def test_every_query_asks_for_metrics_and_labels_that_there_are(
    place: str, query: str, there_are: dict[str, set[str]]
) -> None:
    assert place
    names = {name for name, _ in _name.findall(query)}
    assert names
    assert names <= there_are.keys() | _ITS_OWN
    documented = {label for name in names for label in labels_of(name)} | _SCRAPED
    used = {label for _, inside in _name.findall(query) for label in _label.findall(inside)}
    used |= {each.strip() for group in _by.findall(query) for each in group.split(",")}
    assert used <= documented


def labels_of(name: str) -> set[str]:
    """The labels of a metric, as the page of operations lists them."""
    base = re.sub(r"_(bucket|count|sum)$", "", name)
    row = next((line for line in DOCS.splitlines() if line.startswith(f"| `{base}` |")), "| | |")
    return set(re.findall(r"`(\w+)`", row.split("|")[2]))


def test_the_docs_list_every_metric(there_are: dict[str, set[str]]) -> None:
    listed = set(re.findall(r"^\| `(agentd?_\w+)` \|", DOCS, re.MULTILINE))
    names = {re.sub(r"_(bucket|count|sum)$", "", name) for name in there_are}
    assert listed == {name for name in names if name.startswith("agent")}


def test_every_alert_says_what_it_means_and_what_to_do() -> None:
    assert len({rule["alert"] for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert rule["annotations"].keys() == {"summary", "description"}


def test_every_panel_has_a_place_of_its_own() -> None:
    taken: set[tuple[int, int]] = set()
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken
        taken |= cells


def test_a_dashboard_works_with_any_data_source() -> None:
    variables = {each["name"]: each for each in DASHBOARD["templating"]["list"]}
    assert variables.keys() == {"datasource", "job"}
    for panel in panels():
        assert panel["datasource"]["uid"] == "${datasource}"
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}"
            assert 'job=~"$job"' in target["expr"]
