"""A server that may have 256 open files, and 1,000 clients that connect and say nothing.

Run by `test_http_limits.py`. It prints `served` if a request is served all the same.
"""

from __future__ import annotations

import asyncio
import resource
import sys

from serving import Wire, serving

# In a process of its own, which closes what the server has closed long ago, or closes now.
CROWD = """
import socket, sys
kept = []
for _ in range(1000):
    kept.append(socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=60))
    del kept[:-200]
"""


async def main() -> None:
    """Serves, while the crowd comes."""
    async with serving():
        pass  # everything is imported
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256 if most < 0 else min(256, most)))
    async with serving() as server:
        assert server.url
        port = server.url.rpartition(":")[2]
        crowd = await asyncio.create_subprocess_exec(sys.executable, "-c", CROWD, port)
        assert await crowd.wait() == 0
        async with Wire.to(server) as wire:
            answer = await wire.ask("GET /readyz")
        print("served" if answer.status == 200 else answer)


if __name__ == "__main__":
    asyncio.run(main())
