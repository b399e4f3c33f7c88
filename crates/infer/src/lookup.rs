//! Prompt look-up (Saxena 2023; Leviathan et al., "Fast Inference from Transformers via Speculative Decoding", 2023): what
//! followed the latest tokens when they stood somewhere before is guessed to follow again. The model reads the guesses in one
//! pass with the token before them, and each place's token is then chosen from the model's own distribution, by the
//! request's own random stream, exactly as without guesses; the first that differs from its guess ends the run. So guesses
//! change how many tokens a pass gives, and no token.

/// As many tokens as must agree.
const LEAST: usize = 2;
/// More agreement than this is not looked for.
const MOST: usize = 8;

/// The tokens that followed the latest place where the last tokens stood before, at most `most`; of several places the one
/// that agrees longest.
pub(crate) fn guess(tokens: &[u32], most: usize) -> &[u32] {
    let (Some(&last), true) = (tokens.last(), most > 0) else {
        return &[];
    };
    let (mut best, mut agreement) = (0, LEAST - 1);
    for end in (1..tokens.len()).rev() {
        if tokens[end - 1] != last {
            continue;
        }
        let backwards = tokens[..end].iter().rev().zip(tokens.iter().rev());
        let agree = backwards.take(MOST).take_while(|(a, b)| a == b).count();
        if agree > agreement {
            (best, agreement) = (end, agree);
        }
        if agreement == MOST {
            break;
        }
    }
    if best == 0 {
        return &[];
    }
    &tokens[best..tokens.len().min(best + most)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_followed_before_is_guessed_to_follow_again() {
        assert_eq!(guess(&[1, 2, 3, 4, 9, 1, 2], 2), &[3, 4]);
        assert_eq!(guess(&[1, 2, 3, 4, 9, 1, 2], 9), &[3, 4, 9, 1, 2]);
        assert_eq!(
            guess(&[5, 1, 2, 3, 6, 1, 2, 4, 5, 1, 2], 1),
            &[3],
            "the longest agreement"
        );
        assert_eq!(
            guess(&[5, 1, 2, 3, 5, 1, 2, 4, 5, 1, 2], 1),
            &[4],
            "the latest of equals"
        );
        assert_eq!(
            guess(&[1, 2, 3, 2], 3),
            &[] as &[u32],
            "one token is no agreement"
        );
        assert_eq!(guess(&[7, 7, 7], 3), &[7]);
        assert_eq!(guess(&[], 3), &[] as &[u32]);
        assert_eq!(guess(&[1, 2, 1, 2], 0), &[] as &[u32]);
    }
}
