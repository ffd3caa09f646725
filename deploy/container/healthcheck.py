#!/opt/reconfigure/bin/python
"""Exit code 0 while the control loop ticks; asks /healthz, which wants no token."""

import os
import sys
import urllib.error
import urllib.request

URL = f"http://127.0.0.1:{os.environ.get('RECONFIGURE_CONTROL_API__PORT', '9400')}/healthz"

try:
    with urllib.request.urlopen(URL, timeout=4) as answer:
        sys.exit(0 if answer.status == 200 else 1)
except (urllib.error.URLError, OSError) as fault:
    sys.exit(f"{URL}: {fault}")
