//! The comparison with other proxies in `bench`: that it still runs, proves the work, and writes what it found.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

#[test]
fn the_comparison_measures_and_writes_what_it_found() {
    if std::thread::available_parallelism().is_ok_and(|cores| cores.get() < 2) {
        // A proxy and its caller want a core each; with one, the script says so and ends.
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let page = directory.path().join("page.md");
    let (begin, end) = ("<!-- figures of bench/run begin -->", "<!-- figures of bench/run end -->");
    std::fs::write(&page, format!("before\n{begin}\nold\n{end}\nafter\n")).expect("written");
    let plot = directory.path().join("plot.svg");
    let output = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/run"))
        .args(["websocket,start", "--quick", "--no-install", "--peers", "portcullis"])
        .args(["--portcullis", env!("CARGO_BIN_EXE_portcullis"), "--markdown", page.to_str().expect("UTF-8")])
        .args(["--svg", plot.to_str().expect("UTF-8")])
        .env("CARGO_TARGET_DIR", directory.path())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .expect("python3 runs it");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));

    let kept = std::fs::read(directory.path().join("bench/result.json")).expect("the samples");
    let kept: Value = serde_json::from_slice(&kept).expect("JSON");
    let items = kept["items"].as_array().expect("items");
    assert_eq!(items.len(), 2, "{kept}");
    for item in items {
        for peer in ["nginx", "portcullis"] {
            let compared = item["compared_by"].as_str().expect("a name");
            let figure = item["medians"][peer][compared].as_f64();
            assert!(figure.is_some_and(|figure| figure > 0.0), "{peer}: {item}");
        }
        assert_eq!(item["ratios"]["nginx"], serde_json::json!([1.0]), "{item}");
        assert_eq!(item["failed"], serde_json::json!({}), "{item}");
    }
    let page = std::fs::read_to_string(page).expect("the page");
    let (before, figures) = page.split_once(begin).expect("its marks stay");
    let (figures, after) = figures.split_once(end).expect("its marks stay");
    assert_eq!((before, after), ("before\n", "\nafter\n"));
    assert!(figures.contains("| portcullis | ") && !figures.contains("old"), "{figures}");
    let plot = std::fs::read_to_string(plot).expect("a plot");
    assert!(plot.starts_with("<svg") && plot.matches(">portcullis</text>").count() == 2, "{plot}");
}

#[test]
fn what_is_not_there_to_be_measured_is_refused() {
    let output = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/run"))
        .args(["small-get,moon"])
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .expect("python3 runs it");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("there is no moon"), "{output:?}");
}
