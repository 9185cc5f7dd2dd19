"""A text to train on that needs no download: short tales, put together at random from sentences written for this.

They have what attention can find: names that come back, "he" and "she" that mean somebody, lists, and speech whose
speaker is named after it. Nobody would take them for literature.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

TALES = 4000  # about 1.7 MB
GIRLS = ("Mina", "Rosa", "Ella", "June", "Tara", "Wanda", "Nora", "Ida")
BOYS = ("Otto", "Ravi", "Finn", "Jonas", "Kofi", "Emil", "Bruno", "Hugo")
ANIMALS = ("hen", "goat", "mole", "otter", "donkey", "heron", "badger", "toad")
PLACES = ("mill", "harbour", "orchard", "market", "quarry", "meadow", "lighthouse", "well")
THINGS = ("kettle", "lantern", "drum", "ladder", "basket", "whistle", "kite", "spoon", "rope", "bell")
LOOKS = ("red", "old", "tiny", "heavy", "shiny", "crooked", "blue", "dusty")
FOODS = ("plums", "bread", "soup", "pears", "cheese", "honey", "beans", "nuts")
FEELINGS = ("glad", "tired", "angry", "proud", "cold", "hungry", "sleepy", "brave")
SKY = ("the sun came up", "it rained", "the wind blew", "snow fell", "the fog was thick", "the moon was full")

BEGIN = (
    "One morning {name} went to the {place} with a {look} {thing}.",
    "{name} lived near the {place}, and {he} had a {look} {thing}.",
    "When {sky}, {name} took the {thing} and walked to the {place}.",
    "There was once a {look} {thing} at the {place}, and it belonged to {name}.",
    "{name} and {friend} were on their way to the {place}.",
)
MIDDLE = (
    "A {animal} sat there and looked at the {thing}.",
    "On the way {he} met {friend}, who carried {food} and {food2}.",
    "“Is this your {thing}?” asked {friend}. “Yes,” said {name}, “it is my {thing}.”",
    "{friend} wanted to have the {thing}, because {fhe} had never seen one that was so {look}.",
    "The {animal} ran away with the {thing}, and {name} ran after the {animal}.",
    "They put {food}, {food2} and {food3} into a bag.",
    "“I am {feeling},” said {name}. “Why are you {feeling}?” asked {friend}.",
    "{name} gave {friend} some {food}, and {friend} gave {name} some {food2}.",
    "Then {sky}, and everybody at the {place} was {feeling}.",
    "The {animal} said nothing, for a {animal} does not talk, but it ate the {food}.",
    "{he_} looked under the {thing2}, behind the {thing3}, and at last inside the {thing}.",
    "{name} sang a song about a {animal} and a {thing}: {animal}, {thing}, {animal}, {thing}.",
)
END = (
    "In the evening {name} went home, and the {thing} stayed at the {place}.",
    "Since that day {name} and {friend} go to the {place} together.",
    "“Good night, {animal},” said {name}. “Good night, {name},” said {friend}.",
    "So {name} was {feeling}, {friend} was {feeling}, and even the {animal} was {feeling}.",
    "And if nobody has moved it, the {thing} is still at the {place}.",
)


def tales(count: int = TALES, seed: int = 0) -> Iterator[str]:
    """`count` tales; equal seeds give equal tales."""
    rng = random.Random(seed)
    for _ in range(count):
        yield tale(rng)


def tale(rng: random.Random) -> str:
    """One tale: who and what is drawn once, so that it comes back; then the sentences."""
    girl = rng.random() < 0.5
    friend_is_girl = rng.random() < 0.5
    name, friend = rng.choice(GIRLS if girl else BOYS), rng.choice(GIRLS if friend_is_girl else BOYS)
    while friend == name:
        friend = rng.choice(GIRLS if friend_is_girl else BOYS)
    pronoun = "she" if girl else "he"
    words = {"name": name, "friend": friend, "he": pronoun, "he_": pronoun.title()}
    words |= {"fhe": "she" if friend_is_girl else "he"}
    words |= dict(zip(("thing", "thing2", "thing3"), rng.sample(THINGS, 3), strict=True))
    words |= dict(zip(("food", "food2", "food3"), rng.sample(FOODS, 3), strict=True))
    for key, choices in (
        ("place", PLACES), ("animal", ANIMALS), ("look", LOOKS), ("feeling", FEELINGS), ("sky", SKY),
    ):  # fmt: skip
        words[key] = rng.choice(choices)
    sentences = [rng.choice(BEGIN), *rng.sample(MIDDLE, rng.randint(3, 6)), rng.choice(END)]
    return " ".join(sentence.format(**words) for sentence in sentences)
