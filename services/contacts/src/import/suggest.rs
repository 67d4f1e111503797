//! Which fields the columns of a file seem to be.
//!
//! Headers are those that the programs write; a column that none of them has is looked up under the names that people
//! use. What is not found is left out: nothing is guessed from what stands below. Of Salesforce and Dynamics the
//! crosswalks say what a column is, and what they leave out is not looked up elsewhere.

use std::collections::HashSet;

use rapport_contacts_api::v1::{self as pb, ImportLayout};

use super::crosswalk;
use crate::layout::{AddressPart, Column, Resource};

/// Headers that tell whose export a file is, the surest first.
const SIGNATURES: &[(ImportLayout, &[&str])] = &[
    (ImportLayout::Google, &["Given Name|First Name", "E-mail 1 - Label", "E-mail 1 - Value"]),
    (ImportLayout::GoogleLegacy, &["Given Name|First Name", "E-mail 1 - Type", "E-mail 1 - Value"]),
    (ImportLayout::Thunderbird, &["Primary Email", "Screen Name"]),
    (ImportLayout::Dynamics, &["(Do Not Modify) Contact|(Do Not Modify) Account"]),
    (ImportLayout::Hubspot, &["Record ID", "Lifecycle Stage"]),
    // Both programs have columns of some of these names, and write them in different cases.
    (ImportLayout::Salesforce, &["Id", "IsDeleted|OwnerId", "Name|LastName"]),
    (ImportLayout::Dynamics, &["contactid", "lastname|fullname"]),
    (
        ImportLayout::Dynamics,
        &["accountid", "name", "telephone1|address1_line1|address1_country|parentaccountid|_parentaccountid_value|ownerid|_ownerid_value"],
    ),
    (ImportLayout::Salesforce, &["FirstName|Name", "LastName|BillingStreet", "AccountId|MailingStreet|BillingStreet"]),
    (ImportLayout::Outlook, &["E-mail Address", "Business Phone|Business Street|Mobile Phone"]),
];

/// Names of columns of people, and the field that each is. What stands behind `=` says what a layout means by it that
/// others use otherwise.
const OF_CONTACTS: &[(&str, &str)] = &[
    ("First Name", "Given name"),
    ("Given Name", "Given name"),
    ("FirstName", "Given name"),
    ("GivenName", "Given name"),
    ("Forename", "Given name"),
    ("Middle Name", "Additional name"),
    ("MiddleName", "Additional name"),
    ("Additional Name", "Additional name"),
    ("Last Name", "Family name"),
    ("Family Name", "Family name"),
    ("LastName", "Family name"),
    ("FamilyName", "Family name"),
    ("Surname", "Family name"),
    ("Name Prefix", "Salutation"),
    ("Salutation", "Salutation"),
    ("Job Title", "Job title"),
    ("JobTitle", "Job title"),
    ("Occupation", "Job title"),
    ("Organization Title", "Job title"),
    ("Organization 1 - Title", "Job title"),
    ("Birthday", "Birth date"),
    ("Birthdate", "Birth date"),
    ("Date of birth", "Birth date"),
    ("Language", "Language"),
    ("Notes", "Notes"),
    ("Description", "Notes"),
    ("E-mail", "E-mail 1"),
    ("Email", "E-mail 1"),
    ("Email Address", "E-mail 1"),
    ("E-mail Address", "E-mail 1"),
    ("Primary Email", "E-mail 1"),
    ("E-mail 2 Address", "E-mail 2"),
    ("Secondary Email", "E-mail 2"),
    ("Email Address 2", "E-mail 2"),
    ("E-mail 3 Address", "E-mail 3"),
    ("Email Address 3", "E-mail 3"),
    ("Phone", "Phone 1"),
    ("Phone Number", "Phone 1"),
    ("Telephone", "Phone 1"),
    ("Business Phone", "Phone 1"),
    ("Work Phone", "Phone 1"),
    ("Mobile Phone", "Phone 2"),
    ("Mobile Phone Number", "Phone 2"),
    ("Mobile Number", "Phone 2"),
    ("Mobile", "Phone 2"),
    ("Home Phone", "Phone 3"),
    ("Business Phone 2", "Phone 4"),
    ("Home Phone 2", "Phone 5"),
    ("Other Phone", "Phone 6"),
    ("Web Page 1", "Web 1"),
    ("Web Page 2", "Web 2"),
    ("Website", "Web 1"),
    ("Business Street", "Address 1 - Street"),
    ("Business City", "Address 1 - City"),
    ("Business State", "Address 1 - State"),
    ("Business Postal Code", "Address 1 - Postal code"),
    ("Business Country/Region", "Address 1 - Country"),
    ("Work Address", "Address 1 - Street"),
    ("Work City", "Address 1 - City"),
    ("Work State", "Address 1 - State"),
    ("Work ZipCode", "Address 1 - Postal code"),
    ("Work Country", "Address 1 - Country"),
    ("Street", "Address 1 - Street"),
    ("City", "Address 1 - City"),
    ("Home Street", "Address 2 - Street"),
    ("Home City", "Address 2 - City"),
    ("Home State", "Address 2 - State"),
    ("Home Postal Code", "Address 2 - Postal code"),
    ("Home Country/Region", "Address 2 - Country"),
    ("Home Address", "Address 2 - Street"),
    ("Home ZipCode", "Address 2 - Postal code"),
    ("Home Country", "Address 2 - Country"),
];

const OF_ACCOUNTS: &[(&str, &str)] = &[
    ("Account", "Name"),
    ("Account Name", "Name"),
    ("Company", "Name"),
    ("Company Name", "Name"),
    ("Organization Name", "Name"),
    ("Industry", "Sector"),
    ("Sector", "Sector"),
    ("Number of Employees", "Employees"),
    ("NumberOfEmployees", "Employees"),
    ("Employees", "Employees"),
    ("Website", "Website"),
    ("Web site", "Website"),
    ("Year established", "Founded"),
    ("year_established", "Founded"),
    ("Year Founded", "Founded"),
    ("subsidiary_of", "Parent"),
    ("Parent Account", "Parent"),
    ("Phone", "Phone 1"),
    ("Phone Number", "Phone 1"),
    ("Email", "E-mail 1"),
];

/// Ids that programs without a crosswalk have for the people in their exports, and the system that gave them.
const IDS: &[(ImportLayout, &str, &str)] = &[(ImportLayout::Hubspot, "Record ID", "External id - hubspot")];

/// Groups as Google numbers them, and what we call the same parts.
const NUMBERED: &[(&str, &str)] = &[
    ("E-mail # - Value", "E-mail #"),
    ("E-mail # - Label", "E-mail # - Label"),
    ("E-mail # - Type", "E-mail # - Label"),
    ("Phone # - Value", "Phone #"),
    ("Phone # - Label", "Phone # - Label"),
    ("Phone # - Type", "Phone # - Label"),
    ("Website # - Value", "Web #"),
    ("Website # - Label", "Web # - Label"),
    ("Website # - Type", "Web # - Label"),
    ("Address # - Street", "Address # - Street"),
    ("Address # - City", "Address # - City"),
    ("Address # - Region", "Address # - State"),
    ("Address # - Postal Code", "Address # - Postal code"),
    ("Address # - Country", "Address # - Country"),
];

/// Whose export a file with this header looks like.
#[must_use]
pub fn layout(resource: Resource, header: &[String]) -> ImportLayout {
    let has = |name: &str| header.iter().any(|header| header.trim().eq_ignore_ascii_case(name));
    let signed = SIGNATURES.iter().find(|(_, names)| names.iter().all(|name| name.split('|').any(has)));
    if let Some((layout, _)) = signed {
        return *layout;
    }
    let own = header.iter().filter(|header| Column::parse(resource, header).is_some()).count();
    let is_own = own * 2 > header.len() && has(&Column::Single(crate::layout::Single::Record).to_string());
    if is_own { ImportLayout::Rapport } else { ImportLayout::Unspecified }
}

/// A mapping that suits the header; each field once, but for further lines of a street, and what is constant beside them.
#[must_use]
pub fn columns(resource: Resource, layout: ImportLayout, header: &[String]) -> Vec<pb::ImportColumn> {
    let crosswalk = crosswalk::of(layout, resource);
    let mut taken = HashSet::new();
    let (mut columns, mut constants): (Vec<pb::ImportColumn>, Vec<(Column, String)>) = (Vec::new(), Vec::new());
    for (index, name) in header.iter().enumerate() {
        let entry = crosswalk.and_then(|crosswalk| crosswalk.entry(name.trim()));
        let target = match entry {
            Some(entry) => Column::parse(resource, &entry.fills),
            None => target(resource, layout, name.trim()),
        };
        let Some(target) = target else { continue };
        if header.iter().position(|other| other == name) != Some(index) {
            continue;
        }
        if taken.insert(target.clone()) {
            columns.push(pb::ImportColumn { target: target.to_string(), header: name.clone(), ..pb::ImportColumn::default() });
        } else if let (Some(_), Column::Address(_, AddressPart::Street)) = (entry, &target) {
            let street = columns.iter_mut().find(|column| column.target == target.to_string());
            street.into_iter().for_each(|column| column.further_headers.push(name.clone()));
        }
        let beside = entry.and_then(|entry| entry.beside.as_ref());
        constants.extend(beside.and_then(|(field, value)| Some((Column::parse(resource, field)?, value.clone()))));
    }
    for (target, constant) in constants {
        if taken.insert(target.clone()) {
            columns.push(pb::ImportColumn { target: target.to_string(), constant, ..pb::ImportColumn::default() });
        }
    }
    columns
}

fn target(resource: Resource, layout: ImportLayout, header: &str) -> Option<Column> {
    let named = |table: &[(&str, &'static str)]| table.iter().find(|(name, _)| name.eq_ignore_ascii_case(header)).map(|(_, target)| *target);
    let found = match resource {
        // What Outlook calls a title stands before the name.
        Resource::Contact if header.eq_ignore_ascii_case("Title") => Some(if layout == ImportLayout::Outlook { "Salutation" } else { "Job title" }),
        Resource::Contact => named(OF_CONTACTS),
        Resource::Account => named(OF_ACCOUNTS),
    };
    let id = IDS.iter().find(|(of, name, _)| *of == layout && name.eq_ignore_ascii_case(header)).map(|(_, _, target)| *target);
    if let Some(target) = id.or(found) {
        return Column::parse(resource, target);
    }
    if let Some(target) = numbered(header) {
        return Column::parse(resource, &target);
    }
    Column::parse(resource, header).filter(|column| column.path(resource).is_some())
}

fn numbered(header: &str) -> Option<String> {
    let digits: String = header.chars().skip_while(|letter| !letter.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
    if digits.is_empty() {
        return None;
    }
    let pattern = header.replacen(&digits, "#", 1);
    NUMBERED.iter().find(|(name, _)| name.eq_ignore_ascii_case(&pattern)).map(|(_, target)| target.replace('#', &digits))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(text: &str) -> Vec<String> {
        text.split(',').map(str::to_owned).collect()
    }

    #[test]
    fn exports_are_known_by_their_headers() {
        for (text, layout) in [
            ("First Name,Last Name,Labels,E-mail 1 - Label,E-mail 1 - Value", ImportLayout::Google),
            ("Name,Given Name,Family Name,E-mail 1 - Type,E-mail 1 - Value", ImportLayout::GoogleLegacy),
            ("Title,First Name,Last Name,Business Street,Business Phone,E-mail Address", ImportLayout::Outlook),
            ("Record ID,First Name,Last Name,Email,Lifecycle Stage", ImportLayout::Hubspot),
            ("Id,FirstName,LastName,MailingStreet", ImportLayout::Salesforce),
            ("Id,IsDeleted,AccountId,LastName", ImportLayout::Salesforce),
            ("contactid,lastname,parentcustomerid", ImportLayout::Dynamics),
            ("(Do Not Modify) Contact,Full Name,Email", ImportLayout::Dynamics),
            ("First Name,Primary Email,Screen Name", ImportLayout::Thunderbird),
            ("Record,Given name,E-mail 1", ImportLayout::Rapport),
            ("a,b,c", ImportLayout::Unspecified),
        ] {
            assert_eq!(super::layout(Resource::Contact, &header(text)), layout, "{text}");
        }
    }

    #[test]
    fn every_suggestion_is_a_column_of_its_resource() {
        for (resource, table) in [(Resource::Contact, OF_CONTACTS), (Resource::Account, OF_ACCOUNTS)] {
            for (_, target) in table {
                assert!(Column::parse(resource, target).is_some(), "{target}");
            }
        }
        for (_, target) in NUMBERED {
            assert!(Column::parse(Resource::Contact, &target.replace('#', "1")).is_some(), "{target}");
        }
    }

    #[test]
    fn each_field_is_suggested_once() {
        let header = header("Title,First Name,Email,Email,E-mail Address,Phone 2 - Value,Shoe size,Created");
        let suggested = columns(Resource::Contact, ImportLayout::Outlook, &header);
        let told: Vec<(&str, &str)> = suggested.iter().map(|column| (column.header.as_str(), column.target.as_str())).collect();
        assert_eq!(told, [("Title", "Salutation"), ("First Name", "Given name"), ("Email", "E-mail 1"), ("Phone 2 - Value", "Phone 2")]);
    }

    #[test]
    fn an_export_with_a_crosswalk_is_mapped_by_it_and_what_it_leaves_out_is_not_guessed() {
        let header = header("Id,IsDeleted,Name,ParentId,BillingStreet,Phone,Description,Type,OwnerId,Region__c");
        let suggested = columns(Resource::Account, ImportLayout::Salesforce, &header);
        let told: Vec<(&str, &str)> = suggested
            .iter()
            .map(|column| (column.target.as_str(), if column.header.is_empty() { column.constant.as_str() } else { column.header.as_str() }))
            .collect();
        assert_eq!(
            told,
            [
                ("External id - salesforce", "Id"),
                ("Deleted", "IsDeleted"),
                ("Name", "Name"),
                ("Parent", "ParentId"),
                ("Address 1 - Street", "BillingStreet"),
                ("Phone 1", "Phone"),
                ("Owner", "OwnerId"),
                ("Address 1 - Kind", "billing"),
            ]
        );
    }

    #[test]
    fn lines_of_a_street_in_columns_of_their_own_are_one_street() {
        let suggested = columns(Resource::Contact, ImportLayout::Dynamics, &header("contactid,address1_line1,address1_line2,address1_line3"));
        let street = suggested.iter().find(|column| column.target == "Address 1 - Street").expect("a street");
        assert_eq!(
            (street.header.as_str(), street.further_headers.as_slice()),
            ("address1_line1", header("address1_line2,address1_line3").as_slice())
        );
    }
}
