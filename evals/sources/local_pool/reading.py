"""A question whose answer stands in a given short text."""

from __future__ import annotations

from random import Random

from evals.sources.local_pool.words import ANIMALS, CITIES, COLOURS, FRUITS, PEOPLE, PRODUCTS, WEEKDAYS, Draft


def lookup(random: Random) -> Draft:
    """One fact, stated in these words."""
    slots = _slots(random)
    text = "{a} runs a {product} shop in {city}. It opens at {n} o'clock. On {day} it is closed. The door is {colour}."
    question, answer = random.choice(
        (
            ("Who runs the shop?", "a"),
            ("In which city is the shop?", "city"),
            ("On which day is the shop closed?", "day"),
            ("Which colour is the door?", "colour"),
        )
    )
    return _draft(text.format(**slots), question, slots[answer])


def pairs(random: Random) -> Draft:
    """Two people, each with facts of their own."""
    slots = _slots(random)
    text = "{a} has one {animal} and likes {colour}. {b} has one {other_animal} and likes {other_colour}."
    text += " They live in {city}."
    question, answer = random.choice(
        (
            ("Who has the {animal}?", "a"),
            ("Who has the {other_animal}?", "b"),
            ("Which animal does {a} have?", "animal"),
            ("Which animal does {b} have?", "other_animal"),
            ("Which colour does {b} like?", "other_colour"),
            ("Which animal belongs to the person who likes {other_colour}?", "other_animal"),
            ("Which colour does the owner of the {animal} like?", "colour"),
        )
    )
    return _draft(text.format(**slots), question.format(**slots), slots[answer])


def change(random: Random) -> Draft:
    """Something moves or changes hands; the last state counts."""
    slots = _slots(random)
    text, question, answer = random.choice(
        (
            (
                "{a} took the {product} from {city} to {other_city}. On {day} {b} came to see it.",
                "Where is the {product} now?",
                "other_city",
            ),
            (
                "{a} gave the {product} to {b}. {b} was very glad and took it home on {day}.",
                "Who has the {product} now?",
                "b",
            ),
            (
                "The meeting in {city} was planned for {other_day}. Because {a} is ill, it was moved to {day}.",
                "On which day is the meeting?",
                "day",
            ),
            (
                "{a} wanted to paint the {product} {colour}. The shop had none left, so {a} used {other_colour}.",
                "Which colour did {a} use?",
                "other_colour",
            ),
        )
    )
    return _draft(text.format(**slots), question.format(**slots), slots[answer])


def amounts(random: Random) -> Draft:
    """Two amounts, one asked for."""
    slots = _slots(random)
    first, second = random.sample(range(2, 60), 2)
    text = "{a} picked {first} {fruit}s in {city}. {b} was in {other_city} on {day} and picked {second} {fruit}s."
    question, answer = random.choice(
        (
            ("How many {fruit}s did {a} pick?", first),
            ("How many {fruit}s did {b} pick?", second),
            ("How many {fruit}s were picked in {other_city}?", second),
        )
    )
    values = slots | {"first": str(first), "second": str(second)}
    return _draft(text.format(**values), question.format(**values), str(answer))


def _slots(random: Random) -> dict[str, str]:
    a, b = random.sample(PEOPLE, 2)
    city, other_city = random.sample(CITIES, 2)
    animal, other_animal = random.sample(ANIMALS, 2)
    colour, other_colour = random.sample(COLOURS, 2)
    day, other_day = random.sample(WEEKDAYS, 2)
    return {
        "a": a,
        "b": b,
        "city": city,
        "other_city": other_city,
        "animal": animal,
        "other_animal": other_animal,
        "colour": colour,
        "other_colour": other_colour,
        "day": day,
        "other_day": other_day,
        "product": random.choice(PRODUCTS),
        "fruit": random.choice(FRUITS),
        "n": str(random.randint(7, 11)),
    }


def _draft(text: str, question: str, answer: str) -> Draft:
    return Draft("Answer with one word.", f"{text}\nQuestion: {question}", answer)


KINDS = {"lookup": lookup, "pairs": pairs, "change": change, "amounts": amounts}
