#!/usr/bin/env python3
"""Writes tests/data/templates/cases.jsonl: small templates, and what Jinja2 makes of them when it is set up as transformers does.

One line a case: {"group", "template", "variables", "output"} or, where Jinja2 raises, {"error": the kind of exception}. Needs jinja2.
The snippets below are the source; run this again after changing them.
"""
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from jinja_oracle import render  # noqa: E402

VARIABLES = {
    "n": 5, "big": 12345678901234567890, "x": 1.5, "t": True, "f": False, "nothing": None, "empty": "", "word": "Hello World",
    "wide": "Größe – 日本語 😀", "html": "<b a='1'>\"&\"</b>", "lines": "one\n  two\r\nthree\n\n", "list": [3, 1, 2], "mixed": [1, "a", None, True, 2.5],
    "nested": [[1, [2, 3]], {"a": [4]}], "dict": {"b": 1, "a": 2, "C": 3}, "items": {"items": 1, "get": 2},
    "users": [{"name": "Zoe", "age": 30, "tags": ["x"]}, {"name": "adam", "age": 25, "tags": []}, {"name": "Bob", "age": 30}],
    "messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "U\n"}, {"role": "assistant", "content": None}],
    "tree": [{"v": 1, "kids": [{"v": 2, "kids": []}, {"v": 3, "kids": [{"v": 4, "kids": []}]}]}],
}

CASES = {
    "text and white space": r"""
plain text
a{{ n }}b
a {{- n -}} b
a {{+ n }} b
a  {%- if t %}  x  {%- endif %}  b
a  {%+ if t %}  x  {%+ endif %}  b
{# note #}a{#- note -#}  b
a
  {% if t %}
  x
  {% endif %}
b
---
  {% set y = 1 %}  text
---
{% if t %}
one
{%- endif %}
two
---
  {# c #}
x
---
{% raw %}{{ n }}{% if %}{% endraw %} after
---
a  {%- raw -%}  {{ x }}  {%- endraw -%}  b
---
a
{% raw %}
b
{% endraw %}
c
---
{{ n }}
---
{{ n }}

---
{%- if t -%}
  x
{%- endif -%}
---
{{ "\t" }}{% if t %}tab{% endif %}
---
{% if t +%}
kept newline
{% endif +%}
end
---
x {{ "}}" }} {{ '%}' }} {{ "{{" }}
---
{{ {'a': {'b': 1}}['a']['b'] }}{{ {}}}
""",
    "literals": r"""
{{ 1 }} {{ 1.0 }} {{ 1e3 }} {{ 1.5e-7 }} {{ 0x1F }} {{ 0b101 }} {{ 0o17 }} {{ 1_000 }} {{ 1_0.5 }}
{{ 1e16 }} {{ 123456789012345680.0 }} {{ 1e15 }} {{ 0.0001 }} {{ 0.00001 }} {{ 1/3 }} {{ 1e300 * 1e10 }} {{ -0.0 }} {{ 100.0 }}
{{ true }} {{ True }} {{ false }} {{ none }} {{ None }}
{{ "a\nb\t\"\\\x41\u00e9\U0001F600\101" }}|{{ 'it''s' }}|{{ "\d\q" }}|{{ 'a' "b" }}
{{ [1, 'a', none, true, 1.5, [], {}, (), (1,), (1, 2)] }}
{{ {'a': 1, 1: 'b', none: 2, (1, 2): 3} }}
{{ "it's" ~ ['it\'s', 'say "x"', 'both \' "'] }}
{{ ['\n', '\t', '\x00', '\x7f', 'é', '\u200b', '😀', '\u2028'] }}
{{ (1, 2)[0] }} {{ () }} {{ (1) }} {{ [1, 2,] }} {{ {'a': 1,} }}
{{ {'a': 1, 'a': 2} }} {{ {1: 'x', true: 'y', 1.0: 'z'} }}
{{ 1, 2 }}
{{ }}
""",
    "arithmetic": r"""
{{ 1 + 2 * 3 - 4 }} {{ 7 / 2 }} {{ 7 // 2 }} {{ -7 // 2 }} {{ 7 % 3 }} {{ -7 % 3 }} {{ 7 % -3 }} {{ 2 ** 10 }} {{ 2 ** -1 }} {{ 2 ** 0.5 }}
{{ 6 / 3 }} {{ 7.5 // 2 }} {{ -7.5 % 2 }} {{ 7.5 % -2 }} {{ 1e308 * 10 }} {{ 5.0 // 0.3 }} {{ -0.0 // 1 }}
{{ -n }} {{ +n }} {{ - -n }} {{ -2 ** 2 }} {{ 2 ** 3 ** 2 }} {{ -n|abs }} {{ (-n)|abs }}
{{ t + 1 }} {{ true + true }} {{ true * 3 }} {{ -true }} {{ +true }}
{{ "ab" * 3 }}{{ 2 * "x" }}{{ [1] * 3 }}{{ (1,) * 2 }}{{ "a" * -1 }}{{ "a" * 0 }}
{{ "a" + "b" }}{{ [1] + [2] }}{{ (1,) + (2,) }}
{{ big + 1 }} {{ big * 2 }} {{ 9223372036854775807 + 1 }}
{{ "%s is %d and %.2f%%" % ("x", 3, 2.5) }} {{ "%05d|%-5s|%5s|%+d|%x|%X|%o|%e|%g|%c|%r" % (42, "a", "b", 3, 255, 255, 8, 12345.678, 0.00001, "z", "q") }}
{{ "%(a)s-%(b)03d" % {"a": 1, "b": 2} }} {{ "%s" % none }} {{ "%s" % [1, 2] }} {{ "100%%" % () }} {{ "%5.1f|%s" % (3.14159, true) }}
{{ 1 + "a" }}
---
{{ "a" + 1 }}
---
{{ none + 1 }}
---
{{ missing + 1 }}
---
{{ 1 / 0 }}
---
{{ 1 % 0 }}
---
{{ [1] + (2,) }}
---
{{ "%d" % "x" }}
---
{{ "%s %s" % ("a",) }}
---
{{ "%s" % ("a", "b") }}
---
{{ -"a" }}
---
{{ {} + {} }}
---
{{ n ~ "a" ~ 1.5 ~ none ~ [1] ~ missing ~ true }} {{ 1 ~ 2 + 3 }}
""",
    "comparison and logic": r"""
{{ 1 < 2 }} {{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 1 == 1.0 }} {{ 1 == true }} {{ "a" < "b" }} {{ "a" == 'a' }} {{ [1, 2] < [1, 3] }} {{ (1,) < (1, 0) }} {{ 2 >= 2 }} {{ 2 != 3 }} {{ "Z" < "a" }}
{{ [1] == [1.0] }} {{ {'a': 1} == {'a': true} }} {{ [1] == (1,) }} {{ none == none }} {{ none == false }} {{ "1" == 1 }} {{ missing == other }} {{ missing == none }}
{{ "ell" in "Hello" }} {{ "" in "" }} {{ 1 in [1, 2] }} {{ "a" in {"a": 1} }} {{ 3 not in [1] }} {{ 1 in missing }} {{ none in [none] }} {{ 2 in range(3) }} {{ [1] in [[1]] }}
{{ 1 and 0 }} {{ 0 or "x" }} {{ "" or none }} {{ not 1 }} {{ not not "" }} {{ 1 and "a" or "b" }} {{ not 1 == 2 }} {{ true and missing }} {{ false or missing }}|
{{ "yes" if t else "no" }} {{ "x" if f }}| {{ 1 if f else 2 if f else 3 }} {{ (1 if t) + 1 }}
{{ "a" if missing is defined else "b" }} {{ not missing }} {{ missing or "d" }}
{{ 1 in 5 }}
---
{{ 1 in "abc" }}
---
{{ "a" < 1 }}
---
{{ none < 1 }}
---
{{ [] < {} }}
---
{{ missing < 1 }}
---
{{ "x" if f else missing.y }}
---
{{ [] in {} }}
---
{{ ("x" if f).y }}
""",
    "attributes and elements": r"""
{{ users[0].name }} {{ users[0]['name'] }} {{ users[-1].name }} {{ users.0.name }} {{ users[9] }}| {{ users[0].missing }}| {{ users[0]['missing'] }}|
{{ dict.a }} {{ dict['a'] }} {{ items.items is callable }} {{ items['items'] }} {{ items.get('items') }} {{ items.get is callable }}
{{ word[0] }} {{ word[-1] }} {{ word[99] }}| {{ wide[1] }} {{ wide[8] }} {{ wide[-1] }} {{ word.0 }} {{ word[true] }}
{{ word[1:4] }} {{ word[:5] }} {{ word[6:] }} {{ word[::2] }} {{ word[::-1] }} {{ word[-3:] }} {{ word[10:2] }}| {{ word[-100:100] }} {{ wide[2:8] }} {{ wide[::-1] }} {{ word[5::-2] }}
{{ list[1:] }} {{ list[:-1] }} {{ list[::-1] }} {{ (1, 2, 3)[1:] }} {{ range(10)[2:8:2] }} {{ list[:] }} {{ list[none:2] }}
{{ messages[1:]|length }} {{ messages[::-1][0].role }}
{{ missing }}| {{ missing is defined }} {{ missing|default("d") }} {{ nothing.a }}| {{ nothing['a'] }}| {{ n.a }}| {{ n[0] }}|
{{ [1, 2]['0'] }}| {{ {1: 'a'}[1] }} {{ {1: 'a'}[true] }} {{ {'1': 'a'}[1] }}|
{{ ''.__class__ }}| {{ [].append }}| {{ {}.update }}| {{ dict.__init__ }}|
{{ missing.a }}
---
{{ missing['a'] }}
---
{{ missing[0] }}
---
{{ users[0].missing.deeper }}
---
{{ missing() }}
---
{{ n() }}
---
{{ word() }}
---
{{ list.append(1) }}
---
{{ dict.update({}) }}
---
{{ ''.__class__.__mro__ }}
---
{{ nothing[1:] }}
---
{{ missing[1:] }}
---
{{ dict[1:2] }}
---
{{ list["a":] }}
---
{{ list[::0] }}
---
{{ nothing.a.b }}
""",
    "text methods": r"""
{{ word.upper() }} {{ word.lower() }} {{ word.swapcase() }} {{ "hello wORLD".capitalize() }} {{ "hello wORLD it's".title() }} {{ "ß straße ﬁ".upper() }} {{ "ΑΣ ΑΣΑ".lower() }} {{ "ǆ".title() }} {{ "İ".lower()|length }} {{ "Straße".casefold() }}
[{{ "  a b  ".strip() }}] [{{ "  a b  ".lstrip() }}] [{{ "  a b  ".rstrip() }}] [{{ "xxaxx".strip("x") }}] [{{ "abcba".strip("ab") }}] [{{ "\u3000é\u00a0".strip() }}] [{{ "a\n".rstrip("\n") }}] [{{ "ééa".lstrip("é") }}]
{{ "a,b,,c".split(",") }} {{ " a  b c ".split() }} {{ "a b c".split(" ", 1) }} {{ "a b c d".split(maxsplit=2) }} {{ "".split() }} {{ "".split(",") }} {{ "a--b".split("--") }} {{ " a b ".split(none, 1) }}
{{ "a,b,c".rsplit(",", 1) }} {{ " a  b c ".rsplit() }} {{ " a  b c ".rsplit(none, 1) }} {{ "abc".rsplit("x") }}
{{ "a-b-c".partition("-") }} {{ "a-b-c".rpartition("-") }} {{ "abc".partition("-") }} {{ "abc".rpartition("-") }}
{{ lines.splitlines() }} {{ lines.splitlines(true) }} {{ "a\u2028b\x0bc".splitlines() }} {{ "".splitlines() }}
{{ word.startswith("He") }} {{ word.endswith("ld") }} {{ word.startswith(("x", "H")) }} {{ word.startswith("W", 6) }} {{ word.endswith("lo", 0, 5) }} {{ "".startswith("") }} {{ word.startswith("", 20) }}
{{ word.find("o") }} {{ word.rfind("o") }} {{ word.find("zz") }} {{ word.index("W") }} {{ wide.find("日") }} {{ word.count("l") }} {{ "aaa".count("aa") }} {{ "abc".count("") }} {{ word.find("o", 5) }} {{ word.find("o", -3, -1) }}
{{ word.replace("l", "L") }} {{ word.replace("l", "L", 1) }} {{ "abc".replace("", "-") }} {{ "abc".replace("", "-", 2) }} {{ "aaa".replace("aa", "b") }} {{ "é".replace("", "|") }}
{{ ", ".join(["a", "b"]) }} {{ "".join([]) }} {{ "-".join("abc") }} {{ ",".join({"x": 1, "y": 2}) }}
[{{ "a".center(4) }}] [{{ "ab".center(5) }}] [{{ "a".center(5, "*") }}] [{{ "é".ljust(3) }}] [{{ "a".rjust(3, "0") }}] [{{ "-5".zfill(4) }}] [{{ "5".zfill(3) }}] [{{ "a\tb".expandtabs(4) }}]
{{ "abc".isalpha() }} {{ "12".isdigit() }} {{ "a1".isalnum() }} {{ " ".isspace() }} {{ "".isalpha() }} {{ "Ab".istitle() }} {{ "ABC1".isupper() }} {{ "abc1".islower() }} {{ "1".isupper() }} {{ "é".isascii() }} {{ "²".isdigit() }} {{ "²".isdecimal() }} {{ "½".isnumeric() }} {{ "a_1".isidentifier() }} {{ "1a".isidentifier() }} {{ "a\n".isprintable() }} {{ "".isprintable() }}
{{ "prefix-a".removeprefix("prefix-") }} {{ "a.txt".removesuffix(".txt") }} {{ "a".removeprefix("b") }}
{{ "{} {1} {a} {a!r:>5}|{0:.2f}".format(1, 2, a="x") if f else "{} {} {a} {a!r:>5}|{b:.2f}|{c:,}|{d:05d}|{e:^7}|{f:x}|{g:%}|{{}}".format(1, "two", a="x", b=3.14159, c=1234567, d=42, e="mid", f=255, g=0.5) }}
{{ "{0[a]} {0.a} {1[0]}".format({"a": 1}, [2]) }} {{ "{:>{w}}".format("a", w=5) }} {{ "{:b} {:o} {:#x} {:e} {:g}".format(5, 8, 255, 1234.5, 0.1) }} {{ "{!s} {!r}".format("a", "b") }} {{ "{a}".format_map({"a": 1}) }}
{{ "{:+d} {: d} {:<5}| {:=6d} {:_}".format(3, 3, "x", -4, 1234567) }} {{ "{:*^9}".format("mid") }} {{ "{}".format(1.0) }} {{ "{:.3}".format("abcdef") }} {{ "{:5}|{:5}".format(1, "a") }} {{ "{:.3g} {:10.4f}".format(1234.5678, 3.14159265) }}
{{ "".join([1]) }}
---
{{ "a".index("b") }}
---
{{ "a".split("") }}
---
{{ "a".startswith(1) }}
---
{{ "{".format(1) }}
---
{{ "{} {}".format(1) }}
---
{{ "{x}".format(y=1) }}
---
{{ "a".upper(1) }}
---
{{ "a".nothing() }}
---
{{ "a".center("x") }}
---
{{ "a".replace("a", none) }}
""",
    "dict and list methods": r"""
{{ dict.keys()|list }} {{ dict.values()|list }} {{ dict.items()|list }} {{ dict.keys() }} {{ dict.values() }} {{ dict.items() }}
{{ dict.get("a") }} {{ dict.get("z") }} {{ dict.get("z", 9) }} {{ dict.copy() == dict }} {{ dict.get(1) }} {{ {1: 'a'}.get(1.0) }}
{% for k, v in dict.items() %}{{ k }}={{ v }};{% endfor %}
{% for k in dict %}{{ k }}{% endfor %} {{ dict|list }} {{ dict|length }} {{ "a" in dict.keys() }} {{ 1 in dict.values() }}
{{ list.index(1) }} {{ list.count(3) }} {{ (1, 1, 2).count(1) }} {{ (1, 2).index(2) }} {{ list.copy() }}
{{ dict.items() is sequence }} {{ dict.items()|length }} {{ dict.keys()|first }} {{ dict.items() is iterable }}
{{ (5).bit_length() }} {{ 1.5.is_integer() }} {{ (2.0).is_integer() }} {{ true.bit_length() }}
{{ list.index(99) }}
---
{{ dict.get() }}
---
{{ dict.pop("a") }}
---
{{ dict.get([]) }}
---
{{ dict.keys()[0] }}|
""",
    "loops": r"""
{% for i in list %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ i }};{% endfor %}
{% for i in [] %}x{% else %}none{% endfor %} {% for i in missing %}x{% else %}none{% endfor %} {% for i in list %}{% else %}no{% endfor %}
{% for i in list %}{{ loop.previtem }}<{{ i }}>{{ loop.nextitem }}{{ loop.previtem is defined }}{{ loop.nextitem is defined }};{% endfor %}
{% for i in range(5) %}{{ loop.cycle("a", "b", "c") }}{% endfor %} {% for i in [1, 1, 2, 2, 1] %}{{ loop.changed(i) }} {% endfor %}
{% for i in range(10) if i % 2 %}{{ i }}/{{ loop.index }}/{{ loop.last }}/{{ loop.length }} {% else %}none{% endfor %}
{% for i in list if i > 9 %}x{% else %}none{% endfor %}
{% for a, b in [(1, 2), [3, 4], "xy"] %}{{ a }}{{ b }};{% endfor %} {% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}
{% for c in wide %}[{{ c }}]{% endfor %}
{% for i in range(3) %}{% for k in range(2) %}{{ loop.index }}{{ i }}{{ k }} {% endfor %}{{ loop.index }}; {% endfor %}
{% for i in range(10) %}{% if i == 2 %}{% continue %}{% endif %}{% if i == 5 %}{% break %}{% endif %}{{ i }}{% endfor %} {% for i in [1] %}{% break %}{% else %}else{% endfor %}
{% set ns = namespace(found=false) %}{% for i in range(6) if not ns.found %}{{ i }}{% if i == 2 %}{% set ns.found = true %}{% endif %}{% endfor %}
{% for n in tree recursive %}{{ loop.depth }}{{ loop.depth0 }}:{{ n.v }}{% if n.kids %}[{{ loop(n.kids) }}]{% endif %}{% endfor %}
{% for i in range(3) %}{% set y = i %}{{ y }}{% endfor %}{{ y }}|{% set z = 1 %}{% for i in range(2) %}{% set z = z + i + 1 %}{{ z }}{% endfor %}{{ z }}
{% set x = 7 %}{% for x in [1, 2] %}{{ x }}{% endfor %}{{ x }}
{% for m in messages %}{{ m.role }}{% if not loop.last %},{% endif %}{% endfor %}
{% for i in range(5, 0, -2) %}{{ i }}{% endfor %} {{ range(3) }} {{ range(1, 5)|list }} {{ range(0)|list }} {{ range(3)|length }} {{ range(2, 9, 3)[1] }}
{% for k in {"a": 1, "b": 2} %}{{ k }}{% endfor %} {% for x in (1, 2) %}{{ x }}{% endfor %} {% for x in 1, 2 %}{{ x }}{% endfor %}
{% for i in list %}{{ loop }}{% endfor %} {{ loop is defined }}
{% for i in list %}{% if loop.first %}{% set first = i %}{% endif %}{{ first }}|{% endfor %}
{% for item in users|selectattr("age", "equalto", 30) %}{{ item.name }}{{ loop.length }} {% endfor %}
{% for i in 5 %}{% endfor %}
---
{% for i in none %}{% endfor %}
---
{% for a, b in [(1, 2, 3)] %}{% endfor %}
---
{% for a, b in [1] %}{% endfor %}
---
{% for i in list %}{{ loop(i) }}{% endfor %}
---
{% for loop in list %}{% endfor %}
---
{% break %}
---
{% for i in range(200000) %}{% endfor %}
---
{% for i in list %}{{ loop.nonsense.x }}{% endfor %}
""",
    "conditions and sets": r"""
{% if n > 3 %}big{% elif n > 1 %}mid{% else %}small{% endif %} {% if nothing %}x{% elif empty %}y{% endif %}| {% if not missing %}m{% endif %}
{% set a = 1 %}{% set b, c = 2, 3 %}{% set (d, e) = (4, 5) %}{{ a }}{{ b }}{{ c }}{{ d }}{{ e }} {% set l = 1, 2 %}{{ l }}
{% set block %}in {{ n }} out{% endset %}[{{ block }}] {% set up | upper %}abc{% endset %}{{ up }} {% set j | trim | replace("a", "b") %} aaa {% endset %}[{{ j }}]
{% set ns = namespace(x=1, y="a") %}{% set ns.x = ns.x + 1 %}{{ ns.x }}{{ ns.y }} {{ ns.z }}| {% set ns.z %}blk{% endset %}{{ ns.z }} {% set ns = namespace({"q": 1}, r=2) %}{{ ns.q }}{{ ns.r }}
{% if t %}{% set inner = 1 %}{% endif %}{{ inner }} {% with q = 5, r = n %}{{ q }}{{ r }}{% set s = 3 %}{% endwith %}{{ q }}|{{ s }}| {% with %}{% set v = 1 %}{{ v }}{% endwith %}
{% set q = 1 %}{% with q = 2, r = q %}{{ q }}{{ r }}{% endwith %}{{ q }}
{% set x = 1 %}{% set x = x + 1 %}{{ x }} {% set n = n + 1 %}{{ n }}
{% filter upper %}abc {{ word }}{% endfilter %} {% filter replace("a", "b")|upper %}banana{% endfilter %} {% filter trim %}  x  {% endfilter %}|
{% block title %}in block{% endblock %} {% block b2 scoped %}x{% endblock b2 %} {% generation %}model {{ n }}{% endgeneration %}
{% print 1, "a", n %} {% autoescape false %}{{ html }}{% endautoescape %}
{% if t: %}colon{% endif %}
{% set a.b = 1 %}
---
{% set dict.x = 1 %}
---
{% set a, b = 1 %}
---
{% set a, b = [1, 2, 3] %}
---
{% set 1 = 2 %}
---
{% set none = 2 %}
---
{% if %}x{% endif %}
---
{% if t %}x
---
{% endif %}
---
{% for x in y %}{% endif %}
---
{% unknown %}
---
{{ n
---
{{ (n }}
---
{{ n) }}
---
{% if t }}x{% endif %}
---
{{ "abc }}
---
{# never closed
---
{{ n | }}
---
{{ n is }}
---
{{ . }}
---
{{ a b }}
---
{{ n.  }}
---
{{ ! }}
---
{% raw %}x
---
{% include "x" %}
---
{{ ns_missing.x.y }}
""",
    "macros": r"""
{% macro f(a, b=2, c="x") %}{{ a }}-{{ b }}-{{ c }}{% endmacro %}{{ f(1) }} {{ f(1, 3) }} {{ f(c="z", a=0) }} {{ f() }}| {{ f(1, c=none) }} {{ f(*[1, 2]) }} {{ f(**{"a": 5}) }} {{ f(missing) }}
{% macro g(a, b=a) %}{{ a }}{{ b }}{% endmacro %}{{ g(1) }} {% macro h() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ h(1, 2, x=3) }}
{% macro w(tag) %}<{{ tag }}>{{ caller() }}</{{ tag }}>{% endmacro %}{% call w("b") %}body {{ n }}{% endcall %}
{% macro each(items) %}{% for i in items %}{{ caller(i, loop.index) }}{% endfor %}{% endmacro %}{% call(x, i) each([7, 8]) %}({{ x }},{{ i }}){% endcall %}
{% macro rec(n) %}{{ n }}{% if n > 0 %}{{ rec(n - 1) }}{% endif %}{% endmacro %}{{ rec(3) }}
{% set v = 1 %}{% macro s() %}{{ v }}{% set v = 2 %}{{ v }}{% endmacro %}{{ s() }}{{ v }} {% set v = 5 %}{{ s() }}
{% macro m(a) %}{% if a is defined %}d{% else %}u{% endif %}{% endmacro %}{{ m() }}{{ m(1) }} {{ m }} {{ m.name }} {{ m.arguments }} {{ m is callable }}
{% for i in range(2) %}{% macro q() %}{{ i }}{% endmacro %}{{ q() }}{% endfor %} {{ f is defined }} {{ late is defined }}{% macro late() %}{% endmacro %}
{% macro o() %}{{ caller is defined }}{{ caller }}{% endmacro %}{{ o() }} {% macro p(x) -%}   t   {%- endmacro %}[{{ p(1) }}] {{ p(1)|length }} {{ p(1) ~ "x" }}
{% macro outer() %}{% macro inner() %}i{% endmacro %}{{ inner() }}{% endmacro %}{{ outer() }} {{ inner is defined }}
{% macro f(a) %}{% endmacro %}{{ f(1, 2) }}
---
{% macro f(a) %}{% endmacro %}{{ f(b=2) }}
---
{% macro f(a=1, b) %}{% endmacro %}
---
{% macro f(a) %}{% endmacro %}{{ f(1, a=2) }}
---
{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}
---
{% call n %}{% endcall %}
---
{% macro f(a) %}{{ a.b }}{% endmacro %}{{ f() }}
""",
    "filters on text": r"""
{{ word|upper }} {{ word|lower }} {{ "hello wORLD"|capitalize }} {{ "hello wORLD-foo (bar) it's [x] a.b"|title }} {{ "  a "|trim }}| {{ "xax"|trim("x") }} [{{ "ab"|center(6) }}] {{ n|string ~ "" }} {{ none|upper }} {{ missing|upper }}|
{{ "aXbX"|replace("X", "-") }} {{ "aXbX"|replace("X", "-", 1) }} {{ 112|replace(1, 3) }} {{ word|length }} {{ wide|length }} {{ wide|count }} {{ word|reverse }} {{ wide|reverse }}
[{{ "a\nb\n\nc"|indent }}] [{{ "a\nb"|indent(2, true) }}] [{{ "a\n\nb"|indent(2, blank=true) }}] [{{ "a\nb"|indent("> ") }}] [{{ "a\n"|indent(2) }}] [{{ ""|indent }}] [{{ "a\r\nb"|indent(width=1, first=true) }}]
{{ "foo bar baz qux"|truncate(9) }} {{ "foo bar baz qux"|truncate(9, true) }} {{ "foo bar baz qux"|truncate(11) }} {{ "foo bar baz qux"|truncate(11, false, "...", 0) }} {{ "日本語日本語日本語日本語"|truncate(6, true, "…") }}
{{ html|e }} {{ html|escape }} {{ html|safe }} {{ html|e|e }} {{ html|forceescape }} {{ html|e|forceescape }} {{ "a"|safe + "<b>" }} {{ "<b>" + "a"|safe }} {{ ("<"|safe) ~ "<" }} {{ "a<"|safe * 2 }} {{ ["<"|safe, "<"] }} {{ ("<%s>"|safe) % "x" }}
{{ "<p>a</p>  <!-- c --> b &amp; c"|striptags }} {{ "a b/c?d=é&"|urlencode }} {{ {"a b": "c/d", "e": 1}|urlencode }} {{ {"class": "x<y", "id": none, "z": 1}|xmlattr }} {{ "one two-three  4"|wordcount }}
{{ "%s-%s"|format("a", 1) }} {{ "%(x)s"|format(x=2) }} {{ "42"|int }} {{ "42.7"|int }} {{ " -7 "|int }} {{ "x"|int }} {{ "x"|int(9) }} {{ "0x1f"|int(base=16) }} {{ "ff"|int(0, 16) }} {{ 3.9|int }} {{ -3.9|int }} {{ true|int }} {{ none|int }} {{ ""|int }} {{ "1_000"|int }} {{ "1e3"|int }}
{{ "1.5"|float }} {{ "x"|float }} {{ "x"|float(2.5) }} {{ 3|float }} {{ none|float }} {{ "inf"|float }} {{ "1e3"|float }} {{ -5|abs }} {{ -5.5|abs }} {{ 42.55|round }} {{ 42.55|round(1) }} {{ 2.5|round }} {{ 3.5|round }} {{ 42.55|round(1, "floor") }} {{ 42.51|round(1, "ceil") }} {{ 1234|round(-2) }} {{ 5|round }} {{ 2.675|round(2) }} {{ -2.5|round|int }}
{{ 1|filesizeformat }} {{ 999|filesizeformat }} {{ 1000|filesizeformat }} {{ 1048576|filesizeformat(true) }} {{ 123456789|filesizeformat }} {{ 13000|filesizeformat }}
{{ "b"|attr("upper") is callable }} {{ dict|attr("a") }}| {{ word|default("d") }} {{ missing|default("d") }} {{ missing|d("e") }} {{ ""|default("d") }}| {{ ""|default("d", true) }} {{ none|default("d") }} {{ none|default("d", true) }} {{ missing|default }}|
{{ word|list }} {{ word|first }} {{ word|last }} {{ "abc"|sort(reverse=true) }} {{ "bAc"|sort }} {{ "hello"|unique|join }}
{{ none|trim }} {{ 5|trim }} {{ [1]|string|length }} {{ missing|trim }}| {{ missing|length }} {{ missing|string }}| {{ missing|join }}| {{ missing|list }} {{ missing|first is defined }}
{{ missing|int }}
---
{{ missing|indent }}
---
{{ none|indent }}
---
{{ "x"|nonsense }}
---
{{ 5|length }}
---
{{ none|length }}
---
{{ "x"|upper(1) }}
---
{{ "x"|round }}
---
{{ "x"|replace("a") }}
---
{{ {"a b": 1}|xmlattr }}
---
{{ 1.5|round(1, "up") }}
""",
    "filters on lists": r"""
{{ list|sort }} {{ list|sort(reverse=true) }} {{ ["b", "A", "c"]|sort }} {{ ["b", "A", "c"]|sort(case_sensitive=true) }} {{ users|sort(attribute="name")|map(attribute="name")|list }} {{ users|sort(attribute="age,name")|map(attribute="name")|join(",") }} {{ users|sort(true, attribute="age")|map(attribute="name")|join(",") }}
{{ dict|dictsort }} {{ dict|dictsort(true) }} {{ dict|dictsort(false, "value") }} {{ dict|dictsort(reverse=true) }} {{ dict|dictsort(by="value", reverse=true) }}
{{ list|join(", ") }} {{ list|join }} {{ users|join("|", attribute="name") }} {{ mixed|join(",") }} {{ {"a": 1}|join }}
{{ list|first }} {{ list|last }} {{ []|first is defined }} {{ []|last }}| {{ list|length }} {{ list|max }} {{ list|min }} {{ list|sum }} {{ users|sum(attribute="age") }} {{ []|sum }} {{ [1.5, 2]|sum(start=1) }} {{ ["b", "A"]|max }} {{ ["b", "A"]|min }} {{ users|max(attribute="age") }} {{ []|max }}|
{{ users|map(attribute="name")|list }} {{ users|map(attribute="tags.0")|list }} {{ users|map(attribute="tags", default="-")|list }} {{ ["a", "B"]|map("upper")|list }} {{ ["a", "b"]|map("replace", "a", "z")|join }} {{ [[1, 2], [3]]|map("length")|list }} {{ [[1, 2]]|map("join", "-")|list }} {{ [{"a": {"b": 3}}]|map(attribute="a.b")|list }}
{{ range(10)|select("odd")|list }} {{ range(10)|reject("odd")|list }} {{ range(6)|select("divisibleby", 3)|list }} {{ [0, 1, "", "a", none]|select|list }} {{ [0, 1]|reject|list }} {{ [1, "a"]|select("string")|list }} {{ range(5)|select("gt", 2)|list }} {{ range(5)|select("in", [1, 2])|list }}
{{ users|selectattr("tags")|map(attribute="name")|list }} {{ users|rejectattr("tags")|map(attribute="name")|list }} {{ users|selectattr("age", "equalto", 30)|map(attribute="name")|list }} {{ users|selectattr("tags", "defined")|list|length }} {{ users|rejectattr("name", "in", ["Bob"])|map(attribute="name")|join(",") }} {{ messages|selectattr("role", "==", "user")|list|length }}
{{ [1, 2, 1, 3]|unique|list }} {{ ["a", "A", "b"]|unique|list }} {{ ["a", "A"]|unique(true)|list }} {{ users|unique(attribute="age")|map(attribute="name")|list }} {{ [1, true, 1.0]|unique|list }}
{{ range(5)|batch(2)|list }} {{ range(5)|batch(2, "x")|list }} {{ range(7)|slice(3)|list }} {{ range(7)|slice(3, "-")|list }} {{ []|batch(2)|list }} {{ range(2)|slice(3)|list }}
{% for g in users|groupby("age") %}{{ g.grouper }}:{{ g.list|map(attribute="name")|join(",") }};{% endfor %} {% for a, l in users|groupby("age") %}{{ a }}{{ l|length }}{% endfor %} {{ [{"c": "b"}, {"c": "A"}, {"c": "a"}]|groupby("c") }}
{{ list|reverse|list }} {{ dict|items|list }} {{ missing|items|list }} {% for k, v in dict|items %}{{ k }}{{ v }}{% endfor %} {{ (1, 2)|list }} {{ dict|list }} {{ list|reverse|first }}
{{ [[1, 2], [3, 4]]|sum(start=[]) }} {{ ["x"]|random if f }}| {{ list|map("string")|join("+") }} {{ list|select("defined")|first }}
{{ users|map(attribute="name") is sequence }} {{ users|map(attribute="name") is iterable }} {{ (list|select)|list }} {% set g = list|select %}{{ g|list }}{{ g|list }}
{{ list|select|length }}
---
{{ list|map("length")|list }}
---
{{ [1, "a"]|sort }}
---
{{ list|map|list }}
---
{{ users|selectattr|list }}
---
{{ 5|list }}
---
{{ none|join }}
---
{{ list|join(attribute="x.y") }}
---
{{ 5|items }}{{ 5|items|list }}
---
{{ list|select("nonsense")|list }}
---
{{ ["a"]|sum }}
---
{{ [[]]|unique|list }}
---
{{ list|select|last }}
---
{{ list|dictsort }}
---
{{ dict|dictsort(by="x") }}
""",
    "tests": r"""
{{ n is defined }} {{ missing is defined }} {{ missing is undefined }} {{ n is not defined }} {{ nothing is none }} {{ n is none }} {{ t is true }} {{ 1 is true }} {{ f is false }} {{ t is boolean }} {{ 1 is boolean }}
{{ 1 is integer }} {{ true is integer }} {{ 1.0 is integer }} {{ 1.0 is float }} {{ 1 is number }} {{ true is number }} {{ "1" is number }} {{ "a" is string }} {{ 1 is string }} {{ ("a"|safe) is string }} {{ missing is string }}
{{ {} is mapping }} {{ [] is mapping }} {{ [] is sequence }} {{ {} is sequence }} {{ "a" is sequence }} {{ 1 is sequence }} {{ missing is sequence }} {{ none is sequence }} {{ () is sequence }} {{ range(1) is sequence }}
{{ [] is iterable }} {{ "a" is iterable }} {{ 1 is iterable }} {{ none is iterable }} {{ missing is iterable }} {{ {} is iterable }} {{ namespace is callable }} {{ n is callable }} {{ namespace() is mapping }}
{{ 3 is odd }} {{ 3 is even }} {{ -3 is odd }} {{ 9 is divisibleby 3 }} {{ 9 is divisibleby(4) }} {{ "abc" is lower }} {{ "ABC" is upper }} {{ "aB" is lower }} {{ 1 is upper }}
{{ 1 is eq 1 }} {{ 1 is equalto 2 }} {{ 1 is ne 2 }} {{ 2 is gt 1 }} {{ 2 is lessthan 1 }} {{ 2 is ge 2 }} {{ 1 is in [1, 2] }} {{ "a" is in "abc" }} {{ 3 is not in [1] }} {{ 1 is sameas 1 }} {{ t is sameas true }} {{ 1 is sameas true }} {{ nothing is sameas none }}
{{ "upper" is filter }} {{ "nope" is filter }} {{ "odd" is test }} {{ "a"|e is escaped }} {{ "a" is escaped }}
{{ n is defined and n is number }} {{ not n is string }} {{ (n is string) or t }} {{ n is string or n is integer }} {{ 4 is divisibleby 2 and true }} {{ "x" if n is defined else "y" }}
{{ users[0].name is defined }} {{ users[0].x is defined }} {{ users[9] is defined }} {{ dict.get("z") is none }} {{ loop is defined }}
{{ 1 is nonsense }}
---
{{ "a" is odd }}
---
{{ missing is odd }}
---
{{ 1 is divisibleby 0 }}
---
{{ 1 is in 5 }}
---
{{ 1 is eq }}
""",
    "tojson": r"""
{{ mixed|tojson }} {{ nested|tojson }} {{ dict|tojson }} {{ "a\"\\/\n\t\r\b\f\x01\x7f é 😀 </script>"|tojson }} {{ [1.0, 1e20, 1e-7, 0.1, big, -0.0]|tojson }} {{ {}|tojson }} {{ []|tojson }} {{ (1, 2)|tojson }} {{ none|tojson }} {{ true|tojson }}
{{ nested|tojson(indent=2) }}
{{ dict|tojson(indent=4, sort_keys=true) }} {{ {}|tojson(indent=2) }} {{ [[]]|tojson(indent=1) }}
{{ dict|tojson(separators=(",", ":")) }} {{ dict|tojson(ensure_ascii=true) }} {{ "é😀\x7f"|tojson(ensure_ascii=true) }} {{ {1: "a", none: "b", true: "c", 1.5: "d"}|tojson }} {{ dict|tojson(sort_keys=true) }} {{ [1, [2]]|tojson(indent="--") }} {{ [1, 2]|tojson(indent=0) }} {{ users|tojson(indent=2, separators=(", ", " : ")) }}
{{ ("<"|safe)|tojson }} {{ "inf"|float|tojson }} {{ ("nan"|float)|tojson }} {{ dict|tojson|safe }} {{ dict.items()|list|tojson }} {{ "a" + (dict|tojson) }}
{{ missing|tojson }}
---
{{ dict.items()|tojson }}
---
{{ namespace()|tojson }}
---
{{ {(1, 2): 3}|tojson }}
---
{{ range(2)|tojson }}
---
{{ {1: 2, "a": 3}|tojson(sort_keys=true) }}
---
{{ list|select|tojson }}
""",
    "functions": r"""
{{ strftime_now("%Y-%m-%d %H:%M:%S") }} {{ strftime_now("%d %b %Y") }} {{ strftime_now("%A, %B %-d, %y %j %p %I %%") }} {{ strftime_now("é") }} {{ strftime_now("") }}| {{ strftime_now("%f|%z|%Z") }}
{{ dict(a=1, b=2) }} {{ x_dict is defined }} {{ namespace is defined }} {{ range is defined }} {{ raise_exception is defined }} {{ strftime_now is callable }}
{% set c = cycler("a", "b") %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.current }}{% set _ = c.reset() %}{{ c.current }} {% set j = joiner(",") %}{{ j() }}1{{ j() }}2{{ j() }}3
{{ range(3)|list }} {{ range(1, 4)|list }} {{ range(4, 1, -1)|list }}
{{ raise_exception("no thanks: " ~ n) }}
---
{{ range("a") }}
---
{{ range() }}
---
{{ range(1, 2, 0) }}
---
{{ cycler() }}
---
{% set ns = namespace(_x=1) %}
---
{{ lipsum_missing() }}
""",
}

# Those where `dict` is a variable hide the function; it is called without it.
WITHOUT = {"functions": ["dict"]}


def snippets(text):
    """One case a line, or what stands between lines of three dashes where a template has several lines."""
    text = text.strip("\n")
    for part in text.split("\n---\n"):
        if "{%- if t -%}" in part or part.count("\n") == 0 or not all(line.strip() for line in part.split("\n")):
            yield part
            continue
        yield part
        for line in part.split("\n"):
            yield line


def main():
    path = Path(__file__).parent.parent / "tests/data/templates/cases.jsonl"
    count = 0
    with path.open("w", encoding="utf-8") as out:
        for group, text in CASES.items():
            variables = {k: v for k, v in VARIABLES.items() if k not in WITHOUT.get(group, [])}
            seen = set()
            for template in snippets(text):
                if template in seen:
                    continue
                seen.add(template)
                used = {k: v for k, v in variables.items() if k in template}
                case = {"group": group, "template": template, "variables": used, **render(template, used)}
                out.write(json.dumps(case, ensure_ascii=False) + "\n")
                count += 1
    print(f"{count} cases in {path}")


if __name__ == "__main__":
    main()
