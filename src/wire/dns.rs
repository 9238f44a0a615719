//! DNS over UDP, as much as a probe needs (RFC 1035): a question for an address, and what an answer to it says.
//!
//! Names are compared without regard to case (RFC 4343). Names are skipped, never followed: what a record is of does not matter
//! here, so no pointer can lead round in circles. An answer is read to its 64th record at most.

use std::net::Ipv4Addr;

use super::be16;

/// The port of servers.
pub const PORT: u16 = 53;
const HEADER: usize = 12;
const TYPE_A: u16 = 1;
const CLASS_IN: u16 = 1;
/// Records of an answer that are read.
const RECORDS: u16 = 64;

/// A question for the address of `name`, to be answered recursively. `None`: it is no name (RFC 1035 2.3.4).
pub fn question(id: u16, name: &str) -> Option<Vec<u8>> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let mut out = Vec::with_capacity(HEADER + name.len() + 6);
    out.extend(id.to_be_bytes());
    // RD; one question
    out.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        let length = u8::try_from(label.len()).ok().filter(|n| (1..=63).contains(n))?;
        out.push(length);
        out.extend(label.bytes());
    }
    out.push(0);
    if out.len() - HEADER > 255 {
        return None;
    }
    out.extend(TYPE_A.to_be_bytes());
    out.extend(CLASS_IN.to_be_bytes());
    Some(out)
}

/// What an answer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// RCODE: 0 is none of the errors
    pub code: u8,
    /// The addresses in it
    pub addresses: Vec<Ipv4Addr>,
}

/// Reads the answer to a `question`. `None`: it is none, or is broken.
pub fn answer(question: &[u8], message: &[u8]) -> Option<Answer> {
    let header = message.first_chunk::<HEADER>()?;
    // QR, an ordinary query
    if be16(message, 0) != be16(question, 0) || header[2] & 0xf8 != 0x80 {
        return None;
    }
    let code = header[3] & 0xf;
    // Of what a server refuses it need not repeat the question.
    if be16(message, 4) == 0 && code != 0 {
        return Some(Answer { code, addresses: Vec::new() });
    }
    let asked = question.get(HEADER..)?;
    let repeated = message.get(HEADER..HEADER + asked.len())?;
    if be16(message, 4) != 1 || !repeated.eq_ignore_ascii_case(asked) {
        return None;
    }
    let mut addresses = Vec::new();
    let mut at = HEADER + asked.len();
    for _ in 0..be16(message, 6).min(RECORDS) {
        at = skip_name(message, at)?;
        let record = message.get(at..at + 10)?;
        let data = message.get(at + 10..at + 10 + usize::from(be16(record, 8)))?;
        if let (TYPE_A, CLASS_IN, &[a, b, c, d]) = (be16(record, 0), be16(record, 2), data) {
            addresses.push(Ipv4Addr::new(a, b, c, d));
        }
        at += 10 + data.len();
    }
    Some(Answer { code, addresses })
}

/// Where a name ends.
fn skip_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let length = usize::from(*message.get(at)?);
        match length {
            0 => return Some(at + 1),
            1..=63 => at += 1 + length,
            // A pointer ends a name.
            192.. => return Some(at + 2),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An answer with these records.
    fn reply(question: &[u8], code: u8, records: &[(u16, &[u8])]) -> Vec<u8> {
        let mut out = question.to_vec();
        (out[2], out[3], out[7]) = (0x81, 0x80 | code, records.len() as u8);
        for (kind, data) in records {
            out.extend([0xc0, 12]);
            out.extend(kind.to_be_bytes());
            out.extend([0, 1, 0, 0, 0, 60]);
            out.extend((data.len() as u16).to_be_bytes());
            out.extend(*data);
        }
        out
    }

    #[test]
    fn an_answer_has_its_code_and_addresses() {
        let q = question(7, "Example.com").unwrap();
        let cname: &[u8] = b"\x03www\xc0\x0c";
        let good = reply(&q, 0, &[(5, cname), (1, &[192, 0, 2, 1]), (28, &[0; 16]), (1, &[192, 0, 2, 2])]);
        let addresses = vec![Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2)];
        assert_eq!(answer(&q, &good), Some(Answer { code: 0, addresses }));
        let lower = answer(&q, &good.to_ascii_lowercase()).unwrap();
        assert_eq!(lower.addresses.len(), 2);
        assert_eq!(answer(&q, &reply(&q, 2, &[])), Some(Answer { code: 2, addresses: vec![] }));
        // REFUSED without the question
        assert_eq!(answer(&q, &[0, 7, 0x81, 5, 0, 0, 0, 0, 0, 0, 0, 0]).map(|a| a.code), Some(5));
    }

    #[test]
    fn another_question_s_answer_is_none() {
        let q = question(7, "example.com").unwrap();
        for (at, byte) in [(1, 8), (2, 0x01), (2, 0xa1), (5, 2), (13, b'x'), (26, 28)] {
            let mut other = reply(&q, 0, &[(1, &[192, 0, 2, 1])]);
            other[at] = byte;
            assert_eq!(answer(&q, &other), None, "{at}");
        }
    }

    #[test]
    fn what_is_no_name_is_not_asked_for() {
        let long = "a.".repeat(127);
        assert!(question(1, &long).is_some() && question(1, "example.com.").is_some());
        for bad in ["", "a..b", ".", &"x".repeat(64), &format!("{long}aa.b")] {
            assert_eq!(question(1, bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_odd(bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0usize..45) {
            let q = question(7, "example.com").unwrap();
            answer(&q, &bytes);
            let mut good = reply(&q, 0, &[(1, &[192, 0, 2, 1])]);
            let mut odd = good.clone();
            for (to, from) in odd.iter_mut().skip(at).zip(&bytes) {
                *to ^= from;
            }
            answer(&q, &odd);
            good.truncate(at);
            prop_assert_eq!(answer(&q, &good), None);
        }
    }
}
