"""`python -m local_cluster`: what run_cluster.sh becomes once its libraries are installed."""

import sys

from local_cluster.cli import main

sys.exit(main())
