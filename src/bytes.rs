//! Looking for bytes many at a time.

/// Bytes looked at together: two or one of the processor's vectors.
const CHUNK: usize = 32;

/// Position of the first byte that `stops` says yes to.
///
/// The question is asked of whole chunks without a branch, which the compiler turns into vector
/// comparisons; so it should be a few comparisons, and no table.
#[inline]
pub fn position(bytes: &[u8], stops: impl Fn(u8) -> bool + Copy) -> Option<usize> {
    let (chunks, rest) = bytes.as_chunks::<CHUNK>();
    for (number, chunk) in chunks.iter().enumerate() {
        if chunk.iter().fold(false, |found, byte| found | stops(*byte)) {
            let within = chunk.iter().position(|byte| stops(*byte));
            return within.map(|within| number * CHUNK + within);
        }
    }
    let within = rest.iter().position(|byte| stops(*byte));
    within.map(|within| bytes.len() - rest.len() + within)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn finds_the_first(bytes in prop::collection::vec(0..4_u8, 0..100), stop in 0..8_u8) {
            let stops = |byte| byte == stop;
            prop_assert_eq!(position(&bytes, stops), bytes.iter().position(|byte| stops(*byte)));
        }
    }
}
