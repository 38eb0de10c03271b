"""Say what is missing before an installer says it worse."""

import sys

if sys.version_info < (3, 11):
    sys.exit(f"Python 3.11 or newer is needed, this is {sys.version.split()[0]}. Nothing was installed.")
try:
    import ensurepip  # noqa: F401
except ImportError:
    sys.exit("Python has no ensurepip here, so no virtual environment can be made. Install python3-venv.")
