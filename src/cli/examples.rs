//! Examples of each command, at the end of its `--help` and of its man page.

/// A command line, and what it does.
type Example = (&'static str, &'static str);

/// The examples of each command.
const EXAMPLES: [(&str, &[Example]); 22] = [
    (
        "train",
        &[
            ("elbo train", "learn the bundled digits"),
            ("elbo train --data FOLDER --size 64", "learn your own pictures"),
            ("elbo train --preset mlp --latent 2 --out plane", "for a map of the codes"),
            ("elbo train --adversarial", "then sharpen the pictures"),
            ("elbo train --resume runs/MINE --epochs 20", "continue, with more epochs"),
            ("elbo train --config runs/MINE/config.toml", "repeat a run"),
        ],
    ),
    (
        "sample",
        &[
            ("elbo sample", "64 pictures on a sheet"),
            ("elbo sample --prior gmm --out samples.png", "from a mixture fitted to codes"),
            ("elbo sample --count 1000 --out pictures", "a folder of PNG files"),
            ("elbo sample --label all", "a row for each label"),
        ],
    ),
    (
        "reconstruct",
        &[
            ("elbo reconstruct", "beside the originals"),
            ("elbo reconstruct --noise 0.2 --count 24", "with noise added first"),
            ("elbo reconstruct --data FOLDER --out images.npy", "other images, as numbers"),
        ],
    ),
    (
        "encode",
        &[
            ("elbo encode", "μ of the test images"),
            ("elbo encode --log-variance log-variance.npy", "ln σ² too"),
            ("elbo encode --split all --out all.npy", "all images, with a table"),
        ],
    ),
    (
        "decode",
        &[
            ("elbo decode codes.npy", "a sheet"),
            ("elbo decode runs/MINE codes.npy --out pictures", "a folder of PNG files"),
        ],
    ),
    (
        "interpolate",
        &[
            ("elbo interpolate --images 0,1,2,3", "image 0 to 1, 2 and 3"),
            ("elbo interpolate --files a.png b.png --path spherical", "files, along an arc"),
        ],
    ),
    (
        "traverse",
        &[
            ("elbo traverse --rows 16", "the 16 most active dimensions"),
            ("elbo traverse --image 7 --reach 2", "around the code of test image 7"),
        ],
    ),
    (
        "manifold",
        &[
            ("elbo manifold plane --side 16", "two latent dimensions, decoded"),
            ("elbo manifold --count 3000 --out codes.svg", "codes of 3,000 images as points"),
        ],
    ),
    (
        "edit",
        &[
            ("elbo edit --from-label 7 --to-label 9", "sevens into nines"),
            ("elbo edit --without PLAIN --with SMILE --strength 0,1", "two folders"),
        ],
    ),
    (
        "inpaint",
        &[
            ("elbo inpaint --half right", "fill in the right half"),
            ("elbo inpaint --box 8,8,12,12 --mean", "fill in a square, by means"),
            ("elbo inpaint --mask mask.png --images 3,4", "fill in a mask's white pixels"),
        ],
    ),
    (
        "score",
        &[
            ("elbo score --sheet strangest.png", "a table, and the strangest images"),
            ("elbo score --data FOLDER --importance 64", "other images, by a tighter bound"),
        ],
    ),
    (
        "eval",
        &[
            ("elbo eval", "−ELBO, reconstructions, codes"),
            ("elbo eval --samples 10000 --importance 64", "samples and a tighter bound too"),
            ("elbo eval runs/MINE --json", "the same figures for programs"),
        ],
    ),
    (
        "compress",
        &[
            ("elbo compress runs/MINE --out images.elbo", "the test images of the run"),
            ("elbo compress --data FOLDER --out images.elbo", "other images"),
            ("elbo compress --with-model --out images.elbo", "the model in the file, too"),
            ("elbo compress --lossy --out small.elbo", "codes only"),
        ],
    ),
    (
        "decompress",
        &[
            ("elbo decompress images.elbo --out images.npy", "all, as numbers"),
            ("elbo decompress images.elbo --images 0..10 --out ten", "ten PNG files"),
            ("elbo decompress damaged.elbo --salvage --out rest.npy", "the undamaged blocks"),
        ],
    ),
    (
        "classify",
        &[
            ("elbo classify --confusion confusion.png", "and the confusion matrix"),
            ("elbo classify runs/MINE --method probe --json", "softmax regression on codes"),
        ],
    ),
    (
        "detect",
        &[
            ("elbo detect --sheet detect.png", "the most anomalous, with boxes"),
            ("elbo detect --normal GOOD --anomalous BAD", "AUROC of two folders"),
            ("elbo detect --by heat --rate 0.05", "small defects, 5 % false alarms"),
        ],
    ),
    (
        "compare",
        &[
            ("elbo compare runs/A runs/B", "a page with curves, options and pictures"),
            ("elbo compare runs/A runs/B --json", "the same for programs"),
        ],
    ),
    (
        "info",
        &[
            ("elbo info", "layers and progress of the newest run"),
            ("elbo info FOLDER --sheet sheet.png", "sizes and labels of images, and a sheet"),
        ],
    ),
    (
        "export",
        &[
            ("elbo export", "weights and model.py in the folder export"),
            ("elbo export runs/MINE --out DIR", ""),
        ],
    ),
    (
        "explore",
        &[
            ("elbo explore", "explore.html in the newest run"),
            ("elbo explore plane --out plane.html", "another model and page"),
        ],
    ),
    (
        "completions",
        &[
            ("elbo completions bash > ~/.local/share/bash-completion/completions/elbo", ""),
            ("elbo completions zsh > ~/.zfunc/_elbo", ""),
            ("elbo completions fish > ~/.config/fish/completions/elbo.fish", ""),
        ],
    ),
    (
        "man",
        &[
            ("elbo man | man -l -", "read the page of the program"),
            ("elbo man train | man -l -", "read the page of a command"),
            ("elbo man --out man1", "write all pages, for ~/.local/share/man"),
        ],
    ),
];

/// The lines of the examples of a command, or of the program; a text after `#` says what a line does.
pub(super) fn lines(command: &str) -> Vec<String> {
    let of_program: &[Example] = &[
        ("elbo train", "learn the bundled digits"),
        ("elbo sample", "draw new ones"),
        ("elbo train --data FOLDER --size 64", "learn your own pictures"),
        ("elbo help train", "all options of a command"),
    ];
    let known = EXAMPLES.iter().find(|(name, _)| *name == command);
    let examples = known.map_or(of_program, |(_, examples)| examples);
    let width = examples.iter().map(|(line, _)| line.len()).max().unwrap_or(0);
    let commented = |(line, text): &Example| match *text {
        "" => format!("  {line}"),
        text => format!("  {line:width$}  # {text}"),
    };
    examples.iter().map(commented).collect()
}

/// The definition of the program with examples at the end of each help text.
pub(super) fn added(program: clap::Command) -> clap::Command {
    let name = program.get_name().to_owned();
    with_examples(program, &name).mut_subcommands(|command| {
        let name = command.get_name().to_owned();
        with_examples(command, &name)
    })
}

fn with_examples(command: clap::Command, name: &str) -> clap::Command {
    let notes = command.get_after_help().map(|notes| format!("{notes}\n\n")).unwrap_or_default();
    command.after_help(format!("{notes}Examples:\n{}", lines(name).join("\n")))
}

#[cfg(test)]
mod tests {
    use super::super::definition;
    use super::*;

    /// The words of a command line, without comment, redirection and pipe; none if it is of another program.
    fn words(line: &str) -> Option<Vec<&str>> {
        let own = line.split(['>', '|']).next()?.split(" #").next()?;
        let words: Vec<&str> = own.split_whitespace().collect();
        (words.first() == Some(&"elbo")).then_some(words)
    }

    fn assert_is_accepted(line: &str, place: &str) {
        if let Some(words) = words(line)
            && let Err(error) = definition().try_get_matches_from(words)
        {
            let is_help = matches!(
                error.kind(),
                clap::error::ErrorKind::DisplayHelp | clap::error::ErrorKind::DisplayVersion
            );
            assert!(is_help, "{place}: {line}: {error}");
        }
    }

    #[test]
    fn every_command_has_examples_that_it_accepts_in_80_columns() {
        let names: Vec<String> = definition().get_subcommands().map(|c| c.get_name().to_owned()).collect();
        assert_eq!(names, EXAMPLES.map(|(name, _)| name.to_owned()));
        for name in names.iter().map(String::as_str).chain(["elbo"]) {
            for line in lines(name) {
                assert!(line.chars().count() <= 80, "{line}");
                assert!(
                    words(&line).is_some_and(|words| words.get(1) == Some(&name) || name == "elbo"),
                    "{line}"
                );
                assert_is_accepted(&line, name);
            }
        }
    }

    /// The documents with command lines, and their texts.
    fn documents() -> Vec<(String, String)> {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let read =
            |folder: &std::path::Path| std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let paths = read(root).chain(read(&root.join("docs")));
        let paths = paths.filter(|path| path.extension().is_some_and(|ending| ending == "md"));
        paths.map(|path| (path.display().to_string(), std::fs::read_to_string(&path).unwrap())).collect()
    }

    #[test]
    fn commands_in_the_documents_are_accepted() {
        let mut found = 0;
        for (name, text) in documents() {
            for block in text.split("\n```").skip(1).step_by(2) {
                for line in block.replace("\\\n", " ").lines().skip(1) {
                    assert_is_accepted(line, &name);
                    found += usize::from(words(line).is_some());
                }
            }
        }
        assert!(found > 40, "{found}");
    }

    #[test]
    fn options_in_the_text_of_the_documents_exist() {
        let definition = definition();
        for (name, text) in documents() {
            let prose: String = text.split("```").step_by(2).collect();
            for span in prose.split('`').skip(1).step_by(2) {
                let words: Vec<&str> = span.split_whitespace().collect();
                let ["elbo", command, options @ ..] = &words[..] else { continue };
                let Some(command) = definition.find_subcommand(command) else {
                    assert!(*command == "COMMAND" || command.starts_with('-'), "{name}: `{span}`");
                    continue;
                };
                for option in options.iter().filter_map(|word| word.strip_prefix("--")) {
                    let known = command.get_arguments().any(|argument| argument.get_long() == Some(option));
                    assert!(known || option == "help", "{name}: `{span}` has the unknown option --{option}");
                }
            }
        }
    }
}
