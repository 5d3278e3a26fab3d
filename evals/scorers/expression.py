r"""Reading simple mathematics, plain or LaTeX, and asking whether two expressions mean the same.

Expressions are evaluated at fixed points instead of being rearranged: two formulas that agree at several
unrelated points to ten digits are the same formula for every practical purpose, and no algebra system is needed.
"""

from __future__ import annotations

import cmath
import hashlib
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

MAX_LENGTH = 400
MAX_DEPTH = 30
"""Longer or deeper input is compared as text only; it is no simple form."""

_FUNCTIONS: Mapping[str, Callable[[complex], complex]] = {
    "sqrt": cmath.sqrt,
    "sin": cmath.sin,
    "cos": cmath.cos,
    "tan": cmath.tan,
    "arcsin": cmath.asin,
    "arccos": cmath.acos,
    "arctan": cmath.atan,
    "ln": cmath.log,
    "log": cmath.log,
    "exp": cmath.exp,
    "abs": lambda value: complex(abs(value)),
}
_CONSTANTS: Mapping[str, complex] = {"pi": math.pi, "e": math.e, "i": 1j}
_TOKEN = re.compile(r"\d+\.?\d*|\.\d+|\\[A-Za-z]+|[A-Za-z]+|\S")
_POINTS = 3


class NotSimple(ValueError):
    """The text is not an expression this reader understands."""


def same(left: str, right: str) -> bool:
    """Whether two cleaned expressions have the same value at every test point.

    Raises:
        NotSimple: one of them cannot be read, or has no value (a division by zero, an overflow).
    """
    for point in range(_POINTS):
        a, b = (_Reader(_TOKEN.findall(text), point).value(text) for text in (left, right))
        if not cmath.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9):
            return False
    return True


@dataclass(slots=True)
class _Reader:
    """Recursive descent: sum, product (also implicit), sign, power, atom."""

    tokens: list[str]
    point: int
    position: int = 0
    depth: int = field(default=0)

    def value(self, text: str) -> complex:
        if not self.tokens or len(text) > MAX_LENGTH:
            raise NotSimple(f"{text[:60]!r} is empty or too long")
        try:
            result = self._sum()
        except (ArithmeticError, ValueError, IndexError) as error:
            raise NotSimple(f"{text[:60]!r}: {error}") from error
        if self.position < len(self.tokens) or not cmath.isfinite(result):
            raise NotSimple(f"{text[:60]!r} cannot be read to its end")
        return result

    def _next(self) -> str:
        return self.tokens[self.position] if self.position < len(self.tokens) else ""

    def _take(self, expected: str = "") -> str:
        symbol = self._next()
        if not symbol or (expected and symbol != expected):
            raise NotSimple(f"expected {expected or 'more'}, found {symbol or 'the end'}")
        self.position += 1
        return symbol

    def _sum(self) -> complex:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise NotSimple("nested too deep")
        total = self._product()
        while self._next() in ("+", "-"):
            total = total + self._product() if self._take() == "+" else total - self._product()
        self.depth -= 1
        return total

    def _product(self) -> complex:
        result = self._signed()
        while True:
            symbol = self._next()
            if symbol in ("*", "/"):
                self._take()
                factor = self._signed()
                result = result * factor if symbol == "*" else result / factor
            elif symbol and (symbol[0].isalnum() or symbol[0] in "({\\."):
                result *= self._power()
            else:
                return result

    def _signed(self) -> complex:
        if self._next() in ("-", "+"):
            return -self._signed() if self._take() == "-" else self._signed()
        return self._power()

    def _power(self) -> complex:
        base = self._atom()
        while self._next() == "!":
            self._take()
            if base.imag or base.real != int(base.real) or not 0 <= base.real <= 100:
                raise NotSimple("factorial of no small whole number")
            base = complex(math.factorial(int(base.real)))
        if self._next() == "^":
            self._take()
            # Right-associative, and a sign may follow: 2^-1.
            exponent = self._signed()
            return base**exponent
        return base

    def _atom(self) -> complex:
        symbol = self._take()
        if symbol[0].isdigit() or (symbol[0] == "." and len(symbol) > 1):
            return complex(float(symbol))
        if symbol in ("(", "{"):
            inside = self._sum()
            self._take({"(": ")", "{": "}"}[symbol])
            return inside
        if symbol == "|":
            inside = self._sum()
            self._take("|")
            return complex(abs(inside))
        name = symbol.removeprefix("\\")
        if name == "frac":
            over, under = self._argument(), self._argument()
            return over / under
        if name in _FUNCTIONS:
            return self._function(name)
        if name in _CONSTANTS:
            return _CONSTANTS[name]
        return self._variables(name)

    def _function(self, name: str) -> complex:
        if name == "sqrt" and self._next() == "[":
            self._take("[")
            root = self._sum()
            self._take("]")
            return self._argument() ** (1 / root)
        power = complex(1)
        if self._next() == "^":  # \sin^2 x
            self._take("^")
            power = self._argument()
        argument = self._argument() if self._next() in ("(", "{") else self._power()
        return complex(_FUNCTIONS[name](argument) ** power)

    def _argument(self) -> complex:
        r"""A group, or as in LaTeX's `\frac12` a single digit."""
        symbol = self._next()
        if symbol in ("(", "{"):
            return self._atom()
        if symbol[:1].isdigit() and len(symbol) > 1:
            self.tokens[self.position : self.position + 1] = [symbol[0], symbol[1:]]
        return self._atom()

    def _variables(self, name: str) -> complex:
        if not name.isalpha() or (len(name) > 2 and not self.tokens[self.position - 1].startswith("\\")):
            raise NotSimple(f"{name!r} is a word, no formula")
        if self._next() == "_":
            self._take("_")
            subscript = [self._take()]
            while subscript[0] == "{" and subscript[-1] != "}":
                subscript.append(self._take())
            return self._bound(name + "_" + "".join(subscript).strip("{}"))
        if self.tokens[self.position - 1].startswith("\\"):
            return self._bound(name)
        result = complex(1)
        for letter in name:
            result *= _CONSTANTS.get(letter, self._bound(letter))
        return result

    def _bound(self, name: str) -> complex:
        """A value in (0.5, 1.5) that depends on the name and the test point only."""
        digest = hashlib.sha256(f"{name}/{self.point}".encode()).digest()
        return complex(0.5 + int.from_bytes(digest[:6]) / 2**48)
