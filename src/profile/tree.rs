//! YAML text to a tree of nodes, each with its place.
//!
//! A subset of YAML on purpose: one document, maps whose keys are words, lists, scalars. Refused, each at its place:
//! aliases (a small file could stand for a huge one), tags, directives, further documents, keys given twice, keys that
//! are lists or maps, nesting deeper than `DEPTH`. What was refused stays in the tree as `Value::Refused`, which later
//! steps pass over in silence. The builder keeps its own stack; nothing recurses but over a tree of bounded depth.

use std::collections::HashMap;

use granit_parser::{ErrorKind, Event, Marker, Parser, ScalarStyle, ScanError};

use super::mistake::{Report, show};
use super::types::Position;

/// How deep lists and maps may nest, each in block and in flow style.
const DEPTH: usize = 16;

/// A value and where it begins.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) at: Position,
    pub(super) value: Value,
}

/// What a node holds.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// Nothing, or the word `null`.
    Null,
    /// A scalar without quotes: a number, a bool or a text.
    Plain(String),
    /// A scalar that can only be a text.
    Quoted(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
    /// Already reported.
    Refused,
}

/// A key with its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) at: Position,
    pub(super) node: Node,
}

/// `None` if the text is no YAML or empty; the report says so then.
pub(super) fn parse(text: &str, report: &mut Report) -> Option<Node> {
    let options = granit_parser::options! {
        disallow_directives: true,
        emit_unresolved_aliases: true,
        emit_comments: false,
        flow_nesting_limit: DEPTH,
        block_nesting_limit: DEPTH,
    };
    let mut builder = Builder { open: Vec::new(), root: None, report };
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) = match event {
            Ok(event) => event,
            Err(error) => {
                syntax_error(&error, text, builder.report);
                return None;
            }
        };
        let at = position(&span.start);
        if let Event::DocumentStart(..) = event
            && builder.root.is_some()
        {
            let hint = "one file is one profile; remove `---` and what follows";
            builder.report.add(at, "a second document begins here", hint);
            return builder.root;
        }
        if let Some(tag) = event.tag() {
            let at = span.tag_start.as_ref().map_or(at, position);
            let message = format!("the tag {} is not supported", show(&tag.original()));
            builder.report.add(at, message, "remove it; a profile needs no tags");
        }
        builder.take(event, at);
    }
    let Builder { root, report, .. } = builder;
    match root {
        Some(Node { value: Value::Null, .. }) | None => {
            let hint = "it needs at least `version: 1`, `interfaces` and `wans`";
            report.add(Position::START, "the profile is empty", hint);
            None
        }
        root => root,
    }
}

enum Frame {
    List { at: Position, items: Vec<Node> },
    Map { at: Position, entries: Vec<Entry>, key: Option<Node>, lines: HashMap<String, u32> },
}

struct Builder<'r> {
    open: Vec<Frame>,
    root: Option<Node>,
    report: &'r mut Report,
}

impl Builder<'_> {
    fn take(&mut self, event: Event<'_>, at: Position) {
        match event {
            Event::SequenceStart(..) => self.open.push(Frame::List { at, items: Vec::new() }),
            Event::MappingStart(..) => {
                self.open.push(Frame::Map { at, entries: Vec::new(), key: None, lines: HashMap::new() })
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Frame::List { at, items }) => self.attach(Node { at, value: Value::List(items) }),
                Some(Frame::Map { at, entries, .. }) => self.attach(Node { at, value: Value::Map(entries) }),
                None => {}
            },
            Event::Scalar(text, style, ..) => {
                let value = match (style, text.as_ref()) {
                    (ScalarStyle::Plain, "" | "~" | "null" | "Null" | "NULL") => Value::Null,
                    (ScalarStyle::Plain, _) => Value::Plain(text.into_owned()),
                    _ => Value::Quoted(text.into_owned()),
                };
                self.attach(Node { at, value });
            }
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                let hint = "write the value out again; or quote it, if it is a text with a `*`";
                self.report.add(at, "aliases are not supported", hint);
                self.attach(Node { at, value: Value::Refused });
            }
            _ => {}
        }
    }

    fn attach(&mut self, node: Node) {
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Frame::List { items, .. }) => items.push(node),
            Some(Frame::Map { key: pending @ None, .. }) => *pending = Some(node),
            Some(Frame::Map { key: pending, entries, lines, .. }) => {
                let Some(Node { at, value }) = pending.take() else { return };
                let key = match value {
                    Value::Plain(key) | Value::Quoted(key) => key,
                    Value::Refused => return,
                    Value::Null | Value::List(_) | Value::Map(_) => {
                        self.report.add(at, "a key has to be a word", "write `key: value`");
                        return;
                    }
                };
                if let Some(first) = lines.get(&key) {
                    let message = format!("{} is given twice", show(&key));
                    self.report.add(at, message, format!("it is already on line {first}; keep one of them"));
                    return;
                }
                lines.insert(key.clone(), at.line);
                // What is missing has no place of its own.
                let node = if matches!(node.value, Value::Null) { Node { at, ..node } } else { node };
                entries.push(Entry { key, at, node });
            }
        }
    }
}

fn position(marker: &Marker) -> Position {
    let cut = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Position { line: cut(marker.line().max(1)), column: cut(marker.col().saturating_add(1)) }
}

fn syntax_error(error: &ScanError, text: &str, report: &mut Report) {
    let mut at = position(error.marker());
    // At the end of the file the parser stands on a line that does not exist; the author looks at the last one.
    let last = Position::of_offset(text.trim_end(), text.trim_end().len());
    at = if at.line > last.line { last } else { at };
    let hint = match error.kind() {
        ErrorKind::TabNotAllowed
        | ErrorKind::TabInBlockIndentation
        | ErrorKind::TabInIndentation
        | ErrorKind::TabAtBlockScalarStart
        | ErrorKind::TabInPlainScalar => "YAML is indented with spaces; replace the tab",
        ErrorKind::UnclosedFlowCollection { .. }
        | ErrorKind::MismatchedFlowCollectionEnd { .. }
        | ErrorKind::MisplacedFlowCollectionEnd
        | ErrorKind::ExpectedFlowMappingSeparator
        | ErrorKind::ExpectedFlowSequenceSeparator
        | ErrorKind::UnexpectedEofFlowMapping
        | ErrorKind::UnexpectedEofFlowSequence => "check the brackets and commas here and above",
        ErrorKind::UnclosedQuotedScalar
        | ErrorKind::InvalidQuotedScalarIndent
        | ErrorKind::DocumentIndicatorInQuotedScalar => "close the quote",
        ErrorKind::RecursionLimitExceeded => "no profile nests that deep; check brackets and indentation",
        ErrorKind::DirectiveDisallowed => "remove the line; if it is no directive, quote the text",
        ErrorKind::MappingValueNotAllowed | ErrorKind::MappingKeyNotAllowed => {
            "check the indentation; a text with `: ` in it needs quotes"
        }
        _ => "check indentation, brackets and quotes here and on the line above",
    };
    let hint = format!("{hint}; the rest is judged once this is right");
    report.add(at, format!("this is not YAML: {}", error.kind()), hint);
}
