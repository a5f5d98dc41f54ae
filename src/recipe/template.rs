//! Templates: prompts before `{a|b}` and comments were worked out, in ComfyUI's grammar (`prompt::expand` has its rules).
//!
//! A recipe's prompt is what the text model got. Its template is what gives that prompt, with the seed: whoever uses a
//! recipe again starts from the template, and where there is none the prompt is its own. So a text that is known to be
//! worked out and has a brace needs a template too, in which the brace is escaped; this is what [`literal`] writes.
//! A1111's prompts have no such grammar: there the prompt always counts, and a template is only kept.

use super::{Dialect, Recipe};

/// The template that gives exactly this text whatever the seed. There is none where a backslash stands before a `{` (an
/// odd number of them): the backslash would have to be escaped, and the grammar has no escape for it.
fn literal(text: &str) -> Option<String> {
    let mut template = String::with_capacity(text.len());
    // How many backslashes end the template, and its last character.
    let (mut backslashes, mut last) = (0, None);
    let mut needed = false;
    for letter in text.chars() {
        match letter {
            '{' if backslashes % 2 == 1 => return None,
            '{' | '}' | '|' => {
                // A bar or a closing brace alone means nothing.
                needed |= letter == '{' || backslashes > 0;
                template.push('\\');
            }
            // Comments go before choices are read, so a choice between nothing keeps the two characters apart.
            '/' | '*' if last == Some('/') => {
                needed = true;
                template.push_str("{}");
            }
            _ => {}
        }
        template.push(letter);
        backslashes = if letter == '\\' { backslashes + 1 } else { 0 };
        last = Some(letter);
    }
    Some(if needed { template } else { text.to_string() })
}

/// The template of a prompt that stands somewhere worked out, with `said` as the template that stands beside it.
fn of_worked_out(prompt: &str, said: Option<String>, dialect: Option<Dialect>) -> Option<String> {
    if dialect == Some(Dialect::A1111) {
        return said;
    }
    said.or_else(|| literal(prompt)).filter(|template| template != prompt)
}

/// The text that an editor's text stands for, if it leaves no choice open: what [`literal`] wrote, undone.
pub(super) fn undone(held: &str) -> Option<String> {
    if has_choice(held) {
        return None;
    }
    let mut text = held.replace("{}", "");
    for sign in ['{', '}', '|'] {
        text = text.replace(&format!("\\{sign}"), &sign.to_string());
    }
    Some(text)
}

/// What gives a prompt that stands somewhere worked out, and has no template beside it.
pub(super) fn giving(prompt: &str, dialect: Option<Dialect>) -> String {
    of_worked_out(prompt, None, dialect).unwrap_or_else(|| prompt.to_string())
}

/// Gives the prompts that are `worked_out` (the prompt, the negative one) their templates, and says what cannot be kept.
pub(super) fn settle(recipe: &mut Recipe, worked_out: [bool; 2]) {
    let dialect = recipe.dialect;
    let prompts =
        [(&recipe.prompt, &mut recipe.raw_prompt), (&recipe.negative_prompt, &mut recipe.raw_negative_prompt)];
    let (mut unsayable, mut open) = (false, false);
    for ((prompt, template), worked_out) in prompts.into_iter().zip(worked_out) {
        let comfy_alone = dialect != Some(Dialect::A1111) && template.is_none();
        if worked_out {
            unsayable |= comfy_alone && literal(prompt).is_none();
            *template = of_worked_out(prompt, template.take(), dialect);
        } else {
            open |= comfy_alone && has_choice(prompt);
        }
    }
    if unsayable {
        recipe.note(
            "A prompt has a backslash before a brace, which cannot be written here: the brace is read as a choice.",
        );
    }
    if open {
        recipe.note("The workflow leaves choices ({a|b}) open and does not say how they fell: here the seed chooses.");
    }
}

/// What has to stand beside a prompt that is written worked out, so that [`of_worked_out`] gives the template again: a
/// prompt that was never worked out (it came from a workflow) says that it is its own template.
pub(super) fn beside(prompt: &str, template: Option<&str>, dialect: Option<Dialect>) -> Option<String> {
    let taken_literally = of_worked_out(prompt, None, dialect).is_some();
    template.or(taken_literally.then_some(prompt)).map(str::to_string)
}

/// What ComfyUI's editor must hold, which works its texts out itself, with dice of its own: the template, so that a
/// choice stays one there, or for an A1111 prompt the text whose every brace is a brace.
pub(super) fn for_editor(prompt: &str, template: Option<&str>, dialect: Option<Dialect>) -> String {
    match dialect {
        Some(Dialect::A1111) => literal(prompt).unwrap_or_else(|| prompt.to_string()),
        _ => template.unwrap_or(prompt).to_string(),
    }
}

/// Whether the editor rolls dice over this text: a `|` within braces, none of them escaped.
fn has_choice(text: &str) -> bool {
    let (mut escaped, mut depth) = (false, 0_usize);
    text.chars().any(|letter| {
        if std::mem::take(&mut escaped) {
            return false;
        }
        match letter {
            '\\' => escaped = true,
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        letter == '|' && depth > 0
    })
}
