"""The corpus: a mixture of stories and conversations, drawn by seed, tokenised and packed into rows.

    python corpus.py show 5          print five documents
    python corpus.py text 20 > f     print about 20 MB of plain text (for the tokenizer)
"""

import random
import sys

import numpy as np

import records
import stories
import talk
import tasks
from world import Split

CONTEXT = 2048
TRAIN = Split(False)
END, START, STOP, PAD = 0, 1, 2, 3          # <|endoftext|>, <|im_start|>, <|im_end|>, <|pad|>

# Share of conversations that begin with the task; about the same share of their later turns.
MIXTURE = {tasks.story_chat: 11, tasks.story_qa: 15, tasks.arithmetic: 14, tasks.multiplication: 14, tasks.word_problem: 5, tasks.copy: 6, tasks.reverse: 6, tasks.list_question: 3, tasks.lookup: 18,
           records.json_record: 12, records.tool_call: 10, talk.small_talk: 9, talk.simple_facts: 4, talk.unknown: 7, talk.memory: 5, talk.idle_tools: 2}
STORY_SHARE = 0.12                          # of the documents: stories without a conversation
SHORT = [t for t in MIXTURE if t not in (tasks.lookup, records.tool_call, talk.idle_tools, talk.memory)]


def document(rng, split=TRAIN):
    """One document: a story (str), or a conversation: a list of (role, text, weight)."""
    if rng.random() < STORY_SHARE:
        return stories.tell(rng, split, chapters=rng.choice([1, 1, 1, 1, 1, 2, 2, 3])).body
    task = rng.choices(list(MIXTURE), MIXTURE.values())[0]
    turns = task(rng, split)
    if turns[0][0] != "system":
        turns = talk.system_message(rng) + turns
    if rng.random() < 0.5:
        for _ in range(rng.randint(1, 5)):
            more = rng.choices(SHORT, [MIXTURE[t] for t in SHORT])[0](rng, split)
            if more[0][0] != "system":
                turns = turns + more
    return turns


def plain(doc):
    """The text of a document without special tokens."""
    return doc if isinstance(doc, str) else "\n".join(f"{role}\n{text}" for role, text, _ in doc)


def encode(tokenizer, docs):
    """Token ids and loss weights for each document. A weight belongs to the token it stands at; packing moves it to the prediction."""
    pieces = [[doc] if isinstance(doc, str) else [f"{role}\n{text}" for role, text, _ in doc] for doc in docs]
    ids = iter(tokenizer.encode_batch_fast([p for ps in pieces for p in ps], add_special_tokens=False))
    out = []
    for doc, ps in zip(docs, pieces):
        if isinstance(doc, str):
            tokens = [END] + next(ids).ids + [END]
            out.append((tokens, [0.0] + [1.0] * (len(tokens) - 1)))
            continue
        tokens, weights = [END], [0.0]
        for role, _, weight in doc:
            body = next(ids).ids
            head = 2 if role in ("user", "system", "assistant", "tool") else 0
            tokens += [START] + body + [STOP] + NEWLINE
            stop = weight if role == "assistant" else 0.0
            weights += [0.0] * (1 + head) + [weight] * (len(body) - head) + [stop] + [0.0] * len(NEWLINE)
        out.append((tokens, weights))
    return out


NEWLINE = []


def load_tokenizer(path):
    """The tokenizer; also notes how a newline is encoded and checks that a role is one token."""
    from tokenizers import Tokenizer
    tokenizer = Tokenizer.from_file(path)
    NEWLINE[:] = tokenizer.encode("\n", add_special_tokens=False).ids
    for role in ("user", "system", "assistant", "tool"):
        assert len(tokenizer.encode(role + "\n", add_special_tokens=False).ids) == 2, role
    return tokenizer


def pack(encoded):
    """Fill rows of CONTEXT tokens, first fit by falling length; rows with much space left are dropped.

    Returns tokens, weights (in twentieths, at the position that predicts the token) and document numbers (0: nothing).
    """
    encoded = sorted((e for e in encoded if len(e[0]) <= CONTEXT), key=lambda e: -len(e[0]))
    bins, space = [], []
    for e in encoded:
        n = len(e[0])
        for i in range(max(0, len(bins) - 40), len(bins)):
            if space[i] >= n:
                bins[i].append(e)
                space[i] -= n
                break
        else:
            bins.append([e])
            space.append(CONTEXT - n)
    order = [i for i, free in enumerate(space) if free < 200]
    tokens = np.full((len(order), CONTEXT), PAD, np.uint16)
    weights = np.zeros((len(order), CONTEXT), np.uint8)
    docs = np.zeros((len(order), CONTEXT), np.uint8)
    for row, b in enumerate(order):
        at = 0
        for number, (ids, w) in enumerate(bins[b]):
            n = len(ids)
            tokens[row, at:at + n] = ids
            weights[row, at:at + n - 1] = (np.array(w[1:]) * 20).astype(np.uint8)
            docs[row, at:at + n] = min(number + 1, 255)
            at += n
    return tokens, weights, docs


def rows(seed, tokenizer, documents=700):
    """Packed rows from one seed: the unit of work of a generator process."""
    rng = random.Random(seed)
    return pack(encode(tokenizer, [document(rng) for _ in range(documents)]))


if __name__ == "__main__":
    rng = random.Random(1)
    if sys.argv[1] == "show":
        for _ in range(int(sys.argv[2])):
            print(plain(document(rng)), "\n" + "-" * 40)
    else:
        size = int(sys.argv[2]) * 1_000_000
        while size > 0:
            text = plain(document(rng))
            size -= len(text)
            print(text)
