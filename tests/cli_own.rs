//! The images that a command uses, on the built program: a model file without its run, a folder that grew
//! after training, a prior fitted to other images, few images, and the notes about them.

mod support;

use std::path::Path;

use elbo::data::{Binarize, Filler, LoadOptions, Span, load};
use elbo::generate::inpaint::{Given, Half, Inpaint, Mask};
use support::{elbo, message, stderr, stdout, text, work_folder, write_images};

/// Runs the program in a folder, which must succeed; returns its standard output and standard error.
#[track_caller]
fn told(folder: &Path, arguments: &[&str]) -> (String, String) {
    let output = elbo(arguments).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
    (stdout(&output), stderr(&output))
}

#[track_caller]
fn has(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{text}\ndoes not say: {word}");
    }
}

/// A small run in a folder on `count` images.
fn train(folder: &Path, count: usize, more: &[&str]) -> (String, String) {
    write_images(&folder.join("data.npy"), [count, 8, 8, 1]);
    let fixed = [
        "train", "--data", "data.npy", "--preset", "mlp", "--hidden", "16", "--latent", "4", "--out",
        "runs/one",
    ];
    told(folder, &[&fixed, more].concat())
}

#[test]
fn a_model_file_without_its_run_asks_for_images() {
    let folder = work_folder();
    let folder = folder.path();
    train(folder, 40, &["--max-steps", "2"]);
    std::fs::create_dir(folder.join("away")).unwrap();
    std::fs::copy(folder.join("runs/one/model.safetensors"), folder.join("away/m.safetensors")).unwrap();
    // The bundled images are within reach of the test's folder, and were once used silently.
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let model = folder.join("away/m.safetensors");
    for command in ["encode", "eval", "score", "reconstruct", "interpolate"] {
        let output = elbo(&[command, text(&model)]).current_dir(here).output().unwrap();
        has(&message(&output), &["--data", "m.safetensors"]);
    }
    told(folder, &["encode", "away/m.safetensors", "--data", "data.npy"]);
}

#[test]
fn images_that_came_later_are_no_validation_images_of_the_run() {
    let folder = work_folder();
    let folder = folder.path();
    train(folder, 60, &["--max-steps", "4"]);
    let (before, note) = told(folder, &["eval"]);
    has(&before, &["6 validation images of the run"]);
    assert!(!note.contains("not those"), "{note}");
    has(&told(folder, &["score", "--out", "a.csv"]).0, &["6 validation images of the run"]);
    write_images(&folder.join("data.npy"), [70, 8, 8, 1]);
    for arguments in
        [vec!["eval"], vec!["score", "--out", "b.csv"], vec!["encode"], vec!["detect", "--out", "c.csv"]]
    {
        let (printed, note) = told(folder, &arguments);
        assert!(
            !printed.contains("validation images of the run:") && !printed.contains("7 validation"),
            "{printed}"
        );
        assert!(!printed.contains("6 validation images"), "{printed}");
        has(&note, &["data.npy are not those that the run was trained on"]);
    }
    has(&told(folder, &["eval", "--data", "data.npy"]).0, &["70 images: all of them"]);
    let (_, note) = told(folder, &["eval", "--data", "data.npy"]);
    has(&note, &["are not those"]);
    // Without its checkpoint nothing can be compared, and a note says so.
    std::fs::remove_file(folder.join("runs/one/checkpoint.safetensors")).unwrap();
    has(&told(folder, &["eval"]).1, &["cannot be checked"]);
}

#[test]
fn a_mixture_for_other_images_is_fitted_to_them_and_the_same_before_and_after_saving() {
    let folder = work_folder();
    let folder = folder.path();
    train(folder, 120, &["--max-steps", "20"]);
    write_images(&folder.join("other.npy"), [30, 8, 8, 1]);
    let gmm = |out: &str, more: &[&str]| {
        let (printed, _) =
            told(folder, &[&["sample", "--prior", "gmm", "--count", "9", "--out", out], more].concat());
        (printed, std::fs::read(folder.join(out)).unwrap())
    };
    let (first, bits) = gmm("a.npy", &[]);
    has(&first, &["codes of 108 images", "kept in runs/one/prior.safetensors"]);
    let (second, again) = gmm("b.npy", &[]);
    has(&second, &["Gaussians kept in runs/one/prior.safetensors"]);
    assert!(bits == again, "the kept mixture draws other bits than the fitted one");
    let kept = std::fs::read(folder.join("runs/one/prior.safetensors")).unwrap();
    let (other, bits) = gmm("c.npy", &["--data", "other.npy"]);
    has(&other, &["codes of 30 images", "not kept"]);
    assert_ne!(bits, again);
    assert_eq!(std::fs::read(folder.join("runs/one/prior.safetensors")).unwrap(), kept);
    // The run's own images, given by name, count as its own.
    assert!(gmm("d.npy", &["--data", "data.npy"]).1 == again);
    // `sample` works for a run folder that cannot be written to.
    std::fs::remove_file(folder.join("runs/one/prior.safetensors")).unwrap();
    let arguments = ["sample", "--prior", "gmm", "--count", "9", "--out", "e.npy"];
    let output = elbo(&arguments).current_dir(folder).env("ELBO_FAULT", "1:readonly").output().unwrap();
    has(&stdout(&output), &["not kept: cannot create", "prior.safetensors", "wrote e.npy"]);
    assert!(output.status.success() && std::fs::read(folder.join("e.npy")).unwrap() == again);
}

#[test]
fn codes_and_sheets_are_of_the_images_as_the_run_binarized_them() {
    let folder = work_folder();
    let folder = folder.path();
    train(folder, 40, &["--max-steps", "1", "--binarize", "static", "--seed", "5"]);
    // `encode` gets the images that `reconstruct` shows as originals, and these are the images of the
    // training: its sheet has the same tiles.
    told(folder, &["reconstruct", "--out", "shown.png"]);
    let sheet = support::files(&folder.join("runs/one/reconstructions")).pop().unwrap();
    assert!(std::fs::read(sheet).unwrap() == std::fs::read(folder.join("shown.png")).unwrap());
    // The same weights under a configuration with another seed binarize the named images differently.
    let encoded = |out: &str| {
        told(folder, &["encode", "--data", "data.npy", "--out", out]);
        std::fs::read(folder.join(out)).unwrap()
    };
    let five = encoded("five.npy");
    let config = folder.join("runs/one/config.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    assert!(text.contains("seed = 5"), "{text}");
    std::fs::write(&config, text.replace("seed = 5", "seed = 0")).unwrap();
    assert!(five != encoded("zero.npy"));
}

#[test]
fn noisy_images_are_binarized_as_the_run_binarized_them() {
    let folder = work_folder();
    let folder = folder.path();
    train(folder, 40, &["--max-steps", "1", "--binarize", "static", "--seed", "5"]);
    let bytes = |name: &str| std::fs::read(folder.join(name)).unwrap();
    told(folder, &["reconstruct", "--out", "plain.npy"]);
    told(folder, &["reconstruct", "--noise", "0", "--out", "zero.npy"]);
    assert!(bytes("plain.npy") == bytes("zero.npy"), "no noise is no change");
    told(folder, &["reconstruct", "--noise", "0.3", "--count", "3", "--out", "sheet.png"]);
    // Three tiles of 48 pixels with 2 between them: the noisy input is as black and white as the original.
    let sheet = load(folder.join("sheet.png"), &LoadOptions::default(), &|_, _| ()).unwrap().train;
    let pixels = sheet.to_bytes(0);
    let tile = |column: usize| {
        let row = |y: usize| &pixels[y * sheet.width + 2 + 50 * column..][..48];
        (2..50).flat_map(row).copied().collect::<Vec<u8>>()
    };
    let grey = |tile: &[u8]| tile.iter().filter(|&&v| v != 0 && v != 255).count();
    assert_eq!((grey(&tile(0)), grey(&tile(1))), (0, 0));
    assert!(grey(&tile(2)) > 0 && tile(0) != tile(1));
}

#[test]
fn what_inpainting_shows_the_model_is_binarized_with_the_runs_seed() {
    let folder = work_folder();
    let folder = folder.path();
    train(folder, 40, &["--max-steps", "1", "--binarize", "static", "--seed", "5", "--valid", "0"]);
    let common = ["inpaint", "--half", "left", "--mean", "--steps", "1", "--images", "2,9"];
    told(folder, &[&common[..], &["--out", "a.npy"]].concat());
    let model = elbo::Vae::load(folder.join("runs/one/model.safetensors")).unwrap();
    let images = load(folder.join("data.npy"), &LoadOptions::default(), &|_, _| ()).unwrap().train;
    let filler = Filler { span: Span::Unit, binarize: Some(Binarize::Static), seed: 5 };
    let mut values = vec![0.0; 2 * 64];
    filler.fill(&images, &[2, 9], 0, &mut values);
    let given = Given { values: &values, labels: &[], indices: &[2, 9], filler: &filler };
    let filling = Inpaint { steps: 1, draw: false, seed: 0 };
    let mask = Mask::half((8, 8), Half::Left).unwrap();
    let stages = filling.run(&mut elbo::model::Codec::new(&model), &given, &mask).unwrap();
    support::write_floats(&folder.join("b.npy"), &[2, 8, 8, 1], &stages[0]);
    let floats = |name: &str| {
        let bytes = std::fs::read(folder.join(name)).unwrap();
        bytes[bytes.len() - 4 * 128..].to_vec()
    };
    assert!(floats("a.npy") == floats("b.npy"));
}

#[test]
fn codes_of_each_split_come_with_a_table() {
    let folder = work_folder();
    let folder = folder.path();
    for (class, count) in [("a", 14), ("b,c", 10)] {
        std::fs::create_dir_all(folder.join("pictures").join(class)).unwrap();
        for at in 0..count {
            let pixels: Vec<u8> = (0..64).map(|i| (i * (at + 2) * class.len() % 256) as u8).collect();
            let mut file =
                std::fs::File::create(folder.join(format!("pictures/{class}/{at:02}.png"))).unwrap();
            elbo::data::write_png(&mut file, &pixels, 8, 8, 1).unwrap();
        }
    }
    let options = "train --data pictures --preset mlp --hidden 8 --latent 2 --valid 4 --batch 5 --max-steps 2 --out runs/one";
    told(folder, &options.split(' ').collect::<Vec<_>>());
    let encode = |split: &str, more: &[&str]| {
        let out = format!("{split}.npy");
        let (printed, _) = told(folder, &[&["encode", "--split", split, "--out", &out], more].concat());
        has(&printed, &[&format!("wrote {split}.csv")]);
        let table = std::fs::read_to_string(folder.join(format!("{split}.csv"))).unwrap();
        let codes = elbo::data::read_matrix(folder.join(out), 1 << 20).unwrap();
        let rows: Vec<String> = table.lines().map(str::to_owned).collect();
        assert_eq!(rows[0], "row,file,label,split,index");
        assert_eq!(rows.len() - 1, codes.rows);
        let code = |row: usize| codes.values[row * 2..row * 2 + 2].to_vec();
        // Without the row's number, which is checked.
        let parse = |(at, line): (usize, &String)| {
            (line.strip_prefix(&format!("{at},")).unwrap().to_owned(), code(at))
        };
        rows[1..].iter().enumerate().map(parse).collect::<Vec<_>>()
    };
    let [train, valid, all] = ["train", "valid", "all"].map(|split| encode(split, &[]));
    assert_eq!((train.len(), valid.len(), all.len()), (20, 4, 24));
    let mut both = [train, valid].concat();
    both.sort_by_key(|(line, _)| line.rsplit(',').next().unwrap().parse::<usize>().unwrap());
    assert_eq!(both, all);
    assert!(
        all[0].0.ends_with("/pictures/a/00.png,a,train,0")
            || all[0].0.ends_with("/pictures/a/00.png,a,valid,0"),
        "{}",
        all[0].0
    );
    assert!(all[14].0.contains("/pictures/b,c/00.png\",\"b,c\","), "{}", all[14].0);
    assert_eq!(all.iter().filter(|(line, _)| line.contains(",valid,")).count(), 4);
    std::fs::remove_file(folder.join("all.npy")).unwrap();
    std::fs::remove_file(folder.join("all.csv")).unwrap();
    assert_eq!(encode("all", &["--count", "3"])[..], all[..3]);
    let refused =
        elbo(&["encode", "--split", "test", "--out", "t.npy"]).current_dir(folder).output().unwrap();
    has(&message(&refused), &["--split test", "has no test images", "--split all"]);
    assert!(!folder.join("t.npy").exists() && !folder.join("t.csv").exists());
    let again = elbo(&["encode", "--split", "valid", "--out", "v.npy", "--table", "valid.csv"])
        .current_dir(folder)
        .output()
        .unwrap();
    has(&message(&again), &["valid.csv"]);
}

#[test]
fn a_training_begins_with_the_weights_of_a_model() {
    let folder = work_folder();
    let folder = folder.path();
    train(folder, 40, &["--max-steps", "6", "--valid", "0"]);
    let begin = |out: &str, more: &[&str]| {
        let fixed = ["train", "--data", "data.npy", "--valid", "0", "--start-from", "runs/one", "--out", out];
        elbo(&[&fixed, more].concat()).current_dir(folder).output().unwrap()
    };
    // The network is the model's, not the default one.
    let good = |out: &str, more: &[&str]| {
        let output = begin(out, more);
        assert!(output.status.success(), "{}", stderr(&output));
    };
    // A step that is too small to move a weight leaves the model as it was.
    good("runs/still", &["--max-steps", "1", "--lr", "1e-30"]);
    let weights = |run: &str| elbo::Vae::load(folder.join(run).join("model.safetensors")).unwrap().parameters;
    assert!(weights("runs/one") == weights("runs/still"));
    good("runs/moved", &["--epochs", "4", "--batch", "20"]);
    // Options that say the same may be given.
    let same = ["--epochs", "4", "--batch", "20", "--max-steps", "3", "--latent", "4", "--preset", "mlp"];
    good("runs/half", &same);
    assert!(weights("runs/one") != weights("runs/moved"));
    // The path is part of the run's configuration, and a change is detected.
    let config = folder.join("runs/half/config.toml");
    let toml = std::fs::read_to_string(&config).unwrap();
    has(&toml, &["start-from = \"/", "runs/one\""]);
    std::fs::write(&config, toml.replace("runs/one\"", "runs/two\"")).unwrap();
    let resumed = elbo(&["train", "--resume", "runs/half"]).current_dir(folder).output().unwrap();
    has(&message(&resumed), &["start-from", "config.toml"]);
    std::fs::write(&config, toml).unwrap();
    // Networks that differ, each part named.
    for (options, words) in [
        (&["--latent", "3"][..], &["--start-from", "--latent 4 instead of 3"][..]),
        (
            &["--latent", "5", "--likelihood", "laplace", "--scale", "0.2"],
            &["--latent 4 instead of 5, --likelihood bernoulli instead of laplace"],
        ),
        (&["--size", "9"], &["images of 8×8×1 instead of 9×9×1"]),
        (&["--tie-weights"], &["--tie-weights no instead of yes"]),
        (
            &["--preset", "conv"],
            &["the preset mlp instead of conv", "options about the network that are left out"],
        ),
        (&["--conditional"], &["--conditional"]),
    ] {
        has(&message(&begin("runs/bad", options)), words);
        assert!(!folder.join("runs/bad").exists());
    }
    let none = elbo(&["train", "--data", "data.npy", "--start-from", "nowhere", "--out", "runs/bad"])
        .current_dir(folder)
        .output()
        .unwrap();
    has(&message(&none), &["nowhere"]);
    // A resumed run has its weights from its checkpoint, and ends as one that was not interrupted.
    std::fs::remove_dir_all(folder.join("runs/one")).unwrap();
    told(folder, &["train", "--resume", "runs/half"]);
    support::assert_same(&folder.join("runs/half"), &folder.join("runs/moved"), "resumed after --start-from");
}

#[test]
fn a_model_of_colour_pictures_is_sharpened_without_naming_its_network() {
    let folder = work_folder();
    let folder = folder.path();
    write_images(&folder.join("colour.npy"), [24, 8, 8, 3]);
    let train = |more: &[&str]| told(folder, &[&["train", "--data", "colour.npy"], more].concat()).0;
    let network =
        ["--channels", "4", "--latent", "3", "--likelihood", "logistic-mixture", "--components", "2"];
    let chosen = train(&[&network[..], &["--epochs", "1", "--out", "vae"]].concat());
    has(&chosen, &["--preset residual", "--preset conv chooses nothing"]);
    let sharpened = train(&["--start-from", "vae", "--adversarial", "1", "--out", "sharp"]);
    has(
        &sharpened,
        &[
            "unless given:",
            "--batch 4",
            "residual with",
            "latent size 3, logistic-mixture",
            "adversarial stage:",
        ],
    );
    let config = std::fs::read_to_string(folder.join("sharp/config.toml")).unwrap();
    has(&config, &["channels = [4]", "components = 2", "epochs = 0", "adversarial = 1", "batch = 4"]);
}

#[test]
fn fewer_images_than_were_asked_for_are_said() {
    let folder = work_folder();
    let folder = folder.path();
    train(folder, 60, &["--max-steps", "4"]);
    for (command, out) in [("reconstruct", "r.png"), ("encode", "e.npy")] {
        let (_, note) = told(folder, &[command, "--count", "15", "--out", out]);
        has(&note, &["--count 15 asks for more", "all 6 validation images"]);
    }
    let (_, note) = told(folder, &["reconstruct", "--out", "d.png"]);
    assert!(!note.contains("--count"), "nothing was asked for: {note}");
    has(&told(folder, &["score"]).1, &["6 images are few for the 0.99 quantile", "100 or more"]);
    let (_, note) = told(folder, &["score", "--quantile", "0.5", "--out", "half.csv"]);
    assert!(!note.contains("few"), "{note}");
    let (printed, note) = told(folder, &["eval", "--samples", "500"]);
    has(&printed, &["500 samples beside the 6 images", "54 training images: the floor"]);
    has(&note, &["54 training images, fewer than --samples 500"]);
    assert!(!told(folder, &["eval", "--samples", "50"]).1.contains("fewer"));
}

#[test]
fn training_that_went_nowhere_and_schedules_that_jump_are_said() {
    let folder = work_folder();
    let folder = folder.path();
    let (printed, _) = train(folder, 60, &["--epochs", "3", "--lr", "1", "--clip-norm", "1000000"]);
    has(&printed, &["training made the model no better", "--lr"]);
    std::fs::remove_dir_all(folder.join("runs/one")).unwrap();
    let (printed, _) = train(folder, 60, &["--epochs", "60", "--batch", "10", "--lr-schedule", "cosine"]);
    assert!(!printed.contains("no better") && !printed.contains("steps in all"), "{printed}");
    let (printed, _) = told(folder, &["train", "--resume", "runs/one", "--epochs", "70"]);
    has(&printed, &["spans 70 epochs instead of 60", "would have been"]);
    let (printed, _) = told(folder, &["train", "--resume", "runs/one"]);
    assert!(!printed.contains("spans"), "{printed}");
}

#[test]
fn few_images_do_not_make_a_collapse_and_few_steps_are_said() {
    let folder = work_folder();
    let folder = folder.path();
    // With one validation image, no dimension varies.
    let (printed, _) = train(folder, 15, &["--epochs", "50", "--batch", "2", "--beta", "0.01"]);
    assert!(!printed.contains("collapsed") && !printed.contains("steps in all"), "{printed}");
    let (printed, _) = told(folder, &["eval"]);
    has(&printed, &["1 validation images of the run", "over 14 training images"]);
    assert!(!printed.contains("  0 of 4 dimensions active"), "{printed}");
    has(&told(folder, &["interpolate"]).1, &["held out 1 image, and 2 are needed", "all 15"]);
    std::fs::remove_dir_all(folder.join("runs/one")).unwrap();
    let (printed, _) = train(folder, 15, &["--epochs", "1"]);
    has(&printed, &["steps in all", "--epochs"]);
    assert!(!printed.contains("collapsed"), "after a step or two: {printed}");
}

#[test]
fn without_epochs_few_images_get_as_many_steps_as_it_takes() {
    let folder = work_folder();
    let folder = folder.path();
    // 54 training images: 14 steps of 4 images, 72 epochs.
    let (printed, _) = train(folder, 60, &[]);
    has(
        &printed,
        &["72 epochs in batches of 4, which are 1008 steps", "10 epochs are too few", "--epochs and --batch"],
    );
    assert!(!printed.contains("warning"), "{printed}");
    let config = std::fs::read_to_string(folder.join("runs/one/config.toml")).unwrap();
    has(&config, &["epochs = 72\n", "batch = 4\n"]);
    // The config repeats the run without a note.
    let again = ["train", "--config", "runs/one/config.toml", "--out", "runs/two"];
    let (printed, _) = told(folder, &again);
    assert!(!printed.contains("few images"), "{printed}");
    let model = |run: &str| std::fs::read(folder.join(run).join("model.safetensors")).unwrap();
    assert!(model("runs/one") == model("runs/two"));
    std::fs::remove_dir_all(folder.join("runs")).unwrap();
    // The requested number of steps, even if it is more than ten epochs; and requested epochs stay.
    let (printed, _) = train(folder, 60, &["--max-steps", "30"]);
    has(&printed, &["1 steps of 54 images an epoch"]);
    let (printed, _) = told(folder, &["info", "runs/one"]);
    has(&printed, &["epoch 30 of 30, step 30"]);
    std::fs::remove_dir_all(folder.join("runs")).unwrap();
    let (printed, _) = train(folder, 60, &["--epochs", "2"]);
    has(&printed, &["the run has 2 steps in all", "--epochs 300 makes 300 steps"]);
    assert!(!printed.contains("few images"), "{printed}");
}

#[test]
fn colour_pictures_get_a_training_that_is_chosen_for_them() {
    let folder = work_folder();
    let folder = folder.path();
    write_images(&folder.join("colour.npy"), [20, 12, 12, 3]);
    let small = ["--latent", "3", "--channels", "4,8", "--max-steps", "6", "--threads", "1"];
    let train = |data: &str, out: &str, more: &[&str]| {
        told(folder, &[&["train", "--data", data, "--out", out], more, &small[..]].concat()).0
    };
    let printed = train("colour.npy", "own", &[]);
    has(&printed, &["chosen for 18 colour pictures of 12×12", "--preset residual", "--weight-average 0.999"]);
    assert!(!printed.contains("--latent"), "what is given is not chosen: {printed}");
    let config = std::fs::read_to_string(folder.join("own/config.toml")).unwrap();
    let expected = [
        "preset = \"residual\"",
        "likelihood = \"discretized-logistic\"",
        "latent = 3",
        "batch = 4",
        "epochs = 2",
        "lr-schedule = \"cosine\"",
    ];
    has(&config, &expected);
    // The config file repeats the run with all choices as given options, and chooses nothing.
    let again = told(folder, &["train", "--config", "own/config.toml", "--out", "again"]).0;
    assert!(!again.contains("chosen"), "{again}");
    let model = |run: &str| std::fs::read(folder.join(run).join("model.safetensors")).unwrap();
    assert!(model("own") == model("again"));
    // An option of residual alone, or of likelihoods of bytes, needs no preset and no likelihood beside it.
    has(&train("colour.npy", "more", &["--blocks", "2", "--context", "4"]), &["--preset residual"]);
    let plain = train("colour.npy", "plain", &["--preset", "conv"]);
    assert!(!plain.contains("chosen") && plain.contains("conv with"), "{plain}");
    write_images(&folder.join("grey.npy"), [20, 12, 12, 1]);
    let grey = train("grey.npy", "grey", &[]);
    assert!(!grey.contains("chosen for") && grey.contains("conv with"), "{grey}");
}
