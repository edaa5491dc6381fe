"""The form of a refused request."""

from __future__ import annotations

import json

from agentd.doors.problem import problem
from agentd.doors.refusal import Refusal


def test_a_problem_has_status_title_code_and_detail() -> None:
    refusal = Refusal(429, "overloaded", "too many tasks wait", headers={"Retry-After": "2"})
    response = problem(refusal)
    assert response.status_code == 429
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["retry-after"] == "2"
    assert json.loads(bytes(response.body)) == {
        "status": 429,
        "title": "Too Many Requests",
        "code": "overloaded",
        "detail": "too many tasks wait",
    }
