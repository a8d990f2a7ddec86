"""Drives the catalogue, the meters and the webhooks of the sandbox's Stripe with the Python SDK.

    tests/sdk/install
    PYTHONPATH=target/sdk/python STRIPE_BASE=… CONSOLE_BASE=… python3 tests/sdk/stripe_sdk.py

Ends with a non-zero status at the first thing that is not as the SDK documents it. The sandbox's
clock has to tick, so that what falls due happens by itself.
"""

import hashlib
import hmac
import json
import threading
import time
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer

import stripe
from sandbox_stripe import (
    RUN, advance, check, client, connect, console, new_clock, refused, v1, wait_for,
)


class Hook(BaseHTTPRequestHandler):
    """An endpoint that refuses the first delivery and keeps them all."""

    taken = []

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        Hook.taken.append((body, self.headers["stripe-signature"]))
        self.send_response(500 if len(Hook.taken) == 1 else 200)
        self.end_headers()

    def log_message(self, *_):
        pass


class ThinHook(Hook):
    """An endpoint that takes all deliveries."""

    thin = []

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        ThinHook.thin.append((body, self.headers["stripe-signature"]))
        self.send_response(200)
        self.end_headers()


def products_and_prices():
    product = v1.products.create({"name": f"Basic {RUN}", "metadata": {"a": "1", "b": "2"}})
    product = v1.products.update(product.id, {"metadata": {"a": "", "c": "3"}})
    check(product.metadata.to_dict() == {"b": "2", "c": "3"}, "metadata merges")
    price = v1.prices.create({
        "product": product.id,
        "currency": "usd",
        "unit_amount_decimal": Decimal("0.15"),
        "recurring": {"interval": "month"},
        "lookup_key": f"basic_{RUN}",
        "transform_quantity": {"divide_by": 100, "round": "up"},
    })
    check(price.unit_amount is None, "a fraction has no whole amount")
    check(Decimal(price.unit_amount_decimal) == Decimal("0.15"), "the decimal amount")
    check(price.recurring.usage_type == "licensed", "licensed by default")
    expanded = v1.prices.retrieve(price.id, {"expand": ["product"]})
    check(expanded.product.name == f"Basic {RUN}", "expand[]=product")
    found = v1.prices.list({"lookup_keys": [f"basic_{RUN}"], "expand": ["data.product"]})
    check([p.id for p in found.data] == [price.id], "lookup_keys")
    ended = v1.prices.update(price.id, {"active": False, "metadata": {"why": "ended"}})
    check((ended.active, ended.metadata["why"]) == (False, "ended"), "a price that is off sale")
    active = v1.prices.list({"product": product.id, "active": True})
    check(active.data == [], "prices on sale")
    error = refused(stripe.InvalidRequestError, lambda: v1.prices.retrieve("price_nope"))
    check((error.http_status, error.code) == (404, "resource_missing"), "404")
    error = refused(
        stripe.InvalidRequestError,
        lambda: v1.prices.create({"product": product.id, "unit_amount": 1, "currency": "usd",
                                  "nope": 1}),
    )
    check((error.code, error.param) == ("parameter_unknown", "nope"), "parameter_unknown")
    return product


def tiers(product, meter):
    price = v1.prices.create({
        "product": product.id,
        "currency": "usd",
        "billing_scheme": "tiered",
        "tiers_mode": "graduated",
        "tiers": [
            {"up_to": 100_000, "flat_amount": 8995},
            {"up_to": "inf", "unit_amount_decimal": Decimal("0.1")},
        ],
        "recurring": {"interval": "month", "usage_type": "metered", "meter": meter.id},
        "expand": ["tiers"],
    })
    check([t.up_to for t in price.tiers] == [100_000, None], "tiers ascend to inf")
    check("tiers" not in v1.prices.retrieve(price.id).to_dict(), "tiers only on request")
    return price


def paging():
    for number in range(12):
        v1.products.create({"name": f"Page {RUN} {number}"})
    names = [
        product.name
        for product in v1.products.list({"limit": 5}).auto_paging_iter()
        if product.name.startswith(f"Page {RUN}")
    ]
    check(names == [f"Page {RUN} {n}" for n in reversed(range(12))], "pages, newest first")
    first = v1.products.list({"limit": 3})
    second = v1.products.list({"limit": 3, "starting_after": first.data[-1].id})
    check(second.has_more, "more to come")
    back = v1.products.list({"limit": 3, "ending_before": second.data[0].id})
    check([p.id for p in back.data] == [p.id for p in first.data], "and the page before")


def idempotency():
    options = {"idempotency_key": f"key-{RUN}"}
    first = v1.customers.create({"name": "A"}, options)
    again = v1.customers.create({"name": "A"}, options)
    check(first.id == again.id, "a replay gives the same object")
    check(again.last_response.headers["idempotent-replayed"] == "true", "and says so")
    refused(stripe.IdempotencyError, lambda: v1.customers.create({"name": "B"}, options))


def bad_days():
    """The SDK repeats a call whose outcome is unknown with the same idempotency key."""
    email = f"bad-{RUN}@example.com"
    fault = {"side": "stripe", "method": "POST", "path_contains": "/v1/customers"}
    console("/api/faults", kind="too_many_requests", **fault)
    refused(stripe.RateLimitError, lambda: v1.customers.create({"email": email}))
    check(v1.customers.list({"email": email}).data == [], "nothing happened")
    console("/api/faults", kind="error_after_effect", **fault)
    customer = connect("sk_test_sandbox", retries=2).v1.customers.create({"email": email})
    check(customer.last_response.headers["idempotent-replayed"] == "true", "a replay")
    found = [customer.id for customer in v1.customers.list({"email": email}).data]
    check(found == [customer.id], "it happened once")


def new_meter(formula):
    return v1.billing.meters.create({
        "display_name": f"Calls, {formula}",
        "event_name": f"{formula}_{RUN}",
        "default_aggregation": {"formula": formula},
    })


def meters():
    meter = new_meter("last")
    check(meter.value_settings.event_payload_key == "value", "the default value key")
    check(meter.customer_mapping.event_payload_key == "stripe_customer_id", "the default mapping")
    check(v1.billing.meters.deactivate(meter.id).status == "inactive", "deactivated")
    v1.billing.meters.reactivate(meter.id)
    renamed = v1.billing.meters.update(meter.id, {"display_name": "Calls made"})
    check((renamed.status, renamed.display_name) == ("active", "Calls made"), "renamed")
    refused(stripe.InvalidRequestError, lambda: new_meter("average"))
    usage(meter, latest=120, after_cancelling=90)
    usage(new_meter("sum"), latest=210, after_cancelling=90)
    usage(new_meter("count"), latest=2, after_cancelling=1)
    return meter


def usage(meter, latest, after_cancelling):
    """With a test clock, so that the lag passes when the clock is advanced."""
    start = int(time.time()) // 86_400 * 86_400
    clock = new_clock(start + 3_600)
    customer = v1.customers.create({"test_clock": clock.id, "email": f"{RUN}@example.com"})
    identifier = f"{meter.event_name}_a"

    def report(value, **more):
        payload = {"stripe_customer_id": customer.id, "value": str(value)}
        params = {"event_name": meter.event_name, "payload": payload}
        return v1.billing.meter_events.create(params | more)

    def total():
        params = {"customer": customer.id, "start_time": start, "end_time": start + 86_400}
        return v1.billing.meters.event_summaries.list(meter.id, params).data[0].aggregated_value

    report(120, identifier=identifier)
    report(90, timestamp=start)
    error = refused(stripe.InvalidRequestError, lambda: report(1, identifier=identifier))
    check("already exists with identifier" in error.user_message, "a duplicate identifier")
    check(error.headers["stripe-should-retry"] == "false", "is never retried")
    refused(stripe.InvalidRequestError, lambda: report(1, timestamp=start - 36 * 86_400))
    check(total() == 0, "nothing counts before the lag")
    advance(clock, start + 7_200)
    check(total() == latest, f"the formula of {meter.event_name}")
    v1.billing.meter_event_adjustments.create({
        "event_name": meter.event_name, "type": "cancel", "cancel": {"identifier": identifier},
    })
    check(total() == after_cancelling, "a cancelled event no longer counts")
    v1.test_helpers.test_clocks.delete(clock.id)
    refused(stripe.InvalidRequestError, lambda: v1.customers.retrieve(customer.id))


def customers():
    customer = v1.customers.create({"email": f"c-{RUN}@example.com", "name": "C"})
    found = v1.customers.list({"email": f"c-{RUN}@example.com"})
    check([c.id for c in found.data] == [customer.id], "customers by e-mail")
    v1.customers.update(customer.id, {"name": "D"})
    updates = v1.events.list({"type": "customer.updated", "limit": 1}).data[0]
    check(updates.data.object.id == customer.id, "the event's object")
    check(updates.data.previous_attributes["name"] == "C", "the event's previous attributes")
    check(v1.customers.delete(customer.id).deleted, "deleted")
    check(v1.customers.retrieve(customer.id).deleted, "and still found, as a stub")


def webhooks():
    server = HTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = v1.webhook_endpoints.create({
        "url": f"http://127.0.0.1:{server.server_port}/hook",
        "enabled_events": ["product.created"],
        "api_version": "2026-09-30.endive",
    })
    shown = v1.webhook_endpoints.retrieve(endpoint.id).to_dict()
    check("secret" not in shown, "the secret is shown only once")
    product = v1.products.create({"name": f"Hooked {RUN}"})
    event = signed(endpoint, delivery(1))
    check(event.data.object.id == product.id, "the delivered object")
    check(event.api_version == "2026-09-30.endive", "the endpoint's version")
    check(v1.events.retrieve(event.id).pending_webhooks == 1, "an event that was not taken")
    console("/api/clock/advance", seconds=61)
    check(signed(endpoint, delivery(2)).id == event.id, "the same event a minute later")
    kept = v1.events.retrieve(event.id)
    check((kept.type, kept.pending_webhooks) == ("product.created", 0), "and now it is taken")
    console(f"/api/webhooks/{event.id}/redeliver")
    check(signed(endpoint, delivery(3)).id == event.id, "the same event on request")
    v1.webhook_endpoints.update(endpoint.id, {"disabled": True})
    v1.products.create({"name": f"Unheard {RUN}"})
    v1.webhook_endpoints.delete(endpoint.id)
    refused(stripe.InvalidRequestError, lambda: v1.webhook_endpoints.retrieve(endpoint.id))
    check(len(Hook.taken) == 3, "a disabled endpoint hears nothing")


def delivery(number):
    return wait_for(lambda: len(Hook.taken) >= number and Hook.taken[number - 1], "a delivery")


def signed(endpoint, delivery):
    """The event of a delivery whose signature the SDK accepts."""
    body, signature = delivery
    moment = signature.split(",")[0][2:]
    digest = hmac.new(endpoint.secret.encode(), f"{moment}.".encode() + body, hashlib.sha256)
    check(f"v1={digest.hexdigest()}" in signature, "the documented signature")
    forged = body.replace(b"Hooked", b"Forged")
    refused(
        stripe.SignatureVerificationError,
        lambda: client.construct_event(forged, signature, endpoint.secret),
    )
    return client.construct_event(body, signature, endpoint.secret)


def meter_errors(meter):
    """A report for a customer that is not there is taken, and told of by a thin event."""
    server = HTTPServer(("127.0.0.1", 0), ThinHook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    v2 = client.v2.core
    destination = v2.event_destinations.create({
        "name": f"Errors {RUN}",
        "type": "webhook_endpoint",
        "event_payload": "thin",
        "enabled_events": ["v1.billing.meter.error_report_triggered"],
        "webhook_endpoint": {"url": f"http://127.0.0.1:{server.server_port}/thin"},
        "include": ["webhook_endpoint.signing_secret"],
    })
    v1.billing.meter_events.create({
        "event_name": meter.event_name,
        "payload": {"stripe_customer_id": "cus_gone", "value": "1"},
        "identifier": f"gone-{RUN}",
    })
    console("/api/clock/advance", seconds=11)
    body, signature = wait_for(lambda: ThinHook.thin and ThinHook.thin[0], "a thin event")
    secret = destination.webhook_endpoint.signing_secret
    notification = client.parse_event_notification(body, signature, secret)
    check(notification.related_object.id == meter.id, "the meter of a thin event")
    event = notification.fetch_event()
    kind = event.data.reason.error_types[0]
    check(kind.code == "meter_event_customer_not_found", "what was wrong")
    check(kind.sample_errors[0].request.identifier == f"gone-{RUN}", "with which report")
    listed = v2.events.list({"types": [event.type], "object_id": meter.id})
    check([one.id for one in listed.data] == [event.id], "the list of thin events")
    v2.event_destinations.delete(destination.id)
    refused(stripe.InvalidRequestError, lambda: v2.event_destinations.retrieve(destination.id))


def main():
    refused(stripe.AuthenticationError, lambda: connect("sk_test_x").v1.products.list())
    product = products_and_prices()
    meter = meters()
    tiers(product, meter)
    paging()
    idempotency()
    bad_days()
    customers()
    webhooks()
    meter_errors(meter)
    print("the Python SDK finds catalogue, meters and webhooks as documented")


main()
