"""Grammar checks on finished stories: what a machine can find wrong without knowing English.

`faults(teller, text)` names each fault. It does not judge whether a story makes sense.
"""

import re

from .grammar import needs_an

DOUBLED = re.compile(r"\b(\w+) \1\b", re.I)
DOUBLED_FINE = {"that", "had", "knock", "tick", "beep"}
HOLES = re.compile(r"[\[\]{}<>|@_*#=]")
SPACING = re.compile(r" [.,!?;]|[,!?][.,;]|\.[,;]|,[^ \"]|[a-z][.!?][A-Za-z]|[^.]\.\.[^.]|\( | \)|  ")
ARTICLE = re.compile(r"\b(an?) (\w+)", re.I)
AGREEMENT = re.compile(
    r"\b(he|she|it) (were|are|have|do|go|say)\b|\b(they|we|you) (was|is|has|does)\b|\bI (is|are|has|were)\b"
    r"|\b(a|an) (was|is|the|a|an|and|or|of|some)\b|\b(the|some) (the|a|an|some)\b"
    r"|\b(to|did not|could not|will|would|can't|don't) (was|were|went|had|said|saw|came|took|made|gave|got|found|ran)\b",
    re.I,
)
AGREEMENT_FINE = re.compile(r"if (I|he|she|it) were|wish it were|(does|make|did) (it|he|she) (go|have|do|say)|(than|as|and|or|but|of|to|with|for|from) you (was|is)|of (them|you)", re.I)
SHE = re.compile(r"\b(she|her|hers|herself)\b", re.I)
HE = re.compile(r"\b(he|him|his|himself)\b", re.I)
CAPITAL = re.compile(r"(?<=[a-z,] )[A-Z][a-z]+")
CAPITAL_FINE = {"I", "Bridge", "Friends", "Hello", "Odd", "Band", "One", "Note", "Pots", "Pans", "X", "Mr", "Mrs", "Miss", "Sunday", "Sundays", "Mondays", "Fridays", "January"}


# One fault each, and the word by which it is found: --check fails if it overlooks one of them.
PLANTED = [
    ("It was an good day.", "article"),
    ("It was a old hat.", "article"),
    ("It was the the end.", "doubled word"),
    ("The cat {a} ran.", "hole"),
    ("The cat ran , and sat.", "spacing"),
    ("They was glad.", "agreement"),
    ("The cat did not went home.", "agreement"),
    ("They saw The cat.", "capital"),
    ("the cat ran.", "begins small"),
    ("The cat ran. it sat.", "begins small"),
    ("The cat ran", "no end"),
    ('"Oh, it said.', "quotes do not balance"),
    ('"Oh" it said.', "quote"),
    ('"Oh, cat." it said.', "sentence goes on"),
    ('It said "Oh, cat."', "no comma before a quote"),
    ('"Where is the cat!" it said.', "without its mark"),
    ('"The cat is here?" it said.', "no question"),
    ('"The cat is here," it asked.', "asked, but no question"),
]


def overlooked(teller):
    """The planted faults that these checks do not see, as lines."""
    story = teller.tell()
    return [
        f"overlooked {what!r} in {bad!r}"
        for bad, what in PLANTED
        if not any(what in fault for fault in set(faults(teller, bad + "\n\n" + story)) - set(faults(teller, story)))
    ]


def faults(teller, text):
    """What is wrong with this story, each as one line; nothing where all is well."""
    found = []

    def note(what, match):
        start = max(0, match.start() - 30)
        found.append(f"{what}: ...{text[start : match.end() + 30]!r}")

    for match in DOUBLED.finditer(text):
        if match[1].lower() not in DOUBLED_FINE:
            note("doubled word", match)
    for what, pattern in (("hole", HOLES), ("spacing", SPACING)):
        for match in pattern.finditer(text):
            note(what, match)
    for match in ARTICLE.finditer(text):
        if (match[1].lower() == "an") != needs_an(match[2]):
            note("article", match)
    for match in COMMA_ASKED.finditer(text):
        note("asked, but no question", match)
    for match in AGREEMENT.finditer(text):
        if not AGREEMENT_FINE.search(text[max(0, match.start() - 6) : match.end()]):
            note("agreement", match)
    names = {word for person in cast(teller) for word in person.name.split()}
    for match in CAPITAL.finditer(text):
        if match[0] not in names | CAPITAL_FINE:
            note("capital inside a sentence", match)
    sexes = {person.pronoun for person in cast(teller)} | set(teller.plot.wants.get("also", "").split())
    for sex, pattern in (("she", SHE), ("he", HE)):
        match = pattern.search(text)
        if match and sex not in sexes:
            note(f"'{match[0]}', and nobody is {sex}", match)
    elder = teller.roles["c"].first
    for part in text.split('"')[1::2]:
        if elder.startswith(("his ", "her ")) and elder in part:
            found.append(f"who says {elder!r} in {part!r}?")
    found += [f"{x} named before it was introduced" for x in teller.early]
    for paragraph in text.split("\n\n"):
        found += quote_faults(paragraph) + start_faults(paragraph)
    words = len(text.split())
    if not 35 <= words <= 330:
        found.append(f"length: {words} words")
    return found


def cast(teller):
    """Those of the drawn cast that were spoken of."""
    return [teller.roles[x] for x in "abcd" if x in teller.flags]


def quote_faults(paragraph):
    found = []
    if paragraph.count('"') % 2:
        found.append(f"quotes do not balance: {paragraph!r}")
        return found
    parts = paragraph.split('"')
    for at, part in enumerate(parts[1::2]):
        before, after = parts[2 * at], parts[2 * at + 2]
        if not part or part != part.strip() or part[-1] not in ".,!?":
            found.append(f"quote: {part!r}")
        found += mark_faults(part)
        last = re.split(r"(?<=[.!?]) ", part)[-1]
        ends = re.match(r' (said|cried|called|\w+ said) [^"]*?\.( |$)', after) and not re.match(r'[^"]*, $', after)
        if last[-1:] == "," and ends and ASKS.search(last) and not SAYS_ANYHOW.search(last + " "):
            found.append(f"a question without its mark: {last!r}")
        if part and part[-1] == "," and not re.match(r" [a-zA-Z]", after):
            found.append(f"comma before the closing quote, and nothing after: {part!r}")
        if part and part[-1] == "." and re.match(r" [a-z]", after):
            found.append(f"period before the closing quote, and the sentence goes on: {part!r}{after[:20]!r}")
        if before and before[-1] != " ":
            found.append(f"no space before a quote: {before[-20:]!r}")
        if part[:1].islower() and not re.search(r"(said|asked|called|cried|whispered|\w+), $", before):
            found.append(f"a quote begins small: {part!r}")
        if before.strip() and before.strip()[-1].isalnum():
            found.append(f"no comma before a quote: {before[-20:]!r}")
    return found


ASKS = re.compile(
    r"^(oh, |but |and |so |now, |then |hello, |\w+, )?(who|whose|where|why|when|which|what (?!an? |luck|then|big|good|fun)|how (?!(nice|kind|good|warm|silly|sweet|you|lovely|rude)\b)|can|could|will|would"
    r"|may i|shall|should i|do you|does|did|is (?!that it)|are|am i|was i|were|have you|has|had you|does|must i|isn't|aren't|don't you|can't (you|we)|won't)\b", re.I)
ASKS_ANYHOW = re.compile(r"^(and you|if|when i|what|really|today|now\?|again|angry|mama|all by|left|hello|right|me|work|not asleep|still awake|for me|now|help me|you see|you are a ghost|you came all|you are not afraid)\b|(, (can|isn't|don't|do|are|is|right|will|why|how|what|where)|who|what|how|or|if|when|nothing for it)\b", re.I)
SAYS_ANYHOW = re.compile(r"^(what|how|where|when|who) .*(,|\.)$|wonder|^so (am i|are you|were you|was i|is your)|^when i get|^what (you call|goes wrong)|^are you, you|^(what|how|who|when) .* (you|it|me) .*!$|^may (the|you)|^will you|^is that it", re.I)


def mark_faults(quote):
    """A question without its mark, or the mark on what is no question."""
    found = []
    for sentence in re.split(r"(?<=[.!?]) ", quote):
        if sentence[-1:] == "?" and not ASKS.search(sentence) and not ASKS_ANYHOW.search(sentence):
            found.append(f"no question: {sentence!r}")
        if sentence[-1:] in "!." and ASKS.search(sentence) and not SAYS_ANYHOW.search(sentence):
            found.append(f"a question without its mark: {sentence!r}")
    return found


COMMA_ASKED = re.compile(r"[,!]\" (asked|[a-z]+ asked|[A-Z]\w+ asked)")


def start_faults(paragraph):
    """Sentences that begin small or do not end."""
    found = []
    if paragraph[-1] not in '.!?"':
        found.append(f"no end: {paragraph[-30:]!r}")
    outside = "".join(p if at % 2 == 0 else "Q" for at, p in enumerate(paragraph.split('"')))
    for match in re.finditer(r"(?:^|[.!?] )([a-z]\w*)", outside):
        found.append(f"sentence begins small: {outside[max(0, match.start() - 10) : match.end() + 20]!r}")
    for quote in paragraph.split('"')[1::2]:
        for match in re.finditer(r"[.!?] ([a-z]\w*)", quote):
            found.append(f"sentence begins small: {quote!r}")
    return found
