//! All other tests once more on each lower instruction set.

use std::process::Command;

#[test]
fn every_lower_instruction_set_passes_too() {
    if std::env::var_os("ONTOGENY_ISA").is_some() {
        return;
    }
    for isa in ["avx512", "avx512-basic", "avx2", "portable"] {
        let binary = std::env::current_exe().expect("the test binary has a path");
        let output = Command::new(binary)
            .env("ONTOGENY_ISA", isa)
            .output()
            .expect("the test binary runs");
        assert!(
            output.status.success(),
            "with ONTOGENY_ISA={isa}:\n{}",
            String::from_utf8_lossy(&output.stdout)
        );
    }
}
