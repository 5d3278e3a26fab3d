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
            (f"print({a} * {b})", a * b),
            (f"print({a} // {b})", a // b),
            (f"print({a} % {b})", a % b),
            (f'print("{word}".upper())', word.upper()),
            (f'print(len("{word}"))', len(word)),
            (f'print("{word}"[0])', word[0]),
            (f'print("{word}" * 2)', word * 2),
            (f"print({a} > {b * 4})", a > b * 4),
            (f'print("{word}".capitalize())', word.capitalize()),
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
            (f"x = {numbers}\nprint(sum(x))", sum(numbers)),
            (f"x = {numbers}\nprint(max(x))", max(numbers)),
            (f"x = {words}\nprint(x[-1])", words[-1]),
            (f'x = {words}\nprint("-".join(x))', "-".join(words)),
            (f"x = {{'{person}': {numbers[0]}, '{other}': {numbers[1]}}}\nprint(x['{other}'])", numbers[1]),
            (f"x = {numbers}\nx.append({numbers[0]})\nprint(len(x))", 5),
            (f"x = {words}\nprint(sorted(x)[0])", sorted(words)[0]),
        )
    )
    return _draft(code, answer)


def control(random: Random) -> Draft:
    """Variables, conditions and short loops."""
    a, b, n = random.randint(2, 12), random.randint(2, 6), random.randint(3, 5)
    left, right = random.sample(NOUNS, 2)
    code, answer = random.choice(
        (
            (f"x = {a}\ny = x + {b}\nprint(y)", a + b),
            (f"x = {a}\nx = x * {b}\nx = x - {n}\nprint(x)", a * b - n),
            (
                f"x = {a}\nif x > {b + 3}:\n    print('{left}')\nelse:\n    print('{right}')",
                left if a > b + 3 else right,
            ),
            (f"t = {a}\nfor i in range({n}):\n    t += {b}\nprint(t)", a + n * b),
            (f"t = 0\nfor i in range({n + 1}):\n    t += i\nprint(t + {a})", sum(range(n + 1)) + a),
            (f"def f(x):\n    return x * {b} + {n}\nprint(f({a}))", a * b + n),
            (f"x = '{left}'\nprint(x[:{n - 1}])", left[: n - 1]),
        )
    )
    return _draft(code, answer)


def _draft(code: str, answer: object) -> Draft:
    return Draft("Give only the output of the Python code.", code, str(answer))


KINDS = {"expression": expression, "collection": collection, "control": control}
