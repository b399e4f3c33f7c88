//! Conversations to ids. The markers come from the template alone: whatever a message says stays ordinary text, so a
//! user who types `<|im_end|>` does not end their turn.
//!
//! Three private-use characters that occur in no message travel through the template with the messages: one before
//! every marker that a message spells out, and one at each end of what the assistant says. In the rendered text they
//! tell whose words are whose, and are taken out again.

use std::ops::Range;

use serde_json::Value;

use crate::chat::Message;
use crate::error::{Error, Result};
use crate::markers::Marker;
use crate::tokenizer::Tokenizer;

impl Tokenizer {
    /// The ids of a conversation, written by the chat template with real markers and messages as plain text.
    ///
    /// # Errors
    /// [`Error::Template`] when the template refuses the conversation.
    pub fn encode_chat(
        &self,
        messages: &[Message],
        add_generation_prompt: bool,
    ) -> Result<Vec<u32>> {
        let rendered = self.render(messages, add_generation_prompt, false)?;
        Ok(self
            .encode_rendered(&rendered)?
            .into_iter()
            .map(|(id, _)| id)
            .collect())
    }

    /// As [`Tokenizer::encode_chat`], for messages with fields of their own (`tool_calls`, `tool_call_id`, `name`) and
    /// with the tools that the assistant may call. No text within them becomes a marker either.
    ///
    /// # Errors
    /// [`Error::Template`] when the template refuses the conversation.
    pub fn encode_chat_with_tools(
        &self,
        messages: &[Value],
        tools: &[Value],
        add_generation_prompt: bool,
    ) -> Result<Vec<u32>> {
        let travellers = Travellers::absent(|character| {
            !messages
                .iter()
                .chain(tools)
                .any(|one| holds(one, character))
        });
        let dress = |one: &Value| self.shielded(one, travellers.shield);
        let messages: Vec<Value> = messages.iter().map(dress).collect();
        let tools: Vec<Value> = tools.iter().map(dress).collect();
        let text =
            self.chat_template()
                .render_with_tools(&messages, &tools, add_generation_prompt)?;
        let tokens = self.encode_rendered(&self.undress(&text, travellers))?;
        Ok(tokens.into_iter().map(|(id, _)| id).collect())
    }

    /// Every text within a value shielded.
    fn shielded(&self, value: &Value, shield: char) -> Value {
        let text = |text: &str| self.markers().shield(text, shield);
        match value {
            Value::String(string) => Value::String(text(string)),
            Value::Array(items) => items.iter().map(|one| self.shielded(one, shield)).collect(),
            Value::Object(fields) => fields
                .iter()
                .map(|(name, one)| (text(name), self.shielded(one, shield)))
                .collect(),
            other => other.clone(),
        }
    }

    /// The same ids as [`Tokenizer::encode_chat`] without generation prompt, and for each whether it is the
    /// assistant's: its content and the marker that ends it.
    ///
    /// # Errors
    /// [`Error::Template`], and [`Error::Mask`] when the template rewrites what the assistant says.
    pub fn encode_chat_with_mask(&self, messages: &[Message]) -> Result<(Vec<u32>, Vec<bool>)> {
        let plain = self.render(messages, false, false)?;
        let mut marked = self.render(messages, false, true)?;
        if marked.text != plain.text {
            // Templates may trim a message; the characters at its ends would have kept the spaces inside.
            let trim = |one: &Message| Message::new(one.role.as_str(), one.content.trim());
            let trimmed: Vec<_> = messages.iter().map(trim).collect();
            marked = self.render(&trimmed, false, true)?;
        }
        let speeches = messages
            .iter()
            .filter(|message| message.is_assistant())
            .count();
        if marked.text != plain.text || marked.spans.len() != speeches {
            return Err(Error::Mask);
        }
        let tokens = self.encode_rendered(&plain)?;
        let mut mask = vec![false; tokens.len()];
        for span in &marked.spans {
            let first = tokens.partition_point(|(_, start)| *start < span.start);
            let end = tokens.partition_point(|(_, start)| *start < span.end);
            mask[first.min(end)..end].fill(true);
            if tokens.get(end).is_some_and(|(id, _)| self.is_special(*id)) {
                mask[end] = true;
            }
        }
        Ok((tokens.into_iter().map(|(id, _)| id).collect(), mask))
    }

    fn render(&self, messages: &[Message], prompt: bool, mark: bool) -> Result<Rendered> {
        let travellers = Travellers::absent_from(messages);
        let dress = |message: &Message| {
            let mut content = self.markers().shield(&message.content, travellers.shield);
            if mark && message.is_assistant() {
                content.insert(0, travellers.open);
                content.push(travellers.close);
            }
            // A role that only differs by a traveller would no longer be known to the template.
            Message {
                role: self.markers().shield(&message.role, travellers.shield),
                content,
            }
        };
        let dressed: Vec<_> = messages.iter().map(dress).collect();
        let text = self.chat_template().render(&dressed, prompt)?;
        Ok(self.undress(&text, travellers))
    }

    /// Takes the travellers out, noting where they were.
    fn undress(&self, text: &str, travellers: Travellers) -> Rendered {
        let mut rendered = Rendered::default();
        let mut rest = text;
        let mut open = None;
        while let Some(character) = rest.chars().next() {
            let here = rendered.text.len();
            if character == travellers.shield {
                rendered.shielded.push(here);
            } else if character == travellers.open {
                open = Some(here);
            } else if character == travellers.close {
                rendered.spans.extend(open.take().map(|start| start..here));
            } else {
                rendered.text.push(character);
            }
            rest = &rest[character.len_utf8()..];
        }
        rendered
    }

    /// Ids with the byte offset at which each begins.
    fn encode_rendered(&self, rendered: &Rendered) -> Result<Vec<(u32, usize)>> {
        let mut tokens = Vec::new();
        if rendered.shielded.is_empty() {
            // The usual case, and exactly what Python's `apply_chat_template` gives.
            self.encode_piece(&rendered.text, 0, true, &mut tokens)?;
            return Ok(tokens);
        }
        let text = rendered.text.as_str();
        let (mut from, mut at, mut strip) = (0, 0, false);
        while at < text.len() {
            let shielded = rendered.shielded.binary_search(&at).is_ok();
            match self.markers().at_start(&text[at..]).filter(|_| !shielded) {
                Some(marker) => {
                    self.encode_between(text, from..at, strip, Some(marker), &mut tokens)?;
                    tokens.push((marker.id, at));
                    at += marker.text.len();
                    (from, strip) = (at, marker.strips_right);
                }
                None => at += text[at..].chars().next().map_or(1, char::len_utf8),
            }
        }
        self.encode_between(text, from..at, strip, None, &mut tokens)?;
        Ok(tokens)
    }

    fn encode_between(
        &self,
        text: &str,
        range: Range<usize>,
        strip_start: bool,
        next: Option<&Marker>,
        tokens: &mut Vec<(u32, usize)>,
    ) -> Result<()> {
        let mut piece = &text[range.clone()];
        let mut offset = range.start;
        if strip_start {
            offset += piece.len() - piece.trim_start().len();
            piece = piece.trim_start();
        }
        if next.is_some_and(|marker| marker.strips_left) {
            piece = piece.trim_end();
        }
        self.encode_piece(piece, offset, false, tokens)
    }

    fn encode_piece(
        &self,
        text: &str,
        offset: usize,
        marking: bool,
        tokens: &mut Vec<(u32, usize)>,
    ) -> Result<()> {
        if !text.is_empty() {
            let encoding = self
                .library(marking)
                .encode(text, false)
                .map_err(Error::library("encode"))?;
            let starts = encoding
                .get_offsets()
                .iter()
                .map(|(start, _)| start + offset);
            tokens.extend(encoding.get_ids().iter().copied().zip(starts));
        }
        Ok(())
    }
}

/// Whether a text within a value contains a character.
fn holds(value: &Value, character: char) -> bool {
    match value {
        Value::String(text) => text.contains(character),
        Value::Array(items) => items.iter().any(|one| holds(one, character)),
        Value::Object(fields) => fields
            .iter()
            .any(|(name, one)| name.contains(character) || holds(one, character)),
        _ => false,
    }
}

/// A rendered conversation after the travellers are out.
#[derive(Default)]
struct Rendered {
    text: String,
    /// Where a message spells out a marker, in bytes of `text`, ascending.
    shielded: Vec<usize>,
    /// What the assistant says, in bytes of `text`.
    spans: Vec<Range<usize>>,
}

/// Three characters that no message contains.
#[derive(Clone, Copy)]
struct Travellers {
    shield: char,
    open: char,
    close: char,
}

impl Travellers {
    fn absent_from(messages: &[Message]) -> Self {
        Self::absent(|character| {
            !messages
                .iter()
                .any(|one| one.content.contains(character) || one.role.contains(character))
        })
    }

    /// Three characters of which `absent` holds.
    fn absent(absent: impl Fn(char) -> bool) -> Self {
        let absent = |character: &char| absent(*character);
        let mut free = ('\u{F0000}'..'\u{FFFFE}')
            .chain('\u{100000}'..'\u{10FFFE}')
            .filter(absent);
        let mut next = || free.next().unwrap_or('\u{10FFFD}');
        Self {
            shield: next(),
            open: next(),
            close: next(),
        }
    }
}
