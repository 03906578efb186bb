"""Short stories from plots. A plot is a function that tells a story step by step and notes the facts it made true."""

from world import (ADJECTIVES, ANIMALS, BOYS, FOODS, GIRLS, HELPERS, PETS_F, PETS_M, PLACES, SPOTS, THINGS, TRAITS,
                   NOUNS, WILD, article, made_up)


GENDERED = {"girl": True, "princess": True, "queen": True, "mermaid": True, "boy": False, "king": False}


class Story:
    """What a plot writes to: named fields for the sentences, the text so far, and questions with their answers."""

    def __init__(self, rng, wish):
        self.rng, self.text, self.facts, self.features, self.chapter = rng, [], [], {}, 0
        self.fields = {}
        self.cast("", wish.get("name"), wish.get("kind"))
        self.deal(wish)

    def deal(self, wish):
        """Draw all fields but those of the hero."""
        f = self.fields
        self.cast("friend_", avoid=f["hero"])
        thing = wish.get("thing") or self.pick(THINGS)
        adjective = wish.get("adjective") or self.pick(ADJECTIVES)
        f["thing"], f["the_thing"], f["a_thing"] = thing, f"{adjective} {thing}", article(f"{adjective} {thing}")
        f["place"] = wish.get("place") or self.pick(PLACES)
        f["place2"] = self.pick([p for p in PLACES if p != f["place"]])
        f["spot"], f["food"], f["helper"] = self.pick(SPOTS), self.pick(FOODS), self.pick(HELPERS)
        f["helper2"] = self.pick([h for h in HELPERS if h != f["helper"]])
        f["colour"] = self.pick(["red", "blue", "green", "yellow", "white", "brown"])
        f["trait"], f["n"] = self.pick(TRAITS), self.pick(["two", "three", "four", "five", "seven"])
        f["a_trait"] = article(f["trait"])
        f["a_helper"], f["a_helper2"] = article(f["helper"]), article(f["helper2"])

    def pick(self, options):
        return options[int(self.rng.random() * len(options))]

    def cast(self, prefix, name=None, kind=None, avoid=None):
        """Choose a character and write its fields, each with the prefix."""
        r = self.rng.random()
        she = self.rng.random() < 0.5
        if name in GIRLS + PETS_F:
            she = True
        elif name in BOYS + PETS_M:
            she = False
        elif name is None and kind in GENDERED:
            she = GENDERED[kind]
        child = kind in ("girl", "boy") or (kind is None and (r < 0.5 if name is None else name in GIRLS + BOYS))
        if child:
            kind = "girl" if she else "boy"
        kind = kind or self.pick(ANIMALS)
        while name is None or name == avoid:
            pool = (GIRLS if she else BOYS) if child or self.rng.random() < 0.4 else (PETS_F if she else PETS_M)
            name = self.pick(pool)
        size = self.pick(["little ", "young ", "small ", ""])
        f = self.fields
        f[prefix + "hero"] = name
        f[prefix + "kind"] = kind
        f[prefix + "a_kind"] = article(size + kind)
        f[prefix + "intro"] = f"{article(size + kind)} {self.pick(['named', 'called'])} {name}"
        for key, (f_, m_) in {"he": ("she", "he"), "him": ("her", "him"), "his": ("her", "his")}.items():
            f[prefix + key] = f_ if she else m_
            f[prefix + key.capitalize()] = (f_ if she else m_).capitalize()

    def say(self, *variants):
        self.text.append(self.pick(variants).format_map(self.fields))

    def maybe(self, chance, *variants):
        if self.rng.random() < chance:
            self.say(*variants)

    def ask(self, answer, *questions):
        """Note a fact: an answer and the ways to ask for it."""
        answer = answer.format_map(self.fields)
        self.facts.append((self.pick(questions).format_map(self.fields), answer[0].upper() + answer[1:] + "."))

    def uses(self, *names):
        """Name the fields that this plot puts into the story, so that a request may mention them."""
        self.features = {n: self.fields[n] for n in names}

    def open(self):
        """The first sentences: who the story is about; in a later chapter, that time has passed."""
        if self.chapter:
            self.say("A week later, something else happened.", "The next morning, {hero} was ready for a new adventure.", "But that was not all.", "Some time passed.", "Then summer came.", "That was the first thing that happened to {hero}. Here is another.")
            return
        self.say("Once upon a time, there was {intro}.", "Once upon a time, there was {intro}.",
                 "Once upon a time, {intro} lived {place2}.", "There was once {intro}.", "Long ago, there lived {intro}.",
                 "{hero} was {a_kind}.", "One day, {intro} woke up early.", "In a land far away, there lived {intro}.", "In a small house {place2} lived {intro}.",
                 "The {kind} who lived {place2} was called {hero}.", "One fine morning, {intro} looked out of the window.", "Everyone {place2} knew {hero}, {a_kind}.",
                 "Not so long ago, there was {intro}.", "This is the story of {intro}.")
        self.maybe(0.5, "{He} was very {trait}.", "Everyone knew that {hero} was {trait}.", "{hero} was as {trait} as could be.",
                   "{hero} was {a_trait} {kind} with a warm heart.",
                   "{He} liked long walks and short naps.", "{He} loved to hum while {he} walked.",
                   "{He} lived in a tiny house with a {colour} door.", "{He} could count to a hundred and was proud of it.", "{He} knew {n} songs by heart.",
                   "{He} laughed a lot, mostly about nothing at all.", "{He} asked a hundred questions a day.", "{He} had a {colour} hat and never took it off.")
        self.maybe(0.2, "It was a quiet time of the year.", "It was a day like any other, or so it seemed.", "The birds were singing, and the grass was wet.", "There was a smell of rain in the air.")
        self.ask("{hero}", "Who is the story about?", "What is the name of the {kind}?", "Who is the main character?")
        if self.rng.random() < 0.5:
            self.ask(article(self.fields["kind"]), "What is {hero}?", "What kind of character is {hero}?")

    def close_chapter(self):
        self.maybe(0.5, "{hero} went home with a happy heart.", "That evening, {hero} was tired and happy.", "{He} talked about it for days.")

    def close(self):
        """The last sentence."""
        self.maybe(0.35, "The stars came out one by one.", "The sun went down behind the hills.", "A soft wind sang in the trees.",
                   "Somewhere far off, a bell rang.", "The moon looked down and seemed to smile.", "Leaves danced in the lane.", "It was time to go to bed.", "It had been a long day.", "The air smelled of {food}.")
        self.say("And {hero} slept very well that night.", "From that day on, {hero} and {friend_hero} were the best of friends."
                 if "friend_hero" in self.features else "{hero} smiled all the way home.",
                 "It was the best day of {his} life.", "And that is how it ended.", "{He} never forgot that day.",
                 "{hero} went home with a happy heart.", "And they all lived happily ever after.", "What a day that was!", "If you ever meet {hero}, ask about it.", "And if {he} has not moved away, {he} lives there still.", "{hero} told the story many times after that.",
                 "The end.")

    def spoken(self):
        """A sentence that is said or felt between two steps."""
        self.maybe(0.3, "\"What a strange day,\" said {hero}.", "{hero} took a deep breath.", "\"What now?\" {he} asked.", "\"There must be a way,\" said {hero}.", "For a moment it was very quiet.", "A butterfly flew by, but {hero} did not see it.", "{hero} thought about it for a while.",
                   "\"Oh dear,\" said {hero}.", "{hero} scratched {his} head.", "\"I will not give up,\" said {hero}.",
                   "{hero} sat down to think.")


def lost(s):
    s.uses("thing", "place", "kind", "hero")
    s.open()
    s.say("{He} had {a_thing}, and {he} took it everywhere.", "{His} favourite thing was {a_thing}.",
          "{His} grandmother had given {him} {a_thing}.", "More than anything, {he} loved {his} {the_thing}.")
    s.say("One morning, {he} was playing {place} and lost it.", "But one day, {place}, the {thing} was gone.",
          "One windy day, {he} went for a walk {place}, and when {he} came home the {thing} was missing.")
    s.spoken()
    s.say("{hero} looked everywhere, but the {thing} was nowhere to be seen.", "{He} searched high and low and found nothing.",
          "{He} looked left and right, up and down, but could not find it.")
    s.say("Then {he} met {a_helper}.", "Just then {a_helper} came by.", "On the path {he} met {a_helper}.")
    s.say("\"Why are you so sad?\" asked the {helper}.", "\"What is the matter?\" asked the {helper}.", "\"You look worried,\" said the {helper}.")
    s.say("\"I have lost my {thing},\" said {hero}.", "\"My {the_thing} is gone,\" {hero} answered.")
    s.say("\"I saw something {spot},\" said the {helper}.", "\"Have you looked {spot}?\" asked the {helper}.",
          "The {helper} thought for a moment. \"Try looking {spot},\" came the answer.")
    s.say("{hero} ran there as fast as {he} could, and there it was!", "And there, {spot}, lay the {the_thing}.",
          "{hero} went to look, and the {thing} was really there.")
    s.say("{hero} thanked the {helper} and hugged the {thing} tightly.", "\"Thank you!\" {hero} cried, and danced with joy.",
          "To say thank you, {hero} gave the {helper} some {food}.")
    s.ask("{a_thing}", "What did {hero} lose?", "What was lost in the story?", "What was missing?")
    s.ask("the {helper}", "Who helped {hero}?", "Who told {hero} where to look?", "Whom did {hero} meet?")
    s.ask("{spot}", "Where was the {thing}?", "Where did {hero} find the {thing}?")
    s.ask("{place}", "Where did {hero} lose the {thing}?")


def found(s):
    s.uses("thing", "place", "kind", "hero")
    s.open()
    s.say("One afternoon, {he} was walking {place} when something caught {his} eye.", "One day, {he} saw something shine {place}.",
          "While {he} was playing {place}, {he} tripped over something.")
    s.say("It was {a_thing}.", "There on the ground was {a_thing}.", "{He} bent down and picked up {a_thing}.")
    s.say("\"It is so pretty,\" {he} thought. \"I wish I could keep it.\"", "{hero} wanted to keep it.", "\"Who could have left this here?\" {he} wondered.")
    s.maybe(0.6, "But {he} knew that somebody must be missing it.", "But then {he} thought of how sad the owner must be.")
    s.say("First {he} asked {a_helper}, but it did not belong to the {helper}.", "\"Is this yours?\" {he} asked {a_helper}. \"No,\" said the {helper}, \"but it looks familiar.\"",
          "{He} showed the {thing} to {a_helper}, but the {helper} had never seen it.")
    s.say("Then {he} asked {a_helper2}.", "Next {he} went to {a_helper2}.", "At last {he} came to {a_helper2}.")
    s.say("\"My {thing}!\" cried the {helper2}. \"I have looked for it for {n} days.\"", "The {helper2} jumped with joy. \"You found my {thing}!\"",
          "\"Yes, that is mine,\" said the {helper2}, and wiped away a tear.")
    s.say("As a reward, {hero} got some {food}.", "The {helper2} gave {hero} {food} and a big smile.", "To thank {him}, the {helper2} shared some {food} with {hero}.")
    s.maybe(0.5, "{hero} felt warm inside, because being honest felt good.", "It felt better than keeping it.")
    s.ask("{a_thing}", "What did {hero} find?", "What was on the ground?")
    s.ask("{place}", "Where did {hero} find the {thing}?", "Where was the {thing} found?")
    s.ask("the {helper2}", "Who owned the {thing}?", "Whose {thing} was it?", "To whom did the {thing} belong?")
    s.ask("some {food}", "What did {hero} get as a reward?", "What was the reward?")


def share(s):
    s.uses("friend_hero", "place", "kind", "hero", "food")
    s.open()
    s.say("{He} packed some {food} and went for a picnic {place}.", "One day {he} took a basket of {food} and sat down {place}.",
          "{His} mother had made {food}, and {he} carried it to a sunny spot {place}.")
    s.say("There {he} met {friend_intro}.", "Soon {friend_intro} came along.", "Near by sat {friend_intro}.")
    s.say("\"I am so hungry,\" said {friend_hero}. \"I have not eaten all day.\"", "{friend_hero} looked at the {food} and sighed.",
          "{friend_hero} was too shy to ask, but {friend_his} tummy rumbled loudly.")
    s.say("{hero} did not have much, but {he} gave {friend_hero} half of it.", "\"Sit down,\" said {hero}. \"There is enough for two.\"",
          "\"Please, have some of my {food},\" said {hero}.")
    s.say("They ate and laughed together.", "It tasted twice as good as before.", "They ate every last crumb.")
    s.say("On the way home, {hero} lost {his} way.", "Later, a thick fog came up, and {hero} could not see the path.", "That evening {hero} fell into a deep hole.")
    s.say("\"Help!\" {he} called. \"Is anybody there?\"", "{He} called and called.", "{He} was cold and a little afraid.")
    s.say("It was {friend_hero} who heard {him}.", "Who came running? It was {friend_hero}!", "{friend_hero} heard it from far away and came at once.")
    s.say("\"You helped me, so now I help you,\" said {friend_hero}, and brought {him} safely home.", "{friend_hero} took {his} hand and led {him} home."
          , "\"Friends share everything,\" said {friend_hero}, \"troubles too.\"")
    s.ask("some {food}", "What did {hero} share?", "What did they eat?", "What did {hero} give to {friend_hero}?")
    s.ask("{friend_hero}", "Who was hungry?", "Who helped {hero} in the end?", "Who rescued {hero}?", "Who heard {hero} call?")
    s.ask("{place}", "Where did they meet?", "Where was the picnic?")


FEARS = {"the dark": "night", "thunder": "storm", "deep water": "swim", "high places": "climb", "big dogs": "walk", "the wind": "storm"}


def afraid(s):
    s.uses("friend_hero", "kind", "hero", "place")
    fear = s.fields["fear"] = s.pick(list(FEARS))
    s.open()
    s.say("But {he} was afraid of {fear}.", "{He} had one secret: {he} was afraid of {fear}.", "There was only one thing {he} did not like, and that was {fear}.")
    s.say("{His} friend {friend_hero} was {friend_a_kind} who was afraid of nothing.", "{He} told only {his} friend {friend_hero}, {friend_a_kind}.",
          "One day {he} told {friend_intro} about it.")
    s.say("\"I was afraid of {fear} too,\" said {friend_hero}. \"Then I tried it in small steps.\"", "\"Come with me,\" said {friend_hero}. \"We will go together.\"",
          "{friend_hero} did not laugh. \"Hold my hand,\" {friend_he} said.")
    s.say("So they met {place} that evening.", "They tried it {place} the next day.", "Together they practised {place}, a little every day.")
    s.say({"night": "The first night, {hero} wanted to run home, but {friend_hero} sang a song in the dark.",
           "storm": "The sky roared, and {hero} counted slowly from one to ten.",
           "swim": "First {hero} put in one toe, then a foot, and then {he} swam a tiny circle.",
           "climb": "{hero} climbed one step, then two, and did not look down.",
           "walk": "A big dog came, wagged its tail, and licked {hero} on the nose."}[FEARS[fear]])
    s.say("{His} heart beat fast, but nothing bad happened.", "It was not so bad after all.", "After a while, {he} noticed that {he} was not shaking any more.")
    s.say("\"I did it!\" shouted {hero}.", "\"Look at me!\" {hero} laughed.", "{hero} could hardly believe it.")
    s.say("\"Being brave means to be afraid and to do it all the same,\" said {friend_hero}.", "{friend_hero} was very proud of {him}.", "{friend_hero} clapped and cheered.")
    s.ask(fear, "What was {hero} afraid of?", "What did {hero} fear?")
    s.ask("{friend_hero}", "Who helped {hero}?", "Who was the friend of {hero}?", "Who went with {hero}?")
    s.ask("{place}", "Where did they go?", "Where were they?")


BUILDS = {"a raft": ("logs", "it sank", "rope"), "a tree house": ("boards", "the roof fell in", "nails"), "a kite": ("paper", "it would not fly", "a longer tail"),
          "a bridge": ("branches", "it broke in the middle", "strong rope"), "a snow castle": ("snow", "a wall fell down", "cold water"),
          "a little cart": ("boxes", "a wheel came off", "a new axle"), "a shelter": ("leaves", "the rain came in", "thick bark")}


def build(s):
    s.uses("friend_hero", "place", "kind", "hero")
    f = s.fields
    f["work"] = s.pick(list(BUILDS))
    f["stuff"], f["fail"], f["fix"] = BUILDS[f["work"]]
    s.open()
    s.say("{hero} and {his} friend {friend_hero} wanted to build {work}.", "One day {hero} said to {friend_hero}, \"Let us build {work}!\"",
          "\"I want to build {work},\" said {hero}. {friend_hero} wanted to help.")
    s.say("They gathered {stuff} {place} and worked all morning.", "They carried {stuff} to their secret spot {place}.", "They found {stuff} {place} and got to work.")
    s.say("But when they tried it out, {fail}.", "It looked fine, but then {fail}.", "They were nearly done when {fail}.")
    s.say("{friend_hero} wanted to give up.", "\"It is no use,\" said {friend_hero}.", "{friend_hero} kicked at the ground.")
    s.spoken()
    s.say("\"We only need {fix},\" said {hero}.", "Then {hero} had an idea. \"What about {fix}?\"", "{hero} walked around it {n} times. \"I know! We need {fix}.\"")
    s.say("They asked {a_helper}, who gave them what they needed.", "The {helper} had just that and gave it to them.", "They got it from {a_helper}.")
    s.say("They tried again, and this time it worked.", "The second time, everything held.", "Now it was perfect.")
    s.maybe(0.6, "They were so proud that they invited everyone to see it.", "\"We make a good team,\" said {friend_hero}.", "{friend_hero} gave {hero} a big hug.")
    s.ask("{work}", "What did they build?", "What did {hero} want to build?")
    s.ask("{friend_hero}", "Who built it with {hero}?", "Who wanted to give up?", "Who is the friend of {hero}?")
    s.ask("{fix}", "What did they need to fix it?", "What was missing at first?")
    s.ask("the {helper}", "Who gave them what they needed?", "From whom did they get it?")
    s.ask("{place}", "Where did they build it?", "Where did they work?")


def trade(s):
    s.uses("friend_hero", "thing", "kind", "hero")
    f = s.fields
    f["b"], f["c"] = s.rng.sample([t for t in THINGS if t != f["thing"]], 2)
    f["a_b"], f["a_c"] = article(f["b"]), article(f["c"])
    s.open()
    s.say("Tomorrow was the birthday of {his} friend {friend_hero}, and {he} had no present.", "{His} friend {friend_hero} had a birthday, and {hero} wanted to give something special.")
    s.say("{friend_hero} had always wanted {a_c}.", "{He} knew that {friend_hero} wished for {a_c}.")
    s.say("But all that {hero} owned was {a_thing}.", "{hero} had no {c}. {He} only had {a_thing}.")
    s.say("{He} went to {a_helper}, who liked the {thing} and gave {him} {a_b} for it.", "{a_helper} wanted the {thing} and offered {a_b} for it.", "At the market, {he} swapped the {thing} for {a_b} with {a_helper}.")
    s.say("Then {he} met {a_helper2}, who had {a_c} and needed {a_b}.", "Next came {a_helper2}, who looked for {a_b} and had {a_c} to give.")
    s.say("So {hero} swapped again.", "They shook hands, and both were happy.", "\"What luck!\" said {hero}, and they traded.")
    s.say("{He} wrapped the {c} in paper and ran to the party.", "{He} tied a ribbon around the {c} and knocked at the door.")
    s.say("{friend_hero} opened it and gasped. \"How did you know?\"", "\"This is the best present ever!\" cried {friend_hero}.", "{friend_hero} was so happy that {friend_he} danced around the room.")
    s.ask("{a_c}", "What did {friend_hero} get?", "What did {friend_hero} want?", "What was the present?")
    s.ask("{friend_hero}", "Whose birthday was it?", "Who had a birthday?", "Who got the present?")
    s.ask("{a_thing}", "What did {hero} have at first?", "What did {hero} own at the start?")
    s.ask("the {helper}", "Who got the {thing}?", "Who took the {thing}?")
    s.ask("the {helper2}", "Who had {a_c}?", "Who gave {hero} the {c}?")


def storm(s):
    s.uses("thing", "place", "kind", "hero")
    s.open()
    s.say("One day {he} set out to visit {his} aunt and took {his} {the_thing} along.", "With {a_thing} under {his} arm, {he} set out on a long trip.",
          "{He} packed {a_thing} and went to see the world.")
    s.say("{place}, dark clouds rolled in.", "When {he} was {place}, it began to rain.",
          "{He} was {place} when a storm broke loose.")
    s.say("The wind howled, and the rain came down like a curtain.", "Thunder shook the ground.", "Lightning lit up the sky.")
    s.say("{hero} found shelter with {a_helper}.", "\"Come in, come in!\" called {a_helper}.", "A door opened, and {a_helper} waved {him} inside.")
    s.say("Inside it was warm, and the smell of {food} filled the room.", "They ate {food} by the fire.", "{He} was given {food}, still warm.")
    s.say("The {helper} looked at the {thing} and told a story about it.", "\"I had {a_thing} just like that when I was young,\" said the {helper}.",
          "The {helper} asked about the {thing}, and {hero} told everything.")
    s.say("They talked until the storm was over.", "In the morning the sky was clear and blue.", "By dawn, the storm had passed, and a rainbow stood in the sky.")
    s.say("Before {he} left, {hero} gave the {helper} the {the_thing}. \"So that you remember me,\" {he} said.", "\"Please keep the {thing},\" said {hero}. \"You saved me.\"",
          "{hero} left the {thing} behind as a gift.")
    s.ask("the {helper}", "Who gave {hero} shelter?", "Who opened the door?", "Who got the {thing} in the end?")
    s.ask("{food}", "What did they eat?", "What was there to eat?")
    s.ask("{a_thing}", "What did {hero} carry?", "What did {hero} take along?", "What did {hero} give away?")
    s.ask("{place}", "Where was {hero} when the storm came?", "Where did the storm begin?")


def race(s):
    s.uses("friend_hero", "place", "kind", "hero")
    s.open()
    s.say("Every year there was a big race {place}.", "One day there was a race {place}.", "On Sunday, a race was to be held {place}.")
    s.say("{friend_intro} was the fastest of all and was sure to win.",
          "\"I will win, I always win,\" said {friend_intro}.", "Everyone thought that {friend_hero}, {friend_a_kind}, would win.")
    s.say("{hero} had trained for {n} weeks.", "{hero} was not fast, but {he} did not give up easily.", "{hero} only wanted to take part.")
    s.say("\"Ready, steady, go!\" called the {helper}, and off they ran.", "The {helper} waved a flag, and the race began.", "The {helper} rang a bell, and off they went.")
    win = s.rng.random() < 0.5
    s.say("Soon {friend_hero} was far ahead.", "{friend_hero} ran like the wind.", "{friend_hero} took the lead at once.")
    if win:
        s.say("But halfway, {friend_he} stopped for a nap under a tree.", "But {friend_he} took a wrong turn and got lost.", "But {friend_he} was so sure of winning that {friend_he} stopped to eat {food}.")
        s.say("{hero} kept going, step by step.", "{hero} ran on, slow and steady.")
        s.say("In the end it was {hero} who won.", "{hero} crossed the line first, and everyone cheered.")
        s.say("{friend_hero} shook {his} hand. \"You earned it,\" {friend_he} said.", "\"Well done,\" said {friend_hero}. \"Next year I will try harder.\"")
    else:
        s.say("But then {friend_he} fell and hurt {friend_his} foot.", "Then {friend_he} slipped and landed in the mud.", "Suddenly {friend_he} tripped over a root.")
        s.say("{hero} could have run past, but {he} stopped to help.", "\"Lean on me,\" said {hero}, and {he} forgot about winning.")
        s.say("They walked over the line together, last of all.", "Arm in arm, they came in last.")
        s.say("The {helper} gave both of them a prize for kindness.", "The crowd cheered louder for them than for the winner.")
    s.ask("{hero}" if win else "{friend_hero}", "Who won the race?" if win else "Who got hurt in the race?")
    s.ask("{place}", "Where was the race?", "Where was the race held?")
    s.ask("the {helper}", "Who started the race?", "Who gave the sign to start?")
    s.ask("{friend_hero}", "Who was ahead at first?", "Who was the fastest?" if win else "Whom did {hero} help?")


def noise(s):
    s.uses("friend_hero", "place", "thing", "kind", "hero")
    s.open()
    s.say("One evening, {he} heard a strange noise {place}.", "One quiet night, a strange sound came from somewhere {place}.", "While {he} was {place}, {he} heard a soft cry.")
    s.say("\"Who is there?\" called {hero}.", "{hero} wanted to run, but {he} was too curious.", "{He} crept closer, step by step.")
    s.say("There, {spot}, was {friend_intro}, stuck and unable to move.", "It was {friend_intro}, who was trapped {spot}.")
    s.say("\"Please help me,\" said {friend_hero}.", "\"I have been here for hours,\" said {friend_hero}.", "{friend_hero} looked up with big eyes.")
    s.say("{hero} pulled, but it was no use.", "{hero} tried with both hands and could not do it.")
    s.say("Then {he} remembered the {the_thing} in {his} bag.", "But {he} had {a_thing} with {him}, and that gave {him} an idea.", "{He} ran home and came back with {a_thing}.")
    s.say("With the {thing}, {he} set {friend_hero} free.", "The {thing} did the trick, and {friend_hero} was free.", "{He} used the {thing}, and at last {friend_hero} came loose.")
    s.say("\"You saved me!\" said {friend_hero}.", "{friend_hero} hugged {him} for a long time.", "\"How can I ever thank you?\" asked {friend_hero}. \"Be my friend,\" said {hero}.")
    s.maybe(0.6, "They shared some {food} and talked until late.", "Together they walked home under the moon.")
    s.ask("{friend_hero}", "Who was stuck?", "Who made the noise?", "Whom did {hero} save?", "Who needed help?")
    s.ask("{a_thing}", "What did {hero} use to help?", "What set {friend_hero} free?")
    s.ask("{spot}", "Where was {friend_hero} stuck?", "Where was {friend_hero}?")
    s.ask("{place}", "Where did {hero} hear the noise?", "Where did the noise come from?")


PLANTS = {"a pumpkin": "orange", "a sunflower": "yellow", "a rose": "red", "an apple tree": "green", "a bean plant": "green", "a tulip": "purple", "a strawberry plant": "red"}


def garden(s):
    s.uses("place", "kind", "hero")
    f = s.fields
    f["plant"] = s.pick(list(PLANTS))
    s.open()
    s.say("One spring day, the {helper} gave {him} a tiny seed.", "{He} got a seed from the {helper}.", "\"Plant this and be patient,\" said the {helper}, and gave {him} a seed.")
    s.say("{hero} planted it {place} and watered it.", "{He} found a good spot {place}, dug a hole, and put the seed in.", "So {hero} planted the seed {place}.")
    s.say("The next day, nothing had happened.", "{He} waited one day, two days, {n} days, and saw nothing but earth.", "Every morning {he} ran to look, and every morning there was nothing.")
    s.say("\"Maybe it is asleep,\" thought {hero}.", "{hero} sang to it so that it would not be lonely.", "{hero} was sad, but {he} kept on watering.")
    s.maybe(0.5, "A neighbour laughed, but {hero} did not mind.", "\"Nothing will come of it,\" said a neighbour.")
    s.say("Then, after {n} weeks, a green tip came out of the ground.", "At last, one warm morning, a small leaf looked out.", "And then, when {he} had nearly given up, something green appeared.")
    s.say("It grew and grew, and it became {plant}.", "By summer, it was {plant}, the finest of all.", "Soon everyone could see that it was {plant}.")
    s.say("{hero} invited the {helper} to see it.", "{hero} shared it with all the neighbours.", "People came from far away to look at it.")
    s.say("\"Good things take time,\" said the {helper}.", "\"You were patient, and that is the secret,\" said the {helper}.")
    s.ask("{plant}", "What grew from the seed?", "What did the seed become?", "What did {hero} grow?")
    s.ask("the {helper}", "Who gave {hero} the seed?", "From whom did {hero} get the seed?")
    s.ask("{place}", "Where did {hero} plant the seed?", "Where was the seed planted?")


WISHES = {"to fly like a bird": "{hero} rose up over the roofs and waved to the clouds",
          "to be as big as a house": "{hero} grew and grew until {his} head touched the clouds",
          "to talk with the fish": "{hero} heard the fish tell old jokes in the water",
          "to be invisible": "{hero} could not even see {his} own feet",
          "for a mountain of cake": "there was so much cake that the door would not open",
          "for endless summer": "the sun did not go down any more"}


def wish(s):
    s.uses("thing", "place", "kind", "hero")
    f = s.fields
    f["wish"] = s.pick(list(WISHES))
    s.open()
    s.say("One day {he} found {a_thing} {place}.", "{place}, {he} found {a_thing}.")
    s.say("When {he} touched it, it began to glow.", "{He} rubbed it, and a small voice spoke.", "It hummed softly in {his} hands.")
    s.say("\"I am a magic {thing},\" it said. \"You have one wish.\"", "\"Make a wish,\" whispered the {thing}, \"but choose well.\"")
    s.say("{hero} wished {wish}.", "Without thinking, {hero} wished {wish}.", "{hero} had always wanted one thing, so {he} wished {wish}.")
    s.say("And at once " + WISHES[f["wish"]] + ".", "A moment later, " + WISHES[f["wish"]] + ".")
    s.say("It was fun at first.", "\"This is wonderful!\" {he} laughed.", "For a while, it was the best thing ever.")
    s.say("But soon {he} felt lonely and wanted everything to be as before.", "But after a day {he} missed {his} friends.", "But by evening {he} was tired of it.")
    s.say("{He} told {a_helper} about it.", "{He} asked {a_helper} what to do.")
    s.say("\"Give the {thing} away, and the wish will end,\" said the {helper}.", "\"The magic ends when you say thank you,\" said the {helper}.")
    s.say("{hero} did so, and all was well again.", "{hero} did as the {helper} had said, and the magic was gone.")
    s.maybe(0.6, "\"I have all I need,\" said {hero}.", "Now {he} knew that {he} already had what {he} needed.")
    s.ask(f["wish"], "What did {hero} wish?", "What was the wish?")
    s.ask("{a_thing}", "What did {hero} find?", "What was magic?")
    s.ask("{place}", "Where was the {thing}?", "Where did {hero} find the {thing}?")
    s.ask("the {helper}", "Who knew how to end the magic?", "Who helped {hero}?")


def treasure(s):
    s.uses("friend_hero", "thing", "place", "kind", "hero")
    s.open()
    s.say("One day, {he} found an old map {spot}.", "In an old book, {he} found a map.", "The {helper2} gave {him} an old map.")
    s.say("{He} showed it to {his} friend {friend_hero}.", "\"Look, a treasure map!\" {he} said to {friend_hero}.", "{friend_hero} was the first to hear about it.")
    s.say("The map led them to a place {place2}.", "First they had to look for a sign {place2}.", "They followed the dotted line and came to a stone {place2}.")
    s.say("There they met {a_helper}, who asked them a riddle.", "{a_helper} stood in the way and asked them a riddle.")
    riddle, answer = s.pick(RIDDLES)
    s.fields["solution"] = answer
    s.say(f"\"{riddle}\" asked the {{helper}}.")
    s.say("\"Is it {solution}?\" said {friend_hero}. \"That is easy.\"", "{friend_hero} thought hard and said, \"It is {solution}.\"")
    s.say("\"Right,\" said the {helper}. \"Now dig {place}.\"", "The {helper} nodded and told them to dig {place}.")
    s.say("They dug until their arms were tired, and then they hit something hard.", "They dug a deep hole and found a small chest.")
    s.say("Inside was {a_thing}.", "It was {a_thing}, shining in the sun.", "In the chest lay {a_thing}.")
    s.say("\"We share it,\" said {hero}.", "\"The best treasure is a friend like you,\" said {friend_hero}.", "They took turns to carry it home.")
    s.ask("{a_thing}", "What was the treasure?", "What did they find?", "What did they dig up?")
    s.ask("{friend_hero}", "Who solved the riddle?", "Who knew the answer?", "Who went with {hero}?")
    s.ask("{solution}", "What was the answer to the riddle?", "What is the solution of the riddle?")
    s.ask("{place}", "Where did they dig?", "Where was the treasure?")
    s.ask("the {helper}", "Who asked the riddle?", "Who told them where to dig?")


RIDDLES = [("What has hands but cannot clap?", "a clock"), ("What gets wetter the more it dries?", "a towel"), ("What has teeth but cannot bite?", "a comb"),
           ("What runs all day and never gets tired?", "a river"), ("What has a neck but no head?", "a bottle"), ("What goes up but never comes down?", "your age"),
           ("What has one eye but cannot see?", "a needle"), ("What can you catch but not throw?", "a cold")]


def sorry(s):
    s.uses("friend_hero", "thing", "kind", "hero", "place")
    s.open()
    s.say("{His} friend {friend_hero} had {a_thing} and was very proud of it.", "{friend_intro} owned {a_thing}.")
    s.say("One day {hero} borrowed it without asking and took it along to play {place}.", "{hero} only wanted to look at it, so {he} secretly took it and played {place}.")
    s.say("Then it slipped from {his} hands and broke.", "Crack! It fell down and broke in two.", "By accident, {he} stepped on it, and it broke.")
    s.say("{hero} was so scared that {he} hid it {spot}.", "Nobody had seen it, so {hero} hid the pieces {spot}.", "Quickly, {he} hid it {spot}.")
    s.say("When {friend_hero} asked about the {thing}, {hero} said nothing.", "\"Have you seen my {thing}?\" asked {friend_hero}. {hero} looked at the floor.")
    s.say("That night {hero} could not sleep.", "{hero} did not even want to eat {food}.", "{hero} had a heavy feeling in {his} tummy.")
    s.say("\"Tell the truth,\" said the {helper}. \"It is the only way.\"", "{He} asked the {helper}, who said, \"A friend will forgive you.\"")
    s.say("In the morning {he} told {friend_hero} everything and said sorry.", "So {he} went to {friend_hero}. \"It was me,\" {he} said. \"I am sorry.\"")
    s.say("{friend_hero} was cross at first, but then {friend_he} smiled.", "{friend_hero} was quiet for a while. \"Thank you for telling me,\" {friend_he} said.")
    s.say("Together they mended the {thing}, and it was almost as good as new.", "They glued it with care, and one could hardly see the crack.")
    s.ask("{a_thing}", "What broke?", "What did {hero} break?", "What did {hero} take?")
    s.ask("{friend_hero}", "Whose {thing} was it?", "Who owned the {thing}?", "Who forgave {hero}?")
    s.ask("{spot}", "Where did {hero} hide it?", "Where was the {thing} hidden?")
    s.ask("the {helper}", "Who gave {hero} advice?", "Who told {hero} what to do?")


def bake(s):
    s.uses("food", "kind", "hero", "friend_hero")
    f = s.fields
    f["x"], f["y"] = s.rng.sample(["flour", "eggs", "milk", "sugar", "butter", "salt", "honey", "nuts"], 2)
    s.open()
    s.say("{hero} wanted to make {food} for {his} friend {friend_hero}, who was ill.", "{friend_hero} was feeling sad, so {hero} decided to make {food} for {friend_him}.")
    s.say("But when {he} looked in the kitchen, {he} found no {x} and no {y}.", "{He} opened the cupboard. It held no {x} and no {y} either.")
    s.say("So {hero} went to {a_helper} and asked for {x}.", "First {he} went to {a_helper}, who had plenty of {x}.")
    s.say("\"Take it,\" said the {helper}, \"but bring me a piece.\"", "The {helper} gave it gladly.", "\"For a friend? Of course!\" said the {helper}.")
    s.say("Then {he} got {y} from {a_helper2}.", "Next {he} went to {a_helper2} to get {y}.")
    s.say("{hero} mixed and stirred until {his} arms hurt.", "Back home, {hero} went to work, and soon there was a lovely smell.", "{hero} worked all afternoon.")
    s.maybe(0.4, "There was a white spot on {his} nose, but {he} did not notice.", "A bit of it landed on the floor, but that was all right.")
    s.say("When it was ready, {he} carried it to {friend_hero}.", "{He} knocked at the door of {friend_hero}.")
    s.say("{friend_hero} took one bite and smiled for the first time in days.", "\"It is delicious!\" said {friend_hero}. \"I feel better already.\"")
    s.ask("{food}", "What did {hero} make?", "What did {hero} want to make?")
    s.ask("{friend_hero}", "For whom did {hero} make it?", "Who was it for?", "Who felt better in the end?")
    s.ask("the {helper}", "Who gave {hero} the {x}?", "From whom did {hero} get {x}?")
    s.ask("the {helper2}", "Who gave {hero} the {y}?", "From whom did {hero} get {y}?")
    s.ask("{x} and {y}", "What was missing in the kitchen?", "What did {hero} need?")


SKILLS = {"swim": "in the water", "whistle": "in the morning", "dance": "to the music", "skate": "on the ice", "juggle": "with apples", "paint": "with bright colours",
          "play the flute": "in the evening", "ride a bicycle": "down the lane", "sing": "in a loud voice", "read": "by candle light"}


def learn(s):
    s.uses("kind", "hero", "place", "friend_hero")
    f = s.fields
    f["skill"] = s.pick(list(SKILLS))
    f["how"] = SKILLS[f["skill"]]
    s.open()
    s.say("All {his} friends could {skill}, but {hero} could not.", "{hero} had one big dream: {he} wanted to {skill}.", "{hero} wanted to {skill} more than anything.")
    s.say("{friend_intro} said {friend_he} would teach {him}.",
          "\"I can teach you,\" said {friend_intro}.")
    s.say("They met {place} every day.", "So they began to practise {place}.", "The first lesson was {place}.")
    s.say("On the first day, everything went wrong.", "At first it was a disaster.", "It was much harder than it looked.")
    s.say("\"I will never learn it,\" said {hero}.", "{hero} wanted to go home.", "{hero} felt like crying.")
    s.say("\"One more time,\" said {friend_hero}.", "\"Nobody can do it at once,\" said {friend_hero}. \"Try again.\"", "But {friend_hero} only smiled and showed {him} again.")
    s.say("{hero} practised for {n} weeks.", "{hero} tried again, and again, and {n} times more.", "Day after day, it went a little better.")
    s.say("And one day {he} could {skill}, {how}, as if {he} had never done anything else.", "Then came the day when {he} could {skill} all alone.")
    s.say("Everyone clapped, even the {helper}.", "The {helper} stopped to watch and cheered.", "\"Bravo!\" called the {helper}.")
    s.ask("to {skill}", "What did {hero} learn?", "What did {hero} want to learn?")
    s.ask("{friend_hero}", "Who taught {hero}?", "Who was the teacher?")
    s.ask("{place}", "Where did they practise?", "Where were the lessons?")


def newcomer(s):
    s.uses("kind", "hero", "friend_hero", "place", "thing")
    s.open()
    s.say("One day, {friend_intro} moved in next door.", "A new neighbour came, {friend_intro}.", "That spring, {friend_intro} came to live near by.")
    s.say("{friend_hero} was shy and spoke to nobody.", "{friend_hero} sat alone every day.", "{friend_hero} did not know anyone there.")
    s.say("{hero} wanted to make {friend_him} feel welcome.", "\"I must do something,\" thought {hero}.")
    s.say("First {he} waved, but {friend_hero} ran inside.", "First {he} brought some {food}, but nobody opened the door.", "First {he} called hello, but there was no answer.")
    s.say("The next day, {hero} saw {friend_hero} {place} with {a_thing}.", "The next day, {place}, {hero} saw that {friend_hero} was holding {a_thing}.")
    s.say("\"What a nice {thing}!\" said {hero}. \"Can you show me how it works?\"", "\"I like your {thing},\" said {hero}. \"May I look at it?\"")
    s.say("{friend_hero} smiled for the first time.", "The eyes of {friend_hero} lit up.", "\"You may hold it,\" whispered {friend_hero}.")
    s.say("They played until it was dark.", "They talked and laughed the whole afternoon.", "{friend_hero} showed {him} everything.")
    s.say("The next day, {hero} took {friend_hero} along to meet the others.", "Soon {friend_hero} knew everyone.", "After that, {friend_hero} was never alone again.")
    s.ask("{friend_hero}", "Who was shy?", "Who moved in?", "Who was the new neighbour?")
    s.ask("{a_thing}", "What did {friend_hero} have?", "What did {hero} like?", "What was {friend_hero} holding?")
    s.ask("{place}", "Where did {hero} see {friend_hero}?", "Where did they play?")


def star(s):
    s.uses("kind", "hero", "place", "friend_hero")
    f = s.fields
    f["lift"] = s.pick(["a long ladder", "a big kite", "a tall tower", "a hot air balloon", "a trampoline", "a very long rope"])
    s.open()
    s.say("One night, a star fell from the sky and landed {place}.", "One night, {he} saw a star fall down {place}.", "It was late when something bright dropped from the sky {place}.")
    s.say("{hero} ran there and found it {spot}.", "{He} found it {spot}, small and shivering.")
    s.say("\"I want to go home,\" said the star.", "\"I fell asleep and lost my hold,\" the star said sadly.", "The star was warm, and it was crying.")
    s.say("{hero} promised to help and called {his} friend {friend_hero}.", "\"I will bring you back,\" said {hero}, and woke {friend_intro}.")
    s.say("\"How do we get so high?\" asked {friend_hero}.", "{friend_hero} looked up. \"That is far,\" {friend_he} said.")
    s.spoken()
    s.say("They asked {a_helper}, who lent them {lift}.", "Luckily, the {helper} had {lift}.", "The {helper} came and brought {lift}.")
    s.say("Up and up they went, with the star in a basket.", "They took the star and went up, higher than the clouds.")
    s.say("At the top, {hero} put the star back in its place.", "Carefully, {hero} set the star between two others.")
    s.say("\"I will shine for you every night,\" said the star.", "\"Thank you,\" whispered the star and shone brighter than ever.")
    s.ask("{place}", "Where did the star fall?", "Where did the star land?")
    s.ask("{lift}", "What did the {helper} have?", "How did they get up to the sky?")
    s.ask("{friend_hero}", "Who went with {hero}?", "Who helped {hero}?")
    s.ask("{spot}", "Where did {hero} find the star?")


PLOTS = [lost, found, share, afraid, build, trade, storm, race, noise, garden, wish, treasure, sorry, bake, learn, newcomer, star]
WITH_THING = [lost, found, trade, storm, noise, wish, treasure, sorry, newcomer]


def tell(rng, split, wish_for=None, plot=None, chapters=1):
    """Tell one story of the split; with several chapters, only the first decides the split and facts are those of all. `wish_for` fixes name, kind, thing, adjective or place; it needs a plot that uses them."""
    while True:
        chosen = plot or rng.choice(PLOTS)
        s = Story(rng, wish_for or {})
        f = s.fields
        if split.has(chosen.__name__, f["hero"], f["kind"], f["the_thing"], f["place"], f["friend_hero"]):
            break
    chosen(s)
    others = [p for p in PLOTS if p is not chosen]
    for s.chapter, following in enumerate(rng.sample(others, chapters - 1), 1):
        s.close_chapter()
        s.deal({})
        following(s)
    s.close()
    breaks = rng.random() < 0.35
    third = max(3, len(s.text) // 3)
    body = ""
    for i, sentence in enumerate(s.text):
        sentence = sentence[0].upper() + sentence[1:]
        body += ("" if i == 0 else "\n\n" if breaks and i % third == 0 else " ") + sentence
    s.body = body
    return s


def request(rng, split):
    """A request for a story, as a user would write it, and the story that answers it."""
    wish_for, r = {}, rng.random()
    if r < 0.08:
        wish_for["kind"] = rng.choice(ANIMALS + ["girl", "boy", "princess", "knight"])
        s = tell(rng, split, wish_for, chapters=rng.choice([2, 2, 3]))
        s.facts = s.facts[:1]
        return rng.choice(["Tell me a long story about {}.", "Write a long story about {}.", "Please tell me a longer story about {}."]).format(article(wish_for["kind"])), s
    if r < 0.2:
        s = tell(rng, split)
        return rng.choice(["Tell me a story.", "Tell me a story", "Can you tell me a story?", "I want to hear a story.", "Please tell me a short story.",
                           "Write a short story.", "Tell me a bedtime story.", "A story, please!", "story please", "Tell me another story.", "Once upon a time", "Once upon a time...", "Continue: Once upon a time", "story", "Another story!", "read me a story"]), s
    kinds = ANIMALS + ["girl", "boy", "robot", "princess", "knight", "wizard", "fairy", "pirate", "king", "queen", "giant", "mermaid", "unicorn", "farmer", "sailor"]
    wish_for["kind"] = rng.choice(kinds)
    if rng.random() < 0.12:
        wish_for["kind"] = made_up(rng) if rng.random() < 0.5 else rng.choice(NOUNS + WILD)
    if rng.random() < 0.3:
        wish_for["adjective"] = rng.choice(ADJECTIVES)
    wish_for["thing"] = rng.choice(THINGS if rng.random() < 0.6 else NOUNS + WILD + WILD) if rng.random() < 0.9 else made_up(rng)
    lead = rng.choice(["Tell me a story about", "Tell me a story about", "Tell me a short story about", "Write a story about", "Can you tell me a story about",
                       "I would like a story about", "Write a short story about", "Please tell me a story about", "Story about"])
    if r < 0.45:
        s = tell(rng, split, wish_for)
        f = s.fields
        ask = f"{lead} {rng.choice([article(f['kind']), article(f['kind']) + ' named ' + f['hero']])}"
    elif r < 0.75:
        s = tell(rng, split, wish_for, rng.choice(WITH_THING))
        f = s.fields
        thing = f["a_thing"] if "adjective" in wish_for else article(f["thing"])
        ask = f"{lead} {article(f['kind'])} and {thing}"
        if rng.random() < 0.2:
            ask = f"{lead} {thing} and {article(f['kind'])}"
    elif r < 0.9:
        if rng.random() < 0.5:
            wish_for = {k: v for k, v in wish_for.items() if k != "kind"}
            wish_for["name"] = rng.choice(GIRLS + BOYS) if rng.random() < 0.85 else made_up(rng).capitalize()
        s = tell(rng, split, wish_for, rng.choice([found, wish]))
        f = s.fields
        who = f["hero"] if "name" in wish_for else article(f["kind"])
        thing = f["a_thing"] if "adjective" in wish_for else article(f["thing"])
        ask = f"{lead} {who} who finds {thing}" + (f" {f['place']}" if rng.random() < 0.7 else "")
    else:
        wish_for = {"name": rng.choice(GIRLS + BOYS) if rng.random() < 0.85 else made_up(rng).capitalize()}
        s = tell(rng, split, wish_for)
        f = s.fields
        ask = f"{lead} {f['hero']}"
        if "friend_hero" in s.features and rng.random() < 0.5:
            ask += f" and {f['friend_hero']}"
    return ask + ("?" if ask.startswith("Can you") else rng.choice([".", ".", ".", "", "!"])), s
