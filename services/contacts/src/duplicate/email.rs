//! How close e-mail addresses are.
//!
//! Guarantees: a mailbox that a name alone explains is not taken for the same one at another host.

use super::compare::{Closeness, closest, is_slip};
use super::profile::Profile;
use super::rule::Method;
use super::sound::{letters, sound};

/// Letters of the shortest mailbox that is somebody's at another host too.
const SHORTEST_MAILBOX: usize = 6;

/// How close the closest addresses of two records are; none if one of them has none.
pub(super) fn compare(method: Method, one: &Profile, other: &Profile) -> Option<Closeness> {
    // Namesakes have the mailbox of their name at many hosts: that says no more than the name does, which is compared itself.
    let is_own = |mailbox: &str| mailbox.len() >= SHORTEST_MAILBOX && !is_of_names(mailbox, one) && !is_of_names(mailbox, other);
    closest(&one.emails, &other.emails, |one, other| email(method, one, other, is_own))
}

fn email(method: Method, one: &str, other: &str, is_own: impl Fn(&str) -> bool) -> Closeness {
    if one == other {
        return Closeness::Equal;
    }
    let (Some((one, one_host)), Some((other, other_host))) = (one.rsplit_once('@'), other.rsplit_once('@')) else { return Closeness::Different };
    match method {
        Method::Slip if one == other && is_own(one) => Closeness::Mailbox,
        Method::Slip if one_host == other_host && !is_numbered(one, other) && is_slip(one, other) => Closeness::Slip,
        _ => Closeness::Different,
    }
}

/// Whether two mailboxes differ in their digits alone, as a host tells namesakes apart.
fn is_numbered(one: &str, other: &str) -> bool {
    let unnumbered = |mailbox: &str| -> String { mailbox.chars().filter(|sign| !sign.is_ascii_digit()).collect() };
    unnumbered(one) == unnumbered(other)
}

/// Whether every part of a mailbox is a name of the person, or an initial. Names in letters that few mailboxes have cannot
/// be looked for; the mailbox counts as made of them.
fn is_of_names(mailbox: &str, person: &Profile) -> bool {
    let (given, family) = (person.given.as_str(), person.family.as_str());
    if !given.is_ascii() || !family.is_ascii() {
        return true;
    }
    let begin = |name: &str| name.get(..1).unwrap_or_default().to_owned();
    let (first, last) = (begin(given), begin(family));
    let in_one = [[given, family], [family, given], [&first, family], [family, &first], [given, &last]].map(|names| names.concat());
    let parts: Vec<String> = mailbox.split(|sign: char| !sign.is_alphabetic()).map(letters).filter(|part| !part.is_empty()).collect();
    let is_name = |part: &String| {
        let is_like = |name: &str| part == name || *part == begin(name) || is_slip(part, name) || part.len() > 1 && sound(part) == sound(name);
        [given, family].into_iter().filter(|name| !name.is_empty()).any(is_like)
    };
    !parts.is_empty() && (parts.iter().all(is_name) || !in_one[0].is_empty() && in_one.contains(&parts.concat()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(one: &Profile, other: &Profile) -> Option<Closeness> {
        let closeness = compare(Method::Slip, one, other);
        assert_eq!(compare(Method::Slip, other, one), closeness, "in the other order");
        closeness
    }

    #[test]
    fn a_mailbox_may_have_moved_to_another_host() {
        let reached = |email: &str| Profile { emails: vec![email.to_owned()], ..Profile::default() };
        for (email, expected) in [
            ("ada.lovelace@example.org", Closeness::Equal),
            ("ada.lovelace@other.example", Closeness::Mailbox),
            ("ada.lovelaec@example.org", Closeness::Slip),
            ("grace@example.org", Closeness::Different),
        ] {
            assert_eq!(said(&reached("ada.lovelace@example.org"), &reached(email)), Some(expected), "{email}");
        }
        assert_eq!(said(&reached("info@a.org"), &reached("info@b.org")), Some(Closeness::Different));
    }

    #[test]
    fn the_mailbox_of_their_name_tells_no_namesakes_from_one_person_and_a_number_tells_them_apart() {
        let reached = |email: &str, given: &str, family: &str| Profile {
            emails: vec![email.to_owned()],
            given: given.to_owned(),
            family: family.to_owned(),
            ..Profile::default()
        };
        for (given, family, one, other, expected) in [
            ("grace", "green", "grace.green@a.example", "grace.green@b.example", Closeness::Different),
            ("francois", "mercier", "fmercier@a.example", "fmercier@b.example", Closeness::Different),
            ("yıldız", "şahin", "yildiz.sahin@a.example", "yildiz.sahin@b.example", Closeness::Different),
            ("גלית", "טל", "galit.tal@a.example", "galit.tal@b.example", Closeness::Different),
            ("grace", "green", "tulip.hunter@a.example", "tulip.hunter@b.example", Closeness::Mailbox),
            ("grace", "green", "green.tulips@a.example", "green.tulips@b.example", Closeness::Mailbox),
            ("grace", "green", "grace.green@a.example", "grace.green2@a.example", Closeness::Different),
            ("grace", "green", "grace.green@a.example", "grace.geren@a.example", Closeness::Slip),
            ("grace", "green", "grace.green@a.example", "grace.green@a.example", Closeness::Equal),
        ] {
            let closeness = said(&reached(one, given, family), &reached(other, given, family));
            assert_eq!(closeness, Some(expected), "{one} {other}");
        }
    }
}
