//! Pictures of every page on a journey, for those who work on the design.

use std::cell::Cell;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::browser::Browser;
use crate::screen::Screen;

/// The folder to put pictures into; none are taken without it.
const VARIABLE: &str = "SCREENSHOTS";
/// Long enough to tell pages apart.
const TITLE_LENGTH_MAX: usize = 40;

pub(crate) struct Gallery {
    journey: &'static str,
    folder: Option<PathBuf>,
    taken: Cell<u32>,
}

impl Gallery {
    pub(crate) fn of(journey: &'static str) -> Self {
        let folder = std::env::var_os(VARIABLE).map(PathBuf::from);
        if let Some(folder) = &folder {
            std::fs::create_dir_all(folder).unwrap();
        }
        Self {
            journey,
            folder,
            taken: Cell::new(0),
        }
    }

    pub(crate) fn is_wanted(&self) -> bool {
        self.folder.is_some()
    }

    /// Takes the whole page, as `{journey}-{number}-{title}-{width}.png`.
    pub(crate) fn photograph(&self, browser: &Browser) {
        let Some(folder) = &self.folder else {
            return;
        };
        let number = self.taken.get() + 1;
        self.taken.set(number);
        let title = browser.run("return document.title");
        let title = slug(title.as_str().unwrap());
        for screen in Screen::ALL {
            browser.look_on(screen);
            let whole = json!({ "format": "png", "captureBeyondViewport": true });
            let picture = browser.devtools("Page.captureScreenshot", &whole);
            let picture = STANDARD.decode(picture["data"].as_str().unwrap()).unwrap();
            let name = format!(
                "{}-{number:02}-{title}-{}.png",
                self.journey,
                screen.width()
            );
            std::fs::write(folder.join(name), picture).unwrap();
        }
    }
}

/// `Subscribe to Basic · Tollhouse` as `subscribe-to-basic-tollhouse`.
fn slug(title: &str) -> String {
    let words: Vec<String> = title
        .split(|letter: char| !letter.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect();
    words.join("-").chars().take(TITLE_LENGTH_MAX).collect()
}
