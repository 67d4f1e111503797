//! What happens to the organisation between the two comparisons: people move, teams shrink, roles and grants are cut.

use rapport_identity_api::v1 as pb;
use uuid::Uuid;

use super::super::world::Dice;
use super::compare::mask;
use super::world::World;

impl World {
    /// Moves a user and a unit, removes a team member, cuts a role, takes one back and deletes a service account.
    pub(super) async fn change(&mut self, dice: &mut Dice) {
        let chief = self.tenant.chief();
        let units: Vec<Uuid> = self.tenant.model.units.keys().copied().collect();

        let movable = self.tenant.sessions.keys().copied().collect::<Vec<_>>();
        let moved = dice.pick(&movable);
        let person = self.tenant.model.users.get_mut(&moved).expect("a user is known");
        let elsewhere: Vec<Uuid> = units.iter().copied().filter(|unit| Some(*unit) != person.unit).collect();
        let unit = dice.pick(&elsewhere);
        person.unit = Some(unit);
        let user = pb::User { name: format!("users/{moved}"), business_unit: format!("businessUnits/{unit}"), ..pb::User::default() };
        let request = pb::UpdateUserRequest { user: Some(user), update_mask: mask("business_unit") };
        let _: pb::User = self.bureau.ask(&chief, "UserService/UpdateUser", &request).await;

        // The unit that the tenant began with stays at the top, so a leaf can go anywhere.
        let leaf = units.iter().copied().find(|unit| !self.tenant.model.units.values().any(|parent| *parent == Some(*unit)));
        let leaf = leaf.expect("a tree has a leaf");
        let top = self.tenant.model.units.iter().find(|(_, parent)| parent.is_none()).map(|(unit, _)| *unit).expect("a tree has a top");
        if leaf != top {
            self.tenant.model.units.insert(leaf, Some(top));
            let unit =
                pb::BusinessUnit { name: format!("businessUnits/{leaf}"), parent: format!("businessUnits/{top}"), ..pb::BusinessUnit::default() };
            let request = pb::UpdateBusinessUnitRequest { business_unit: Some(unit), update_mask: mask("parent") };
            let _: pb::BusinessUnit = self.bureau.ask(&chief, "BusinessUnitService/UpdateBusinessUnit", &request).await;
        }

        if let Some((team, members)) = self.tenant.model.teams.iter_mut().find(|(_, members)| members.len() > 1) {
            let gone = members.pop_first().expect("a team has members");
            let request = pb::RemoveTeamMemberRequest { name: format!("teams/{team}"), user: format!("users/{gone}"), etag: String::new() };
            let _: pb::Team = self.bureau.ask(&chief, "TeamService/RemoveTeamMember", &request).await;
        }

        let own = self.tenant.model.roles.iter_mut().find(|(role, _)| !self.tenant.shipped.contains(role));
        let (cut, role) = own.expect("a role of the tenant's own");
        role.permissions.retain(|permission| !permission.starts_with("identity.user.") && !permission.starts_with("identity.team."));
        let permissions = role.permissions.iter().cloned().collect();
        let role = pb::Role { name: format!("roles/{cut}"), permissions, ..pb::Role::default() };
        let request = pb::UpdateRoleRequest { role: Some(role), update_mask: mask("permissions") };
        let _: pb::Role = self.bureau.ask(&chief, "RoleService/UpdateRole", &request).await;

        let loser = dice.pick(&movable);
        let person = self.tenant.model.users.get_mut(&loser).expect("a user is known");
        if let Some((role, _)) = person.grants.pop() {
            let request = pb::RevokeRoleRequest { name: format!("users/{loser}"), role: format!("roles/{role}"), etag: String::new() };
            let _: pb::User = self.bureau.ask(&chief, "UserService/RevokeRole", &request).await;
        }

        let account = *self.tenant.keys.keys().next().expect("a service account");
        let request = pb::DeleteServiceAccountRequest { name: format!("serviceAccounts/{account}"), etag: String::new() };
        let (): () = self.bureau.ask(&chief, "ServiceAccountService/DeleteServiceAccount", &request).await;
        self.tenant.forget(account);
    }
}
