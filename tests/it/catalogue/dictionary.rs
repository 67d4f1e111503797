//! The data dictionary: every method, message and field of the contract, with the words of its proto comment.
//!
//! The comments are read from the proto files; the descriptors inside programs carry none, to stay small.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write;
use std::path::Path;

use prost_reflect::{
    DescriptorPool, EnumDescriptor, FieldDescriptor, FileDescriptor, Kind, MessageDescriptor, MethodDescriptor, ServiceDescriptor, Value,
};
use rapport_proto::{Door, MethodRule, Repeat};

use super::{class, compare};
use crate::architecture::{assert_none, files, root};

/// The rule table of each page's package.
const RULES: [(&str, &[MethodRule]); 3] =
    [("common", rapport_proto::METHODS), ("contacts", rapport_contacts_api::METHODS), ("identity", rapport_identity_api::METHODS)];

/// What comments call the codes of gRPC; every other word in their spelling is a reason or a value of an enum.
const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

const LEGEND: &str = "
How to read the pages: one part for each proto file, in it first the methods, then messages and enums.

- **who may call**: a permission that one of the caller's roles must hold; *any user* (with a valid token); *operator* (the
  installation's credential, or a service's own); *anybody*.
- **repeating**: *at will* for calls that only read, or do nothing more when sent again; *under one key* for calls that, sent
  again with the same `idempotency-key`, change nothing and answer the same; *never* for calls whose answer holds a secret.
- **recorded**: *journal*, where what the call changes stands with who, when, before and after (*as to records*: what it does to
  tokens and signing keys does not stand there); *access log*, where a read of sensitive things leaves a line. Refused calls of
  known callers stand in the access log, whichever method it was.
- **reasons**: what `google.rpc.ErrorInfo` may carry besides the reasons that the service names for all of its methods.
- **rules** of a field: *required* in a request; *output only*, set by the server and ignored in requests; *input only*, never
  answered; *immutable*, fixed once the record exists; *may be unset*, which differs from empty or zero; *one of*, at most one of
  the fields with this word is set.
- **personal data**: the class of a field that describes a person; [all of them on one page](PERSONAL_DATA.md).
";

/// Reasons that a method may answer although its comment names none of them: code, reason, when.
const EVERYWHERE: [(&str, &str, &str); 15] = [
    ("INVALID_ARGUMENT", "FIELD_INVALID", "a field of the request is wrong; each is named"),
    ("INVALID_ARGUMENT", "TEXT_INVALID", "a text of the request has the character NUL"),
    ("INVALID_ARGUMENT", "MESSAGE_UNREADABLE", "the request is not a message of this method"),
    ("INVALID_ARGUMENT", "RECORD_TOO_LARGE", "the record would take more than 256 KiB"),
    ("INVALID_ARGUMENT", "IDEMPOTENCY_KEY_REUSED", "the key came with another request before"),
    ("FAILED_PRECONDITION", "ANSWER_EXPIRED", "carried out under this key before, but what it wrote is erased since"),
    ("FAILED_PRECONDITION", "SECURITY_POLICY_MISSING", "the tenant has not stored its security policy yet"),
    ("UNAUTHENTICATED", "CREDENTIAL_INVALID", "no credential, or one that is not valid here any more"),
    ("PERMISSION_DENIED", "PERMISSION_MISSING", "no role of the caller holds the permission, or the credential is limited to others"),
    ("RESOURCE_EXHAUSTED", "OVERLOADED", "the process has as many calls as it can take; send again after the time that it gives"),
    ("RESOURCE_EXHAUSTED", "DATABASE_BUSY", "all connections to the database are in use; send again after the time that it gives"),
    ("RESOURCE_EXHAUSTED", "MESSAGE_TOO_LARGE", "the request or its answer takes more than 4 MiB"),
    ("UNAVAILABLE", "DATABASE_AWAY", "the database does not answer; send again after the time that it gives"),
    ("DEADLINE_EXCEEDED", "DEADLINE_PASSED", "the caller's deadline, or a minute, was over first"),
    ("INTERNAL", "INTERNAL", "a mistake on our side; the log tells more by the request id"),
];

/// The contract as it is written, comments included.
struct Protos {
    pool: DescriptorPool,
    /// By file and path within it, as descriptors number their parts.
    comments: HashMap<(String, Vec<i32>), String>,
    /// Reasons that the code gives.
    reasons: BTreeSet<String>,
}

impl Protos {
    fn read() -> Self {
        let folder = root().join("proto");
        let mut compiler = protox::Compiler::new([folder.join("third_party"), folder.clone()]).expect("the folders of protos exist");
        compiler.include_imports(true).include_source_info(true);
        let mut protos: Vec<_> = files(&folder.join("rapport"), "proto").into_iter().map(|(path, _)| path).collect();
        protos.sort();
        for path in protos {
            compiler.open_file(path).expect("a proto compiles");
        }
        let pool = DescriptorPool::decode(compiler.encode_file_descriptor_set().as_slice()).expect("descriptors can be read");
        let mut comments = HashMap::new();
        for file in pool.files() {
            let parts = file.file_descriptor_proto().source_code_info.iter().flat_map(|info| &info.location);
            for part in parts.filter(|part| !part.leading_comments().trim().is_empty()) {
                comments.insert((file.name().to_owned(), part.path.clone()), plain(part.leading_comments()));
            }
        }
        Self { pool, comments, reasons: reasons_of_the_code() }
    }

    /// The comment above something; none if there is none.
    fn comment(&self, file: &FileDescriptor, path: &[i32]) -> Option<&str> {
        self.comments.get(&(file.name().to_owned(), path.to_vec())).map(String::as_str)
    }

    fn said(&self, file: &FileDescriptor, path: &[i32]) -> &str {
        self.comment(file, path).unwrap_or_default()
    }

    /// The files of one package, in the order of their names.
    fn files(&self, package: &str) -> Vec<FileDescriptor> {
        let mut files: Vec<FileDescriptor> = self.pool.files().filter(|file| file.package_name() == package).collect();
        files.sort_by(|one, other| one.name().cmp(other.name()));
        files
    }

    /// Words in the spelling of reasons that are neither codes nor values of an enum.
    fn shouted(&self, comment: &str) -> Vec<String> {
        let values: BTreeSet<String> =
            self.pool.all_enums().flat_map(|of| of.values().map(|value| value.name().to_owned()).collect::<Vec<_>>()).collect();
        let mut words: Vec<String> = Vec::new();
        for word in comment.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_')) {
            let spelt = word.len() > 3 && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
            if spelt && !CODES.contains(&word) && !values.contains(word) && !words.iter().any(|known| known == word) {
                words.push(word.to_owned());
            }
        }
        words
    }

    fn reasons(&self, comment: &str) -> String {
        let known: Vec<String> =
            self.shouted(comment).into_iter().filter(|word| self.reasons.contains(word)).map(|word| format!("`{word}`")).collect();
        known.join(", ")
    }
}

/// Quoted words in the spelling of reasons, from the code of services and the kit.
fn reasons_of_the_code() -> BTreeSet<String> {
    let code = files(&root().join("services"), "rs").into_iter().chain(files(&root().join("crates/rapport-kit/src"), "rs"));
    let quoted = |text: String| text.split('"').map(str::to_owned).collect::<Vec<_>>();
    let spelt = |word: &String| word.len() > 3 && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    code.flat_map(|(_, text)| quoted(text)).filter(spelt).collect()
}

/// A comment without the blank that stands before each of its lines.
fn plain(comment: &str) -> String {
    comment.lines().map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end()).collect::<Vec<_>>().join("\n").trim().to_owned()
}

/// A comment in one cell of a table.
fn cell(comment: &str) -> String {
    let paragraphs = comment.split("\n\n").map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "));
    paragraphs.collect::<Vec<_>>().join("<br>").replace('|', "\\|")
}

#[test]
fn the_data_dictionary_is_what_the_protos_say() {
    let protos = Protos::read();
    let mut index =
        "# Data dictionary\n\nMade from the protos by a test; do not edit. Every method, message and field of the contract, with what is said \
        about it there.\n\n| page | methods | messages | fields | with personal data |\n|---|--:|--:|--:|--:|\n"
            .to_owned();
    for (service, rules) in RULES {
        let package = format!("rapport.{service}.v1");
        let folder = format!("rapport/{service}/v1");
        let messages: Vec<MessageDescriptor> = protos.pool.all_messages().filter(|message| message.package_name() == package).collect();
        let fields: Vec<FieldDescriptor> = messages.iter().flat_map(MessageDescriptor::fields).collect();
        let personal = fields.iter().filter(|field| class(field).is_some()).count();
        let _ = writeln!(index, "| [{service}]({folder}/DICTIONARY.md) | {} | {} | {} | {personal} |", rules.len(), messages.len(), fields.len());
        compare(&format!("proto/{folder}/DICTIONARY.md"), &page(&protos, service, &package));
    }
    index.push_str(LEGEND);
    index.push_str("\n## Reasons that any method may answer\n\n| code | reason | when |\n|---|---|---|\n");
    for (code, reason, when) in EVERYWHERE {
        let _ = writeln!(index, "| {code} | `{reason}` | {when} |");
    }
    compare("proto/DICTIONARY.md", &index);
}

#[test]
fn everything_in_the_contract_has_a_comment() {
    let protos = Protos::read();
    let mut silent = Vec::new();
    let mut ask = |name: &str, file: &FileDescriptor, path: &[i32]| {
        if protos.comment(file, path).is_none() {
            silent.push(format!("{}: {name}", file.name()));
        }
    };
    let ours = |package: &str| package.starts_with("rapport.");
    for message in protos.pool.all_messages().filter(|message| ours(message.package_name()) && !message.is_map_entry()) {
        ask(message.full_name(), &message.parent_file(), message.path());
        message.fields().for_each(|field| ask(field.full_name(), &message.parent_file(), field.path()));
    }
    for of in protos.pool.all_enums().filter(|of| ours(of.package_name())) {
        ask(of.full_name(), &of.parent_file(), of.path());
        of.values().for_each(|value| ask(value.full_name(), &of.parent_file(), value.path()));
    }
    for service in protos.pool.services().filter(|service| ours(service.package_name())) {
        ask(service.full_name(), &service.parent_file(), service.path());
        service.methods().for_each(|method| ask(method.full_name(), &service.parent_file(), method.path()));
    }
    silent.sort();
    assert_none(silent, "something in the contract has no comment");
}

#[test]
fn a_reason_that_a_comment_promises_is_one_that_the_code_gives() {
    let protos = Protos::read();
    let mut unknown = BTreeSet::new();
    for ((file, _), comment) in protos.comments.iter().filter(|((file, _), _)| file.starts_with("rapport/")) {
        let promised = protos.shouted(comment).into_iter().filter(|word| word.contains('_') && !protos.reasons.contains(word));
        unknown.extend(promised.map(|word| format!("{file}: {word}")));
    }
    let everywhere = EVERYWHERE.into_iter().filter(|(_, reason, _)| !protos.reasons.contains(*reason));
    unknown.extend(everywhere.map(|(_, reason, _)| format!("the list of reasons of any method: {reason}")));
    assert_none(unknown.into_iter().collect(), "a comment names a reason that no code gives");
}

fn page(protos: &Protos, service: &str, package: &str) -> String {
    let files = protos.files(package);
    let mut page =
        format!("# {service}: data dictionary\n\nMade from the protos by a test; do not edit. [How to read it](../../../DICTIONARY.md).\n\n");
    for file in &files {
        let title = title(file);
        let _ = writeln!(page, "- [{title}](#{})", anchor(title));
    }
    for file in &files {
        let _ = writeln!(page, "\n## {}", title(file));
        file.services().for_each(|service| methods(&mut page, protos, &service));
        for found in file.messages() {
            message(&mut page, protos, &found);
        }
        file.enums().for_each(|of| values(&mut page, protos, &of));
    }
    page
}

/// `rapport/contacts/v1/contact.proto` as `contact.proto`.
fn title(file: &FileDescriptor) -> &str {
    Path::new(file.name()).file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

fn methods(page: &mut String, protos: &Protos, service: &ServiceDescriptor) {
    let file = service.parent_file();
    let _ = writeln!(page, "\n### {}\n\n{}\n", service.name(), protos.said(&file, service.path()));
    page.push_str("| method | who may call | repeating | recorded | reasons |\n|---|---|---|---|---|\n");
    for method in service.methods() {
        let rule = rule(&method);
        let reasons = protos.reasons(protos.said(&file, method.path()));
        let recorded = match (rule.repeat, rule.door) {
            (Repeat::Safe, _) if rule.sensitive_read => "access log",
            (Repeat::Safe, _) => "",
            // Tokens and signing keys are no records of a tenant.
            (_, Door::Public | Door::Operator) => "journal, as to records",
            _ => "journal",
        };
        let _ = writeln!(page, "| {} | {} | {} | {recorded} | {reasons} |", method.name(), caller(rule), repeating(rule));
    }
    for method in service.methods() {
        let (from, to) =
            (link(service.package_name(), &Kind::Message(method.input())), link(service.package_name(), &Kind::Message(method.output())));
        let _ = writeln!(page, "\n**{}**: {from} → {to}\n\n{}", method.name(), protos.said(&file, method.path()));
    }
}

fn rule(method: &MethodDescriptor) -> &'static MethodRule {
    let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
    RULES.iter().flat_map(|(_, rules)| *rules).find(|rule| rule.path == path).expect("every method has a rule, or the build fails")
}

fn caller(rule: &MethodRule) -> String {
    let set_up = if rule.set_up { ", before the security policy is stored too" } else { "" };
    match rule.door {
        Door::Public => "anybody".to_owned(),
        Door::Operator => "operator".to_owned(),
        Door::Authenticated => format!("any user{set_up}"),
        Door::Permission => format!("`{}`{set_up}", rule.permission),
    }
}

fn repeating(rule: &MethodRule) -> &'static str {
    match rule.repeat {
        Repeat::Safe => "at will",
        Repeat::Keyed => "under one key",
        Repeat::Never => "never",
    }
}

fn message(page: &mut String, protos: &Protos, message: &MessageDescriptor) {
    if message.is_map_entry() {
        return;
    }
    let file = message.parent_file();
    let _ = writeln!(page, "\n### {}\n\n{}", within(message.full_name(), message.package_name()), protos.said(&file, message.path()));
    if let Some(key) = event(message) {
        let _ = writeln!(page, "\nPublished as `{key}`.");
    }
    if message.fields().len() > 0 {
        page.push_str("\n| field | type | rules | personal data | meaning |\n|---|---|---|---|---|\n");
    }
    for field in message.fields() {
        let personal = class(&field).unwrap_or_default();
        let _ =
            writeln!(page, "| `{}` | {} | {} | {personal} | {} |", field.name(), kind(&field), rules(&field), cell(protos.said(&file, field.path())));
    }
    for nested in message.child_messages() {
        self::message(page, protos, &nested);
    }
    message.child_enums().for_each(|of| values(page, protos, &of));
}

fn event(message: &MessageDescriptor) -> Option<&'static str> {
    let all = super::SERVICES.iter().flat_map(|(_, _, events)| *events);
    all.filter(|event| event.message == message.full_name()).map(|event| event.key).next()
}

fn values(page: &mut String, protos: &Protos, of: &EnumDescriptor) {
    let file = of.parent_file();
    let _ = writeln!(page, "\n### {}\n\n{}\n", within(of.full_name(), of.package_name()), protos.said(&file, of.path()));
    page.push_str("| value | number | meaning |\n|---|--:|---|\n");
    for value in of.values() {
        let _ = writeln!(page, "| `{}` | {} | {} |", value.name(), value.number(), cell(protos.said(&file, value.path())));
    }
}

/// What the field's options ask of it, in words.
fn rules(field: &FieldDescriptor) -> String {
    let mut words = Vec::new();
    if let Some(extension) = field.parent_pool().get_extension_by_name("google.api.field_behavior")
        && let (options, Kind::Enum(of)) = (field.options(), extension.kind())
        && let Value::List(set) = options.get_extension(&extension).as_ref()
    {
        let names = set.iter().filter_map(|value| Some(of.get_value(value.as_enum_number()?)?.name().to_lowercase().replace('_', " ")));
        words.extend(names);
    }
    match field.containing_oneof() {
        Some(oneof) if oneof.is_synthetic() => words.push("may be unset".to_owned()),
        Some(oneof) => words.push(format!("one of `{}`", oneof.name())),
        None => {}
    }
    words.join(", ")
}

fn kind(field: &FieldDescriptor) -> String {
    let package = field.parent_message().package_name().to_owned();
    if let (true, Kind::Message(entry)) = (field.is_map(), field.kind()) {
        let of = |name| entry.get_field_by_name(name).map(|part| link(&package, &part.kind())).unwrap_or_default();
        return format!("map from {} to {}", of("key"), of("value"));
    }
    let name = link(&package, &field.kind());
    if field.is_list() { format!("list of {name}") } else { name }
}

/// The name of a type; a link where it stands in the dictionary.
fn link(from: &str, kind: &Kind) -> String {
    let (name, package) = match kind {
        Kind::Message(message) => (message.full_name(), message.package_name()),
        Kind::Enum(of) => (of.full_name(), of.package_name()),
        scalar => return format!("{scalar:?}").to_lowercase(),
    };
    let short = within(name, package);
    let service = package.strip_prefix("rapport.").and_then(|rest| rest.strip_suffix(".v1"));
    match service {
        Some(_) if package == from => format!("[{short}](#{})", anchor(short)),
        Some(service) => format!("[{short}](../../{service}/v1/DICTIONARY.md#{})", anchor(short)),
        None => format!("`{name}`"),
    }
}

/// A full name without its package.
fn within<'a>(name: &'a str, package: &str) -> &'a str {
    name.strip_prefix(package).and_then(|rest| rest.strip_prefix('.')).unwrap_or(name)
}

/// What a heading is reached by: small letters, digits and underscores.
fn anchor(heading: &str) -> String {
    heading.chars().filter(|letter| letter.is_ascii_alphanumeric() || *letter == '_').collect::<String>().to_lowercase()
}
