//! Verifies tokens: the signature, the times and the claims, and who the caller is.

use super::Auth;
use super::scopes::scope_of;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation, decode, decode_header};
use serde::Deserialize;
use std::time::{Duration, SystemTime};
use vitals_core::caller::{Caller, Scope};
use vitals_core::ids::{TenantId, UnixNanos};

/// Tokens that live longer than this count as living so long: 30 years.
const LONGEST_LIFE: Duration = Duration::from_secs(30 * 365 * 86_400);

/// A reason for which a caller is not authenticated. The messages name no internals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No `Authorization` header.
    #[error("a token is needed: send `Authorization: Bearer <token>`")]
    Missing,
    /// Another scheme, or no token in it.
    #[error("the Authorization header must be `Bearer <token>`")]
    NotBearer,
    /// Malformed, signed by someone else, or with another algorithm than its key's.
    #[error("the token is not valid")]
    Invalid,
    /// `exp` has passed.
    #[error("the token has expired")]
    Expired,
    /// `nbf` has not come.
    #[error("the token is not valid yet")]
    NotYet,
    /// A required claim is missing or has another type.
    #[error("the token lacks a required claim, or has one of the wrong type")]
    Claims,
    /// `type` is not `access`.
    #[error("the token is not an access token")]
    NotAccess,
}

/// The claims of a token.
#[derive(Deserialize)]
pub(super) struct Claims {
    sub: String,
    #[serde(default)]
    email: Option<String>,
    #[serde(default)]
    iat: Option<f64>,
    exp: f64,
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    tenant: Option<String>,
    #[serde(default)]
    agents: Option<Vec<String>>,
    #[serde(default)]
    scope: Option<String>,
}

impl Auth {
    /// Identifies the caller that sends this `Authorization` header.
    ///
    /// Tokens signed with the secret need `sub`, `email`, `iat`, `exp` and `type: "access"`. Tokens of other issuers
    /// need `sub` and `exp`; their `type` must be `access` if they have one.
    ///
    /// # Errors
    /// When there is no valid token in it.
    pub fn caller(&self, authorization: Option<&str>) -> Result<Caller, Denied> {
        self.caller_until(authorization).map(|(caller, _)| caller)
    }

    /// Identifies the caller that sends this `Authorization` header, with the time at which the token ends (`exp`).
    ///
    /// # Errors
    /// When there is no valid token in it.
    pub fn caller_until(&self, authorization: Option<&str>) -> Result<(Caller, UnixNanos), Denied> {
        let header = authorization.ok_or(Denied::Missing)?;
        let (scheme, token) = header.trim().split_once(' ').ok_or(Denied::NotBearer)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(Denied::NotBearer);
        }
        let (claims, own) = self.claims(token.trim())?;
        if claims.sub.is_empty() || own && (claims.email.is_none() || claims.iat.is_none()) {
            return Err(Denied::Claims);
        }
        match claims.kind.as_deref() {
            Some("access") => {}
            None if !own => {}
            None => return Err(Denied::Claims),
            Some(_) => return Err(Denied::NotAccess),
        }
        let tenant = match claims.tenant.as_deref() {
            None => TenantId::default_tenant(),
            Some(name) if (1..=100).contains(&name.chars().count()) => TenantId::from(name),
            Some(_) => return Err(Denied::Claims),
        };
        let scopes = match claims.scope.as_deref() {
            None => vec![Scope::Read, Scope::Write, Scope::Operate],
            Some(names) => names.split_whitespace().filter_map(scope_of).collect(),
        };
        Ok((Caller { tenant, subject: Some(claims.sub), agents: claims.agents, scopes }, end_of(claims.exp)))
    }

    /// How long the token in this `Authorization` header is valid from now on.
    ///
    /// # Errors
    /// When there is no valid token in it.
    pub fn lifetime(&self, authorization: Option<&str>) -> Result<Duration, Denied> {
        let header = authorization.ok_or(Denied::Missing)?;
        let (_, token) = header.trim().split_once(' ').ok_or(Denied::NotBearer)?;
        let (claims, _) = self.claims(token.trim())?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        // Up to the moment at which the token is refused: its end, and the leeway behind it.
        let end = Duration::try_from_secs_f64(claims.exp.max(0.0)).unwrap_or(Duration::MAX);
        Ok(end.saturating_add(Duration::from_secs(self.leeway)).saturating_sub(now).min(LONGEST_LIFE))
    }

    /// The claims of a token whose signature and times are right, and whether our own secret signed it.
    pub(super) fn claims(&self, token: &str) -> Result<(Claims, bool), Denied> {
        let header = decode_header(token).map_err(|_| Denied::Invalid)?;
        // RFC 7515, section 4.1.11: extensions that are not understood must be refused; none are here.
        if header.crit.is_some() {
            return Err(Denied::Invalid);
        }
        let own = header.alg == Algorithm::HS256;
        let key =
            if own { self.secret.as_ref().map(|secret| secret.verifies.clone()) } else { self.public_key(&header) };
        let key = key.ok_or(Denied::Invalid)?;
        let mut rules = Validation::new(header.alg);
        rules.leeway = self.leeway;
        rules.validate_nbf = true;
        rules.required_spec_claims = ["exp".to_owned(), "sub".to_owned()].into();
        rules.validate_aud = self.audience.is_some();
        if let Some(audience) = &self.audience {
            rules.set_audience(&[audience]);
            rules.required_spec_claims.insert("aud".to_owned());
        }
        if let Some(issuer) = &self.issuer {
            rules.set_issuer(&[issuer]);
            rules.required_spec_claims.insert("iss".to_owned());
        }
        match decode::<Claims>(token, &key, &rules) {
            Ok(data) => Ok((data.claims, own)),
            Err(error) => Err(match error.kind() {
                ErrorKind::ExpiredSignature => Denied::Expired,
                ErrorKind::ImmatureSignature => Denied::NotYet,
                // The header was read before, so this is about the claims, after the signature was found good.
                ErrorKind::Json(_)
                | ErrorKind::MissingRequiredClaim(_)
                | ErrorKind::InvalidClaimFormat(_)
                | ErrorKind::Utf8(_) => Denied::Claims,
                _ => Denied::Invalid,
            }),
        }
    }

    fn public_key(&self, header: &Header) -> Option<DecodingKey> {
        let of_file = self.file.as_ref().and_then(|file| file.find(header));
        of_file.or_else(|| self.url.as_ref()?.find(header))
    }
}

/// A time in seconds since the epoch; one that is too far away is as far as time goes.
#[allow(clippy::cast_possible_truncation)] // A cast of a float keeps to the bounds.
fn end_of(seconds: f64) -> UnixNanos {
    UnixNanos((seconds * 1e9) as i64)
}
