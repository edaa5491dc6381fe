"""The page in a real Chromium, on a real agentd: what people see, do, and are kept from."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from outside import Daemon, Project, projects, until
from playwright.sync_api import Browser, Page, ViewportSize, expect, sync_playwright

from agentd.doors.key_file import KeyFile
from scripts import browser as installed
from tests.waiting import PATIENCE

pytestmark = pytest.mark.timeout(4 * PATIENCE)

# A text that does harm wherever it becomes HTML, a script or the address of a link.
HOSTILE = """<img src=x onerror="hacked=1"><script>hacked=1</script>'"><svg onload=hacked=1>"""
QUESTION = f"Is this safe? {HOSTILE}"
VIEWS = [
    "",
    "ask",
    "tasks",
    "waiting",
    "letters",
    "schedules",
    "agents",
    "agents/echo",
    "costs",
    "audit",
]
WIDE: ViewportSize = {"width": 1280, "height": 800}
NARROW: ViewportSize = {"width": 375, "height": 812}
AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text()
expect.set_options(timeout=PATIENCE * 1000)


@dataclass
class Site:
    """An agentd with a page, and the keys of two people."""

    project: Project
    daemon: Daemon
    keys: dict[str, str]

    @property
    def url(self) -> str:
        return self.daemon.http

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """A request of a program with the key of `ops`."""
        data = None if body is None else json.dumps(body).encode()
        given = {"Authorization": f"Bearer {self.keys['ops']}", **headers}
        request = urllib.request.Request(self.url + path, data, given, method=method)
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return json.loads(answer.read())

    def ask(self, target: str, content: Any) -> Any:
        """Sends a task, and returns it with its result."""
        body = {"target": target, "content": content}
        return self.send("POST", "/api/tasks", body, Prefer="wait=30")


def write_agents(project: Project) -> None:
    described = json.dumps(f"Repeats {HOSTILE}")
    project.agent("echo", "model: mock/echo", f"description: {described}", "stream: true")
    project.agent("critic", "model: mock/echo", "subscribe: [result.echo.*]")
    calls = json.dumps([{"tool_calls": [{"name": "pay", "arguments": {"to": HOSTILE}}]}, "Paid."])
    tools = 'tools: [{python: "bank.py:pay", approval: true}]'
    project.agent("payer", f"model: {{name: mock/script, script: {calls}}}", tools)
    project.write("tools/bank.py", 'def pay(to: str) -> str:\n    """Pays."""\n    return to\n')
    asks = {"question": HOSTILE, "choices": ["Yes", HOSTILE]}
    script = json.dumps([{"tool_calls": [{"name": "ask_person", "arguments": asks}]}, "Thanks."])
    project.agent(
        "asker", f"model: {{name: mock/script, script: {script}}}", "tools: [{ask: person}]"
    )
    project.agent("strict", "model: mock/echo", "accepts: {type: object}")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, nats_url: str) -> Iterator[Site]:
    root = tmp_path_factory.mktemp("page")
    made = projects(root / "project", NATS_URL=nats_url, AGENTD_ENV=f"page{root.name[-8:]}")
    for project in made:
        write_agents(project)
        file = KeyFile(root / "keys.json")
        keys = {
            "ops": file.add("ops", ["ask", "read", "approve", "operate"]),
            "viewer": file.add("viewer", ["read"]),
        }
        environ = {"AGENTD_KEYS": str(file.path), "AGENTD_INDEX": str(root / "index")}
        yield Site(project, project.up(**environ).ready(), keys)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = installed.found()
    assert path, installed.MISSING
    with sync_playwright() as playwright:
        # In a container, Chromium has no sandbox of its own; it opens only our page.
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@dataclass
class Visit:
    """A person at the page. `faults` are errors of its scripts, and what its policy has refused."""

    page: Page
    faults: list[str]

    def go(self, site: Site, way: str) -> Page:
        """Opens a view, and waits until it is there."""
        self.page.goto(f"{site.url}/#/{way}")
        expect(self.page.locator("h1")).to_be_visible()
        self.page.locator(".view > *").first.wait_for(state="attached")
        return self.page


def visit(browser: Browser, site: Site, who: str) -> Visit:
    context = browser.new_context(viewport=WIDE, reduced_motion="reduce")
    context.add_init_script(
        f"if (!sessionStorage.length) sessionStorage.setItem('agentd-key', {site.keys[who]!r});"
        "globalThis.refused = [];"
        "addEventListener('securitypolicyviolation', (e) => refused.push(e.violatedDirective));"
    )
    page, faults = context.new_page(), list[str]()
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
    page.on("dialog", lambda dialog: faults.append(dialog.message))
    return Visit(page, faults)


@pytest.fixture
def ops(browser: Browser, site: Site) -> Iterator[Visit]:
    visited = visit(browser, site, "ops")
    yield visited
    assert visited.page.evaluate("[globalThis.hacked ?? 0, refused]") == [0, []]
    assert visited.faults == []
    visited.page.context.close()


def serious(page: Page) -> list[str]:
    """What axe finds that keeps people out."""
    page.evaluate(AXE)
    # Animations that have not ended have colours of their own.
    found = page.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
    return [
        f"{each['id']}: {each['nodes'][0]['html'][:200]} {each['nodes'][0]['failureSummary'][:300]}"
        for each in found
        if each["impact"] in ("serious", "critical")
    ]


@pytest.fixture(scope="module")
def filled(site: Site) -> dict[str, str]:
    """Something in every view, with hostile texts; the id of a task of each kind."""
    done = site.ask("echo", QUESTION)
    waiting = [
        site.send("POST", "/api/tasks", {"target": each, "content": "x"})["id"]
        for each in ("payer", "asker")
    ]
    later = {"target": "@echo", "content": HOSTILE}
    letter = site.send("POST", "/api/tasks", {**later, "timeout": 0.001})["id"]
    until(lambda: len(site.send("GET", "/api/approvals")["approvals"]) == 2, "two requests")
    until(lambda: site.send("GET", "/api/dead-letters")["total"], "a dead letter")
    return {"done": done["id"], "payer": waiting[0], "asker": waiting[1], "letter": letter}


@pytest.mark.parametrize("way", [*VIEWS, "tasks/done"])
def test_a_view_shows_hostile_texts_to_everybody_and_runs_none(
    ops: Visit, site: Site, filled: dict[str, str], way: str
) -> None:
    page = ops.go(site, way.replace("done", filled["done"]))
    page.wait_for_timeout(150)
    assert serious(page) == []
    page.set_viewport_size(NARROW)
    page.emulate_media(color_scheme="dark")
    page.wait_for_timeout(150)
    assert serious(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
    text = page.locator("main").inner_text()
    if way in ("waiting", "agents/echo", "tasks", "tasks/done"):
        assert "<img src=x onerror=" in text


def test_no_text_can_become_a_script(ops: Visit, site: Site) -> None:
    page = ops.go(site, "agents")
    tries = """() => {
      const found = [];
      try { document.body.innerHTML = '<p>'; found.push('html'); } catch {}
      try { setTimeout('globalThis.hacked = 1'); } catch {}
      const script = document.createElement('script');
      script.append('globalThis.hacked = 1');
      document.body.append(script);
      const link = document.createElement('a');
      link.href = 'javascript:hacked=1';
      document.body.append(link);
      link.click();
      return found;
    }"""
    assert page.evaluate(tries) == []
    page.wait_for_timeout(50)
    assert page.evaluate("globalThis.hacked") is None
    page.evaluate("refused.length = 0")  # it has refused what we tried
    ops.faults.clear()


def test_a_key_opens_the_page_and_says_what_is_on_it(browser: Browser, site: Site) -> None:
    context = browser.new_context(viewport=WIDE)
    page = context.new_page()
    page.goto(site.url)
    key = page.get_by_label("Key", exact=True)
    key.fill("agentd_wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("unknown")
    assert serious(page) == []
    key.fill(site.keys["viewer"])
    page.get_by_role("button", name="Sign in").click()
    views = page.get_by_role("navigation", name="Views")
    expect(views.get_by_role("link", name="Tasks")).to_be_visible()
    expect(views.get_by_role("link", name="Ask", exact=True)).to_have_count(0)
    page.goto(f"{site.url}/#/letters")
    expect(page.get_by_role("button", name="Drop")).to_have_count(0)
    page.reload()
    expect(views).to_be_visible()  # the key lasts as long as the tab
    assert page.evaluate("localStorage.getItem('agentd-key')") is None
    page.get_by_role("button", name="Sign out").click()
    expect(key).to_be_visible()
    context.close()


def test_an_answer_is_read_while_it_is_written_and_then_traced(ops: Visit, site: Site) -> None:
    page = ops.go(site, "ask/echo")
    page.get_by_label("Question").fill(QUESTION)
    page.keyboard.press("Enter")
    answer = page.locator(".answer")
    expect(answer.locator(".prose")).to_contain_text("<script>hacked=1</script>")
    expect(answer.get_by_text("echo", exact=True)).to_be_visible()
    answer.get_by_role("link", name=re.compile("Task")).click()
    rows = page.get_by_role("treeitem")
    expect(rows.first).to_contain_text("echo")
    # By keyboard: down to what followed from it, closed, opened again, shown.
    rows.first.focus()
    page.keyboard.press("ArrowLeft")
    expect(rows).to_have_count(1)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.get_by_role("complementary")).to_contain_text("onerror")


def test_people_decide_on_the_page(ops: Visit, site: Site) -> None:
    page = ops.go(site, "waiting")
    tasks = [
        site.send("POST", "/api/tasks", {"target": each, "content": "x"})["id"]
        for each in ("payer", "asker")
    ]
    payer, asker = (
        page.get_by_role("article").filter(has=page.locator(f"a[href='#/tasks/{task}']"))
        for task in tasks
    )
    payer.get_by_role("button", name="Edit").click()
    field = payer.get_by_role("textbox", name="Arguments of pay")
    field.fill("{")
    payer.get_by_role("button", name="Approve with these").click()
    expect(payer.get_by_role("alert")).to_contain_text("not JSON")
    field.fill('{"to": "Bob"}')
    payer.get_by_role("button", name="Approve with these").click()
    expect(payer).to_have_count(0)
    asker.get_by_role("button", name="Yes").click()
    expect(asker).to_have_count(0)
    decided = site.send("GET", f"/api/approvals/{tasks[0]}")["decisions"][0]
    assert (decided["decision"], decided["by"]) == ("edited", "ops")
    assert decided["arguments"] == {"to": "Bob"}


def test_dead_letters_come_while_one_looks_and_are_dropped(
    ops: Visit, site: Site, filled: dict[str, str]
) -> None:
    page = ops.go(site, "letters")
    letters = page.get_by_role("article")
    before = site.send("GET", "/api/dead-letters")["total"]
    expect(letters).to_have_count(before)
    site.send("POST", "/api/tasks", {"target": "@echo", "content": HOSTILE, "timeout": 0.001})
    expect(letters).to_have_count(before + 1)  # without a reload
    newest = letters.first
    newest.get_by_text("Original message").click()
    expect(newest).to_contain_text("<img src=x")
    newest.get_by_role("button", name="Drop").click()
    page.get_by_role("button", name="Cancel").click()
    expect(letters).to_have_count(before + 1)
    newest.get_by_role("button", name="Drop").click()
    page.get_by_role("button", name="Drop it").click()
    expect(letters).to_have_count(before)


def test_what_happens_is_drawn_as_it_happens(ops: Visit, site: Site) -> None:
    page = ops.go(site, "")
    page.wait_for_selector(".graph canvas")
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    site.ask("echo", "a message of now")
    feed = page.get_by_role("list", name="The newest messages")
    expect(feed.get_by_text("a message of now", exact=True)).to_be_visible()
    page.get_by_text("The same as a list").click()
    row = page.get_by_role("row", name=re.compile("critic"))
    expect(row).to_contain_text("hears result.echo")
    broken = site.project.root / "manifests/strict.yaml"
    good = broken.read_text()
    site.project.swap("manifests/strict.yaml", good + "nonsense: 1\n")
    page.goto(f"{site.url}/#/agents/strict")
    expect(page.get_by_text("The last edit was refused")).to_be_visible()
    site.project.swap("manifests/strict.yaml", good)
    expect(page.get_by_text("The last edit was refused")).to_have_count(0)


def test_from_a_wrong_answer_to_the_edit_that_caused_it(ops: Visit, site: Site) -> None:
    """The incident: an edit of a prompt, and later an answer that is wrong. At most six clicks."""
    site.ask("critic", "before")
    site.project.write("prompts/critic.md", f"You are unkind. {HOSTILE}\n")
    until(lambda: "unkind" in site.ask("critic", "judge")["result"]["data"], "the edit is live")
    site.ask("critic", "What do you think of my peculiar poem?")
    page = ops.go(site, "")
    clicks = 0

    def click(what: Any) -> None:
        nonlocal clicks
        clicks += 1
        what.click()

    click(page.get_by_role("link", name="Tasks", exact=True))
    page.get_by_role("searchbox").fill("peculiar poem")
    click(page.get_by_role("link", name=re.compile("peculiar poem")))
    click(page.get_by_role("treeitem", name=re.compile("^model")))
    sent = page.get_by_role("region", name="Message of system")
    expect(sent).to_contain_text("You are unkind.")
    click(page.get_by_role("complementary").get_by_role("link", name=re.compile("^[0-9a-f]{12}$")))
    changed = page.get_by_role("region", name="What changed in prompts/critic.md")
    expect(changed).to_contain_text("-You are critic.")
    expect(changed).to_contain_text("+You are unkind.")
    assert clicks <= 6


def test_everything_works_by_keyboard(ops: Visit, site: Site) -> None:
    page = ops.go(site, "tasks")
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.goto(f"{site.url}/#/schedules")
    expect(page.get_by_role("heading", name="Schedules")).to_be_focused()
    page.set_viewport_size(NARROW)
    menu = page.get_by_role("button", name="Menu")
    menu.press("Enter")
    expect(page.get_by_role("link", name="Costs")).to_be_visible()
    page.get_by_role("link", name="Costs").press("Escape")
    expect(menu).to_be_focused()
    expect(page.get_by_role("link", name="Costs")).to_be_hidden()


def test_the_browser_that_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("CHROMIUM", str(tmp_path / "none"))
    assert installed.main() == 1
    assert "install the package `chromium`" in capfd.readouterr().err
