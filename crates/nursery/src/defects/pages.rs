//! What web pages carry around their text: navigation, cookie notices, footers.

use crate::dice::Dice;
use crate::grammar::one_of;

const HEADS: &[&str] = &[
    "Home | Shop | Courses | Trips | Contact",
    "Home > Shop > {Gear|Sale|New}",
    "Skip to main content",
    "Menu  Search  {Log in|My account}  Basket (0)",
    "We use cookies to {improve|personalise} your experience. Accept all | Settings",
    "This website uses cookies. By continuing you agree to our cookie policy.",
    "JavaScript is disabled in your browser. Please enable it.",
];
const FEET: &[&str] = &[
    "Copyright 20{19|22|24|25}. All rights reserved.",
    "Privacy policy | Terms and conditions | Imprint | Sitemap",
    "Subscribe to our newsletter! Enter your address here.",
    "Follow us | Share | Like | Print this page",
    "Back to top",
    "You may also like: [more from this category]",
    "Click here to read more >>",
    "0 comments. Log in to leave a reply.",
];

/// The text with such lines around it, or only such lines; with the planted lines.
pub(crate) fn wrap(text: &str, d: &mut Dice) -> (String, Vec<String>) {
    let lines = |rules: &[&str], low: u32, high: u32, d: &mut Dice| -> Vec<String> {
        let mut rules = rules.to_vec();
        d.shuffle(&mut rules);
        rules.truncate(d.between(low, high) as usize);
        rules.iter().map(|r| one_of(&[r], d, &[])).collect()
    };
    let only = d.chance(0.35);
    let (head, foot) = if only {
        (lines(HEADS, 3, 7, d), lines(FEET, 3, 8, d))
    } else {
        (lines(HEADS, 1, 4, d), lines(FEET, 1, 4, d))
    };
    let middle = if only {
        Vec::new()
    } else {
        vec![text.to_string()]
    };
    let out = [head.clone(), middle, foot.clone()].concat().join("\n");
    (out, [head, foot].concat())
}
