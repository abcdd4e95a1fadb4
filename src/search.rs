//! Searching bytes eight at a time, in a word.

const WORD: usize = 8;
const ONES: u64 = u64::MAX / 255;
const HIGHS: u64 = ONES << 7;

/// Eight bytes that are compared at once.
///
/// Each method returns a mask with the high bit set in every matching byte. Only the lowest set bit
/// is reliable, because a borrow may set higher ones. Masks combined with `|` keep that property.
#[derive(Clone, Copy)]
pub struct Word(u64);

impl Word {
    /// Matches bytes equal to `byte`.
    #[inline]
    #[must_use]
    pub const fn equal(self, byte: u8) -> u64 {
        let differing = self.0 ^ (ONES * byte as u64);
        differing.wrapping_sub(ONES) & !differing & HIGHS
    }

    /// Matches bytes below `limit`, which is at most 128.
    #[inline]
    #[must_use]
    pub const fn below(self, limit: u8) -> u64 {
        self.0.wrapping_sub(ONES * limit as u64) & !self.0 & HIGHS
    }

    /// Matches bytes that are not ASCII.
    #[inline]
    #[must_use]
    pub const fn not_ascii(self) -> u64 {
        self.0 & HIGHS
    }
}

/// Position of the first byte that `matches` reports.
#[inline]
#[expect(clippy::indexing_slicing, reason = "`clear` is at most the length")]
pub fn position(bytes: &[u8], matches: impl Fn(Word) -> u64) -> Option<usize> {
    /// Most texts end within these bytes.
    const START: usize = 2 * WORD;
    let Some((start, rest)) = bytes.split_at_checked(START) else {
        return find_by_word(bytes, matches);
    };
    if let Some(position) = find_by_word(start, &matches) {
        return Some(position);
    }
    // Skip four words at a time while none of them has a match.
    let (quads, _) = rest.as_chunks::<{ 4 * WORD }>();
    let clear = quads.iter().take_while(|quad| {
        let (words, _) = quad.as_chunks::<WORD>();
        words.iter().fold(0, |any, word| any | matches(Word(u64::from_le_bytes(*word)))) == 0
    });
    let clear = START + clear.count() * 4 * WORD;
    find_by_word(&bytes[clear..], matches).map(|position| clear + position)
}

/// [`position`], one word after the other.
#[inline]
#[expect(
    clippy::indexing_slicing,
    reason = "one to three bytes are left where they are read one by one, and a mask has eight bytes"
)]
fn find_by_word(bytes: &[u8], matches: impl Fn(Word) -> u64) -> Option<usize> {
    let first = |mask: u64| mask.trailing_zeros() as usize / 8;
    let (words, rest) = bytes.as_chunks::<WORD>();
    for (number, word) in words.iter().enumerate() {
        let mask = matches(Word(u64::from_le_bytes(*word)));
        if mask != 0 {
            return Some(number * WORD + first(mask));
        }
    }
    if rest.is_empty() {
        return None;
    }
    // Compare the rest in one word, padded with bytes that are known not to match.
    if let Some(last) = bytes.last_chunk::<WORD>() {
        let mask = matches(Word(u64::from_le_bytes(*last)));
        return (mask != 0).then(|| bytes.len() - WORD + first(mask));
    }
    if let (Some(head), Some(tail)) = (rest.first_chunk::<4>(), rest.last_chunk::<4>()) {
        let head = u64::from(u32::from_le_bytes(*head));
        let tail = u64::from(u32::from_le_bytes(*tail));
        let mask = matches(Word(head | tail << 32));
        let at = |position| if position < 4 { position } else { rest.len() + position - WORD };
        return (mask != 0).then(|| at(first(mask)));
    }
    let (start, middle, end) = (rest[0], rest[rest.len() / 2], rest[rest.len() - 1]);
    let word = u64::from_le_bytes([start, middle, end, start, start, start, start, start]);
    let mask = matches(Word(word));
    (mask != 0).then(|| [0, rest.len() / 2, rest.len() - 1, 0, 0, 0, 0, 0][first(mask)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn finds_the_first(
            bytes in prop::collection::vec(any::<u8>(), 0..70),
            wanted: u8,
            limit in 0..=128_u8,
        ) {
            prop_assert_eq!(
                position(&bytes, |word| word.equal(wanted)),
                bytes.iter().position(|byte| *byte == wanted)
            );
            prop_assert_eq!(
                position(&bytes, |word| word.below(limit)),
                bytes.iter().position(|byte| *byte < limit)
            );
            prop_assert_eq!(
                position(&bytes, |word| word.not_ascii()),
                bytes.iter().position(|byte| !byte.is_ascii())
            );
            prop_assert_eq!(
                position(&bytes, |word| word.equal(wanted) | word.below(limit)),
                bytes.iter().position(|byte| *byte == wanted || *byte < limit)
            );
        }

        #[test]
        fn finds_the_first_of_two(
            length in 2..100_usize, first: prop::sample::Index, second: prop::sample::Index,
        ) {
            let mut bytes = vec![b'a'; length];
            let places = [first.index(length), second.index(length)];
            for place in places {
                bytes[place] = b'"';
            }
            prop_assert_eq!(
                position(&bytes, |word| word.equal(b'"')),
                places.iter().min().copied()
            );
        }

        #[test]
        fn finds_the_first_among_few_kinds(bytes in prop::collection::vec(30..36_u8, 0..70)) {
            prop_assert_eq!(
                position(&bytes, |word| word.equal(b'"') | word.equal(b'!') | word.below(b' ')),
                bytes.iter().position(|byte| b"\"!\x1e\x1f".contains(byte))
            );
        }
    }
}
