//! "Did you mean": the nearest of the words that would have been right, and text made fit to
//! be printed on one line.

/// No word of ours is longer. What is longer is no typing error, and is not worth the product of
/// two lengths that the comparison costs.
const WORD_LEN_MAX: usize = 48;

/// The candidate that `word` is most likely a misspelling of; `None` when none is near.
pub(super) fn near_miss<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    if word.len() > WORD_LEN_MAX {
        return None;
    }
    let plain = |text: &str| -> Vec<char> {
        let same = |c: char| {
            if c == '-' {
                '_'
            } else {
                c.to_ascii_lowercase()
            }
        };
        text.chars().map(same).collect()
    };
    let word = plain(word);
    candidates
        .into_iter()
        .map(|candidate| (distance(&word, &plain(candidate)), candidate))
        // One slip in a short word, two in a longer one, three from nine letters on.
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 3).clamp(1, 3))
        // A slip that leaves nothing of a word is no slip.
        .filter(|(distance, candidate)| *distance < candidate.len().min(word.len()))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `; did you mean …?`, or nothing.
pub(super) fn did_you_mean(candidate: Option<&str>) -> String {
    match candidate {
        Some(candidate) => format!("; did you mean `{candidate}`?"),
        None => String::new(),
    }
}

/// What would have been right: the near miss, or else all there is.
pub(super) fn hint(word: &str, candidates: &[&str]) -> String {
    match near_miss(word, candidates.iter().copied()) {
        Some(candidate) => did_you_mean(Some(candidate)),
        None => format!(" (there is: {})", candidates.join(", ")),
    }
}

/// How many letters must be put in, left out, replaced or swapped with their neighbour to turn
/// one word into the other.
fn distance(left: &[char], right: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=right.len()).collect();
    for (row, a) in left.iter().enumerate() {
        let mut line = vec![row + 1];
        for (column, b) in right.iter().enumerate() {
            let replaced = above[column] + usize::from(a != b);
            let mut least = replaced.min(above[column + 1] + 1).min(line[column] + 1);
            let swapped = row > 0 && column > 0 && left[row - 1] == *b && right[column - 1] == *a;
            if swapped {
                least = least.min(before[column - 1] + 1);
            }
            line.push(least);
        }
        before = std::mem::replace(&mut above, line);
    }
    above[right.len()]
}

/// The longest piece of somebody's text that an error repeats, in characters.
const EXCERPT_COUNT_MAX: usize = 60;

/// `text` with control characters escaped, and cut: an error stays one line, and no byte of a
/// file or variable reaches a terminal as a command.
pub(super) fn printable(text: &str) -> String {
    let mut out = String::new();
    for (count, c) in text.chars().enumerate() {
        if count == EXCERPT_COUNT_MAX {
            out.push('…');
            break;
        }
        push_printable(&mut out, c);
    }
    out
}

/// As [`printable`], and never cut: for paths, which are of no use in part.
pub(super) fn printable_whole(text: &str) -> String {
    let mut out = String::new();
    text.chars().for_each(|c| push_printable(&mut out, c));
    out
}

fn push_printable(out: &mut String, c: char) {
    // The second range turns the direction of text around: a value could seem to be another.
    let hidden =
        matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if c.is_control() || hidden {
        out.extend(c.escape_default());
    } else {
        out.push(c);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_slip_is_found_and_another_word_is_not() {
        let words = ["uds", "tcp", "fifo", "mqueue", "frame_len_max"];
        for (word, expected) in [
            ("udp", Some("uds")),
            ("UDS", Some("uds")),
            ("tpc", Some("tcp")),
            ("tcpp", Some("tcp")),
            ("mqeue", Some("mqueue")),
            ("frame-len-max", Some("frame_len_max")),
            ("frame_length_max", Some("frame_len_max")),
            ("x", None),
            ("", None),
            ("pipe", None),
            ("shm", None),
        ] {
            assert_eq!(near_miss(word, words), expected, "{word}");
        }
    }

    #[test]
    fn printed_text_is_one_line_and_bounded() {
        assert_eq!(
            printable("a\nb\u{1b}[31m\u{202e}"),
            "a\\nb\\u{1b}[31m\\u{202e}"
        );
        assert_eq!(printable(&"x".repeat(61)), format!("{}…", "x".repeat(60)));
        assert_eq!(printable_whole(&"x".repeat(61)), "x".repeat(61));
    }

    fn of(text: &str) -> Vec<char> {
        text.chars().collect()
    }

    proptest! {
        #[test]
        fn distance_is_zero_for_the_same_and_bounded_by_the_longer(a in "[ab]{0,8}", b in "[ab]{0,8}") {
            prop_assert_eq!(distance(&of(&a), &of(&b)) == 0, a == b);
            prop_assert!(distance(&of(&a), &of(&b)) <= a.len().max(b.len()));
            prop_assert_eq!(distance(&of(&a), &of(&b)), distance(&of(&b), &of(&a)));
        }
    }
}
