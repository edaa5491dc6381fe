"""A small library, so that the team has something to look up without a network."""

import re

ARTICLES = {
    "The price of an electric city bus": (
        "A 12 m electric bus costs about 480,000 euros, a diesel bus 240,000. Charging points come "
        "to 40,000 euros a bus. Energy costs 0.25 euros a kilometre against 0.50 for diesel."
    ),
    "Range of electric buses in winter": (
        "A full battery lasts for 250 km in summer. Heating takes a third of it on days below "
        "minus 5 degrees, unless the bus heats with fuel."
    ),
    "Experience of towns with electric buses": (
        "Of twenty towns that changed over within five years, seventeen would do so again. Three "
        "regret that their depots had no power line that was strong enough: it took two years."
    ),
    "Maintenance of electric buses": (
        "Workshops need a quarter fewer hours for an electric bus than for a diesel bus, and staff "
        "with a licence for high voltage."
    ),
}


def look_up(topic: str) -> list[str]:
    """The articles of the library on a topic, the best match first.

    Args:
        topic: A few words, for example "range in winter".
    """
    wanted = _words(topic)
    matches = {
        title: len(wanted & _words(title + " " + text)) + len(wanted & _words(title))
        for title, text in ARTICLES.items()
    }
    best = sorted((title for title in matches if matches[title]), key=lambda t: -matches[t])
    return [f"{title}: {ARTICLES[title]}" for title in best[:2]]


def _words(text: str) -> set[str]:
    return {word.rstrip("s") for word in re.findall(r"[a-z]{4,}", text.lower())}
