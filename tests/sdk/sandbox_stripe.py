"""What the scripts that drive the sandbox's Stripe with the Python SDK share."""

import http.client
import json
import os
import time
import uuid
from urllib.parse import urlencode, urlsplit

import stripe

STRIPE = os.environ["STRIPE_BASE"]
CONSOLE = os.environ["CONSOLE_BASE"]


def connect(key, retries=0):
    return stripe.StripeClient(
        key,
        base_addresses={"api": STRIPE},
        stripe_version="2026-09-30.endive",
        max_network_retries=retries,
    )


client = connect("sk_test_sandbox")
v1 = client.v1
RUN = uuid.uuid4().hex[:8]
GOOD, FAILS_LATER, POOR, DECLINED, ASKS_ONCE = (
    "4242424242424242",
    "4000000000000341",
    "4000000000009995",
    "4000000000000002",
    "4000002500003155",
)


def check(condition, what):
    if not condition:
        raise SystemExit(f"not as documented: {what}")


def refused(kind, call):
    """The error of a call that has to fail with this class of error."""
    try:
        call()
    except kind as error:
        return error
    raise SystemExit(f"a call was not refused with {kind.__name__}")


def wait_for(condition, what, seconds=20):
    """Polls until the condition gives something; the sandbox works in the background."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.1)
    raise SystemExit(f"did not happen in {seconds} s: {what}")


def send(method, url, body, content_type):
    """The status, the redirection and the body of the answer."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=60)
    connection.request(method, parts.path, body, {"content-type": content_type})
    response = connection.getresponse()
    return response.status, response.getheader("location"), response.read()


def submit(page, number, **more):
    """Posts the card form of a hosted page as a browser does."""
    form = {"email": "buyer@example.com", "card_expiry": "12/34", "card_cvc": "123"}
    form = urlencode(form | {"card_number": number} | more)
    status, location, body = send("POST", page, form, "application/x-www-form-urlencoded")
    return status, location, body.decode()


def show(page):
    return send("GET", page, None, "text/plain")


def console(path, **request):
    """Asks the sandbox's console for something that Stripe's API cannot do."""
    body = json.dumps(request)
    status, _, answer = send("POST", CONSOLE + path, body, "application/json")
    check(status in (200, 201), f"the console's answer to {path}: {answer}")


def new_clock(time):
    return v1.test_helpers.test_clocks.create({"frozen_time": time})


def advance(clock, to):
    v1.test_helpers.test_clocks.advance(clock.id, {"frozen_time": to})
    wait_for(lambda: v1.test_helpers.test_clocks.retrieve(clock.id).status == "ready", "ready")


def customer_with(card, clock=None):
    """A customer who pays with a ready-made test card, if any."""
    customer = v1.customers.create({"test_clock": clock.id} if clock else {})
    if card:
        pay_with(customer, card)
    return customer


def pay_with(customer, card):
    method = v1.payment_methods.attach(card, {"customer": customer.id})
    settings = {"default_payment_method": method.id}
    v1.customers.update(customer.id, {"invoice_settings": settings})
    return method


def monthly(product, **more):
    price = {"product": product.id, "currency": "usd", "recurring": {"interval": "month"}}
    return v1.prices.create(price | {"unit_amount": 1495} | more)
