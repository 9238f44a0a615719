//! Files that nobody means well: nothing panics, and every answer is shown without harm.

use proptest::prelude::*;

use crate::profile::load_bytes;

use super::SHORT;

const EXAMPLE: &str = include_str!("../../../dpdk-config/dual-wan.yaml");

fn judge(bytes: &[u8]) {
    let Err(mistakes) = load_bytes(bytes, "p.yaml") else { return };
    assert!(mistakes.len() > 0);
    for mistake in &mistakes {
        assert!(mistake.line > 0 && mistake.column > 0, "{mistakes}");
        assert!(!mistake.message.is_empty() && !mistake.hint.is_empty(), "{mistakes}");
        let shown = mistake.to_string();
        assert_eq!(shown.lines().count(), 4, "{shown:?}");
        assert!(!shown.chars().any(|c| c != '\n' && c.is_control()), "{shown:?}");
    }
}

/// Bytes that mean something to YAML or to a profile, more often than chance would have them.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let words = [
        "version",
        "interfaces",
        "wans",
        "addresses",
        "lan",
        "isp1",
        "health",
        "udp_ports",
        ": ",
        "- ",
        "\n",
        "\n  ",
        "[",
        "]",
        "{",
        "}",
        ", ",
        "\"",
        "'",
        "&a ",
        "*a",
        "!!map ",
        "|\n",
        ">\n",
        "# ",
        "---\n",
        "...\n",
        "%YAML 1.2\n",
        "\t",
        "\r",
        "? ",
        "~",
        "0",
        "1",
        "10s",
        "2h4m",
        "true",
        "on",
        "192.168.10.1/24",
        "255.255.255.255/0",
        "0.0.0.0/0",
        "<<",
        "\u{feff}",
        "\0",
        "\u{2028}",
        "é",
        "99999999999999999999",
    ];
    prop_oneof![
        8 => proptest::sample::select(words.to_vec()).prop_map(|word| word.as_bytes().to_vec()),
        1 => any::<u8>().prop_map(|byte| vec![byte]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        judge(&bytes);
    }

    #[test]
    fn random_pieces_of_yaml_do_not_panic(pieces in proptest::collection::vec(piece(), 0..80)) {
        judge(&pieces.concat());
    }

    #[test]
    fn a_mutated_profile_does_not_panic(
        example in any::<bool>(),
        edits in proptest::collection::vec((any::<proptest::sample::Index>(), 0..12_usize, piece()), 1..6),
    ) {
        let mut bytes = if example { EXAMPLE } else { SHORT }.as_bytes().to_vec();
        for (at, cut, new) in edits {
            let start = at.index(bytes.len() + 1);
            let end = (start + cut).min(bytes.len());
            bytes.splice(start..end, new);
        }
        judge(&bytes);
    }

    #[test]
    fn any_text_as_a_value_does_not_panic(text in "\\PC{0,30}", place in 0..8_usize) {
        let quoted = serde_json::to_string(&text).unwrap();
        let old = ["1\n", "\"linux:lan0\"", "192.168.10.1/24", "203.0.113.1 ", "[isp1, isp2]", "isp1", "port", "lan"][place];
        judge(SHORT.replacen(old, &quoted, 1).as_bytes());
        judge(SHORT.replacen(old, &text, 1).as_bytes());
    }
}

#[test]
fn hostile_sizes_are_judged_in_time() {
    let start = std::time::Instant::now();
    let unit = |head: &str, body: &dyn Fn(usize) -> String| {
        let mut text = head.to_owned();
        let mut i = 0;
        while text.len() < 1_000_000 {
            text += &body(i);
            i += 1;
        }
        text
    };
    for text in [
        unit("", &|i| format!("interfacs{i}: 1\n")),
        unit("version: 1\nwans: [", &|i| format!("isp{i}x,")) + "]",
        unit("interfaces:\n", &|i| format!(" a{i}: {{port: net_a{i}, addresses: [10.0.0.1/8]}}\n")),
        unit("interfaces: {a: {addresses: [", &|_| "10.0.0.1/8,".into()) + "]}}",
        unit("interfaces: {a: {port: net_a, addresses: [10.0.0.1/8]}}\nroutes:\n", &|_| {
            " - {to: 10.0.0.0/8, via: 11.0.0.1}\n".into()
        }),
        unit("{", &|i| format!("a{i}: *a,")) + "}",
        unit("", &|_| "&a ".into()),
        unit("name: \"", &|_| "\\u0041".into()) + "\"",
        unit("", &|_| "? ".into()),
        unit("", &|_| "[]: ".into()),
    ] {
        judge(text.as_bytes());
    }
    assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
}
