"""The container's health check: ends with 0 when agentd is ready for work."""

import os
import sys
from urllib.request import ProxyHandler, build_opener

port = os.environ["AGENTD_HTTP"].rpartition(":")[2]
direct = build_opener(ProxyHandler({}))  # whatever proxies the environment names
try:
    direct.open(f"http://127.0.0.1:{port}/readyz", timeout=2).close()
except OSError as error:
    sys.exit(str(error))
