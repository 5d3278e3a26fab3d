"""Word problems of one to three steps."""

from __future__ import annotations

from random import Random

from evals.sources.local_pool.words import FRUITS, PEOPLE, PRODUCTS, Draft

_EXAMPLE = (
    "4 boxes hold 9 cups each. 6 cups break, 2 are added. How many cups are there?",
    "4 * 9 = 36\n36 - 6 = 30\n30 + 2 = 32",
)
"""Written steps let small models carry intermediate results; several signs, because they copy the one they see."""


def one_step(random: Random) -> Draft:
    """One addition, subtraction, multiplication or division."""
    a, b, c = random.randint(11, 80), random.randint(3, 9), random.randint(2, 9)
    text, answer = random.choice(
        (
            (f"{{person}} has {a} {{fruit}}s and buys {b} more. How many {{fruit}}s are there now?", a + b),
            (f"A box holds {a} {{fruit}}s. {{person}} eats {b}. How many are left?", a - b),
            (f"One {{product}} costs {b} dollars. What do {c} of them cost?", b * c),
            (f"{{person}} shares {b * c} {{fruit}}s equally among {b} friends. How many does each get?", c),
            (f"What is {a} + {a + b}?", 2 * a + b),
            (f"What is {a} - {b}?", a - b),
        )
    )
    return _draft(text, answer, random)


def two_steps(random: Random) -> Draft:
    """Two operations."""
    a, b, c = random.randint(2, 6), random.randint(3, 10), random.randint(2, 5)
    text, answer = random.choice(
        (
            (
                f"{{person}} buys {a} {{product}}s at {b} dollars each and pays {c} dollars for delivery. "
                "What is the total in dollars?",
                a * b + c,
            ),
            (
                f"{{person}} packs {a} bags with {b} {{fruit}}s each, then eats {c}. How many {{fruit}}s remain?",
                a * b - c,
            ),
            (f"{{person}} saves {b} dollars a week for {a} weeks and spends {c} dollars. How much is left?", a * b - c),
            (f"{{person}} had {a + b} {{fruit}}s, gave away {a} and then picked {c}. How many now?", b + c),
            (f"How much is {a} * {b} + {c}?", a * b + c),
        )
    )
    return _draft(text, answer, random)


def three_steps(random: Random) -> Draft:
    """Three operations."""
    a, b, c, d = (random.randint(2, 9) for _ in range(4))
    text, answer = random.choice(
        (
            (
                f"{{person}} buys {a} {{product}}s at {b} dollars and {c} {{fruit}}s at {d} dollars. "
                "What is the total in dollars?",
                a * b + c * d,
            ),
            (
                f"A bus starts with {10 + b} riders. {c} get on, then {d} get on, then {a} get off. "
                "How many riders are there?",
                10 + b + c + d - a,
            ),
        )
    )
    return _draft(text, answer, random)


def _draft(text: str, answer: int, random: Random) -> Draft:
    filled = text.format(person=random.choice(PEOPLE), fruit=random.choice(FRUITS), product=random.choice(PRODUCTS))
    return Draft("Write equations only.", filled, str(answer), _EXAMPLE)


KINDS = {"one_step": one_step, "two_steps": two_steps, "three_steps": three_steps}
