"""How each engine is asked for one measurement, and what it answers."""

import json
import os
import shlex
import subprocess
from pathlib import Path
from typing import NamedTuple

SPEED_SCRIPT = Path(__file__).resolve().parent / "llama_cpp_speed.py"
HELP_SECONDS = 60


class Failure(Exception):
    """An engine that cannot be used, or a run that gave no figure; the text says why."""


class Test(NamedTuple):
    """A prompt of `prompt` tokens at once, or `generate` tokens one by one after `depth` others."""

    prompt: int
    generate: int
    depth: int

    @property
    def name(self):
        work = f"pp{self.prompt}" if self.prompt else f"tg{self.generate}"
        return f"{work} @ d{self.depth}" if self.depth else work


class Answer(NamedTuple):
    rates: list  # tokens a second, one for each repetition
    version: str  # as the engine names itself, or ""
    share: object  # of the machine's limit, where the engine measures it; else None


class Engine(NamedTuple):
    name: str
    kind: str
    program: str
    flags: list

    def command(self, model, test, threads, repetitions):
        common = ["-t", str(threads), "-r", str(repetitions), "-o", "json", *self.flags]
        work = ["-p", str(test.prompt), "-n", str(test.generate)]
        depth = ["-d", str(test.depth)] if test.depth else []
        if self.kind == "moxie":
            return [self.program, "bench", model, *work, *depth, *common]
        if self.kind == "python":
            return [self.program, str(SPEED_SCRIPT), model, *work, *depth, *common]
        if self.kind == "llama-bench with -gp" and test.depth:
            return [self.program, "-m", model, "-p", "0", "-n", "0", "-gp", f"{test.depth},{test.generate}", *common]
        return [self.program, "-m", model, *work, *depth, *common]


def kind_of(program, help_text):
    """Which command line a program has, from its own help."""
    if "python" in Path(program).name:
        return "python"
    if "n-prompt" in help_text and "n-gen" in help_text:
        return "llama-bench with -gp" if "--n-depth" not in help_text and "-gp <" in help_text else "llama-bench"
    if "moxie" in help_text:
        return "moxie"
    raise Failure(f"{program}: neither moxie, nor llama-bench, nor a Python; its --help names no -p and -n")


def help_of(program):
    try:
        run = subprocess.run([program, "--help"], capture_output=True, text=True, timeout=HELP_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as reason:
        raise Failure(f"{program}: cannot be run: {reason}") from reason
    return run.stdout + run.stderr


def parse_engine(text):
    """NAME=PROGRAM [FLAGS...], or PROGRAM [FLAGS...], which is named after its file."""
    words = shlex.split(text)
    if not words:
        raise Failure("an engine without a program; the form is NAME=PROGRAM [FLAGS]")
    name, equals, program = words[0].partition("=")
    if not equals:
        name, program = Path(words[0]).name, words[0]
    if not name or not program:
        raise Failure(f"{text!r} is no engine; the form is NAME=PROGRAM [FLAGS]")
    program = os.path.expanduser(program)
    return Engine(name, kind_of(program, help_of(program)), program, words[1:])


def _entries(text):
    """The JSON list in an engine's output, wherever it starts: some print lines before it."""
    start = text.find("[\n")
    try:
        entries = json.loads(text[start if start >= 0 else 0 :])
    except ValueError as reason:
        raise Failure(f"no JSON in the output: {text[-200:]!r}") from reason
    if not isinstance(entries, list):
        raise Failure(f"no list of measurements in the output: {text[:200]!r}")
    return entries


def parse_answer(kind, text):
    """What one measurement gave. The engine was asked for one, so it must have given one."""
    entries = _entries(text)
    if len(entries) != 1:
        raise Failure(f"{len(entries)} measurements in the output, wanted 1")
    entry = entries[0]
    rates = entry.get("tokens_per_s_all" if kind == "moxie" else "samples_ts")
    if not rates or not all(isinstance(rate, (int, float)) and rate > 0 for rate in rates):
        raise Failure(f"a measurement without rates: {json.dumps(entry)[:200]}")
    share = entry.get("share", entry.get("memory_share")) if kind == "moxie" else None
    return Answer([float(rate) for rate in rates], str(entry.get("version") or entry.get("build_commit") or ""), share)
