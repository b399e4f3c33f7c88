//! Text that is none: symbols instead of words, words of absurd length, words in no order, and text decoded in the
//! wrong encoding. After the quality rules of Gopher (Rae et al. 2021, arXiv 2112.11446, section A.1.1).

use serde::{Deserialize, Serialize};

use super::{Filter, Outcome};
use crate::document::Document;

/// The bounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whether the filter runs.
    pub enabled: bool,
    /// Largest share of characters that are neither letters, digits, white space nor common punctuation.
    pub max_symbols: f64,
    /// Smallest share of words that hold a letter or digit.
    pub min_words_with_content: f64,
    /// Largest share of words with a symbol or digit between letters, or with capitals after small letters.
    pub max_odd_words: f64,
    /// Largest mean length of words in scripts that put spaces between them.
    pub max_mean_word_length: f64,
    /// Largest share of characters that look like UTF-8 read as Latin-1 (`Ã©`, `â€™`).
    pub max_wrongly_decoded: f64,
    /// Largest share of English articles followed by a word that cannot follow one (`the of`).
    pub max_article_errors: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            enabled: true,
            max_symbols: 0.25,
            min_words_with_content: 0.5,
            max_odd_words: 0.4,
            max_mean_word_length: 20.0,
            max_wrongly_decoded: 0.02,
            max_article_errors: 0.12,
        }
    }
}

/// Fewer words give no reliable shares.
const MIN_WORDS: usize = 8;
const ARTICLES: [&str; 3] = ["the", "a", "an"];
/// English words that do not follow an article.
const NEVER_AFTER_ARTICLE: [&str; 42] = [
    "the", "a", "an", "of", "and", "or", "is", "are", "was", "were", "be", "been", "to", "at",
    "by", "for", "from", "with", "into", "if", "because", "that", "this", "it", "he", "she",
    "they", "we", "i", "you", "has", "have", "had", "will", "would", "does", "do", "did", "never",
    "please", "me", "my",
];

/// The filter.
pub struct Gibberish {
    config: Config,
}

impl Gibberish {
    /// The filter with its config.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self {
            config: config.clone(),
        }
    }

    fn judge(&self, text: &str) -> Option<String> {
        let config = &self.config;
        let percent = |share: f64| format!("{:.0}%", 100.0 * share);
        let broken = wrongly_decoded(text);
        if broken > config.max_wrongly_decoded {
            return Some(format!("{} decoded in the wrong encoding", percent(broken)));
        }
        let words: Vec<&str> = text.split_whitespace().collect();
        if words.len() < MIN_WORDS {
            return None;
        }
        let symbols = symbols(text);
        if symbols > config.max_symbols {
            return Some(format!("{} symbols", percent(symbols)));
        }
        let share = |count: usize| count as f64 / words.len() as f64;
        let lettered = share(
            words
                .iter()
                .filter(|word| word.chars().any(char::is_alphanumeric))
                .count(),
        );
        if lettered < config.min_words_with_content {
            return Some(format!(
                "only {} of the words have letters or digits",
                percent(lettered)
            ));
        }
        let odd = share(words.iter().filter(|word| is_odd(word)).count());
        if odd > config.max_odd_words {
            return Some(format!("{} odd words", percent(odd)));
        }
        // Chinese, Japanese and Thai set no spaces between words, so only ASCII says how long words are.
        if text.is_ascii() {
            let mean =
                words.iter().map(|word| word.len()).sum::<usize>() as f64 / words.len() as f64;
            if mean > config.max_mean_word_length {
                return Some(format!("words of {mean:.0} characters on average"));
            }
        }
        let errors = article_errors(&words);
        (errors > config.max_article_errors)
            .then(|| format!("{} of the articles followed by no noun", percent(errors)))
    }
}

/// The share of characters that stand for nothing in running text.
fn symbols(text: &str) -> f64 {
    let (mut all, mut odd, mut runs, mut last) = (0usize, 0usize, 0usize, ' ');
    for character in text.chars().filter(|character| !character.is_whitespace()) {
        all += 1;
        let plain = character.is_alphanumeric() || !character.is_ascii();
        if !plain && !is_punctuation(character) {
            odd += 1;
        } else if !plain && !last.is_alphanumeric() && last != character && last.is_ascii() {
            // Different punctuation marks in a row are rare in text and common in noise.
            runs += 1;
        }
        last = character;
    }
    (odd + runs) as f64 / all.max(1) as f64
}

/// What stands between words in running text, sums and tables.
fn is_punctuation(character: char) -> bool {
    matches!(
        character,
        '!' | '"' | '#' | '$' | '%' | '&' | '\'' | '(' | ')' | '*' | '+' | ',' | '-' | '.' | '/'
    ) || matches!(
        character,
        ':' | ';' | '<' | '=' | '>' | '?' | '@' | '[' | ']' | '_' | '`' | '|' | '~'
    )
}

/// A symbol or digit between letters (`qX7#f`), or capitals after small letters twice over; not addresses, not
/// `don't`, not `well-known`.
fn is_odd(word: &str) -> bool {
    if word.contains("://")
        || word.contains('@') && word.contains('.') && !word.contains(['#', '*', '%', '^', '\\'])
    {
        return false;
    }
    let core = word.trim_matches(|character: char| !character.is_alphanumeric());
    let mut characters = core.chars().peekable();
    let (mut inner, mut rises) = (0, 0);
    while let Some(character) = characters.next() {
        let next = characters.peek();
        if next.is_some_and(|next| character.is_lowercase() && next.is_uppercase()) {
            rises += 1;
        }
        if !character.is_alphanumeric() && !"'’-–./:,".contains(character) {
            inner += 1;
        }
        if next.is_some_and(|next| {
            (character.is_ascii_digit() && next.is_alphabetic())
                || (character.is_alphabetic() && next.is_ascii_digit())
        }) {
            rises += 1;
        }
    }
    inner + rises >= 2
}

/// The share of characters in pairs that arise when UTF-8 is read as Latin-1 or Windows-1252.
fn wrongly_decoded(text: &str) -> f64 {
    let mut pairs = 0usize;
    let mut all = 0usize;
    let mut last = ' ';
    for character in text.chars() {
        all += 1;
        let second = matches!(
            character,
            '\u{80}'..='\u{BF}' | '€' | '‚' | '™' | '“' | '”' | '‹' | 'œ' | '˜'
        );
        let first = matches!(last, 'Ã' | 'Â' | 'â' | 'ï' | 'Ð' | 'Ñ');
        if first && (second || (last == 'Ã' && character == ' ')) {
            pairs += 1;
        }
        last = character;
    }
    2.0 * pairs as f64 / all.max(1) as f64
}

/// The share of English articles followed by a word that cannot follow one; 0 with too few articles to tell.
fn article_errors(words: &[&str]) -> f64 {
    let (mut articles, mut errors) = (0usize, 0usize);
    for pair in words.windows(2) {
        if ARTICLES.contains(&pair[0]) {
            articles += 1;
            errors += usize::from(NEVER_AFTER_ARTICLE.contains(&pair[1]));
        }
    }
    if articles == 0 {
        0.0
    } else {
        errors as f64 / articles as f64
    }
}

impl Filter for Gibberish {
    fn step(&self) -> &'static str {
        "gibberish"
    }

    fn apply(&self, document: &mut Document) -> Outcome {
        Outcome::drop_if(self.judge(&document.text))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{apply, drops};
    use super::*;

    #[test]
    fn what_is_dropped() {
        let filter = Gibberish::new(&Config::default());
        for text in [
            "q%X7#f k^J\\2 *Z;=~ +/a:! 9#_~ @@^; XX&*% ??=+ \\_:; a~~! %%;K",
            "the of under if a because seven loud the never into paper the was by boat",
            "ThÃ© wÃ¤ter is cÃ¶ld tÃ¼day and thÃ© boat is lÃ¤te",
            "-- ** == ++ ~~ || .. ;; -- ** ==",
            &"abcdefghijklmnopqrstuvwxyz ".repeat(9),
        ] {
            assert!(drops(&filter, text), "{text}");
        }
    }

    #[test]
    fn what_is_kept() {
        let filter = Gibberish::new(&Config::default());
        for text in [
            "The water is cold today, and the boat is late; we'll wait at the pier (it's dry there).",
            "Сегодня вода холодная, и лодка опаздывает, поэтому мы ждём на причале вместе.",
            "珊瑚礁里有很多鱼，海龟也常常来这里。今天的水很冷，船也迟到了。",
            "Für Größe XL: 20 € pro Tag, für alle anderen 15 € – auch am Wochenende möglich.",
            "fn main() { let x = 1; println!(\"{x}\"); } // a small program in a text about code",
            "See https://example.org/a?b=c#d and write to us, then call the shop on Monday morning.",
            "short # one",
            "2 x €20 = €40. €30 + €50 = €80. 2 x €5 = €10. €55 - €20 = €35.",
            "À la carte, garçon! L'été à Paris, c'est très agréable où que l'on soit allé.",
        ] {
            assert_eq!(apply(&filter, text).0, Outcome::Keep, "{text}");
        }
    }
}
