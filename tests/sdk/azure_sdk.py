"""Drives the sandbox's Azure with Microsoft's own Python SDK and exits non-zero on a mismatch.

    tests/sdk/install
    export PYTHONPATH=target/sdk/python AZURE_BASE=… GATEWAY_BASE=… CONSOLE_BASE=…
    python3 tests/sdk/azure_sdk.py

Needs a sandbox with no users or products yet, whose clock ticks and whose reports lag is zero.
"""

import json
import logging
import os
import sys
import urllib.error
import urllib.request
from datetime import datetime, timedelta, timezone
from urllib.parse import urlsplit, urlunsplit

from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceNotFoundError,
)
from azure.core.pipeline.transport import RequestsTransport
from azure.identity import ClientSecretCredential
from azure.mgmt.apimanagement import ApiManagementClient
from azure.mgmt.apimanagement import models
from azure.mgmt.core.policies import ARMChallengeAuthenticationPolicy

BASE = os.environ["AZURE_BASE"].rstrip("/")
CONSOLE = os.environ["CONSOLE_BASE"].rstrip("/")
GATEWAY = os.environ["GATEWAY_BASE"].rstrip("/")
TENANT = "11111111-1111-4111-8111-111111111111"
CLIENT = "22222222-2222-4222-8222-222222222222"
SECRET = "sandbox-client-secret"
SUBSCRIPTION = "33333333-3333-4333-8333-333333333333"
SERVICE = ("sandbox", "tollhouse-sandbox")
SCOPE = "https://management.azure.com/.default"
POLICY = (
    '<policies><inbound><base /><rate-limit calls="3" renewal-period="60" /></inbound>'
    "<backend><base /></backend><outbound><base /></outbound><on-error><base /></on-error>"
    "</policies>"
)


def expect(found, wanted, what):
    if found != wanted:
        sys.exit(f"{what}: found {found!r}, expected {wanted!r}")


def refused(error, status, call, *arguments, **named):
    """The error that `call` must be refused with."""
    try:
        call(*arguments, **named)
    except error as refusal:
        if status is not None:
            expect(refusal.status_code, status, f"status of {call.__name__}")
        return refusal
    sys.exit(f"{call.__name__} was not refused")


class ToTheSandbox(RequestsTransport):
    """Entra's clients insist on https; this sends what they send to the sandbox instead."""

    def send(self, request, **kwargs):
        ours, theirs = urlsplit(BASE), urlsplit(request.url)
        request.url = urlunsplit((ours.scheme, ours.netloc, *theirs[2:]))
        return super().send(request, **kwargs)


class OverPlainHttp(ARMChallengeAuthenticationPolicy):
    """The management client keeps its token to itself on plain http, unless told otherwise."""

    def on_request(self, request):
        request.context.options["enforce_https"] = False
        super().on_request(request)


def credential(secret, **options):
    transport = ToTheSandbox()
    return ClientSecretCredential(TENANT, CLIENT, secret, transport=transport, **options)


def sign_in():
    for options in ({}, {"disable_instance_discovery": True}):
        token = credential(SECRET, **options).get_token(SCOPE)
        expect(token.token.count("."), 2, "parts of the access token")
    wrong = refused(ClientAuthenticationError, None, credential("wrong").get_token, SCOPE)
    expect("AADSTS7000215" in wrong.message, True, "code for a wrong secret")
    ours = credential(SECRET)
    return ApiManagementClient(
        ours,
        SUBSCRIPTION,
        base_url=BASE,
        authentication_policy=OverPlainHttp(ours, SCOPE),
        polling_interval=0,
    )


def service(client):
    found = client.api_management_service.get(*SERVICE)
    expect(found.sku.name, "Developer", "sku")
    expect(bool(found.gateway_url and found.developer_portal_url), True, "addresses")
    expect([api.name for api in client.api.list_by_service(*SERVICE)], ["weather"], "APIs")


def users(client):
    operations = client.user
    for name in ("ada", "bob"):
        user = models.UserCreateParameters(
            email=f"{name}@example.com", first_name=name, last_name="L", password="long enough 1"
        )
        created = operations.create_or_update(*SERVICE, name, user)
        expect(created.state, "active", "state of a new user")
    found = list(operations.list_by_service(*SERVICE, filter="email eq 'bob@example.com'"))
    expect([user.name for user in found], ["bob"], "users by e-mail")
    paged = [user.name for user in operations.list_by_service(*SERVICE, top=1)]
    expect(paged, ["1", "ada", "bob"], "users in pages of one")
    note = models.UserUpdateParameters(note="n")
    changed = operations.update(*SERVICE, "ada", "*", note)
    expect((changed.note, changed.email), ("n", "ada@example.com"), "a changed user")
    refused(HttpResponseError, 412, operations.update, *SERVICE, "ada", '"x"', note)
    refused(ResourceNotFoundError, 404, operations.get, *SERVICE, "nobody")
    expect(operations.get_entity_tag(*SERVICE, "ada"), True, "the head of a user")
    blocked = models.UserUpdateParameters(state="blocked")
    expect(operations.update(*SERVICE, "bob", "*", blocked).state, "blocked", "a blocked user")
    again = models.UserCreateParameters(email="ada@example.com", first_name="A", last_name="B")
    refused(HttpResponseError, 400, operations.create_or_update, *SERVICE, "eve", again)
    expiry = datetime.now(timezone.utc) + timedelta(hours=8)
    token = models.UserTokenParameters(key_type="primary", expiry=expiry)
    value = operations.get_shared_access_token(*SERVICE, "ada", token).value
    expect(value.split("&")[0], "ada", "user of a shared access token")
    url = operations.generate_sso_url(*SERVICE, "ada").value
    expect("/signin-sso?token=ada%26" in url, True, "single sign-on address")
    groups = [group.name for group in client.user_group.list(*SERVICE, "ada")]
    expect(groups, ["developers"], "groups of a user")


def bad_days(client):
    """The SDK asks again when it is told to wait, and when the service is out of order."""
    for kind in ("too_many_requests", "error_before_effect"):
        switch_on({"kind": kind, "side": "azure", "path_contains": "/users/ada"})
        expect(client.user.get(*SERVICE, "ada").name, "ada", f"a user after {kind}")
    with urllib.request.urlopen(f"{CONSOLE}/api/faults", timeout=10) as response:
        expect(json.load(response), [], "faults that were not met")


def switch_on(fault):
    headers = {"content-type": "application/json"}
    body = json.dumps(fault).encode()
    request = urllib.request.Request(f"{CONSOLE}/api/faults", body, headers)
    urllib.request.urlopen(request, timeout=10).close()


def products(client):
    product = models.ProductContract(
        display_name="Basic", state="published", subscriptions_limit=1, approval_required=False
    )
    created = client.product.create_or_update(*SERVICE, "basic", product)
    expect((created.name, created.subscriptions_limit), ("basic", 1), "a new product")
    client.product_api.create_or_update(*SERVICE, "basic", "weather")
    expect(client.product_api.check_entity_exists(*SERVICE, "basic", "weather"), True, "link")
    client.product_group.create_or_update(*SERVICE, "basic", "developers")
    groups = [group.name for group in client.product_group.list_by_product(*SERVICE, "basic")]
    expect(groups, ["administrators", "developers"], "groups of a product")
    policy = models.PolicyContract(value=POLICY, format="rawxml")
    client.product_policy.create_or_update(*SERVICE, "basic", "policy", policy)
    read = client.product_policy.get(*SERVICE, "basic", "policy", format="rawxml")
    expect(read.value, POLICY, "policy")
    bad = models.PolicyContract(value="<policies>", format="xml")
    refusal = refused(
        HttpResponseError,
        400,
        client.product_policy.create_or_update,
        *SERVICE,
        "basic",
        "policy",
        bad,
    )
    expect(refusal.error.code, "ValidationError", "code for a bad policy")
    renamed = models.ProductUpdateParameters(terms="Be kind.")
    changed = client.product.update(*SERVICE, "basic", "*", renamed)
    expect((changed.terms, changed.display_name), ("Be kind.", "Basic"), "a changed product")
    published = list(client.product.list_by_service(*SERVICE, filter="state eq 'published'"))
    expect([product.name for product in published], ["basic"], "products by state")
    client.product_policy.delete(*SERVICE, "basic", "policy", "*")
    gone = refused(
        ResourceNotFoundError, 404, client.product_policy.get, *SERVICE, "basic", "policy"
    )
    expect(gone.error.code, "ResourceNotFound", "code for no policy")
    client.product_policy.create_or_update(*SERVICE, "basic", "policy", policy)


def subscriptions(client):
    operations = client.subscription
    wanted = models.SubscriptionCreateParameters(
        owner_id="/users/ada", scope="/products/basic", display_name="mine", state="active"
    )
    created = operations.create_or_update(*SERVICE, "sub_1", wanted)
    expect(created.state, "active", "state of a new subscription")
    read = operations.get(*SERVICE, "sub_1")
    expect((read.primary_key, read.display_name), (None, "mine"), "a subscription that is read")
    refusal = refused(
        HttpResponseError, 400, operations.create_or_update, *SERVICE, "sub_2", wanted
    )
    expect("Subscriptions limit reached" in refusal.message, True, "limit of subscriptions")
    suspended = models.SubscriptionUpdateParameters(state="suspended", state_comment="unpaid")
    changed = operations.update(*SERVICE, "sub_1", "*", suspended)
    expect((changed.state, changed.state_comment), ("suspended", "unpaid"), "suspension")
    operations.update(*SERVICE, "sub_1", "*", models.SubscriptionUpdateParameters(state="active"))
    before = operations.list_secrets(*SERVICE, "sub_1")
    operations.regenerate_primary_key(*SERVICE, "sub_1")
    after = operations.list_secrets(*SERVICE, "sub_1")
    expect(after.primary_key != before.primary_key, True, "regenerated key")
    expect(after.secondary_key, before.secondary_key, "the other key")
    operations.regenerate_secondary_key(*SERVICE, "sub_1")
    changed = operations.list_secrets(*SERVICE, "sub_1").secondary_key
    expect(changed != before.secondary_key, True, "the other key, regenerated")
    names = [found.name for found in operations.list(*SERVICE, top=1)]
    expect(names, ["master", "sub_1"], "subscriptions")
    theirs = [found.name for found in client.user_subscription.list(*SERVICE, "ada")]
    expect(theirs, ["sub_1"], "subscriptions of a user")
    return after.primary_key


def call(key):
    headers = {"Ocp-Apim-Subscription-Key": key}
    request = urllib.request.Request(f"{GATEWAY}/weather/today", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status
    except urllib.error.HTTPError as error:
        return error.code


def reports(client, key):
    expect([call(key) for _ in range(4)], [200, 200, 200, 429], "calls under the rate limit")
    expected = (3, 1)
    day = datetime.now(timezone.utc) - timedelta(days=1)
    since = f"timestamp ge datetime'{day:%Y-%m-%dT%H:%M:%S}'"
    rows = list(client.reports.list_by_subscription(*SERVICE, filter=since))
    ids = [row.subscription_id for row in rows]
    expect(ids, ["/subscriptions/master", "/subscriptions/sub_1"], "reported subscriptions")
    found = (rows[1].call_count_success, rows[1].call_count_blocked)
    expect(found, expected, "reported calls")
    one = f"{since} and subscriptionId eq 'sub_1'"
    buckets = client.reports.list_by_time(*SERVICE, filter=one, interval=timedelta(minutes=15))
    total = sum(bucket.call_count_total for bucket in buckets)
    expect(total, sum(expected), "calls by time")
    by_user = client.reports.list_by_user(*SERVICE, filter=since)
    total = sum(row.call_count_total for row in by_user if row.user_id == "/users/ada")
    expect(total, sum(expected), "calls by user")
    by_product = client.reports.list_by_product(*SERVICE, filter=since)
    total = sum(row.call_count_total for row in by_product if row.product_id == "/products/basic")
    expect(total, sum(expected), "calls by product")
    for filter in ("", "callCountTotal gt 1"):
        refused(
            HttpResponseError,
            400,
            lambda: list(client.reports.list_by_subscription(*SERVICE, filter=filter)),
        )


def a_suspended_key(client, key):
    """What the state of a subscription does to its calls."""
    for state, status in (("suspended", 401), ("cancelled", 401)):
        changed = models.SubscriptionUpdateParameters(state=state)
        client.subscription.update(*SERVICE, "sub_1", "*", changed)
        expect(call(key), status, f"a call with a {state} subscription")


def delegation(client):
    operations = client.delegation_settings
    key = operations.list_secrets(*SERVICE).validation_key
    expect(len(key), 88, "length of the validation key")
    wanted = models.PortalDelegationSettings(
        url="http://localhost/delegation",
        validation_key=key,
        subscriptions=models.SubscriptionsDelegationSettingsProperties(enabled=True),
        user_registration=models.RegistrationDelegationSettingsProperties(enabled=False),
    )
    operations.create_or_update(*SERVICE, wanted)
    operations.update(
        *SERVICE,
        "*",
        models.PortalDelegationSettings(
            user_registration=models.RegistrationDelegationSettingsProperties(enabled=True)
        ),
    )
    found = operations.get(*SERVICE)
    enabled = (found.subscriptions.enabled, found.user_registration.enabled)
    expect((found.url, enabled), ("http://localhost/delegation", (True, True)), "delegation")
    expect(operations.list_secrets(*SERVICE).validation_key, key, "validation key afterwards")


def clean_up(client):
    client.subscription.delete(*SERVICE, "sub_1", "*")
    client.subscription.delete(*SERVICE, "sub_1", "*")
    client.product.delete(*SERVICE, "basic", "*", delete_subscriptions=True)
    refused(ResourceNotFoundError, 404, client.product.get, *SERVICE, "basic")
    for name in ("ada", "bob"):
        client.user.begin_delete(*SERVICE, name, "*").result(timeout=30)
        refused(ResourceNotFoundError, 404, client.user.get, *SERVICE, name)


def main():
    logging.getLogger("azure.identity").setLevel(logging.CRITICAL)
    client = sign_in()
    service(client)
    users(client)
    bad_days(client)
    products(client)
    key = subscriptions(client)
    reports(client, key)
    a_suspended_key(client, key)
    delegation(client)
    clean_up(client)
    print("azure-mgmt-apimanagement: all as expected")


if __name__ == "__main__":
    main()
