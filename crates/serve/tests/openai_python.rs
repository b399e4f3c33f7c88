//! OpenAI's own Python package, unmodified, against this server: `tests/openai_python.py`, run by the interpreter that
//! `ONTOGENY_PYTHON` names when it has the package; otherwise skipped, and said so.

mod common;

use std::path::Path;
use std::process::Command;

use common::{ENCODER, MODEL, start_with_encoder};
use serve::feedback::Store;

#[test]
fn the_official_python_client_works_unmodified() {
    let Some(python) = std::env::var_os("ONTOGENY_PYTHON") else {
        eprintln!("skipped: ONTOGENY_PYTHON names no Python interpreter");
        return;
    };
    let has_package = Command::new(&python)
        .args(["-c", "import openai"])
        .output()
        .is_ok_and(|run| run.status.success());
    if !has_package {
        eprintln!(
            "skipped: {} has no `openai` package",
            Path::new(&python).display()
        );
        return;
    }
    let keys = tempfile::tempdir().expect("a folder");
    let path = keys.path().join("keys");
    std::fs::write(&path, "python-key\n").expect("a key file");
    let server = start_with_encoder(4096, |config| config.api_keys = Some(path));
    let script = Path::new("tests/openai_python.py");
    let run = Command::new(&python)
        .arg(script)
        .arg(server.url("/v1"))
        .arg(MODEL)
        .arg("python-key")
        .arg(ENCODER)
        .output();
    let run = run.expect("a Python interpreter");
    let (out, error) = (
        String::from_utf8_lossy(&run.stdout),
        String::from_utf8_lossy(&run.stderr),
    );
    assert!(run.status.success(), "{out}\n{error}");
    let stats = Store::open(&server.feedback_path())
        .expect("the store")
        .stats()
        .expect("counts");
    assert_eq!((stats.down, stats.pairs), (1, 1), "{out}");
}
