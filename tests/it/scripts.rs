//! The manners of the scripts: what they answer before they do anything.

use std::path::PathBuf;
use std::process::{Command, Output};

use crate::architecture::root;

fn scripts() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join("scripts")).expect("there are scripts");
    let mut found: Vec<PathBuf> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).filter(|path| path.is_file()).collect();
    found.sort();
    found
}

/// Runs a script with a state folder that cannot be, so that a script which does more than answer fails.
fn run(script: &PathBuf, arguments: &[&str]) -> Output {
    Command::new(script).args(arguments).env("RAPPORT_STATE", "/proc/none").output().expect("the script runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn every_script_tells_what_it_is_for() {
    for script in scripts() {
        let code = std::fs::read_to_string(&script).expect("a script is text");
        let head: Vec<&str> =
            code.lines().skip(1).map_while(|line| line.strip_prefix('#')).map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
        for option in ["--help", "-h"] {
            let answer = run(&script, &[option]);
            assert!(answer.status.success(), "{} {option}: {}", script.display(), text(&answer.stderr));
            assert_eq!(text(&answer.stdout).trim_end(), head.join("\n").trim_end(), "{} {option}", script.display());
        }
        assert!(head.iter().any(|line| line.starts_with("usage: scripts/")), "{} tells no usage", script.display());
    }
}

#[test]
fn a_command_line_that_is_not_understood_is_refused_with_the_usage() {
    let wrong: [(&str, &[&str]); 17] = [
        ("bench", &["--fast"]),
        ("bootstrap", &["--everything"]),
        ("charts", &[]),
        ("charts", &["install"]),
        ("charts", &["docs", "--all"]),
        ("check", &["--quick"]),
        ("demo", &["--stay"]),
        ("demo", &["--data"]),
        ("dev", &[]),
        ("dev", &["restart"]),
        ("dev", &["status", "--xml"]),
        ("dev", &["up", "--fast"]),
        ("dev", &["logs", "-f"]),
        ("infra", &["up", "some", "--slow"]),
        ("infra", &["down", "some", "--now"]),
        ("infra", &["restart", "some"]),
        ("prepare", &["nothing"]),
    ];
    for (script, arguments) in wrong {
        let answer = run(&root().join("scripts").join(script), arguments);
        let said = text(&answer.stderr);
        assert_eq!(answer.status.code(), Some(64), "scripts/{script} {arguments:?}: {said}");
        assert!(said.contains(&format!("usage: scripts/{script}")), "scripts/{script} {arguments:?} tells no usage: {said}");
    }
}
