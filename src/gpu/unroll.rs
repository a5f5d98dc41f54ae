//! Loops that are written out before a compiler sees them.
//!
//! What a loop's counter indexes lies in registers only where the compiler unrolls the loop. WGSL cannot ask it to, and some do not:
//! naga adds a second way out of every loop, for those that might never end, which may be why attention ran at 14 % of an H100's
//! peak where products reached 44 to 55 % (a guess: benches/RESULTS.md). So kernels mark such loops, in the one form
//!
//! ```wgsl
//! @unroll for (var i = 0u; i < OWN; i++) {
//! ```
//!
//! whose bound is a number or a kernel's constant, and which has no `break` or `continue` of its own.

use std::borrow::Cow;
use std::fmt::Write;

use super::shader::Value;

const MARK: &str = "@unroll for (var ";

/// WGSL with every marked loop as one block for each turn, in which the counter is a constant.
///
/// # Panics
/// For a loop of another form: the kernels are our own text.
pub fn unrolled<'a>(wgsl: &'a str, constants: &[(&'static str, Value)]) -> Cow<'a, str> {
    let Some(mark) = wgsl.find(MARK) else { return Cow::Borrowed(wgsl) };
    let (before, rest) = wgsl.split_at(mark);
    let (head, rest) = rest[MARK.len()..].split_once(") {").expect("a loop has a body");
    let (name, bound) = parts(head).unwrap_or_else(|| panic!("no loop that can be unrolled: {head}"));
    let turns = turns(bound, constants).unwrap_or_else(|| panic!("{bound} is no constant of the kernel: {head}"));
    let end = closing(rest).expect("a loop ends");
    let (body, after) = (unrolled(&rest[..end], constants), unrolled(&rest[end + 1..], constants));
    let mut text = before.to_string();
    for turn in 0..turns {
        let _ = write!(text, "{{\nconst {name} = {turn}u;{body}}}\n");
    }
    Cow::Owned(text + &after)
}

/// The counter's name and the bound of `i = 0u; i < OWN; i++`.
fn parts(head: &str) -> Option<(&str, &str)> {
    let (name, rest) = head.split_once(" = 0u; ")?;
    let (bound, step) = rest.strip_prefix(name)?.strip_prefix(" < ")?.split_once("; ")?;
    (step.strip_prefix(name) == Some("++")).then_some((name, bound))
}

fn turns(bound: &str, constants: &[(&'static str, Value)]) -> Option<u32> {
    let constant = || match constants.iter().find(|(name, _)| *name == bound)?.1 {
        Value::U32(value) => Some(value),
        _ => None,
    };
    bound.strip_suffix('u').and_then(|digits| digits.parse().ok()).or_else(constant)
}

/// Where the brace is that closes what is open already.
fn closing(text: &str) -> Option<usize> {
    let mut open = 1;
    text.bytes().position(|byte| {
        open += i32::from(byte == b'{') - i32::from(byte == b'}');
        open == 0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marked_loops_are_written_out_and_others_stay() {
        let text = "fn f() {\n@unroll for (var i = 0u; i < OWN; i++) {\nx[i] = 1.0;\n@unroll for (var r = 0u; r < 2u; r++) {\ny[r + i] = 2.0;\n}\n}\n\
                    for (var i = 0u; i < 9u; i++) {\nz += 1.0;\n}\n}";
        let inner = |i: u32| {
            let turn = |r| format!("{{\nconst r = {r}u;\ny[r + i] = 2.0;\n}}\n");
            format!("{{\nconst i = {i}u;\nx[i] = 1.0;\n{}{}\n}}\n", turn(0), turn(1))
        };
        let wanted = format!(
            "fn f() {{\n{}{}{}\nfor (var i = 0u; i < 9u; i++) {{\nz += 1.0;\n}}\n}}",
            inner(0),
            inner(1),
            inner(2)
        );
        assert_eq!(unrolled(text, &[("OWN", Value::U32(3))]), wanted);
        assert!(matches!(unrolled("fn f() {}", &[]), Cow::Borrowed(_)));
    }

    #[test]
    #[should_panic(expected = "no constant of the kernel")]
    fn a_bound_that_nobody_knows_is_told() {
        let _ = unrolled("@unroll for (var i = 0u; i < p.rows; i++) {\n}", &[("OWN", Value::U32(3))]);
    }
}
