//! The division of entity combinations, in the rendered rows.

mod rendered;

use std::collections::{BTreeSet, HashMap};

use nursery::{Example, Split, names};
use rendered::ROWS;

/// All names of one side that stand in a text, found word by word.
fn names_in<'a>(text: &str, names: &'a HashMap<String, Vec<String>>) -> Vec<&'a str> {
    let mut found = Vec::new();
    for (at, _) in text
        .char_indices()
        .filter(|(i, c)| c.is_alphabetic() && !text[..*i].ends_with(char::is_alphanumeric))
    {
        let word: String = text[at..]
            .chars()
            .take_while(|c| c.is_alphabetic())
            .collect();
        for name in names.get(&word.to_lowercase()).into_iter().flatten() {
            let rest = text[at..].to_lowercase();
            if rest.starts_with(name) && !rest[name.len()..].starts_with(char::is_alphanumeric) {
                found.push(name.as_str());
            }
        }
    }
    found
}

fn by_first_word(split: Split) -> HashMap<String, Vec<String>> {
    let mut map: HashMap<String, Vec<String>> = HashMap::new();
    for name in names(split) {
        let name = name.to_lowercase();
        map.entry(name.split(' ').next().expect("names have words").into())
            .or_default()
            .push(name);
    }
    map
}

#[test]
fn no_held_out_combination_occurs_in_training() {
    let r = &*ROWS;
    let held = by_first_word(Split::HeldOut);
    let text = |e: &Example| {
        e.messages
            .iter()
            .map(|m| m.content.as_str())
            .collect::<Vec<_>>()
            .join("\n")
    };
    for d in &r.documents {
        assert_eq!(names_in(&d.text, &held), Vec::<&str>::new(), "{}", d.text);
    }
    for e in &r.training {
        assert_eq!(names_in(&text(e), &held), Vec::<&str>::new(), "{}", text(e));
    }
    for p in &r.pairs {
        let all = format!(
            "{}\n{}\n{}",
            p.prompt.last().expect("a prompt").content,
            p.chosen,
            p.rejected
        );
        assert_eq!(names_in(&all, &held), Vec::<&str>::new(), "{all}");
    }
    let trained = by_first_word(Split::Training);
    for e in &r.held_out {
        assert_eq!(
            names_in(&text(e), &trained),
            Vec::<&str>::new(),
            "{}",
            text(e)
        );
    }
    for p in &r.held_out_pairs {
        let all = format!(
            "{}\n{}",
            p.prompt.last().expect("a prompt").content,
            p.chosen
        );
        assert_eq!(names_in(&all, &trained), Vec::<&str>::new(), "{all}");
    }
}

#[test]
fn every_word_of_a_held_out_name_occurs_in_training() {
    let r = &*ROWS;
    let mut words = BTreeSet::new();
    for t in r
        .documents
        .iter()
        .map(|d| d.text.as_str())
        .chain(r.training.iter().map(Example::question))
    {
        words.extend(
            t.split(|c: char| !c.is_alphanumeric())
                .map(str::to_lowercase),
        );
    }
    for name in names(Split::HeldOut) {
        for word in name.split(' ') {
            assert!(words.contains(&word.to_lowercase()), "{word} of {name}");
        }
    }
}
