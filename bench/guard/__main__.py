"""See bench.guard.command."""

import sys

from bench.plain import import_sources

import_sources()

from bench.guard.command import main  # noqa: E402

sys.exit(main())
