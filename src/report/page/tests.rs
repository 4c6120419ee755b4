//! The page as text: every tag closed, nothing from outside, nothing that a user named taken for markup.

use super::*;

/// Asserts that tags nest and close, attributes are quoted, and text has no stray `<`, `>` or `&`.
fn assert_well_formed(page: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = page.strip_prefix("<!DOCTYPE html>").expect("a document type");
    while let Some(start) = rest.find('<') {
        assert_text(&rest[..start], open.last() == Some(&"style"));
        let end = start + rest[start..].find('>').expect("a tag has an end");
        let tag = &rest[start + 1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "</{name}> closes another tag; open are {open:?}");
            continue;
        }
        let closed = tag.ends_with('/');
        let tag = tag.trim_end_matches('/');
        let name = tag.split_whitespace().next().expect("a tag has a name");
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric()), "a tag <{name}>");
        let attributes = &tag[name.len()..];
        // name="value", as often as one likes: splitting at quotes gives ` name=`, value, ` name=`, value, ``.
        let parts: Vec<&str> = attributes.split('"').collect();
        assert!(parts.len() % 2 == 1 && parts[parts.len() - 1].trim().is_empty(), "<{tag}>");
        for pair in parts.chunks_exact(2) {
            let (key, value) = (pair[0].trim_start(), pair[1]);
            assert!(key.ends_with('=') && !key.trim_end_matches('=').contains([' ', '=']), "<{tag}>: {key}");
            assert_text(value, false);
        }
        if !closed {
            open.push(name);
        }
    }
    assert!(open.is_empty() && rest.trim().is_empty(), "{open:?} stay open");
}

fn assert_text(text: &str, is_style: bool) {
    assert!(!text.contains('>') || is_style, "a stray > in {text}");
    for (at, _) in text.match_indices('&') {
        let known = ["&amp;", "&lt;", "&gt;", "&quot;", "&#39;"];
        assert!(known.iter().any(|entity| text[at..].starts_with(entity)), "a stray & in {text}");
    }
}

fn metrics(rows: u64) -> Metrics {
    let row = |epoch: u64| {
        let loss = 100.0 + 30.0 / epoch as f64;
        let train = Losses { loss, negative_elbo: loss, reconstruction: 77.0, divergence: 22.0, kl: 22.0 };
        let valid =
            Losses { loss, negative_elbo: loss + 1.0, reconstruction: 78.0, divergence: 23.0, kl: 23.0 };
        EpochMetrics {
            step: 430 * epoch,
            epoch,
            train,
            valid: Some(valid),
            learning_rate: 0.001,
            active_units: 18,
            seconds: 20.5,
            images_per_second: 2600.0,
            ..Default::default()
        }
    };
    Metrics { rows: (1..=rows).map(row).collect() }
}

fn hostile() -> RunReport {
    let nasty = |what: &str| format!("<script>\"{what}\"</script> & 'more' http://{what}\u{1b}");
    let shown = |label: &str| Shown { label: nasty(label), png: vec![1, 2, 3, 4] };
    let progress = |label: &str| Progress { newest: Some(shown(label)), rows: vec![shown("a"), shown("b")] };
    RunReport {
        name: nasty("name"),
        folder: nasty("folder"),
        network: nasty("network"),
        status: nasty("status"),
        warnings: vec![nasty("first"), nasty("second")],
        metrics: metrics(12),
        adversarial: Vec::new(),
        steps_per_epoch: 430,
        epochs: 15,
        best_epoch: Some(11),
        likelihood: nasty("likelihood"),
        divergence: nasty("divergence"),
        judged_on: nasty("images"),
        kl_per_dimension: vec![2.0, 0.0, 1.0],
        mean_variance: vec![0.9, 0.0001, 0.5],
        active_variance: 0.01,
        samples: progress("samples"),
        reconstructions: progress("reconstructions"),
        layers: vec![LayerCost { name: nasty("layer"), operations: 5000, parameters: 70 }],
        is_done: false,
        has_explorer: true,
        config: format!("data = \"{}\"\n", nasty("data")),
    }
}

#[test]
fn every_tag_is_closed_whatever_the_names() {
    assert_well_formed(&hostile().to_html());
    assert_well_formed(&RunReport::default().to_html());
    assert_well_formed(
        &RunReport { metrics: metrics(1), steps_per_epoch: 430, ..Default::default() }.to_html(),
    );
}

#[test]
fn the_checker_finds_what_it_is_for() {
    for broken in ["<p>", "<p></b>", "<p a=b></p>", "<p>a & b</p>", "<p a=\"1></p>", "<p>a > b</p>", "</p>"] {
        let page = format!("<!DOCTYPE html>{broken}");
        assert!(std::panic::catch_unwind(|| assert_well_formed(&page)).is_err(), "{broken}");
    }
}

#[test]
fn nothing_comes_from_outside() {
    // Without a name that has an address in it.
    let report = RunReport {
        name: "run".into(),
        metrics: metrics(3),
        samples: hostile().samples,
        ..Default::default()
    };
    let page = report.to_html().replace("http://samples", "").replace("http://a", "").replace("http://b", "");
    for word in ["http", "//", "url(", "@import", "<script", "<link", "<iframe", "onload"] {
        // Base64 has slashes, but not here: the pictures are four bytes.
        assert!(!page.contains(word), "{word}");
    }
    for address in page.split("src=\"").skip(1) {
        assert!(address.starts_with("data:image/png;base64,"));
    }
    assert!(!page.contains("href"));
}

#[test]
fn the_summary_has_the_newest_and_the_best() {
    let report = RunReport { warnings: vec!["few units".into()], ..hostile() };
    let page = report.to_html();
    assert!(
        page.contains("<b>103.50</b>") && page.contains("<b>102.50</b>"),
        "validation and training of epoch 12"
    );
    assert!(page.contains("<b>11</b><small>validation −ELBO 103.73"));
    assert!(page.contains("<b>2 of 3</b>"));
    assert!(page.contains("few units"));
    assert!(page.contains("--epochs 30"));
    assert!(page.contains("4 min 6 s in training steps"));
    assert_eq!(page.matches("<tr class=\"best\">").count(), 1);
    assert_eq!(page.matches("<polyline").count(), 6, "three diagrams of two curves: the loss is the −ELBO");
}

#[test]
fn the_time_left_is_that_of_the_newest_rows_for_the_steps_to_go() {
    let row =
        |epoch: u64, seconds: f64| EpochMetrics { step: 430 * epoch, epoch, seconds, ..Default::default() };
    let rows: Vec<EpochMetrics> =
        (1..=8).map(|epoch| row(epoch, if epoch <= 3 { 900.0 } else { 30.0 })).collect();
    let report =
        RunReport { metrics: Metrics { rows }, steps_per_epoch: 430, epochs: 12, ..Default::default() };
    let page = report.to_html();
    assert!(page.contains("Time left, about</span><b>2 min 0 s</b><small>8 of 12 epochs are done"), "{page}");
    let over = RunReport { is_done: true, ..report.clone() };
    assert!(!over.to_html().contains("Time left"));
    assert!(!RunReport { epochs: 8, ..report }.to_html().contains("Time left"));
}

#[test]
fn layers_and_the_explorer_are_named() {
    let page = hostile().to_html();
    assert!(page.contains("What each layer costs") && page.contains("href=\"explore.html\""));
    let without = RunReport {
        has_explorer: false,
        samples: hostile().samples,
        folder: "runs/a".into(),
        ..Default::default()
    };
    let before = without.to_html();
    assert!(before.contains("<code>elbo explore runs/a</code>"));
    let after = with_explorer(&before).unwrap();
    assert_eq!(after, RunReport { has_explorer: true, ..without }.to_html());
    assert!(with_explorer("<html></html>").is_none());
}

#[test]
fn a_loss_that_is_not_the_bound_is_drawn_beside_it() {
    let mut metrics = metrics(2);
    for row in &mut metrics.rows {
        (row.train.loss, row.valid) = (50.0 / row.epoch as f64, None);
    }
    let report = RunReport { metrics, steps_per_epoch: 430, ..Default::default() };
    let page = report.to_html();
    assert!(page.contains("Loss: what training lowers"));
    assert!(!page.contains("−ELBO, validation"), "there is none");
}
