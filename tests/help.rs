//! The program's own texts: help in narrow terminals, completions, man pages, and the translations of the
//! documents.

mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use support::{cannot_run, commands, elbo, files, refused, run, stderr, succeed, text, work_folder};

/// The help text of a command (of the program if empty) in a terminal of so many columns.
fn help(command: &str, columns: usize) -> String {
    let arguments: Vec<&str> = [command, "--help"].into_iter().filter(|word| !word.is_empty()).collect();
    let output = elbo(&arguments).env("COLUMNS", columns.to_string()).output().unwrap();
    assert!(output.status.success(), "{command}: {}", stderr(&output));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn help_fits_into_the_terminal_and_ends_with_examples() {
    for command in commands().iter().map(String::as_str).chain([""]) {
        for columns in [80, 100] {
            let text = help(command, columns);
            let wide: Vec<&str> = text.lines().filter(|line| line.chars().count() > columns).collect();
            assert!(wide.is_empty(), "{command}: more than {columns} columns:\n{}", wide.join("\n"));
            let examples = text.split("\nExamples:\n").nth(1).unwrap_or_else(|| panic!("{command}: {text}"));
            let start = format!("  elbo {command}");
            assert!(examples.lines().all(|line| line.starts_with(&start)), "{command}: {examples}");
        }
    }
}

#[test]
fn an_unknown_shell_is_refused_with_the_known_ones() {
    let output = run(&["completions", "csh"]);
    let message = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{message}");
    for shell in ["csh", "bash", "elvish", "fish", "powershell", "zsh"] {
        assert!(message.contains(shell), "{message}");
    }
}

#[test]
fn completions_name_every_command_and_option() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = succeed(&["completions", shell]);
        for word in commands().iter().map(String::as_str).chain(["beta-warmup", "importance", "salvage"]) {
            assert!(script.contains(word), "{shell}: no {word}");
        }
    }
}

/// What bash offers for the last of some words.
fn completed(script: &Path, words: &[&str]) -> BTreeSet<String> {
    let source = format!(
        "source '{}'\nCOMP_WORDS=({})\nCOMP_CWORD={}\n_elbo elbo '{}' '{}'\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"",
        script.display(),
        words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" "),
        words.len() - 1,
        words[words.len() - 1],
        words[words.len() - 2],
    );
    let output = Command::new("bash").args(["--norc", "-c", &source]).output().unwrap();
    assert!(output.stderr.is_empty(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_options_and_values() {
    if Command::new("bash").arg("--version").output().is_err() {
        return cannot_run("there is no bash");
    }
    let folder = work_folder();
    let script = folder.path().join("elbo.bash");
    std::fs::write(&script, succeed(&["completions", "bash"])).unwrap();
    let offers = |words: &[&str]| completed(&script, words);
    let set = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(offers(&["elbo", "comp"]), set(&["compare", "completions", "compress"]));
    assert_eq!(offers(&["elbo", "train", "--beta"]), set(&["--beta", "--beta-warmup"]));
    assert_eq!(offers(&["elbo", "sample", "--prior", "g"]), set(&["gmm"]));
    assert_eq!(offers(&["elbo", "completions", "z"]), set(&["zsh"]));
}

#[test]
fn man_pages_have_every_option_and_example() {
    let page = succeed(&["man", "train"]);
    for words in [".TH elbo-train 1", ".SH NAME\n", ".SH OBJECTIVE\n", "beta\\-warmup", ".SH EXAMPLES\n.nf\n"]
    {
        assert!(page.contains(words), "no {words}: {page}");
    }
    assert!(succeed(&["man"]).contains("elbo\\-sample(1)"));
    let message = refused(&["man", "trian"]);
    assert!(message.contains("trian") && message.contains("train, sample"), "{message}");

    let folder = work_folder();
    let pages = folder.path().join("man1");
    succeed(&["man", "--out", text(&pages)]);
    let names: BTreeSet<String> =
        files(&pages).iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect();
    let expected: BTreeSet<String> =
        commands().iter().map(|name| format!("elbo-{name}.1")).chain(["elbo.1".to_owned()]).collect();
    assert_eq!(names, expected);
    assert!(refused(&["man", "--out", text(&pages)]).contains("already exists"));
}

/// The commands, file names and options (between backquotes), and the decimal numbers of a document.
fn facts(document: &str) -> [BTreeSet<String>; 2] {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(document);
    let text = std::fs::read_to_string(path).unwrap();
    let prose: String = text.split("```").step_by(2).collect();
    let spans = prose.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    let numbers = prose.split(|c: char| !c.is_ascii_digit() && c != '.' && c != ',');
    let numbers = numbers.map(|number| number.trim_matches(['.', ',']));
    [spans, numbers.filter(|number| number.contains(['.', ','])).map(str::to_owned).collect()]
}

#[test]
fn translations_have_the_same_commands_and_figures() {
    for (original, translation) in
        [("README.md", "docs/README.zh.md"), ("docs/article.md", "docs/article.zh.md")]
    {
        let [spans, numbers] = facts(original);
        assert!(spans.len() > 20 && numbers.len() > 8, "{original}: {spans:?} {numbers:?}");
        let [translated_spans, translated_numbers] = facts(translation);
        let differing = |a: &BTreeSet<String>, b: &BTreeSet<String>| -> Vec<String> {
            a.symmetric_difference(b).cloned().collect()
        };
        assert_eq!(differing(&spans, &translated_spans), [""; 0], "{original} and {translation}");
        assert_eq!(differing(&numbers, &translated_numbers), [""; 0], "{original} and {translation}");
    }
}
