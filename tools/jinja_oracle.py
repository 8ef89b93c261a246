"""Jinja2 set up as the library transformers sets it up for chat templates, with a clock that stands still."""
import functools
import json
from datetime import datetime

import jinja2
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

NOW = datetime(2025, 3, 4, 5, 6, 7)


class Generation(Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller):
        return caller()


class Dict:
    def __call__(self, *args, **kwargs):
        return dict(*args, **kwargs)


class Namespace(jinja2.utils.Namespace):
    def __init__(*args, **kwargs):
        self, args = args[0], args[1:]
        attributes = dict(*args, **kwargs)
        for name in attributes:
            if isinstance(name, str) and name.startswith("_"):
                raise jinja2.exceptions.SecurityError(name)
        jinja2.utils.Namespace.__init__(self, attributes)


class Refused(Exception):
    pass


def raise_exception(message):
    raise Refused(str(message))


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def environment():
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
    env.filters["tojson"] = tojson
    env.globals.update(raise_exception=raise_exception, strftime_now=NOW.strftime, dict=Dict(), namespace=Namespace)
    return env


ENVIRONMENT = environment()


@functools.lru_cache(maxsize=256)
def compiled(template):
    return ENVIRONMENT.from_string(template)


def render(template, variables):
    """{"output": text}, {"refused": message} for raise_exception, or {"error": kind}."""
    try:
        return {"output": compiled(template).render(**variables)}
    except Refused as refusal:
        return {"refused": str(refusal)}
    except Exception as error:  # whatever a template may provoke
        return {"error": type(error).__name__}
