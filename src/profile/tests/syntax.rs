//! YAML itself: what is taken, what is refused, and where the finger points.

use crate::profile::{MAX_BYTES, load_bytes};

use super::{SHORT, and, bad, good, one, said, with};

#[test]
fn the_styles_of_yaml_mean_the_same() {
    let block = "---\n\
        # comment\n\
        \"version\": 1   # comment\n\
        interfaces:\n\
        \x20 lan:\n    port: 'linux:lan0'\n    addresses:\n    - 192.168.10.1/24\n\
        \x20 isp1: &anchor\n    port: linux:isp1\n    addresses: [ \"203.0.113.2/29\", ]\n    gateway: 203.0.113.1\n\
        \x20 ? isp2\n  : { \"port\": \"linux:isp2\", addresses: [198.51.100.2/29],\n      gateway: 198.51.100.1 }\n\
        wans:\n  - isp1\n  - isp2\n...\n";
    assert_eq!(good(block), good(SHORT));
    assert_eq!(good(&SHORT.replace('\n', "\r\n")), good(SHORT));
    assert_eq!(good(&format!("\u{feff}{SHORT}")), good(SHORT));
}

#[test]
fn a_key_given_twice_is_reported_at_the_second_place() {
    one(&and("version: 1"), "7:1", "`version` is given twice", "already on line 1");
    let text = with("gateway: 203.0.113.1 }", "gateway: 203.0.113.1, \"port\": net_null0 }");
    one(&text, "4:82", "`port` is given twice", "already on line 4");
    one(&with("wans:", "  lan: {}\nwans:"), "6:3", "`lan` is given twice", "already on line 3");
    let text = and("nat: { timeouts: { udp_ports: { 53: 10s, \"53\": 20s } } }");
    one(&text, "7:42", "`53` is given twice", "keep one");
}

#[test]
fn a_second_document_is_refused() {
    one(&and("---\nversion: 1"), "7:1", "a second document begins here", "remove `---`");
}

#[test]
fn aliases_tags_and_directives_are_refused() {
    one(
        &with("[isp1, isp2]", "[&a isp1, *a, isp2]"),
        "6:17",
        "aliases are not supported",
        "write the value out",
    );
    one(
        &with("[isp1, isp2]", "[isp1, *b, isp2]"),
        "6:14",
        "aliases are not supported",
        "write the value out",
    );
    one(&and("engine: { sessions: *c }"), "7:21", "aliases are not supported", "write the value out");
    one(&and("*d : 1"), "7:1", "aliases are not supported", "write the value out");
    one(&with("version: 1", "version: !!int 1"), "1:10", "the tag `!!int` is not supported", "remove it");
    one(&format!("%YAML 1.1\n---\n{SHORT}"), "1:1", "not YAML", "remove the line");
}

#[test]
fn an_empty_file_says_what_is_needed() {
    let marked = format!("\u{feff}{}", with("version: 1", "version: 2"));
    one(&marked, "1:10", "not known", "version: 1");
    assert_eq!(bad(&marked).to_string().lines().nth(1), Some("  version: 2"));
    for text in ["", "\n\n", "# nothing\n", "---\n", "~", "null\n", "\u{feff}"] {
        one(text, "1:1", "the profile is empty", "version: 1");
    }
    one("- a\n", "1:1", "the profile must be a map", "key: value");
    one("hello\n", "1:1", "the profile must be a map, not `hello`", "key: value");
    let missing =
        ["the profile has no `interfaces`", "the profile has no `version`", "the profile has no `wans`"];
    let mut found = said("{}");
    found.sort();
    assert_eq!(found, missing.map(|message| format!("1:1: {message}")));
}

#[test]
fn broken_yaml_points_at_the_place() {
    for (text, place, hint) in [
        (and("engine:\n\tsessions: 5000"), "8:2", "spaces"),
        (and("engine: { sessions: 5000"), "7:9", "brackets"),
        (and("engine: { sessions: 5000 ]"), "7:9", "brackets"),
        (and("name: \"edge"), "7:12", "close the quote"),
        (and("name: a: b"), "7:8", "quotes"),
        (and("engine:\n  sessions: 5000\n idle: poll"), "9:2", "indentation"),
    ] {
        one(&text, place, "this is not YAML: ", hint);
    }
}

#[test]
fn nesting_has_a_limit() {
    let deep = format!("version: {}1{}\n", "[".repeat(40), "]".repeat(40));
    one(&deep, "1:26", "recursion limit exceeded", "nests that deep");
    assert!(load_bytes("[".repeat(MAX_BYTES).as_bytes(), "p.yaml").is_err());
    assert!(load_bytes("- ".repeat(MAX_BYTES / 2).as_bytes(), "p.yaml").is_err());
}

#[test]
fn keys_that_are_no_words_are_refused() {
    one(&and("[a, b]: 1"), "7:1", "a key has to be a word", "key: value");
    one(&and("? { a: 1 }\n: 1"), "7:3", "a key has to be a word", "key: value");
    one(&and("~: 1"), "7:1", "a key has to be a word", "key: value");
}

#[test]
fn bytes_that_are_no_text_are_refused_at_their_place() {
    let mut bytes = SHORT.as_bytes().to_vec();
    bytes.extend(b"name: \xc3\xa9\xff\n");
    let mistakes = load_bytes(&bytes, "p.yaml").unwrap_err();
    let found = mistakes.iter().next().unwrap();
    assert_eq!((mistakes.len(), found.line, found.column), (1, 7, 8));
    assert!(found.message.contains("not UTF-8"), "{mistakes}");
}

#[test]
fn a_file_over_one_mebibyte_is_refused() {
    let fill = |len: usize| format!("{SHORT}#{}", "x".repeat(len - SHORT.len() - 1));
    good(&fill(MAX_BYTES));
    one(&fill(MAX_BYTES + 1), "1:1", "larger than 1 MiB", "check the path");
    let umlauts = "ä".repeat(MAX_BYTES);
    let mistakes = load_bytes(&umlauts.as_bytes()[..MAX_BYTES + 1], "p.yaml").unwrap_err();
    assert!(mistakes.to_string().contains("larger than 1 MiB"));
}

#[test]
fn more_mistakes_than_anyone_reads_are_counted() {
    let many: String = (0..2500).map(|i| format!("key{i}: 1\n")).collect();
    let mistakes = bad(&and(&many));
    assert_eq!(mistakes.len(), 1001);
    assert_eq!(mistakes.iter().last().unwrap().message, "1500 more mistakes are not listed");
}
