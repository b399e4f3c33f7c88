//! Documents in another language than the ones expected, told by script and by each language's most frequent words.
//! Cheap and careful: a document is dropped only when another language is clearly more likely.

use serde::{Deserialize, Serialize};

use super::words::{HashedMap, hash, words};
use super::{Filter, Outcome};
use crate::document::Document;

/// Which languages are expected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// ISO 639-1 codes out of [`KNOWN`]; none switches the filter off.
    pub expected: Vec<String>,
}

/// A language's code and its most frequent words.
type Profile = (&'static str, &'static str);

const PROFILES: [Profile; 9] = [
    (
        "de",
        "der die das und ist nicht ein eine einen dem den des mit von zu im auf für sich auch es an werden aus er hat dass sie nach wird bei noch wie am zum zur haben nur oder aber vor bis mehr durch man sind war wir ich sehr dieser diese uns bitte heute vom",
    ),
    (
        "en",
        "the of and to in a is that for it was on are as with his they be at one have this from or had by not but what all were we when your can said there use an each which she do how their if will up other about out many then them these so some her would make like him into has my me you i",
    ),
    (
        "es",
        "de la que el en y a los se del las un por con no una su para es al lo como más o pero sus le ha me si sin sobre este ya entre cuando todo esta ser son dos también fue había era muy años hasta desde está nos hay antes hoy ni",
    ),
    (
        "fr",
        "de la le et les des en un du une que est pour qui dans a par plus pas au sur ne se ce il sont avec ou ses on mais comme nous cette leur aux été tout fait son sa aussi elle entre même deux peut sans je vous était ces dont faut",
    ),
    (
        "it",
        "di e il la che in a per un è del le si una con da non sono al della i come dei nel più alla gli anche lo ma se o dal ha questo delle ed nella ai su tra stato era essere ci questa sua",
    ),
    (
        "nl",
        "de van het een en in is dat op te zijn met voor niet aan er om ook als dan maar bij of uit nog naar heeft werd door over kan deze dit hij ze wij je ik wordt meer al tot geen was moet wat waar onze heel",
    ),
    (
        "pl",
        "i w na z do się nie że to jest o jak po za od ale przez dla co ten tym tego są był było przy tylko czy może już jego jej które który oraz także bardzo ma",
    ),
    (
        "pt",
        "de a o que e do da em um para com não uma os no se na por mais as dos como mas ao ele das à seu sua ou quando muito nos já eu também só pelo pela até isso ela entre depois sem mesmo aos são foi está",
    ),
    (
        "sv",
        "och i att det som en på är av för med den till inte om har de ett han men var jag sig från vi så kan när år säger under också efter eller nu vid där vara man ska skulle hade",
    ),
];

/// Languages written in a script of their own, by a range of that script.
const SCRIPTS: [(&str, std::ops::RangeInclusive<char>); 10] = [
    ("ar", '\u{600}'..='\u{6FF}'),
    ("el", '\u{370}'..='\u{3FF}'),
    ("he", '\u{590}'..='\u{5FF}'),
    ("hi", '\u{900}'..='\u{97F}'),
    ("ja", '\u{3040}'..='\u{30FF}'),
    ("ko", '\u{AC00}'..='\u{D7AF}'),
    ("ru", '\u{400}'..='\u{4FF}'),
    ("th", '\u{E00}'..='\u{E7F}'),
    ("ta", '\u{B80}'..='\u{BFF}'),
    ("zh", '\u{4E00}'..='\u{9FFF}'),
];

/// The codes that can be told apart.
pub const KNOWN: [&str; 19] = [
    "de", "en", "es", "fr", "it", "nl", "pl", "pt", "sv", "ar", "el", "he", "hi", "ja", "ko", "ru",
    "th", "ta", "zh",
];

/// Fewer words give no verdict.
const MIN_WORDS: usize = 8;

/// Tells languages apart.
pub struct Detector {
    /// For the hash of a frequent word, one bit for each language of [`PROFILES`] that it is frequent in.
    frequent: HashedMap<u16>,
}

impl Default for Detector {
    fn default() -> Self {
        let mut frequent = HashedMap::<u16>::default();
        for (index, (_, list)) in PROFILES.iter().enumerate() {
            for word in list.split(' ') {
                *frequent.entry(hash(word.as_bytes())).or_default() |= 1 << index;
            }
        }
        Self { frequent }
    }
}

impl Detector {
    /// How much of a text speaks for each language, most first: the share of its words among that language's most
    /// frequent ones, or of its letters in that language's script. Empty when nothing can be said.
    #[must_use]
    pub fn scores(&self, text: &str) -> Vec<(&'static str, f64)> {
        let mut scores = Vec::new();
        if !text.is_ascii() {
            let (mut letters, mut counts) = (0usize, [0usize; SCRIPTS.len()]);
            for character in text.chars().filter(|character| character.is_alphabetic()) {
                letters += 1;
                if character >= '\u{370}'
                    && let Some(index) = SCRIPTS
                        .iter()
                        .position(|(_, range)| range.contains(&character))
                {
                    counts[index] += 1;
                }
            }
            let share = |count: usize| count as f64 / letters.max(1) as f64;
            scores.extend(
                SCRIPTS
                    .iter()
                    .zip(counts)
                    .map(|((language, _), count)| (*language, share(count))),
            );
        }
        let words = words(text);
        if words.len() >= MIN_WORDS {
            let mut counts = [0usize; PROFILES.len()];
            for languages in words.iter().filter_map(|word| self.frequent.get(word)) {
                for (index, count) in counts.iter_mut().enumerate() {
                    *count += usize::from(languages >> index & 1);
                }
            }
            let share = |count: usize| count as f64 / words.len() as f64;
            scores.extend(
                PROFILES
                    .iter()
                    .zip(counts)
                    .map(|((language, _), count)| (*language, share(count))),
            );
        }
        scores.retain(|(_, score)| *score > 0.0);
        scores.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(b.0)));
        scores
    }

    /// The likeliest language, when one is clearly ahead.
    #[must_use]
    pub fn guess(&self, text: &str) -> Option<&'static str> {
        let scores = self.scores(text);
        let (best, score) = *scores.first()?;
        let next = scores.get(1).map_or(0.0, |(_, score)| *score);
        (score >= 0.15 && score >= 1.3 * next).then_some(best)
    }
}

/// The filter.
pub struct Language {
    config: Config,
    detector: Detector,
}

impl Language {
    /// The filter with its config.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self {
            config: config.clone(),
            detector: Detector::default(),
        }
    }
}

impl Filter for Language {
    fn step(&self) -> &'static str {
        "language"
    }

    fn apply(&self, document: &mut Document) -> Outcome {
        let scores = self.detector.scores(&document.text);
        let expected = |language: &str| self.config.expected.iter().any(|one| one == language);
        let ours = scores
            .iter()
            .find(|(language, _)| expected(language))
            .map_or(0.0, |(_, score)| *score);
        let other = scores.iter().find(|(language, _)| !expected(language));
        Outcome::drop_if(
            other
                .filter(|(_, score)| *score >= 0.2 && *score >= 1.7 * ours)
                .map(|(language, score)| {
                    format!("looks like {language} ({score:.2} against {ours:.2})")
                }),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::drops;
    use super::*;

    const SENTENCES: [(&str, &str); 10] = [
        (
            "en",
            "The boat leaves at ten and will be back before the night, if the wind is with us.",
        ),
        (
            "de",
            "Das Boot fährt um zehn Uhr ab und kommt vor der Nacht zurück, wenn der Wind mit uns ist.",
        ),
        (
            "fr",
            "Le bateau part à dix heures et revient avant la nuit, si le vent est avec nous.",
        ),
        (
            "es",
            "El barco sale a las diez y vuelve antes de la noche, si el viento está con nosotros.",
        ),
        (
            "it",
            "La barca parte alle dieci e torna prima della notte, se il vento è con noi e non gira.",
        ),
        (
            "nl",
            "De boot vertrekt om tien uur en is voor de nacht terug, als de wind met ons is.",
        ),
        (
            "pt",
            "O barco sai às dez e volta antes da noite, se o vento está com a gente e não muda.",
        ),
        (
            "ru",
            "Лодка уходит в десять и вернётся до ночи, если ветер будет с нами.",
        ),
        ("zh", "船十点开，如果风好，天黑以前回来。"),
        ("ja", "船は十時に出て、風がよければ夜の前に戻ります。"),
    ];

    #[test]
    fn languages_are_told_apart() {
        let detector = Detector::default();
        for (language, text) in SENTENCES {
            assert_eq!(
                detector.scores(text).first().map(|best| best.0),
                Some(language),
                "{text}"
            );
        }
    }

    #[test]
    fn only_the_expected_stay() {
        let filter = Language::new(&Config {
            expected: vec!["en".to_owned()],
        });
        for (language, text) in SENTENCES {
            assert_eq!(drops(&filter, text), language != "en", "{text}");
        }
        assert!(!drops(
            &filter,
            "Halcyra Pulse 3: rated 3.7, drysuit, teal, 5 in stock"
        ));
        assert!(!drops(&filter, "1 2 3 4 5 6 7 8 9 10 11 12"));
    }
}
