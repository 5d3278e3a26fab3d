"""One fact, or two as JSON, out of a sentence."""

from __future__ import annotations

import json
from random import Random

from evals.sources.local_pool.words import CITIES, DOMAINS, MONTHS, PEOPLE, PRODUCTS, SURNAMES, WEEKDAYS, Draft


def order_number(random: Random) -> Draft:
    """An order number between other numbers."""
    number = f"{random.choice('ABCDEFGHKLMNPRST')}{random.randint(1000, 99999)}"
    text = random.choice(
        (
            "Order {number} with {n} {product}s has not left {city} since {weekday}.",
            "On {weekday} I paid {n} dollars for a {product}, the order is {number}.",
            "My {product} ({number}) came {n} days late to {city}.",
        )
    ).format(number=number, **_slots(random))
    return Draft("Give only the order number, for example X2345.", text, number)


def email(random: Random) -> Draft:
    """An e-mail address."""
    person, surname = random.choice(PEOPLE).lower(), random.choice(SURNAMES).lower()
    local = random.choice((f"{person}.{surname}", f"{person}{random.randint(2, 99)}", f"{surname}_{person[0]}"))
    address = f"{local}@{random.choice(DOMAINS)}"
    text = random.choice(
        (
            "Please write to {address} about the {product}, I am in {city} until {weekday}.",
            "{person} from {city} can be reached at {address} or by phone on {weekday}.",
            "Send the bill for {n} {product}s to {address}, please.",
        )
    ).format(address=address, **_slots(random))
    return Draft("Give only the e-mail address.", text, address)


def city(random: Random) -> Draft:
    """A city; the harder ones name two."""
    start, goal = random.sample(CITIES, 2)
    text, reference = random.choice(
        (
            ("{person} works in {goal} and sells {n} {product}s a day.", goal),
            ("On {weekday} {person} opened a {product} shop in {goal}.", goal),
            ("{person} flew from {start} to {goal} on {weekday} with {n} {product}s.", goal),
            ("{person} left {start} on {weekday} and moved to {goal} with one {product}.", goal),
        )
    )
    slots = _slots(random) | {"start": start, "goal": goal}
    return Draft("Give only the city where the person is in the end.", text.format(**slots), reference)


def date(random: Random) -> Draft:
    """A written date, to be copied as it stands."""
    day = f"{random.randint(1, 28)} {random.choice(MONTHS)} {random.randint(1990, 2030)}"
    text = random.choice(
        (
            "The warranty of {n} {product}s from {city} ends on {day}.",
            "{person} bought the {product} in {city} on {day} for {n} dollars.",
            "Since {day} the {product} in room {n} has been broken.",
        )
    ).format(day=day, **_slots(random))
    return Draft("Copy only the date, for example 3 May 2020.", text, day)


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
    text = text.format(age=age, **slots)
    return Draft(f'Reply with JSON only, keys "{keys[0]}" and "{keys[1]}".', text, reference)


def _slots(random: Random) -> dict[str, str]:
    return {
        "person": random.choice(PEOPLE),
        "city": random.choice(CITIES),
        "product": random.choice(PRODUCTS),
        "weekday": random.choice(WEEKDAYS),
        "n": str(random.randint(2, 30)),
    }


KINDS = {"order_number": order_number, "email": email, "city": city, "date": date, "json": fields}
