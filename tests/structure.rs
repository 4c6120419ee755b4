//! The structure of src, from its imports: no two files import each other, directly or through others, and a
//! module imports only modules that src/lib.rs lists below it.
//!
//! An import is a path that begins with `crate::`, `super::`, `self::` or a child module, in a `use` or in
//! code. A path to an item that a `mod.rs` re-exports counts for the file that defines it, and a re-export
//! itself is not an import. Test modules and comments do not count.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A module's path: `["data", "idx"]`; the crate's root is empty.
type Module = Vec<String>;

/// Code without comments, texts, characters and test modules.
fn code_only(text: &str) -> String {
    let text = text.split("\n#[cfg(test)]\nmod tests").next().unwrap();
    let mut code = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if rest.starts_with("//") {
            rest = &rest[rest.find('\n').unwrap_or(rest.len())..];
        } else if c == '"' {
            let mut escaped = false;
            let end = rest[1..].find(|c| {
                let ends = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                ends
            });
            rest = &rest[end.map_or(rest.len(), |end| end + 2)..];
            code.push_str("\"\"");
        } else if let Some(length) =
            ["'\"'", "'\\\"'", "'\\''", "b'\"'"].iter().find(|q| rest.starts_with(**q)).map(|q| q.len())
        {
            rest = &rest[length..];
        } else {
            code.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    without_test_items(&code)
}

/// Code without the items, of one line or to the next `}` at the line's begin, that have `#[cfg(test)]`.
fn without_test_items(code: &str) -> String {
    let mut kept = String::new();
    let mut lines = code.lines();
    while let Some(line) = lines.next() {
        if line != "#[cfg(test)]" {
            kept.push_str(line);
            kept.push('\n');
        } else if lines.next().is_some_and(|item| !item.ends_with(';')) {
            lines.by_ref().take_while(|line| !line.starts_with('}')).for_each(drop);
        }
    }
    kept
}

/// All leaves of a use tree: (path, name that it gets).
fn leaves(tree: &str) -> Vec<(String, String)> {
    let tree = tree.trim();
    let Some(open) = tree.find('{') else {
        let (path, name) = tree.split_once(" as ").unwrap_or((tree, tree.rsplit("::").next().unwrap()));
        let path = path.trim().trim_end_matches("::self");
        return vec![(path.to_string(), name.trim().to_string())];
    };
    let (prefix, body) = (&tree[..open], &tree[open + 1..tree.rfind('}').unwrap()]);
    let (mut parts, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, c) in body.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&body[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&body[start..]);
    let parts = parts.into_iter().map(str::trim).filter(|part| !part.is_empty());
    parts.flat_map(|part| leaves(&format!("{prefix}{part}"))).collect()
}

/// All files of a folder and the folders in it.
fn all_files(folder: &Path) -> Vec<PathBuf> {
    let both = support::files(folder).into_iter();
    both.flat_map(|path| if path.is_dir() { all_files(&path) } else { vec![path] }).collect()
}

/// The source files and their imports.
#[derive(Default)]
struct Source {
    code: BTreeMap<Module, String>,
    reexports: BTreeMap<Module, BTreeMap<String, Module>>,
    imports: BTreeMap<Module, BTreeSet<Module>>,
}

impl Source {
    fn read() -> Self {
        let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut source = Self::default();
        let mut test_only = BTreeSet::new();
        for path in all_files(&src).into_iter().filter(|path| path.extension().is_some_and(|e| e == "rs")) {
            let relative = path.strip_prefix(&src).unwrap().with_extension("");
            let mut module: Module = relative.iter().map(|part| part.to_str().unwrap().to_string()).collect();
            match module.last().map(String::as_str) {
                Some("main") => continue,
                Some("mod" | "lib") => drop(module.pop()),
                _ => {}
            }
            let text = std::fs::read_to_string(&path).unwrap();
            for after in text.split("#[cfg(test)]\n").skip(1) {
                let line = after.lines().next().unwrap();
                if let Some(name) = line.trim_end_matches(';').rsplit_once("mod ").map(|(_, name)| name) {
                    test_only.insert([&module[..], &[name.trim_end_matches(" {").to_string()]].concat());
                }
            }
            source.code.insert(module, code_only(&text));
        }
        source.code.retain(|module, _| !test_only.iter().any(|test| module.starts_with(test)));
        source.find_imports();
        source
    }

    /// The path from the crate's root of a path in `module`, if it begins with a module of the crate.
    fn absolute(&self, module: &Module, path: &str) -> Option<Module> {
        let mut parts: Vec<String> = path.split("::").map(|part| part.trim().to_string()).collect();
        let mut base = module.clone();
        match parts[0].as_str() {
            "crate" => base.clear(),
            "self" => {}
            "super" => {
                while parts.first().is_some_and(|part| part == "super") {
                    base.pop();
                    parts.remove(0);
                }
                return Some([base, parts].concat());
            }
            child if self.code.contains_key(&[&module[..], &[child.to_string()]].concat()) => {
                return Some([base, parts].concat());
            }
            _ => return None,
        }
        Some([&base[..], &parts[1..]].concat())
    }

    fn find_imports(&mut self) {
        let mut paths: Vec<(Module, Module)> = Vec::new();
        for (module, code) in &self.code {
            let mut body = String::new();
            for statement in code.split_inclusive(';') {
                let lines = statement.trim_start();
                let at = ["use ", "pub use ", "pub(crate) use ", "pub(super) use "]
                    .iter()
                    .filter_map(|word| {
                        let at = lines.find(word)?;
                        (at == 0 || lines[..at].ends_with(['\n', ' ', '}'])).then_some((at, *word))
                    })
                    .min_by_key(|(at, word)| (*at, std::cmp::Reverse(word.len())));
                let Some((at, word)) = at.filter(|_| statement.ends_with(';')) else {
                    body.push_str(statement);
                    continue;
                };
                body.push_str(&lines[..at]);
                let tree = lines[at + word.len()..].trim_end_matches(';').replace('\n', " ");
                for (path, name) in leaves(&tree) {
                    let Some(target) = self.absolute(module, &path) else { continue };
                    if word == "use " {
                        paths.push((module.clone(), target));
                    } else {
                        self.reexports.entry(module.clone()).or_default().insert(name, target);
                    }
                }
            }
            // The list of a macro that declares and re-exports modules: `linear::Linear,` on a line.
            let mut listed = BTreeSet::new();
            for line in body
                .lines()
                .map(str::trim)
                .filter(|_| code.contains("pub mod $module; pub use $module::$Name;"))
            {
                let Some((child, name)) = line.strip_suffix(',').and_then(|line| line.split_once("::"))
                else {
                    continue;
                };
                if let Some(target) = self.absolute(module, line.trim_end_matches(',')) {
                    listed.insert(format!("{child}::{name}"));
                    self.reexports.entry(module.clone()).or_default().insert(name.to_string(), target);
                }
            }
            let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
            for word in body
                .split(|c: char| !is_path(c))
                .filter(|word| word.contains("::") && !listed.contains(*word))
            {
                let word = word.trim_matches(':');
                if let Some(target) = self.absolute(module, word) {
                    paths.push((module.clone(), target));
                }
            }
        }
        for (from, target) in paths {
            if let Some(to) = self.file_of(&target, 0).filter(|to| *to != from) {
                self.imports.entry(from).or_default().insert(to);
            }
        }
    }

    /// The file that defines the item of a path.
    fn file_of(&self, path: &[String], depth: usize) -> Option<Module> {
        assert!(depth < 20, "re-exports go in a circle: {path:?}");
        let known = (0..=path.len()).rev().find(|&n| self.code.contains_key(&path[..n]))?;
        let (module, rest) = path.split_at(known);
        let moved = rest.first().and_then(|name| self.reexports.get(module)?.get(name));
        match moved {
            Some(target) => self.file_of(&[&target[..], &rest[1..]].concat(), depth + 1),
            // The crate's root only lists modules.
            None => (!module.is_empty()).then(|| module.to_vec()),
        }
    }

    /// The files that `from` imports, directly or indirectly.
    fn reachable(&self, from: &Module) -> BTreeSet<Module> {
        let mut found = BTreeSet::new();
        let mut open = vec![from.clone()];
        while let Some(module) = open.pop() {
            for next in self.imports.get(&module).into_iter().flatten() {
                if found.insert(next.clone()) {
                    open.push(next.clone());
                }
            }
        }
        found
    }
}

#[test]
fn no_two_files_import_each_other() {
    let source = Source::read();
    let imports: usize = source.imports.values().map(BTreeSet::len).sum();
    println!("{} files, {imports} imports", source.code.len());
    assert!(source.code.len() > 80 && imports > 300, "the imports are not found any more");
    let reachable: BTreeMap<&Module, BTreeSet<Module>> =
        source.code.keys().map(|module| (module, source.reachable(module))).collect();
    let mut cycles = BTreeSet::new();
    for (module, reached) in &reachable {
        if reached.contains(*module) {
            let members = reached.iter().filter(|other| reachable[other].contains(*module));
            cycles.insert(members.map(|module| module.join("/")).collect::<Vec<String>>());
        }
    }
    assert!(cycles.is_empty(), "files of src that import each other: {cycles:?}");
}

/// The order is the line of lib.rs that begins with "`cli`".
#[test]
fn a_module_imports_only_modules_below_it() {
    let source = Source::read();
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    let line = text.lines().find(|line| line.starts_with("//! `cli` → ")).expect("the order in src/lib.rs");
    let order: Vec<&str> = line.split('`').skip(1).step_by(2).collect();
    let all: BTreeSet<&str> =
        source.code.keys().filter_map(|module| module.first()).map(String::as_str).collect();
    assert_eq!(
        all,
        order.iter().copied().collect(),
        "left: the modules of src; right: those in lib.rs's order"
    );
    let place = |module: &Module| order.iter().position(|name| *name == module[0]).unwrap();
    for (module, imports) in source.imports.iter().filter(|(module, _)| !module.is_empty()) {
        for import in imports {
            assert!(
                place(module) <= place(import),
                "{} imports {}, which lib.rs lists above it",
                module.join("/"),
                import.join("/")
            );
        }
    }
}

/// `println!` and its like panic if nobody reads what is printed; src/cli/say.rs does not.
#[test]
fn nothing_prints_with_a_macro_that_panics() {
    for (module, code) in &Source::read().code {
        let found = code.lines().find(|line| line.contains("print!(") || line.contains("println!("));
        assert!(found.is_none(), "{}: {}", module.join("/"), found.unwrap_or_default().trim());
    }
}

#[test]
fn use_trees_are_taken_apart() {
    let paths =
        |tree| leaves(tree).into_iter().map(|(path, name)| format!("{path} {name}")).collect::<Vec<_>>();
    assert_eq!(
        paths("crate::a::{B, c::{self, D as E}}"),
        ["crate::a::B B", "crate::a::c self", "crate::a::c::D E"]
    );
    let code = code_only(
        "a // crate::b\n\"crate::c \\\" d\" e '\"' f\n#[cfg(test)]\nuse g;\n#[cfg(test)]\nfn k() {\n  l\n}\nh\n#[cfg(test)]\nmod tests {\ni",
    );
    assert!(["a ", " e ", " f", "h"].iter().all(|part| code.contains(part)), "{code}");
    assert!(["crate", "d", "use", "i", "l"].iter().all(|part| !code.contains(part)), "{code}");
}
