//! Which agents and which operations a token gives access to.

use vitals_core::caller::{Caller, Scope, matches};

#[test]
fn a_glob_stands_for_runs_and_single_characters() {
    for (glob, text, expect) in [
        ("", "", true),
        ("", "a", false),
        ("web", "web", true),
        ("web", "we", false),
        ("web", "webs", false),
        ("web", "wob", false),
        ("?", "a", true),
        ("?", "ä", true),
        ("?", "", false),
        ("?", "ab", false),
        ("a?c", "abc", true),
        ("a?c", "ac", false),
        ("*", "", true),
        ("**", "", true),
        ("*", "anything", true),
        ("a*", "a", true),
        ("a*", "b", false),
        ("*a", "a", true),
        ("*a", "ba", true),
        ("*a", "ab", false),
        ("*ab", "aab", true),
        ("*aab", "aaab", true),
        ("a*b*c", "aXbYbc", true),
        ("a*b*c", "aXbYb", false),
        ("a**c", "abc", true),
        ("a*?c", "abc", true),
        ("a*?c", "ac", false),
        ("*?", "a", true),
        ("*?", "", false),
        ("a*", "a*", true),
        ("*-eu-*", "web-eu-1", true),
        ("*-eu-*", "web-us-1", false),
        // A text's own wildcards are plain characters.
        ("a?", "a*", true),
        ("ab", "a*", false),
        ("ab", "a?", false),
    ] {
        assert_eq!(matches(glob, text), expect, "{glob:?} {text:?}");
    }
}

fn caller(agents: Option<&[&str]>, scopes: &[Scope]) -> Caller {
    let agents = agents.map(|globs| globs.iter().map(|glob| (*glob).to_owned()).collect());
    Caller { agents, scopes: scopes.to_vec(), ..Caller::anonymous() }
}

#[test]
fn a_scope_allows_itself_and_admin_allows_everything() {
    use Scope::{Admin, Read, Write};
    for (scopes, allowed) in [
        (&[][..], &[][..]),
        (&[Read], &[Read]),
        (&[Write], &[Write]),
        (&[Read, Write], &[Read, Write]),
        (&[Admin], &[Read, Write, Admin]),
    ] {
        let caller = caller(None, scopes);
        for scope in [Read, Write, Admin] {
            assert_eq!(caller.may(scope), allowed.contains(&scope), "{scopes:?} {scope:?}");
        }
    }
}

#[test]
fn a_token_reaches_the_agents_of_any_of_its_patterns() {
    for (globs, agent, expect) in [
        (None, "web-1", true),
        (Some(&[][..]), "web-1", false),
        (Some(&["web-*"][..]), "web-1", true),
        (Some(&["web-*"][..]), "db-1", false),
        (Some(&["web-*", "db-*"][..]), "db-1", true),
    ] {
        assert_eq!(caller(globs, &[]).may_touch(agent), expect, "{globs:?} {agent}");
    }
}

#[test]
fn without_authentication_everything_of_the_default_tenant_may_be_read_and_written() {
    let anonymous = Caller::anonymous();
    assert_eq!((&*anonymous.tenant.0, &anonymous.subject), ("default", &None));
    assert!(anonymous.may(Scope::Read) && anonymous.may(Scope::Write) && !anonymous.may(Scope::Admin));
    assert!(anonymous.may_touch("any agent"));
}
