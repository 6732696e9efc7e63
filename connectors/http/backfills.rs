//! Batches that were staged beside the journal, over HTTP: `POST /v1/backfills/NAME/apply` lets one
//! count, and `POST /v1/backfills/NAME/revert` takes it back.

use axum::extract::{Path, Request};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::Desk;
use super::answer::{Refusal, asked};
use super::hall::Open;
use crate::backfills::{Backfills, Terms};

pub(super) async fn apply(Open(desk): Open, Path(name): Path<String>, request: Request) -> Result<Response, Response> {
    desk.apply(name, request).await.map(|done| asked(&done)).map_err(Refusal::into_response)
}

pub(super) async fn revert(Open(desk): Open, Path(name): Path<String>, request: Request) -> Result<Response, Response> {
    desk.revert(name, request).await.map(|done| asked(&done)).map_err(Refusal::into_response)
}

impl Desk {
    async fn apply(&self, name: String, request: Request) -> Result<Value, Refusal> {
        self.check_token(request.headers())?;
        let mut held = self.room.hold();
        let terms = Terms::read(&self.receive(request, &mut held).await?).map_err(Refusal::Terms)?;
        Ok(self.backfills()?.apply(name, terms).await?)
    }

    async fn revert(&self, name: String, request: Request) -> Result<Value, Refusal> {
        self.check_token(&request.into_parts().0.headers)?;
        Ok(self.backfills()?.revert(name).await?)
    }

    fn backfills(&self) -> Result<&dyn Backfills, Refusal> {
        self.backfills.as_deref().ok_or(Refusal::NoBackfills)
    }
}
