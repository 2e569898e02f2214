"""What processes tell Python's garbage collector."""

import subprocess
import sys

CODE = """
import gc
from contracts.wiring.collector import spare_collector
before = gc.get_threshold()
spare_collector()
print(gc.get_freeze_count() > 1_000, gc.get_threshold()[0] > before[0], gc.isenabled())
"""


def test_what_is_there_is_left_alone_and_what_comes_is_looked_through_less_often() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "True True True\n"
