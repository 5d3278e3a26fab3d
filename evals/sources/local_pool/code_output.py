"""What does this Python print? The answer comes from the same values in this process, not from an interpreter."""

from __future__ import annotations

from random import Random

from evals.sources.local_pool.words import ANIMALS, FRUITS, NOUNS, PEOPLE, Draft


def expression(random: Random) -> Draft:
    """One expression."""
    a, b, word = random.randint(2, 40), random.randint(2, 9), random.choice(NOUNS)
    code, answer = random.choice(
        (
            (f"print({a} + {b})", a + b),
            (f"print({a % 10 + 2} * {b})", (a % 10 + 2) * b),
            (f"print({a % 9 * b} // {b})", a % 9),
            (f'print("{word}".upper())', word.upper()),
            (f'print(len("{word}"))', len(word)),
            (f'print("{word}"[0])', word[0]),
            (f"print({a} - {b})", a - b),
            (f'print("{word}" * 2)', word * 2),
            (f"print({a} > {b * 4})", a > b * 4),
        )
    )
    return _draft(code, answer)


def collection(random: Random) -> Draft:
    """Lists and dictionaries."""
    words = random.sample(random.choice((FRUITS, ANIMALS, NOUNS)), 3)
    numbers = [random.randint(1, 20) for _ in range(4)]
    person, other = random.sample(PEOPLE, 2)
    code, answer = random.choice(
        (
            (f"x = {numbers}\nprint(x[{numbers[0] % 4}])", numbers[numbers[0] % 4]),
            (f"x = {numbers}\nprint(len(x))", 4),
            (f"x = {numbers}\nprint(max(x))", max(numbers)),
            (f"x = {words}\nprint(x[-1])", words[-1]),
            (f"x = {words}\nprint(x[1].upper())", words[1].upper()),
            (f"x = {{'{person}': {numbers[0]}, '{other}': {numbers[1]}}}\nprint(x['{other}'])", numbers[1]),
            (f"x = {numbers[:2]}\nx.append({numbers[2]})\nprint(x)", numbers[:3]),
            (f"x = {words}\nprint(sorted(x)[0])", sorted(words)[0]),
            (f"x = {numbers[:3]}\nprint(min(x))", min(numbers[:3])),
        )
    )
    return _draft(code, answer)


def control(random: Random) -> Draft:
    """Variables, conditions, functions and a short loop."""
    a, b, n = random.randint(2, 12), random.randint(2, 5), random.randint(3, 5)
    left, right = random.sample(NOUNS, 2)
    code, answer = random.choice(
        (
            (f"x = {a}\ny = x + {b}\nprint(y)", a + b),
            (f"x = {a}\nx = x * {b}\nprint(x)", a * b),
            (
                f"x = {a}\nif x > {b + 3}:\n    print('{left}')\nelse:\n    print('{right}')",
                left if a > b + 3 else right,
            ),
            (f"t = 0\nfor i in range({n}):\n    t += {b}\nprint(t)", n * b),
            (f"def f(x):\n    return x + {n}\nprint(f({a}))", a + n),
            (f"def f(x):\n    return x * {b}\nprint(f({a}) + 1)", a * b + 1),
            (f"x = '{left}'\nprint(x + '{right}')", left + right),
        )
    )
    return _draft(code, answer)


def _draft(code: str, answer: object) -> Draft:
    return Draft("Give only the output of the Python code.", code, str(answer))


KINDS = {"expression": expression, "collection": collection, "control": control}
