"""Exact tasks: arithmetic, copying, reversing, look-up and questions about stories.

A task draws an item of its split and returns turns: (role, text, weight), where the weight is that of the text in the loss.
The last turn is the answer. Weight 0 is for random content, which nobody could predict.
"""

from stories import request, tell
from world import (ADJECTIVES, BOYS, CITIES, COLOURS, FOODS, GIRLS, JOBS, NOUNS, SURNAMES, THINGS, article, made_up)

RANDOM, TEXT, STORY, ANSWER = 0.0, 0.1, 0.6, 2.0


def user(text, weight=TEXT):
    return ("user", text, weight)


def answer(text, weight=ANSWER):
    return ("assistant", text, weight)


def casual(rng, text):
    """Now and then the text as a hurried user types it: lower case, without the final mark."""
    r = rng.random()
    if r < 0.12:
        text = text.lower()
    if r < 0.08 or 0.12 < r < 0.2:
        text = text.rstrip("?.!")
    return text


PLUS = ["What is {a} + {b}?", "What is {a} plus {b}?", "{a} + {b}", "{a}+{b}", "{a} + {b} = ?", "{a}+{b}=", "Add {a} and {b}.", "How much is {a} + {b}?", "Calculate {a} + {b}.",
        "What's {a} + {b}?", "What is the sum of {a} and {b}?", "Can you add {a} and {b}?", "How much is {a} plus {b}?", "{a} plus {b}"]
MINUS = ["What is {a} - {b}?", "What is {a} minus {b}?", "{a} - {b}", "{a}-{b}", "{a} - {b} = ?", "{a}-{b}=", "Subtract {b} from {a}.", "How much is {a} - {b}?", "Calculate {a} - {b}.",
         "What's {a} - {b}?", "{a} minus {b}", "How much is {a} minus {b}?", "What is {a} − {b}?"]
TIMES = ["What is {a} × {b}?", "What is {a} times {b}?", "{a} × {b}", "{a} * {b}", "{a}*{b}", "{a} x {b}", "{a}x{b}", "{a} * {b} = ?", "Multiply {a} by {b}.", "How much is {a} times {b}?", "Calculate {a} * {b}.",
         "What's {a} times {b}?", "What is the product of {a} and {b}?", "{a} times {b}", "What is {a} * {b}?", "What is {a} x {b}?"]


def times(a, b):
    """A product; of two full two-digit numbers with its working."""
    if a < 10 or b < 10 or a % 10 == 0 or b % 10 == 0:
        return str(a * b)
    tens, ones = b // 10 * 10, b % 10
    return f"{a} × {b} = {a} × {tens} + {a} × {ones} = {a * tens} + {a * ones} = {a * b}"


def operands(rng, split, op):
    """Two numbers of the split. Products with a factor below ten or a full ten are the table, which has no held-out part."""
    while True:
        a, b = rng.randrange(100), rng.randrange(100)
        if rng.random() < 0.1:
            b = rng.randrange(10)
        table = op == "*" and (a < 10 or b < 10 or a % 10 == 0 or b % 10 == 0)
        if table and not split.heldout:
            return a, b
        key = (op, a, b) if op == "-" else (op, min(a, b), max(a, b))
        if not table and split.has(*key):
            return a, b


def arithmetic(rng, split):
    op = rng.choice("+-")
    a, b = operands(rng, split, op)
    return [user(casual(rng, rng.choice(PLUS if op == "+" else MINUS).format(a=a, b=b))), answer(str(a + b if op == "+" else a - b))]


def multiplication(rng, split):
    a, b = operands(rng, split, "*")
    if not split.heldout and rng.random() < 0.4:
        b = rng.choice([rng.randrange(11), rng.randrange(1, 10) * 10])
    return [user(casual(rng, rng.choice(TIMES).format(a=a, b=b))), answer(times(a, b))]


GAIN = ["{n} has {a} {t}s and finds {b} more. How many {t}s does {n} have?", "{n} has {a} {t}s. {m} gives {n} {b} {t}s. How many {t}s does {n} have now?",
        "There are {a} {t}s in a box and {b} {t}s on the table. How many {t}s are there in all?", "{n} buys {a} {t}s and {m} buys {b}. How many {t}s do they have together?"]
LOSS = ["{n} has {a} {t}s and loses {b}. How many {t}s are left?", "{n} has {a} {t}s and gives {b} to {m}. How many {t}s does {n} have left?",
        "There were {a} {t}s in the basket. {n} took {b}. How many {t}s are left?", "A shop has {a} {t}s and sells {b}. How many {t}s are left?"]


def word_problem(rng, split):
    n, m = rng.sample(GIRLS + BOYS, 2)
    t = rng.choice("apple coin book marble shell button pebble pencil ribbon kite drum bell feather ball candle cup egg nut flower seed sweet card stamp".split())
    op = rng.choice("+-")
    while True:
        a, b = operands(rng, split, op)
        if op == "+" or a >= b:
            break
    total = a + b if op == "+" else a - b
    text = rng.choice(GAIN if op == "+" else LOSS).format(n=n, m=m, a=a, b=b, t=t)
    return [user(casual(rng, text)), answer(f"{total} {t}" + ("." if total == 1 else "s."))]


def words(rng, low, high):
    """A list of random words of one kind or mixed."""
    pools = [NOUNS, NOUNS + THINGS, GIRLS + BOYS, COLOURS + ADJECTIVES, CITIES, JOBS, THINGS]
    n = rng.randint(low, high)
    if rng.random() < 0.2:
        return [made_up(rng) for _ in range(n)]
    pool = rng.choice(pools)
    return [rng.choice(pool) for _ in range(n)]


def listing(rng, split, low=2, high=9):
    """A list of words of the split, and how its items are joined."""
    while True:
        items = words(rng, low, high)
        if split.has(*items):
            return items, rng.choice([", ", ", ", " "])


def copy(rng, split):
    r = rng.random()
    if r < 0.4:
        items, joint = listing(rng, split, 1, 14)
        text = joint.join(items)
        lead = rng.choice(["Repeat: ", "Repeat these words: ", "Repeat this list: ", "Copy this list: ", "Say these words again: ", "Echo: ", "Copy: ", "Repeat after me: "])
    elif r < 0.7:
        while True:
            size = rng.randint(2, 24)
            text = "".join(rng.choice("0123456789") for _ in range(size))
            if rng.random() < 0.3:
                text = " ".join(text)
            if split.has(text):
                break
        lead = rng.choice(["Repeat these digits: ", "Repeat: ", "Copy this number: ", "Copy: ", "Repeat the number ", "Echo: "])
    else:
        story = tell(rng, split)
        sentences = [x for x in story.text if len(x) < 160]
        text = rng.choice(sentences)
        lead = rng.choice(["Repeat this sentence: ", "Repeat: ", "Copy this sentence: ", "Copy exactly: ", "Say: ", "Repeat after me: ", "Echo: "])
        if rng.random() < 0.3:
            text = sentence(rng)
        elif rng.random() < 0.3:
            odd = text.split(" ")
            for _ in range(rng.randint(1, 4)):
                odd[rng.randrange(len(odd))] = rng.choice([rng.choice(NOUNS), made_up(rng)])
            text = " ".join(odd)
    return [user(lead + text, RANDOM), answer(text)]


def sentence(rng):
    """A plain sentence with people, jobs and places."""
    n, m = rng.sample(GIRLS + BOYS, 2)
    return rng.choice([f"{n} met {m} in {rng.choice(CITIES)}.", f"{n} bought {article(rng.choice(ADJECTIVES) + ' ' + rng.choice(THINGS))} for {m}.", f"{n} is {article(rng.choice(JOBS))} and likes {rng.choice(FOODS)}.",
                       f"The {rng.choice(NOUNS)} is {rng.choice(COLOURS)}, and the {rng.choice(NOUNS)} is {rng.choice(COLOURS)}.", f"Hello {n}!", "Hello world!", f"I like the {rng.choice(NOUNS)}."])


def reverse(rng, split):
    items, joint = listing(rng, split, 2, 10)
    lead = rng.choice(["Reverse this list: ", "Reverse the order of these words: ", "Reverse: ", "Say these words backwards: ", "Write this list in reverse order: ", "Turn this list around: "])
    return [user(lead + joint.join(items), RANDOM), answer(joint.join(reversed(items)))]


ORDINALS = ["first", "second", "third", "fourth", "fifth"]


def list_question(rng, split):
    """Small questions about a list or about numbers."""
    r = rng.random()
    if r < 0.5:
        items, joint = listing(rng, split, 2, 7)
        k = rng.randrange(min(len(items), 5))
        which = "last" if rng.random() < 0.25 else ORDINALS[k]
        k = len(items) - 1 if which == "last" else k
        return [user(rng.choice(["What is the {} word in this list: {}", "Give me the {} word of: {}"]).format(which, joint.join(items)), RANDOM), answer(items[k])]
    if r < 0.75:
        a, b = rng.sample(range(100), 2)
        more = rng.random() < 0.5
        ask = rng.choice(["Which number is {w}, {a} or {b}?", "Which is {w}: {a} or {b}?"]).format(w=rng.choice(["larger", "bigger", "greater"] if more else ["smaller", "less"]), a=a, b=b)
        return [user(casual(rng, ask)), answer(str(max(a, b) if more else min(a, b)))]
    a = rng.randrange(90)
    b = a + rng.randint(2, 9)
    return [user(casual(rng, rng.choice(["Count from {a} to {b}.", "Please count from {a} to {b}."]).format(a=a, b=b))), answer(", ".join(map(str, range(a, b + 1))))]


def key(rng, kind):
    if kind == "two":
        return rng.choice(ADJECTIVES) + " " + rng.choice(NOUNS)
    if kind == "room":
        return f"{rng.choice(['room', 'box', 'line', 'item'])} {rng.randrange(10, 1000)}"
    if kind == "name":
        return rng.choice(GIRLS + BOYS) + " " + rng.choice(SURNAMES)
    return made_up(rng) if kind == "made" else rng.choice(NOUNS)


def value(rng, kind):
    if kind == "number":
        return str(rng.randrange(10, 10 ** rng.choice([2, 3, 4, 4, 5])))
    if kind == "code":
        return rng.choice("ABCDEFGHKLMNPRSTXYZ") + str(rng.randrange(10, 1000))
    return rng.choice({"word": NOUNS, "colour": COLOURS, "city": CITIES}[kind])


LABELS = {"number": ["number", "code", "value", "secret number"], "code": ["code", "secret code", "password", "value"], "word": ["word", "password", "secret word", "value"],
          "colour": ["colour"], "city": ["city", "home"]}
SHAPES = ["{k}: {v}\n", "{k} = {v}\n", "- {k}: {v}\n", "{k} -> {v}\n", "The {label} of {k} is {v}. ", "The {label} of {k} is {v}.\n", "The {label} for {k} is {v}. ", "{k}, {v}; "]


def size_of(text):
    """About how many tokens the text has."""
    return int(len(text) / 4.4) + sum(c.isdigit() for c in text)


def lookup(rng, split, size=None, questions=None):
    """A key among many, or one fact between stories, asked for afterwards. The size is in tokens, about."""
    size = size or rng.choice([60, 120, 200, 300, 450, 700, 1000, 1400, 1800])
    key_kind, value_kind = rng.choice(["noun", "noun", "two", "room", "name", "made"]), rng.choice(["number", "number", "code", "word", "colour", "city"])
    label, shape = rng.choice(LABELS[value_kind]), rng.choice(SHAPES)
    filler = rng.choice([0.0, 0.0, 0.0, 0.3, 0.8, 1.0])
    needles = rng.randint(1, 4)
    entries, seen, total = [], set(), 0
    parts = []
    while total < size or not entries:
        if rng.random() < filler / 8 or (filler == 1.0 and len(entries) >= needles):
            part = tell(rng, split).body + "\n"
        else:
            for _ in range(400):
                k, v = key(rng, key_kind), value(rng, value_kind)
                if k not in seen and split.has(k, v):
                    break
            else:
                break
            seen.add(k)
            entries.append((k, v))
            part = shape.format(k=k, v=v, label=label)
        parts.append(part)
        total += size_of(part)
    rng.shuffle(parts)
    context = "".join(parts).strip()
    asked = rng.sample(entries, min(len(entries), questions or rng.choice([1, 2, 4, 8])))
    turns = []
    for i, (k, v) in enumerate(asked):
        ask = rng.choice(["What is the {label} of {k}?", "What is the {label} for {k}?", "Look up {k}.", "Which {label} belongs to {k}?", "{k}?", "Tell me the {label} of {k}."]).format(k=k, label=label)
        if i == 0:
            lead = rng.choice(["", "", "Here is a list.\n\n", "Read this:\n\n", "Remember this:\n", "Use this text to answer.\n\n"])
            ask = lead + context + rng.choice(["\n\n", "\n"]) + ask
        turns += [user(ask, RANDOM), answer(v, 4.0 if size > 300 else ANSWER)]
    return turns


def story_qa(rng, split, questions=None):
    """A story in the prompt and questions about it."""
    s = tell(rng, split)
    facts = list(s.facts)
    rng.shuffle(facts)
    facts = facts[:questions or rng.randint(1, 6)]
    turns = []
    for i, (q, a) in enumerate(facts):
        q = casual(rng, q)
        if i == 0:
            q = rng.choice([f"{s.body}\n\n{q}", f"Read this story:\n\n{s.body}\n\n{q}", f"{s.body}\n{q}", f"Here is a story. {s.body}\n\nQuestion: {q}", f"Story: {s.body}\n\n{q}"])
        turns += [user(q, STORY if i == 0 else TEXT), answer(a)]
    return turns


def story_chat(rng, split, questions=None):
    """A story told on request, with questions about it afterwards."""
    ask, s = request(rng, split)
    turns = [user(casual(rng, ask)), answer(s.body, 1.0)]
    facts = list(s.facts)
    rng.shuffle(facts)
    for q, a in facts[:rng.choice([0, 1, 2, 4]) if questions is None else questions]:
        turns += [user(casual(rng, q)), answer(a)]
    return turns
