"""Write the evaluation set from the held-out side of the split: ../eval/heldout.jsonl and ../eval/heldout.txt.

    python heldout.py out/tokenizer.json ../eval
"""

import json
import random
import sys
from pathlib import Path

import corpus
import records
import stories
import tasks
from world import Split

HELD = Split(True)
SIZES = [100, 200, 300, 450, 600, 800, 1000, 1200, 1400, 1600, 1750]


def item(task, turns, **more):
    """An item from turns: all but the last are the messages, the last is the answer."""
    return {"task": task, "messages": [{"role": r, "content": t} for r, t, _ in turns[:-1]], "answer": turns[-1][1]} | more


def draw(rng, name, task, count, **options):
    """Different items of a task."""
    seen, out = set(), []
    while len(out) < count:
        turns = task(rng, HELD, **options)
        made = item(name, turns)
        mark = json.dumps(made["messages"])
        if mark not in seen:
            seen.add(mark)
            out.append(made)
    return out


def lookups(rng, tokenizer, count):
    """Look-ups over prompt lengths, each with the number of tokens between the entry's value and the question."""
    out = []
    tokens = lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)
    while len(out) < count:
        turns = tasks.lookup(rng, HELD, SIZES[len(out) % len(SIZES)], 1)
        prompt, wanted = turns[0][1], turns[1][1]
        size = tokens(prompt)
        question = prompt.rstrip().rsplit("\n", 1)[-1]
        named = [k for k in prompt.replace("\n", " ").split() if k.strip("?.,:;") and k.strip("?.") in question]
        at = prompt.rfind(wanted)
        if size > 1900 or not named or prompt.count(wanted) != 1:
            continue
        out.append(item("lookup", turns, tokens=size, depth=tokens(prompt[at + len(wanted):])))
    return out


def main():
    tokenizer, folder, rng = corpus.load_tokenizer(sys.argv[1]), Path(sys.argv[2]), random.Random(20_000)
    items = []
    for name, task in [("arithmetic", tasks.arithmetic), ("multiplication", tasks.multiplication), ("word_problem", tasks.word_problem), ("copy", tasks.copy), ("reverse", tasks.reverse)]:
        items += draw(rng, name, task, 100)
    items += lookups(rng, tokenizer, 88)
    items += draw(rng, "story_qa", tasks.story_qa, 80, questions=1)
    items += draw(rng, "story_chat_qa", tasks.story_chat, 80, questions=1)
    items += draw(rng, "json", records.json_record, 100)
    items += draw(rng, "tool_call", records.tool_call, 80, single=True)
    with open(folder / "heldout.jsonl", "w") as f:
        for i in items:
            f.write(json.dumps(i, ensure_ascii=False) + "\n")
    text = ""
    while len(text) < 60_000:
        text += stories.tell(rng, HELD).body + "\n<|endoftext|>\n"
    (folder / "heldout.txt").write_text(text)


if __name__ == "__main__":
    main()
