"""What the tests of the Python package share: where the demo model is, and one copy of it, opened."""

import functools
import os
import pathlib
import warnings

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEMO = str(ROOT / "models" / "demo")
MOE8 = str(ROOT / "tests" / "data" / "models" / "stories260k-moe8")


def open_demo(**arguments):
    from moxie import Llama

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Llama(DEMO, **{"n_ctx": 1024, "verbose": False, **arguments})


@functools.lru_cache(maxsize=None)
def demo():
    return open_demo()


def wants(name):
    """Opt-in tests: MOXIE_PYTHON_ORACLE=1 runs them where the package is there."""
    if os.environ.get("MOXIE_PYTHON_ORACLE") != "1":
        return False
    try:
        __import__(name)
    except ImportError:
        return False
    return True
