"""Short support messages and reviews with one unmistakable label."""

from __future__ import annotations

from random import Random

from evals.sources.local_pool.words import CITIES, PRODUCTS, WEEKDAYS, Draft

_GOOD = (
    "works perfectly",
    "is the best one I have ever owned",
    "makes me smile every single day",
    "arrived early and looks wonderful",
    "is excellent value for the money",
    "exceeded all my expectations",
    "feels sturdy and beautifully made",
    "is exactly what I hoped for",
)
_GOOD_END = (
    "I love it!",
    "I would buy it again.",
    "Highly recommended.",
    "Thank you so much!",
    "Five stars from me.",
    "My whole family is happy with it.",
)
_BAD = (
    "broke after two days",
    "is the worst one I have ever owned",
    "smells terrible and leaks",
    "arrived scratched and dirty",
    "is a complete waste of money",
    "stopped working within a week",
    "feels cheap and falls apart",
    "is useless and far too loud",
)
_BAD_END = (
    "I hate it.",
    "I want my money back.",
    "Do not buy this.",
    "Very disappointed.",
    "One star is too much.",
    "Never again.",
)
_TOPICS = {
    "billing": (
        "I was charged twice for the {product} on my credit card.",
        "The invoice for my {product} shows the wrong amount.",
        "Please refund the payment for the {product} to my bank account.",
        "Why is there an extra fee of {n} dollars on my {product} bill?",
    ),
    "delivery": (
        "My {product} was due on {weekday} but the parcel has still not arrived in {city}.",
        "The courier left the package with the {product} at a wrong house in {city}.",
        "The tracking page says my {product} has been stuck in {city} for {n} days.",
        "When will the parcel with my {product} be shipped to {city}?",
    ),
    "account": (
        "I forgot my password and cannot log in since {weekday} to see my {product}.",
        "The password reset e-mail never comes, so I cannot sign in to check my {product}.",
        "Your site says my username does not exist when I log in to review the {product}.",
        "After {n} failed login attempts my profile is locked, the {product} is still in it.",
    ),
}
_URGENT = (
    "Help right now! The {product} is on fire and smoke fills the room in {city}!",
    "Emergency: the {product} gave my son an electric shock, call me immediately!",
    "Our whole shop in {city} is down and customers are waiting, fix the {product} at once!",
    "The {product} is leaking hot water over live wires this very minute, what do we do?",
)
_RELAXED = (
    "No hurry at all: which colours does the {product} come in?",
    "Just curious, will the {product} be sold in {city} next year?",
    "Whenever you have time, please send me the manual of the {product}.",
    "A small idea for some later version: the {product} could be a little lighter.",
)


def sentiment(random: Random) -> Draft:
    """Positive or negative."""
    label = random.choice(("positive", "negative"))
    body, end = (_GOOD, _GOOD_END) if label == "positive" else (_BAD, _BAD_END)
    opening = random.choice(("This {0}", "The {0}", "The new {0}", "My {0}", "The {0} I ordered"))
    review = f"{opening.format(random.choice(PRODUCTS))} {random.choice(body)}. {random.choice(end)}"
    return Draft("Say positive or negative.", f'What is the sentiment of this review? "{review}"', label)


def topic(random: Random) -> Draft:
    """Billing, delivery or account."""
    label = random.choice(tuple(_TOPICS))
    text = _filled(random.choice(_TOPICS[label]), random)
    return Draft(
        "Say billing (money), delivery (parcels) or account (login).",
        f'What is the topic of this message? "{text}"',
        label,
    )


def urgency(random: Random) -> Draft:
    """Urgent or normal."""
    label = random.choice(("urgent", "normal"))
    text = _filled(random.choice(_URGENT if label == "urgent" else _RELAXED), random)
    return Draft("Say urgent or normal.", f'How urgent is this message? "{text}"', label)


def _filled(template: str, random: Random) -> str:
    opening = random.choice(("", "Hello. ", "Hi team, ", "Good morning. ", "To the support team: ", "Hi. "))
    return opening + template.format(
        product=random.choice(PRODUCTS),
        city=random.choice(CITIES),
        weekday=random.choice(WEEKDAYS),
        n=random.randint(3, 19),
    )


KINDS = {"sentiment": sentiment, "topic": topic, "urgency": urgency}
