//! Tickets, handles, credentials: nothing that was altered or guessed is taken.

use arrow_flight::Ticket;
use futures::StreamExt;
use tonic::{Code, Request};
use trueup_sinks::server::Options;

use crate::fake::{Fake, ledger};
use crate::support::{info, path, read, select, serve, serve_with, statement, ticket};

#[tokio::test]
async fn an_altered_ticket_is_refused() {
    let fake = Fake::new();
    let (_server, mut client) = serve(&fake).await;
    let good = ticket(&info(&mut client, path(&["ledger"])).await.unwrap());
    for place in 0..good.ticket.len() {
        let mut altered = good.ticket.to_vec();
        altered[place] ^= 0x10;
        let refused = client.do_get(Request::new(Ticket { ticket: altered.into() })).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "byte {place}");
    }
    for guess in ["", "ledger", "0000000000000000000000000000000000000000000"] {
        let refused = client.do_get(Request::new(Ticket { ticket: guess.into() })).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied);
    }
    assert!(client.do_get(Request::new(good)).await.is_ok());
}

#[tokio::test]
async fn a_ticket_reads_its_epoch_however_often_and_late() {
    let fake = Fake::new();
    let first = fake.publish([ledger("counted", 1, 1)]);
    let (_server, mut client) = serve(&fake).await;
    let pinned = ticket(&info(&mut client, path(&["snapshot", "ledger"])).await.unwrap());
    let asked = ticket(&info(&mut client, statement("SELECT events, as_of() FROM ledger")).await.unwrap());
    fake.publish([ledger("counted", 1, -1), ledger("counted", 2, 1)]);
    for _ in 0..2 {
        let count = client.do_get(Request::new(pinned.clone())).await.unwrap().into_inner().count().await;
        assert_eq!(count, 2);
    }
    let messages = client.do_get(Request::new(asked)).await.unwrap().into_inner();
    let messages: Vec<_> = messages.map(Result::unwrap).collect().await;
    assert_eq!(messages[1].app_metadata, format!("{{\"epoch\":{first}}}"));
    let newest = read(&mut client, path(&["ledger"])).await.unwrap().1;
    assert_eq!(crate::support::lines(&newest), ["counted|2"]);
}

#[tokio::test]
async fn who_does_not_know_the_token_learns_nothing() {
    let fake = Fake::new();
    let options = Options { token: Some("s3cret".into()), ..Options::default() };
    let (_server, mut client) = serve_with(&fake, options).await;
    assert_eq!(info(&mut client, path(&["ledger"])).await.unwrap_err().code(), Code::Unauthenticated);
    assert_eq!(client.list_actions(arrow_flight::Empty {}).await.unwrap_err().code(), Code::Unauthenticated);
    let with = |value: &str| {
        let mut request = Request::new(path(&["ledger"]));
        request.metadata_mut().insert("authorization", value.parse().unwrap());
        request
    };
    assert_eq!(client.get_flight_info(with("Bearer other")).await.unwrap_err().code(), Code::Unauthenticated);
    assert!(client.get_flight_info(with("Bearer s3cret")).await.is_ok());
    let mut login = Request::new(futures::stream::empty());
    login.metadata_mut().insert("authorization", "Basic YW5uOnMzY3JldA".parse().unwrap());
    let reply = client.handshake(login).await.unwrap();
    assert_eq!(reply.metadata().get("authorization").unwrap(), "Bearer s3cret");
}

#[tokio::test]
async fn a_view_that_is_not_there_is_answered_with_those_that_are() {
    let fake = Fake::new();
    let (_server, mut client) = serve(&fake).await;
    let refused = info(&mut client, path(&["useage"])).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    assert!(refused.message().contains("usage_hourly"));
    let refused = select(&mut client, "SELECT * FROM useage").await.unwrap_err();
    assert!(refused.message().contains("useage"), "{refused:?}");
}
