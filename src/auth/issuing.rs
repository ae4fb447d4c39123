//! Issues tokens, signed with the secret.

use super::{Auth, AuthError};
use crate::clock::now_seconds;
use jsonwebtoken::{Algorithm, Header, encode};
use std::time::Duration;

/// The contents of a token to issue, as `vitals token` gives them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRequest {
    /// The subject (`sub`).
    pub subject: String,
    /// The address of the subject (`email`).
    pub email: String,
    /// The tenant; `None` is `default`.
    pub tenant: Option<String>,
    /// Glob patterns of the agents that may be touched; `None` is all of the tenant.
    pub agents: Option<Vec<String>>,
    /// The time from now to its expiry.
    pub ttl: Duration,
    /// Space-separated scopes; `None` is read and write.
    pub scope: Option<String>,
}

impl Auth {
    /// Issues a token, signed with our own secret.
    ///
    /// # Errors
    /// When there is no secret, only a key set.
    pub fn issue(&self, request: TokenRequest) -> Result<String, AuthError> {
        let secret = self.secret.as_ref().ok_or(AuthError::NoSecret)?;
        let now = now_seconds().unsigned_abs();
        let mut claims = serde_json::json!({
            "sub": request.subject,
            "email": request.email,
            "iat": now,
            "exp": now.saturating_add(request.ttl.as_secs()),
            "type": "access",
        });
        if let Some(tenant) = request.tenant {
            claims["tenant"] = tenant.into();
        }
        if let Some(agents) = request.agents {
            claims["agents"] = agents.into();
        }
        if let Some(scope) = request.scope {
            claims["scope"] = scope.into();
        }
        encode(&Header::new(Algorithm::HS256), &claims, &secret.signs).map_err(AuthError::Sign)
    }
}
