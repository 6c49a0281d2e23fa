//! A definition as a picture, in Mermaid and in DOT: the way forward, and the ways back.

use std::fmt::Write;

use crate::{Definition, Kind, Step};

/// A picture, before it is written down in either language.
struct Graph {
    nodes: Vec<(String, String, Shape)>,
    edges: Vec<(String, String, &'static str)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// A command.
    Box,
    /// The pivot's.
    Hexagon,
    /// A beginning or an end.
    Round,
}

const ACCEPTED: &str = "accepted";
const DONE: &str = "done";

/// What is as it should be has a solid line.
fn is_well(why: &str) -> bool {
    why == ACCEPTED || why == DONE
}

/// For GitHub and everything else that shows Mermaid.
pub fn mermaid(definition: &Definition) -> String {
    let Graph { nodes, edges } = graph(definition);
    let mut text = "flowchart TB\n".to_owned();
    // Writing to a string cannot fail.
    for (id, label, shape) in nodes {
        let _ = match shape {
            Shape::Box => writeln!(text, "  {id}[\"{}\"]", label.replace('\n', "<br/>")),
            Shape::Hexagon => writeln!(text, "  {id}{{{{\"{}\"}}}}", label.replace('\n', "<br/>")),
            Shape::Round => writeln!(text, "  {id}([{label}])"),
        };
    }
    for (from, to, why) in edges {
        let arrow = if is_well(why) { "-->" } else { "-.->" };
        let _ = writeln!(text, "  {from} {arrow}|{why}| {to}");
    }
    text
}

/// For Graphviz.
pub fn dot(definition: &Definition) -> String {
    let name = format!("{}/{}", definition.name, definition.version);
    let Graph { nodes, edges } = graph(definition);
    let mut text = format!("digraph \"{name}\" {{\n");
    for (id, label, shape) in nodes {
        let shape = match shape {
            Shape::Box => "box",
            Shape::Hexagon => "hexagon",
            Shape::Round => "oval",
        };
        let _ = writeln!(text, "  {id} [shape={shape}, label=\"{}\"];", label.replace('\n', "\\n"));
    }
    for (from, to, why) in edges {
        let style = if is_well(why) { "solid" } else { "dashed" };
        let _ = writeln!(text, "  {from} -> {to} [label=\"{why}\", style={style}];");
    }
    text + "}\n"
}

fn graph(definition: &Definition) -> Graph {
    let mut nodes = vec![("request".to_owned(), "request".to_owned(), Shape::Round)];
    let mut edges = Vec::new();
    let (mut before, mut back) = (("request".to_owned(), ACCEPTED), "compensated".to_owned());
    for step in &definition.steps {
        edges.push((before.0, step.name.to_owned(), before.1));
        before = (step.name.to_owned(), DONE);
        nodes.push((step.name.to_owned(), label(step), shape(step.kind)));
        if step.kind == Kind::Retriable {
            edges.push((step.name.to_owned(), "stuck".to_owned(), "refused, no answer"));
            continue;
        }
        edges.push((step.name.to_owned(), back.clone(), "refused"));
        if let Some(compensation) = step.compensation {
            let undo = format!("undo_{}", step.name);
            nodes.push((undo.clone(), compensation.name().to_owned(), Shape::Box));
            edges.push((step.name.to_owned(), undo.clone(), "no answer, cancelled"));
            edges.push((undo.clone(), back, DONE));
            edges.push((undo.clone(), "stuck".to_owned(), "refused, no answer"));
            back = undo;
        }
    }
    edges.push((before.0, "completed".to_owned(), DONE));
    for end in ["completed", "compensated", "stuck"] {
        nodes.push((end.to_owned(), end.to_uppercase(), Shape::Round));
    }
    Graph { nodes, edges }
}

fn label(step: &Step) -> String {
    let (kind, participant) = (step.kind.name(), step.command.participant().name());
    format!("{}\n{kind}\n{participant}: {}", step.name, step.command.name())
}

const fn shape(kind: Kind) -> Shape {
    match kind {
        Kind::Compensatable | Kind::Retriable => Shape::Box,
        Kind::Pivot => Shape::Hexagon,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Defaults, order_fulfilment};

    #[test]
    fn architecture_shows_the_newest_definition() {
        let all = order_fulfilment(&Defaults::default());
        let picture = format!("```mermaid\n{}```\n", mermaid(all.last().unwrap()));
        let page = include_str!("../../ARCHITECTURE.md");
        assert!(page.contains(&picture), "`waybill saga graph` has changed; the page needs:\n{picture}");
    }

    #[test]
    fn both_languages_say_the_same() {
        for definition in order_fulfilment(&Defaults::default()) {
            let (mermaid, dot) = (mermaid(&definition), dot(&definition));
            assert_eq!(mermaid.matches("|done|").count(), dot.matches("label=\"done\"").count());
            for step in &definition.steps {
                let command = step.command.name();
                assert!(mermaid.contains(command) && dot.contains(command), "{command}");
            }
            assert!(dot.starts_with("digraph") && dot.ends_with("}\n"));
        }
    }
}
