//! Roles of a contact at accounts that are merged and part again. Pure.
//!
//! Guarantees: an account that another one goes on for is named no more; where the contact has roles at both, those at the
//! survivor stay and the others come back when both part, unless they were removed since.

use uuid::Uuid;

use super::AccountRole;
use super::merge::{ROLES, settle_roles};
use crate::limits;
use crate::merge::lists::TooMany;
use crate::merge::parts::Story;

/// The roles with `survivor` in the place of `loser`.
#[must_use]
pub fn moved(roles: &[AccountRole], loser: Uuid, survivor: Uuid) -> Vec<AccountRole> {
    let has_both = roles.iter().any(|role| role.account == survivor);
    let was_primary = roles.iter().any(|role| role.account == loser && role.primary);
    let stay = roles.iter().filter(|role| role.account != loser || !has_both);
    let mut moved: Vec<AccountRole> = stay.cloned().map(|role| renamed(role, loser, survivor)).collect();
    if let (true, Some(role)) = (has_both && was_primary, moved.iter_mut().find(|role| role.account == survivor)) {
        role.primary = true;
    }
    settle_roles(&mut moved);
    moved
}

/// The roles as they are when both accounts stand by themselves again: `before` the merge they were these, right after it
/// those `merged`, and `now` others, perhaps.
///
/// # Errors
/// [`TooMany`].
pub fn parted(before: &[AccountRole], merged: &[AccountRole], now: &[AccountRole], loser: Uuid, survivor: Uuid) -> Result<Vec<AccountRole>, TooMany> {
    if merged == now {
        return Ok(before.to_vec());
    }
    let at = |roles: &[AccountRole], account: Uuid| -> Vec<AccountRole> {
        roles.iter().filter(|role| role.account == account).cloned().map(|role| renamed(role, loser, survivor)).collect()
    };
    let (of_survivor, of_loser, merged) = (at(before, survivor), at(before, loser), at(merged, survivor));
    let story = Story { survivor: &of_survivor[..], loser: &of_loser[..], merged: &merged[..], now: &at(now, survivor)[..] };
    let (of_survivor, of_loser) = ROLES.part(story);
    let others = now.iter().filter(|role| role.account != survivor).cloned();
    let back = of_loser.into_iter().map(|role| renamed(role, survivor, loser));
    let mut roles: Vec<AccountRole> = others.chain(of_survivor).chain(back).collect();
    // Which account is shown with the person was chosen since, if it is one of the others.
    settle_roles(&mut roles);
    if roles.len() > limits::ACCOUNT_ROLES {
        return Err(TooMany { field: "accounts", max: limits::ACCOUNT_ROLES });
    }
    Ok(roles)
}

fn renamed(role: AccountRole, from: Uuid, into: Uuid) -> AccountRole {
    if role.account == from { AccountRole { account: into, ..role } } else { role }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOSER: Uuid = Uuid::from_u128(1);
    const SURVIVOR: Uuid = Uuid::from_u128(2);
    const OTHER: Uuid = Uuid::from_u128(3);

    fn role(account: Uuid, role: &str, primary: bool) -> AccountRole {
        AccountRole { account, sole: false, role: role.to_owned(), primary, start: None, end: None }
    }

    #[test]
    fn a_role_at_the_loser_alone_moves_and_goes_back_with_its_changes() {
        let before = [role(OTHER, "adviser", true), role(LOSER, "buyer", false)];
        let merged = moved(&before, LOSER, SURVIVOR);
        assert_eq!(merged, [role(OTHER, "adviser", true), role(SURVIVOR, "buyer", false)]);
        assert_eq!(parted(&before, &merged, &merged, LOSER, SURVIVOR).unwrap(), before);
        let now = [role(OTHER, "friend", true), role(SURVIVOR, "head of purchase", false)];
        let apart = parted(&before, &merged, &now, LOSER, SURVIVOR).unwrap();
        assert_eq!(apart, [role(OTHER, "friend", true), role(LOSER, "head of purchase", false)]);
    }

    #[test]
    fn of_roles_at_both_the_survivors_stays_and_both_come_back() {
        let before = [role(LOSER, "buyer", true), role(SURVIVOR, "seller", false)];
        let merged = moved(&before, LOSER, SURVIVOR);
        assert_eq!(merged, [role(SURVIVOR, "seller", true)]);
        assert_eq!(parted(&before, &merged, &merged, LOSER, SURVIVOR).unwrap(), before);
        let now = [role(SURVIVOR, "seller", false), role(OTHER, "new", true)];
        let apart = parted(&before, &merged, &now, LOSER, SURVIVOR).unwrap();
        assert_eq!(apart, [role(OTHER, "new", true), role(SURVIVOR, "seller", false), role(LOSER, "buyer", false)]);
    }

    #[test]
    fn what_was_removed_since_stays_removed() {
        let before = [role(LOSER, "buyer", true)];
        let merged = moved(&before, LOSER, SURVIVOR);
        assert_eq!(parted(&before, &merged, &[], LOSER, SURVIVOR).unwrap(), []);
        let elsewhere = [role(OTHER, "buyer", true)];
        assert_eq!(parted(&before, &merged, &elsewhere, LOSER, SURVIVOR).unwrap(), elsewhere);
    }

    #[test]
    fn more_roles_than_a_contact_may_have_are_refused() {
        let before = [role(LOSER, "buyer", true), role(SURVIVOR, "seller", false)];
        let merged = moved(&before, LOSER, SURVIVOR);
        let mut now = merged.clone();
        now.extend((10..59).map(|account| role(Uuid::from_u128(account), "", false)));
        assert_eq!(parted(&before, &merged, &now, LOSER, SURVIVOR), Err(TooMany { field: "accounts", max: limits::ACCOUNT_ROLES }));
    }
}
