//! `elbo explore` and `elbo compare` on the built program. The page's computations are checked in a browser:
//! tests/browser. tests/browser.

mod support;

use std::path::Path;

use serde_json::{Value, json};
use support::{refused_in, succeed_in, work_folder, write_images};

/// A small run of 50 images.
fn train(folder: &Path, data: &str, preset: &str, out: &str, more: &[&str]) {
    let fixed =
        ["train", "--data", data, "--preset", preset, "--out", out, "--hidden", "16", "--latent", "3"];
    let rest = ["--batch", "10", "--valid", "10", "--epochs", "2", "--threads", "1"];
    succeed_in(folder, &[&fixed[..], &rest, more].concat());
}

/// The JSON inside a page.
fn data_of(page: &str) -> Value {
    let from = page.find("id=\"data\">").expect("the page has data") + "id=\"data\">".len();
    serde_json::from_str(page[from..].split("</script>").next().unwrap()).unwrap()
}

#[test]
fn a_page_has_the_model_and_the_images_that_were_held_out() {
    let temporary = work_folder();
    let folder = temporary.path();
    write_images(&folder.join("a.npy"), [50, 10, 9, 1]);
    train(folder, "a.npy", "mlp", "run", &[]);
    let report = std::fs::read_to_string(folder.join("run/report.html")).unwrap();
    assert!(report.contains("<code>elbo explore run</code>") && report.contains("What each layer costs"));

    let printed = succeed_in(folder, &["explore", "run"]);
    assert!(printed.contains("10 validation images; weights: half precision"), "{printed}");
    let page = std::fs::read_to_string(folder.join("run/explore.html")).unwrap();
    let data = data_of(&page);
    assert_eq!((&data["images"]["count"], &data["images"]["measured_on"]), (&json!(10), &json!(10)));
    assert_eq!(data["network"]["decoder"].as_array().unwrap().len(), 2);
    assert_eq!(data["can_draw"], true);
    assert!(page.contains("href=\"report.html\"") && !page.contains("http:") && !page.contains("https:"));
    // Fewer images on the map, the same ones measured.
    succeed_in(folder, &["explore", "run", "--count", "4", "--out", "few.html"]);
    let data = data_of(&std::fs::read_to_string(folder.join("few.html")).unwrap());
    assert_eq!((&data["images"]["count"], &data["images"]["measured_on"]), (&json!(4), &json!(10)));
    // The report leads there, and so does the one that is written next.
    let report = || std::fs::read_to_string(folder.join("run/report.html")).unwrap();
    assert!(report().contains("href=\"explore.html\""));
    succeed_in(folder, &["train", "--resume", "run", "--epochs", "3"]);
    assert!(report().contains("href=\"explore.html\""));

    refused_in(folder, &["explore", "run"], &["explore.html", "exists"]);
    refused_in(folder, &["explore", "run", "--out", "x.png"], &["x.png", ".html"]);
    refused_in(folder, &["explore", "run", "--out", "x.html", "--count", "0"], &["--count 0"]);
    std::fs::copy(folder.join("run/model.safetensors"), folder.join("alone.safetensors")).unwrap();
    refused_in(folder, &["explore", "alone.safetensors", "--out", "x.html"], &["--data"]);
    train(folder, "a.npy", "mlp", "context", &["--likelihood", "beta-binomial", "--context", "4"]);
    refused_in(folder, &["explore", "context", "--out", "x.html"], &["--context", "models without"]);
    succeed_in(folder, &["explore", "alone.safetensors", "--data", "a.npy"]);
    assert!(folder.join("explore.html").is_file() && !folder.join("x.html").exists());
}

#[test]
fn runs_are_compared_where_they_can_be() {
    let temporary = work_folder();
    let folder = temporary.path();
    write_images(&folder.join("a.npy"), [50, 10, 9, 1]);
    write_images(&folder.join("b.npy"), [40, 10, 9, 1]);
    train(folder, "a.npy", "mlp", "one", &[]);
    train(folder, "a.npy", "conv", "two", &["--channels", "4,6"]);
    train(folder, "a.npy", "mlp", "three", &["--lr", "0.01", "--seed", "1"]);
    train(folder, "b.npy", "mlp", "other", &[]);

    let printed = succeed_in(folder, &["compare", "one", "two", "three"]);
    for part in ["A one", "B two", "C three", "options that differ", "preset", "0.01", "wrote compare.html"] {
        assert!(printed.contains(part), "{printed} does not say {part}");
    }
    assert!(printed.contains("note: three held out other images"), "{printed}");
    let page = std::fs::read_to_string(folder.join("compare.html")).unwrap();
    assert_eq!((page.matches("<svg").count(), page.matches("<img").count()), (3, 6));
    assert!(!page.contains("http") && page.contains("class=\"run2\""));

    let both: Value =
        serde_json::from_str(&succeed_in(folder, &["compare", "one", "two", "--json"])).unwrap();
    assert_eq!((&both["same_data"], &both["notes"]), (&json!(true), &json!([])));
    assert_eq!(both["options"]["preset"], json!(["mlp", "conv"]));
    assert_eq!(both["options"].get("seed"), None);
    assert_eq!(both["runs"][1]["judged_on"], "validation");
    assert!(both["runs"][0]["negative_elbo"].as_f64().unwrap() > 0.0);

    // Runs of different images get a note, and tables of their own.
    let printed = succeed_in(folder, &["compare", "one", "other", "--out", "apart.html"]);
    assert!(
        printed.contains("trained on different images (A from ") && printed.contains("; B from "),
        "{printed}"
    );
    let page = std::fs::read_to_string(folder.join("apart.html")).unwrap();
    assert_eq!(page.matches("<h2>Learning curves on").count(), 2);
    let apart: Value =
        serde_json::from_str(&succeed_in(folder, &["compare", "one", "other", "--json"])).unwrap();
    assert_eq!(apart["same_data"], false);

    // Images that are gone leave the rest.
    std::fs::remove_file(folder.join("b.npy")).unwrap();
    let printed = succeed_in(folder, &["compare", "one", "other", "--out", "gone.html"]);
    assert!(printed.contains("note: other has no reconstructions"), "{printed}");

    refused_in(folder, &["compare", "one", "two"], &["compare.html", "exists"]);
    refused_in(folder, &["compare", "one", "none", "--json"], &["none", "no such run"]);
    refused_in(folder, &["compare", "one", "two/model.safetensors", "--json"], &["run folder"]);
    refused_in(folder, &[&["compare", "--json"][..], &["one"; 9]].concat(), &["9 runs", "at most 8"]);
}
