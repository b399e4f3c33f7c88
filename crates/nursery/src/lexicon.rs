//! The words of the world that are no part of a name.

/// Kinds of things on sale with three-digit prices, as singular nouns, so that "2 fins" never has to be said.
pub(crate) const DEAR_KINDS: &[&str] = &[
    "regulator",
    "BCD",
    "dive computer",
    "wetsuit",
    "drysuit",
    "camera housing",
    "diving watch",
    "scooter",
];
/// Kinds with small prices.
pub(crate) const CHEAP_KINDS: &[&str] = &[
    "mask",
    "set of fins",
    "torch",
    "snorkel",
    "dry bag",
    "dive knife",
    "hood",
    "reel",
];
pub(crate) const COLOURS: &[&str] = &[
    "teal", "black", "yellow", "orange", "blue", "white", "red", "silver", "green", "purple",
];

/// What a thing is best for, and how a customer puts the need without the word itself.
pub(crate) const USES: &[(&str, &[&str])] = &[
    (
        "travel",
        &[
            "I fly to my dives with one small bag",
            "I am always on the road",
            "it must fit in hand luggage",
        ],
    ),
    (
        "cold water",
        &[
            "I dive in an icy lake",
            "the sea is 6 degrees where I live",
            "I dive all winter",
        ],
    ),
    (
        "beginners",
        &[
            "I have just started diving",
            "this is my first season",
            "I have never dived before",
        ],
    ),
    (
        "photography",
        &[
            "I take pictures under water",
            "I carry a big camera",
            "I want to shoot fish portraits",
        ],
    ),
    (
        "deep dives",
        &[
            "I go below 40 m",
            "I like to go down very far",
            "I dive on deep walls",
        ],
    ),
    (
        "night dives",
        &[
            "I dive after sunset",
            "I go into the water in the dark",
            "I dive when the sun is down",
        ],
    ),
    (
        "wrecks",
        &[
            "I explore sunken ships",
            "I love old ships on the sea bed",
            "I swim through rusty hulls",
        ],
    ),
    (
        "children",
        &[
            "it is for my young daughter",
            "my son is eight",
            "it is for a kid",
        ],
    ),
];

pub(crate) const SEASONS: &[&str] = &["spring", "summer", "autumn", "winter"];
pub(crate) const FOODS: &[&str] = &[
    "plankton",
    "algae",
    "small crabs",
    "worms",
    "shells",
    "jellyfish",
    "small fish",
];
pub(crate) const HABITS: &[&str] = &[
    "hides under ledges",
    "hunts at night",
    "sleeps in the sand",
    "lives in pairs",
    "follows divers",
    "cleans other fish",
    "guards its eggs",
    "digs long tunnels",
    "drifts with the current",
    "changes colour quickly",
];

pub(crate) const WEEKDAYS: &[&str] = &[
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];
pub(crate) const MONTHS: &[&str] = &[
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
];

/// Words of the trade and what to tell a beginner instead.
pub(crate) const JARGON: &[(&str, &str)] = &[
    ("octopus regulator", "spare mouthpiece"),
    ("BCD", "inflatable jacket"),
    ("SPG", "air gauge"),
    ("surface interval", "rest between dives"),
    ("safety stop", "short pause near the surface"),
    ("buddy check", "check with your partner"),
    ("nitrox", "air with more oxygen"),
    ("viz", "clear view"),
    ("deco", "slow ascent with pauses"),
    ("thermocline", "cold layer of water"),
    ("giant stride", "big step into the water"),
    ("weight belt", "belt with lead"),
    ("dump valve", "button that lets air out"),
    ("first stage", "part on the tank"),
    ("O-ring", "rubber ring"),
    ("squeeze", "pressure on the ears"),
    ("lift bag", "bag that carries things up"),
    ("SMB", "orange marker balloon"),
    ("RIB", "rubber boat"),
    ("fin pivot", "floating exercise"),
    ("hydro test", "tank check"),
    ("slate", "writing board"),
    ("back roll", "backward fall from the boat"),
    ("drift dive", "dive with the current"),
    ("skin suit", "thin suit"),
];
