//! Roles, teams, business units, legal entities and service accounts for the requests about them.

use rapport_identity_api::v1 as pb;
use rapport_proto::common::v1::{FieldEffect, FieldRule, GrantLevel};

use super::{Made, key, mask, removing};
use crate::bureau::{Stored, legal_entity};
use crate::coverage::scene::Valid;

impl Made<'_> {
    // Roles.

    pub(super) async fn role(self) -> Stored {
        self.bureau.role(&self.scene.administrator, &self.fresh("Role"), &["contacts.contact.read"]).await
    }

    pub(super) fn create_role(self) -> Valid {
        let rule = FieldRule { resource: "contacts.contact".to_owned(), field: "person.birth_date".to_owned(), effect: FieldEffect::Hidden.into() };
        let role = pb::Role {
            display_name: self.fresh("Role"),
            description: "For tests".to_owned(),
            permissions: vec!["contacts.contact.*".to_owned()],
            field_rules: vec![rule],
            ..pb::Role::default()
        };
        Valid::change(&pb::CreateRoleRequest { role: Some(role) }, 2)
    }

    pub(super) async fn update_role(self) -> Valid {
        let Stored { name, etag } = self.role().await;
        let role = pb::Role { name, etag, description: "Changed".to_owned(), ..pb::Role::default() };
        Valid::change(&pb::UpdateRoleRequest { role: Some(role), update_mask: mask("description") }, 2).about_a_record()
    }

    pub(super) async fn delete_role(self) -> Valid {
        let Stored { name, etag } = self.role().await;
        removing(Valid::change(&pb::DeleteRoleRequest { name, etag }, 2))
    }

    // Teams.

    pub(super) async fn team(self) -> Stored {
        let members = vec![self.scene.administrator.name()];
        let team = pb::Team { display_name: self.fresh("Team"), members, ..pb::Team::default() };
        self.ask("TeamService/CreateTeam", &pb::CreateTeamRequest { team: Some(team) }).await
    }

    pub(super) async fn create_team(self) -> Valid {
        let members = vec![self.user().await.name, self.scene.colleague.name()];
        let team = pb::Team { display_name: self.fresh("Team"), description: "For tests".to_owned(), members, ..pb::Team::default() };
        Valid::change(&pb::CreateTeamRequest { team: Some(team) }, 2)
    }

    pub(super) async fn list_teams(self) -> Valid {
        for _ in 0..3 {
            self.team().await;
        }
        Valid::read(&pb::ListTeamsRequest::default())
    }

    pub(super) async fn update_team(self) -> Valid {
        let Stored { name, etag } = self.team().await;
        let team = pb::Team { name, etag, description: "Changed".to_owned(), ..pb::Team::default() };
        Valid::change(&pb::UpdateTeamRequest { team: Some(team), update_mask: mask("description") }, 2).about_a_record()
    }

    pub(super) async fn delete_team(self) -> Valid {
        let Stored { name, etag } = self.team().await;
        removing(Valid::change(&pb::DeleteTeamRequest { name, etag }, 2))
    }

    pub(super) async fn add_member(self) -> Valid {
        let Stored { name, etag } = self.team().await;
        let user = self.scene.colleague.name();
        Valid::change(&pb::AddTeamMemberRequest { name, user, etag }, 2).about_a_record()
    }

    pub(super) async fn remove_member(self) -> Valid {
        let Stored { name, etag } = self.team().await;
        let user = self.scene.administrator.name();
        Valid::change(&pb::RemoveTeamMemberRequest { name, user, etag }, 2).about_a_record()
    }

    // Business units and legal entities.

    pub(super) async fn unit(self) -> Stored {
        let legal_entity = self.entity().await.name;
        let unit = pb::BusinessUnit { display_name: self.fresh("Unit"), legal_entity, ..pb::BusinessUnit::default() };
        self.ask("BusinessUnitService/CreateBusinessUnit", &pb::CreateBusinessUnitRequest { business_unit: Some(unit) }).await
    }

    pub(super) async fn create_unit(self) -> Valid {
        let parent = self.unit().await.name;
        let unit = pb::BusinessUnit { display_name: self.fresh("Unit"), parent, ..pb::BusinessUnit::default() };
        Valid::change(&pb::CreateBusinessUnitRequest { business_unit: Some(unit) }, 2)
    }

    pub(super) async fn list_units(self) -> Valid {
        self.unit().await;
        Valid::read(&pb::ListBusinessUnitsRequest::default())
    }

    pub(super) async fn update_unit(self) -> Valid {
        let parent = self.unit().await.name;
        let Stored { name, etag } = self.unit().await;
        let unit = pb::BusinessUnit { name, etag, parent, ..pb::BusinessUnit::default() };
        let request = pb::UpdateBusinessUnitRequest { business_unit: Some(unit), update_mask: mask("parent") };
        Valid::change(&request, 2).about_a_record()
    }

    pub(super) async fn delete_unit(self) -> Valid {
        let Stored { name, etag } = self.unit().await;
        removing(Valid::change(&pb::DeleteBusinessUnitRequest { name, etag }, 2))
    }

    pub(super) async fn entity(self) -> Stored {
        let entity = legal_entity(&self.fresh("Entity"));
        self.ask("LegalEntityService/CreateLegalEntity", &pb::CreateLegalEntityRequest { legal_entity: Some(entity) }).await
    }

    pub(super) fn create_entity(self) -> Valid {
        let entity = pb::LegalEntity {
            fiscal_year_start_month: 4,
            tax_ids: vec![pb::TaxId { kind: "VAT".to_owned(), value: "123".to_owned() }],
            number_series: vec![pb::NumberSeries { collection: "quotes".to_owned(), prefix: "Q-".to_owned(), ..pb::NumberSeries::default() }],
            ..legal_entity(&self.fresh("Entity"))
        };
        Valid::change(&pb::CreateLegalEntityRequest { legal_entity: Some(entity) }, 1)
    }

    pub(super) async fn list_entities(self) -> Valid {
        self.entity().await;
        self.entity().await;
        Valid::read(&pb::ListLegalEntitiesRequest::default())
    }

    pub(super) async fn update_entity(self) -> Valid {
        let Stored { name, etag } = self.entity().await;
        let entity = pb::LegalEntity { name, etag, country: "DE".to_owned(), ..pb::LegalEntity::default() };
        Valid::change(&pb::UpdateLegalEntityRequest { legal_entity: Some(entity), update_mask: mask("country") }, 1).about_a_record()
    }

    // Service accounts and their keys.

    pub(super) async fn account(self) -> Stored {
        let account = pb::ServiceAccount { display_name: self.fresh("Account"), ..pb::ServiceAccount::default() };
        let request = pb::CreateServiceAccountRequest { service_account: Some(account) };
        self.ask("ServiceAccountService/CreateServiceAccount", &request).await
    }

    pub(super) async fn create_account(self) -> Valid {
        let account =
            pb::ServiceAccount { display_name: self.fresh("Account"), business_unit: self.unit().await.name, ..pb::ServiceAccount::default() };
        Valid::change(&pb::CreateServiceAccountRequest { service_account: Some(account) }, 2)
    }

    pub(super) async fn list_accounts(self) -> Valid {
        self.account().await;
        self.account().await;
        Valid::read(&pb::ListServiceAccountsRequest::default())
    }

    pub(super) async fn delete_account(self) -> Valid {
        let Stored { name, etag } = self.account().await;
        removing(Valid::change(&pb::DeleteServiceAccountRequest { name, etag }, 2))
    }

    pub(super) async fn grant_account(self) -> Valid {
        let Stored { name, etag } = self.account().await;
        let role = self.role().await.name;
        Valid::change(&pb::GrantServiceAccountRoleRequest { name, role, level: GrantLevel::All.into(), etag }, 2).about_a_record()
    }

    pub(super) async fn revoke_account(self) -> Valid {
        let account = self.account().await;
        let role = self.role().await.name;
        let request =
            pb::GrantServiceAccountRoleRequest { name: account.name, role: role.clone(), level: GrantLevel::Own.into(), etag: String::new() };
        let Stored { name, etag } = self.ask("ServiceAccountService/GrantServiceAccountRole", &request).await;
        Valid::change(&pb::RevokeServiceAccountRoleRequest { name, role, etag }, 2).about_a_record()
    }

    pub(super) async fn create_key(self) -> Valid {
        let parent = self.account().await.name;
        Valid::change(&pb::CreateApiKeyRequest { parent, api_key: Some(key()) }, 1).about_a_record()
    }

    pub(super) async fn key_of(self, parent: &str) -> pb::CreateApiKeyResponse {
        let request = pb::CreateApiKeyRequest { parent: parent.to_owned(), api_key: Some(key()) };
        self.ask("ServiceAccountService/CreateApiKey", &request).await
    }

    pub(super) async fn list_keys(self) -> Valid {
        let parent = self.account().await.name;
        for _ in 0..3 {
            self.key_of(&parent).await;
        }
        Valid::read(&pb::ListApiKeysRequest { parent, ..pb::ListApiKeysRequest::default() }).about_a_record()
    }

    pub(super) async fn revoke_key(self) -> Valid {
        let made = self.key_of(&self.account().await.name).await;
        let name = made.api_key.expect("a key is answered").name;
        Valid::change(&pb::RevokeApiKeyRequest { name }, 2).about_a_record()
    }

    pub(super) async fn exchange_key(self) -> Valid {
        let secret = self.key_of(&self.account().await.name).await.secret;
        Valid::read(&pb::ExchangeApiKeyRequest { secret })
    }
}
