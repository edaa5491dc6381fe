"""The agents of a folder as a whole: who emits, who takes, who hears, and what is odd about it."""
