//! Who asks, and what they may touch.

use crate::ids::TenantId;

/// What a token allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// `telemetry:read`
    Read,
    /// `telemetry:write`
    Write,
    /// `telemetry:operate`
    Operate,
    /// `admin`
    Admin,
}

/// A caller whose token was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The tenant: everything else of other tenants does not exist for this caller.
    pub tenant: TenantId,
    /// The token's subject; `None` on a listener without authentication.
    pub subject: Option<String>,
    /// Glob patterns (`*`, `?`) of the agents that may be touched; `None` is all of the tenant.
    pub agents: Option<Vec<String>>,
    /// What may be done.
    pub scopes: Vec<Scope>,
}

impl Caller {
    /// A caller of the default tenant who may read and write everything in it.
    #[must_use]
    pub fn anonymous() -> Self {
        Self {
            tenant: TenantId::default_tenant(),
            subject: None,
            agents: None,
            scopes: vec![Scope::Read, Scope::Write, Scope::Operate],
        }
    }

    /// Whether the caller may do what `scope` names; `admin` may do everything. Who may write may operate too.
    #[must_use]
    pub fn may(&self, scope: Scope) -> bool {
        let has = |scope| self.scopes.contains(&scope);
        has(scope) || has(Scope::Admin) || (scope == Scope::Operate && has(Scope::Write))
    }

    /// The name that stands for the caller where it is kept who did something.
    #[must_use]
    pub fn name(&self) -> String {
        self.subject.clone().unwrap_or_else(|| "anonymous".to_owned())
    }

    /// Whether the caller may touch the agent that is known as `key`.
    #[must_use]
    pub fn may_touch(&self, key: &str) -> bool {
        self.agents.as_ref().is_none_or(|globs| globs.iter().any(|glob| matches(glob, key)))
    }
}

/// Whether `text` matches `glob`, where `*` is any run of characters and `?` any one.
#[must_use]
pub fn matches(glob: &str, text: &str) -> bool {
    let (glob, text): (Vec<char>, Vec<char>) = (glob.chars().collect(), text.chars().collect());
    let (mut g, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if g < glob.len() && glob[g] == '*' {
            star = Some((g, t));
            g += 1;
        } else if g < glob.len() && (glob[g] == '?' || glob[g] == text[t]) {
            g += 1;
            t += 1;
        } else if let Some((at, from)) = star {
            // The last star takes one character more; earlier stars need not be tried again.
            star = Some((at, from + 1));
            g = at + 1;
            t = from + 1;
        } else {
            return false;
        }
    }
    glob[g..].iter().all(|&c| c == '*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn globs() {
        for (glob, text, expect) in [
            ("web-*", "web-1", true),
            ("web-*", "web", false),
            ("*", "", true),
            ("*-eu-?", "web-eu-1", true),
            ("*-eu-?", "web-eu-12", false),
            ("a*b*c", "aXbYbc", true),
            ("a*b*c", "aXbYb", false),
            ("", "a", false),
        ] {
            assert_eq!(matches(glob, text), expect, "{glob} {text}");
        }
    }
}
