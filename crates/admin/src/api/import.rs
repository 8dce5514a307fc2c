//! `/api/v1/import`: declarations and secrets of another gateway, taken over in one transaction.
#![expect(unused_qualifications, reason = "what describes the queries names their types in full")]

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use portcullis_core::audit::Actor;
use portcullis_core::model::{Label, Problem};
use portcullis_core::secret::Secret;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use crate::actor::By;
use crate::answer;
use crate::api::declarations::{DeclarationsFile, DeclarationsPlan};
use crate::conditions::Conditions;
use crate::declaration::{LARGEST, read_value};
use crate::operations::declarations::fingerprint;
use crate::operations::import::{self, Import};
use crate::problem::ApiError;
use crate::request::{Json, Params};
use crate::state::AdminState;

/// What another gateway has.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ImportBody {
    /// The declarations.
    #[schema(value_type = DeclarationsFile)]
    declarations: Value,
    /// Secrets of clients that are among them, by the names of the clients.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, String>)]
    secrets: BTreeMap<String, Secret>,
}

/// What an import changes.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ImportResult {
    /// What happens to declarations.
    plan: DeclarationsPlan,
    /// What happens to secrets.
    secrets: ImportedSecretsResult,
}

/// What happens to the secrets of an import, by the names of their clients.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ImportedSecrets)]
pub(crate) struct ImportedSecretsResult {
    /// They are taken over, with their clients.
    added: Vec<String>,
    /// Their clients have them already.
    known: Vec<String>,
    /// They are left out: their clients are there already, and have other secrets or none.
    other: Vec<String>,
    /// They are added beside the ones that were imported before and are no longer those of the other gateway. These stay good until
    /// they are retired.
    changed: Vec<ChangedSecretResult>,
    /// Like those, but left out: their clients have two secrets already.
    full: Vec<String>,
}

/// A secret that another one is added beside.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ChangedSecret)]
pub(crate) struct ChangedSecretResult {
    /// The client.
    client: String,
    /// The handle of the secret that was imported before.
    former: String,
}

/// How declarations are imported.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ImportQuery {
    /// Whether objects of other owners that are declared otherwise are taken over.
    adopt: Option<bool>,
    /// Whether to say what would change, and change nothing.
    dry_run: Option<bool>,
}

/// Makes the declarations of the owner `import` what the body says, with the secrets of clients that are new, all at once or
/// not at all. What `import` owns and the body does not declare is removed.
#[utoipa::path(post, path = "/api/v1/import", tag = "declarations", operation_id = "import_declarations",
    params(ImportQuery, ("If-Match" = Option<String>, Header, description = "The `ETag` of the declarations to change.")),
    request_body = ImportBody,
    responses((status = 200, description = "This has changed, or would.", body = ImportResult,
            headers(("ETag", description = "Changes with any declaration."))),
        (status = 412, description = "The declarations have changed since."),
        (status = 422, description = "There are problems; all of them are told, and nothing was changed.")))]
pub(crate) async fn import(
    State(state): State<Arc<AdminState>>,
    By(actor): By,
    Params(query): Params<ImportQuery>,
    conditions: Conditions,
    Json(body): Json<ImportBody, LARGEST>,
) -> Result<Response, ApiError> {
    let adopt = query.adopt.unwrap_or(false);
    let import = Import { reading: read_value(&body.declarations), secrets: by_client(body.secrets)?, adopt };
    let now = state.clock.unix_millis();
    if query.dry_run.unwrap_or(false) {
        let view = state.changes.view();
        let (plan, secrets) = import::plan(&view, &import, &state.master, now, &state.dry_run)?;
        return Ok(answer::shown(fingerprint(&view), json!({"plan": plan, "secrets": secrets})));
    }
    let changes = state.changes.by(Actor::import(actor.address));
    let (master, dry_run) = (Arc::clone(&state.master), state.dry_run.clone());
    let (plan, secrets) = import::import(&changes, import, conditions, master, now, dry_run).await?;
    Ok(answer::shown(fingerprint(&changes.view()), json!({"plan": plan, "secrets": secrets})))
}

fn by_client(secrets: BTreeMap<String, Secret>) -> Result<BTreeMap<Label, Secret>, ApiError> {
    let named = |(name, secret): (String, Secret)| match name.parse() {
        Ok(name) => Ok((name, secret)),
        Err(error) => Err(ApiError::invalid(vec![Problem::new("secrets", format!("{error}"))])),
    };
    secrets.into_iter().map(named).collect()
}
