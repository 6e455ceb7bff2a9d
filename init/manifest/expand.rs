//! `$(NAME)` in `command`, `args` and `env`, by Kubernetes' rules.

/// Replaces each `$(NAME)` by what `value` has for it, and leaves it as it stands when that has nothing. `$$` is a `$`, so
/// that `$$(NAME)` is `$(NAME)`.
pub fn expand<'v>(text: &str, value: &dyn Fn(&str) -> Option<&'v str>) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        let name = after.strip_prefix('(').and_then(|inside| inside.split_once(')'));
        rest = match (name, after.strip_prefix('$')) {
            (Some((name, after)), _) => {
                match value(name) {
                    Some(value) => out.push_str(value),
                    None => ["$(", name, ")"].iter().for_each(|part| out.push_str(part)),
                }
                after
            }
            (None, escaped) => {
                out.push('$');
                escaped.unwrap_or(after)
            }
        };
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The cases of Kubernetes' own test, third_party/forked/golang/expansion, as far as they are about the rules.
    #[test]
    fn names_are_expanded_as_kubernetes_does_it() {
        let value = |name: &str| match name {
            "VAR_A" => Some("A"),
            "VAR_B" => Some("B"),
            "VAR_C" => Some("C"),
            "VAR_REF" => Some("$(VAR_A)"),
            "VAR_EMPTY" => Some(""),
            _ => None,
        };
        for (text, want) in [
            ("$(VAR_A)", "A"),
            ("___$(VAR_B)___", "___B___"),
            ("___$(VAR_C)", "___C"),
            ("$(VAR_A)-$(VAR_B)", "A-B"),
            ("$(VAR_A)_$(VAR_B)_$(VAR_C)", "A_B_C"),
            ("$(VAR_A)$(VAR_A)", "AA"),
            ("foo\\$(VAR_C)bar", "foo\\Cbar"),
            ("$(VAR_EMPTY)", ""),
            ("$(VAR_REF)", "$(VAR_A)"),
            ("$$(VAR_A)", "$(VAR_A)"),
            ("$$$(VAR_A)", "$A"),
            ("$$$$(VAR_A)", "$$(VAR_A)"),
            ("$$$$$(VAR_A)", "$$A"),
            ("foo$$(foo)bar", "foo$(foo)bar"),
            ("$(VAR_X)", "$(VAR_X)"),
            ("___$(VAR_X)___", "___$(VAR_X)___"),
            ("$VAR_A", "$VAR_A"),
            ("${VAR_A}", "${VAR_A}"),
            ("$(VAR_A", "$(VAR_A"),
            ("$(VAR_A$(VAR_B)", "$(VAR_A$(VAR_B)"),
            ("$", "$"),
            ("a$", "a$"),
            ("$$", "$"),
            ("$()", "$()"),
            ("$ä(VAR_A)", "$ä(VAR_A)"),
            ("", ""),
        ] {
            assert_eq!(expand(text, &value), want, "{text}");
        }
    }
}
