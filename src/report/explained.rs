//! The explanation of each part of a report, from the guide: docs/figures.md is the only source of these
//! texts.

use super::html::escape;

const FIGURES: &str = include_str!("../../docs/figures.md");

/// The section called `title`, as a foldable element.
///
/// # Panics
/// If docs/figures.md has no such section.
pub fn explained(title: &str) -> String {
    let heading = format!("\n## {title}\n");
    let from =
        FIGURES.find(&heading).unwrap_or_else(|| panic!("docs/figures.md explains {title}")) + heading.len();
    let section = FIGURES[from..].split("\n## ").next().unwrap_or_default().trim();
    let paragraphs: Vec<String> =
        section.split("\n\n").map(|text| format!("<p>{}</p>", code(&escape(text.trim())))).collect();
    format!(
        "<details class=\"explained\"><summary>What this says</summary>{}</details>\n",
        paragraphs.concat()
    )
}

/// Text in backticks as code.
fn code(text: &str) -> String {
    let parts = text.split('`').enumerate();
    parts.map(|(at, part)| if at % 2 == 1 { format!("<code>{part}</code>") } else { part.into() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_becomes_paragraphs() {
        let text = explained("Pictures");
        assert!(text.contains("<code>elbo sample --prior gmm</code>") && !text.contains('`'), "{text}");
        assert_eq!(explained("Curves").matches("<p>").count(), 2);
        assert!(!explained("Latent dimensions").contains("##"));
    }
}
