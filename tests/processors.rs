//! Bit-identical results on every processor with fused multiply-add: the program trains here and on an
//! emulated processor without AVX-512.
//!
//! The emulator is `qemu-x86_64` (Debian's package qemu-user). Without it the test says so and checks
//! nothing.

mod support;

use std::path::Path;
use std::process::Command;

use elbo::model::Preset;

const PROGRAM: &str = env!("CARGO_BIN_EXE_elbo");

/// Runs the program, here or on an emulated Haswell: AVX2 and FMA, no AVX-512.
fn elbo(folder: &Path, emulated: bool, arguments: &[&str]) {
    let mut command = if emulated {
        let mut command = Command::new("qemu-x86_64");
        command.args(["-cpu", "Haswell", PROGRAM]);
        command
    } else {
        Command::new(PROGRAM)
    };
    let output = command.args(arguments).current_dir(folder).output().expect("the program runs");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn has_emulator() -> bool {
    let found = cfg!(all(target_os = "linux", target_arch = "x86_64"))
        && Command::new("qemu-x86_64").arg("--version").output().is_ok_and(|output| output.status.success());
    if !found {
        println!(
            "skipped: there is no qemu-x86_64 (Debian: apt-get install qemu-user) for another processor"
        );
    }
    found
}

#[test]
fn six_steps_of_each_preset_have_the_same_bits_on_another_processor() {
    if !has_emulator() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let pixels: Vec<u8> =
        (0..24 * 16 * 16 * 3_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    support::write_npy(&folder.path().join("images.npy"), "|u1", &[24, 16, 16, 3], &pixels);
    for preset in Preset::ALL {
        let name = preset.to_string();
        let likelihood = if *preset == Preset::Residual { "discretized-logistic" } else { "bernoulli" };
        let train = |out: &str, emulated, steps: &str| {
            let arguments = ["train", "--data", "images.npy", "--preset", &name, "--likelihood", likelihood];
            let sizes = ["--valid", "4", "--batch", "4", "--latent", "4", "--max-steps", steps, "--out", out];
            elbo(folder.path(), emulated, &[&arguments[..], &sizes].concat());
        };
        let model = |run: &str| std::fs::read(folder.path().join(run).join("model.safetensors")).unwrap();
        train("here", false, "6");
        train("there", true, "6");
        assert!(model("here") == model("there"), "{name}: other bits on an emulated Haswell");

        // Three steps here, the others there.
        if *preset == Preset::Conv {
            train("begun", false, "3");
            elbo(folder.path(), true, &["train", "--resume", "begun", "--max-steps", "6"]);
            assert!(model("here") == model("begun"), "{name}: other bits if a Haswell resumes the run");
        }
        for run in ["here", "there"] {
            std::fs::remove_dir_all(folder.path().join(run)).unwrap();
        }
    }
}

/// A file that one processor writes is read on another: the tables of a coder are bit-identical on both.
#[test]
fn compressed_images_come_back_on_another_processor() {
    if !has_emulator() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let pixels: Vec<u8> =
        (0..12 * 9 * 8 * 3_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    support::write_npy(&folder.path().join("images.npy"), "|u1", &[12, 9, 8, 3], &pixels);
    for (likelihood, context) in
        [("beta-binomial", None), ("discretized-logistic", Some("8")), ("logistic-mixture", Some("8"))]
    {
        let train = [
            "train",
            "--data",
            "images.npy",
            "--preset",
            "mlp",
            "--hidden",
            "16",
            "--latent",
            "4",
            "--batch",
            "4",
        ];
        let last = ["--likelihood", likelihood, "--max-steps", "6", "--out", likelihood];
        let context = context.map(|hidden| format!("--context={hidden}"));
        let arguments: Vec<&str> = train.into_iter().chain(last).chain(context.as_deref()).collect();
        elbo(folder.path(), false, &arguments);
        let read = |name: String| std::fs::read(folder.path().join(name)).unwrap();
        for written_there in [false, true] {
            let (file, back) =
                (format!("{likelihood}-{written_there}.elbo"), format!("{likelihood}-{written_there}.npy"));
            elbo(
                folder.path(),
                written_there,
                &["compress", likelihood, "--data", "images.npy", "--out", &file],
            );
            elbo(
                folder.path(),
                !written_there,
                &["decompress", &file, "--model", likelihood, "--out", &back],
            );
            assert!(read(back) == read("images.npy".into()), "{likelihood}: other images");
        }
        assert!(
            read(format!("{likelihood}-false.elbo")) == read(format!("{likelihood}-true.elbo")),
            "{likelihood}: other bits on an emulated Haswell"
        );
    }
}
