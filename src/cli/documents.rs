//! Every command that a page of `docs/` tells people to type can be typed.

use clap::{CommandFactory as _, Parser as _};

use super::Cli;

const PAGES: [&str; 4] = ["clients.md", "migrating.md", "operations.md", "threat-model.md"];

fn page(name: &str) -> String {
    std::fs::read_to_string(format!("{}/docs/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// The commands in blocks of code, and those between two backticks in the text.
fn commands(page: &str) -> Vec<String> {
    let (mut found, mut text, mut in_block) = (Vec::new(), String::new(), false);
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        } else if in_block {
            found.push(line.split(" #").next().unwrap_or_default().trim().to_owned());
        } else {
            text += line;
            text.push('\n');
        }
    }
    found.extend(text.split('`').skip(1).step_by(2).map(|span| span.replace('\n', " ")));
    found.retain(|command| command.starts_with("waybill "));
    found
}

/// As a shell would split them, with something for what the reader fills in.
fn words(command: &str) -> Vec<String> {
    let filled =
        command.replace('…', "x").replace("<id>", "x").replace("<queue>", "order").replace("<name>", "order");
    let (mut words, mut quoted) = (vec![String::new()], false);
    for letter in filled.chars() {
        match letter {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            letter => words.last_mut().unwrap().push(letter),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Whether these words name a command, and no more.
fn is_name(words: &[String]) -> bool {
    let mut command = Cli::command();
    words[1..].iter().all(|word| match command.find_subcommand(word).cloned() {
        Some(found) => {
            command = found;
            true
        }
        None => false,
    })
}

#[test]
fn every_command_of_the_documents_can_be_typed() {
    let (mut count, mut wrong) = (0, Vec::new());
    for name in PAGES {
        for command in commands(&page(name)) {
            let words = words(&command);
            count += 1;
            match Cli::try_parse_from(&words) {
                Err(error) if !is_name(&words) => wrong.push(format!("{name}: {command}\n{error}")),
                _ => {}
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 40, "only {count} were found");
}
