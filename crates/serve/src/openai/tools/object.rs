//! One call's object, character by character, so that its arguments can be told before they are whole.

/// What a character did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The object goes on.
    More,
    /// It ended the object.
    End,
    /// This is no call.
    Wrong,
}

/// Follows one object `{"name": …, "arguments": …}`, character by character.
#[derive(Debug, Default)]
pub(super) struct Call {
    /// The function, once it is known.
    pub(super) name: Option<String>,
    /// Whether its beginning was told.
    pub(super) told: bool,
    /// Arguments that came before the name.
    pub(super) before: String,
    place: Place,
    /// The field being read.
    field: String,
    /// Its value so far, where that is not told as it comes.
    value: String,
    depth: usize,
    in_text: bool,
    escaped: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Outside,
    Fields,
    Field,
    Colon,
    BeforeValue,
    Value,
}

impl Call {
    /// Hears a character; what belongs to the arguments goes to `told`.
    pub(super) fn hear(&mut self, character: char, told: &mut String) -> Outcome {
        match (self.place, character) {
            (Place::Outside, '{') => self.place = Place::Fields,
            (Place::Outside, _) => return Outcome::Wrong,
            (Place::Fields | Place::Colon | Place::BeforeValue, white) if white.is_whitespace() => {
            }
            (Place::Fields, '"') => {
                self.field = "\"".to_owned();
                self.place = Place::Field;
            }
            (Place::Fields, ',') => {}
            (Place::Fields, '}') => return Outcome::End,
            (Place::Fields, _) => return Outcome::Wrong,
            (Place::Field, character) => {
                self.field.push(character);
                if self.ends_text(character) {
                    match serde_json::from_str(&self.field) {
                        Ok(field) => self.field = field,
                        Err(_) => return Outcome::Wrong,
                    }
                    self.place = Place::Colon;
                }
            }
            (Place::Colon, ':') => self.place = Place::BeforeValue,
            (Place::Colon, _) => return Outcome::Wrong,
            (Place::BeforeValue, first) => {
                (self.place, self.depth) = (Place::Value, 0);
                self.value.clear();
                if matches!(first, ',' | '}' | ']' | ':') {
                    return Outcome::Wrong;
                }
                return self.value(first, told);
            }
            (Place::Value, character) => return self.value(character, told),
        }
        Outcome::More
    }

    /// Whether a character ends the text it stands in.
    fn ends_text(&mut self, character: char) -> bool {
        if self.escaped {
            self.escaped = false;
            return false;
        }
        self.escaped = character == '\\';
        character == '"'
    }

    fn value(&mut self, character: char, told: &mut String) -> Outcome {
        let is_object = self.value.starts_with('{') || (self.value.is_empty() && character == '{');
        let streams = is_object && self.is_arguments();
        if !self.in_text && self.depth == 0 && matches!(character, ',' | '}') {
            // The end of a number or a word.
            let end = character == '}';
            return self.taken(told, if end { Outcome::End } else { Outcome::More });
        }
        if streams {
            told.push(character);
            if self.value.is_empty() {
                self.value.push(character);
            }
        } else {
            self.value.push(character);
        }
        if self.in_text {
            self.in_text = !self.ends_text(character);
        } else {
            match character {
                '"' => self.in_text = true,
                '{' | '[' => self.depth += 1,
                '}' | ']' if self.depth == 0 => return Outcome::Wrong,
                '}' | ']' => self.depth -= 1,
                _ => return Outcome::More,
            }
        }
        if self.depth == 0 && !self.in_text && matches!(character, '"' | '}' | ']') {
            return self.taken(told, Outcome::More);
        }
        Outcome::More
    }

    fn is_arguments(&self) -> bool {
        matches!(self.field.as_str(), "arguments" | "parameters")
    }

    /// A value is whole.
    fn taken(&mut self, told: &mut String, outcome: Outcome) -> Outcome {
        self.place = Place::Fields;
        let value = std::mem::take(&mut self.value);
        if self.field == "name" {
            match serde_json::from_str(&value) {
                Ok(name) => self.name = Some(name),
                Err(_) => return Outcome::Wrong,
            }
        } else if self.is_arguments() && !value.starts_with('{') {
            // Some models write the arguments as a text that holds JSON.
            match serde_json::from_str::<String>(&value) {
                Ok(text) => told.push_str(&text),
                Err(_) if value.trim() == "null" => {}
                Err(_) => return Outcome::Wrong,
            }
        }
        outcome
    }
}
