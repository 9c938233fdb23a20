"""Bodies to send, made from a seed: English-like prose of common words, no names and nothing personal."""

from __future__ import annotations

import json
import random

WORDS = (
    *("about", "after", "again", "air", "all", "along", "also", "always", "and", "another", "answer", "any"),
    *("around", "as", "ask", "at", "away", "back", "because", "before", "begin", "below", "between", "big", "book"),
    *("both", "bread", "bridge", "bring", "build", "but", "by", "call", "carry", "change", "city", "clear", "close"),
    *("cold", "come", "country", "cover", "cut", "day", "different", "do", "door", "down", "draw", "early", "earth"),
    *("easy", "eat", "end", "enough", "even", "every", "example", "eye", "family", "far", "farm", "fast", "feel"),
    *("few", "field", "find", "fire", "first", "follow", "food", "for", "form", "found", "from", "full", "garden"),
    *("give", "go", "good", "great", "green", "ground", "group", "grow", "half", "hand", "hard", "have", "hear"),
    *("help", "here", "high", "home", "horse", "house", "how", "idea", "if", "in", "island", "it", "just", "keep"),
    *("kind", "know", "land", "large", "last", "late", "learn", "leave", "letter", "light", "like", "line", "list"),
    *("listen", "little", "live", "long", "look", "make", "many", "measure", "might", "mile", "more", "morning"),
    *("most", "mountain", "move", "much", "music", "near", "need", "never", "next", "night", "north", "not", "now"),
    *("number", "of", "often", "old", "on", "only", "open", "order", "other", "over", "page", "paper", "part"),
    *("people", "picture", "place", "plain", "plant", "point", "question", "quick", "rain", "read", "river", "road"),
    *("room", "run", "same", "school", "sea", "second", "seem", "sentence", "set", "she", "should", "show", "side"),
    *("simple", "slow", "small", "so", "some", "song", "soon", "sound", "stand", "start", "still", "stone", "story"),
    *("street", "study", "such", "summer", "table", "take", "tell", "than", "that", "the", "their", "then", "there"),
    *("they", "thing", "think", "this", "those", "through", "time", "together", "toward", "town", "tree", "turn"),
    *("under", "until", "use", "very", "voice", "walk", "want", "warm", "watch", "water", "way", "we", "well"),
    *("what", "wheel", "where", "which", "while", "white", "why", "wind", "window", "winter", "with", "without"),
    *("wood", "word", "work", "world", "would", "write", "year", "yet", "you", "young"),
)


def prose(length: int, seed: int) -> str:
    """Return sentences of `length` ASCII characters in all; the same for the same seed."""
    chance = random.Random(seed)
    sentences: list[str] = []
    size = 0
    while size < length:
        words = [chance.choice(WORDS) for _ in range(chance.randint(5, 16))]
        if len(words) > 9:
            words[4] += ","
        sentences.append(" ".join(words).capitalize() + chance.choice(("." * 1, ".", ".", "?")))
        size += len(sentences[-1]) + 1
    return " ".join(sentences)[: length - 1] + "." if length else ""


def event(size_bytes: int, seed: int) -> dict[str, object]:
    """Return an event that is `size_bytes` long as compact JSON: a quarter of its prose asks, the rest answers."""

    def made(prompt: str, answer: str) -> dict[str, object]:
        return {
            "event": "response_generation",
            "payload": {
                "timestamp": "2025-09-03T10:30:00Z",
                "service": "pipelines-gateway",
                "tool": "generate_response",
                "args": {"model": "llama2", "prompt": prompt, "temperature": 0.7},
                "response": {"text": answer, "tokens": 150, "latency_ms": 250},
                "metadata": {"user_id": "user123", "session_id": "sess456", "request_id": "req789"},
            },
        }

    room = size_bytes - len(compact(made("", "")))
    asked = room // 4
    return made(prose(asked, seed), prose(room - asked, seed + 1_000_000))


def compact(value: object) -> bytes:
    """Return `value` as JSON without blanks."""
    return json.dumps(value, separators=(",", ":")).encode()
