//! Contacts: the people and organisations that a tenant deals with, and how to reach them.
//!
//! Guarantees: a record and its journal row are written by one statement; what a caller may not see is neither
//! shown nor told by errors, filters or orders.

pub mod account;
pub mod address;
pub mod batch;
pub mod bulk;
pub mod contact;
pub mod contact_point;
pub mod convert;
pub mod duplicate;
pub mod events;
pub mod export;
pub mod external_id;
pub mod hide;
pub mod import;
pub mod import_mapping;
pub mod in_bulk;
pub mod layout;
pub mod limits;
pub mod merge;
pub mod number;
pub mod on;
pub mod owner;
pub mod reconcile;
pub mod region;
pub mod resource;
pub mod search;
pub mod tag;
pub mod undo;
pub mod update;
pub mod view;
pub mod violations;

use futures_util::future::BoxFuture;
use rapport_contacts_api as api;
use rapport_contacts_api::v1::account_service_server::AccountServiceServer;
use rapport_contacts_api::v1::bulk_service_server::BulkServiceServer;
use rapport_contacts_api::v1::contact_service_server::ContactServiceServer;
use rapport_contacts_api::v1::duplicate_rule_service_server::DuplicateRuleServiceServer;
use rapport_contacts_api::v1::duplicate_service_server::DuplicateServiceServer;
use rapport_contacts_api::v1::export_service_server::ExportServiceServer;
use rapport_contacts_api::v1::import_mapping_service_server::ImportMappingServiceServer;
use rapport_contacts_api::v1::import_service_server::ImportServiceServer;
use rapport_contacts_api::v1::merge_service_server::MergeServiceServer;
use rapport_contacts_api::v1::reconciliation_service_server::ReconciliationServiceServer;
use rapport_contacts_api::v1::search_service_server::SearchServiceServer;
use rapport_contacts_api::v1::view_service_server::ViewServiceServer;
use rapport_identity_api::v1::{LegalEntityCreated, LegalEntityUpdated};
use rapport_kit::common::{self, RecordType};
use rapport_kit::inbox::Consumers;
use rapport_kit::jobs::{self, Kind};
use rapport_kit::{App, Fault, Service, files};

use crate::account::Accounts;
use crate::bulk::BulkChanges;
use crate::contact::Contacts;
use crate::duplicate::{DuplicateRules, Duplicates, Rules};
use crate::export::Exports;
use crate::import::Imports;
use crate::import_mapping::ImportMappings;
use crate::merge::Merges;
use crate::reconcile::Reconciliations;
use crate::search::Search;
use crate::view::Views;

/// The contacts service.
pub static SERVICE: Service = Service {
    name: "contacts",
    migrations: &MIGRATIONS,
    methods: &[api::METHODS, rapport_proto::METHODS],
    descriptors: &[api::DESCRIPTORS, rapport_proto::DESCRIPTORS],
    start,
};

/// Kinds of records whose history and shares are served here.
static RECORD_TYPES: [RecordType; 2] = [
    RecordType {
        collection: account::COLLECTION,
        resource: account::RESOURCE,
        message: "rapport.contacts.v1.Account",
        table: "accounts",
        owner: "r.owner_id",
    },
    RecordType {
        collection: contact::COLLECTION,
        resource: contact::RESOURCE,
        message: "rapport.contacts.v1.Contact",
        table: "contacts",
        owner: "r.owner_id",
    },
];

/// Kinds of long work.
pub static JOBS: [Kind; 5] = [
    bulk::KIND,
    Kind {
        name: import::KIND,
        permission: import::PERMISSION,
        step: |run| Box::pin(import::step::step(run)),
        undo: Some(|run| Box::pin(undo::step(run))),
    },
    export::KIND,
    duplicate::sweep::KIND,
    reconcile::KIND,
];

static MIGRATIONS: rapport_kit::db::Migrations = sqlx::migrate!();

fn start(app: &mut App) -> BoxFuture<'_, Result<(), Fault>> {
    Box::pin(async move {
        let rules = Rules::default();
        app.serve(AccountServiceServer::new(Accounts::new(app.db.clone(), app.policy.clone(), app.tasks.clone())));
        app.serve(ContactServiceServer::new(Contacts::new(app.db.clone(), app.policy.clone(), rules.clone(), app.tasks.clone())));
        app.serve(MergeServiceServer::new(Merges::new(app.db.clone(), rules.clone())));
        app.serve(SearchServiceServer::new(Search::new(app.db.clone())));
        app.serve(ViewServiceServer::new(Views::new(app.db.clone())));
        app.serve(ImportMappingServiceServer::new(ImportMappings::new(app.db.clone())));
        app.serve(DuplicateRuleServiceServer::new(DuplicateRules::new(app.db.clone())));
        search::index::run(&app.system, &app.tasks);
        duplicate::task::run(&app.system, &app.tasks);
        import::remembered::run(&app.system, &app.tasks);
        common::serve(app, "contacts", &RECORD_TYPES, api::DESCRIPTORS);
        let files = files::serve(app, "contacts");
        let jobs = jobs::serve(app, "contacts", &JOBS, files.clone());
        app.serve(BulkServiceServer::new(BulkChanges::new(app.db.clone(), app.policy.clone(), jobs.clone())));
        app.serve(ImportServiceServer::new(Imports::new(app.db.clone(), files.clone(), jobs.clone())));
        app.serve(ReconciliationServiceServer::new(Reconciliations::new(app.db.clone(), files, jobs.clone())));
        app.serve(ExportServiceServer::new(Exports::new(app.db.clone(), jobs.clone())));
        app.serve(DuplicateServiceServer::new(Duplicates::new(app.db.clone(), app.policy.clone(), rules, jobs)));
        app.consume(
            Consumers::new("contacts")
                .on::<LegalEntityCreated, _>(|tx, received| Box::pin(on::legal_entity_changed::created(tx, received)))
                .on::<LegalEntityUpdated, _>(|tx, received| Box::pin(on::legal_entity_changed::updated(tx, received))),
        );
        Ok(())
    })
}
