//! The names of scopes in tokens.

use vitals_core::caller::Scope;

/// The name of a scope.
#[must_use]
pub fn scope_name(scope: Scope) -> &'static str {
    match scope {
        Scope::Read => "telemetry:read",
        Scope::Write => "telemetry:write",
        Scope::Operate => "telemetry:operate",
        Scope::Admin => "admin",
    }
}

/// The scope of a name; `None` for the scopes of other services, which a token may carry too.
pub(super) fn scope_of(name: &str) -> Option<Scope> {
    match name {
        "telemetry:read" => Some(Scope::Read),
        "telemetry:write" => Some(Scope::Write),
        "telemetry:operate" => Some(Scope::Operate),
        "admin" => Some(Scope::Admin),
        _ => None,
    }
}
