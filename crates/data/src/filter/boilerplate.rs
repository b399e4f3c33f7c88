//! Lines that web pages carry around their text: navigation, cookie notices, footers. Known by their wording, as in
//! the cleaning of C4 (Raffel et al. 2020, arXiv 1910.10683, section 2.2); such lines are removed, the text stays.

use regex::Regex;
use serde::{Deserialize, Serialize};

use super::{Filter, Outcome};
use crate::document::Document;

/// Which lines are looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whether the filter runs.
    pub enabled: bool,
    /// Longer lines are text that merely speaks of such things.
    pub max_line_characters: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            enabled: true,
            max_line_characters: 160,
        }
    }
}

const PHRASES: [&str; 32] = [
    "accept all cookies",
    "accept all |",
    "all rights reserved",
    "back to top",
    "by continuing you agree",
    "by continuing to browse",
    "by using this site",
    "click here to read",
    "click here to continue",
    "comments are closed",
    "cookie policy",
    "enable javascript",
    "follow us on",
    "javascript is disabled",
    "javascript is required",
    "leave a comment",
    "leave a reply",
    "log in to comment",
    "log in to leave",
    "page not found",
    "powered by wordpress",
    "privacy policy",
    "read more >>",
    "sign up for our newsletter",
    "skip to content",
    "skip to main content",
    "subscribe to our newsletter",
    "terms and conditions |",
    "terms of use",
    "this website uses cookies",
    "we use cookies",
    "you may also like",
];
/// Words that menus are made of; a line of items that are mostly such words is a menu.
const MENU: [&str; 36] = [
    "about",
    "about us",
    "account",
    "basket",
    "blog",
    "cart",
    "contact",
    "contact us",
    "courses",
    "facebook",
    "faq",
    "follow us",
    "gear",
    "help",
    "home",
    "imprint",
    "instagram",
    "like",
    "log in",
    "login",
    "menu",
    "my account",
    "new",
    "news",
    "print",
    "print this page",
    "products",
    "register",
    "sale",
    "search",
    "share",
    "shop",
    "sitemap",
    "terms and conditions",
    "trips",
    "twitter",
];

/// The filter.
pub struct Boilerplate {
    config: Config,
    phrases: Regex,
}

impl Boilerplate {
    /// The filter with its config.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let any = PHRASES.map(regex::escape).join("|");
        let pattern = format!("(?i-u:{any})");
        let phrases =
            Regex::new(&pattern).expect("the phrases are constants that the tests compile");
        Self {
            config: config.clone(),
            phrases,
        }
    }

    fn is_boilerplate(&self, line: &str) -> bool {
        if line.trim().is_empty() || line.chars().count() > self.config.max_line_characters {
            return false;
        }
        let line = line.trim().to_lowercase();
        self.phrases.is_match(&line) || is_menu(&line)
    }
}

/// Two items or more between `|`, `>`, `·` or wide gaps, half of them or more the words of menus.
fn is_menu(line: &str) -> bool {
    let split = |separator: &str| -> Vec<String> {
        let item = |item: &str| {
            item.trim_matches(|character: char| !character.is_alphabetic())
                .to_owned()
        };
        line.split(separator)
            .map(item)
            .filter(|item| !item.is_empty())
            .collect()
    };
    ["|", ">", "·", "»", "  "]
        .iter()
        .map(|separator| split(separator))
        .any(|items| {
            let known = items
                .iter()
                .filter(|item| MENU.contains(&item.as_str()))
                .count();
            items.len() >= 2 && known >= 2 && 2 * known >= items.len()
        })
}

impl Filter for Boilerplate {
    fn step(&self) -> &'static str {
        "boilerplate"
    }

    fn apply(&self, document: &mut Document) -> Outcome {
        let text = &document.text;
        // Most texts have neither and are not looked at line by line.
        let may_be_menu = text.contains(['|', '>', '·', '»']) || text.contains("  ");
        if !(may_be_menu || self.phrases.is_match(text))
            || !text.lines().any(|line| self.is_boilerplate(line))
        {
            return Outcome::Keep;
        }
        let kept: Vec<_> = document
            .text
            .lines()
            .filter(|line| !self.is_boilerplate(line))
            .collect();
        document.text = kept.join("\n").trim_matches('\n').to_owned();
        if document.text.trim().is_empty() {
            return Outcome::Drop("nothing but menus and notices".to_owned());
        }
        Outcome::Edited
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{apply, drops};
    use super::*;

    #[test]
    fn lines_go_and_the_text_stays() {
        let filter = Boilerplate::new(&Config::default());
        let page = "Home | Shop | Contact\nWe use cookies to improve your experience.\nThe reef is calm.\n\n\
                    It rains.\nMenu  Search  Log in  Basket (0)\nHome > Shop > Sale\nCopyright 2024. All rights reserved.";
        assert_eq!(
            apply(&filter, page),
            (Outcome::Edited, "The reef is calm.\n\nIt rains.".to_owned())
        );
        assert!(drops(
            &filter,
            "Skip to main content\nPrivacy policy | Terms"
        ));
    }

    #[test]
    fn text_is_left_alone() {
        let filter = Boilerplate::new(&Config::default());
        for text in [
            "The shop is at home in the bay; contact the desk.",
            "name | price | stock\nfins | 20 | 3",
            "a > b > c, so a > c",
            &format!(
                "{} we use cookies {}",
                "long ".repeat(40),
                "long ".repeat(40)
            ),
        ] {
            assert_eq!(apply(&filter, text).0, Outcome::Keep, "{text}");
        }
    }
}
