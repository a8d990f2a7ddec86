"""Drives the billing of the sandbox's Stripe, and the pages that it hosts, with the Python SDK.

    tests/sdk/install
    PYTHONPATH=target/sdk/python STRIPE_BASE=… CONSOLE_BASE=… python3 tests/sdk/stripe_billing.py

Ends with a non-zero status at the first thing that is not as the SDK documents it. The sandbox's
clock has to tick, so that what falls due happens by itself.
"""

import time
from datetime import datetime, timezone

import stripe
from sandbox_stripe import (
    ASKS_ONCE, DECLINED, FAILS_LATER, GOOD, POOR, RUN, advance, check, customer_with, monthly,
    new_clock, pay_with, refused, show, submit, v1,
)

HOUR, DAY = 3_600, 86_400


def subscribe(customer, price, **more):
    return v1.subscriptions.create({"customer": customer.id, "items": [{"price": price.id}]} | more)


def status(subscription):
    return v1.subscriptions.retrieve(subscription.id).status


def period_end(subscription):
    return subscription.items.data[0].current_period_end


def only_invoice(subscription, status):
    """The one invoice of a subscription that has this status."""
    invoices = v1.invoices.list({"subscription": subscription.id, "status": status}).data
    check(len(invoices) == 1, f"one invoice that is {status}, of {subscription.status}")
    return invoices[0]


def a_fixed_month(product):
    customer = customer_with("pm_card_visa")
    price = monthly(product)
    subscription = subscribe(
        customer,
        price,
        metadata={"apim_user": "u1"},
        expand=["latest_invoice.payments"],
    )
    check(subscription.status == "active", "paid at once")
    check(subscription.billing_mode.type == "flexible", "flexible by default")
    item = subscription.items.data[0]
    check(item.current_period_end > item.current_period_start, "the item holds the period")
    check("current_period_end" not in subscription.to_dict(), "and the subscription does not")
    invoice = subscription.latest_invoice
    check((invoice.status, invoice.amount_paid) == ("paid", 1495), "the first invoice")
    check([p.status for p in invoice.payments.data] == ["paid"], "and its payment")
    parent = invoice.parent.subscription_details
    check(parent.subscription == subscription.id, "the invoice's parent")
    check(parent.metadata["apim_user"] == "u1", "with the metadata as it was")
    line = v1.invoices.line_items.list(invoice.id).data[0]
    check(line.pricing.price_details.price == price.id, "the line's price")
    preview = v1.invoices.create_preview({"subscription": subscription.id})
    check(preview.amount_due == 1495, "the coming invoice")
    updated = v1.subscriptions.update(subscription.id, {"cancel_at_period_end": True})
    check(updated.cancel_at_period_end, "to be cancelled")
    check(v1.subscriptions.cancel(subscription.id).status == "canceled", "cancelled at once")
    refused(stripe.InvalidRequestError, lambda: v1.subscriptions.cancel(subscription.id))
    ended = v1.subscriptions.list({"customer": customer.id, "status": "canceled"})
    check([s.id for s in ended.data] == [subscription.id], "subscriptions by status")


def metered(product):
    meter = v1.billing.meters.create({
        "display_name": "Calls",
        "event_name": f"billed_{RUN}",
        "default_aggregation": {"formula": "last"},
    })
    tiers = [
        {"up_to": 100_000, "flat_amount": 8995},
        {"up_to": "inf", "unit_amount_decimal": "0.1"},
    ]
    recurring = {"interval": "month", "usage_type": "metered", "meter": meter.id}
    price = v1.prices.create({
        "product": product.id, "currency": "usd", "billing_scheme": "tiered",
        "tiers_mode": "graduated", "tiers": tiers, "recurring": recurring,
    })
    return meter, price


def a_metered_month(meter, price):
    start = int(time.time()) // DAY * DAY
    clock = new_clock(start)
    customer = customer_with("pm_card_visa", clock)
    subscription = subscribe(customer, price)
    check(subscription.status == "active", "active without a payment")
    check(subscription.latest_invoice is None, "a metered sign-up has no first invoice")
    end = period_end(subscription)
    v1.billing.meter_events.create({
        "event_name": meter.event_name,
        "payload": {"stripe_customer_id": customer.id, "value": "100250"},
    })
    advance(clock, start + HOUR)
    preview = v1.invoices.create_preview({"subscription": subscription.id})
    check(preview.total == 8995 + 25, "the coming invoice")
    advance(clock, end + 60)
    draft = only_invoice(subscription, "draft")
    check(draft.billing_reason == "subscription_cycle", "a draft")
    backstop = end + 48 * HOUR
    v1.invoices.update(draft.id, {"automatically_finalizes_at": backstop, "auto_advance": True})
    advance(clock, end + 12 * HOUR)
    check(v1.invoices.retrieve(draft.id).status == "draft", "held until the chosen moment")
    invoice = v1.invoices.finalize_invoice(draft.id)
    check(invoice.total == 8995 + 25, "the flat fee and 250 calls")
    lines = v1.invoices.line_items.list(draft.id).data
    check(sum(line.amount for line in lines) == invoice.total, "the lines add up")
    check(v1.invoices.retrieve(draft.id).status == "paid", "finalized and paid")
    v1.test_helpers.test_clocks.delete(clock.id)


def an_anchored_start(price):
    anchor = {"day_of_month": 1, "hour": 0, "minute": 0, "second": 0}
    subscription = subscribe(
        customer_with("pm_card_visa"),
        price,
        billing_cycle_anchor_config=anchor,
        proration_behavior="none",
    )
    end = datetime.fromtimestamp(period_end(subscription), timezone.utc)
    check((end.day, end.hour, end.minute, end.second) == (1, 0, 0, 0), "the first of a month")
    check(subscription.billing_cycle_anchor == period_end(subscription), "the anchor")


def a_first_payment_that_fails(product):
    clock = new_clock(int(time.time()))
    customer = customer_with("pm_card_chargeCustomerFail", clock)
    price = monthly(product)
    error = refused(
        stripe.CardError,
        lambda: subscribe(customer, price, payment_behavior="error_if_incomplete"),
    )
    check((error.http_status, error.code) == (402, "card_declined"), "a refused card")
    check(v1.subscriptions.list({"customer": customer.id}).data == [], "nothing came of it")
    subscription = subscribe(customer, price)
    check(subscription.status == "incomplete", "waiting for its first payment")
    check(only_invoice(subscription, "open").amount_remaining == 1495, "an open invoice")
    advance(clock, clock.frozen_time + 23 * HOUR + 60)
    check(status(subscription) == "incomplete_expired", "for 23 hours")
    check(only_invoice(subscription, "void").status_transitions.voided_at, "its invoice is void")


def a_trial(product):
    clock = new_clock(int(time.time()))
    customer = customer_with(None, clock)
    subscription = subscribe(
        customer,
        monthly(product),
        trial_period_days=14,
        trial_settings={"end_behavior": {"missing_payment_method": "pause"}},
    )
    check(subscription.status == "trialing", "a trial")
    advance(clock, subscription.trial_end + HOUR)
    check(status(subscription) == "paused", "no card at its end")
    pay_with(customer, "pm_card_visa")
    resumed = v1.subscriptions.resume(subscription.id, {"billing_cycle_anchor": {"type": "now"}})
    check(resumed.status == "active", "resumed")
    paid = v1.invoices.retrieve(resumed.latest_invoice)
    check((paid.status, paid.amount_paid) == ("paid", 1495), "and paid for")


def a_renewal_that_fails(product):
    clock = new_clock(int(time.time()))
    customer = customer_with("pm_card_visa", clock)
    subscription = subscribe(customer, monthly(product))
    failing = pay_with(customer, "pm_card_chargeCustomerFail")
    end = period_end(subscription)
    advance(clock, end + 2 * HOUR)
    check(status(subscription) == "past_due", "past due")
    invoice = only_invoice(subscription, "open")
    check((invoice.attempted, invoice.attempt_count) == (True, 1), "a first attempt")
    check(invoice.next_payment_attempt > end, "and another one planned")
    advance(clock, end + 10 * DAY)
    check(status(subscription) == "unpaid", "unpaid after the last retry")
    invoice = v1.invoices.retrieve(invoice.id)
    check(invoice.attempt_count > 1, "it was tried again")
    check(invoice.next_payment_attempt is None, "and no longer is")
    error = refused(stripe.CardError, lambda: v1.invoices.pay(invoice.id))
    check(error.code == "card_declined", "the same card fails again")
    good = v1.payment_methods.attach("pm_card_visa", {"customer": customer.id})
    paid = v1.invoices.pay(invoice.id, {"payment_method": good.id})
    check(paid.status == "paid", "paid with another card")
    check(status(subscription) == "active", "and active again")
    types = {event.type for event in v1.events.list({"limit": 100}).data}
    check({"invoice.payment_failed", "invoice.paid"} <= types, "the events of both")
    v1.payment_methods.detach(failing.id)


def open_invoice(product):
    """The open invoice of a renewal that failed."""
    clock = new_clock(int(time.time()))
    customer = customer_with("pm_card_visa", clock)
    subscription = subscribe(customer, monthly(product))
    pay_with(customer, "pm_card_chargeCustomerFail")
    advance(clock, period_end(subscription) + 2 * HOUR)
    return subscription, only_invoice(subscription, "open")


def ends_of_an_invoice(product):
    subscription, invoice = open_invoice(product)
    page = invoice.hosted_invoice_url
    check(show(page)[0] == 200, "the hosted invoice page")
    check(show(invoice.invoice_pdf)[2].startswith(b"%PDF"), "the invoice as a PDF")
    check(submit(page, DECLINED)[0] == 200, "a declined card leaves the payer on the page")
    check(submit(page, GOOD)[0] == 303, "a good card leads on")
    check(v1.invoices.retrieve(invoice.id).status == "paid", "paid on the page")
    check(status(subscription) == "active", "and active again")
    subscription, invoice = open_invoice(product)
    check(v1.invoices.mark_uncollectible(invoice.id).status == "uncollectible", "written off")
    check(v1.invoices.void_invoice(invoice.id).status == "void", "voided")
    refused(stripe.InvalidRequestError, lambda: v1.invoices.pay(invoice.id))


def payment_methods():
    customer = customer_with(None)
    visa = v1.payment_methods.attach("pm_card_visa", {"customer": customer.id})
    other = v1.payment_methods.attach("pm_card_mastercard", {"customer": customer.id})
    listed = v1.payment_methods.list({"customer": customer.id, "type": "card"})
    check([m.id for m in listed.data] == [other.id, visa.id], "the customer's cards")
    theirs = v1.customers.payment_methods.list(customer.id)
    check([m.card.last4 for m in theirs.data] == ["4444", "4242"], "and below the customer")
    found = v1.customers.payment_methods.retrieve(customer.id, visa.id)
    check((found.id, found.card.brand) == (visa.id, "visa"), "one of them")
    changed = v1.payment_methods.update(visa.id, {"metadata": {"a": "1"}})
    check(changed.metadata["a"] == "1", "its metadata")
    check(v1.payment_methods.detach(visa.id).customer is None, "detached")
    error = refused(
        stripe.CardError,
        lambda: v1.payment_methods.attach("pm_card_visa_chargeDeclined", {"customer": customer.id}),
    )
    check(error.error.decline_code == "generic_decline", "a card that cannot be saved")


def session_params(price, **more):
    return {
        "mode": "subscription",
        "line_items": [{"price": price.id, "quantity": 1}],
        "success_url": "https://portal.example/done?session={CHECKOUT_SESSION_ID}",
        "cancel_url": "https://portal.example/plans",
        "metadata": {"kept": "here"},
        "subscription_data": {"metadata": {"apim_user": "u1"}},
    } | more


def checkout(product):
    price = monthly(product)
    params = session_params(price)
    error = refused(
        stripe.InvalidRequestError,
        lambda: v1.checkout.sessions.create(params | {"payment_method_types": ["card"]}),
    )
    check(error.param == "payment_method_types", "endive removed payment_method_types")
    session = v1.checkout.sessions.create(params)
    check((session.status, session.payment_status) == ("open", "unpaid"), "an open session")
    check(session.subscription is None, "the subscription comes with the payment")
    for card, words in ((DECLINED, "was declined"), (POOR, "insufficient funds")):
        code, _, page = submit(session.url, card)
        check(code == 200 and words in page, f"{card}: {words}")
    code, location, _ = submit(session.url, GOOD)
    check(code == 303, "a good card leads on")
    check(location == f"https://portal.example/done?session={session.id}", "to the success page")
    session = v1.checkout.sessions.retrieve(session.id, {"expand": ["subscription"]})
    check((session.status, session.payment_status) == ("complete", "paid"), "completed")
    check(session.subscription.status == "active", "the subscription runs")
    check(session.subscription.metadata["apim_user"] == "u1", "with its own metadata")
    check(session.metadata["kept"] == "here", "the session keeps its own")
    items = v1.checkout.sessions.line_items.list(session.id).data
    check([item.price.id for item in items] == [price.id], "the line items")
    types = [event.type for event in v1.events.list({"limit": 50}).data]
    check("checkout.session.completed" in types, "checkout.session.completed")
    check("customer.subscription.created" in types, "customer.subscription.created")
    abandoned = v1.checkout.sessions.create(params)
    check(v1.checkout.sessions.expire(abandoned.id).status == "expired", "expired on request")
    return session.customer


def bought_with(product, number, **more):
    """A subscription that was bought with this card by a customer on a test clock."""
    clock = new_clock(int(time.time()))
    params = session_params(monthly(product), customer=customer_with(None, clock).id)
    session = v1.checkout.sessions.create(params)
    code, _, page = submit(session.url, number)
    if more:
        check(code == 200 and "uthenticat" in page, "the card asks for authentication")
        check(submit(session.url, number, authentication="fail")[0] == 200, "which can fail")
        check(v1.checkout.sessions.retrieve(session.id).status == "open", "and be tried again")
        code, _, _ = submit(session.url, number, **more)
    check(code == 303, f"{number} pays on the page")
    bought = v1.checkout.sessions.retrieve(session.id, {"expand": ["subscription"]}).subscription
    advance(clock, period_end(bought) + 2 * HOUR)
    return bought


def cards_that_renew_or_not(product):
    renewed = bought_with(product, ASKS_ONCE, authentication="complete")
    check(status(renewed) == "active", "authenticated once, it renews by itself")
    failed = bought_with(product, FAILS_LATER)
    check(status(failed) == "past_due", "it paid once, and then no more")


def customer_portal(customer):
    features = {
        "invoice_history": {"enabled": True},
        "payment_method_update": {"enabled": True},
        "subscription_cancel": {"enabled": True, "mode": "at_period_end"},
    }
    configuration = v1.billing_portal.configurations.create({"features": features})
    session = v1.billing_portal.sessions.create({
        "customer": customer,
        "return_url": "https://portal.example/",
        "configuration": configuration.id,
    })
    code, _, page = show(session.url)
    check(code == 200 and b"4242" in page, "the portal shows the card")


def main():
    product = v1.products.create({"name": f"Billed {RUN}"})
    meter, price = metered(product)
    a_fixed_month(product)
    a_metered_month(meter, price)
    an_anchored_start(price)
    a_first_payment_that_fails(product)
    a_trial(product)
    a_renewal_that_fails(product)
    ends_of_an_invoice(product)
    payment_methods()
    cards_that_renew_or_not(product)
    customer_portal(checkout(product))
    print("the Python SDK finds billing and its pages as documented")


main()
