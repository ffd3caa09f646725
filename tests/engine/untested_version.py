"""An engine host that takes the installed vLLM for a release that nobody has tested.

python -m tests.engine.untested_version --config ... --runtime ...
"""

from __future__ import annotations

import sys

from reconfigure_daemon.engine_host import vllm_names
from reconfigure_daemon.engine_host.__main__ import main

if __name__ == "__main__":
    vllm_names.TESTED_VERSIONS = ("0.1.",)
    sys.exit(main())
