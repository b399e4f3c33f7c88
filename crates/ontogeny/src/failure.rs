//! From any room's error to one refusal: kind, message, remedy, exit code.

use crate::refusal::{Exit, Refusal};

/// What a command's error means for the user.
///
/// Rooms write their errors as `what happened; what to do`. The part behind the first semicolon is the remedy.
pub(crate) fn refusal(error: &anyhow::Error) -> Refusal {
    if let Some(refusal) = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<Refusal>())
    {
        return refusal.clone();
    }
    if interrupted(error) || crate::interrupt::asked() {
        return Refusal {
            kind: "interrupted",
            message: "interrupted; the work so far is saved".to_owned(),
            hint: Some("run the same command again to go on from there".to_owned()),
            exit: Exit::Interrupted,
        };
    }
    let whole = error.to_string();
    let (message, hint) = match whole.split_once("; ") {
        Some((message, hint)) => (message.to_owned(), Some(hint.to_owned())),
        None => (whole, None),
    };
    let (kind, exit) = classify(error);
    Refusal {
        kind,
        message,
        hint,
        exit,
    }
}

fn interrupted(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        matches!(
            cause.downcast_ref::<artifact::Error>(),
            Some(artifact::Error::Interrupted)
        )
    })
}

fn classify(error: &anyhow::Error) -> (&'static str, Exit) {
    for cause in error.chain() {
        if let Some(error) = cause.downcast_ref::<artifact::Error>() {
            return match error {
                artifact::Error::Busy { .. } => ("busy", Exit::Failed),
                artifact::Error::Unknown { .. } | artifact::Error::Ambiguous { .. } => {
                    ("unknown_artifact", Exit::Usage)
                }
                artifact::Error::InUse { .. } => ("in_use", Exit::Failed),
                artifact::Error::Name { .. } => ("usage", Exit::Usage),
                error if error.is_disk_full() => ("disk_full", Exit::Failed),
                _ => ("store", Exit::Failed),
            };
        }
        if let Some(error) = cause.downcast_ref::<hub::Error>() {
            return match error {
                hub::Error::Unknown { .. } | hub::Error::NotAModel { .. } => {
                    ("unknown_model", Exit::Usage)
                }
                hub::Error::Encoder { .. } | hub::Error::NotAnEncoder { .. } => {
                    ("wrong_model", Exit::Usage)
                }
                hub::Error::Unreachable { .. } => ("network", Exit::Failed),
                hub::Error::Remote { .. } => ("hub", Exit::Failed),
                hub::Error::Artifact(_) | hub::Error::Tokenizer(_) => continue,
                _ => ("model", Exit::Failed),
            };
        }
        if let Some(error) = cause.downcast_ref::<knowledge::Error>() {
            return match error {
                knowledge::Error::Prompt { .. } | knowledge::Error::Ids { .. } => {
                    ("usage", Exit::Usage)
                }
                knowledge::Error::NotFinite { .. } => ("model", Exit::Failed),
                knowledge::Error::Tokenizer(_) => continue,
            };
        }
        if let Some(error) = cause.downcast_ref::<tokenizer::Error>() {
            return match error {
                tokenizer::Error::VocabularyTooLarge { .. }
                | tokenizer::Error::VocabularyTooSmall { .. } => ("vocabulary", Exit::Usage),
                tokenizer::Error::Artifact(_) => continue,
                _ => ("tokenizer", Exit::Failed),
            };
        }
        if let Some(error) = cause.downcast_ref::<serve::Error>() {
            return match error {
                serve::Error::PortInUse { .. } => ("port_in_use", Exit::Failed),
                serve::Error::NoModel | serve::Error::Origin { .. } => ("usage", Exit::Usage),
                serve::Error::Model { .. } => ("unknown_model", Exit::Usage),
                _ => ("serve", Exit::Failed),
            };
        }
        if cause.is::<tensor::device::DeviceError>() {
            return ("device", Exit::Usage);
        }
        if cause.is::<data::Error>() {
            return ("data", Exit::Failed);
        }
    }
    ("failed", Exit::Failed)
}
