"""The closed world of the corpus: names, animals, things, places, and the split into training and held-out."""

from zlib import crc32

GIRLS = """Mia Anna Lily Rosa Nora Ella Ruby Clara Ivy Maya Zoe Lena Ada Freya Hana Olga Tilda Vera Wren Sofia
Amara Bea Cora Daisy Edith Flora Greta Heidi Ines June Kira Luna Mabel Nina Olive Petra Rita Stella Tess Una
Alice Emma Grace Julia Sara Ana Lucy Molly Leah Priya""".split()
BOYS = """Tom Ben Leo Max Oscar Hugo Felix Jonas Emil Otto Milo Theo Finn Noah Sam Jack Kai Luca Omar Ravi
Arlo Boris Caleb Dan Elias Frank Gus Henry Ivan Jasper Karl Liam Marco Nils Oliver Pablo Quinn Rory Simon Toby
Adam David Ethan Paul Peter Will Amir Kenji Anton Victor""".split()
PETS_F = "Pip Hazel Poppy Bramble Willow Dot Pepper Honey Clover Maple Tansy Fern Juniper Minnow Plum Sorrel".split()
PETS_M = "Bo Rusty Biscuit Patch Acorn Thistle Moss Barley Nutmeg Pebble Flint Bracken Rowan Basil Cosmo Ziggy".split()
SURNAMES = """Brown Hill Wood Stone Baker Marsh Field Brook Lake Carter Fisher Green Hart King Lane Mason North Page
Reed Shaw Turner Ward West Young Bell Cole Dale Frost Gray Hayes Moore Parker Silva Rossi Novak Meyer Khan Tanaka Diaz Berg""".split()

ANIMALS = """fox rabbit mouse hedgehog squirrel badger otter bear cat dog puppy kitten duck goose owl frog turtle
beaver deer mole raccoon lamb goat pony donkey pig hen robin sparrow crow wolf panda koala penguin seal elephant
lion tiger monkey giraffe zebra parrot camel snail ant bee ladybird dragon""".split()
HELPERS = """old owl|wise turtle|friendly baker|tall fisherman|kind farmer|clever crow|grey donkey|patient snail|old sailor|
young shepherd|cheerful postman|quiet librarian|busy beaver|gentle bear|funny parrot|night watchman|toy maker|beekeeper|
milkman|gardener|small brown mouse|white goose|sleepy badger|blacksmith|ferryman|tailor|clockmaker|kind nurse"""
HELPERS = [h.strip() for h in HELPERS.split("|")]

THINGS = """lantern kite drum bell compass map ball scarf boat ring book flute umbrella basket feather shell coin hat
button rope key teapot blanket spoon mirror candle whistle pebble crown wagon marble puzzle telescope ribbon train
clock violin lamp cup box bag boot mitten horn pencil paintbrush bucket ladder pillow doll robot spaceship sword
trumpet jar stone flag star bottle bracelet necklace coat chair wheel guitar camera letter pearl rocket""".split()
ADJECTIVES = """red blue green yellow golden silver little tiny old shiny wooden round bright striped purple orange white
black strange broken beautiful plain smooth heavy soft copper glass pink brown grey""".split()
COLOURS = "red blue green yellow purple orange white black pink brown grey silver golden".split()
PLACES = """in the forest|in the meadow|in the village|in the garden|in the old barn|at the mill|in the harbour|on the beach|
in a dark cave|on the hill|by the river|by the lake|in the castle|in the library|at the market|in the orchard|at the lighthouse|
on the island|in the tower|at the bakery|at the school|under the bridge|in the valley|on the mountain|in the desert|on the farm|
in the attic|behind the windmill|in the park|at the station|near the waterfall|in the jungle|at the fair|in the town square|
at the pond|in the kitchen|in the snow|by the sea|near the well|under the oak tree"""
PLACES = [p.strip() for p in PLACES.split("|")]
SPOTS = """under a bush|behind a big rock|inside a hollow log|under a pile of leaves|on top of a wall|beside a fence|in a bird's nest|
in the tall grass|under a bench|behind a barrel|between two stones|at the bottom of a ditch|on a low branch|in an empty bucket|
under the steps|behind a stack of wood"""
SPOTS = [p.strip() for p in SPOTS.split("|")]
FOODS = """apple pie|warm bread|honey cake|strawberry jam|carrot soup|plum tart|nut bread|pancakes|blueberry muffins|cheese rolls|
pumpkin soup|ginger biscuits|apple juice|fresh berries|corn cakes|roasted chestnuts|lemon cake|vegetable stew"""
FOODS = [f.strip() for f in FOODS.split("|")]
TRAITS = """kind brave curious clever shy cheerful patient gentle careful quick quiet playful stubborn lazy funny proud friendly
honest dreamy busy""".split()
WEATHER = "sunny rainy windy snowy cloudy foggy stormy warm cold".split()
NOUNS = """apple anchor arrow barn basil beach berry bird blade bloom board bone brick broom brush cabin cake canal carpet
castle cedar chain chalk cherry chest circle cliff cloth cloud clover coal coast copper coral corn cotton cove crane creek
crystal curtain daisy dawn desert dew door dove dream drum dust eagle earth echo elm ember engine fern field finger fire
fish flame flint flour flower fog forest fork fountain frost garden gate ginger glass glove gold grain grape grass gravel
grove hammer harbour harp hawk hazel heart hedge heron hill hive hollow honey hook horse house ice ink iron island ivory
ivy jacket jewel juice kettle kitten knife knot lake lamp lark leaf lemon lily lime lion log lotus maple marble meadow
melon metal mill mint mirror mist moon moss moth mountain needle nest night north nut oak oasis ocean olive onion opal
orange orchid otter oven paddle palm paper path peach pear pearl pepper piano pine pipe planet plate plum pocket pond
poppy prism quartz quill rabbit radio rain raven reed ribbon rice river road robin rock roof room root rose ruby sage sail
salt sand saddle seed shadow sheep shelf ship silk silver sky slate smoke snow soap spark spice spring spruce star steam
steel stem stone storm straw stream sugar summer sun swan table tea thorn thunder tide tiger timber torch tower trail tree
tulip tunnel valley velvet vine violet wagon wall walnut water wave wheat wheel willow wind window wing winter wolf wood
wool yarn zebra""".split()
WILD = """pizza computer car phone football house banana dinosaur unicorn bicycle sandwich cookie tomato potato cheese chocolate
tractor airplane helicopter balloon suitcase backpack notebook window door table sofa fridge toaster keyboard laptop monster ghost
vampire zombie alien astronaut ninja superhero detective teacher doctor policeman cowboy whale shark dolphin octopus crab spider
butterfly dinosaur snake crocodile hippo rhino gorilla kangaroo ostrich eagle peacock hamster chicken cow horse sheep turkey unicycle
skateboard volcano castle pyramid igloo submarine satellite microscope dictionary newspaper umbrella sunglasses pancake waffle
spaghetti burger mushroom pineapple coconut cherry peanut popcorn lemonade coffee guitar piano saxophone trombone cello""".split()
CITIES = """Oakham Riverton Ashford Millbrook Greenfield Seaview Northgate Brightwater Eastport Fairhill Lakewood Stonebridge
Westbury Maplewood Harborough Paris London Berlin Rome Madrid Oslo Tokyo Cairo Lima Dublin Vienna Prague Boston Chicago
Delhi Sydney Toronto Lisbon Warsaw Athens Helsinki Kyoto Seoul Denver""".split()
JOBS = """baker teacher farmer nurse pilot doctor painter carpenter sailor gardener tailor librarian cook driver engineer writer
singer dentist plumber builder fisher postman designer lawyer mechanic""".split()
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = "January February March April May June July August September October November December".split()

LETTERS = "bcdfghklmnprstvwz"
VOWELS = "aeiou"


def made_up(rng):
    """A pronounceable word that is in no list, such as "zolimar": it teaches copying instead of recall."""
    return "".join(rng.choice(LETTERS) + rng.choice(VOWELS) for _ in range(rng.randint(2, 3))) + rng.choice(["", "n", "r", "k", "l", "s"])


def article(noun):
    """The noun with "a" or "an" in front."""
    return ("an " if noun[0] in "aeiou" else "a ") + noun


def held_out(*parts):
    """Whether an item belongs to the held-out share: one in ten, by a hash of what makes the item itself."""
    return crc32("|".join(map(str, parts)).encode()) % 10 == 0


class Split:
    """One side of the split. A task draws until `has` accepts what it drew."""

    def __init__(self, heldout):
        self.heldout = heldout

    def has(self, *parts):
        return held_out(*parts) == self.heldout
