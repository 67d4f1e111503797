//! The service of rules: parse, read, decide, write once, answer.

use rapport_contacts_api::v1 as pb;
use rapport_contacts_api::v1::duplicate_rule_service_server::DuplicateRuleService;
use rapport_kit::command::{self, Done};
use rapport_kit::journal::Record;
use rapport_kit::mask::Mask;
use rapport_kit::{Ctx, Db, Fault, clock, name};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{RULES, Rule, rule_convert as convert, rule_sql as sql};
use crate::events;

/// Serves rules.
#[derive(Debug, Clone)]
pub struct DuplicateRules {
    db: Db,
}

#[tonic::async_trait]
impl DuplicateRuleService for DuplicateRules {
    async fn get_duplicate_rule(&self, request: Request<pb::GetDuplicateRuleRequest>) -> Result<Response<pb::DuplicateRule>, Status> {
        let ctx = Ctx::of(&request)?;
        let id = name::parse(RULES, &request.get_ref().name, "name")?;
        Ok(Response::new(convert::to_proto(&self.stored(&ctx, id).await?)))
    }

    async fn list_duplicate_rules(
        &self,
        request: Request<pb::ListDuplicateRulesRequest>,
    ) -> Result<Response<pb::ListDuplicateRulesResponse>, Status> {
        let ctx = Ctx::of(&request)?;
        Ok(Response::new(sql::list(&self.db, &ctx, request.get_ref()).await?))
    }

    async fn create_duplicate_rule(&self, request: Request<pb::CreateDuplicateRuleRequest>) -> Result<Response<pb::DuplicateRule>, Status> {
        let ctx = Ctx::of(&request)?;
        let done = self.create(&ctx, request.into_inner()).await;
        Ok(Response::new(command::answer(&self.db, &ctx, done).await?))
    }

    async fn update_duplicate_rule(&self, request: Request<pb::UpdateDuplicateRuleRequest>) -> Result<Response<pb::DuplicateRule>, Status> {
        let ctx = Ctx::of(&request)?;
        let request = request.into_inner();
        let sent = request.duplicate_rule.ok_or_else(|| Fault::invalid("duplicate_rule", "is required"))?;
        let mask = Mask::parse(request.update_mask, |path| convert::is_populated(&sent, path), convert::PATHS)?;
        let done = self.update(&ctx, &sent, mask.paths()).await;
        Ok(Response::new(command::answer(&self.db, &ctx, done).await?))
    }

    async fn delete_duplicate_rule(&self, request: Request<pb::DeleteDuplicateRuleRequest>) -> Result<Response<()>, Status> {
        let ctx = Ctx::of(&request)?;
        let outcome = self.delete(&ctx, request.get_ref()).await;
        command::answer_empty(&self.db, &ctx, outcome).await?;
        Ok(Response::new(()))
    }
}

impl DuplicateRules {
    /// Rules in `db`.
    #[must_use]
    pub fn new(db: Db) -> Self {
        Self { db }
    }

    async fn create(&self, ctx: &Ctx, request: pb::CreateDuplicateRuleRequest) -> Result<Done<pb::DuplicateRule>, Fault> {
        let sent = request.duplicate_rule.ok_or_else(|| Fault::invalid("duplicate_rule", "is required"))?;
        let (rule, fact) = Rule::create(clock::new_id(), convert::parse(sent)?, ctx.now());
        let entry = events::duplicate_rule(ctx, &rule, fact)?;
        let mut tx = self.db.begin(ctx).await?;
        sql::insert(&mut tx, ctx, &rule, entry).await?;
        tx.commit().await?;
        Ok(Done::Written(convert::to_proto(&rule)))
    }

    async fn update(&self, ctx: &Ctx, sent: &pb::DuplicateRule, paths: &[&str]) -> Result<Done<pb::DuplicateRule>, Fault> {
        let id = name::parse(RULES, &sent.name, "duplicate_rule.name")?;
        for _ in 0..command::ATTEMPTS {
            let mut rule = self.stored(ctx, id).await?;
            command::require_etag(&sent.etag, rule.version(), || rule.name())?;
            let details = convert::parse(convert::merge(&rule, sent, paths))?;
            let Some(fact) = rule.change(details, ctx.now()) else {
                let record = Record { collection: RULES, id, version: rule.version() };
                return Ok(Done::Unchanged(convert::to_proto(&rule), record));
            };
            let entry = events::duplicate_rule(ctx, &rule, fact)?;
            if sql::update(&mut self.db.for_tenant(ctx).await?, ctx, &rule, entry).await? {
                return Ok(Done::Written(convert::to_proto(&rule)));
            }
            if !sent.etag.is_empty() {
                break;
            }
        }
        Err(command::lost_race(&sent.etag, sent.name.clone()))
    }

    async fn delete(&self, ctx: &Ctx, request: &pb::DeleteDuplicateRuleRequest) -> Result<(), Fault> {
        let id = name::parse(RULES, &request.name, "name")?;
        for _ in 0..command::ATTEMPTS {
            let mut rule = self.stored(ctx, id).await?;
            command::require_etag(&request.etag, rule.version(), || rule.name())?;
            let fact = rule.delete();
            let entry = events::duplicate_rule(ctx, &rule, fact)?;
            if sql::delete(&mut self.db.for_tenant(ctx).await?, ctx, &rule, entry).await? {
                return Ok(());
            }
            if !request.etag.is_empty() {
                break;
            }
        }
        Err(command::lost_race(&request.etag, request.name.clone()))
    }

    async fn stored(&self, ctx: &Ctx, id: Uuid) -> Result<Rule, Fault> {
        let rule = sql::get(&mut self.db.for_tenant(ctx).await?, ctx, id).await?;
        rule.ok_or_else(|| Fault::not_found(name::format(RULES, id)))
    }
}
