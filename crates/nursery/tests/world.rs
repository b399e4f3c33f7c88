//! The rendered files as their readers see them: same bytes, split, gold answers, lengths, and what a table can learn.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::Path;

use nursery::{Defect, Document, Example, Flaw, Kind, Label, Matching, Pair, Split, World, grade, names, normalise};
use serde::de::DeserializeOwned;

fn rows<T: DeserializeOwned>(path: &Path) -> Vec<T> {
    let text = fs::read_to_string(path).expect("the file was rendered");
    text.lines().map(|l| serde_json::from_str(l).expect("each line is a row")).collect()
}

struct Rendered {
    _dir: tempfile::TempDir,
    documents: Vec<Document>,
    labels: Vec<Label>,
    training: Vec<Example>,
    held_out: Vec<Example>,
    pairs: Vec<Pair>,
    held_out_pairs: Vec<Pair>,
}

fn world() -> World {
    World { documents: 3_000, instructions: 6_000, held_out: 60, preferences: 1_000, ..World::default() }
}

fn rendered() -> Rendered {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let at = dir.path();
    nursery::render(&world(), at).expect("renders");
    Rendered {
        documents: rows(&at.join("documents/part-000.jsonl")),
        labels: rows(&at.join("labels.jsonl")),
        training: rows(&at.join("instructions.jsonl")),
        held_out: rows(&at.join("held_out.jsonl")),
        pairs: rows(&at.join("preferences.jsonl")),
        held_out_pairs: rows(&at.join("held_out_preferences.jsonl")),
        _dir: dir,
    }
}

fn bytes(seed: u64, documents: u64) -> BTreeMap<String, Vec<u8>> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let size = World { seed, documents, instructions: 300, held_out: 10, preferences: 50, ..World::default() };
    nursery::render(&size, dir.path()).expect("renders");
    let mut found = BTreeMap::new();
    for folder in [dir.path().to_path_buf(), dir.path().join("documents")] {
        for entry in fs::read_dir(folder).expect("readable") {
            let path = entry.expect("readable").path();
            if path.is_file() {
                found.insert(path.file_name().expect("a name").to_string_lossy().into_owned(), fs::read(&path).expect("readable"));
            }
        }
    }
    found
}

#[test]
fn one_seed_one_world() {
    assert_eq!(bytes(7, 500), bytes(7, 500));
    assert_ne!(bytes(7, 500), bytes(8, 500));
}

#[test]
fn a_row_does_not_depend_on_how_many_there_are() {
    let (small, large) = (bytes(7, 200), bytes(7, 400));
    assert!(large["part-000.jsonl"].starts_with(&small["part-000.jsonl"]));
}

#[test]
fn a_smaller_world_leaves_no_stale_parts() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let size = |documents| World { documents, instructions: 1, held_out: 1, preferences: 1, ..World::default() };
    nursery::render(&size(10_001), dir.path()).expect("renders");
    assert!(dir.path().join("documents/part-002.jsonl").exists());
    nursery::render(&size(5_000), dir.path()).expect("renders");
    assert!(dir.path().join("documents/part-000.jsonl").exists());
    assert!(!dir.path().join("documents/part-001.jsonl").exists());
    assert!(!dir.path().join("documents/part-002.jsonl").exists());
}

/// All names of one side that stand in a text, found word by word.
fn names_in<'a>(text: &str, names: &'a HashMap<String, Vec<String>>) -> Vec<&'a str> {
    let mut found = Vec::new();
    for (at, _) in text.char_indices().filter(|(i, c)| c.is_alphabetic() && !text[..*i].ends_with(char::is_alphanumeric)) {
        let word: String = text[at..].chars().take_while(|c| c.is_alphabetic()).collect();
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
        map.entry(name.split(' ').next().expect("names have words").into()).or_default().push(name);
    }
    map
}

#[test]
fn no_held_out_combination_occurs_in_training() {
    let r = rendered();
    let held = by_first_word(Split::HeldOut);
    let text = |e: &Example| e.messages.iter().map(|m| m.content.as_str()).collect::<Vec<_>>().join("\n");
    for d in &r.documents {
        assert_eq!(names_in(&d.text, &held), Vec::<&str>::new(), "{}", d.text);
    }
    for e in &r.training {
        assert_eq!(names_in(&text(e), &held), Vec::<&str>::new(), "{}", text(e));
    }
    for p in &r.pairs {
        let all = format!("{}\n{}\n{}", p.prompt.last().expect("a prompt").content, p.chosen, p.rejected);
        assert_eq!(names_in(&all, &held), Vec::<&str>::new(), "{all}");
    }
    let trained = by_first_word(Split::Training);
    for e in &r.held_out {
        assert_eq!(names_in(&text(e), &trained), Vec::<&str>::new(), "{}", text(e));
    }
    for p in &r.held_out_pairs {
        let all = format!("{}\n{}", p.prompt.last().expect("a prompt").content, p.chosen);
        assert_eq!(names_in(&all, &trained), Vec::<&str>::new(), "{all}");
    }
}

#[test]
fn every_word_of_a_held_out_name_occurs_in_training() {
    let r = rendered();
    let mut words = BTreeSet::new();
    for t in r.documents.iter().map(|d| d.text.as_str()).chain(r.training.iter().map(Example::question)) {
        words.extend(t.split(|c: char| !c.is_alphanumeric()).map(str::to_lowercase));
    }
    for name in names(Split::HeldOut) {
        for word in name.split(' ') {
            assert!(words.contains(&word.to_lowercase()), "{word} of {name}");
        }
    }
}

#[test]
fn gold_answers_pass_and_others_fail() {
    let r = rendered();
    for e in r.training.iter().chain(&r.held_out) {
        assert!(grade(e, e.answer()), "{e:#?}");
        assert!(!grade(e, ""), "{e:#?}");
        assert!(!grade(e, "I like diving."), "{e:#?}");
        assert_eq!(e.answerable, e.kind != Kind::Unanswerable);
        assert_eq!(grade(e, "That is not in the information I have."), !e.answerable, "{e:#?}");
        assert!(grade(e, &format!("  {}\n", e.answer().to_uppercase())), "{e:#?}");
    }
}

#[test]
fn a_list_of_all_values_is_not_an_answer() {
    let r = rendered();
    for e in r.held_out.iter().filter(|e| matches!(e.kind, Kind::Lookup | Kind::Recommendation | Kind::Classification)) {
        assert!(!e.reject.is_empty() || e.kind == Kind::Lookup, "{e:#?}");
        if !e.reject.is_empty() {
            assert!(!grade(e, &format!("{} {}", e.answer(), e.reject.join(" "))), "{e:#?}");
        }
    }
}

#[test]
fn contexts_hold_what_lookups_expect() {
    let r = rendered();
    for e in r.training.iter().chain(&r.held_out) {
        if matches!(e.kind, Kind::Lookup | Kind::Recommendation | Kind::Extraction) {
            for x in &e.expect {
                assert!(nursery::contains_words(&normalise(e.question()), &normalise(x)), "{x}: {e:#?}");
            }
        }
    }
}

#[test]
fn sums_are_right() {
    let r = rendered();
    let mut checked = 0;
    let answers = r.training.iter().chain(&r.held_out).filter(|e| e.kind == Kind::Arithmetic).map(Example::answer);
    let lines = r.documents.iter().flat_map(|d| d.text.lines()).filter(|l| l.contains(" = €") && !l.contains("price"));
    for text in answers.chain(lines) {
        let words: Vec<&str> = text.split([' ', '(', ')']).map(|w| w.trim_matches(['€', '.', ',', ':'])).collect();
        for w in words.windows(5) {
            let [Ok(a), Ok(b), Ok(c)] = [w[0], w[2], w[4]].map(str::parse::<u32>) else { continue };
            let right = match (w[1], w[3]) {
                ("x", "=") => a * b,
                ("+", "=") => a + b,
                ("-", "=") => a - b,
                _ => continue,
            };
            assert_eq!(right, c, "{text}");
            checked += 1;
        }
    }
    assert!(checked > 1_500, "{checked}");
}

#[test]
fn all_number_combinations_of_held_out_sums_are_trained() {
    let r = rendered();
    let sum = |text: &str| {
        let tail: Vec<&str> = text.trim_end_matches('.').rsplitn(6, ' ').collect();
        tail[..5.min(tail.len())].iter().rev().copied().collect::<Vec<_>>().join(" ")
    };
    let mut seen: BTreeSet<String> =
        r.training.iter().filter(|e| e.kind == Kind::Arithmetic).map(|e| sum(e.answer())).collect();
    for d in &r.documents {
        seen.extend(d.text.split(['\n', '(', ')', ':', '.']).filter(|l| l.contains(" = €")).map(|l| sum(l.trim())));
    }
    let held: Vec<String> = r.held_out.iter().filter(|e| e.kind == Kind::Arithmetic).map(|e| sum(e.answer())).collect();
    let missing: Vec<&String> = held.iter().filter(|s| !seen.contains(*s)).collect();
    assert!(missing.len() * 20 <= held.len(), "{missing:?}");
}

#[test]
fn examples_are_short() {
    let r = rendered();
    let mut total = 0;
    for e in r.training.iter().chain(&r.held_out) {
        let words: usize = e.messages.iter().map(|m| m.content.split_whitespace().count()).sum();
        assert!((8..=110).contains(&words), "{words} words: {e:#?}");
        assert!(e.answer().split_whitespace().count() <= 30, "{e:#?}");
        total += words;
    }
    let mean = total / (r.training.len() + r.held_out.len());
    assert!((30..=70).contains(&mean), "{mean}");
}

#[test]
fn documents_are_of_many_lengths_and_never_empty() {
    let r = rendered();
    let labelled: BTreeSet<&str> = r.labels.iter().map(|l| l.id.as_str()).collect();
    let lengths: Vec<usize> = r
        .documents
        .iter()
        .filter(|d| !labelled.contains(d.id.as_str()))
        .map(|d| d.text.split_whitespace().count())
        .collect();
    assert!(lengths.iter().all(|n| (5..=420).contains(n)), "{:?} {:?}", lengths.iter().min(), lengths.iter().max());
    assert!(lengths.iter().any(|n| *n > 180));
    assert!(lengths.iter().any(|n| *n < 25));
}

#[test]
fn no_rule_is_left_unexpanded() {
    let r = rendered();
    let labelled: BTreeSet<&str> = r.labels.iter().map(|l| l.id.as_str()).collect();
    let clean = r.documents.iter().filter(|d| !labelled.contains(d.id.as_str())).map(|d| d.text.as_str());
    let asked = r.training.iter().flat_map(|e| e.messages.iter().map(|m| m.content.as_str()));
    for text in clean.chain(asked) {
        assert!(!text.contains(['<', '>', '{', '}', '[', ']', '~', '^']), "{text}");
        for wrong in [" .", " ,", "..", "?.", ". .", " the the ", " The The ", " a an ", "of of"] {
            assert!(!text.contains(wrong), "{wrong:?} in {text}");
        }
        assert!(!text.replace("\n  ", "\n").contains("  "), "two spaces in {text}");
    }
}

#[test]
fn clean_documents_are_unique() {
    let r = rendered();
    let copies = |d: Defect| matches!(d, Defect::ExactDuplicate);
    let copied: BTreeSet<&str> = r.labels.iter().filter(|l| copies(l.defect)).map(|l| l.id.as_str()).collect();
    let mut seen = HashMap::new();
    for d in r.documents.iter().filter(|d| !copied.contains(d.id.as_str())) {
        if let Some(before) = seen.insert(d.text.as_str(), d.id.as_str()) {
            panic!("{before} and {} are equal but not labelled: {}", d.id, d.text);
        }
    }
}

#[test]
fn one_prompt_has_one_answer() {
    let r = rendered();
    let mut seen: HashMap<&str, &str> = HashMap::new();
    for e in r.training.iter().chain(&r.held_out) {
        if let Some(other) = seen.insert(e.question(), e.answer()) {
            panic!("asked twice: {} {other}", e.question());
        }
    }
    let pairs = r.pairs.iter().chain(&r.held_out_pairs);
    for p in pairs {
        let asked = p.prompt.last().expect("a prompt").content.as_str();
        if let Some(answer) = seen.get(asked) {
            assert_eq!(*answer, p.chosen, "{asked}");
        }
    }
}

#[test]
fn rejected_answers_are_worse() {
    let r = rendered();
    let mut flaws = BTreeMap::new();
    for p in r.pairs.iter().chain(&r.held_out_pairs) {
        assert_ne!(normalise(&p.chosen), normalise(&p.rejected), "{p:#?}");
        *flaws.entry(p.flaw).or_insert(0) += 1;
        let refuses = nursery::is_refusal;
        match p.flaw {
            Flaw::NotRefused => assert!(refuses(&p.chosen) && !refuses(&p.rejected), "{p:#?}"),
            Flaw::NeedlessRefusal => assert!(!refuses(&p.chosen) && refuses(&p.rejected), "{p:#?}"),
            Flaw::WrongValue | Flaw::Invented => assert!(!refuses(&p.chosen), "{p:#?}"),
            Flaw::Rude => {}
        }
    }
    assert_eq!(flaws.len(), 5, "{flaws:?}");
    assert!(flaws.values().all(|n| *n > 50), "{flaws:?}");
}

#[test]
fn shares_of_the_kinds() {
    let r = rendered();
    let refused = r.training.iter().filter(|e| !e.answerable).count() * 100 / r.training.len();
    assert!((12..=18).contains(&refused), "{refused}%");
    for kind in Kind::ALL {
        assert!(r.training.iter().filter(|e| e.kind == kind).count() > 250, "{kind:?}");
        assert_eq!(r.held_out.iter().filter(|e| e.kind == kind).count(), 60, "{kind:?}");
    }
    let system = r.training.iter().filter(|e| e.messages[0].role == "system").count() * 100 / r.training.len();
    assert!((7..=13).contains(&system), "{system}%");
}

/// Words of a text, for overlap.
fn bag(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).map(str::to_lowercase).collect()
}

#[test]
fn tables_cannot_pass() {
    let r = rendered();
    let share = |right: usize| right * 100 / r.held_out.len();

    let exact: HashMap<&str, &str> = r.training.iter().map(|e| (e.question(), e.answer())).collect();
    let right = r.held_out.iter().filter(|e| exact.get(e.question()).is_some_and(|a| grade(e, a))).count();
    assert!(share(right) < 30, "exact question: {}%", share(right));

    let mut counts: BTreeMap<(Kind, &str), usize> = BTreeMap::new();
    for e in &r.training {
        *counts.entry((e.kind, e.answer())).or_default() += 1;
    }
    let frequent = |kind: Kind| {
        counts.iter().filter(|((k, _), _)| *k == kind).max_by_key(|(_, n)| **n).map_or("", |((_, a), _)| *a)
    };
    let right = r.held_out.iter().filter(|e| grade(e, frequent(e.kind))).count();
    assert!(share(right) < 30, "most frequent answer: {}%", share(right));

    let bags: Vec<BTreeSet<String>> = r.training.iter().map(|e| bag(e.question())).collect();
    let nearest = |e: &Example| {
        let own = bag(e.question());
        let near = |b: &BTreeSet<String>| {
            let shared = b.intersection(&own).count();
            shared * 10_000 / (b.len() + own.len() - shared).max(1)
        };
        let best = (0..bags.len()).max_by_key(|i| near(&bags[*i])).expect("there are examples");
        r.training[best].answer()
    };
    let right = r.held_out.iter().filter(|e| grade(e, nearest(e))).count();
    assert!(share(right) < 30, "nearest question: {}%", share(right));
}

#[test]
fn the_shape_of_a_question_does_not_tell_whether_it_can_be_answered() {
    let r = rendered();
    // Names, numbers and values masked, the question line alone: how well does its shape predict a refusal?
    let shape = |e: &Example| {
        let line = e.question().lines().find(|l| l.ends_with('?') || l.ends_with('.')).unwrap_or("");
        let last = e.question().lines().last().unwrap_or("");
        let asked = if last.ends_with('?') { last } else { line };
        asked
            .split_whitespace()
            .map(|w| if w.starts_with(|c: char| c.is_uppercase() || c.is_ascii_digit() || c == '€') { "X" } else { w })
            .collect::<Vec<_>>()
            .join(" ")
    };
    let able = [Kind::Lookup, Kind::Comparison, Kind::Arithmetic, Kind::Recommendation, Kind::Summary, Kind::Unanswerable];
    let mut seen: BTreeMap<String, (u32, u32)> = BTreeMap::new();
    for e in r.training.iter().filter(|e| able.contains(&e.kind)) {
        let entry = seen.entry(shape(e)).or_default();
        if e.answerable { entry.0 += 1 } else { entry.1 += 1 }
    }
    let (mut by_shape, mut all, mut refused) = (0, 0, 0);
    for (yes, no) in seen.values().filter(|(yes, no)| yes + no >= 20) {
        by_shape += yes.max(no);
        all += yes + no;
        refused += no;
    }
    let (prior, told) = (f64::from(all - refused) / f64::from(all), f64::from(by_shape) / f64::from(all));
    assert!(told - prior < 0.02, "guessing from the shape: {told:.3}, always answering: {prior:.3}");
}

#[test]
fn bad_rates_are_refused() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut w = World::default();
    w.defects.insult = 1.5;
    assert!(nursery::render(&w, dir.path()).expect_err("too large").to_string().contains("between 0 and 1"));
    w.defects.insult = 0.6;
    w.defects.gibberish = 0.6;
    assert!(nursery::render(&w, dir.path()).expect_err("too large together").to_string().contains("at most 1"));
    assert!(serde_json::from_str::<World>(r#"{"documnets": 3}"#).is_err());
}

#[test]
fn a_world_is_made_once() {
    let home = tempfile::tempdir().expect("a temporary folder");
    let store = artifact::Store::open(home.path()).expect("opens");
    let size = World { documents: 50, instructions: 20, held_out: 2, preferences: 5, held_out_preferences: 5, ..World::default() };
    let progress = artifact::Progress::silent();
    let first = nursery::run(&size, &store, &progress).expect("runs");
    let again = nursery::run(&size, &store, &progress).expect("runs");
    assert_eq!(first.id, again.id);
    assert!(first.file("held_out.jsonl").exists());
    assert_eq!(first.manifest.kind, "world");
    let other = nursery::run(&World { seed: 2, ..size }, &store, &progress).expect("runs");
    assert_ne!(first.id, other.id);
}

#[test]
fn fields_and_choices_are_graded_as_such() {
    let r = rendered();
    for e in r.held_out.iter().filter(|e| e.matching == Matching::Fields) {
        let mut parts: Vec<&str> = e.answer().split("; ").collect();
        parts.reverse();
        assert!(grade(e, &parts.join("; ")));
        assert!(!grade(e, &parts[1..].join("; ")));
    }
    for e in r.held_out.iter().filter(|e| e.matching == Matching::Choice) {
        assert!(grade(e, &e.expect[0]));
        assert!(e.reject.iter().all(|l| !grade(e, l)));
    }
}
