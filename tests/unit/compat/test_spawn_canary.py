"""Canary of the names of multiprocessing.spawn that compat/spawn.py uses."""

import json
import pickle
import subprocess
import sys

from hrm_sweep.compat import spawn

MAIN = """
from hrm_sweep.compat import spawn
import pickle, sys
name = __name__
if __name__ == "__main__":
    sys.stdout.buffer.write(pickle.dumps(spawn.preparation()))
"""
PREPARED = """
import json, pickle, sys
from hrm_sweep.compat import spawn
spawn.prepare(pickle.loads(sys.stdin.buffer.read()))
import __main__
print(json.dumps([__main__.name, sys.argv, sys.flags.dont_write_bytecode]))
"""


def test_another_process_imports_the_main_module_as_a_module(tmp_path):
    app = tmp_path / "app.py"
    app.write_text(MAIN)
    made = subprocess.run([sys.executable, str(app), "x=1"], capture_output=True, check=True)
    program = [sys.executable, "-B", "-c", PREPARED]
    done = subprocess.run(program, input=made.stdout, capture_output=True, check=True)
    assert json.loads(done.stdout) == ["__mp_main__", [str(app), "x=1"], 1]


def test_a_main_module_without_a_file_is_left_out():
    made = subprocess.run(
        [sys.executable, "-"], input=MAIN.encode(), capture_output=True, check=True
    )
    assert "init_main_from_path" not in pickle.loads(made.stdout)


def test_the_interpreter_keeps_its_options():
    script = "from hrm_sweep.compat import spawn; print(*spawn.interpreter())"
    command = [sys.executable, "-B", "-X", "utf8", "-W", "ignore", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [sys.executable, "-B", "-Wignore", "-X", "utf8"]
    assert spawn.interpreter()[0] == sys.executable
