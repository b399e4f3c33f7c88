//! Here so that build dependencies take part in feature unification.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
}
