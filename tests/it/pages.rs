//! The pages that people read: what they point at is there.

use std::path::{Path, PathBuf};

use crate::architecture::{assert_none, files, root};

/// Pages with their text outside of blocks of code.
fn pages() -> Vec<(PathBuf, String)> {
    let prose = |text: &str| text.split("```").step_by(2).collect::<Vec<_>>().join("\n");
    files(&root(), "md").into_iter().map(|(path, text)| (path, prose(&text))).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut dead = Vec::new();
    for (page, text) in pages() {
        let folder = page.parent().expect("a page lies in a folder");
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next()).chain(text.split("href=\"").skip(1).filter_map(quoted));
        for target in targets.filter(|target| !target.contains("://")) {
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let file = if file.is_empty() { page.clone() } else { folder.join(file) };
            if !file.exists() || (!heading.is_empty() && !headings(&file).contains(&heading.to_owned())) {
                dead.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert_none(dead, "a link leads nowhere");
}

fn quoted(rest: &str) -> Option<&str> {
    rest.split('"').next()
}

/// What the headings of a page are reached by.
fn headings(page: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(page).unwrap_or_default();
    let reached = |heading: &str| {
        let kept = heading.to_lowercase().chars().filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter)).collect::<String>();
        kept.replace(' ', "-")
    };
    text.lines().filter(|line| line.starts_with('#')).map(|line| reached(line.trim_start_matches('#').trim())).collect()
}

#[test]
fn every_file_that_a_page_names_is_there() {
    let endings = [".rs", ".sql", ".proto", ".md", ".toml", ".yaml"];
    let known: Vec<String> = ["rs", "sql", "proto", "md", "toml", "yaml"]
        .iter()
        .flat_map(|extension| files(&root(), extension))
        .map(|(path, _)| path.display().to_string())
        .collect();
    let is_there = |name: &str| known.iter().any(|path| path.ends_with(&format!("/{name}")));
    let mut gone = Vec::new();
    for (page, text) in pages() {
        let words = text.split('`').skip(1).step_by(2).flat_map(str::split_whitespace);
        let named = words.filter(|word| endings.iter().any(|ending| word.ends_with(ending)) && !word.contains(['*', '<', '{']));
        gone.extend(named.filter(|name| !is_there(name)).map(|name| format!("{}: {name}", page.display())));
    }
    assert_none(gone, "a page names a file that is not there");
}
