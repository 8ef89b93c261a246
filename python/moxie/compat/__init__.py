"""Other packages' names for what moxie does. `install()` lets code that imports llama_cpp run on moxie."""

from __future__ import annotations

import sys


def install() -> None:
    """Puts moxie.compat.llama_cpp into sys.modules as llama_cpp, with the submodules that code commonly imports from.
    A llama_cpp that was imported before stays with those who hold it."""
    from . import llama_cpp

    sys.modules["llama_cpp"] = llama_cpp
    for name, module in llama_cpp.SUBMODULES.items():
        sys.modules[f"llama_cpp.{name}"] = module


def uninstall() -> None:
    """Takes install() back."""
    from . import llama_cpp

    for name in ["llama_cpp", *(f"llama_cpp.{one}" for one in llama_cpp.SUBMODULES)]:
        module = sys.modules.get(name)
        if module is llama_cpp or module in llama_cpp.SUBMODULES.values():
            del sys.modules[name]
