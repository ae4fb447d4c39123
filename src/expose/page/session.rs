//! Who is signed in: a session stands for the token that it was begun with, and ends with it.
//!
//! A session's secret is known to its browser alone; here is its SHA-256. A one-time link stands for a token too, for a
//! short time and for one use.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hashbrown::HashMap;
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use vitals_core::ids::UnixNanos;

/// Most sessions at a time.
const MOST_SESSIONS: usize = 10_000;
/// Most sessions of one person at a time; one more ends the oldest.
const MOST_OF_ONE: usize = 50;
/// Most links that wait to be used.
const MOST_LINKS: usize = 1_000;
/// How long a link may wait, seconds.
pub const LINK_SECONDS: i64 = 120;
/// Random bytes of a secret.
const SECRET_BYTES: usize = 32;

type Key = [u8; 32];

/// Why nobody was signed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// As many as there may be are signed in, or wait to be.
    #[error("too many are signed in, try again later")]
    Many,
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    Random,
}

/// A token, and for whom.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// The token itself, without `Bearer`.
    pub text: String,
    /// Tenant and subject, to tell people apart.
    pub owner: (String, String),
    /// When it ends.
    pub ends: UnixNanos,
}

impl std::fmt::Debug for Token {
    /// Without the token itself.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token").field("owner", &self.owner).field("ends", &self.ends).finish_non_exhaustive()
    }
}

/// A session.
#[derive(Clone, Debug)]
pub struct Session {
    /// What it stands for.
    pub token: Token,
    /// What a request that changes something must carry beside the cookie.
    pub csrf: String,
    begun: u64,
}

/// All sessions and links.
#[derive(Debug, Default)]
pub struct Sessions {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    sessions: HashMap<Key, Session>,
    links: HashMap<Key, (Token, UnixNanos)>,
    /// Counts sessions, so that the oldest is known whatever the clock says.
    begun: u64,
}

impl Sessions {
    /// Begins a session; its secret is for the browser's cookie.
    ///
    /// # Errors
    /// When there are too many.
    pub fn begin(&self, token: Token, now: UnixNanos) -> Result<(String, Session), Full> {
        let (secret, csrf) = (secret()?, secret()?);
        let mut inner = self.inner.lock();
        inner.drop_ended(now);
        inner.make_room_for(&token);
        if inner.sessions.len() >= MOST_SESSIONS {
            return Err(Full::Many);
        }
        inner.begun += 1;
        let session = Session { token, csrf, begun: inner.begun };
        inner.sessions.insert(key(&secret), session.clone());
        Ok((secret, session))
    }

    /// The session with this secret, unless its token has ended.
    pub fn find(&self, secret: &str, now: UnixNanos) -> Option<Session> {
        let inner = self.inner.lock();
        inner.sessions.get(&key(secret)).filter(|session| session.token.ends > now).cloned()
    }

    /// Ends the session with this secret.
    pub fn end(&self, secret: &str) {
        self.inner.lock().sessions.remove(&key(secret));
    }

    /// A link that signs in with `token`, once.
    ///
    /// # Errors
    /// When too many wait.
    pub fn link(&self, token: Token, now: UnixNanos) -> Result<String, Full> {
        let secret = secret()?;
        let mut inner = self.inner.lock();
        inner.drop_ended(now);
        if inner.links.len() >= MOST_LINKS {
            return Err(Full::Many);
        }
        let until = now.plus(LINK_SECONDS * UnixNanos::SECOND);
        inner.links.insert(key(&secret), (token, until));
        Ok(secret)
    }

    /// The token that a link stands for; the link is used up.
    pub fn follow(&self, code: &str, now: UnixNanos) -> Option<Token> {
        let (token, until) = self.inner.lock().links.remove(&key(code))?;
        (until > now && token.ends > now).then_some(token)
    }
}

impl Inner {
    fn drop_ended(&mut self, now: UnixNanos) {
        self.sessions.retain(|_, session| session.token.ends > now);
        self.links.retain(|_, (_, until)| *until > now);
    }

    /// Ends the oldest session of who has as many as one may have.
    fn make_room_for(&mut self, token: &Token) {
        let own = self.sessions.iter().filter(|(_, session)| session.token.owner == token.owner);
        let (count, oldest) = own.fold((0, None), |(count, oldest): (usize, Option<(u64, Key)>), (key, session)| {
            let this = (session.begun, *key);
            (count + 1, Some(oldest.map_or(this, |oldest| oldest.min(this))))
        });
        if let Some((_, oldest)) = oldest.filter(|_| count >= MOST_OF_ONE) {
            self.sessions.remove(&oldest);
        }
    }
}

/// Whether two secrets are the same, in a time that does not tell where they differ.
pub fn are_same(one: &[u8], other: &[u8]) -> bool {
    Sha256::digest(one) == Sha256::digest(other)
}

fn secret() -> Result<String, Full> {
    let mut bytes = [0; SECRET_BYTES];
    getrandom::fill(&mut bytes).map_err(|_| Full::Random)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

fn key(secret: &str) -> Key {
    Sha256::digest(secret).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixNanos = UnixNanos(1_000 * UnixNanos::SECOND);

    fn token(who: &str) -> Token {
        let owner = ("default".to_owned(), who.to_owned());
        Token { text: format!("token-of-{who}"), owner, ends: NOW.plus(60 * UnixNanos::SECOND) }
    }

    #[test]
    fn a_session_is_found_by_its_secret_until_its_token_ends() {
        let sessions = Sessions::default();
        let (secret, session) = sessions.begin(token("a"), NOW).unwrap();
        assert_eq!(sessions.find(&secret, NOW).unwrap().token, token("a"));
        assert_eq!(sessions.find(&secret, NOW).unwrap().csrf, session.csrf);
        assert!(sessions.find(&session.csrf, NOW).is_none());
        assert!(sessions.find("", NOW).is_none());
        assert!(sessions.find(&secret, session.token.ends.plus(-1)).is_some());
        assert!(sessions.find(&secret, session.token.ends).is_none());
        sessions.end(&secret);
        assert!(sessions.find(&secret, NOW).is_none());
    }

    #[test]
    fn a_link_is_used_once_and_not_for_long() {
        let sessions = Sessions::default();
        let code = sessions.link(token("a"), NOW).unwrap();
        assert_eq!(sessions.follow(&code, NOW), Some(token("a")));
        assert_eq!(sessions.follow(&code, NOW), None);
        let code = sessions.link(token("a"), NOW).unwrap();
        assert_eq!(sessions.follow(&code, NOW.plus(LINK_SECONDS * UnixNanos::SECOND)), None);
        assert_eq!(sessions.follow("", NOW), None);
    }

    #[test]
    fn one_person_cannot_sign_the_others_out() {
        let sessions = Sessions::default();
        let (other, _) = sessions.begin(token("b"), NOW).unwrap();
        let own: Vec<String> = (0..=MOST_OF_ONE).map(|_| sessions.begin(token("a"), NOW).unwrap().0).collect();
        assert!(sessions.find(&other, NOW).is_some());
        assert!(sessions.find(&own[0], NOW).is_none(), "the oldest of the same person made room");
        assert!(own[1..].iter().all(|secret| sessions.find(secret, NOW).is_some()));
    }

    #[test]
    fn sessions_and_links_are_bounded_and_what_ended_makes_room() {
        let sessions = Sessions::default();
        for number in 0..MOST_SESSIONS {
            sessions.begin(token(&number.to_string()), NOW).unwrap();
        }
        assert_eq!(sessions.begin(token("x"), NOW).map(drop), Err(Full::Many));
        for _ in 0..MOST_LINKS {
            sessions.link(token("x"), NOW).unwrap();
        }
        assert_eq!(sessions.link(token("x"), NOW), Err(Full::Many));
        let later = NOW.plus(LINK_SECONDS * UnixNanos::SECOND);
        let fresh = Token { ends: later.plus(1), ..token("x") };
        assert!(sessions.begin(fresh.clone(), later).is_ok());
        assert!(sessions.link(fresh, later).is_ok());
    }

    #[test]
    fn a_token_is_not_in_the_debug_output() {
        assert!(!format!("{:?}", token("a")).contains("token-of-a"));
    }
}
