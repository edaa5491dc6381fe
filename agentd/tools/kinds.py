"""All kinds of tools that an agent of this process can have."""

from __future__ import annotations

from agentd.nats.bus import Bus
from agentd.protocol.subjects import Subjects
from agentd.tools.agent_tool import AgentTools
from agentd.tools.command_tool import CommandTools
from agentd.tools.http_tool import HttpTools
from agentd.tools.mcp_tool import McpServers
from agentd.tools.open import Tools
from agentd.tools.openapi_tool import OpenApiTools
from agentd.tools.python_tool import PythonTools
from agentd.tools.web.fetch import Web


def every_kind(bus: Bus, subjects: Subjects) -> Tools:
    """The tools of one process; none of them runs or connects before an agent needs it."""
    web = Web()
    return Tools(
        {
            "python": PythonTools(),
            "command": CommandTools(),
            "http": HttpTools(web),
            "openapi": OpenApiTools(web),
            "mcp": McpServers(),
            "agent": AgentTools(bus, subjects),
        }
    )
