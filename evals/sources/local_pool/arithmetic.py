"""Word problems of one to three steps."""

from __future__ import annotations

from random import Random

from evals.sources.local_pool.words import FRUITS, PEOPLE, PRODUCTS, Draft

_ASK = "Write one line: the calculation and its result. Example: 3 * 4 + 2 = 14"


def one_step(random: Random) -> Draft:
    """One addition, subtraction, multiplication or division."""
    a, b = random.randint(11, 80), random.randint(3, 9)
    text, answer = random.choice(
        (
            (f"{{person}} has {a} {{fruit}}s and buys {b} more. How many {{fruit}}s are there now?", a + b),
            (f"A box holds {a} {{fruit}}s. {{person}} eats {b}. How many are left?", a - b),
            (f"One {{product}} costs {b} dollars. What do {a % 10 + 2} of them cost?", b * (a % 10 + 2)),
            (
                f"{{person}} shares {b * (a % 8 + 2)} {{fruit}}s equally among {b} friends. How many does each get?",
                a % 8 + 2,
            ),
            (f"What is {a} + {a + b}?", 2 * a + b),
            (f"What is {a * 3} - {b}?", a * 3 - b),
        )
    )
    return _draft(text, answer, random)


def two_steps(random: Random) -> Draft:
    """Two operations."""
    a, b, c = random.randint(3, 9), random.randint(4, 12), random.randint(2, 9)
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
            (
                f"A shop sold {a * 5} {{product}}s on Monday and {b} fewer on Tuesday. How many in both days together?",
                a * 10 - b,
            )
            if a * 5 > b
            else (f"{{person}} had {a + b} {{fruit}}s, gave away {a} and then picked {c}. How many now?", b + c),
            (f"{{person}} saves {b} dollars a week for {a} weeks and spends {c} dollars. How much is left?", a * b - c),
            (f"What is {a} * {b} + {c}?", a * b + c),
        )
    )
    return _draft(text, answer, random)


def three_steps(random: Random) -> Draft:
    """Three operations."""
    a, b, c, d = random.randint(2, 6), random.randint(3, 9), random.randint(2, 6), random.randint(2, 9)
    text, answer = random.choice(
        (
            (
                f"{{person}} buys {a} {{product}}s at {b} dollars and {c} {{fruit}}s at {d} dollars. "
                "What is the total in dollars?",
                a * b + c * d,
            ),
            (
                f"{{person}} bakes {a} trays of {b} rolls, eats {c} and sells the rest at {d} dollars each. "
                "How many dollars come in?",
                (a * b - c) * d,
            )
            if a * b > c
            else (f"What is {a} * {b} + {c} * {d}?", a * b + c * d),
            (
                f"A bus starts with {a * b} riders. At one stop {c} get off and {d} get on. "
                f"At the next, {a} get on. How many riders are there?",
                a * b - c + d + a,
            ),
            (f"What is ({a} + {b}) * {c} - {d}?", (a + b) * c - d),
        )
    )
    return _draft(text, answer, random)


def _draft(text: str, answer: int, random: Random) -> Draft:
    filled = (
        text.format(person=random.choice(PEOPLE), fruit=random.choice(FRUITS), product=random.choice(PRODUCTS))
        .replace("cherrys", "cherries")
        .replace("peachs", "peaches")
    )
    return Draft(_ASK, filled, str(answer))


KINDS = {"one_step": one_step, "two_steps": two_steps, "three_steps": three_steps}
