"""What the tests of the Python package share: where the demo model is, one copy of it, opened, and a hub."""

import functools
import os
import pathlib
import subprocess
import sys
import tempfile
import warnings

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEMO = str(ROOT / "models" / "demo")
MOE8 = str(ROOT / "tests" / "data" / "models" / "stories260k-moe8")
GOLDEN = ROOT / "tests" / "data" / "golden"
PROGRAM = pathlib.Path(os.environ.get("MOXIE_PROGRAM", ROOT / "build" / "moxie"))

sys.path.insert(0, str(ROOT / "tests" / "hub"))
from hub_server import Hub  # noqa: E402, F401


def open_demo(**arguments):
    from moxie import Llama

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Llama(DEMO, **{"n_ctx": 1024, "verbose": False, **arguments})


@functools.lru_cache(maxsize=None)
def demo():
    return open_demo()


@functools.lru_cache(maxsize=None)
def _converted():
    folder = tempfile.TemporaryDirectory(prefix="moxie-python-")
    path = os.path.join(folder.name, "demo.gguf")
    subprocess.run([PROGRAM, "convert", DEMO, path, "--type", "q8_0"], check=True, capture_output=True)
    return folder, path


def demo_gguf(test):
    """The demo model as a GGUF file, which the program makes; the test is skipped without it."""
    if not PROGRAM.exists():
        test.skipTest(f"{PROGRAM} is not built")
    return _converted()[1]
