//! "Did you mean …?": the known word that is closest to a mistyped one.

/// The known word nearest to `word`, if one is near enough to be what was meant: at most a third
/// of its letters (one at least) typed wrongly, left out, doubled or swapped. Case is ignored.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    known
        .into_iter()
        .map(|candidate| {
            let distance = strsim::damerau_levenshtein(&word, &candidate.to_lowercase());
            (distance, candidate)
        })
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_slip_of_the_finger_finds_its_word() {
        let known = ["currency", "unitAmount", "quota", "maxUnits"];
        for (word, meant) in [
            ("curency", "currency"),
            ("unit_amount", "unitAmount"),
            ("UNITAMOUNT", "unitAmount"),
            ("qouta", "quota"),
        ] {
            assert_eq!(nearest(word, known), Some(meant), "{word}");
        }
    }

    #[test]
    fn a_word_far_from_every_known_one_finds_none() {
        assert_eq!(nearest("colour", ["currency", "quota"]), None);
        assert_eq!(nearest("", ["currency"]), None);
        assert_eq!(nearest("quota", []), None);
    }
}
