// Drives the catalogue, the meters and the webhooks of the sandbox's Stripe with the Node SDK.
//
//     tests/sdk/install
//     cd target/sdk/node && STRIPE_BASE=… node ../../../tests/sdk/stripe_sdk.mjs
//
// Ends with a non-zero status at the first thing that is not as the SDK documents it. The sandbox's
// clock has to tick, so that what falls due happens by itself.

import assert from "node:assert/strict";
import { createServer } from "node:http";

import { advance, connect, newClock, refused, run, stripe, waitFor } from "./sandbox_stripe.mjs";

async function productsAndPrices() {
  const created = await stripe.products.create({ name: `Basic ${run}`, metadata: { a: "1", b: "2" } });
  const product = await stripe.products.update(created.id, { metadata: { a: "", c: "3" } });
  assert.deepEqual({ ...product.metadata }, { b: "2", c: "3" });
  const price = await stripe.prices.create({
    product: product.id,
    currency: "usd",
    unit_amount: 1495,
    recurring: { interval: "month" },
    lookup_key: `basic_${run}`,
    expand: ["product"],
  });
  assert.equal(price.product.name, `Basic ${run}`);
  assert.equal(price.type, "recurring");
  const moved = await stripe.prices.create({
    product: product.id,
    currency: "usd",
    unit_amount: 1595,
    recurring: { interval: "month" },
    lookup_key: `basic_${run}`,
    transfer_lookup_key: true,
  });
  const found = await stripe.prices.list({ lookup_keys: [`basic_${run}`] });
  assert.deepEqual(found.data.map(({ id }) => id), [moved.id]);
  await refused(() => stripe.prices.retrieve("price_nope"), {
    type: "StripeInvalidRequestError",
    statusCode: 404,
    code: "resource_missing",
  });
  await refused(() => stripe.products.create({ name: "x", nope: 1 }), { code: "parameter_unknown", param: "nope" });
  return product;
}

async function tiers(product, meter) {
  const price = await stripe.prices.create({
    product: product.id,
    currency: "usd",
    billing_scheme: "tiered",
    tiers_mode: "graduated",
    tiers: [
      { up_to: 100_000, flat_amount: 8995 },
      { up_to: "inf", unit_amount_decimal: "0.1" },
    ],
    recurring: { interval: "month", usage_type: "metered", meter: meter.id },
    expand: ["tiers"],
  });
  assert.deepEqual(price.tiers.map((tier) => tier.up_to), [100_000, null]);
  assert.equal((await stripe.prices.retrieve(price.id)).tiers, undefined);
  return price;
}

async function paging() {
  for (let number = 0; number < 12; number += 1) {
    await stripe.products.create({ name: `Page ${run} ${number}` });
  }
  const all = await stripe.products.list({ limit: 5 }).autoPagingToArray({ limit: 1000 });
  const names = all.map(({ name }) => name).filter((name) => name.startsWith(`Page ${run}`));
  assert.equal(names.length, 12);
  assert.equal(names[0], `Page ${run} 11`);
}

async function idempotency() {
  const options = { idempotencyKey: `node-${run}` };
  const first = await stripe.customers.create({ name: "A" }, options);
  const again = await stripe.customers.create({ name: "A" }, options);
  assert.equal(first.id, again.id);
  await refused(() => stripe.customers.create({ name: "B" }, options), { type: "StripeIdempotencyError" });
}

const meter = (formula) =>
  stripe.billing.meters.create({
    display_name: `Calls, ${formula}`,
    event_name: `node_${formula}_${run}`,
    default_aggregation: { formula },
  });

async function meters() {
  const last = await meter("last");
  assert.equal((await stripe.billing.meters.deactivate(last.id)).status, "inactive");
  assert.equal((await stripe.billing.meters.reactivate(last.id)).status, "active");
  assert.equal((await meter("count")).default_aggregation.formula, "count");
  return last;
}

/** With a test clock, so that the lag passes when the clock is advanced. */
async function usage(meter) {
  const start = Math.floor(Date.now() / 86_400_000) * 86_400;
  const clock = await newClock(start + 3_600);
  const customer = await stripe.customers.create({ test_clock: clock.id });
  const report = (value, more) =>
    stripe.billing.meterEvents.create({
      event_name: meter.event_name,
      payload: { stripe_customer_id: customer.id, value: String(value) },
      ...more,
    });
  const summaries = (grouping) =>
    stripe.billing.meters.listEventSummaries(meter.id, {
      customer: customer.id,
      start_time: start,
      end_time: start + 86_400,
      ...grouping,
    });
  await report(5, { identifier: `n-${run}` });
  await report(7, { timestamp: start });
  await refused(() => report(1, { identifier: `n-${run}` }), { message: /already exists with identifier/ });
  await advance(clock, start + 7_200);
  assert.equal((await summaries()).data[0].aggregated_value, 12);
  const hours = await summaries({ value_grouping_window: "hour", limit: 24 });
  assert.deepEqual(
    hours.data.filter(({ aggregated_value: value }) => value > 0).map(({ aggregated_value: value }) => value),
    [5, 7],
  );
  await refused(
    () => stripe.billing.meters.listEventSummaries(meter.id, { customer: customer.id, start_time: 1, end_time: 61 }),
    { param: "start_time" },
  );
  await stripe.testHelpers.testClocks.del(clock.id);
  await refused(() => stripe.customers.retrieve(customer.id), { statusCode: 404 });
}

async function customers() {
  const customer = await stripe.customers.create({ email: `n-${run}@example.com`, name: "C" });
  await stripe.customers.update(customer.id, { name: "D" });
  const { data: [event] } = await stripe.events.list({ types: ["customer.updated"], limit: 1 });
  assert.equal(event.data.object.id, customer.id);
  assert.equal(event.data.previous_attributes.name, "C");
  assert.equal((await stripe.customers.del(customer.id)).deleted, true);
  assert.equal((await stripe.customers.retrieve(customer.id)).deleted, true);
}

async function webhooks() {
  const taken = [];
  const server = createServer((request, response) => {
    const parts = [];
    request.on("data", (part) => parts.push(part));
    request.on("end", () => {
      taken.push({ body: Buffer.concat(parts), signature: request.headers["stripe-signature"] });
      response.end();
    });
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  const endpoint = await stripe.webhookEndpoints.create({
    url: `http://127.0.0.1:${server.address().port}/hook`,
    enabled_events: ["product.created"],
    api_version: "2026-09-30.endive",
  });
  const product = await stripe.products.create({ name: `Hooked ${run}` });
  const { body, signature } = await waitFor(() => taken[0], "a delivery");
  const event = stripe.webhooks.constructEvent(body, signature, endpoint.secret);
  assert.throws(() => stripe.webhooks.constructEvent(body, signature, "whsec_other"), {
    type: "StripeSignatureVerificationError",
  });
  assert.equal(event.data.object.id, product.id);
  assert.equal((await stripe.events.retrieve(event.id)).type, "product.created");
  await stripe.webhookEndpoints.del(endpoint.id);
  server.closeAllConnections();
  server.close();
}

await refused(() => connect("sk_test_x").products.list(), { type: "StripeAuthenticationError" });
const product = await productsAndPrices();
await tiers(product, await meters());
await paging();
await idempotency();
await usage(await meter("sum"));
await customers();
await webhooks();
console.log("the Node SDK finds catalogue, meters and webhooks as documented");
