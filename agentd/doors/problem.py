"""A refused request as `application/problem+json` (RFC 9457)."""

from __future__ import annotations

import http

from starlette.responses import JSONResponse, Response

from agentd.doors.refusal import Refusal


def problem(refusal: Refusal) -> Response:
    """The response: `status`, `title`, `detail`, and our `code`."""
    content = {
        "status": refusal.status,
        "title": http.HTTPStatus(refusal.status).phrase,
        "code": refusal.code,
        "detail": str(refusal),
    }
    return JSONResponse(
        content, refusal.status, refusal.headers, media_type="application/problem+json"
    )
