"""Short reviews with one unmistakable label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random

from evals.sources.local_pool.words import CITIES, PEOPLE, PRODUCTS, WEEKDAYS, Draft

_PRODUCT = {
    "positive": (
        "works perfectly",
        "is the best one I have ever owned",
        "makes me smile every single day",
        "arrived early and looks wonderful",
        "is excellent value for the money",
        "exceeded all my expectations",
        "feels sturdy and beautifully made",
        "is exactly what I hoped for",
    ),
    "negative": (
        "broke after two days",
        "is the worst one I have ever owned",
        "smells terrible and leaks",
        "arrived scratched and dirty",
        "is a complete waste of money",
        "stopped working within a week",
        "feels cheap and falls apart",
        "is useless and far too loud",
    ),
}
_PLACE = {
    "positive": (
        "was spotless and lovely",
        "had delicious food and a wonderful view",
        "was the highlight of our trip",
        "felt warm, friendly and safe",
        "was better than we had dreamed",
        "had a charming garden and perfect coffee",
    ),
    "negative": (
        "was filthy and cold",
        "had awful food and rude staff",
        "ruined our whole trip",
        "was noisy, ugly and overpriced",
        "was far worse than we had feared",
        "had mould on the walls and a terrible smell",
    ),
}
_SERVICE = {
    "positive": (
        "was kind and solved my problem at once",
        "was patient and explained everything well",
        "went out of the way to help us",
        "did an amazing job",
        "was friendly and right on time",
        "fixed it quickly and even cleaned up",
    ),
    "negative": (
        "was rude and hung up on me",
        "never answered and lied to us",
        "made everything worse",
        "did a terrible job",
        "was two hours late and shouted at us",
        "broke the door and left without a word",
    ),
}
_END = {
    "positive": (
        "I love it!",
        "I would do it again.",
        "Highly recommended.",
        "Thank you so much!",
        "Five stars from me.",
        "My whole family is happy.",
    ),
    "negative": (
        "I hate it.",
        "I want my money back.",
        "Stay away from this.",
        "Very disappointed.",
        "One star is too much.",
        "Never again.",
    ),
}


def product(random: Random) -> Draft:
    """A thing that was bought."""
    subject = random.choice(("This {0}", "The {0}", "The new {0}", "My {0}", "The {0} I ordered"))
    return _review(subject.format(random.choice(PRODUCTS)), _PRODUCT, random)


def place(random: Random) -> Draft:
    """A place that was visited."""
    kind = random.choice(("hotel", "restaurant", "cafe", "hostel", "guest house", "bakery", "campsite"))
    return _review(f"The {kind} in {random.choice(CITIES)}", _PLACE, random)


def service(random: Random) -> Draft:
    """Somebody's work."""
    role = random.choice(("plumber", "driver", "waiter", "courier", "electrician", "support agent", "painter"))
    who = random.choice((f"{random.choice(PEOPLE)}, the {role},", f"The {role} who came on {random.choice(WEEKDAYS)}"))
    return _review(who, _SERVICE, random)


def _review(subject: str, phrases: Mapping[str, Sequence[str]], random: Random) -> Draft:
    label = random.choice(("positive", "negative"))
    text = f"{subject} {random.choice(phrases[label])}. {random.choice(_END[label])}"
    return Draft("Say positive or negative.", f'What is the sentiment of this review? "{text}"', label)


KINDS = {"product": product, "place": place, "service": service}
