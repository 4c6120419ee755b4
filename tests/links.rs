//! The documentation against the project: README.md and docs/*.md name only what exists.
//!
//! - A relative link leads to a file or folder, and an anchor to a heading of it.
//! - A name in backticks in the text of a link to a source file is defined in that file:
//!   [`Adam::step`](../src/optim/adam.rs) needs `Adam` and a definition of `step`. A definition is an item, a
//!   variant, a field, or a text in quotes, such as the name of an option.
//! - A path in backticks, such as `src/lib.rs`, exists.
//!
//! The diagrams in docs/images are what docs/diagrams.py draws.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// README.md and the files of docs/, as paths from the root.
fn documents() -> Vec<PathBuf> {
    let docs = std::fs::read_dir(root().join("docs")).unwrap();
    let names = docs.map(|entry| Path::new("docs").join(entry.unwrap().file_name()));
    let mut documents: Vec<PathBuf> = names.filter(|path| path.extension() == Some("md".as_ref())).collect();
    documents.push("README.md".into());
    documents.sort();
    documents
}

/// Markdown without its code blocks.
fn prose(text: &str) -> String {
    let mut is_code = false;
    let lines = text.lines().filter(|line| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    });
    lines.map(|line| format!("{line}\n")).collect()
}

/// Text and target of every link and image.
fn links(prose: &str) -> Vec<(String, String)> {
    let mut links = Vec::new();
    for (middle, _) in prose.match_indices("](") {
        let Some(start) = prose[..middle].rfind('[') else { continue };
        let target = &prose[middle + 2..];
        let Some(end) = target.find(')') else { continue };
        links.push((prose[start + 1..middle].replace('\n', " "), target[..end].to_string()));
    }
    links
}

/// The texts in backticks.
fn code_spans(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// The anchors of a document's headings, as GitHub makes them.
fn anchors(prose: &str) -> BTreeSet<String> {
    let headings = prose.lines().filter(|line| line.starts_with('#'));
    let anchor = |heading: &str| -> String {
        let text = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = text.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(anchor).collect()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The source's lines, each with what comes after an occurrence of the whole word `name` and what comes before.
fn occurrences<'a>(source: &'a str, name: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
    source.lines().flat_map(move |line| {
        let at = line.match_indices(name).map(move |(at, _)| (&line[..at], &line[at + name.len()..]));
        at.filter(|(before, after)| !before.ends_with(is_word) && !after.starts_with(is_word))
    })
}

/// Whether a source file defines `name`.
fn defines(source: &str, name: &str) -> bool {
    const ITEMS: [&str; 13] = [
        "fn",
        "struct",
        "enum",
        "trait",
        "const",
        "static",
        "type",
        "mod",
        "macro_rules!",
        "def",
        "class",
        "function",
        "let",
    ];
    occurrences(source, name).any(|(before, after)| {
        if before.trim_start().starts_with(['/', '#']) {
            return false;
        }
        let is_item = before.split_whitespace().last().is_some_and(|word| ITEMS.contains(&word));
        let is_quoted = before.ends_with('"') && after.starts_with('"');
        // A variant or a field stands at the beginning of its line.
        let is_first = ["", "pub ", "pub(crate) ", "pub(super) "].contains(&before.trim_start());
        let is_member = after.is_empty()
            || after.starts_with([',', '(', '{', '='])
            || after.starts_with(" =")
            || after.starts_with(" {")
            || after.starts_with(": ");
        is_item || is_quoted || (is_first && is_member && !after.ends_with(';'))
    })
}

/// What is wrong with one name in the text of a link to a source file.
fn missing_name(source: &str, file: &str, name: &str) -> Option<String> {
    if name.contains('/') {
        return (!file.ends_with(name)).then(|| format!("`{name}` links to {file}"));
    }
    if name.contains(['.', ' ']) {
        return None;
    }
    let name = name.trim_end_matches("()").trim_end_matches('!');
    let mut parts: Vec<&str> = name.split("::").collect();
    let last = parts.pop()?;
    if let Some(part) = parts.into_iter().find(|part| occurrences(source, part).next().is_none()) {
        return Some(format!("`{name}`: {file} has no {part}"));
    }
    (!defines(source, last)).then(|| format!("`{name}`: {file} defines no {last}"))
}

/// What a document names that does not exist, and how many links, names and paths it has.
fn check(document: &Path, text: &str) -> (Vec<String>, [usize; 3]) {
    let (prose, folder) = (prose(text), document.parent().unwrap());
    let (mut problems, mut counts) = (Vec::new(), [0; 3]);
    for (text, target) in links(&prose) {
        if target.contains(':') {
            continue;
        }
        counts[0] += 1;
        let (file, anchor) = target.split_once('#').unwrap_or((target.as_str(), ""));
        let path = if file.is_empty() { root().join(document) } else { root().join(folder).join(file) };
        if !path.exists() {
            problems.push(format!("[{text}]({target}): there is no {file}"));
            continue;
        }
        let is_text = path.extension().is_some_and(|ending| ending != "png");
        let content =
            if is_text && path.is_file() { std::fs::read_to_string(&path).unwrap() } else { continue };
        if path.extension() == Some("md".as_ref()) {
            if !anchor.is_empty() && !anchors(&self::prose(&content)).contains(anchor) {
                problems.push(format!("[{text}]({target}): {} has no such heading", path.display()));
            }
            continue;
        }
        for name in code_spans(&text) {
            counts[1] += 1;
            problems.extend(missing_name(&content, file, name));
        }
    }
    for path in code_spans(&prose) {
        let is_path = ["src/", "tests/", "benches/", "docs/"].iter().any(|folder| path.starts_with(folder));
        let is_pattern = path.contains(['*', '…', '{', ' ']) || path.contains("NAME");
        if is_path && !is_pattern {
            counts[2] += 1;
            if !root().join(path).exists() {
                problems.push(format!("`{path}` does not exist"));
            }
        }
    }
    (problems, counts)
}

#[test]
fn the_documentation_names_only_what_exists() {
    let mut all = Vec::new();
    let mut counts = [0; 3];
    for document in documents() {
        let text = std::fs::read_to_string(root().join(&document)).unwrap();
        let (problems, found) = check(&document, &text);
        all.extend(problems.into_iter().map(|problem| format!("{}: {problem}", document.display())));
        (0..3).for_each(|kind| counts[kind] += found[kind]);
    }
    println!("{} links, {} names in links, {} paths", counts[0], counts[1], counts[2]);
    assert!(all.is_empty(), "{}", all.join("\n"));
    assert!(counts[0] > 100 && counts[1] > 80 && counts[2] > 3, "the links are not found: {counts:?}");
}

#[test]
fn what_does_not_exist_is_found() {
    let count = |text: &str| check(Path::new("docs/x.md"), text).0.len();
    let right = "[`Adam::step`](../src/optim/adam.rs), [`Noise`](../src/random.rs), [`beta1`](../src/optim/adam.rs) \
                 [a\nb](guide.md), `src/lib.rs`, `src/layers/NAME.rs`, [this](https://example.org/x)\n```\n[a](b)\n```\n";
    assert_eq!(check(Path::new("docs/x.md"), right), (Vec::new(), [4, 3, 1]));
    for wrong in [
        "[`Adam::stepp`](../src/optim/adam.rs)",
        "[`Adm::step`](../src/optim/adam.rs)",
        "[`Noise`](../src/optim/adam.rs)",
        "[`Element`](../src/optim/adam/tests.rs)",
        "[`src/lib.rs`](../src/main.rs)",
        "[a](../src/optim/adem.rs)",
        "[a](guide.md#no-such-heading)",
        "![a](images/none.png)",
        "`src/none.rs`",
    ] {
        assert_eq!(count(wrong), 1, "{wrong}");
    }
}

/// The diagrams of the book are those that docs/diagrams.py draws, if there is Python to run it.
#[test]
fn the_diagrams_are_those_of_their_script() {
    let folder = tempfile::tempdir().unwrap();
    let script = root().join("docs/diagrams.py");
    let Ok(output) = Command::new("python3").arg(script).arg(folder.path()).output() else {
        println!("skipped: there is no python3");
        return;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let names = |folder: &Path| -> BTreeSet<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("book-")).collect()
    };
    let images = root().join("docs/images");
    assert_eq!(names(folder.path()), names(&images), "left: drawn; right: in docs/images");
    for name in names(&images) {
        let [drawn, kept] = [folder.path(), &images].map(|folder| std::fs::read(folder.join(&name)).unwrap());
        assert!(drawn == kept, "docs/images/{name} is not what docs/diagrams.py draws");
    }
}

#[test]
fn headings_become_anchors() {
    let found = anchors("# How it is laid out\n## `kl`, and β: the rest\n");
    assert!(found.contains("how-it-is-laid-out") && found.contains("kl-and-β-the-rest"), "{found:?}");
}
