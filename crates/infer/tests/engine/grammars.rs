//! Answers of a given form, from a model that knows nothing of it.

use artifact::Progress;
use infer::{Error, Grammar, Request, Sampling, Settings};
use serde_json::{Value, json};

use crate::{engine, request, said};

fn asked(grammar: Grammar, number: usize) -> Request {
    Request {
        grammar: Some(grammar),
        max_tokens: 1000,
        stop_ids: Vec::new(),
        sampling: Sampling {
            temperature: if number.is_multiple_of(4) { 0.0 } else { 1.0 },
            top_k: if number.is_multiple_of(3) { 40 } else { 0 },
            seed: number as u64,
            ..Sampling::default()
        },
        ..request(1)
    }
}

fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "name": { "type": "string", "maxLength": 8 },
            "depth": { "type": "integer", "minimum": 0, "maximum": 40 },
            "kind": { "enum": ["reef", "wreck"] },
            "seen": { "type": "array", "items": { "$ref": "#/$defs/animal" }, "maxItems": 2 },
        },
        "required": ["name", "depth", "kind", "seen"],
        "additionalProperties": false,
        "$defs": { "animal": { "enum": ["turtle", "ray"] } },
    })
}

#[test]
fn json_of_a_schema_always_parses_and_fits() {
    let engine = engine(Settings::default());
    let requests = (0..24).map(|number| asked(Grammar::JsonSchema(schema()), number));
    let answers = engine
        .generate_all(requests.collect(), &Progress::silent())
        .unwrap();
    for answer in answers {
        let value: Value = serde_json::from_str(&answer.text)
            .unwrap_or_else(|error| panic!("{error}: {}", answer.text));
        assert!(value["name"].as_str().unwrap().chars().count() <= 8);
        assert!((0..=40).contains(&value["depth"].as_i64().unwrap()));
        assert!(["reef", "wreck"].contains(&value["kind"].as_str().unwrap()));
        let seen = value["seen"].as_array().unwrap();
        assert!(seen.len() <= 2 && seen.iter().all(|one| one == "turtle" || one == "ray"));
        assert_eq!(value.as_object().unwrap().len(), 4);
        assert!(!answer.text.contains('\n'));
    }
}

#[test]
fn text_matches_a_regular_expression_a_choice_or_lark() {
    let engine = engine(Settings::default());
    for number in 0..12 {
        let text = |grammar| engine.generate(asked(grammar, number)).unwrap().text;
        let date = text(Grammar::Regex("[0-9]{4}-(0[1-9]|1[0-2])".to_owned()));
        let (year, month) = date.split_once('-').unwrap();
        assert!(year.len() == 4 && year.parse::<u32>().is_ok(), "{date}");
        assert!((1..=12).contains(&month.parse::<u32>().unwrap()), "{date}");

        let texts = ["yes", "no, (never)", "né? [a|b]*"].map(str::to_owned);
        let chosen = text(Grammar::Choice(texts.to_vec()));
        assert!(texts.contains(&chosen), "{chosen}");

        let lark = "start: \"(\" INNER \")\" | \"(\" start \")\"\nINNER: /[a-c]{1,3}/\n";
        let nested = text(Grammar::Lark(lark.to_owned()));
        let depth = nested.chars().take_while(|c| *c == '(').count();
        let inner = nested.trim_start_matches('(').trim_end_matches(')');
        assert!(
            nested.ends_with(&")".repeat(depth)) && depth > 0,
            "{nested}"
        );
        assert!((1..=3).contains(&inner.len()) && inner.bytes().all(|b| b"abc".contains(&b)));
    }
}

#[test]
fn a_form_is_kept_whatever_else_is_asked() {
    let alone = engine(Settings {
        share_prefixes: false,
        lookup: 0,
        ..Settings::default()
    });
    let guessing = engine(Settings {
        lookup: 6,
        ..Settings::default()
    });
    for number in 0..8 {
        let mut one = asked(Grammar::JsonSchema(schema()), number);
        one.sampling.frequency_penalty = 1.5;
        one.sampling.dry = Some(infer::Dry::default());
        one.sampling.typical_p = 0.9;
        one.sampling.logit_bias = [(1, 100.0), (9, 5.0)].into();
        let expected = alone.generate(one.clone()).unwrap();
        assert!(
            serde_json::from_str::<Value>(&expected.text).is_ok(),
            "{}",
            expected.text
        );
        assert_eq!(said(&guessing.generate(one).unwrap()), said(&expected));
    }
}

#[test]
fn grammars_that_cannot_be_read_are_refused() {
    let engine = engine(Settings::default());
    let wrong = [
        Grammar::Regex("[0-9".to_owned()),
        Grammar::Choice(Vec::new()),
        Grammar::Lark("start: nothing".to_owned()),
        Grammar::JsonSchema(json!({ "type": "unheard of" })),
        Grammar::JsonSchema(json!(7)),
    ];
    for grammar in wrong {
        let answer = engine.generate(asked(grammar.clone(), 1));
        assert!(
            matches!(answer, Err(Error::Grammar { .. })),
            "{grammar:?}: {answer:?}"
        );
    }
    assert!(
        engine
            .generate(asked(Grammar::Regex("a".to_owned()), 1))
            .is_ok()
    );
}
