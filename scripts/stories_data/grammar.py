"""The grammar that stories grow from: templates, the cast, and one `Teller` per story.

A template is text with four kinds of holes:

    [x|y|z]      one of these (may nest, may be empty)
    [1:x|y|z]    the same, and every other [1:...] of the story takes the option at the same place,
                 so that an effect matches its cause
    {a.he}       a form of a role: a character (a, b, c), a thing (o, q), a place (p, r), a food (f),
                 a pastime (h). A capital letter ({A}, {a.He}) makes the first letter large
    <glad>       a rule of rules.txt; <Glad> with a large first letter; <glad:b> with {x} meaning b

A line may begin with `if f !b:`: it may be used once f was spoken of, in a story without b, and
with `3*` to weigh more. It does not check English: `check.py` does.
"""

import hashlib
import random
import re
from pathlib import Path

HERE = Path(__file__).parent
PRONOUNS = {
    "he": dict(he="he", him="him", his="his", hers="his", himself="himself"),
    "she": dict(he="she", him="her", his="her", hers="hers", himself="herself"),
}
WEATHERS = ["sun"] * 5 + ["wind"] * 2 + ["cloud"] * 2 + ["cold", "spring", "autumn"]
SENTENCE = re.compile(r"(?<=[.!?])(?<!\w\.) (?=[A-Z])|(?<=[a-z][.!?]) (?=[A-Z\"])|(?<=[.!?]\") (?=[A-Z\"])")
SPEAKER = re.compile(r'" (?:said|asked|cried|called) (\w+)[.,]')
LOOSE = re.compile(r" +([.,!?])")
AN = re.compile(r"\b([Aa])n?(?= (?P<word>\w+))")
SOUNDS_LIKE_CONSONANT = ("uni", "use", "usu", "one", "once", "eu", "ukulele")
SOUNDS_LIKE_VOWEL = ("hour", "honest")


def digest(text):
    """A number that depends on the text alone, the same on every machine and Python."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def needs_an(word):
    """Whether "an" goes before this word: by its sound, not its letter."""
    word = word.lower()
    if word.startswith(SOUNDS_LIKE_VOWEL):
        return True
    return word[0] in "aeiou" and not word.startswith(SOUNDS_LIKE_CONSONANT)


def fix_articles(text):
    return AN.sub(lambda m: m[1] + ("n" if needs_an(m["word"]) else ""), text)


def large(text):
    """The text with its first letter large, past an opening quote."""
    for at, char in enumerate(text):
        if char.isalpha():
            return text[:at] + char.upper() + text[at + 1 :]
    return text


# ---------------------------------------------------------------- templates


class Choice:
    def __init__(self, key, options):
        self.key, self.options = key, options


class Slot:
    def __init__(self, role, form):
        self.cap = role[0].isupper() or form[:1].isupper()
        self.role, self.form = role.lower(), form.lower() if form else ""


class Call:
    def __init__(self, name, arg):
        self.cap = name[0].isupper()
        self.name, self.arg = name.lower(), arg


def parse(text):
    """A template as a list of plain strings, choices, slots and calls."""
    nodes, rest = parse_until(text, 0, "")
    if rest != len(text):
        raise ValueError(f"stray {text[rest]!r} in template: {text}")
    return nodes


def parse_until(text, at, stops):
    nodes, begun = [], at
    while at < len(text) and text[at] not in stops:
        char = text[at]
        if char in "]|" and not stops:
            break
        if char not in "[{<":
            at += 1
            continue
        if at > begun:
            nodes.append(text[begun:at])
        if char == "[":
            node, at = parse_choice(text, at + 1)
        else:
            end = text.index("}" if char == "{" else ">", at)
            inner = text[at + 1 : end]
            node = Slot(*inner.partition(".")[::2]) if char == "{" else Call(*inner.partition(":")[::2])
            at = end + 1
        nodes.append(node)
        begun = at
    if at > begun:
        nodes.append(text[begun:at])
    return nodes, at


def parse_choice(text, at):
    key = None
    if text[at].isdigit() and text[at + 1] == ":":
        key, at = text[at], at + 2
    options = []
    while True:
        nodes, at = parse_until(text, at, "|]")
        options.append(nodes)
        if at >= len(text):
            raise ValueError(f"'[' without ']' in template: {text}")
        at += 1
        if text[at - 1] == "]":
            return Choice(key, options), at


class Line:
    """One wording: its conditions, its weight and its template."""

    CONDITION = re.compile(r"if ([!\w ]+): ")
    WEIGHT = re.compile(r"(\d+)\* ")

    def __init__(self, text):
        self.needs, self.weight, self.source = [], 1, text
        if m := self.CONDITION.match(text):
            self.needs, text = m[1].split(), text[m.end() :]
        if m := self.WEIGHT.match(text):
            self.weight, text = int(m[1]), text[m.end() :]
        self.nodes = parse("" if text == "-" else text)

    def fits(self, flags):
        return all((n[1:] not in flags) if n[0] == "!" else (n in flags) for n in self.needs)


class Beat:
    """One step of a plot in several wordings; the last of four or more may be held out."""

    def __init__(self, chance, lines):
        self.chance, self.lines, self.held = chance, lines, None
        if len(lines) >= 4:
            self.held = min(lines, key=lambda line: digest("wording " + line.source))


class Plot:
    def __init__(self, name, wants, beats):
        self.name, self.wants, self.beats = name, wants, beats


def content(name):
    """The lines of a data file without comments."""
    lines = (HERE / name).read_text(encoding="utf-8").splitlines()
    return [line.rstrip() for line in lines if not line.startswith("#")]


def read_words():
    """words.txt: `name: word, word, ...`, continued on lines that begin with a blank."""
    lists, name = {}, None
    for line in content("words.txt"):
        if line and not line[0].isspace():
            name, _, line = line.partition(":")
            lists[name] = []
        lists.setdefault(name, []).extend(w.strip() for w in line.split(",") if w.strip())
    return lists


def read_rules():
    """rules.txt: `= name`, then one line for each alternative."""
    rules, name = {}, None
    for line in content("rules.txt"):
        if line.startswith("= "):
            name = line[2:]
            if name in rules:
                raise ValueError(f"rule {name} stands twice")
            rules[name] = []
        elif line:
            rules[name].append(Line(line))
    return rules


def read_plots():
    """plots_*.txt: `@ name`, wishes (`o: toy`), then beats, parted by blank lines."""
    plots = []
    for file in sorted(HERE.glob("plots_*.txt")):
        blocks = re.split(r"^@ ", "\n".join(content(file.name)), flags=re.M)
        plots += [read_plot(block) for block in blocks[1:]]
    names = [plot.name for plot in plots]
    if len(set(names)) != len(names):
        raise ValueError("two plots have one name")
    return plots


def read_plot(block):
    head, *paragraphs = re.split(r"\n\s*\n", block.strip())
    name, *wishes = head.splitlines()
    wants = dict((part.strip() for part in wish.split(":")) for wish in wishes)
    beats = []
    for paragraph in paragraphs:
        lines, chance = paragraph.strip().splitlines(), 1.0
        if lines[0].startswith("?"):
            chance = float(lines[0][1:] or 0.5)
            lines = lines[1:]
        beats.append(Beat(chance, [Line(line) for line in lines]))
    return Plot(name.strip(), wants, beats)


class Library:
    """All words, rules and plots, read once."""

    def __init__(self):
        self.words, self.rules, self.plots = read_words(), read_rules(), read_plots()
        self.things = [Thing(*e.split(" = ")) for e in self.words["things"]]
        self.places = [Place(*e.split(" = ")) for e in self.words["places"]]
        self.held_plots = set(self.words["held_plots"])
        missing = self.held_plots - {plot.name for plot in self.plots}
        if missing:
            raise ValueError(f"held_plots names plots that are not there: {missing}")


# ---------------------------------------------------------------- the cast


class Person:
    """A character whose name, kind, pronoun and trait hold for the whole story."""

    def __init__(self, name, pronoun, kind, trait, small=False):
        self.name, self.pronoun, self.kind, self.trait = name, pronoun, kind, trait
        self.small, self.first, self.alone = small, None, True

    def form(self, form, teller):
        if form in PRONOUNS["he"]:
            return PRONOUNS[self.pronoun][form]
        if form == "":
            return self.name
        if form == "ref":
            return self.name if not self.alone or teller.rng.random() < 0.7 else self.the()
        if form == "new":
            return self.first or self.described(teller)
        if form == "title":
            return self.titled(teller)
        return {"kind": self.kind, "adj": self.trait, "the": self.the(), "name": self.name,
                "a": f"a {self.trait} {self.kind}"}[form]

    def the(self):
        return "the " + self.kind if self.alone else self.name

    def titled(self, teller):
        """"Max the fox", and for a child, who is no "Max the boy", "little Max"."""
        if self.kind in ("boy", "girl"):
            return teller.rng.choice(["", "", "little ", "young "]) + self.name
        return f"{self.name} the {self.kind}"

    def described(self, teller):
        size = teller.rng.choice(["", "", "little ", "young "])
        if self.trait in ("little", "young", "small", "tiny", "big"):
            size = ""
        called = teller.rng.choice(["named", "named", "called"])
        return f"a {self.trait} {size}{self.kind} {called} {self.name}"


class Thing:
    """A thing that can be carried, lost, given, made; its tags say what for."""

    def __init__(self, name, tags):
        self.name, self.tags, self.look = name, tags.split(), ""

    def form(self, form, teller):
        if form == "":
            return self.name
        if form in ("a", "full"):
            return ("a " if form == "a" else "") + f"{teller.look_of(self)}{self.name}"
        return {"the": "the " + self.name}[form]


class Place:
    """Somewhere to be: "in the park", "to the park"."""

    def __init__(self, where, tags):
        self.where, self.tags = where, tags.split()
        self.name = where.split(" ", 1)[1]

    def form(self, form, teller):
        return {"": self.name, "in": self.where, "to": "to " + self.name}[form]


class Word:
    """A food or a pastime. A food that ends in + is plural."""

    def __init__(self, name):
        self.plural = name.endswith("+")
        self.name = name.rstrip("+")

    def form(self, form, teller):
        many = {"": self.name, "it": "them", "was": "were", "is": "are"}
        one = {"": self.name, "it": "it", "was": "was", "is": "is"}
        return (many if self.plural else one)[form]


# ---------------------------------------------------------------- telling


class Teller:
    """Tells one story. `split` is train, plots or wordings: see `pick_plot` and `line_of`."""

    def __init__(self, library, seed, split, plot=None):
        self.library, self.split = library, split
        self.rng = random.Random(seed)
        self.plot = plot or self.pick_plot()
        self.bound, self.used, self.looks, self.early = {}, set(), {}, []
        self.flags = set()
        self.cast()

    def pick_plot(self):
        held = self.library.held_plots
        return self.rng.choice([p for p in self.library.plots if (p.name in held) == (self.split == "plots")])

    def cast(self):
        """Draws the cast; one pairing of a name with a thing in twenty is for validation only."""
        while True:
            self.draw_cast()
            rare = digest(f"{self.roles['a'].name} {self.roles['o'].name}") % 20 == 0
            if self.split == "plots" or rare == (self.split == "wordings"):
                break
        wants = self.plot.wants
        self.flags.add(wants.get("w") or self.rng.choice(WEATHERS))
        if wants.get("at"):
            self.flags.add(wants["at"])
        if wants.get("intro") != "own" and self.rng.random() < 0.3:
            self.flags.add("medias")

    def draw_cast(self):
        wants, words = self.plot.wants, self.library.words
        self.roles = {}
        a = self.person(wants.get("a", "any"))
        self.roles["a"] = a
        self.roles["b"] = self.friend(a, wants.get("b", "any"))
        self.roles["c"] = self.elder(a)
        self.roles["d"] = self.friend(self.roles["b"], wants.get("d", "animal"), [a])
        for o, others in (("o", []), ("q", ["o"])):
            fit = [t for t in self.library.things if wants.get(o, "any") in t.tags + ["any"]]
            taken = [self.roles[x].name for x in others]
            self.roles[o] = self.rng.choice([t for t in fit if t.name not in taken])
        for p, others in (("p", []), ("r", ["p"])):
            fit = [t for t in self.library.places if wants.get(p, "out") in t.tags + ["any"]]
            taken = [self.roles[x].name for x in others]
            self.roles[p] = self.rng.choice([t for t in fit if t.name not in taken])
        self.roles["f"] = Word(self.rng.choice(words["foods"]))
        self.roles["h"] = Word(self.rng.choice(words["pastimes"]))

    def person(self, want, avoid=()):
        words, rng = self.library.words, self.rng
        if want == "any":
            want = rng.choice(["child"] * 8 + ["animal"] * 9 + ["other"] * 3)
        pronoun = rng.choice(["he", "she"])
        if avoid and rng.random() < 0.7:
            pronoun = "he" if avoid[0].pronoun == "she" else "she"
        if want == "child":
            kind = "girl" if pronoun == "she" else "boy"
        else:
            taken = [p.kind for p in avoid]
            source = words["animals" if want == "animal" else "small_animals" if want == "small" else want]
            kind = rng.choice([k for k in source if k not in taken])
            if ":" in kind:
                kind, pronoun = kind.split(":")
        heads = [p.name[0] for p in avoid]
        name = rng.choice([n for n in self.some_names(pronoun, want) if n[0] not in heads] or ["Zuzu"])
        return Person(name, pronoun, kind, rng.choice(words["traits"]), kind in words["small_animals"])

    def some_names(self, pronoun, want):
        """A few names to choose from; one in eight is made up, so that no list has them all."""
        rng, words = self.rng, self.library.words
        if rng.random() < 0.12:
            return [made_up_name(rng) for _ in range(8)]
        if want != "child" and rng.random() < 0.55:
            return rng.sample(words["pet_names"], 8)
        return rng.sample(words["girls" if pronoun == "she" else "boys"], 8)

    def friend(self, of, want, avoid=()):
        if want == "any":
            alike = "child" if of.kind in ("boy", "girl") else "animal"
            want = alike if self.rng.random() < 0.65 else self.rng.choice(["child", "animal", "animal", "other"])
        person = self.person(want, [of, *avoid])
        for other in (of, *avoid):
            if person.kind == other.kind:
                person.alone = other.alone = False
        return person

    def elder(self, a):
        kin = self.rng.choice(self.library.words["elders"])
        first, name, pronoun = (part.strip() for part in kin.split("="))
        person = Person(name, pronoun, "grown-up", "wise")
        person.first = first.replace("HIS", PRONOUNS[a.pronoun]["his"])
        person.alone = False
        return person

    def look_of(self, thing):
        if thing.name not in self.looks:
            lists = ["looks", "colors"] + [t for t in thing.tags if t in ("soft", "shiny", "wooden")]
            look = self.rng.choice(self.library.words[self.rng.choice(lists)]) + " "
            self.looks[thing.name] = "" if self.rng.random() < 0.2 else look
        return self.looks[thing.name]

    def line_of(self, lines, held=None):
        """One that fits, not told before in this story; a held-out wording only in its own split."""
        fit = [line for line in lines if line.fits(self.flags)]
        if held is not None and self.split == "wordings" and held in fit and self.rng.random() < 0.5:
            return held
        if self.split != "wordings" or self.rng.random() < 0.5:
            fit = [line for line in fit if line is not held] or fit
        fresh = [line for line in fit if id(line) not in self.used] or fit
        if not fresh:
            raise ValueError(f"{self.plot.name}: nothing fits {sorted(self.flags)}: {lines[0].source}")
        line = self.rng.choices(fresh, [line.weight for line in fresh])[0]
        self.used.add(id(line))
        return line

    def render(self, nodes, x="a"):
        return "".join([node if isinstance(node, str) else self.fill(node, x) for node in nodes])

    def fill(self, node, x):
        if isinstance(node, Choice):
            at = self.rng.randrange(len(node.options))
            if node.key is not None:
                at = self.bound.setdefault(node.key, at)
            return self.render(node.options[at], x)
        if isinstance(node, Call):
            if node.name not in self.library.rules:
                raise ValueError(f"no rule <{node.name}>")
            text = self.render(self.line_of(self.library.rules[node.name]).nodes, node.arg or x)
        else:
            role = x if node.role == "x" else node.role
            form = node.form
            if isinstance(self.roles[role], Person) and role not in self.flags and role in "bc":
                if role == "c" and form == "":
                    form = "new"
                elif form not in ("new", "a", "kind"):
                    self.early.append(role)
            elif form == "new" and role in self.flags:
                form = ""
            self.flags.add(role)
            text = self.roles[role].form(form, self)
        return large(text) if node.cap else text

    def beats(self):
        """The parts of the story, in order: an opening, the plot's beats, an ending."""
        wants = self.plot.wants
        length = self.rng.choices(["short", "plain", "long"], [3, 5, 3])[0]
        keep = {"short": 0.2, "plain": 1.0, "long": 1.6}[length]
        if wants.get("intro") != "own":
            kind = "opening_medias" if "medias" in self.flags else "opening_short" if length == "short" else "opening"
            yield self.rule(kind)
            if length == "long" and "medias" not in self.flags:
                yield self.rule("more_about")
        beats = self.plot.beats
        if length == "short" and "whole" not in wants and self.rng.random() < 0.7:
            beats = beats[:-1]  # the last one looks back or ahead: the story is over without it
        for beat in beats:
            if beat.chance < 1 and self.rng.random() > beat.chance * keep:
                continue
            yield self.render(self.line_of(beat.lines, beat.held).nodes)
        if wants.get("end") != "own" and self.rng.random() < {"short": 0.3, "plain": 0.75, "long": 1}[length]:
            yield self.rule("ending")
            if length == "long" and self.rng.random() < 0.5:
                yield self.rule("last_word")

    def rule(self, name):
        return self.render(self.line_of(self.library.rules[name]).nodes)

    def tell(self):
        """The story's text, in paragraphs."""
        paragraphs, now, target = [], "", self.rng.choice([30, 45, 60])
        for part in self.beats():
            part = LOOSE.sub(r"\1", " ".join(part.split()))
            if len(now.split()) >= target:
                paragraphs.append(now)
                now, target = "", self.rng.choice([30, 45, 60])
            now = f"{now} {part}".strip()
        if len(now.split()) < 8 and paragraphs:
            now = f"{paragraphs.pop()} {now}"
        text = "\n\n".join(self.with_pronouns(p) for p in [*paragraphs, now] if p)
        return fix_articles(text)

    def with_pronouns(self, paragraph):
        """Of two sentences that begin with one name, the second may begin with a pronoun."""
        people = {self.roles[x].name: self.roles[x] for x in "abc" if x in self.flags}
        sentences, last = SENTENCE.split(paragraph), ""
        for at, sentence in enumerate(sentences):
            name = next((n for n in people if sentence.startswith(n)), None)
            rest = sentence[len(name or "") :]
            others = [n for n in people if n != name and n in last + rest]
            if name and last.startswith(name) and not others and not rest.startswith((" and ", ",")):
                he = PRONOUNS[people[name].pronoun]
                if rest.startswith("'s ") and self.rng.random() < 0.6:
                    sentences[at] = he["his"].capitalize() + rest[2:]
                elif rest.startswith(" ") and self.rng.random() < 0.6:
                    sentences[at] = he["he"].capitalize() + rest
            last = sentence if sentence[:1] != '"' else name_after_quote(sentence, people)
        return " ".join(sentences)


class Portrait(Teller):
    """Tells who somebody is, and of nothing that happens: a name, a kind, and pronouns all the way."""

    def beats(self):
        yield self.rule("opening_medias" if "medias" in self.flags else "opening")
        for _ in range(self.rng.randint(3, 6)):
            yield self.rule("about")
        for _ in range(self.rng.randint(1, 3)):
            yield self.rule("more_about")


def name_after_quote(sentence, people):
    """Who spoke, where a sentence is a quote: `"Oh," said Tom.` counts as one about Tom."""
    m = SPEAKER.search(sentence)
    return m[1] if m and m[1] in people else ""


def made_up_name(rng):
    """A name nobody has: two or three open syllables."""
    name = "".join(rng.choice("bdfgklmnprstvz") + rng.choice("aeiou") for _ in range(rng.choice([2, 2, 3])))
    return name.capitalize() + rng.choice(["", "", "n", "l", "x"])
