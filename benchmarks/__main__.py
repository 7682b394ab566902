"""All benchmarks that need nothing but the standard library: ``python -m benchmarks``."""

import sys

from benchmarks import call, idle, import_time, spawn

import_time.main()
spawn.main()
call.main()
sys.exit(idle.main())
