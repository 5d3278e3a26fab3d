"""One fact, or two as JSON, out of a sentence."""

from __future__ import annotations

import json
from random import Random

from evals.sources.local_pool.words import CITIES, DOMAINS, PEOPLE, PRODUCTS, SURNAMES, WEEKDAYS, Draft


def order_number(random: Random) -> Draft:
    """An order number between other numbers."""
    number = f"{random.choice('ABCDEFGHKLMNPRST')}{random.randint(1000, 99999)}"
    text = random.choice(
        (
            "Order {number} with {n} {product}s has not left {city} since {weekday}.",
            "On {weekday} I paid {n} dollars for a {product}, the order is {number}.",
            "My {product} from order {number} came {n} days late to {city}.",
        )
    )
    return _draft(text.format(number=number, **_slots(random)), "Order number", number)


def email(random: Random) -> Draft:
    """An e-mail address."""
    person, surname = random.choice(PEOPLE).lower(), random.choice(SURNAMES).lower()
    local = random.choice((f"{person}.{surname}", f"{person}{random.randint(2, 99)}", surname))
    address = f"{local}@{random.choice(DOMAINS)}"
    text = random.choice(
        (
            "The {product} is broken. My address is {address} and I am in {city} until {weekday}.",
            "We met in {city}. Since {weekday} {address} has been waiting for the {product}.",
            "Send the bill for {n} {product}s to {address}, please.",
        )
    )
    return _draft(text.format(address=address, **_slots(random)), "E-mail", address)


def city(random: Random) -> Draft:
    """A city; the harder ones name two."""
    start, goal = random.sample(CITIES, 2)
    text = random.choice(
        (
            "{person} works in {goal} and sells {n} {product}s a day.",
            "On {weekday} {person} opened a {product} shop in {goal}.",
            "{person} flew from {start} to {goal} on {weekday} with {n} {product}s.",
            "{person} left {start} on {weekday} and moved to {goal} with one {product}.",
        )
    )
    return _draft(text.format(start=start, goal=goal, **_slots(random)), "City where {0} is now", goal)


def weekday(random: Random) -> Draft:
    """A day of the week."""
    slots = _slots(random)
    text = random.choice(
        (
            "The {product} for {person} will arrive in {city} on {weekday} at {n} past nine.",
            "{person} paid {n} dollars for the {product} last {weekday} in {city}.",
            "Our shop in {city} is closed every {weekday}, says {person}.",
        )
    )
    return _draft(text.format(**slots), "Day of the week", slots["weekday"])


def fields(random: Random) -> Draft:
    """Two facts as JSON with given keys."""
    slots = _slots(random)
    age = random.randint(19, 79)
    text, keys = random.choice(
        (
            ("{person}, aged {age}, lives in {city}.", ("name", "age")),
            ("{person} is {age} years old and comes from {city}.", ("name", "city")),
            ("In {city} we met {person} ({age}), who sells {product}s.", ("city", "age")),
        )
    )
    values = {"name": slots["person"], "age": age, "city": slots["city"]}
    reference = json.dumps({key: values[key] for key in keys})
    system = f'Reply with JSON on one line, keys "{keys[0]}" and "{keys[1]}".'
    return Draft(system, text.format(age=age, **slots), reference)


def _draft(text: str, label: str, reference: str) -> Draft:
    label = label.format(text.split()[0]) if text.split()[0] in PEOPLE else label.format("the person")
    return Draft("You extract data. Reply with the value only.", f"Text: {text}\n{label}:", reference)


def _slots(random: Random) -> dict[str, str]:
    return {
        "person": random.choice(PEOPLE),
        "city": random.choice(CITIES),
        "product": random.choice(PRODUCTS),
        "weekday": random.choice(WEEKDAYS),
        "n": str(random.randint(2, 30)),
    }


KINDS = {"order_number": order_number, "email": email, "city": city, "weekday": weekday, "json": fields}
