//! The keys of one app's sessions, and the formats that they open and write.

use zeroize::Zeroizing;

use super::key::{KEY, MAX_CLOCK_SKEW};
use crate::token::fernet::{self, FernetKey};
use crate::token::random::{self, NoRandomness};
use crate::token::record::{self, Content, RecordKey};
use crate::token::xaes::{self, Context, XaesKey};
use crate::token::{Plaintext, TokenError, base64};

/// Longest session token that is decoded, in bytes of base64: 1 MiB.
pub const MAX_TOKEN: usize = 1 << 20;

/// A session payload with the authenticated properties of its token.
pub struct Opened {
    /// The decrypted bytes.
    pub payload: Plaintext,
    /// Authenticated issue time, in seconds since the epoch.
    pub issued_at: u64,
    /// Position in the set of the key that made the token; 0 is the newest.
    pub key: usize,
    /// The token's format.
    pub format: Format,
}

/// The format of an encrypted session token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// See [`crate::token::fernet`].
    Fernet,
    /// See [`crate::token::xaes`].
    Xaes,
}

impl Format {
    /// The format that a setting names.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "fernet" => Some(Self::Fernet),
            "xaes-256-gcm" => Some(Self::Xaes),
            _ => None,
        }
    }

    /// Its name in settings.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fernet => "fernet",
            Self::Xaes => "xaes-256-gcm",
        }
    }
}

/// One key, ready for both formats of tokens, and for records.
struct SessionKey {
    fernet: FernetKey,
    xaes: XaesKey,
    record: RecordKey,
}

/// The keys of one app's sessions: the first encrypts, all open.
pub struct KeySet {
    keys: Vec<SessionKey>,
    salt: Box<[u8]>,
    writes: Format,
    opens: Vec<Format>,
}

impl KeySet {
    /// The keys of an interface with this salt, the newest first; `None` if there is no key. The
    /// set opens the format that it writes, and the `others`.
    #[must_use]
    pub fn new(
        keys: &[Zeroizing<[u8; KEY]>],
        salt: &[u8],
        writes: Format,
        others: &[Format],
    ) -> Option<Self> {
        let both = |key: &Zeroizing<[u8; KEY]>| SessionKey {
            fernet: FernetKey::new(key),
            xaes: XaesKey::derive(key, salt),
            record: RecordKey::derive(key, salt),
        };
        let opens = [&[writes], others].concat();
        let keys: Vec<_> = keys.iter().map(both).collect();
        (!keys.is_empty()).then_some(Self { keys, salt: salt.into(), writes, opens })
    }

    /// The format of the tokens that this set writes.
    #[must_use]
    pub const fn writes(&self) -> Format {
        self.writes
    }

    /// Number of base64 characters of a token over `payload` bytes.
    #[must_use]
    pub const fn token_len(&self, payload: usize) -> usize {
        match self.writes {
            Format::Fernet => fernet::token_len(payload),
            Format::Xaes => xaes::token_len(payload),
        }
    }

    /// Appends a token over `payload`, under the newest key, for the cookie `name`, to `out`.
    ///
    /// # Errors
    /// [`NoRandomness`] when the operating system has none to give.
    #[expect(clippy::indexing_slicing, reason = "a set has at least one key")]
    pub fn seal(
        &self,
        payload: &[u8],
        issued_at: u64,
        name: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), NoRandomness> {
        let SessionKey { fernet, xaes, .. } = &self.keys[0];
        match self.writes {
            Format::Fernet => fernet.seal_append(payload, issued_at, &random::iv()?, out),
            Format::Xaes => {
                let context = Context { salt: &self.salt, name };
                xaes.seal_append(payload, issued_at, &random::nonce()?, context, out);
            }
        }
        Ok(())
    }

    /// Whether a token that is not authentic may be under a key that this set does not have yet: its
    /// shape is right, and its key hint, if the format has one, is of another key.
    #[must_use]
    pub fn may_be_newer(&self, token: &[u8]) -> bool {
        if token.len() > MAX_TOKEN {
            return false;
        }
        let Some(raw) = decode(token) else { return false };
        if raw.first() == Some(&xaes::VERSION) {
            let keys = || self.keys.iter().map(|key| &key.xaes);
            return xaes::Unverified::parse(raw).is_some_and(|token| !token.is_known_to(keys()));
        }
        fernet::Unverified::parse(raw).is_some_and(|token| token.has_whole_blocks())
    }

    /// Opens a token of the cookie `name` that is at most `max_age` seconds old at `now`.
    ///
    /// # Errors
    /// [`TokenError`]. The token's age is judged only after it is authenticated.
    #[expect(clippy::indexing_slicing, reason = "the position is one of a key that was found")]
    pub fn open(
        &self,
        token: &[u8],
        now: i128,
        max_age: i64,
        name: &[u8],
    ) -> Result<Opened, TokenError> {
        if token.len() > MAX_TOKEN {
            return Err(TokenError::TooLarge);
        }
        let raw = decode(token).ok_or(TokenError::Malformed)?;
        let format =
            if raw.first() == Some(&xaes::VERSION) { Format::Xaes } else { Format::Fernet };
        if !self.opens.contains(&format) {
            return Err(TokenError::Malformed);
        }
        let in_time = |issued_at: u64| {
            let age = now.saturating_sub(i128::from(issued_at));
            if age > i128::from(max_age) {
                Err(TokenError::Expired)
            } else if age < -i128::from(MAX_CLOCK_SKEW) {
                Err(TokenError::FromFuture)
            } else {
                Ok(())
            }
        };
        let (payload, issued_at, key) = match format {
            Format::Fernet => {
                let token = fernet::Unverified::parse(raw).ok_or(TokenError::Malformed)?;
                let key = self.keys.iter().position(|key| key.fernet.verify(&token));
                let key = key.ok_or(TokenError::Unauthentic)?;
                let issued_at = token.issued_at();
                in_time(issued_at)?;
                let payload = self.keys[key].fernet.decrypt(token);
                (payload.ok_or(TokenError::Undecodable)?, issued_at, key)
            }
            Format::Xaes => {
                let token = xaes::Unverified::parse(raw).ok_or(TokenError::Malformed)?;
                let keys = self.keys.iter().map(|key| &key.xaes).enumerate();
                let context = Context { salt: &self.salt, name };
                let opened = token.open(keys, context).ok_or(TokenError::Unauthentic)?;
                in_time(opened.1)?;
                opened
            }
        };
        Ok(Opened { payload, issued_at, key, format })
    }
}

/// Records: stored sessions. See [`crate::token::record`].
impl KeySet {
    /// Where the record of the session `id` lies.
    #[must_use]
    pub fn address(&self, id: &[u8]) -> [u8; record::ADDRESS] {
        record::address(&self.salt, id)
    }

    /// Appends a record under the newest key, for this address, to `out`, which is empty.
    ///
    /// # Errors
    /// [`NoRandomness`] when the operating system has none to give.
    #[expect(clippy::indexing_slicing, reason = "a set has at least one key")]
    pub fn seal_record(
        &self,
        content: Content<'_>,
        renewed_at: u64,
        address: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), NoRandomness> {
        let context = Context { salt: &self.salt, name: address };
        self.keys[0].record.seal(content, renewed_at, &random::nonce()?, context, out);
        Ok(())
    }

    /// The contents of the record at this address.
    ///
    /// # Errors
    /// [`TokenError::Malformed`] and [`TokenError::Unauthentic`].
    pub fn open_record(
        &self,
        record: Vec<u8>,
        address: &[u8],
    ) -> Result<record::Opened, TokenError> {
        let record = record::Unverified::parse(record).ok_or(TokenError::Malformed)?;
        let keys = self.keys.iter().map(|key| &key.record).enumerate();
        let context = Context { salt: &self.salt, name: address };
        record.open(keys, context).ok_or(TokenError::Unauthentic)
    }

    /// Whether a record that is not authentic may be under a key that this set does not have yet.
    #[must_use]
    pub fn record_may_be_newer(&self, record: Vec<u8>) -> bool {
        let mut keys = self.keys.iter().map(|key| &key.record);
        record::Unverified::parse(record)
            .is_some_and(|record| !keys.any(|key| record.has_hint_of(key)))
    }

    /// The tag of a user under each key, that of the newest first.
    pub fn owner_tags(
        &self,
        kind: u8,
        user: &[u8],
    ) -> impl Iterator<Item = [u8; record::OWNER_TAG]> {
        self.keys.iter().map(move |key| key.record.owner_tag(kind, user))
    }
}

/// The bytes of a token, whose padding may have been lost on its way.
fn decode(token: &[u8]) -> Option<Vec<u8>> {
    base64::decode(token).or_else(|| base64::decode_repadded(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(keys: &[u8]) -> KeySet {
        set_of(keys, Format::Fernet, &[])
    }

    fn set_of(keys: &[u8], writes: Format, others: &[Format]) -> KeySet {
        let keys: Vec<_> = keys.iter().map(|byte| Zeroizing::new([*byte; KEY])).collect();
        KeySet::new(&keys, b"salt", writes, others).expect("keys")
    }

    fn sealed(keys: &KeySet, issued_at: u64) -> Vec<u8> {
        sealed_payload(keys, b"{}", issued_at)
    }

    fn sealed_payload(keys: &KeySet, payload: &[u8], issued_at: u64) -> Vec<u8> {
        let mut token = Vec::new();
        keys.seal(payload, issued_at, b"session", &mut token).expect("random");
        token
    }

    #[test]
    fn the_first_key_seals_and_every_key_opens() {
        let token = sealed(&set(&[1, 2]), 100);
        assert_eq!(set(&[1]).open(&token, 100, 0, b"session").map(|opened| opened.key), Ok(0));
        assert_eq!(
            set(&[3, 2, 1]).open(&token, 100, 0, b"session").map(|opened| opened.key),
            Ok(2)
        );
        assert_eq!(
            set(&[2]).open(&token, 100, 0, b"session").map(|opened| opened.key),
            Err(TokenError::Unauthentic)
        );
    }

    #[test]
    fn only_a_token_of_the_right_shape_and_an_unknown_hint_may_be_newer() {
        let (ours, theirs) = ([1], [2]);
        let fernet = sealed(&set(&theirs), 100);
        assert!(set(&ours).may_be_newer(&fernet));
        assert!(!set(&ours).may_be_newer(&fernet[4..]));
        assert!(!set(&ours).may_be_newer(&fernet[..fernet.len() - 4]));
        let keys = set_of(&ours, Format::Xaes, &[]);
        assert!(keys.may_be_newer(&sealed(&set_of(&theirs, Format::Xaes, &[]), 100)));
        let mut changed = sealed(&keys, 100);
        assert!(!keys.may_be_newer(&changed));
        changed[60] ^= 1;
        assert!(!keys.may_be_newer(&changed));
        for token in [&b""[..], b"!"] {
            assert!(!keys.may_be_newer(token));
        }
    }

    #[test]
    fn a_token_over_the_limit_is_not_from_a_newer_key() {
        let (ours, theirs) = (set_of(&[1], Format::Xaes, &[]), set_of(&[2], Format::Xaes, &[]));
        let overhead = MAX_TOKEN / 4 * 3 - sealed_payload(&theirs, b"", 0).len() / 4 * 3;
        for (longer, expected) in [(0, true), (3, false), (30, false)] {
            let token = sealed_payload(&theirs, &vec![0; overhead + longer], 0);
            assert_eq!(token.len() <= MAX_TOKEN, expected);
            assert_eq!(ours.may_be_newer(&token), expected);
        }
    }

    #[test]
    fn age_is_judged_after_the_mac() {
        let keys = set(&[1]);
        let token = sealed(&keys, 1000);
        let verdict = |keys: &KeySet, now| {
            keys.open(&token, now, 10, b"session").map(|opened| opened.issued_at)
        };
        assert_eq!(verdict(&keys, 1010), Ok(1000));
        assert_eq!(verdict(&keys, 1011), Err(TokenError::Expired));
        assert_eq!(verdict(&keys, 940), Ok(1000));
        assert_eq!(verdict(&keys, 939), Err(TokenError::FromFuture));
        assert_eq!(verdict(&set(&[2]), 1011), Err(TokenError::Unauthentic));
        assert_eq!(verdict(&set(&[2]), 939), Err(TokenError::Unauthentic));
    }

    #[test]
    fn times_at_the_ends_of_the_range_do_not_overflow() {
        let keys = set(&[1]);
        for (issued_at, now) in [(u64::MAX, 0), (u64::MAX, i128::MIN), (0, i128::MAX)] {
            let verdict =
                keys.open(&sealed(&keys, issued_at), now, 1, b"session").map(|opened| opened.key);
            assert!(verdict.is_err());
        }
        assert!(keys.open(&sealed(&keys, 0), i64::MAX.into(), i64::MAX, b"session").is_ok());
    }

    #[test]
    fn a_token_over_the_limit_is_not_decoded() {
        let keys = set(&[1]);
        let limit = keys.open(&vec![b'!'; MAX_TOKEN], 0, 0, b"session").map(|opened| opened.key);
        assert_eq!(limit, Err(TokenError::Malformed));
        let beyond =
            keys.open(&vec![b'!'; MAX_TOKEN + 1], 0, 0, b"session").map(|opened| opened.key);
        assert_eq!(beyond, Err(TokenError::TooLarge));
    }

    #[test]
    fn each_format_opens_where_it_is_listed() {
        for (made, reads, other, opens) in [
            (Format::Xaes, Format::Xaes, None, true),
            (Format::Xaes, Format::Fernet, None, false),
            (Format::Xaes, Format::Fernet, Some(Format::Xaes), true),
            (Format::Fernet, Format::Xaes, None, false),
            (Format::Fernet, Format::Xaes, Some(Format::Fernet), true),
        ] {
            let token = sealed(&set_of(&[2], made, &[]), 100);
            assert_eq!(token.len(), set_of(&[2], made, &[]).token_len(2));
            let keys = set_of(&[1, 2], reads, other.as_slice());
            let opened = keys.open(&token, 100, 0, b"session");
            let opened = opened.map(|opened| (opened.payload.to_vec(), opened.key, opened.format));
            let expected =
                if opens { Ok((b"{}".to_vec(), 1, made)) } else { Err(TokenError::Malformed) };
            assert_eq!(opened, expected);
        }
    }

    #[test]
    fn an_xaes_token_is_for_one_cookie_and_has_a_time() {
        let keys = set_of(&[1], Format::Xaes, &[]);
        let token = sealed(&keys, 1000);
        let verdict = |now, name| keys.open(&token, now, 10, name).map(|opened| opened.issued_at);
        assert_eq!(verdict(1000, b"session"), Ok(1000));
        assert_eq!(verdict(1011, b"session"), Err(TokenError::Expired));
        assert_eq!(verdict(939, b"session"), Err(TokenError::FromFuture));
        assert_eq!(verdict(1011, b"another"), Err(TokenError::Unauthentic));
    }

    #[test]
    fn a_format_is_named_as_in_settings() {
        for (format, name) in [(Format::Fernet, "fernet"), (Format::Xaes, "xaes-256-gcm")] {
            assert_eq!(format.name(), name);
            assert_eq!(Format::from_name(name), Some(format));
        }
        assert_eq!(Format::from_name("signed"), None);
    }

    #[test]
    fn a_record_opens_at_its_address_under_any_key() {
        let (old, both) = (set(&[2]), set(&[1, 2]));
        let address = old.address(b"an id");
        assert_eq!(address, both.address(b"an id"));
        assert_ne!(address, old.address(b"another id"));
        let content = Content { generation: &[7; record::GENERATION], created: 5, payload: b"{}" };
        let mut sealed = Vec::new();
        old.seal_record(content, 9, &address, &mut sealed).expect("random");
        let opened = both.open_record(sealed.clone(), &address).expect("it is authentic");
        assert_eq!((opened.created, opened.renewed_at, opened.key), (5, 9, 1));
        assert_eq!(opened.payload.to_vec(), b"{}");
        let verdict = |keys: &KeySet, record, address: &[u8]| {
            keys.open_record(record, address).map(|opened| opened.key)
        };
        let elsewhere = old.address(b"another id");
        assert_eq!(verdict(&both, sealed.clone(), &elsewhere), Err(TokenError::Unauthentic));
        assert_eq!(verdict(&set(&[1]), sealed.clone(), &address), Err(TokenError::Unauthentic));
        assert_eq!(verdict(&both, b"none".to_vec(), &address), Err(TokenError::Malformed));
        // Its hint tells whether a key may be missing.
        assert!(set(&[1]).record_may_be_newer(sealed.clone()));
        assert!(!both.record_may_be_newer(sealed));
        assert!(!both.record_may_be_newer(b"none".to_vec()));
    }

    #[test]
    fn a_user_has_a_tag_under_each_key() {
        let tags = |keys: &[u8], kind, user: &[u8]| -> Vec<_> {
            set(keys).owner_tags(kind, user).collect()
        };
        let both = tags(&[1, 2], 0, b"42");
        assert_eq!(both, [tags(&[1], 0, b"42"), tags(&[2], 0, b"42")].concat());
        for other in [&both[1], &tags(&[1], 1, b"42")[0], &tags(&[1], 0, b"43")[0]] {
            assert_ne!(&both[0], other);
        }
    }
}
