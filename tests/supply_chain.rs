//! The dependencies: crates of known licences and one source, counted, and `unsafe` in one folder.
//!
//! `cargo deny check` checks more (above all, advisories) with the same deny.toml; this test needs only
//! cargo.

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::files;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap()
}

/// What cargo prints for these arguments, about what Cargo.lock has.
fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO")).args(arguments).args(["--locked"]).current_dir(root()).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The texts of a list in deny.toml.
fn list(table: &toml::Table, section: &str, key: &str) -> Vec<String> {
    let values = table[section][key].as_array().unwrap();
    values.iter().map(|value| value.as_str().unwrap().to_string()).collect()
}

/// Whether a licence is allowed: `/` and OR need one side, AND both.
fn is_allowed(expression: &str, allowed: &[String]) -> bool {
    let expression = expression.replace('/', " OR ");
    let side = |text: &str| allowed.iter().any(|name| name == text.trim_matches(['(', ')', ' ']));
    match expression.split_once(" AND ") {
        Some((a, b)) => is_allowed(a.trim_matches(['(', ')']), allowed) && is_allowed(b, allowed),
        None => expression.split(" OR ").any(side),
    }
}

#[test]
fn every_crate_has_an_allowed_licence_and_comes_from_the_one_registry() {
    let deny: toml::Table = read("deny.toml").parse().unwrap();
    let licences = list(&deny, "licenses", "allow");
    let registries = list(&deny, "sources", "allow-registry");
    let (banned, skipped) = (list(&deny, "bans", "deny"), list(&deny, "bans", "skip"));
    let metadata: serde_json::Value =
        serde_json::from_str(&cargo(&["metadata", "--format-version", "1", "--all-features"])).unwrap();
    let mut versions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in metadata["packages"].as_array().unwrap() {
        let text = |key: &str| package[key].as_str().unwrap_or_default().to_string();
        let (name, version) = (text("name"), text("version"));
        assert!(is_allowed(&text("license"), &licences), "{name} has the licence {}", text("license"));
        let source = text("source");
        let known = registries.iter().any(|registry| source == format!("registry+{registry}"));
        assert!(known || name == "elbo", "{name} comes from {source}");
        assert!(!banned.contains(&name), "{name} is banned");
        versions.entry(name).or_default().push(version);
    }
    for (name, versions) in &versions {
        let skips = skipped.iter().filter(|skip| skip.starts_with(&format!("{name}@"))).count();
        assert!(
            versions.len() <= 1 + skips,
            "{name} is there as {versions:?}; deny.toml says why, or it is not"
        );
    }
    println!("{} crates, tests and other systems' included", versions.len());
}

#[cfg(target_os = "linux")]
#[test]
fn the_readme_counts_the_crates() {
    let tree = cargo(&["tree", "-e", "normal", "--prefix", "none", "--no-dedupe"]);
    let mut crates: Vec<&str> = tree.lines().filter(|line| !line.is_empty()).collect();
    crates.sort_unstable();
    crates.dedup();
    let readme = read("README.md").replace('\n', " ");
    let count = readme.split("| wc -l`): ").nth(1).and_then(|rest| rest.split(',').next());
    assert_eq!(
        count,
        Some(crates.len().to_string().as_str()),
        "README.md counts other crates than cargo tree"
    );
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let (folders, files): (Vec<_>, Vec<_>) = files(folder).into_iter().partition(|path| path.is_dir());
    let rust = files.into_iter().filter(|path| path.extension().is_some_and(|ending| ending == "rs"));
    folders.iter().flat_map(|folder| sources(folder)).chain(rust).collect()
}

#[test]
fn unsafe_code_is_in_five_kernels_alone_and_every_place_argued() {
    let (mut blocks, mut arguments) = (0, 0);
    for path in sources(&root().join("src")) {
        let text = std::fs::read_to_string(&path).unwrap();
        let is_product = ["gemm", "matrix", "simd", "pairs", "dispatch"]
            .iter()
            .any(|name| path.ends_with(format!("kernels/{name}.rs")));
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap();
            let words: Vec<&str> = code.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
            let relaxes = words.contains(&"unsafe_code");
            if words.contains(&"unsafe") || relaxes {
                assert!(is_product, "{}:{}: {line}", path.display(), number + 1);
                blocks += usize::from(!relaxes);
            }
            arguments += usize::from(is_product && line.trim_start().starts_with("// SAFETY:"));
        }
    }
    assert_eq!((blocks, arguments), (34, 34), "unsafe places and SAFETY comments");
    let lints = read("Cargo.toml");
    for lint in ["unsafe_code = \"deny\"", "undocumented_unsafe_blocks = \"deny\""] {
        assert!(lints.contains(lint), "{lint}");
    }
}
