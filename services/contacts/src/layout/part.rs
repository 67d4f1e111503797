//! Cells of what both resources have: contact points, addresses, external ids.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::LazyLock;

use rapport_contacts_api::v1 as pb;
use rapport_contacts_api::v1::contact_point::{Kind, Status};
use rapport_proto::common::v1::ExternalId;
use rapport_proto::google_type::PostalAddress;

use super::{ADDRESS_PARTS, AddressPart, CHANNELS, Channel, Column, POINT_PARTS, PointPart, cell};
use crate::violations::Violations;

/// Where an address without lines is.
static NOWHERE: LazyLock<PostalAddress> = LazyLock::new(PostalAddress::default);

/// What repeats, as it is put together from cells: each under its number, so that gaps close and order stays.
#[derive(Debug, Default)]
pub struct Groups {
    points: BTreeMap<(Channel, usize), pb::ContactPoint>,
    addresses: BTreeMap<usize, pb::Address>,
    external_ids: Vec<ExternalId>,
}

/// What stands in a column of contact points. Their numbers are counted for each kind.
#[must_use]
pub fn point_cell(points: &[pb::ContactPoint], channel: Channel, number: usize, part: PointPart) -> Cow<'_, str> {
    let Some(point) = points_of(points, channel).nth(number - 1) else { return Cow::Borrowed("") };
    Cow::Borrowed(match part {
        PointPart::Value => &point.value,
        PointPart::Label => &point.label,
        PointPart::Primary => cell::flag(point.primary),
        PointPart::Status => status_text(point.status()),
        PointPart::Region => &point.region,
    })
}

/// The columns of contact points, in order.
pub fn point_columns(points: &[pb::ContactPoint]) -> impl Iterator<Item = Column> {
    CHANNELS.iter().flat_map(|&(channel, _)| {
        let numbers = 1..=points_of(points, channel).count();
        numbers.flat_map(move |number| POINT_PARTS.iter().map(move |(part, _)| Column::Point(channel, number, *part)))
    })
}

fn points_of(points: &[pb::ContactPoint], channel: Channel) -> impl Iterator<Item = &pb::ContactPoint> {
    let kind = kind_of(channel);
    points.iter().filter(move |point| point.kind() == kind)
}

/// What stands in a column of addresses.
#[must_use]
pub fn address_cell(addresses: &[pb::Address], number: usize, part: AddressPart) -> Cow<'_, str> {
    let Some(address) = addresses.get(number - 1) else { return Cow::Borrowed("") };
    let postal = address.postal_address.as_ref().unwrap_or(&NOWHERE);
    let lines = |lines: &[String]| Cow::Owned(cell::lines(lines.iter().map(String::as_str)));
    match part {
        AddressPart::Kind => Cow::Borrowed(kind_text(address.kind())),
        AddressPart::Primary => Cow::Borrowed(cell::flag(address.primary)),
        AddressPart::Recipients => lines(&postal.recipients),
        AddressPart::Organization => Cow::Borrowed(&postal.organization),
        AddressPart::Street => lines(&postal.address_lines),
        AddressPart::District => Cow::Borrowed(&postal.sublocality),
        AddressPart::City => Cow::Borrowed(&postal.locality),
        AddressPart::PostalCode => Cow::Borrowed(&postal.postal_code),
        AddressPart::SortingCode => Cow::Borrowed(&postal.sorting_code),
        AddressPart::State => Cow::Borrowed(&postal.administrative_area),
        AddressPart::Country => Cow::Borrowed(&postal.region_code),
        AddressPart::Language => Cow::Borrowed(&postal.language_code),
    }
}

/// The columns of addresses, in order.
pub fn address_columns(addresses: &[pb::Address]) -> impl Iterator<Item = Column> {
    (1..=addresses.len()).flat_map(|number| ADDRESS_PARTS.iter().map(move |(part, _)| Column::Address(number, *part)))
}

/// What a system calls the record.
#[must_use]
pub fn external_id_cell<'r>(ids: &'r [ExternalId], system: &str) -> Cow<'r, str> {
    Cow::Borrowed(ids.iter().find(|pair| pair.system == system).map_or("", |pair| &pair.id))
}

/// The columns of external ids.
pub fn external_id_columns(ids: &[ExternalId]) -> impl Iterator<Item = Column> {
    ids.iter().map(|pair| Column::ExternalId(pair.system.clone()))
}

impl Groups {
    /// Takes a cell of a contact point.
    pub fn point(&mut self, found: &mut Violations, channel: Channel, number: usize, part: PointPart, text: &str) {
        let kind = kind_of(channel);
        let point = self.points.entry((channel, number)).or_insert_with(|| pb::ContactPoint { kind: kind.into(), ..pb::ContactPoint::default() });
        let header = || Column::Point(channel, number, part).to_string();
        match part {
            PointPart::Value => text.clone_into(&mut point.value),
            PointPart::Label => text.clone_into(&mut point.label),
            PointPart::Primary => point.primary = flag(found, header, text),
            PointPart::Region => text.clone_into(&mut point.region),
            PointPart::Status => match STATUSES.iter().find(|(_, known)| known.eq_ignore_ascii_case(text.trim())) {
                Some((status, _)) => point.status = (*status).into(),
                None => found.add(header(), one_of(STATUSES.iter().map(|(_, text)| *text))),
            },
        }
    }

    /// Takes a cell of an address.
    pub fn address(&mut self, found: &mut Violations, number: usize, part: AddressPart, text: &str) {
        let address = self.addresses.entry(number).or_default();
        let postal = address.postal_address.get_or_insert_default();
        let header = || Column::Address(number, part).to_string();
        match part {
            AddressPart::Kind => match KINDS.iter().find(|(_, known)| known.eq_ignore_ascii_case(text.trim())) {
                Some((kind, _)) => address.kind = (*kind).into(),
                None => found.add(header(), one_of(KINDS.iter().map(|(_, text)| *text))),
            },
            AddressPart::Primary => address.primary = flag(found, header, text),
            AddressPart::Recipients => postal.recipients = cell::read_lines(text),
            AddressPart::Organization => text.clone_into(&mut postal.organization),
            AddressPart::Street => postal.address_lines = cell::read_lines(text),
            AddressPart::District => text.clone_into(&mut postal.sublocality),
            AddressPart::City => text.clone_into(&mut postal.locality),
            AddressPart::PostalCode => text.clone_into(&mut postal.postal_code),
            AddressPart::SortingCode => text.clone_into(&mut postal.sorting_code),
            AddressPart::State => text.clone_into(&mut postal.administrative_area),
            AddressPart::Country => text.trim().to_ascii_uppercase().clone_into(&mut postal.region_code),
            AddressPart::Language => text.clone_into(&mut postal.language_code),
        }
    }

    /// Takes the cell of an external id.
    pub fn external_id(&mut self, system: &str, text: &str) {
        self.external_ids.push(ExternalId { system: system.to_owned(), id: text.to_owned() });
    }

    /// What was put together. A contact point without a value is none, whatever else is said of it.
    #[must_use]
    pub fn finish(self) -> (Vec<pb::ContactPoint>, Vec<pb::Address>, Vec<ExternalId>) {
        let points = self.points.into_values().filter(|point| !point.value.is_empty());
        (points.collect(), self.addresses.into_values().collect(), self.external_ids)
    }
}

/// Whether a cell says yes; notes one that says neither yes nor no.
pub fn flag(found: &mut Violations, header: impl Fn() -> String, text: &str) -> bool {
    cell::read_flag(text).unwrap_or_else(|| {
        found.add(header(), "must be yes or no");
        false
    })
}

/// What is wrong with a text that is none of `known`.
pub fn one_of<'a>(known: impl Iterator<Item = &'a str>) -> String {
    format!("must be one of {}", known.filter(|text| !text.is_empty()).collect::<Vec<_>>().join(", "))
}

const STATUSES: [(Status, &str); 7] = [
    (Status::Unspecified, ""),
    (Status::Unverified, "unverified"),
    (Status::Valid, "valid"),
    (Status::Bouncing, "bouncing"),
    (Status::Invalid, "invalid"),
    (Status::Complained, "complained"),
    (Status::OptedOut, "opted out"),
];

fn status_text(status: Status) -> &'static str {
    STATUSES.iter().find(|(known, _)| *known == status).map_or("", |(_, text)| text)
}

const KINDS: [(pb::address::Kind, &str); 6] = [
    (pb::address::Kind::Unspecified, ""),
    (pb::address::Kind::Billing, "billing"),
    (pb::address::Kind::Shipping, "shipping"),
    (pb::address::Kind::Work, "work"),
    (pb::address::Kind::Home, "home"),
    (pb::address::Kind::Other, "other"),
];

fn kind_text(kind: pb::address::Kind) -> &'static str {
    KINDS.iter().find(|(known, _)| *known == kind).map_or("", |(_, text)| text)
}

/// The kind of contact points of a channel.
#[must_use]
pub fn kind_of(channel: Channel) -> Kind {
    match channel {
        Channel::Email => Kind::Email,
        Channel::Phone => Kind::Phone,
        Channel::Chat => Kind::Chat,
        Channel::Web => Kind::Web,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;
    use rapport_proto::google_type::PostalAddress;

    use super::*;

    pub(in crate::layout) fn text() -> impl Strategy<Value = String> {
        "['=+@-]{0,2}[\\p{L}\\p{N},;\" .]{0,12}".prop_map(|text| text.trim().to_owned())
    }

    /// Contact points in the order of kinds, as cells keep them.
    pub(in crate::layout) fn points() -> impl Strategy<Value = Vec<pb::ContactPoint>> {
        let point = ("[+'=]{0,1}[a-z0-9]{1,9}", 1..5_i32, text(), any::<bool>(), 0..7_i32).prop_map(|(value, kind, label, primary, status)| {
            pb::ContactPoint {
                kind,
                value,
                label,
                primary,
                status,
                region: if primary { "TR".to_owned() } else { String::new() },
                ..Default::default()
            }
        });
        prop::collection::vec(point, 0..6).prop_map(|mut points| {
            points.sort_by_key(|point| point.kind);
            points
        })
    }

    pub(in crate::layout) fn addresses() -> impl Strategy<Value = Vec<pb::Address>> {
        let lines = || prop::collection::vec("[a-zé'=]{1,9}", 0..4);
        let address =
            (0..6_i32, any::<bool>(), lines(), lines(), text(), text()).prop_map(|(kind, primary, street, recipients, city, other)| pb::Address {
                kind,
                primary,
                postal_address: Some(PostalAddress {
                    region_code: "FR".to_owned(),
                    language_code: "fr".to_owned(),
                    postal_code: other.clone(),
                    sorting_code: other.clone(),
                    administrative_area: other.clone(),
                    locality: city,
                    sublocality: other.clone(),
                    address_lines: street,
                    recipients,
                    organization: other,
                    ..Default::default()
                }),
            });
        prop::collection::vec(address, 0..4)
    }

    pub(in crate::layout) fn external_ids() -> impl Strategy<Value = Vec<ExternalId>> {
        let ids = prop::collection::btree_map("[a-z0-9._-]{1,8}", " ?[A-Z0-9=]{1,8}", 0..4);
        ids.prop_map(|ids| ids.into_iter().map(|(system, id)| ExternalId { system, id }).collect())
    }
}
