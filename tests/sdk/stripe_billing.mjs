// Drives the billing of the sandbox's Stripe, and the pages that it hosts, with the Node SDK.
//
//     tests/sdk/install
//     cd target/sdk/node && STRIPE_BASE=… node ../../../tests/sdk/stripe_billing.mjs
//
// Ends with a non-zero status at the first thing that is not as the SDK documents it. The sandbox's
// clock has to tick, so that what falls due happens by itself.

import assert from "node:assert/strict";

import {
  advance,
  customerWith,
  newClock,
  payWith,
  refused,
  run,
  stripe,
  submit,
} from "./sandbox_stripe.mjs";

const HOUR = 3_600;
const DAY = 86_400;

const subscribe = (customer, price, more) =>
  stripe.subscriptions.create({ customer: customer.id, items: [{ price: price.id }], ...more });

const statusOf = async ({ id }) => (await stripe.subscriptions.retrieve(id)).status;

const periodEnd = (subscription) => subscription.items.data[0].current_period_end;

async function onlyInvoice(subscription, status) {
  const { data } = await stripe.invoices.list({ subscription: subscription.id, status });
  assert.equal(data.length, 1, `one invoice that is ${status}`);
  return data[0];
}

async function prices() {
  const product = await stripe.products.create({ name: `Billed ${run}` });
  const meter = await stripe.billing.meters.create({
    display_name: "Calls",
    event_name: `node_billed_${run}`,
    default_aggregation: { formula: "last" },
  });
  const common = { product: product.id, currency: "usd" };
  const metered = await stripe.prices.create({
    ...common,
    billing_scheme: "tiered",
    tiers_mode: "graduated",
    tiers: [
      { up_to: 100_000, flat_amount: 8995 },
      { up_to: "inf", unit_amount_decimal: "0.1" },
    ],
    recurring: { interval: "month", usage_type: "metered", meter: meter.id },
  });
  const recurring = { interval: "month" };
  const fixed = await stripe.prices.create({ ...common, unit_amount: 1495, recurring });
  return { meter, metered, fixed };
}

async function aMeteredMonth(meter, price) {
  const start = Math.floor(Date.now() / 86_400_000) * 86_400;
  const clock = await newClock(start);
  const customer = await customerWith("pm_card_visa", clock);
  const subscription = await stripe.subscriptions.create({
    customer: customer.id,
    items: [{ price: price.id }],
    metadata: { apim_user: "u1" },
  });
  assert.equal(subscription.status, "active");
  assert.equal(subscription.latest_invoice, null);
  const end = subscription.items.data[0].current_period_end;
  await stripe.billing.meterEvents.create({
    event_name: meter.event_name,
    payload: { stripe_customer_id: customer.id, value: "100250" },
  });
  await advance(clock, start + 3_600);
  const preview = await stripe.invoices.createPreview({ subscription: subscription.id });
  assert.equal(preview.total, 8995 + 25);
  await advance(clock, end + 60);
  const draft = await onlyInvoice(subscription, "draft");
  const backstop = end + 48 * 3_600;
  await stripe.invoices.update(draft.id, { automatically_finalizes_at: backstop, auto_advance: true });
  await advance(clock, end + 12 * 3_600);
  assert.equal((await stripe.invoices.retrieve(draft.id)).status, "draft");
  const final = await stripe.invoices.finalizeInvoice(draft.id);
  assert.equal(final.total, 8995 + 25);
  assert.equal(final.parent.subscription_details.metadata.apim_user, "u1");
  const ended = await stripe.subscriptions.cancel(subscription.id, { invoice_now: true, prorate: false });
  assert.equal(ended.status, "canceled");
  await stripe.testHelpers.testClocks.del(clock.id);
}

async function aFirstPaymentThatFails(price) {
  const clock = await newClock(Math.floor(Date.now() / 1000));
  const customer = await customerWith("pm_card_chargeCustomerFail", clock);
  await refused(() => subscribe(customer, price, { payment_behavior: "error_if_incomplete" }), {
    type: "StripeCardError",
    statusCode: 402,
    code: "card_declined",
    decline_code: "generic_decline",
  });
  const subscription = await subscribe(customer, price);
  assert.equal(subscription.status, "incomplete");
  await advance(clock, clock.frozen_time + 23 * HOUR + 60);
  assert.equal(await statusOf(subscription), "incomplete_expired");
  await onlyInvoice(subscription, "void");
}

async function aTrial(price) {
  const clock = await newClock(Math.floor(Date.now() / 1000));
  const customer = await customerWith(null, clock);
  const subscription = await subscribe(customer, price, {
    trial_period_days: 14,
    trial_settings: { end_behavior: { missing_payment_method: "pause" } },
  });
  assert.equal(subscription.status, "trialing");
  await advance(clock, subscription.trial_end + HOUR);
  assert.equal(await statusOf(subscription), "paused");
}

async function aRenewalThatFails(price) {
  const clock = await newClock(Math.floor(Date.now() / 1000));
  const customer = await customerWith("pm_card_visa", clock);
  const subscription = await subscribe(customer, price, { expand: ["latest_invoice.payments"] });
  assert.equal(subscription.latest_invoice.payments.data[0].status, "paid");
  await payWith(customer, "pm_card_chargeCustomerFail");
  await advance(clock, periodEnd(subscription) + 2 * HOUR);
  assert.equal(await statusOf(subscription), "past_due");
  await advance(clock, periodEnd(subscription) + 10 * DAY);
  assert.equal(await statusOf(subscription), "unpaid");
  const invoice = await onlyInvoice(subscription, "open");
  await refused(() => stripe.invoices.pay(invoice.id), { type: "StripeCardError" });
  assert.equal((await fetch(invoice.hosted_invoice_url)).status, 200);
  assert.equal((await submit(invoice.hosted_invoice_url, "4242424242424242")).status, 303);
  assert.equal((await stripe.invoices.retrieve(invoice.id)).status, "paid");
  assert.equal(await statusOf(subscription), "active");
  const cards = await stripe.customers.listPaymentMethods(customer.id);
  const numbers = cards.data.map(({ card }) => card.last4);
  assert.deepEqual(numbers, ["4242", "0341", "4242"]);
  const detached = await stripe.paymentMethods.detach(cards.data[1].id);
  assert.equal(detached.customer, null);
}

async function checkout(price) {
  const params = {
    mode: "subscription",
    line_items: [{ price: price.id }],
    success_url: "https://portal.example/done?session={CHECKOUT_SESSION_ID}",
    cancel_url: "https://portal.example/plans",
    subscription_data: {
      metadata: { apim_user: "u1" },
      billing_cycle_anchor_config: { day_of_month: 1, hour: 0, minute: 0, second: 0 },
      proration_behavior: "none",
    },
  };
  const session = await stripe.checkout.sessions.create(params);
  assert.equal(session.status, "open");
  for (const [number, words] of [
    ["4000000000000002", /was declined/],
    ["4000000000009995", /insufficient funds/],
    ["4000002500003155", /uthenticat/],
  ]) {
    const answer = await submit(session.url, number);
    assert.equal(answer.status, 200);
    assert.match(await answer.text(), words);
  }
  const answer = await submit(session.url, "4000002500003155", { authentication: "complete" });
  assert.equal(answer.status, 303);
  const completed = await stripe.checkout.sessions.retrieve(session.id, { expand: ["subscription"] });
  assert.equal(completed.status, "complete");
  const { subscription } = completed;
  assert.equal(subscription.status, "active");
  const end = new Date(subscription.items.data[0].current_period_end * 1000);
  assert.match(end.toISOString(), /-01T00:00:00/);
  const quantity = [{ price: price.id, quantity: 1 }];
  await refused(() => stripe.checkout.sessions.create({ ...params, line_items: quantity }), {
    type: "StripeInvalidRequestError",
  });
  return completed.customer;
}

async function customerPortal(customer) {
  const session = await stripe.billingPortal.sessions.create({ customer, return_url: "https://portal.example/" });
  assert.equal((await fetch(session.url)).status, 200);
}

const { meter, metered, fixed } = await prices();
await aMeteredMonth(meter, metered);
await aFirstPaymentThatFails(fixed);
await aTrial(fixed);
await aRenewalThatFails(fixed);
await customerPortal(await checkout(metered));
console.log("the Node SDK finds billing and its pages as documented");
