//! Journeys of people in a real browser: headless Chromium, driven through `WebDriver`, against the
//! whole product and its sandbox on a ticking clock.
//!
//! Each test starts its own product, sandbox and browser on free ports. `chromium` and
//! `chromedriver` have to be installed; `tests/run` sees to that. With `SCREENSHOTS=DIR` in the
//! environment, every page on the way is photographed into that folder as well, in the widths of a
//! phone and of a desktop.
#![cfg(test)]

mod browser;
mod chromedriver;
mod consumer;
mod gallery;
mod screen;
#[path = "../it/support.rs"]
#[expect(dead_code, reason = "the journeys over HTTP use more of it")]
mod support;

mod cards;
mod forgetful;
mod late_payer;
mod leaving;
mod month;
mod portal_user;
mod visitor;
