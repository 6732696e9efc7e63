//! What was set aside, over HTTP: `GET /v1/quarantine/EPOCH/PLACE` shows an input whole, and
//! `POST /v1/quarantine/replay` reads what is selected again.

use axum::extract::{Path, Request};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use trueup_model::fact::InputId;

use super::Desk;
use super::answer::{Refusal, asked};
use super::hall::Open;
use crate::quarantine::{Quarantine, Replayed, Selection, SetAside};

pub(super) async fn show(
    Open(desk): Open,
    Path((epoch, place)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    match desk.show(&headers, &format!("{epoch}/{place}")).await {
        Ok(shown) => asked(&shown.json()),
        Err(refusal) => refusal.into_response(),
    }
}

pub(super) async fn replay(Open(desk): Open, request: Request) -> Response {
    match desk.replay(request).await {
        Ok(Replayed { epoch, accepted, still, unreadable }) => {
            asked(&json!({"epoch": epoch, "accepted": accepted, "still_set_aside": still, "unreadable": unreadable}))
        }
        Err(refusal) => refusal.into_response(),
    }
}

impl Desk {
    async fn show(&self, headers: &HeaderMap, name: &str) -> Result<SetAside, Refusal> {
        self.check_token(headers)?;
        let input: InputId = name.parse().map_err(Refusal::Selection)?;
        let shown = self.quarantine()?.show(input).await.map_err(Refusal::from)?;
        shown.ok_or_else(|| Refusal::NotSetAside(input.to_string()))
    }

    async fn replay(&self, request: Request) -> Result<Replayed, Refusal> {
        self.check_token(request.headers())?;
        let mut held = self.room.hold();
        let bytes = self.receive(request, &mut held).await?;
        let selection = Selection::read(&bytes).map_err(Refusal::Selection)?;
        self.quarantine()?.replay(selection).await.map_err(Refusal::from)
    }

    fn quarantine(&self) -> Result<&dyn Quarantine, Refusal> {
        self.intake.quarantine().ok_or(Refusal::NoQuarantine)
    }
}
