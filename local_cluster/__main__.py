"""`python -m local_cluster`, which run_cluster.sh runs once the libraries are installed."""

import sys

from local_cluster.cli import main

sys.exit(main())
