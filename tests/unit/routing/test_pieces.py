"""What a reader has of an answer: every order of pieces that NATS may give."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from agentd.errors import DecodeError, UsageError
from agentd.protocol.message import AgentIdentity, AgentMessage, encode, new
from agentd.routing.pieces import AnswerReader, Piece, Restart, Step

TASK = new("task", "hi", source=AgentIdentity(id="you"), id="t")
AGENT = AgentIdentity(id="a")


def piece(run: str, number: int, text: str = "x", *, final: bool = False) -> Piece:
    return Piece(message=f"{run}-{number}", run=run, number=number, text=text, final=final)


def result(data: Any, *, success: bool = True) -> AgentMessage:
    return TASK.reply("result", {"success": success, "data": data}, source=AGENT)


class Client:
    """Keeps what it gets as the rule for readers says."""

    def __init__(self) -> None:
        self.text, self.place, self.restarts = "", "", 0

    def take(self, steps: Iterable[Step]) -> None:
        for step in steps:
            if isinstance(step, Restart):
                self.text, self.restarts = "", self.restarts + 1
            else:
                self.text += step.text
            self.place = step.cursor


def test_the_id_of_a_delta_names_its_run() -> None:
    delta = TASK.delta("Hel", 3, turn=1, final=False, source=AGENT, run="r1")
    assert Piece.parse(encode(delta)) == piece("r1", 3, "Hel")
    assert Piece.parse(b'{"id": "x-y", "payload": {"sequenceNumber": 1}}').run == ""


@pytest.mark.parametrize(
    "body", [{}, {"sequenceNumber": "1"}, {"sequenceNumber": -1}, {"sequenceNumber": 1, "chunk": 2}]
)
def test_what_is_no_delta_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(DecodeError):
        Piece.parse(json.dumps({"payload": body}).encode())


def test_a_place_that_nobody_gave_is_refused() -> None:
    for after in ("x", "r-", "r-1-", "r/-1", "r-" + "9" * 10, "r" * 65 + "-1"):
        with pytest.raises(UsageError, match="no place in a stream"):
            AnswerReader(after)


def test_the_rest_of_an_answer_is_given_once() -> None:
    client, reader = Client(), AnswerReader()
    client.take(reader.take(piece("r", 0, "One ")))
    client.take(reader.end(result("One two.")))
    assert (client.text, client.restarts, client.place) == ("One two.", 0, "r-end")
    # The client lost its connection between the rest and the result.
    client.take((again := AnswerReader(client.place)).catch_up([piece("r", 0, "One ")]))
    client.take(again.end(result("One two.")))
    assert (client.text, client.restarts) == ("One two.", 0)


@pytest.mark.parametrize(
    ("data", "text", "restarts"),
    [("One two.", "One two.", 0), ("Uno.", "", 1), ("One", "", 1), ({"a": 1}, "", 1)],
)
def test_pieces_without_an_end_are_compared_with_the_answer(
    data: Any, text: str, restarts: int
) -> None:
    client, reader = Client(), AnswerReader()
    client.take(reader.take(piece("r", 0, "One ")))
    client.take(reader.end(result(data)))
    assert (client.text, client.restarts) == (text, restarts)


def test_pieces_of_an_answer_with_another_form_stay_if_all_came() -> None:
    client, reader = Client(), AnswerReader()
    client.take(reader.take(piece("r", 0, '{"a": 1}')))
    client.take(reader.take(piece("r", 1, "", final=True)))
    client.take(reader.end(result({"a": 1})))
    assert (client.text, client.restarts) == ('{"a": 1}', 0)


def test_the_pieces_of_a_failed_task_stay() -> None:
    client, reader = Client(), AnswerReader()
    client.take(reader.take(piece("r", 0, "One ")))
    client.take(reader.end(result(None, success=False)))
    assert (client.text, client.restarts) == ("One ", 0)


def test_a_client_whose_pieces_nobody_has_takes_the_result() -> None:
    client, reader = Client(), AnswerReader("r-5")
    client.take(reader.catch_up([]))
    client.take(reader.end(result("One two.")))
    assert (client.text, client.restarts) == ("", 1)


def test_a_stranger_who_begins_a_thousand_runs_costs_no_memory() -> None:
    reader = AnswerReader()
    for number in range(1000):
        list(reader.take(piece(f"r{number}", 0)))
        list(reader.lose(f"s{number}"))
    assert len(reader._over) <= 64  # pyright: ignore[reportPrivateUsage]


class Life:
    """A task in random order: runs that are repeated or mixed, pieces lost on the way, clients that
    come back elsewhere, a record that has lost its beginning."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.record: list[Piece] = []
        self.client = Client()
        self.reader = AnswerReader()
        self.read_to = 0
        self.runs: dict[str, list[Piece]] = {}

    def live(self) -> str:
        chance = self.random.random
        for step in range(self.random.randint(1, 40)):
            if not self.runs or chance() < 0.12:
                self.runs[f"run{step}"] = []
            run = self.random.choice(list(self.runs)[-2:])
            self._publish(run, final=False)
            if chance() < 0.1:
                self._reconnect()
            shown, texts = self.client.text, map(_text, self.runs.values())
            assert any(text.startswith(shown) for text in texts), "pieces are mixed"
            if chance() < 0.05:
                del self.record[: self.random.randint(0, len(self.record))]
                self.read_to = 0
        winner = list(self.runs)[-1]
        self._publish(winner, final=True)
        return _text(self.runs[winner])

    def _publish(self, run: str, *, final: bool) -> None:
        text = self.random.choice(["a", "bb", "", "ccc"])
        new_piece = piece(run, len(self.runs[run]), text, final=final)
        self.runs[run].append(new_piece)
        if self.random.random() < 0.95:
            self.record.append(new_piece)
        if self.random.random() < 0.8:  # core NATS delivers it
            self._receive(new_piece)

    def _receive(self, received: Piece) -> None:
        if self.reader.relation(received) == "gap":
            self._catch_up()
        if self.reader.relation(received) == "gap":
            self.client.take(self.reader.lose(received.run))
        self.client.take(self.reader.take(received))

    def _catch_up(self) -> None:
        unread: Sequence[Piece] = self.record[self.read_to :]
        self.read_to = len(self.record)
        self.client.take(self.reader.catch_up(unread))

    def _reconnect(self) -> None:
        self.reader, self.read_to = AnswerReader(self.client.place), 0
        self._catch_up()


def _text(pieces: Iterable[Piece]) -> str:
    return "".join(each.text for each in pieces)


@pytest.mark.parametrize("block", range(4))
def test_a_client_ends_with_the_whole_answer_or_none_of_it(block: int) -> None:
    whole = 0
    for seed in range(block * 100, block * 100 + 100):
        life = Life(seed)
        answer = life.live()
        life.client.take(life.reader.end(result(answer)))
        assert life.client.text in (answer, ""), f"seed {seed}"
        whole += life.client.text == answer
    assert whole > 50, "most clients need no result"
