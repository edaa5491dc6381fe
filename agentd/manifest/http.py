"""HTTP requests and OpenAPI documents, as a manifest declares them."""

from __future__ import annotations

import re
from ipaddress import ip_network
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from agentd.manifest.quantities import as_list, one_of_types
from agentd.manifest.strict_model import StrictModel


def _networks(value: Any) -> Any:
    """True or False, or the hosts and networks that are allowed although they are not public."""
    for each in value if isinstance(value, list | tuple) else ():
        if not isinstance(each, str) or not (_is_network(each) or _HOST.fullmatch(each)):
            raise ValueError("must be true, false or a list of hosts and networks", _EXAMPLE)
    return tuple(value) if isinstance(value, list) else value


def _is_network(text: str) -> bool:
    try:
        ip_network(text)  # refuses 10.0.0.1/8, whose host bits are set: probably an error
    except ValueError:
        return False
    return True


# A host name. Its last label must not be a number, or a mistyped IP address would pass as a host.
_HOST = re.compile(r"(?=.{1,253}$)(?!.*\.\d+$)[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?")
_EXAMPLE = "for example [10.0.0.0/8, wiki.internal]"

AllowPrivate = Annotated[
    Any,
    BeforeValidator(_networks),
    BeforeValidator(as_list),
    one_of_types("true, false or a list of hosts and networks", bool, str, list, tuple),
    WithJsonSchema({"type": ["boolean", "string", "array"], "items": {"type": "string"}}),
]


def allow_private() -> Any:
    """The field `allow_private`, which several kinds of tools have."""
    return Field(
        default=False,
        description="Allows requests to addresses that are not public: to all of them (`true`), "
        "or to a list of hosts and networks. Link-local addresses, where clouds hand out "
        "credentials, are allowed only if the list names them.",
        examples=[["10.0.0.0/8", "wiki.internal"]],
    )


class HttpTool(StrictModel):
    """An HTTP request that the model can make. Its texts are templates over the arguments."""

    url: str = Field(
        min_length=1,
        description="The URL. Arguments can stand in its path and its query, each as one value.",
        examples=["https://api.example.org/weather?city={{ city }}"],
    )
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = Field(
        default="GET", description="The HTTP method.", examples=["POST"]
    )
    headers: dict[str, str] = Field(
        default={},
        description="The headers of the request.",
        examples=[{"Authorization": "Bearer ${TOKEN}"}],
    )
    query: dict[str, Any] = Field(
        default={},
        description="Parameters that are added to the query. A list gives a parameter several "
        "values.",
        examples=[{"units": "{{ units }}"}],
    )
    body: Any = Field(
        default=None,
        description="The body of the request. It is sent as JSON, or in the form that the header "
        "`Content-Type` names. A text is sent unchanged.",
        examples=[{"city": "{{ city }}"}],
    )
    pick: str | None = Field(
        default=None,
        description="The path to the part of a JSON answer that the model gets. Default: all of "
        "it.",
        examples=["data.items[0].temp"],
    )
    allow_private: AllowPrivate = allow_private()


class OpenApi(StrictModel):
    """The operations of an OpenAPI 3.0 or 3.1 document. A text is short for `document`."""

    document: Annotated[Any, one_of_types("a file or a URL", str)] = Field(
        description="The name of a file, relative to the manifest, or a URL.",
        examples=["petstore.yaml"],
        json_schema_extra={"type": "string"},
    )
    base_url: str | None = Field(
        default=None,
        description="The base URL of the API, in place of the document's `servers`.",
        examples=["https://api.example.org/v1"],
    )
    headers: dict[str, str] = Field(
        default={},
        description="Headers of every request.",
        examples=[{"Authorization": "Bearer ${TOKEN}"}],
    )
    query: dict[str, str] = Field(
        default={},
        description="Query parameters of every request.",
        examples=[{"api_key": "${KEY}"}],
    )
    allow_private: AllowPrivate = allow_private()

    @property
    def url(self) -> str | None:
        """The URL of the document, or None for a file.

        The catalog replaces the name of a file in `document` by its content.
        """
        is_url = isinstance(self.document, str) and "://" in self.document
        return self.document if is_url else None
