"""Policies and a rubric that several tests start from."""

from __future__ import annotations

from evals.judges import Rubric

ONE_MODEL = """\
version: 1
models: [{id: small, call: fake/small, price: {input: 1, output: 4}}]
rules: [{candidates: small, strategy: fixed}]
"""
SMALL_AND_LARGE = """\
version: 1
models:
  - {id: small, call: fake/small, price: {input: 1, output: 2}}
  - {id: large, call: fake/large, price: {input: 10, output: 20}}
  - {id: unpriced, call: fake/unpriced}
rules:
  - {candidates: [small, large], strategy: fixed}
"""
JUDGES = """\
version: 1
models:
  - {id: small, call: fake/qwen-small, price: {input: 1, output: 2}}
  - {id: judge, call: fake/gpt-judge, price: {input: 10, output: 20}}
  - {id: second, call: fake/claude-judge, price: {input: 10, output: 20}}
  - {id: third, call: fake/qwen-judge, price: {input: 10, output: 20}}
rules:
  - {candidates: [small], strategy: fixed}
"""
GOOD = Rubric(name="good", instructions="Is it good?", scale={1: "bad", 2: "fair", 3: "good"}, passing=3)
GOOD_FILE = "version: 1\nname: good\ninstructions: Is it good?\nscale: {1: bad, 2: fair, 3: good}\n"
