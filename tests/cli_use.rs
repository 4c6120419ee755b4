//! The built program used as a person would: every command on a model of each preset, on grey and on RGB
//! images, without RUN; and its messages for invalid input.

use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

type Size = (usize, usize, usize);

/// Runs the program in a folder.
fn elbo(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_elbo"))
        .current_dir(folder)
        .args(arguments)
        .env("RAYON_NUM_THREADS", "2")
        .output()
        .expect("the program starts")
}

/// Standard output of a command that must succeed.
fn works(folder: &Path, arguments: &[&str]) -> String {
    let output = elbo(folder, arguments);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "elbo {}: {err}{out}", arguments.join(" "));
    out.into_owned()
}

/// Standard error of a command that must end with 1, in one sentence, with nothing new in the folder.
fn refused(folder: &Path, arguments: &[&str], expected: &str) {
    let before = listing(folder);
    let output = elbo(folder, arguments);
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    let command = arguments.join(" ");
    assert_eq!(output.status.code(), Some(1), "elbo {command}: {err}");
    assert!(err.starts_with("error: ") && err.trim_end().lines().count() == 1, "elbo {command}: {err}");
    assert!(err.contains(expected), "elbo {command}: {err}");
    assert_eq!(listing(folder), before, "elbo {command} left something behind");
}

fn listing(folder: &Path) -> Vec<std::ffi::OsString> {
    let mut names: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names
}

/// A folder of PNG files in two classes: bright ones with a square on the left, dark ones with one on the
/// right.
fn make_images(folder: &Path, (height, width, channels): Size, each: usize) {
    for (class, name) in ["left", "right"].into_iter().enumerate() {
        std::fs::create_dir_all(folder.join(name)).unwrap();
        for index in 0..each {
            let mut bytes = vec![0; height * width * channels];
            for (at, byte) in bytes.iter_mut().enumerate() {
                let (y, x, c) = (at / channels / width, at / channels % width, at % channels);
                let inside = (2..6).contains(&y) && (1 + class * 3..5 + class * 3).contains(&x);
                *byte = if inside { 250 - 30 * c as u8 } else { (index * 7 + at) as u8 % 60 };
            }
            write_png(&folder.join(name).join(format!("{index:02}.png")), &bytes, (height, width, channels));
        }
    }
}

fn write_png(path: &Path, bytes: &[u8], (height, width, channels): Size) {
    elbo::data::write_png(std::fs::File::create(path).unwrap(), bytes, height, width, channels).unwrap();
}

/// The size of a PNG: rows and columns.
fn png_size(path: &Path) -> (u32, u32) {
    let bytes = std::fs::read(path).unwrap();
    assert!(bytes.starts_with(b"\x89PNG"), "{}", path.display());
    let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    (number(20), number(16))
}

/// The shape in the header of a .npy file, and its bytes after it.
fn npy(path: &Path) -> (String, Vec<u8>) {
    let bytes = std::fs::read(path).unwrap();
    let length = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = String::from_utf8_lossy(&bytes[10..10 + length]).into_owned();
    assert!(header.contains("'<f4'"), "{header}");
    let shape = header.split_once("'shape': (").unwrap().1.split_once(')').unwrap().0;
    (shape.replace(' ', "").trim_end_matches(',').to_owned(), bytes[10 + length..].to_vec())
}

/// A folder with `images` and a run of this preset in runs/, trained for three steps.
fn trained(preset: &str, size: Size, more: &[&str]) -> TempDir {
    let folder = TempDir::new().unwrap();
    make_images(&folder.path().join("images"), size, 12);
    let mut arguments =
        vec!["train", "--data", "images", "--preset", preset, "--max-steps", "3", "--batch", "8"];
    arguments.extend_from_slice(more);
    works(folder.path(), &arguments);
    folder
}

/// Every command without RUN.
fn every_command_works(preset: &str, size: Size, latent: usize, more: &[&str]) {
    let (height, width, channels) = size;
    let latent_text = latent.to_string();
    let mut options = vec!["--latent", &latent_text];
    options.extend_from_slice(more);
    let folder = trained(preset, size, &options);
    let at = folder.path();
    let file = |name: &str| at.join(name);
    let cell = |side: usize| (side * 48usize.div_ceil(height.min(width)) + 2) as u32;
    let sheet = |rows: u32, columns: u32| (rows * cell(height) + 2, columns * cell(width) + 2);

    works(at, &["reconstruct"]);
    // Two of 24 images are held out, and shown as one row of pairs.
    assert_eq!(png_size(&file("reconstruct.png")), sheet(1, 4));
    works(at, &["reconstruct", "--data", "images", "--noise", "0.2", "--count", "5", "--out", "noise.png"]);
    assert_eq!(png_size(&file("noise.png")), sheet(2, 9));

    works(at, &["encode", "--data", "images", "--out", "codes.npy", "--log-variance", "s.npy"]);
    works(at, &["encode", "--data", "images", "--out", "again.npy"]);
    assert_eq!(npy(&file("codes.npy")).0, format!("24,{latent}"));
    assert_eq!(npy(&file("s.npy")).0, format!("24,{latent}"));
    assert_eq!(npy(&file("codes.npy")), npy(&file("again.npy")));
    works(at, &["decode", "codes.npy", "--out", "decoded.npy"]);
    works(at, &["reconstruct", "--data", "images", "--out", "reconstructed.npy"]);
    assert_eq!(npy(&file("decoded.npy")), npy(&file("reconstructed.npy")), "encode, decode is reconstruct");
    assert_eq!(npy(&file("decoded.npy")).0, format!("24,{height},{width},{channels}"));
    works(at, &["decode", "codes.npy"]);
    assert_eq!(png_size(&file("decode.png")), sheet(3, 8));
    works(at, &["decode", "codes.npy", "--out", "decoded"]);
    assert_eq!(listing(&file("decoded")).len(), 24);
    assert_eq!(png_size(&file("decoded/00023.png")), (height as u32, width as u32));

    works(
        at,
        &["interpolate", "--data", "images", "--images", "0,13,5", "--path", "spherical", "--steps", "4"],
    );
    assert_eq!(png_size(&file("interpolate.png")), sheet(2, 6));
    works(at, &["interpolate", "--files", "images/left/00.png", "images/right/01.png", "--out", "two.npy"]);
    assert_eq!(npy(&file("two.npy")).0, format!("10,{height},{width},{channels}"));

    let text = works(at, &["traverse", "--steps", "5", "--image", "1"]);
    assert_eq!(text.lines().count(), 2 + latent + 1, "{text}");
    assert_eq!(png_size(&file("traverse.png")), sheet(latent as u32, 5));

    works(at, &["manifold", "--axes", "1,0", "--side", "3", "--out", "grid.png"]);
    assert_eq!(png_size(&file("grid.png")), sheet(3, 3));
    works(at, &["manifold", "--data", "images", "--out", "map.svg"]);
    let svg = std::fs::read_to_string(file("map.svg")).unwrap();
    assert!(svg.contains("left (12)") && svg.contains("right (12)") && !svg.contains("NaN"), "{svg}");
    assert!(
        svg.replace("http://www.w3.org/2000/svg", "").find("http").is_none(),
        "refers to something outside"
    );
    works(at, &["manifold"]);
    assert!(file(if latent == 2 { "manifold.png" } else { "manifold.svg" }).is_file());

    let labels = ["--data", "images", "--from-label", "left", "--to-label", "right", "--strength", "-1,0,1"];
    works(at, &[&["edit"], &labels[..]].concat());
    assert_eq!(png_size(&file("edit.png")), sheet(8, 4));
    let folders =
        ["--without", "images/left", "--with", "images/right", "--images", "0", "--out", "edited.npy"];
    works(at, &[&["edit", "--data", "images"], &folders[..]].concat());
    assert_eq!(npy(&file("edited.npy")).0, format!("5,{height},{width},{channels}"));

    works(at, &["inpaint", "--half", "left", "--steps", "3"]);
    assert_eq!(png_size(&file("inpaint.png")), sheet(2, 5));
    works(at, &["inpaint", "--box", "1,1,3,2", "--mean", "--out", "box.png"]);
    let mut mask = vec![0; height * width];
    mask[..width].fill(255);
    write_png(&file("mask.png"), &mask, (height, width, 1));
    works(at, &["inpaint", "--mask", "mask.png", "--images", "1", "--out", "masked"]);
    assert_eq!(listing(&file("masked")), ["00000.png"]);

    let text = works(at, &["info"]);
    assert!(text.contains(preset) && text.contains("progress epoch 1 of 10, step 3"), "{text}");
    let facts: serde_json::Value = serde_json::from_str(&works(at, &["info", "--json"])).unwrap();
    assert_eq!((&facts["kind"], &facts["latent"]), (&"run".into(), &latent.into()));
    let layers = facts["layers"].as_array().unwrap();
    let sum: u64 = layers.iter().map(|layer| layer["parameters"].as_u64().unwrap()).sum();
    assert_eq!(facts["parameters"].as_u64(), Some(sum), "the layers' parameters are all");

    works(at, &["export"]);
    assert_eq!(listing(&file("export")), ["check.safetensors", "model.py", "model.safetensors"]);
    let run = std::fs::read_dir(file("runs")).unwrap().next().unwrap().unwrap().path();
    let own = std::fs::read(run.join("model.safetensors")).unwrap();
    assert_eq!(std::fs::read(file("export/model.safetensors")).unwrap(), own);
    // A model file alone is enough.
    works(at, &["decode", "export/model.safetensors", "codes.npy", "--out", "third.npy"]);
    assert_eq!(npy(&file("third.npy")), npy(&file("decoded.npy")));
}

#[test]
fn conv_on_grey() {
    every_command_works("conv", (8, 9, 1), 2, &["--channels", "4,8", "--hidden", "16"]);
}

#[test]
fn conv_tied_on_rgb() {
    every_command_works("conv", (11, 9, 3), 3, &["--channels", "4", "--hidden", "16,12", "--tie-weights"]);
}

#[test]
fn mlp_on_grey() {
    every_command_works("mlp", (9, 10, 1), 3, &["--hidden", "16", "--likelihood", "gaussian"]);
}

#[test]
fn mlp_on_rgb() {
    every_command_works("mlp", (8, 8, 3), 2, &["--hidden", "16", "--likelihood", "optimal-gaussian"]);
}

#[test]
fn article_on_grey() {
    every_command_works("article", (9, 8, 1), 2, &[]);
}

#[test]
fn article_on_rgb() {
    every_command_works("article", (8, 8, 3), 3, &["--likelihood", "laplace"]);
}

#[test]
fn data_are_described() {
    let folder = TempDir::new().unwrap();
    let at = folder.path();
    make_images(&at.join("images"), (8, 10, 3), 3);
    let text = works(at, &["info", "images", "--sheet", "sheet.png"]);
    assert!(text.contains("6 images of 8×10, RGB") && text.contains("left (3), right (3)"), "{text}");
    assert_eq!(png_size(&at.join("sheet.png")), (52, 6 * 62 + 2));
    let facts: serde_json::Value = serde_json::from_str(&works(at, &["info", "images", "--json"])).unwrap();
    assert_eq!(
        (&facts["kind"], &facts["images"], &facts["channels"]),
        (&"data".into(), &6.into(), &3.into())
    );
    assert_eq!(facts["largest"], 250.0);
    refused(at, &["info", "images", "--sheet", "sheet.png"], "already exists");
    let values: Vec<f32> = (0..2 * 64).map(|v| v as f32 / 64.0 - 1.0).collect();
    elbo::data::write_npy_f32(std::fs::File::create(at.join("x.npy")).unwrap(), &[2, 8, 8], &values).unwrap();
    let text = works(at, &["info", "x.npy"]);
    assert!(text.contains("floats from -1 to 1") && text.contains("no labels"), "{text}");
}

#[test]
fn a_contact_sheet_shows_classes_that_take_turns() {
    let folder = TempDir::new().unwrap();
    let at = folder.path();
    let bytes: Vec<u8> = (0..200).flat_map(|image| [if image % 2 == 0 { 0 } else { 200 }; 64]).collect();
    elbo::data::write_npy_u8(std::fs::File::create(at.join("x.npy")).unwrap(), &[200, 8, 8], &bytes).unwrap();
    works(at, &["info", "x.npy", "--sheet", "sheet.png"]);
    let sheet =
        elbo::data::load(at, &elbo::data::LoadOptions::default(), &|_, _| ()).unwrap().train.to_bytes(0);
    let white = sheet.iter().filter(|&&byte| byte == 200).count();
    assert!(white > sheet.len() / 3, "{white} of {}", sheet.len());
}

#[test]
fn what_info_calls_best_is_the_saved_model() {
    let folder = TempDir::new().unwrap();
    let at = folder.path();
    make_images(&at.join("images"), (8, 8, 1), 12);
    // Two whole epochs of three steps, and a step of the third.
    let options = ["--preset", "mlp", "--hidden", "8", "--latent", "2", "--batch", "8", "--max-steps", "7"];
    let text = works(at, &[&["train", "--data", "images"], &options[..]].concat());
    let best = text.lines().find(|line| line.starts_with("best on the validation images")).unwrap();
    assert!(best.contains("epoch 2, loss ") && best.ends_with("(only whole epochs compete)"), "{text}");
    let loss = best.split_once("loss ").unwrap().1.split_once(' ').unwrap().0;
    let info = works(at, &["info"]);
    assert!(info.contains(&format!("best     epoch 2, held-out loss {loss}")), "{best}\n{info}");
    assert!(text.lines().filter(|line| line.starts_with("warning: only")).count() <= 1, "{text}");
    // The table of epochs fits on a terminal of 80 columns.
    let table: Vec<_> =
        text.lines().filter(|line| line.starts_with("epoch ") || line.starts_with("    ")).collect();
    assert!(table.len() == 4 && table.iter().all(|line| line.chars().count() <= 80), "{text}");
}

#[test]
fn what_cannot_be_is_refused_in_a_sentence() {
    let folder = trained("mlp", (8, 8, 1), &["--hidden", "8", "--latent", "3"]);
    let at = folder.path();
    make_images(&at.join("rgb"), (8, 8, 3), 2);
    make_images(&at.join("large"), (12, 8, 1), 2);
    std::fs::create_dir(at.join("empty")).unwrap();
    std::fs::create_dir(at.join("text")).unwrap();
    std::fs::write(at.join("text/a.png"), "no picture").unwrap();
    std::fs::write(at.join("notes.txt"), "no images").unwrap();
    make_images(&at.join("one"), (8, 8, 1), 2);
    std::fs::remove_dir_all(at.join("one/right")).unwrap();
    let numbers = |name: &str, shape: &[usize]| {
        let values = vec![0.5; shape.iter().product()];
        elbo::data::write_npy_f32(std::fs::File::create(at.join(name)).unwrap(), shape, &values).unwrap();
    };
    numbers("wide.npy", &[2, 4]);
    numbers("flat.npy", &[6]);
    numbers("unlabelled.npy", &[4, 8, 8]);
    write_png(&at.join("mask.png"), &[255; 30], (5, 6, 1));
    write_png(&at.join("white.png"), &[255; 64], (8, 8, 1));
    write_png(&at.join("black.png"), &[0; 64], (8, 8, 1));

    // Every command that takes images.
    let commands: [&[&str]; 7] = [
        &["reconstruct"],
        &["encode"],
        &["interpolate"],
        &["traverse"],
        &["manifold"],
        &["edit", "--from-label", "left", "--to-label", "right"],
        &["inpaint", "--half", "top"],
    ];
    let mut bad = vec![
        ("rgb", "8×8×3"),
        ("large", "12×8×1"),
        ("empty", "empty"),
        ("text", "a.png"),
        ("notes.txt", "notes.txt"),
        ("missing", "missing"),
    ];
    for command in commands {
        for (data, expected) in &bad {
            refused(at, &[command, &["--data", data]].concat(), expected);
        }
        bad.truncate(2); // the rest is read by the same function
    }
    refused(at, &["info", "text"], "a.png");
    refused(at, &["info", "empty"], "empty");

    refused(at, &["decode", "wide.npy"], "codes of 4 numbers, and the model's codes have 3");
    refused(at, &["decode", "flat.npy"], "flat.npy");
    refused(at, &["decode", "notes.txt"], "notes.txt");
    refused(at, &["decode", "missing.npy"], "missing.npy");
    refused(at, &["decode", "wide.npy", "--out", "x.jpg"], ".jpg");
    refused(at, &["reconstruct", "notes.txt"], "notes.txt");
    refused(at, &["reconstruct", "empty"], "model.safetensors");
    refused(at, &["reconstruct", "--out", "mask.png"], "already exists");
    refused(at, &["reconstruct", "--count", "0"], "at least 1");
    refused(at, &["reconstruct", "--noise", "-1"], "--noise -1");
    refused(at, &["export", "--out", "one"], "already exists");
    // Wrong extensions, and one file for two outputs.
    refused(at, &["encode", "--out", "codes.png"], "as .npy, not as .png");
    refused(at, &["encode", "--log-variance", "s.txt"], "as .npy, not as .txt");
    refused(at, &["encode", "--out", "x.npy", "--log-variance", "x.npy"], "the same file");
    refused(at, &["score", "--out", "table.png"], "as .csv, not as .png");
    refused(at, &["score", "--sheet", "sheet.jpg"], "as .png, not as .jpg");
    refused(at, &["info", "images", "--sheet", "sheet.txt"], "as .png, not as .txt");
    refused(at, &["decode", "wide.npy", "--columns", "0"], "--columns 0");
    refused(at, &["sample", "--out", "nowhere/x.png"], "cannot create nowhere/x.png:");
    refused(at, &["sample", "--count", "1000000000000"], "PiB of memory, more than the 8.0 GiB");
    let run = std::fs::read_dir(at.join("runs")).unwrap().next().unwrap().unwrap().path();
    refused(at, &["sample", run.join("checkpoint.safetensors").to_str().unwrap()], "model.safetensors");

    let edit = ["edit", "--from-label", "left", "--to-label"];
    refused(at, &[&edit[..], &["left"]].concat(), "the same");
    refused(at, &[&edit[..], &["up", "--data", "images"]].concat(), "there are left, right");
    refused(at, &[&edit[..], &["right", "--data", "unlabelled.npy"]].concat(), "no labels");
    refused(at, &[&edit[..], &["right", "--data", "one"]].concat(), "two classes");
    refused(at, &["edit"], "--from-label");
    refused(at, &["edit", "--without", "images/left", "--with", "empty"], "empty");
    refused(at, &["edit", "--without", "images/left", "--with", "rgb"], "8×8×3");

    refused(at, &["interpolate", "--images", "0"], "two images");
    refused(at, &["interpolate", "--images", "0,99"], "no image 99");
    refused(at, &["interpolate", "--steps", "1"], "at least 2");
    refused(at, &["interpolate", "--files", "images/left/00.png", "rgb/left/00.png"], "8×8×3");
    refused(at, &["traverse", "--reach", "0"], "positive");
    refused(at, &["traverse", "--image", "2"], "no image 2");
    refused(at, &["manifold", "--out", "grid.png"], "--axes");
    refused(at, &["manifold", "--axes", "0,3"], "0 to 2");
    refused(at, &["inpaint", "--mask", "mask.png"], "5×6");
    refused(at, &["inpaint", "--mask", "white.png"], "whole picture");
    refused(at, &["inpaint", "--mask", "black.png"], "nothing to fill in");
    refused(at, &["inpaint", "--box", "4,4,5,5"], "does not lie inside");
    refused(at, &["inpaint", "--half", "left", "--steps", "0"], "at least 1");
    // A malformed command line has another exit code than an impossible request.
    for arguments in [&["inpaint"][..], &["inpaint", "--box", "1,2"], &["decode"], &["edit", "--with", "x"]] {
        assert_eq!(elbo(at, arguments).status.code(), Some(2), "{arguments:?}");
    }
    let nowhere = TempDir::new().unwrap();
    refused(nowhere.path(), &["info"], "no run");
    refused(nowhere.path(), &["reconstruct"], "no run");
}
