//! Conditional models on the built program: training with labels, and every command that uses the model.

mod support;

use std::path::Path;

use serde_json::Value;
use support::{assert_same, refused_in, succeed_in, work_folder, write_idx, write_images};

/// The one JSON object that a command prints.
#[track_caller]
fn json_in(folder: &Path, arguments: &[&str]) -> Value {
    serde_json::from_str(&succeed_in(folder, arguments)).unwrap()
}

/// Bars of 8×8 with MNIST's file names: the label is the quarter in which the bar lies, named by `classes`;
/// it is a row or a column.
fn write_bars(folder: &Path, train: usize, test: usize, classes: &[u8]) {
    std::fs::create_dir(folder).unwrap();
    for (name, count, seed) in [("train", train, 1), ("t10k", test, 2)] {
        let mut numbers = support::Numbers(seed);
        let (mut pixels, mut labels) = (Vec::new(), Vec::new());
        for image in 0..count {
            let class = image % classes.len();
            let upright = numbers.below(2) == 0;
            for at in 0..64 {
                let (along, across) = if upright { (at / 8, at % 8) } else { (at % 8, at / 8) };
                let noise = numbers.below(60) as u8;
                pixels.push(if across / 2 == class && along > 0 { 255 - noise } else { noise });
            }
            labels.push(classes[class]);
        }
        write_idx(&folder.join(format!("{name}-images-idx3-ubyte")), &[count, 8, 8], &pixels);
        write_idx(&folder.join(format!("{name}-labels-idx1-ubyte")), &[count], &labels);
    }
}

/// A small conditional model in `run`, of bars with the labels 3, 5 and 8.
fn train_bars(folder: &Path, more: &[&str]) {
    write_bars(&folder.join("data"), 240, 60, &[3, 5, 8]);
    let fixed =
        ["train", "--data", "data", "--conditional", "--preset", "mlp", "--hidden", "32", "--latent", "4"];
    let rest = ["--batch", "20", "--lr", "0.005", "--out", "run"];
    succeed_in(folder, &[&fixed[..], &rest, more].concat());
}

/// The values of an .npy file of floats.
fn read_floats(path: &Path) -> Vec<f32> {
    let bytes = std::fs::read(path).unwrap();
    let start = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    bytes[start..].chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}

/// The quarter in which a bar lies: that with the most white, in rows or in columns.
fn quarter(picture: &[f32]) -> usize {
    let across = |column: bool| {
        (0..4).map(move |quarter| {
            let inside = |&(at, _): &(usize, &f32)| (if column { at % 8 } else { at / 8 }) / 2 == quarter;
            (picture.iter().enumerate().filter(inside).map(|(_, v)| v).sum::<f32>(), quarter)
        })
    };
    across(false).chain(across(true)).max_by(|a, b| a.0.total_cmp(&b.0)).unwrap().1
}

#[test]
fn a_conditional_model_is_used_by_every_command() {
    let folder = work_folder();
    let folder = folder.path();
    train_bars(folder, &["--epochs", "25"]);
    let config = std::fs::read_to_string(folder.join("run/config.toml")).unwrap();
    assert!(config.contains("conditional = true"), "{config}");
    let report = std::fs::read_to_string(folder.join("run/report.html")).unwrap();
    assert!(report.contains("Conditional on 3 labels: 3, 5, 8."), "the labels are in the report");

    let found = json_in(folder, &["eval", "run", "--json", "--importance", "3", "--samples", "30"]);
    assert_eq!(found["images"], 60);
    assert!(found["negative_elbo"].as_f64().unwrap() > 0.0 && found["knn"].is_null());
    assert!(found["sample_distance"]["normal"].as_f64().unwrap() >= 0.0);
    succeed_in(folder, &["score", "run", "--sheet", "odd.png"]);
    for command in ["encode", "reconstruct", "interpolate", "traverse", "manifold"] {
        succeed_in(folder, &[command, "run"]);
    }
    succeed_in(folder, &["encode", "run", "--out", "codes5.npy", "--label", "5"]);
    assert!(read_floats(&folder.join("codes5.npy")) != read_floats(&folder.join("codes.npy")));
    succeed_in(folder, &["decode", "run", "codes.npy", "--label", "8"]);
    succeed_in(folder, &["edit", "run", "--from-label", "3", "--to-label", "8"]);
    succeed_in(
        folder,
        &["edit", "run", "--from-label", "3", "--to-label", "8", "--as-label", "5", "--out", "edit5.png"],
    );
    succeed_in(folder, &["reconstruct", "run", "--as-label", "all", "--count", "6", "--out", "as.png"]);
    succeed_in(folder, &["reconstruct", "run", "--as-label", "all", "--count", "6", "--out", "as.npy"]);
    let pictures = read_floats(&folder.join("as.npy"));
    let right = pictures.chunks(64).enumerate().filter(|(at, picture)| quarter(picture) == at % 3).count();
    assert!(right >= 16, "{right} of 18 have the label that they were decoded with");
    let facts = json_in(folder, &["info", "run", "--json"]);
    assert_eq!(facts["labels"], serde_json::json!(["3", "5", "8"]));
    assert!(succeed_in(folder, &["info", "run"]).contains("3, 5, 8: the model is conditional"));
    succeed_in(folder, &["export", "run", "--out", "torch"]);
    assert!(
        std::fs::read_to_string(folder.join("torch/model.py"))
            .unwrap()
            .contains("labels = (\"3\", \"5\", \"8\")")
    );
    succeed_in(folder, &["inpaint", "run", "--half", "left"]);
    succeed_in(
        folder,
        &["manifold", "run", "--axes", "0,1", "--side", "4", "--out", "grid.png", "--label", "3"],
    );
    succeed_in(folder, &["sample", "run", "--out", "s.png", "--prior", "gmm"]);

    // Samples are of the requested class.
    succeed_in(folder, &["sample", "run", "--label", "all", "--count", "10", "--out", "all.npy"]);
    let pictures = read_floats(&folder.join("all.npy"));
    assert_eq!(pictures.len(), 30 * 64);
    let right = pictures.chunks(64).enumerate().filter(|(at, picture)| quarter(picture) == at / 10).count();
    assert!(right >= 28, "{right} of 30");
    succeed_in(folder, &["sample", "run", "--label", "5", "--count", "10", "--out", "five.npy"]);
    assert_eq!(read_floats(&folder.join("five.npy")), pictures[10 * 64..20 * 64]);

    refused_in(folder, &["sample", "run", "--label", "4"], &["does not know the label 4", "3, 5, 8"]);
    refused_in(folder, &["decode", "run", "codes.npy", "--out", "x.png"], &["--label", "3, 5, 8"]);
    write_bars(&folder.join("other"), 12, 6, &[3, 4]);
    refused_in(folder, &["eval", "run", "--data", "other"], &["label 4", "3, 5, 8"]);
    write_images(&folder.join("plain.npy"), [20, 8, 8, 1]);
    refused_in(
        folder,
        &["encode", "run", "--data", "plain.npy", "--out", "p.npy"],
        &["conditional", "these images have none"],
    );
    succeed_in(folder, &["encode", "run", "--data", "plain.npy", "--out", "p.npy", "--label", "3"]);
}

#[test]
fn a_conditional_run_resumes_to_the_same_bits() {
    let folder = work_folder();
    let folder = folder.path();
    train_bars(folder, &["--epochs", "2"]);
    let options = ["train", "--config", "run/config.toml"];
    succeed_in(folder, &[&options[..], &["--max-steps", "7", "--out", "again"]].concat());
    succeed_in(folder, &["train", "--resume", "again", "--threads", "1"]);
    assert_same(&folder.join("again"), &folder.join("run"), "resumed");
}

#[test]
fn what_cannot_be_conditional_is_refused() {
    let folder = work_folder();
    let folder = folder.path();
    write_images(&folder.join("plain.npy"), [20, 8, 8, 1]);
    let train =
        |data: &'static str| ["train", "--data", data, "--conditional", "--preset", "mlp", "--out", "run"];
    refused_in(folder, &train("plain.npy"), &["no labels", "--conditional"]);
    write_bars(&folder.join("one"), 20, 4, &[3]);
    refused_in(folder, &train("one"), &["label 3", "at least two"]);
    write_bars(&folder.join("two"), 20, 4, &[0, 1]);
    refused_in(folder, &[&train("two")[..], &["--tie-weights"]].concat(), &["use either"]);
    refused_in(
        folder,
        &[&train("two")[..], &["--valid", "19"]].concat(),
        &["held out for validation", "smaller --valid"],
    );
    assert!(!folder.join("run").exists());
    succeed_in(
        folder,
        &["train", "--data", "two", "--preset", "mlp", "--hidden", "8", "--epochs", "1", "--out", "plain"],
    );
    refused_in(folder, &["sample", "plain", "--label", "1"], &["conditional", "without labels"]);
}

#[test]
fn images_are_classified_in_three_ways() {
    let folder = work_folder();
    let folder = folder.path();
    train_bars(folder, &["--epochs", "25"]);
    let plain =
        ["train", "--data", "data", "--preset", "mlp", "--hidden", "32", "--latent", "4", "--epochs", "25"];
    let rest = ["--batch", "20", "--lr", "0.005", "--out", "plain"];
    succeed_in(folder, &[&plain[..], &rest].concat());
    for (run, more) in [
        ("run", &[][..]),
        ("run", &["--importance", "3", "--data", "data"]),
        ("plain", &[]),
        ("plain", &["--method", "probe"]),
    ] {
        let found = json_in(folder, &[&["classify", run, "--json"], more].concat());
        assert_eq!(found["images"], 60);
        let least = if run == "run" { 0.95 } else { 0.6 };
        assert!(found["accuracy"].as_f64().unwrap() >= least, "{run} {more:?}: {found}");
        let confusion = found["confusion"].as_array().unwrap();
        let sum: u64 =
            confusion.iter().flat_map(|row| row.as_array().unwrap()).map(|n| n.as_u64().unwrap()).sum();
        assert_eq!(sum, 60);
    }
    let printed = succeed_in(folder, &["classify", "run", "--out", "c.csv", "--confusion", "c.png"]);
    assert!(printed.contains("60 images") && printed.contains("accuracy"), "{printed}");
    let table = std::fs::read_to_string(folder.join("c.csv")).unwrap();
    assert_eq!((table.lines().next(), table.lines().count()), (Some("file,class,probability"), 61));
    assert!(std::fs::read(folder.join("c.png")).unwrap().starts_with(b"\x89PNG"));

    // Other images, without labels: their classes are not known, and a model without labels learns from its
    // own images.
    write_images(&folder.join("plain.npy"), [20, 8, 8, 1]);
    for run in ["run", "plain"] {
        let found = json_in(folder, &["classify", run, "--json", "--data", "plain.npy"]);
        assert_eq!((&found["images"], found["accuracy"].is_null()), (&Value::from(20), true));
    }
    refused_in(
        folder,
        &["classify", "plain", "--method", "bayes"],
        &["a model trained with labels", "knn and probe"],
    );
    refused_in(folder, &["classify", "run", "--method", "knn"], &["conditional", "use bayes"]);
    refused_in(folder, &["classify", "plain", "--importance", "2"], &["--importance is for --method bayes"]);
    write_bars(&folder.join("other"), 12, 6, &[3, 4]);
    refused_in(folder, &["classify", "run", "--data", "other"], &["label 4", "3, 5, 8"]);
    let file = ["classify", "plain/model.safetensors", "--data", "plain.npy"];
    std::fs::create_dir(folder.join("alone")).unwrap();
    std::fs::copy(folder.join("plain/model.safetensors"), folder.join("alone/m.safetensors")).unwrap();
    refused_in(folder, &[file[0], "alone/m.safetensors", "--data", "plain.npy"], &["name the run folder"]);
}

/// The area under the ROC curve that a command reports.
#[track_caller]
fn auroc_in(folder: &Path, arguments: &[&str]) -> f64 {
    json_in(folder, &[&["detect", "plain", "--json"], arguments].concat())["auroc"].as_f64().unwrap()
}

#[test]
fn anomalous_images_are_detected_and_located() {
    let folder = work_folder();
    let folder = folder.path();
    write_bars(&folder.join("data"), 400, 60, &[3, 5, 8]);
    let plain =
        ["train", "--data", "data", "--preset", "mlp", "--hidden", "32", "--latent", "6", "--epochs", "30"];
    let rest = ["--batch", "20", "--lr", "0.005", "--valid", "80", "--out", "plain"];
    succeed_in(folder, &[&plain[..], &rest].concat());
    // Test images with a bright block of 2×2 in the last quarter, where no bar of the three classes lies.
    let (mut bytes, mut numbers) = (Vec::new(), support::Numbers(5));
    for image in 0..30 {
        let (upright, class) = (numbers.below(2) == 0, image % 3);
        for at in 0..64 {
            let (along, across) = if upright { (at / 8, at % 8) } else { (at % 8, at / 8) };
            let defect = at / 8 >= 6 && at % 8 >= 6;
            let noise = numbers.below(60) as u8;
            bytes.push(if defect || (across / 2 == class && along > 0) { 255 - noise } else { noise });
        }
    }
    support::write_npy(&folder.join("defects.npy"), "|u1", &[30, 8, 8, 1], &bytes);
    write_images(&folder.join("blobs.npy"), [40, 8, 8, 1]);

    let both = ["--normal", "data", "--anomalous", "blobs.npy"];
    let likelihood = auroc_in(folder, &both);
    let tighter = auroc_in(folder, &[&both[..], &["--importance", "3"]].concat());
    let corrected = auroc_in(folder, &[&both[..], &["--by", "complexity"]].concat());
    // Blobs without noise are simpler than bars with noise, and the likelihood takes them for normal.
    assert!(corrected > likelihood && corrected > 0.9, "{likelihood} {tighter} {corrected}");
    assert!((tighter - likelihood).abs() < 0.2, "{likelihood} {tighter} {corrected}");
    // Compared with bars as bright and as detailed, blobs cost more.
    let excess = auroc_in(folder, &[&both[..], &["--by", "excess"]].concat());
    assert!(excess > likelihood, "{excess} {likelihood}");
    let defects = ["--normal", "data", "--anomalous", "defects.npy", "--by", "heat"];
    assert!(auroc_in(folder, &defects) > 0.9);
    let found = json_in(folder, &[&["detect", "plain", "--json", "--rate", "0.05"], &defects[..]].concat());
    assert_eq!((&found["images"], &found["reference_images"]), (&Value::from(90), &Value::from(80)));
    assert!(found["false_alarm_rate"].as_f64().unwrap() <= 0.05 && found["hits"].as_f64().unwrap() > 0.5);
    let located = found["found"].as_array().unwrap().iter().filter(|image| {
        let hot: Vec<u64> =
            image["boxes"][0].as_array().into_iter().flatten().map(|n| n.as_u64().unwrap()).collect();
        image["set"] == "anomalous" && hot.len() == 4 && hot[0] + hot[2] >= 7 && hot[1] + hot[3] >= 7
    });
    assert!(located.count() > 15, "{found}");

    let files = ["--out", "d.csv", "--sheet", "d.png", "--roc", "roc.png"];
    let printed = succeed_in(folder, &[&["detect", "plain"], &defects[..], &files].concat());
    assert!(printed.contains("AUROC") && printed.contains("80 validation images"), "{printed}");
    let table = std::fs::read_to_string(folder.join("d.csv")).unwrap();
    assert_eq!(
        (table.lines().next(), table.lines().count()),
        (Some("index,file,set,score,anomalous,boxes"), 91)
    );
    for name in ["d.png", "roc.png"] {
        assert!(std::fs::read(folder.join(name)).unwrap().starts_with(b"\x89PNG"), "{name}");
    }
    // Labels say what is normal, or nothing does.
    assert!((0.0..=1.0).contains(&auroc_in(folder, &["--normal-label", "3,5"])));
    let found = json_in(folder, &["detect", "plain", "--json"]);
    assert!(found["auroc"].is_null() && found["images"] == 60);

    write_images(&folder.join("one.npy"), [1, 8, 8, 1]);
    refused_in(
        folder,
        &["detect", "plain", "--normal", "one.npy", "--anomalous", "blobs.npy"],
        &["single normal image"],
    );
    refused_in(folder, &["detect", "plain", "--normal-label", "4"], &["label 4", "3, 5, 8"]);
    refused_in(folder, &["detect", "plain", "--data", "blobs.npy", "--normal-label", "3"], &["no labels"]);
    refused_in(folder, &["detect", "plain", "--rate", "1"], &["between 0 and 1"]);
}

#[test]
fn a_classifier_learns_from_few_labels() {
    let folder = work_folder();
    let folder = folder.path();
    write_bars(&folder.join("data"), 240, 60, &[3, 5, 8]);
    let train = |out: &str, more: &[&str]| {
        let fixed = ["train", "--data", "data", "--preset", "mlp", "--hidden", "32", "--latent", "4"];
        let rest = ["--batch", "20", "--lr", "0.005", "--out", out];
        succeed_in(folder, &[&fixed[..], &rest, more].concat())
    };
    let few = ["--labelled", "20", "--epochs", "25"];
    train("few", &few);
    train("plain", &["--epochs", "25"]);
    let found = json_in(folder, &["classify", "few", "--json"]);
    assert_eq!((&found["method"], &found["images"]), (&Value::from("learned"), &Value::from(60)));
    assert_eq!(found["classes"], serde_json::json!(["3", "5", "8"]));
    assert!(found["accuracy"].as_f64().unwrap() >= 0.6, "{found}");
    // Other images without labels, and the model file alone.
    write_images(&folder.join("plain.npy"), [20, 8, 8, 1]);
    let found = json_in(folder, &["classify", "few/model.safetensors", "--json", "--data", "plain.npy"]);
    assert_eq!((&found["images"], found["accuracy"].is_null()), (&Value::from(20), true));
    assert_eq!(json_in(folder, &["classify", "few", "--method", "knn", "--json"])["method"], "knn");
    // The model beside the classifier is the one that learns without it.
    let elbo = |run: &str| json_in(folder, &["eval", run, "--json"])["negative_elbo"].clone();
    assert_eq!(elbo("few"), elbo("plain"));
    let info = succeed_in(folder, &["info", "few"]);
    assert!(
        info.contains("m2.classifier.linear1")
            && info.contains("3, 5, 8: of a classifier trained with few labels"),
        "{info}"
    );
    succeed_in(folder, &["export", "few", "--out", "torch"]);
    refused_in(folder, &["classify", "plain", "--method", "learned"], &["few labels", "--labelled"]);
    refused_in(folder, &["sample", "few", "--label", "3"], &["conditional"]);

    // Ended and resumed, bit-identical; the labels also from a file, as a table or as a list.
    train("ended", &[&few[..], &["--max-steps", "100"]].concat());
    succeed_in(folder, &["train", "--resume", "ended", "--threads", "1"]);
    assert_same(&folder.join("ended"), &folder.join("few"), "resumed");
    let table: String = (0..30).map(|image| format!("{image},{}\n", ["cat", "dog"][image % 2])).collect();
    std::fs::write(folder.join("table.csv"), format!("file,label\n{table}")).unwrap();
    let list: String =
        (0..240).map(|image| if image < 30 { ["cat\n", "dog\n"][image % 2] } else { "\n" }).collect();
    std::fs::write(folder.join("list.txt"), list).unwrap();
    train("table", &["--labels", "table.csv", "--epochs", "1"]);
    train("list", &["--labels", "list.txt", "--epochs", "1"]);
    let model = |run: &str| std::fs::read(folder.join(run).join("model.safetensors")).unwrap();
    assert!(model("table") == model("list"), "a table and a list give the same model");
    std::fs::write(folder.join("table.csv"), table.replace("0,cat\n", "0,dog\n")).unwrap();
    refused_in(folder, &["train", "--resume", "table", "--epochs", "2"], &["few labels", "the same ones"]);
}

#[test]
fn few_labels_that_do_not_fit_are_refused() {
    let folder = work_folder();
    let folder = folder.path();
    write_bars(&folder.join("data"), 20, 4, &[0, 1]);
    write_images(&folder.join("plain.npy"), [20, 8, 8, 1]);
    let train = ["train", "--preset", "mlp", "--out", "run", "--data"];
    for (more, words) in [
        (&["plain.npy", "--labelled", "2"][..], &["no labels", "--labelled"][..]),
        (&["data", "--labelled", "11"], &["the class 0 has 10 images", "--labelled 11"]),
        (&["data", "--labelled", "0"], &["at least 1"]),
        (&["data", "--labelled", "2", "--conditional"], &["use either"]),
        (&["data", "--labelled", "2", "--schedule", "alternating"], &["--schedule joint"]),
        (&["data", "--labels", "none.csv"], &["none.csv"]),
    ] {
        refused_in(folder, &[&train[..], more].concat(), words);
    }
    for (text, words) in [
        ("a\nb\n", &["has 2 lines", "20 images"][..]),
        ("0,a\n20,b\n", &["line 2", "no image is called 20", "0 to 19"]),
        ("0,a\n1,b\n0,a\n", &["line 3", "on line 1 already"]),
        ("0,a\n1,a\n", &["the label a only", "two labels"]),
    ] {
        std::fs::write(folder.join("labels.csv"), text).unwrap();
        refused_in(folder, &[&train[..], &["data", "--labels", "labels.csv"]].concat(), words);
    }
    assert!(!folder.join("run").exists());
}
