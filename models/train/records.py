"""Structured output: JSON records from a sentence, and function calls from a list of tools."""

import json

from tasks import TEXT, answer, user
from world import (ADJECTIVES, ANIMALS, BOYS, CITIES, COLOURS, DAYS, FOODS, GIRLS, JOBS, MONTHS, NOUNS, PETS_F, PETS_M, SURNAMES, THINGS,
                   WEATHER, article, made_up)

VENDORS = ["ACME", "Globex", "Initech", "Umbrella", "Northwind", "Contoso", "Hooli", "Vandelay", "Stark", "Wonka", "Tyrell", "Soylent"]


def person(rng):
    return rng.choice(GIRLS + BOYS) + ("" if rng.random() < 0.3 else " " + rng.choice(SURNAMES)) if rng.random() < 0.9 else made_up(rng).capitalize()


def price(rng):
    return float(f"{rng.randrange(1, 100)}.{rng.choice([0, 5, 25, 50, 75, 90, 99, rng.randrange(100)]):02d}")


def money(x):
    return f"{x:.2f}"


# A schema: how to draw a record, and sentences that say it.
def draw_person(rng):
    return {"name": person(rng), "age": rng.randint(4, 95), "city": rng.choice(CITIES), "job": rng.choice(JOBS)}


def draw_pet(rng):
    return {"name": rng.choice(PETS_F + PETS_M), "species": rng.choice(ANIMALS), "age": rng.randint(1, 20), "color": rng.choice(COLOURS)}


def draw_order(rng):
    return {"customer": person(rng), "item": rng.choice(THINGS), "quantity": rng.randint(1, 60), "price": price(rng)}


def draw_event(rng):
    return {"title": rng.choice(["chess club", "book club", "team meeting", "piano lesson", "birthday party", "dinner", "concert", "football match", "dentist", "workshop", "picnic", "cooking class"]),
            "day": rng.choice(DAYS), "time": f"{rng.randint(7, 21):02d}:{rng.choice(['00', '15', '30', '45'])}", "place": rng.choice(CITIES)}


def draw_book(rng):
    return {"title": f"The {rng.choice(ADJECTIVES).capitalize()} {rng.choice(NOUNS).capitalize()}", "author": person(rng), "year": rng.randint(1900, 2025), "pages": rng.randint(40, 900)}


def draw_weather(rng):
    return {"city": rng.choice(CITIES), "temperature": rng.randint(-15, 38), "condition": rng.choice(WEATHER)}


def draw_invoice(rng):
    vendor = rng.choice(VENDORS) if rng.random() < 0.6 else rng.choice(SURNAMES) + rng.choice([" Ltd", " Inc", " and Sons", ""]) if rng.random() < 0.8 else made_up(rng).upper()
    return {"vendor": vendor, "total": price(rng), "date": f"{rng.randint(2018, 2026)}-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}"}


def draw_trip(rng):
    a, b = rng.sample(CITIES, 2)
    return {"from": a, "to": b, "day": rng.choice(DAYS), "passengers": rng.randint(1, 9)}


def draw_shopping(rng):
    return {"store": rng.choice(["market", "bakery", "toy shop", "corner shop", "book shop"]), "items": rng.sample(THINGS + NOUNS[:40], rng.randint(2, 5))}


def draw_contact(rng):
    first = rng.choice(GIRLS + BOYS)
    return {"name": first, "email": f"{first.lower()}@{rng.choice(NOUNS)}.com", "phone": f"555-{rng.randrange(10000):04d}"}


SCHEMAS = {
    "person": (draw_person, ["{name} is {age} years old, lives in {city} and works as a {job}.", "{name}, {age}, is a {job} from {city}.", "My neighbour {name} works as a {job} in {city} and is {age} years old.",
                             "{name} lives in {city}. {name} is a {job} and turned {age} this year.", "The {job} {name} ({age}) comes from {city}."]),
    "pet": (draw_pet, ["{name} is a {color} {species} and is {age} years old.", "We have a {species} named {name}. It is {color} and {age} years old.", "My {color} {species} {name} turned {age} today.",
                       "{name}, a {species}, is {age} and has {color} fur."]),
    "order": (draw_order, ["{customer} ordered {quantity} {item}s at {price} each.", "Please send {quantity} {item}s to {customer}. Each costs {price}.", "Order from {customer}: {quantity} x {item}, price {price}.",
                           "{customer} wants to buy {quantity} {item}s for {price}."]),
    "event": (draw_event, ["The {title} is on {day} at {time} in {place}.", "On {day} at {time} there is a {title} in {place}.", "Reminder: {title}, {day}, {time}, {place}.", "Let us meet in {place} on {day} at {time} for the {title}."]),
    "book": (draw_book, ["{title} was written by {author} in {year} and has {pages} pages.", "In {year}, {author} published {title}, a book of {pages} pages.", "{author} wrote {title} ({year}, {pages} pages)."]),
    "weather": (draw_weather, ["It is {temperature} degrees and {condition} in {city}.", "{city} is {condition} today at {temperature} degrees.", "The weather in {city}: {condition}, {temperature} degrees.", "In {city} it will be {condition} with {temperature} degrees."]),
    "invoice": (draw_invoice, ["{vendor}, total {total}, {date}", "Invoice from {vendor} dated {date}, total {total}.", "{vendor} billed us {total} on {date}.", "On {date} we paid {total} to {vendor}.", "{vendor}, {date}, total {total}"]),
    "trip": (draw_trip, ["I need a train from {from} to {to} on {day} for {passengers} people.", "{passengers} passengers travel from {from} to {to} on {day}.", "Book a trip to {to} from {from} for {passengers} on {day}."]),
    "shopping list": (draw_shopping, ["Go to the {store} and buy {items}.", "I bought {items} at the {store}.", "We need {items} from the {store}."]),
    "contact": (draw_contact, ["You can reach {name} at {email} or {phone}.", "{name}'s number is {phone} and the email is {email}.", "Contact: {name}, {email}, {phone}."]),
}
INVOICE_SHORT = ["{vendor}, total {total}", "{vendor} billed us {total}.", "Invoice from {vendor}, total {total}.", "We paid {total} to {vendor}.", "Invoice: {vendor} {total}"]
TYPES = {int: "integer", float: "number", str: "string", list: "array"}


def spoken(v):
    if isinstance(v, list):
        return ", ".join(v[:-1]) + " and " + v[-1]
    return money(v) if isinstance(v, float) else str(v)


def dumps(record):
    return json.dumps(record, ensure_ascii=False)


def schema_of(rng, record, kind):
    """The JSON schema of a record, as a program would send it: bare, or with a title and formats as schemars writes it."""
    full = rng.random() < 0.4
    formats = {int: rng.choice(["uint32", "int32", "int64"]), float: rng.choice(["double", "float"])}

    def of(v):
        if isinstance(v, list):
            return {"type": "array", "items": {"type": "string"}}
        return {"type": TYPES[type(v)]} | ({"format": formats[type(v)]} if full and type(v) in formats else {})
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": kind.capitalize()} if full else {}
    return head | {"type": "object", "properties": {k: of(v) for k, v in record.items()}, "required": list(record)}


def json_record(rng, split):
    """A sentence and the request to write it as JSON; sometimes with the keys, sometimes with a schema, else with the usual keys."""
    kind = rng.choice(list(SCHEMAS) + ["invoice"])
    draw, sentences = SCHEMAS[kind]
    while True:
        record = draw(rng)
        if split.has(dumps(record)):
            break
    text = rng.choice(sentences)
    if kind == "invoice" and rng.random() < 0.6:
        text = rng.choice(INVOICE_SHORT)
        del record["date"]
    text = text.format_map({k: spoken(v) for k, v in record.items()})
    for noun in set(THINGS + ANIMALS + JOBS):
        if noun[0] in "aeiou" and f" a {noun}" in text:
            text = text.replace(f" a {noun}", f" an {noun}")
    text = text.replace(" a orange", " an orange").replace("boxs", "boxes").replace("compasss", "compasses").replace("torchs", "torches")
    r = rng.random()
    system = []
    if r < 0.35:
        keys = list(record)
        rng.shuffle(keys)
        keys = keys[:rng.randint(1, len(keys))] if rng.random() < 0.4 else keys
        record = {k: record[k] for k in keys}
        asked = ", ".join(keys) if rng.random() < 0.6 or len(keys) < 2 else ", ".join(keys[:-1]) + " and " + keys[-1]
        ask = rng.choice(["Write this as JSON with the keys {k}: {t}", "Extract {k} as JSON: {t}", "{t}\n\nReturn JSON with {k}.", "Return a JSON object with the keys {k}.\n\n{t}", "{t}\nGive me {k} as JSON."]).format(k=asked, t=text)
    elif r < 0.65:
        if rng.random() < 0.3:
            keys = list(record)
            rng.shuffle(keys)
            record = {k: record[k] for k in keys}
        schema = json.dumps(schema_of(rng, record, kind), indent=2 if rng.random() < 0.2 else None)
        if rng.random() < 0.5:
            system = [("system", rng.choice(["Answer with JSON that matches this schema:\n", "Reply with one JSON object for this schema: ", "Respond only with JSON matching the schema.\n\nSchema:\n",
                                             "Reply with JSON only. JSON schema:\n"]) + schema, TEXT)]
            ask = text
        else:
            ask = rng.choice([f"{text}\n\nAnswer with JSON that matches this schema:\n{schema}", f"Schema: {schema}\n\n{text}", f"{text}\n\nJSON schema: {schema}"])
    elif r < 0.75:
        system = [("system", rng.choice(["Answer with JSON only.", "Reply with JSON.", "Answer with one JSON object.", "Extract the data as JSON."]), TEXT)]
        ask = text
    else:
        ask = rng.choice(["Write this {n} as JSON: {t}", "Turn this into a JSON {n} record: {t}", "{t}\n\nWrite it as JSON, as {a}.", "Extract the {n} as JSON: {t}", "{n} to JSON: {t}"]).format(n=kind, a=article(kind), t=text)
    return system + [user(ask), answer(dumps(record))]


# Tools: name and its other names, description, parameters with their other names and types, requests, and how to read a result.
TOOLS = [
    (["get_weather", "weather", "current_weather"], "Get the weather in a city.", {"city": (["city", "location", "place"], str)},
     ["What is the weather in {city}?", "How is the weather in {city} today?", "Is it raining in {city}?", "Weather in {city}, please.", "Do I need an umbrella in {city}?"]),
    (["set_timer", "start_timer", "timer"], "Start a timer.", {"minutes": (["minutes", "duration"], int)}, ["Set a timer for {minutes} minutes.", "Wake me in {minutes} minutes.", "Timer, {minutes} minutes!", "Please start a timer of {minutes} minutes."]),
    (["set_alarm", "alarm"], "Set an alarm.", {"time": (["time", "at"], "time")}, ["Wake me up at {time}.", "Set an alarm for {time}.", "Alarm at {time}, please."]),
    (["send_message", "send_sms", "message"], "Send a message to somebody.", {"to": (["to", "recipient", "name"], "name"), "text": (["text", "message", "body"], "phrase")},
     ["Tell {to}: {text}", "Send a message to {to}: {text}", "Write to {to} that {text}", "Message {to} \"{text}\""]),
    (["play_music", "play_song", "play"], "Play a song.", {"title": (["title", "song", "name"], "title")}, ["Play {title}.", "I want to hear {title}.", "Put on {title}, please.", "Can you play {title}?"]),
    (["turn_on_light", "light_on"], "Turn on the light in a room.", {"room": (["room", "where"], "room")}, ["Turn on the light in the {room}.", "Light on in the {room}!", "It is too dark in the {room}."]),
    (["turn_off_light", "light_off"], "Turn off the light in a room.", {"room": (["room", "where"], "room")}, ["Turn off the light in the {room}.", "Light off in the {room}!", "It is too bright in the {room}."]),
    (["add", "add_numbers", "sum"], "Add two numbers.", {"a": (["a", "x"], "big"), "b": (["b", "y"], "big")}, ["What is {a} + {b}?", "Add {a} and {b}.", "How much is {a} plus {b}?"]),
    (["multiply", "product"], "Multiply two numbers.", {"a": (["a", "x"], "big"), "b": (["b", "y"], "big")}, ["What is {a} * {b}?", "Multiply {a} by {b}.", "How much is {a} times {b}?"]),
    (["create_event", "add_event", "schedule"], "Add an event to the calendar.", {"title": (["title", "event"], "event"), "day": (["day", "date"], "day"), "time": (["time", "start"], "time")},
     ["Put the {title} on {day} at {time} into my calendar.", "I have a {title} on {day} at {time}.", "Schedule a {title} for {day}, {time}."]),
    (["search", "web_search", "search_web"], "Search the web.", {"query": (["query", "q", "text"], "topic")}, ["Search for {query}.", "Look up {query} on the web.", "Find something about {query}.", "Search the web for {query}"]),
    (["get_time", "current_time", "time_in"], "Get the local time in a city.", {"city": (["city", "location", "place"], str)}, ["What time is it in {city}?", "Tell me the time in {city}.", "How late is it in {city}?"]),
    (["convert_currency", "convert"], "Convert an amount of money.", {"amount": (["amount", "value"], "big"), "from": (["from", "source"], "money"), "to": (["to", "target"], "money")},
     ["Convert {amount} {from} to {to}.", "How much is {amount} {from} in {to}?", "Change {amount} {from} into {to}."]),
    (["create_note", "save_note", "note"], "Save a note.", {"text": (["text", "content", "note"], "phrase")}, ["Note: {text}", "Write this down: {text}", "Save a note: {text}", "Remember this: {text}"]),
    (["find_route", "route", "directions"], "Find the way between two cities.", {"from": (["from", "start", "origin"], str), "to": (["to", "destination", "end"], str)},
     ["How do I get from {from} to {to}?", "Show me the way from {from} to {to}.", "Route from {from} to {to}."]),
    (["roll_dice", "dice"], "Roll dice.", {"count": (["count", "n"], "few"), "sides": (["sides", "faces"], "sides")}, ["Roll {count} dice with {sides} sides.", "Throw {count} {sides}-sided dice."]),
    (["buy", "order_item", "add_to_cart"], "Buy an item.", {"item": (["item", "product", "name"], "thing"), "quantity": (["quantity", "count", "amount"], int)}, ["Buy {quantity} {item}s.", "Order {quantity} {item}s, please.", "I need {quantity} {item}s."]),
    (["book_table", "reserve_table"], "Book a table in a restaurant.", {"people": (["people", "guests"], "few"), "time": (["time", "at"], "time")}, ["Book a table for {people} at {time}.", "We are {people} people and want to eat at {time}.", "A table for {people}, {time}, please."]),
    (["read_file", "open_file", "cat"], "Read a file.", {"path": (["path", "file", "name"], "file")}, ["Open {path}.", "What is in {path}?", "Read the file {path}.", "Show me {path}"]),
    (["translate", "translate_text"], "Translate a word.", {"word": (["word", "text"], "word"), "language": (["language", "to"], "language")}, ["What is {word} in {language}?", "Translate {word} to {language}.", "How do you say {word} in {language}?"]),
    (["set_temperature", "heating"], "Set the temperature of a room.", {"room": (["room", "where"], "room"), "degrees": (["degrees", "temperature"], int)}, ["Set the {room} to {degrees} degrees.", "Make it {degrees} degrees in the {room}."]),
    (["call", "phone_call", "dial"], "Call somebody on the phone.", {"name": (["name", "who", "contact"], "name")}, ["Call {name}.", "Phone {name}, please.", "I want to talk to {name} on the phone."]),
]


def argument(rng, kind):
    if kind is str:
        return rng.choice(CITIES) if rng.random() < 0.9 else made_up(rng).capitalize()
    if kind is int:
        return rng.randint(2, 60)
    return {"time": lambda: f"{rng.randint(0, 23):02d}:{rng.choice(['00', '15', '30', '45', '10', '20', '05'])}", "name": lambda: person(rng), "big": lambda: rng.randrange(2, 10 ** rng.choice([2, 3, 4])),
            "phrase": lambda: phrase(rng), "title": lambda: f"{rng.choice(ADJECTIVES).capitalize()} {rng.choice(NOUNS).capitalize()}", "room": lambda: rng.choice(["kitchen", "bedroom", "bathroom", "hall", "garden", "office", "living room", "attic", "cellar", "garage"]),
            "event": lambda: draw_event(rng)["title"], "day": lambda: rng.choice(DAYS), "topic": lambda: rng.choice([f"{rng.choice(ADJECTIVES)} {rng.choice(THINGS)}", f"{rng.choice(FOODS)}", f"{rng.choice(NOUNS)} and {rng.choice(NOUNS)}", made_up(rng)]),
            "money": lambda: rng.choice(["dollars", "euros", "pounds", "yen", "francs", "USD", "EUR", "GBP"]), "few": lambda: rng.randint(1, 9), "sides": lambda: rng.choice([4, 6, 8, 10, 12, 20]), "thing": lambda: rng.choice(THINGS[:12]),
            "file": lambda: rng.choice(NOUNS) + rng.choice([".txt", ".md", ".json", ".rs", ".py", ".csv"]), "word": lambda: rng.choice(NOUNS), "language": lambda: rng.choice(["French", "Spanish", "German", "Italian", "Latin", "Polish", "Japanese"])}[kind]()


def phrase(rng):
    n = rng.choice(GIRLS + BOYS)
    return rng.choice([f"I am {rng.randint(2, 50)} minutes late", f"see you in {rng.choice(CITIES)}", f"the {rng.choice(THINGS)} is {rng.choice(SPOT)}", f"happy birthday, {n}", f"buy {rng.choice(FOODS)} for {n}", f"we meet on {rng.choice(DAYS)}",
                       f"{n} likes the {rng.choice(ADJECTIVES)} {rng.choice(THINGS)}", f"call {n} in {rng.choice(MONTHS)}", f"bring {article(rng.choice(THINGS))} and {article(rng.choice(NOUNS))}", f"the code is {rng.randrange(100, 10000)}"])


SPOT = ["in the kitchen", "on the table", "under the bed", "in the car", "at home", "in the box"]


def declare(rng, tool, long):
    """A tool as one line of JSON, with the names chosen for this prompt."""
    names, text, parameters, _ = tool
    chosen = {k: rng.choice(v[0]) if rng.random() < 0.5 else v[0][0] for k, v in parameters.items()}
    if len(set(chosen.values())) < len(chosen):
        chosen = {k: k for k in parameters}
    name = rng.choice(names) if rng.random() < 0.5 else names[0]
    types = {chosen[k]: "integer" if v[1] in (int, "big", "few", "sides") else "string" for k, v in parameters.items()}
    if long:
        body = {"name": name, "description": text, "parameters": {"type": "object", "properties": {k: {"type": t} for k, t in types.items()}, "required": list(types)}}
        line = {"type": "function", "function": body} if rng.random() < 0.6 else body
    else:
        line = {"name": name, "description": text, "parameters": types}
    return name, chosen, json.dumps(line)


TOOLS_HEAD = ("# Tools\n\nYou may call one or more functions to assist with the user query.\n\nYou are provided with function signatures within <tools></tools> XML tags:\n<tools>\n",
              "\n</tools>\n\nFor each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:\n<tool_call>\n"
              "{\"name\": <function-name>, \"arguments\": <args-json-object>}\n</tool_call>")


def tool_system(rng, heldout=False):
    """A system message that lists some tools, and those tools with the names chosen."""
    long = rng.random() < 0.65
    tools = rng.sample(TOOLS, rng.choice([1, 2, 2, 3, 3, 4, 5]))
    while heldout and not any(p in (str, "name", "big", "phrase", "title", "topic", "time") for t in tools for _, p in t[2].values()):
        tools = rng.sample(TOOLS, len(tools))
    declared = [declare(rng, t, long) for t in tools]
    lines = "\n".join(d[2] for d in declared)
    lead = rng.choice(["", "", "You are a helpful assistant.\n\n", "You are spark, a helpful assistant.\n\n", "Be brief.\n\n"])
    if rng.random() < 0.6:
        text = lead + TOOLS_HEAD[0] + lines + TOOLS_HEAD[1]
    else:
        text = lead + rng.choice(["You can call these tools:\n", "Tools:\n", "You have these tools:\n", "Available tools:\n"]) + lines
    return ("system", text, TEXT), tools, declared


def call_turns(rng, split, tools, declared):
    """A request that one of the tools serves, and the call."""
    while True:
        i = rng.randrange(len(tools))
        _, _, parameters, requests = tools[i]
        values = {k: argument(rng, v[1]) for k, v in parameters.items()}
        if split.has(tools[i][0][0], *values.values()):
            break
    name, chosen, _ = declared[i]
    call = dumps({"name": name, "arguments": {chosen[k]: v for k, v in values.items()}})
    ask = rng.choice(requests).format_map(values).replace("boxs", "boxes").replace("compasss", "compasses")
    return [user(ask), answer(f"<tool_call>\n{call}\n</tool_call>")], tools[i][0][0], values


RESULTS = {
    "get_weather": lambda r, v: (lambda t, c: ({"temperature": t, "condition": c}, f"It is {t} degrees and {c} in {v['city']}."))(r.randint(-10, 35), r.choice(WEATHER)),
    "get_time": lambda r, v: (lambda t: ({"time": t}, f"It is {t} in {v['city']}."))(f"{r.randint(0, 23):02d}:{r.randint(0, 59):02d}"),
    "add": lambda r, v: ({"result": v["a"] + v["b"]}, f"The result is {v['a'] + v['b']}."),
    "multiply": lambda r, v: ({"result": v["a"] * v["b"]}, f"The result is {v['a'] * v['b']}."),
    "set_timer": lambda r, v: ({"status": "ok"}, f"The timer is set for {v['minutes']} minutes."),
    "send_message": lambda r, v: ({"status": "sent"}, f"I have sent your message to {v['to']}."),
    "turn_on_light": lambda r, v: ({"status": "on"}, f"The light in the {v['room']} is on."),
    "turn_off_light": lambda r, v: ({"status": "off"}, f"The light in the {v['room']} is off."),
    "convert_currency": lambda r, v: (lambda x: ({"result": x}, f"{v['amount']} {v['from']} are {x} {v['to']}."))(r.randrange(2, 9999)),
    "roll_dice": lambda r, v: (lambda x: ({"rolls": x}, "You rolled " + " and ".join(map(str, x)) + "."))([r.randint(1, v["sides"]) for _ in range(min(3, v["count"]))]),
    "call": lambda r, v: ({"status": "calling"}, f"I am calling {v['name']}."),
    "set_alarm": lambda r, v: ({"status": "ok"}, f"The alarm is set for {v['time']}."),
    "buy": lambda r, v: (lambda x: ({"status": "ok", "order": x}, f"Your order number is {x}."))(r.randrange(100, 10000)),
    "translate": lambda r, v: (lambda x: ({"translation": x}, f"In {v['language']}, {v['word']} is {x}."))(made_up(r)),
}


def tool_call(rng, split, single=False):
    """Tools in the system message, requests, calls, and what the results say. `single` stops after the first call."""
    system, tools, declared = tool_system(rng, split.heldout)
    turns = [system]
    for _ in range(1 if single else rng.randint(1, 4)):
        more, tool, values = call_turns(rng, split, tools, declared)
        turns += more
        if single:
            break
        if rng.random() < 0.6:
            result, text = RESULTS[tool](rng, values) if tool in RESULTS else ({"status": "ok"}, rng.choice(["Done.", "It is done."]))
            turns += [("tool", dumps(result), 0.0), answer(text)]
    return turns
