//! Looking for bytes eight at a time, in a word.

const WORD: usize = 8;
const ONES: u64 = u64::MAX / 255;
const HIGHS: u64 = ONES << 7;

/// Eight bytes, asked the same question at once.
///
/// An answer has the high bit set of each byte that is meant. Above the first such byte it may
/// have others set as well, because of a borrow; so only the first one counts, which stays true
/// of answers put together with `|`.
#[derive(Clone, Copy)]
pub struct Word(u64);

impl Word {
    /// Which bytes equal `byte`.
    #[inline]
    #[must_use]
    pub const fn equal(self, byte: u8) -> u64 {
        let differing = self.0 ^ (ONES * byte as u64);
        differing.wrapping_sub(ONES) & !differing & HIGHS
    }

    /// Which bytes are below `limit`, at most 128.
    #[inline]
    #[must_use]
    pub const fn below(self, limit: u8) -> u64 {
        self.0.wrapping_sub(ONES * limit as u64) & !self.0 & HIGHS
    }

    /// Which bytes are not ASCII.
    #[inline]
    #[must_use]
    pub const fn not_ascii(self) -> u64 {
        self.0 & HIGHS
    }
}

/// Position of the first byte that `stops` means.
#[inline]
pub fn position(bytes: &[u8], stops: impl Fn(Word) -> u64) -> Option<usize> {
    /// Most texts that are looked at end before.
    const START: usize = 2 * WORD;
    let Some((start, rest)) = bytes.split_at_checked(START) else { return near(bytes, stops) };
    if let Some(position) = near(start, &stops) {
        return Some(position);
    }
    // Four words at once, for as long as none of them has one.
    let (quads, _) = rest.as_chunks::<{ 4 * WORD }>();
    let clear = quads.iter().take_while(|quad| {
        let (words, _) = quad.as_chunks::<WORD>();
        words.iter().fold(0, |any, word| any | stops(Word(u64::from_le_bytes(*word)))) == 0
    });
    let clear = START + clear.count() * 4 * WORD;
    near(&bytes[clear..], stops).map(|position| clear + position)
}

/// [`position`] that looks at one word after the other.
#[inline]
fn near(bytes: &[u8], stops: impl Fn(Word) -> u64) -> Option<usize> {
    let first = |answer: u64| answer.trailing_zeros() as usize / 8;
    let (words, rest) = bytes.as_chunks::<WORD>();
    for (number, word) in words.iter().enumerate() {
        let answer = stops(Word(u64::from_le_bytes(*word)));
        if answer != 0 {
            return Some(number * WORD + first(answer));
        }
    }
    if rest.is_empty() {
        return None;
    }
    // What is left in a word, with bytes twice that have been seen and do not stop.
    if let Some(last) = bytes.last_chunk::<WORD>() {
        let answer = stops(Word(u64::from_le_bytes(*last)));
        return (answer != 0).then(|| bytes.len() - WORD + first(answer));
    }
    if let (Some(head), Some(tail)) = (rest.first_chunk::<4>(), rest.last_chunk::<4>()) {
        let head = u64::from(u32::from_le_bytes(*head));
        let tail = u64::from(u32::from_le_bytes(*tail));
        let answer = stops(Word(head | tail << 32));
        let at = |position| if position < 4 { position } else { rest.len() + position - WORD };
        return (answer != 0).then(|| at(first(answer)));
    }
    let (start, middle, end) = (rest[0], rest[rest.len() / 2], rest[rest.len() - 1]);
    let word = u64::from_le_bytes([start, middle, end, start, start, start, start, start]);
    let answer = stops(Word(word));
    (answer != 0).then(|| [0, rest.len() / 2, rest.len() - 1, 0, 0, 0, 0, 0][first(answer)])
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
        fn finds_the_first_among_few_kinds(bytes in prop::collection::vec(30..36_u8, 0..70)) {
            prop_assert_eq!(
                position(&bytes, |word| word.equal(b'"') | word.equal(b'!') | word.below(b' ')),
                bytes.iter().position(|byte| b"\"!\x1e\x1f".contains(byte))
            );
        }
    }
}
