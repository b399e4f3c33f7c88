//! The words of `--help`, of every command.

use crate::binary::run;

#[test]
fn every_command_explains_itself() {
    let home = tempfile::tempdir().expect("a folder");
    let commands: [&[&str]; 30] = [
        &[],
        &["run"],
        &["scope"],
        &["data"],
        &["data", "curate"],
        &["data", "inspect"],
        &["data", "generate"],
        &["tokenizer"],
        &["tokenizer", "train"],
        &["tokenizer", "encode"],
        &["tokenizer", "decode"],
        &["models"],
        &["models", "list"],
        &["models", "show"],
        &["models", "import"],
        &["models", "compare"],
        &["models", "export"],
        &["models", "remove"],
        &["pretrain"],
        &["finetune"],
        &["align"],
        &["eval"],
        &["generate"],
        &["embed"],
        &["chat"],
        &["serve"],
        &["feedback"],
        &["feedback", "import"],
        &["feedback", "export"],
        &["lineage"],
    ];
    for words in commands {
        let mut arguments = words.to_vec();
        arguments.push("--help");
        let ended = run(home.path(), &arguments);
        assert_eq!(ended.code, Some(0), "{words:?}");
        assert_eq!(ended.stderr, "", "{words:?}");
        let name = if words.is_empty() {
            "ontogeny".to_owned()
        } else {
            words.join("_")
        };
        insta::assert_snapshot!(
            name,
            ended
                .stdout
                .replace(&home.path().display().to_string(), "HOME")
        );
    }
}
