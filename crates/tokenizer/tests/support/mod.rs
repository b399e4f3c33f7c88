//! A small tokenizer for the tests, trained on text of several scripts.

use artifact::Progress;
use tokenizer::{Result, Tokenizer, TrainConfig};

/// Sentences of several scripts, with numbers, so that a few hundred merges are found.
pub(crate) const SENTENCES: [&str; 8] = [
    "The regulator costs 249 euros and the warm water suit costs 180 euros.",
    "A buoyancy device holds the diver at depth, and the computer tells how long.",
    "Der Tauchcomputer zeigt die Tiefe und die Zeit, und der Automat gibt die Luft.",
    "Le détendeur donne de l'air, l'ordinateur donne la profondeur à 30 mètres.",
    "Рыба-клоун живёт среди актиний, и актинии её не жалят.",
    "珊瑚礁里有很多鱼，海龟也常常来这里。",
    "समुद्र में मछलियाँ और कछुए रहते हैं।",
    "It's said that we've seen 12 turtles 🐢🐢 and they'll be back at 9 o'clock.",
];

/// Trains on the sentences, each repeated with different numbers.
pub(crate) fn train(vocab_size: usize) -> Result<Tokenizer> {
    let texts =
        (0..60).flat_map(|n| SENTENCES.map(|sentence| format!("{sentence} {n}\n\n  {sentence}")));
    Tokenizer::train(
        texts,
        &TrainConfig {
            vocab_size,
            min_frequency: 2,
        },
        &Progress::silent(),
    )
}
