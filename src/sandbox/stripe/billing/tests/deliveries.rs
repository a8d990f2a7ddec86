//! Finalization waits for the endpoints that listen to `invoice.created`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};

use super::{Shop, id, seconds};

/// A subscription that turns at 2026-12-17T00:00:00Z, and an endpoint at `url`.
fn listening(url: &str) -> (Shop, String) {
    let shop = Shop::open("2026-11-17T00:00:00Z");
    let customer = shop.customer(Some("pm_card_visa"));
    let price = shop.metered_price("payg", &[("unit_amount_decimal", "0.15")]);
    let subscription = id(&shop.subscribe(&customer, &price, &[]));
    let form = [("url", url), ("enabled_events[0]", "invoice.created")];
    shop.post("/v1/webhook_endpoints", &form);
    (shop, subscription)
}

/// The address of an endpoint that answers the first `refusals` requests with 500, the rest with
/// 200. Its thread ends with the test's process.
fn endpoint(refusals: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for (count, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            read_request(&stream);
            let status = if count < refusals { "500 No" } else { "200 OK" };
            let answer =
                format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    format!("http://{address}/hook")
}

/// Reads a request to its end, so that the answer is not lost with an unread rest.
fn read_request(stream: &TcpStream) {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap();
        }
        if line.trim().is_empty() {
            break;
        }
    }
    reader.read_exact(&mut vec![0; length]).unwrap();
}

#[test]
fn a_draft_is_finalized_an_hour_after_its_event_was_taken() {
    let (shop, subscription) = listening(&endpoint(0));
    shop.advance("2026-12-17T00:59:59Z");
    let draft = shop.latest_invoice(&subscription);
    assert_eq!(draft["status"], "draft");
    assert_eq!(
        draft["webhooks_delivered_at"],
        seconds("2026-12-17T00:00:00Z")
    );
    shop.advance("2026-12-17T01:00:00Z");
    assert_eq!(shop.latest_invoice(&subscription)["status"], "paid");
}

#[test]
fn a_refused_event_delays_finalization_until_it_is_taken() {
    let (shop, subscription) = listening(&endpoint(2));
    shop.advance("2026-12-17T01:00:00Z");
    let draft = shop.latest_invoice(&subscription);
    assert_eq!(draft["status"], "draft");
    let taken = draft["webhooks_delivered_at"].as_i64().unwrap();
    assert!(taken > seconds("2026-12-17T00:00:00Z"));
    assert_eq!(draft["automatically_finalizes_at"], taken + 3600);
    shop.advance("2026-12-17T02:00:00Z");
    assert_eq!(shop.latest_invoice(&subscription)["status"], "paid");
}

#[test]
fn an_event_that_is_never_taken_delays_finalization_for_72_hours() {
    let (shop, subscription) = listening("http://127.0.0.1:9/nobody");
    shop.advance("2026-12-19T23:59:59Z");
    assert_eq!(shop.latest_invoice(&subscription)["status"], "draft");
    shop.advance("2026-12-20T00:00:00Z");
    assert_eq!(shop.latest_invoice(&subscription)["status"], "paid");
}
