//! `elbo compress` and `elbo decompress` of the built program: a folder of pictures and an array are
//! restored, and invalid input is refused.

mod support;

use std::path::Path;
use support::{message, run, succeed, text};

fn picture(folder: &Path, name: &str, seed: usize) -> Vec<u8> {
    let bytes: Vec<u8> = (0..10 * 9).map(|at| (at * seed * 7 % 256) as u8).collect();
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    elbo::data::write_png(std::fs::File::create(path).unwrap(), &bytes, 10, 9, 1).unwrap();
    bytes
}

/// Pictures in two classes and a run trained on them.
fn trained(folder: &Path, likelihood: &str) -> std::path::PathBuf {
    let images = folder.join("images");
    for at in 0..6 {
        picture(&images, &format!("{}/{at}.png", ["left", "right"][at % 2]), at + 1);
    }
    let run = folder.join(format!("run-{likelihood}"));
    let train = ["train", "--data", text(&images), "--preset", "mlp", "--hidden", "8", "--latent", "2"];
    succeed(&[&train[..], &["--max-steps", "2", "--likelihood", likelihood, "--out", text(&run)]].concat());
    run
}

#[test]
fn a_folder_comes_back_with_its_names_and_labels() {
    let work = support::work_folder();
    let at = |name: &str| work.path().join(name);
    let run = trained(work.path(), "beta-binomial");
    let (images, file, folder) = (at("images"), at("a.elbo"), at("back"));
    let compress = ["compress", text(&run), "--data", text(&images), "--out", text(&file)];
    let printed = succeed(&[&compress[..], &["--json", "--labels", "--with-model"]].concat());
    let printed: serde_json::Value = serde_json::from_str(&printed).unwrap();
    let bytes = std::fs::metadata(&file).unwrap().len();
    assert_eq!(printed["images"], 6);
    assert_eq!(printed["bytes"], bytes);
    assert_eq!(printed["bits_per_dim"], 8.0 * bytes as f64 / 540.0);

    // Without --model: the model in the file.
    let labels = at("labels.csv");
    succeed(&["decompress", text(&file), "--out", text(&folder), "--labels", text(&labels)]);
    let table = std::fs::read_to_string(&labels).unwrap();
    assert!(table.starts_with("image,name,label\n0,\"left/0.png\",\"left\"\n"), "{table}");
    let load = |path: &Path| elbo::data::load(path, &elbo::data::LoadOptions::default(), &|_, _| ()).unwrap();
    let (before, after) = (load(&images), load(&folder));
    assert!(before.train == after.train && before.labels == after.labels);

    let array = at("back.npy");
    succeed(&["decompress", text(&file), "--model", text(&run), "--images", "1..3", "--out", text(&array)]);
    let array = load(&array);
    assert_eq!((array.train.count, array.train.height, array.train.width), (2, 10, 9));
    assert!(array.train.pixels == before.train.select(&[1, 2]).pixels);

    // An existing file is not replaced.
    for command in [&compress[..], &["decompress", text(&file), "--out", text(&folder)]] {
        assert!(message(&support::run(command)).contains("already exists"));
    }
    // A truncated file.
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() - 1]).unwrap();
    let salvage = ["decompress", text(&file), "--out", text(&at("none.npy"))].map(String::from);
    let mut arguments: Vec<&str> = salvage.iter().map(String::as_str).collect();
    assert!(message(&support::run(&arguments)).contains("cut off"));
    arguments.push("--salvage");
    let output = support::run(&arguments);
    assert!(
        support::stderr(&output).contains("note: images 0 to 5 are lost"),
        "{}",
        support::stderr(&output)
    );
}

#[test]
fn codes_are_stored_with_lossy() {
    let work = support::work_folder();
    let at = |name: &str| work.path().join(name);
    // Any likelihood supports this.
    let model = trained(work.path(), "bernoulli");
    let (images, file, folder) = (at("images"), at("a.elbo"), at("back"));
    let compress = ["compress", text(&model), "--data", text(&images), "--out", text(&file)];
    let lossless = message(&run(&compress));
    assert!(lossless.contains("beta-binomial") && lossless.contains("bernoulli"), "{lossless}");
    let coarse = message(&run(&[&compress[..], &["--lossy", "--step", "0"]].concat()));
    assert!(coarse.contains("--step must be a positive number"), "{coarse}");
    let long = message(&run(&[&compress[..], &["--lossy", "--refine", "10001"]].concat()));
    assert!(long.contains("--refine must be at most 10000 steps, not 10001"), "{long}");
    for wrong in [&["--refine", "5"][..], &["--lossy", "--refine", "-1"], &["--lossy", "--refine", "x"]] {
        assert_eq!(run(&[&compress[..], wrong].concat()).status.code(), Some(2), "{wrong:?}");
    }
    assert!(!file.exists());
    succeed(&[&compress[..], &["--lossy", "--step", "0.25"]].concat());
    succeed(&["decompress", text(&file), "--model", text(&model), "--out", text(&folder)]);
    assert!(folder.join("right/5.png").is_file());
}

#[test]
fn refined_codes_decode_to_images_nearer_to_the_originals() {
    let work = support::work_folder();
    let at = |name: &str| work.path().join(name);
    let model = trained(work.path(), "gaussian");
    let images = at("images");
    let load = |path: &Path| elbo::data::load(path, &elbo::data::LoadOptions::default(), &|_, _| ()).unwrap();
    let originals = load(&images).train;
    let stored = |steps: &str, threads: &str| {
        let (file, back) = (at(&format!("{steps}-{threads}.elbo")), at(&format!("{steps}-{threads}.npy")));
        let compress = ["compress", text(&model), "--data", text(&images), "--lossy", "--step", "0.25"];
        let refine = ["--refine", steps, "--threads", threads, "--json", "--out", text(&file)];
        let printed: serde_json::Value =
            serde_json::from_str(&succeed(&[&compress[..], &refine].concat())).unwrap();
        assert_eq!(printed["images"], 6);
        succeed(&["decompress", text(&file), "--model", text(&model), "--out", text(&back)]);
        let decoded = load(&back).train;
        let error = |at| -> u64 {
            let pairs = originals.to_bytes(at).into_iter().zip(decoded.to_bytes(at));
            pairs.map(|(a, b)| u64::from(a.abs_diff(b)).pow(2)).sum()
        };
        (std::fs::read(file).unwrap(), (0..6).map(error).sum::<u64>())
    };
    let (plain, error) = stored("0", "1");
    let (refined, smaller) = stored("30", "1");
    assert!(smaller < error, "squared error {error} without refinement, {smaller} with");
    assert!(20 * refined.len() <= 21 * plain.len(), "{} and {} bytes", plain.len(), refined.len());
    assert!(stored("30", "2").0 == refined, "threads");
}

#[test]
fn what_cannot_be_is_said() {
    let work = support::work_folder();
    let at = |name: &str| work.path().join(name);
    let model = trained(work.path(), "discretized-logistic");
    let out = at("a.elbo");
    let floats = at("floats.npy");
    support::write_floats(&floats, &[2, 10, 9], &[0.3; 180]);
    let small = at("small.npy");
    support::write_npy(&small, "|u1", &[2, 9, 9], &[3; 162]);
    for (data, part) in [(&floats, "256 levels"), (&small, "10×9×1")] {
        let said = message(&run(&["compress", text(&model), "--data", text(data), "--out", text(&out)]));
        assert!(said.contains(part), "{said}");
        assert!(!out.exists());
    }
    let images = at("images");
    succeed(&["compress", text(&model), "--data", text(&images), "--out", text(&out)]);
    let back = at("back.npy");
    let refused = |arguments: &[&str], part: &str| {
        let said = message(&run(&[&["decompress"], arguments, &["--out", text(&back)]].concat()));
        assert!(said.contains(part), "{said}");
        assert!(!back.exists());
    };
    let file = text(&out);
    let other = trained(&at("other"), "beta-binomial");
    refused(&[file, "--model", text(&other)], "made with the model of checksum");
    refused(&[text(&small), "--model", text(&model)], "no file of `elbo compress`");
    refused(&[file, "--model", text(&model), "--images", "4..7"], "has 6, counted from 0");
    refused(&[file, "--model", text(&model), "--max-memory", "200B"], "--max-memory");
    let said = message(&run(&["decompress", file, "--model", text(&model), "--out", text(&at("x.jpg"))]));
    assert!(said.contains("not as .jpg"), "{said}");
    assert_eq!(run(&["decompress", file, "--images", "4", "--out", "x"]).status.code(), Some(2));
}

#[test]
fn names_that_differ_in_their_endings_stay_apart() {
    let work = support::work_folder();
    let at = |name: &str| work.path().join(name);
    let run = trained(work.path(), "discretized-logistic");
    let images = at("pair");
    // Pictures are recognized by their content: this one is a PNG too.
    let pictures = [picture(&images, "x.jpg", 3), picture(&images, "x.png", 5), picture(&images, "y.png", 7)];
    let (file, folder) = (at("a.elbo"), at("back"));
    succeed(&["compress", text(&run), "--data", text(&images), "--out", text(&file)]);
    succeed(&["decompress", text(&file), "--model", text(&run), "--out", text(&folder)]);
    for (name, bytes) in ["x.jpg.png", "x.png.png", "y.png"].into_iter().zip(&pictures) {
        let alone = at("alone");
        std::fs::create_dir(&alone).unwrap();
        std::fs::rename(folder.join(name), alone.join("x.png")).unwrap();
        let data = elbo::data::load(&alone, &elbo::data::LoadOptions::default(), &|_, _| ()).unwrap();
        assert!(data.train.pixels == elbo::data::Pixels::U8(bytes.clone()), "{name}");
        std::fs::remove_dir_all(&alone).unwrap();
    }
}

/// Every call to the disk fails once for lack of space: the message says so, and afterwards there is no file
/// of that name, or a complete one.
#[test]
fn a_full_disk_leaves_no_part_of_a_file() {
    let work = support::work_folder();
    let at = |name: &str| work.path().join(name);
    let run = trained(work.path(), "beta-binomial");
    let (images, file, whole, back) = (at("images"), at("a.elbo"), at("whole.elbo"), at("back.npy"));
    let named = |out: &Path| {
        let compress = ["compress", text(&run), "--data", text(&images), "--out", text(out)];
        let decompress = ["decompress", text(&whole), "--model", text(&run), "--out", text(out)];
        [compress, decompress].map(|arguments| arguments.map(String::from))
    };
    succeed(&named(&whole)[0].each_ref().map(String::as_str));
    succeed(&named(&at("right.npy"))[1].each_ref().map(String::as_str));
    let tries = [(&named(&file)[0], &file, &whole), (&named(&back)[1], &back, &at("right.npy"))];
    for (arguments, out, right) in tries {
        let (right, mut stopped) = (std::fs::read(right).unwrap(), 0);
        for call in 1.. {
            let output = support::elbo(&arguments.each_ref().map(String::as_str))
                .env("ELBO_FAULT", format!("{call}+:nospace"))
                .output()
                .unwrap();
            // The last call syncs the folder, when the file has its name.
            assert!(
                !out.exists() || std::fs::read(out).unwrap() == right,
                "call {call} left a part of a file"
            );
            if output.status.success() {
                break;
            }
            stopped += 1;
            assert!(support::stderr(&output).contains("no storage space"), "{}", support::stderr(&output));
            let _ = std::fs::remove_file(out);
        }
        assert!(stopped >= 3, "only {stopped} calls failed");
    }
}
