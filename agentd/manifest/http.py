"""Requests that a model can make, as a manifest declares them."""

from __future__ import annotations

import re
from ipaddress import ip_network
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from agentd.manifest.quantities import as_list, one_of_types
from agentd.manifest.strict_model import StrictModel


def _networks(value: Any) -> Any:
    """True, or the hosts and networks that may be reached though they are not public."""
    for each in value if isinstance(value, list | tuple) else ():
        if not isinstance(each, str) or not (_is_network(each) or _HOST.fullmatch(each)):
            raise ValueError("must be true or a list of hosts and networks", _PRIVATE_FORMS)
    return tuple(value) if isinstance(value, list) else value


def _is_network(text: str) -> bool:
    try:
        ip_network(text)
    except ValueError:
        return False
    return True


_HOST = re.compile(r"(?=.{1,253}$)(?!.*\.\d+$)[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?")
_PRIVATE_FORMS = "for example [10.0.0.0/8, wiki.internal]"

AllowPrivate = Annotated[
    Any,
    BeforeValidator(_networks),
    BeforeValidator(as_list),
    one_of_types("true, false or a list of hosts and networks", bool, str, list, tuple),
    WithJsonSchema({"type": ["boolean", "array"], "items": {"type": "string"}}),
]


def allow_private() -> Any:
    """The field that lets a tool reach addresses that are not public."""
    return Field(
        default=False,
        description="Lets it reach addresses that are not public: all of them, or these hosts and "
        "networks. Link-local addresses, where clouds hand out credentials, must be named.",
        examples=[["10.0.0.0/8", "wiki.internal"]],
    )


class HttpTool(StrictModel):
    """A request that the model can make; its texts may hold `{{ arguments }}`."""

    url: str = Field(
        min_length=1,
        description="The address. Arguments stand in its path or query, each as one value.",
        examples=["https://api.example.org/weather?city={{ city }}"],
    )
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = Field(
        default="GET", description="The HTTP method.", examples=["POST"]
    )
    headers: dict[str, str] = Field(
        default={}, description="Headers.", examples=[{"Authorization": "Bearer ${TOKEN}"}]
    )
    query: dict[str, Any] = Field(
        default={},
        description="More of the query, name by name; a list gives several of one name.",
        examples=[{"units": "{{ units }}"}],
    )
    body: Any = Field(
        default=None,
        description="The body, sent as JSON, or as the header `Content-Type` says; a text is sent "
        "as it is.",
        examples=[{"city": "{{ city }}"}],
    )
    pick: str | None = Field(
        default=None,
        description="The path to the part of the answer that counts.",
        examples=["data.items[0].temp"],
    )
    allow_private: AllowPrivate = allow_private()


class OpenApi(StrictModel):
    """The operations of an OpenAPI document, 3.0 or 3.1. Its name alone will do."""

    document: Annotated[Any, one_of_types("a file or a URL", str)] = Field(
        description="A file beside the manifest, or the URL of one.",
        examples=["petstore.yaml"],
        json_schema_extra={"type": "string"},
    )
    base_url: str | None = Field(
        default=None,
        description="Where the API is, in place of the document's `servers`.",
        examples=["https://api.example.org/v1"],
    )
    headers: dict[str, str] = Field(
        default={},
        description="Headers of every request.",
        examples=[{"Authorization": "Bearer ${TOKEN}"}],
    )
    query: dict[str, str] = Field(
        default={}, description="A part of every query.", examples=[{"api_key": "${KEY}"}]
    )
    allow_private: AllowPrivate = allow_private()

    @property
    def url(self) -> str | None:
        """Where the document is, unless it is a file: then its content stands in `document`."""
        is_url = isinstance(self.document, str) and "://" in self.document
        return self.document if is_url else None
