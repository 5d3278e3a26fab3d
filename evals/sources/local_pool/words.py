"""Words that fill the slots of the templates."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Draft:
    """What a template made: an instruction, the input it is for, and the one right answer."""

    system: str
    """Instruction, as the system message; small models follow it better there than in front of the input."""
    prompt: str
    reference: str
    example: tuple[str, str] | None = None
    """A question and its answer, shown as an earlier turn, where words cannot teach the form of the answer."""


PEOPLE = (
    "Anna Ben Clara David Elena Farid Grace Hugo Ines Jonas Karin Leo Maya Nils Olga Pedro Rosa Sami Tara Umar "
    "Vera Walter Yusuf Zoe Amir Bruno Celia Dina Emil Flora"
).split()
SURNAMES = (
    "Keller Novak Silva Haddad Brandt Costa Lindqvist Moreau Petrov Okafor Tanaka Walsh Romero Schmidt Jensen "
    "Kaplan Duarte Fischer Mbeki Rossi"
).split()
CITIES = (
    "Berlin Madrid Lisbon Oslo Vienna Dublin Prague Warsaw Athens Zurich Geneva Hamburg Naples Porto Bergen Lyon "
    "Krakow Toronto Boston Denver Chicago Kyoto Osaka Nairobi Lima Quito"
).split()
PRODUCTS = (
    "lamp kettle backpack keyboard blender jacket tent speaker chair toaster camera headset umbrella notebook desk "
    "monitor charger scooter ladder printer"
).split()
MONTHS = "January February March April May June July August September October November December".split()
WEEKDAYS = "Monday Tuesday Wednesday Thursday Friday Saturday".split()
FRUITS = "apple banana grape lemon mango orange pear plum kiwi melon carrot onion".split()
ANIMALS = "cat dog horse rabbit tiger zebra eagle otter panda whale lion goat".split()
COLOURS = "red blue green yellow white black purple orange".split()
NOUNS = (
    "river window garden bridge market forest pencil silver winter basket mirror candle planet button ticket letter "
    "orchard harbor blanket lantern kitchen mountain pocket engine"
).split()
DOMAINS = "example.com example.org example.net".split()
